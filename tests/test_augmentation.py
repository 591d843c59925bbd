import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_utils import GAN, Checkpoint, augmentation, data, models, penalties
from gan_utils.augmentation import AdaptiveAugmentation, Augmentation
from gan_utils.training import Batch

RAMP = np.linspace(-1.0, 1.0, 8 * 16 * 16 * 3, dtype=np.float32).reshape(8, 16, 16, 3)
kinds = pytest.mark.parametrize("kind", augmentation.KINDS)


def layer(probability=1.0, *kinds, seed=0):
    return Augmentation(probability, kinds or augmentation.KINDS, seed)


def discriminator(probability=1.0, **settings):
    plain = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
    return augmentation.augmented(plain, Augmentation(probability, seed=2, **settings))


def game(probability=1.0, seed=0):
    keras.utils.set_random_seed(seed)
    gan = GAN(models.mlp_generator(2, (16, 16, 3), (4,)), discriminator(probability), latent_dim=2, seed=0)
    gan.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
    return gan


def _batch():
    return Batch(tf.constant(RAMP), tf.fill((8,), -1))


def test_with_probability_0_and_in_inference_images_stay_as_they_are():
    np.testing.assert_array_equal(layer(0.0)(RAMP, training=True), RAMP)
    np.testing.assert_array_equal(layer(1.0)(RAMP, training=False), RAMP)
    assert not np.array_equal(layer(1.0)(RAMP, training=True), RAMP)


def test_translated_images_are_shifted_copies_with_gray_rims():
    image = np.arange(1.0, 257.0, dtype=np.float32).reshape(1, 16, 16, 1)
    moved = layer(1.0, "translation")(np.repeat(image, 200, axis=0), training=True).numpy()
    shifts = set()
    for one in moved:
        rows, columns = np.nonzero(one[..., 0])
        origin = int(one[rows[0], columns[0], 0]) - 1
        down, right = rows[0] - origin // 16, columns[0] - origin % 16
        expected = np.zeros((20, 20))
        expected[2 + down : 18 + down, 2 + right : 18 + right] = image[0, ..., 0]
        np.testing.assert_array_equal(one[..., 0], expected[2:18, 2:18])
        shifts.add((down, right))
    assert {axis for shift in shifts for axis in shift} == {-2, -1, 0, 1, 2}
    assert len(shifts) == 25


def test_a_square_of_half_the_side_is_cut_out():
    cut = layer(1.0, "cutout")(np.ones((300, 16, 16, 1), np.float32), training=True).numpy()[..., 0] == 0.0
    areas = cut.sum(axis=(1, 2))
    assert areas.max() == 64
    assert areas.min() < 64  # at the rim
    for one in cut[areas == 64]:
        rows, columns = np.nonzero(one)
        assert (np.ptp(rows), np.ptp(columns)) == (7, 7)
    assert cut.any(axis=0).all()


def test_colors_are_mixed_evenly_over_an_image():
    changed = layer(1.0, "color")(RAMP, training=True).numpy()
    for before, after in zip(RAMP, changed, strict=True):
        gray = [image.mean(axis=2) for image in (before, after)]
        slope, offset = np.polyfit(gray[0].ravel(), gray[1].ravel(), 1)
        np.testing.assert_allclose(gray[1], slope * gray[0] + offset, atol=1e-5)
        assert 0.5 <= slope <= 1.5
        assert abs(after.mean() - before.mean()) <= 0.5
        ratio = (after - gray[1][..., np.newaxis]).std() / (before - gray[0][..., np.newaxis]).std()
        assert 0.0 <= ratio / slope <= 2.0


@kinds
def test_p_is_the_share_of_images_that_are_changed(kind):
    images = np.random.default_rng(0).uniform(-1, 1, (2000, 8, 8, 1)).astype(np.float32)
    changed = layer(0.3, kind)(images, training=True).numpy() != images
    moves = 8 / 9 if kind == "translation" else 1.0  # one move in nine is by no pixel
    assert changed.any(axis=(1, 2, 3)).mean() == pytest.approx(0.3 * moves, abs=0.03)


@kinds
def test_the_slope_agrees_with_finite_differences(kind):
    factors, direction = np.random.default_rng(1).normal(size=(2, *RAMP.shape)).astype(np.float32)

    def value(x):
        return tf.reduce_sum(layer(1.0, kind)(x, training=True) * factors)  # a new layer draws the same

    with tf.GradientTape() as tape:
        x = tf.constant(RAMP)
        tape.watch(x)
        total = value(x)
    slope = float(tf.reduce_sum(tape.gradient(total, x) * direction))
    assert slope == pytest.approx((float(value(x + direction)) - float(value(x - direction))) / 2, rel=1e-2, abs=1e-2)
    assert abs(slope) > 0.1


