"""What the two players minimise: pure functions on logits, bundled in pairs as an `Objective`.

The discriminator returns a logit l: r of a real sample, g of a generated one. Each loss is the mean over a batch of

                        D                                G
    minimax             softplus(−r) + softplus(g)       −softplus(g)
    non_saturating      softplus(−r) + softplus(g)       softplus(−g)
    least_squares       ½(r − b)² + ½(g − a)²            ½(g − c)²
    wasserstein         g − r                            −g
    hinge               max(0, 1 − r) + max(0, 1 + g)    −g
    relativistic        softplus(g − r)                  softplus(r − g)
    f_divergence        f*(T(g)) − T(r)                  −f*(T(g)) or −T(g)

In the first two, D = sigmoid(l) is the probability that the sample is real, −log D = softplus(−l) and
−log(1 − D) = softplus(l). Here softplus(l) = log(1 + eˡ) never takes the logarithm of 0, as log(sigmoid(l)) does for l
below about −100. In the others, the logit is a score: the higher, the more real.

References: I. Goodfellow et al., Generative Adversarial Nets, 2014, arXiv:1406.2661. Label smoothing for GANs:
T. Salimans et al., Improved Techniques for Training GANs, 2016, arXiv:1606.03498. The others stand with each function.
"""

import ast
import functools
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import tensorflow as tf

from gan_utils.checks import is_real


@dataclass(frozen=True)
class Objective:
    """The losses of both players. Both are means over a batch, so they do not depend on its size.

    Attributes:
        name: how the objective was made, for tables and logs.
        discriminator: `(real_logits, fake_logits) -> scalar`, minimised by the discriminator.
        generator: `(fake_logits) -> scalar`, minimised by the generator.
        probabilistic: whether the sigmoid of a logit is a probability, D(x); False for critics, whose logit is a score.
        paired: whether the generator's loss reads the real logits too: `(fake_logits, real_logits) -> scalar`.
    """

    name: str
    discriminator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    generator: Callable[..., tf.Tensor]
    _: KW_ONLY
    probabilistic: bool = True
    paired: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and callable(self.discriminator) and callable(self.generator)):
            raise TypeError(f"Got {self!r}, expected a name and two functions of logits.")
        if not (isinstance(self.probabilistic, bool) and isinstance(self.paired, bool)):
            raise TypeError(f"Got {self!r}, expected True or False for probabilistic and paired.")


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
    if not _is_batch(logits) or not (tf.is_tensor(target) or is_real(target)):
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

    name = _name("minimax", label_smoothing=label_smoothing, fake_smoothing=fake_smoothing)
    return Objective(name, discriminator, generator)


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
    name = _name("non_saturating", label_smoothing=label_smoothing, fake_smoothing=fake_smoothing)
    return Objective(name, discriminator, generator)


def least_squares(fake: float = 0.0, real: float = 1.0, target: float = 1.0) -> Objective:
    """D is a regression: its logit shall be b on real samples and a on fakes. G wants c on its own.

        D minimises ½ E[(D(x) − b)²] + ½ E[(D(G(z)) − a)²]        G minimises ½ E[(D(G(z)) − c)²]

    G is drawn to c from both sides, so that a fake far on the real side of D still has a gradient, where cross-entropy
    has none.

    The best D is (b·p + a·q) / (p + q), where p is the density of the data and q that of the fakes. Under a, b, c =
    0, 1, 1, G's loss is then ½ ∫ q³/(p + q)², which is ⅛ where p = q. The paper's theorem is about another sum: it adds
    ½ E[(D(x) − c)²], in which G's weights do not occur. Twice that sum is Pearson's χ²(p + q ‖ 2q) = ∫ (p − q)²/(p + q)
    only if b − c = 1 and b − a = 2, as with −1, 1, 0. Under 0, 1, 1 it is ∫ q²/(p + q).

    Args:
        fake: a, what D shall say of fakes.
        real: b, what D shall say of real samples; another number than a.
        target: c, what G wants D to say of fakes.

    Returns:
        The `Objective`.

    Raises:
        ValueError: a setting is no finite number, or D has nothing to learn because a = b.

    Example:
        >>> objective = least_squares(fake=-1.0, real=1.0, target=0.0)
        >>> logits = tf.constant([[2.0]])
        >>> print(objective.name, objective.discriminator(logits, logits).numpy(), objective.generator(logits).numpy())
        least_squares(fake=-1.0, target=0.0) 5.0 2.0

    Reference: X. Mao et al., Least Squares Generative Adversarial Networks, 2017, arXiv:1611.04076.
    """
    if not all(map(is_real, (fake, real, target))) or real == fake:
        raise ValueError(
            f"Got fake={fake!r}, real={real!r}, target={target!r}, expected finite numbers. The first two must "
            "be different, or D has nothing to learn."
        )

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return _half_square(real_logits, real) + _half_square(fake_logits, fake)

    def generator(fake_logits: tf.Tensor) -> tf.Tensor:
        return _half_square(fake_logits, target)

    name = _name("least_squares", fake=fake, real=real, target=target)
    return Objective(name, discriminator, generator, probabilistic=False)


