"""Measures progressive growing against a plain DCGAN at equal CPU time, and writes data/results/growing.json.

    python studies/growing.py

Sketch faces of 64 pixels in colour. Besides the DCGAN and progressive growing there is a row for each of its parts
alone, put into the DCGAN, and one with all parts but without growing. All have networks of the same convolutions. Each
row has a learning rate of its own, that of the smallest Fréchet distance on another seed and in a third of the time
(data/results/growing_rates.json). "real faces" are the floor of all scores. A run that is in the files is not made
again. Takes about 85 minutes on one CPU core; two processes share it.
"""

import functools
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # so that CPU time means the same for all methods

import keras
import numpy as np
import study
import tensorflow as tf

import gan_utils
from gan_utils import data, faces, growing, metrics, models
from gan_utils.diversity import MinibatchStandardDeviation

SECONDS, RATE_SECONDS = 150.0, 50.0  # of CPU time in training, and in the choice of the learning rate
LEVEL_STEPS = 8  # of G, for each of these seconds, on each level below the last; the first half of a level fades
SIDES, FILTERS = (8, 16, 32, 64), (64, 32, 16, 8)
BATCH, LATENT, AVERAGE = 32, 100, 0.99
PLAIN_RATES, EQUALIZED_RATES = (3e-4, 1e-3, 3e-3), (1e-3, 3e-3, 9e-3)
RATE_SEED = 10
AT_ONCE = 10  # steps in one call; the first ten of a level, with the compiling, are not counted
CHECK = 400  # steps from one point of the curve to the next
FACES, FRESH, SAMPLES = 6_000, 4_000, 2_000
PATCHES, DIRECTIONS = 16, 128  # patches of an image, directions in which they are compared
POINT = ("G steps of the level", "CPU seconds", "side", "Fréchet distance", "patches")
SEEDS = range(3)
REAL = "real faces"


@dataclass(frozen=True)
class Method:
    """What a row of the table is made of.

    Attributes:
        parts: those put into the DCGAN; None for the networks of `growing`, which have all.
        grows: whether training begins with small images.
    """

    parts: tuple[str, ...] | None = ()
    grows: bool = False

    @property
    def rates(self) -> tuple[float, ...]:
        """Those that are tried."""
        return EQUALIZED_RATES if self.parts is None or "equalised rate" in self.parts else PLAIN_RATES


METHODS = {
    "DCGAN": Method(),
    "DCGAN, equalised rate": Method(("equalised rate",)),
    "DCGAN, pixel norm": Method(("pixel norm",)),
    "DCGAN, deviation of a batch": Method(("deviation",)),
    "all parts, 64 pixels from the start": Method(None),
    "progressive growing": Method(None, grows=True),
}


def networks(method: Method, side: int = SIDES[-1]) -> tuple[keras.Model, keras.Model]:
    """Generator and discriminator for images of this side."""
    if method.parts is None:
        fading = method.grows and side > SIDES[0]
        settings = {"filters": FILTERS, "fading": fading}
        return growing.generator(side, latent_dim=LATENT, **settings), growing.discriminator(side, **settings)
    generator = models.dcgan_generator(side, 3, LATENT, FILTERS[-1])
    discriminator = models.dcgan_discriminator(side, 3, FILTERS[-1])
    of_d = tuple(part for part in method.parts if part != "pixel norm")
    return rebuilt(generator, method.parts), rebuilt(discriminator, of_d)


def rebuilt(network: keras.Model, parts: tuple[str, ...]) -> keras.Model:
    """A new network with some of the parts: pixel norm takes the place of batch norm, the others are added."""
    stack = [keras.Input(network.input_shape[1:])]
    for layer in network.layers:
        new = type(layer).from_config(layer.get_config())
        if "equalised rate" in parts and hasattr(layer, "kernel"):
            new = growing.EqualizedLearningRate(new, gain=1.0 if layer is network.layers[-1] else 2.0**0.5)
        if "pixel norm" in parts and isinstance(layer, keras.layers.BatchNormalization):
            new = growing.PixelNormalization()
        if "deviation" in parts and isinstance(layer, keras.layers.Flatten):
            stack.append(MinibatchStandardDeviation())
        stack.append(new)
    return keras.Sequential(stack, name=network.name)


