"""Measures cures of mode collapse on a ring and on a grid of Gaussians, and writes data/results/collapse.json.

    python studies/collapse.py

On this ring the plain GAN with five steps of D to one of G stays in one mode, so that a cure has something to cure.
Each cure is measured with the loss and the number of D's steps of the plain GAN beside it, and with what it changes by
the way: eight generators with a plain D beside MAD-GAN and beside one of as many weights, packing beside a wider D, the
saturating loss beside unrolling. The whole course is kept, step by step and with its CPU seconds: plain GANs leave
collapse too, late.

Nothing was tuned: one learning rate, and the weight of each cure in its paper, or 0.1 and 10 for penalties. A run takes
8 to 250 CPU seconds, the ring's five seeds about three hours and the grid's three (data/results/collapse_grid.json)
about two on one CPU core; two processes share them. A run that is in the files is not made again.
"""

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # so that CPU time means the same for all methods

import keras
import numpy as np
import study
import tensorflow as tf
from keras import layers

import gan_utils
from gan_utils import data, diversity, games, losses, penalties
from gan_utils.training import Batch

CENTERS = {"ring of 8": (data.ring_centers(8, 2.0), 0.02), "grid of 25": (data.grid_centers(5), 0.05)}  # and σ
SEEDS = {"ring of 8": range(5), "grid of 25": range(3)}
UNITS, LATENT, BATCH = (128, 128), 64, 128
RATE = 1e-3  # of Adam, β₁ 0.5, in both players
STEPS, CHECK = 4_000, 250  # of G
AT_ONCE = 50  # steps in one call
SAMPLES = 2_500
NEAR = 0.01  # a mode that more than this share of the samples is nearest to counts as one that G is near
STRIPS, SHOWN = (250, 500, 1_000, 2_000, 4_000), 100  # samples at these steps, of seed 0
GENERATORS = 8
KERNELS, DIMENSIONS = 16, 5  # of minibatch discrimination
REMEMBERED = 50  # batches


