"""Measures what unlabelled digits add to 100 labels on MNIST, and writes data/results/semi_supervised.json.

    python studies/semi_supervised.py

The same classifier learns from 100 labelled digits alone, ten of each class, and as the discriminator of three games
that see all 50,000 of the training part as well: `SemiSupervisedGAN` with and without matching of features, and
`CatGAN`. The other 10,000 training digits are the validation part: by their labels, a hundred times as many as those
one learns from, each run keeps its best epoch, and each method its learning rate (and CatGAN its λ), these on another
seed (data/results/semi_supervised_rates.json). Salimans et al. (2016) had no such part: their code trains on all 60,000
digits for 300 epochs, averages D's weights, and prints the test error after each epoch.

A run that is in the files is not made again. Takes about two hours on one CPU core; two processes share it.
"""

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # so that CPU time means the same for all methods

import keras
import numpy as np
import study
import tensorflow as tf
from keras import layers

import gan_utils
from gan_utils import data, games

EPOCHS, SECONDS = 20, 400.0  # whichever comes first, of CPU time in training
RATE_EPOCHS, RATE_SECONDS = 6, 120.0
RATES = (3e-4, 1e-3, 3e-3)
WEIGHTS = (0.3, 1.0)  # λ of CatGAN
RATE_SEED = 10
LABELS_OF_A_CLASS, VALIDATION, DIGITS = 10, 10_000, 10
BATCH, KNOWN = 100, 20  # unlabelled and labelled digits of a batch
UNITS, LATENT, G_UNITS = (500, 250, 250), 100, (250, 250)
NOISE, HIDDEN_NOISE = 0.3, 0.5  # of pixels in [0, 1], and behind each hidden layer
SAMPLES = 10_000
AT_ONCE = 10  # steps in one call
SEEDS = range(3)

ALONE = "labels alone"
METHODS: dict[str, tuple[type[gan_utils.GAN], dict[str, Any]] | None] = {
    ALONE: None,
    "semi-supervised": (games.SemiSupervisedGAN, {}),
    "feature matching": (games.SemiSupervisedGAN, {"feature_matching": True}),
    "CatGAN": (games.CatGAN, {}),
}


def classifier(features: bool) -> keras.Model:
    """A perceptron with noise on its inputs and behind each hidden layer; it may return the last of these too."""
    images = keras.Input((28, 28, 1))
    hidden = layers.GaussianNoise(2.0 * NOISE)(layers.Flatten()(images))
    for units in UNITS:
        last = layers.Dense(units, activation="relu", kernel_initializer="he_normal")(hidden)
        hidden = layers.GaussianNoise(HIDDEN_NOISE)(last)
    logits = layers.Dense(DIGITS)(hidden)
    return keras.Model(images, [logits, last] if features else logits, name="discriminator")


def generator() -> keras.Model:
    latent = keras.Input((LATENT,))
    hidden = latent
    for units in G_UNITS:
        hidden = layers.Dense(units, use_bias=False)(hidden)
        hidden = layers.Activation("softplus")(layers.BatchNormalization(momentum=0.9)(hidden))
    return keras.Model(latent, layers.Reshape((28, 28, 1))(layers.Dense(784, activation="tanh")(hidden)))


