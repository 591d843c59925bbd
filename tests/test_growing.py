import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import gan_utils
from gan_utils import data, growing, losses
from gan_utils.growing import EqualizedLearningRate, FadeIn, Film, GrowingGAN, PixelNormalization
from gan_utils.training import Batch

FILTERS = (6, 5, 4, 3)
LATENT = 7


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def images(count, size, seed=0):
    return np.tanh(drawn(count, size, size, 3, seed=seed))


def networks(size, fading=None, seed=1):
    keras.utils.set_random_seed(seed + size)
    fading = size > 8 if fading is None else fading
    settings = {"filters": FILTERS, "fading": fading}
    return growing.generator(size, latent_dim=LATENT, **settings), growing.discriminator(size, **settings)


def set_alpha(value, *some):
    for network in some:
        for fade in growing.fades_of(network):
            fade.alpha.assign(value)


def game(size, average=None, objective=None, **settings):
    gan = GrowingGAN(*networks(size), latent_dim=LATENT, seed=size, average=average)
    gan.compile(*(keras.optimizers.Adam(0.01, beta_1=0.0) for _ in range(2)), objective=objective, **settings)
    return gan


# --- Equalised learning rate ---

LAYERS = {
    "dense": (lambda: layers.Dense(3), (4, 5), 5),
    "convolution": (lambda: layers.Conv2D(3, 4, 2, "same"), (2, 4, 4, 5), 4 * 4 * 5),
    "transposed": (lambda: layers.Conv2DTranspose(3, 4, 2, "same"), (2, 4, 4, 5), 4 * 4 * 5 / 4),
}
kinds = pytest.mark.parametrize(("make", "shape", "meeting"), LAYERS.values(), ids=LAYERS)


@kinds
def test_the_kernel_acts_multiplied_by_its_factor(make, shape, meeting):
    x, layer, plain = drawn(*shape), EqualizedLearningRate(make(), gain=1.5), make()
    layer.build(shape)
    plain.build(shape)
    layer.layer.bias.assign([1.0, 2.0, 3.0])
    factor = 1.5 / meeting**0.5
    plain.set_weights([factor * layer.layer.kernel.numpy(), np.array([1.0, 2.0, 3.0])])
    with tf.GradientTape(persistent=True) as tape:
        outputs = [each(x) for each in (layer, plain)]
        totals = [tf.reduce_sum(tf.square(output)) for output in outputs]
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)
    assert layer.compute_output_shape(shape) == outputs[0].shape
    slopes = [tape.gradient(*pair).numpy() for pair in zip(totals, (layer.layer.kernel, plain.kernel), strict=True)]
    np.testing.assert_allclose(slopes[0], factor * slopes[1], rtol=1e-4, atol=1e-4)


@kinds
def test_at_the_start_outputs_are_as_spread_as_inputs(make, shape, meeting):
    del meeting
    keras.utils.set_random_seed(0)
    layer = make()
    settings = layer.get_config() | {"units" if shape[1:] == (5,) else "filters": 40}
    layer = EqualizedLearningRate(type(layer).from_config(settings), gain=1.0)
    x = drawn(20, *([12, 12] if len(shape) == 4 else []), 200)
    y = layer(x).numpy()[:, 2:-2, 2:-2] if len(shape) == 4 else layer(x).numpy()  # the rim meets fewer weights
    assert layer.layer.kernel.numpy().std() == pytest.approx(1.0, rel=0.05)
    assert y.std() == pytest.approx(1.0, rel=0.05)


def test_a_wide_and_a_narrow_layer_move_at_the_same_pace():
    """One step of Adam, relative to what the kernel is. By He's initialization a wide layer moves more."""
    moved = {}
    for wrapped in (True, False):
        for width in (4, 400):
            keras.utils.set_random_seed(0)
            layer = layers.Dense(30, kernel_initializer="he_normal")
            network = keras.Sequential([keras.Input((width,)), EqualizedLearningRate(layer) if wrapped else layer])
            before, optimizer = layer.kernel.numpy(), keras.optimizers.Adam(0.001)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(network(drawn(8, width)) ** 2)
            optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
            moved[wrapped, width] = np.abs(layer.kernel.numpy() - before).mean() / before.std()
    assert moved[True, 400] / moved[True, 4] == pytest.approx(1.0, rel=0.1)
    assert moved[False, 400] / moved[False, 4] == pytest.approx(10.0, rel=0.1)


