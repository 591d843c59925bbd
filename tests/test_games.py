"""Each game trains to the weights that the same game, written by hand from its paper, trains to."""

import math
import re
import weakref
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from comparing import assert_equal, state, values
from keras import layers

from gan_utils import GAN, Checkpoint, losses, models, penalties
from gan_utils.games import (
    ACGAN,
    BEGAN,
    EBGAN,
    MADGAN,
    CatGAN,
    InfoGAN,
    ModeRegularizedGAN,
    SemiSupervisedGAN,
    TakeTurns,
    UnrolledGAN,
    take_turns,
)
from gan_utils.training import Batch

LATENT, CLASSES, RATE, SEED, MARGIN = 6, 3, 0.1, 7, 0.4
REAL = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
LABELS = np.array([0, 2, -1, 1, 1, -1, 2, 0, -1, 0, -1, -1])  # the last batch of two has none
BATCHES = [(REAL[part], LABELS[part]) for part in (slice(0, 5), slice(5, 10), slice(10, 12))]

# The networks: tiny, and with batch normalisation wherever a game allows it, which tells training from inference


def hidden(units=4):
    return [layers.Dense(units), layers.BatchNormalization(), layers.Activation("tanh")]


def a_generator():
    return keras.Sequential([keras.Input((LATENT,)), *hidden(), layers.Dense(3)])


def heads(*outputs, body=hidden, first=3):
    """A network of samples with several outputs."""
    samples = keras.Input((first,))
    features = samples
    for layer in body():
        features = layer(features)
    return keras.Model(samples, [layers.Dense(size)(features) for size in outputs])


def a_discriminator():
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(1)])


def reads_labels():
    latent, labels = keras.Input((LATENT,)), keras.Input((CLASSES,))
    network = keras.Sequential([keras.Input((LATENT + CLASSES,)), *hidden(), layers.Dense(3)])
    return keras.Model([latent, labels], network(layers.Concatenate()([latent, labels])))


def with_features():
    samples = keras.Input((3,))
    features = layers.Dense(4, "tanh")(samples)
    return keras.Model(samples, [layers.Dense(CLASSES)(features), features])


def an_autoencoder():
    samples = keras.Input((3,))
    codes = layers.Dense(2, "tanh")(samples)
    return keras.Model(samples, [layers.Dense(3)(codes), codes])


# The formulas of the papers. Each player's loss gets the networks, x, y, G(z) and z


def mean(values):
    return tf.reduce_mean(values)


def sigmoid(logits):
    return 1.0 / (1.0 + tf.exp(-logits))


def cross_entropy(logits, labels):
    """−log p(y), a mean over the samples that have a label."""
    chances = tf.exp(logits) / tf.reduce_sum(tf.exp(logits), axis=1, keepdims=True)
    costs = [-tf.math.log(chances[i, y]) for i, y in enumerate(labels) if y >= 0]
    return mean(costs) if costs else tf.constant(0.0)


def play(network, samples):
    return network(tf.nest.map_structure(tf.convert_to_tensor, samples), training=True)


def acgan_d(parts, x, y, fake, z):
    (real_logits, real_told), (fake_logits, fake_told) = (play(parts["discriminator"], each) for each in (x, fake))
    source = mean(tf.math.log(sigmoid(real_logits))) + mean(tf.math.log(1 - sigmoid(fake_logits)))
    return -source + 0.7 * (cross_entropy(real_told, y) + cross_entropy(fake_told, y))


def acgan_g(parts, x, y, fake, z):
    logits, told = play(parts["discriminator"], fake)
    return -mean(tf.math.log(sigmoid(logits))) + 0.7 * cross_entropy(told, y)


def vanilla_d(parts, x, y, fake, z):
    on_real, on_fake = (sigmoid(play(parts["discriminator"], each)) for each in (x, fake))
    return -mean(tf.math.log(on_real)) - mean(tf.math.log(1 - on_fake))


def infogan_g(parts, x, y, fake, z):
    """log(1 − D(G(z))) − λ·L_I, with three categories and two uniform numbers at the end of z."""
    told = play(parts["recognizer"], fake)
    log_q = -cross_entropy(told[:, :3], np.argmax(z[:, 1:4], axis=1)) + math.log(3)
    for i in (0, 1):
        density = tf.exp(-0.5 * (z[:, 4 + i] - told[:, 3 + i]) ** 2) / math.sqrt(2 * math.pi)
        log_q += mean(tf.math.log(density)) + math.log(2)
    return mean(tf.math.log(1 - sigmoid(play(parts["discriminator"], fake)))) - 0.5 * log_q


def infogan_latent(normal):
    code = np.eye(3, dtype=np.float32)[np.argmax(normal[:, 1:4], axis=1)]
    uniform = 2 * scipy.stats.norm.cdf(normal[:, 4:]) - 1
    return np.concatenate([normal[:, :1], code, uniform.astype(np.float32)], axis=1)


def exceeds(logits):
    """D = Z/(Z + 1) with Z = Σ exp(l)."""
    z = tf.reduce_sum(tf.exp(logits), axis=1)
    return z / (z + 1)


def semi_supervised_d(parts, x, y, fake, z):
    real_logits, fake_logits = (play(parts["discriminator"], each)[0] for each in (x, fake))
    unsupervised = -mean(tf.math.log(exceeds(real_logits))) - mean(tf.math.log(1 - exceeds(fake_logits)))
    return cross_entropy(real_logits, y) + unsupervised


def semi_supervised_g(parts, x, y, fake, z):
    return -mean(tf.math.log(exceeds(play(parts["discriminator"], fake)[0])))


def matching_g(parts, x, y, fake, z):
    apart = [
        mean(play(parts["discriminator"], x)[1][:, i]) - mean(play(parts["discriminator"], fake)[1][:, i])
        for i in range(4)
    ]
    return sum(each**2 for each in apart) / 4


def entropy(chances):
    return -sum(p * tf.math.log(p) for p in tf.unstack(chances))


def chances_of(parts, samples):
    scores = tf.exp(play(parts["discriminator"], samples))
    return scores / tf.reduce_sum(scores, axis=1, keepdims=True)


def catgan_d(parts, x, y, fake, z):
    """To be maximised: H(E p(x)) − E H(p(x)) + E H(p(G(z))) − λ·CE, with λ = 0.7."""
    on_real, on_fake = (chances_of(parts, each) for each in (x, fake))
    of_all = entropy(sum(tf.unstack(on_real)) / len(x))
    sure = mean([entropy(each) for each in tf.unstack(on_real)])
    doubt = mean([entropy(each) for each in tf.unstack(on_fake)])
    return -(of_all - sure + doubt - 0.7 * cross_entropy(play(parts["discriminator"], x), y))


def catgan_g(parts, x, y, fake, z):
    chances = chances_of(parts, fake)
    return mean([entropy(each) for each in tf.unstack(chances)]) - entropy(sum(tf.unstack(chances)) / len(fake))


def energy(parts, samples):
    squares = (play(parts["discriminator"], samples)[0] - samples) ** 2
    return (squares[:, 0] + squares[:, 1] + squares[:, 2]) / 3


def ebgan_d(parts, x, y, fake, z):
    return mean(energy(parts, x)) + mean(tf.maximum(0.0, MARGIN - energy(parts, fake)))


def ebgan_g(parts, x, y, fake, z):
    return mean(energy(parts, fake))


