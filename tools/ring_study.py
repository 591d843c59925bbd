"""Measures mode collapse and imbalance on a ring of 8 Gaussians, and writes data/results/ring.json.

    python tools/ring_study.py

Takes about half an hour on two CPU cores. Runs that the file already holds are kept, so an interrupted study goes on
where it stopped; delete the file to start anew.
"""

import json
import os
import pathlib
import platform
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import gan_utils
from gan_utils import data, losses, metrics, models

PATH = pathlib.Path(__file__).parent.parent / "data" / "results" / "ring.json"
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
    keras.utils.set_random_seed(seed)
    generator = models.mlp_generator(2, (2,), (128, 128), output_activation=None)
    discriminator = models.mlp_discriminator((2,), d_units, dropout_rate=0.0)
    gan = gan_utils.GAN(generator, discriminator, latent_dim=2)
    d_optimizer = keras.optimizers.Adam(d_learning_rate, beta_1=beta_1)
    g_optimizer = keras.optimizers.Adam(g_learning_rate, beta_1=beta_1)
    gan.compile(d_optimizer, g_optimizer, objective=objective, d_steps=d_steps, steps_per_execution=50)
    real = data.gaussian_mixture(50_000, CENTERS, STD, seed)
    dataset = data.batches(real, BATCH, seed).repeat()

    checks = []
    begin = time.perf_counter()
    for _ in range(STEPS // STEPS_PER_CHECK):
        history = gan.fit(dataset, steps_per_epoch=STEPS_PER_CHECK, verbose=0).history
        checks.append(metrics.mode_coverage(gan.sample(SAMPLES), CENTERS, 3 * STD))
    return {
        "modes": [modes for modes, _ in checks],
        "good": [round(good, 4) for _, good in checks],
        "metrics": {name: round(values[-1], 4) for name, values in history.items()},
        "samples": np.round(gan.sample(200), 3).tolist() if seed == 0 else None,  # for a picture
        "seconds": round(time.perf_counter() - begin, 1),
    }


def new_study() -> dict[str, Any]:
    return {
        "command": "python tools/ring_study.py",
        "protocol": {
            "modes": len(CENTERS),
            "radius": 1.0,
            "std": STD,
            "good_within": 3 * STD,
            "samples": SAMPLES,
            "batch_size": BATCH,
            "generator_steps": STEPS,
            "steps_per_check": STEPS_PER_CHECK,
        },
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "gan_utils": gan_utils.__version__,
        },
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "runs": [],
    }


def write(study: dict[str, Any]) -> None:
    """One run a line, so that a change can be read in a diff; an interruption leaves the last complete file."""
    head = json.dumps({**study, "runs": []}, indent=1).removesuffix("[]\n}")
    runs = ",\n".join(json.dumps(run) for run in study["runs"])
    PATH.parent.mkdir(parents=True, exist_ok=True)
    partial = PATH.with_suffix(".partial")
    partial.write_text(f"{head}[\n{runs}\n]}}\n", encoding="utf-8")
    partial.replace(PATH)


def main() -> None:
    study = json.loads(PATH.read_text(encoding="utf-8")) if PATH.is_file() else new_study()
    done = {(run["setting"], run["seed"]) for run in study["runs"]}
    for seed in SEEDS:
        for setting, changes in SETTINGS.items():
            if (setting, seed) in done:
                continue
            run = {"setting": setting, "seed": seed, **train(seed, **changes)}
            study["runs"].append(run)
            study["runs"].sort(key=lambda run: (run["seed"], list(SETTINGS).index(run["setting"])))
            write(study)
            print(
                f"{setting}, seed {seed}: {run['modes'][-1]} modes, {run['good'][-1]:.0%} good, {run['seconds']} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
