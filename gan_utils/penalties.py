"""What is added to D's loss: penalties on the gradient of its logit with respect to a sample, and clipped weights.

Each penalty is a function of the critic f, which maps samples to logits, and of points x:

    gradient_penalty    λ · E[(‖∇f(x)‖ − 1)²]    x between a real sample and a fake one
    dragan              λ · E[(‖∇f(x)‖ − 1)²]    x near a real sample
    r1, r2              γ/2 · E[‖∇f(x)‖²]        x real, x fake

D is updated by the gradient of that with respect to its weights: a second derivative of the network. TensorFlow has
wrong ones for some layers and says nothing; `check_network` does.
"""

import functools
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from gan_utils import devices
from gan_utils.checks import is_real

Critic = Callable[[tf.Tensor], tf.Tensor]

_NORMALISE = 'Use gan_utils.layers.LayerNormalization; the builders in gan_utils.models take normalization="layer"'
_SHARED = "a sample's logit depends on the rest of its batch there, so that its gradient is not that of one function"
_MEAN = "TensorFlow stops a gradient at the mean, so that the gradient of the penalty is wrong"
_RESIZE = "TensorFlow has no second derivative of resizing, so that the gradient of the penalty is wrong or fails"
_WARP = "TensorFlow's gradient of it is wrong or missing"
# What `check_network` refuses, by the name of its class or activation in Keras, the reason, and what to use instead.
_REFUSED = (
    ("BatchNormalization", _SHARED, _NORMALISE),
    ("LayerNormalization GroupNormalization LayerNorm Moments", _MEAN, _NORMALISE),
    ("SpectralNormalization", "its forward pass overwrites the kernel", "Use gan_utils.layers.SpectralNormalization"),
    (
        "UpSampling2D Resizing CenterCrop Resize",
        _RESIZE,
        'Use UpSampling2D(interpolation="nearest"), Cropping2D, pooling or strides',
    ),
    (
        "RandomRotation RandomTranslation RandomZoom RandomShear RandomPerspective AffineTransform PerspectiveTransform"
        " RandomHue RandomSaturation RGBToHSV HSVToRGB",
        _WARP,
        "Transform the data before they reach the network",
    ),
    ("softsign Softsign", "TensorFlow has no second derivative of it", "Use another activation, such as tanh"),
)


@dataclass(frozen=True)
class Penalty:
    """A penalty by name, so that files and checkpoints know it. `r1() + r2()` is the sum of two.

    Example:
        >>> (r1() + r2()).name
        'r1(weight=10.0) + r2(weight=10.0)'

    Attributes:
        name: how the penalty was made, with its weight.
        function: `(critic, real, fake, seed) -> scalar`, with its weight; `critic` maps samples, (batch, …), to logits,
            (batch, 1).
    """

    name: str
    function: Callable[[Critic, tf.Tensor, tf.Tensor, keras.random.SeedGenerator | None], tf.Tensor]

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and callable(self.function)):
            raise TypeError(f"Got {self!r}, expected a name and a function of a critic, two batches and a seed.")

    def __call__(
        self, critic: Critic, real: tf.Tensor, fake: tf.Tensor, seed: keras.random.SeedGenerator | None = None
    ) -> tf.Tensor:
        """The value to add to D's loss, a scalar.

        Args:
            critic: maps samples to logits, (batch, 1).
            real: (batch, …), real samples.
            fake: (batch, …), as many of the generator's.
            seed: of the penalties that draw; None is Keras' global one.

        Raises:
            ValueError: the batches differ in shape.
        """
        real = _in_full_precision(real)
        fake = tf.cast(fake, real.dtype)
        if not real.shape.is_compatible_with(fake.shape):
            raise ValueError(f"Got real samples {real.shape} and fakes {fake.shape}, expected batches of one shape.")
        return self.function(critic, real, fake, seed)

    def __add__(self, other: "Penalty") -> "Penalty":
        if not isinstance(other, Penalty):
            return NotImplemented
        return Penalty(
            f"{self.name} + {other.name}",
            lambda critic, real, fake, seed: self(critic, real, fake, seed) + other(critic, real, fake, seed),
        )


def gradient_penalty(weight: float = 10.0) -> Penalty:
    """λ · E[(‖∇f(x̂)‖ − 1)²], at points x̂ = real + ε·(fake − real) drawn uniformly between a real and a fake sample.

    It asks for slope 1 where the best critic of the Wasserstein distance has it. There is one ε a sample, and the norm
    is over all axes of a sample.

    Args:
        weight: λ, above 0.

    Raises:
        ValueError: the weight is not finite or not above 0.

    Example:
        >>> real, fake = tf.zeros((4, 2)), tf.ones((4, 2))
        >>> critic = lambda samples: samples @ [[3.0], [4.0]]  # slope 5 everywhere
        >>> print(f"{gradient_penalty(weight=10.0)(critic, real, fake):.1f}")
        160.0

    Reference: I. Gulrajani et al., Improved Training of Wasserstein GANs, 2017, arXiv:1704.00028.
    """

    def between(real: tf.Tensor, fake: tf.Tensor, seed: keras.random.SeedGenerator | None) -> tf.Tensor:
        return real + _mixing_weights(real, seed) * (fake - real)

    return _slope_one("gradient_penalty", weight, between)


