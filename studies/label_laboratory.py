"""Measures games with labels where the truth is known, and writes data/results/label_laboratory.json.

    python studies/label_laboratory.py

Three Gaussians that overlap: AC-GAN, and conditional GANs. A ring of eight Gaussians: what the code of InfoGAN tells.
Two moons with four labels: semi-supervised games. A run takes seconds, all about twenty minutes on one CPU core; a
run that is in the file is not made again.
"""

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import numpy as np
import study
import tensorflow as tf
from keras import layers
from scipy import integrate, stats
from semi_supervised import mixed
from sklearn.datasets import make_moons

import gan_utils
from gan_utils import data, games, metrics, models
from gan_utils.training import Batch

MEANS = (-1.0, 0.0, 1.0)  # of the three Gaussians, of standard deviation 1
CENTERS, STD = data.ring_centers(8, 2.0), 0.02
CODES = 8
BIN = 0.02  # side of the squares in which information is counted
MOON_NOISE, MOON_LABELS = 0.1, 2  # of each moon
BATCH, MOON_BATCH, STEPS = 256, 100, 3_000
RATE = 1e-3  # of all; nothing was tuned
AVERAGE = 0.99  # of the weights that draw: the last ones of a training swing about their mean
SAMPLES, MANY = 10_000, 400_000
SEEDS = range(5)


class FakesUnclassified(games.ACGAN):
    """AC-GAN whose D learns the classes from real samples alone; G still gains where it is right."""

    def discriminator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        self.class_accuracy.update_state(0.0)
        return gan_utils.GAN.discriminator_loss(self, real, fake) + self.class_weight * self.class_loss(real)


def fit(gan: gan_utils.GAN, dataset: tf.data.Dataset, d_steps: int = 1) -> None:
    gan.compile(*(adam() for _ in range(2)), d_steps=d_steps, steps_per_execution=50)
    gan.fit(dataset, steps_per_epoch=STEPS, verbose=0)


def adam() -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(RATE, beta_1=0.5)


# Three Gaussians in a row


def gaussians(seed: int, method: str, weight: float = 1.0) -> dict[str, Any]:
    """Mean and standard deviation of each class, and who is right about the class of a sample, how often."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(MEANS), 50_000)
    real = random.normal(np.take(MEANS, labels), 1.0)[:, np.newaxis]
    generator = models.conditional_generator(models.mlp_generator(4 + 3, (1,), (64, 64), None), 3)
    kind, discriminator = GAUSSIANS[method]
    settings = {"class_weight": weight} if issubclass(kind, games.ACGAN) else {}
    gan = kind(generator, discriminator(), latent_dim=4, average=AVERAGE, **settings)
    fit(gan, data.batches(real, BATCH, seed, labels).repeat())
    samples, asked = gan.sample(3 * SAMPLES, seed=1), np.arange(3 * SAMPLES) % 3
    found = {
        "recipe": f"{method}, class weight {weight:g}" if settings else method,
        "means": [study.rounded(samples[asked == label].mean(), 4) for label in range(3)],
        "stds": [study.rounded(samples[asked == label].std(), 4) for label in range(3)],
        "nearest_mean_is_asked": study.rounded(np.mean(nearest(samples) == asked), 4),
    }
    for name, some, truth in (("d_right_on_fakes", samples, asked), ("d_right_on_real", real, labels)):
        told = gan.discriminator.predict(some, batch_size=1000, verbose=0)[1].argmax(axis=1) if settings else None
        found[name] = study.rounded(np.mean(told == truth), 4) if settings else None
    return found


def nearest(samples: np.ndarray) -> np.ndarray:
    """The class of each sample by Bayes' rule: the nearest mean."""
    return np.abs(samples - np.array(MEANS)).argmin(axis=1)


def bayes_accuracy() -> float:
    """How often the best classifier is right about real samples, by quadrature: ⅓ ∫ max p(x|y) dx."""
    best = integrate.quad(lambda x: max(stats.norm.pdf(x, mean) for mean in MEANS), -9.0, 9.0, points=[-0.5, 0.5])
    return round(best[0] / len(MEANS), 6)


