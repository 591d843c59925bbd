"""A laboratory where distance matters, and its results: writes data/results/far_apart.json.

    python studies/far_apart.py

Images of 16×16 pixels have two marks in opposite corners, both of the same hue, which may be any. Both networks are
convolutions alone: no feature of G reads the noise of both corners, and D averages the logits of patches that never
hold both. Either gets `SelfAttention`, or in its place as many weights that work at each position by itself. Counted is
how often the two marks of a generated image agree, after the same number of steps and after the same CPU time. Takes
about 20 minutes on one CPU core (50 s a run); a run that is in the file is not made again, and two processes share
the work.
"""

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # so that CPU time means the same for all

import keras
import numpy as np
import study
import tensorflow as tf
from keras import layers

import gan_utils
from gan_utils import data, losses, penalties
from gan_utils.attention import SelfAttention
from gan_utils.models import LEAKY_SLOPE

SIDE, MARK, CELLS, NOISE = 16, 3, 8, 2
TURNS = 2.0 * np.pi * np.arange(3) / 3  # the hues of red, green and blue
JITTER = 0.1  # of the brightness of a mark
AGREE = np.pi / 6  # two marks agree if their hues differ by less; of hues by chance, one pair in six
CLEAR = 0.5  # a mark is clear if its colour is at least this strong; real ones have 0.9 to 1
WIDTH = 32  # channels where attention, or what takes its place, works
BATCH, RATE, AT_ONCE = 64, 1e-3, 10
SECONDS = 50.0  # of CPU time in training
CHECKS = [100, 200, 400, 600, 800, 1000, 1300, 1600, 2000, 2500, 3000, 4000, 5000, 6000, 8000]  # G steps
POINT = ("G steps", "CPU seconds", "agree", "by chance", "clear")
SAMPLES = 2_000
SEEDS = range(5)
WHERE = {"neither": (False, False), "G": (True, False), "D": (False, True), "both": (True, True)}


def images(count: int, seed: int) -> np.ndarray:
    """Images with two marks of one hue on gray: (count, 16, 16, 3), in [-1, 1]."""
    random = np.random.default_rng(seed)
    colours = coloured(random.uniform(0.0, 2.0 * np.pi, count))[:, np.newaxis, np.newaxis]
    made = np.zeros((count, SIDE, SIDE, 3), np.float32)
    for corner in corners():
        made[:, *corner] = colours * (1.0 - JITTER * random.random((count, 1, 1, 1), np.float32))
    return made


def coloured(hues: np.ndarray) -> np.ndarray:
    """Red, green and blue of these hues: (…, 3), a circle in the plane where they add up to 0."""
    return np.cos(np.asarray(hues)[..., np.newaxis] - TURNS).astype(np.float32)


def corners() -> list[tuple[slice, slice]]:
    """The rows and columns of both marks: in the first and in the last corner."""
    first, last = slice(0, MARK), slice(SIDE - MARK, SIDE)
    return [(first, first), (last, last)]


