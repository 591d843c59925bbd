import dataclasses
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from gan_utils import layers as own_layers
from gan_utils import models, penalties

# A linear critic w·x with |w| = √(1 + 4 + 4 + 0.25) = 3.0413813, over the four values of a sample of shape (2, 2, 1).
WEIGHTS = np.array([[1.0, -2.0], [2.0, 0.5]])[..., np.newaxis]
REAL = np.random.default_rng(0).normal(size=(6, 2, 2, 1))
FAKE = np.random.default_rng(1).normal(size=(6, 2, 2, 1))
MAKERS = list(penalties.MAKERS.values())


def linear(samples):
    return tf.reduce_sum(samples * tf.cast(WEIGHTS, samples.dtype), axis=[1, 2, 3])[:, tf.newaxis]


def points_of(penalty, real, fake, seed=None):
    """Where the penalty asks for a gradient."""
    asked = []

    def critic(samples):
        asked.append(samples.numpy())
        return tf.reduce_sum(samples, axis=list(range(1, len(samples.shape))))[:, tf.newaxis]

    penalty(critic, real, fake, seed)
    return asked


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("make", "value"),
    [
        (penalties.gradient_penalty, 41.672373),  # 10 · (3.0413813 − 1)²
        (penalties.dragan, 41.672373),
        (penalties.r1, 46.25),  # 10 / 2 · 9.25
        (penalties.r2, 46.25),
    ],
)
def test_the_value_on_a_linear_critic(make, value, dtype):
    result = make()(linear, tf.constant(REAL, dtype), tf.constant(FAKE, dtype))
    assert result.shape == ()
    assert result.dtype == dtype
    assert float(result) == pytest.approx(value, rel=1e-6)
    assert float(make(weight=0.5)(linear, tf.constant(REAL, dtype), tf.constant(FAKE, dtype))) == pytest.approx(
        value / 20, rel=1e-6
    )


def test_slopes_are_of_each_sample_and_the_mean_is_over_samples():
    # f = x²/2 has slope x: |x| = 5 and 13, so (5² + 13²) / 2 = 97 and ((5 − 1)² + (13 − 1)²) / 2 = 80
    samples = tf.constant([[3.0, 4.0], [5.0, 12.0]])

    def critic(points):
        return tf.reduce_sum(points**2 / 2, axis=1, keepdims=True)

    assert float(penalties.r1(2.0)(critic, samples, -7 * samples)) == pytest.approx(97.0)
    assert float(penalties.r2(2.0)(critic, -7 * samples, samples)) == pytest.approx(97.0)
    assert float(penalties.gradient_penalty(1.0)(critic, samples, samples)) == pytest.approx(80.0)


def test_the_gradient_penalty_looks_between_a_real_and_a_fake_sample_with_one_uniform_weight_a_sample():
    [points] = points_of(penalties.gradient_penalty(), np.full((4000, 3, 2, 1), -1.0), np.full((4000, 3, 2, 1), 1.0))
    flat = (points.reshape(4000, 6) + 1) / 2
    np.testing.assert_allclose(flat, np.broadcast_to(flat[:, :1], flat.shape), atol=1e-7)
    ranks = (np.arange(4000) + 0.5) / 4000
    assert np.abs(np.sort(flat[:, 0]) - ranks).max() < 0.03  # Kolmogorov's distance: above it in 0.2 % of seeds


def test_the_gradient_penalty_mixes_pairs():
    [points] = points_of(penalties.gradient_penalty(), REAL, FAKE)
    shares = (points - REAL) / (FAKE - REAL)
    np.testing.assert_allclose(shares, np.broadcast_to(shares[:, :1, :1], shares.shape), atol=1e-9)
    assert len(np.unique(shares.round(6))) == 6


def test_dragan_looks_around_the_real_samples_by_the_noise_of_the_authors_code():
    real = np.random.default_rng(2).normal(1.0, 3.0, size=(4000, 10))
    [points] = points_of(penalties.dragan(), real, real - 1000.0)
    shift = (points - real) / (0.5 * real.std())  # ε·u
    assert shift.min() >= 0.0
    assert 0.95 < shift.max() < 1.0
    assert shift.mean() == pytest.approx(0.25, abs=0.01)  # ½ · ½
    assert shift.var() == pytest.approx(1 / 9 - 1 / 16, abs=0.005)  # E[ε²] E[u²] − ¼²
    # One ε a sample: values of one sample go together. Cov(εu, εu′) = (⅓ − ¼) · ¼ = 1/48.
    first, second = shift[:, 0], shift[:, 1]
    assert np.cov(first, second)[0, 1] == pytest.approx(1 / 48, abs=0.006)


