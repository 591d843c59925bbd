"""Measures what augmentation does for 200 images, and writes data/results/augmentation.json.

    python studies/augmentation.py

A DCGAN of sketch faces of 32 pixels whose D never augments, always does, or does so with a probability that is steered
by its accuracy on images held out from the 200. How well it draws is the Fréchet distance to fresh faces; whether it
has learned by heart is told by the walk of notebook 05 and by the nearest image. Beside it: the same DCGAN with 20,000
images, a generator that has memorised the 200 by construction, and real faces. A run that is in the file is not made
again. Takes about 50 minutes on one CPU core; two processes share it.
"""

import functools
import itertools
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # so that CPU time means the same for all

import keras
import numpy as np
import study
import tensorflow as tf

import gan_utils
from gan_utils import augmentation, data, faces, latent, metrics, models

SECONDS = 200.0  # of CPU time in training
FEW, MANY, HELD_OUT = 200, 20_000, 40
BATCH, LATENT, FILTERS, RATE, AVERAGE = 40, 100, 16, 4e-4, 0.99
NORMALIZATION = "layer"  # of D: it judges each image by itself, so that its accuracy is one of images
TARGET, EVERY, SPEED = 0.2, 2, 0.01  # of the steering: calls of ten steps
AT_ONCE, CHECK = 10, 800  # steps in one call; from one point of the curve to the next
FRESH, SAMPLES, WALKS, NEAREST = 10_000, 2_000, 10, 1_000
POINT = (
    *("G steps", "CPU seconds", "Fréchet distance", "nearest is a training image", "D's accuracy on training images"),
    *("on fresh images", "p"),
)
SEEDS = range(3)
MEMORY, REAL = "a memory of the 200", "real faces"
SETTINGS = {
    "none": {"augments": "none"},
    "always": {"augments": "always"},
    "steered": {"augments": "steered"},
    "none, 20,000 images": {"augments": "none", "count": MANY},
    MEMORY: {"augments": MEMORY},
    REAL: {"augments": REAL},
}


def train(seed: int, augments: str, count: int = FEW) -> dict[str, Any]:
    """One run: its curve, and how it ended."""
    if augments in (MEMORY, REAL):
        return by_construction(seed, augments)
    images = training_faces(seed, count)
    gan, callbacks = build(augments, images)
    kept = images[HELD_OUT:] if augments == "steered" else images
    dataset = data.batches(kept, BATCH, seed).repeat()
    clock, curve = study.Clock(SECONDS), []
    checks = itertools.count(AT_ONCE + CHECK, CHECK)
    for done, _ in study.stretches(gan, dataset, checks, clock, AT_ONCE, callbacks):
        samples = gan.sample(SAMPLES, seed=2)
        if not np.isfinite(samples).all():
            break
        curve.append([done, round(clock.spent, 1), *point(gan, samples, kept[:FEW], seed)])
        if clock.spent >= SECONDS:
            break
    last = dict(zip(POINT[2:4], curve[-1][2:4], strict=True)) if curve else {}
    record = {"augments": augments, "count": count, "frechet": last.get(POINT[2]), "nearest": last.get(POINT[3])}
    record |= walked(lambda z: gan.drawing_network.predict(z, batch_size=500, verbose=0))
    course = [[steps, round(r, 3), round(p, 3)] for each in callbacks for steps, r, p in each.course[::10]]
    return {**record, "curve": curve, "course": course, "samples": shown(seed, gan.sample(16, seed=1))}


def build(augments: str, images: np.ndarray) -> tuple[gan_utils.GAN, list[augmentation.AdaptiveAugmentation]]:
    """The game, and what steers it."""
    generator = models.dcgan_generator(32, 3, LATENT, FILTERS)
    discriminator = models.dcgan_discriminator(32, 3, FILTERS, NORMALIZATION)
    layer = augmentation.Augmentation(1.0 if augments == "always" else 0.0)
    if augments != "none":
        discriminator = augmentation.augmented(discriminator, layer)
    gan = gan_utils.GAN(generator, discriminator, latent_dim=LATENT, average=AVERAGE)
    gan.compile(*(keras.optimizers.Adam(RATE, beta_1=0.5) for _ in range(2)), steps_per_execution=AT_ONCE)
    held_out, kept = images[:HELD_OUT], images[HELD_OUT:]
    steer = augmentation.AdaptiveAugmentation
    return gan, [steer(kept, held_out, TARGET, EVERY, SPEED)] if augments == "steered" else []


def point(gan: gan_utils.GAN, samples: np.ndarray, training: np.ndarray, seed: int) -> list[float | None]:
    """A point of the curve, from `POINT[2]` on."""
    found = study.face_features(samples)
    right = [np.mean(gan.discriminator.predict(some, verbose=0) > 0.0) for some in (training, unseen(seed))]
    layers = [layer for layer in gan.discriminator.layers if isinstance(layer, augmentation.Augmentation)]
    p = float(layers[0].probability) if layers else 0.0
    values = [metrics.frechet_distance(found, fresh()), nearest(found, training, seed), *right, p]
    return [study.rounded(value, 4) for value in values]