def absolute(parts, samples):
    errors = tf.abs(play(parts["discriminator"], samples)[0] - samples)
    return mean((errors[:, 0] + errors[:, 1] + errors[:, 2]) / 3)


def began():
    """D's loss with k, which moves after each step of D: by 0.3·(γ·L(x) − L(G(z))), γ = 0.9, kept in [0, 1]."""
    balances = weakref.WeakKeyDictionary()

    def loss(parts, x, y, fake, z):
        k = balances.get(parts["discriminator"], 0.0)
        on_real, on_fake = absolute(parts, x), absolute(parts, fake)
        moved = k + 0.3 * (0.9 * float(on_real) - float(on_fake))
        balances[parts["discriminator"]] = min(max(moved, 0.0), 1.0)
        return on_real - k * on_fake

    return loss


def began_g(parts, x, y, fake, z):
    return absolute(parts, fake)


def pulled_away_g(parts, x, y, fake, z):
    codes, n = play(parts["discriminator"], fake)[1], len(fake)
    squares = [
        (tf.reduce_sum(codes[i] * codes[j]) / tf.norm(codes[i]) / tf.norm(codes[j])) ** 2
        for i in range(n)
        for j in range(n)
        if i != j
    ]
    return mean(energy(parts, fake)) + 0.4 * sum(squares) / (n * (n - 1))


def logit_by_matrices(weights, samples):
    kernel, bias, last_kernel, last_bias = weights
    return tf.tanh(samples @ kernel + bias) @ last_kernel + last_bias


def unrolled(steps, rate=0.3):
    def g_loss(parts, x, y, fake, z):
        weights = [tf.identity(weight) for weight in parts["discriminator"].weights]
        for _ in range(steps):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                on_real, on_fake = (sigmoid(logit_by_matrices(weights, each)) for each in (x, fake))
                loss = -mean(tf.math.log(on_real)) - mean(tf.math.log(1 - on_fake))
            slopes = tape.gradient(loss, weights)
            weights = [weight - rate * slope for weight, slope in zip(weights, slopes, strict=True)]
        return -mean(tf.math.log(sigmoid(logit_by_matrices(weights, fake))))

    return g_loss


def mode_regularized_g(parts, x, y, fake, z):
    """−log D(G(z)) + 0.3·d(x, G(E(x))) − 0.6·log D(G(E(x)))."""
    again = play(parts["generator"], play(parts["encoder"], x))
    errors = (again - x) ** 2
    apart = mean((errors[:, 0] + errors[:, 1] + errors[:, 2]) / 3)
    return (
        -sum(
            weight * mean(tf.math.log(sigmoid(play(parts["discriminator"], each))))
            for weight, each in ((1.0, fake), (0.6, again))
        )
        + 0.3 * apart
    )


