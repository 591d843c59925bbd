"""Compares methods of training at equal cost, and writes data/results/equal_cost.json.

    python studies/equal_cost.py

Nineteen methods, each with the penalty, the optimizer and the D steps of its paper, and with a learning rate of its own
out of the same three: that of the smallest Fréchet distance on MNIST, on another seed, to digits held out from the
training set (data/results/equal_cost_rates.json). Then all play on MNIST and Fashion-MNIST for the same seconds of CPU
time. A run that is in the files is not made again. Takes about thirteen hours on one CPU core; two processes share it.
"""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # so that CPU time means the same for all methods

import keras
import numpy as np
import study
import tensorflow as tf
from keras import layers, optimizers

import gan_utils
from gan_utils import data, games, losses, metrics, models, normalization, penalties
from gan_utils.attention import SelfAttention
from gan_utils.layers import LayerNormalization

SECONDS, RATE_SECONDS = 300.0, 150.0  # of CPU time in training, and in the choice of the learning rate
RATES = (2e-4, 6e-4, 2e-3)
RATE_SEED = 10
BATCH, LATENT, FILTERS, CODE = 64, 100, 16, 64
MARGIN = 0.1  # of EBGAN; after 50 s at the middle rate the distance was 215, with 0.3 it was 882, with 1.0 856
AT_ONCE = 10  # steps in one call; the first ten, with the compiling, are not counted
CHECKS = [100, 140, 200, 280, 400, 560, 800, 1120, 1600, 2240, 3200, 4480, 6400, 8960, 12800]  # G steps, of a curve
POINT = ("G steps", "CPU seconds", "Fréchet distance", "D's loss", "G's loss", "score of real", "score of fake")
SAMPLES, CURVE_SAMPLES = 10_000, 2_000
SEEDS = range(3)


@dataclass(frozen=True)
class Method:
    """What a row of the table is made of.

    Attributes:
        objective: of both players; None in games that have their own.
        normalization: of D's inner layers, as `models.dcgan_discriminator` has it.
        clip: limit of D's weights; None for none.
        penalty: on D's slope.
        beta_1: of Adam; None is RMSProp.
        game: makes the GAN of a generator and a discriminator.
        recipe: the rest of `compile`.
        d_rate: D's learning rate as a multiple of G's, which is the one that is chosen.
        networks: makes other networks of those that the row has otherwise; None for these.
    """

    objective: losses.Objective | None = None
    normalization: str = "batch"
    penalty: penalties.Penalty | None = None
    clip: float | None = None
    beta_1: float | None = 0.5
    game: Callable[..., gan_utils.GAN] = gan_utils.GAN
    recipe: dict[str, Any] = field(default_factory=dict)
    d_rate: float = 1.0
    networks: Callable[..., tuple[keras.Model, keras.Model]] | None = None

    def optimizer(self, rate: float) -> keras.optimizers.Optimizer:
        return optimizers.RMSprop(rate) if self.beta_1 is None else optimizers.Adam(rate, beta_1=self.beta_1)


