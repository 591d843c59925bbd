"""Layers and packing by which D judges samples together, against numbers worked out by hand."""

import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from gan_utils import GAN, diversity, losses, models, penalties

SAMPLES = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
IMAGES = np.random.default_rng(1).normal(size=(8, 2, 3, 2)).astype(np.float32)


def discriminates(kernels=4, dimensions=2, samples=SAMPLES):
    keras.utils.set_random_seed(0)
    layer = diversity.MinibatchDiscrimination(kernels, dimensions)
    layer.build((None, samples.shape[1]))
    return layer


# Minibatch discrimination


def test_the_likeness_of_samples_by_hand():
    """T: row 0 is (x₁, x₂), row 1 is (2·x₁, 0). Samples (0, 0), (0, log 2), (log 3, 0)."""
    layer = discriminates(2, 2, np.zeros((1, 2)))
    layer.kernel.assign([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])
    layer.offset.assign([0.0, 10.0])
    samples = np.array([[0.0, 0.0], [0.0, math.log(2)], [math.log(3), 0.0]], np.float32)
    # ‖·‖₁ in row 0: log 2, log 3, log 6; in row 1: 0, 2 log 3, 2 log 3
    added = [[1 / 2 + 1 / 3, 1 + 1 / 9 + 10], [1 / 2 + 1 / 6, 1 + 1 / 9 + 10], [1 / 3 + 1 / 6, 2 / 9 + 10]]
    output = layer(samples)
    np.testing.assert_array_equal(output[:, :2], samples)
    np.testing.assert_allclose(output[:, 2:], added, rtol=1e-5)


def test_the_likeness_is_that_of_loops():
    layer = discriminates()
    rows = np.einsum("na,abc->nbc", SAMPLES, layer.kernel.numpy())
    expected = [
        [sum(math.exp(-np.abs(rows[i, b] - rows[j, b]).sum()) for j in range(8) if j != i) for b in range(4)]
        for i in range(8)
    ]
    np.testing.assert_allclose(layer(SAMPLES)[:, 3:], expected, rtol=1e-5)


def test_a_collapsed_batch_is_as_alike_as_can_be():
    added = discriminates()(np.repeat(SAMPLES[:1], 5, axis=0))[:, 3:]
    np.testing.assert_array_equal(added, np.full((5, 4), 4.0))


def test_one_sample_has_no_others():
    np.testing.assert_array_equal(discriminates()(SAMPLES[:1])[:, 3:], np.zeros((1, 4)))


def test_adapting_sets_the_scale_and_the_offset():
    far = 1000.0 * SAMPLES
    layer = discriminates()
    assert np.abs(layer(far)[:, 3:]).max() < 1e-6  # all are infinitely far: nothing to see, nothing to learn
    before = layer.kernel.numpy()
    layer.adapt(far)
    ratio = layer.kernel.numpy() / before
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:1, :, :1], ratio.shape), rtol=1e-5)  # one scale a row
    distances = np.abs(
        np.einsum("ia,abc->ibc", far, layer.kernel)[:, None] - np.einsum("ja,abc->jbc", far, layer.kernel)
    )
    distances = distances.sum(axis=3) + np.where(np.eye(8), np.inf, 0.0)[:, :, None]
    np.testing.assert_allclose(distances.min(axis=1).mean(axis=0), 2.0, rtol=1e-4)
    added = layer(far).numpy()[:, 3:]
    np.testing.assert_allclose(added.mean(axis=0), 0.0, atol=1e-5)
    assert added.std(axis=0).min() > 1e-3


def test_a_layer_that_is_not_built_adapts_too():
    layer = diversity.MinibatchDiscrimination(4, 2)
    layer.adapt(SAMPLES)
    np.testing.assert_allclose(layer(SAMPLES).numpy()[:, 3:].mean(axis=0), 0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (SAMPLES[:1], r"Got features of shape \(1, 3\), expected at least two"),
        (SAMPLES[0], r"Got features of shape \(3,\)"),
        (np.repeat(SAMPLES[:2], 2, axis=0), "each has its like, expected a batch of different ones"),
    ],
    ids=["one", "no batch", "twins"],
)
def test_features_that_tell_no_scale_are_refused(features, message):
    layer = discriminates()
    before = layer.kernel.numpy()
    with pytest.raises(ValueError, match=message):
        layer.adapt(features)
    np.testing.assert_array_equal(layer.kernel, before)


