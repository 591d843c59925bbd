"""Trains the networks that the course ships, writes them to data/pretrained/ and enters them in data/manifest.json.

    python tools/train_networks.py mnist_classifier mnist_gan

Networks that need another one (scores need the classifier) come after it in the list of `--help`.
"""

import argparse
import hashlib
import json
import os
import pathlib
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import gan_utils
from gan_utils import data, metrics, models

FOLDER = pathlib.Path(__file__).parent.parent / "data"
SAMPLES = 10_000  # in a score


def mnist_classifier(epochs: int = 10) -> None:
    """A convolutional classifier of digits; its last hidden layer is the feature space of the course's scores."""
    images, labels = data.load_mnist("train")
    inputs = keras.Input((28, 28, 1))
    x = inputs
    for filters in (32, 64, 128):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.MaxPooling2D()(layers.ReLU()(x))
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    features = layers.Dense(128, activation="relu", name="features")(x)
    logits = layers.Dense(10, name="logits")(layers.Dropout(0.3)(features))
    network = keras.Model(inputs, [features, logits], name="mnist_classifier")

    move = keras.Sequential(
        [
            layers.RandomTranslation(0.08, 0.08, fill_mode="constant", fill_value=-1.0),
            layers.RandomRotation(0.03, fill_mode="constant", fill_value=-1.0),
        ]
    )
    digits = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed=0).batch(128)
    digits = digits.map(lambda image, label: (move(image, training=True), label)).prefetch(4)
    steps = epochs * len(digits)
    trained = keras.Model(inputs, logits)
    trained.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    begin = time.perf_counter()
    trained.fit(digits, epochs=epochs, verbose=2)
    test_images, test_labels = data.load_mnist("test")
    _, found = network.predict(test_images, batch_size=500, verbose=0)
    ship(
        "mnist_classifier",
        network,
        what="classifier of digits: (batch, 28, 28, 1) in [-1, 1] to 128 features and 10 logits",
        budget=f"{epochs} epochs, {time.perf_counter() - begin:.0f} s on 2 CPU cores",
        scores={"test_accuracy": round(float((found.argmax(axis=1) == test_labels).mean()), 4)},
    )


def mnist_gan(epochs: int = 20) -> None:
    """The DCGAN of notebook 03 on the digits, at its full length."""
    images, _ = data.load_mnist("train")
    gan = train_dcgan(images, models.dcgan_generator(), models.dcgan_discriminator(), epochs, "mnist")
    budget = f"{epochs} epochs of 469 steps, batch 128, {gan.seconds:.0f} s on 2 CPU cores"
    test_images, _ = data.load_mnist("test")
    fakes = gan.sample(SAMPLES, seed=1)
    features, logits = metrics.digit_features(fakes)
    distance = metrics.frechet_distance(features, metrics.digit_features(test_images)[0])
    confidence = tf.nn.softmax(logits).numpy().max(axis=1)
    scores = {
        "frechet_distance_10000_to_test": round(distance, 3),
        "share_above_confidence_0.9": round(float((confidence > 0.9).mean()), 4),
    }
    ship("mnist_generator", gan.generator, "DCGAN generator: 100 latents to digits in [-1, 1]", budget, scores)
    ship("mnist_discriminator", gan.discriminator, "its discriminator: digits to a logit", budget, {})


def train_dcgan(
    images: np.ndarray, generator: keras.Model, discriminator: keras.Model, epochs: int, name: str
) -> gan_utils.GAN:
    """Trains with the paper's settings, keeps a running mean of G's weights, and returns the GAN with that mean."""
    gan = gan_utils.GAN(generator, discriminator, latent_dim=100, seed=0)
    g_optimizer = keras.optimizers.Adam(2e-4, beta_1=0.5, use_ema=True, ema_momentum=0.999)
    gan.compile(keras.optimizers.Adam(2e-4, beta_1=0.5), g_optimizer)
    grid = gan_utils.SampleGrid(f"build/{name}.gif", rows=8, columns=12)
    begin = time.perf_counter()
    gan.fit(data.batches(images, 128), epochs=epochs, verbose=2, callbacks=[grid])
    gan.seconds = time.perf_counter() - begin
    g_optimizer.finalize_variable_values(generator.trainable_variables)
    for seed in range(100):  # the running statistics of batch norm belong to the last weights, not to the mean
        generator(gan.latent(256, seed), training=True)
    return gan


def ship(name: str, network: keras.Model, what: str, budget: str, scores: dict[str, Any]) -> None:
    """Saves a network and its entry in the manifest."""
    path = FOLDER / "pretrained" / f"{name}.keras"
    path.parent.mkdir(exist_ok=True)
    network.save(path)
    manifest = json.loads((FOLDER / "manifest.json").read_text("utf-8"))
    manifest[f"pretrained/{name}.keras"] = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "what": what,
        "origin": f"python tools/train_networks.py {COMMAND_OF.get(name, name)}",
        "budget": budget,
        "scores": scores,
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__, "gan_utils": gan_utils.__version__},
        "licence": "MIT",
    }
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    print(f"{name}: {path.stat().st_size / 2**20:.1f} MiB, {budget}, {scores}", flush=True)


COMMAND_OF = {"mnist_generator": "mnist_gan", "mnist_discriminator": "mnist_gan"}
NETWORKS = {function.__name__: function for function in (mnist_classifier, mnist_gan)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", choices=NETWORKS)
    for name in parser.parse_args().networks:
        keras.utils.set_random_seed(0)
        NETWORKS[name]()


if __name__ == "__main__":
    main()
