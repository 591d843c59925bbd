"""What do a discriminator's features know? A linear L2-SVM is asked. Writes data/results/features.json.

    python studies/features.py

Section 5.1 of the DCGAN paper, on digits and clothes: an SVM of 100, 1,000 and 10,000 labelled images reads the
features of a discriminator, early and late in its training, with random weights, or trained on the other data set;
beside it pixels, k-means features and a network of the same shape trained on the labels. The SVM's penalty, and the
network's learning rate, are those with the fewest errors at 1,000 labels on held-out training images, on another seed
(data/results/features_penalties.json). Each seed draws labelled images, random weights and k-means' starts; the GANs
are the same for all seeds, so the errors over seeds are not errors over GANs. A run that is in the files is not made
again. Takes about 40 minutes on one CPU core; two processes share it. The first of them trains a GAN on clothes, which
stays in build/.
"""

import functools
import json
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import numpy as np
import study
import tensorflow as tf
import threadpoolctl
from keras import layers, optimizers
from scipy.optimize import minimize
from sklearn.cluster import MiniBatchKMeans

import gan_utils
from gan_utils import data, models

FILTERS = 48  # of the first layer, as in the shipped networks
SETS = {"MNIST": data.load_mnist, "Fashion-MNIST": data.load_fashion_mnist}
KINDS = {  # of features, by the network that makes them, if one does
    "pixels": None,
    "k-means": None,
    "random D": None,
    "D of MNIST, epoch 1": "mnist_discriminator_epoch_1",
    "D of MNIST, epoch 4": "mnist_discriminator_epoch_4",
    "D of MNIST, epoch 12": "mnist_discriminator_epoch_12",
    "D of MNIST, shipped": "mnist_discriminator",
    "D of Fashion-MNIST, epoch 2": "fashion",
    "supervised network": None,
}
LABELS = (100, 1_000, 10_000)
CHOSEN_AT = 1_000  # labels
CHOSEN_BY = 5_000  # images, the last of the training images
PENALTIES = tuple(10.0**power for power in range(-5, 2))
RATES = (3e-4, 1e-3, 3e-3)
STEPS = {100: 300, 1_000: 600, 10_000: 1_500}  # of the supervised network, by the number of labels
BATCH = 32
CENTROIDS, SIDE = 336, 6  # of k-means, and of its patches: 4·4·336 features, as many as D has
PATCHES = 50_000
FASHION_EPOCHS = 2
CHOICE_SEED = 10
SEEDS = range(3)


def choose(seed: int, kind: str, name: str) -> dict[str, Any]:
    """Errors on the held-out training images with `CHOSEN_AT` labels, by penalty, or by the network's rate."""
    images, labels = labelled(name, CHOSEN_AT, seed)
    held_out, answers = SETS[name]("train")
    held_out, answers = held_out[-CHOSEN_BY:], answers[-CHOSEN_BY:]
    record = {"kind": kind, "data": name}
    if kind == "supervised network":
        errors = {rate: share_wrong(supervised(images, labels, rate, seed), held_out, answers) for rate in RATES}
        return {**record, "errors": {f"{rate:g}": error for rate, error in errors.items()}}
    extract = features(kind, name, seed)
    near, far = extract(images), extract(held_out)
    errors = {penalty: svm_error(fit_svm(near, labels, penalty), far, answers) for penalty in PENALTIES}
    return {**record, "errors": {f"{penalty:g}": error for penalty, error in errors.items()}}


def best(kind: str, name: str) -> float:
    """The penalty, or the rate, that made the fewest errors; the smallest of several."""
    runs = json.loads((study.FOLDER / "features_penalties.json").read_text("utf-8"))["runs"]
    (errors,) = (run["errors"] for run in runs if (run["kind"], run["data"]) == (kind, name))
    return float(min(errors, key=lambda value: (errors[value], float(value))))


def compare(seed: int, kind: str, name: str) -> dict[str, Any]:
    """Errors on the test images for each number of labels, as shares."""
    images, labels = SETS[name]("test")
    chosen = best(kind, name)
    record = {"kind": kind, "data": name, "rate" if kind == "supervised network" else "penalty": chosen}
    if kind == "supervised network":
        for count in LABELS:
            network = supervised(*labelled(name, count, seed), chosen, seed)
            record[f"{count} labels"] = share_wrong(network, images, labels)
        return record
    extract = features(kind, name, seed)
    test, weights = extract(images), None
    for count in LABELS:
        few, their_labels = labelled(name, count, seed)
        weights = fit_svm(extract(few), their_labels, chosen, weights)  # a good start, from fewer labels
        record[f"{count} labels"] = svm_error(weights, test, labels)
    return {**record, "features": test.shape[1]}


def features(kind: str, name: str, seed: int) -> Any:
    """A function of images, (samples, 28, 28, 1), that returns features of a kind, float32, (samples, features)."""
    if kind == "pixels":
        return lambda images: images.reshape(len(images), -1)
    unlabelled = SETS[name]("train")[0][: -study.HELD_OUT]
    if kind == "k-means":
        return k_means(unlabelled, seed)
    if kind == "random D":
        discriminator = settled(unlabelled, seed)
    elif KINDS[kind] == "fashion":
        discriminator = of_fashion()
    else:
        discriminator = models.load_pretrained(KINDS[kind])
    network = pooled(discriminator)
    return lambda images: network.predict(images, batch_size=250, verbose=0)


