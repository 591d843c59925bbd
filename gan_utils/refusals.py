"""What a `GAN` refuses, at once and with the reason: networks, recipes, data and callbacks that cannot work.

Nothing here is needed to understand how a GAN learns.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gan_utils.checks import is_real, is_whole
from gan_utils.losses import Objective

_COMPILE = ("jit_compile", "run_eagerly", "steps_per_execution")
_FIT = ("callbacks", "epochs", "initial_epoch", "shuffle", "steps_per_epoch", "verbose")
_CALLBACKS = {
    "ReduceLROnPlateau": "gan_utils.LearningRates, or a schedule of keras.optimizers.schedules in each optimizer",
    "LearningRateScheduler": "gan_utils.LearningRates, or a schedule of keras.optimizers.schedules in each optimizer",
    "SwapEMAWeights": "GAN(..., average=0.99), which averages the generator's weights and draws with them",
    "BackupAndRestore": "gan_utils.Checkpoint",
}
_WATCH = "Give it a metric or the name of a gan_utils.Score, as in monitor='d_loss', mode='min'."
_BY_HAND = "gan_utils.Score(function of images) among the callbacks measures the generator after every epoch"


def check_seed(seed: Any) -> None:
    """Refuses what is neither None nor a whole number that TensorFlow takes as a seed.

    Example:
        >>> check_seed(7)
    """
    if not (seed is None or is_whole(seed, 0)):
        raise ValueError(f"Got seed={seed!r}, expected a whole number from 0 to 2147483647.")


def check_networks(generator: Any, discriminator: Any, latent_dim: Any) -> None:
    """Refuses networks that are not built, or do not fit the latent size, or read labels of different classes.

    Raises:
        TypeError: one is no built `keras.Model`.
        ValueError: the shapes do not fit.

    Example:
        >>> from gan_utils import models
        >>> check_networks(models.mlp_generator(2, (3,), (4,)), models.mlp_discriminator((3,), (4,)), 2)
    """
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        check_model(network, name)
    latent_shape, *_ = input_shapes(generator)
    if not is_whole(latent_dim) or latent_shape != (None, latent_dim):
        raise ValueError(
            f"Got latent_dim={latent_dim!r} and a generator with input shape {latent_shape}, expected "
            f"(None, {latent_dim}). Pass the latent size that the generator was built with."
        )
    classes = [count for network in (generator, discriminator) if (count := classes_read_by(network))]
    if len({*classes}) > 1:
        raise ValueError(f"Got networks for {classes[0]} and {classes[1]} classes. Build both for the same labels.")


def check_model(network: Any, name: str) -> None:
    """Refuses what is no built `keras.Model` with known shapes; `name` is what the message calls it.

    Example:
        >>> check_model(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), "encoder")
    """
    if not isinstance(network, keras.Model):
        legacy = type(network).__module__.partition(".")[0] == "tf_keras"
        hint = " That is Keras 2, as tf_keras: build it with Keras 3, `import keras`." if legacy else ""
        raise TypeError(f"Got a {type(network).__name__} as {name}, expected a keras.Model.{hint}")
    if not network.built or not getattr(network, "inputs", None):
        raise TypeError(
            f"The {name} has no known input shape. Begin it with keras.Input(shape), as a keras.Sequential or as "
            "keras.Model(inputs, outputs); a subclass of keras.Model can be called on an Input to make one."
        )
    shapes = input_shapes(network)
    if len(shapes) > 2 or (len(shapes) == 2 and len(shapes[1]) != 2):
        raise ValueError(
            f"The {name} has inputs of shapes {shapes}, expected one, and where it reads labels a second one of shape "
            "(None, classes), which gets them one-hot."
        )


def input_shapes(network: keras.Model) -> list[tuple[int | None, ...]]:
    """The shapes of all inputs, with the batch axis.

    Example:
        >>> input_shapes(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
        [(None, 2)]
    """
    return [tuple(tensor.shape) for tensor in network.inputs]


def classes_read_by(network: keras.Model) -> int:
    """How many classes a network knows that has a label input; 0 for one that has none.

    Example:
        >>> classes_read_by(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
        0
    """
    shapes = input_shapes(network)
    return shapes[1][1] if len(shapes) == 2 else 0


def check_samples(generator: keras.Model, discriminator: keras.Model) -> None:
    """Refuses a discriminator that reads other samples than the generator makes.

    Example:
        >>> from gan_utils import models
        >>> check_samples(models.mlp_generator(2, (3,), (4,)), models.mlp_discriminator((3,), (4,)))
    """
    sample_shape, *_ = input_shapes(discriminator)
    if sample_shape != generator.output_shape:
        raise ValueError(
            f"The generator makes samples of shape {generator.output_shape}, but the discriminator reads "
            f"{sample_shape}. Build both for the same shape."
        )


def check_outputs(discriminator: keras.Model, expected: Sequence[tuple[int | None, ...]], told: str) -> None:
    """Refuses a discriminator whose outputs have other shapes. A None in what is expected fits everything.

    Example:
        >>> critic = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> check_outputs(critic, [(None, 1)], "one logit a sample")
    """
    shapes = [tuple(tensor.shape) for tensor in discriminator.outputs]
    fits = len(shapes) == len(expected) and all(map(_fits, shapes, expected))
    if not fits:
        shown, wanted = (found[0] if len(found) == 1 else [*found] for found in (shapes, expected))
        raise ValueError(f"The discriminator's output has shape {shown}, expected {wanted}: {told}")


def _fits(shape: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(size in (None, there) for there, size in zip(shape, wanted, strict=True))


def check_logits(discriminator: keras.Model, index: int = 0) -> None:
    """Refuses outputs in half precision, and outputs that are squashed, as probabilities are.

    Example:
        >>> check_logits(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
    """
    output = discriminator.outputs[index]
    if keras.backend.standardize_dtype(output.dtype) not in ("float32", "float64"):
        raise ValueError(
            f"The discriminator's logits are {output.dtype}, too coarse for the losses. End it with "
            'layers.Dense(1, dtype="float32").'
        )
    low, high = output_range(output)
    if low > -1.5 or high < 1.5:
        raise ValueError(
            f"The discriminator's answers end in [{low:g}, {high:g}], as after an activation such as a sigmoid, "
            "expected logits: the losses take them as they are. Use layers.Dense(1) without an activation, and "
            "keras.ops.sigmoid where a probability is wanted."
        )


def output_range(output: keras.KerasTensor) -> tuple[float, float]:
    """What the activations at a network's end let through; (-1, 1) after tanh, (-inf, inf) without an activation.

    It goes back from the output to the last operation that has weights, through activations, reshaping, `Lambda`s and
    nested models, and sends two numbers along that way.

    Example:
        >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.Activation("tanh")])
        >>> output_range(network.outputs[0])
        (-1.0, 1.0)
    """
    arrived = np.asarray(_send(output, np.array([-1e6, 1e6], np.float32)), np.float64)
    low, high = float(arrived.min()), float(arrived.max())
    return (low if low > -1e5 else -math.inf), (high if high < 1e5 else math.inf)


def _send(output: keras.KerasTensor, numbers: np.ndarray) -> Any:
    start = output
    operation, node_index, tensor_index = start._keras_history
    while not operation_has_weights(operation):
        before = operation._inbound_nodes[node_index].input_tensors
        if len(before) != 1:
            break
        start = before[0]
        operation, node_index, tensor_index = start._keras_history
    if isinstance(operation, keras.Model) and operation_has_weights(operation):
        sent = _send(operation.outputs[tensor_index], numbers)
    else:
        shape = [1 if size is None else size for size in start.shape[1:]]
        sent = np.broadcast_to(numbers.reshape(-1, *[1] * len(shape)), (len(numbers), *shape))
        activation = getattr(operation, "activation", None) if operation_has_weights(operation) else None
        sent = activation(tf.constant(sent)) if activation else sent
    return sent if start is output else keras.Model(start, output)(tf.constant(np.asarray(sent)), training=False)


def operation_has_weights(operation: Any) -> bool:
    """Whether an operation of a network learns; activations, `Flatten` and `keras.ops` do not.

    Example:
        >>> operation_has_weights(keras.layers.Flatten())
        False
    """
    return bool(getattr(operation, "weights", ()))


def check_recipe(
    d_optimizer: Any, g_optimizer: Any, objective: Any, penalty: Any, d_steps: Any, settings: Mapping[str, Any]
) -> None:
    """Refuses a `compile` that cannot work, before anything is changed.

    Example:
        >>> from gan_utils import losses
        >>> check_recipe(keras.optimizers.Adam(), keras.optimizers.Adam(), losses.minimax(), None, 1, {})
    """
    for name, optimizer in (("d_optimizer", d_optimizer), ("g_optimizer", g_optimizer)):
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise TypeError(f"Got {name}={optimizer!r}, expected an optimizer such as keras.optimizers.Adam(2e-4).")
    if d_optimizer is g_optimizer:
        raise ValueError("Both players got the same optimizer. Make one for each: its moments belong to its weights.")
    if not isinstance(objective, Objective):
        raise TypeError(f"Got objective={objective!r}, expected one such as gan_utils.losses.minimax().")
    if penalty is not None and not callable(penalty):
        raise TypeError(f"Got penalty={penalty!r}, expected a function (critic, real, fake) -> scalar, or None.")
    if not is_whole(d_steps):
        raise ValueError(f"Got d_steps={d_steps!r}, expected a whole number of at least 1.")
    at_once = settings.get("steps_per_execution", 1)
    if not is_whole(at_once):
        raise ValueError(f"Got steps_per_execution={at_once!r}, expected a whole number of at least 1.")
    unknown = [name for name in settings if name not in _COMPILE]
    if unknown:
        raise TypeError(
            f"Got {', '.join(unknown)}, expected of Keras' own settings only {', '.join(_COMPILE)}. What the players "
            f"minimise is the objective; {_BY_HAND}."
        )


def check_average(average: Any) -> None:
    """Refuses a decay outside of (0, 1); None is no averaging.

    Example:
        >>> check_average(0.99)
    """
    if average is not None and not (is_real(average) and 0.0 < average < 1.0):
        raise ValueError(f"Got average={average!r}, expected a decay between 0 and 1, such as 0.99, or None.")


def check_fit(settings: Iterable[str], callbacks: Sequence[Any]) -> None:
    """Refuses what Keras' `fit` takes but a GAN cannot use, before an epoch is spent on finding out.

    Example:
        >>> check_fit(["epochs"], [])
    """
    unknown = [name for name in settings if name not in _FIT]
    if unknown:
        raise TypeError(f"Got {', '.join(unknown)}, expected of Keras' settings only {', '.join(_FIT)}; {_BY_HAND}.")
    for callback in callbacks:
        for kind, instead in _CALLBACKS.items():
            if isinstance(callback, getattr(keras.callbacks, kind, ())):
                raise TypeError(f"keras.callbacks.{kind} needs a model with one optimizer. Use {instead}.")
        monitor = str(getattr(callback, "monitor", ""))
        if monitor.startswith("val_"):
            raise ValueError(f"{type(callback).__name__} watches {monitor!r}, which a GAN does not have. {_WATCH}")


def check_dataset(
    dataset: Any, expected: tuple[int | None, ...], d_steps: int, steps_per_epoch: Any, labels: int
) -> None:
    """Refuses a dataset whose elements are not batches of samples as the generator makes them.

    Args:
        dataset: of samples, or of pairs (samples, labels).
        expected: shape of a batch, such as (None, 28, 28, 1).
        d_steps: batches that one iteration takes.
        steps_per_epoch: that `fit` was given.
        labels: how many classes the networks read; 0 where they read none.

    Raises:
        TypeError: it is no `tf.data.Dataset`, or holds whole numbers instead of real ones.
        ValueError: shapes do not fit, labels are missing, or it has too few batches, or no end.

    Example:
        >>> check_dataset(tf.data.Dataset.from_tensors(tf.zeros((4, 2))), (None, 2), 1, None, 0)
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            f"Got a {type(dataset).__name__}, expected a tf.data.Dataset. gan_utils.data.batches makes one of an array."
        )
    given = dataset.element_spec
    samples, *others = given if isinstance(given, tuple) and len(given) == 2 else (given,)
    shape = getattr(samples, "shape", None)
    if shape is None or not shape.is_compatible_with(expected) or not all(map(_is_labels, others)):
        raise ValueError(
            f"The dataset's elements are {given}, expected batches of samples of shape {expected}, as the "
            "generator makes them, alone or as a pair with labels, whole numbers of shape (None,)."
        )
    if shape.rank is None:
        raise ValueError(
            f"The dataset does not know the shape of its batches. Add .map(lambda x: tf.ensure_shape(x, {expected}))."
        )
    if not samples.dtype.is_floating:
        raise TypeError(
            f"The dataset holds {samples.dtype.name}, expected real numbers, of images in [-1, 1]. Bytes become that "
            "by gan_utils.data.to_signed, or in a pipeline by .map(lambda x: tf.cast(x, tf.float32) / 127.5 - 1)."
        )
    if labels and not others:
        raise ValueError(
            f"The networks read labels of {labels} classes, but the dataset has none. Pass pairs of samples and "
            "labels: gan_utils.data.batches(images, 128, labels=labels)."
        )
    _check_length(int(dataset.cardinality()), d_steps, steps_per_epoch)


