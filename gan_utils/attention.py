"""Self-attention for images: each position of a feature map looks at all others, however far they are.

Reference: H. Zhang et al., Self-Attention Generative Adversarial Networks, 2019, arXiv:1805.08318.
"""

from typing import Any

import keras
from keras import ops

from gan_utils.layers import SpectralNormalization


@keras.saving.register_keras_serializable("gan_utils")
class SelfAttention(keras.layers.Layer):
    """Adds to each position what it looks at anywhere in the image: y = x + γ · o.

    With 1×1 convolutions f, g, h and v, and positions i and j of the feature map x:

        β_ji = softmax over i of f(x_i)ᵀ g(x_j)    how much position j looks at position i
        o_j  = v(Σ_i β_ji h(x_i))                  what it sees there

    f and g have C/8 channels, h has C/2 and v has C, of C channels of x. γ is one weight that starts at 0: the layer
    then changes nothing, and its first step moves γ alone.

    For N positions a map β takes N² numbers an image: 1 million at 32×32 pixels.

    Args:
        pooled: whether f and h are max-pooled 2×2, as in the authors' code, so that N positions look at N/4.
        spectral: whether the four convolutions are normalised by `SpectralNormalization`, as in the paper.

    Raises:
        ValueError: the inputs are no images, or have fewer than 8 channels, or sides that are odd where they are to be
            pooled.

    Example:
        >>> layer = SelfAttention()
        >>> images = keras.random.normal((2, 4, 4, 8), seed=0)
        >>> print(bool(ops.all(layer(images) == images)), layer.attention(images).shape)
        True (2, 16, 16)

    Differs from the paper, as the authors' code does: h has C/2 channels (C/8 in the paper's text), v brings them back
    to C. Differs from the code: pooling is optional.

    Reference: H. Zhang et al., Self-Attention Generative Adversarial Networks, 2019, arXiv:1805.08318.
    """

    def __init__(self, pooled: bool = False, spectral: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.pooled, self.spectral = bool(pooled), bool(spectral)

    def build(self, input_shape: Any) -> None:
        """Makes the four convolutions and γ."""
        channels = _checked(tuple(input_shape), self.pooled)
        self.f = self._convolution(channels // 8, "f", input_shape)
        self.g = self._convolution(channels // 8, "g", input_shape)
        self.h = self._convolution(channels // 2, "h", input_shape)
        self.v = self._convolution(channels, "v", (*input_shape[:-1], channels // 2))
        self.gamma = self.add_weight(name="gamma", shape=(), initializer="zeros")

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The feature maps with what their positions see, of the inputs' shape."""
        beta = ops.cast(self.attention(inputs, training), self.compute_dtype)  # (batch, N, N or N/4)
        seen = ops.matmul(beta, self._by_position(self.h, inputs, training, self.pooled))  # (batch, N, C/2)
        seen = ops.reshape(seen, (-1, *inputs.shape[1:-1], inputs.shape[-1] // 2))
        drawn = self.v(seen, training=training) if self.spectral else self.v(seen)
        return inputs + self.gamma * drawn

    def attention(self, inputs: Any, training: bool = False) -> Any:
        """β: how much each position looks at each other, (batch, N, N), or (batch, N, N/4) if pooled. Rows sum to 1.

        Positions go row by row: of N = height · width, number j is at row j // width.
        """
        queries = self._by_position(self.g, inputs, training)  # (batch, N, C/8)
        keys = self._by_position(self.f, inputs, training, self.pooled)  # (batch, N or N/4, C/8)
        alike = ops.matmul(queries, ops.swapaxes(keys, 1, 2))
        return ops.softmax(ops.cast(alike, keras.backend.result_type(alike.dtype, "float32")))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "pooled": self.pooled, "spectral": self.spectral}

    def _convolution(self, channels: int, name: str, input_shape: Any) -> keras.layers.Layer:
        layer = keras.layers.Conv2D(channels, 1, use_bias=False, name=name, dtype=self.dtype_policy)
        layer = SpectralNormalization(layer, name=name) if self.spectral else layer
        layer.build(input_shape)
        return layer

    def _by_position(self, convolution: Any, inputs: Any, training: bool, pooled: bool = False) -> Any:
        """The convolved maps, one row for each position: (batch, N, channels)."""
        maps = convolution(inputs, training=training) if self.spectral else convolution(inputs)
        maps = ops.max_pool(maps, 2) if pooled else maps
        return ops.reshape(maps, (-1, maps.shape[1] * maps.shape[2], maps.shape[3]))


def _checked(shape: tuple[int | None, ...], pooled: bool) -> int:
    """The number of channels, if the layer can work on such maps."""
    if len(shape) != 4 or None in shape[1:] or shape[-1] < 8:
        raise ValueError(
            f"Got the input shape {shape}, expected (batch, height, width, channels), known, with at least 8 channels: "
            "queries and keys have an eighth of them."
        )
    if pooled and (shape[1] % 2 or shape[2] % 2):
        raise ValueError(f"Got {shape[1]}×{shape[2]} positions to pool 2×2, expected even sides, or pooled=False.")
    return shape[-1]
