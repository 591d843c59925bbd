"""Batch normalisation by a batch that never changes, so that a sample does not depend on its companions.

The reference batch is chosen once. It passes through the network along with the samples, layer by layer and with the
weights of the moment; each normalisation takes its mean and variance from there:

    reference    m = mean(r)                      v = mean((r − m)²)            r the n samples of the reference
    virtual      m = mean of r and x together     v = mean((· − m)²)            x one sample, by itself

    y = (x − m) / √(v + ε) · scale + offset

Reference: I. Goodfellow, NIPS 2016 Tutorial: Generative Adversarial Networks, 2016, arXiv:1701.00160, section 4.3.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from gan_utils.checks import as_numbers, check_epsilon


@keras.saving.register_keras_serializable("gan_utils")
class ReferenceBatchNormalization(keras.layers.Layer):
    """Normalises samples by mean and variance of a reference batch: (x − m) / √(v + ε) · scale + offset.

    Mean and variance belong to channels (the last axis); of images they are taken over height and width too. Training
    and inference are the same. Gradients flow through the reference. It is called with two tensors and returns two:
    samples and reference, both normalised. `with_reference` passes them from layer to layer.

    Args:
        epsilon: ε, added to the variance, above 0.

    Raises:
        ValueError: ε is not above 0, there is no reference, it has another shape than the samples, it holds a single
            sample, or the number of channels is not known.

    Example:
        >>> layer = ReferenceBatchNormalization()
        >>> samples, reference = layer([ops.convert_to_tensor([[5.0]]), ops.convert_to_tensor([[1.0], [3.0]])])
        >>> print(samples.numpy().round(3), reference.numpy().ravel().round(3))  # m = 2, v = 1
        [[3.]] [-1.  1.]

    Reference: T. Salimans et al., Improved Techniques for Training GANs, 2016, arXiv:1606.03498, section 3.5.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any):
        check_epsilon(epsilon)
        super().__init__(**kwargs)
        self.epsilon = float(epsilon)

    def build(self, input_shape: Any) -> None:
        """Makes scale and offset."""
        samples, _ = _checked(input_shape)
        shared = {"shape": (samples[-1],), "autocast": False}
        self.scale = self.add_weight(name="scale", initializer="ones", **shared)
        self.offset = self.add_weight(name="offset", initializer="zeros", **shared)

    def call(self, inputs: Any) -> list[Any]:
        """Samples and reference, normalised, of the inputs' shapes."""
        dtype = keras.backend.result_type(inputs[0].dtype, "float32")
        samples, reference = (ops.cast(part, dtype) for part in inputs)
        mean, variance = _moments(reference, first_axis=0)  # (1, …, 1, channels)
        mixed = self.statistics(samples, mean, variance, reference.shape[0])
        return [self._normalised(samples, *mixed), self._normalised(reference, mean, variance)]

    def statistics(self, samples: Any, mean: Any, variance: Any, count: int) -> tuple[Any, Any]:
        """Mean and variance that samples are normalised by, from those of a reference of `count` samples: the same."""
        return mean, variance

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The inputs' shapes."""
        return [tuple(shape) for shape in input_shape]

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "epsilon": self.epsilon}

    def _normalised(self, samples: Any, mean: Any, variance: Any) -> Any:
        normalised = (samples - mean) * ops.rsqrt(variance + self.epsilon)
        return ops.cast(normalised * self.scale + self.offset, self.compute_dtype)


@keras.saving.register_keras_serializable("gan_utils")
class VirtualBatchNormalization(ReferenceBatchNormalization):
    """Normalises each sample as if it were the last one of a batch whose others are the reference.

    Its own values weigh 1/(n + 1), for a reference of n. So what the reference does not show can still be normalised,
    and samples stay independent of each other. The reference itself is normalised by itself alone.

    Args:
        epsilon: ε, added to the variance, above 0.

    Raises:
        ValueError: as for `ReferenceBatchNormalization`.

    Example:
        >>> layer = VirtualBatchNormalization()
        >>> samples, reference = layer([ops.convert_to_tensor([[5.0]]), ops.convert_to_tensor([[1.0], [3.0]])])
        >>> print(samples.numpy().round(3))  # of 1, 3 and 5: m = 3, v = 8/3, (5 − 3) / √(8/3)
        [[1.225]]

    Differs from the authors' code: the variance is a mean of squared deviations, not a difference of two means, which
    cancels in float32.

    Reference: T. Salimans et al., Improved Techniques for Training GANs, 2016, arXiv:1606.03498, section 3.5.
    """

    def statistics(self, samples: Any, mean: Any, variance: Any, count: int) -> tuple[Any, Any]:
        """Mean and variance of the reference and of each sample, one at a time: (batch, 1, …, 1, channels)."""
        own_mean, own_variance = _moments(samples, first_axis=1)
        own = 1.0 / (count + 1)
        mixed = (1.0 - own) * mean + own * own_mean
        around = (1.0 - own) * (variance + (mean - mixed) ** 2) + own * (own_variance + (own_mean - mixed) ** 2)
        return mixed, around


