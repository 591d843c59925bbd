"""Trains the same networks on MNIST under the minimax and the non-saturating loss; writes data/results/losses.json.

    python tools/losses_study.py

Takes about 15 minutes on two CPU cores, and can be interrupted; see study.py.
"""

import base64
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import study

import gan_utils
from gan_utils import data, losses, metrics, models

BATCH = 128
STEPS = 1_200  # of the generator
STEPS_PER_POINT = 100  # of the curves
POINTS_PER_CHECK = 3
SAMPLES = 5_000
SEEDS = range(3)

OBJECTIVES = {"minimax": losses.minimax(), "non-saturating": losses.non_saturating()}
STRENGTHS: dict[str, dict[str, Any]] = {
    "balanced": {},
    "D strong": {"d_learning_rate": 1e-3, "dropout_rate": 0.0},
}
SETTINGS = {
    f"{name}, {strength}": {"objective": objective, **changes}
    for strength, changes in STRENGTHS.items()
    for name, objective in OBJECTIVES.items()
}

digits = data.load_mnist("train")[0]
held_out = metrics.digit_features(data.load_mnist("test")[0])[0]  # (10000, 128)


def score(images: Any) -> float:
    """Fréchet distance in the classifier's features, against the 10,000 test digits."""
    return round(metrics.frechet_distance(metrics.digit_features(images)[0], held_out), 2)


def train(
    seed: int,
    objective: losses.Objective,
    d_learning_rate: float = 2e-4,
    dropout_rate: float = 0.5,
    d_steps: int = 1,
) -> dict[str, Any]:
    """One run: the score at every check, the training metrics every 100 steps, and at seed 0 some images."""
    generator = models.mlp_generator(100, hidden_units=(256, 512))
    discriminator = models.mlp_discriminator(hidden_units=(512, 256), dropout_rate=dropout_rate)
    gan = gan_utils.GAN(generator, discriminator, latent_dim=100)
    d_optimizer = keras.optimizers.Adam(d_learning_rate, beta_1=0.5)
    g_optimizer = keras.optimizers.Adam(2e-4, beta_1=0.5)
    gan.compile(d_optimizer, g_optimizer, objective=objective, d_steps=d_steps, steps_per_execution=50)
    dataset = data.batches(digits, BATCH, seed).repeat()

    curves: dict[str, list[float]] = {"d_loss": [], "g_loss": [], "D(x)": [], "D(G(z))": []}
    scores = [score(gan.sample(SAMPLES))]
    for _ in range(STEPS // (STEPS_PER_POINT * POINTS_PER_CHECK)):
        history = gan.fit(dataset, steps_per_epoch=STEPS_PER_POINT, epochs=POINTS_PER_CHECK, verbose=0).history
        for name, values in curves.items():
            values += [round(value, 5) for value in history[name]]
        scores.append(score(gan.sample(SAMPLES)))
    images = data.to_bytes(gan.sample(32, seed=0))
    return {"scores": scores, **curves, "samples": base64.b64encode(images).decode() if seed == 0 else None}


def main() -> None:
    protocol = {
        "generator": "100 → 256 → 512 → 784, Adam(2e-4, beta_1=0.5)",
        "discriminator": "784 → 512 → 256 → 1; balanced: Adam(2e-4, beta_1=0.5), dropout 0.5; strong: Adam(1e-3), none",
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
