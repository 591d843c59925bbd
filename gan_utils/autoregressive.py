"""Pixel by pixel: networks that predict each pixel of a binary image from those before it, in raster order.

    p(x) = ∏ᵢ p(xᵢ | x₁, …, xᵢ₋₁)        i runs along the rows, from the first row to the last

So the likelihood of an image is exact and takes one pass, since all factors are computed at once; a sample takes a pass
for each pixel. A network is causal if the logit of pixel i depends on no pixel from i on.

Pixels are 0 or 1, and logits are those of a 1. Networks read images of any size.

References: A. van den Oord et al., Pixel Recurrent Neural Networks, 2016, arXiv:1601.06759; A. van den Oord et al.,
Conditional Image Generation with PixelCNN Decoders, 2016, arXiv:1606.05328.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from gan_utils.checks import as_numbers, is_whole

MASKS = ("A", "B", "vertical")


def causal_mask(kernel_size: Sequence[int], mask: str) -> np.ndarray:
    """Which weights of a convolution's kernel are kept, 1, and which are not, 0.

    Args:
        kernel_size: (height, width), both odd, so that there is a centre.
        mask: what the output at the centre may see. "A": the pixels before it; "B": itself too; "vertical": all of its
            row and the rows above.

    Returns:
        float32, (height, width).

    Raises:
        ValueError: another mask, or an even size.

    Example:
        >>> for mask in MASKS:
        ...     print(mask, causal_mask((3, 3), mask).astype(int).tolist())
        A [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
        B [[1, 1, 1], [1, 1, 0], [0, 0, 0]]
        vertical [[1, 1, 1], [1, 1, 1], [0, 0, 0]]
    """
    if not isinstance(mask, str) or mask not in MASKS:
        raise ValueError(f"Got mask={mask!r}, expected one of {', '.join(MASKS)}.")
    if len(kernel_size) != 2 or not all(is_whole(side) and side % 2 for side in kernel_size):
        raise ValueError(f"Got kernel_size={kernel_size!r}, expected two odd numbers, such as (3, 3).")
    height, width = kernel_size
    rows, columns = np.ogrid[:height, :width]
    row, column = height // 2, width // 2
    seen = {"A": columns < column, "B": columns <= column, "vertical": columns >= 0}[mask]
    return ((rows < row) | ((rows == row) & seen)).astype(np.float32)


@keras.saving.register_keras_serializable("gan_utils")
class MaskedConv2D(layers.Conv2D):
    """A convolution that sees no later pixel: its kernel is multiplied by `causal_mask` in every call.

    The first layer of a network of pixels has mask A; the layers behind it read features, which know nothing of their
    own pixel, and have mask B. With B in the first place, each pixel would be predicted from itself.

    Args:
        filters: feature maps of the output.
        kernel_size: height and width, odd.
        mask: "A", "B" or "vertical", as in `causal_mask`.
        kwargs: of Keras' Conv2D, but for strides, and with padding="same" only.

    Raises:
        ValueError: another mask, an even kernel, strides or another padding, which would move the centre.

    Example:
        >>> layer = MaskedConv2D(1, 3, mask="A", kernel_initializer="ones")
        >>> print(layer(ops.ones((1, 3, 3, 1))).numpy()[0, :, :, 0].astype(int).tolist())
        [[0, 1, 1], [2, 4, 3], [2, 4, 3]]

    Reference: arXiv:1601.06759, section 3.4. Differs from the paper: the image has one channel, so the masks do not
    order the colours of a pixel; "vertical" is of arXiv:1606.05328, section 2.2.
    """

    def __init__(self, filters: int, kernel_size: int | Sequence[int], mask: str = "B", **kwargs: Any):
        super().__init__(filters, kernel_size, **{"padding": "same", **kwargs})
        if self.padding != "same" or set(self.strides) != {1}:
            raise ValueError(
                f"Got padding={self.padding!r} and strides={self.strides}, expected 'same' and 1: leave them out."
            )
        self.mask = mask
        self._kept = causal_mask(self.kernel_size, mask)[:, :, np.newaxis, np.newaxis]

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """The convolution with what the mask leaves of the kernel."""
        return super().convolution_op(inputs, kernel * ops.cast(self._kept, kernel.dtype))

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "mask": self.mask}


@keras.saving.register_keras_serializable("gan_utils")
class RowLSTM(layers.Layer):
    """A recurrent layer that goes down the rows and computes all pixels of a row at once.

        (o, f, i, g) = (σ, σ, σ, tanh)(K_ss ⊛ h_above + K_is ⊛ x)    c = f ⊙ c_above + i ⊙ g    h = o ⊙ tanh(c)

    K_is is a masked convolution along the row, of all rows at once; K_ss is a convolution of the state of the row
    above, which is all earlier, so it needs no mask. Row by row the state sees one pixel more on either side: a
    triangle that opens upwards, up to the first row, before which the state is 0.

    Args:
        units: numbers in the state of each pixel.
        kernel_size: of both convolutions, along the row; odd.
        mask: of K_is, "A" in a first layer and "B" behind it.

    Raises:
        ValueError: units are no positive whole number, the kernel is even, or there is no such mask.

    Example:
        >>> print(RowLSTM(8)(ops.zeros((2, 28, 28, 1))).shape)
        (2, 28, 28, 8)

    Reference: arXiv:1601.06759, section 3.1.
    """

    def __init__(self, units: int, kernel_size: int = 3, mask: str = "B", **kwargs: Any):
        if not is_whole(units):
            raise ValueError(f"Got units={units!r}, expected a whole number of at least 1.")
        super().__init__(**kwargs)
        self.units, self.kernel_size, self.mask = int(units), kernel_size, mask
        self.input_to_state = MaskedConv2D(4 * self.units, (1, kernel_size), mask, dtype=self.dtype_policy)
        self.state_to_state = layers.Conv1D(
            4 * self.units, kernel_size, padding="same", use_bias=False, dtype=self.dtype_policy
        )

    def build(self, input_shape: Any) -> None:
        """Builds both convolutions."""
        self.input_to_state.build(input_shape)
        self.state_to_state.build((input_shape[0], input_shape[2], self.units))

    def call(self, inputs: Any) -> Any:
        """The states: (batch, height, width, units)."""
        rows = ops.moveaxis(self.input_to_state(inputs), 1, 0)  # (height, batch, width, 4·units)
        start = ops.zeros_like(rows[0, ..., : 2 * self.units])
        _, states = ops.scan(self._step, start, rows)
        return ops.moveaxis(states[..., : self.units], 0, 1)

    def _step(self, above: Any, row: Any) -> tuple[Any, Any]:
        """The next row's h and c, side by side in (batch, width, 2·units), from those of the row above."""
        hidden, cell = ops.split(above, 2, axis=-1)
        o, f, i, g = ops.split(self.state_to_state(hidden) + row, 4, axis=-1)
        cell = ops.sigmoid(f) * cell + ops.sigmoid(i) * ops.tanh(g)
        state = ops.concatenate([ops.sigmoid(o) * ops.tanh(cell), cell], axis=-1)
        return state, state

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, height, width, units)."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        own = {"units": self.units, "kernel_size": self.kernel_size, "mask": self.mask}
        return {**super().get_config(), **own}