def test_real_images_and_fakes_are_augmented_and_gradients_reach_g():
    gan = game()
    batch = gan.fakes_for(_batch())
    plain = gan.discriminator.layers[-1]
    for some in (_batch(), batch):
        logits = gan.judged(some).logits
        assert not np.allclose(logits, plain(some.samples))
    with tf.GradientTape() as tape:
        loss = gan.generator_loss(_batch(), gan.judged(gan.fakes_for(_batch())))
    slopes = tape.gradient(loss, gan.g_variables)
    assert all(float(tf.norm(slope)) > 0.0 for slope in slopes)


def test_with_probability_0_it_is_the_plain_game():
    trained = []
    for augments in (True, False):
        gan = game(0.0)
        if not augments:
            plain = GAN(gan.generator, gan.discriminator.layers[-1], latent_dim=2, seed=0)
            plain.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
            gan = plain
        gan.fit(tf.data.Dataset.from_tensors(RAMP).repeat(3), verbose=0)
        trained.append(gan)
    for one, other in zip(*(gan.trainable_variables for gan in trained), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_penalty_computes_with_it():
    critic = lambda x: discriminator()(x, training=True)  # noqa: E731
    assert np.isfinite(float(penalties.r1()(critic, tf.constant(RAMP), tf.constant(RAMP))))


def test_p_is_saved_and_a_training_goes_on(tmp_path):
    def train(name, epochs):
        gan = game(0.5)
        steer = AdaptiveAugmentation(RAMP[:4], RAMP[4:], target=0.1, every=1, speed=0.125)
        gan.fit(data.batches(RAMP, 4), epochs=epochs, verbose=0, callbacks=[steer, Checkpoint(tmp_path / name)])
        return gan, steer

    whole, course = train("whole", 2)
    train("parts", 1)
    again, resumed = train("parts", 2)
    assert resumed.course == course.course
    assert len(course.course) == 4
    for one, other in zip(whole.variables, again.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    whole.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras").discriminator.layers[1]
    assert float(loaded.probability) == pytest.approx(course.course[-1][2])
    assert loaded.kinds == augmentation.KINDS


def test_p_follows_the_gap():
    gan, steer = game(0.5), AdaptiveAugmentation(RAMP[:4], RAMP[4:], target=0.4, every=2, speed=0.3)
    plain = gan.discriminator.layers[-1]
    means = RAMP.mean(axis=(1, 2, 3))
    plain.layers[-1].set_weights(
        [np.full((768, 1), -1.0), np.array([768 * means[3:5].mean()])]
    )  # real are the first four
    steer.set_model(gan)
    steer.on_train_begin()
    for call in range(6):
        steer.on_train_batch_end(call)
    assert [round(p, 6) for _, _, p in steer.course] == [0.8, 1.0, 1.0]
    assert {r for _, r, _ in steer.course} == {1.0}
    steer.target = 1.0 - 1e-9
    plain.layers[-1].set_weights([np.zeros((768, 1)), np.array([1.0])])  # all are
    for call in range(8):
        steer.on_train_batch_end(call)
    assert [round(p, 6) for _, _, p in steer.course[3:]] == [0.7, 0.4, 0.1, 0.0]


REFUSED = {
    "p": (lambda: Augmentation(1.5), "Got probability=1.5, expected a number from 0 to 1"),
    "a word": (lambda: Augmentation(kinds="cutout"), "Got kinds='cutout', expected some of color, translation, cutout"),
    "nothing": (lambda: Augmentation(kinds=()), r"Got kinds=\(\), expected some of"),
    "vectors": (lambda: Augmentation()(np.zeros((2, 3))), r"Got the input shape \(2, 3\), expected \(batch, height"),
    "no network": (lambda: augmentation.augmented("D", Augmentation()), "Got a str as discriminator"),
    "labels": (
        lambda: augmentation.augmented(
            models.conditional_discriminator(models.mlp_discriminator((4,), (2,)), 2), Augmentation()
        ),
        "reads labels too",
    ),
    "target": (lambda: AdaptiveAugmentation(RAMP, RAMP, target=0.0), "Got target=0.0, every=10 and speed=0.02"),
    "bytes": (lambda: AdaptiveAugmentation(100.0 * RAMP, RAMP), "Got values from -100 to 100"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_augment_is_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_a_discriminator_that_does_not_augment_cannot_be_steered():
    gan = GAN(models.mlp_generator(2, (16, 16, 3), (4,)), models.mlp_discriminator((16, 16, 3), (4,)), latent_dim=2)
    gan.compile(keras.optimizers.SGD(), keras.optimizers.SGD())
    with pytest.raises(ValueError, match="The discriminator does not augment"):
        gan.fit(data.batches(RAMP, 4), verbose=0, callbacks=[AdaptiveAugmentation(RAMP, RAMP)])
