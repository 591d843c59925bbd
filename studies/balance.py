"""Tries to balance the two players of a DCGAN on digits, and writes data/results/balance.json.

    python studies/balance.py

One thing at a time: the steps of D to one of G; schedules that people use, D trained until it is right about 80 % of a
batch, or left out while it is; and the widths of both networks, from a quarter to four times. Each run goes on until it
has made 1,000 steps of G and spent 60 seconds of CPU time, so that its curve can be read at equal steps and at equal
time. Nothing is chosen by these runs, so the test digits judge them all. Takes about two and a half hours on one CPU
core; a run that is in the file is not made again, and two processes share the work.
"""

import itertools
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # so that CPU time means the same for all

import keras
import numpy as np
import study
import tensorflow as tf

import gan_utils
from gan_utils import data, models
from gan_utils.training import as_batch, keep_statistics

STEPS, SECONDS = 1_000, 60.0  # of G, and of CPU time in training: a run ends when it has made both
RATE = 2e-3  # of both players: the best of equal rates but one in two_time_scales_grid.json, with the same network
BATCH, LATENT, FILTERS = 64, 100, 16
WIDTHS = (4, 8, 16, 32, 64)
RIGHT = 0.8  # the share of a batch that a schedule asks of D
AT_MOST = 10  # steps of D on one batch, in the schedule that waits for it
AT_ONCE = 10  # steps in one call; the first ten, with the compiling, are not counted
CHECKS = (100, 200, 400, 600, 800, 1_000, 1_400, 2_000, 2_800, 4_000)  # G steps, of a curve
SAMPLES = 2_000
SEEDS = range(3)


class Scheduled(gan_utils.GAN):
    """A GAN whose D learns from a batch until it is right about `RIGHT` of it, or once, and only if it is not."""

    def __init__(self, *args: Any, at_most: int, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.at_most = at_most

    def discriminator_step(self, real: Any) -> None:
        def body(steps: tf.Tensor) -> tuple[tf.Tensor]:
            super(Scheduled, self).discriminator_step(real)
            return (steps + 1,)

        tf.while_loop(lambda steps: (steps < self.at_most) & (self.accuracy(real) < RIGHT), body, (tf.constant(0),))

    def accuracy(self, real: Any) -> tf.Tensor:
        """The share of a batch and of as many fakes that D is right about, in training mode."""
        real = as_batch(real)
        with keep_statistics(self.generator), keep_statistics(self.discriminator):
            real, fake = self.judged(real), self.judged(self.fakes_for(real))
        right = tf.concat([real.logits > 0.0, fake.logits <= 0.0], axis=0)
        return tf.reduce_mean(tf.cast(right, tf.float32))


SCHEDULES = {"D until it is right": AT_MOST, "D only if it is not": 1}


def train(seed: int, g_filters: int, d_filters: int, d_steps: int, schedule: str | None) -> dict[str, Any]:
    """The curve of one run: steps of G, CPU seconds, Fréchet distance of `SAMPLES` samples, D's scores.

    It ends at the first look at which a sample is not finite, whose distance is None.
    """
    networks = models.dcgan_generator(base_filters=g_filters), models.dcgan_discriminator(base_filters=d_filters)
    build = gan_utils.GAN if schedule is None else Scheduled
    gan = build(*networks, latent_dim=LATENT, **({} if schedule is None else {"at_most": SCHEDULES[schedule]}))
    optimizers = (keras.optimizers.Adam(RATE, beta_1=0.5) for _ in range(2))
    gan.compile(*optimizers, d_steps=d_steps, steps_per_execution=AT_ONCE)
    dataset = data.batches(data.load_mnist("train")[0], BATCH, seed).repeat()
    clock, curve = study.Clock(float("inf")), []
    for done, log in study.stretches(gan, dataset, CHECKS, clock, AT_ONCE):
        samples = gan.sample(SAMPLES, seed=1)
        finite = bool(np.isfinite(samples).all())
        distance = study.frechet(samples) if finite else None
        told = [study.rounded(log[name], 4) for name in gan.score_names()]
        curve.append([done, round(clock.spent, 1), study.rounded(distance, 4), *told])
        if not finite or (done >= STEPS and clock.spent >= SECONDS):
            break
    updates = int(gan.d_optimizer.iterations)
    weights = [networks[0].count_params(), networks[1].count_params()]
    return {
        "g_filters": g_filters,
        "d_filters": d_filters,
        "d_steps": d_steps,
        "schedule": schedule,
        "weights": weights,
        "d_updates": updates,
        "curve": curve,
    }


def settings() -> dict[str, dict[str, Any]]:
    """All rows, by name."""
    plain = {"g_filters": FILTERS, "d_filters": FILTERS, "d_steps": 1, "schedule": None}
    rows = {f"k = {k}": {**plain, "d_steps": k} for k in (1, 2, 3, 5, 10)}
    rows |= {schedule: {**plain, "schedule": schedule} for schedule in SCHEDULES}
    for g, d in itertools.product(WIDTHS, repeat=2):
        if (g, d) != (FILTERS, FILTERS):  # k = 1 is this one
            rows[f"G {g} · D {d}"] = {**plain, "g_filters": g, "d_filters": d}
    return rows


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    protocol = {
        "networks": f"DCGAN, {FILTERS} base filters where nothing else is said; non-saturating; Adam, beta_1=0.5",
        "learning_rate": RATE,
        "batch_size": BATCH,
        "ends": f"after {STEPS} steps of G and {SECONDS:g} CPU seconds",
        "samples": SAMPLES,
        "reference": "10,000 test digits",
        "curve": "G steps, CPU seconds, Fréchet distance, D(x), D(G(z)) since the point before",
    }
    rows = settings()
    study.conduct("balance", protocol, rows, [0], train)
    one_moves = {name: row for name, row in rows.items() if FILTERS in (row["g_filters"], row["d_filters"])}
    study.conduct("balance", protocol, one_moves, SEEDS, train)


if __name__ == "__main__":
    main()
