"""Measures a grid of both players' learning rates, and writes data/results/two_time_scales_grid.json and
data/results/two_time_scales.json.

    python studies/two_time_scales.py

A DCGAN on digits, five learning rates of D times five of G, one seed each, scored by digits held out from the training
set. Then, on three other seeds and scored by the test digits: the four corners of that grid, its best pair of equal
rates and its best pair of unequal ones. Takes about 45 minutes on one CPU core (60 s a run); a run that is in the files
is not made again, and two processes share the work.
"""

import itertools
import json
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # so that CPU time means the same for all

import keras
import numpy as np
import study
import tensorflow as tf

import gan_utils
from gan_utils import data, metrics, models

SECONDS = 60.0  # of CPU time in training
RATES = (2e-4, 5e-4, 1e-3, 2e-3, 5e-3)
GRID_SEED = 10
BATCH, LATENT, FILTERS = 64, 100, 16
AT_ONCE = 10  # steps in one call; the first ten, with the compiling, are not counted
SAMPLES = 10_000
SEEDS = range(3)


def choose(seed: int, d_rate: float, g_rate: float) -> dict[str, Any]:
    """One run on the first 50,000 digits, scored by the other 10,000 of the training set."""
    images = data.load_mnist("train")[0][: -study.HELD_OUT]
    return train(seed, d_rate, g_rate, images, study.held_out())


def confirm(seed: int, d_rate: float, g_rate: float) -> dict[str, Any]:
    """One run on all training digits, scored by the test digits."""
    return train(seed, d_rate, g_rate, data.load_mnist("train")[0], study.reference())


def train(seed: int, d_rate: float, g_rate: float, images: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    gan = build(d_rate, g_rate)
    dataset = data.batches(images, BATCH, seed).repeat()
    gan.fit(dataset, steps_per_epoch=AT_ONCE, verbose=0)  # compiles
    clock = study.Clock(SECONDS)
    history = gan.fit(dataset, steps_per_epoch=10**6, verbose=0, callbacks=[clock]).history
    told = {name: study.rounded(history[name][-1]) for name in gan.score_names()}
    record = {"d_rate": d_rate, "g_rate": g_rate, "g_steps": gan.steps_of_g, **told}
    samples = gan.sample(SAMPLES, seed=1)
    if not np.isfinite(samples).all():
        return {**record, "frechet": None, "samples": None}
    distance = metrics.frechet_distance(metrics.digit_features(samples)[0], reference)
    return {**record, "frechet": study.rounded(distance), "samples": study.encode(samples[:8])}


def build(d_rate: float, g_rate: float) -> gan_utils.GAN:
    networks = models.dcgan_generator(base_filters=FILTERS), models.dcgan_discriminator(base_filters=FILTERS)
    gan = gan_utils.GAN(*networks, latent_dim=LATENT)
    gan.compile(*(keras.optimizers.Adam(rate, beta_1=0.5) for rate in (d_rate, g_rate)), steps_per_execution=AT_ONCE)
    return gan


def named(pairs: Any) -> dict[str, dict[str, float]]:
    return {f"D {d:g} · G {g:g}": {"d_rate": d, "g_rate": g} for d, g in pairs}


def confirmed() -> list[tuple[float, float]]:
    """The corners of the grid, its best pair of equal rates and its best pair of unequal ones."""
    runs = json.loads((study.FOLDER / "two_time_scales_grid.json").read_text("utf-8"))["runs"]
    runs = sorted((run for run in runs if run["frechet"] is not None), key=lambda run: run["frechet"])
    pairs = [(run["d_rate"], run["g_rate"]) for run in runs]
    equal = next(pair for pair in pairs if pair[0] == pair[1])
    unequal = next(pair for pair in pairs if pair[0] != pair[1])
    corners = itertools.product((RATES[0], RATES[-1]), repeat=2)
    return list(dict.fromkeys([equal, unequal, *corners]))


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    command = "python studies/two_time_scales.py"
    protocol = {
        "networks": f"DCGAN with {FILTERS} base filters; non-saturating; Adam, beta_1=0.5",
        "batch_size": BATCH,
        "cpu_seconds": SECONDS,
        "rates": list(RATES),
        "samples": SAMPLES,
    }
    grid = named(itertools.product(RATES, repeat=2))
    chosen = {"reference": "the last 10,000 training digits, which the training does not see"}
    study.conduct("two_time_scales_grid", {**protocol, **chosen}, grid, [GRID_SEED], choose, command)
    tested = {"reference": "10,000 test digits"}
    study.conduct("two_time_scales", {**protocol, **tested}, named(confirmed()), SEEDS, confirm, command)


if __name__ == "__main__":
    main()
