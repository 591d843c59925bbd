"""Trains the networks that the course ships, writes them to data/pretrained/ and enters them in data/manifest.json.

    python tools/train_networks.py mnist_classifier mnist_gan

Networks that need another one (scores need the classifier) come after it in the list of `--help`.
"""

import argparse
import hashlib
import json
import os
import pathlib
import sys
import time
import zipfile
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.append(str(pathlib.Path(__file__).parent.parent / "studies"))

import keras
import numpy as np
import study
import tensorflow as tf
from keras import layers

import gan_utils
from gan_utils import autoregressive, data, faces, growing, metrics, models, vae

ROOT = pathlib.Path(__file__).parent.parent
FOLDER, BUILD = ROOT / "data", ROOT / "build"
SAMPLES = 10_000  # in a score
FILTERS = 48  # of the GANs' widest images
PIXEL_RATE, VAE_RATE = 3e-3, 2e-3  # at the start
KEPT_EPOCHS = (1, 4, 12)  # of which the digits' discriminator is shipped besides the chosen one's

# Settings that layers and initializers got after Keras 3.7, with their defaults, which change nothing.
NEWER_SETTINGS = {
    "input_axes": None,
    "output_axes": None,
    "quantization_config": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
}


def mnist_classifier() -> None:
    """A convolutional classifier of digits; its last hidden layer is the feature space of the course's scores."""
    classifier("mnist_classifier", "digits", data.load_mnist)


def fashion_classifier() -> None:
    """The same network for Fashion-MNIST."""
    classifier("fashion_classifier", "clothes", data.load_fashion_mnist)


def classifier(name: str, kind: str, load: Callable[[str], tuple[np.ndarray, np.ndarray]], epochs: int = 10) -> None:
    images, labels = load("train")
    inputs = keras.Input((28, 28, 1))
    x = layers.Dropout(0.3)(convolve(inputs))
    features = layers.Dense(128, activation="relu", name="features")(x)
    logits = layers.Dense(10, name="logits")(layers.Dropout(0.3)(features))
    network = keras.Model(inputs, [features, logits], name=name)

    move = keras.Sequential(
        [
            layers.RandomTranslation(0.08, 0.08, fill_mode="constant", fill_value=-1.0),
            layers.RandomRotation(0.03, fill_mode="constant", fill_value=-1.0),
        ]
    )
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed=0).batch(128)
    dataset = dataset.map(lambda image, label: (move(image, training=True), label)).prefetch(4)
    steps = epochs * len(dataset)
    trained = keras.Model(inputs, logits)
    trained.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    begin = time.perf_counter()
    trained.fit(dataset, epochs=epochs, verbose=2, shuffle=False)
    test_images, test_labels = load("test")
    _, found = network.predict(test_images, batch_size=500, verbose=0)
    ship(
        name,
        network,
        what=f"classifier of {kind}: (batch, 28, 28, 1) in [-1, 1] to 128 features and 10 logits",
        budget=f"{epochs} epochs, {time.perf_counter() - begin:.0f} s on 2 CPU cores",
        scores={"test_accuracy": round(float((found.argmax(axis=1) == test_labels).mean()), 4)},
    )


def mnist_gan(epochs: int = 30) -> None:
    """A DCGAN on 50,000 of the training digits; the epoch that is kept is the best on the other 10,000."""
    images, _ = data.load_mnist("train")
    networks = models.dcgan_generator(base_filters=FILTERS), models.dcgan_discriminator(base_filters=FILTERS)

    def extract(images: np.ndarray) -> np.ndarray:
        return metrics.digit_features(images)[0]

    gan, budget = train_dcgan(images[:50_000], images[50_000:], extract, *networks, epochs, "mnist")
    features, logits = metrics.digit_features(gan.sample(SAMPLES, seed=1))
    confidence = tf.nn.softmax(logits).numpy().max(axis=1)
    scores = {
        "frechet_distance_10000_to_test": round(metrics.frechet_distance(features, study.reference()), 3),
        "share_above_confidence_0.9": round(float((confidence > 0.9).mean()), 4),
    }
    ship("mnist_generator", gan.drawing_network, "DCGAN generator: 100 latents to digits in [-1, 1]", budget, scores)
    ship("mnist_discriminator", gan.discriminator, "its discriminator: digits to a logit", budget, {})
    for epoch in KEPT_EPOCHS:
        name = f"mnist_discriminator_epoch_{epoch}"
        network = keras.saving.load_model(BUILD / "mnist" / f"discriminator_{epoch}.keras")
        what = "an earlier state of mnist_discriminator: digits to a logit"
        ship(name, network, what, budget.replace(budget.partition(";")[0], f"epoch {epoch} of {epochs}"), {})