def dragan(weight: float = 10.0) -> Penalty:
    """λ · E[(‖∇f(x̂)‖ − 1)²], at points x̂ around the real samples: fakes play no part.

    It keeps D smooth near the data, where sharp gradients go together with mode collapse. x̂ = real + ε·0.5·s·u, where
    s is the standard deviation of the whole batch, u is uniform in [0, 1) for each value and ε for each sample.

    Differs from the paper: its text adds noise from N(0, c·I); this is the noise of the authors' code, which only ever
    makes a pixel brighter.

    Args:
        weight: λ, above 0.

    Raises:
        ValueError: the weight is not finite or not above 0.

    Example:
        >>> real, fake = tf.zeros((4, 2)), tf.ones((4, 2))
        >>> print(f"{dragan()(lambda samples: samples @ [[3.0], [4.0]], real, fake):.1f}")
        160.0

    Reference: N. Kodali et al., On Convergence and Stability of GANs, 2017, arXiv:1705.07215.
    """

    def around(real: tf.Tensor, fake: tf.Tensor, seed: keras.random.SeedGenerator | None) -> tf.Tensor:
        spread = tf.sqrt(tf.math.reduce_variance(real) + 1e-8)  # finite gradient on a batch of one value
        noise = 0.5 * spread * _uniform(keras.ops.shape(real)[0], keras.ops.shape(real)[1:], real.dtype, seed)
        return real + _mixing_weights(real, seed) * noise

    return _slope_one("dragan", weight, around)


def r1(weight: float = 10.0) -> Penalty:
    """γ/2 · E[‖∇f(x)‖²] at the real samples.

    It punishes a D that is not flat at the data once the generator has found them, which makes training converge there.

    Args:
        weight: γ, above 0.

    Raises:
        ValueError: the weight is not finite or not above 0.

    Example:
        >>> real, fake = tf.zeros((4, 2)), tf.ones((4, 2))
        >>> print(f"{r1(weight=10.0)(lambda samples: samples @ [[3.0], [4.0]], real, fake):.1f}")
        125.0

    Reference: L. Mescheder et al., Which Training Methods for GANs do actually Converge?, 2018, arXiv:1801.04406.
    """
    return _flat("r1", weight, lambda real, fake: real)


def r2(weight: float = 10.0) -> Penalty:
    """γ/2 · E[‖∇f(x)‖²] at the fake samples: as `r1`, on the generator's side.

    Args:
        weight: γ, above 0.

    Raises:
        ValueError: the weight is not finite or not above 0.

    Example:
        >>> print((r1() + r2(weight=5.0)).name)
        r1(weight=10.0) + r2(weight=5.0)
    """
    return _flat("r2", weight, lambda real, fake: fake)


MAKERS = {"gradient_penalty": gradient_penalty, "dragan": dragan, "r1": r1, "r2": r2}  # all of this module, by name


def get(name: str) -> Penalty:
    """The penalty of that name, so that a GAN read from a file finds its own again.

    Args:
        name: as `Penalty.name` has it. Without a weight, it has the usual one.

    Raises:
        ValueError: no function of this module makes a penalty of that name.

    Example:
        >>> get("gradient_penalty(weight=10.0) + r2()").name
        'gradient_penalty(weight=10.0) + r2(weight=10.0)'
    """
    forms = [re.fullmatch(r"(\w+)\((?:weight=([^()]+))?\)", part) for part in str(name).split(" + ")]
    try:
        made = [MAKERS[form[1]](*([float(form[2])] if form[2] else [])) for form in forms]
    except (KeyError, TypeError, ValueError) as error:
        known = ", ".join(f"{maker}(weight=10.0)" for maker in MAKERS)
        raise ValueError(
            f"Got the penalty {name!r}, expected one of {known}, or a sum of them such as a + b."
        ) from error
    return functools.reduce(operator.add, made)


@keras.saving.register_keras_serializable("gan_utils")
class WeightClip(keras.constraints.Constraint):
    """Clips weights to [−limit, limit] after each update of the optimizer: the first way to bound a critic's slope.

    Args:
        limit: above 0.

    Raises:
        ValueError: the limit is not finite or not above 0.

    Example:
        >>> print(WeightClip(limit=0.5)(tf.constant([-2.0, 0.25])).numpy())
        [-0.5   0.25]

    Reference: M. Arjovsky et al., Wasserstein GAN, 2017, arXiv:1701.07875.
    """

    def __init__(self, limit: float = 0.01):
        self.limit = _positive("limit", limit)

    def __call__(self, value: Any) -> Any:
        """The clipped weights."""
        return keras.ops.clip(value, -self.limit, self.limit)

    def get_config(self) -> dict[str, float]:
        """What `from_config` needs."""
        return {"limit": self.limit}


