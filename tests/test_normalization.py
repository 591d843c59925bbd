import keras
import numpy as np
import pytest
import tensorflow as tf

import gan_utils
from gan_utils import data, models, normalization, penalties
from gan_utils.normalization import ReferenceBatch, ReferenceBatchNormalization, VirtualBatchNormalization

KINDS = pytest.mark.parametrize("virtual", [False, True])


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def plain():
    """A small generator with batch normalisation after a dense layer and after a convolution, of settled statistics."""
    keras.utils.set_random_seed(1)
    stack = [
        keras.layers.Dense(2 * 2 * 3, use_bias=False),
        keras.layers.BatchNormalization(epsilon=0.01),
        keras.layers.Reshape((2, 2, 3)),
        keras.layers.Conv2DTranspose(4, 4, 2, "same", use_bias=False),
        keras.layers.BatchNormalization(epsilon=0.02),
        keras.layers.ReLU(),
        keras.layers.Conv2DTranspose(1, 4, 2, "same", activation="tanh"),
    ]
    network = keras.Sequential([keras.Input((5,)), *stack], name="generator")
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(np.linspace(0.5, 1.5, layer.gamma.shape[0]))
            layer.beta.assign(np.linspace(-1.0, 1.0, layer.beta.shape[0]))
    return network


def critic(virtual=True):
    inside = [keras.layers.Conv2D(4, 4, 2, "same"), keras.layers.BatchNormalization(), keras.layers.LeakyReLU(0.2)]
    stack = [*inside, keras.layers.Flatten(), keras.layers.Dense(1)]
    network = keras.Sequential([keras.Input((8, 8, 1)), *stack], name="discriminator")
    return normalization.with_reference(network, drawn(6, 8, 8, 1, seed=5), virtual)


def by_hand(x, reference, virtual, epsilon=1e-5):
    """Sample by sample, in float64: the batch of which the statistics are is written down as such."""
    axes = tuple(range(x.ndim - 1))
    rows = []
    for row in x.astype("float64"):
        batch = reference.astype("float64")
        if virtual:
            batch = np.concatenate([batch, row[np.newaxis]])
        rows.append((row - batch.mean(axes)) / np.sqrt(batch.var(axes) + epsilon))
    return np.array(rows)


# --- The layers ---