def takes_turns(generator, z, y):
    networks = generator.layers[-1].networks
    made = [play(network, z[k :: len(networks)]) for k, network in enumerate(networks)]
    return tf.stack([made[j % len(networks)][j // len(networks)] for j in range(len(z))])


def madgan_d(parts, x, y, fake, z):
    real_logits, fake_logits = (play(parts["discriminator"], each) for each in (x, fake))
    return cross_entropy(real_logits, [2] * len(x)) + cross_entropy(fake_logits, [j % 2 for j in range(len(fake))])


def madgan_g(parts, x, y, fake, z):
    scores = tf.exp(play(parts["discriminator"], fake))
    return mean(tf.math.log(1 - scores[:, 2] / tf.reduce_sum(scores, axis=1)))


class Game(NamedTuple):
    kind: type[GAN]
    networks: Callable[[], dict[str, keras.Model]]
    d_loss: Callable
    g_loss: Callable
    settings: Mapping[str, Any] = MappingProxyType({})
    recipe: Mapping[str, Any] = MappingProxyType({})
    latent: Callable = lambda normal: normal
    generate: Callable = lambda generator, z, y: play(generator, z)


def networks(generator=a_generator, discriminator=a_discriminator, **others):
    """Makes all of them anew, always with the same weights."""

    def make():
        keras.utils.set_random_seed(0)
        makers = {"generator": generator, "discriminator": discriminator, **others}
        return {name: maker() for name, maker in makers.items()}

    return make


MINIMAX = {"objective": losses.minimax()}
GAMES = {
    "ACGAN": Game(
        ACGAN,
        networks(reads_labels, lambda: heads(1, CLASSES)),
        acgan_d,
        acgan_g,
        {"class_weight": 0.7},
        generate=lambda generator, z, y: play(generator, [z, tf.one_hot(y, CLASSES)]),
    ),
    "InfoGAN": Game(
        InfoGAN,
        networks(recognizer=lambda: heads(5)),
        vanilla_d,
        infogan_g,
        {"categories": 3, "continuous": 2, "information_weight": 0.5},
        MINIMAX,
        infogan_latent,
    ),
    "SemiSupervisedGAN": Game(
        SemiSupervisedGAN, networks(discriminator=with_features), semi_supervised_d, semi_supervised_g
    ),
    "feature matching": Game(
        SemiSupervisedGAN,
        networks(discriminator=with_features),
        semi_supervised_d,
        matching_g,
        {"feature_matching": True},
    ),
    "CatGAN": Game(CatGAN, networks(discriminator=lambda: heads(CLASSES)), catgan_d, catgan_g, {"class_weight": 0.7}),
    "EBGAN": Game(EBGAN, networks(discriminator=an_autoencoder), ebgan_d, ebgan_g, {"margin": MARGIN}),
    "pulling away": Game(
        EBGAN,
        networks(discriminator=an_autoencoder),
        ebgan_d,
        pulled_away_g,
        {"margin": MARGIN, "pull_away": 0.4},
    ),
    "BEGAN": Game(
        BEGAN, networks(discriminator=an_autoencoder), began(), began_g, {"diversity": 0.9, "balance_rate": 0.3}
    ),
    "unrolled once": Game(UnrolledGAN, networks(), vanilla_d, unrolled(1), {"unrolled_steps": 1, "unrolled_rate": 0.3}),
    "unrolled": Game(UnrolledGAN, networks(), vanilla_d, unrolled(3), {"unrolled_steps": 3, "unrolled_rate": 0.3}),
    "mode-regularised": Game(
        ModeRegularizedGAN,
        networks(encoder=lambda: heads(LATENT)),
        vanilla_d,
        mode_regularized_g,
        {"distance_weight": 0.3, "mode_weight": 0.6},
    ),
    "MADGAN": Game(
        MADGAN,
        networks(lambda: take_turns([a_generator() for _ in range(2)]), lambda: heads(3)),
        madgan_d,
        madgan_g,
        {},
        MINIMAX,
        generate=takes_turns,
    ),
}
games = pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)


def build(game, optimizer=keras.optimizers.SGD, rate=RATE, average=None, **recipe):
    gan = game.kind(**game.networks(), latent_dim=LATENT, seed=SEED, average=average, **game.settings)
    gan.compile(optimizer(rate), optimizer(rate), **{**game.recipe, **recipe})
    return gan


def dataset(samples=REAL, labels=LABELS, size=5):
    return tf.data.Dataset.from_tensor_slices((samples, labels)).batch(size)


def train(gan, data=None, **settings):
    return gan.fit(dataset() if data is None else data, verbose=0, **settings).history


# The games by hand


def descend(loss, weights, tape):
    for weight, slope in zip(weights, tape.gradient(loss, weights), strict=True):
        if slope is not None:  # the head that tells classes, in a batch without labels
            weight.assign(weight - RATE * slope)


def play_by_hand(game, epochs, d_steps=1, reuse_fakes=False):
    """Algorithm 1 with plain gradient descent, without the package; returns the networks."""
    parts, noise = game.networks(), keras.random.SeedGenerator(SEED)
    generator, discriminator, *others = parts.values()
    g_weights = sum((part.trainable_variables for part in others), generator.trainable_variables)

    def fakes(x, y):
        z = game.latent(keras.random.normal((len(x), LATENT), seed=noise))
        return game.generate(generator, z, y), z

    for step, (x, y) in enumerate(BATCHES[: len(BATCHES) // d_steps * d_steps] * epochs, start=1):
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            made = fakes(x, y)
            d_loss = game.d_loss(parts, x, y, *made)
            g_loss = game.g_loss(parts, x, y, *made) if reuse_fakes else None
        descend(d_loss, discriminator.trainable_variables, d_tape)
        if step % d_steps == 0 and not reuse_fakes:
            with tf.GradientTape() as g_tape:
                g_loss = game.g_loss(parts, x, y, *fakes(x, y))
        if g_loss is not None:
            descend(g_loss, g_weights, g_tape)
    return parts


def assert_trained(gan, by_hand, began):
    """To the same weights, and not to where they began."""
    for name, part in by_hand.items():
        ours = getattr(gan, name).trainable_variables
        for weight, expected in zip(ours, part.trainable_variables, strict=True):
            np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=2e-6, err_msg=f"{name}: {weight.path}")
        moved = [np.abs(weight - before).max() for weight, before in zip(ours, began[name], strict=True)]
        assert max(moved) > 1e-2


def compare(game, epochs, d_steps=1, reuse_fakes=False, **recipe):
    gan = build(game, d_steps=d_steps, reuse_fakes=reuse_fakes, **recipe)
    by_hand = play_by_hand(game, epochs, d_steps, reuse_fakes)
    began = {name: values(getattr(gan, name).trainable_variables) for name in by_hand}
    history = train(gan, epochs=epochs)
    assert all(np.isfinite(each).all() for each in history.values())
    assert_trained(gan, by_hand, began)


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
def test_the_game_trains_to_the_weights_of_one_written_by_hand(game):
    compare(game, epochs=1, steps_per_execution=2)  # two and one


ALL = {name: game for name, game in GAMES.items() if name not in ("SemiSupervisedGAN", "EBGAN", "unrolled once")}


@pytest.mark.parametrize("game", ALL.values(), ids=ALL)
def test_the_same_with_two_discriminator_steps(game):
    compare(game, epochs=2, d_steps=2, run_eagerly=True)


@pytest.mark.parametrize("name", ["ACGAN", "InfoGAN", "feature matching", "CatGAN", "unrolled", "mode-regularised"])
def test_the_same_with_reused_fakes(name):
    compare(GAMES[name], epochs=1, reuse_fakes=True, run_eagerly=True)


def test_fakes_lie_on_both_sides_of_the_margin():
    """Or the game by hand would not see what the margin does."""
    parts = GAMES["EBGAN"].networks()
    fake = play(parts["generator"], keras.random.normal((200, LATENT), seed=SEED))
    assert 0.1 < np.mean(energy(parts, fake) < MARGIN) < 0.9


# What every game has

games = pytest.mark.parametrize("game", ALL.values(), ids=ALL)


def start(game):
    return build(game, lambda rate: keras.optimizers.SGD(rate, momentum=0.9), run_eagerly=True)


def shorter():
    return dataset(size=6)


@games
def test_a_game_goes_on_from_a_checkpoint_and_from_its_file(game, tmp_path):
    whole, first, resumed = (start(game) for _ in range(3))
    history = train(whole, shorter(), epochs=2)
    train(first, shorter(), callbacks=[Checkpoint(tmp_path / "run.npz")])
    first.save(tmp_path / "game.keras")

    assert train(resumed, shorter(), epochs=2, callbacks=[Checkpoint(tmp_path / "run.npz")]) == history
    assert_equal(state(resumed), state(whole))

    loaded = keras.saving.load_model(tmp_path / "game.keras")
    assert type(loaded) is game.kind
    assert {name: getattr(loaded, name) for name in game.settings} == game.settings
    assert loaded.objective.name == first.objective.name
    assert_equal([loaded.sample(5, seed=0)], [first.sample(5, seed=0)])
    loaded.noise.state.assign(first.noise.state)  # which no file of Keras keeps
    loaded.run_eagerly = True
    train(loaded, shorter())
    assert_equal(state(loaded), state(whole))
    assert not np.array_equal(loaded.sample(5, seed=0), first.sample(5, seed=0))


@games
def test_a_game_is_rebuilt_from_its_config_and_draws(game):
    gan = build(game)
    again = game.kind.from_config(gan.get_config())
    again.set_weights(gan.get_weights())
    assert {name: getattr(again, name) for name in game.settings} == game.settings
    samples = gan.sample(7, seed=3)
    assert (samples.shape, samples.dtype) == ((7, 3), np.float32)
    assert_equal([again.sample(7, seed=3)], [samples])
    assert len(np.unique(samples, axis=0)) == 7


def test_the_settings_that_a_game_has_by_default():
    defaults = {
        "ACGAN": {"class_weight": 1.0},
        "InfoGAN": {"information_weight": 1.0},
        "SemiSupervisedGAN": {"feature_matching": False},
        "CatGAN": {"class_weight": 1.0},
        "EBGAN": {"margin": 1.0, "pull_away": 0.0},
        "BEGAN": {"diversity": 0.5, "balance_rate": 0.001},
        "unrolled": {"unrolled_steps": 5, "unrolled_rate": 0.01},
        "mode-regularised": {"distance_weight": 0.2, "mode_weight": 0.2},
    }
    for name, settings in defaults.items():
        code = {"categories": 3, "continuous": 2} if name == "InfoGAN" else {}
        gan = GAMES[name].kind(**GAMES[name].networks(), latent_dim=LATENT, **code)
        assert {setting: getattr(gan, setting) for setting in settings} == settings


def test_a_game_with_numpys_numbers_is_saved_and_loaded(tmp_path):
    settings = {"categories": np.int64(3), "continuous": np.int64(2), "information_weight": np.float32(0.5)}
    gan = InfoGAN(**GAMES["InfoGAN"].networks(), latent_dim=np.int64(LATENT), **settings)
    gan.save(tmp_path / "game.keras")
    assert keras.saving.load_model(tmp_path / "game.keras").information_weight == 0.5


@pytest.mark.parametrize(
    ("name", "scores"),
    {
        "ACGAN": {"D(x)", "D(G(z))", "class_accuracy"},
        "SemiSupervisedGAN": {"D(x)", "D(G(z))", "class_accuracy"},
        "InfoGAN": {"D(x)", "D(G(z))", "information_bound"},
        "CatGAN": {"entropy(x)", "entropy(G(z))", "class_accuracy"},
        "EBGAN": {"energy(x)", "energy(G(z))"},
        "BEGAN": {"energy(x)", "energy(G(z))", "balance", "convergence"},
        "unrolled": {"D(x)", "D(G(z))"},
        "mode-regularised": {"D(x)", "D(G(z))"},
        "MADGAN": {"D(x)", "D(G(z))"},
    }.items(),
)
def test_the_metrics_of_a_game_are_called_by_what_they_are(name, scores):
    assert {metric.name for metric in build(GAMES[name]).metrics} == {"d_loss", "g_loss"} | scores


@pytest.mark.parametrize("name", ["ACGAN", "InfoGAN", "SemiSupervisedGAN", "unrolled", "mode-regularised"])
def test_a_penalty_joins_the_discriminators_loss(name):
    def penalty(critic, real, fake):
        assert critic(real).shape == (5, 1)
        return 100.0

    punished, free = (build(GAMES[name], penalty=each) for each in (penalty, None))
    for gan in (punished, free):
        gan.discriminator_step((tf.constant(REAL[:5]), tf.constant(LABELS[:5])))
    assert float(punished.d_loss.result() - free.d_loss.result()) == pytest.approx(100.0, abs=1e-3)


@pytest.fixture
def half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def precise(*sizes):
    """A discriminator whose features are in half precision."""
    samples = keras.Input((3,))
    features = layers.Dense(4, "tanh")(samples)
    return keras.Model(samples, [*(layers.Dense(size, dtype="float32")(features) for size in sizes), features])


@pytest.mark.parametrize(
    "name", ["feature matching", "CatGAN", "pulling away", "MADGAN", "InfoGAN", "mode-regularised"]
)
def test_features_codes_and_samples_may_be_in_half_precision(name, half_precision):
    def last(size):
        return lambda: keras.Sequential([keras.Input((3,)), layers.Dense(size, dtype="float32")])

    game = GAMES[name]
    changed = {
        "feature matching": {"discriminator": lambda: precise(3)},
        "CatGAN": {"discriminator": last(3)},
        "pulling away": {"discriminator": lambda: precise(3)},
        "MADGAN": {"generator": lambda: take_turns([a_generator() for _ in range(2)]), "discriminator": last(3)},
        "InfoGAN": {"discriminator": last(1), "recognizer": lambda: heads(5)},
        "mode-regularised": {"discriminator": last(1), "encoder": lambda: heads(LATENT)},
    }[name]
    gan = build(game._replace(networks=networks(**changed)))
    assert gan.generator.outputs[0].dtype == "bfloat16"
    for step in (gan.discriminator_step, gan.generator_step if name != "MADGAN" else tf.function(gan.generator_step)):
        step((tf.constant(REAL[:5]), tf.constant(LABELS[:5])))
    assert {gan.d_loss.result().dtype, gan.g_loss.result().dtype} == {tf.float32}
    assert np.isfinite([gan.d_loss.result(), gan.g_loss.result()]).all()


# AC-GAN


def labelled(samples, labels, **more):
    return Batch(tf.constant(samples, tf.float32), tf.constant(labels, tf.int32), **more)


def test_the_classes_are_told_for_samples_that_have_one():
    gan = build(GAMES["ACGAN"])
    logits = tf.math.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    batch = labelled(REAL[:3], [1, -1, 2], outputs=(tf.zeros((3, 1)), logits))
    assert float(gan.class_loss(batch)) == pytest.approx(-(math.log(0.25) + math.log(0.6)) / 2, rel=1e-6)
    assert float(gan.class_loss(batch._replace(labels=tf.constant([-1, -1, -1])))) == 0.0


def test_the_class_accuracy_is_a_share_of_the_labelled_real_samples():
    gan = build(GAMES["ACGAN"], rate=0.0, run_eagerly=True)
    history = train(gan)
    told = np.argmax(np.concatenate([play(gan.discriminator, x)[1] for x, _ in BATCHES]), axis=1)
    assert history["class_accuracy"] == [pytest.approx(np.mean((told == LABELS)[LABELS >= 0]))]


# InfoGAN


def reads_codes(slope, codes):
    """InfoGAN whose samples are its latents, and whose Q returns the last numbers of a sample times the slope."""
    generator = keras.Sequential([keras.Input((LATENT,)), layers.Dense(LATENT, kernel_initializer="identity")])
    discriminator = keras.Sequential([keras.Input((LATENT,)), layers.Dense(1)])
    size = sum(codes.values())
    recognizer = keras.Sequential([keras.Input((LATENT,)), layers.Dense(size, use_bias=False)])
    recognizer.set_weights([slope * np.eye(LATENT)[:, LATENT - size :]])
    return InfoGAN(generator, discriminator, latent_dim=LATENT, seed=0, recognizer=recognizer, **codes)


@pytest.mark.parametrize(("slope", "expected"), [(100.0, math.log(4)), (0.0, 0.0)], ids=["perfect", "ignorant"])
def test_the_bound_of_a_categorical_code_is_its_entropy_or_nothing(slope, expected):
    gan = reads_codes(slope, {"categories": 4})
    assert float(gan.information_bound(gan.fakes_for(labelled(REAL, LABELS)))) == pytest.approx(expected, abs=1e-6)


def test_the_bound_of_a_continuous_code():
    """Perfect: log 2 − ½ log 2π a number. Ignorant: ½ E[c²] = 1/6 less."""
    fakes = reads_codes(1.0, {"continuous": 2}).fakes_for(labelled(np.zeros((20_000, 3)), [-1] * 20_000))
    perfect = 2 * (math.log(2) - 0.5 * math.log(2 * math.pi))
    assert float(reads_codes(1.0, {"continuous": 2}).information_bound(fakes)) == pytest.approx(perfect, abs=1e-5)
    # the standard error of the mean of ½(c₁² + c₂²) is ½ √(2 · 4/45 / 20,000) = 0.0015: five of them
    ignorant = float(reads_codes(0.0, {"continuous": 2}).information_bound(fakes))
    assert ignorant == pytest.approx(perfect - 2 / 6, abs=0.0075)


def test_the_codes_are_uniform_and_tell_nothing_of_each_other():
    count = 30_000
    latent = reads_codes(1.0, {"categories": 3, "continuous": 2}).latent(count, seed=0).numpy()
    noise, categories, continuous = latent[:, :1], latent[:, 1:4], latent[:, 4:]
    assert set(np.unique(categories)) == {0.0, 1.0}
    np.testing.assert_array_equal(categories.sum(axis=1), 1.0)
    np.testing.assert_allclose(categories.mean(axis=0), 1 / 3, atol=5 * math.sqrt(2 / 9 / count))
    assert (np.abs(continuous) <= 1.0).all()
    for column in continuous.T:
        assert scipy.stats.kstest(column, "uniform", (-1, 2)).statistic < 1.95 / math.sqrt(count)  # 1 in 1,000
    np.testing.assert_allclose([noise.mean(), noise.std()], [0.0, 1.0], atol=5 / math.sqrt(count))
    apart = np.corrcoef(latent[:, [0, 1, 2, 4, 5]].T)
    np.testing.assert_allclose(apart[np.ix_([0, 3, 4], [1, 2])], 0.0, atol=5 / math.sqrt(count))
    np.testing.assert_allclose([apart[0, 3], apart[0, 4], apart[3, 4]], 0.0, atol=5 / math.sqrt(count))


def test_the_history_shows_the_bound_of_the_generators_steps():
    gan = reads_codes(100.0, {"categories": 4})
    gan.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0), run_eagerly=True)
    data = tf.data.Dataset.from_tensors(tf.zeros((8, LATENT)))
    assert train(gan, data)["information_bound"] == [pytest.approx(math.log(4), abs=1e-6)]


@pytest.mark.parametrize(("game", "part"), [("InfoGAN", "recognizer"), ("mode-regularised", "encoder")])
def test_a_part_beside_the_generator_learns_in_its_step_only(game, part):
    gan = build(GAMES[game])
    part = getattr(gan, part)
    before = values(part.variables)
    gan.discriminator_step(tf.constant(REAL))
    assert_equal(before, values(part.variables))
    gan.generator_step(tf.constant(REAL))
    assert not np.array_equal(before[-2], part.variables[-2])


# Semi-supervised


def test_real_is_what_a_classifier_of_one_class_more_says():
    gan = build(GAMES["SemiSupervisedGAN"])
    batch = gan.judged(labelled(REAL, LABELS))
    log_z, logits, features = batch.outputs
    widened = np.concatenate([logits, np.zeros((len(REAL), 1))], axis=1)
    chances = np.exp(widened) / np.exp(widened).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(sigmoid(log_z)[:, 0], 1 - chances[:, -1], rtol=1e-5)
    np.testing.assert_allclose(gan.scores(batch), sigmoid(log_z), rtol=1e-6)
    assert features.shape == (12, 4)


def test_samples_without_a_label_teach_real_from_fake_alone():
    gan = build(GAMES["SemiSupervisedGAN"])
    some, none = (gan.judged(labelled(REAL[:3], labels)) for labels in ([1, -1, -1], [-1, -1, -1]))
    fake = gan.judged(labelled(REAL[3:6], [-1] * 3))
    logits = some.outputs[1].numpy()[0]
    supervised = -math.log(np.exp(logits[1]) / np.exp(logits).sum())
    apart = gan.discriminator_loss(some, fake) - gan.discriminator_loss(none, fake)
    assert float(apart) == pytest.approx(supervised, rel=1e-4)


@pytest.mark.parametrize("name", ["SemiSupervisedGAN", "CatGAN"])
def test_a_semi_supervised_game_needs_labels(name):
    with pytest.raises(ValueError, match="read labels of 3 classes, but the dataset has none"):
        build(GAMES[name]).fit(tf.data.Dataset.from_tensors(REAL))


# CatGAN


def told(chances, labels=None):
    """A batch of which D tells these chances of the classes."""
    logits = tf.math.log(tf.constant(chances)) + 5.0  # softmax does not see what is added to all
    return labelled(np.zeros((len(chances), 3)), labels or [-1] * len(chances), outputs=(logits,))


SURE = [[1.0 - 2e-7, 1e-7, 1e-7], [1e-7, 1.0 - 2e-7, 1e-7], [1e-7, 1e-7, 1.0 - 2e-7]]
DOUBT = [[1 / 3] * 3] * 3
ONE_CLASS = [SURE[0]] * 3


@pytest.mark.parametrize(
    ("real", "fake", "d_loss", "g_loss"),
    [
        (SURE, DOUBT, -2.0, 0.0),  # what D wants
        (SURE, SURE, -1.0, -1.0),  # what G makes of it
        (DOUBT, SURE, 0.0, -1.0),  # what D wants least
        (ONE_CLASS, DOUBT, -1.0, 0.0),  # sure, but of one class
        (SURE, ONE_CLASS, -1.0, 0.0),  # G collapsed to a class
        (SURE[:2], DOUBT, -(1.0 + math.log(2) / math.log(3)), 0.0),  # two of three classes
    ],
    ids=["D's wish", "G's wish", "D's worst", "real of one class", "fakes of one class", "real of two classes"],
)
def test_who_wants_what_of_the_classes(real, fake, d_loss, g_loss):
    """In units of log 3, the entropy of three classes alike."""
    gan = build(GAMES["CatGAN"])
    real, fake = told(real), told(fake)
    assert float(gan.discriminator_loss(real, fake)) / math.log(3) == pytest.approx(d_loss, abs=1e-5)
    assert float(gan.generator_loss(real, fake)) / math.log(3) == pytest.approx(g_loss, abs=1e-5)


@pytest.mark.parametrize("labels", [[0, 1, -1], [-1, -1, -1]])
def test_a_label_costs_its_cross_entropy_times_the_weight(labels):
    gan = build(GAMES["CatGAN"])
    chances = [[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]
    with_labels, without = (gan.discriminator_loss(told(chances, each), told(DOUBT)) for each in (labels, None))
    expected = -0.7 * (math.log(0.5) + math.log(0.8)) / 2 if labels[0] >= 0 else 0.0
    assert float(with_labels - without) == pytest.approx(expected, abs=1e-6)


def test_the_scores_are_entropies_of_single_samples():
    scores = build(GAMES["CatGAN"]).scores(told([[0.5, 0.25, 0.25], *SURE[:1], *DOUBT[:1]]))
    np.testing.assert_allclose(scores, [1.5 * math.log(2), 0.0, math.log(3)], atol=1e-5)


def test_where_the_discriminator_is_quite_sure_nothing_is_nan():
    gan = build(GAMES["CatGAN"])
    logits = tf.constant([[1e4, 0.0, -1e4], [0.0, 1e4, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        batch = labelled(np.zeros((2, 3)), [-1, -1], outputs=(logits,))
        loss = gan.discriminator_loss(batch, batch)
    assert np.isfinite(loss)
    assert np.isfinite(tape.gradient(loss, logits)).all()


# EBGAN


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([[1.0, 2.0], [2.0, 4.0], [-0.5, -1.0]], 1.0),
        ([[3.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 2.0]], 0.0),
        ([[1.0, 0.0], [1.0, 1.0]], 0.5),
        ([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], 1 / 3),
        ([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]], 0.0),
        ([[1.0, 2.0]], 0.0),
    ],
    ids=["parallel", "orthogonal", "45 degrees", "one pair of three", "zeros", "one sample"],
)
def test_the_pulling_away_term_is_the_mean_squared_cosine_of_pairs(codes, expected):
    codes = tf.constant(codes)
    with tf.GradientTape() as tape:
        tape.watch(codes)
        term = build(GAMES["pulling away"]).similarity(codes)
    assert float(term) == pytest.approx(expected, abs=1e-5)
    assert np.isfinite(tape.gradient(term, codes)).all()


def test_the_margin_acts_on_each_sample():
    """Energies of fakes of 0 and 4, margin 0.4: mean(0.4, 0) = 0.2, and of their mean 2 it would be 0."""
    gan = build(GAMES["EBGAN"])
    zeros = tf.zeros((2, 3))
    real = labelled(np.ones((2, 3)), [-1, -1], outputs=(zeros, zeros))
    fake = labelled([[0, 0, 0], [2, 2, 2]], [-1, -1], outputs=(zeros, zeros))
    np.testing.assert_allclose(gan.scores(fake), [0.0, 4.0])
    assert float(gan.discriminator_loss(real, fake)) == pytest.approx(1.0 + 0.2)
    assert float(gan.generator_loss(real, fake)) == pytest.approx(2.0)


def test_the_energy_of_an_image_is_a_mean_over_all_its_pixels():
    square = [keras.Input((2, 2, 1)), layers.Conv2D(1, 1, kernel_initializer="zeros")]
    generator = keras.Sequential([keras.Input((2,)), layers.Dense(4), layers.Reshape((2, 2, 1))])
    gan = EBGAN(generator, keras.Sequential(square), latent_dim=2)
    images = tf.constant([[1.0, 1, 1, 1], [2, 0, 0, 0]])
    batch = gan.judged(Batch(tf.reshape(images, (2, 2, 2, 1)), tf.fill((2,), -1)))
    np.testing.assert_allclose(gan.scores(batch), [1.0, 1.0])


# BEGAN


def energies(real, fake):
    """Batches whose samples are 0 and whose reconstructions are off by these numbers, everywhere."""
    return [labelled(np.zeros((2, 3)), [-1, -1], outputs=(tf.fill((2, 3), off),)) for off in (real, fake)]


def test_the_balance_follows_the_share_that_is_asked_for():
    """γ = ½ and λ = 0.1: with L(x) = 2 and L(G(z)) = ½, k rises by 0.1·(1 − ½), and M is 2 + ½."""
    gan = BEGAN(**GAMES["BEGAN"].networks(), latent_dim=LATENT, diversity=0.5, balance_rate=0.1)
    gan.compile(keras.optimizers.SGD(), keras.optimizers.SGD())
    real, fake = energies(2.0, -0.5)
    assert float(gan.discriminator_loss(real, fake)) == pytest.approx(2.0)
    gan._note_discriminator(2.0, real, fake)
    assert float(gan.balance.numpy()) == pytest.approx(0.05)
    assert float(gan.convergence.result()) == pytest.approx(2.5)
    assert float(gan.discriminator_loss(real, fake)) == pytest.approx(2.0 - 0.05 * 0.5)
    assert float(gan.generator_loss(real, fake)) == pytest.approx(0.5)


@pytest.mark.parametrize(("real", "fake", "balance", "convergence"), [(0.0, 50.0, 0.0, 50.0), (50.0, 0.0, 1.0, 95.0)])
def test_the_balance_stays_between_0_and_1(real, fake, balance, convergence):
    """γ = 0.9: M is 0 + |0 − 50|, and 50 + |45 − 0|."""
    gan = build(GAMES["BEGAN"])
    gan._note_discriminator(0.0, *energies(real, fake))
    assert gan.balance.numpy() == balance
    assert float(gan.convergence.result()) == pytest.approx(convergence)


# Unrolled


def test_unrolled_by_hardly_anything_it_is_the_plain_game():
    game = GAMES["unrolled"]
    tiny = game._replace(settings={"unrolled_steps": 3, "unrolled_rate": 1e-12})
    plain = game._replace(kind=GAN, settings={})
    ours, theirs, far = (build(each) for each in (tiny, plain, game))
    for gan in (ours, theirs, far):
        gan.generator_step(tf.constant(REAL))
    mine, others, farther = (gan.generator.trainable_variables for gan in (ours, theirs, far))
    for weight, other in zip(mine, others, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-6)
    assert np.abs(mine[-1] - farther[-1]).max() > 1e-3


@pytest.fixture
def double_precision():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def test_the_unrolled_generators_slope_agrees_with_finite_differences(double_precision):
    real = tf.constant(REAL, tf.float64)
    game = GAMES["unrolled"]
    normal = keras.random.normal((len(real), LATENT), seed=keras.random.SeedGenerator(SEED))
    parts = game.networks()

    def loss():
        return float(unrolled(3)(parts, real, None, play(parts["generator"], normal), normal))

    gan = build(game, rate=1.0)
    before = values(gan.generator.trainable_variables)
    gan.generator_step(real)
    assert gan.generator.trainable_variables[0].dtype == "float64"
    slopes = [old - new for old, new in zip(before, values(gan.generator.trainable_variables), strict=True)]
    for index, place in [(0, (1, 2)), (2, (0,)), (3, (3,)), (4, (2, 1)), (5, (0,))]:
        weight = parts["generator"].trainable_variables[index]
        start, step = weight.numpy(), np.zeros(weight.shape)
        step[place] = 1e-5
        higher, lower = (weight.assign(start + sign * step) is None or loss() for sign in (1, -1))
        weight.assign(start)
        assert slopes[index][place] == pytest.approx((higher - lower) / 2e-5, rel=1e-6, abs=1e-9)


def test_the_steps_looked_ahead_change_nothing_of_the_discriminator():
    gan = build(GAMES["unrolled"])
    before = values([*gan.discriminator.variables, *gan.d_optimizer.variables])
    gan.generator_step(tf.constant(REAL))
    assert_equal(values([*gan.discriminator.variables, *gan.d_optimizer.variables]), before)


# Mode regularisation


def test_without_weights_it_is_the_plain_game():
    game = GAMES["mode-regularised"]
    still = build(game._replace(settings={"distance_weight": 0.0, "mode_weight": 0.0}))
    plain = build(GAMES["unrolled"]._replace(kind=GAN, settings={}))
    for gan in (still, plain):
        gan.generator_step(tf.constant(REAL))
    for weight, other in zip(still.generator.trainable_variables, plain.generator.trainable_variables, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-6)


def test_what_comes_back_is_compared_with_where_it_came_from():
    """E and G are exact inverses of each other: the distance is 0; twice as far: mean x²."""
    for scale, expected in ((1.0, 0.0), (2.0, float(np.mean(REAL**2)))):
        generator = keras.Sequential([keras.Input((3,)), layers.Dense(3, use_bias=False)])
        encoder = keras.Sequential([keras.Input((3,)), layers.Dense(3, use_bias=False)])
        generator.set_weights([scale * np.eye(3)])
        encoder.set_weights([np.eye(3)])
        settings = {"encoder": encoder, "distance_weight": 1.0, "mode_weight": 0.0}
        gan = ModeRegularizedGAN(generator, a_discriminator(), latent_dim=3, **settings)
        gan.compile(keras.optimizers.SGD(), keras.optimizers.SGD())
        real = labelled(REAL, [-1] * 12)
        fake = gan.judged(gan.fakes_for(real))
        regularised = gan.generator_loss(real, fake) - GAN.generator_loss(gan, real, fake)
        assert float(regularised) == pytest.approx(expected, abs=1e-5)


# Several generators


def constant_generators(count):
    """Generator k always draws k."""
    networks = []
    for k in range(count):
        network = keras.Sequential([keras.Input((2,)), layers.Dense(1, kernel_initializer="zeros")])
        network.layers[-1].bias.assign([float(k)])
        networks.append(network)
    return networks


@pytest.mark.parametrize("count", [1, 2, 3, 7, 256])
def test_sample_j_comes_from_generator_j_modulo_k(count):
    generator = take_turns(constant_generators(3))
    gan = GAN(generator, keras.Sequential([keras.Input((1,)), layers.Dense(1)]), latent_dim=2)
    np.testing.assert_array_equal(gan.sample(count)[:, 0], np.arange(count) % 3)
    kept = gan.fakes_for(labelled(np.zeros((count, 1)), [-1] * count)).samples
    np.testing.assert_array_equal(kept[:, 0], np.arange(count) % 3)


def test_the_discriminator_tells_makers_and_real_apart():
    """Sure of all: log p(real) of a real sample, log p(j mod K) of fakes."""
    gan = build(GAMES["MADGAN"])
    logits = tf.math.log([[0.2, 0.3, 0.5], [0.25, 0.25, 0.5], [0.1, 0.1, 0.8]])
    real, fake = (gan.judged(labelled(REAL[:3], [-1] * 3)) for _ in range(2))
    real, fake = (batch._replace(outputs=(batch.logits, logits)) for batch in (real, fake))
    on_real = -(math.log(0.5) + math.log(0.5) + math.log(0.8)) / 3
    on_fake = -(math.log(0.2) + math.log(0.25) + math.log(0.1)) / 3
    assert float(gan.discriminator_loss(real, fake)) == pytest.approx(on_real + on_fake, rel=1e-6)


def test_a_batch_smaller_than_the_number_of_generators_spoils_no_statistics():
    networks = [keras.Sequential([keras.Input((2,)), layers.BatchNormalization(), layers.Dense(1)]) for _ in range(3)]
    generator = take_turns(networks)
    before = values(networks[2].variables)
    for run in (generator, tf.function(generator)):
        assert run(tf.ones((2, 2)), training=True).shape == (2, 1)
        assert np.isfinite(generator(tf.ones((6, 2)))).all()
    assert_equal(values(networks[2].variables), before)
    assert networks[1].layers[0].moving_mean.numpy()[0] > 0.0


def test_generators_that_take_turns_are_saved_and_averaged(tmp_path):
    gan = build(GAMES["MADGAN"], average=0.9, run_eagerly=True)
    train(gan)
    gan.save(tmp_path / "game.keras")
    loaded = keras.saving.load_model(tmp_path / "game.keras")
    np.testing.assert_array_equal(loaded.sample(5, seed=0), gan.sample(5, seed=0))
    assert not np.array_equal(loaded.sample(5, seed=0), loaded.generator(loaded.latent(5, seed=0)))


# A game of one's own


def test_a_game_of_ones_own_is_a_hook():
    class MatchingAware(GAN):
        """D also meets real samples with the next class, which it has to refuse (S. Reed et al., 2016)."""

        def discriminator_loss(self, real, fake):
            wrong = self.judged(real._replace(labels=(real.labels + 1) % CLASSES, outputs=()))
            return super().discriminator_loss(real, fake) + tf.reduce_mean(tf.math.softplus(wrong.logits))

    def critic():
        samples, labels = keras.Input((3,)), keras.Input((CLASSES,))
        features = layers.Dense(4, "tanh")(layers.Concatenate()([samples, labels]))
        return keras.Model([samples, labels], layers.Dense(1)(features))

    def d_loss(parts, x, y, fake, z):
        on_real, on_fake, on_wrong = (
            sigmoid(play(parts["discriminator"], [samples, tf.one_hot(labels, CLASSES)]))
            for samples, labels in ((x, y), (fake, y), (x, (y + 1) % CLASSES))
        )
        return -mean(tf.math.log(on_real)) - mean(tf.math.log(1 - on_fake)) - mean(tf.math.log(1 - on_wrong))

    def g_loss(parts, x, y, fake, z):
        return -mean(tf.math.log(sigmoid(play(parts["discriminator"], [fake, tf.one_hot(y, CLASSES)]))))

    game = Game(MatchingAware, networks(reads_labels, critic), d_loss, g_loss, generate=GAMES["ACGAN"].generate)
    compare(game, epochs=2)


def test_a_hook_of_the_generator_sees_the_latents_and_the_real_batch():
    seen = []

    class Looks(GAN):
        def generator_loss(self, real, fake):
            seen.append((real, fake))
            return super().generator_loss(real, fake)

    gan = build(GAMES["unrolled"]._replace(kind=Looks, settings={}))
    gan.generator_step((tf.constant(REAL[:4]), tf.constant(LABELS[:4])))
    real, fake = seen[0]
    np.testing.assert_array_equal(real.samples, REAL[:4])
    assert fake.latent.shape == (4, LATENT)
    assert fake.labels.numpy().tolist() == real.labels.numpy().tolist() == LABELS[:4].tolist()
    np.testing.assert_allclose(fake.logits, gan.discriminator(fake.samples), rtol=1e-5)


# Refusals


def refuse(name, message, **changed):
    """The game with one part or setting changed, and what the refusal says."""

    def make():
        game = GAMES[name]
        changes = {key: value() if callable(value) else value for key, value in changed.items()}
        game.kind(**{**game.networks(), "latent_dim": LATENT, **game.settings, **changes})

    return make, message


def critic(*stack):
    return keras.Sequential([keras.Input((3,)), *stack])


REFUSED = {
    "AC-GAN: one output": refuse(
        "ACGAN", "shape (None, 1), expected [(None, 1), (None, 3)]", discriminator=a_discriminator
    ),
    "AC-GAN: other classes": refuse(
        "ACGAN", "(None, 4)], expected [(None, 1), (None, 3)]", discriminator=lambda: heads(1, 4)
    ),
    "AC-GAN: heads in the wrong order": refuse(
        "ACGAN", "[(None, 3), (None, 1)], expected", discriminator=lambda: heads(3, 1)
    ),
    "AC-GAN: G reads no labels": refuse("ACGAN", "reads no labels. .*conditional_generator", generator=a_generator),
    "AC-GAN: probabilities of the classes": refuse(
        "ACGAN",
        "expected logits: the losses take them as they are",
        discriminator=lambda: keras.Model(
            samples := keras.Input((3,)), [layers.Dense(1)(samples), layers.Dense(3, "softmax")(samples)]
        ),
    ),
    "AC-GAN: negative weight": refuse("ACGAN", "class_weight=-1, expected a number of at least 0", class_weight=-1),
    "InfoGAN: Q of another size": refuse(
        "InfoGAN", "categories=3, continuous=2, .*returns (None, 4) .*expected (None, 5)", recognizer=lambda: heads(4)
    ),
    "InfoGAN: Q of other samples": refuse(
        "InfoGAN", "recognizer reads (None, 2), .*samples of shape (None, 3)", recognizer=lambda: heads(5, first=2)
    ),
    "InfoGAN: no Q": refuse("InfoGAN", "a str as recognizer, expected a keras.Model", recognizer="Q"),
    "InfoGAN: Q that is not built": refuse(
        "InfoGAN", "recognizer has no known input", recognizer=lambda: keras.Sequential([layers.Dense(5)])
    ),
    "InfoGAN: a code longer than the latent": refuse(
        "InfoGAN", "latent_dim=6, expected (None, 7)", categories=5, recognizer=lambda: heads(7)
    ),
    "InfoGAN: no code": refuse("InfoGAN", "categories=0, continuous=0", categories=0, continuous=0),
    "InfoGAN: half a category": refuse(
        "InfoGAN", "categories=2.5, expected a whole number of at least 0", categories=2.5
    ),
    "InfoGAN: fewer than no numbers": refuse(
        "InfoGAN", "continuous=-1, expected a whole number of at least 0", continuous=-1
    ),
    "InfoGAN: a weight that is no number": refuse(
        "InfoGAN", "information_weight=nan, expected", information_weight=math.nan
    ),
    "semi-supervised: no features": refuse(
        "feature matching", "no features to match. .*second output", discriminator=lambda: critic(layers.Dense(3))
    ),
    "semi-supervised: three outputs": refuse(
        "SemiSupervisedGAN", "[(None, 3), (None, 2), (None, 1)], expected", discriminator=lambda: heads(3, 2, 1)
    ),
    "semi-supervised: probabilities": refuse(
        "SemiSupervisedGAN",
        "expected logits: the losses take them as they are",
        discriminator=lambda: critic(layers.Dense(3, "softmax")),
    ),
    "CatGAN: features": refuse(
        "CatGAN", "[(None, 3), (None, 4)], expected (None, None): logits", discriminator=lambda: heads(3, 4)
    ),
    "CatGAN: one class": refuse("CatGAN", "tells one class, expected .*two or more", discriminator=a_discriminator),
    "CatGAN: probabilities": refuse(
        "CatGAN",
        "expected logits: the losses take them as they are",
        discriminator=lambda: critic(layers.Dense(3, "softmax")),
    ),
    "CatGAN: negative weight": refuse("CatGAN", "class_weight=-1, expected a number of at least 0", class_weight=-1),
    "EBGAN: a logit": refuse(
        "EBGAN", "shape (None, 1), expected (None, 3): reconstructed samples", discriminator=a_discriminator
    ),
    "EBGAN: no codes": refuse(
        "pulling away", "no codes to pull apart. .*second output", discriminator=lambda: critic(layers.Dense(3))
    ),
    "EBGAN: no margin": refuse("EBGAN", "margin=0.0, expected a number above 0", margin=0.0),
    "EBGAN: negative margin": refuse("EBGAN", "margin=-1.0, expected", margin=-1.0),
    "EBGAN: pushed together": refuse("pulling away", "pull_away=-0.1, expected a number of at least 0", pull_away=-0.1),
    "BEGAN: no diversity": refuse("BEGAN", "diversity=0.0 and .*expected a share in (0, 1]", diversity=0.0),
    "BEGAN: too much": refuse("BEGAN", "diversity=1.5 and .*expected a share in (0, 1]", diversity=1.5),
    "BEGAN: a still balance": refuse("BEGAN", "balance_rate=0.0, expected .*above 0", balance_rate=0.0),
    "unrolled: no steps": refuse(
        "unrolled", "unrolled_steps=0, expected a whole number of at least 1", unrolled_steps=0
    ),
    "unrolled: half a step": refuse("unrolled", "unrolled_steps=1.5, expected", unrolled_steps=1.5),
    "unrolled: no rate": refuse("unrolled", "unrolled_rate=0, expected a number above 0", unrolled_rate=0),
    "unrolled: a word as rate": refuse("unrolled", "unrolled_rate='slow', expected", unrolled_rate="slow"),
    "unrolled: batch normalisation in D": refuse(
        "unrolled",
        "(BatchNormalization): .*LayerNormalization",
        discriminator=lambda: critic(*hidden(), layers.Dense(1)),
    ),
    "mode-regularised: no encoder": refuse("mode-regularised", "a str as encoder, expected a keras.Model", encoder="E"),
    "mode-regularised: latents of another size": refuse(
        "mode-regularised",
        "shapes [(None, 3), (None, 4)], expected [(None, 3), (None, 6)]",
        encoder=lambda: heads(4),
    ),
    "mode-regularised: other samples": refuse(
        "mode-regularised",
        "shapes [(None, 2), (None, 6)], expected [(None, 3), (None, 6)]",
        encoder=lambda: heads(LATENT, first=2),
    ),
    "mode-regularised: negative distance": refuse(
        "mode-regularised", "distance_weight=-1, expected a number of at least 0", distance_weight=-1
    ),
    "mode-regularised: a weight that is no number": refuse(
        "mode-regularised", "mode_weight=nan, expected a number of at least 0", mode_weight=math.nan
    ),
    "MADGAN: one generator": refuse(
        "MADGAN", "one network, expected games.take_turns([generator, …])", generator=a_generator
    ),
    "MADGAN: a logit too few": refuse(
        "MADGAN",
        "shape (None, 2), expected (None, 3): a logit for each of 2 generators",
        discriminator=lambda: heads(2),
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_parts_and_settings_that_cannot_work_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=".*".join(map(re.escape, message.split(".*")))):
        make()


TURNS = {
    "none": ([], "Got 0 networks, expected two or more different ones of equal shapes"),
    "one": ([a_generator()], "Got 1 networks, expected two or more"),
    "other samples": (
        [a_generator(), critic(layers.Dense(3))],
        "Got 2 networks, expected two or more different ones of equal shapes",
    ),
    "no network": ([a_generator(), "G"], "a str as generator 1, expected a keras.Model"),
    "one network twice": ([*[a_generator()] * 2], "Got 2 networks, expected two or more different ones"),
}


@pytest.mark.parametrize(("given", "message"), TURNS.values(), ids=TURNS)
def test_networks_that_cannot_take_turns_are_refused(given, message):
    with pytest.raises((TypeError, ValueError), match=".*".join(map(re.escape, message.split(".*")))):
        take_turns(given)
    with pytest.raises((TypeError, ValueError)):
        TakeTurns(given)


@pytest.mark.parametrize(
    "recipe", [{"objective": losses.minimax()}, {"penalty": penalties.r1()}], ids=["an objective", "a penalty"]
)
@pytest.mark.parametrize("name", ["EBGAN", "CatGAN"])
def test_some_games_have_losses_of_their_own(name, recipe):
    gan = build(GAMES[name])
    optimizers = keras.optimizers.SGD(), keras.optimizers.SGD()
    before = gan.d_optimizer
    with pytest.raises(ValueError, match=rf"{name} has losses of its own\. Leave objective and penalty out"):
        gan.compile(*optimizers, **recipe)
    with pytest.raises(ValueError, match="losses of its own"):
        gan.compile(*optimizers, losses.minimax())
    assert gan.d_optimizer is before


def test_a_checkpoint_knows_the_game_and_its_settings(tmp_path):
    def train(kind, **settings):
        keras.utils.set_random_seed(0)
        gan = kind(
            models.mlp_generator(2, (2,), (4,), None),
            models.mlp_discriminator((2,), (4,), 0.0),
            latent_dim=2,
            **settings,
        )
        gan.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
        dataset = tf.data.Dataset.from_tensor_slices(np.zeros((8, 2), np.float32)).batch(4)
        gan.fit(dataset, callbacks=[Checkpoint(tmp_path / "run.npz")], verbose=0)

    train(UnrolledGAN, unrolled_steps=2)
    with pytest.raises(ValueError, match=r"Its game: .*'unrolled_steps': '2'.*given: .*'unrolled_steps': '3'"):
        train(UnrolledGAN, unrolled_steps=3)
    with pytest.raises(ValueError, match=r"Its game: .*'UnrolledGAN'.*given: None"):
        train(GAN)


@pytest.mark.parametrize(
    "recipe", [{"penalty": lambda *_: 0.0}, {"objective": losses.wasserstein()}], ids=["penalty", "objective"]
)
def test_several_generators_refuse_what_their_discriminator_does_not_minimise(recipe):
    generator = take_turns([models.mlp_generator(2, (1,), (4,), None) for _ in range(2)])
    gan = MADGAN(generator, keras.Sequential([keras.Input((1,)), keras.layers.Dense(3)]), latent_dim=2)
    with pytest.raises(ValueError, match=r"expected minimax\(\) or non_saturating\(\) and no penalty"):
        gan.compile(keras.optimizers.SGD(), keras.optimizers.SGD(), **recipe)
    assert not gan.compiled
