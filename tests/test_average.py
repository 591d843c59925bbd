"""The running mean of the generator: its rule, and that all that draws draws with it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from comparing import assert_equal, state, values
from keras import layers

from gan_utils import GAN, Checkpoint, SampleGrid, Score, data, losses, models, plotting

LATENT, DECAY, RATE = 2, 0.8, 0.1
REAL = np.random.default_rng(0).normal(size=(14, 3)).astype(np.float32)


def networks(shape=(3,)):
    """A generator with all that has a state: weights, running statistics, and random states, which are integers."""
    keras.utils.set_random_seed(0)
    hidden = [layers.Dense(5), layers.BatchNormalization(momentum=0.5), layers.LeakyReLU(0.2), layers.Dropout(0.3)]
    last = [layers.Dense(int(np.prod(shape)), "tanh"), layers.Reshape(shape)]
    return keras.Sequential([keras.Input((LATENT,)), *hidden, *last]), models.mlp_discriminator(shape, (4,), 0.0)


def make(average=DECAY, shape=(3,), kind=GAN, optimizer=keras.optimizers.SGD, rate=RATE, **recipe):
    gan = kind(*networks(shape), latent_dim=LATENT, seed=3, average=average)
    gan.compile(optimizer(rate), optimizer(rate), **recipe)
    return gan


def in_order(samples=REAL):
    return tf.data.Dataset.from_tensor_slices(samples).batch(4)


def train(gan, dataset=None, **settings):
    return gan.fit(in_order() if dataset is None else dataset, verbose=0, **settings).history


# The rule


@pytest.mark.parametrize("wrap", [lambda step: step, tf.function], ids=["eager", "traced"])
def test_after_each_generator_step_the_mean_moves_towards_weights_and_statistics(wrap):
    """mean ← d·mean + (1 − d)·w, with the w that the step has just reached; nothing of it in D's step."""
    gan = make()
    d_step, g_step = wrap(gan.discriminator_step), wrap(gan.generator_step)
    expected = values(gan.generator.weights)  # which exclude the states of random generators
    assert len(expected) == 4 + 2 + 2
    for _ in range(4):
        d_step(tf.constant(REAL))
        assert_equal(values(gan.mean_generator.weights), expected)
        g_step(tf.constant(REAL))
        expected = [
            np.float32(DECAY) * mean + np.float32(1 - DECAY) * weight
            for mean, weight in zip(expected, values(gan.generator.weights), strict=True)
        ]
        for mean, by_hand in zip(gan.mean_generator.weights, expected, strict=True):
            np.testing.assert_allclose(mean, by_hand, rtol=1e-6, atol=1e-7)
        expected = values(gan.mean_generator.weights)
    moved = [np.abs(mean - weight).max() for mean, weight in zip(expected, gan.generator.weights, strict=True)]
    assert [bool(distance > 1e-4) for distance in moved] == [True, False, *[True] * 6]  # batch norm undoes a bias


@pytest.mark.parametrize("recipe", [{}, {"d_steps": 2}, {"steps_per_execution": 2}, {"reuse_fakes": True}], ids=str)
def test_the_mean_begins_as_the_generator_and_is_the_weighted_sum_of_what_it_was(recipe):
    """After n steps: dⁿ·w₀ + (1 − d)·Σ dⁿ⁻ⁱ·wᵢ. A kernel of the last layer stands for all."""
    seen = []

    class Watch(GAN):
        def _update_generator(self, *args):
            super()._update_generator(*args)
            tf.py_function(lambda kernel: seen.append(kernel.numpy()), [self.generator.layers[-2].kernel.value], [])

    gan = make(kind=Watch, **recipe)
    first = gan.mean_generator.layers[-2].kernel.numpy()
    assert_equal([first], [gan.generator.layers[-2].kernel])
    train(gan)
    steps = 2 if "d_steps" in recipe else 4
    assert len(seen) == steps
    later = sum((1 - DECAY) * DECAY ** (steps - i) * kernel for i, kernel in enumerate(seen, start=1))
    np.testing.assert_allclose(gan.mean_generator.layers[-2].kernel, DECAY**steps * first + later, rtol=1e-5, atol=1e-6)


def test_random_states_are_left_alone():
    gan = make()
    states = [variable for variable in gan.mean_generator.variables if "float" not in variable.dtype]
    before = values(states)
    train(gan)
    assert len(states) == 1
    assert_equal(values(states), before)


@pytest.mark.parametrize("recipe", [{}, {"d_steps": 2, "run_eagerly": True}, {"reuse_fakes": True}], ids=str)
def test_the_players_learn_as_if_there_were_no_mean(recipe):
    averaged, plain = make(**recipe), make(average=None, **recipe)
    assert train(averaged, epochs=2) == train(plain, epochs=2)
    for name in ("generator", "discriminator", "d_optimizer", "g_optimizer", "noise"):
        ours, theirs = ([getattr(gan, name)] if name == "noise" else getattr(gan, name) for gan in (averaged, plain))
        if name == "noise":
            assert_equal([ours[0].state], [theirs[0].state])
        else:
            assert_equal(values(ours.variables), values(theirs.variables))
    assert [variable.path for variable in averaged.g_variables] != []
    assert not any(
        variable is mean for variable in averaged.trainable_variables for mean in averaged.mean_generator.variables
    )


