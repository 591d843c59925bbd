import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_utils import layers, penalties


def by_outputs(kernel):
    """The kernel as a matrix with a column for each output channel."""
    return kernel.reshape(-1, kernel.shape[-1])


def by_outputs_of_a_transpose(kernel):
    """The same of (height, width, outputs, inputs)."""
    height, width, outputs, inputs = kernel.shape
    matrix = np.zeros((height * width * inputs, outputs))
    for row in range(height):
        for column in range(width):
            for channel in range(inputs):
                matrix[(row * width + column) * inputs + channel] = kernel[row, column, :, channel]
    return matrix


LAYERS = {
    "Dense": (lambda **kwargs: keras.layers.Dense(3, **kwargs), (5,), by_outputs),
    "Conv2D": (lambda **kwargs: keras.layers.Conv2D(4, 3, 2, "same", **kwargs), (6, 6, 2), by_outputs),
    "Conv2DTranspose": (
        lambda **kwargs: keras.layers.Conv2DTranspose(4, (3, 2), 2, "same", **kwargs),
        (4, 4, 2),
        by_outputs_of_a_transpose,
    ),
}


def built(name="Dense", iterations=1, **kwargs):
    """A normalised layer with a bias that is not 0, random samples for it, and its kernel as a matrix."""
    keras.utils.set_random_seed(1)
    make, shape, as_matrix = LAYERS[name]
    layer = layers.SpectralNormalization(make(**kwargs), power_iterations=iterations)
    layer.build((None, *shape))
    layer.layer.kernel.assign(np.random.default_rng(2).normal(size=layer.layer.kernel.shape))
    layer.layer.bias.assign(np.linspace(1.0, 2.0, layer.layer.bias.shape[0]))
    samples = np.random.default_rng(0).normal(size=(7, *shape)).astype(layer.layer.variable_dtype)
    return layer, samples, as_matrix(layer.layer.kernel.numpy())


def without_normalisation(layer, samples, sigma):
    """The output of the wrapped layer, whose kernel is divided by hand."""
    kernel = layer.layer.kernel.numpy()
    layer.layer.kernel.assign(kernel / sigma)
    output = layer.layer(samples).numpy()
    layer.layer.kernel.assign(kernel)
    return output


def values(layer):
    return [variable.numpy() for variable in layer.variables]


def slope_and_difference(value, variable, step=1e-5):
    """The derivative of `value()` along a random direction of a variable: by the tape, and measured."""
    direction = np.random.default_rng(5).normal(size=variable.shape)
    with tf.GradientTape() as tape:
        result = value()
    slope = float(tf.reduce_sum(tape.gradient(result, variable) * direction))
    start = variable.numpy()
    variable.assign(start + step * direction)
    above = float(value())
    variable.assign(start - step * direction)
    below = float(value())
    variable.assign(start)
    return slope, (above - below) / (2 * step)


# --- Spectral normalisation ---


@pytest.mark.parametrize("name", LAYERS)
def test_the_kernel_is_divided_by_its_largest_singular_value(name):
    layer, samples, matrix = built(name, iterations=20)
    for _ in range(10):
        output = layer(samples, training=True)
    sigma = np.linalg.svd(matrix, compute_uv=False)[0]
    assert sigma > 2.0
    np.testing.assert_allclose(output, without_normalisation(layer, samples, sigma), rtol=1e-4, atol=1e-5)


def test_an_embedding_is_normalised():
    layer = layers.SpectralNormalization(keras.layers.Embedding(6, 3), power_iterations=100)
    output = layer(np.arange(6)).numpy()
    table = layer.layer.embeddings.numpy()
    np.testing.assert_allclose(output, table / np.linalg.svd(table, compute_uv=False)[0], rtol=1e-5)


def test_one_iteration_by_hand():
    # W = [[3, 0], [4, 5]] and u = (1, 0): v = (3, 4) / 5, Wᵀv = (25, 20) / 5 = (5, 4), u = (5, 4) / √41, σ = √41.
    layer = layers.SpectralNormalization(keras.layers.Dense(2, use_bias=False))
    layer.build((None, 2))
    layer.layer.kernel.assign([[3.0, 0.0], [4.0, 5.0]])
    layer.u.assign([1.0, 0.0])
    factors = np.array([[1.0, 2.0], [3.0, -1.0]], dtype="float32")
    with tf.GradientTape() as tape:
        output = layer(np.eye(2, dtype="float32"), training=True)
        value = tf.reduce_sum(factors * output)
    np.testing.assert_allclose(output, np.array([[3.0, 0.0], [4.0, 5.0]]) / 41**0.5, rtol=1e-6)
    np.testing.assert_allclose(layer.u, np.array([5.0, 4.0]) / 41**0.5, rtol=1e-6)
    # u and v are constants: the gradient is C/σ − (Σ CW)/σ² · vuᵀ, with Σ CW = 3 + 12 − 5 = 10.
    expected = factors / 41**0.5 - 10 / 41 * np.outer([0.6, 0.8], [5.0, 4.0]) / 41**0.5
    np.testing.assert_allclose(tape.gradient(value, layer.layer.kernel), expected, rtol=1e-5)