def pixel_cnn(filters: int = 16, blocks: int = 5) -> keras.Model:
    """PixelCNN: a 7×7 convolution with mask A, residual blocks with mask B, and two 1×1 convolutions.

    A block reads 2·filters maps and adds to them what 1×1, 3×3 and 1×1 convolutions with `filters` maps between them
    make of them. Each block sees one row further up; stacked, the masks never see a wedge to the upper right.

    Args:
        filters: feature maps inside a block, half of those between the blocks.
        blocks: how many.

    Returns:
        A model from binary pixels, (batch, height, width, 1), to logits of the same shape.

    Raises:
        ValueError: a size that is not a positive whole number.

    Example:
        >>> print(f"{pixel_cnn().count_params():,}")
        19,105

    Reference: arXiv:1601.06759, figure 5 and table 1. Differs from the paper: its widths and depths are larger.
    """
    _check_sizes(filters=filters, blocks=blocks)
    pixels = keras.Input((None, None, 1))
    maps = MaskedConv2D(2 * filters, 7, mask="A")(pixels)
    for _ in range(blocks):
        inner = layers.Conv2D(filters, 1)(layers.ReLU()(maps))
        inner = MaskedConv2D(filters, 3)(layers.ReLU()(inner))
        inner = layers.Conv2D(2 * filters, 1)(layers.ReLU()(inner))
        maps = layers.Add()([maps, inner])
    return keras.Model(pixels, _to_logits(maps, filters), name="pixel_cnn")


