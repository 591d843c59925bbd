"""Compares methods of training at equal cost, and writes data/results/methods.json.

    python studies/methods.py --target 150

Every objective that `gan_utils.losses` offers plays on MNIST and Fashion-MNIST, for the same seconds of CPU time, and
on a ring and a grid of Gaussians, for the same steps. A run that is in the file is not made again. In the end it prints
the CPU seconds of training until the Fréchet distance has reached a target. Takes about an hour on one CPU core.
"""

import argparse
import functools
import itertools
import json
import os
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # so that CPU time means the same for all methods

import keras
import numpy as np
import study
import tensorflow as tf
from keras import optimizers

import gan_utils
from gan_utils import data, losses, metrics, models

SECONDS = 75.0  # of CPU time in training
STEPS_PER_CHECK = 250
BATCH = 128
SAMPLES, CURVE_SAMPLES = 10_000, 2_000
LABORATORY_STEPS = 10_000
SEEDS = range(3)

NETWORKS = {
    "MLP": lambda: (
        models.mlp_generator(100, hidden_units=(256, 512)),
        models.mlp_discriminator(hidden_units=(512, 256)),
    ),
    "DCGAN": lambda: (models.dcgan_generator(base_filters=16), models.dcgan_discriminator(base_filters=16)),
}
LEARNING_RATE = 8e-4  # of both players; in one trial run each, better than 3e-4 for the DCGAN and 2e-4 for the MLP
CENTERS = {"ring of 8": (data.ring_centers(8), 0.01), "grid of 25": (data.grid_centers(5), 0.05)}  # and σ


def objectives() -> dict[str, losses.Objective]:
    """All of `losses`, with their defaults, and one-sided smoothing."""
    plain = [make() for make in losses.MAKERS.values()]
    return {objective.name: objective for objective in (*plain, losses.non_saturating(label_smoothing=0.1))}


def settings() -> dict[str, dict[str, Any]]:
    """One for each row of the table: "data · method"."""
    default = losses.non_saturating().name
    rows = [(name, "MLP", default) for name in study.IMAGES]
    rows += [(name, "DCGAN", objective) for name, objective in itertools.product(study.IMAGES, objectives())]
    table = {f"{name} · {network}, {objective}": (name, network, objective) for name, network, objective in rows}
    table |= {
        f"{name} · {objective}": (name, objective) for name, objective in itertools.product(CENTERS, objectives())
    }
    return {setting: {"choice": choice} for setting, choice in table.items()}


def train(seed: int, choice: tuple[str, ...]) -> dict[str, Any]:
    return train_on_images(seed, *choice) if choice[0] in study.IMAGES else train_in_the_laboratory(seed, *choice)


def train_on_images(seed: int, name: str, network: str, objective: str) -> dict[str, Any]:
    """One run of `SECONDS`: its learning curve, and all scores of its last samples."""
    load, extract = study.IMAGES[name]
    gan = compiled(NETWORKS[network](), 100, objective, LEARNING_RATE, steps_per_execution=10)
    distance = functools.partial(study.frechet, name=name)
    score = gan_utils.Score(distance, CURVE_SAMPLES, "frechet", clock=time.process_time)
    history = fit_for(gan, data.batches(load("train")[0], BATCH, seed), STEPS_PER_CHECK, score, SECONDS)
    images = gan.sample(SAMPLES, seed=1)
    curve = zip(history["seconds"], history["frechet"], strict=True)
    points = [[round(s, 1), round(f, 2) if np.isfinite(f) else None] for s, f in curve]
    record = {"data": name, "method": f"{network}, {objective}", "steps": STEPS_PER_CHECK * len(points)}
    record |= {"train_seconds": points[-1][0], "curve": points}
    if np.isfinite(images).all():
        record |= study.scores(extract(images), study.reference(name))
        record["samples"] = study.encode(images[:24]) if seed == 0 else None
    return record


