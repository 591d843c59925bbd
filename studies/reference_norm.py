"""Measures whether a reference batch is overfitted, and writes data/results/reference_norm.json.

    python studies/reference_norm.py

The same DCGAN with batch, reference and virtual batch normalisation in both networks, for the same number of steps.
G's reference are latents, D's are training digits. Asked are: do samples come nearer to the digits of D's reference
than to other training digits; does D say another logit of them; and how much worse are the samples when G's reference
is exchanged for latents it has not learned with. With batch normalisation the "reference" is never seen, a control.
Takes about 20 minutes on one CPU core (60 s a run with batch normalisation, 120 s with a reference); a run that is in
the file is not made again, and two processes share the work.
"""

import functools
import os
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import numpy as np
import study
import tensorflow as tf

import gan_utils
from gan_utils import data, metrics, models, normalization

STEPS = 2_000
SIZE = 64  # of the reference, as of a batch
BATCH, LATENT, FILTERS, RATE = 64, 100, 16, 6e-4
AT_ONCE = 10
SAMPLES, FEW = 10_000, 2_000
OTHERS = 50  # groups of as many other training digits as the reference has
EXCHANGED = 5  # references that G has not learned with
SEEDS = range(3)
KINDS = ("batch", "reference", "virtual")


def train(seed: int, kind: str) -> dict[str, Any]:
    """One run: Fréchet distances, and what the reference is to G and to D."""
    images, (latents, *exchanged), chosen = prepared(seed)
    gan = build(kind, latents, images[chosen])
    dataset = data.batches(images, BATCH, seed).repeat()
    gan.fit(dataset, steps_per_epoch=AT_ONCE, verbose=0)  # compiles
    begin = time.process_time()
    gan.fit(dataset, steps_per_epoch=STEPS - AT_ONCE, verbose=0)
    record = {"kind": kind, "seconds_a_step": study.rounded((time.process_time() - begin) / (STEPS - AT_ONCE))}
    samples = gan.sample(SAMPLES, seed=1)
    if not np.isfinite(samples).all():
        return {**record, "frechet": None}
    record |= {
        "frechet": study.rounded(study.frechet(samples)),
        "frechet_few": study.rounded(study.frechet(samples[:FEW])),
    }
    record |= nearness(samples[:FEW], images, chosen, np.random.default_rng(seed))
    record |= logits(gan.discriminator, images, chosen)
    record["frechet_exchanged"] = [exchange(gan, other) for other in exchanged] if kind != "batch" else None
    return {**record, "samples": study.encode(samples[:16]) if seed == 0 else None}


def prepared(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training digits; G's reference and the others, (1 + EXCHANGED, SIZE, LATENT); which digits are D's reference."""
    random = np.random.default_rng(1_000 + seed)
    images = data.load_mnist("train")[0]
    latents = random.normal(size=(1 + EXCHANGED, SIZE, LATENT)).astype(np.float32)
    return images, latents, random.choice(len(images), SIZE, replace=False)


def build(kind: str, latents: np.ndarray, images: np.ndarray) -> gan_utils.GAN:
    networks = models.dcgan_generator(base_filters=FILTERS), models.dcgan_discriminator(base_filters=FILTERS)
    if kind != "batch":
        pairs = zip(networks, (latents, images), strict=True)
        networks = [normalization.with_reference(*pair, virtual=kind == "virtual") for pair in pairs]
    gan = gan_utils.GAN(*networks, latent_dim=LATENT)
    gan.compile(*(keras.optimizers.Adam(RATE, beta_1=0.5) for _ in range(2)), steps_per_execution=AT_ONCE)
    return gan


def nearness(
    samples: np.ndarray, images: np.ndarray, chosen: np.ndarray, random: np.random.Generator
) -> dict[str, Any]:
    """Mean distance of a sample to the nearest of the reference, and to the nearest of other training digits.

    In pixels and in the classifier's features: to the reference; the mean over `OTHERS` groups of as many others, and
    the standard deviation over the groups, which is what chance does.
    """
    rest = np.setdiff1d(np.arange(len(images)), chosen)
    groups = random.choice(rest, (OTHERS, len(chosen)), replace=False)
    found = {}
    spaces = {"pixels": lambda x: x.reshape(len(x), -1), "features": lambda x: metrics.digit_features(x)[0]}
    for name, space in spaces.items():
        seen = space(samples)
        mean, *others = (nearest(seen, space(images[group])) for group in (chosen, *groups))
        found[f"nearest_in_{name}"] = [
            study.rounded(value) for value in (mean, np.mean(others), np.std(others, ddof=1))
        ]
    return found


def nearest(queries: np.ndarray, references: np.ndarray) -> float:
    return float(metrics.nearest_neighbors(queries, references)[0].mean())


def logits(discriminator: keras.Model, images: np.ndarray, chosen: np.ndarray) -> dict[str, Any]:
    """Mean logit of the reference, of other training digits and of test digits, and how far each group of 64 scatters.

    In training mode, one group of 64 at a time: for batch normalisation that is what D has learned in.
    """
    rest = np.setdiff1d(np.arange(len(images)), chosen)[: OTHERS * SIZE]
    others, test = images[rest], data.load_mnist("test")[0][: OTHERS * SIZE]

    def means(some: np.ndarray) -> np.ndarray:
        with gan_utils.training.keep_statistics(discriminator):
            parts = [discriminator(some[at : at + SIZE], training=True) for at in range(0, len(some), SIZE)]
        return np.array([float(tf.reduce_mean(part)) for part in parts])

    found = {"reference": means(images[chosen]), "training": means(others), "test": means(test)}
    told = {f"logit_{name}": study.rounded(values.mean()) for name, values in found.items()}
    return {**told, "logit_std_of_groups": study.rounded(found["training"].std(ddof=1))}


def exchange(gan: gan_utils.GAN, latents: np.ndarray) -> float:
    """Fréchet distance of `FEW` samples with another reference of G."""
    [holder] = [layer for layer in gan.generator.layers if isinstance(layer, normalization.ReferenceBatch)]
    own = holder.reference.numpy()
    holder.reference.assign(latents)
    samples = gan.sample(FEW, seed=1)
    holder.reference.assign(own)
    return study.rounded(study.frechet(samples))


@functools.cache
def floor() -> float:
    """Fréchet distance of as many training digits."""
    return study.rounded(study.frechet(data.load_mnist("train")[0][:SAMPLES]))


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    protocol = {
        "networks": f"DCGAN with {FILTERS} base filters; non-saturating; Adam {RATE:g}, beta_1=0.5, untuned",
        "batch_size": BATCH,
        "reference": f"{SIZE} latents for G, {SIZE} training digits for D",
        "g_steps": STEPS,
        "samples": f"{SAMPLES:,}; {FEW:,} for nearness and for {EXCHANGED} exchanged references",
        "others": f"{OTHERS} groups of {SIZE} other training digits",
    }
    settings = {kind: {"kind": kind} for kind in KINDS}
    study.conduct("reference_norm", protocol, settings, SEEDS, train, measured={"frechet_floor": floor()})


if __name__ == "__main__":
    main()
