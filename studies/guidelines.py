"""Tests guidelines of the DCGAN paper by removing one at a time, and writes data/results/guidelines.json.

    python studies/guidelines.py

One thread, MNIST, non-saturating loss, 3 seeds. Takes about 80 minutes of one CPU core, and can be interrupted or
started twice; see study.py.
"""

import functools
import os
import time
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"  # before TensorFlow is imported

import keras
import numpy as np
import study
from keras import initializers, layers, optimizers

import gan_utils
from gan_utils import data, models, training

FILTERS = 16
BATCH = 64
STEPS = 4_000
CHECKS = (400, 1_000, 2_000, 4_000)
SAMPLES, LAST_SAMPLES = 2_000, 10_000
WATCHED, WATCHED_STEPS = 64, 20  # samples, and steps before a check, whose change from step to step is measured
SEEDS = range(3)

# Each setting differs from the DCGAN in what it names: guidelines in the order of the paper, then training details.
SETTINGS: dict[str, dict[str, Any]] = {
    "DCGAN": {},
    "pooling for strides": {"pooling": True},
    "no batch norm, 0.02": {"batch_norm": "none"},
    "no batch norm, He": {"batch_norm": "none", "he": True},
    "batch norm everywhere": {"batch_norm": "everywhere"},
    "hidden dense layers": {"hidden_units": 512},
    "LeakyReLU for ReLU in G": {"g_slope": models.LEAKY_SLOPE},
    "ReLU for LeakyReLU in D": {"d_slope": 0.0},
    "β₁ = 0.9": {"beta_1": 0.9},
    "learning rate 1e-3": {"learning_rate": 1e-3},
}


def build_networks(
    pooling: bool = False,
    batch_norm: str = "inside",
    he: bool = False,
    hidden_units: int = 0,
    g_slope: float = 0.0,
    d_slope: float = models.LEAKY_SLOPE,
) -> tuple[keras.Model, keras.Model]:
    """The two networks of `models` for 28 pixels, generator first, but for what the arguments change.

    Args:
        pooling: convolutions at full resolution, then pooling in D; nearest-neighbour upsampling, then them, in G.
        batch_norm: "inside"; "none"; or "everywhere", also after G's last layer and after D's first one.
        he: whether weights have the variance 2 / (weights that meet in an output), in place of 0.02².
        hidden_units: of one more dense layer in each network; 0 for none.
        g_slope: of G's ReLU below 0.
        d_slope: of D's LeakyReLU below 0.
    """
    inside, everywhere = batch_norm != "none", batch_norm == "everywhere"

    def weights(transposed: bool = False) -> dict[str, Any]:
        if not he:
            return {"kernel_initializer": initializers.RandomNormal(stddev=0.02)}
        # Keras counts all 16 weights of a transposed kernel's channel; with stride 2 only 4 of them meet in a pixel.
        scale, mode = (8.0, "fan_out") if transposed else (2.0, "fan_in")
        return {"kernel_initializer": initializers.VarianceScaling(scale, mode, "untruncated_normal")}

    def dense(units: int, normalised: bool) -> list[layers.Layer]:
        return [layers.Dense(units, use_bias=not normalised, **weights()), *norm(normalised)]

    def norm(wanted: bool) -> list[layers.Layer]:
        return [layers.BatchNormalization(momentum=0.9, epsilon=1e-5)] if wanted else []

    def up(filters: int, normalised: bool, use_bias: bool) -> list[layers.Layer]:
        if pooling:
            layer = layers.Conv2D(filters, 4, padding="same", use_bias=use_bias, **weights())
            return [layers.UpSampling2D(), layer, *norm(normalised)]
        layer = layers.Conv2DTranspose(filters, 4, 2, "same", use_bias=use_bias, **weights(transposed=True))
        return [layer, *norm(normalised)]

    def down(filters: int, normalised: bool, use_bias: bool) -> list[layers.Layer]:
        layer = layers.Conv2D(filters, 4, 1 if pooling else 2, "same", use_bias=use_bias, **weights())
        return [layer, *([layers.MaxPooling2D(padding="same")] if pooling else []), *norm(normalised)]

    relu, leaky = functools.partial(layers.ReLU, negative_slope=g_slope), functools.partial(layers.LeakyReLU, d_slope)
    generator = [keras.Input((100,))]
    if hidden_units:
        generator += [*dense(hidden_units, inside), relu()]
    first, *normalisation = dense(4 * 4 * 4 * FILTERS, inside)
    generator += [first, layers.Reshape((4, 4, 4 * FILTERS)), *normalisation, relu()]
    for filters in (2 * FILTERS, FILTERS):
        generator += [*up(filters, inside, not inside), relu()]
    generator += [*up(1, everywhere, True), layers.Activation("tanh"), layers.Cropping2D(2)]

    discriminator = [keras.Input((28, 28, 1)), *down(FILTERS, everywhere, True), leaky()]
    for filters in (2 * FILTERS, 4 * FILTERS):
        discriminator += [*down(filters, inside, not inside), leaky()]
    discriminator.append(layers.Flatten())
    if hidden_units:
        discriminator += [*dense(hidden_units, inside), leaky()]
    discriminator += dense(1, False)
    return keras.Sequential(generator, name="generator"), keras.Sequential(discriminator, name="discriminator")