# The standard deviation of a batch


def by_loops(samples, size):
    """The number that each sample is given."""
    groups = max(len(samples) // size, 1)
    given = np.empty(len(samples))
    for group in range(groups):
        members = samples[group::groups].astype(np.float64)
        given[group::groups] = np.sqrt(members.var(axis=0) + 1e-8).mean()
    return given


@pytest.mark.parametrize("samples", [SAMPLES, IMAGES], ids=["vectors", "images"])
@pytest.mark.parametrize(("size", "count"), [(4, 8), (2, 8), (8, 8), (4, 7), (4, 6), (4, 3), (3, 8), (4, 1)])
def test_the_deviation_within_groups(samples, size, count):
    samples = samples[:count]
    output = diversity.MinibatchStandardDeviation(size)(samples).numpy()
    np.testing.assert_array_equal(output[..., :-1], samples)
    expected = by_loops(samples, size).reshape(-1, *[1] * (samples.ndim - 1))
    np.testing.assert_allclose(output[..., -1:], np.broadcast_to(expected, output[..., -1:].shape), rtol=1e-5)


def test_groups_are_those_of_the_authors_code():
    """Which reshapes to (4, batch/4, …): groups of samples that lie batch/4 apart."""
    grouped = IMAGES.reshape(4, 2, 2, 3, 2).astype(np.float64)
    spread = np.sqrt(grouped.var(axis=0) + 1e-8).mean(axis=(1, 2, 3))
    output = diversity.MinibatchStandardDeviation()(IMAGES).numpy()
    np.testing.assert_allclose(output[:, 0, 0, -1], np.tile(spread, 4), rtol=1e-5)


def test_by_default_a_batch_may_be_one_group():
    output = diversity.MinibatchStandardDeviation(None)(SAMPLES).numpy()[:, -1]
    np.testing.assert_allclose(output, SAMPLES.std(axis=0).mean(), rtol=1e-5)


def test_a_collapsed_batch_has_the_root_of_epsilon():
    output = diversity.MinibatchStandardDeviation(epsilon=1e-4)(np.ones((8, 3), np.float32))
    np.testing.assert_allclose(output[:, -1], 0.01, rtol=1e-5)


# Packing


def test_packs_hold_samples_that_follow_one_another():
    images = np.arange(24, dtype=np.float32).reshape(6, 2, 1, 2)
    packed = diversity.Pack(3)(images).numpy()
    assert packed.shape == (2, 2, 1, 6)
    np.testing.assert_array_equal(packed[1, ..., 2:4], images[4])
    np.testing.assert_array_equal(packed, np.concatenate([images[0::3], images[1::3], images[2::3]], axis=-1))


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (5, 2, [[0, 1], [2, 3], [4, 0]]),
        (5, 4, [[0, 1, 2, 3], [4, 0, 1, 2]]),
        (1, 3, [[0, 0, 0]]),
        (3, 1, [[0], [1], [2]]),
    ],
)
def test_a_last_batch_is_filled_up(count, size, expected):
    samples = np.arange(count, dtype=np.float32)[:, np.newaxis]
    for pack in (diversity.Pack(size), tf.function(diversity.Pack(size))):
        np.testing.assert_array_equal(pack(samples), expected)


def linear(size):
    """A packed D: the sum of what it reads, each with a weight of its own."""
    network = keras.Sequential([keras.Input((3 * size,)), layers.Dense(1)])
    network.set_weights([np.linspace(-1.0, 1.0, 3 * size)[:, np.newaxis], np.array([0.5])])
    return diversity.packed(network, size), network


def test_a_packed_discriminator_answers_once_for_a_pack():
    discriminator, network = linear(2)
    assert discriminator.input_shape == (None, 3)
    assert discriminator.output_shape == (None, 1)
    np.testing.assert_allclose(discriminator(SAMPLES), network(SAMPLES.reshape(4, 6)), rtol=1e-6)
    assert {id(weight) for weight in discriminator.weights} == {id(weight) for weight in network.weights}