def gated_pixel_cnn(filters: int = 12, blocks: int = 4, kernel_size: int = 3) -> keras.Model:
    """Gated PixelCNN: one stack of maps for the rows above, one for what is to the left, and no blind spot.

    The vertical stack reads the image one row further down, so that at pixel i it knows the rows above only, and all
    of them that are near. The horizontal one sees the pixels to the left, and is told what the vertical one sees. Both
    are gated, tanh(a) ⊙ σ(b), where a and b are the halves of the maps.

    Args:
        filters: feature maps of each stack.
        blocks: how many follow the first, whose kernels are 7 wide.
        kernel_size: of their convolutions, odd.

    Returns:
        A model from binary pixels, (batch, height, width, 1), to logits of the same shape.

    Raises:
        ValueError: a size that is not a positive whole number, or an even kernel.

    Example:
        >>> print(f"{gated_pixel_cnn().count_params():,}")
        19,525

    Reference: arXiv:1606.05328, figure 2. Differs from the paper: the image, not each layer's output, is shifted, once;
    no classes; smaller.
    """
    _check_sizes(filters=filters, blocks=blocks)
    pixels = keras.Input((None, None, 1))
    vertical = layers.Cropping2D(((0, 1), (0, 0)))(layers.ZeroPadding2D(((1, 0), (0, 0)))(pixels))
    horizontal = pixels
    for block, size in enumerate([7] + blocks * [kernel_size]):
        rows = MaskedConv2D(2 * filters, size, mask="vertical")(vertical)  # (batch, height, width, 2·filters)
        left = MaskedConv2D(2 * filters, (1, size), mask="B" if block else "A")(horizontal)
        joined = layers.Add()([left, layers.Conv2D(2 * filters, 1)(rows)])
        vertical, gated = _gate(rows), layers.Conv2D(filters, 1)(_gate(joined))
        horizontal = layers.Add()([horizontal, gated]) if block else gated
    return keras.Model(pixels, _to_logits(horizontal, 2 * filters), name="gated_pixel_cnn")


def row_lstm(units: int = 16, blocks: int = 2, kernel_size: int = 3) -> keras.Model:
    """PixelRNN of row LSTMs: a 7×7 convolution with mask A, recurrent layers, and two 1×1 convolutions.

    Args:
        units: of each `RowLSTM`, half the feature maps between them.
        blocks: how many of them, each with a residual connection.
        kernel_size: along the row, odd.

    Returns:
        A model from binary pixels, (batch, height, width, 1), to logits of the same shape.

    Raises:
        ValueError: a size that is not a positive whole number, or an even kernel.

    Example:
        >>> print(f"{row_lstm().count_params():,}")
        22,337

    Reference: arXiv:1601.06759, sections 3.1 and 3.3. Differs from the paper: its networks are larger.
    """
    _check_sizes(units=units, blocks=blocks)
    pixels = keras.Input((None, None, 1))
    maps = MaskedConv2D(2 * units, 7, mask="A")(pixels)
    for _ in range(blocks):
        maps = layers.Add()([maps, layers.Conv2D(2 * units, 1)(RowLSTM(units, kernel_size)(maps))])
    return keras.Model(pixels, _to_logits(maps, 2 * units), name="row_lstm")


def log_probability(pixels: Any, logits: Any) -> Any:
    """ln p of binary images if their pixels, given the logits, are independent: Σᵢ xᵢ lᵢ − ln(1 + exp lᵢ), in nats.

    The minus of its mean is the loss that trains these networks, and the first term of a VAE's.

    Args:
        pixels: 0 or 1, (batch, …).
        logits: of a 1, of the same shape.

    Returns:
        (batch,), of the logits' type.

    Example:
        >>> print(log_probability(ops.ones((2, 28, 28, 1)), ops.zeros((2, 28, 28, 1))).numpy().round(2))  # 784 ln ½
        [-543.43 -543.43]
    """
    terms = ops.cast(pixels, logits.dtype) * logits - ops.softplus(logits)
    return ops.sum(ops.reshape(terms, (ops.shape(terms)[0], -1)), axis=1)


def log_likelihood(network: keras.Model, images: np.ndarray, batch_size: int = 100) -> np.ndarray:
    """ln p(x) of each image under a causal network, exact, in nats: one pass computes all factors.

    Args:
        network: from binary pixels to logits, causal, such as `pixel_cnn()`.
        images: binary, (images, height, width, 1).
        batch_size: images in one pass; the larger, the more memory.

    Returns:
        float64, (images,). Divided by −ln 2 · pixels it is bits for each pixel.

    Raises:
        ValueError: images of another shape, values other than 0 and 1, or a batch size below 1.

    Example:
        >>> keras.utils.set_random_seed(0)
        >>> print(log_likelihood(pixel_cnn(4, 1), np.zeros((3, 28, 28, 1))).shape)
        (3,)
    """
    _check_sizes(batch_size=batch_size)
    images = _check_binary("images", images)
    run = tf.function(lambda pixels: log_probability(pixels, tf.cast(network(pixels, training=False), "float64")))
    parts = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    return np.concatenate([run(tf.constant(part)).numpy() for part in parts])


