"""Paths and arithmetic in latent space: functions of arrays of latent vectors, (…, latent_dim).

Latents are drawn from N(0, I). In d dimensions their norms lie close to √d: almost all of them on a thin shell.
"""

import numpy as np

from gan_utils.checks import as_numbers, is_whole


def linear(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Points evenly spaced on the straight line from one latent to another.

    Half way between two independent latents the norm is only √(d/2): the line leaves the shell that the generator was
    trained on. `spherical` stays on it.

    Args:
        start: latent or latents, (…, latent_dim).
        end: as many, of the same shape.
        steps: points on the path, both ends among them; at least 2.

    Returns:
        float32, (steps, …, latent_dim).

    Raises:
        ValueError: the shapes differ, a value is not finite, or fewer than 2 steps.

    Example:
        >>> print(linear([0.0, 2.0], [2.0, 0.0], steps=3).tolist())
        [[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]]
    """
    start, end = _check_ends(start, end, steps)
    share = _shares(start, steps)
    return ((1.0 - share) * start + share * end).astype(np.float32)


def spherical(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Points on the arc from one latent to another, at even angles, with norms in between those of the ends.

        sin((1 − t)·θ)/sin θ · start + sin(t·θ)/sin θ · end,    θ the angle between start and end

    Args:
        start: latent or latents, (…, latent_dim), not 0.
        end: as many, of the same shape, not 0.
        steps: points on the path, both ends among them; at least 2.

    Returns:
        float32, (steps, …, latent_dim).

    Raises:
        ValueError: as for `linear`, or a latent is 0, or the ends point in opposite directions: no arc is shortest.

    References: K. Shoemake, Animating Rotation with Quaternion Curves, 1985; T. White, Sampling Generative Networks,
    2016, arXiv:1609.04468. Differs from Shoemake: directions and norms are interpolated apart, so that latents of
    different norms are allowed.

    Example:
        >>> print(spherical([0.0, 2.0], [2.0, 0.0], steps=3)[1].round(3))
        [1.414 1.414]
    """
    start, end = _check_ends(start, end, steps)
    share = _shares(start, steps)
    start_norm, end_norm = (np.linalg.norm(latent, axis=-1, keepdims=True) for latent in (start, end))
    if not (start_norm.all() and end_norm.all()):
        raise ValueError("Got a latent that is 0: it has no direction. Use `linear`.")
    cosine = np.sum(start * end, axis=-1, keepdims=True) / (start_norm * end_norm)
    if (cosine < -1.0 + 1e-9).any():
        raise ValueError("Got latents in opposite directions: no arc between them is the shortest. Move one a little.")
    angle = np.arccos(np.minimum(cosine, 1.0))
    # np.sinc(x) is sin(πx)/(πx): finite where the angle is 0, and there both weights are those of the straight line.
    first, second = (part * np.sinc(part * angle / np.pi) / np.sinc(angle / np.pi) for part in (1.0 - share, share))
    norm = (1.0 - share) * start_norm + share * end_norm
    return (norm * (first * start / start_norm + second * end / end_norm)).astype(np.float32)


def analogy(positive: np.ndarray, negative: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Concept arithmetic: mean(positive) − mean(negative) + mean(base), as in "smiling woman − woman + man".

    Args:
        positive: latents whose images have the concept, (exemplars, latent_dim).
        negative: latents whose images lack it but agree otherwise, (exemplars, latent_dim).
        base: latents of the images that shall get it, (exemplars, latent_dim).

    Returns:
        One latent, float32, (latent_dim,).

    Raises:
        ValueError: an array of another rank, without exemplars, of another latent_dim than the others, or not finite.

    Reference: A. Radford et al., 2015, arXiv:1511.06434, Section 6.3.2, which averages three exemplars of each.

    Example:
        >>> print(analogy([[1.0, 1.0], [3.0, 1.0]], [[0.0, 1.0]], [[0.0, 5.0]]).tolist())
        [2.0, 5.0]
    """
    groups = [as_numbers("latents", group) for group in (positive, negative, base)]
    shapes = [group.shape for group in groups]
    usable = all(group.ndim == 2 and group.size and np.isfinite(group).all() for group in groups)
    if not usable or len({shape[1] for shape in shapes}) != 1:
        raise ValueError(f"Got groups of shapes {shapes}, expected (exemplars, latent_dim), finite, of one latent_dim.")
    with_concept, without, others = (group.mean(axis=0, dtype=np.float64) for group in groups)
    return (with_concept - without + others).astype(np.float32)


def _check_ends(start: np.ndarray, end: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    start, end = (as_numbers("ends", latent).astype(np.float64, copy=False) for latent in (start, end))
    if start.shape != end.shape or start.ndim < 1 or not (np.isfinite(start).all() and np.isfinite(end).all()):
        raise ValueError(f"Got ends of shapes {start.shape} and {end.shape}, expected (…, latent_dim), both finite.")
    if not is_whole(steps, 2):
        raise ValueError(f"Got steps={steps!r}, expected at least 2: both ends are part of the path.")
    return start, end


def _shares(start: np.ndarray, steps: int) -> np.ndarray:
    """How far along the path each step is, from 0 to 1, shaped to be multiplied with latents."""
    return np.linspace(0.0, 1.0, steps).reshape(-1, *[1] * start.ndim)
