"""What the studies of normalisation and attention compute themselves, against numbers worked out by hand."""

import far_apart
import keras
import numpy as np
import pytest
import reference_norm
import stability
import study
import tensorflow as tf
import two_time_scales

from gan_utils import models, normalization


def test_marks_of_real_images_agree():
    made = far_apart.images(3_000, seed=0)
    assert made.shape == (3_000, 16, 16, 3)
    assert np.abs(made[:, 3:13, 3:13]).max() == 0.0
    agree, chance, clear = far_apart.counted(made)
    assert (agree, clear) == (1.0, 1.0)
    assert chance == pytest.approx(1 / 6, abs=0.01)


def test_agreement_is_counted_against_chance():
    made = far_apart.images(4, seed=0)
    first, last = far_apart.corners()
    np.testing.assert_allclose(far_apart.coloured(0.0), [1.0, -0.5, -0.5])
    for index, (one, other) in enumerate([(0, 29), (0, 31), (350, 10), (180, 181)]):
        made[index][first], made[index][last] = (far_apart.coloured(np.radians(hue)) for hue in (one, other))
    made[3][last] *= 0.4  # not clear
    # 0 agrees with 29 and 10, 350 with 10, 180 with 181; of other images: 0 with 10, twice, and 0 with 29, once.
    assert far_apart.counted(made) == (0.75, 0.25, 0.75)


@pytest.mark.parametrize("attention", [False, True])
def test_without_attention_no_network_sees_both_corners(attention):
    keras.utils.set_random_seed(0)
    generator, discriminator = far_apart.generator(attention), far_apart.discriminator(attention)
    patches = keras.Model(discriminator.inputs[0], discriminator.layers[-2].output)
    for network in (generator, discriminator):
        for layer in network.layers:
            if hasattr(layer, "gamma"):
                layer.gamma.assign(1.0)
    first, last = far_apart.corners()
    latent = tf.random.stateless_normal((1, 128), (1, 2))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(latent)
        drawn = generator(latent)
        marks = [tf.reduce_sum(drawn[:, *corner]) for corner in (first, last)]
    read = [np.abs(tape.gradient(mark, latent)) > 0 for mark in marks]
    assert np.any(read[0] & read[1]) == attention

    image = np.random.default_rng(0).uniform(-1.0, 1.0, (1, 16, 16, 3)).astype("float32")
    moved = []
    for corner in (first, last):
        other = image.copy()
        other[:, *corner] *= -1.0
        moved.append(patches(other).numpy() != patches(image).numpy())
    assert np.any(moved[0] & moved[1]) == attention


def test_with_and_without_attention_there_are_as_many_weights():
    for network in (far_apart.generator, far_apart.discriminator):
        assert network(True).count_params() - network(False).count_params() == 1  # γ


def test_the_slope_of_a_linear_critic():
    critic = keras.Sequential([keras.Input((2, 1, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    critic.layers[-1].kernel.assign([[3.0], [4.0]])
    real, fake = np.zeros((2, 2, 1, 1), "float32"), np.array([[3.0, 4.0], [4.0, -3.0]], "float32").reshape(2, 2, 1, 1)
    assert stability.slope(critic, real, fake) == pytest.approx((5.0, 5.0, 5.0))
    assert stability.product_of_norms(critic) == pytest.approx(5.0)


def test_how_a_training_ended():
    assert stability.ended([[10, 1.0, 5.0, 0.9], [20, 2.0, 9.0, 0.24]]) == "collapsed"
    assert stability.ended([[10, 1.0, 5.0, 0.1], [20, 2.0, 9.0, 0.26]]) == "running"
    assert stability.ended([[10, 1.0, 5.0, 0.9], [20, 2.0, None, None]]) == "NaN"
    spectral = stability.build("spectral", 1e-3).discriminator
    assert stability.product_of_norms(spectral) > 1.0  # one iteration from a random u finds too small a σ


def test_corners_and_best_pairs_are_confirmed(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "FOLDER", tmp_path)
    low, *_, high = two_time_scales.RATES
    found = {(low, low): 9.0, (1e-3, 1e-3): 5.0, (low, high): 4.0, (1e-3, 2e-3): 3.0, (2e-3, 1e-3): None}
    runs = [{"d_rate": d, "g_rate": g, "frechet": value} for (d, g), value in found.items()]
    study.write({"runs": runs}, tmp_path / "two_time_scales_grid.json")
    pairs = two_time_scales.confirmed()
    assert pairs == [(1e-3, 1e-3), (1e-3, 2e-3), (low, low), (low, high), (high, low), (high, high)]
    gan = two_time_scales.build(1e-3, 2e-3)
    assert [float(optimizer.learning_rate) for optimizer in (gan.d_optimizer, gan.g_optimizer)] == [
        pytest.approx(1e-3),
        pytest.approx(2e-3),
    ]


def test_nearness_knows_who_copies_the_reference():
    images = np.random.default_rng(0).uniform(-1.0, 1.0, (4_000, 28, 28, 1)).astype("float32")
    chosen = np.arange(64)
    found = reference_norm.nearness(images[chosen], images, chosen, np.random.default_rng(1))["nearest_in_pixels"]
    assert found[0] < 0.01
    assert found[1] > 10.0


def test_exchanging_a_reference_puts_it_back(monkeypatch):
    reference = np.random.default_rng(0).normal(size=(8, 100)).astype("float32")
    network = normalization.with_reference(models.dcgan_generator(base_filters=2), reference)
    holder = next(layer for layer in network.layers if isinstance(layer, normalization.ReferenceBatch))
    used = []

    class Drawn:
        generator = network

        def sample(self, count, seed):
            used.append(holder.reference.numpy())
            return np.zeros((count, 28, 28, 1))

    monkeypatch.setattr(study, "frechet", lambda samples: 7.0)
    assert reference_norm.exchange(Drawn(), 2.0 * reference) == 7.0
    np.testing.assert_array_equal(used[0], 2.0 * reference)
    np.testing.assert_array_equal(holder.reference, reference)
