"""What the study of D's features computes itself, against numbers worked out by hand and scikit-learn."""

import features
import numpy as np
import pytest
from sklearn.svm import LinearSVC

from gan_utils import data, models


def test_every_layer_is_max_pooled_to_four_by_four_with_same_padding():
    network = models.dcgan_discriminator(base_filters=2)
    images = np.random.default_rng(0).uniform(-1, 1, (3, 28, 28, 1)).astype(np.float32)
    found = features.pooled(network)(images).numpy()
    assert found.shape == (3, 4 * 4 * (2 + 4 + 8))
    first = np.array(network.layers[1](network.layers[0](images)))  # (3, 14, 14, 2)
    padded = np.pad(first, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    by_hand = padded.reshape(3, 4, 4, 4, 4, 2).max(axis=(2, 4))
    np.testing.assert_allclose(found[:, :32], by_hand.reshape(3, -1), rtol=1e-6)


def test_the_svm_is_the_one_of_scikit_learn():
    random = np.random.default_rng(0)
    labels = np.arange(200) % 10
    inputs = (random.normal(size=(10, 30))[labels] + 2.0 * random.normal(size=(200, 30))).astype(np.float32)
    ours = features.fit_svm(inputs, labels, 0.01, tolerance=1e-9)
    theirs = LinearSVC(C=0.01, tol=1e-6, max_iter=100_000, random_state=0).fit(inputs, labels)
    np.testing.assert_allclose(ours[:-1].T, theirs.coef_, atol=2e-3)
    np.testing.assert_allclose(ours[-1], theirs.intercept_, atol=2e-3)
    warm = features.fit_svm(inputs, labels, 0.01, ours + 0.1, tolerance=1e-9)
    np.testing.assert_allclose(warm, ours, atol=2e-3)
    assert features.svm_error(ours, inputs, labels) == pytest.approx(1.0 - theirs.score(inputs, labels), abs=0.0051)


def test_a_k_means_feature_says_how_much_nearer_than_the_others_a_centroid_is():
    images = np.full((1, 28, 28, 1), -1.0, np.float32)
    images[:, 20:] = 1.0  # most patches are flat: normalised, they are 0
    ends = np.zeros((2, 36), np.float32)
    ends[1, 0] = 3.0  # distances 0 and 3 from a flat patch, 1.5 in the mean
    found = features.triangles(images, np.zeros(36, np.float32), np.eye(36, dtype=np.float32), ends)
    assert found.shape == (1, 4 * 4 * 2)
    np.testing.assert_allclose(found[0, :2], [1.5, 0.0], atol=1e-6)
    assert (found[0, 16:24:2] < 1.4).all()  # the third row of cells has the edge in it


def test_a_patch_is_normalised():
    flat, edge = np.full(36, 0.3), np.repeat([-1.0, 1.0], 18)
    found = features.normalised(np.stack([flat, edge]))
    np.testing.assert_allclose(found, [np.zeros(36), edge / np.sqrt(1.0 + 10.0 / 127.5**2)], atol=1e-9)


def test_random_weights_get_the_statistics_of_the_images(monkeypatch):
    monkeypatch.setattr(features, "FILTERS", 8)
    images = np.random.default_rng(0).uniform(-1, 1, (256, 28, 28, 1)).astype(np.float32)
    network = features.settled(images, seed=0)
    maps = features.pooled(network)(images).numpy()[:, 16 * (8 + 16) :]  # of the last layer, not pooled
    before = np.where(maps > 0, maps, maps / models.LEAKY_SLOPE)
    assert before.mean() == pytest.approx(0.0, abs=0.02)
    assert before.std() == pytest.approx(1.0, abs=0.05)


def test_labelled_images_are_balanced_and_never_held_out():
    images, labels = features.labelled("MNIST", 100, seed=1)
    assert np.bincount(labels).tolist() == [10] * 10
    held_out = {image.tobytes() for image in data.load_mnist("train")[0][-features.study.HELD_OUT :]}
    assert not any(image.tobytes() in held_out for image in images)


def test_the_best_penalty_has_the_fewest_errors_and_is_the_smallest_of_equals(monkeypatch, tmp_path):
    runs = '[{"kind": "pixels", "data": "MNIST", "errors": {"0.1": 0.2, "0.01": 0.1, "1": 0.1}}]'
    (tmp_path / "features_penalties.json").write_text(f'{{"runs": {runs}}}', "utf-8")
    monkeypatch.setattr(features.study, "FOLDER", tmp_path)
    assert features.best("pixels", "MNIST") == 0.01