def test_packed_by_one_it_is_the_plain_game():
    gans = []
    for pack in (False, True):
        keras.utils.set_random_seed(0)
        generator, plain = models.mlp_generator(2, (3,), (4,), None), models.mlp_discriminator((3,), (4,), 0.0)
        gan = GAN(generator, diversity.packed(plain, 1) if pack else plain, latent_dim=2, seed=0)
        gan.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), penalty=penalties.r1(1.0))
        gan.fit(tf.data.Dataset.from_tensors(SAMPLES).repeat(3), verbose=0)
        gans.append(gan)
    for weight, other in zip(*(gan.get_weights() for gan in gans), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("objective", [losses.minimax(), losses.relativistic()], ids=["minimax", "relativistic"])
def test_a_packed_game_trains_to_the_weights_of_one_by_hand(objective):
    """One step of plain descent for each player, with pairs made by reshaping."""
    discriminator, _ = linear(2)
    keras.utils.set_random_seed(0)
    gan = GAN(models.mlp_generator(2, (3,), (4,), None), discriminator, latent_dim=2, seed=3)
    gan.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), objective)
    keras.utils.set_random_seed(0)
    generator, network = models.mlp_generator(2, (3,), (4,), None), linear(2)[1]
    noise = keras.random.SeedGenerator(3)

    def pairs():
        return tf.reshape(generator(keras.random.normal((8, 2), seed=noise)), (4, 6))

    real = tf.constant(SAMPLES.reshape(4, 6))
    for player, name in ((network, "discriminator"), (generator, "generator")):
        with tf.GradientTape() as tape:
            told = network(pairs()), network(real)
            loss = objective.discriminator(*told[::-1])
            if name == "generator":
                loss = objective.generator(*told) if objective.paired else objective.generator(told[0])
        slopes = tape.gradient(loss, player.trainable_variables)
        for weight, slope in zip(player.trainable_variables, slopes, strict=True):
            weight.assign(weight - 0.1 * slope)
    gan.fit(tf.data.Dataset.from_tensors(SAMPLES), verbose=0)
    for ours, by_hand in ((gan.discriminator, network), (gan.generator, generator)):
        for weight, expected in zip(ours.weights, by_hand.weights, strict=True):
            np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


def test_the_width_of_a_batch_that_is_packed_need_not_divide():
    gan = GAN(models.mlp_generator(2, (3,), (4,), None), linear(4)[0], latent_dim=2)
    gan.compile(keras.optimizers.SGD(), keras.optimizers.SGD())
    history = gan.fit(tf.data.Dataset.from_tensor_slices(SAMPLES).batch(5), verbose=0)  # 5 and 3
    assert np.isfinite(history.history["d_loss"]).all()


# What all have

MADE = {
    "minibatch discrimination": (discriminates, SAMPLES),
    "deviation": (lambda: diversity.MinibatchStandardDeviation(4), IMAGES),
    "deviation of the batch": (lambda: diversity.MinibatchStandardDeviation(None), SAMPLES),
}
made = pytest.mark.parametrize(("make", "samples"), MADE.values(), ids=MADE)


@made
def test_samples_that_change_places_take_their_features_along(make, samples):
    """Within a group of the standard deviation: samples 0, 2, 4, 6 and 1, 3, 5, 7."""
    order = np.array([6, 3, 0, 5, 2, 7, 4, 1])
    layer = make()
    np.testing.assert_allclose(layer(samples[order]), layer(samples).numpy()[order], rtol=1e-5, atol=1e-6)


@made
def test_the_slope_is_finite_where_all_samples_are_the_same(make, samples):
    layer, alike = make(), tf.constant(np.repeat(samples[:1], 8, axis=0))
    with tf.GradientTape() as outer, tf.GradientTape() as tape:
        for each in (tape, outer):
            each.watch(alike)
        value = tf.reduce_sum(layer(alike) ** 2)
        slope = tape.gradient(value, alike)
        steepness = tf.reduce_sum(slope**2)
    assert np.isfinite(slope).all()
    assert np.isfinite(outer.gradient(steepness, alike)).all()


@made
def test_the_slope_agrees_with_finite_differences(make, samples):
    layer = make()
    direction = np.random.default_rng(2).normal(size=samples.shape).astype(np.float32)
    factors = np.random.default_rng(3).normal(size=layer(samples).shape).astype(np.float32)
    value = lambda x: tf.reduce_sum(layer(x) * factors)  # noqa: E731
    x = tf.constant(samples)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = value(x)
    slope = float(tf.reduce_sum(tape.gradient(total, x) * direction))
    higher, lower = (float(value(x + sign * 1e-3 * direction)) for sign in (1.0, -1.0))
    assert slope == pytest.approx((higher - lower) / 2e-3, rel=2e-2, abs=2e-2)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
