"""Measures what label smoothing does to a DCGAN on MNIST, and writes data/results/smoothing.json.

    python studies/smoothing.py

Took 70 minutes on one busy CPU core, and can be interrupted; see study.py.
"""

import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import study
import tensorflow as tf

import gan_utils
from gan_utils import data, losses, metrics, models
from gan_utils.training import keep_statistics

BATCH = 128
STEPS = 2000
STEPS_PER_CHECK = 500
HELD_OUT = 1280  # test digits, and as many fresh fakes: 10 batches each
CHECKED = 640  # of them at each check
SAMPLES = 5000  # in a score
EPSILONS = (0.0, 0.02, 0.05, 0.1, 0.2)  # size of a perturbation; pixels are in [-1, 1]
EDGES = np.linspace(-30.0, 30.0, 121)  # of the histogram of logits
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
SEEDS = range(3)


def noise_beyond_the_range(noise: float = 0.05) -> losses.Objective:
    """Non-saturating, but real targets are drawn from [1 − noise, 1] and fake targets from [−noise, 0].

    That is what `labels += 0.05 * uniform` makes of fake = 1 and real = 0, written for D = probability of "real".
    """

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        real_targets = 1.0 - noise * tf.random.uniform(tf.shape(real_logits))
        fake_targets = -noise * tf.random.uniform(tf.shape(fake_logits))
        return losses.cross_entropy(real_logits, real_targets) + losses.cross_entropy(fake_logits, fake_targets)

    return losses.Objective("noise beyond [0, 1]", discriminator, losses.non_saturating().generator)


SETTINGS: dict[str, dict[str, Any]] = {
    "no smoothing": {},
    "α = 0.1": {"label_smoothing": 0.1},
    "two-sided, α = β = 0.1": {"label_smoothing": 0.1, "fake_smoothing": 0.1},
    "fake targets in [−0.05, 0]": {"objective": noise_beyond_the_range()},
    "α = 0.3": {"label_smoothing": 0.3},
    "β = 0.1 only": {"fake_smoothing": 0.1},
}


