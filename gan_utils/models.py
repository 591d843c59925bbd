"""Builders of the networks: plain functions that return a `keras.Model`. Discriminators return logits.

Last layers compute in float32 whatever the dtype policy, so that pixels and logits are not coarse in mixed precision.

Reference of the `dcgan_` builders: A. Radford et al., Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks, 2015, arXiv:1511.06434. Differs from the paper: kernels of 4×4 in place of 5×5. Four is
a multiple of the stride, so that every pixel is reached by as many weights, and a step costs a third less.
"""

from collections.abc import Sequence

import keras
from keras import layers

from gan_utils import data
from gan_utils.checks import is_real, is_whole

LEAKY_SLOPE = 0.2
DCGAN_LAYERS = {28: 3, 32: 3, 64: 4}  # convolutions of each network, by the side of its images


def mlp_generator(
    latent_dim: int = 100,
    output_shape: Sequence[int] = (28, 28, 1),
    hidden_units: Sequence[int] = (256, 512, 1024),
    output_activation: str | None = "tanh",
) -> keras.Model:
    """Multilayer perceptron from a latent vector to a sample. Its defaults are the classic MNIST generator.

    Args:
        latent_dim: length of the latent vector z.
        output_shape: shape of one sample, without the batch axis: (28, 28, 1) for a digit, (2,) for a point.
        hidden_units: widths of the hidden layers, each followed by LeakyReLU(0.2).
        output_activation: "tanh" keeps images in [-1, 1]; None leaves points of the plane unbounded.

    Returns:
        A model from (batch, latent_dim) to (batch, *output_shape).

    Raises:
        ValueError: a size is not a positive whole number, or Keras has no such activation.

    Example:
        >>> print(f"{mlp_generator().count_params():,}")
        1,486,352
    """
    _check_sizes(latent_dim=(latent_dim,), output_shape=output_shape, hidden_units=hidden_units)
    if output_activation is not None and output_activation not in dir(keras.activations):
        raise ValueError(f"Got output_activation={output_activation!r}, expected a name such as 'tanh', or None.")
    size = 1
    for extent in output_shape:
        size *= extent
    return keras.Sequential(
        [
            keras.Input((latent_dim,)),
            *_hidden(hidden_units),
            layers.Dense(size, activation=output_activation, dtype="float32"),
            layers.Reshape(tuple(output_shape), dtype="float32"),
        ],
        name="generator",
    )


def mlp_discriminator(
    input_shape: Sequence[int] = (28, 28, 1),
    hidden_units: Sequence[int] = (1024, 512, 256),
    dropout_rate: float = 0.5,
) -> keras.Model:
    """Multilayer perceptron from a sample to one logit. Its defaults are the classic MNIST discriminator.

    Args:
        input_shape: shape of one sample, without the batch axis.
        hidden_units: widths of the hidden layers, each followed by LeakyReLU(0.2).
        dropout_rate: share of the hidden activations that are dropped in training, in [0, 1). 0 for no dropout.

    Returns:
        A model from (batch, *input_shape) to (batch, 1): the logit of "this sample is real".

    Raises:
        ValueError: a size is not a positive whole number, or the dropout rate is outside [0, 1).

    Example:
        >>> print(f"{mlp_discriminator().count_params():,}")
        1,460,225
    """
    _check_sizes(input_shape=input_shape, hidden_units=hidden_units)
    if not (is_real(dropout_rate) and 0.0 <= dropout_rate < 1.0):
        raise ValueError(f"Got dropout_rate={dropout_rate!r}, expected a share in [0, 1), such as 0.5 or 0.")
    return keras.Sequential(
        [
            keras.Input(tuple(input_shape)),
            layers.Flatten(),
            *_hidden(hidden_units, dropout_rate),
            layers.Dense(1, dtype="float32"),
        ],
        name="discriminator",
    )