def test_dragan_on_a_batch_of_one_value_is_finite():
    real = tf.Variable(np.full((4, 3), 0.5))
    with tf.GradientTape() as tape:
        value = penalties.dragan()(lambda samples: tf.reduce_sum(samples**3, axis=1, keepdims=True), real, real)
    assert np.isfinite(tape.gradient(value, real)).all()


def test_r1_looks_at_real_samples_and_r2_at_fakes():
    np.testing.assert_array_equal(points_of(penalties.r1(), REAL, FAKE), [REAL])
    np.testing.assert_array_equal(points_of(penalties.r2(), REAL, FAKE), [FAKE])
    np.testing.assert_array_equal(points_of(penalties.r1() + penalties.r2(), REAL, FAKE), [REAL, FAKE])


@pytest.mark.parametrize("make", [penalties.gradient_penalty, penalties.dragan])
def test_the_draws_are_those_of_the_given_seed_generator(make):
    def draws(seed):
        return points_of(make(), REAL, FAKE, seed)[0]

    seed = keras.random.SeedGenerator(7)
    before = seed.state.numpy()
    first, second = draws(seed), draws(seed)
    assert not np.allclose(first, second)
    seed.state.assign(before)
    np.testing.assert_array_equal(draws(seed), first)
    np.testing.assert_array_equal(draws(seed), second)
    assert not np.allclose(draws(None), draws(None))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("start", [0.0, 1e-30, 1e-19])
def test_value_and_gradient_are_finite_where_the_slope_is_zero(make, start):
    weights = tf.Variable(tf.fill((4, 1), start))
    with tf.GradientTape() as tape:
        value = make()(lambda samples: tf.reshape(samples, (-1, 4)) @ weights, REAL.astype("float32"), FAKE)
    slope_one = make in (penalties.gradient_penalty, penalties.dragan)
    assert float(value) == pytest.approx(10.0 if slope_one else 0.0, abs=1e-6)
    gradient = tape.gradient(value, weights).numpy()
    assert np.isfinite(gradient).all()
    if start == 0.0:
        np.testing.assert_array_equal(gradient, np.zeros((4, 1)))