def wasserstein() -> Objective:
    """D scores samples; the gap of the mean scores, real above fake, estimates a distance that G shortens.

        D minimises E[D(G(z))] − E[D(x)]        G minimises −E[D(G(z))]

    If no slope of D is above 1, the largest gap is the distance over which the mass of the fakes must be moved, on
    average, to become the data: it shows G the way even where no fake resembles a real sample. Without such a bound the
    gap grows for ever: add a penalty on D's gradient, or clip its weights (`gan_utils.penalties`).

    Returns:
        The `Objective`. Shifting all of D's scores changes nothing in D's loss, so that their height has no meaning.

    Example:
        >>> objective = wasserstein()
        >>> print(objective.discriminator(tf.constant([[3.0]]), tf.constant([[1.0]])).numpy())
        -2.0

    Reference: M. Arjovsky et al., Wasserstein GAN, 2017, arXiv:1701.07875.
    """

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return _mean(fake_logits) - _mean(real_logits)

    return Objective("wasserstein()", discriminator, _minus_mean, probabilistic=False)


def hinge() -> Objective:
    """D wants scores above 1 on real samples and below −1 on fakes, and no more; G wants them high.

        D minimises E[max(0, 1 − D(x))] + E[max(0, 1 + D(G(z)))]        G minimises −E[D(G(z))]

    A sample that D has right by this margin no longer moves D, but G's gradient never ends. Mostly used with spectral
    normalisation.

    Returns:
        The `Objective`. Its discriminator loss is 2 where D = 0 everywhere.

    Example:
        >>> objective = hinge()
        >>> print(objective.discriminator(tf.constant([[3.0]]), tf.constant([[0.5]])).numpy())
        1.5

    References: J. H. Lim and J. C. Ye, Geometric GAN, 2017, arXiv:1705.02894. T. Miyato et al., Spectral Normalization
    for Generative Adversarial Networks, 2018, arXiv:1802.05957.
    """

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return _mean(tf.nn.relu(1.0 - real_logits)) + _mean(tf.nn.relu(1.0 + fake_logits))

    return Objective("hinge()", discriminator, _minus_mean, probabilistic=False)


def relativistic() -> Objective:
    """D says which sample of a pair is the real one; G wants it to be wrong.

        D minimises E[softplus(−(D(x) − D(G(z))))]        G minimises E[softplus(−(D(G(z)) − D(x)))]

    Each fake is judged beside a real sample, not against one threshold for all, so that D cannot be content with fakes
    that all lie on one side of it. The pairs are those of one batch, by position. With the penalties r1 and r2 it is
    the objective of R3GAN.

    Returns:
        The `Objective`, `paired`: its generator's loss is `(fake_logits, real_logits) -> scalar`. Both losses are
        log 2 = 0.693 where D cannot tell. They raise a ValueError for logits of different shapes.

    Example:
        >>> objective = relativistic()
        >>> print(f"{objective.generator(tf.zeros((4, 1)), tf.zeros((4, 1))):.4f}")
        0.6931

    References: A. Jolicoeur-Martineau, The relativistic discriminator, 2018, arXiv:1807.00734. Y. Huang et al., The GAN
    is dead; long live the GAN!, 2024, arXiv:2501.05441.
    """

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return _mean(tf.math.softplus(-_gap(real_logits, fake_logits)))

    def generator(fake_logits: tf.Tensor, real_logits: tf.Tensor) -> tf.Tensor:
        return _mean(tf.math.softplus(-_gap(fake_logits, real_logits)))

    return Objective("relativistic()", discriminator, generator, probabilistic=False, paired=True)