def mnist_conditional_gan(epochs: int = 30) -> None:
    """The same DCGAN with labels, on the same digits: its generator draws what one asks for."""
    images, digits = data.load_mnist("train")
    classes, filters = 10, {"base_filters": FILTERS}
    networks = (
        models.conditional_generator(models.dcgan_generator(latent_dim=100 + classes, **filters), classes),
        models.projection_discriminator(models.dcgan_discriminator(**filters), classes),
    )

    def extract(images: np.ndarray) -> np.ndarray:
        return metrics.digit_features(images)[0]

    parts = images[:50_000], images[50_000:]
    gan, budget = train_dcgan(*parts, extract, *networks, epochs, "mnist_conditional", labels=digits[:50_000])
    features, logits = metrics.digit_features(gan.sample(SAMPLES, seed=1))  # of each digit in turn
    asked, of_test = np.arange(SAMPLES) % classes, data.load_mnist("test")[1]
    by_class = [
        metrics.frechet_distance(features[asked == digit], study.reference()[of_test == digit])
        for digit in range(classes)
    ]
    scores = {
        "frechet_distance_10000_to_test": round(metrics.frechet_distance(features, study.reference()), 3),
        "frechet_distance_1000_of_each_class_to_test": [round(distance, 2) for distance in by_class],
        "share_classified_as_asked": round(float((logits.argmax(axis=1) == asked).mean()), 4),
    }
    what = "DCGAN generator that reads labels: 100 latents and a one-hot digit to digits in [-1, 1]"
    ship("mnist_conditional_generator", gan.drawing_network, what, budget, scores)


def faces_attributes(epochs: int = 10) -> None:
    """Reads the attributes off a sketch face. Blurred and noisy faces in training make it fit for generated ones."""
    inputs = keras.Input((32, 32, 3))
    x = layers.BatchNormalization(momentum=0.9)(layers.Dense(256, use_bias=False)(convolve(inputs)))
    x = layers.ReLU(name="features")(x)
    outputs = {
        "smile": layers.Dense(1, "sigmoid", name="smile")(x),
        "turn": layers.Dense(1, "tanh", name="turn")(x),
        "skin": layers.Dense(1, "sigmoid", name="skin")(x),
        "background": layers.Dense(2, name="background")(x),  # cosine and sine of the hue
        "glasses": layers.Dense(1, "sigmoid", name="glasses")(x),
        "beard": layers.Dense(1, "sigmoid", name="beard")(x),
        "hair_style": layers.Dense(len(faces.HAIR_STYLES), "softmax", name="hair_style")(x),
        "hair_color": layers.Dense(len(faces.HAIR_COLORS), "softmax", name="hair_color")(x),
    }
    network = keras.Model(inputs, outputs, name="faces_attributes")
    images, targets = faces_with_targets(30_000, seed=1)

    def spoil(batch: tf.Tensor, target: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        strength = tf.random.uniform((tf.shape(batch)[0], 1, 1, 1), maxval=0.7)
        batch += strength * (tf.nn.avg_pool2d(batch, 3, 1, "SAME") - batch)
        return batch + tf.random.normal(tf.shape(batch), stddev=0.05), target

    dataset = tf.data.Dataset.from_tensor_slices((images, targets)).shuffle(len(images), seed=0).batch(128)
    dataset = dataset.map(spoil).prefetch(4)
    kinds = {"glasses": "binary_crossentropy", "beard": "binary_crossentropy"}
    kinds |= {"hair_style": "sparse_categorical_crossentropy", "hair_color": "sparse_categorical_crossentropy"}
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, epochs * len(dataset))
    weights = {name: 1.0 if name in kinds else 5.0 for name in outputs}
    trained = keras.Model(inputs, outputs)  # shares the weights, and keeps the optimizer out of the file
    trained.compile(
        keras.optimizers.Adam(schedule),
        loss={name: kinds.get(name, "mean_squared_error") for name in outputs},
        loss_weights=weights,
    )
    begin = time.perf_counter()
    trained.fit(dataset, epochs=epochs, verbose=2, shuffle=False)
    images, targets = faces_with_targets(5_000, seed=2)
    found = network.predict(images, batch_size=500, verbose=0)
    scores = {}
    for name, target in targets.items():
        if name in ("glasses", "beard"):
            right = (found[name][:, 0] > 0.5) == (target > 0.5)
            scores[f"{name}_accuracy"] = round(float(right.mean()), 4)
        elif name in kinds:
            scores[f"{name}_accuracy"] = round(float((found[name].argmax(axis=1) == target).mean()), 4)
        else:
            error = found[name] - target.reshape(len(target), -1)
            scores[f"{name}_rms_error"] = round(float(np.sqrt(np.mean(error**2))), 4)
    what = "attributes of a sketch face: (batch, 32, 32, 3) in [-1, 1] to a dictionary; see gan_utils.faces"
    ship(
        "faces_attributes",
        network,
        what,
        f"{epochs} epochs, {time.perf_counter() - begin:.0f} s on 2 CPU cores",
        scores,
    )