def virtual(generator: keras.Model, discriminator: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Both networks with virtual batch normalisation: by a batch of latents, and one of training digits."""
    random = np.random.default_rng(0)
    latents, images = random.normal(size=(BATCH, LATENT)), data.load_mnist("train")[0][:BATCH]
    pairs = (generator, latents), (discriminator, images)
    return tuple(normalization.with_reference(*pair, virtual=True) for pair in pairs)


def attentive(generator: keras.Model, discriminator: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Both networks with self-attention: of G at 8×8 positions, of D at 7×7, each with 32 channels."""
    return tuple(with_attention(network, 2 * FILTERS) for network in (generator, discriminator))


def with_attention(network: keras.Model, channels: int) -> keras.Model:
    """The network with self-attention behind its last activation of so many channels."""
    kinds = layers.ReLU | layers.LeakyReLU
    after = max(
        index
        for index, layer in enumerate(network.layers)
        if isinstance(layer, kinds) and len(layer.output.shape) == 4 and layer.output.shape[-1] == channels
    )
    parts = [*network.layers[: after + 1], SelfAttention(spectral=True), *network.layers[after + 1 :]]
    return keras.Sequential([keras.Input(network.input_shape[1:]), *parts], name=network.name)


METHODS = {
    "perceptrons": Method(losses.non_saturating(), "none"),
    "minimax": Method(losses.minimax()),
    "non-saturating": Method(losses.non_saturating()),
    "label smoothing": Method(losses.non_saturating(label_smoothing=0.1)),
    "LSGAN": Method(losses.least_squares()),
    "f-GAN, KL": Method(losses.f_divergence("kl", non_saturating=True)),
    "f-GAN, reverse KL": Method(losses.f_divergence("reverse_kl", non_saturating=True)),
    "WGAN": Method(losses.wasserstein(), clip=0.01, beta_1=None, recipe={"d_steps": 5}),
    "WGAN-GP": Method(losses.wasserstein(), "layer", penalties.gradient_penalty(), beta_1=0.0, recipe={"d_steps": 5}),
    "DRAGAN": Method(losses.non_saturating(), "layer", penalties.dragan()),
    "SN-GAN": Method(losses.hinge(), "spectral"),
    "R1": Method(losses.non_saturating(), "layer", penalties.r1(), beta_1=0.0),
    "R3GAN": Method(losses.relativistic(), "layer", penalties.r1() + penalties.r2(), beta_1=0.0),
    "EBGAN": Method(game=functools.partial(games.EBGAN, margin=MARGIN, pull_away=0.1)),
    "BEGAN": Method(game=games.BEGAN),
    "layer norm in D": Method(losses.non_saturating(), "layer"),
    "TTUR": Method(losses.non_saturating(), d_rate=4.0),
    "virtual batch norm": Method(losses.non_saturating(), networks=virtual),
    "attention": Method(losses.hinge(), "spectral", networks=attentive),
}


def networks(method: str) -> tuple[keras.Model, keras.Model]:
    if method == "perceptrons":
        return (
            models.mlp_generator(LATENT, hidden_units=(256, 512)),
            models.mlp_discriminator(hidden_units=(512, 256)),
        )
    if METHODS[method].objective is None:
        return models.dcgan_generator(base_filters=FILTERS), autoencoder()
    chosen = METHODS[method]
    bounds = {"constraint": penalties.WeightClip(chosen.clip)} if chosen.clip else {}
    discriminator = models.dcgan_discriminator(base_filters=FILTERS, normalization=chosen.normalization, **bounds)
    plain = models.dcgan_generator(base_filters=FILTERS), discriminator
    return chosen.networks(*plain) if chosen.networks else plain


def autoencoder() -> keras.Model:
    """A discriminator that returns the reconstruction of an image, and its code: the DCGAN's layers, in and out."""
    image = keras.Input((28, 28, 1))
    maps = image
    for filters in (FILTERS, 2 * FILTERS, 4 * FILTERS):
        maps = layers.LeakyReLU(0.2)(LayerNormalization()(layers.Conv2D(filters, 4, 2, "same")(maps)))
    code = layers.Dense(CODE)(layers.Flatten()(maps))
    maps = layers.Reshape((4, 4, 4 * FILTERS))(layers.Dense(4 * 4 * 4 * FILTERS)(code))
    for filters in (2 * FILTERS, FILTERS):
        maps = layers.Conv2DTranspose(filters, 4, 2, "same")(layers.ReLU()(LayerNormalization()(maps)))
    drawn = layers.Conv2DTranspose(1, 4, 2, "same", activation="tanh")(layers.ReLU()(LayerNormalization()(maps)))
    return keras.Model(image, [layers.Cropping2D(2)(drawn), code], name="discriminator")


def build(method: str, rate: float) -> gan_utils.GAN:
    """The GAN of a row, compiled."""
    chosen = METHODS[method]
    gan = chosen.game(*networks(method), latent_dim=LATENT)
    both = [chosen.optimizer(chosen.d_rate * rate), chosen.optimizer(rate)]
    game = {} if chosen.objective is None else {"objective": chosen.objective, "penalty": chosen.penalty}
    gan.compile(*both, **game, **chosen.recipe, steps_per_execution=AT_ONCE)
    return gan


def choose(seed: int, method: str, rate: float) -> dict[str, Any]:
    """One run on the first 50,000 digits, scored by the other 10,000 of the training set."""
    images = data.load_mnist("train")[0]
    _, curve = train(seed, method, rate, images[: -study.HELD_OUT], study.held_out(), "MNIST", RATE_SECONDS)
    return {"method": method, "recipe": described(method), "rate": rate, "curve": curve, "frechet": curve[-1][2]}


def rates() -> dict[str, float]:
    """The learning rate of each method whose run ended best; a run that ended in NaN is the worst."""
    return {name: run["rate"] for name, run in study.best_runs("equal_cost_rates", "method", "frechet").items()}


def compare(seed: int, name: str, method: str) -> dict[str, Any]:
    """One run of `SECONDS`: its learning curve, and all scores of its last samples."""
    rate = rates()[method]
    load, extract = study.IMAGES[name]
    gan, curve = train(seed, method, rate, load("train")[0], study.reference(name), name, SECONDS)
    record = {"data": name, "method": method, "recipe": described(method), "rate": rate, "curve": curve}
    images = gan.sample(SAMPLES, seed=1)
    if np.isfinite(images).all():
        record |= study.scores(extract(images), study.reference(name))
        record["samples"] = study.encode(images[:16]) if seed == 0 else None
    return record


def train(
    seed: int, method: str, rate: float, images: np.ndarray, reference: np.ndarray, name: str, seconds: float
) -> tuple[gan_utils.GAN, list[list[float | None]]]:
    """Trains for so many seconds; the curve has a point, as `POINT` names it, after each of `CHECKS`.

    The last point is that of the end. Where the samples are not finite, the distance is None and the run is over.
    """
    gan = build(method, rate)
    dataset = data.batches(images, BATCH, seed).repeat()
    clock = study.Clock(seconds)
    curve = []
    for done, log in study.stretches(gan, dataset, [*CHECKS, 10**6], clock, AT_ONCE):
        told = [study.rounded(log[key], 4) for key in ("d_loss", "g_loss", *gan.score_names())]
        curve.append([done, round(clock.spent, 1), distance(gan, reference, name), *told])
        if clock.spent >= seconds or curve[-1][2] is None:
            break
    return gan, curve


def distance(gan: gan_utils.GAN, reference: np.ndarray, name: str) -> float | None:
    """Fréchet distance of `CURVE_SAMPLES` samples, always of the same latents; None where they are not finite."""
    images = gan.sample(CURVE_SAMPLES, seed=2)
    if not np.isfinite(images).all():
        return None
    return round(metrics.frechet_distance(study.IMAGES[name][1](images)[0], reference), 2)


def protocol() -> dict[str, Any]:
    return {
        "networks": f"DCGAN with {FILTERS} base filters; perceptrons: 100 → 256 → 512 → 784 and 784 → 512 → 256 → 1, "
        f"dropout 0.5; EBGAN and BEGAN: D an autoencoder of the DCGAN's layers, code of {CODE}",
        "threads": int(os.environ["TF_NUM_INTRAOP_THREADS"]),
        "batch_size": BATCH,
        "curve": f"{', '.join(POINT)}; seconds of training without the first {AT_ONCE} steps, the distance of "
        f"{CURVE_SAMPLES} samples, losses and scores means over the steps since the point before",
    }


def described(name: str) -> str:
    """A method in words: the objective, the penalty, the normalisation and the optimizer."""
    method = METHODS[name]
    bound = f"weights of D within ±{method.clip}" if method.clip else "no penalty"
    parts = [
        method.objective.name if method.objective else "",
        method.penalty.name if method.penalty else bound,
        f"normalization in D: {method.normalization}",
        "RMSProp" if method.beta_1 is None else f"Adam, beta_1={method.beta_1:g}",
        f"{method.recipe.get('d_steps', 1)} D steps",
    ]
    if method.d_rate != 1.0:
        parts.append(f"D's learning rate {method.d_rate:g} times G's")
    if method.networks:
        parts.append(f"networks: {method.networks.__name__}")
    if not method.objective:
        kind = getattr(method.game, "func", method.game).__name__
        settings = getattr(method.game, "keywords", {})
        parts[0] = f"{kind}({', '.join(f'{key}={value}' for key, value in settings.items())})"
        parts[1:3] = ["normalization in D: layer"]
    return "; ".join(parts)


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    command = "python studies/equal_cost.py"
    tries = {f"{method} · {rate:g}": {"method": method, "rate": rate} for method in METHODS for rate in RATES}
    chosen = {
        "cpu_seconds": RATE_SECONDS,
        "data": "MNIST, the first 50,000 training digits",
        "reference": "the other 10,000 training digits",
    }
    study.conduct("equal_cost_rates", {**protocol(), **chosen}, tries, [RATE_SEED], choose, command)
    floor = {
        name: study.scores(extract(load("train")[0][:SAMPLES]), study.reference(name))
        for name, (load, extract) in study.IMAGES.items()
    }
    compared = {"cpu_seconds": SECONDS, "samples": SAMPLES, "reference": "10,000 test images"}
    rows = {f"{name} · {method}": {"name": name, "method": method} for name in study.IMAGES for method in METHODS}
    study.conduct("equal_cost", {**protocol(), **compared}, rows, SEEDS, compare, command, {"floor": floor})


if __name__ == "__main__":
    main()
