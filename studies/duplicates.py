"""Does a GAN draw what its data hold twenty times? Writes data/results/duplicates.json.

    python studies/duplicates.py

The DCGAN paper removes near-duplicates "to further decrease the likelihood of the generator memorizing input examples"
(Section 4.1.1), and gives no number. Here a small DCGAN learns 1,000 sketch faces of 32 pixels: all distinct; or 800
distinct ones and ten more that stand there as 20 near-copies each (shifted, brighter, noisy, recompressed); or these
after the paper's hash has cleaned them; or after a cleaning that knows the truth. A sample is near a planted face if it
is nearer to one of its copies than all but one in 1,000 unseen faces are. Ten control faces, which no set holds, tell
how often that happens without memory. Beside it: a generator that shows training images, and real faces. A run that is
in the file is not made again. Takes about 40 minutes on one CPU core; two processes share it.
"""

import functools
import io
import itertools
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # so that CPU time means the same for all

import augmentation
import keras
import numpy as np
import study
import tensorflow as tf
from keras import layers
from PIL import Image

import gan_utils
from gan_utils import data, faces, metrics, models

SECONDS = 150.0  # of CPU time in training
DISTINCT, PLANTED, TIMES = 800, 10, 20  # faces, faces that stand there more than once, how often each
BATCH, LATENT, FILTERS, RATE, AVERAGE = 64, 100, 16, 8e-4, 0.99  # the quick recipe of studies/epochs.py
AT_ONCE, CHECK = 10, 1_000  # steps in one call; from one point of the curve to the next
UNSEEN, CHANCE = 40_000, 0.001  # faces that fix each bound, and the share of them within it
SAMPLES, FEW, SHOWN = 10_000, 2_000, 8  # to count those near a planted face; for all else; in pictures
CODE_EPOCHS, CODE_BATCH, BITS = 26, 100, 128  # of the autoencoder that hashes: about as many steps as in notebook 11
LOST, CHOICE_SEED = 0.01, 10  # of a trial collection a threshold may remove so much by mistake; its seed
SEEDS = range(3)
POINT = ("G steps", "CPU seconds", "Fréchet distance", "nearest", "near planted", "near control")
MEMORY, REAL = "a memory of the duplicates", "real faces"
SETTINGS = {
    kind: {"kind": kind} for kind in ("distinct", "duplicates", "cleaned", "cleaned by the truth", MEMORY, REAL)
}


def train(seed: int, kind: str) -> dict[str, Any]:
    """One run: its curve, and how it ended."""
    if kind in (MEMORY, REAL):
        return by_construction(seed, kind)
    images, owners, cleaning = training_set(seed, kind)
    networks = models.dcgan_generator(32, 3, LATENT, FILTERS), models.dcgan_discriminator(32, 3, FILTERS)
    gan = gan_utils.GAN(*networks, latent_dim=LATENT, average=AVERAGE)
    gan.compile(*(keras.optimizers.Adam(RATE, beta_1=0.5) for _ in networks), steps_per_execution=AT_ONCE)
    dataset = data.batches(images, BATCH, seed).repeat()
    clock, curve = study.Clock(SECONDS), []
    checks = itertools.count(AT_ONCE + CHECK, CHECK)
    for done, _ in study.stretches(gan, dataset, checks, clock, AT_ONCE):
        samples = gan.sample(FEW, seed=2)
        if not np.isfinite(samples).all():
            break
        point = scores(samples, seed, owners)
        curve.append([done, round(clock.spent, 1), *(point[name] for name in ("frechet", "nearest", *NEAR))])
        if clock.spent >= SECONDS:
            break
    samples = gan.sample(SAMPLES, seed=1)
    record = {"kind": kind, "images": len(images), **cleaning, **scores(samples, seed, owners)}
    record |= augmentation.walked(lambda z: gan.drawing_network.predict(z, batch_size=500, verbose=0))
    return {**record, "curve": curve, **pictures(samples, seed, images)}


