"""Measures whether spectral normalisation keeps a training stable, and writes data/results/stability.json.

    python studies/stability.py

A DCGAN whose D has spectral normalisation, none, or batch normalisation, at four learning rates. Over time: the Fréchet
distance, the slope of D, how varied samples are, losses and scores. Whether a training has collapsed or died is counted
from that. Takes about an hour on one CPU core (100 s a run); a run that is in the file is not made again, and two
processes share the work.
"""

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
from gan_utils.layers import SpectralNormalization

SECONDS = 100.0  # of CPU time in training
RATES = (2e-4, 5e-4, 1e-3, 2e-3)
KINDS = ("spectral", "none", "batch")  # of normalisation in D
BATCH, LATENT, FILTERS = 64, 100, 16
AT_ONCE = 10  # steps in one call; the first ten, with the compiling, are not counted
CHECKS = [50, 100, 200, 300, 450, 650, 900, 1200, 1600, 2100, 2700, 3500, 4500, 6000]  # G steps
POINT = (
    *("G steps", "CPU seconds", "Fréchet distance", "spread", "mean slope", "largest slope", "largest secant"),
    *("product of norms", "D's loss", "G's loss", "D(x)", "D(G(z))"),
)
SAMPLES, PAIRS = 2_000, 512
COLLAPSED = 0.25  # spread of samples in the classifier's features, as a share of that of real digits: below is collapse
SEEDS = range(3)


def train(seed: int, kind: str, rate: float) -> dict[str, Any]:
    """One run: its curve, and how it ended."""
    gan = build(kind, rate)
    images = data.load_mnist("train")[0]
    dataset = data.batches(images, BATCH, seed).repeat()
    clock, curve = study.Clock(SECONDS), []
    for done, log in study.stretches(gan, dataset, [*CHECKS, 10**6], clock, AT_ONCE):
        told = [study.rounded(log[key], 4) for key in ("d_loss", "g_loss", *gan.score_names())]
        curve.append([done, round(clock.spent, 1), *point(gan, images[:PAIRS]), *told])
        if clock.spent >= SECONDS or curve[-1][2] is None:
            break
    record = {"kind": kind, "rate": rate, "ended": ended(curve), "frechet": curve[-1][2], "curve": curve}
    samples = gan.sample(16, seed=1)
    good = seed == 0 and np.isfinite(samples).all()
    return {**record, "samples": study.encode(samples) if good else None}


def build(kind: str, rate: float) -> gan_utils.GAN:
    generator = models.dcgan_generator(base_filters=FILTERS)
    discriminator = models.dcgan_discriminator(base_filters=FILTERS, normalization=kind)
    gan = gan_utils.GAN(generator, discriminator, latent_dim=LATENT)
    gan.compile(*(keras.optimizers.Adam(rate, beta_1=0.5) for _ in range(2)), steps_per_execution=AT_ONCE)
    return gan


def point(gan: gan_utils.GAN, real: np.ndarray) -> list[float | None]:
    """Fréchet distance, spread of samples, and the slope of D between real digits and samples."""
    samples = gan.sample(SAMPLES, seed=2)
    if not np.isfinite(samples).all():
        return [None] * 6
    features = metrics.digit_features(samples)[0]
    distance = metrics.frechet_distance(features, study.reference())
    spread = features.var(axis=0).sum() / study.reference().var(axis=0).sum()
    slopes = slope(gan.discriminator, real, samples[: len(real)])
    return [study.rounded(value, 4) for value in (distance, spread, *slopes, product_of_norms(gan.discriminator))]


def slope(discriminator: keras.Model, real: np.ndarray, fake: np.ndarray) -> tuple[float, float, float]:
    """Mean and largest ‖∇f‖ on the lines between pairs, and the largest |f(x) − f(y)| / ‖x − y‖ of the pairs.

    Of the logit in inference mode, where it is one function of the image whatever the normalisation.
    """
    share = np.random.default_rng(0).random((len(real), 1, 1, 1), np.float32)
    between = tf.constant(share * real + (1.0 - share) * fake, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(between)
        total = tf.reduce_sum(discriminator(between, training=False))
    norms = np.linalg.norm(np.reshape(tape.gradient(total, between), (len(real), -1)), axis=1)
    ends = [discriminator(images, training=False).numpy().ravel() for images in (real, fake)]
    secants = np.abs(ends[0] - ends[1]) / np.linalg.norm((real - fake).reshape(len(real), -1), axis=1)
    return norms.mean(), norms.max(), secants.max()


def product_of_norms(discriminator: keras.Model) -> float:
    """∏ σ(W) over all kernels as they act, by SVD: of W/σ̂ where a layer is normalised, with the σ̂ it uses.

    Batch normalisation, which stretches too, is left out.
    """
    product = 1.0
    for layer in discriminator.layers:
        normalised = isinstance(layer, SpectralNormalization)
        kernel = getattr(layer.layer if normalised else layer, "kernel", None)
        if kernel is not None:
            largest = np.linalg.svd(np.reshape(kernel, (-1, kernel.shape[-1])), compute_uv=False)[0]
            used = float(layer._largest_singular_value(tf.convert_to_tensor(kernel))[0]) if normalised else 1.0
            product *= float(largest) / used
    return product


def ended(curve: list[list[float | None]]) -> str:
    """How a curve ended: "NaN", "collapsed" (spread below `COLLAPSED`) or "running"."""
    distance, spread = curve[-1][2:4]
    if distance is None:
        return "NaN"
    return "collapsed" if spread < COLLAPSED else "running"


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    protocol = {
        "networks": f"DCGAN with {FILTERS} base filters, D normalised as given; non-saturating; Adam, β₁ = 0.5",
        "batch_size": BATCH,
        "cpu_seconds": SECONDS,
        "curve": f"{', '.join(POINT)}; Fréchet distance and spread of {SAMPLES} samples, slopes at {PAIRS} pairs",
        "collapsed": f"spread below {COLLAPSED} of that of real digits, at the end",
    }
    settings = {f"{kind} · {rate:g}": {"kind": kind, "rate": rate} for rate in RATES for kind in KINDS}
    study.conduct("stability", protocol, settings, SEEDS, train)


if __name__ == "__main__":
    main()
