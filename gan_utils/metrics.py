"""Numbers that say how good samples are: functions of arrays of features. The networks that make features come last.

A feature extractor turns images into vectors in which a distance means something; only distances in the same features
compare. All arithmetic is float64. Where sets are drawn at random, the draws are those of torch-fidelity 0.4.0.
"""

import functools
from collections.abc import Sequence

import keras
import numpy as np
from scipy import linalg, special
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from gan_utils import data, models
from gan_utils.checks import as_numbers, is_real, is_whole

BLOCK = 1000  # rows of a matrix of distances or kernels that are in memory at a time
RIM = 1e-9  # relative: a copy of a sample's k-th neighbour is on the rim of its ball, however rounding falls


def summary(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± standard error of a number that each seed gave, in words; a single value has no error.

    Of two settings tried with the same seeds, give the differences, seed by seed: their error is the paired one.

    Args:
        values: one for each seed, at least one.
        digits: behind the point.

    Raises:
        ValueError: there are no values, or they are not in one row.

    Example:
        >>> summary([8, 7, 9])
        '8.0 ± 0.6'
    """
    values = as_numbers("values", values)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"Got values of shape {values.shape}, expected (seeds,), at least one.")
    error = f" ± {values.std(ddof=1) / len(values) ** 0.5:.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{error}"


def mode_coverage(samples: np.ndarray, centers: np.ndarray, radius: float) -> tuple[int, float]:
    """How many modes of a toy mixture are reached, and what share of the samples lies in one.

    A sample is good if its nearest center is within `radius`; a mode is covered if one good sample is nearest to it.
    With a radius of 3σ, 98.9 % of true samples of a two-dimensional Gaussian are good.

    Args:
        samples: (samples, dimensions).
        centers: (modes, dimensions).
        radius: in the unit of the samples, positive; usually 3 standard deviations of a mode.

    Returns:
        The number of covered modes, 0 to modes, and the share of good samples, 0 to 1.

    Raises:
        ValueError: shapes that do not fit, no samples, values that are not finite, or a radius that is not positive.

    Reference: the protocol of A. Srivastava et al., VEEGAN, 2017, arXiv:1705.07761.

    Example:
        >>> centers = np.array([[0.0, 0.0], [1.0, 0.0]])
        >>> mode_coverage(np.array([[0.01, 0.0], [0.0, 0.02], [0.5, 0.0], [0.0, 0.01]]), centers, radius=0.03)
        (1, 0.75)
    """
    samples, centers = _check_features(samples, centers, at_least=1)
    if not (is_real(radius) and radius > 0):
        raise ValueError(f"Got radius={radius!r}, expected a number above 0, such as 3 standard deviations of a mode.")
    distances = np.linalg.norm(samples[:, np.newaxis] - centers, axis=-1)  # (samples, modes)
    good = distances.min(axis=1) <= radius
    return len(np.unique(distances.argmin(axis=1)[good])), float(good.mean())


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """Squared Fréchet distance between two Gaussians with the means and covariances of two sets of features.

        |μ_a − μ_b|² + tr(Σ_a + Σ_b − 2 (Σ_a^½ Σ_b Σ_a^½)^½)

    On features of an Inception network this is the FID. Other features give other numbers, to be compared only among
    themselves, at the same number of samples: too few of them make the distance larger, by about 1/samples.

    Args:
        features_a: (samples, features).
        features_b: (samples, features), as many features; as many samples or not.

    Returns:
        The distance, at least 0. 0 for two sets of the same mean and covariance.

    Raises:
        ValueError: other shapes, different widths, fewer than 2 samples, or values that are not finite.

    Reference: M. Heusel et al., GANs Trained by a Two Time-Scale Update Rule …, 2017, arXiv:1706.08500.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(1000, 4))
        >>> print(f"{frechet_distance(features, features + [3, 0, 0, 0]):.4f}")
        9.0000
    """
    features_a, features_b = _check_features(features_a, features_b, at_least=2)
    (mean_a, covariance_a), (mean_b, covariance_b) = (
        (features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False))) for features in (features_a, features_b)
    )
    overlap = linalg.svdvals(_root(covariance_a) @ _root(covariance_b)).sum()  # tr (Σ_a^½ Σ_b Σ_a^½)^½
    distance = np.sum((mean_a - mean_b) ** 2) + np.trace(covariance_a) + np.trace(covariance_b) - 2.0 * overlap
    return max(float(distance), 0.0)


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0.0))) @ vectors.T  # what rounding made negative is 0


def kernel_distance(
    features_a: np.ndarray, features_b: np.ndarray, subset_size: int = 1000, subsets: int = 100, seed: int = 2020
) -> tuple[float, float]:
    """Squared maximum mean discrepancy under the kernel k(x, y) = (x·y/d + 1)³, without bias; on Inception's, the KID.

        mean of k(a, a′) + mean of k(b, b′) − 2 mean of k(a, b),    over a ≠ a′ and b ≠ b′

    Unlike the Fréchet distance it has the same expectation at any number of samples, so it may come out below 0.

    Args:
        features_a: (samples, d).
        features_b: (samples, d); as many samples or not.
        subset_size: samples of each set in one estimate, drawn without replacement; at least 2.
        subsets: how many estimates; at least 1.
        seed: of the draws.

    Returns:
        Mean and standard deviation of the estimates.

    Raises:
        ValueError: other shapes, different widths, values that are not finite, or fewer samples than `subset_size`.

    Reference: M. Bińkowski et al., Demystifying MMD GANs, 2018, arXiv:1801.01401.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(500, 4))
        >>> print("{:.2f} ± {:.2f}".format(*kernel_distance(features, features + 1.0, subset_size=400, subsets=20)))
        9.02 ± 0.26
    """
    if not (is_whole(subset_size, 2) and is_whole(subsets)):
        raise ValueError(f"Got subset_size={subset_size!r} and subsets={subsets!r}, expected at least 2 and 1.")
    features_a, features_b = _check_features(features_a, features_b, at_least=subset_size)
    random = np.random.RandomState(seed)  # an old stream, but torch-fidelity's: the same number
    estimates = []
    for _ in range(subsets):
        a = features_a[random.choice(len(features_a), subset_size, replace=False)]
        b = features_b[random.choice(len(features_b), subset_size, replace=False)]
        within = sum(_kernel_sum(x, x) - _cube((x * x).sum(axis=1) / x.shape[1] + 1.0).sum() for x in (a, b))
        estimates.append(within / (subset_size * (subset_size - 1)) - 2.0 * _kernel_sum(a, b) / subset_size**2)
    return float(np.mean(estimates)), float(np.std(estimates))


def _kernel_sum(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of k over all pairs of rows, a block at a time."""
    blocks = (a[start : start + BLOCK] for start in range(0, len(a), BLOCK))
    return sum(float(_cube(block @ b.T / a.shape[1] + 1.0).sum()) for block in blocks)