def two_heads() -> keras.Model:
    network = models.mlp_discriminator((1,), (64, 64), dropout_rate=0.0)
    return keras.Model(network.inputs, [network.outputs[0], layers.Dense(3)(network.layers[-1].input)])


def concatenation() -> keras.Model:
    return models.conditional_discriminator(models.mlp_discriminator((1 + 3,), (64, 64), dropout_rate=0.0), 3)


def projection() -> keras.Model:
    return models.projection_discriminator(models.mlp_discriminator((1,), (64, 64), dropout_rate=0.0), 3)


GAUSSIANS: dict[str, tuple[type[gan_utils.GAN], Callable[[], keras.Model]]] = {
    "AC-GAN": (games.ACGAN, two_heads),
    "AC-GAN, fakes not classified": (FakesUnclassified, two_heads),
    "CGAN, concatenation": (gan_utils.GAN, concatenation),
    "CGAN, projection": (gan_utils.GAN, projection),
}


# InfoGAN on a ring


def ring(seed: int, weight: float, d_steps: int, codes: int = CODES) -> dict[str, Any]:
    """What Q's bound says, and what is told by a mode, and by a small square of the plane, of the code: all in nats."""
    gan = games.InfoGAN(
        models.mlp_generator(2 + codes, (2,), (128, 128), output_activation=None),
        models.mlp_discriminator((2,), (128, 128), dropout_rate=0.0),
        latent_dim=2 + codes,
        average=AVERAGE,
        recognizer=recognizer(codes),
        categories=codes,
        information_weight=weight,
    )
    fit(gan, data.batches(data.gaussian_mixture(50_000, CENTERS, STD, seed), BATCH, seed).repeat(), d_steps)
    latent = gan.latent(MANY, seed=1)
    samples = gan.drawing_network.predict(latent, batch_size=10_000, verbose=0)
    code = latent[:, -codes:].numpy().argmax(axis=1)
    told = Batch(tf.constant(samples), tf.fill((MANY,), -1), latent)
    distances = np.linalg.norm(samples[:, np.newaxis] - CENTERS, axis=-1)
    squares = np.unique(np.floor(samples / BIN).astype(np.int64), axis=0, return_inverse=True)[1]
    modes, good = metrics.mode_coverage(samples[:SAMPLES], CENTERS, 3 * STD)
    return {
        "recipe": f"InfoGAN, {codes} codes, λ = {weight:g}, {d_steps} D steps",
        "bound": study.rounded(float(gan.information_bound(told)), 4),
        "information_of_squares": study.rounded(information(code, squares.ravel()), 4),
        "information_of_modes": study.rounded(information(code, distances.argmin(axis=1)), 4),
        "modes": modes,
        "good": study.rounded(good, 4),
        "samples": np.round(samples[:400], 3).tolist() if seed == 0 else None,
        "codes": code[:400].tolist() if seed == 0 else None,
    }


def recognizer(codes: int) -> keras.Model:
    hidden = [part for _ in range(2) for part in (layers.Dense(128), layers.LeakyReLU(models.LEAKY_SLOPE))]
    return keras.Sequential([keras.Input((2,)), *hidden, layers.Dense(codes)])


def information(a: np.ndarray, b: np.ndarray) -> float:
    """The mutual information of two variables of whole numbers, counted, in nats.

    Counts make it too large by about (cells − rows − columns + 1)/2n, with only those that are not empty; that is
    taken off (Miller and Madow).
    """
    rows, columns, cells = (np.unique(each, return_counts=True)[1] for each in (a, b, a * (b.max() + 1) + b))
    entropies = [-np.sum(counts / len(a) * np.log(counts / len(a))) for counts in (rows, columns, cells)]
    return entropies[0] + entropies[1] - entropies[2] - (len(cells) - len(rows) - len(columns) + 1) / (2 * len(a))


# Two moons


