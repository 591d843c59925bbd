"""Measures what labels do for a GAN of digits at equal cost, and writes data/results/conditional.json.

    python studies/conditional.py

A DCGAN without labels, conditional ones, and AC-GAN; a conditional one with labels of another kind; and AC-GAN as one
model of ten digits or as five of two. Each has a learning rate of its own out of the same three: that of the smallest
Fréchet distance, on another seed, to digits held out from the training set (data/results/conditional_rates.json). Then
all train for the same seconds of CPU time, the five models of two together. "real digits" are the floor of all scores.
A run that is in the files is not made again. Takes about two hours on one CPU core; two processes share it.
"""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # so that CPU time means the same for all methods

import keras
import numpy as np
import study
import tensorflow as tf
import threadpoolctl
from keras import layers
from sklearn.cluster import KMeans

import gan_utils
from gan_utils import data, games, metrics, models

SECONDS, RATE_SECONDS = 150.0, 75.0  # of CPU time in training, and in the choice of the learning rate
RATES = (4e-4, 8e-4, 1.6e-3)
RATE_SEED = 10
BATCH, LATENT, FILTERS, DIGITS = 64, 100, 16, 10
AVERAGE = 0.99
AT_ONCE = 10  # steps in one call; the first ten, with the compiling, are not counted
SAMPLES = 10_000  # as many of each class
TAUGHT_EPOCHS = 10  # of the small classifier
SEEDS = range(3)
REAL = "real digits"


@dataclass(frozen=True)
class Method:
    """What a row of the table is made of.

    Attributes:
        networks: makes generator and discriminator for so many classes.
        game: the class of the game.
        labels: which labels of the training digits the game is given, one of `LABELS`; None for none.
        models: among how many models the classes are shared out.
        rated: the method whose learning rate is taken; None for its own.
    """

    networks: Callable[[int], tuple[keras.Model, keras.Model]]
    game: type[gan_utils.GAN] = gan_utils.GAN
    labels: str | None = "digits"
    models: int = 1
    rated: str | None = None


def unconditional(classes: int) -> tuple[keras.Model, keras.Model]:
    return models.dcgan_generator(base_filters=FILTERS), models.dcgan_discriminator(base_filters=FILTERS)


def concatenation(classes: int) -> tuple[keras.Model, keras.Model]:
    wider = models.dcgan_discriminator(channels=1 + classes, base_filters=FILTERS)
    return reads_labels(classes), models.conditional_discriminator(wider, classes)


def projection(classes: int) -> tuple[keras.Model, keras.Model]:
    plain = models.dcgan_discriminator(base_filters=FILTERS)
    return reads_labels(classes), models.projection_discriminator(plain, classes)


def projection_and_norm(classes: int) -> tuple[keras.Model, keras.Model]:
    return conditionally_normalized_generator(classes), projection(classes)[1]


def two_heads(classes: int) -> tuple[keras.Model, keras.Model]:
    """The discriminator of AC-GAN: its last layer is there twice, for the logit and for the classes."""
    network = models.dcgan_discriminator(base_filters=FILTERS)
    told = layers.Dense(classes, kernel_initializer=keras.initializers.RandomNormal(stddev=0.02), name="classes")
    return reads_labels(classes), keras.Model(network.inputs, [network.outputs[0], told(network.layers[-1].input)])


def reads_labels(classes: int) -> keras.Model:
    wider = models.dcgan_generator(latent_dim=LATENT + classes, base_filters=FILTERS)
    return models.conditional_generator(wider, classes)


def conditionally_normalized_generator(classes: int) -> keras.Model:
    """`models.dcgan_generator` whose batch normalisation alone reads the label.

    Reference: V. Dumoulin et al., A Learned Representation for Artistic Style, 2017, arXiv:1610.07629; in a GAN, T.
    Miyato and M. Koyama, cGANs with Projection Discriminator, 2018, arXiv:1802.05637.
    """
    plain = models.dcgan_generator(latent_dim=LATENT, base_filters=FILTERS)
    maps, labels = keras.Input((LATENT,), name="latent"), keras.Input((classes,), name="labels")
    inputs = [maps, labels]
    for layer in plain.layers:
        is_norm = isinstance(layer, layers.BatchNormalization)
        maps = conditional_batch_norm(maps, labels) if is_norm else layer(maps)
    return keras.Model(inputs, maps, name="generator")