def draw(
    network: keras.Model,
    count: int,
    seed: int = 0,
    known: np.ndarray | None = None,
    image_size: Sequence[int] = (28, 28),
    batch_size: int = 100,
) -> np.ndarray:
    """Draws images from a causal network, pixel by pixel: a pass for each, of the rows down to it.

    Args:
        network: from binary pixels to logits, causal, such as `pixel_cnn()`.
        count: how many images.
        seed: of the draws; the same seed gives the same images, whatever the batch size.
        known: pixels that are given, (count, height, width, 1), 0 or 1, and NaN where one is to be drawn, such as the
            upper halves of digits. Each is drawn given the pixels before it, so one that is given bears on those
            behind it only. None gives nothing.
        image_size: height and width, where `known` does not say them.
        batch_size: images in one pass; the larger, the more memory.

    Returns:
        float32, (count, height, width, 1), of 0 and 1.

    Raises:
        ValueError: a size below 1, a negative seed, or known pixels of another shape or value.

    Example:
        >>> keras.utils.set_random_seed(0)
        >>> images = draw(row_lstm(2, 1), count=2, image_size=(4, 4))
        >>> print(images.shape, np.unique(images))
        (2, 4, 4, 1) [0. 1.]
    """
    _check_sizes(count=count, batch_size=batch_size, height=image_size[0], width=image_size[1])
    if not is_whole(seed, 0):
        raise ValueError(f"Got seed={seed!r}, expected a whole number of at least 0.")
    if known is None:
        known = np.full((count, *image_size, 1), np.nan, np.float32)
    known = _check_binary("known", known, holes=True)
    if len(known) != count:
        raise ValueError(f"Got {len(known)} images in known, expected count={count}: one for each to be drawn.")
    noise = tf.random.stateless_uniform(known.shape, (seed, 0)).numpy()
    fill = tf.function(lambda known, noise: _fill(network, known, noise), reduce_retracing=True)
    parts = (slice(start, start + batch_size) for start in range(0, count, batch_size))
    return np.concatenate([fill(tf.constant(known[part]), tf.constant(noise[part])).numpy() for part in parts])


def _fill(network: keras.Model, known: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """The images with every NaN drawn, from the first of them on, (batch, height, width, 1)."""
    holes = tf.math.is_nan(known)
    height, width = known.shape[1:3]
    first = tf.argmax(tf.reduce_any(tf.reshape(holes, (-1, height * width)), axis=0), output_type=tf.int32)

    def step(index: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        row, column = index // width, index % width
        logits = network(images[:, : row + 1], training=False)[:, row, column]  # (batch, 1)
        drawn = tf.cast(noise[:, row, column] < tf.sigmoid(logits), images.dtype)
        here = tf.reshape(tf.one_hot(index, height * width, True, False), (1, height, width, 1))
        return index + 1, tf.where(holes & here, drawn[:, tf.newaxis, tf.newaxis], images)

    start = first, tf.where(holes, 0.0, known)
    return tf.while_loop(lambda index, _: index < height * width, step, start)[1]


def _gate(maps: Any) -> Any:
    """tanh(a) ⊙ σ(b), of half as many maps."""
    a, b = ops.split(maps, 2, axis=-1)
    return ops.tanh(a) * ops.sigmoid(b)


def _to_logits(maps: Any, filters: int) -> Any:
    """Two layers of 1×1 convolutions, the last in float32."""
    maps = layers.Conv2D(filters, 1)(layers.ReLU()(maps))
    return layers.Conv2D(1, 1, dtype="float32")(layers.ReLU()(maps))


def _check_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        if not is_whole(value):
            raise ValueError(f"Got {name}={value!r}, expected a whole number of at least 1.")


def _check_binary(name: str, images: Any, holes: bool = False) -> np.ndarray:
    """The images as float32, if their pixels are 0 and 1, or NaN where there may be holes."""
    images = as_numbers(name, images)
    if images.ndim != 4 or images.shape[-1] != 1 or not images.size:
        raise ValueError(f"Got {name} of shape {images.shape}, expected (images, height, width, 1).")
    wrong = images[(images != 0) & (images != 1) & ~(holes & np.isnan(images))]
    if wrong.size:
        also = ", and NaN where one is to be drawn" if holes else ""
        raise ValueError(
            f"Got {wrong.size} of {images.size} pixels in {name} that are not binary, such as {wrong[0]:g}, expected 0 "
            f"and 1 only{also}. Images in [-1, 1] become that by (images > 0).astype('float32')."
        )
    return images.astype(np.float32)