def mixed(
    samples: np.ndarray, known: np.ndarray, labels: np.ndarray, seed: int, size: int, known_size: int
) -> tf.data.Dataset:
    """Endless batches of `size` samples without a label, and `known_size` of the known ones with theirs."""
    unlabelled = data.batches(samples, size, seed, np.full(len(samples), -1)).repeat()
    labelled = data.batches(known, known_size, seed, labels).repeat()

    def join(one: tuple[tf.Tensor, tf.Tensor], other: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.concat([one[0], other[0]], axis=0), tf.concat([one[1], other[1]], axis=0)

    return tf.data.Dataset.zip((unlabelled, labelled)).map(join)


def compiled(method: str, rate: float, weight: float | None) -> tuple[keras.Model, keras.Model, gan_utils.GAN | None]:
    """What is trained, the same network as a classifier, and the game, if it is one."""
    network = classifier(features=method == "feature matching")
    answers = keras.Model(network.inputs, network.outputs[0])
    both = [keras.optimizers.Adam(rate, beta_1=0.5) for _ in range(2)]
    if METHODS[method] is None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        network.compile(both[0], loss, steps_per_execution=AT_ONCE)
        return network, answers, None
    kind, settings = METHODS[method]
    settings = settings if weight is None else {**settings, "class_weight": weight}
    gan = kind(generator(), network, latent_dim=LATENT, **settings)
    gan.compile(*both, steps_per_execution=AT_ONCE)
    return gan, answers, gan


def train(
    seed: int,
    method: str,
    rate: float,
    weight: float | None = None,
    epochs: int = EPOCHS,
    seconds: float = SECONDS,
) -> tuple[dict[str, Any], keras.Model, gan_utils.GAN | None]:
    """One run: its validation errors epoch by epoch; the networks are left as they were after the best."""
    images, digits = data.load_mnist("train")
    learned, validation = (slice(0, -VALIDATION), slice(-VALIDATION, None))
    order = np.random.default_rng(seed).permutation(len(digits[learned]))
    chosen = np.concatenate([order[digits[order] == digit][:LABELS_OF_A_CLASS] for digit in range(DIGITS)])
    trained, answers, gan = compiled(method, rate, weight)
    known = images[chosen], digits[chosen].astype(np.int32)
    if gan is None:
        dataset = data.batches(known[0], len(chosen), seed, known[1]).repeat()
    else:
        dataset = mixed(images[learned], *known, seed, BATCH, KNOWN)
    clock, curve, best = study.Clock(seconds), [], None
    while len(curve) < epochs and clock.spent < seconds:
        steps = len(images[learned]) // BATCH
        trained.fit(dataset, steps_per_epoch=steps, verbose=0, callbacks=[clock], shuffle=False)
        wrong = errors(answers, images[validation], digits[validation])
        curve.append([round(clock.spent, 1), wrong])
        if wrong == min(each for _, each in curve):
            best = len(curve), trained.get_weights()
    last = {"errors_last": errors(answers, *data.load_mnist("test")), "frechet_last": frechet(gan)}
    trained.set_weights(best[1])
    return {"curve": curve, "epoch": best[0], **last}, answers, gan


def errors(answers: keras.Model, images: np.ndarray, digits: np.ndarray) -> int:
    """How many digits are told wrong."""
    return int(np.sum(answers.predict(images, batch_size=1000, verbose=0).argmax(axis=1) != digits))


def frechet(gan: gan_utils.GAN | None) -> float | None:
    images = None if gan is None else gan.sample(SAMPLES, seed=1)
    good = images is not None and np.isfinite(images).all()
    return float(f"{study.frechet(images):.5g}") if good else None


def choose(seed: int, method: str, rate: float, weight: float | None = None) -> dict[str, Any]:
    run, *_ = train(seed, method, rate, weight, RATE_EPOCHS, RATE_SECONDS)
    wrong = min(wrong for _, wrong in run["curve"])
    recipe = described(method, rate, weight)
    return {"method": method, "recipe": recipe, "rate": rate, "weight": weight, "curve": run["curve"], "errors": wrong}


def rates() -> dict[str, dict[str, Any]]:
    """Learning rate and λ of each method by its fewest validation errors."""
    best = study.best_runs("semi_supervised_rates", "method", "errors")
    return {method: {"rate": run["rate"], "weight": run["weight"]} for method, run in best.items()}


def compare(seed: int, method: str) -> dict[str, Any]:
    """One run: errors on the 10,000 test digits, and how good the generator is, after its best epoch."""
    setting = rates()[method]
    run, answers, gan = train(seed, method, **setting)
    found = {"errors": errors(answers, *data.load_mnist("test")), "frechet": frechet(gan)}
    samples = study.encode(gan.sample(20, seed=1)) if gan is not None and seed == 0 else None
    recipe = described(method, **setting)
    return {"method": method, "recipe": recipe, **setting, **found, **run, "samples": samples}


def described(method: str, rate: float, weight: float | None) -> str:
    """A method in words."""
    if METHODS[method] is None:
        return f"cross-entropy of the labelled digits alone; Adam, beta_1=0.5, {rate:g}"
    kind, settings = METHODS[method]
    settings = settings if weight is None else {**settings, "class_weight": weight}
    told = ", ".join(f"{key}={value}" for key, value in settings.items())
    return f"{kind.__name__}({told}); Adam, beta_1=0.5, {rate:g}"


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    command = "python studies/semi_supervised.py"
    protocol = {
        "networks": f"784 → {' → '.join(map(str, UNITS))} → 10, ReLU, noise of {NOISE} of a pixel's range and "
        f"{HIDDEN_NOISE} behind each layer; {LATENT} → {' → '.join(map(str, G_UNITS))} → 784, batch norm, softplus",
        "labels": f"{LABELS_OF_A_CLASS} of each class, drawn by the seed",
        "batch": f"{BATCH} unlabelled and {KNOWN} labelled digits, which count as real too; labels alone: all of them",
        "validation": f"the last {VALIDATION:,} training digits with their labels; the best epoch is kept",
        "threads": int(os.environ["TF_NUM_INTRAOP_THREADS"]),
    }
    tries = {
        f"{method} · {rate:g}" + (f" · λ = {weight:g}" if weight else ""): {
            "method": method,
            "rate": rate,
            "weight": weight,
        }
        for method in METHODS
        for weight in (WEIGHTS if method == "CatGAN" else (None,))
        for rate in RATES
    }
    tried = {"epochs": RATE_EPOCHS, "cpu_seconds": RATE_SECONDS}
    study.conduct("semi_supervised_rates", {**protocol, **tried}, tries, [RATE_SEED], choose, command)
    rows = {method: {"method": method} for method in METHODS}
    allowed = {"epochs": EPOCHS, "cpu_seconds": SECONDS, "test": "errors on the 10,000 test digits"}
    study.conduct("semi_supervised", {**protocol, **allowed}, rows, SEEDS, compare, command)


if __name__ == "__main__":
    main()