def conditional_batch_norm(maps: keras.KerasTensor, labels: keras.KerasTensor) -> keras.KerasTensor:
    """Batch normalisation whose scale and offset are those of the sample's class: a row of a matrix for each class."""
    filters = maps.shape[-1]
    normal = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, center=False, scale=False)(maps)
    scale, offset = (
        layers.Reshape((1, 1, filters))(layers.Dense(filters, use_bias=False, kernel_initializer=start)(labels))
        for start in ("ones", "zeros")
    )
    return layers.Add()([layers.Multiply()([normal, scale]), offset])


CONCATENATION, ACGAN = "CGAN, concatenation", "AC-GAN"
METHODS = {
    "unconditional": Method(unconditional, labels=None),
    CONCATENATION: Method(concatenation),
    "CGAN, projection": Method(projection),
    "CGAN, projection and conditional batch norm": Method(projection_and_norm),
    ACGAN: Method(two_heads, games.ACGAN),
    "AC-GAN, five models of two digits": Method(two_heads, games.ACGAN, models=5),
    "CGAN, random labels": Method(concatenation, labels="random", rated=CONCATENATION),
    "CGAN, labels of k-means clusters": Method(concatenation, labels="clusters", rated=CONCATENATION),
    "CGAN, half of the labels wrong": Method(concatenation, labels="half wrong", rated=CONCATENATION),
}
LABELS = {
    "digits": lambda images, digits, random: digits,
    "random": lambda images, digits, random: random.integers(0, DIGITS, len(digits)),
    "clusters": lambda images, digits, random: cluster(images),
    "half wrong": lambda images, digits, random: np.where(
        random.random(len(digits)) < 0.5, digits, (digits + random.integers(1, DIGITS, len(digits))) % DIGITS
    ),
}


def cluster(images: np.ndarray) -> np.ndarray:
    """To which of ten clusters of the training digits' pixels an image belongs."""
    with threadpoolctl.threadpool_limits(1):
        return clusters().predict(flat(images))


@functools.cache
def clusters() -> KMeans:
    return KMeans(DIGITS, n_init=3, random_state=0).fit(flat(data.load_mnist("train")[0]))


def flat(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.reshape(len(images), -1), np.float32)


def choose(seed: int, method: str, rate: float) -> dict[str, Any]:
    """One run on the first 50,000 digits, scored by the other 10,000 of the training set."""
    images, digits = data.load_mnist("train")
    fakes, _, told = trained(seed, method, rate, images[: -study.HELD_OUT], digits[: -study.HELD_OUT], RATE_SECONDS)
    good = np.isfinite(fakes).all()
    distance = metrics.frechet_distance(metrics.digit_features(fakes)[0], study.held_out()) if good else None
    return {"method": method, "recipe": described(method), "rate": rate, **told, "frechet": study.rounded(distance)}


def rates() -> dict[str, float]:
    """The learning rate of each method whose run ended best; a run that ended in NaN is the worst."""
    return {name: run["rate"] for name, run in study.best_runs("conditional_rates", "method", "frechet").items()}


