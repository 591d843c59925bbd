import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_utils import autoregressive

NETWORKS = {
    "pixel_cnn": lambda: autoregressive.pixel_cnn(filters=4, blocks=2),
    "gated_pixel_cnn": lambda: autoregressive.gated_pixel_cnn(filters=4, blocks=2),
    "row_lstm": lambda: autoregressive.row_lstm(units=4, blocks=2),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return shaken(NETWORKS[request.param]())


def shaken(network, seed=0):
    """A network with larger weights than it begins with, so that its pixels are far from independent."""
    random = np.random.default_rng(seed)
    for variable in network.trainable_variables:
        variable.assign(random.normal(scale=0.4, size=variable.shape))
    return network


def seen(network, height, width, pixels):
    """Which pixels bear on the logit of each of some pixels, by its gradient: (pixels, height, width) of bool."""
    images = tf.constant(np.random.default_rng(1).normal(size=(4, height, width, 1)).astype("float32"))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        logits = network(images)[..., 0]
        chosen = [tf.reduce_sum(logits[:, row, column]) for row, column in pixels]
    return np.array([(tape.gradient(logit, images).numpy()[..., 0] != 0).any(axis=0) for logit in chosen])


def all_images(height, width):
    """(2^(height · width), height, width, 1)."""
    return np.array([*itertools.product((0.0, 1.0), repeat=height * width)], "float32").reshape(-1, height, width, 1)


# --- Masks and layers ---


def test_masks_by_hand():
    np.testing.assert_array_equal(autoregressive.causal_mask((3, 3), "A"), [[1, 1, 1], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(autoregressive.causal_mask((3, 3), "B"), [[1, 1, 1], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(autoregressive.causal_mask((3, 3), "vertical"), [[1, 1, 1], [1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(autoregressive.causal_mask((1, 5), "A"), [[1, 1, 0, 0, 0]])
    np.testing.assert_array_equal(autoregressive.causal_mask((1, 1), "B"), [[1]])


def test_a_masked_convolution_is_one_with_a_masked_kernel():
    images = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype("float32")
    for size, mask in itertools.product((3, (1, 5), (5, 3)), autoregressive.MASKS):
        layer = shaken(keras.Sequential([keras.Input((6, 5, 3)), autoregressive.MaskedConv2D(2, size, mask)])).layers[0]
        kernel = layer.kernel.numpy()
        kept = autoregressive.causal_mask(layer.kernel_size, mask)[:, :, np.newaxis, np.newaxis]
        expected = tf.nn.conv2d(images, kernel * kept, 1, "SAME") + layer.bias
        np.testing.assert_allclose(layer(images), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(layer.kernel, kernel)
        assert len(layer.weights) == 2


def test_a_row_of_the_lstm_by_hand():
    layer = autoregressive.RowLSTM(1, kernel_size=1)
    inputs = np.array([2.0, -1.0], "float32").reshape(1, 2, 1, 1)  # two rows of one pixel
    layer.build(inputs.shape)
    into, between = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, -0.6, 0.7, -0.8])  # of o, f, i, g
    bias = np.array([0.01, 0.02, 0.03, 0.04])
    layer.input_to_state.kernel.assign(into.reshape(1, 1, 1, 4))
    layer.input_to_state.bias.assign(bias)
    layer.state_to_state.kernel.assign(between.reshape(1, 1, 4))

    def sigmoid(x):
        return 1.0 / (1.0 + np.exp(-x))

    hidden, cell, expected = 0.0, 0.0, []
    for pixel in (2.0, -1.0):
        o, f, i, g = into * pixel + bias + between * hidden
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        expected.append(hidden)
    np.testing.assert_allclose(layer(inputs).numpy().ravel(), expected, rtol=1e-5)


# --- Who sees whom ---


def test_a_logit_depends_on_no_pixel_from_its_own_on(network):
    pixels = [*itertools.product(range(5), range(6))]
    for index, found in enumerate(seen(network, 5, 6, pixels)):
        found = found.ravel()
        assert not found[index:].any()
        assert not index % 6 or found[index - 1]
        assert index < 6 or found[index - 6]


@pytest.mark.parametrize("mask", ["A", "B"])
def test_a_recurrent_layer_sees_a_triangle_and_its_own_pixel_by_mask_b_only(mask):
    layer = shaken(keras.Sequential([keras.Input((None, None, 1)), autoregressive.RowLSTM(3, 3, mask)]))
    (found,) = seen(layer, 4, 9, [(3, 4)])
    assert found[3].nonzero()[0].tolist() == ([3] if mask == "A" else [3, 4])
    for above in (1, 2, 3):
        last = 4 + above - (mask == "A")
        assert found[3 - above].nonzero()[0].tolist() == [*range(4 - above - 1, last + 1)]


def test_stacked_masks_have_a_blind_spot_and_the_gated_form_has_none():
    pixel = (3, 4)
    earlier = np.arange(4 * 11).reshape(4, 11) < 3 * 11 + 4
    (stacked,) = seen(shaken(autoregressive.pixel_cnn(4, 7)), 4, 11, [pixel])
    (gated,) = seen(shaken(autoregressive.gated_pixel_cnn(4, 7)), 4, 11, [pixel])
    np.testing.assert_array_equal(gated, earlier)
    blind = earlier & ~stacked
    # In the row above, a 7×7 mask sees three to the right, and no deeper layer moves to the right within a row.
    np.testing.assert_array_equal(np.argwhere(blind[2])[:, 0], [8, 9, 10])
    assert blind.sum(axis=1)[2] >= blind.sum(axis=1)[1] >= blind.sum(axis=1)[0] > 0


# --- Likelihoods ---


def test_log_probability_by_hand():
    pixels, logits = np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[0.3, -2.0], [50.0, -800.0]])
    p = 1.0 / (1.0 + np.exp(-logits[0]))
    np.testing.assert_allclose(
        autoregressive.log_probability(pixels, logits), [np.log(p[0] * (1 - p[1])), -800.0], rtol=1e-6
    )


def test_probabilities_of_all_images_sum_to_one(network):
    found = autoregressive.log_likelihood(network, all_images(2, 3))
    assert found.shape == (64,)
    assert found.dtype == np.float64
    assert np.ptp(found) > 1.0
    assert np.exp(found).sum() == pytest.approx(1.0, abs=1e-5)


def test_likelihoods_do_not_depend_on_the_batches(network):
    images = all_images(2, 3)[:10]
    np.testing.assert_allclose(
        autoregressive.log_likelihood(network, images),
        autoregressive.log_likelihood(network, images, batch_size=3),
        rtol=1e-5,
    )


def test_a_network_survives_a_file(network, tmp_path):
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    images = all_images(3, 4)[::100]
    np.testing.assert_array_equal(loaded(images), network(images))


def test_in_mixed_precision_logits_are_float32():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        networks = [make() for make in NETWORKS.values()]
    finally:
        keras.config.set_dtype_policy(before)
    for network in networks:
        assert network(np.zeros((1, 4, 4, 1))).dtype == "float32"


# --- Draws ---


def frequencies(images):
    """How often each image of four pixels occurs, in the order of `all_images`."""
    return np.bincount((images.reshape(-1, 4) @ [8, 4, 2, 1]).astype(int), minlength=16)


def test_draws_have_the_frequencies_of_their_probabilities(network):
    count = 4000
    expected = count * np.exp(autoregressive.log_likelihood(network, all_images(2, 2)))
    found = frequencies(autoregressive.draw(network, count, seed=1, image_size=(2, 2), batch_size=count))
    assert ((found - expected) ** 2 / expected).sum() < 37.7  # 15 degrees of freedom: exceeded once in a thousand


def test_known_pixels_stay_and_the_others_follow_them(network):
    count = 4000
    known = np.full((count, 2, 2, 1), np.nan, "float32")
    known[:, 0, :, 0] = 1.0, 0.0
    images = autoregressive.draw(network, count, seed=1, known=known, batch_size=count)
    np.testing.assert_array_equal(images[:, 0], known[:, 0])
    joint = np.exp(autoregressive.log_likelihood(network, all_images(2, 2)))[8:12]  # 1 0 and each lower row
    expected = count * joint / joint.sum()
    assert ((frequencies(images)[8:12] - expected) ** 2 / expected).sum() < 16.3  # 3 degrees of freedom


def test_a_seed_gives_the_same_images_whatever_the_batches():
    network = shaken(NETWORKS["pixel_cnn"]())
    images = autoregressive.draw(network, 5, seed=3, image_size=(3, 4))
    assert set(np.unique(images)) <= {0.0, 1.0}
    assert images.shape == (5, 3, 4, 1)
    np.testing.assert_array_equal(images, autoregressive.draw(network, 5, seed=3, image_size=(3, 4), batch_size=2))
    assert (images != autoregressive.draw(network, 5, seed=4, image_size=(3, 4))).any()
    np.testing.assert_array_equal(images, autoregressive.draw(network, 5, known=images))  # nothing left to draw


# --- Refusals ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: autoregressive.MaskedConv2D(1, 3, "C"), "Got mask='C', expected one of A, B, vertical"),
        (lambda: autoregressive.MaskedConv2D(1, 4), r"Got kernel_size=\(4, 4\), expected two odd numbers"),
        (lambda: autoregressive.MaskedConv2D(1, 3, padding="valid"), "Got padding='valid'.*expected 'same' and 1"),
        (lambda: autoregressive.MaskedConv2D(1, 3, strides=2), r"strides=\(2, 2\), expected 'same' and 1"),
        (lambda: autoregressive.RowLSTM(0), "Got units=0, expected a whole number of at least 1"),
        (lambda: autoregressive.RowLSTM(4, 2), "expected two odd numbers"),
        (lambda: autoregressive.pixel_cnn(filters=0), "Got filters=0, expected a whole number"),
        (lambda: autoregressive.gated_pixel_cnn(blocks=1.5), "Got blocks=1.5, expected a whole number"),
        (lambda: autoregressive.row_lstm(units=True), "Got units=True, expected a whole number"),
    ],
)
def test_an_impossible_network_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "Got count=0, expected a whole number"),
        ({"seed": -1}, "Got seed=-1, expected a whole number of at least 0"),
        ({"image_size": (0, 3)}, "Got height=0"),
        ({"batch_size": 0}, "Got batch_size=0"),
        ({"known": np.zeros((2, 2, 2))}, r"Got known of shape \(2, 2, 2\), expected \(images, height, width, 1\)"),
        ({"known": np.zeros((3, 2, 2, 1))}, "Got 3 images in known, expected count=2"),
        ({"known": np.full((2, 2, 2, 1), -1)}, "8 pixels in known that are not binary, such as -1, .*and NaN"),
    ],
)
def test_bad_draws_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        autoregressive.draw(NETWORKS["pixel_cnn"](), **{"count": 2, **arguments})


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((2, 4, 4, 1), -1.0), r"Got 32 of 32 pixels in images .* as -1, .*become that by \(images > 0\)"),
        (np.full((2, 4, 4, 1), 0.5), "that are not binary, such as 0.5, expected 0 and 1 only"),
        (np.full((2, 4, 4, 1), np.nan), "expected 0 and 1 only"),
        (np.zeros((4, 4, 1)), r"Got images of shape \(4, 4, 1\)"),
        (np.zeros((2, 4, 4, 3)), r"Got images of shape \(2, 4, 4, 3\)"),
        (np.zeros((0, 4, 4, 1)), r"Got images of shape \(0, 4, 4, 1\)"),
    ],
)
def test_images_that_are_not_binary_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        autoregressive.log_likelihood(NETWORKS["pixel_cnn"](), images)
