"""What the two players minimise: pure functions on logits, bundled in pairs as an `Objective`.

The discriminator returns a logit l, and D = sigmoid(l) is its probability that the sample is real. In logits

    −log D       = softplus(−l)
    −log (1 − D) = softplus(l)

where softplus(l) = log(1 + eˡ) never takes the logarithm of 0, as log(sigmoid(l)) does for l below about −100.

References: I. Goodfellow et al., Generative Adversarial Nets, 2014, arXiv:1406.2661. Label smoothing for GANs:
T. Salimans et al., Improved Techniques for Training GANs, 2016, arXiv:1606.03498.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from gan_utils.checks import is_real


@dataclass(frozen=True)
class Objective:
    """The losses of both players. Both are means over a batch, so they do not depend on its size.

    Attributes:
        name: how the objective was made, for tables and logs.
        discriminator: `(real_logits, fake_logits) -> scalar`, minimised by the discriminator.
        generator: `(fake_logits) -> scalar`, minimised by the generator.
    """

    name: str
    discriminator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    generator: Callable[[tf.Tensor], tf.Tensor]

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and callable(self.discriminator) and callable(self.generator)):
            raise TypeError(f"Got {self!r}, expected a name and two functions of logits.")


def cross_entropy(logits: tf.Tensor, target: float) -> tf.Tensor:
    """Mean of −t·log D − (1 − t)·log(1 − D) over a batch of logits, all with the same target t.

    In logits the sum is softplus(l) − t·l, which is what is computed.

    Args:
        logits: any shape; the discriminator's answers.
        target: the probability "real" that D is asked to give, in [0, 1].

    Returns:
        A scalar, at least the entropy of the target.

    Raises:
        TypeError: the logits are no floating-point tensor, or empty, or the target is no number.

    Example:
        >>> print(f"{cross_entropy(tf.zeros((4, 1)), 1.0):.4f}")  # D = 1/2 costs log 2
        0.6931
    """
    floating = "float" in str(getattr(logits, "dtype", ""))
    if not floating or 0 in logits.shape or not (tf.is_tensor(target) or is_real(target)):
        raise TypeError(f"Got {logits!r:.80} and target={target!r:.40}, expected floating-point logits and a number.")
    return tf.reduce_mean(tf.math.softplus(logits) - target * logits)


def minimax(label_smoothing: float = 0.0, fake_smoothing: float = 0.0) -> Objective:
    """The game of the 2014 paper: D minimises −V(D, G), and G minimises the term of V that depends on it.

        V(D, G) = E[log D(x)] + E[log(1 − D(G(z)))]

    Where D is confident that a sample is fake, log(1 − D) is flat and the generator learns nothing from it.
    `non_saturating` mends that.

    Args:
        label_smoothing: α. The target of real samples is 1 − α.
        fake_smoothing: β. The target of fake samples is β. Keep it at 0: it is here to show what goes wrong.

    Returns:
        The `Objective`. Its discriminator loss is log 4 = 1.386 where D = 1/2 everywhere and α = β = 0.

    Raises:
        ValueError: α or β is not in [0, 1), or α + β ≥ 1, which would teach D to call fakes real.

    Example:
        >>> objective = minimax()
        >>> undecided = tf.zeros((4, 1))
        >>> print(f"{objective.discriminator(undecided, undecided):.4f} {objective.generator(undecided):.4f}")
        1.3863 -0.6931
    """
    _check_smoothing(label_smoothing, fake_smoothing)

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return cross_entropy(real_logits, 1.0 - label_smoothing) + cross_entropy(fake_logits, fake_smoothing)

    def generator(fake_logits: tf.Tensor) -> tf.Tensor:
        return -cross_entropy(fake_logits, fake_smoothing)

    return Objective(_name("minimax", label_smoothing, fake_smoothing), discriminator, generator)


def non_saturating(label_smoothing: float = 0.0, fake_smoothing: float = 0.0) -> Objective:
    """D plays as in `minimax`; G minimises −E[log D(G(z))], as if its samples were labelled "real".

    The fixed point is that of `minimax`, but the gradient is largest where D is sure that the sample is fake, which
    is where the generator has most to learn. This is what Section 3 of the 2014 paper recommends.

    Args:
        label_smoothing: α. The target of real samples in D's step is 1 − α. In G's step the target stays 1.
        fake_smoothing: β. The target of fake samples in D's step is β. Keep it at 0.

    Returns:
        The `Objective`. Its generator loss is log 2 = 0.693 where D = 1/2 everywhere.

    Raises:
        ValueError: α or β is not in [0, 1), or α + β ≥ 1.

    Example:
        >>> objective = non_saturating(label_smoothing=0.1)
        >>> print(f"{objective.generator(tf.zeros((4, 1))):.4f}")
        0.6931
    """

    def generator(fake_logits: tf.Tensor) -> tf.Tensor:
        return cross_entropy(fake_logits, 1.0)

    discriminator = minimax(label_smoothing, fake_smoothing).discriminator
    return Objective(_name("non_saturating", label_smoothing, fake_smoothing), discriminator, generator)


MAKERS = {"minimax": minimax, "non_saturating": non_saturating}  # all of this module, by name


def get(name: str) -> Objective:
    """The objective of that name, so that a GAN read from a file finds its own again.

    Args:
        name: as `Objective.name` has it.

    Raises:
        ValueError: no function of this module makes an objective of that name.

    Example:
        >>> get("non_saturating(label_smoothing=0.1)").name
        'non_saturating(label_smoothing=0.1)'
    """
    form = re.fullmatch(r"(\w+)\((.*)\)", name)
    if form is None or form[1] not in MAKERS:
        raise ValueError(f"Got the objective {name!r}, expected one of {', '.join(f'{maker}()' for maker in MAKERS)}.")
    settings = dict(setting.split("=") for setting in form[2].split(", ") if setting)
    try:
        return MAKERS[form[1]](**{key: float(value) for key, value in settings.items()})
    except TypeError as error:
        raise ValueError(f"Got the objective {name!r}: {error}.") from error


def _check_smoothing(label_smoothing: float, fake_smoothing: float) -> None:
    given = f"label_smoothing={label_smoothing!r}, fake_smoothing={fake_smoothing!r}"
    if not all(is_real(value) and 0.0 <= value < 1.0 for value in (label_smoothing, fake_smoothing)):
        raise ValueError(f"Got {given}. Both must be in [0, 1): 0 for no smoothing, 0.1 for the usual amount.")
    if label_smoothing + fake_smoothing >= 1.0:
        raise ValueError(
            f"Got {given}. Their sum must be below 1: the target of real samples, 1 - label_smoothing, has to stay "
            "above the target of fake samples, fake_smoothing."
        )


def _name(base: str, label_smoothing: float, fake_smoothing: float) -> str:
    given = {"label_smoothing": label_smoothing, "fake_smoothing": fake_smoothing}
    return f"{base}({', '.join(f'{key}={float(value)!r}' for key, value in given.items() if value)})"