def compare(seed: int, method: str, seconds: float = SECONDS) -> dict[str, Any]:
    """One run of `SECONDS`, and all scores of its samples; those of real digits for `REAL`."""
    images, digits = data.load_mnist("train")
    if method == REAL:
        order = np.random.default_rng(seed).permutation(len(digits))
        chosen = np.stack([order[digits[order] == digit][: SAMPLES // DIGITS] for digit in range(DIGITS)], axis=1)
        fakes, asked, kind = images[chosen.ravel()], digits[chosen.ravel()], "digits"
        record = {"method": method, "recipe": "training digits, as many of each class", "rate": None}
    else:
        rate, kind = rates()[METHODS[method].rated or method], METHODS[method].labels
        fakes, asked, told = trained(seed, method, rate, images, digits, seconds)
        record = {"method": method, "recipe": described(method), "rate": rate, **told}
    if not np.isfinite(fakes).all():
        return {**record, "nan": True, "frechet": None}
    record |= {"nan": False, **scores(fakes, asked, kind, seed)}
    return {**record, "samples": study.encode(fakes[: 2 * DIGITS]) if seed == 0 else None}


def trained(
    seed: int, method: str, rate: float, images: np.ndarray, digits: np.ndarray, seconds: float
) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
    """Trains the models of a row.

    Returns:
        samples: of each class in turn.
        asked: the class that each was asked for; None where there are no classes.
        told: G steps and seconds of all models together, and how many weights they have.
    """
    chosen = METHODS[method]
    if chosen.labels is None:
        gan, told = train(seed, method, rate, images, None, DIGITS, seconds)
        return gan.sample(SAMPLES, seed=1), None, told
    labels = LABELS[chosen.labels](images, digits, np.random.default_rng(seed))
    each, fakes, tolds = DIGITS // chosen.models, [], []
    for first in range(0, DIGITS, each):
        part = (labels >= first) & (labels < first + each)
        given = images[part], (labels[part] - first).astype(np.int32)
        gan, told = train(seed, method, rate, *given, each, seconds / chosen.models)
        drawn = gan.sample(SAMPLES // chosen.models, seed=1)  # of each class in turn
        fakes.append(drawn.reshape(SAMPLES // DIGITS, each, *drawn.shape[1:]))
        tolds.append(told)
    in_turn = np.concatenate(fakes, axis=1)  # (samples of a class, classes, …)
    total = {key: round(sum(told[key] for told in tolds), 1) for key in tolds[0]}
    return in_turn.reshape(SAMPLES, *in_turn.shape[2:]), np.arange(SAMPLES) % DIGITS, total


def train(
    seed: int, method: str, rate: float, images: np.ndarray, labels: np.ndarray | None, classes: int, seconds: float
) -> tuple[gan_utils.GAN, dict[str, Any]]:
    """Trains one model for so many seconds."""
    gan = METHODS[method].game(*METHODS[method].networks(classes), latent_dim=LATENT, average=AVERAGE)
    gan.compile(*(keras.optimizers.Adam(rate, beta_1=0.5) for _ in range(2)), steps_per_execution=AT_ONCE)
    dataset = data.batches(images, BATCH, seed, labels).repeat()
    gan.fit(dataset, steps_per_epoch=AT_ONCE, verbose=0)  # compiles
    clock = study.Clock(seconds)
    gan.fit(dataset, steps_per_epoch=10**6, verbose=0, callbacks=[clock])
    weights = gan.generator.count_params() + gan.discriminator.count_params()
    return gan, {"g_steps": gan.steps_of_g, "cpu_seconds": round(clock.spent, 1), "weights": weights}


def scores(images: np.ndarray, asked: np.ndarray | None, kind: str | None, seed: int) -> dict[str, Any]:
    """All scores of samples against the test digits, in the features of the shipped classifier.

    It learned from labels, and so may favour what labels teach. The Fréchet distance in the means of a VAE's encoder,
    which saw none, stands beside it.
    """
    features, logits = metrics.digit_features(images)
    digits = logits.argmax(axis=1)
    balance = metrics.precision_recall(study.reference(), features)
    found = {"frechet": study.rounded(metrics.frechet_distance(features, study.reference()))}
    found |= {name: round(balance[name], 4) for name in ("precision", "recall")}
    found["frechet_without_labels"] = study.rounded(metrics.frechet_distance(encoded(images), encoded_test()))
    found["shares"] = [round(float(np.mean(digits == digit)), 4) for digit in range(DIGITS)]
    if asked is None or kind == "random":
        return found
    of_clusters = kind == "clusters"
    told = cluster(images) if of_clusters else digits
    test_images, test_digits = data.load_mnist("test")
    found["agreement"] = round(float(np.mean(told == asked)), 4)
    found |= by_class(features, asked, cluster(test_images) if of_clusters else test_digits)
    return found if of_clusters else {**found, "taught": round(taught(images, asked, seed), 4)}


def encoded(images: np.ndarray) -> np.ndarray:
    """The means of the 20 latents of the shipped VAE, (samples, 20), of images cut at ½."""
    encoder = models.load_pretrained("mnist_vae_20_encoder")
    return encoder.predict((images > 0.0).astype(np.float32), batch_size=500, verbose=0)[:, :20]


@functools.cache
def encoded_test() -> np.ndarray:
    return encoded(data.load_mnist("test")[0])


def by_class(features: np.ndarray, asked: np.ndarray, real: np.ndarray) -> dict[str, list[float]]:
    """For each class: Fréchet distance, variance as a share of that of real digits, distance of the means."""
    found: dict[str, list[float]] = {"frechet_by_class": [], "variance_by_class": [], "mean_distance_by_class": []}
    for label in range(DIGITS):
        mine, theirs = features[asked == label], study.reference()[real == label]
        found["frechet_by_class"].append(study.rounded(metrics.frechet_distance(mine, theirs)))
        found["variance_by_class"].append(study.rounded(mine.var(axis=0).sum() / theirs.var(axis=0).sum()))
        found["mean_distance_by_class"].append(study.rounded(np.linalg.norm(mine.mean(axis=0) - theirs.mean(axis=0))))
    return found


def taught(images: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """The accuracy on the test digits of a small classifier that has learned from these samples alone."""
    keras.utils.set_random_seed(seed)
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, 2, activation="relu"),
            layers.Conv2D(32, 3, 2, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(DIGITS),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"], steps_per_execution=AT_ONCE)
    network.fit(data.batches(images, BATCH, seed, labels), epochs=TAUGHT_EPOCHS, verbose=0, shuffle=False)
    return float(network.evaluate(*data.load_mnist("test"), batch_size=500, verbose=0)[1])


def described(name: str) -> str:
    """A method in words."""
    method = METHODS[name]
    told = {
        None: "no labels",
        "digits": "labels: the digits",
        "random": "labels: one of ten by chance",
        "clusters": "labels: ten clusters of the pixels by k-means",
        "half wrong": "labels: half of them the digits, the others another digit by chance",
    }
    shared = f"{method.models} of {method.networks.__name__}" if method.models > 1 else method.networks.__name__
    return f"{method.game.__name__}; networks: {shared}; {told[method.labels]}; non-saturating; Adam, beta_1=0.5"


def protocol() -> dict[str, Any]:
    return {
        "networks": f"DCGAN with {FILTERS} base filters and {LATENT} latents",
        "average": AVERAGE,
        "threads": int(os.environ["TF_NUM_INTRAOP_THREADS"]),
        "batch_size": BATCH,
        "rates": list(RATES),
        "seconds": f"of training without the first {AT_ONCE} steps; several models share them",
    }


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    command = "python studies/conditional.py"
    own = [name for name, method in METHODS.items() if method.rated is None]
    tries = {f"{method} · {rate:g}": {"method": method, "rate": rate} for method in own for rate in RATES}
    chosen = {
        "cpu_seconds": RATE_SECONDS,
        "data": "the first 50,000 training digits",
        "reference": f"the other 10,000 training digits, against {SAMPLES:,} samples",
    }
    study.conduct("conditional_rates", {**protocol(), **chosen}, tries, [RATE_SEED], choose, command)
    compared = {
        "cpu_seconds": SECONDS,
        "samples": f"{SAMPLES:,}, as many of each class where there are classes",
        "reference": "10,000 test digits, features of the shipped classifier; of a class, those of that class",
        "taught": f"a small classifier, {TAUGHT_EPOCHS} epochs of the samples alone, accuracy on the test digits",
    }
    rows = {method: {"method": method} for method in (REAL, *METHODS)}
    study.conduct("conditional", {**protocol(), **compared}, rows, SEEDS, compare, command)


if __name__ == "__main__":
    main()