@pytest.mark.parametrize("make", MAKERS)
def test_a_critic_that_does_not_look_at_its_samples_has_slope_zero(make):
    value = make()(lambda samples: tf.ones((len(samples), 1)), REAL, FAKE)
    assert float(value) == (10.0 if make in (penalties.gradient_penalty, penalties.dragan) else 0.0)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_left_before_the_slope_is_taken(make, dtype):
    def critic(samples):
        assert samples.dtype == "float32"
        return tf.cast(300.0 * linear(samples), "float32")  # a squared slope of 832,500 is beyond float16

    value = make()(critic, tf.cast(REAL, dtype), tf.cast(FAKE, dtype))
    assert value.dtype == "float32"
    squared = 9.25 * 300**2
    expected = 10 * (squared**0.5 - 1) ** 2 if make.__name__[0] != "r" else 5 * squared
    assert float(value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_network_in_mixed_precision_has_a_penalty_in_float32(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        network = models.mlp_discriminator((2,), (8,), dropout_rate=0.0)
    finally:
        keras.config.set_dtype_policy(before)
    with tf.GradientTape() as tape:
        value = penalties.gradient_penalty()(network, np.zeros((4, 2), "float32"), np.ones((4, 2), "float32"))
    assert value.dtype == "float32"
    kernels = [variable for variable in network.trainable_variables if "kernel" in variable.path]
    assert all(np.isfinite(gradient).all() for gradient in tape.gradient(value, kernels))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("jit", [False, True])
def test_a_penalty_runs_in_a_graph_with_a_batch_of_any_size(make, jit):
    seed = keras.random.SeedGenerator(1)
    penalty = make()

    @tf.function(jit_compile=jit, input_signature=[tf.TensorSpec((None, 2, 2, 1))] * 2)
    def value(real, fake):
        return penalty(linear, real, fake, seed)

    expected = 46.25 if make in (penalties.r1, penalties.r2) else 41.672373
    for count in (1, 6):
        assert float(value(REAL[:count].astype("float32"), FAKE[:count].astype("float32"))) == pytest.approx(
            expected, rel=1e-6
        )


def test_without_a_seed_a_graph_draws_afresh_in_each_call():
    @tf.function
    def points():
        kept = []
        penalties.gradient_penalty()(lambda samples: kept.append(samples) or linear(samples), REAL, FAKE)
        return kept[0]

    assert not np.allclose(points(), points())


def test_batches_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"real samples \(6, 2, 2, 1\) and fakes \(1, 2, 2, 1\), expected batches of"):
        penalties.gradient_penalty()(linear, REAL, FAKE[:1])


def test_a_penalty_says_how_it_was_made_and_cannot_be_changed():
    assert penalties.gradient_penalty(weight=10).name == "gradient_penalty(weight=10.0)"
    assert penalties.dragan(np.float32(0.5)).name == "dragan(weight=0.5)"
    assert (penalties.r1(1) + penalties.r2(np.int64(2))).name == "r1(weight=1.0) + r2(weight=2.0)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        penalties.r1().name = "another"
    with pytest.raises(TypeError, match="expected a name and a function"):
        penalties.Penalty("mine", 10.0)


def test_sums_add_and_only_penalties_can_be_added():
    total = penalties.gradient_penalty() + penalties.r1() + penalties.r2(weight=2.0)
    assert float(total(linear, REAL, FAKE)) == pytest.approx(41.672373 + 46.25 + 9.25)
    with pytest.raises(TypeError, match="unsupported operand"):
        penalties.r1() + 1.0


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("weight", [10.0, 0.1, 1 / 3, 1e-7])
def test_a_penalty_is_found_again_by_its_name(make, weight):
    for penalty in (make(weight), make(weight) + penalties.r1(3.0) + make()):
        again = penalties.get(penalty.name)
        assert again.name == penalty.name
        assert float(again(linear, REAL, FAKE)) == float(penalty(linear, REAL, FAKE))
    assert penalties.get(f"{make.__name__}()").name == f"{make.__name__}(weight=10.0)"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "r3()",
        "r1",
        "r1(10)",
        "r1(weight=)",
        "r1(weight=a)",
        "r1(weight=-1.0)",
        "r1(weight=nan)",
        "r1() +",
        "r1()r2()",
        "r1(weight=__import__('os'))",
        "r1(other=1.0)",
        None,
        3,
    ],
)
def test_an_unknown_penalty_is_refused_with_a_list_of_what_exists(name):
    known = r"gradient_penalty\(weight=10.0\), dragan\(weight=10.0\), r1\(weight=10.0\), r2\(weight=10.0\), or a sum"
    with pytest.raises(ValueError, match=rf"^Got the penalty {re.escape(repr(name))}, expected one of {known}"):
        penalties.get(name)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf"), "10", None, True])
def test_a_weight_that_is_not_above_0_is_refused(make, weight):
    with pytest.raises(ValueError, match=re.escape(f"Got weight={weight!r}, expected a finite number above 0.")):
        make(weight)


def test_weight_clip_clips_after_each_update_and_survives_a_file(tmp_path):
    clip = penalties.WeightClip(limit=np.float64(0.25))
    np.testing.assert_array_equal(
        clip(np.array([-3.0, -0.25, 0.1, 3.0], "float32")), np.float32([-0.25, -0.25, 0.1, 0.25])
    )
    network = keras.Sequential([keras.Input((3,)), layers.Dense(2, kernel_constraint=clip)])
    optimizer = keras.optimizers.SGD(100.0)
    optimizer.apply([tf.ones((3, 2)), tf.ones((2,))], network.trainable_variables)
    np.testing.assert_array_equal(network.layers[0].kernel, np.full((3, 2), -0.25))
    np.testing.assert_array_equal(network.layers[0].bias, [-100.0, -100.0])
    network.save(tmp_path / "clipped.keras")
    again = keras.saving.load_model(tmp_path / "clipped.keras").layers[0].kernel_constraint
    assert type(again) is penalties.WeightClip
    assert again.get_config() == {"limit": 0.25}
    assert penalties.WeightClip().limit == 0.01
    with pytest.raises(ValueError, match=r"Got limit=0\.0, expected a finite number above 0"):
        penalties.WeightClip(0.0)


# --- The gradient of a penalty with respect to the weights, against finite differences ---


@pytest.fixture
def float64():
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