def by_construction(seed: int, kind: str) -> dict[str, Any]:
    """The same numbers of a generator that shows the training image whose key is nearest, and of fresh faces."""
    images, owners, _ = training_set(seed, "duplicates")
    if kind == REAL:
        samples = faces.draw(faces.sample_attributes(SAMPLES, seed=500 + seed))
        return {"kind": kind, "images": 0, **scores(samples, seed, np.array([-1])), **pictures(samples, seed, images)}
    remember = augmentation.memory(images)
    samples = remember(np.random.default_rng(2).standard_normal((SAMPLES, LATENT)))
    record = {"kind": kind, "images": len(images), **scores(samples, seed, owners), **augmentation.walked(remember)}
    return {**record, **pictures(samples, seed, images)}


# --- what is learned from ---


@functools.cache
def drawn(seed: int) -> np.ndarray:
    """The planted faces, the distinct ones, and those that stand in the copies' places where nothing is copied."""
    count = DISTINCT + PLANTED * TIMES
    return faces.draw(faces.sample_attributes(count, seed=1000 + seed))


@functools.cache
def training_set(seed: int, kind: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Images; the planted face that each shows, or −1; and what is to be told of the cleaning.

    "distinct" holds each planted face once. All kinds have the same planted and the same `DISTINCT` other faces.
    """
    if kind == "distinct":
        own = np.arange(len(drawn(seed)))
        return drawn(seed), np.where(own < PLANTED, own, -1), {}
    images, owners = collection(seed)
    if kind == "duplicates":
        return images, owners, {}
    if kind == "cleaned by the truth":
        kept = np.flatnonzero((owners < 0) | (np.arange(len(owners)) == first_of(owners)))
        return images[kept], owners[kept], judged(kept, owners)
    kept = clean(hashed(images), threshold())
    return images[kept], owners[kept], {"threshold": threshold(), **judged(kept, owners)}


def collection(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`DISTINCT` faces and `TIMES` near-copies of each planted one, shuffled; and whose copy each is, or −1."""
    copies = copies_of(drawn(seed)[:PLANTED], seed)
    images = np.concatenate([copies.reshape(-1, *copies.shape[2:]), drawn(seed)[PLANTED : PLANTED + DISTINCT]])
    owners = np.concatenate([np.repeat(np.arange(PLANTED), TIMES), np.full(DISTINCT, -1)])
    order = np.random.default_rng(seed).permutation(len(images))
    return images[order], owners[order]


def copies_of(originals: np.ndarray, seed: int) -> np.ndarray:
    """Near-copies as in notebook 11, five of each of its four kinds, (faces, `TIMES`, height, width, channels)."""
    padded = np.pad(originals, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="edge")
    height, width = originals.shape[1:3]
    places = ((1, 0), (1, 2), (0, 1), (2, 1), (0, 0))  # moved to the right, left, down, up, and both right and down
    made = [padded[:, top : top + height, left : left + width] for top, left in places]
    made += [np.clip(factor * (originals + 1.0) - 1.0, -1.0, 1.0) for factor in (1.02, 1.04, 1.06, 1.08, 1.10)]
    noise = np.random.default_rng(seed).normal(scale=0.03, size=(5, *originals.shape))
    made += list(np.clip(originals + noise, -1.0, 1.0))
    made += [np.stack([jpeg(image, quality) for image in originals]) for quality in (95, 90, 85, 80, 75)]
    return np.stack(made, axis=1).astype(np.float32)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """What is left of an image after it was written to a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(data.to_bytes(image)).save(file, "JPEG", quality=quality)
    return data.to_signed(np.asarray(Image.open(file)))


# --- cleaning ---


def hashed(images: np.ndarray) -> np.ndarray:
    """The paper's hash, 128 bits of a denoising autoencoder, on centred pixels as in notebook 11: (images, 128)."""
    pixels = images.reshape(len(images), -1)
    pixels = pixels - pixels.mean(axis=0)
    pixels /= pixels.std()
    keras.utils.set_random_seed(0)
    width, code = pixels.shape[1], layers.Dense(BITS, activation="relu")
    stack = [layers.GaussianNoise(0.2), code, layers.Dropout(0.5), layers.Dense(width)]
    network = keras.Sequential([keras.Input((width,)), *stack])
    network.compile(keras.optimizers.Adam(1e-3), "mse")
    network.fit(pixels, pixels, batch_size=CODE_BATCH, epochs=CODE_EPOCHS, verbose=0)
    return pixels @ code.kernel.numpy() + code.bias.numpy() > 0.0


def clean(bits: np.ndarray, threshold: int) -> np.ndarray:
    """Indices of the images that are kept: one goes if its hash differs from a kept one's in `threshold` bits or less.

    Args:
        bits: hashes, (images, bits).
        threshold: at least 0.

    Raises:
        ValueError: hashes of another shape, or a threshold below 0.
    """
    if bits.ndim != 2 or threshold < 0:
        raise ValueError(
            f"Got hashes of shape {bits.shape} and threshold={threshold}, expected (images, bits), and at least 0."
        )
    on = bits.astype(np.float32)
    apart = on @ (1.0 - on).T
    near = apart + apart.T <= threshold  # (images, images)
    kept: list[int] = []
    for image in range(len(bits)):
        if not near[image, kept].any():
            kept.append(image)
    return np.array(kept, int)


def judged(kept: np.ndarray, owners: np.ndarray) -> dict[str, float | None]:
    """How good a cleaning was, with the truth at hand.

    A removal is right if it took a copy of a planted face of which another copy is left. "recall" is the share of
    surplus copies that were removed, "precision" the share of removals that were right, None without any; "lost" is the
    number of wrong removals.
    """
    removed = np.delete(owners, kept)
    before, gone = (np.bincount(some[some >= 0], minlength=PLANTED) for some in (owners, removed))
    surplus = np.maximum(before - 1, 0)
    right = int(np.minimum(gone, surplus).sum())
    precision = right / len(removed) if len(removed) else None
    recall = right / surplus.sum() if surplus.any() else None
    return {"recall": study.rounded(recall), "precision": study.rounded(precision), "lost": len(removed) - right}


@functools.cache
def threshold() -> int:
    """The largest with which the hash removes at most `LOST` of a trial collection, of other faces, by mistake."""
    images, owners = collection(CHOICE_SEED)
    bits = hashed(images)
    lost = [judged(clean(bits, bound), owners)["lost"] for bound in range(BITS // 4)]
    return max([bound for bound, count in enumerate(lost) if count <= LOST * len(images)], default=0)


def first_of(owners: np.ndarray) -> np.ndarray:
    """For each image, the index of the first one with its owner."""
    _, first, inverse = np.unique(owners, return_index=True, return_inverse=True)
    return first[inverse]


# --- what is counted ---

NEAR = ("near", "near_control")


def scores(samples: np.ndarray, seed: int, owners: np.ndarray) -> dict[str, Any]:
    """Of all samples how many are near a planted or a control face, and of the first `FEW` the rest.

    "owed" is the planted faces' share of the data, and "paid" how much more of the samples is near a planted face than
    near a control face, by what is owed: 0 without memory, 1 for a generator that shows the training images.
    """
    if not np.isfinite(samples).all():
        return dict.fromkeys(("frechet", "nearest", *NEAR, "owed", "paid", "by_face"))
    found = study.face_features(samples)
    hits, control = (near(found, *marked(seed, which)) for which in ("planted", "control"))
    shares, owed = [float(of.any(axis=1).mean()) for of in (hits, control)], float(np.mean(owners >= 0))
    values = {
        "frechet": metrics.frechet_distance(found[:FEW], augmentation.fresh()),
        "nearest": augmentation.nearest_is_training(found[:FEW], *both(seed)),
        **dict(zip(NEAR, shares, strict=True)),
        "owed": owed,
        "paid": (shares[0] - shares[1]) / owed if owed else None,
    }
    by_face = [study.rounded(share, 4) for share in hits.mean(axis=0)]
    return {name: study.rounded(value, 4) for name, value in values.items()} | {"by_face": by_face}


def near(found: np.ndarray, groups: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Whether each sample is nearer to an image of a group than the group's bound, (samples, groups)."""
    return distances(found, groups) <= bounds


def distances(found: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """From the features of samples to the nearest of each group, (groups, images, features): (samples, groups)."""
    return np.concatenate([metrics.nearest_neighbors(found, group)[0] for group in groups], axis=1)


def bounds_of(groups: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """For each group the distance within which `CHANCE` of unseen faces lie.

    Raises:
        ValueError: so few unseen faces that fewer than five lie within it.
    """
    if len(unseen) * CHANCE < 5:
        raise ValueError(f"Got {len(unseen)} unseen faces, expected at least {5 / CHANCE:.0f} for {CHANCE} of them.")
    return np.quantile(distances(unseen, groups), CHANCE, axis=0)


@functools.cache
def marked(seed: int, which: str) -> tuple[np.ndarray, np.ndarray]:
    """Features of the "planted" or "control" faces with all their near-copies, and each group's bound."""
    if which == "planted":
        originals = drawn(seed)[:PLANTED]
    else:
        originals = faces.draw(faces.sample_attributes(PLANTED, seed=3000 + seed))
    images = np.concatenate([originals[:, np.newaxis], copies_of(originals, seed)], axis=1)
    groups = study.face_features(images.reshape(-1, *images.shape[2:])).reshape(PLANTED, TIMES + 1, -1)
    return groups, bounds_of(groups, unseen())


@functools.cache
def unseen() -> np.ndarray:
    """Features of the faces that fix the bounds, drawn in four parts to spare memory."""
    parts = [faces.sample_attributes(UNSEEN // 4, seed=40 + part) for part in range(4)]
    return np.concatenate([study.face_features(faces.draw(part)) for part in parts])


@functools.cache
def both(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of the `DISTINCT` faces that all training sets hold once, and of as many that none holds."""
    others = faces.draw(faces.sample_attributes(DISTINCT, seed=2000 + seed))
    return study.face_features(drawn(seed)[PLANTED : PLANTED + DISTINCT]), study.face_features(others)


def pictures(samples: np.ndarray, seed: int, training: np.ndarray) -> dict[str, str | None]:
    """Of seed 0: samples, the training image nearest to each, and of all samples the nearest to planted faces."""
    names = ("samples", "samples_nearest", "closest")
    if seed != 0 or not np.isfinite(samples).all():
        return dict.fromkeys(names)
    found = study.face_features(samples)
    _, indices = metrics.nearest_neighbors(found[:SHOWN], study.face_features(training))
    closest = distances(found, marked(seed, "planted")[0]).argmin(axis=0)[:SHOWN]
    shown = samples[:SHOWN], training[indices[:, 0]], samples[closest]
    return dict(zip(names, map(study.encode, shown), strict=True))


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    protocol = {
        "data": f"sketch faces of 32 pixels: {DISTINCT} distinct, and {PLANTED} planted ones, as {TIMES} near-copies "
        "each, or once; other faces for each seed",
        "near-copies": "5 shifted by a pixel, 5 brighter by 2 to 10 %, 5 noisy (0.03), 5 JPEG files, quality 95 to 75",
        "networks": f"DCGAN with {FILTERS} base filters",
        "training": f"non-saturating; Adam {RATE:g}, β₁ = 0.5; batches of {BATCH}; G's weights averaged with {AVERAGE}",
        "cpu_seconds": SECONDS,
        "cleaning": f"the paper's autoencoder, {BITS} bits, centred pixels, {CODE_EPOCHS} epochs; one image after the "
        f"other is removed if a kept one's hash is within the threshold: the largest that removes at most {LOST:.0%} "
        "of a trial collection of other faces by mistake",
        "near": f"share of {SAMPLES} samples nearer to one of ten planted faces or its copies than {1 - CHANCE:.1%} "
        f"of {UNSEEN} unseen faces, for each of the ten: {PLANTED * CHANCE:.0%} by chance; near_control: to ten faces "
        "that no set holds",
        "paid": "(near − near_control) / owed, owed being the planted faces' share of the data",
        "frechet": f"of {FEW} samples to 10000 fresh faces, in the features of faces_attributes",
        "nearest": f"share of {FEW} samples nearer to one of the {DISTINCT} distinct faces than to any of {DISTINCT} "
        "unseen ones",
        "walks": "10 arcs, as in notebook 05",
        "curve": ", ".join(POINT) + f", of {FEW} samples",
    }
    study.conduct("duplicates", protocol, SETTINGS, SEEDS, train)


if __name__ == "__main__":
    main()
