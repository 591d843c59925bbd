"""What several modules ask of their arguments. A wrong one is refused by name, with what was given and is expected."""

import math
import numbers
from typing import Any

import numpy as np


def is_whole(value: Any, least: int = 1) -> bool:
    """Whether it is a whole number from `least` to 2³¹ − 1, as far as TensorFlow counts. NumPy's are, True is not.

    Example:
        >>> print(is_whole(np.int64(8)), is_whole(8.0), is_whole(True), is_whole(10**12))
        True False False False
    """
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and least <= value < 2**31


def is_real(value: Any) -> bool:
    """Whether it is a finite number, as 0.1 is; True is none.

    Example:
        >>> print(is_real(0), is_real(np.float32(0.1)), is_real(float("nan")), is_real("1"))
        True True False False
    """
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and -math.inf < value < math.inf


def as_numbers(name: str, values: Any) -> np.ndarray:
    """The values as an array of their own type, if they are real numbers; NaN is one.

    Example:
        >>> print(as_numbers("centers", [[4, 2]]).shape)
        (1, 2)
    """
    try:
        array = np.asarray(values)
    except ValueError:  # rows of several lengths
        array = np.array(None)
    if not np.can_cast(array.dtype, np.float64):
        raise TypeError(f"Got {name}={values!r:.80}, expected real numbers, in rows of one length.")
    return array


def check_images(images: np.ndarray) -> np.ndarray:
    """The images as an array, if they are finite and, but for rounding, in [-1, 1].

    Raises:
        TypeError: they are no numbers.
        ValueError: there are none, a value is NaN, or one lies outside [-1, 1].

    Example:
        >>> check_images(np.full((1, 2, 2, 1), 200.0))
        Traceback (most recent call last):
        ...
        ValueError: Got values from 200 to 200, expected [-1, 1]. Bytes become that by gan_utils.data.to_signed.
    """
    images = as_numbers("images", images)
    if images.size == 0:
        raise ValueError(f"Got no images: an array of shape {images.shape}, expected one or more.")
    low, high = images.min(), images.max()
    if np.isnan(low):
        count = np.count_nonzero(np.isnan(images))
        raise ValueError(f"Got {count} NaN among {images.size} values. Look for a division by 0, or remove the images.")
    if low < -1.000001 or high > 1.000001:
        raise ValueError(
            f"Got values from {low:g} to {high:g}, expected [-1, 1]. Bytes become that by gan_utils.data.to_signed."
        )
    return images


def check_labels(labels: Any, count: int) -> np.ndarray:
    """The labels as int32, (count,), if they are whole numbers from −1, which is "unlabelled", on.

    Raises:
        TypeError: they are no whole numbers: fractions, truth values, one-hot rows of floats.
        ValueError: there is not one for each sample, or one is below −1 or beyond int32.

    Example:
        >>> check_labels(np.array([7, 2, -1], np.int8), 3)
        array([ 7,  2, -1], dtype=int32)
    """
    given, labels = labels, as_numbers("labels", labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"Got labels={given!r:.80} of type {labels.dtype}, expected whole numbers, such as 0 … 9.")
    if labels.shape != (count,):
        raise ValueError(f"Got labels of shape {labels.shape}, expected ({count},): a whole number for each sample.")
    if count and not (labels.min() >= -1 and labels.max() < 2**31):
        low, high = labels.min(), labels.max()
        raise ValueError(f'Got labels from {low} to {high}, expected at least -1, which is "unlabelled", below 2³¹.')
    return labels.astype(np.int32)


def check_epsilon(epsilon: Any) -> None:
    """Refuses what is no number above 0, to be added to a variance.

    Example:
        >>> check_epsilon(1e-5)
    """
    if not (is_real(epsilon) and epsilon > 0.0):
        raise ValueError(f"Got epsilon={epsilon!r}, expected a small number above 0, such as 1e-5.")
