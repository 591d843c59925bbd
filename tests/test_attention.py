import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_utils import penalties
from gan_utils.attention import SelfAttention
from gan_utils.layers import SpectralNormalization


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def built(shape=(4, 6, 16), gamma=0.5, **kwargs):
    keras.utils.set_random_seed(1)
    layer = SelfAttention(**kwargs)
    layer.build((None, *shape))
    layer.gamma.assign(gamma)
    return layer, drawn(3, *shape)


def test_at_first_nothing_changes_and_only_gamma_learns():
    layer, images = built(gamma=0.0)
    with tf.GradientTape() as tape:
        output = layer(images)
        value = tf.reduce_sum(output**2)
    np.testing.assert_array_equal(output, images)
    variables = layer.trainable_variables
    moved = [
        variable.name
        for variable, gradient in zip(variables, tape.gradient(value, variables), strict=True)
        if np.any(np.abs(gradient) > 0)
    ]
    assert moved == ["gamma"]
    assert len(variables) == 5


def test_two_positions_by_hand():
    # x = (a, 0, …) at the left and (b, 0, …) at the right; f and g read channel 0, so logits are products of a and b.
    layer, _ = built((1, 2, 8), gamma=2.0)
    layer.f.kernel.assign(one(layer.f, 0, 0))
    layer.g.kernel.assign(one(layer.g, 0, 0))
    layer.h.kernel.assign(one(layer.h, 0, 1))  # channel 0 is what is seen
    layer.v.kernel.assign(one(layer.v, 1, 5))  # and it is drawn in channel 5
    a, b = np.log(2.0), 1.0
    images = np.zeros((1, 1, 2, 8), "float32")
    images[0, 0, :, 0] = a, b
    left, right = (np.exp([query * a, query * b]) for query in (a, b))
    left, right = left / left.sum(), right / right.sum()
    np.testing.assert_allclose(layer.attention(images)[0], [left, right], rtol=1e-6)
    np.testing.assert_allclose(right[0], 2 / (2 + np.e), rtol=1e-6)
    expected = images.copy()
    expected[0, 0, :, 5] = 2.0 * (left @ [a, b]), 2.0 * (right @ [a, b])
    np.testing.assert_allclose(layer(images), expected, rtol=1e-6)


def one(layer, channel, output):
    """A kernel that copies one channel to one output."""
    kernel = np.zeros(layer.kernel.shape)
    kernel[0, 0, channel, output] = 1.0
    return kernel


@pytest.mark.parametrize("pooled", [False, True])
def test_it_is_what_the_definition_says(pooled):
    layer, images = built(pooled=pooled)
    f, g, h, v = (part.kernel.numpy()[0, 0].astype("float64") for part in (layer.f, layer.g, layer.h, layer.v))

    def rows(maps):
        return maps.reshape(3, -1, maps.shape[-1])

    def keys(maps):
        return maps.reshape(3, 2, 2, 3, 2, maps.shape[-1]).max(axis=(2, 4)) if pooled else maps

    logits = np.einsum("bjc,bic->bji", rows(images @ g), rows(keys(images @ f)))
    beta = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = images + 0.5 * (beta @ rows(keys(images @ h)) @ v).reshape(images.shape)
    np.testing.assert_allclose(layer.attention(images), beta, rtol=1e-4)
    np.testing.assert_allclose(layer(images), expected, rtol=1e-4, atol=1e-5)
    assert [part.shape for part in (f, g, h, v)] == [(16, 2), (16, 2), (16, 8), (8, 16)]


def test_it_does_not_care_where_positions_are():
    layer, images = built()
    order = np.random.default_rng(2).permutation(24)

    def shuffled(maps):
        return np.reshape(maps, (3, 24, 16))[:, order].reshape(images.shape)

    np.testing.assert_allclose(layer(shuffled(images)), shuffled(layer(images)), atol=1e-5)


def test_its_convolutions_can_have_a_spectral_norm():
    layer, images = built(spectral=True)
    assert all(isinstance(part, SpectralNormalization) for part in (layer.f, layer.g, layer.h, layer.v))
    for _ in range(60):
        layer(images, training=True)
    plain, _ = built()
    for ours, theirs in ((plain.f, layer.f), (plain.g, layer.g), (plain.h, layer.h), (plain.v, layer.v)):
        kernel = theirs.layer.kernel.numpy()
        ours.kernel.assign(kernel / np.linalg.svd(kernel[0, 0], compute_uv=False)[0])
    np.testing.assert_allclose(layer(images), plain(images), atol=1e-4)
    u = layer.f.u.numpy()
    layer(images)
    np.testing.assert_array_equal(layer.f.u, u)


@pytest.mark.parametrize("jit", [False, True])
def test_it_runs_in_a_graph_and_under_a_penalty(jit):
    layer, images = built()

    def slope():
        return penalties.r1()(lambda x: tf.reduce_sum(layer(x) ** 2, axis=(1, 2, 3))[:, None], images, images)

    assert float(tf.function(slope, jit_compile=jit)()) == pytest.approx(float(slope()), rel=1e-4)


@pytest.mark.parametrize("settings", [{}, {"pooled": True, "spectral": True}])
def test_it_survives_a_file_and_a_clone(tmp_path, settings):
    layer, images = built(**settings)
    network = keras.Sequential([keras.Input((4, 6, 16)), layer, keras.layers.Flatten(), keras.layers.Dense(1)])
    network(images, training=True)
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    clone = keras.models.clone_model(network)
    clone.set_weights(network.get_weights())
    for copy in (again, clone):
        np.testing.assert_array_equal(copy(images), network(images))
        np.testing.assert_array_equal(copy.layers[0].attention(images), layer.attention(images))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_in_half_precision_the_map_is_in_float32(policy):
    layer, images = built(dtype=policy)
    half = tf.cast(images, layer.compute_dtype)
    assert layer(half).dtype == layer.compute_dtype
    assert layer.attention(half).dtype == "float32"
    np.testing.assert_allclose(tf.reduce_sum(layer.attention(half), -1), np.ones((3, 24)), rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "settings", "words"),
    [
        ((None, 16), {}, r"Got the input shape \(None, 16\), expected \(batch, height, width, channels\)"),
        ((None, 4, 4, 7), {}, "with at least 8 channels"),
        ((None, None, 4, 8), {}, "known, with at least 8 channels"),
        ((None, 7, 4, 8), {"pooled": True}, "Got 7×4 positions to pool 2×2, expected even sides, or pooled=False"),
    ],
)
def test_what_it_cannot_look_at_is_refused(shape, settings, words):
    with pytest.raises(ValueError, match=words):
        SelfAttention(**settings).build(shape)