def levels(method: Method, rate: float, seconds: float) -> Iterator[tuple[gan_utils.GAN, int, list[Any]]]:
    """The games, one after the other, with the steps of each (the last has no end) and its callbacks."""
    gan, steps = None, int(LEVEL_STEPS * seconds)
    for side in SIDES if method.grows else SIDES[-1:]:
        players = networks(method, side)
        if gan is not None:
            for network, smaller in zip(players, (gan.generator, gan.discriminator), strict=True):
                growing.inherit(network, smaller)
        gan = growing.GrowingGAN(*players, latent_dim=LATENT, average=AVERAGE)
        gan.compile(*(keras.optimizers.Adam(rate, beta_1=0.5) for _ in range(2)), steps_per_execution=AT_ONCE)
        fades = [growing.FadeIn(steps // 2)] if method.grows and side > SIDES[0] else []
        yield gan, steps if side < SIDES[-1] else 10**6, fades


def train(seed: int, method: str, rate: float, seconds: float) -> tuple[gan_utils.GAN, list[list[float | None]]]:
    """Trains for so many seconds; returns the last level and the curve."""
    clock, curve = study.Clock(seconds), []
    for gan, steps, fades in levels(METHODS[method], rate, seconds):
        side = gan.generator.output_shape[1]
        dataset = data.batches(growing.shrink(training_faces(), side), BATCH, seed).repeat()
        checks = itertools.takewhile(lambda _: clock.spent < seconds, (*range(AT_ONCE + CHECK, steps, CHECK), steps))
        for done, _ in study.stretches(gan, dataset, checks, clock, AT_ONCE, fades):
            scores = scored(gan.sample(SAMPLES, seed=2))
            curve.append([done, round(clock.spent, 1), side, *scores])
            if scores[0] is None:
                return gan, curve
    return gan, curve


def scored(images: np.ndarray) -> list[float | None]:
    """Fréchet distance and patches' distance to fresh faces; None of images that are not finite."""
    if not np.isfinite(images).all():
        return [None, None]
    while images.shape[1] < SIDES[-1]:
        images = images.repeat(2, axis=1).repeat(2, axis=2)
    fresh_features, fresh_patches = fresh()
    distance = metrics.frechet_distance(features(images), fresh_features)
    return [study.rounded(distance, 4), study.rounded(sliced(patches(images), fresh_patches), 4)]


def features(images: np.ndarray) -> np.ndarray:
    """(samples, 256), of the network that reads attributes, which knows 32 pixels: images are averaged down."""
    return study.face_features(growing.shrink(images, 32))


def patches(images: np.ndarray) -> np.ndarray:
    """What only 64 pixels show: `PATCHES` squares of 7 × 7 from each image less its average over 2 × 2 pixels.

    (patches, 147), each channel of mean 0 and deviation 1 over all patches, as in Section 5 of the paper. Differs from
    it: the average is that of squares, not of a Gaussian.
    """
    fine = images - growing.shrink(images, images.shape[1] // 2).repeat(2, axis=1).repeat(2, axis=2)
    random = np.random.default_rng(0)
    corners = random.integers(0, images.shape[1] - 6, (PATCHES, len(images), 2))
    found = [
        np.stack([image[top : top + 7, left : left + 7] for image, (top, left) in zip(fine, places, strict=True)])
        for places in corners
    ]
    cut = np.concatenate(found)  # (patches, 7, 7, channels)
    return ((cut - cut.mean(axis=(0, 1, 2))) / (cut.std(axis=(0, 1, 2)) + 1e-6)).reshape(len(cut), -1)


def sliced(a: np.ndarray, b: np.ndarray) -> float:
    """Sliced Wasserstein distance, times 1,000: the mean of |sorted a − sorted b| along random directions."""
    directions = np.random.default_rng(1).normal(size=(a.shape[1], DIRECTIONS)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    first, second = (np.sort(np.float32(some) @ directions, axis=0) for some in (a, b))
    return 1000.0 * float(np.abs(first - second).mean())


@functools.cache
def training_faces() -> np.ndarray:
    return faces.draw(faces.sample_attributes(FACES, seed=0), SIDES[-1])


@functools.cache
def fresh() -> tuple[np.ndarray, np.ndarray]:
    """Features of `FRESH` faces that no generator has seen, and patches of as many of them as there are samples."""
    images = faces.draw(faces.sample_attributes(FRESH, seed=3), SIDES[-1])
    return features(images), patches(images[:SAMPLES])


def choose(seed: int, method: str, rate: float) -> dict[str, Any]:
    """One run of `RATE_SECONDS`."""
    _, curve = train(seed, method, rate, RATE_SECONDS)
    return {"method": method, "rate": rate, "frechet": curve[-1][3], "curve": curve}


def compare(seed: int, method: str) -> dict[str, Any]:
    """One run of `SECONDS`: its curve, and how it ended; the scores of fresh faces for `REAL`."""
    if method == REAL:
        scores = scored(faces.draw(faces.sample_attributes(SAMPLES, seed=100 + seed), SIDES[-1]))
        return {"method": method, "rate": None, "frechet": scores[0], "patches": scores[1], "curve": []}
    rate = study.best_runs("growing_rates", "method", "frechet")[method]["rate"]
    gan, curve = train(seed, method, rate, SECONDS)
    weights = sum(network.count_params() for network in (gan.generator, gan.discriminator))
    record = {"method": method, "rate": rate, "frechet": curve[-1][3], "patches": curve[-1][4], "weights": weights}
    shown = seed == 0 and curve[-1][3] is not None
    return {**record, "curve": curve, "samples": study.encode(gan.sample(16, seed=1)) if shown else None}


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    protocol = {
        "data": f"{FACES} sketch faces, {SIDES[-1]} pixels, colour",
        "networks": f"one convolution of 4 × 4 and stride 2 a level; {FILTERS} feature maps of 4, 8, … pixels",
        "training": f"non-saturating; Adam, β₁ = 0.5; batches of {BATCH}; G's weights averaged with {AVERAGE}",
        "growing": f"{LEVEL_STEPS} steps on each smaller level for each second of the whole, half of them fading",
        "clock": f"CPU seconds of one thread in training, without the first {AT_ONCE} steps of a level",
        "curve": f"{', '.join(POINT)}; smaller images are enlarged",
        "frechet": f"of {SAMPLES} samples to {FRESH} fresh faces, averaged down to 32 pixels, in the features of "
        "faces_attributes",
        "patches": "sliced Wasserstein distance × 1,000 of 7 × 7 patches, images less their average over 2 × 2 pixels",
    }
    command = "python studies/growing.py"
    tries = {
        f"{name} · {rate:g}": {"method": name, "rate": rate}
        for name, method in METHODS.items()
        for rate in method.rates
    }
    study.conduct("growing_rates", {**protocol, "cpu_seconds": RATE_SECONDS}, tries, [RATE_SEED], choose, command)
    settings = {name: {"method": name} for name in (*METHODS, REAL)}
    study.conduct("growing", {**protocol, "cpu_seconds": SECONDS}, settings, SEEDS, compare, command)


if __name__ == "__main__":
    main()
