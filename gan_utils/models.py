"""Builders of the networks: plain functions that return a `keras.Model`. Discriminators return logits."""

from collections.abc import Sequence

import keras
from keras import layers

LEAKY_SLOPE = 0.2


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
        ValueError: a size is not a positive whole number.

    Example:
        >>> print(f"{mlp_generator().count_params():,}")
        1,486,352
    """
    _check_sizes(latent_dim=[latent_dim], output_shape=output_shape, hidden_units=hidden_units)
    size = 1
    for extent in output_shape:
        size *= extent
    return keras.Sequential(
        [
            keras.Input((latent_dim,)),
            *_hidden(hidden_units),
            layers.Dense(size, activation=output_activation),
            layers.Reshape(tuple(output_shape)),
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
    if not 0.0 <= dropout_rate < 1.0:
        raise ValueError(f"Got dropout_rate={dropout_rate!r}, expected a share in [0, 1), such as 0.5 or 0.")
    return keras.Sequential(
        [
            keras.Input(tuple(input_shape)),
            layers.Flatten(),
            *_hidden(hidden_units, dropout_rate),
            layers.Dense(1),
        ],
        name="discriminator",
    )


def _hidden(hidden_units: Sequence[int], dropout_rate: float = 0.0) -> list[layers.Layer]:
    stack = []
    for units in hidden_units:
        stack += [layers.Dense(units), layers.LeakyReLU(LEAKY_SLOPE)]
        if dropout_rate:
            stack.append(layers.Dropout(dropout_rate))
    return stack


def _check_sizes(**sizes: Sequence[int]) -> None:
    for name, values in sizes.items():
        if not all(isinstance(value, int) and value > 0 for value in values):
            raise ValueError(f"Got {name}={tuple(values)!r}, expected positive whole numbers only.")