def dcgan_generator(
    image_size: int = 28, channels: int = 1, latent_dim: int = 100, base_filters: int = 64
) -> keras.Model:
    """Convolutional generator by the five guidelines: strided, batch-normalised, ReLU inside and tanh at the end.

    It starts from 4×4 feature maps and doubles their side until it has the image's. For 28 pixels it draws 32 and
    crops two from each side.

    Args:
        image_size: side of the square images in pixels: 28, 32 or 64.
        channels: 1 for gray, 3 for colour.
        latent_dim: length of the latent vector z.
        base_filters: feature maps before the last layer; each layer towards z has twice as many. The paper's network
            for 64 pixels has 128.

    Returns:
        A model from (batch, latent_dim) to (batch, image_size, image_size, channels), in [-1, 1].

    Raises:
        ValueError: another image size, or a size that is not a positive whole number.

    Example:
        >>> print(f"{dcgan_generator().count_params():,} {dcgan_generator(64, 3, base_filters=128).output_shape}")
        1,067,777 (None, 64, 64, 3)
    """
    _check_sizes(channels=(channels,), latent_dim=(latent_dim,))
    *widths, deepest = _dcgan_widths(image_size, base_filters)
    stack = [
        keras.Input((latent_dim,)),
        layers.Dense(4 * 4 * deepest, use_bias=False, kernel_initializer=_normal()),
        layers.Reshape((4, 4, deepest)),
        _normalise(),
        layers.ReLU(),
    ]
    for filters in reversed(widths):
        stack += [
            layers.Conv2DTranspose(filters, 4, 2, "same", use_bias=False, kernel_initializer=_normal()),
            _normalise(),
            layers.ReLU(),
        ]
    last = {"activation": "tanh", "kernel_initializer": _normal(), "dtype": "float32"}
    stack.append(layers.Conv2DTranspose(channels, 4, 2, "same", **last))
    margin = (4 * 2 ** DCGAN_LAYERS[image_size] - image_size) // 2
    if margin:
        stack.append(layers.Cropping2D(margin, dtype="float32"))
    return keras.Sequential(stack, name="generator")


def dcgan_discriminator(image_size: int = 28, channels: int = 1, base_filters: int = 64) -> keras.Model:
    """Convolutional discriminator, the generator's mirror image: strided, LeakyReLU(0.2), no batch norm at its input.

    Args:
        image_size: side of the square images in pixels: 28, 32 or 64.
        channels: 1 for gray, 3 for colour.
        base_filters: feature maps of the first layer; each further layer has twice as many.

    Returns:
        A model from (batch, image_size, image_size, channels) to (batch, 1): the logit of "this sample is real".

    Raises:
        ValueError: another image size, or a size that is not a positive whole number.

    Example:
        >>> print(f"{dcgan_discriminator().count_params():,}")
        662,081
    """
    _check_sizes(channels=(channels,))
    first, *widths = _dcgan_widths(image_size, base_filters)
    stack = [
        keras.Input((image_size, image_size, channels)),
        layers.Conv2D(first, 4, 2, "same", kernel_initializer=_normal()),
        layers.LeakyReLU(LEAKY_SLOPE),
    ]
    for filters in widths:
        stack += [
            layers.Conv2D(filters, 4, 2, "same", use_bias=False, kernel_initializer=_normal()),
            _normalise(),
            layers.LeakyReLU(LEAKY_SLOPE),
        ]
    last = layers.Dense(1, kernel_initializer=_normal(), dtype="float32")
    return keras.Sequential([*stack, layers.Flatten(), last], name="discriminator")


def load_pretrained(name: str) -> keras.Model:
    """A trained network that the course ships in `data/pretrained/`, for inference.

    Args:
        name: "mnist_generator", "mnist_discriminator", "mnist_classifier", "fashion_classifier", "faces_generator" or
            "faces_attributes".

    Raises:
        ValueError: there is no such network, or its file is damaged.
        FileNotFoundError: its file is missing.

    Example:
        >>> load_pretrained("mnist_generator").input_shape
        (None, 100)
    """
    return keras.saving.load_model(data.shipped_file(f"pretrained/{name}.keras"), compile=False, safe_mode=True)


def _dcgan_widths(image_size: int, base_filters: int) -> list[int]:
    """Feature maps of each layer, from the image inwards."""
    _check_sizes(base_filters=(base_filters,))
    if not is_whole(image_size) or image_size not in DCGAN_LAYERS:
        raise ValueError(f"Got image_size={image_size!r}, expected one of {list(DCGAN_LAYERS)}. Resize the images.")
    return [base_filters * 2**layer for layer in range(DCGAN_LAYERS[image_size])]


def _normal() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.02)


def _normalise() -> layers.Layer:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)


def _hidden(hidden_units: Sequence[int], dropout_rate: float = 0.0) -> list[layers.Layer]:
    stack = []
    for units in hidden_units:
        stack += [layers.Dense(units), layers.LeakyReLU(LEAKY_SLOPE)]
        if dropout_rate:
            stack.append(layers.Dropout(dropout_rate))
    return stack


def _check_sizes(**sizes: Sequence[int]) -> None:
    for name, values in sizes.items():
        # Keras takes no NumPy integers here.
        if not isinstance(values, Sequence) or not all(is_whole(value) and isinstance(value, int) for value in values):
            raise ValueError(f"Got {name}={values!r}, expected positive whole numbers only, of Python's int.")