class Watch(keras.callbacks.Callback):
    """Keeps, at every check, the CPU seconds of training, the Fréchet distance, and how the samples moved just before.

    The movement is that of the same `WATCHED` latents, from one step to the next over `WATCHED_STEPS` steps, with the
    running statistics of batch normalisation ("inference") and with those of this batch of latents ("training").
    """

    def __init__(self) -> None:
        super().__init__()
        self.step, self.seconds, self.begin = 0, 0.0, 0.0
        self.seen: dict[str, list[np.ndarray]] = {}
        self.told: dict[str, list[Any]] = {"cpu_seconds": [], "frechet_distance": [], "inference": [], "training": []}

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self.begin = time.process_time()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.step += 1
        if not any(0 <= check - self.step <= WATCHED_STEPS for check in CHECKS):
            return
        self.seconds += time.process_time() - self.begin
        self.look()
        if self.step in CHECKS:
            self.tell()
        self.begin = time.process_time()

    def look(self) -> None:
        generator, latent = self.model.generator, self.model.latent(WATCHED, seed=0)
        with training.keep_statistics(generator):
            for mode in ("inference", "training"):
                images = generator(latent, training=mode == "training").numpy()
                self.seen.setdefault(mode, []).append(images)

    def tell(self) -> None:
        self.told["cpu_seconds"].append(round(self.seconds, 1))
        self.told["frechet_distance"].append(round(study.frechet(self.model.sample(SAMPLES, seed=1)), 2))
        for mode, images in self.seen.items():
            self.told[mode].append({name: round(value, 5) for name, value in movement(np.stack(images))})
        self.seen = {}


def movement(images: np.ndarray) -> Iterator[tuple[str, float]]:
    """How images of the same latents, (steps, latents, height, width, channels), change. Root mean squares of pixels.

    - step: the change from one step to the next, the mean over the steps.
    - all_steps: the change from the first to the last.
    - spread: how far the images of the last step are from their mean over the latents.
    """

    def size(values: np.ndarray) -> float:
        return float(np.sqrt(np.mean(values**2)))

    yield "step", float(np.mean([size(change) for change in np.diff(images, axis=0)]))
    yield "all_steps", size(images[-1] - images[0])
    yield "spread", size(images[-1] - images[-1].mean(axis=0))


def train(
    seed: int, images: np.ndarray, beta_1: float = 0.5, learning_rate: float = 2e-4, **networks: Any
) -> dict[str, Any]:
    """One run: what `Watch` keeps at every check; in the end the distance of more samples."""
    generator, discriminator = build_networks(**networks)
    gan = gan_utils.GAN(generator, discriminator, latent_dim=100)
    gan.compile(*(optimizers.Adam(learning_rate, beta_1=beta_1) for _ in range(2)))
    watch = Watch()
    dataset = data.batches(images, BATCH, seed).repeat()
    history = gan.fit(dataset, steps_per_epoch=STEPS // 20, epochs=20, callbacks=[watch], verbose=0).history
    last = generator.layers[-3]  # where batch norm is everywhere, the one before tanh
    normalised = isinstance(last, layers.BatchNormalization)
    return {
        "parameters": [generator.count_params(), discriminator.count_params()],
        **watch.told,
        "last": round(study.frechet(gan.sample(LAST_SAMPLES, seed=2)), 2),
        "metrics": {name: round(values[-1], 4) for name, values in history.items()},
        "output_norm": [round(float(last.gamma[0]), 3), round(float(last.beta[0]), 3)] if normalised else None,
        "samples": study.encode(gan.sample(16, seed=0)) if seed == 0 else None,
    }


def main() -> None:
    images, _ = data.load_mnist("train")
    protocol = {
        "networks": f"DCGAN, 28 pixels, {FILTERS} base filters",
        "recipe": f"Adam, learning rate 2e-4, beta_1 0.5, batches of {BATCH}, weights not averaged",
        "he": "variance 2 / (weights that meet in an output)",
        "batch_norm_everywhere": "also after G's last layer, before tanh, and after D's first convolution",
        "threads": 1,
        "steps": STEPS,
        "checks": list(CHECKS),
        "score": f"Fréchet distance of {SAMPLES:,} samples at each check, of {LAST_SAMPLES:,} in the end (last)",
        "movement": f"RMS change of {WATCHED} samples of fixed latents, over {WATCHED_STEPS} steps before each check",
        "metrics": f"means over the last {STEPS // 20} steps",
        "output_norm": "gamma and beta of the batch norm before tanh",
        "samples_are": "read by gan_utils.data.decode_images",
    }
    real = {f"real_against_real_{count}": round(study.frechet(images[:count]), 2) for count in (SAMPLES, LAST_SAMPLES)}
    run = functools.partial(train, images=images)
    study.conduct("guidelines", protocol, SETTINGS, SEEDS, run, measured=real)


if __name__ == "__main__":
    main()