class Remembers(gan_utils.GAN):
    """D also meets fakes of long ago: the second half of its fakes comes from a memory, which the others enter."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        shape = (REMEMBERED, BATCH // 2, *self.generator.output_shape[1:])
        self.memory = self.add_weight(name="memory", shape=shape, initializer="zeros", trainable=False)
        self.steps = self.add_weight(name="steps", initializer="zeros", dtype="int32", trainable=False)

    def both_judged(self, real: Batch, fake: Batch) -> tuple[Batch, Batch]:
        half = tf.shape(fake.samples)[0] // 2
        entering = fake.samples[:half]
        place = self.noise.next()  # two numbers, which draw the batch that is recalled
        known = tf.maximum(tf.minimum(self.steps.value, REMEMBERED), 1)
        recalled = tf.random.stateless_uniform((), tf.cast(place, tf.int32), 0, known, tf.int32)
        old = tf.where(self.steps.value > 0, self.memory.value[recalled], entering)
        self.memory.assign(
            tf.tensor_scatter_nd_update(self.memory.value, [[self.steps.value % REMEMBERED]], entering[tf.newaxis])
        )
        self.steps.assign_add(1)
        return self.judged(real), self.judged(fake._replace(samples=tf.concat([entering, old], axis=0)))


# Networks, of points of the plane


def stack(inputs: int, *parts: layers.Layer, units: tuple[int, ...] = UNITS) -> keras.Model:
    """Dense layers with ReLU, then these parts."""
    hidden = [layers.Dense(size, activation="relu") for size in units]
    return keras.Sequential([keras.Input((inputs,)), *hidden, *parts])


def generator(units: tuple[int, ...] = UNITS) -> keras.Model:
    return stack(LATENT, layers.Dense(2), units=units)


def several() -> keras.Model:
    return games.take_turns([generator() for _ in range(GENERATORS)])


def encoder() -> keras.Model:
    return stack(2, layers.Dense(LATENT))


def critic(*parts: layers.Layer, units: tuple[int, ...] = UNITS) -> keras.Model:
    return stack(2, *parts, layers.Dense(1), units=units)


def packed(size: int) -> keras.Model:
    return diversity.packed(stack(2 * size, layers.Dense(1)), size)


class Method(NamedTuple):
    """What a row of the table is made of, beside the objective and the number of D's steps.

    Attributes:
        discriminator: makes D.
        generator: makes G.
        kind: of game.
        settings: of the game; what can be called is called.
        penalty: on D's slope.
        adapted: whether minibatch discrimination gets its scale from real samples.
    """

    discriminator: Callable[[], keras.Model] = critic
    generator: Callable[[], keras.Model] = generator
    kind: type[gan_utils.GAN] = gan_utils.GAN
    settings: dict[str, Any] = {}  # noqa: RUF012 (never written to)
    penalty: penalties.Penalty | None = None
    adapted: bool = False


def discriminating() -> keras.Model:
    return critic(diversity.MinibatchDiscrimination(KERNELS, DIMENSIONS))


METHODS = {
    "plain": Method(),
    **{f"unrolled {steps}": Method(kind=games.UnrolledGAN, settings={"unrolled_steps": steps}) for steps in (1, 5, 10)},
    "minibatch discrimination": Method(discriminating, adapted=True),
    "minibatch discrimination, scale as drawn": Method(discriminating),
    "minibatch deviation, groups of 4": Method(lambda: critic(diversity.MinibatchStandardDeviation(4))),
    "minibatch deviation, whole batch": Method(lambda: critic(diversity.MinibatchStandardDeviation(None))),
    **{f"PacGAN {size}": Method(lambda size=size: packed(size)) for size in (2, 3, 4)},
    "D twice as wide": Method(lambda: critic(units=(256, 256))),
    "8 generators": Method(generator=several),
    "MAD-GAN, 8 generators": Method(lambda: stack(2, layers.Dense(GENERATORS + 1)), several, games.MADGAN),
    "G of as many weights": Method(generator=lambda: generator((414, 414))),
    "mode regularisation": Method(kind=games.ModeRegularizedGAN, settings={"encoder": encoder}),
    "memory of fakes": Method(kind=Remembers),
    **{f"R1, {weight:g}": Method(penalty=penalties.r1(weight)) for weight in (0.1, 10.0)},
    **{f"gradient penalty, {weight:g}": Method(penalty=penalties.gradient_penalty(weight)) for weight in (0.1, 10.0)},
}
OBJECTIVES = {"minimax": losses.minimax(), "non-saturating": losses.non_saturating()}


class Course(keras.callbacks.Callback):
    """What the samples are like, and the CPU seconds of training so far, after each epoch.

    Args:
        centers: of the modes, (modes, 2).
        std: of each mode.
        strips: steps after which samples are kept.
    """

    def __init__(self, centers: np.ndarray, std: float, strips: tuple[int, ...]):
        super().__init__()
        self.centers, self.std, self.strips = centers, std, strips
        self.course: dict[str, list[Any]] = {}
        self.samples: dict[str, list[Any]] = {}
        self.spent = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.begin = time.process_time()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.spent += time.process_time() - self.begin
        samples, step = self.model.sample(SAMPLES, seed=1), (epoch + 1) * CHECK
        found = {"step": step, "cpu_seconds": round(self.spent, 2), **counts(samples, self.centers, self.std)}
        for name, value in found.items():
            self.course.setdefault(name, []).append(value)
        if step in self.strips:
            self.samples[str(step)] = np.round(samples[:SHOWN], 2).tolist()


def counts(samples: np.ndarray, centers: np.ndarray, std: float) -> dict[str, Any]:
    """One number for each thing that can be wrong; None where there is nothing to count.

    Returns:
        near: modes that more than 1 % of the samples are nearest to.
        covered: modes with a good sample, one within 3σ of the mode's center.
        good: share of good samples.
        kl: KL(samples ‖ data) of the modes that samples are nearest to, in nats; log 8 if all are in one of eight.
        kl_good: the same of good samples alone.
        spread: variance of the good samples around the mean of those of their mode, over σ²: 0.95 of true ones, as 3σ
            cuts the rest off.
    """
    if not np.isfinite(samples).all():
        return dict.fromkeys(("near", "covered", "good", "kl", "kl_good", "spread"))
    distances = np.linalg.norm(samples[:, np.newaxis] - centers, axis=-1)  # (samples, modes)
    modes, good = distances.argmin(axis=1), distances.min(axis=1) <= 3 * std
    shares, good_counts = (np.bincount(part, minlength=len(centers)) for part in (modes, modes[good]))
    return {
        "near": int(np.sum(shares > NEAR * len(samples))),
        "covered": int(np.sum(good_counts > 0)),
        "good": study.rounded(good.mean(), 4),
        "kl": study.rounded(divergence(shares), 4),
        "kl_good": study.rounded(divergence(good_counts), 4) if good.any() else None,
        "spread": within(samples[good], modes[good], std),
    }


def divergence(counted: np.ndarray) -> float:
    """KL of a histogram from the uniform one, in nats."""
    shares = counted[counted > 0] / counted.sum()
    return max(float(np.sum(shares * np.log(shares * len(counted)))), 0.0)


def within(samples: np.ndarray, modes: np.ndarray, std: float) -> float | None:
    """The unbiased variance within modes, pooled, in units of σ²."""
    present = np.unique(modes)
    freedom = len(samples) - len(present)
    if freedom < 1:
        return None
    squares = sum(np.sum((samples[modes == mode] - samples[modes == mode].mean(axis=0)) ** 2) for mode in present)
    return study.rounded(squares / (2 * freedom * std**2), 4)


def build(method: str, real: np.ndarray) -> gan_utils.GAN:
    chosen = METHODS[method]
    parts = {name: value() if callable(value) else value for name, value in chosen.settings.items()}
    gan = chosen.kind(chosen.generator(), chosen.discriminator(), latent_dim=LATENT, **parts)
    if chosen.adapted:
        layer = gan.discriminator.layers[-2]
        layer.adapt(keras.Model(gan.discriminator.inputs[0], layer.input)(real[:BATCH]))
    return gan


def train(seed: int, name: str, method: str, objective: str, d_steps: int) -> dict[str, Any]:
    """One run: the course of all counts, and the cost of a step of G with D's steps to it."""
    centers, std = CENTERS[name]
    real = data.gaussian_mixture(400 * BATCH, centers, std, seed)
    gan = build(method, real)
    both = (keras.optimizers.Adam(RATE, beta_1=0.5) for _ in range(2))
    penalty = METHODS[method].penalty
    gan.compile(*both, OBJECTIVES[objective], penalty, d_steps=d_steps, steps_per_execution=AT_ONCE)
    course = Course(centers, std, STRIPS if seed == 0 else ())
    dataset = data.batches(real, BATCH, seed).repeat()
    gan.fit(dataset, epochs=STEPS // CHECK, steps_per_epoch=CHECK, verbose=0, callbacks=[course])
    seconds = np.diff(course.course["cpu_seconds"])  # the first part holds the tracing of the graph
    return {
        "data": name,
        "method": method,
        "objective": objective,
        "d_steps": d_steps,
        "weights": {"d": gan.discriminator.count_params(), "g": gan.generator.count_params()},
        "ms_per_step": study.rounded(1000.0 * np.median(seconds) / CHECK, 4) if len(seconds) else None,
        "course": course.course,
        "samples": course.samples or None,
    }


def settings(name: str) -> dict[str, dict[str, Any]]:
    """All rows: each method with the non-saturating loss and k = 1 and 5, some with minimax too."""
    rows = [(method, "non-saturating", steps) for method in METHODS for steps in (1, 5)]
    rows += [(method, "minimax", 1) for method in METHODS if method.startswith(("plain", "unrolled"))]
    rows += [("plain", "minimax", 5)]
    dear = {("unrolled 1", 5), ("unrolled 10", 5)}  # 5 tells what k does to unrolling
    return {
        f"{method} · {objective}, k = {steps}": {
            "name": name,
            "method": method,
            "objective": objective,
            "d_steps": steps,
        }
        for method, objective, steps in rows
        if (method, steps) not in dear
    }


def main() -> None:
    for name, (centers, std) in CENTERS.items():
        protocol = {
            "data": f"{name}, σ = {std}",
            "networks": f"{LATENT} → {UNITS} → 2 and 2 → {UNITS} → 1, ReLU",
            "optimizers": f"Adam, beta_1=0.5, {RATE:g}, in both players",
            "batch_size": BATCH,
            "g_steps": STEPS,
            "steps_per_check": CHECK,
            "samples": f"{SAMPLES}; near a mode: it is the nearest of more than {NEAR:.0%}; good: within 3σ",
            "weights": "unrolled: steps of 0.01; mode regularisation: 0.2 and 0.2; "
            f"minibatch discrimination: {KERNELS} × {DIMENSIONS}; memory: half of D's fakes from {REMEMBERED} batches",
            "threads": int(os.environ["TF_NUM_INTRAOP_THREADS"]),
        }
        found = counts(data.gaussian_mixture(SAMPLES, centers, std, seed=1), centers, std)
        file = "collapse" if name == "ring of 8" else "collapse_grid"
        command = "python studies/collapse.py"
        study.conduct(file, {**protocol, "real": found}, settings(name), SEEDS[name], train, command)


if __name__ == "__main__":
    main()