def _is_labels(spec: Any) -> bool:
    return getattr(spec, "dtype", tf.float32).is_integer and spec.shape.is_compatible_with((None,))


def _check_length(batches: int, d_steps: int, steps_per_epoch: Any) -> None:
    if 0 <= batches < d_steps:
        raise ValueError(
            f"The dataset has {batches} batches, expected at least d_steps={d_steps}. Use smaller batches."
        )
    if batches == tf.data.INFINITE_CARDINALITY and steps_per_epoch is None:
        raise ValueError("The dataset repeats without end, and so would an epoch. Pass steps_per_epoch.")


def check_labels(labels: Any, count: int, classes: int) -> np.ndarray:
    """The labels that samples are asked for, (count,). None cycles through the classes; one number stands for all.

    Raises:
        ValueError: they are no labels of these classes, or the generator reads none.

    Example:
        >>> print(check_labels(None, 5, classes=3), check_labels(2, 3, classes=3))
        [0 1 2 0 1] [2 2 2]
    """
    if labels is None:
        return np.arange(count) % max(classes, 1)
    given = np.asarray(labels)
    whole = np.issubdtype(given.dtype, np.integer) and given.shape in ((), (count,))
    if not classes:
        raise ValueError(f"Got labels={labels!r:.60}, but the generator reads none. Leave them out.")
    if not whole or (given < 0).any() or (given >= classes).any():
        raise ValueError(
            f"Got labels={labels!r:.60}, expected one whole number from 0 to {classes - 1}, or {count} of them."
        )
    return np.broadcast_to(given, (count,))


def check_half_precision(networks: Sequence[keras.Model], devices: int) -> bool:
    """Whether a network is in float16, so that losses have to be scaled; refused on several devices.

    Example:
        >>> check_half_precision([keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])], devices=2)
        False
    """
    half = "mixed_float16" in (network.dtype_policy.name for network in networks)
    if half and devices > 1:
        raise ValueError(
            "Got networks in mixed_float16 on several devices, where Keras looks at the gradients of the first one "
            "only to see whether they fit. Use mixed_bfloat16, or one device."
        )
    return half


def not_finite(logs: dict[str, float]) -> list[str]:
    """The names of metrics that are NaN or infinite.

    Example:
        >>> not_finite({"d_loss": 1.0, "g_loss": math.nan})
        ['g_loss']
    """
    return [name for name, value in logs.items() if not math.isfinite(value)]