def test_more_iterations_go_further():
    far, samples, _ = built(iterations=3)
    near, _, _ = built(iterations=1)
    near.u.assign(far.u)
    for _ in range(3):
        output = near(samples, training=True)
    np.testing.assert_allclose(far(samples, training=True), output, rtol=1e-5)
    np.testing.assert_allclose(far.u, near.u, rtol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_inference_changes_nothing_and_training_changes_u_only(name):
    layer, samples, _ = built(name)
    before = values(layer)
    first = layer(samples, training=False)
    np.testing.assert_array_equal(first, layer(samples))
    for value, start in zip(values(layer), before, strict=True):
        np.testing.assert_array_equal(value, start)
    np.testing.assert_array_equal(first, layer(samples, training=True))
    changed = [
        variable.name
        for variable, value, start in zip(layer.variables, values(layer), before, strict=True)
        if not np.array_equal(value, start)
    ]
    assert changed == ["u"]
    assert [variable.name for variable in layer.trainable_variables] == ["kernel", "bias"]
    assert [variable.name for variable in layer.non_trainable_variables] == ["u"]


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_is_that_of_the_exact_singular_value(name):
    layer, samples, matrix = built(name)
    layer.u.assign(np.linalg.svd(matrix)[2][0])
    kernel = layer.layer.kernel
    weights = np.random.default_rng(3).normal(size=layer(samples).shape).astype("float32")
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer(samples, training=True) * weights)
    gradient = tape.gradient(value, kernel)

    exact = tf.Variable(kernel.numpy())
    with tf.GradientTape() as tape:
        matrix = tf.transpose(exact, [0, 1, 3, 2]) if name == "Conv2DTranspose" else exact
        sigma = tf.linalg.svd(tf.reshape(matrix, (-1, matrix.shape[-1])), compute_uv=False)[0]
        with keras.StatelessScope([(kernel, exact / sigma)]):
            value = tf.reduce_sum(layer.layer(samples) * weights)
    expected = tape.gradient(value, exact)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(gradient / scale, expected / scale, atol=2e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_agrees_with_finite_differences(name):
    layer, samples, matrix = built(name, dtype="float64")
    layer.u.assign(np.linalg.svd(matrix)[2][0])
    assert layer.u.dtype == "float64"
    for variable in layer.trainable_variables:
        slope, difference = slope_and_difference(lambda: tf.reduce_sum(tf.sin(layer(samples))), variable)
        assert slope == pytest.approx(difference, rel=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_the_gradient_of_a_penalty_agrees_with_finite_differences(training):
    layer, samples, matrix = built(dtype="float64")
    layer.u.assign(np.linalg.svd(matrix)[2][0])

    def critic(points):
        return tf.reduce_sum(tf.tanh(layer(points, training=training)), axis=1, keepdims=True)

    for variable in layer.trainable_variables:
        slope, difference = slope_and_difference(lambda: penalties.r1()(critic, samples, samples), variable)
        assert slope == pytest.approx(difference, rel=1e-4 if training else 1e-6)  # in training u lags behind


@pytest.mark.parametrize("jit", [False, True])
def test_it_runs_in_a_graph(jit):
    layer, samples, _ = built("Conv2D")
    eager, _, _ = built("Conv2D")
    eager.u.assign(layer.u)
    graph = tf.function(lambda samples: layer(samples, training=True), jit_compile=jit)
    for _ in range(3):
        np.testing.assert_allclose(graph(samples), eager(samples, training=True), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.u, eager.u, rtol=1e-4)


def test_a_stateless_call_uses_the_given_values_and_returns_the_new_u():
    layer, samples, _ = built()
    network = keras.Sequential([keras.Input((5,)), layer])
    kernel, bias = (variable.numpy() for variable in network.trainable_variables)
    [u] = (variable.numpy() for variable in network.non_trainable_variables)
    before = values(network)
    other = np.random.default_rng(8).normal(size=kernel.shape).astype("float32")
    output, [moved] = network.stateless_call([other, bias + 1.0], [u], samples, training=True)
    for value, start in zip(values(network), before, strict=True):
        np.testing.assert_array_equal(value, start)
    layer.layer.kernel.assign(other)
    layer.layer.bias.assign(bias + 1.0)
    np.testing.assert_allclose(layer(samples, training=True), output, rtol=1e-5)
    np.testing.assert_allclose(layer.u, moved, rtol=1e-6)
    assert not np.allclose(moved, u)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_in_mixed_precision_the_singular_value_is_computed_in_float32(policy, monkeypatch):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        layer, samples, _ = built()
        network = keras.Sequential([keras.Input((5,)), layer])
    finally:
        keras.config.set_dtype_policy(before)
    computed = []
    original = type(layer)._largest_singular_value
    monkeypatch.setattr(
        type(layer),
        "_largest_singular_value",
        lambda self, kernel: computed.append((kernel, *original(self, kernel))) or computed[-1][1:],
    )
    for call in (layer, network):
        assert call(samples).dtype == policy.removeprefix("mixed_")
        kernel, sigma, u = computed.pop()
        assert kernel.dtype == sigma.dtype == u.dtype == "float32"
        np.testing.assert_array_equal(kernel, layer.layer.kernel)
        expected = without_normalisation(layer, samples, sigma.numpy())
        np.testing.assert_array_equal(call(samples), expected)


def test_it_survives_a_file_and_a_clone(tmp_path):
    stack = [
        layers.SpectralNormalization(keras.layers.Conv2D(3, 3), power_iterations=2, seed=4),
        keras.layers.Flatten(),
        layers.LayerNormalization(epsilon=0.1),
        layers.SpectralNormalization(keras.layers.Dense(1)),
    ]
    network = keras.Sequential([keras.Input((5, 5, 2)), *stack])
    samples = np.random.default_rng(0).normal(size=(4, 5, 5, 2)).astype("float32")
    network(samples, training=True)
    network.layers[2].scale.assign(np.linspace(1.0, 2.0, 27))
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    clone = keras.models.clone_model(network)
    clone.set_weights(network.get_weights())
    for copy in (again, clone):
        np.testing.assert_array_equal(copy(samples), network(samples))
        assert copy.layers[0].power_iterations == 2
        assert copy.layers[0].seed == 4
        assert copy.layers[2].epsilon == 0.1


def test_the_first_u_follows_the_seed():
    def first(seed):
        layer = layers.SpectralNormalization(keras.layers.Dense(8), seed=seed)
        layer.build((None, 2))
        return layer.u.numpy()

    np.testing.assert_array_equal(first(1), first(1))
    assert not np.allclose(first(1), first(2))
    keras.utils.set_random_seed(1)
    drawn = first(None)
    assert not np.allclose(drawn, first(None))
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(drawn, first(None))


def test_a_kernel_of_zeros_stays_and_u_with_it():
    layer, samples, _ = built()
    layer.layer.kernel.assign(np.zeros((5, 3)))
    u = layer.u.numpy()
    with tf.GradientTape() as tape:
        output = layer(samples, training=True)
    np.testing.assert_array_equal(output, np.broadcast_to(layer.layer.bias, (7, 3)))
    np.testing.assert_array_equal(layer.u, u)
    np.testing.assert_allclose(
        tape.gradient(output, layer.layer.kernel), np.tile(samples.sum(0)[:, None], 3), rtol=1e-5
    )


def test_a_convolution_can_be_steeper_than_1():
    # A constant 3×3 kernel with σ = 1 sums 9 pixels, each times 1/3: slope 3 on a constant image, but for its border.
    layer = layers.SpectralNormalization(keras.layers.Conv2D(1, 3, padding="same", kernel_initializer="ones"))
    images = np.ones((1, 32, 32, 1), "float32")
    assert np.linalg.norm(layer(images)) / np.linalg.norm(images) > 2.8


@pytest.mark.parametrize(
    ("layer", "iterations", "words"),
    [
        (keras.layers.Dense(2), 0, "Got power_iterations=0, expected a whole number of at least 1"),
        (keras.layers.Dense(2), 1.0, "Got power_iterations=1.0"),
        (keras.layers.LeakyReLU(), 1, "Got <LeakyReLU .* to normalise, expected a layer with a `kernel`"),
        (keras.layers.SeparableConv2D(2, 3), 1, "Got <SeparableConv2D .* to normalise"),
    ],
)
def test_what_cannot_be_normalised_is_refused(layer, iterations, words):
    with pytest.raises(ValueError, match=words):
        layers.SpectralNormalization(layer, iterations).build((None, 4, 4, 3))
    with pytest.raises(TypeError, match="Got layer='relu', expected a Keras layer with a kernel"):
        layers.SpectralNormalization("relu")


# --- Layer normalisation ---

# Mean 3, deviations −2, 0, −2, 4: variance 24 / 4 = 6.
SAMPLE = np.array([[[[1.0, 3.0], [1.0, 7.0]]]])
NORMALISED = np.array([[[[-2.0, 0.0], [-2.0, 4.0]]]])


def normaliser(shape, dtype="float64", epsilon=1e-5):
    layer = layers.LayerNormalization(epsilon=epsilon, dtype=dtype)
    layer.build((None, *shape))
    return layer


def test_a_sample_is_normalised_over_all_its_axes():
    layer = normaliser((1, 2, 2), epsilon=0.25)
    samples = np.concatenate([SAMPLE, 100.0 - 10.0 * SAMPLE])
    output = layer(samples)
    np.testing.assert_allclose(output[:1], NORMALISED / 6.25**0.5, rtol=1e-12)
    np.testing.assert_allclose(output[1:], -10 * NORMALISED / 600.25**0.5, rtol=1e-12)


def test_scale_and_offset_belong_to_channels():
    layer = normaliser((1, 2, 2), epsilon=0.25)
    assert [tuple(variable.shape) for variable in layer.trainable_variables] == [(2,), (2,)]
    layer.scale.assign([2.5, 25.0])
    layer.offset.assign([10.0, 20.0])
    np.testing.assert_allclose(layer(SAMPLE), [[[[8.0, 20.0], [8.0, 60.0]]]], rtol=1e-12)


def test_a_sample_of_one_value_gives_the_offset_and_finite_gradients():
    layer = normaliser((3,))
    layer.offset.assign([1.0, 2.0, 3.0])
    samples = tf.Variable([[7.0, 7.0, 7.0]], dtype="float64")
    with tf.GradientTape() as tape:
        output = layer(samples)
        value = tf.reduce_sum(output**2)
    np.testing.assert_allclose(output, [[1.0, 2.0, 3.0]])
    assert np.isfinite(tape.gradient(value, samples)).all()


def test_first_and_second_derivatives_agree_with_finite_differences():
    layer = normaliser((2, 2, 3))
    random = np.random.default_rng(0)
    layer.scale.assign(random.normal(size=3))
    samples = keras.Variable(random.normal(size=(2, 2, 2, 3)), dtype="float64")
    weights, factors = random.normal(size=(2, 2, 2, 2, 3))

    def first():  # directly on the samples, Keras' layer has right second derivatives too
        return tf.reduce_sum(layer(samples.value * factors) ** 3 * weights)

    def second():
        with tf.GradientTape() as tape:
            value = first()
        return tf.reduce_sum(tape.gradient(value, samples.value) ** 2)

    for value in (first, second):
        for variable in (samples, layer.scale):
            slope, difference = slope_and_difference(value, variable)
            assert slope == pytest.approx(difference, rel=1e-7)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float32", "float64"])
def test_half_precision_is_normalised_in_float32(policy):
    layer = normaliser((2, 2), dtype=policy)
    layer.scale.assign([1.001, 1.001])
    samples = tf.constant([[[400.0, 401.0], [402.0, 800.0]]])  # squares are beyond float16
    output = layer(tf.cast(samples, layer.compute_dtype))
    exact = tf.cast(tf.cast(samples, layer.compute_dtype), "float64").numpy()
    exact = 1.001 * (exact - exact.mean()) / np.sqrt(exact.var() + 1e-5)
    assert output.dtype == layer.compute_dtype
    rounded = tf.cast(tf.cast(exact, layer.compute_dtype), "float64")
    np.testing.assert_allclose(tf.cast(output, "float64"), rounded, rtol=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, -1e-5, float("nan"), None])
def test_an_epsilon_that_is_not_above_0_is_refused(epsilon):
    with pytest.raises(ValueError, match=f"Got epsilon={epsilon}, expected a small number above 0"):
        layers.LayerNormalization(epsilon)


@pytest.mark.parametrize("shape", [(4,), (None, 3, None)])
def test_samples_without_known_channels_are_refused(shape):
    with pytest.raises(ValueError, match=r"Got the input shape \(.*\), expected \(batch, …, channels\)"):
        layers.LayerNormalization().build(shape)
