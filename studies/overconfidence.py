"""Measures how sure a discriminator with few images is, with and without smoothing: data/results/overconfidence.json.

    python studies/overconfidence.py

The fakes come from the shipped digit generator, which stays as it is. Takes about a minute on two CPU cores, and can be
interrupted; see study.py.
"""

import functools
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import smoothing
import study
import tensorflow as tf

from gan_utils import data, losses, models

IMAGES = 1000  # real ones to learn from, and as many fakes
HELD_OUT = 2560  # test digits, and as many fakes
STEPS = 600
BATCH = 64
SEEDS = range(5)
SETTINGS: dict[str, dict[str, Any]] = {
    "no smoothing": {},
    "α = 0.1": {"alpha": 0.1},
    "α = 0.3": {"alpha": 0.3},
    "two-sided, α = β = 0.1": {"alpha": 0.1, "beta": 0.1},
}


def train(seed: int, alpha: float = 0.0, beta: float = 0.0) -> dict[str, Any]:
    """One run: trains a multilayer perceptron without batch norm or dropout, and asks it about held-out images."""
    discriminator = models.mlp_discriminator(hidden_units=(256, 128), dropout_rate=0.0)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(discriminator.trainable_variables)
    objective = losses.non_saturating(alpha, beta)
    known, held_out = images()

    @tf.function
    def learn() -> None:
        for _ in tf.range(STEPS):
            chosen = tf.random.uniform((2, BATCH), 0, IMAGES, tf.int32)
            batches = [tf.gather(some, rows) for some, rows in zip(known, tf.unstack(chosen), strict=True)]
            with tf.GradientTape() as tape:
                loss = objective.discriminator(*(discriminator(batch) for batch in batches))
            weights = discriminator.trainable_variables
            optimizer.apply(tape.gradient(loss, weights), weights)

    learn()
    real_logits, fake_logits = (discriminator(some).numpy()[:, 0] for some in held_out)
    threshold = smoothing.boundary(alpha, beta)
    bins = [smoothing.calibration(real_logits, fake_logits, *labels) for labels in ((0.0, 0.0), (alpha, beta))]
    return {
        "alpha": alpha,
        "beta": beta,
        "known": [round(float(np.median(discriminator(some))), 3) for some in known],  # median logits
        "quantiles": [smoothing.quantiles(some) for some in (real_logits, fake_logits)],
        "histograms": [smoothing.histogram(some) for some in (real_logits, fake_logits)],
        "bins": bins[0],
        "corrected_bins": bins[1],
        "sure_and_wrong": sure_and_wrong(real_logits, fake_logits, alpha, beta),
        "told_right": told_right(discriminator, held_out, threshold),
    }


def sure_and_wrong(real_logits: np.ndarray, fake_logits: np.ndarray, alpha: float, beta: float) -> float:
    """Share of held-out images about which P(real), solved from what D states, is wrong by more than 0.95."""
    stated = [1.0 / (1.0 + np.exp(-some.astype("float64"))) for some in (real_logits, fake_logits)]
    real, fake = ((some - beta) / (1.0 - alpha - beta) for some in stated)
    return round(float(((real < 0.05).mean() + (fake > 0.95).mean()) / 2), 4)


def told_right(
    discriminator: keras.Model, held_out: tuple[np.ndarray, np.ndarray], threshold: float
) -> dict[str, list[float]]:
    """Share of images told right after a step of size ε in each pixel, against D's answer or at random."""
    result: dict[str, list[float]] = {"against D": [], "random": []}
    for name, moved in smoothing.perturbations(discriminator, *held_out, smoothing.EPSILONS):
        real, fake = (discriminator(some).numpy() for some in moved)
        result[name].append(round(float(((real > threshold).mean() + (fake <= threshold).mean()) / 2), 4))
    return result


@functools.cache
def images() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Real and fake images to learn from, and real and fake images held out."""
    generator = models.load_pretrained("mnist_generator")
    latent = np.random.default_rng(0).normal(size=(IMAGES + HELD_OUT, 100)).astype("float32")
    fake = generator.predict(latent, batch_size=512, verbose=0)
    known, unseen = data.load_mnist("train")[0][:IMAGES], data.load_mnist("test")[0][:HELD_OUT]
    return (known, fake[:IMAGES]), (unseen, fake[IMAGES:])


def main() -> None:
    protocol = {
        "networks": "mlp_discriminator with 256 and 128 units; Adam 1e-3; the shipped mnist_generator, frozen",
        "images": IMAGES,
        "held_out": HELD_OUT,
        "steps": STEPS,
        "batch_size": BATCH,
        "epsilons": list(smoothing.EPSILONS),
        "edges": [float(smoothing.EDGES[0]), float(smoothing.EDGES[-1]), len(smoothing.EDGES)],
        "quantiles": list(smoothing.QUANTILES),
    }
    study.conduct("overconfidence", protocol, SETTINGS, SEEDS, train)


if __name__ == "__main__":
    main()