def test_in_half_precision_weights_and_mean_stay_in_single():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        keras.utils.set_random_seed(0)
        generator = models.mlp_generator(LATENT, (3,), (4,), None)
        gan = GAN(generator, models.mlp_discriminator((3,), (4,), 0.0), LATENT, seed=0, average=DECAY)
    finally:
        keras.config.set_dtype_policy("float32")
    gan.compile(keras.optimizers.SGD(RATE), keras.optimizers.SGD(RATE))
    first = values(gan.generator.weights)
    gan.generator_step(tf.constant(REAL))
    for mean, before, weight in zip(gan.mean_generator.weights, first, gan.generator.weights, strict=True):
        assert mean.dtype == "float32"
        np.testing.assert_allclose(mean, DECAY * before + (1 - DECAY) * weight.numpy(), rtol=1e-6, atol=1e-7)


# What draws with it


@pytest.fixture
def trained():
    gan = make()
    train(gan)
    return gan


def test_samples_are_drawn_with_the_mean_and_without_one_with_the_generator(trained):
    z = trained.latent(5, seed=1)
    by_mean = trained.mean_generator(z, training=False).numpy()
    assert np.abs(by_mean - trained.generator(z, training=False)).max() > 1e-3
    np.testing.assert_allclose(trained.sample(5, seed=1), by_mean, rtol=1e-6)
    np.testing.assert_allclose(np.concatenate([*trained.stream(5, seed=1)]), by_mean, rtol=1e-6)
    np.testing.assert_allclose(trained(z), by_mean, rtol=1e-6)
    plain = make(average=None)
    train(plain)
    assert plain.mean_generator is None
    np.testing.assert_allclose(plain.sample(5, seed=1), plain.generator(z, training=False), rtol=1e-6)


def test_films_and_scores_show_the_mean():
    gan = make(shape=(4, 4, 1))
    images = np.random.default_rng(0).uniform(-1, 1, size=(14, 4, 4, 1)).astype(np.float32)
    film, score = SampleGrid(rows=2, columns=3, seed=5), Score(np.mean, samples=6, seed=5)
    history = train(gan, in_order(images), callbacks=[film, score])
    by_mean, own = (network(gan.latent(6, seed=5)).numpy() for network in (gan.mean_generator, gan.generator))
    assert_equal([film.frames[-1]], [data.to_bytes(plotting.tile(by_mean, 3))])
    assert history["score"] == [pytest.approx(by_mean.mean(), rel=1e-6)]
    assert abs(by_mean.mean() - own.mean()) > 1e-4


def test_what_is_exported_is_the_mean(trained, tmp_path):
    trained.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    z = trained.latent(5, seed=1)
    np.testing.assert_allclose(exported.serve(z), trained.sample(5, seed=1), atol=1e-6)


# Files


def test_the_mean_is_in_the_file_and_moves_on(tmp_path):
    gan = make(run_eagerly=True)
    train(gan)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    assert loaded.average == DECAY
    assert_equal(values(loaded.mean_generator.weights), values(gan.mean_generator.weights))
    loaded.noise.state.assign(gan.noise.state)  # neither is in a file of Keras
    loaded.generator.layers[3].seed_generator.state.assign(gan.generator.layers[3].seed_generator.state)
    loaded.run_eagerly = True
    for each in (gan, loaded):
        train(each)
    assert_equal(values(loaded.weights), values(gan.weights))
    assert_equal([loaded.sample(5, seed=1)], [gan.sample(5, seed=1)])


def test_the_mean_is_in_a_file_without_a_recipe(trained, tmp_path):
    own = losses.Objective("mine", lambda real, fake: tf.reduce_mean(fake - real), lambda fake: -tf.reduce_mean(fake))
    mine = make(objective=own)
    train(mine)
    for gan, how in ((trained, {"compile": False}), (mine, {})):
        gan.save(tmp_path / "gan.keras")
        loaded = keras.saving.load_model(tmp_path / "gan.keras", **how)
        assert not loaded.compiled
        assert_equal([loaded.sample(5, seed=1)], [gan.sample(5, seed=1)])
        assert_equal(values(loaded.generator.weights), values(gan.generator.weights))


def test_weights_alone_hold_the_mean(trained, tmp_path):
    trained.save_weights(tmp_path / "gan.weights.h5")
    other = make()
    other.load_weights(tmp_path / "gan.weights.h5")
    assert_equal([other.sample(5, seed=1)], [trained.sample(5, seed=1)])


def test_a_game_is_rebuilt_from_its_config_with_its_decay():
    assert GAN.from_config(make().get_config()).average == DECAY
    assert GAN.from_config(make(average=None).get_config()).average is None
    assert make(average=np.float32(0.5)).get_config()["average"] == 0.5