def pooled(discriminator: keras.Model, side: int = 4) -> keras.Model:
    """All of D's convolutional layers, behind the nonlinearity, max-pooled to 4×4, flattened and joined.

    Maps of 14 and 7 pixels are pooled by windows of ⌈s/4⌉ = 4 and 2, with same padding; maps of 4 are left alone.
    """
    maps = [layer.output for layer in discriminator.layers if isinstance(layer, layers.LeakyReLU)]
    windows = [-(-of.shape[1] // side) for of in maps]
    grids = [layers.MaxPooling2D(window, window, "same")(of) for of, window in zip(maps, windows, strict=True)]
    return keras.Model(discriminator.inputs[0], layers.Concatenate()([layers.Flatten()(grid) for grid in grids]))


def settled(images: np.ndarray, seed: int, batches: int = 150) -> keras.Model:
    """D as it is before training, except that the moving statistics of its batch norm are those of the images."""
    keras.utils.set_random_seed(seed)
    network = models.dcgan_discriminator(base_filters=FILTERS)
    for chosen in np.random.default_rng(seed).integers(len(images), size=(batches, 64)):
        network(images[chosen], training=True)
    return network


def k_means(images: np.ndarray, seed: int) -> Any:
    """Features of A. Coates et al., An Analysis of Single-Layer Networks in Unsupervised Feature Learning, 2011.

    Patches are normalised and whitened; a patch's feature k is max(0, mean distance − distance to centroid k). Differs
    from the paper: pooled by sums to 4×4, not 2×2, and divided by the patches of a cell, so that there are as many
    features as D has and their scale does not depend on the image's side.
    """
    random = np.random.default_rng(seed)
    corners = random.integers(images.shape[1] - SIDE + 1, size=(2, PATCHES))
    drawn = images[random.integers(len(images), size=PATCHES)]
    rows, columns = (corner[:, np.newaxis] + np.arange(SIDE) for corner in corners)
    patches = drawn[np.arange(PATCHES)[:, np.newaxis, np.newaxis], rows[:, :, np.newaxis], columns[:, np.newaxis, :], 0]
    patches = normalised(patches.reshape(PATCHES, -1))
    mean = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
    whiten = ((vectors / np.sqrt(values + 0.1)) @ vectors.T).astype(np.float32)
    found = MiniBatchKMeans(CENTROIDS, batch_size=2048, n_init=1, max_iter=10, random_state=seed)
    centroids = found.fit((patches - mean) @ whiten).cluster_centers_.astype(np.float32)

    def extract(images: np.ndarray) -> np.ndarray:
        blocks = [images[start : start + 100] for start in range(0, len(images), 100)]
        return np.concatenate([triangles(block, mean, whiten, centroids) for block in blocks])

    return extract


def triangles(images: np.ndarray, mean: np.ndarray, whiten: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """k-means features of a few images, (samples, 4·4·centroids), from their patches at all places."""
    windows = np.lib.stride_tricks.sliding_window_view(images[..., 0], (SIDE, SIDE), axis=(1, 2))
    samples, places = windows.shape[:2]
    patches = (normalised(windows.reshape(-1, SIDE * SIDE)) - mean) @ whiten
    squares = (patches**2).sum(axis=1)[:, np.newaxis] - 2.0 * (patches @ centroids.T) + (centroids**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares, 0.0))
    maps = np.maximum(0.0, distances.mean(axis=1, keepdims=True) - distances).reshape(samples, places, places, -1)
    cells = [slice(*np.round([places * i / 4, places * (i + 1) / 4]).astype(int)) for i in range(4)]
    grid = [maps[:, row, column].mean(axis=(1, 2)) for row in cells for column in cells]
    return np.concatenate(grid, axis=1)


def normalised(patches: np.ndarray) -> np.ndarray:
    """Each patch with mean 0 and variance 1; 10 gray levels², added to the variance, keep flat patches flat."""
    patches = patches - patches.mean(axis=1, keepdims=True)
    return patches / np.sqrt(patches.var(axis=1, keepdims=True) + 10.0 / 127.5**2)


def of_fashion() -> keras.Model:
    """D of a DCGAN trained on clothes for `FASHION_EPOCHS`, by the recipe of the shipped digits; made once."""
    path = study.ROOT / "build" / "features" / "fashion_discriminator.keras"
    with study.locked(path, wait=True):
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            train_fashion().save(path)
    return keras.saving.load_model(path, compile=False)


def train_fashion() -> keras.Model:
    keras.utils.set_random_seed(0)
    networks = models.dcgan_generator(base_filters=FILTERS), models.dcgan_discriminator(base_filters=FILTERS)
    gan = gan_utils.GAN(*networks, latent_dim=100, seed=0)
    gan.compile(*(optimizers.Adam(8e-4, beta_1=0.5) for _ in range(2)), steps_per_execution=10)
    gan.fit(data.batches(SETS["Fashion-MNIST"]("train")[0][: -study.HELD_OUT], 64), epochs=FASHION_EPOCHS, verbose=0)
    return gan.discriminator


def fit_svm(
    inputs: np.ndarray, labels: np.ndarray, penalty: float, start: np.ndarray | None = None, tolerance: float = 1e-6
) -> np.ndarray:
    """Weights of linear L2-SVMs, one against the rest, (features + 1, 10); their last row are the offsets.

        ½ Σ w² + C Σ max(0, 1 − t (w·x))²,    t = 1 for the own class and −1 for others; a 1 stands behind each x

    It is the objective of scikit-learn's LinearSVC. That solves the classes one by one in double precision; L-BFGS on
    all at once finds the same weights, and for 10,000 labels and D's features much sooner.

    Args:
        inputs: float32, (samples, features).
        labels: 0 to 9, (samples,).
        penalty: C.
        start: weights to begin with; None is 0.
        tolerance: relative fall of the objective in a step below which it ends.
    """
    inputs = with_one(inputs)
    targets = np.where(labels[:, np.newaxis] == np.arange(10), 1, -1).astype(np.float32)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(-1, 10).astype(np.float32)
        slack = np.maximum(0.0, 1.0 - targets * (inputs @ weights))  # (samples, 10)
        slope = flat - 2.0 * penalty * ((targets * slack).T @ inputs).T.ravel()
        return 0.5 * flat @ flat + penalty * np.sum(slack**2, dtype=np.float64), slope

    first = np.zeros(inputs.shape[1] * 10) if start is None else start.ravel().astype(np.float64)
    options = {"maxiter": 200, "maxfun": 250, "ftol": tolerance, "gtol": 0.0}
    return minimize(objective, first, jac=True, method="L-BFGS-B", options=options).x.reshape(-1, 10)


def with_one(inputs: np.ndarray) -> np.ndarray:
    return np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], axis=1)


