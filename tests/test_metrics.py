import json
import pathlib
import tracemalloc

import keras
import metric_fixtures
import numpy as np
import pytest
from scipy import linalg

from gan_utils import data, metrics

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(500, 6)) @ RANDOM.normal(size=(6, 6))
FIXTURES = json.loads(pathlib.Path(metric_fixtures.PATH).read_text("utf-8"))["cases"]
CASES = metric_fixtures.cases()
OTHERS = RANDOM.normal(size=(300, 6)) @ RANDOM.normal(size=(6, 6)) + 1.0


CENTERS = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


@pytest.mark.parametrize(
    ("samples", "modes", "good"),
    [
        ([[0.0, 0.0], [10.0, 0.5], [0.5, 10.0], [10.0, 10.0]], 4, 1.0),
        ([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [0.0, -0.1]], 1, 1.0),
        ([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [10.0, 8.0]], 1, 0.25),  # three modes that only bad samples reach
        ([[0.0, 0.0], [10.0, 2.0], [10.0, 0.0], [99.0, 99.0]], 2, 0.5),  # one mode of good and bad samples
        ([[5.0, 5.0], [-9.0, 0.0]], 0, 0.0),
        ([[1.0, 0.0], [0.0, 8.99]], 1, 0.5),  # at the distance of the radius, and beyond
        ([[0.8, 0.8]], 0, 0.0),  # Euclidean: 1.13
    ],
)
def test_a_mode_is_covered_by_a_good_sample_only(samples, modes, good):
    assert metrics.mode_coverage(np.array(samples), CENTERS, radius=1.0) == (modes, good)


def test_a_sample_between_two_modes_covers_the_nearer_one_only():
    assert metrics.mode_coverage(np.array([[4.0, 0.0]]), CENTERS, radius=7.0) == (1, 1.0)
    assert metrics.mode_coverage(np.array([[4.0, 0.0], [6.0, 0.0]]), CENTERS, radius=7.0) == (2, 1.0)


def test_modes_are_covered_in_any_number_of_dimensions():
    assert metrics.mode_coverage(np.array([[1.0], [2.0], [5.2]]), np.array([[1.0], [3.0], [5.0]]), 0.5) == (2, 2 / 3)
    assert metrics.mode_coverage(np.eye(5), np.eye(5), 1e-9) == (5, 1.0)


def test_true_samples_within_three_standard_deviations_are_good():
    centers = data.grid_centers(5)
    samples = data.gaussian_mixture(100_000, centers, std=0.05)
    modes, good = metrics.mode_coverage(samples, centers, radius=3 * 0.05)
    assert modes == 25
    # 1 − exp(−9/2) = 0.98889 with a standard error of √(0.98889·0.01111/100,000) = 0.00033: five of them
    assert good == pytest.approx(0.98889, abs=0.0017)


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


@pytest.mark.parametrize("name", ["fewer samples than features", "rank 5 of 32", "collapsed to three points"])
def test_the_distance_of_singular_covariances_is_exact(name):
    """tr (Σ_a^½ Σ_b Σ_a^½)^½ is the sum of the singular values of A Bᵀ, where Σ_a = AᵀA: no root of a matrix needed."""
    real, fake = CASES[name]
    a, b = ((features - features.mean(axis=0)) / np.sqrt(len(features) - 1) for features in (real, fake))
    overlap = linalg.svdvals(a @ b.T).sum()
    expected = np.sum((real.mean(axis=0) - fake.mean(axis=0)) ** 2) + np.sum(a**2) + np.sum(b**2) - 2.0 * overlap
    assert metrics.frechet_distance(real, fake) == pytest.approx(expected, rel=1e-8)


def test_a_shift_costs_its_square_and_nothing_costs_nothing():
    assert metrics.frechet_distance(FEATURES, FEATURES + 2.0) == pytest.approx(24.0)
    assert metrics.frechet_distance(FEATURES, FEATURES) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("features", [np.zeros((5, 6)), FEATURES[:2], np.repeat(FEATURES[:1], 9, axis=0)])
def test_collapsed_or_few_features_have_a_finite_distance(features):
    distance = metrics.frechet_distance(features, FEATURES)
    assert np.isfinite(distance)
    assert distance > 0.0


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_torch_fidelity_and_prdc(name):
    real, fake = CASES[name]
    scores = metrics.precision_recall(real, fake, metric_fixtures.K)
    sizes = {"subset_size": metric_fixtures.SUBSET_SIZE, "subsets": metric_fixtures.SUBSETS}
    kernel_mean, kernel_std = metrics.kernel_distance(fake, real, **sizes)
    inception_mean, inception_std = metrics.inception_score(fake, metric_fixtures.SPLITS)
    found = {
        "frechet_inception_distance": metrics.frechet_distance(fake, real),
        "kernel_inception_distance_mean": kernel_mean,
        "kernel_inception_distance_std": kernel_std,
        "inception_score_mean": inception_mean,
        "inception_score_std": inception_std,
        **{name: scores[name] for name in ("precision", "recall", "density", "coverage")},
        "f_score": scores["f1"],
    }
    assert found == pytest.approx(FIXTURES[name], rel=1e-6, abs=1e-10)


