"""Compares the families of generative models on the same digits, and writes data/results/generative.json.

    python studies/generative.py

Three networks of pixels, whose likelihood is exact; an autoencoder; variational autoencoders with 2 and 20 latents,
which have a bound; a GAN, which has neither. Each is trained for the same seconds of CPU time, with a learning rate of
its own out of the same three: the best on another seed, by digits held out from the training set
(data/results/generative_rates.json). A run that is in the files is not made again. Takes about three hours on one CPU
core; two processes share it.
"""

import functools
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # so that CPU time means the same for all models

import keras
import numpy as np
import study
import tensorflow as tf
from keras import optimizers

import gan_utils
from gan_utils import autoregressive, data, metrics, models, vae

SECONDS, RATE_SECONDS = 200.0, 100.0  # of CPU time in training, and in the choice of the learning rate
RATES = (8e-4, 2.5e-3, 8e-3)
RATE_SEED = 10
SEEDS = range(3)
BATCH, AVERAGE, CODE, FILTERS = 64, 0.99, 20, 16
AT_ONCE = 10  # steps in one call; the first ten, with the compiling, are not counted
SAMPLES = 1_000
WEIGHTED, IMPORTANCE = 1_000, 50  # test digits of the importance-weighted bound, and latents for each
CUTOFF = 0.25  # cycles a pixel, half the highest frequency along a row

PIXELS = {
    "PixelCNN": autoregressive.pixel_cnn,
    "gated PixelCNN": autoregressive.gated_pixel_cnn,
    "Row LSTM": autoregressive.row_lstm,
}
LATENTS = {"VAE, 2 latents": 2, "VAE, 20 latents": 20}
MODELS = (*PIXELS, "autoencoder", *LATENTS, "GAN")