@made
def test_a_graph_computes_the_same(make, samples, jit_compile):
    layer = make()
    np.testing.assert_allclose(
        tf.function(layer, jit_compile=jit_compile)(samples), layer(samples), rtol=1e-5, atol=1e-6
    )


def test_a_discriminator_with_all_of_them_is_saved_trained_and_loaded(tmp_path):
    keras.utils.set_random_seed(0)
    critic = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, "relu"),
            diversity.MinibatchStandardDeviation(2),
            diversity.MinibatchDiscrimination(3, 2),
            layers.Dense(1),
        ]
    )
    critic.layers[2].adapt(SAMPLES[:, :1] * np.ones(5, np.float32))
    gan = GAN(models.mlp_generator(2, (3,), (4,), None), diversity.packed(critic, 2), latent_dim=2)
    gan.compile(keras.optimizers.Adam(), keras.optimizers.Adam())
    before = gan.discriminator(SAMPLES).numpy()
    gan.fit(tf.data.Dataset.from_tensors(SAMPLES), verbose=0)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    np.testing.assert_array_equal(loaded.discriminator(SAMPLES), gan.discriminator(SAMPLES))
    assert np.abs(loaded.discriminator(SAMPLES) - before).max() > 1e-6
    pack, network = loaded.discriminator.layers[1:]
    assert pack.size == 2
    assert network.layers[1].get_config()["group_size"] == 2
    assert (network.layers[2].kernels, network.layers[2].dimensions) == (3, 2)


@pytest.fixture
def half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


@made
def test_in_half_precision_the_statistics_are_not(half_precision, make, samples):
    layer = make()
    exact = type(layer).from_config({**layer.get_config(), "dtype": "float32"})
    rounded = np.asarray(tf.cast(tf.cast(samples, tf.bfloat16), tf.float32))
    exact.build(samples.shape)
    exact.set_weights(layer.get_weights())
    output = layer(samples)
    assert output.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(output, tf.float32), exact(rounded), rtol=1e-2, atol=1e-6)


# Refusals

LABELLED = keras.Model(
    [samples := keras.Input((4,)), labels := keras.Input((2,))],
    layers.Dense(1)(layers.Concatenate()([samples, labels])),
)
REFUSED = {
    "no kernels": (lambda: diversity.MinibatchDiscrimination(0), "kernels=0 and dimensions=5, expected whole numbers"),
    "half a dimension": (lambda: diversity.MinibatchDiscrimination(3, 2.5), "dimensions=2.5, expected whole numbers"),
    "discrimination of images": (
        lambda: diversity.MinibatchDiscrimination(3)(IMAGES),
        "Got the input shape (8, 2, 3, 2), expected (batch, features). Put a Flatten before it.",
    ),
    "a group of one": (lambda: diversity.MinibatchStandardDeviation(1), "group_size=1 and epsilon=1e-08, expected"),
    "no epsilon": (lambda: diversity.MinibatchStandardDeviation(epsilon=0), "epsilon=0, expected"),
    "channels that nobody knows": (
        lambda: diversity.MinibatchStandardDeviation()(keras.Input((None, None, 2))),
        "Got the input shape (None, None, None, 2), expected (batch, …, channels) with known sizes",
    ),
    "a pack of none": (lambda: diversity.Pack(0), "Got size=0, expected how many samples D judges at once"),
    "a pack of none for a network": (lambda: diversity.packed(linear(2)[1], 0), "Got size=0, expected how many"),
    "channels that the pack does not divide": (
        lambda: diversity.packed(linear(2)[1], 4),
        "Got size=4 and a network that reads [(None, 6)], expected samples alone, with 4 times as many channels",
    ),
    "a network that reads labels": (
        lambda: diversity.packed(LABELLED, 2),
        "Got size=2 and a network that reads [(None, 4), (None, 2)], expected samples alone",
    ),
    "no network": (lambda: diversity.packed("D", 2), "Got a str as network, expected a keras.Model"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_cannot_work_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        make()
