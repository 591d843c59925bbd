"""Trains the same networks on MNIST under the minimax and the non-saturating loss; writes data/results/losses.json.

    python tools/losses_study.py

Takes about 15 minutes on two CPU cores, and can be interrupted; see study.py.
"""

import base64
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import study
import tensorflow as tf

import gan_utils
from gan_utils import data, losses, metrics, models

BATCH = 128
STEPS = 1_000  # of the generator
STEPS_PER_POINT = 50  # of the curves
POINTS_PER_CHECK = 5
SAMPLES = 5_000
SEEDS = range(3)

SETTINGS: dict[str, dict[str, Any]] = {
    "minimax, k = 1": {"objective": losses.minimax(), "d_steps": 1},
    "non-saturating, k = 1": {"objective": losses.non_saturating(), "d_steps": 1},
    "minimax, k = 3": {"objective": losses.minimax(), "d_steps": 3},
    "non-saturating, k = 3": {"objective": losses.non_saturating(), "d_steps": 3},
}

digits = data.load_mnist("train")[0]
held_out = metrics.digit_features(data.load_mnist("test")[0])[0]  # (10000, 128)


def score(images: Any) -> float:
    """Fréchet distance in the classifier's features, against the 10,000 test digits."""
    return round(metrics.frechet_distance(metrics.digit_features(images)[0], held_out), 2)


def gradient_size(gan: gan_utils.GAN, batches: int = 4) -> float:
    """Root mean square, over G's weights, of the gradient that G's optimizer sees in one batch."""
    squares = []
    for _ in range(batches):
        with tf.GradientTape() as tape:
            loss = gan.generator_loss(gan.generator(gan.latent(BATCH), training=True))
        gradient = tape.gradient(loss, gan.generator.trainable_variables)
        squares.append(np.mean(np.concatenate([np.ravel(part) for part in gradient]).astype("float64") ** 2))
    return significant(np.sqrt(np.mean(squares)))


def significant(value: float) -> float:
    return float(f"{value:.4g}")


def train(seed: int, objective: losses.Objective, d_steps: int) -> dict[str, Any]:
    """One run: the score at every check, the training metrics every 50 steps, and at seed 0 some images."""
    generator = models.mlp_generator(100, hidden_units=(256, 512))
    discriminator = models.mlp_discriminator(hidden_units=(512, 256), dropout_rate=0.0)
    gan = gan_utils.GAN(generator, discriminator, latent_dim=100)
    d_optimizer = keras.optimizers.Adam(1e-3, beta_1=0.5)
    g_optimizer = keras.optimizers.Adam(2e-4, beta_1=0.5)
    gan.compile(d_optimizer, g_optimizer, objective=objective, d_steps=d_steps, steps_per_execution=50)
    dataset = data.batches(digits, BATCH, seed).repeat()

    curves: dict[str, list[float]] = {"d_loss": [], "g_loss": [], "D(x)": [], "D(G(z))": []}
    scores, gradients = [score(gan.sample(SAMPLES))], [gradient_size(gan)]
    for _ in range(STEPS // (STEPS_PER_POINT * POINTS_PER_CHECK)):
        history = gan.fit(dataset, steps_per_epoch=STEPS_PER_POINT, epochs=POINTS_PER_CHECK, verbose=0).history
        for name, values in curves.items():
            values += [significant(value) for value in history[name]]
        scores.append(score(gan.sample(SAMPLES)))
        gradients.append(gradient_size(gan))
    images = data.to_bytes(gan.sample(32, seed=0))
    samples = base64.b64encode(images).decode() if seed == 0 else None  # (32, 28, 28, 1), uint8
    return {"scores": scores, "gradients": gradients, **curves, "samples": samples}


def main() -> None:
    protocol = {
        "generator": "100 → 256 → 512 → 784, Adam(2e-4, beta_1=0.5)",
        "discriminator": "784 → 512 → 256 → 1, no dropout, Adam(1e-3, beta_1=0.5)",
        "batch_size": BATCH,
        "generator_steps": STEPS,
        "steps_per_point": STEPS_PER_POINT,
        "steps_per_check": STEPS_PER_POINT * POINTS_PER_CHECK,
        "samples": SAMPLES,
        "held_out": len(held_out),
        "floor": score(digits[:SAMPLES]),
    }
    study.conduct("losses", protocol, SETTINGS, SEEDS, train)


if __name__ == "__main__":
    main()
