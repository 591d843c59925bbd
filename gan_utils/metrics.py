"""Numbers that say how good samples are: functions of arrays. The network that turns digits into features is last."""

import functools

import keras
import numpy as np
from scipy import linalg

from gan_utils import models


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
    samples, centers = np.asarray(samples, dtype=np.float64), np.asarray(centers, dtype=np.float64)
    if samples.ndim != 2 or centers.ndim != 2 or samples.shape[1] != centers.shape[1] or not samples.size:
        raise ValueError(
            f"Got samples of shape {samples.shape} and centers of shape {centers.shape}, expected (samples, features) "
            "and (modes, features) with as many features, and at least one sample."
        )
    if not (np.isfinite(samples).all() and np.isfinite(centers).all() and radius > 0):
        raise ValueError(f"Got values that are not finite, or radius={radius!r}; expected real numbers and radius > 0.")
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
        ValueError: other shapes, fewer than 2 samples, or values that are not finite.

    Reference: M. Heusel et al., GANs Trained by a Two Time-Scale Update Rule …, 2017, arXiv:1706.08500.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(1000, 4))
        >>> print(f"{frechet_distance(features, features + [3, 0, 0, 0]):.4f}")
        9.0000
    """
    moments = []
    for features in (np.asarray(features_a, dtype=np.float64), np.asarray(features_b, dtype=np.float64)):
        if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
            raise ValueError(f"Got features of shape {features.shape}, expected (samples, features), ≥ 2 and finite.")
        moments.append((features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False))))
    (mean_a, covariance_a), (mean_b, covariance_b) = moments
    if mean_a.shape != mean_b.shape:
        raise ValueError(f"Got {mean_a.size} and {mean_b.size} features, expected as many. Use one feature extractor.")
    values, vectors = linalg.eigh(covariance_a)
    root_a = (vectors * np.sqrt(values.clip(0.0))) @ vectors.T
    overlap = np.sqrt(linalg.eigvalsh(root_a @ covariance_b @ root_a).clip(0.0)).sum()  # tr (Σ_a^½ Σ_b Σ_a^½)^½
    distance = np.sum((mean_a - mean_b) ** 2) + np.trace(covariance_a) + np.trace(covariance_b) - 2.0 * overlap
    return max(float(distance), 0.0)


def digit_features(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the shipped classifier sees in images of digits.

    Args:
        images: (samples, 28, 28, 1) in [-1, 1].

    Returns:
        features: float32, (samples, 128), of its last hidden layer.
        logits: float32, (samples, 10), one a digit.

    Example:
        >>> from gan_utils import data
        >>> images, labels = data.load_mnist("test")
        >>> features, logits = digit_features(images[:5])
        >>> print(features.shape, logits.argmax(axis=1), labels[:5])
        (5, 128) [7 2 1 0 4] [7 2 1 0 4]
    """
    features, logits = _digit_classifier().predict(images, batch_size=500, verbose=0)
    return features, logits


@functools.cache
def _digit_classifier() -> keras.Model:
    return models.load_pretrained("mnist_classifier")  # once: each new network would be traced again