def test_the_kernel_distance_is_the_formula_over_all_pairs():
    a, b = FEATURES[:30], OTHERS[:30]
    kernel = lambda x, y: (x @ y / 6 + 1.0) ** 3  # noqa: E731
    within = sum(kernel(x[i], x[j]) for x in (a, b) for i in range(30) for j in range(30) if i != j) / (30 * 29)
    between = np.mean([kernel(x, y) for x in a for y in b])
    mean, std = metrics.kernel_distance(a, b, subset_size=30, subsets=3)
    assert mean == pytest.approx(within - 2.0 * between)
    assert std == pytest.approx(0.0, abs=1e-9 * mean)  # each subset is the whole set


def test_the_kernel_distance_of_equal_distributions_is_0_on_average_at_any_size():
    for size in (20, 200):
        random = np.random.default_rng(1)
        estimates = [metrics.kernel_distance(*random.normal(size=(2, size, 4)), size, 1)[0] for _ in range(200)]
        assert abs(np.mean(estimates)) < 3.0 * np.std(estimates) / np.sqrt(200)
        assert min(estimates) < 0.0 < max(estimates)


def test_the_inception_score_is_1_without_quality_and_counts_the_classes_that_occur():
    rng = np.random.default_rng(0)
    assert metrics.inception_score(np.tile(rng.normal(size=(1, 10)), (100, 1)))[0] == pytest.approx(1.0)
    sure = 50.0 * np.eye(10)[rng.integers(4, size=1000)]  # four of ten classes
    assert metrics.inception_score(sure, splits=1)[0] == pytest.approx(4.0, abs=0.02)


def test_the_inception_score_survives_logits_that_overflow_an_exponential():
    assert metrics.inception_score(1e4 * np.eye(5), splits=1)[0] == pytest.approx(5.0)


def test_precision_sees_bad_samples_and_recall_missing_ones():
    real = np.random.default_rng(0).normal(size=(600, 2))
    half = np.random.default_rng(1).normal(size=(600, 2)) * [0.3, 1.0]
    wide = np.random.default_rng(1).normal(size=(600, 2)) * [3.0, 1.0]
    narrow, broad = metrics.precision_recall(real, half), metrics.precision_recall(real, wide)
    assert narrow["precision"] > 0.95 > 0.8 > narrow["recall"]
    assert broad["recall"] > 0.85 > 0.8 > broad["precision"]
    assert narrow["coverage"] < 0.8


def test_the_rim_of_a_ball_belongs_to_precision_and_recall_but_not_to_density_and_coverage():
    real = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])  # with k = 1 all radii are 1
    scores = metrics.precision_recall(real, real + np.array([0.0, 1.0]), k=1)
    assert scores == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "density": 0.0, "coverage": 0.0}


def test_one_far_outlier_raises_recall_but_not_coverage():
    real = np.random.default_rng(0).normal(size=(500, 2))
    fake = np.random.default_rng(1).normal(size=(500, 2)) * 0.1
    outlier = np.vstack([fake, [[0.0, 50.0]]])
    before, after = metrics.precision_recall(real, fake), metrics.precision_recall(real, outlier)
    assert before["recall"] < 0.1
    assert after["recall"] > 0.4  # half the plane is in the ball of the outlier
    assert after["coverage"] == before["coverage"]


def test_f1_is_0_and_not_an_error_where_both_are_0():
    scores = metrics.precision_recall(np.eye(6), 100.0 + np.eye(6))
    assert scores == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "density": 0.0, "coverage": 0.0}


def test_the_nearest_neighbors_are_those_of_all_distances():
    distances, indices = metrics.nearest_neighbors(OTHERS, FEATURES, k=4)
    every = np.linalg.norm(OTHERS[:, np.newaxis] - FEATURES, axis=-1)
    np.testing.assert_array_equal(indices, every.argsort(axis=1)[:, :4])
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :4])


def test_no_matrix_of_all_pairs_is_ever_in_memory():
    real, fake = np.random.default_rng(0).normal(size=(2, 6000, 4))
    tracemalloc.start()
    metrics.precision_recall(real, fake)
    metrics.kernel_distance(real, fake, subset_size=6000, subsets=1)
    metrics.nearest_neighbors(fake, real)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6000**2 * 8 * 0.7  # measured: 0.55, in blocks of 1,000 rows