# T = g_f(v), and f*(T) written in v, from the f* of the paper's Table 6. Each on a line of its own, or AutoGraph warns.
_F_DIVERGENCES = {
    "kl": (
        lambda v: v,
        lambda v: tf.exp(v - 1.0),  # e^(T − 1)
    ),
    "reverse_kl": (
        lambda v: -tf.exp(-v),
        lambda v: v - 1.0,  # −1 − log(−T), for T < 0
    ),
    "pearson": (
        lambda v: v,
        lambda v: tf.square(v) / 4.0 + v,  # T²/4 + T
    ),
    "squared_hellinger": (
        lambda v: -tf.math.expm1(-v),
        lambda v: tf.math.expm1(v),  # T/(1 − T), for T < 1
    ),
    "jensen_shannon": (
        lambda v: math.log(2.0) - tf.math.softplus(-v),
        lambda v: tf.math.softplus(v) - math.log(2.0),  # −log(2 − e^T), for T < log 2
    ),
}


def f_divergence(name: str, non_saturating: bool = False) -> Objective:
    """The game whose value is an f-divergence of the data P from the fakes Q, ∫ q f(p/q), when D plays its best.

    D's logit v becomes T = g_f(v), which keeps T where the conjugate f* of f is finite, and rises with v. Then

        D minimises −(E[T(x)] − E[f*(T(G(z)))])        G minimises −E[f*(T(G(z)))], or −E[T(G(z))] if non_saturating

    What D maximises is never above the divergence, and reaches it where T = f′(p/q):

        name               f(u)                             T                     f*(T)                divergence
        kl                 u log u                          v                     e^(v − 1)            ∫ p log(p/q)
        reverse_kl         −log u                           −e^(−v)               v − 1                ∫ q log(q/p)
        pearson            (u − 1)²                         v                     v²/4 + v             ∫ (p − q)²/q
        squared_hellinger  (√u − 1)²                        1 − e^(−v)            e^v − 1              ∫ (√p − √q)²
        jensen_shannon     u log u − (u + 1) log((u + 1)/2) log 2 − softplus(−v)  softplus(v) − log 2  2·JS(p, q)

    2·JS lies between 0 and log 4. The paper's "gan" is `minimax`, whose value is 2·JS − log 4. An exponential is
    infinite in float32 where its argument is above 88; "pearson" and "jensen_shannon" have none.

    Args:
        name: one of the table.
        non_saturating: whether G maximises E[T(G(z))], as in Section 3.2 of the paper.

    Returns:
        The `Objective`, named "kl()" or "kl(non_saturating=True)".

    Raises:
        ValueError: the name is not in the table, or `non_saturating` is neither True nor False.

    Example:
        >>> objective = f_divergence("kl")
        >>> one = tf.ones((4, 1))  # T = f′(1) = 1 is best where p = q; the divergence is 0
        >>> print(objective.name, objective.discriminator(one, one).numpy())
        kl() 0.0

    Differs from the paper: its table of divergences prints ∫ (q − p)²/p for Pearson, and a half before the integral of
    Jensen-Shannon. Neither belongs to the f, T and f* beside it, which are ours. Its f* of Pearson is kept, though it
    is that of all u: for u ≥ 0 alone, f* is −1 wherever T < −2. T = f′(p/q) is never below −2, but where a poor D says
    so, the first of G's losses drives T further down.

    Reference: S. Nowozin et al., f-GAN, 2016, arXiv:1606.00709, Tables 2 and 6.
    """
    if not isinstance(name, str) or name not in _F_DIVERGENCES or not isinstance(non_saturating, bool):
        raise ValueError(
            f"Got name={name!r}, non_saturating={non_saturating!r}, expected one of {', '.join(_F_DIVERGENCES)}, and "
            "True or False."
        )
    activation, conjugate = _F_DIVERGENCES[name]

    def discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return _mean(conjugate(fake_logits)) - _mean(activation(real_logits))

    def generator(fake_logits: tf.Tensor) -> tf.Tensor:
        return -_mean(activation(fake_logits) if non_saturating else conjugate(fake_logits))

    return Objective(_name(name, non_saturating=non_saturating), discriminator, generator, probabilistic=False)