def slope_and_difference(value, variables, step=1e-5):
    """The derivative of `value()` along a random direction of all variables: by the tape, and measured."""
    random = np.random.default_rng(1)
    directions = [random.normal(size=variable.shape) for variable in variables]
    with tf.GradientTape() as tape:
        result = value()
    gradients = tape.gradient(result, [variable.value for variable in variables], unconnected_gradients="zero")
    slope = sum(float(tf.reduce_sum(gradient * way)) for gradient, way in zip(gradients, directions, strict=True))
    starts = [variable.numpy() for variable in variables]
    shifted = []
    for sign in (1, -1):
        for variable, start, way in zip(variables, starts, directions, strict=True):
            variable.assign(start + sign * step * way)
        shifted.append(float(value()))
    return slope, (shifted[0] - shifted[1]) / (2 * step)


def drawing_alike(value, seeds):
    """The function, with the same draws in each call."""
    states = [seed.state.numpy() for seed in seeds]

    def again():
        for seed, state in zip(seeds, states, strict=True):
            seed.state.assign(state)
        return value()

    return again


@pytest.mark.parametrize("make", MAKERS)
def test_the_gradient_with_respect_to_the_weights_agrees_with_finite_differences(make, float64):
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((2, 2, 1)), layers.Flatten(), layers.Dense(5, "tanh"), layers.Dense(1)])
    seed = keras.random.SeedGenerator(1)
    value = drawing_alike(lambda: make()(network, REAL, FAKE, seed), [seed])
    slope, difference = slope_and_difference(value, network.trainable_variables)
    assert slope == pytest.approx(difference, rel=1e-7)


def activation(name):
    return lambda: layers.Activation(name)


def between(function):
    """An operation of Keras on a tensor of a functional model, in place of a layer."""
    return lambda: function