def fit_for(
    gan: gan_utils.GAN, dataset: tf.data.Dataset, steps_per_check: int, score: gan_utils.Score, seconds: float
) -> dict[str, list[float]]:
    """Trains until `score` has counted so many seconds, with a check after every few steps; returns the history."""
    enough = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(gan, "stop_training", logs["seconds"] >= seconds)
    )
    fit = {"steps_per_epoch": steps_per_check, "epochs": 10**6, "callbacks": [score, enough], "verbose": 0}
    return gan.fit(dataset.repeat(), **fit).history


def train_in_the_laboratory(seed: int, name: str, objective: str) -> dict[str, Any]:
    """One run on a mixture of Gaussians, under the protocol of VEEGAN and PacGAN."""
    centers, std = CENTERS[name]
    networks = (
        models.mlp_generator(2, (2,), (128, 128), output_activation=None),
        models.mlp_discriminator((2,), (128, 128), dropout_rate=0.0),
    )
    gan = compiled(networks, 2, objective, 2e-4, steps_per_execution=50)
    dataset = data.batches(data.gaussian_mixture(50_000, centers, std, seed), 256, seed).repeat()
    gan.fit(dataset, steps_per_epoch=LABORATORY_STEPS, verbose=0)
    modes, good = metrics.mode_coverage(gan.sample(2_500), centers, 3 * std)
    return {"data": name, "method": objective, "steps": LABORATORY_STEPS, "modes": modes, "good": round(good, 4)}


def compiled(
    networks: tuple[keras.Model, keras.Model], latent_dim: int, objective: str, learning_rate: float, **options: Any
) -> gan_utils.GAN:
    gan = gan_utils.GAN(*networks, latent_dim=latent_dim)
    both = (optimizers.Adam(learning_rate, beta_1=0.5) for _ in networks)
    gan.compile(*both, objective=objectives()[objective], **options)
    return gan


def report(target: float) -> None:
    """Prints, for each setting, when its learning curves first reached the target."""
    runs = json.loads((study.FOLDER / "methods.json").read_text("utf-8"))["runs"]
    print(f"CPU seconds until the Fréchet distance of {CURVE_SAMPLES:,} samples is at most {target:g}, each seed")
    for setting in dict.fromkeys(run["setting"] for run in runs if "curve" in run):
        curves = [run["curve"] for run in runs if run["setting"] == setting]
        print(f"{setting:50}", *(f"{seconds_to(target, curve):6.1f}" for curve in curves))


def seconds_to(target: float, curve: list[list[float | None]]) -> float:
    """Of the first point at or below the target; NaN if there is none."""
    return next((seconds for seconds, score in curve if score is not None and score <= target), float("nan"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=float, default=150.0, help="Fréchet distance to be reached (default: 150)")
    target = parser.parse_args().target
    floor = {
        name: study.scores(extract(load("train")[0][:SAMPLES]), study.reference(name))
        for name, (load, extract) in study.IMAGES.items()
    }
    protocol = {
        "cpu_seconds": SECONDS,
        "threads": int(os.environ["TF_NUM_INTRAOP_THREADS"]),
        "networks": "MLP: 100 → 256 → 512 → 784 and 784 → 512 → 256 → 1, dropout 0.5; DCGAN: 16 base filters",
        "optimizers": f"Adam, beta_1=0.5, learning rate {LEARNING_RATE}; laboratory 2e-4",
        "batch_size": BATCH,
        "samples": SAMPLES,
        "curve_samples": CURVE_SAMPLES,
        "reference": "10,000 test images, features of the shipped classifier of each data set",
        "laboratory": f"2,500 samples, good within 3σ, σ = 0.01 and 0.05, {LABORATORY_STEPS} steps of 256",
    }
    study.conduct("methods", protocol, settings(), SEEDS, train, measured={"floor": floor})
    report(target)


if __name__ == "__main__":
    main()