METRICS = {
    "frechet_distance": metrics.frechet_distance,
    "kernel_distance": lambda a, b: metrics.kernel_distance(a, b, subset_size=4),
    "precision_recall": metrics.precision_recall,
    "nearest_neighbors": metrics.nearest_neighbors,
    "inception_score": lambda a, b: metrics.inception_score(a, splits=2),
}
BROKEN = {
    "one-dimensional": (np.zeros(5), r"Got an array of shape \(5,\), expected \(samples, features\)"),
    "images": (np.zeros((9, 28, 28, 1)), r"shape \(9, 28, 28, 1\), expected .* Images become features by a network"),
    "no features": (np.zeros((9, 0)), r"shape \(9, 0\), expected"),
    "no samples": (np.zeros((0, 6)), "Got 0 samples, expected at least"),
    "NaN": (np.where(np.arange(54).reshape(9, 6) < 8, np.nan, 1.0), "Got 2 of 9 samples with NaN or infinite"),
    "infinite": (np.full((9, 6), np.inf), "Got 9 of 9 samples with NaN or infinite values. Remove them"),
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("name", METRICS)
def test_features_that_make_no_number_are_refused(name, fault):
    broken, message = BROKEN[fault]
    for pair in ((broken, FEATURES), (FEATURES, broken))[: 1 if name == "inception_score" else 2]:
        with pytest.raises(ValueError, match=message):
            METRICS[name](*pair)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "inception_score"])
def test_features_of_two_extractors_are_refused(name):
    with pytest.raises(ValueError, match="Got 5 and 6 features, expected as many"):
        METRICS[name](FEATURES[:, :5], FEATURES)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.frechet_distance(FEATURES[:1], FEATURES), "Got 1 samples, expected at least 2"),
        (lambda: metrics.kernel_distance(FEATURES[:99], FEATURES, 100), "Got 99 samples, expected at least 100"),
        (lambda: metrics.kernel_distance(FEATURES, FEATURES, 1), "Got subset_size=1 and subsets=100"),
        (lambda: metrics.kernel_distance(FEATURES, FEATURES, 10, 0), "Got subset_size=10 and subsets=0"),
        (lambda: metrics.inception_score(FEATURES[:9]), "Got 9 samples, expected at least 10"),
        (lambda: metrics.inception_score(FEATURES, 0), "Got splits=0, expected at least 1"),
        (lambda: metrics.precision_recall(FEATURES[:3], FEATURES), "Got 3 samples, expected at least 4"),
        (lambda: metrics.precision_recall(FEATURES, FEATURES[:5], k=5), "Got 5 samples, expected at least 6"),
        (lambda: metrics.precision_recall(FEATURES, FEATURES, k=0), "Got k=0, expected a whole number of at least 1"),
        (lambda: metrics.precision_recall(FEATURES, FEATURES, k=2.5), "Got k=2.5, expected a whole number"),
        (lambda: metrics.nearest_neighbors(FEATURES, FEATURES[:2], k=3), "Got k=3 and 2 references"),
    ],
)
def test_too_few_samples_and_neighbours_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_inception_without_its_weights_says_what_to_do(monkeypatch):
    def offline(**kwargs):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "InceptionV3", offline)
    with pytest.raises(
        OSError, match=r"weights of Inception-v3 cannot be had.*or use gan_utils.metrics.digit_features"
    ):
        metrics.inception_features(np.zeros((2, 32, 32, 3)))


def test_inception_gives_its_last_pooling_layer_and_logits(monkeypatch):
    build = keras.applications.InceptionV3
    monkeypatch.setattr(keras.applications, "InceptionV3", lambda **options: build(**{**options, "weights": None}))
    metrics._inception.cache_clear()
    images = RANDOM.uniform(-1.0, 1.0, size=(3, 32, 32, 3))
    features, logits = metrics.inception_features(images)
    metrics._inception.cache_clear()  # or the next user has a network without weights
    assert features.shape == (3, 2048)
    assert logits.shape == (3, 1000)
    assert not np.allclose(logits.sum(axis=1), 1.0)  # no softmax


def test_digits_are_closer_to_digits_than_to_noise():
    real, _ = data.load_mnist("test")
    features, logits = metrics.digit_features(real[:2000])
    assert features.shape == (2000, 128)
    assert logits.shape == (2000, 10)
    other, _ = metrics.digit_features(real[2000:4000])
    noise, _ = metrics.digit_features(np.clip(real[2000:4000] + RANDOM.normal(size=(2000, 28, 28, 1)), -1.0, 1.0))
    assert 10.0 * metrics.frechet_distance(features, other) < metrics.frechet_distance(features, noise)


def test_a_summary_is_the_mean_and_its_standard_error():
    assert metrics.summary([1.0, 2.0, 3.0]) == "2.0 ± 0.6"  # 1/√3
    assert metrics.summary([10, 20], 0) == "15 ± 5"
    assert metrics.summary([7.25], 2) == "7.25"


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]]])
def test_a_summary_of_no_row_of_numbers_is_refused(values):
    with pytest.raises(ValueError, match=r"expected \(seeds,\)"):
        metrics.summary(values)