def svm_error(weights: np.ndarray, inputs: np.ndarray, labels: np.ndarray) -> float:
    answers = (inputs @ weights[:-1].astype(np.float32) + weights[-1]).argmax(axis=1)
    return round(float((answers != labels).mean()), 4)


def supervised(images: np.ndarray, labels: np.ndarray, rate: float, seed: int) -> keras.Model:
    """D's convolutions under ten logits in place of one, trained on these labels alone."""
    keras.utils.set_random_seed(seed)
    body = models.dcgan_discriminator(base_filters=FILTERS)
    network = keras.Model(body.inputs[0], layers.Dense(10)(body.layers[-1].input))
    steps = STEPS[len(labels)]
    falling = optimizers.schedules.CosineDecay(rate, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizers.Adam(falling), loss, jit_compile=False, steps_per_execution=10)
    network.fit(data.batches(images, BATCH, seed, labels).repeat(), steps_per_epoch=steps, verbose=0)
    return network


def share_wrong(network: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    answers = network.predict(images, batch_size=250, verbose=0).argmax(axis=1)
    return round(float((answers != labels).mean()), 4)


def labelled(name: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """So many of the first 50,000 training images, as many of each class."""
    images, labels = SETS[name]("train")
    labels = labels[: -study.HELD_OUT]
    random = np.random.default_rng(seed)
    chosen = np.concatenate([random.choice(np.flatnonzero(labels == c), count // 10, False) for c in range(10)])
    return images[chosen], labels[chosen]


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for name, load in SETS.items():
        SETS[name] = functools.cache(load)
    command = "python studies/features.py"
    protocol = {
        "labels": "as many of each class, from the first 50,000 training images",
        "svm": "linear, squared hinge, one against the rest: LinearSVC's objective, by L-BFGS; features as they are",
        "D": f"{FILTERS} filters; all convolutions behind LeakyReLU, max-pooled to 4x4; batch norm by its moving "
        "statistics, which random D's are those of 150 batches of the unlabelled images",
        "GANs": "one of digits and one of clothes, for all seeds",
        "k-means": f"Coates et al. 2011: {CENTROIDS} centroids of {SIDE}x{SIDE} patches, pooled to 4x4",
        "supervised network": f"D's shape with 10 logits; Adam, rate falling to 0, batches of {BATCH}",
        "its batches, by labels": {str(count): steps for count, steps in STEPS.items()},
        "threads": int(os.environ["TF_NUM_INTRAOP_THREADS"]),
    }
    rows = {f"{kind}, on {name}": {"kind": kind, "name": name} for name in SETS for kind in KINDS}
    chosen = {"errors": f"shares of the last {CHOSEN_BY} training images, with {CHOSEN_AT} labels"}
    compared = {"errors": f"shares of the 10,000 test images; penalty or rate chosen once, at {CHOSEN_AT} labels"}
    with threadpoolctl.threadpool_limits(protocol["threads"]):
        study.conduct("features_penalties", {**protocol, **chosen}, rows, [CHOICE_SEED], choose, command)
        study.conduct("features", {**protocol, **compared}, rows, SEEDS, compare, command)


if __name__ == "__main__":
    main()