class WithPlace(layers.Layer):
    """Appends to each cell its row and its column, from −1 to 1: of noise alone, a convolution knows no corner."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        places = tf.stack(tf.meshgrid(*[tf.linspace(-1.0, 1.0, CELLS)] * 2, indexing="ij"), axis=-1)
        return tf.concat([inputs, tf.tile(places[tf.newaxis], (tf.shape(inputs)[0], 1, 1, 1))], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], input_shape[-1] + 2)


def generator(attention: bool) -> keras.Model:
    """From 8×8 cells of noise, 2 numbers each, to an image, by convolutions; in their midst attention or `alone`."""
    stack = [
        keras.Input((CELLS * CELLS * NOISE,)),
        layers.Reshape((CELLS, CELLS, NOISE)),
        WithPlace(),
        *convolution(WIDTH, 3),
        SelfAttention() if attention else alone(),
        *convolution(WIDTH, 1),
        layers.Conv2DTranspose(3, 4, 2, "same"),
    ]
    return keras.Sequential(stack, name="generator")


def discriminator(attention: bool) -> keras.Model:
    """The mean of the logits of patches of 10×10 pixels or less."""
    stack = [
        keras.Input((SIDE, SIDE, 3)),
        *convolution(WIDTH // 2, 4, 2),  # 8×8
        *convolution(WIDTH, 4, 2),  # 4×4
        SelfAttention() if attention else alone(),
        *convolution(WIDTH, 1),
        layers.Conv2D(1, 1),  # of each patch
        layers.GlobalAveragePooling2D(),
    ]
    return keras.Sequential(stack, name="discriminator")


def convolution(filters: int, size: int, strides: int = 1) -> list[layers.Layer]:
    return [layers.Conv2D(filters, size, strides, "same"), layers.LeakyReLU(LEAKY_SLOPE)]


def alone() -> keras.Model:
    """x + W₂ ReLU(W₁ x) at each position by itself, with as many weights as attention has, but for γ; 0 at first."""
    maps = keras.Input((None, None, WIDTH))
    inner = layers.Conv2D(5 * WIDTH // 8, 1, use_bias=False, activation="relu")(maps)
    added = layers.Conv2D(WIDTH, 1, use_bias=False, kernel_initializer="zeros")(inner)
    return keras.Model(maps, layers.Add()([maps, added]))


def train(seed: int, where: str) -> dict[str, Any]:
    """One run: its curve, and what share of its samples has two marks that agree."""
    gan = build(where)
    dataset = data.batches(images(20_000, seed), BATCH, seed).repeat()
    clock, curve = study.Clock(SECONDS), []
    for done, _ in study.stretches(gan, dataset, [*CHECKS, 10**6], clock, AT_ONCE):
        samples = gan.sample(SAMPLES, seed=1)
        curve.append([done, round(clock.spent, 1), *counted(samples)])
        if clock.spent >= SECONDS or not np.isfinite(samples).all():
            break
    weights = [network.count_params() for network in (gan.generator, gan.discriminator)]
    found = dict(zip(("agree", "by_chance", "clear"), curve[-1][2:], strict=True))
    drawn = study.encode(np.clip(samples[:16], -1.0, 1.0)) if seed == 0 and np.isfinite(samples).all() else None
    return {"attention": where, "weights": weights, **found, "curve": curve, "samples": drawn}


def build(where: str) -> gan_utils.GAN:
    in_g, in_d = WHERE[where]
    gan = gan_utils.GAN(generator(in_g), discriminator(in_d), latent_dim=CELLS * CELLS * NOISE)
    both = (keras.optimizers.Adam(RATE, beta_1=0.0, beta_2=0.99) for _ in range(2))
    recipe = {"objective": losses.relativistic(), "penalty": penalties.r1(1.0) + penalties.r2(1.0)}
    gan.compile(*both, **recipe, steps_per_execution=AT_ONCE)
    return gan


def counted(samples: np.ndarray) -> tuple[float, float, float]:
    """Shares of images: whose marks agree; that would by chance; whose marks are both clear.

    "By chance" is how often the first mark of one image agrees with the last one of another.
    """
    means = np.stack([samples[:, *corner].mean(axis=(1, 2)) for corner in corners()])  # (2, images, 3)
    arrows = means @ np.exp(1j * TURNS) * 2.0 / 3.0  # (2, images): as long as the colour is strong, turned by its hue
    first, last = np.angle(arrows)
    pairs = np.abs(np.angle(np.exp(1j * (first[:, np.newaxis] - last)))) < AGREE
    agree, others = np.mean(np.diag(pairs)), pairs[~np.eye(len(pairs), dtype=bool)].mean()
    return tuple(round(float(value), 4) for value in (agree, others, (np.abs(arrows) > CLEAR).all(axis=0).mean()))


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    protocol = {
        "images": f"{SIDE}×{SIDE}, marks of {MARK}×{MARK} in opposite corners, of one hue, uniform on the circle",
        "networks": f"convolutions of {WIDTH} channels; attention, or as many weights at each position by itself",
        "training": f"relativistic, R1 and R2 of weight 1; Adam {RATE:g}, (0, 0.99), untuned; batches of {BATCH}",
        "cpu_seconds": SECONDS,
        "curve": f"{', '.join(POINT)}; of {SAMPLES} samples; agree: hues less than 30° apart; clear: at least {CLEAR}",
    }
    study.conduct("far_apart", protocol, {where: {"where": where} for where in WHERE}, SEEDS, train)


if __name__ == "__main__":
    main()
