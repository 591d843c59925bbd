"""Counts modes and good samples on a ring and a grid of Gaussians under every objective: data/results/mixtures.json.

    python studies/mixtures.py

Sixteen methods on the mixtures and by the counts of VEEGAN and PacGAN, 10,000 generator steps each. The learning rate
of a method is one of three: that with the most modes on the ring on another seed, and among those with the most good
samples (data/results/mixtures_rates.json). Takes about two hours on one CPU core; two processes share it.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import numpy as np
import study
from keras import layers, optimizers

import gan_utils
from gan_utils import data, losses, metrics, models, penalties
from gan_utils.layers import SpectralNormalization

CENTERS = {"ring of 8": (data.ring_centers(8), 0.01), "grid of 25": (data.grid_centers(5), 0.05)}  # and σ
UNITS, STEPS, BATCH, SAMPLES = (128, 128), 10_000, 256, 2_500
RATES = (2e-4, 6e-4, 2e-3)
RATE_SEED = 10
SEEDS = range(5)


@dataclass(frozen=True)
class Method:
    """What a row of the table is made of.

    Attributes:
        objective: of both players.
        penalty: on D's slope.
        d_steps: to each step of G.
        beta_1: of Adam.
        clip: limit of D's weights; None for none.
        spectral: whether the layers of D are spectrally normalised.
    """

    objective: losses.Objective
    penalty: penalties.Penalty | None = None
    d_steps: int = 1
    beta_1: float = 0.5
    clip: float | None = None
    spectral: bool = False


METHODS = {
    "minimax": Method(losses.minimax()),
    "non-saturating": Method(losses.non_saturating()),
    "label smoothing": Method(losses.non_saturating(label_smoothing=0.1)),
    "LSGAN 0, 1, 1": Method(losses.least_squares()),
    "LSGAN −1, 1, 0": Method(losses.least_squares(fake=-1.0, real=1.0, target=0.0)),
    "f-GAN, KL": Method(losses.f_divergence("kl", non_saturating=True)),
    "f-GAN, reverse KL": Method(losses.f_divergence("reverse_kl", non_saturating=True)),
    "f-GAN, Pearson": Method(losses.f_divergence("pearson", non_saturating=True)),
    "f-GAN, squared Hellinger": Method(losses.f_divergence("squared_hellinger", non_saturating=True)),
    "f-GAN, Jensen-Shannon": Method(losses.f_divergence("jensen_shannon", non_saturating=True)),
    "WGAN": Method(losses.wasserstein(), d_steps=5, clip=0.1),
    "WGAN-GP": Method(losses.wasserstein(), penalties.gradient_penalty(), d_steps=5, beta_1=0.0),
    "DRAGAN": Method(losses.non_saturating(), penalties.dragan()),
    "SN-GAN": Method(losses.hinge(), spectral=True),
    "R1": Method(losses.non_saturating(), penalties.r1(), beta_1=0.0),
    "R3GAN": Method(losses.relativistic(), penalties.r1() + penalties.r2(), beta_1=0.0),
}


def train(seed: int, name: str, method: str, rate: float | None = None) -> dict[str, Any]:
    """One run: how many modes its samples cover, and the share within three standard deviations of one."""
    chosen = METHODS[method]
    rate = rates()[method] if rate is None else rate
    generator = models.mlp_generator(2, (2,), UNITS, output_activation=None)
    gan = gan_utils.GAN(generator, discriminator(chosen), latent_dim=2)
    both = (optimizers.Adam(rate, beta_1=chosen.beta_1) for _ in range(2))
    gan.compile(
        *both, objective=chosen.objective, penalty=chosen.penalty, d_steps=chosen.d_steps, steps_per_execution=50
    )
    centers, std = CENTERS[name]
    dataset = data.batches(data.gaussian_mixture(50_000, centers, std, seed), BATCH, seed).repeat()
    gan.fit(dataset, steps_per_epoch=STEPS, verbose=0)
    samples = gan.sample(SAMPLES, seed=1)
    record = {"data": name, "method": method, "recipe": described(chosen), "rate": rate}
    if not np.isfinite(samples).all():
        return {**record, "modes": None, "good": None}
    modes, good = metrics.mode_coverage(samples, centers, 3 * std)
    return {**record, "modes": modes, "good": round(good, 4)}


def discriminator(method: Method) -> keras.Model:
    if not method.spectral:
        clip = None if method.clip is None else penalties.WeightClip(method.clip)
        return models.mlp_discriminator((2,), UNITS, dropout_rate=0.0, constraint=clip)
    hidden = [part for units in UNITS for part in (SpectralNormalization(layers.Dense(units)), layers.LeakyReLU(0.2))]
    return keras.Sequential([keras.Input((2,)), *hidden, SpectralNormalization(layers.Dense(1))])


def rates() -> dict[str, float]:
    """The learning rate of each method: the most modes, then the most good samples; NaN is the worst."""
    runs = json.loads((study.FOLDER / "mixtures_rates.json").read_text("utf-8"))["runs"]
    best = {}
    for run in sorted(runs, key=lambda run: (run["modes"] or 0, run["good"] or 0.0)):
        best[run["method"]] = run["rate"]
    return best


def described(method: Method) -> str:
    bound = f"weights of D within ±{method.clip}" if method.clip else "no penalty"
    bound = "spectral normalisation of D" if method.spectral else bound
    adam = f"Adam, beta_1={method.beta_1:g}"
    return "; ".join(
        [method.objective.name, method.penalty.name if method.penalty else bound, adam, f"{method.d_steps} D steps"]
    )


def main() -> None:
    protocol = {
        "networks": f"2 → {UNITS} → 2 and 2 → {UNITS} → 1",
        "batch_size": BATCH,
        "g_steps": STEPS,
        "samples": f"{SAMPLES}; good within 3σ; a mode counts with one good sample",
    }
    command = "python studies/mixtures.py"
    tries = {
        f"{method} · {rate:g}": {"name": "ring of 8", "method": method, "rate": rate}
        for method in METHODS
        for rate in RATES
    }
    study.conduct("mixtures_rates", protocol, tries, [RATE_SEED], train, command)
    rows = {f"{name} · {method}": {"name": name, "method": method} for name in CENTERS for method in METHODS}
    study.conduct("mixtures", protocol, rows, SEEDS, train, command)


if __name__ == "__main__":
    main()
