"""What the studies of labels compute themselves, against numbers worked out by hand."""

import conditional
import keras
import label_laboratory
import numpy as np
import pytest
import semi_supervised
import tensorflow as tf
from keras import layers


def test_conditional_batch_norm_has_a_scale_and_an_offset_for_each_class():
    maps, labels = keras.Input((1, 2, 2)), keras.Input((2,))
    network = keras.Model([maps, labels], conditional.conditional_batch_norm(maps, labels))
    of_labels = [layer for layer in network.layers if isinstance(layer, layers.Dense)]
    for layer, rows in zip(of_labels, ([[1.0, 1.0], [2.0, 3.0]], [[0.0, 0.0], [5.0, 7.0]]), strict=True):
        layer.kernel.assign(rows)
    x = np.array([[[[1.0, 0.0], [3.0, 4.0]]], [[[1.0, 0.0], [3.0, 4.0]]]])  # means 2 and 2, standard deviations 1 and 2
    y = network([tf.constant(x, tf.float32), tf.eye(2)], training=True)
    np.testing.assert_allclose(y[0, 0], [[-1, -1], [1, 1]], atol=1e-4)
    np.testing.assert_allclose(y[1, 0], [[-2 + 5, -3 + 7], [2 + 5, 3 + 7]], atol=1e-4)


def test_every_norm_of_the_conditional_generator_reads_the_label_and_nothing_else_does():
    network = conditional.conditionally_normalized_generator(10)
    assert sum(isinstance(layer, layers.BatchNormalization) for layer in network.layers) == 3
    latent = tf.random.stateless_normal((2, 100), (0, 0))
    one, other = (network([latent, tf.one_hot([digit, digit], 10)]) for digit in (3, 4))
    np.testing.assert_array_equal(one, other)  # as long as all rows are alike
    for layer in network.layers:
        if isinstance(layer, layers.Dense) and layer.kernel.shape[0] == 10:
            layer.kernel.assign(layer.kernel + 0.1 * tf.one_hot([3], 10, axis=0))
    assert np.abs(network([latent, tf.one_hot([3, 4], 10)]) - one).max(axis=(1, 2, 3)).tolist()[1] == 0.0
    assert np.abs(network([latent, tf.one_hot([3, 3], 10)]) - one).max() > 1e-5
    assert network.count_params() == conditional.unconditional(10)[0].count_params() + 9 * 2 * (64 + 32 + 16)


def test_labels_of_another_kind():
    digits, random = np.tile(np.arange(10), 2_000), np.random.default_rng(0)
    wrong = conditional.LABELS["half wrong"](None, digits, random)
    assert np.mean(wrong == digits) == pytest.approx(0.5, abs=0.02)
    counts = np.bincount((wrong - digits)[wrong != digits] % 10, minlength=10)
    assert counts[0] == 0
    assert counts[1:].min() > 1_000  # of about 1,111 each
    chance = conditional.LABELS["random"](None, digits, random)
    assert np.mean(chance == digits) == pytest.approx(0.1, abs=0.02)


def test_samples_of_several_models_come_class_by_class(monkeypatch):
    class Draws:
        """Model k draws 2k and 2k + 1 in turn."""

        def __init__(self, labels):
            self.labels = sorted(set(labels))

        def sample(self, count, seed):
            return np.resize(self.labels, count).reshape(-1, 1, 1, 1)

    def train(seed, method, rate, images, labels, classes, seconds):
        assert (set(labels), classes, seconds) == ({0, 1}, 2, 30.0)
        return Draws(images), {"g_steps": 2, "cpu_seconds": 30.0, "weights": 5}

    monkeypatch.setattr(conditional, "train", train)
    digits = np.arange(10).repeat(3)
    fakes, asked, told = conditional.trained(0, "AC-GAN, five models of two digits", 1e-3, digits, digits, 150.0)
    np.testing.assert_array_equal(fakes.ravel(), asked)
    assert np.bincount(asked).tolist() == [1_000] * 10
    assert told == {"g_steps": 10, "cpu_seconds": 150.0, "weights": 25}


def test_information_is_counted():
    a = np.tile(np.arange(4), 5_000)
    assert label_laboratory.information(a, a // 2) == pytest.approx(np.log(2), abs=1e-3)
    assert label_laboratory.information(a, a) == pytest.approx(np.log(4), abs=1e-3)
    by_chance = np.random.default_rng(0).integers(0, 500, len(a))
    assert label_laboratory.information(a, by_chance) == pytest.approx(0.0, abs=0.005)  # 0.037 without the correction


def test_the_best_classifier_of_three_gaussians():
    assert label_laboratory.bayes_accuracy() == pytest.approx((4 * 0.6914624612740131 - 1) / 3, abs=1e-6)
    assert label_laboratory.nearest(np.array([[-3.0], [-0.6], [-0.4], [0.4], [0.6]])).tolist() == [0, 0, 1, 1, 2]


def test_a_mixed_batch_has_all_that_was_asked_for():
    samples, known = np.zeros((10, 2)), np.array([[1.0, 1.0], [2.0, 2.0]])
    for points, labels in semi_supervised.mixed(samples, known, np.array([1, 0]), 0, 5, 2).take(3):
        assert labels.numpy().tolist()[:5] == [-1] * 5
        assert {(point[0], label) for point, label in zip(points.numpy()[5:], labels.numpy()[5:], strict=True)} == {
            (1.0, 1),
            (2.0, 0),
        }
        assert points.shape == (7, 2)
