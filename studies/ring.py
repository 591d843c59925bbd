"""Measures mode collapse and imbalance on a ring of 8 Gaussians, and writes data/results/ring.json.

    python studies/ring.py

Takes about half an hour on two CPU cores, and can be interrupted; see study.py.
"""

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import study

import gan_utils
from gan_utils import data, losses, metrics, models

CENTERS = data.ring_centers(8)
STD = 0.01
SAMPLES = 2500
BATCH = 256
STEPS = 10_000  # of the generator
STEPS_PER_CHECK = 1_000
SEEDS = range(5)

# Each setting differs from "balanced" in what it names.
SETTINGS: dict[str, dict[str, Any]] = {
    "balanced, k = 1": {},
    "k = 2": {"d_steps": 2},
    "k = 5": {"d_steps": 5},
    "D learns 5 times faster": {"d_learning_rate": 1e-3},
    "D too weak (16 units)": {"d_units": (16,)},
    "G learns 5 times faster": {"g_learning_rate": 1e-3},
    "momentum: β₁ = 0.9 for 0.5": {"beta_1": 0.9},
    "minimax, k = 1": {"objective": losses.minimax()},
    "minimax, D learns 5 times faster": {"objective": losses.minimax(), "d_learning_rate": 1e-3},
}


def train(
    seed: int,
    d_units: tuple[int, ...] = (128, 128),
    d_learning_rate: float = 2e-4,
    g_learning_rate: float = 2e-4,
    beta_1: float = 0.5,
    d_steps: int = 1,
    objective: losses.Objective | None = None,
) -> dict[str, Any]:
    """One run: modes covered and share of good samples at every check, and the last training metrics."""
    generator = models.mlp_generator(2, (2,), (128, 128), output_activation=None)
    discriminator = models.mlp_discriminator((2,), d_units, dropout_rate=0.0)
    gan = gan_utils.GAN(generator, discriminator, latent_dim=2)
    d_optimizer = keras.optimizers.Adam(d_learning_rate, beta_1=beta_1)
    g_optimizer = keras.optimizers.Adam(g_learning_rate, beta_1=beta_1)
    gan.compile(d_optimizer, g_optimizer, objective=objective, d_steps=d_steps, steps_per_execution=50)
    real = data.gaussian_mixture(50_000, CENTERS, STD, seed)
    dataset = data.batches(real, BATCH, seed).repeat()

    checks = []
    for _ in range(STEPS // STEPS_PER_CHECK):
        history = gan.fit(dataset, steps_per_epoch=STEPS_PER_CHECK, verbose=0).history
        checks.append(metrics.mode_coverage(gan.sample(SAMPLES), CENTERS, 3 * STD))
    return {
        "modes": [modes for modes, _ in checks],
        "good": [round(good, 4) for _, good in checks],
        "metrics": {name: round(values[-1], 4) for name, values in history.items()},
        "samples": np.round(gan.sample(200), 3).tolist() if seed == 0 else None,  # for a picture
    }


def main() -> None:
    protocol = {
        "modes": len(CENTERS),
        "radius": 1.0,
        "std": STD,
        "good_within": 3 * STD,
        "samples": SAMPLES,
        "batch_size": BATCH,
        "generator_steps": STEPS,
        "steps_per_check": STEPS_PER_CHECK,
    }
    study.conduct("ring", protocol, SETTINGS, SEEDS, train)


if __name__ == "__main__":
    main()