def check_network(discriminator: keras.Model, wanted: str = "a penalty") -> None:
    """Refuses a network in which a penalty, or its gradient with respect to the weights, would be wrong.

    It sees layers, also in models and wrappers, and the operations between the layers of a functional model; not what
    a layer or model of your own computes in its `call`. Max pooling works, but not with `jit_compile=True`.

    Args:
        discriminator: the network that a penalty is to be computed of.
        wanted: what needs second derivatives, for the message.

    Raises:
        ValueError: batch normalisation, or an operation that TensorFlow has no right second derivative of.

    Example:
        >>> check_network(keras.Sequential([keras.Input((8,)), keras.layers.LayerNormalization(name="norm")]))
        Traceback (most recent call last):
        ...
        ValueError: Got a penalty and a discriminator with 'norm' (LayerNormalization): TensorFlow stops a gradient ...
    """
    for operation in _operations(discriminator):
        names = {base.__name__ for base in type(operation).__mro__ if base.__module__.startswith("keras.")}
        names.add(getattr(getattr(operation, "activation", None), "__name__", ""))
        if "UpSampling2D" in names and operation.interpolation == "nearest":
            continue  # repeats pixels
        for refused, reason, instead in _REFUSED:
            for name in names.intersection(refused.split()):
                raise ValueError(
                    f"Got {wanted} and a discriminator with {operation.name!r} ({name}): {reason}. {instead}."
                )


def _operations(network: keras.Model) -> Iterator[keras.Operation]:
    """All layers, however deep in models and wrappers, and what functional models compute between them."""
    for layer in network._flatten_layers():  # Keras has no public name for it
        yield layer
        yield from getattr(layer, "operations", [])


def _slope_one(name: str, weight: float, points: Callable[..., tf.Tensor]) -> Penalty:
    weight = _positive("weight", weight)

    def function(critic: Critic, real: tf.Tensor, fake: tf.Tensor, seed: Any) -> tf.Tensor:
        squares = _squared_slopes(critic, points(real, fake, seed))
        return weight * tf.reduce_mean((_root(squares) - 1.0) ** 2)

    return Penalty(f"{name}(weight={weight!r})", function)


def _flat(name: str, weight: float, points: Callable[..., tf.Tensor]) -> Penalty:
    weight = _positive("weight", weight)

    def function(critic: Critic, real: tf.Tensor, fake: tf.Tensor, seed: Any) -> tf.Tensor:
        return weight / 2.0 * tf.reduce_mean(_squared_slopes(critic, points(real, fake)))

    return Penalty(f"{name}(weight={weight!r})", function)


def _squared_slopes(critic: Critic, points: tf.Tensor) -> tf.Tensor:
    """‖∇f(x)‖² at each point, over all axes of a sample: (batch,)."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(points)
        logits = critic(points)  # (batch, 1)
    slopes = tape.gradient(logits, points, unconnected_gradients="zero")  # (batch, …)
    return tf.reduce_sum(slopes**2, axis=list(range(1, len(slopes.shape))))


def _root(squares: tf.Tensor) -> tf.Tensor:
    """The square root, with the gradient 0 at 0 in place of an infinite one."""
    positive = squares > 0.0
    return tf.where(positive, tf.sqrt(tf.where(positive, squares, 1.0)), 0.0)


def _mixing_weights(samples: tf.Tensor, seed: keras.random.SeedGenerator | None) -> tf.Tensor:
    """One number for each sample, (batch, 1, …, 1), uniform in [0, 1)."""
    return _uniform(keras.ops.shape(samples)[0], [1] * (len(samples.shape) - 1), samples.dtype, seed)


def _uniform(count: Any, shape: Any, dtype: Any, seed: keras.random.SeedGenerator | None) -> tf.Tensor:
    """Uniform in [0, 1): (count, *shape)."""
    return devices.draw(functools.partial(keras.random.uniform, dtype=dtype.name), count, shape, seed)


def _in_full_precision(samples: tf.Tensor) -> tf.Tensor:
    samples = tf.convert_to_tensor(samples)
    return samples if samples.dtype == tf.float64 else tf.cast(samples, tf.float32)


def _positive(name: str, value: float) -> float:
    if not (is_real(value) and value > 0.0):
        raise ValueError(f"Got {name}={value!r}, expected a finite number above 0.")
    return float(value)


OWN = "a function of your own"


def of(penalty: Penalty | Callable | None) -> Penalty | None:
    """A function of your own, `(critic, real, fake) -> scalar`, as a `Penalty`, which no file can hold.

    Example:
        >>> of(lambda critic, real, fake: 0.0).name
        'a function of your own'
    """
    if penalty is None or isinstance(penalty, Penalty):
        return penalty
    return Penalty(OWN, lambda critic, real, fake, seed: penalty(critic, real, fake))