# --- Pixel normalisation ---


def test_pixel_normalization_by_hand():
    maps = np.array([[[[1.0, 7.0], [0.0, 0.0]]]], "float32")  # mean of squares 25, 0
    np.testing.assert_allclose(PixelNormalization(epsilon=1e-6)(maps)[0, 0], [[0.2, 1.4], [0.0, 0.0]], rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_normalised_in_float32(policy):
    layer = PixelNormalization(dtype=policy)
    output = layer(tf.constant([[300.0, 400.0]], layer.compute_dtype))  # squares are beyond float16
    assert output.dtype == layer.compute_dtype
    np.testing.assert_allclose(tf.cast(output, "float32"), [[0.849, 1.131]], rtol=1e-2)


# --- Growing ---


@pytest.mark.parametrize("size", [16, 32, 64])
def test_at_alpha_0_the_new_networks_are_the_old_ones_enlarged(size):
    old = networks(size // 2)
    set_alpha(1.0, *old)
    generator, discriminator = (growing.inherit(*pair) for pair in zip(networks(size), old, strict=True))
    latent, samples = drawn(8, LATENT), images(8, size)
    np.testing.assert_array_equal(generator(latent), growing.enlarge(old[0](latent)))
    np.testing.assert_array_equal(discriminator(samples), old[1](ops.average_pool(samples, 2)))
    set_alpha(1e-3, generator, discriminator)
    assert not np.array_equal(generator(latent), growing.enlarge(old[0](latent)))
    assert not np.array_equal(discriminator(samples), old[1](ops.average_pool(samples, 2)))


def test_at_alpha_1_nothing_is_left_of_the_old_networks():
    fading, plain = networks(32), networks(32, fading=False, seed=5)
    set_alpha(1.0, *fading)
    for network, smaller in zip(plain, fading, strict=True):
        growing.inherit(network, smaller)
    np.testing.assert_array_equal(plain[0](drawn(8, LATENT)), fading[0](drawn(8, LATENT)))
    np.testing.assert_array_equal(plain[1](images(8, 32)), fading[1](images(8, 32)))


def test_alpha_mixes_before_the_tanh():
    generator, _ = networks(16)
    latent, parts = drawn(4, LATENT), {}
    for alpha in (0.0, 1.0, 0.25):
        set_alpha(alpha, generator)
        parts[alpha] = np.arctanh(generator(latent).numpy().astype("float64"))
    np.testing.assert_allclose(parts[0.25], 0.75 * parts[0.0] + 0.25 * parts[1.0], atol=1e-4)


def test_weights_are_copied_and_not_shared():
    old, new = networks(8)[0], networks(16)[0]
    growing.inherit(new, old)
    for weight in old.trainable_variables:
        weight.assign(weight + 1.0)
    assert not np.array_equal(new.get_layer("start").get_weights()[0], old.get_layer("start").get_weights()[0])


def test_enlarging_undoes_shrinking_of_even_images_and_xla_knows_its_gradient():
    small = images(2, 4)
    np.testing.assert_allclose(growing.shrink(growing.enlarge(small).numpy(), 4), small, atol=1e-6)
    np.testing.assert_array_equal(growing.shrink(small, 4), small)

    @tf.function(jit_compile=True)
    def slope(x):
        return tf.gradients(tf.reduce_sum(growing.enlarge(x) ** 2), x)[0]

    np.testing.assert_allclose(slope(tf.constant(small)), 8.0 * small, rtol=1e-5)


def test_real_images_fade_too():
    gan, real = game(16), images(4, 16)
    set_alpha(0.25, gan.discriminator)
    coarse = real.reshape(4, 8, 2, 8, 2, 3).mean(axis=(2, 4)).repeat(2, axis=1).repeat(2, axis=2)
    expected = 0.75 * coarse + 0.25 * real
    batch = Batch(tf.constant(real), tf.fill((4,), -1))
    judged, _ = gan.both_judged(batch, gan.fakes_for(batch))
    np.testing.assert_allclose(judged.samples, expected, atol=1e-6)
    np.testing.assert_allclose(judged.logits, gan.discriminator(expected), atol=1e-5)
    assert gan.faded(judged) is judged


def test_a_paired_objective_sees_faded_images_in_both_steps():
    gan, real = game(16, objective=losses.relativistic()), images(4, 16)
    batch, fake = Batch(tf.constant(real), tf.fill((4,), -1)), Batch(tf.constant(images(4, 16, 1)), tf.fill((4,), -1))
    fake = gan.judged(fake)
    expected = gan.objective.generator(fake.logits, gan.judged(gan.faded(batch)).logits)
    assert float(gan.generator_loss(batch, fake)) == pytest.approx(float(expected), rel=1e-5)
    set_alpha(1.0, gan.discriminator)
    assert float(gan.generator_loss(batch, fake)) != pytest.approx(float(expected), rel=1e-5)


class Note(keras.callbacks.Callback):
    """Notes α of all networks when each batch begins, after `FadeIn`."""

    def on_train_begin(self, logs=None):
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        players = self.model.generator, self.model.discriminator, self.model.mean_generator
        self.seen.append({float(fade.alpha) for network in players for fade in growing.fades_of(network)})


def test_alpha_grows_with_the_steps_of_g_and_stays_1():
    gan, note = game(16, average=0.9, run_eagerly=True), Note()
    gan.fit(data.batches(images(12, 16), 4), epochs=2, verbose=0, callbacks=[FadeIn(4), note])
    assert note.seen == [{0.0}, {0.25}, {0.5}, {0.75}, {1.0}, {1.0}]
    alphas = [float(growing.fades_of(each)[0].alpha) for each in (gan.generator, gan.discriminator, gan.mean_generator)]
    assert alphas == [1.0, 1.0, 1.0]


def test_a_level_is_saved_within_its_fade(tmp_path):
    gan = game(16, average=0.9)
    gan.fit(data.batches(images(8, 16), 4), verbose=0, callbacks=[FadeIn(8)])
    assert float(growing.fades_of(gan.generator)[0].alpha) == 0.25
    gan.save(tmp_path / "gan.keras")
    again = keras.saving.load_model(tmp_path / "gan.keras")
    assert type(again) is GrowingGAN
    np.testing.assert_array_equal(again.sample(4, seed=1), gan.sample(4, seed=1))
    np.testing.assert_array_equal(again.discriminator(images(4, 16)), gan.discriminator(images(4, 16)))
    assert float(growing.fades_of(again.discriminator)[0].alpha) == 0.25
    assert again.range_of_images == (-1.0, 1.0)


class Killed(BaseException):
    pass


class Kill(keras.callbacks.Callback):
    """Ends the process, as far as the training knows, in the middle of an epoch."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.g_optimizer.iterations) == self.steps:
            raise Killed


def grow(folder, kill=()):
    """Two levels of 2 epochs of 2 steps; returns what a run leaves behind."""
    film, gan = Film(16, rows=1, columns=2), None
    for size in (8, 16):
        level = game(size, average=0.9, run_eagerly=True)  # tracing five levels would take longer than their steps
        if gan is not None:
            growing.inherit(level.generator, gan.generator)
            growing.inherit(level.discriminator, gan.discriminator)
        gan, dataset = level, data.batches(images(8, size), 4)
        callbacks = [film, gan_utils.Checkpoint(folder / f"{size}.npz"), *[FadeIn(3)] * (size > 8)]
        gan.fit(dataset, epochs=2, verbose=0, callbacks=[*callbacks, *kill] if size > 8 else callbacks)
    arrays = [*gan.variables, *gan.d_optimizer.variables, *gan.g_optimizer.variables]
    return [array.numpy() for array in arrays], film, gan


def test_a_run_killed_within_level_2_goes_on_bit_for_bit(tmp_path):
    whole, film, gan = grow(tmp_path / "whole")
    with pytest.raises(Killed):
        grow(tmp_path / "part", [Kill(3)])  # within the second epoch of level 2; α = 2/3
    found, again, resumed = grow(tmp_path / "part")
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(resumed.sample(4, seed=1), gan.sample(4, seed=1))
    assert film.sides == again.sides == [8, 8, 8, 16, 16]
    assert {frame.shape for frame in film.film()} == {film.film()[0].shape}
    for one, other in zip(film.frames, again.frames, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="belongs to another training"):
        resumed.fit(
            data.batches(images(8, 16), 4),
            epochs=3,
            verbose=0,
            callbacks=[Film(16, rows=1, columns=2), gan_utils.Checkpoint(tmp_path / "part" / "16.npz"), FadeIn(5)],
        )


# --- What is refused ---

REFUSED = {
    "no layer": (lambda: EqualizedLearningRate("dense"), "Got layer='dense', expected a Keras layer with a kernel"),
    "no gain": (lambda: EqualizedLearningRate(layers.Dense(1), gain=0.0), "Got gain=0.0, expected a number above 0"),
    "no kernel": (lambda: EqualizedLearningRate(layers.ReLU())(drawn(2, 3)), "expected a layer with a `kernel`"),
    "no epsilon": (lambda: PixelNormalization(0.0), "Got epsilon=0.0, expected a small number above 0"),
    "alpha above 1": (lambda: growing.Fade(1.5), "Got alpha=1.5, expected a share from 0"),
    "a size in between": (
        lambda: growing.generator(24),
        "image_size=24 and 4 filters, expected one of [8, 16",
    ),
    "a size without filters": (lambda: growing.discriminator(32, filters=(8, 4)), "expected one of [8, 16]"),
    "half a channel": (lambda: growing.discriminator(8, channels=0.5), "Got channels=0.5, expected a positive"),
    "filters of none": (lambda: growing.generator(8, filters=(0,)), "Got filters[0]=0, expected a positive whole"),
    "a first level that fades": (lambda: growing.generator(8, fading=True), "fading=True for 8 pixels, the first"),
    "no steps": (lambda: FadeIn(0), "Got steps=0, expected a whole number"),
    "a film without a size": (lambda: Film(0), "Got image_size=0, expected the side of the largest"),
    "a side that does not divide": (lambda: growing.shrink(images(2, 8), 3), "image_size=3, expected (samples, side"),
    "no network": (lambda: growing.inherit("G", networks(8)[0]), "Got a str as network, expected a keras.Model"),
    "the other player": (lambda: growing.inherit(*networks(8)), "The layer 'image_8' has weights of shapes"),
    "another network": (
        lambda: growing.inherit(networks(8)[0], keras.Sequential([keras.Input((2,)), layers.Dense(1)])),
        "Got networks without a layer in common",
    ),
    "other filters": (
        lambda: growing.inherit(networks(16)[1], growing.discriminator(8, filters=(9,))),
        "The layer 'image_8' has weights of shapes",
    ),
    "half faded": (
        lambda: growing.inherit(networks(32)[0], networks(16)[0]),
        "The smaller network has α = 0, expected",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_grow_is_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        make()


def test_in_fit_networks_that_do_not_fade_and_films_too_small_are_refused():
    gan = game(8)
    for callback, message in ((FadeIn(4), "Got a network that does not fade"), (Film(12), "expected a divisor")):
        with pytest.raises(ValueError, match=message):
            gan.fit(data.batches(images(8, 8), 4), verbose=0, callbacks=[callback])