def _cube(x: np.ndarray) -> np.ndarray:
    return x * x * x  # several times faster than x**3


def inception_score(logits: np.ndarray, splits: int = 10, seed: int = 2020) -> tuple[float, float]:
    """exp E[KL(p(y|x) ‖ p(y))]: high if each image looks like one class (quality) and all classes occur (diversity).

    It never looks at real images. Any classifier will do; the name comes from the first one, Inception.

    Args:
        logits: (samples, classes), a classifier's answers before the softmax.
        splits: parts into which the shuffled samples are cut; each gives one score.
        seed: of the shuffling.

    Returns:
        Mean and standard deviation over the parts; each score is in [1, classes].

    Raises:
        ValueError: another shape, values that are not finite, or fewer samples than parts.

    Reference: T. Salimans et al., Improved Techniques for Training GANs, 2016, arXiv:1606.03498.

    Example:
        >>> sure_of_each_class = 100.0 * np.eye(10)
        >>> print("{:.1f} ± {:.1f}".format(*inception_score(sure_of_each_class, splits=1)))
        10.0 ± 0.0
    """
    if not is_whole(splits):
        raise ValueError(f"Got splits={splits!r}, expected at least 1; 10 is the usual number.")
    (logits,) = _check_features(logits, at_least=splits)
    logits = logits[np.random.RandomState(seed).permutation(len(logits))]
    scores = []
    for part in np.split(logits, [i * len(logits) // splits for i in range(1, splits)]):
        log_p = special.log_softmax(part, axis=1)  # (samples, classes)
        log_marginal = special.logsumexp(log_p, axis=0) - np.log(len(part))
        scores.append(np.exp(np.mean(np.sum(np.exp(log_p) * (log_p - log_marginal), axis=1))))
    return float(np.mean(scores)), float(np.std(scores))


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3) -> dict[str, float]:
    """Quality and diversity apart, by nearest neighbours.

    Around each sample of a set lies a ball that reaches its k-th nearest neighbour in the set; the balls together
    stand for where the set's distribution lives.

    - precision: share of fakes in a real ball. f1: harmonic mean of precision and recall.
    - recall: share of real samples in a fake ball.
    - density: real balls around a fake, on average, divided by k. May exceed 1; one outlier's wide ball counts little.
    - coverage: share of real balls that hold a fake. Unlike recall, a fake outlier's wide ball does not raise it.

    Args:
        real: features, (samples, features).
        fake: features, (samples, features). Use as many samples as of `real`: the numbers depend on both.
        k: neighbours; 3 is usual for precision and recall, 5 for density and coverage.

    Returns:
        The five numbers by name. All but density are in [0, 1].

    Raises:
        ValueError: other shapes, different widths, values that are not finite, or `k` not below both sample counts.

    References: T. Kynkäänniemi et al., Improved Precision and Recall Metric …, 2019, arXiv:1904.06991; M. Naeem et
    al., Reliable Fidelity and Diversity Metrics …, 2020, arXiv:2002.09797.

    Example:
        >>> real = np.random.default_rng(0).normal(size=(1000, 2))
        >>> collapsed = real[:1] + 1e-6 * real
        >>> print({name: round(value, 2) for name, value in precision_recall(real, collapsed).items()})
        {'precision': 1.0, 'recall': 0.0, 'f1': 0.0, 'density': 0.49, 'coverage': 0.0}
    """
    real, fake = _check_features(real, fake, at_least=_check_k(k) + 1)
    real_radii, fake_radii = (
        NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features).kneighbors()[0][:, -1]
        for features in (real, fake)
    )

    precise, inside, recalled, covered, start = np.zeros(len(fake), bool), 0, 0, 0, 0
    megabytes = max(1, BLOCK * len(fake) * 8 // 2**20)
    for distances in pairwise_distances_chunked(real, fake, working_memory=megabytes):  # (block of real, fake)
        radii = real_radii[start : (start := start + len(distances)), np.newaxis]
        precise |= (distances <= radii * (1.0 + RIM)).any(axis=0)
        recalled += (distances <= fake_radii * (1.0 + RIM)).any(axis=1).sum()
        strictly = distances < radii * (1.0 - RIM)  # Naeem et al. leave the rim out, Kynkäänniemi et al. do not
        inside += strictly.sum()
        covered += strictly.any(axis=1).sum()
    precision, recall = float(precise.mean()), float(recalled / len(real))
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2.0 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "density": float(inside / (k * len(fake))),
        "coverage": float(covered / len(real)),
    }