MAKERS = {  # all of this module, by name
    "minimax": minimax,
    "non_saturating": non_saturating,
    "least_squares": least_squares,
    "wasserstein": wasserstein,
    "hinge": hinge,
    "relativistic": relativistic,
    **{name: functools.partial(f_divergence, name) for name in _F_DIVERGENCES},
}


def get(name: str) -> Objective:
    """The objective of that name, so that a GAN read from a file finds its own again.

    Args:
        name: as `Objective.name` has it: a maker in `MAKERS`, and those of its settings that are not the usual ones.

    Raises:
        ValueError: no function of this module makes an objective of that name.

    Example:
        >>> get("non_saturating(label_smoothing=0.1)").name
        'non_saturating(label_smoothing=0.1)'
    """
    setting = r"\w+=[\w.+-]{1,40}"
    try:
        maker, settings = re.fullmatch(rf"(\w+)\(({setting}(?:, {setting})*)?\)", name).groups("")
        pairs = [pair.split("=") for pair in settings.split(", ") if pair]
        if len(dict(pairs)) < len(pairs):
            raise ValueError("A setting is given twice.")
        return MAKERS[maker](**{key: ast.literal_eval(value) for key, value in pairs})
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError) as error:
        raise ValueError(f"Got the objective {name!r}, expected one of {', '.join(map(_call, MAKERS))}.") from error


def _call(maker: str) -> str:
    """The maker with all of its settings, at their defaults."""
    settings = inspect.signature(MAKERS[maker]).parameters.values()
    return f"{maker}({', '.join(f'{setting.name}={setting.default!r}' for setting in settings)})"


def _name(maker: str, **settings: float) -> str:
    """The call that makes the objective, with the settings that differ from the defaults of its maker."""
    usual = {key: setting.default for key, setting in inspect.signature(MAKERS[maker]).parameters.items()}
    given = {key: type(usual[key])(value) for key, value in settings.items() if value != usual[key]}
    return f"{maker}({', '.join(f'{key}={value!r}' for key, value in given.items())})"


def _is_batch(logits: tf.Tensor) -> bool:
    return "float" in str(getattr(logits, "dtype", "")) and 0 not in logits.shape


def _mean(values: tf.Tensor) -> tf.Tensor:
    if not _is_batch(values):
        raise TypeError(f"Got {values!r:.80}, expected floating-point logits, one or more.")
    return tf.reduce_mean(values)


def _minus_mean(fake_logits: tf.Tensor) -> tf.Tensor:
    return -_mean(fake_logits)


def _half_square(logits: tf.Tensor, target: float) -> tf.Tensor:
    return 0.5 * _mean(tf.square(logits - float(target)))


def _gap(logits: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    # Subtracted, shapes such as (n,) and (n, 1) would make all n² pairs.
    if not tf.TensorShape(logits.shape).is_compatible_with(others.shape):
        raise ValueError(
            f"Got logits of the shapes {tuple(logits.shape)} and {tuple(others.shape)}. They are compared in pairs, a "
            "real one and a fake one, so the shapes must be equal: draw as many fakes as there are real samples."
        )
    return logits - others


def _check_smoothing(label_smoothing: float, fake_smoothing: float) -> None:
    given = f"label_smoothing={label_smoothing!r}, fake_smoothing={fake_smoothing!r}"
    if not all(is_real(value) and 0.0 <= value < 1.0 for value in (label_smoothing, fake_smoothing)):
        raise ValueError(f"Got {given}. Both must be in [0, 1): 0 for no smoothing, 0.1 for the usual amount.")
    if label_smoothing + fake_smoothing >= 1.0:
        raise ValueError(
            f"Got {given}. Their sum must be below 1: the target of real samples, 1 - label_smoothing, has to stay "
            "above the target of fake samples, fake_smoothing."
        )