IMAGE_LAYERS = {  # of images, (batch, 6, 6, 4)
    "Dense": lambda: layers.Dense(3),
    "Conv2D": lambda: layers.Conv2D(3, 3),
    "strided": lambda: layers.Conv2D(3, 4, 2, "same"),
    "dilated": lambda: layers.Conv2D(3, 2, dilation_rate=2),
    "Conv2DTranspose": lambda: layers.Conv2DTranspose(3, 4, 2, "same"),
    "SeparableConv2D": lambda: layers.SeparableConv2D(3, 3),
    "DepthwiseConv2D": lambda: layers.DepthwiseConv2D(3),
    "LeakyReLU": lambda: layers.LeakyReLU(0.2),
    "PReLU": lambda: layers.PReLU(),
    "ELU": lambda: layers.ELU(),
    "AveragePooling2D": lambda: layers.AveragePooling2D(2),
    "MaxPooling2D": lambda: layers.MaxPooling2D(2),
    "GlobalAveragePooling2D": lambda: layers.GlobalAveragePooling2D(),
    "GlobalMaxPooling2D": lambda: layers.GlobalMaxPooling2D(),
    "UpSampling2D": lambda: layers.UpSampling2D(),
    "UpSampling2D bilinear": lambda: layers.UpSampling2D(interpolation="bilinear"),
    "UpSampling2D bicubic": lambda: layers.UpSampling2D(interpolation="bicubic"),
    "UpSampling2D lanczos3": lambda: layers.UpSampling2D(interpolation="lanczos3"),
    "Resizing nearest": lambda: layers.Resizing(4, 4, interpolation="nearest"),
    "Resizing bilinear": lambda: layers.Resizing(4, 4),
    "Resizing bicubic": lambda: layers.Resizing(4, 4, interpolation="bicubic"),
    "CenterCrop": lambda: layers.CenterCrop(8, 8),
    "ZeroPadding2D": lambda: layers.ZeroPadding2D(),
    "Cropping2D": lambda: layers.Cropping2D(),
    "Permute": lambda: layers.Permute((2, 1, 3)),
    "Rescaling": lambda: layers.Rescaling(0.5, 0.1),
    "Flatten": lambda: layers.Flatten(),
    "LayerNormalization": lambda: layers.LayerNormalization(axis=(1, 2, 3)),
    "GroupNormalization": lambda: layers.GroupNormalization(2),
    "BatchNormalization": lambda: layers.BatchNormalization(),
    "UnitNormalization": lambda: layers.UnitNormalization(),
    "SpectralNormalization": lambda: layers.SpectralNormalization(layers.Conv2D(3, 3)),
    "wrapped": lambda: layers.TimeDistributed(layers.LayerNormalization()),
    "own LayerNormalization": lambda: own_layers.LayerNormalization(),
    "own SpectralNormalization": lambda: own_layers.SpectralNormalization(layers.Conv2D(3, 3)),
    "RandomFlip": lambda: layers.RandomFlip(seed=1),
    "RandomTranslation": lambda: layers.RandomTranslation(0.2, 0.2, seed=1),
    "RandomZoom": lambda: layers.RandomZoom(0.3, seed=1),
    "GaussianNoise": lambda: layers.GaussianNoise(0.1, seed=1),
    "Dropout": lambda: layers.Dropout(0.3, seed=1),
    "resize": between(lambda images: ops.image.resize(images, (4, 4))),
    "resize nearest": between(lambda images: ops.image.resize(images, (4, 4), interpolation="nearest")),
    "affine": between(lambda images: ops.image.affine_transform(images, np.array([[1.0, 0.1, 0, 0, 1, 0.2, 0, 0]]))),
    "crop": between(lambda images: ops.image.crop_images(images, 1, 1, target_height=3, target_width=3)),
    "moments": between(lambda images: ops.moments(images, axes=[1, 2])[1]),
    "var": between(lambda images: ops.var(images, axis=[1, 2])),
    "normalize": between(lambda images: ops.normalize(images, axis=-1)),
    "deviation of the batch": between(lambda images: images + ops.sqrt(ops.var(images, axis=0, keepdims=True) + 1e-8)),
    "maximum": between(lambda images: ops.maximum(images, 0.1)),
}
VECTOR_LAYERS = {  # of vectors, (batch, 4)
    **{name: activation(name) for name in ("relu", "elu", "gelu", "softplus", "tanh", "silu", "selu", "sigmoid")},
    "softsign": activation("softsign"),
    "softsign inside": lambda: layers.Dense(3, activation="softsign"),
    "ops.softsign": between(ops.softsign),
    "LayerNormalization of vectors": lambda: layers.LayerNormalization(),
    "own LayerNormalization of vectors": lambda: own_layers.LayerNormalization(),
    "attention": between(lambda vectors: layers.Attention()([vectors[:, :, None]] * 2)),
    "GRU": between(lambda vectors: layers.GRU(3)(vectors[:, :, None])),
}
LATER = {  # not in the lowest Keras: where it is, its name, and how it is used
    "RMSNormalization": (layers, lambda: layers.RMSNormalization()),
    "RandomHue": (layers, lambda: on_three_channels(layers.RandomHue(0.5, value_range=(-9, 9), seed=1))),
    "RandomSaturation": (layers, lambda: on_three_channels(layers.RandomSaturation(0.5, value_range=(-9, 9), seed=1))),
    "RandomShear": (layers, lambda: layers.RandomShear(0.3, 0.3, seed=1)),
    "RandomPerspective": (layers, lambda: layers.RandomPerspective(1.0, 0.5, seed=1)),
    "layer_normalization": (ops, lambda: ops.layer_normalization),
    "rgb_to_hsv": (ops.image, lambda: on_three_channels(ops.image.rgb_to_hsv)),
    "hsv_to_rgb": (ops.image, lambda: on_three_channels(ops.image.hsv_to_rgb)),
    "perspective_transform": (ops.image, lambda: tilted),
    "scale_and_translate": (ops.image, lambda: moved),
}
IMAGE_LAYERS |= {name: make for name, (module, make) in LATER.items() if hasattr(module, name)}


def on_three_channels(function):
    return lambda images: function(images[..., :3])


def tilted(images):
    corners = np.array([[[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]]])
    return ops.image.perspective_transform(images, corners, corners * [0.9, 0.8])


def moved(images):
    scale, shift = np.array([1.1, 1.2], "float32"), np.array([0.1, 0.2], "float32")
    return ops.image.scale_and_translate(images, (4, 6, 6, 4), scale, shift, (1, 2), "linear")


def network_around(layer, vectors):
    """The layer, with weights before and behind it."""
    inputs = keras.Input((5,) if vectors else (6, 6, 2))
    before = layers.Dense(4, "tanh") if vectors else layers.Conv2D(4, 3, padding="same", activation="tanh")
    outputs = layer(before(inputs))
    for behind in (layers.Flatten(), layers.Dense(3, "tanh"), layers.Dense(1)):
        outputs = behind(outputs)
    network = keras.Model(inputs, outputs)
    random = np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign_add(0.3 * random.normal(size=variable.shape))
    return network


def settle(layer):
    """u of spectral normalisation where power iteration would bring it, so that the gradient is that of W/σ(W)."""
    kernel = layer.layer.kernel.numpy()
    layer.u.assign(np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]))[2][0])