def moons(seed: int, method: str) -> dict[str, Any]:
    """The share of wrong answers about fresh points, with two labels of each moon."""
    points, truth = make_moons(2_000, noise=MOON_NOISE, random_state=seed)
    chosen = np.concatenate([np.flatnonzero(truth == label)[:MOON_LABELS] for label in range(2)])
    known, labels = points[chosen].astype(np.float32), truth[chosen]
    network = classifier(features=method == "feature matching")
    if method == "labels alone":
        alone = keras.Model(network.inputs, network.outputs[0])
        alone.compile(adam(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), steps_per_execution=50)
        dataset = data.batches(known, len(known), seed, labels).repeat()
        alone.fit(dataset, steps_per_epoch=STEPS, verbose=0, shuffle=False)
    else:
        kind, settings = MOONS[method]
        gan = kind(models.mlp_generator(8, (2,), (64, 64), None), network, latent_dim=8, **settings)
        fit(gan, mixed(points, known, labels, seed, MOON_BATCH, len(known)))
    points, truth = make_moons(SAMPLES, noise=MOON_NOISE, random_state=1_000 + seed)
    answers = keras.Model(network.inputs, network.outputs[0]).predict(points, batch_size=1000, verbose=0)
    return {
        "recipe": method,
        "error": study.rounded(np.mean(answers.argmax(axis=1) != truth), 4),
        "known": known.tolist(),
    }


def classifier(features: bool) -> keras.Model:
    points = keras.Input((2,))
    hidden = points
    for _ in range(2):
        hidden = layers.LeakyReLU(models.LEAKY_SLOPE)(layers.Dense(64)(hidden))
    logits = layers.Dense(2)(hidden)
    return keras.Model(points, [logits, hidden] if features else logits)


MOONS: dict[str, tuple[type[gan_utils.GAN], dict[str, Any]]] = {
    "semi-supervised": (games.SemiSupervisedGAN, {}),
    "feature matching": (games.SemiSupervisedGAN, {"feature_matching": True}),
    "CatGAN": (games.CatGAN, {}),
}


def train(seed: int, laboratory: str, **setting: Any) -> dict[str, Any]:
    run = {"Gaussians": gaussians, "ring": ring, "moons": moons}[laboratory]
    return {"laboratory": laboratory, **run(seed, **setting)}


def settings() -> dict[str, dict[str, Any]]:
    rows = {f"Gaussians · {method}": {"laboratory": "Gaussians", "method": method} for method in GAUSSIANS}
    rows["Gaussians · AC-GAN, weight 0.2"] = {"laboratory": "Gaussians", "method": "AC-GAN", "weight": 0.2}
    for weight in (0.0, 0.3, 1.0):
        for steps in (1, 5):
            name = f"ring · InfoGAN, λ = {weight:g}, k = {steps}"
            rows[name] = {"laboratory": "ring", "weight": weight, "d_steps": steps}
    more = {"laboratory": "ring", "weight": 1.0, "d_steps": 1, "codes": 2 * CODES}
    rows[f"ring · InfoGAN, {2 * CODES} codes, λ = 1, k = 1"] = more  # more than there are modes
    rows |= {f"moons · {method}": {"laboratory": "moons", "method": method} for method in ("labels alone", *MOONS)}
    return rows


def main() -> None:
    protocol = {
        "optimizers": f"Adam, beta_1=0.5, {RATE:g}, {STEPS} steps of G; it draws with weights averaged by {AVERAGE}",
        "Gaussians": f"means {', '.join(f'{mean:g}' for mean in MEANS)}, standard deviation 1; networks of 64 and 64 "
        f"units; batches of {BATCH}; {SAMPLES:,} samples of each class",
        "ring": f"radius 2, σ = {STD}; {CODES} codes, or twice as many; networks of 128 and 128 units, Q too; "
        f"batches of {BATCH}; information counted of {MANY:,} samples, by mode and by squares of side {BIN}",
        "moons": f"2,000 points, noise {MOON_NOISE}, {MOON_LABELS} labels of each moon; networks of 64 and 64 units; "
        f"batches of {MOON_BATCH}, and the labelled points in each",
    }
    measured = {"bayes_accuracy": bayes_accuracy()}
    study.conduct("label_laboratory", protocol, settings(), SEEDS, train, measured=measured)


if __name__ == "__main__":
    main()