@pytest.mark.parametrize("shape", [(3,), (4, 2, 3)])
@pytest.mark.parametrize("kind", [ReferenceBatchNormalization, VirtualBatchNormalization])
def test_samples_are_normalised_by_the_reference_and_virtually_by_themselves_too(kind, shape):
    x, reference = 2.0 + 3.0 * drawn(5, *shape), drawn(7, *shape, seed=1)
    samples, companions = kind(epsilon=0.01)([x, reference])
    virtual = kind is VirtualBatchNormalization
    np.testing.assert_allclose(samples, by_hand(x, reference, virtual, 0.01), rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(companions, by_hand(reference, reference, False, 0.01), rtol=2e-5, atol=1e-5)


def test_virtual_normalisation_by_hand():
    # The reference 1, 3 and the sample 5: m = 3, v = (4 + 0 + 4) / 3. The reference alone: m = 2, v = 1.
    layer = VirtualBatchNormalization(epsilon=1 / 3)
    layer.build([(None, 1), (2, 1)])
    layer.scale.assign([10.0])
    layer.offset.assign([7.0])
    samples, reference = layer([np.array([[5.0]], "float32"), np.array([[1.0], [3.0]], "float32")])
    np.testing.assert_allclose(samples, [[7 + 10 * 2 / 3**0.5]], rtol=1e-6)
    np.testing.assert_allclose(reference, [[7 - 10 * 0.75**0.5], [7 + 10 * 0.75**0.5]], rtol=1e-6)


def test_a_large_mean_does_not_swallow_the_variance():
    x, reference = 1000.0 + 0.1 * drawn(4, 6, 6, 1), 1000.0 + 0.1 * drawn(16, 6, 6, 1, seed=1)
    samples, _ = VirtualBatchNormalization()([x, reference])
    np.testing.assert_allclose(samples, by_hand(x, reference, True), atol=5e-3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_normalised_in_float32(policy):
    layer = VirtualBatchNormalization(dtype=policy)
    x, reference = (tf.cast(400.0 + 100.0 * part, layer.compute_dtype) for part in (drawn(4, 3), drawn(8, 3, seed=1)))
    samples, _ = layer([x, reference])  # squares are beyond float16
    assert samples.dtype == layer.compute_dtype
    expected = by_hand(tf.cast(x, "float32").numpy(), tf.cast(reference, "float32").numpy(), True)
    np.testing.assert_allclose(tf.cast(samples, "float32"), expected, rtol=1e-2, atol=1e-2)


# --- In a network ---


@KINDS
def test_the_reference_passes_through_the_network_layer_by_layer(virtual):
    network, reference, latent = plain(), drawn(6, 5, seed=1), drawn(3, 5, seed=2)
    dense, first, reshape, deconvolution, second, relu, last = network.layers

    def normalised(layer, x, companions):
        scaled = (by_hand(part, companions, own, layer.epsilon) for part, own in ((x, virtual), (companions, False)))
        return [(layer.gamma.numpy() * part + layer.beta.numpy()).astype("float32") for part in scaled]

    x, companions = normalised(first, dense(latent).numpy(), dense(reference).numpy())
    x, companions = (deconvolution(reshape(part)).numpy() for part in (x, companions))
    x, companions = normalised(second, x, companions)
    expected = last(relu(x))
    found = normalization.with_reference(network, reference, virtual)
    np.testing.assert_allclose(found(latent, training=True), expected, atol=1e-5)
    np.testing.assert_array_equal(found(latent, training=True), found(latent, training=False))


@KINDS
def test_a_sample_does_not_move_when_its_companions_change(virtual):
    network = normalization.with_reference(plain(), drawn(6, 5, seed=1), virtual)
    latent, others = drawn(8, 5, seed=2), 100.0 * drawn(8, 5, seed=3)
    others[3] = latent[3]
    for training in (False, True):
        first, second = (network(batch, training=training).numpy() for batch in (latent, others))
        np.testing.assert_array_equal(first[3], second[3])
        assert not np.array_equal(first[2], second[2])
        np.testing.assert_allclose(network(latent[3:4], training=training)[0], first[3], atol=1e-6)


def test_weights_are_kept_and_not_shared():
    network = plain()
    found = normalization.with_reference(network, drawn(6, 5), virtual=True)
    assert found.name == "generator"
    for ours, theirs in zip(found.trainable_variables, network.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        ours.assign(ours + 1.0)
        assert not np.array_equal(ours, theirs)
    [reference] = found.non_trainable_variables
    np.testing.assert_array_equal(reference, drawn(6, 5))


@KINDS
def test_gradients_flow_through_the_reference(virtual):
    network = normalization.with_reference(plain(), drawn(6, 5, seed=1), virtual)
    weights, latent = drawn(3, 8, 8, 1, seed=4), drawn(3, 5, seed=2)
    kernel = network.trainable_variables[0]  # before both normalisations
    direction = drawn(*kernel.shape, seed=6)

    def value():
        return tf.reduce_sum(weights * network(latent, training=True))

    with tf.GradientTape() as tape:
        result = value()
    slope = float(tf.reduce_sum(tape.gradient(result, kernel) * direction))
    start, values = kernel.numpy(), []
    for step in (1e-3, -1e-3):
        kernel.assign(start + step * direction)
        values.append(float(value()))
    assert slope == pytest.approx((values[0] - values[1]) / 2e-3, rel=0.02)


def test_a_critic_may_have_a_penalty():
    network = critic()
    penalties.check_network(network)
    real = tf.constant(drawn(3, 8, 8, 1))
    together = penalties.r1()(network, real, real)
    one_by_one = [float(penalties.r1()(network, real[i : i + 1], real[i : i + 1])) for i in range(3)]
    assert float(together) == pytest.approx(np.mean(one_by_one), rel=1e-4)


def held(network):
    [layer] = [layer for layer in network.layers if isinstance(layer, ReferenceBatch)]
    return layer.reference


def game(virtual=True, **kwargs):
    keras.utils.set_random_seed(3)
    generator = normalization.with_reference(plain(), drawn(6, 5, seed=1), virtual)
    gan = gan_utils.GAN(generator, critic(virtual), latent_dim=5, seed=1, **kwargs)
    gan.compile(*(keras.optimizers.Adam(1e-3) for _ in range(2)))
    return gan


def test_a_gan_trains_saves_and_goes_on(tmp_path):
    gan, images = game(average=0.9), np.tanh(drawn(8, 8, 8, 1))
    gan.fit(data.batches(images, 4), epochs=1, verbose=0)
    latents = drawn(6, 5, seed=1)
    of_d = gan.discriminator, drawn(6, 8, 8, 1, seed=5)
    for network, expected in ((gan.generator, latents), (gan.mean_generator, latents), of_d):
        np.testing.assert_allclose(held(network), expected, rtol=1e-6)  # the mean of equal values is rounded
    gan.save(tmp_path / "gan.keras")
    again = keras.saving.load_model(tmp_path / "gan.keras")
    np.testing.assert_array_equal(again.sample(4, seed=1), gan.sample(4, seed=1))
    assert gan.range_of_images == again.range_of_images == (-1.0, 1.0)
    again.noise.state.assign(gan.noise.state)  # which no file keeps
    for copy in (gan, again):
        copy.fit(data.batches(images, 4), epochs=1, verbose=0)  # a dataset counts its epochs
    for one, other in zip(gan.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_an_interrupted_run_goes_on_from_its_checkpoint(tmp_path):
    def train(name, epochs):
        gan, images = game(), np.tanh(drawn(8, 8, 8, 1))
        if (name, epochs) == ("parts", 2):
            held(gan.generator).assign(np.zeros((6, 5)))  # the file has the right one
        gan.fit(data.batches(images, 4), epochs=epochs, verbose=0, callbacks=[gan_utils.Checkpoint(tmp_path / name)])
        return gan.sample(4, seed=1)

    whole = train("whole", 2)
    train("parts", 1)
    np.testing.assert_allclose(train("parts", 2), whole, atol=1e-6)


# --- What is refused ---


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((None, 3), r"Got the input shape \(None, 3\) and no reference batch, expected two tensors"),
        ([(None, 3)], "no reference batch, expected two tensors, samples and reference"),
        ([(None, 3), (8, 4)], r"Got samples of shape \(None, 3\) and a reference batch of shape \(8, 4\)"),
        ([(None, 3), (8, 3, 3)], "and the same but for the batch"),
        ([(None, 3), (1, 3)], r"reference batch of shape \(1, 3\), expected at least 2 samples"),
        ([(None, 3), (None, 3)], "expected at least 2 samples, a known number"),
        ([(None, 4, None), (8, 4, None)], "with known channels"),
    ],
)
def test_what_a_layer_cannot_normalise_is_refused(shape, words):
    for kind in (ReferenceBatchNormalization, VirtualBatchNormalization):
        with pytest.raises(ValueError, match=words):
            kind().build(shape)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (np.zeros((1, 5)), r"Got a reference batch of shape \(1, 5\), expected at least 2 samples"),
        (np.zeros(5), r"Got a reference batch of shape \(5,\), expected at least 2 samples"),
        (np.zeros((8, 4)), r"Got a reference batch of shape \(8, 4\), expected \(n, 5\): samples such as the network"),
        (np.full((8, 5), np.nan), "values that are not finite"),
    ],
)
def test_a_wrong_reference_is_refused(reference, words):
    with pytest.raises(ValueError, match=words):
        normalization.with_reference(plain(), reference)
    with pytest.raises(ValueError, match=words):
        ReferenceBatch(reference)(np.zeros((3, 5)))


