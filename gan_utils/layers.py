"""Layers that Keras has wrong for GANs. They save and load, and are used as Keras' own are.

Keras' faults are shown in the docstrings, as examples that run. Should one fail, Keras has mended its layer, and ours
can go.
"""

from typing import Any

import keras
from keras import ops

from gan_utils.checks import check_epsilon, is_whole

_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)


@keras.saving.register_keras_serializable("gan_utils")
class SpectralNormalization(keras.layers.Wrapper):
    """Applies a layer with W/σ in place of its kernel W, where σ is the largest singular value of W as a matrix.

    D's slope then cannot grow by larger weights. The matrix has a row for each position and channel of the input, and
    a column for each channel of the output. Two vectors u and v, of length 1, are moved towards the singular vectors
    by power iteration, and σ = vᵀWu:

        v ← Wu / ‖Wu‖    u ← Wᵀv / ‖Wᵀv‖

    Gradients flow through W in σ, not through u and v, which is exact once these have settled. u is kept from call to
    call, and assigned with `training=True` only. W itself is never assigned.

    Two warnings. It starts cold: from a random u, one iteration gives too small a σ (74 % of it for a 784×256 matrix)
    and fifty calls are needed for 99.9 %; until then outputs are too large. And σ = 1 bounds the
    slope of a dense layer by 1, not that of a convolution, whose kernel meets each input several times: up to nearly 3
    for 3×3 kernels, 2 for 4×4 kernels with stride 2.

    Why not Keras' layer: its forward pass in training overwrites the trainable kernel by W/σ. So a step of the
    generator moves D's weights, and the gradient is not that of W/σ with respect to W.

        >>> layer = keras.layers.SpectralNormalization(keras.layers.Dense(1, kernel_initializer="ones"))
        >>> layer.build((None, 4))  # σ = 2
        >>> output = layer(ops.ones((1, 4)), training=True)
        >>> print(layer.layer.kernel.numpy().ravel().round(3))
        [0.5 0.5 0.5 0.5]

    Args:
        layer: has a `kernel` (Dense, convolutions, their transposes) or `embeddings`, and no statistics of its own. Its
            dtype is the one that counts.
        power_iterations: in each call, at least 1.
        seed: of the first u. None draws one, reproducibly after `keras.utils.set_random_seed`.

    Raises:
        TypeError: it is no layer.
        ValueError: the layer has no such kernel (found out when it is built), or `power_iterations` is below 1.

    Example:
        >>> layer = SpectralNormalization(keras.layers.Dense(1, kernel_initializer="ones"), seed=0)
        >>> print(layer(ops.ones((1, 4)), training=True).numpy(), layer.layer.kernel.numpy().ravel())
        [[2.]] [1. 1. 1. 1.]

    Differs from the paper: calls without training iterate too, and keep nothing. A kernel of zeros stays as it is.

    Reference: T. Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018, arXiv:1802.05957.
    """

    def __init__(self, layer: keras.layers.Layer, power_iterations: int = 1, seed: int | None = None, **kwargs: Any):
        if not is_whole(power_iterations):
            raise ValueError(f"Got power_iterations={power_iterations!r}, expected a whole number of at least 1.")
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError(f"Got layer={layer!r:.80}, expected a Keras layer with a kernel, such as layers.Dense(1).")
        # A mixed dtype of the wrapper's own would round W to half precision before σ is computed.
        kwargs["dtype"] = layer.variable_dtype
        super().__init__(layer, **kwargs)
        self.power_iterations = int(power_iterations)
        self.seed = None if seed is None else int(seed)

    def build(self, input_shape: Any) -> None:
        """Builds the layer and u."""
        super().build(input_shape)
        kernel = self._kernel()
        if not isinstance(kernel, keras.Variable):
            raise ValueError(
                f"Got {self.layer!r:.80} to normalise, expected a layer with a `kernel` or `embeddings`, such as Dense "
                "or Conv2D."
            )
        self.u = self.add_weight(
            name="u",
            shape=(kernel.shape[-2 if isinstance(self.layer, _TRANSPOSED) else -1],),
            initializer=keras.initializers.RandomNormal(stddev=1.0, seed=self.seed),
            dtype=keras.backend.result_type(kernel.dtype, "float32"),
            trainable=False,
            aggregation="only_first_replica",  # all devices compute the same
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The layer's output with W/σ."""
        kernel = ops.convert_to_tensor(self._kernel())
        sigma, u = self._largest_singular_value(kernel)
        if training:
            self.u.assign(u)
        values = [(variable, variable.value) for variable in self.layer.variables]  # as an outer scope has them
        with keras.StatelessScope([*values, (self._kernel(), kernel / ops.cast(sigma, kernel.dtype))]):
            return self.layer(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The layer's."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "power_iterations": self.power_iterations, "seed": self.seed}

    def _kernel(self) -> keras.Variable | None:
        return getattr(self.layer, "kernel", getattr(self.layer, "embeddings", None))

    def _as_matrix(self, kernel: Any) -> Any:
        """(positions and channels of the input, channels of the output)."""
        if isinstance(self.layer, _TRANSPOSED):  # (…, outputs, inputs)
            kernel = ops.swapaxes(kernel, -1, -2)
        return ops.reshape(kernel, (-1, kernel.shape[-1]))

    def _largest_singular_value(self, kernel: Any) -> tuple[Any, Any]:
        """σ, a scalar, and the next u: (outputs,)."""
        matrix = self._as_matrix(ops.cast(kernel, self.u.dtype))
        fixed = ops.stop_gradient(matrix)
        u = self.u.value
        for _ in range(self.power_iterations):
            v = _of_length_one(ops.matmul(fixed, u))
            u = _of_length_one(ops.matmul(v, fixed))
        sigma = ops.sum(v * ops.matmul(matrix, u))
        some = sigma > 0.0  # else all weights are 0, and u would become 0 for ever
        return ops.where(some, sigma, 1.0), ops.where(some, u, self.u.value)


@keras.saving.register_keras_serializable("gan_utils")
class LayerNormalization(keras.layers.Layer):
    """Normalises each sample over all its axes: (x − mean) / √(variance + ε) · scale + offset.

    A critic with a gradient penalty cannot have batch normalisation, since a sample's logit must not depend on the
    rest of its batch; this takes its place. Scale and offset are learned, one of each for each channel (the last axis).
    In half precision it computes in float32.

    Why not Keras' layer: TensorFlow's moments stop a gradient at the mean. That is right for first derivatives and
    wrong for second ones, and the gradient of a penalty is one. For n = 4 numbers, the variance has the second
    derivative 2/n · (1 − 1/n) = 0.375 with respect to each:

        >>> import tensorflow as tf
        >>> numbers = tf.constant([1.0, 2.0, 3.0, 4.0])
        >>> with tf.GradientTape() as outer, tf.GradientTape() as inner:
        ...     outer.watch(numbers)
        ...     inner.watch(numbers)
        ...     variance = keras.ops.moments(numbers, axes=[0])[1]
        ...     slope = inner.gradient(variance, numbers)[0]
        >>> print(outer.gradient(slope, numbers)[0].numpy())
        0.5

    Args:
        epsilon: added to the variance, above 0.

    Raises:
        ValueError: ε is not above 0, or the number of channels is not known.

    Example:
        >>> print(LayerNormalization()(ops.convert_to_tensor([[1.0, 3.0], [0.0, 9.0]])).numpy().round(3))
        [[-1.  1.]
         [-1.  1.]]

    Differs from the paper: it normalises images over height and width too, with scale and offset by channel, as the
    code of the gradient penalty's authors does (I. Gulrajani et al., 2017, arXiv:1704.00028).

    Reference: J. L. Ba et al., Layer Normalization, 2016, arXiv:1607.06450.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any):
        check_epsilon(epsilon)
        super().__init__(**kwargs)
        self.epsilon = float(epsilon)

    def build(self, input_shape: Any) -> None:
        """Makes scale and offset."""
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(f"Got the input shape {input_shape}, expected (batch, …, channels) with known channels.")
        shared = {"shape": (input_shape[-1],), "autocast": False}
        self.scale = self.add_weight(name="scale", initializer="ones", **shared)
        self.offset = self.add_weight(name="offset", initializer="zeros", **shared)

    def call(self, inputs: Any) -> Any:
        """The normalised samples, of the inputs' shape."""
        samples = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        axes = list(range(1, len(samples.shape)))
        centered = samples - ops.mean(samples, axis=axes, keepdims=True)
        variance = ops.mean(centered**2, axis=axes, keepdims=True)
        normalised = centered * ops.rsqrt(variance + self.epsilon)
        return ops.cast(normalised * self.scale + self.offset, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "epsilon": self.epsilon}


def _of_length_one(vector: Any) -> Any:
    return vector * ops.rsqrt(ops.maximum(ops.sum(vector**2), 1e-24))
