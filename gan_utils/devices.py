"""What training on several devices asks for. On one device each function does the plain thing.

A device here is a replica of a `tf.distribute.Strategy`: a GPU, or a logical CPU. Each sees its share of a batch, and
the gradients of all are summed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf


def draw(random: Callable[..., tf.Tensor], count: int | tf.Tensor, shape: Sequence[int], seed: Any) -> tf.Tensor:
    """Random numbers, (count, *shape). Devices that train together each take their part of one draw.

    From one seed, all devices would draw the same.

    Args:
        random: such as `keras.random.normal` or `keras.random.uniform`.
        count: of samples, on this device.
        shape: of the numbers of one sample.
        seed: a `keras.random.SeedGenerator` or a whole number; None for the global one of Keras.

    Example:
        >>> print(draw(keras.random.normal, 3, (2,), seed=0).shape)
        (3, 2)
    """
    device = tf.distribute.get_replica_context()
    devices = device.num_replicas_in_sync if device else 1
    drawn = random((count * devices, *shape), seed=seed)
    if devices == 1:
        return drawn
    first = count * device.replica_id_in_sync_group
    return drawn[first : first + count]


def apply(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]
) -> None:
    """The optimizer's update. On one device nothing is summed, so that nothing of the training stays in memory.

    Keras would sum over a single device too, and TensorFlow never forgets the gradient of a sum: each training in a
    process would leave its weights and moments behind.

    Example:
        >>> optimizer, weight = keras.optimizers.SGD(0.5), keras.Variable([1.0])
        >>> apply(optimizer, [tf.constant([1.0])], [weight])
        >>> print(weight.numpy())
        [0.5]
    """
    if tf.distribute.has_strategy() or isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer.apply(gradients, variables)
    else:
        device = tf.distribute.get_replica_context()
        device.merge_call(lambda _, summed: optimizer.apply(summed, variables), args=(gradients,))


def follow(means: Sequence[keras.Variable], variables: Sequence[keras.Variable], decay: float) -> None:
    """Moves running means towards the variables they belong to: m ← decay·m + (1 − decay)·v.

    Example:
        >>> mean = keras.Variable([1.0])
        >>> follow([mean], [keras.Variable([2.0])], decay=0.9)
        >>> print(mean.numpy().round(3))
        [1.1]
    """

    def move(mean: tf.Variable, value: tf.Tensor) -> None:
        mean.assign(decay * mean + (1.0 - decay) * tf.cast(value, mean.dtype))

    def move_all(strategy: tf.distribute.Strategy) -> None:
        for mean, variable in zip(means, variables, strict=True):
            strategy.extended.update(mean.value, move, args=(variable.value,), group=False)

    if tf.distribute.has_strategy():
        tf.distribute.get_replica_context().merge_call(move_all)
    else:
        for mean, variable in zip(means, variables, strict=True):
            move(mean.value, variable.value)


def check_scope(strategy: tf.distribute.Strategy, variables: Sequence[tf.Variable]) -> None:
    """Refuses what was made for other devices.

    Raises:
        ValueError: a variable was made outside of the strategy's scope.

    Example:
        >>> check_scope(tf.distribute.get_strategy(), [tf.Variable(0.0)])
    """
    if not all(strategy.extended.variable_created_in_scope(variable) for variable in variables):
        raise ValueError(
            "A network or an optimizer was made for other devices than the GAN. Make all of them, and call compile, "
            "inside strategy.scope()."
        )


def as_logs(strategy: tf.distribute.Strategy, results: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The results of a step as Keras wants them. Of several processes it averages an axis, which scalars do not have.

    Example:
        >>> as_logs(tf.distribute.get_strategy(), {"d_loss": 1.0})
        {'d_loss': 1.0}
    """
    multiple = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if multiple and strategy.num_replicas_in_sync > len(strategy.extended.worker_devices):
        return {name: value[tf.newaxis] for name, value in results.items()}
    return results
