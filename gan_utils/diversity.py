"""What lets the discriminator see variety: it judges samples together, not each by itself.

A collapsed generator draws samples that are good one by one. Here are two layers that tell each sample how like the
rest of its batch it is, and packing, by which D gives one answer for several samples. Real samples and fakes pass
through D as two batches, so a batch is always of one kind. On several devices each sees its own share of the batch.
"""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from gan_utils import refusals
from gan_utils.checks import is_real, is_whole

_register = keras.saving.register_keras_serializable("gan_utils")


@_register
class MinibatchDiscrimination(layers.Layer):
    """Adds features to each sample that say how near the others of its batch are.

        M_i = f(x_i)·T                        a matrix of `kernels` rows and `dimensions` columns
        c_b(x_i, x_j) = exp(−‖M_ib − M_jb‖₁)  in (0, 1], from row b of both
        o(x_i)_b = Σ c_b(x_i, x_j) over all other samples j of the batch, + offset_b

    Only differences count that are not much larger than 1, so T's scale decides what it sees. With T as it is drawn,
    o may be 0 for every sample, and its gradient too. `adapt` sets the scale from data.

    Differs from the paper: a sample is not compared with itself (which added 1 to all), and there is an offset; both as
    in the authors' code. Theirs learns the scale of each row as a weight of its own.

    Args:
        kernels: rows of M: how many features are added.
        dimensions: columns of M.

    Raises:
        ValueError: a size is not a positive whole number, or the inputs are no vectors.

    Reference: T. Salimans et al., Improved Techniques for Training GANs, 2016, arXiv:1606.03498, Section 3.2.

    Example:
        >>> layer = MinibatchDiscrimination(kernels=1, dimensions=1)
        >>> layer.build((None, 1))
        >>> _ = layer.kernel.assign(tf.ones((1, 1, 1)))
        >>> print(layer(tf.constant([[0.0], [0.0], [9.0]])).numpy().round(2))
        [[0. 1.]
         [0. 1.]
         [9. 0.]]
    """

    def __init__(self, kernels: int = 100, dimensions: int = 5, **kwargs: Any):
        if not (is_whole(kernels) and is_whole(dimensions)):
            raise ValueError(f"Got kernels={kernels!r} and dimensions={dimensions!r}, expected whole numbers above 0.")
        super().__init__(**kwargs)
        self.kernels, self.dimensions = int(kernels), int(dimensions)

    def build(self, input_shape: Any) -> None:
        """Makes T, whose columns have length 1 on average, and the offset."""
        if len(input_shape) != 2 or input_shape[1] is None:
            raise ValueError(f"Got the input shape {input_shape}, expected (batch, features). Put a Flatten before it.")
        shape, one = (input_shape[1], self.kernels, self.dimensions), keras.initializers.RandomNormal
        scale = 1.0 / math.sqrt(input_shape[1])
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=one(stddev=scale), autocast=False)
        self.offset = self.add_weight(name="offset", shape=shape[1:2], initializer="zeros", autocast=False)

    def call(self, inputs: Any) -> Any:
        """The inputs with the new features behind them, (batch, features + kernels)."""
        likeness = tf.exp(-self._distances(inputs))  # (batch, batch, kernels)
        others = tf.reduce_sum(likeness, axis=1) - 1.0  # (batch, kernels), without exp(0) of the sample itself
        return tf.concat([inputs, tf.cast(others + self.offset, inputs.dtype)], axis=1)

    def adapt(self, features: Any) -> None:
        """Sets T's scale and the offset from features that a batch of real samples has here, as the authors' code does.

        Afterwards, in this batch, the nearest other sample is 2 away on average in each row of M, and each new feature
        has the mean 0. Call it once, before training.

        Args:
            features: (batch, features): what reaches the layer, at least two samples.

        Raises:
            ValueError: another shape, or samples that are all alike.
        """
        features = tf.convert_to_tensor(features)
        if features.shape.rank != 2 or features.shape[0] < 2:
            raise ValueError(f"Got features of shape {tuple(features.shape)}, expected at least two samples' vectors.")
        if not self.built:
            self.build(features.shape)
        distances = self._distances(features)
        apart = distances + tf.where(tf.eye(len(features), dtype=tf.bool), math.inf, 0.0)[:, :, tf.newaxis]
        nearest = tf.reduce_mean(tf.reduce_min(apart, axis=1), axis=0)  # (kernels,)
        if not bool(tf.reduce_all(nearest > 0.0)):
            raise ValueError("Got samples of which each has its like, expected a batch of different ones.")
        self.kernel.assign(self.kernel * (2.0 / nearest)[:, tf.newaxis])
        self.offset.assign(-tf.reduce_mean(tf.reduce_sum(tf.exp(-distances * 2.0 / nearest), axis=1) - 1.0, axis=0))

    def _distances(self, inputs: Any) -> Any:
        """‖M_ib − M_jb‖₁, (batch, batch, kernels)."""
        rows = tf.tensordot(tf.cast(inputs, self.kernel.dtype), self.kernel.value, 1)  # (batch, kernels, dimensions)
        return tf.reduce_sum(tf.abs(rows[:, tf.newaxis] - rows[tf.newaxis]), axis=3)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        """As many more features as there are kernels."""
        return (input_shape[0], input_shape[1] + self.kernels)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "kernels": self.kernels, "dimensions": self.dimensions}


