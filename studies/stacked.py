"""Counts the modes of stacked digits, of which there are 1,000, and writes data/results/stacked.json.

    python studies/stacked.py

Three digits of MNIST are the channels of one image. The shipped classifier reads each channel, so a sample is one of
1,000 modes. A DCGAN of 16 filters learns them, with one step of D to each of G: alone, with packed pairs, and with the
standard deviation of the batch before D's last layer; and each with a D of a quarter of the filters. VEEGAN and PacGAN
print such tables with other networks and longer trainings, so only the order can be compared.

150 CPU seconds of training for each run, 18 runs: about an hour on one CPU core. A run that is in the file is not made
again.
"""

import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # so that CPU time means the same for all methods

import keras
import numpy as np
import study
import tensorflow as tf
from keras import layers

import gan_utils
from gan_utils import data, diversity, metrics, models

CPU_SECONDS, PARTS = 150.0, 3  # of training, and counts of modes on the way
FILTERS, SMALL = 16, 4
LATENT, BATCH, RATE = 100, 64, 8e-4  # the quick recipe of notebook 03
AVERAGE = 0.99  # of the weights that draw
SAMPLES, PART_SAMPLES = 25_600, 6_400
SINGLE = 10_000  # digits of the Fréchet distance: as many as there are in the test set
SHOWN = 12
SEEDS = range(3)


def critic(filters: int) -> keras.Model:
    return models.dcgan_discriminator(28, 3, filters)


def packed(filters: int) -> keras.Model:
    return diversity.packed(models.dcgan_discriminator(28, 6, filters), 2)


def deviating(filters: int) -> keras.Model:
    """The number is one more map of the last feature maps."""
    network = critic(filters)
    maps = network.layers[-3].output  # before Flatten and Dense
    *_, last = network.layers
    joined = layers.Flatten()(diversity.MinibatchStandardDeviation()(maps))
    return keras.Model(network.inputs[0], type(last).from_config(last.get_config())(joined), name="discriminator")


METHODS: dict[str, Callable[[int], keras.Model]] = {
    "plain": critic,
    "PacGAN 2": packed,
    "minibatch deviation": deviating,
}


def stacks(digits: np.ndarray, seed: int) -> tf.data.Dataset:
    """Endless batches of stacks of three digits, drawn one by one."""
    table = tf.constant(data.to_bytes(digits[..., 0]))  # (digits, 28, 28)

    def draw(chosen: tf.Tensor) -> tf.Tensor:
        chosen = tf.random.stateless_uniform((BATCH, 3), tf.stack([chosen, seed]), 0, len(digits), tf.int64)
        stacked = tf.transpose(tf.gather(table, chosen), (0, 2, 3, 1))  # (batch, 28, 28, 3)
        return tf.cast(stacked, tf.float32) / 127.5 - 1.0

    return tf.data.Dataset.counter().map(draw).prefetch(2)


def read(images: np.ndarray) -> np.ndarray:
    """The three digits of each image, (samples, 3)."""
    channels = [metrics.digit_features(images[..., place : place + 1])[1].argmax(axis=1) for place in range(3)]
    return np.stack(channels, axis=1)


def counts(told: np.ndarray, shares: np.ndarray) -> dict[str, Any]:
    """Modes among the samples, and KL(samples ‖ data) of their histogram, in nats.

    Args:
        told: the digits of each sample, (samples, 3).
        shares: of the ten digits in the data.
    """
    histogram = np.bincount(told @ [100, 10, 1], minlength=1000) / len(told)
    expected = np.einsum("i,j,k->ijk", shares, shares, shares).ravel()
    there = histogram > 0
    kl = np.sum(histogram[there] * np.log(histogram[there] / expected[there]))
    return {"modes": int(there.sum()), "kl": round(float(kl), 4)}


class Course(study.Clock):
    """Counts the modes of fewer samples on the way, and its own time not at all.

    Args:
        shares: of the ten digits in the data.
    """

    def __init__(self, shares: np.ndarray):
        super().__init__(CPU_SECONDS)
        self.shares, self.found = shares, []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        super().on_train_batch_end(batch, logs)
        if self.spent < self.seconds * (len(self.found) + 1) / PARTS:
            return
        begin, images = time.process_time(), self.model.sample(PART_SAMPLES, seed=2)
        self.found.append({"cpu_seconds": round(self.spent, 1), "g_steps": self.model.steps_of_g})
        if np.isfinite(images).all():
            self.found[-1] |= counts(read(images), self.shares)
        self.begin += time.process_time() - begin


def train(seed: int, method: str, filters: int) -> dict[str, Any]:
    """One run: modes and KL in the end and on the way, and the Fréchet distance of the single digits."""
    digits, labels = data.load_mnist("train")
    shares = np.bincount(labels, minlength=10) / len(labels)
    network = METHODS[method](filters)
    gan = gan_utils.GAN(models.dcgan_generator(28, 3, LATENT, FILTERS), network, LATENT, average=AVERAGE)
    gan.compile(*(keras.optimizers.Adam(RATE, beta_1=0.5) for _ in range(2)), steps_per_execution=10)
    course = Course(shares)
    gan.fit(stacks(digits, seed), steps_per_epoch=10**6, verbose=0, callbacks=[course])
    images = gan.sample(SAMPLES, seed=1)
    finite = bool(np.isfinite(images).all())
    single = images[: SINGLE // 3 + 1].transpose(0, 3, 1, 2).reshape(-1, 28, 28, 1)[:SINGLE]
    found = counts(read(images), shares) if finite else {"modes": None, "kl": None}
    return {
        "method": method,
        "d_filters": filters,
        "weights": {"d": network.count_params(), "g": gan.generator.count_params()},
        "g_steps": gan.steps_of_g,
        **found,
        "frechet": round(study.frechet(single), 2) if finite else None,
        "course": course.found,
        "samples": study.encode(images[:SHOWN]) if seed == 0 and finite else None,
    }


def real_counts() -> dict[str, Any]:
    """What the counts say of as many stacks of test digits: a floor, with the classifier's mistakes."""
    digits, _ = data.load_mnist("test")
    shares = np.bincount(data.load_mnist("train")[1], minlength=10) / 60_000
    told = metrics.digit_features(digits)[1].argmax(axis=1)
    return counts(told[np.random.default_rng(0).integers(len(digits), size=(SAMPLES, 3))], shares)


def main() -> None:
    protocol = {
        "networks": f"DCGAN, 28 pixels, 3 channels, {FILTERS} filters in G, and as many or {SMALL} in D",
        "optimizers": f"Adam, beta_1=0.5, {RATE:g}; weights averaged by {AVERAGE}; one step of D to one of G",
        "batch_size": BATCH,
        "cpu_seconds": CPU_SECONDS,
        "samples": f"{SAMPLES:,}, and {PART_SAMPLES:,} on the way",
        "threads": int(os.environ["TF_NUM_INTRAOP_THREADS"]),
    }
    rows = {
        f"{method}, D of {filters} filters": {"method": method, "filters": filters}
        for filters in (FILTERS, SMALL)
        for method in METHODS
    }
    study.conduct("stacked", protocol, rows, SEEDS, train, measured={"real": real_counts()})


if __name__ == "__main__":
    main()