def nearest(found: np.ndarray, training: np.ndarray, seed: int) -> float:
    """`nearest_is_training` of the first samples, for training images and as many that no network has seen."""
    both = (study.face_features(images) for images in (training, unseen(seed)[: len(training)]))
    return nearest_is_training(found[:NEAREST], *both)


def nearest_is_training(found: np.ndarray, training: np.ndarray, others: np.ndarray) -> float:
    """The share of samples to which, of both, a training image is nearest; ½ without memory, if both are as many.

    Args:
        found: features of samples, as are the next two.
        training: of training images.
        others: of as many that no network has seen.

    Raises:
        ValueError: not as many training images as others.
    """
    if len(training) != len(others):
        raise ValueError(f"Got {len(training)} training images and {len(others)} others, expected as many.")
    _, indices = metrics.nearest_neighbors(found, np.concatenate([training, others]))
    return float(np.mean(indices[:, 0] < len(training)))


def walked(draw: Any) -> dict[str, list[float]]:
    """Notebook 05's numbers of `WALKS` walks on arcs: the largest step of 64, and of 128, by the mean; the length."""
    start, end = np.random.default_rng(4).standard_normal((2, WALKS, LATENT))
    path = latent.spherical(start, end, steps=129).reshape(-1, LATENT)
    seen = study.face_features(draw(path)).reshape(129, WALKS, -1)
    told = {}
    for steps in (64, 128):
        each = np.linalg.norm(np.diff(seen[:: 128 // steps], axis=0), axis=-1)  # (steps, walks)
        told[f"ratio_{steps}"] = [study.rounded(value, 4) for value in each.max(axis=0) / each.mean(axis=0)]
    return told | {"length": [study.rounded(value, 4) for value in each.sum(axis=0)]}


def by_construction(seed: int, kind: str) -> dict[str, Any]:
    """The same numbers of a generator that shows the training image whose key is nearest, and of fresh faces."""
    training = training_faces(seed, FEW)
    remember = memory(training)
    if kind == MEMORY:
        samples = remember(np.random.default_rng(2).standard_normal((SAMPLES, LATENT)))
    else:
        samples = faces.draw(faces.sample_attributes(SAMPLES, seed=500 + seed))
    found = study.face_features(samples)
    record = {"augments": kind, "count": FEW, "frechet": study.rounded(metrics.frechet_distance(found, fresh()), 4)}
    record["nearest"] = study.rounded(nearest(found, training, seed), 4)
    record |= walked(remember) if kind == MEMORY else {}
    return {**record, "curve": [], "course": [], "samples": shown(seed, samples[:16])}


def memory(images: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A generator that has learned the images by heart: it shows the one whose key is nearest to the latent."""
    keys = np.random.default_rng(1).standard_normal((len(images), LATENT))
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    return lambda z: images[np.argmax(z @ keys.T, axis=1)]


def shown(seed: int, samples: np.ndarray) -> str | None:
    return study.encode(samples) if seed == 0 and np.isfinite(samples).all() else None


def training_faces(seed: int, count: int) -> np.ndarray:
    return faces.draw(faces.sample_attributes(count, seed=1000 + seed))


@functools.cache
def unseen(seed: int) -> np.ndarray:
    """As many faces as a small training set has, of which no network knows anything."""
    return faces.draw(faces.sample_attributes(FEW, seed=2000 + seed))


@functools.cache
def fresh() -> np.ndarray:
    """Features of `FRESH` faces that no generator has seen."""
    return study.face_features(faces.draw(faces.sample_attributes(FRESH, seed=3)))


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    protocol = {
        "data": f"{FEW} sketch faces of 32 pixels, other ones for each seed",
        "held_out": f"{HELD_OUT} of the {FEW} where p is steered, so that it trains on {FEW - HELD_OUT}; else none",
        "networks": f"DCGAN with {FILTERS} base filters, D with {NORMALIZATION} normalisation",
        "training": f"non-saturating; Adam {RATE:g}, β₁ = 0.5; batches of {BATCH}; G's weights averaged with {AVERAGE}",
        "augmentation": ", ".join(augmentation.KINDS),
        "steering": f"p ± {SPEED} every {EVERY * AT_ONCE} steps, by whether D is right {TARGET} more often on training "
        "images than on held-out ones",
        "cpu_seconds": SECONDS,
        "curve": ", ".join(POINT),
        "frechet": f"of {SAMPLES} samples to {FRESH} fresh faces, in the features of faces_attributes",
        "nearest": f"share of {NEAREST} samples nearer to a training image than to any of as many unseen ones",
        "walks": f"{WALKS} arcs, as in notebook 05",
    }
    study.conduct("augmentation", protocol, SETTINGS, SEEDS, train)


if __name__ == "__main__":
    main()