class Clock(study.Clock):
    """Does not count the first steps of a training, which compile."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch < AT_ONCE:
            self.begin = time.process_time()
        self.steps = batch + 1
        super().on_train_batch_end(batch, logs)


@functools.cache
def digits(split: str) -> np.ndarray:
    """Digits with pixels of 0 and 1, by the threshold ½ on [0, 1]: (digits, 28, 28, 1)."""
    return (data.load_mnist(split)[0] > 0.0).astype(np.float32)


def build(name: str, rate: float) -> keras.Model:
    """A model of the table, compiled; its weights become their running mean when `fit` ends."""
    averaged = {"use_ema": True, "ema_momentum": AVERAGE}
    if name == "GAN":
        networks = models.dcgan_generator(base_filters=FILTERS), models.dcgan_discriminator(base_filters=FILTERS)
        model = gan_utils.GAN(*networks, latent_dim=100, average=AVERAGE)
        model.compile(*(optimizers.Adam(rate, beta_1=0.5) for _ in range(2)), steps_per_execution=AT_ONCE)
        return model
    optimizer = optimizers.Adam(rate, **averaged)
    if name in LATENTS:
        model = vae.VAE(vae.encoder(2 * LATENTS[name], FILTERS), vae.decoder(LATENTS[name], FILTERS))
        model.compile(optimizer, steps_per_execution=AT_ONCE, jit_compile=False)
        return model
    model = autoencoder() if name == "autoencoder" else PIXELS[name]()
    loss = squared_error if name == "autoencoder" else negative_log_probability
    model.compile(optimizer, loss, steps_per_execution=AT_ONCE, jit_compile=False)
    return model


def autoencoder() -> keras.Model:
    """The VAE's networks, with a code in place of a distribution and pixels in place of logits.

    With a sigmoid at its end it drew empty images from the first steps on: the squared error is flat there.
    """
    return keras.Sequential([keras.Input((28, 28, 1)), vae.encoder(CODE, FILTERS), vae.decoder(CODE, FILTERS)])


def squared_error(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """(batch,)."""
    return tf.reduce_sum((images - drawn) ** 2, axis=(1, 2, 3))


def negative_log_probability(pixels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """(batch,), in nats."""
    return -autoregressive.log_probability(pixels, logits)


def train(name: str, seed: int, rate: float, count: int | None, seconds: float) -> tuple[keras.Model, dict[str, Any]]:
    """A model after so many seconds with the training digits `[:count]`, and what its training was."""
    images = data.load_mnist("train")[0] if name == "GAN" else digits("train")
    dataset = data.batches(images[:count], BATCH, seed).repeat()
    if name not in ("GAN", *LATENTS):
        dataset = dataset.map(lambda images: (images, images))
    model, clock = build(name, rate), Clock(seconds)
    model.fit(dataset, steps_per_epoch=10**6, verbose=0, shuffle=False, callbacks=[clock])
    networks = (model.generator, model.discriminator) if name == "GAN" else (model,)
    parameters = sum(network.count_params() for network in networks)
    return model, {"rate": rate, "steps": clock.steps, "cpu_seconds": round(clock.spent, 1), "parameters": parameters}


def choose(seed: int, name: str, rate: float) -> dict[str, Any]:
    """One run on the first 50,000 digits; the lower its loss on the other 10,000 of the training set, the better."""
    model, told = train(name, seed, rate, -study.HELD_OUT, RATE_SECONDS)
    images = digits("train")[-study.HELD_OUT :]
    if name == "GAN":
        loss = metrics.frechet_distance(features(binary(model.sample(SAMPLES, seed=1))), features(images))
    elif name in LATENTS:
        loss = -vae.bound(model.encoder, model.decoder, images).mean()
    elif name in PIXELS:
        loss = -autoregressive.log_likelihood(model, images).mean()
    else:
        loss = np.mean(squared_error(images, model.predict(images, batch_size=500, verbose=0)))
    return {"model": name, **told, "loss": study.rounded(loss) if np.isfinite(loss) else None}


def rates() -> dict[str, float]:
    """The learning rate of each model whose run ended best; a run that ended in NaN is the worst."""
    return {name: run["rate"] for name, run in study.best_runs("generative_rates", "model", "loss").items()}


def compare(seed: int, name: str) -> dict[str, Any]:
    """One run of `SECONDS`: what is known of its likelihood, and the scores of its samples."""
    model, told = train(name, seed, rates()[name], None, SECONDS)
    record = {"model": name, **told, **likelihood(name, model), "samples": {}, "pictures": {}}
    for kind, draw in samplers(name, model).items():
        draw(1)  # compiles, where that is kept
        begin = time.process_time()
        images, passes = draw(SAMPLES)
        spent = time.process_time() - begin
        record["samples"][kind] = {"cpu_seconds": study.rounded(spent), "passes": passes, **scores(images)}
        if seed == 0:
            record["pictures"][kind] = study.encode(2.0 * images[:16] - 1.0)
    return record


def likelihood(name: str, model: keras.Model) -> dict[str, Any]:
    """Of the test digits, in nats: exact, or bounds; of the autoencoder, its squared error."""
    images = digits("test")
    if name in PIXELS:
        return {"log_likelihood": mean_and_error(autoregressive.log_likelihood(model, images))}
    if name in LATENTS:
        networks = model.encoder, model.decoder
        mean, log_variance = np.split(model.encoder.predict(images, batch_size=500, verbose=0), 2, axis=1)
        weighted = vae.bound(*networks, images[:WEIGHTED], IMPORTANCE)
        return {
            "bound": mean_and_error(vae.bound(*networks, images)),
            "divergence": mean_and_error(np.asarray(vae.gaussian_kl(mean, log_variance))),
            "weighted_bound": mean_and_error(weighted),
            "bound_of_the_same": mean_and_error(vae.bound(*networks, images[:WEIGHTED])),
        }
    if name == "autoencoder":
        drawn = model.predict(images, batch_size=500, verbose=0)
        return {"squared_error": mean_and_error(np.asarray(squared_error(images, drawn)))}
    return {}


Sampler = Callable[[int], tuple[np.ndarray, int]]


def samplers(name: str, model: keras.Model) -> dict[str, Sampler]:
    """By kind of sample: draws so many in [0, 1], and says how many passes of a network one of them took."""
    if name == "GAN":
        return {"samples": lambda count: ((model.sample(count, seed=1) + 1.0) / 2.0, 1)}
    if name in PIXELS:
        return {"samples": lambda count: (autoregressive.draw(model, count, seed=1), 28 * 28)}
    decode = tf.function(model.decoder if name in LATENTS else model.layers[1], reduce_retracing=True)
    shown = tf.sigmoid if name in LATENTS else lambda drawn: tf.clip_by_value(drawn, 0.0, 1.0)

    def means(latents: np.ndarray) -> np.ndarray:
        parts = np.array_split(latents.astype(np.float32), max(1, len(latents) // 250))
        return np.concatenate([shown(decode(tf.constant(part))).numpy() for part in parts])

    def pixels(latents: np.ndarray) -> np.ndarray:
        probabilities = means(latents)
        return (np.random.default_rng(2).random(probabilities.shape) < probabilities).astype(np.float32)

    random = np.random.default_rng(1)
    if name in LATENTS:
        normal = lambda count: random.standard_normal((count, LATENTS[name]))  # noqa: E731
        return {
            "pixels drawn from p(x|z)": lambda count: (pixels(normal(count)), 1),
            "means of p(x|z)": lambda count: (means(normal(count)), 1),
        }
    codes = model.layers[0].predict(digits("train")[: study.HELD_OUT], batch_size=500, verbose=0)
    mean, covariance = codes.mean(axis=0), np.cov(codes, rowvar=False)
    return {
        "codes from a fitted Gaussian": lambda count: (means(random.multivariate_normal(mean, covariance, count)), 1),
        "codes from N(0, I)": lambda count: (means(random.standard_normal((count, CODE))), 1),
    }


def scores(images: np.ndarray) -> dict[str, Any]:
    """Of images in [0, 1]: all metrics of them cut at ½, to binary digits; if they are gray, also as they are."""
    cut = (images > 0.5).astype(np.float32)
    found: dict[str, Any] = {"binary": against(cut, digits("test"))}
    if (cut != images).any():
        found["gray"] = against(images, (data.load_mnist("test")[0] + 1.0) / 2.0)
    return found


def against(images: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Scores of images by the features of real ones, and their energy at high frequencies."""
    reference, seen = features(real), features(images)
    near = metrics.precision_recall(reference, seen)
    return {
        "frechet": study.rounded(metrics.frechet_distance(seen, reference)),
        "precision": study.rounded(near["precision"]),
        "recall": study.rounded(near["recall"]),
        "high_frequencies": study.rounded(high_frequencies(images)),
        "ink": study.rounded(images.mean()),
    }