def nearest_neighbors(queries: np.ndarray, references: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The nearest references of each query: has the generator merely learned its training set by heart?

    Args:
        queries: features, (samples, features).
        references: features, (samples, features).
        k: neighbours of each query.

    Returns:
        distances: Euclidean, (queries, k), the nearest first.
        indices: of the references, (queries, k).

    Raises:
        ValueError: other shapes, different widths, values that are not finite, or fewer than `k` references.

    Example:
        >>> distances, indices = nearest_neighbors(np.array([[0.9]]), np.array([[0.0], [1.0], [3.0]]), k=2)
        >>> print(distances.round(1), indices)
        [[0.1 0.9]] [[1 0]]
    """
    queries, references = _check_features(queries, references, at_least=1)
    if len(references) < _check_k(k):
        raise ValueError(f"Got k={k} and {len(references)} references, expected at least {k} of them.")
    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(references).kneighbors(queries)


def _check_k(k: int) -> int:
    if not is_whole(k):
        raise ValueError(f"Got k={k!r}, expected a whole number of at least 1, such as 3.")
    return k


def _check_features(*arrays: np.ndarray, at_least: int) -> list[np.ndarray]:
    """The arrays in float64, if each is (samples, features), finite, as wide as the others and long enough."""
    checked = [as_numbers("features", features).astype(np.float64, copy=False) for features in arrays]
    for features in checked:
        if features.ndim != 2 or not features.shape[1]:
            raise ValueError(
                f"Got an array of shape {features.shape}, expected (samples, features). Images become features by a "
                "network, such as gan_utils.metrics.digit_features."
            )
        if len(features) < at_least:
            raise ValueError(f"Got {len(features)} samples, expected at least {at_least}. Draw more.")
        usable = (np.abs(features) < 1e38).all(axis=1)  # the largest of float32; the cube of a product stays finite
        if not usable.all():
            count = np.count_nonzero(~usable)
            raise ValueError(f"Got {count} of {len(features)} samples with NaN or infinite values. Remove them.")
    if len({features.shape[1] for features in checked}) > 1:
        widths = " and ".join(str(features.shape[1]) for features in checked)
        raise ValueError(f"Got {widths} features, expected as many. Use one feature extractor for both sets.")
    return checked


def digit_features(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the shipped classifier sees in images of digits.

    Args:
        images: (samples, 28, 28, 1) in [-1, 1].

    Returns:
        features: float32, (samples, 128), of its last hidden layer.
        logits: float32, (samples, 10), one a digit.

    Raises:
        ValueError: images of another shape or range.

    Example:
        >>> from gan_utils import data
        >>> images, labels = data.load_mnist("test")
        >>> features, logits = digit_features(images[:5])
        >>> print(features.shape, logits.argmax(axis=1), labels[:5])
        (5, 128) [7 2 1 0 4] [7 2 1 0 4]
    """
    return _classify("mnist_classifier", images)


def fashion_features(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same for Fashion-MNIST's clothes, by a classifier of their ten kinds.

    Example:
        >>> features, logits = fashion_features(np.zeros((5, 28, 28, 1)))
        >>> print(features.shape, logits.shape)
        (5, 128) (5, 10)
    """
    return _classify("fashion_classifier", images)


def _classify(name: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images = data.check_images(images)
    if images.shape[1:] != (28, 28, 1):
        raise ValueError(f"Got images of shape {images.shape}, expected (samples, 28, 28, 1).")
    return tuple(_shipped(name).predict(images, batch_size=500, verbose=0))


def inception_features(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What Inception-v3, trained on ImageNet, sees in colour images: the features of FID, KID and inception score.

    Keras downloads its weights (92 MB) the first time.

    Differs from the paper: Keras' weights and resizing, not those of the 2015 network of published FIDs, so compare
    these numbers only among themselves.

    Args:
        images: (samples, height, width, 3) in [-1, 1]; resized to 299×299.

    Returns:
        features: float32, (samples, 2048), of the last pooling layer.
        logits: float32, (samples, 1000), one a class of ImageNet.

    Raises:
        ValueError: images of another shape or range.
        OSError: the weights are not here and cannot be downloaded.

    Example:
        >>> inception_features(np.zeros((2, 28, 28, 1)))
        Traceback (most recent call last):
        ...
        ValueError: Got images of shape (2, 28, 28, 1), expected (samples, height, width, 3): colour.
    """
    images = data.check_images(images)
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"Got images of shape {images.shape}, expected (samples, height, width, 3): colour.")
    resized = (keras.ops.image.resize(images[i : i + 32], (299, 299)) for i in range(0, len(images), 32))
    features, logits = zip(*(_inception().predict_on_batch(batch) for batch in resized), strict=True)
    return np.concatenate(features), np.concatenate(logits)


@functools.cache  # once: each new network would be traced again
def _shipped(name: str) -> keras.Model:
    return models.load_pretrained(name)


@functools.cache
def _inception() -> keras.Model:
    try:
        network = keras.applications.InceptionV3(weights="imagenet", classifier_activation=None)
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise OSError(
            "The weights of Inception-v3 cannot be had: they are not in Keras' cache, ~/.keras/models, and their "
            "download failed. Connect to the internet once, or use gan_utils.metrics.digit_features for digits."
        ) from error
    return keras.Model(network.input, [network.get_layer("avg_pool").output, network.output])
