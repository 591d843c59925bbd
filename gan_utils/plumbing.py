"""What `GAN` needs of `keras.Model` and a reader of Algorithm 1 does not: `fit`, the data's way into it, and files.

Datasets here hold batches of samples, (batch, …), or pairs of samples and labels.
"""

import contextlib
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from gan_utils import losses, penalties, refusals
from gan_utils.callbacks import StopAtNaN
from gan_utils.checkpoints import Checkpoint

_SPOILED = "The data cannot be learned from: "


class Trainer(keras.Model):
    """The part of `keras.Model` that `GAN` shapes for two players: `fit`, saving, and what it cannot do.

    Example:
        >>> Trainer().evaluate()
        Traceback (most recent call last):
        ...
        NotImplementedError: A GAN has no evaluate. Use gan_utils.Score, or a function of gan_utils.metrics on samples.
    """

    def fit(self, dataset: tf.data.Dataset, **kwargs: Any) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does, and stops with a message if a loss becomes NaN.

        An epoch is one pass over the data: with `d_steps` = k, it holds a k-th as many training iterations as batches;
        up to k − 1 batches at its end, too few for one more, are left out. With a `Checkpoint`, and on several devices,
        `steps_per_execution` steps at once are never cut short: an epoch becomes a multiple of them.

        Args:
            dataset: batches of real samples, or pairs of samples and labels, such as `data.batches` returns.
            **kwargs: `epochs`, `callbacks`, `verbose`, `steps_per_epoch`, `initial_epoch` as in `keras.Model.fit`. With
                a `Checkpoint` among the callbacks, training goes on where its file left off.

        Returns:
            The history of `metrics`, epoch by epoch.

        Raises:
            TypeError: the dataset is not a `tf.data.Dataset`, or holds whole numbers, or a setting or a callback is one
                that a GAN cannot use.
            ValueError: its batches do not have the shape of the generator's, there are too few, labels are missing,
                or a batch is NaN or out of the generator's range. The epochs before are in `gan.history`.
        """
        self._assert_compile_called("fit")
        given = [StopAtNaN(), *keras.tree.flatten(kwargs.get("callbacks") or [])]
        refusals.check_fit(kwargs, given)
        steps, classes = kwargs.get("steps_per_epoch"), self.classes_read
        refusals.check_dataset(dataset, self.generator.output_shape, self.d_steps, steps, classes)
        self._begin_mean()
        dataset = watched(dataset, *self.range_of_images, classes)
        kwargs["callbacks"] = sorted(given, key=lambda callback: isinstance(callback, Checkpoint))  # they come last
        checkpoint = next((callback for callback in given if isinstance(callback, Checkpoint)), None)
        with _bad_data_in_a_sentence([]):
            dataset, kwargs["steps_per_epoch"] = self._arrange(dataset, steps)
            dataset = dataset if checkpoint is None else self._restore(checkpoint, dataset, given, kwargs)
        earlier = {name: list(values) for name, values in checkpoint.history.items()} if checkpoint else {}
        with _bad_data_in_a_sentence(kwargs["callbacks"]):
            history = super().fit(dataset, **{"shuffle": False, **kwargs})
        for name, values in earlier.items():
            history.history[name] = values + history.history.get(name, [])
        return history

    @property
    def steps_of_g(self) -> int:
        """Steps that G's optimizer has made; a checkpoint restores them. In half precision its shell counts none."""
        return int(getattr(self.g_optimizer, "inner_optimizer", self.g_optimizer).iterations.numpy())

    def _begin_mean(self) -> None:
        """Before its first step, the generator may have been given other weights than the mean was made from."""
        if self.mean_generator is not None and self.steps_of_g == 0:
            self.mean_generator.set_weights(self.generator.get_weights())

    def _arrange(self, dataset: tf.data.Dataset, steps: int | None) -> tuple[tf.data.Dataset, int | None]:
        """The batches in equal shares for all devices, and in groups for the steps of D."""
        devices = self.distribute_strategy.num_replicas_in_sync
        if devices > 1:
            steps = steps or length(dataset) // self.d_steps
            dataset = in_equal_batches(dataset, devices)
        return (in_groups(dataset, self.d_steps) if self.d_steps > 1 else dataset), steps

    def _restore(
        self, checkpoint: Checkpoint, dataset: tf.data.Dataset, callbacks: list[Any], kwargs: dict[str, Any]
    ) -> tf.data.Dataset:
        """Goes back to where the file left off; returns what is left of the data."""
        kwargs["steps_per_epoch"] = steps = kwargs["steps_per_epoch"] or length(dataset)
        executed = math.ceil(steps / self.steps_per_execution) * self.steps_per_execution
        kwargs["initial_epoch"] = done = checkpoint.restore(self, dataset, executed, callbacks)
        return dataset.repeat().skip(done * executed)  # one iterator, so that each epoch has its own order

    def _maybe_symbolic_build(self, *_: Any, **__: Any) -> None:
        """Nothing: a GAN is built. Keras would take a batch to find out, which moves the order of the data."""

    # Files

    def save(self, filepath: str | pathlib.Path, **kwargs: Any) -> None:
        """Saves networks, optimizers and recipe, as `keras.Model.save` does, in a `.keras` file.

        Raises:
            ValueError: the name has another suffix: Keras' older formats cannot hold a GAN.
        """
        if not str(filepath).endswith(".keras"):
            raise ValueError(f"Got the file {str(filepath)!r}, expected a name that ends in .keras.")
        super().save(filepath, **kwargs)

    def export(self, filepath: str | pathlib.Path, **kwargs: Any) -> None:
        """Exports what draws, the generator or its running mean, as `keras.Model.export` does."""
        self.drawing_network.export(filepath, **kwargs)

    def get_compile_config(self) -> dict[str, Any]:
        """What `compile_from_config` needs; empty where the recipe holds a function that only your code knows.

        `jit_compile` and `run_eagerly` are not kept: what suits one machine need not suit the next.
        """
        if not self.compiled:
            return {}
        try:
            losses.get(self.objective.name)
            if self.penalty is not None:
                penalties.get(self.penalty.name)
        except ValueError:
            return {}
        return {
            "d_optimizer": keras.saving.serialize_keras_object(self.d_optimizer),
            "g_optimizer": keras.saving.serialize_keras_object(self.g_optimizer),
            "objective": self.objective.name,
            "penalty": None if self.penalty is None else self.penalty.name,
            "d_steps": self.d_steps,
            "reuse_fakes": self.reuse_fakes,
            "steps_per_execution": self.steps_per_execution,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says, when `keras.saving.load_model` reads a GAN from its file."""
        optimizers = {
            name: keras.saving.deserialize_keras_object(config[name]) for name in ("d_optimizer", "g_optimizer")
        }
        objective, penalty = config["objective"], config.get("penalty")  # of which files of version 0.1.0 have none
        recipe = {"objective": objective and losses.get(objective), "penalty": penalty and penalties.get(penalty)}
        self.compile(**{**config, **optimizers, **recipe})

    # What Keras offers for one network with one loss

    def evaluate(self, *_: Any, **__: Any) -> None:
        """Refused: there is no loss on held-out data that says how good samples are."""
        _refuse("evaluate", "gan_utils.Score, or a function of gan_utils.metrics on samples")

    def train_on_batch(self, *_: Any, **__: Any) -> None:
        """Refused in favour of the two steps, which can be called by themselves."""
        _refuse("train_on_batch", "gan.discriminator_step(real) and gan.generator_step(real), or fit")

    def test_on_batch(self, *_: Any, **__: Any) -> None:
        """Refused, as `evaluate` is."""
        _refuse("test_on_batch", "gan_utils.Score, or a function of gan_utils.metrics on samples")


@contextlib.contextmanager
def _bad_data_in_a_sentence(begun: list[Any]) -> Iterator[None]:
    """Raises what `watched` found; callbacks that have begun write films and logs of the epochs before."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        _, found, told = error.message.partition(_SPOILED)
        if not found:
            raise
        for callback in begun:
            callback.on_train_end({})
        raise ValueError(told.partition("\n")[0].strip("' ]")) from None  # without TensorFlow's tail


def _refuse(name: str, instead: str) -> None:
    raise NotImplementedError(f"A GAN has no {name}. Use {instead}.")


def watched(dataset: tf.data.Dataset, low: float, high: float, classes: int) -> tf.data.Dataset:
    """The same batches; one that is NaN, out of range or has labels of no class ends the training with the reason.

    It looks at the batches as they pass: reading one beforehand would change the order of a dataset that shuffles.
    Images in [0, 1] for a generator that draws in [-1, 1] are known by the first batch of an epoch, if it holds pixels
    near 0 and near 1 and none below 0; darker or paler ones pass.

    Args:
        dataset: of samples, or of pairs (samples, labels).
        low: the generator's lowest value; −∞ where it has none, and for vectors, which may have any.
        high: its highest value.
        classes: of the labels that the networks read; 0 where they read none.

    Example:
        >>> for batch in watched(tf.data.Dataset.from_tensors(tf.zeros((4, 2))), -1.0, 1.0, 0):
        ...     print(batch.shape)
        (4, 2)
    """

    def look(index: tf.Tensor, samples: tf.Tensor, *labels: tf.Tensor) -> Any:
        checks = [_check_samples(index, samples, low, high)]
        if classes:
            checks.append(_check_labels(index, labels[0], classes))
        with tf.control_dependencies(checks):
            samples = tf.identity(samples)
        return (samples, *labels) if labels else samples

    pairs = isinstance(dataset.element_spec, tuple)
    numbered = dataset.enumerate()
    return numbered.map(lambda index, batch: look(index, *batch) if pairs else look(index, batch)).prefetch(1)


def _check_samples(index: tf.Tensor, samples: tf.Tensor, low: float, high: float) -> tf.Operation:
    least, most = tf.reduce_min(samples), tf.reduce_max(samples)
    fits = finite = tf.reduce_all(tf.math.is_finite(samples))
    told = tf.constant("NaN or infinite values. Look for a division by 0, or remove them.")
    if math.isfinite(low) and math.isfinite(high):
        margin = 0.05 * (high - low)
        fits &= (least > low - margin) & (most < high + margin)
        if low < 0.0:  # a first batch that fills [0, 1] and has nothing below was scaled to [0, 1]
            fits &= (index > 0) | (least < 0.0) | (least > 0.1) | (most < 0.9)
        mend = "Bytes become that by gan_utils.data.to_signed; x in [0, 1] by 2 * x - 1."
        form = f"values from {{}} to {{}}, but the generator draws in [{low:g}, {high:g}]. {mend}"
        told = tf.where(finite, tf.strings.format(form, (least, most)), told)
    return _check(index, fits, told)


def _check_labels(index: tf.Tensor, labels: tf.Tensor, classes: int) -> tf.Operation:
    labels = tf.cast(labels, tf.int64)  # bytes have no -1 to compare with
    least, most = tf.reduce_min(labels), tf.reduce_max(labels)
    form = f"labels from {{}} to {{}}, expected 0 to {classes - 1}, or -1 for none."
    return _check(index, (least >= -1) & (most < classes), tf.strings.format(form, (least, most)))


def _check(index: tf.Tensor, fits: tf.Tensor, told: tf.Tensor) -> tf.Operation:
    message = tf.strings.join([f"{_SPOILED}Batch ", tf.strings.as_string(index + 1), " has ", told])
    return tf.debugging.Assert(fits, [message])


def length(dataset: tf.data.Dataset) -> int:
    """The number of batches of a pass.

    Raises:
        ValueError: the dataset does not know it.

    Example:
        >>> length(tf.data.Dataset.range(3))
        3
    """
    batches = int(dataset.cardinality())
    if batches < 1:
        raise ValueError("The dataset does not know its length. Pass steps_per_epoch.")
    return batches


def in_equal_batches(dataset: tf.data.Dataset, devices: int) -> tf.data.Dataset:
    """Fills the last batch of a pass from the next one, so that all devices get as much in every step.

    Raises:
        ValueError: the number of devices does not divide the size of a batch.

    Example:
        >>> [len(batch) for batch in in_equal_batches(tf.data.Dataset.range(6).batch(4), 2).take(2)]
        [4, 4]
    """
    size = len(tf.nest.flatten(next(iter(dataset)))[0])
    if size % devices:
        raise ValueError(f"Got batches of {size} samples for {devices} devices, expected a multiple of {devices}.")
    return dataset.repeat().rebatch(size, drop_remainder=True)


def in_groups(dataset: tf.data.Dataset, size: int) -> tf.data.Dataset:
    """Joins each `size` consecutive batches into a tuple, whatever the sizes of the batches.

    Example:
        >>> [len(group) for group in in_groups(tf.data.Dataset.range(5).batch(1), 2)]
        [2, 2]
    """

    def members(*window: tf.data.Dataset) -> tuple[Any, ...]:
        zipped = window[0] if len(window) == 1 else tf.data.Dataset.zip(window)
        return tuple(zipped.skip(index).take(1).get_single_element() for index in range(size))

    return dataset.window(size, drop_remainder=True).map(members).prefetch(tf.data.AUTOTUNE)
