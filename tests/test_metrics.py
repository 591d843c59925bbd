import numpy as np
import pytest
from scipy import linalg

from gan_utils import data, metrics

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(500, 6)) @ RANDOM.normal(size=(6, 6))
OTHERS = RANDOM.normal(size=(300, 6)) @ RANDOM.normal(size=(6, 6)) + 1.0


def test_the_distance_between_two_normals_is_that_of_their_formula():
    # In one dimension: (μ_a − μ_b)² + (σ_a − σ_b)².
    a, b = np.array([[-1.0], [1.0]]), np.array([[2.0], [8.0]])  # variances with ddof = 1: 2 and 18
    assert metrics.frechet_distance(a, b) == pytest.approx(25.0 + (np.sqrt(18) - np.sqrt(2)) ** 2)


def test_the_distance_agrees_with_a_matrix_square_root():
    covariances = [np.cov(features, rowvar=False) for features in (FEATURES, OTHERS)]
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.sum((FEATURES.mean(axis=0) - OTHERS.mean(axis=0)) ** 2) + np.trace(sum(covariances) - 2.0 * root)
    assert metrics.frechet_distance(FEATURES, OTHERS) == pytest.approx(expected, rel=1e-9)
    assert metrics.frechet_distance(OTHERS, FEATURES) == pytest.approx(expected, rel=1e-9)


def test_a_shift_costs_its_square_and_nothing_costs_nothing():
    assert metrics.frechet_distance(FEATURES, FEATURES + 2.0) == pytest.approx(24.0)
    assert metrics.frechet_distance(FEATURES, FEATURES) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("features", [np.zeros((5, 6)), FEATURES[:2], np.repeat(FEATURES[:1], 9, axis=0)])
def test_collapsed_or_few_features_have_a_finite_distance(features):
    distance = metrics.frechet_distance(features, FEATURES)
    assert np.isfinite(distance)
    assert distance > 0.0


@pytest.mark.parametrize("broken", [np.zeros(5), np.zeros((1, 6)), np.full((5, 6), np.nan), np.full((5, 6), np.inf)])
def test_features_without_a_distance_are_refused(broken):
    with pytest.raises(ValueError, match=r"Got features of shape .* expected \(samples, features\)"):
        metrics.frechet_distance(broken, FEATURES)


def test_features_of_two_extractors_are_refused():
    with pytest.raises(ValueError, match="Got 5 and 6 features, expected as many"):
        metrics.frechet_distance(FEATURES[:, :5], FEATURES)


def test_digits_are_closer_to_digits_than_to_noise():
    real, _ = data.load_mnist("test")
    features, logits = metrics.digit_features(real[:2000])
    assert features.shape == (2000, 128)
    assert logits.shape == (2000, 10)
    other, _ = metrics.digit_features(real[2000:4000])
    noise, _ = metrics.digit_features(np.clip(real[2000:4000] + RANDOM.normal(size=(2000, 28, 28, 1)), -1.0, 1.0))
    assert 10.0 * metrics.frechet_distance(features, other) < metrics.frechet_distance(features, noise)