def convolve(x: keras.KerasTensor) -> keras.KerasTensor:
    """What both readers begin with: three convolutions, each of which halves the side, and a vector."""
    for filters in (32, 64, 128):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.MaxPooling2D()(layers.ReLU()(x))
    return layers.Flatten()(x)


def faces_with_targets(count: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Sketch faces, and what the attribute network has to say of each."""
    attributes = faces.sample_attributes(count, seed)
    hue = 2.0 * np.pi * attributes["background"]
    targets = {name: values for name, values in attributes.items() if name not in ("width", "background")}
    return faces.draw(attributes), {**targets, "background": np.stack([np.cos(hue), np.sin(hue)], axis=1)}


def faces_gan() -> None:
    """A DCGAN on 20,000 sketch faces; the epoch that is kept is the best against 10,000 others."""
    gan, budget, scores = train_faces(32, FILTERS, "faces")
    what = "DCGAN generator: 100 latents to sketch faces, (batch, 32, 32, 3) in [-1, 1]"
    ship("faces_generator", gan.drawing_network, what, budget, scores)
    ship("faces_discriminator", gan.discriminator, "its discriminator: sketch faces to a logit", budget, {})


def faces_64_gan() -> None:
    """The same with 64 pixels."""
    gan, budget, scores = train_faces(64, 32, "faces_64")
    what = "DCGAN generator: 100 latents to sketch faces, (batch, 64, 64, 3) in [-1, 1]"
    ship("faces_64_generator", gan.drawing_network, what, budget, scores)


def train_faces(
    side: int, base_filters: int, name: str, epochs: int = 60
) -> tuple[gan_utils.GAN, str, dict[str, float]]:
    """The GAN, its budget in words, and scores of its samples by the network that reads 32 pixels."""
    sets = ((20_000, 0), (10_000, 3))  # training, choice of the epoch
    images, held_out = (faces.draw(faces.sample_attributes(count, seed), side) for count, seed in sets)
    networks = (
        models.dcgan_generator(side, 3, base_filters=base_filters),
        models.dcgan_discriminator(side, 3, base_filters=base_filters),
    )
    reader = models.load_pretrained("faces_attributes")
    features = keras.Model(reader.inputs, reader.get_layer("features").output)

    def extract(images: np.ndarray) -> np.ndarray:
        return features.predict(growing.shrink(images, 32), batch_size=500, verbose=0)

    gan, budget = train_dcgan(images, held_out, extract, *networks, epochs, name)
    drawn, fakes = faces.draw(faces.sample_attributes(SAMPLES, seed=4), side), gan.sample(SAMPLES, seed=1)
    distance = metrics.frechet_distance(extract(fakes), extract(drawn))
    scores = {"frechet_distance_10000_to_10000": round(distance, 3)}
    for kind, some in (("generated", fakes), ("drawn", drawn)):
        found = reader.predict(growing.shrink(some, 32), batch_size=500, verbose=0)
        sure = np.mean([abs(found[attribute] - 0.5) > 0.4 for attribute in ("glasses", "beard")])
        sure_of_hair = np.mean([found[attribute].max(axis=1) > 0.9 for attribute in ("hair_style", "hair_color")])
        scores[f"read_with_confidence_0.9_{kind}"] = round(float(sure + sure_of_hair) / 2, 4)
    return gan, budget, scores


def train_dcgan(
    images: np.ndarray,
    held_out: np.ndarray,
    extract: Callable[[np.ndarray], np.ndarray],
    generator: keras.Model,
    discriminator: keras.Model,
    epochs: int,
    name: str,
    labels: np.ndarray | None = None,
) -> tuple[gan_utils.GAN, str]:
    """Trains; returns the GAN after the epoch with the lowest distance to `held_out`, and its budget in words.

    An interrupted training goes on from build/NAME/. Differs from the DCGAN paper: the learning rate begins at 0.0008
    and falls to 0, batches have 64 images, and samples come from a running mean of G's weights.
    """
    folder = BUILD / name
    folder.mkdir(parents=True, exist_ok=True)
    gan = gan_utils.GAN(generator, discriminator, latent_dim=100, seed=0, average=0.999)
    dataset = data.batches(images, 64, labels=labels)
    falling = keras.optimizers.schedules.CosineDecay(8e-4, epochs * len(dataset))
    gan.compile(*(keras.optimizers.Adam(falling, beta_1=0.5) for _ in range(2)), steps_per_execution=10)
    reference = extract(held_out)

    def distance(fakes: np.ndarray) -> float:
        return metrics.frechet_distance(extract(fakes), reference)

    score = gan_utils.Score(distance, SAMPLES, "frechet", clock=time.process_time)
    checkpoint = gan_utils.Checkpoint(folder / "state.npz")
    history = pathlib.Path(folder / "history.json")
    known = json.loads(history.read_text())["frechet"] if history.is_file() else []
    best = keras.callbacks.ModelCheckpoint(
        folder / "best.keras",
        "frechet",
        mode="min",
        save_best_only=True,
        initial_value_threshold=min(known, default=None),
    )

    def keep(epoch: int, logs: dict[str, float]) -> None:
        if epoch + 1 in KEPT_EPOCHS:
            discriminator.save(folder / f"discriminator_{epoch + 1}.keras")
        known.append(logs["frechet"])  # the checkpoint, which is written last, does not have it yet
        history.write_text(json.dumps({"frechet": known, "epochs": epoch + 1}))

    callbacks = [score, best, checkpoint, keras.callbacks.LambdaCallback(on_epoch_end=keep)]
    told = gan.fit(dataset, epochs=epochs, verbose=2, callbacks=callbacks).history
    chosen = int(np.argmin(told["frechet"]))
    budget = (
        f"epoch {chosen + 1} of {epochs}, the best on a validation part; {len(dataset)} steps an epoch, batch 64, "
        f"{told['seconds'][-1]:.0f} s of CPU time{beside()}"
    )
    return keras.saving.load_model(folder / "best.keras"), budget


def mnist_pixel_cnn() -> None:
    """PixelCNN of digits, each pixel 1 above ½ and 0 below."""
    pixel_network("mnist_pixel_cnn", autoregressive.pixel_cnn())


def mnist_gated_pixel_cnn() -> None:
    """The gated form, of about as many weights."""
    pixel_network("mnist_gated_pixel_cnn", autoregressive.gated_pixel_cnn())


def pixel_network(name: str, network: keras.Model, epochs: int = 20) -> None:
    digits, test = binary_digits("train"), binary_digits("test")
    dataset = data.batches(digits, 64).map(lambda images: (images, images))
    loss = lambda pixels, logits: -autoregressive.log_probability(pixels, logits)  # noqa: E731
    budget = fit_falling(name, network, dataset, epochs, PIXEL_RATE, loss)
    found = autoregressive.log_likelihood(network, test)
    samples = autoregressive.draw(network, 1_000, seed=1)
    distance = metrics.frechet_distance(*(metrics.digit_features(2.0 * some - 1.0)[0] for some in (samples, test)))
    scores = {"test_log_likelihood_nats": round(float(found.mean()), 2), "frechet_distance_1000": round(distance, 1)}
    ship(name, network, "logits of each pixel, given those before it: binary digits, 0 and 1", budget, scores)


def mnist_vaes(epochs: int = 40) -> None:
    """Variational autoencoders of the same digits, with 2 and with 20 latents."""
    test = binary_digits("test")
    for latent_dim in (2, 20):
        name = f"mnist_vae_{latent_dim}"
        networks = vae.encoder(2 * latent_dim), vae.decoder(latent_dim)
        budget = fit_falling(name, vae.VAE(*networks), data.batches(binary_digits("train"), 64), epochs, VAE_RATE)
        scores = {
            "test_bound_nats": round(float(vae.bound(*networks, test).mean()), 2),
            "importance_weighted_50_first_1000": round(float(vae.bound(*networks, test[:1_000], 50).mean()), 2),
        }
        what = f"binary digits, 0 and 1, to mean and log variance of {latent_dim} latents side by side"
        ship(f"{name}_encoder", networks[0], f"encoder of a VAE: {what}", budget, scores)
        ship(f"{name}_decoder", networks[1], f"its decoder: {latent_dim} latents to logits of pixels", budget, scores)


def binary_digits(split: str) -> np.ndarray:
    """Digits of 0 and 1, by the threshold ½ on [0, 1]."""
    return (data.load_mnist(split)[0] > 0.0).astype(np.float32)


def fit_falling(
    name: str, network: keras.Model, dataset: tf.data.Dataset, epochs: int, rate: float, loss: Any = None
) -> str:
    """Trains by Adam, with a rate that falls to 0; returns the budget in words. An interrupted training goes on."""
    folder = BUILD / name
    folder.mkdir(parents=True, exist_ok=True)
    falling = keras.optimizers.schedules.CosineDecay(rate, epochs * len(dataset))
    network.compile(keras.optimizers.Adam(falling), loss, steps_per_execution=10, jit_compile=False)
    network.optimizer.build(network.trainable_variables)  # so that a backup can be read into it
    seconds = folder / "seconds.json"
    before = json.loads(seconds.read_text()) if seconds.is_file() else 0.0
    begin = time.process_time()

    def keep(epoch: int, logs: dict[str, float]) -> None:
        seconds.write_text(json.dumps(before + time.process_time() - begin))

    backup = keras.callbacks.BackupAndRestore(folder / "backup")
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=keep), backup]
    network.fit(dataset, epochs=epochs, verbose=2, shuffle=False, callbacks=callbacks)
    spent = json.loads(seconds.read_text())
    seconds.unlink()  # the next training starts anew
    return f"{epochs} epochs of {len(dataset)} steps, batch 64, {spent:.0f} s of CPU time{beside()}"


def beside() -> str:
    """The GPU that took part, in words."""
    gpus = tf.config.list_physical_devices("GPU")
    return f" beside one {tf.config.experimental.get_device_details(gpus[0])['device_name']}" if gpus else ""


def ship(name: str, network: keras.Model, what: str, budget: str, scores: dict[str, Any]) -> None:
    """Saves a network and its entry in the manifest."""
    path = FOLDER / "pretrained" / f"{name}.keras"
    path.parent.mkdir(exist_ok=True)
    network.save(path)
    make_portable(path)
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


def make_portable(path: pathlib.Path) -> None:
    """Rewrites a .keras file so that older versions of Keras load it too: they refuse settings they do not know."""
    with zipfile.ZipFile(path) as archive:
        contents = {entry: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in contents.items():
            if entry.filename == "config.json":
                content = json.dumps(without_newer_settings(json.loads(content))).encode()
            archive.writestr(entry, content)


def without_newer_settings(config: Any) -> Any:
    """A configuration, as from JSON, without those of `NEWER_SETTINGS` that are at their default."""
    if isinstance(config, list):
        return [without_newer_settings(item) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        name: without_newer_settings(value)
        for name, value in config.items()
        if name not in NEWER_SETTINGS or value != NEWER_SETTINGS[name]
    }


COMMAND_OF = {
    "mnist_generator": "mnist_gan",
    "mnist_discriminator": "mnist_gan",
    **{f"mnist_discriminator_epoch_{epoch}": "mnist_gan" for epoch in KEPT_EPOCHS},
    "mnist_conditional_generator": "mnist_conditional_gan",
    "faces_generator": "faces_gan",
    "faces_discriminator": "faces_gan",
    "faces_64_generator": "faces_64_gan",
    **{f"mnist_vae_{count}_{part}": "mnist_vaes" for count in (2, 20) for part in ("encoder", "decoder")},
}
TRAININGS = (
    *(mnist_classifier, fashion_classifier, mnist_gan, mnist_conditional_gan),
    *(faces_attributes, faces_gan, faces_64_gan),
    *(mnist_pixel_cnn, mnist_gated_pixel_cnn, mnist_vaes),
)
NETWORKS = {function.__name__: function for function in TRAININGS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", choices=NETWORKS)
    for name in parser.parse_args().networks:
        keras.utils.set_random_seed(0)
        NETWORKS[name]()


if __name__ == "__main__":
    main()