def is_refused(network):
    try:
        penalties.check_network(network)
    except ValueError:
        return True
    return False


def is_wrong(network):
    """Whether D's slope, or the gradient of r1 that D learns from, fails, or is off finite differences."""
    inputs = keras.Variable(np.random.default_rng(2).normal(size=(4, *network.input_shape[1:])))
    generators = [getattr(layer, "generator", getattr(layer, "seed_generator", None)) for layer in network.layers]
    seeds = [generator for generator in generators if generator is not None]

    def logits():
        return tf.reduce_sum(tf.sin(network(inputs.value, training=True)))

    def penalty():
        return penalties.r1(2.0)(lambda points: network(points, training=True), inputs.value, inputs.value)

    for value, variables in ((logits, [inputs]), (penalty, network.trainable_variables)):
        try:
            slope, difference = slope_and_difference(drawing_alike(value, seeds), variables)
        except (LookupError, tf.errors.InvalidArgumentError):  # no derivative is registered
            return True
        if abs(slope - difference) > 1e-6 * abs(difference):
            return True
    return False


@pytest.mark.parametrize("name", [*IMAGE_LAYERS, *VECTOR_LAYERS])
def test_what_is_refused_is_what_disagrees_with_finite_differences(name, float64):
    keras.utils.set_random_seed(3)
    layer = {**IMAGE_LAYERS, **VECTOR_LAYERS}[name]()
    network = network_around(layer, vectors=name in VECTOR_LAYERS)
    if name == "own SpectralNormalization":
        settle(layer)
    assert is_wrong(network) == is_refused(network)


BATCH_NORM = r"'norm' \(BatchNormalization\): a sample's logit depends on the rest of its batch"


def test_batch_normalisation_is_refused_wherever_it_is():
    class Own(layers.BatchNormalization):
        pass

    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.norm = layers.BatchNormalization(name="norm")

        def call(self, inputs):
            return self.norm(inputs)

    def norm():
        return layers.BatchNormalization(name="norm")

    inner = keras.Sequential([keras.Input((4,)), norm()])
    inputs = keras.Input((4,))
    functional = keras.Model(inputs, norm()(inputs))
    rows = keras.Input((3, 4))
    for network in (
        inner,
        keras.Sequential([keras.Input((4,)), keras.Sequential([functional])]),
        keras.Sequential([keras.Input((4,)), Block()]),
        keras.Sequential([keras.Input((4,)), Own(name="norm")]),
        keras.Model(rows, layers.TimeDistributed(norm())(rows)),
    ):
        with pytest.raises(ValueError, match=BATCH_NORM):
            penalties.check_network(network)


def test_an_operation_in_a_model_in_a_model_is_found():
    images = keras.Input((8, 8, 1))
    small = keras.Model(images, ops.image.resize(images, (4, 4)))
    with pytest.raises(ValueError, match=r"\(Resize\): TensorFlow has no second derivative of resizing"):
        penalties.check_network(keras.Sequential([keras.Input((8, 8, 1)), keras.Sequential([small])]))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (layers.LayerNormalization(), r"gan_utils\.layers\.LayerNormalization.*normalization=\"layer\""),
        (layers.GroupNormalization(1), r"gan_utils\.layers\.LayerNormalization"),
        (layers.SpectralNormalization(layers.Dense(2)), r"Use gan_utils\.layers\.SpectralNormalization"),
        (layers.UpSampling2D(interpolation="bilinear"), r'Use UpSampling2D\(interpolation="nearest"\)'),
        (layers.RandomZoom(0.5), r"Transform the data before they reach the network"),
    ],
)
def test_a_refusal_names_what_to_use_instead(layer, words):
    network = keras.Sequential([keras.Input((4, 4, 3)), layer])
    with pytest.raises(ValueError, match=f"{layer.name}.*{words}"):
        penalties.check_network(network)


def test_networks_without_batch_normalisation_pass():
    penalties.check_network(models.mlp_discriminator())
    stack = [
        own_layers.SpectralNormalization(layers.Conv2D(4, 4, 2, "same")),
        own_layers.LayerNormalization(),
        layers.UpSampling2D(),
        layers.Flatten(),
        layers.Dense(1),
    ]
    penalties.check_network(keras.Sequential([keras.Input((8, 8, 1)), *stack]))
    with pytest.raises(ValueError, match="BatchNormalization"):
        penalties.check_network(models.dcgan_discriminator(base_filters=2))
