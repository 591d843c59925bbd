"""Trains the same networks on MNIST under the minimax and the non-saturating loss; writes data/results/losses.json.

    python studies/losses.py

Takes about 12 minutes on two CPU cores, and can be interrupted; see study.py.
"""

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import study
import tensorflow as tf

import gan_utils
from gan_utils import data, losses, models

BATCH = 128
STEPS = 1_000  # of the generator
STEPS_PER_POINT = 50  # of the curves
POINTS_PER_CHECK = 5
SAMPLES = 5_000
SEEDS = range(3)
FROZEN_CHECKS = (0, 5, 10, 20, 50, 100, 200, 500)  # steps of a new D against a G that no longer moves
NOISE_BATCHES, NOISE_BATCH = 60, 64

SETTINGS: dict[str, dict[str, Any]] = {
    "minimax, k = 1": {"objective": losses.minimax(), "d_steps": 1},
    "non-saturating, k = 1": {"objective": losses.non_saturating(), "d_steps": 1, "freeze_after": True},
    "minimax, k = 3": {"objective": losses.minimax(), "d_steps": 3},
    "non-saturating, k = 3": {"objective": losses.non_saturating(), "d_steps": 3},
}


def score(images: np.ndarray) -> float:
    return round(study.frechet(images), 2)


def g_gradients(gan: gan_utils.GAN, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """D(G(z)) for one batch, and the gradients of all G's weights under the minimax and the non-saturating loss."""
    with tf.GradientTape(persistent=True) as tape:
        fake_logits = gan.discriminator(gan.generator(gan.latent(count)))
        both = [objective.generator(fake_logits) for objective in (losses.minimax(), losses.non_saturating())]
    gradients = [flat(tape.gradient(loss, gan.generator.trainable_variables)) for loss in both]
    return tf.sigmoid(tf.cast(fake_logits, "float64")).numpy(), *gradients


def flat(gradient: list[tf.Tensor]) -> np.ndarray:
    """The gradient of all weights as one vector."""
    return np.concatenate([np.ravel(part) for part in gradient]).astype("float64")


def noise(gan: gan_utils.GAN) -> dict[str, float]:
    """Size of the mean gradient and of its scatter from batch to batch, under both losses, without bias."""
    sums, squares = np.zeros((2, gan.generator.count_params())), np.zeros(2)
    for _ in range(NOISE_BATCHES):
        gradients = np.stack(g_gradients(gan, NOISE_BATCH)[1:])
        sums += gradients
        squares += (gradients**2).sum(axis=1)
    means = ((sums / NOISE_BATCHES) ** 2).sum(axis=1)
    variances = (squares / NOISE_BATCHES - means) * NOISE_BATCHES / (NOISE_BATCHES - 1)
    signals = np.sqrt(np.clip(means - variances / NOISE_BATCHES, 0.0, None))
    record = {}
    for name, signal, variance in zip(("minimax", "non-saturating"), signals, variances, strict=True):
        record[f"{name} signal"], record[f"{name} noise"] = significant(signal), significant(np.sqrt(variance))
    return record


def freeze(generator: keras.Model, dataset: tf.data.Dataset) -> list[dict[str, float]]:
    """Trains a new D against a generator that no longer moves; at each check, G's gradients under both losses."""
    discriminator = models.mlp_discriminator(hidden_units=(512, 256), dropout_rate=0.0)
    gan = gan_utils.GAN(generator, discriminator, latent_dim=100)
    gan.compile(keras.optimizers.Adam(1e-3, beta_1=0.5), keras.optimizers.Adam(2e-4))
    step = tf.function(gan.discriminator_step)
    checks = []
    for number, real in enumerate(dataset.take(max(FROZEN_CHECKS) + 1)):
        if number in FROZEN_CHECKS:
            d_fake, minimax, non_saturating = g_gradients(gan, 512)
            factor = np.linalg.norm(non_saturating) / np.linalg.norm(minimax)
            checks.append({"step": number, "D(G(z))": significant(d_fake.mean()), "factor": significant(factor)})
            checks[-1]["predicted"] = significant((1 - d_fake).mean() / d_fake.mean())
            checks[-1] |= noise(gan)
        step(real)
    return checks


def gradient_size(gan: gan_utils.GAN) -> float:
    """Root mean square, over G's weights, of the gradient that G's optimizer sees in one batch."""
    with tf.GradientTape() as tape:
        loss = gan.objective.generator(gan.discriminator(gan.generator(gan.latent(BATCH)), training=True))
    return significant(np.sqrt(np.mean(flat(tape.gradient(loss, gan.generator.trainable_variables)) ** 2)))


def significant(value: float) -> float:
    """Four digits are enough, whatever the size."""
    return float(f"{value:.4g}")


def train(seed: int, objective: losses.Objective, d_steps: int, freeze_after: bool = False) -> dict[str, Any]:
    """One run: the score at every check, the training metrics every 50 steps, and at seed 0 some images."""
    generator = models.mlp_generator(100, hidden_units=(256, 512))
    discriminator = models.mlp_discriminator(hidden_units=(512, 256), dropout_rate=0.0)
    gan = gan_utils.GAN(generator, discriminator, latent_dim=100)
    d_optimizer = keras.optimizers.Adam(1e-3, beta_1=0.5)
    g_optimizer = keras.optimizers.Adam(2e-4, beta_1=0.5)
    gan.compile(d_optimizer, g_optimizer, objective=objective, d_steps=d_steps, steps_per_execution=50)
    dataset = data.batches(data.load_mnist("train")[0], BATCH, seed).repeat()

    curves: dict[str, list[float]] = {"d_loss": [], "g_loss": [], "D(x)": [], "D(G(z))": []}
    scores, gradients = [score(gan.sample(SAMPLES))], [gradient_size(gan)]
    for _ in range(STEPS // (STEPS_PER_POINT * POINTS_PER_CHECK)):
        history = gan.fit(dataset, steps_per_epoch=STEPS_PER_POINT, epochs=POINTS_PER_CHECK, verbose=0).history
        for name, values in curves.items():
            values += [significant(value) for value in history[name]]
        scores.append(score(gan.sample(SAMPLES)))
        gradients.append(gradient_size(gan))
    samples = study.encode(gan.sample(32, seed=0)) if seed == 0 else None
    frozen = freeze(generator, dataset) if freeze_after else None
    return {"scores": scores, "gradients": gradients, **curves, "frozen": frozen, "samples": samples}


def main() -> None:
    protocol = {
        "generator": "100 → 256 → 512 → 784, Adam(2e-4, beta_1=0.5)",
        "discriminator": "784 → 512 → 256 → 1, no dropout, Adam(1e-3, beta_1=0.5)",
        "batch_size": BATCH,
        "generator_steps": STEPS,
        "steps_per_point": STEPS_PER_POINT,
        "steps_per_check": STEPS_PER_POINT * POINTS_PER_CHECK,
        "samples": SAMPLES,
        "noise": f"{NOISE_BATCHES} batches of {NOISE_BATCH}",
        "held_out": len(study.reference()),
    }
    measured = {"floor": score(data.load_mnist("train")[0][:SAMPLES])}
    study.conduct("losses", protocol, SETTINGS, SEEDS, train, measured=measured)


if __name__ == "__main__":
    main()