def test_the_mean_is_resumed_bit_for_bit(tmp_path):
    def start():
        return make(optimizer=lambda rate: keras.optimizers.SGD(rate, momentum=0.9), run_eagerly=True)

    whole = start()
    history = train(whole, epochs=2)
    for epochs in (1, 2):
        resumed = start()
        again = train(resumed, epochs=epochs, callbacks=[Checkpoint(tmp_path / "run.npz")])
    assert again == history
    assert_equal(state(resumed), state(whole))
    assert_equal([resumed.sample(5, seed=1)], [whole.sample(5, seed=1)])


@pytest.mark.parametrize("average", [None, 0.5])
def test_a_checkpoint_of_another_decay_is_refused(average, tmp_path):
    train(make(run_eagerly=True), callbacks=[Checkpoint(tmp_path / "run.npz")])
    other = make(average=average, run_eagerly=True)
    before = state(other)
    with pytest.raises(ValueError, match=f"belongs to another training.*average: {DECAY}; given: {average}"):
        train(other, epochs=2, callbacks=[Checkpoint(tmp_path / "run.npz")])
    assert_equal(state(other), before)


@pytest.mark.parametrize("average", [0.0, 1.0, -0.5, 1.5, float("nan"), "0.9", True, 99])
def test_a_decay_that_is_none_is_refused(average):
    with pytest.raises(
        ValueError, match=rf"average={average!r}, expected a decay between 0 and 1, such as 0\.99, or None"
    ):
        GAN(*networks(), LATENT, average=average)


# Averaged statistics against recomputed ones


def statistics(network):
    """Means and variances of all layers of batch normalisation."""
    norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    return [(norm.moving_mean.numpy(), norm.moving_variance.numpy()) for norm in norms]


def toy(average=0.99):
    """A generator with two layers of batch normalisation that learns points on a ring, far from its beginning."""
    keras.utils.set_random_seed(0)
    hidden = [
        layer for _ in range(2) for layer in (layers.Dense(16), layers.BatchNormalization(momentum=0.9), layers.ReLU())
    ]
    generator = keras.Sequential([keras.Input((8,)), *hidden, layers.Dense(2)])
    gan = GAN(generator, models.mlp_discriminator((2,), (32,), 0.0), latent_dim=8, seed=0, average=average)
    gan.compile(keras.optimizers.Adam(2e-3, beta_1=0.5), keras.optimizers.Adam(2e-3, beta_1=0.5))
    points = data.gaussian_mixture(64 * 50, data.ring_centers(8, 2.0), std=0.1)
    gan.fit(data.batches(points, 64), epochs=8, verbose=0)
    return gan


def recomputed(network, latents):
    """What the layers of batch normalisation see when many latents pass in training mode, as one batch."""
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    copy.trainable = True  # else batch normalisation is in inference mode whatever it is told
    for layer in copy.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    copy(latents, training=True)
    return statistics(copy)


def apart(ours, theirs):
    """In standard deviations, and in shares of the variance: the largest of each."""
    means = [
        np.abs(mean - other) / np.sqrt(variance) for (mean, _), (other, variance) in zip(ours, theirs, strict=True)
    ]
    shares = [np.abs(spread / other - 1.0) for (_, spread), (_, other) in zip(ours, theirs, strict=True)]
    return float(np.max(np.concatenate(means))), float(np.max(np.concatenate(shares)))


def test_the_averaged_statistics_are_those_that_the_averaged_weights_have():
    """Many latents through the mean in training mode give its own means and variances, up to chance and curvature.

    Chance: a mean of statistics of 64 samples over about (1 + 0.99)/(1 − 0.99) = 199 steps is off by 1/√(64·199) =
    0.009 standard deviations, the largest of 32 by 0.03. Curvature: variances are squares of weights, and the mean of
    squares of weights that moved exceeds the square of their mean, by 15 to 18 % with three seeds. The generator's last
    statistics, in place of averaged ones, are off by 0.15 to 0.23 standard deviations and by 23 to 36 %.
    """
    gan = toy()
    truth = recomputed(gan.mean_generator, gan.latent(20_000, seed=1))
    averaged, last = apart(statistics(gan.mean_generator), truth), apart(statistics(gan.generator), truth)
    assert averaged[0] < 0.06
    assert averaged[1] < 0.25
    assert averaged[0] < 0.5 * last[0]
    assert averaged[1] < last[1]


def test_the_mean_begins_with_the_weights_that_the_generator_has_when_fit_begins():
    gan = GAN(models.mlp_generator(2, (3,), (4,), None), models.mlp_discriminator((3,), (4,)), 2, average=0.9)
    gan.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
    gan.generator.set_weights([np.full_like(weight, 0.5) for weight in gan.generator.get_weights()])
    gan.fit(tf.data.Dataset.from_tensors(np.zeros((4, 3), np.float32)), verbose=0)
    for weight in gan.mean_generator.get_weights():
        np.testing.assert_allclose(weight, 0.5, atol=1e-6)