@_register
class MinibatchStandardDeviation(layers.Layer):
    """Adds one channel: how much the samples of a small group differ, one number for all of them.

        √(Var + ε) of each feature over the group, then the mean of these over all features, places and channels

    Sample j belongs to group j mod K, for K groups. Nothing is learned, and a batch without any variety has a finite
    gradient.

    Differs from the authors' code: groups need not divide the batch. K is the batch size // the group size, at least 1,
    so that groups have the size asked for or more, and a smaller batch is one group.

    Args:
        group_size: samples of a group, at least 2; None is the whole batch.
        epsilon: added to the variance, above 0.

    Raises:
        ValueError: a setting is out of its range, or the inputs are no batch of vectors or images.

    Reference: T. Karras et al., Progressive Growing of GANs, 2018, arXiv:1710.10196, Section 3.

    Example:
        >>> print(MinibatchStandardDeviation(2)(tf.constant([[1.0], [5.0], [3.0], [5.0]])).numpy().round(2))
        [[1. 1.]
         [5. 0.]
         [3. 1.]
         [5. 0.]]
    """

    def __init__(self, group_size: int | None = 4, epsilon: float = 1e-8, **kwargs: Any):
        if not (group_size is None or is_whole(group_size, 2)) or not (is_real(epsilon) and epsilon > 0.0):
            raise ValueError(
                f"Got group_size={group_size!r} and epsilon={epsilon!r}, expected at least 2, or None for the whole "
                "batch, and a small number above 0."
            )
        super().__init__(**kwargs)
        self.group_size = None if group_size is None else int(group_size)
        self.epsilon = float(epsilon)

    def build(self, input_shape: Any) -> None:
        """Looks at the shape; there are no weights."""
        if len(input_shape) < 2 or None in input_shape[1:]:
            raise ValueError(f"Got the input shape {input_shape}, expected (batch, …, channels) with known sizes.")

    def call(self, inputs: Any) -> Any:
        """The inputs with one more channel, (batch, …, channels + 1)."""
        count = tf.shape(inputs)[0]
        groups = 1 if self.group_size is None else tf.maximum(count // self.group_size, 1)
        flat = tf.reshape(tf.cast(inputs, tf.as_dtype(self.variable_dtype)), (count, -1))  # (batch, features)
        belongs = tf.one_hot(tf.range(count) % groups, groups, dtype=flat.dtype)  # (batch, groups)
        share = belongs / tf.reduce_sum(belongs, axis=0)
        centered = flat - belongs @ tf.matmul(share, flat, transpose_a=True)
        variance = tf.matmul(share, centered**2, transpose_a=True)  # (groups, features)
        spread = tf.reduce_mean(tf.sqrt(variance + self.epsilon), axis=1)  # (groups,)
        channel = tf.reshape(tf.linalg.matvec(belongs, spread), (count, *[1] * (len(inputs.shape) - 1)))
        channel = tf.cast(channel, inputs.dtype) * tf.ones_like(inputs[..., :1])
        return tf.concat([inputs, channel], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """One more channel."""
        return (*input_shape[:-1], input_shape[-1] + 1)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "group_size": self.group_size, "epsilon": self.epsilon}


@_register
class Pack(layers.Layer):
    """Joins each m samples of a batch that follow one another to one, with m times as many channels.

    A batch that m does not divide is filled up with its first samples.

    Args:
        size: m, at least 1.

    Raises:
        ValueError: m is not a positive whole number.

    Example:
        >>> print(Pack(2)(tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])).numpy())
        [[1. 2. 3. 4.]
         [5. 6. 1. 2.]]
    """

    def __init__(self, size: int, **kwargs: Any):
        if not is_whole(size):
            raise ValueError(f"Got size={size!r}, expected how many samples D judges at once: 2, 3 or 4.")
        super().__init__(**kwargs)
        self.size = int(size)

    def call(self, inputs: Any) -> Any:
        """The packed samples, (⌈batch / m⌉, …, m·channels)."""
        count = tf.shape(inputs)[0]
        packs = -(-count // self.size)
        # Tiled and cut, not gathered: a penalty could not compute with the gradient of that.
        filled = tf.tile(inputs, [self.size] + [1] * (len(inputs.shape) - 1))[: packs * self.size]
        return tf.concat([filled[place :: self.size] for place in range(self.size)], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """As many samples fewer as there are channels more."""
        packs = None if input_shape[0] is None else -(-input_shape[0] // self.size)
        return (packs, *input_shape[1:-1], self.size * input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "size": self.size}


def packed(network: keras.Model, size: int) -> keras.Model:
    """A discriminator that judges m samples of one kind at once: it returns one logit for each m of a batch.

    The game stays as it is, since losses are means over logits. Penalties look at the slope along each sample by
    itself: a pack has m of them.

    Args:
        network: discriminator of samples with m times as many channels, or features, such as
            `dcgan_discriminator(channels=2)` for pairs of gray images.
        size: m, at least 1.

    Returns:
        A model from samples, (batch, …, channels), to (⌈batch / m⌉, 1) logits, which shares its weights with `network`.

    Raises:
        TypeError: it is no built `keras.Model`.
        ValueError: the network reads labels too, or channels that m does not divide, or m is below 1.

    Reference: Z. Lin et al., PacGAN: The Power of Two Samples in Generative Adversarial Networks, 2018,
    arXiv:1712.04086. Differs from the paper: its samples are drawn for a pack; here a batch is cut into packs, so that
    D gives as many answers fewer.

    Example:
        >>> from gan_utils import models
        >>> discriminator = packed(models.mlp_discriminator((4,), (8,), dropout_rate=0.0), size=2)
        >>> print(discriminator.input_shape, discriminator(tf.ones((6, 2))).shape)
        (None, 2) (3, 1)
    """
    refusals.check_model(network, "network")
    pack = Pack(size, name="pack")
    (*shape, channels), *labels = (inputs[1:] for inputs in refusals.input_shapes(network))
    if labels or channels % pack.size:
        raise ValueError(
            f"Got size={size} and a network that reads {refusals.input_shapes(network)}, expected samples alone, with "
            f"{size} times as many channels as one sample has."
        )
    samples = keras.Input((*shape, channels // pack.size))
    return keras.Model(samples, network(pack(samples)), name="discriminator")