def train(
    seed: int,
    label_smoothing: float = 0.0,
    fake_smoothing: float = 0.0,
    objective: losses.Objective | None = None,
) -> dict[str, Any]:
    """One run: D's logits on held-out data, its calibration, what perturbations do to it, and G's score."""
    objective = objective or losses.non_saturating(label_smoothing, fake_smoothing)
    gan = gan_utils.GAN(
        models.dcgan_generator(base_filters=16), models.dcgan_discriminator(base_filters=16), latent_dim=100
    )
    optimizers = [keras.optimizers.Adam(2e-4, beta_1=0.5) for _ in range(2)]
    gan.compile(*optimizers, objective, steps_per_execution=20)
    dataset = data.batches(data.load_mnist("train")[0], BATCH, seed).repeat()
    real = data.load_mnist("test")[0][:HELD_OUT]
    labels = label_smoothing, fake_smoothing
    checks = []
    for _ in range(STEPS // STEPS_PER_CHECK):
        history = gan.fit(dataset, steps_per_epoch=STEPS_PER_CHECK, verbose=0).history
        few = [logits(gan.discriminator, images) for images in (real[:CHECKED], draw(gan, CHECKED, seed=1))]
        checks.append(
            {
                "medians": [round(float(np.median(values)), 3) for values in few],
                "bins": calibration(*few, 0.0, 0.0),
                "corrected_bins": calibration(*few, *labels),
                "gradient_norm": generator_gradient(gan),
            }
        )
    fake = draw(gan, HELD_OUT, seed=2)
    real_logits, fake_logits = logits(gan.discriminator, real), logits(gan.discriminator, fake)
    samples = gan.sample(SAMPLES, seed=3)
    return {
        "alpha": label_smoothing,
        "beta": fake_smoothing,
        "frechet": round(metrics.frechet_distance(reference(), metrics.digit_features(samples)[0]), 3),
        "metrics": {name: round(values[-1], 4) for name, values in history.items()},
        "checks": checks,  # of 640 real and 640 fake images, every 500 steps
        "quantiles": [quantiles(real_logits), quantiles(fake_logits)],
        "histograms": [histogram(real_logits), histogram(fake_logits)],
        "perturbed": perturb(gan.discriminator, real, fake, boundary(*labels)),
        "samples": study.encode(samples[:24]) if seed == 0 else None,
    }


def logits(discriminator: keras.Model, images: np.ndarray) -> np.ndarray:
    """D's answers as it plays: each batch, all real or all fake, is normalised with its own statistics."""
    with keep_statistics(discriminator):
        chunks = [discriminator(images[start : start + BATCH], training=True) for start in range(0, len(images), BATCH)]
    return np.concatenate(chunks)[:, 0]


def draw(gan: gan_utils.GAN, count: int, seed: int) -> np.ndarray:
    """Fakes as D meets them in training: the generator normalises each batch with its own statistics."""
    latent = gan.latent(count, seed)
    with keep_statistics(gan.generator):
        chunks = [gan.generator(latent[start : start + BATCH], training=True) for start in range(0, count, BATCH)]
    return np.concatenate(chunks)


def quantiles(values: np.ndarray) -> list[float]:
    return np.quantile(values, QUANTILES).round(3).tolist()


def histogram(logits: np.ndarray) -> list[int]:
    """Counts between EDGES; what lies beyond counts in the outermost bins."""
    return np.histogram(np.clip(logits, -29.9, 29.9), EDGES)[0].tolist()


def calibration(real_logits: np.ndarray, fake_logits: np.ndarray, alpha: float, beta: float) -> list[list[float]]:
    """For each of ten bins of the stated probability: [images, real ones among them, sum of what was stated].

    With smoothing, D states β + (1 − α − β)·P(real). α and β other than 0 solve that for P(real), clipped to [0, 1].
    """
    stated = 1.0 / (1.0 + np.exp(-np.concatenate([real_logits, fake_logits]).astype("float64")))
    stated = ((stated - beta) / (1.0 - alpha - beta)).clip(0.0, 1.0)
    is_real = np.arange(len(stated)) < len(real_logits)
    index = np.minimum((10 * stated).astype(int), 9)
    columns = [np.bincount(index, weights, 10) for weights in (None, is_real, stated)]
    return np.round(columns, 3).T.tolist()


def boundary(alpha: float, beta: float) -> float:
    """The logit of D* where both densities are equal: D* = (1 − α + β)/2."""
    middle = (1.0 - alpha + beta) / 2.0
    return float(np.log(middle / (1.0 - middle)))


def generator_gradient(gan: gan_utils.GAN, batches: int = 5) -> float:
    """Mean norm of the gradient of −log D(G(z)) for G's weights."""
    norms = []
    for batch in range(batches):
        with keep_statistics(gan.generator), keep_statistics(gan.discriminator), tf.GradientTape() as tape:
            fake = gan.generator(gan.latent(BATCH, seed=100 + batch), training=True)
            loss = tf.reduce_mean(tf.math.softplus(-gan.discriminator(fake, training=True)))
        norms.append(float(tf.linalg.global_norm(tape.gradient(loss, gan.generator.trainable_variables))))
    return round(float(np.mean(norms)), 5)


def perturb(discriminator: keras.Model, real: np.ndarray, fake: np.ndarray, threshold: float) -> dict[str, list[Any]]:
    """What a step of size ε in each pixel does, against D's answer or at random.

    For each ε: mean logit of real and fake images afterwards, and the share that D tells right.
    """
    result: dict[str, list[Any]] = {"against D": [], "random": []}
    for name, moved in perturbations(discriminator, real, fake, EPSILONS):
        after = [logits(discriminator, x) for x in moved]
        right = [(after[0] > threshold).mean(), (after[1] <= threshold).mean()]
        stated = [(1.0 / (1.0 + np.exp(-x.astype("float64")))).mean() for x in after]
        row = [*(x.mean() for x in after), *stated, *right]
        result[name].append([round(float(value), 4) for value in row])
    return result


def perturbations(
    discriminator: keras.Model, real: np.ndarray, fake: np.ndarray, epsilons: Sequence[float]
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Real and fake images after a step of each size in each pixel: "against D", then "random"."""
    rng = np.random.default_rng(0)
    signs = [direction * gradient_sign(discriminator, x) for x, direction in ((real, -1.0), (fake, 1.0))]
    noise = [rng.choice(np.float32([-1.0, 1.0]), size=x.shape) for x in (real, fake)]
    for name, steps in (("against D", signs), ("random", noise)):
        for epsilon in epsilons:
            yield name, [np.clip(x + epsilon * step, -1.0, 1.0) for x, step in zip((real, fake), steps, strict=True)]


def gradient_sign(discriminator: keras.Model, images: np.ndarray) -> np.ndarray:
    """Sign of the gradient of each image's logit for its pixels, through the statistics of its batch."""
    signs = []
    for start in range(0, len(images), BATCH):
        batch = tf.constant(images[start : start + BATCH])
        with keep_statistics(discriminator), tf.GradientTape() as tape:
            tape.watch(batch)
            total = tf.reduce_sum(discriminator(batch, training=True))
        signs.append(np.sign(tape.gradient(total, batch)))
    return np.concatenate(signs)


@functools.cache
def reference() -> np.ndarray:
    return metrics.digit_features(data.load_mnist("test")[0][:SAMPLES])[0]


def main() -> None:
    others = metrics.digit_features(data.load_mnist("test")[0][SAMPLES:])[0]
    protocol = {
        "networks": "dcgan_generator and dcgan_discriminator, base_filters=16; Adam 2e-4, β₁ = 0.5; non-saturating",
        "batch_size": BATCH,
        "generator_steps": STEPS,
        "steps_per_check": STEPS_PER_CHECK,
        "held_out": HELD_OUT,
        "checked": CHECKED,
        "samples": SAMPLES,
        "epsilons": list(EPSILONS),
        "edges": [EDGES[0], EDGES[-1], len(EDGES)],
        "quantiles": list(QUANTILES),
    }
    measured = {"frechet_floor": round(metrics.frechet_distance(reference(), others), 3)}
    for settings in (dict(list(SETTINGS.items())[:4]), SETTINGS):  # all seeds of the most important ones first
        study.conduct("smoothing", protocol, settings, SEEDS, train, measured=measured)


if __name__ == "__main__":
    main()
