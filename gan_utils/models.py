"""Builders of the networks: plain functions that return a `keras.Model`. Discriminators return logits.

A network that reads labels, as the `conditional_` ones do, has them as its second input, one-hot: (batch, classes).

Last layers compute in float32 whatever the dtype policy, so that pixels and logits are not coarse in mixed precision.

Reference of the `dcgan_` builders: A. Radford et al., Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks, 2015, arXiv:1511.06434. Differs from the paper: kernels of 4×4 in place of 5×5. Four is
a multiple of the stride, so that every pixel is reached by as many weights, and a step costs a third less.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from gan_utils import autoregressive, data
from gan_utils.checks import is_real, is_whole
from gan_utils.layers import LayerNormalization, SpectralNormalization

LEAKY_SLOPE = 0.2
DCGAN_LAYERS = {28: 3, 32: 3, 64: 4}  # convolutions of each network, by the side of its images
NORMALIZATIONS = ("batch", "layer", "spectral", "none")  # of `dcgan_discriminator`


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
    constraint: keras.constraints.Constraint | None = None,
) -> keras.Model:
    """Multilayer perceptron from a sample to one logit. Its defaults are the classic MNIST discriminator.

    Args:
        input_shape: shape of one sample, without the batch axis.
        hidden_units: widths of the hidden layers, each followed by LeakyReLU(0.2).
        dropout_rate: share of the hidden activations that are dropped in training, in [0, 1). 0 for no dropout.
        constraint: on all weights, such as `penalties.WeightClip(0.01)` of the first Wasserstein GAN; None for none.

    Returns:
        A model from (batch, *input_shape) to (batch, 1): the logit of "this sample is real".

    Raises:
        ValueError: a size is not a positive whole number, the dropout rate is outside [0, 1), or the constraint is none
            of Keras.

    Example:
        >>> print(f"{mlp_discriminator().count_params():,}")
        1,460,225
    """
    _check_sizes(input_shape=input_shape, hidden_units=hidden_units)
    if not (is_real(dropout_rate) and 0.0 <= dropout_rate < 1.0):
        raise ValueError(f"Got dropout_rate={dropout_rate!r}, expected a share in [0, 1), such as 0.5 or 0.")
    bounds = _bounds(constraint)
    return keras.Sequential(
        [
            keras.Input(tuple(input_shape)),
            layers.Flatten(),
            *_hidden(hidden_units, dropout_rate, **bounds),
            layers.Dense(1, dtype="float32", **bounds),
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


def dcgan_discriminator(
    image_size: int = 28,
    channels: int = 1,
    base_filters: int = 64,
    normalization: str = "batch",
    constraint: keras.constraints.Constraint | None = None,
) -> keras.Model:
    """Convolutional discriminator, the generator's mirror image: strided, LeakyReLU(0.2), no batch norm at its input.

    Args:
        image_size: side of the square images in pixels: 28, 32 or 64.
        channels: 1 for gray, 3 for colour.
        base_filters: feature maps of the first layer; each further layer has twice as many.
        normalization: what follows the inner convolutions: "batch", as in the paper; "layer", of each sample by itself,
            which a gradient penalty allows; "none"; or "spectral", of the weights of all layers, in place of any.
        constraint: on the weights of convolutions and of the last layer, such as `penalties.WeightClip(0.01)` of the
            first Wasserstein GAN; None for none.

    Returns:
        A model from (batch, image_size, image_size, channels) to (batch, 1): the logit of "this sample is real".

    Raises:
        ValueError: another image size, a size that is not a positive whole number, another normalization, or a
            constraint that is none of Keras.

    Example:
        >>> print(f"{dcgan_discriminator().count_params():,}")
        662,081
    """
    _check_sizes(channels=(channels,))
    if not isinstance(normalization, str) or normalization not in NORMALIZATIONS:
        raise ValueError(f"Got normalization={normalization!r}, expected one of {', '.join(NORMALIZATIONS)}.")
    wrap = SpectralNormalization if normalization == "spectral" else lambda layer: layer
    bounds = _bounds(constraint)
    first, *widths = _dcgan_widths(image_size, base_filters)

    def convolution(filters: int, use_bias: bool) -> layers.Layer:
        own = {"use_bias": use_bias, "kernel_initializer": _normal(), **bounds}
        return wrap(layers.Conv2D(filters, 4, 2, "same", **own))

    stack = [keras.Input((image_size, image_size, channels)), convolution(first, True), layers.LeakyReLU(LEAKY_SLOPE)]
    for filters in widths:
        follows = normalization in ("batch", "layer")  # an offset, which makes the bias superfluous
        stack += [convolution(filters, not follows), *_NORMALISERS[normalization](), layers.LeakyReLU(LEAKY_SLOPE)]
    last = layers.Dense(1, dtype="float32", kernel_initializer=_normal(), **bounds)
    return keras.Sequential([*stack, layers.Flatten(), wrap(last)], name="discriminator")


def conditional_generator(network: keras.Model, num_classes: int) -> keras.Model:
    """A generator that reads a label beside the latent, so that one can ask it for a class.

    Args:
        network: generator of latent_dim + num_classes numbers, such as `dcgan_generator(latent_dim=110)` for 100
            latents and 10 classes.
        num_classes: how many classes there are, at least 2.

    Returns:
        A model from (latents, one-hot labels), (batch, latent_dim) and (batch, num_classes), to samples.

    Raises:
        ValueError: the network has no room for latents beside the labels.

    Reference: M. Mirza and S. Osindero, Conditional Generative Adversarial Nets, 2014, arXiv:1411.1784.

    Example:
        >>> generator = conditional_generator(mlp_generator(latent_dim=110), num_classes=10)
        >>> print([tensor.shape for tensor in generator.inputs], generator.output_shape)
        [(None, 100), (None, 10)] (None, 28, 28, 1)
    """
    width = _check_conditional(network, num_classes)
    if len(network.input_shape) != 2:
        raise ValueError(f"Got a network that reads {network.input_shape}, expected a generator of vectors.")
    latent, labels = keras.Input((width,), name="latent"), keras.Input((num_classes,), name="labels")
    joined = layers.Concatenate()([latent, labels])  # (batch, latent_dim + num_classes)
    return keras.Model([latent, labels], network(joined), name="generator")


def conditional_discriminator(network: keras.Model, num_classes: int) -> keras.Model:
    """A discriminator that reads a label beside the sample: it judges whether both belong together.

    Args:
        network: discriminator of samples with num_classes more channels, or features, such as
            `dcgan_discriminator(channels=11)` for gray images of 10 classes.
        num_classes: how many classes there are, at least 2.

    Returns:
        A model from (samples, one-hot labels) to what the network returns. Of images, each label becomes a constant
        feature map.

    Raises:
        ValueError: the network has no room for samples beside the labels.

    Reference: M. Mirza and S. Osindero, 2014, arXiv:1411.1784. Differs from the paper: label and image meet at the
    first layer, not after a layer of maxout units each.

    Example:
        >>> discriminator = conditional_discriminator(dcgan_discriminator(channels=11), num_classes=10)
        >>> print([tensor.shape for tensor in discriminator.inputs], discriminator.output_shape)
        [(None, 28, 28, 1), (None, 10)] (None, 1)
    """
    channels = _check_conditional(network, num_classes)
    sides = network.input_shape[1:-1]  # (height, width) of images, () of vectors
    samples, labels = keras.Input((*sides, channels), name="samples"), keras.Input((num_classes,), name="labels")
    spread = labels
    if sides:
        spread = layers.RepeatVector(math.prod(sides))(labels)  # (batch, height·width, num_classes)
        spread = layers.Reshape((*sides, num_classes))(spread)
    outputs = network(layers.Concatenate()([samples, spread]))
    return keras.Model([samples, labels], outputs, name="discriminator")


def projection_discriminator(network: keras.Model, num_classes: int) -> keras.Model:
    """A discriminator that meets the label at its last layer: logit = w·φ(x) + b + v_y·φ(x), with one v for each class.

    Args:
        network: discriminator of samples alone that ends with a dense layer; φ(x) is what that layer reads.
        num_classes: how many classes there are, at least 2.

    Returns:
        A model from (samples, one-hot labels) to one logit, which shares its weights with `network`. Where the last
        layer is spectrally normalised, so are the v.

    Raises:
        ValueError: the network does not end with a dense layer of one unit.

    Reference: T. Miyato and M. Koyama, cGANs with Projection Discriminator, 2018, arXiv:1802.05637. Differs from the
    paper: φ(x) need not be pooled over places.

    Example:
        >>> discriminator = projection_discriminator(dcgan_discriminator(base_filters=8), num_classes=10)
        >>> print([tensor.shape for tensor in discriminator.inputs], discriminator.output_shape)
        [(None, 28, 28, 1), (None, 10)] (None, 1)
    """
    _check_conditional(network, num_classes, room=False)
    last = network.layers[-1]
    if getattr(last, "layer", last).__class__ is not layers.Dense or network.output_shape != (None, 1):
        raise ValueError(f"Got network={network!r:.60}, whose last layer is {last.name!r}, expected layers.Dense(1).")
    features = last.input  # (batch, features)
    labels = keras.Input((num_classes,), name="labels")
    project = layers.Dense(features.shape[1], use_bias=False, kernel_initializer=_normal(), dtype="float32")
    project = SpectralNormalization(project) if isinstance(last, SpectralNormalization) else project
    match = layers.Dot(axes=1, dtype="float32")([project(labels), features])  # (batch, 1)
    outputs = layers.Add(dtype="float32")([network.outputs[0], match])
    return keras.Model([*network.inputs, labels], outputs, name="discriminator")


def load_pretrained(name: str) -> keras.Model:
    """A trained network that the course ships in `data/pretrained/`, for inference.

    Args:
        name: "mnist_generator", "mnist_discriminator" (and the same after 1, 4 and 12 epochs, such as
            "mnist_discriminator_epoch_4"), "mnist_classifier", "fashion_classifier", "faces_generator",
            "faces_discriminator", "faces_attributes", "mnist_conditional_generator", "mnist_pixel_cnn",
            "mnist_gated_pixel_cnn", or "mnist_vae_2_encoder", "mnist_vae_2_decoder" and the same with 20 latents.

    Raises:
        ValueError: there is no such network, or its file is damaged.
        FileNotFoundError: its file is missing.

    Example:
        >>> load_pretrained("mnist_generator").input_shape
        (None, 100)
    """
    own = {"MaskedConv2D": autoregressive.MaskedConv2D}  # so that it is known before it is met in a file
    path = data.shipped_file(f"pretrained/{name}.keras")
    return keras.saving.load_model(path, own, compile=False, safe_mode=True)


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


_NORMALISERS: dict[str, Callable[[], list[layers.Layer]]] = {
    "batch": lambda: [_normalise()],
    "layer": lambda: [LayerNormalization()],
    "spectral": list,
    "none": list,
}


def _bounds(constraint: keras.constraints.Constraint | None) -> dict[str, keras.constraints.Constraint]:
    if not (constraint is None or isinstance(constraint, keras.constraints.Constraint)):
        raise ValueError(f"Got constraint={constraint!r}, expected one such as gan_utils.penalties.WeightClip(0.01).")
    return {} if constraint is None else {"kernel_constraint": constraint, "bias_constraint": constraint}


def _check_conditional(network: keras.Model, num_classes: int, room: bool = True) -> int:
    """What is left of the last axis of the network's input beside the labels."""
    if not isinstance(network, keras.Model) or not isinstance(getattr(network, "input_shape", None), tuple):
        raise TypeError(f"Got network={network!r:.60}, expected a built keras.Model with one input.")
    _check_sizes(num_classes=(num_classes,))
    left = network.input_shape[-1] - num_classes
    if num_classes < 2 or (room and left < 1):
        raise ValueError(
            f"Got a network that reads {network.input_shape} and num_classes={num_classes}, expected at least 2 "
            "classes, and a network whose last axis has room for as many numbers more: build it that much wider."
        )
    return left


def _hidden(hidden_units: Sequence[int], dropout_rate: float = 0.0, **bounds: Any) -> list[layers.Layer]:
    stack = []
    for units in hidden_units:
        stack += [layers.Dense(units, **bounds), layers.LeakyReLU(LEAKY_SLOPE)]
        if dropout_rate:
            stack.append(layers.Dropout(dropout_rate))
    return stack


def _check_sizes(**sizes: Sequence[int]) -> None:
    for name, values in sizes.items():
        # Keras takes no NumPy integers here.
        if not isinstance(values, Sequence) or not all(is_whole(value) and isinstance(value, int) for value in values):
            raise ValueError(f"Got {name}={values!r}, expected positive whole numbers only, of Python's int.")