def high_frequencies(images: np.ndarray) -> float:
    """Energy of an image in [0, 1] above `CUTOFF`, a pixel: the mean square of what is left of it there. 0 is blur."""
    spectrum = np.fft.fft2(images[..., 0], axes=(1, 2), norm="ortho")  # (images, 28, 28)
    frequencies = np.fft.fftfreq(images.shape[1])
    high = np.hypot(frequencies[:, np.newaxis], frequencies) > CUTOFF
    return float((np.abs(spectrum) ** 2 * high).mean())


def features(images: np.ndarray) -> np.ndarray:
    """What the shipped classifier sees in images in [0, 1]."""
    return metrics.digit_features(2.0 * images - 1.0)[0]


def binary(images: np.ndarray) -> np.ndarray:
    """From [-1, 1] to 0 and 1."""
    return (images > 0.0).astype(np.float32)


def mean_and_error(values: np.ndarray) -> list[float]:
    """Mean over digits and its standard error."""
    values = np.asarray(values, np.float64)
    return [round(float(values.mean()), 3), round(float(values.std(ddof=1) / len(values) ** 0.5), 3)]


def floor() -> dict[str, Any]:
    """What as many real digits score, of the training set, and the energy of the test digits."""
    gray = (data.load_mnist("train")[0][:SAMPLES] + 1.0) / 2.0
    test = (data.load_mnist("test")[0] + 1.0) / 2.0
    energy = {"binary": high_frequencies(digits("test")), "gray": high_frequencies(test)}
    return {**scores(gray), "test": {kind: study.rounded(value) for kind, value in energy.items()}}


def protocol() -> dict[str, Any]:
    return {
        "data": "MNIST; pixels are 1 above ½ and 0 below, once, for all models but the GAN, which sees gray digits",
        "networks": "gan_utils.autoregressive at its defaults; encoder and decoder of gan_utils.vae with "
        f"{FILTERS} filters, code of the autoencoder {CODE}; DCGAN with {FILTERS} base filters",
        "threads": int(os.environ["TF_NUM_INTRAOP_THREADS"]),
        "optimizer": f"Adam, batches of {BATCH}, beta_1 0.9, the GAN's 0.5; weights averaged, {AVERAGE}",
        "seconds": f"of CPU, without the first {AT_ONCE} steps",
    }


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    command = "python studies/generative.py"
    tries = {f"{name} · {rate:g}": {"name": name, "rate": rate} for name in MODELS for rate in RATES}
    chosen = {
        "cpu_seconds": RATE_SECONDS,
        "split": "the first 50,000 training digits",
        "loss": "of the other 10,000: nats of the likelihood or the bound, squared error; of the GAN the Fréchet "
        f"distance of {SAMPLES} samples, cut at ½",
    }
    study.conduct("generative_rates", {**protocol(), **chosen}, tries, [RATE_SEED], choose, command)
    compared = {
        "cpu_seconds": SECONDS,
        "likelihood": "nats, of the 10,000 test digits, mean and standard error over digits; weighted_bound: "
        f"{IMPORTANCE} latents for each of the first {WEIGHTED}",
        "samples": f"{SAMPLES}, scored by features of the shipped classifier to the 10,000 test digits; binary: both "
        "cut at ½; gray: as they are, to gray digits",
        "sampling": "CPU seconds of all samples, of pixels 100 at a time; passes: of a network, for a sample",
        "high_frequencies": f"mean square of images in [0, 1] above {CUTOFF} cycles a pixel",
        "encodes": "autoencoder, VAE",
        "completes": "PixelCNN, gated PixelCNN, Row LSTM: what is missing at the end, exactly",
    }
    rows = {name: {"name": name} for name in MODELS}
    study.conduct("generative", {**protocol(), **compared}, rows, SEEDS, compare, command, {"floor": floor()})


if __name__ == "__main__":
    main()
