"""Are an autoencoder's features good for a classifier? Writes data/results/encoders.json.

    python studies/encoders.py

The encoder of an autoencoder and of a VAE, trained without labels on the digits of studies/generative.py, is kept and
fine-tuned together with a linear classifier of its code, with 100 and 1,000 labels, against the same network from
scratch. Learning rate and epochs are those with the fewest errors on held-out training digits, on another seed
(data/results/encoders_rates.json); those of the training without labels are what studies/generative.py chose, which
comes first. A run that is in the files is not made again. Takes about half an hour on one CPU core; two processes share
it.
"""

import json
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import generative
import keras
import numpy as np
import study
import tensorflow as tf
from keras import layers, optimizers

from gan_utils import data, vae

SECONDS = 100.0  # of CPU time, of the training without labels
STARTS = {"scratch": None, "autoencoder": "autoencoder", "VAE": "VAE, 20 latents"}
LABELS = (100, 1_000)
RATES = (3e-4, 1e-3, 3e-3)
EPOCHS = (10, 30, 100)  # after which one may stop
BATCH = 20
RATE_SEED = 10
SEEDS = range(3)


def choose(seed: int, start: str) -> dict[str, Any]:
    """Errors on the held-out training digits for each number of labels, by learning rate and epochs."""
    (images, labels), weights = held_out(), pretrained(start, seed)
    found = {}
    for count in LABELS:
        for rate in RATES:
            errors = fine_tune(weights, seed, count, rate, EPOCHS, images, labels)
            found |= {f"{count} labels, rate {rate:g}, {epochs} epochs": error for epochs, error in errors.items()}
    return {"start": start, "errors": found}


def best(start: str, count: int) -> tuple[float, int]:
    """The learning rate and the epochs of a start with so many labels that made the fewest errors."""
    runs = json.loads((study.FOLDER / "encoders_rates.json").read_text("utf-8"))["runs"]
    (errors,) = (run["errors"] for run in runs if run["start"] == start)
    pairs = [(rate, epochs) for epochs in EPOCHS for rate in RATES]
    return min(pairs, key=lambda pair: errors[f"{count} labels, rate {pair[0]:g}, {pair[1]} epochs"])


def compare(seed: int, start: str) -> dict[str, Any]:
    """Errors on the test digits for each number of labels, as shares."""
    images, labels = generative.digits("test"), data.load_mnist("test")[1]
    weights, record = pretrained(start, seed), {"start": start}
    for count in LABELS:
        rate, epochs = best(start, count)
        error = fine_tune(weights, seed, count, rate, [epochs], images, labels)[epochs]
        record[f"{count} labels"] = {"rate": rate, "epochs": epochs, "error": error}
    return record


def pretrained(start: str, seed: int) -> list[np.ndarray] | None:
    """Weights of an encoder to a code of `generative.CODE` numbers, trained without labels; None from scratch."""
    name = STARTS[start]
    if name is None:
        return None
    rate = generative.rates()[name]
    model, _ = generative.train(name, seed, rate, -study.HELD_OUT, SECONDS)
    if name == "autoencoder":
        return model.layers[0].get_weights()
    *inner, kernel, bias = model.encoder.get_weights()
    return [*inner, kernel[:, : generative.CODE], bias[: generative.CODE]]  # of the means


def fine_tune(
    weights: list[np.ndarray] | None,
    seed: int,
    count: int,
    rate: float,
    stops: Any,
    images: np.ndarray,
    labels: np.ndarray,
) -> dict[int, float]:
    """The share of wrong answers on some digits after each of some epochs, of a classifier of so many labelled digits.

    Each seed has its own labelled digits, as many of each class, the same for all starts.
    """
    keras.utils.set_random_seed(seed)
    encoder = vae.encoder(generative.CODE, generative.FILTERS)
    if weights is not None:
        encoder.set_weights(weights)
    classifier = keras.Sequential([keras.Input((28, 28, 1)), encoder, layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile(optimizers.Adam(rate), loss, jit_compile=False, steps_per_execution=5)
    few, their_labels = labelled(count, seed)
    errors, done = {}, 0
    for stop in stops:
        classifier.fit(few, their_labels, batch_size=BATCH, epochs=stop - done, verbose=0)
        answers = classifier.predict(images, batch_size=500, verbose=0).argmax(axis=1)
        errors[stop], done = round(float((answers != labels).mean()), 4), stop
    return errors


def labelled(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """So many of the first 50,000 training digits, as many of each class."""
    labels = data.load_mnist("train")[1][: -study.HELD_OUT]
    random = np.random.default_rng(seed)
    chosen = np.concatenate([random.choice(np.flatnonzero(labels == d), count // 10, False) for d in range(10)])
    return generative.digits("train")[chosen], labels[chosen]


def held_out() -> tuple[np.ndarray, np.ndarray]:
    """The last 10,000 training digits and their labels."""
    return generative.digits("train")[-study.HELD_OUT :], data.load_mnist("train")[1][-study.HELD_OUT :]


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    command = "python studies/encoders.py"
    protocol = {
        "data": "MNIST, pixels 1 above ½ and 0 below",
        "network": f"encoder of gan_utils.vae, {generative.FILTERS} filters, code of {generative.CODE}, the means in a "
        "VAE; a linear classifier of the code; all weights are trained",
        "without labels": f"{SECONDS:g} CPU seconds on the first 50,000 training digits, as in studies/generative.py",
        "with labels": f"as many of each class; Adam, batches of {BATCH}",
        "threads": int(os.environ["TF_NUM_INTRAOP_THREADS"]),
    }
    rows = {start: {"start": start} for start in STARTS}
    chosen = {"errors": "shares of the last 10,000 training digits"}
    study.conduct("encoders_rates", {**protocol, **chosen}, rows, [RATE_SEED], choose, command)
    compared = {"errors": "shares of the 10,000 test digits; rate and epochs by the held-out training digits"}
    study.conduct("encoders", {**protocol, **compared}, rows, SEEDS, compare, command)


if __name__ == "__main__":
    main()
