"""Tests each guideline of the DCGAN paper by removing it, and writes data/results/guidelines.json.

    python studies/guidelines.py

Takes about an hour on two CPU cores, and can be interrupted; see study.py.
"""

import functools
import os
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import study
import tensorflow as tf
from keras import layers

import gan_utils
from gan_utils import data, models, training

FILTERS = 16
BATCH = 128
STEPS = 800
CHECKS = 4
SAMPLES = 3_000
SEEDS = range(3)

# Each setting differs from the DCGAN in what it names.
SETTINGS: dict[str, dict[str, Any]] = {
    "DCGAN": {},
    "MLP of notebook 01": {"networks": "mlp"},
    "pooling for strides": {"pooling": True},
    "no batch norm": {"batch_norm": "none"},
    "batch norm everywhere": {"batch_norm": "everywhere"},
    "hidden dense layers": {"hidden_units": 512},
    "ReLU for LeakyReLU in D": {"d_slope": 0.0},
    "momentum: β₁ = 0.9": {"beta_1": 0.9},
    "learning rate 1e-3": {"learning_rate": 1e-3},
    "real and fake in one batch": {"one_batch": True},
}


class OneBatchGAN(gan_utils.GAN):
    """Shows D real and fake samples side by side in one batch, so that batch norm mixes their statistics."""

    def both_judged(self, real: training.Batch, fake: training.Batch) -> tuple[training.Batch, training.Batch]:
        logits = self.discriminator(tf.concat([real.samples, fake.samples], axis=0), training=True)
        on_real, on_fake = tf.split(logits, 2)
        return real._replace(outputs=(on_real,)), fake._replace(outputs=(on_fake,))


def build_generator(pooling: bool, batch_norm: str, hidden_units: int) -> keras.Model:
    """`models.dcgan_generator(base_filters=FILTERS)`, but for what the arguments change."""
    some, everywhere = batch_norm != "none", batch_norm == "everywhere"
    stack = [keras.Input((100,))]
    if hidden_units:
        stack += [_dense(hidden_units, not some), *_norm(some), layers.ReLU()]
    stack += [_dense(4 * 4 * 4 * FILTERS, not some), layers.Reshape((4, 4, 4 * FILTERS)), *_norm(some), layers.ReLU()]
    for filters in (2 * FILTERS, FILTERS):
        stack += [*_up(filters, pooling, not some), *_norm(some), layers.ReLU()]
    stack += [*_up(1, pooling, True), *_norm(everywhere), layers.Activation("tanh"), layers.Cropping2D(2)]
    return keras.Sequential(stack, name="generator")


def build_discriminator(pooling: bool, batch_norm: str, hidden_units: int, d_slope: float) -> keras.Model:
    """`models.dcgan_discriminator(base_filters=FILTERS)`, but for what the arguments change."""
    some, everywhere = batch_norm != "none", batch_norm == "everywhere"
    stack = [keras.Input((28, 28, 1)), *_norm(everywhere)]
    stack += [*_down(FILTERS, pooling, True), *_norm(everywhere), layers.LeakyReLU(d_slope)]
    for filters in (2 * FILTERS, 4 * FILTERS):
        stack += [*_down(filters, pooling, not some), *_norm(some), layers.LeakyReLU(d_slope)]
    stack.append(layers.Flatten())
    if hidden_units:
        stack += [_dense(hidden_units, not some), *_norm(some), layers.LeakyReLU(d_slope)]
    return keras.Sequential([*stack, _dense(1, True)], name="discriminator")


def _normal() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.02)


def _dense(units: int, use_bias: bool) -> layers.Layer:
    return layers.Dense(units, use_bias=use_bias, kernel_initializer=_normal())


def _norm(wanted: bool) -> list[layers.Layer]:
    return [layers.BatchNormalization(momentum=0.9, epsilon=1e-5)] if wanted else []


def _up(filters: int, pooling: bool, use_bias: bool) -> list[layers.Layer]:
    options = {"padding": "same", "use_bias": use_bias, "kernel_initializer": _normal()}
    if pooling:
        return [layers.UpSampling2D(), layers.Conv2D(filters, 4, **options)]
    return [layers.Conv2DTranspose(filters, 4, 2, **options)]


def _down(filters: int, pooling: bool, use_bias: bool) -> list[layers.Layer]:
    options = {"padding": "same", "use_bias": use_bias, "kernel_initializer": _normal()}
    if pooling:
        return [layers.Conv2D(filters, 4, **options), layers.MaxPooling2D(padding="same")]
    return [layers.Conv2D(filters, 4, 2, **options)]


def train(
    seed: int,
    images: np.ndarray,
    networks: str = "dcgan",
    pooling: bool = False,
    batch_norm: str = "inside",
    hidden_units: int = 0,
    d_slope: float = models.LEAKY_SLOPE,
    beta_1: float = 0.5,
    learning_rate: float = 2e-4,
    one_batch: bool = False,
) -> dict[str, Any]:
    """One run: the Fréchet distance to the test digits, with the seconds of training, at every check."""
    if networks == "mlp":
        generator, discriminator = models.mlp_generator(), models.mlp_discriminator()
    else:
        generator = build_generator(pooling, batch_norm, hidden_units)
        discriminator = build_discriminator(pooling, batch_norm, hidden_units, d_slope)
    gan = (OneBatchGAN if one_batch else gan_utils.GAN)(generator, discriminator, latent_dim=100)
    optimizers = [keras.optimizers.Adam(learning_rate, beta_1=beta_1) for _ in range(2)]
    gan.compile(*optimizers, steps_per_execution=10)
    dataset = data.batches(images, BATCH, seed).repeat()
    seconds, distances = [], []
    for _ in range(CHECKS):
        begin = time.perf_counter()
        history = gan.fit(dataset, steps_per_epoch=STEPS // CHECKS, verbose=0).history
        seconds.append(round(time.perf_counter() - begin, 1))
        distances.append(round(study.frechet(gan.sample(SAMPLES)), 3))
    return {
        "parameters": [generator.count_params(), discriminator.count_params()],
        "frechet_distance": distances,
        "training_seconds": np.cumsum(seconds).round(1).tolist(),
        "metrics": {name: round(values[-1], 4) for name, values in history.items()},
        "samples": study.encode(gan.sample(8, seed=0)) if seed == 0 else None,
    }


def main() -> None:
    images, _ = data.load_mnist("train")
    protocol = {
        "base_filters": FILTERS,
        "batch_size": BATCH,
        "steps": STEPS,
        "steps_per_check": STEPS // CHECKS,
        "samples": SAMPLES,
        "real_samples": len(study.reference()),
        "samples_are": "read by gan_utils.data.decode_images",
    }
    measured = {"real_against_real": round(study.frechet(images[:SAMPLES]), 3)}
    run = functools.partial(train, images=images)
    study.conduct("guidelines", protocol, SETTINGS, SEEDS, run, measured=measured)


if __name__ == "__main__":
    main()