@keras.saving.register_keras_serializable("gan_utils")
class ReferenceBatch(keras.layers.Layer):
    """Holds a batch that never changes and returns it, whatever it is given. It is saved with the network.

    Args:
        reference: the batch, (n, …), of at least 2 finite samples.

    Raises:
        TypeError: it holds no numbers.
        ValueError: it holds fewer than 2 samples, a value that is not finite, or samples of another shape than it is
            called with.

    Example:
        >>> print(ReferenceBatch([[1.0], [3.0]])(ops.zeros((5, 1))).numpy().ravel())
        [1. 3.]
    """

    def __init__(self, reference: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self._first = check_reference(reference)

    def build(self, input_shape: Any) -> None:
        """Makes the weight that holds the batch."""
        check_reference(self._first, tuple(input_shape[1:]))
        self.reference = self.add_weight(
            name="reference",
            shape=self._first.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(self._first, dtype),
            trainable=False,
            aggregation="only_first_replica",  # all devices hold the same
        )

    def call(self, inputs: Any) -> Any:
        """The reference, (n, …)."""
        return ops.convert_to_tensor(self.reference)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the reference."""
        return self._first.shape

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs: a shape. The batch itself is a weight."""
        return {**super().get_config(), "shape": list(self._first.shape)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ReferenceBatch":
        """A layer of this shape, of zeros until it gets its weight."""
        return cls(np.zeros(config.pop("shape")), **config)


def with_reference(network: keras.Model, reference: Any, virtual: bool = False) -> keras.Model:
    """The same network with its batch normalisation replaced by reference or virtual batch normalisation.

    It keeps the weights but for the running statistics, and shares none. A step takes about twice as long, since the
    reference passes through the network too.

    Args:
        network: a built `keras.Sequential` with BatchNormalization layers, such as `models.dcgan_generator()`.
        reference: the fixed batch, (n, …), with n at least 2: latent vectors for a generator, real samples for a
            discriminator.
        virtual: whether each sample counts too, by itself.

    Returns:
        A model with the input and the output of the network.

    Raises:
        TypeError: the network is no built `keras.Sequential`, or the reference holds no numbers.
        ValueError: the network has no batch normalisation, has it in a model within, or over another axis or without
            scale or offset; or the reference has another shape than the network reads, fewer than 2 samples, or a value
            that is not finite.

    Example:
        >>> from gan_utils import models
        >>> generator = with_reference(models.dcgan_generator(), np.random.normal(size=(64, 100)), virtual=True)
        >>> print(generator.input_shape, generator.output_shape)
        (None, 100) (None, 28, 28, 1)
    """
    _check_network(network)
    check_reference(reference, network.input_shape[1:])
    kind = VirtualBatchNormalization if virtual else ReferenceBatchNormalization
    inputs = keras.Input(network.input_shape[1:])
    samples, companions = inputs, ReferenceBatch(reference, dtype="float32")(inputs)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            new = kind(layer.epsilon, dtype=layer.dtype_policy)
            samples, companions = new([samples, companions])
            new.set_weights(layer.get_weights()[:2])  # scale and offset
        else:
            new = type(layer).from_config(layer.get_config())
            samples, companions = new(samples), new(companions)
            new.set_weights(layer.get_weights())
    return keras.Model(inputs, samples, name=network.name)


def check_reference(reference: Any, shape: tuple[int | None, ...] | None = None) -> np.ndarray:
    """The reference as an array, if it holds at least 2 finite samples, of this shape where one is given.

    Raises:
        TypeError: it holds no numbers.
        ValueError: it is something else.

    Example:
        >>> check_reference(np.zeros((1, 100)))
        Traceback (most recent call last):
        ...
        ValueError: Got a reference batch of shape (1, 100), expected at least 2 samples, such as 64.
    """
    reference = as_numbers("reference", reference)
    if reference.ndim < 2 or len(reference) < 2:
        raise ValueError(f"Got a reference batch of shape {reference.shape}, expected at least 2 samples, such as 64.")
    if shape is not None and reference.shape[1:] != shape:
        raise ValueError(
            f"Got a reference batch of shape {reference.shape}, expected (n, {', '.join(map(str, shape))}): samples "
            "such as the network reads."
        )
    if not np.isfinite(reference).all():
        raise ValueError("Got a reference batch with values that are not finite. Choose samples without NaN.")
    return reference


def _check_network(network: Any) -> None:
    if not isinstance(network, keras.Sequential) or not network.built:
        raise TypeError(f"Got network={network!r:.60}, expected a built keras.Sequential, layer after layer.")
    batch_norms = [layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    if not batch_norms:
        raise ValueError(f"Got a network without BatchNormalization, {network.name!r}: there is nothing to replace.")
    for layer in batch_norms:
        plain = layer.center and layer.scale and layer.axis in (-1, len(layer.input.shape) - 1)
        if layer not in network.layers or not plain:
            raise ValueError(
                f"Got the layer {layer.name!r}, expected BatchNormalization with scale and offset, over the last axis, "
                "among the network's own layers and in no model within."
            )


def _checked(shapes: Any) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """The shapes of samples and reference."""
    if not (isinstance(shapes, list | tuple) and len(shapes) == 2 and isinstance(shapes[0], list | tuple)):
        raise ValueError(
            f"Got the input shape {shapes} and no reference batch, expected two tensors, samples and reference: "
            "layer([samples, reference]). gan_utils.normalization.with_reference passes both through a network."
        )
    samples, reference = map(tuple, shapes)
    if len(samples) < 2 or samples[1:] != reference[1:] or samples[-1] is None:
        raise ValueError(
            f"Got samples of shape {samples} and a reference batch of shape {reference}, expected (batch, …, channels) "
            "and the same but for the batch, with known channels."
        )
    if reference[0] is None or reference[0] < 2:
        raise ValueError(f"Got a reference batch of shape {reference}, expected at least 2 samples, a known number.")
    return samples, reference


def _moments(samples: Any, first_axis: int) -> tuple[Any, Any]:
    """Mean and variance over all axes from this one on but the last. Of a vector alone: its values, and zeros."""
    axes = list(range(first_axis, len(samples.shape) - 1))
    if not axes:
        return samples, ops.zeros_like(samples)
    mean = ops.mean(samples, axis=axes, keepdims=True)
    return mean, ops.mean((samples - mean) ** 2, axis=axes, keepdims=True)