def test_other_networks_are_refused():
    wrap = normalization.with_reference
    with pytest.raises(TypeError, match="expected real numbers"):
        wrap(plain(), None)
    with pytest.raises(TypeError, match=r"Got network=<Functional .* expected a built keras.Sequential"):
        wrap(critic(), drawn(6, 8, 8, 1))
    with pytest.raises(ValueError, match="without BatchNormalization, 'generator': there is nothing to replace"):
        wrap(models.mlp_generator(5), drawn(6, 5))
    within = keras.Sequential([keras.Input((5,)), plain()])
    without_scale = keras.Sequential([keras.Input((5,)), keras.layers.BatchNormalization(scale=False)])
    other_axis = keras.Sequential([keras.Input((5, 3)), keras.layers.BatchNormalization(axis=1)])
    for network in (within, without_scale, other_axis):
        with pytest.raises(ValueError, match="expected BatchNormalization with scale and offset, over the last axis"):
            wrap(network, drawn(6, *network.input_shape[1:]))


@pytest.mark.parametrize("epsilon", [0.0, -1e-5, float("nan"), None])
def test_an_epsilon_that_is_not_above_0_is_refused(epsilon):
    with pytest.raises(ValueError, match=f"Got epsilon={epsilon}, expected a small number above 0"):
        VirtualBatchNormalization(epsilon)
