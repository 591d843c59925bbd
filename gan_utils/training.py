"""`GAN`, a `keras.Model` with the one custom `train_step` of the course, and the callbacks that go with it.

Reference: I. Goodfellow et al., Generative Adversarial Nets, 2014, arXiv:1406.2661.
"""

import contextlib
import math
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gan_utils import data, losses, plotting
from gan_utils.checkpoints import Checkpoint
from gan_utils.checks import is_whole

Critic = Callable[[tf.Tensor], tf.Tensor]
Penalty = Callable[[Critic, tf.Tensor, tf.Tensor], tf.Tensor]


@keras.saving.register_keras_serializable("gan_utils")
class GAN(keras.Model):
    """A generator and a discriminator that learn from each other, step for step as in Algorithm 1 of the 2014 paper.

        for each training iteration                              fit: one `train_step`
            for k steps                                          `d_steps`
                sample m latents z from N(0, I)                  `discriminator_step`
                sample m real x from the data                    one batch of the dataset, fresh in each of the k steps
                update D to climb log D(x) + log(1 − D(G(z)))    `objective.discriminator`, `d_optimizer`
            sample m latents z                                   `generator_step`
            update G to descend log(1 − D(G(z)))                 `objective.generator`, `g_optimizer`

    Real and fake samples pass through the discriminator as two batches, so that batch normalisation does not mix
    their statistics. Each player runs in training mode in both steps, but a step moves only the weights and running
    statistics of its own player.

    `save("gan.keras")` keeps both networks, both optimizers and the recipe. `keras.saving.load_model` reads the file
    where this class has been imported. A penalty, or an objective of your own, is a function that no file can hold:
    the GAN is then loaded without its recipe, to be compiled again.

    Differs from the paper: any Keras optimizers in place of momentum, and any `losses.Objective`; the default is the
    non-saturating one. The last batch of an epoch may be smaller than the others.

    Args:
        generator: model from (batch, latent_dim) to samples.
        discriminator: model from samples to (batch, 1) logits.
        latent_dim: length of the latent vector z.
        seed: of the latent noise. None draws one, reproducibly after `keras.utils.set_random_seed`.

    Raises:
        TypeError: a network is not a built `keras.Model`.
        ValueError: the shapes do not fit together, the discriminator does not return one logit in float32, or a network
            was made outside of the scope of a `tf.distribute.Strategy` that is in force.

    Example:
        >>> from gan_utils import data, models
        >>> gan = GAN(models.mlp_generator(2, (1,), (8,), None), models.mlp_discriminator((1,), (8,)), latent_dim=2)
        >>> gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
        >>> history = gan.fit(data.batches(np.zeros((32, 1)), batch_size=16), epochs=2, verbose=0)
        >>> print(sorted(history.history), gan.sample(5).shape)
        ['D(G(z))', 'D(x)', 'd_loss', 'g_loss'] (5, 1)
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        latent_dim: int,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        _check_networks(generator, discriminator, latent_dim)
        _check_seed(seed)
        _check_scope(self.distribute_strategy, [*generator.variables, *discriminator.variables])
        self.generator = generator
        self.discriminator = discriminator
        self.latent_dim = int(latent_dim)
        self.noise = keras.random.SeedGenerator(None if seed is None else int(seed))
        self.d_loss = keras.metrics.Mean(name="d_loss")
        self.g_loss = keras.metrics.Mean(name="g_loss")
        self.real_score = keras.metrics.Mean(name="D(x)")
        self.fake_score = keras.metrics.Mean(name="D(G(z))")
        self.built = True

    def compile(
        self,
        d_optimizer: keras.optimizers.Optimizer,
        g_optimizer: keras.optimizers.Optimizer,
        objective: losses.Objective | None = None,
        penalty: Penalty | None = None,
        d_steps: int = 1,
        **kwargs: Any,
    ) -> None:
        """Chooses the method: what the players minimise, and how.

        Args:
            d_optimizer: updates the discriminator.
            g_optimizer: updates the generator; another object than `d_optimizer`, since each keeps its own moments.
            objective: losses of both players; None is `losses.non_saturating()`.
            penalty: `(critic, real, fake) -> scalar`, added to the discriminator's loss. `critic` maps samples to
                logits.
            d_steps: discriminator steps to each generator step: k of Algorithm 1.
            **kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution`, as in `keras.Model.compile`.

        An optimizer with `use_ema=True` keeps a running mean of its player's weights. `fit` leaves the weights
        themselves in place, since the statistics of batch normalisation belong to them. For the mean, call
        `gan.g_optimizer.finalize_variable_values(gan.generator.trainable_variables)`.

        Networks built under the dtype policy "mixed_float16" get optimizers that scale the loss, so that small
        gradients are not rounded to 0; "mixed_bfloat16" needs none.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: `d_steps` is below 1, both players share an optimizer, one was made outside of the strategy's
                scope that the GAN was made in, or "mixed_float16" meets several devices.
        """
        objective = losses.non_saturating() if objective is None else objective
        _check_recipe(d_optimizer, g_optimizer, objective, penalty, d_steps)
        _check_scope(self.distribute_strategy, [d_optimizer.iterations, g_optimizer.iterations])
        half = "mixed_float16" in (network.dtype_policy.name for network in (self.generator, self.discriminator))
        if half and self.distribute_strategy.num_replicas_in_sync > 1:
            raise ValueError(
                "Got networks in mixed_float16 on several devices, where Keras looks at the gradients of the first one "
                "only to see whether they fit. Use mixed_bfloat16, or one device."
            )
        super().compile(optimizer=None, **kwargs)
        self.objective = objective
        self.penalty = penalty
        self.d_steps = int(d_steps)
        self.d_optimizer = _scaled(d_optimizer) if half else d_optimizer
        self.g_optimizer = _scaled(g_optimizer) if half else g_optimizer
        self.d_optimizer.build(self.discriminator.trainable_variables)
        self.g_optimizer.build(self.generator.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Means over the epoch so far: both losses, and D(x) and D(G(z)) as probabilities, as D's step sees them."""
        return [self.d_loss, self.g_loss, self.real_score, self.fake_score]

    def fit(self, dataset: tf.data.Dataset, **kwargs: Any) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does, and stops with a message if a loss becomes NaN.

        An epoch is one pass over the data: with `d_steps` = k, it holds a k-th as many training iterations as batches;
        up to k − 1 batches at its end, too few for one more, are left out. With a `Checkpoint`, and on several devices,
        `steps_per_execution` steps at once are never cut short: an epoch becomes a multiple of them.

        Args:
            dataset: batches of real samples, such as `data.batches` returns.
            **kwargs: `epochs`, `callbacks`, `verbose` … as in `keras.Model.fit`. With a `Checkpoint` among the
                callbacks, training goes on where its file left off.

        Returns:
            The history of `metrics`, epoch by epoch.

        Raises:
            TypeError: the dataset is not a `tf.data.Dataset`.
            ValueError: its batches do not have the discriminator's input shape, or there are too few.
        """
        self._assert_compile_called("fit")
        _check_dataset(dataset, self.discriminator.input_shape, self.d_steps)
        given = [StopAtNaN(), *keras.tree.flatten(kwargs.get("callbacks") or [])]
        kwargs["callbacks"] = sorted(given, key=lambda callback: isinstance(callback, Checkpoint))  # they come last
        devices = self.distribute_strategy.num_replicas_in_sync
        if devices > 1:
            kwargs["steps_per_epoch"] = kwargs.get("steps_per_epoch") or _length(dataset) // self.d_steps
            dataset = _in_equal_batches(dataset, devices)
        if self.d_steps > 1:
            dataset = _in_groups(dataset, self.d_steps)
        checkpoint = next((callback for callback in given if isinstance(callback, Checkpoint)), None)
        if checkpoint is not None:
            kwargs["steps_per_epoch"] = steps = kwargs.get("steps_per_epoch") or _length(dataset)
            executed = math.ceil(steps / self.steps_per_execution) * self.steps_per_execution
            kwargs["initial_epoch"] = done = checkpoint.restore(self, dataset, executed, given)
            dataset = dataset.repeat().skip(done * executed)  # one iterator, so that each epoch has its own order
        earlier = {name: list(values) for name, values in checkpoint.history.items()} if checkpoint else {}
        history = super().fit(dataset, **{"shuffle": False, **kwargs})
        for name, values in earlier.items():
            history.history[name] = values + history.history.get(name, [])
        return history

    def train_step(self, batches: tf.Tensor | tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """One iteration of Algorithm 1: `d_steps` steps of the discriminator, then one of the generator.

        Args:
            batches: one batch of real samples, (batch, …), or a tuple of `d_steps` of them where that is more than 1.
        """
        batches = batches if self.d_steps > 1 else (batches,)
        for real in batches:
            self.discriminator_step(real)
        self.generator_step(tf.shape(real)[0])
        logs = self.get_metrics_result()
        return {name: value[tf.newaxis] for name, value in logs.items()} if _has_workers(self) else logs

    def discriminator_step(self, real: tf.Tensor) -> None:
        """Updates D on real samples, (batch, …), and as many fresh fakes. Nothing of G changes."""
        batch_size = tf.shape(real)[0]
        with keep_statistics(self.generator):
            fake = self.generator(self.latent(batch_size), training=True)
        with tf.GradientTape() as tape:
            loss, real_logits, fake_logits = self.discriminator_loss(real, fake)
            share = self._share(loss, self.d_optimizer)
        self._update(self.discriminator, self.d_optimizer, tape, share)
        self.d_loss.update_state(loss, sample_weight=batch_size)
        self.real_score.update_state(tf.sigmoid(real_logits))
        self.fake_score.update_state(tf.sigmoid(fake_logits))

    def generator_step(self, batch_size: int | tf.Tensor) -> None:
        """Updates G on `batch_size` fresh latents. Nothing of D changes."""
        latent = self.latent(batch_size)
        with keep_statistics(self.discriminator), tf.GradientTape() as tape:
            loss = self.generator_loss(self.generator(latent, training=True))
            share = self._share(loss, self.g_optimizer)
        self._update(self.generator, self.g_optimizer, tape, share)
        self.g_loss.update_state(loss, sample_weight=batch_size)

    def discriminator_loss(self, real: tf.Tensor, fake: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What D minimises: a scalar, and the logits of both batches, (batch, 1). Override it for another game."""
        real_logits = self.discriminator(real, training=True)
        fake_logits = self.discriminator(fake, training=True)
        loss = self.objective.discriminator(real_logits, fake_logits)
        if self.penalty is not None:
            loss += self.penalty(lambda samples: self.discriminator(samples, training=True), real, fake)
        return loss, real_logits, fake_logits

    def generator_loss(self, fake: tf.Tensor) -> tf.Tensor:
        """What G minimises, given its samples: a scalar. Override it for another game."""
        return self.objective.generator(self.discriminator(fake, training=True))

    def latent(self, count: int | tf.Tensor, seed: int | None = None) -> tf.Tensor:
        """Draws latent vectors from N(0, I), (count, latent_dim): fresh ones, or always the same for a given seed.

        Devices that train together each take their part of one draw, for they would all draw the same.
        """
        device = tf.distribute.get_replica_context()
        devices = device.num_replicas_in_sync if device else 1
        latent = keras.random.normal((count * devices, self.latent_dim), seed=self.noise if seed is None else int(seed))
        if devices == 1:
            return latent
        first = count * device.replica_id_in_sync_group
        return latent[first : first + count]

    def _share(self, loss: tf.Tensor, optimizer: keras.optimizers.Optimizer) -> tf.Tensor:
        """What a device differentiates: its part of the global batch's mean, for gradients are summed over devices."""
        return optimizer.scale_loss(loss) / self.distribute_strategy.num_replicas_in_sync

    def _update(
        self, network: keras.Model, optimizer: keras.optimizers.Optimizer, tape: tf.GradientTape, share: tf.Tensor
    ) -> None:
        variables = network.trainable_variables
        gradients = tape.gradient(share, variables)
        if tf.distribute.has_strategy() or isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer.apply(gradients, variables)
        else:
            # Keras would sum over a single device too, and TensorFlow never forgets the gradient of a sum: each
            # training in a process would leave its weights and moments behind. In `merge_call`, nothing is summed.
            device = tf.distribute.get_replica_context()
            device.merge_call(lambda _, summed: optimizer.apply(summed, variables), args=(gradients,))

    def sample(self, count: int, seed: int | None = None) -> np.ndarray:
        """Draws samples from the generator in inference mode.

        Args:
            count: how many, at least 1.
            seed: the same seed gives the same latent vectors; None draws fresh ones.

        Returns:
            NumPy array, (count, …), in the generator's range.

        Raises:
            ValueError: fewer than one sample is asked for.
        """
        return np.concatenate(list(self.stream(count, seed)))

    def stream(self, count: int, seed: int | None = None) -> Iterator[np.ndarray]:
        """Draws what `sample` draws, 256 samples at a time: in memory are these, and the latent vectors of all."""
        _check_seed(seed)
        if not is_whole(count):
            raise ValueError(f"Got count={count!r}, expected a whole number of at least 1.")
        latent = self.latent(count, seed)
        starts = range(0, count, 256)
        return (self.generator(latent[start : start + 256], training=False).numpy() for start in starts)

    def _maybe_symbolic_build(self, *_: Any, **__: Any) -> None:
        """Nothing: a GAN is built. Keras would take a batch to find out, which moves the order of the data."""

    def call(self, latent: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The generator's samples for the given latent vectors."""
        return self.generator(latent, training=training)

    def get_compile_config(self) -> dict[str, Any]:
        """What `compile_from_config` needs; empty where the recipe holds a function that only your code knows.

        `jit_compile` and `run_eagerly` are not kept: what suits one machine need not suit the next.
        """
        if not self.compiled or self.penalty is not None:
            return {}
        try:
            losses.get(self.objective.name)
        except ValueError:
            return {}
        return {
            "d_optimizer": keras.saving.serialize_keras_object(self.d_optimizer),
            "g_optimizer": keras.saving.serialize_keras_object(self.g_optimizer),
            "objective": self.objective.name,
            "d_steps": self.d_steps,
            "steps_per_execution": self.steps_per_execution,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says, when `keras.saving.load_model` reads a GAN from its file."""
        optimizers = {
            name: keras.saving.deserialize_keras_object(config[name]) for name in ("d_optimizer", "g_optimizer")
        }
        self.compile(**{**config, **optimizers, "objective": losses.get(config["objective"])})

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs: both networks and the latent size."""
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        config = {name: keras.saving.serialize_keras_object(network) for name, network in networks.items()}
        return {"name": self.name, "latent_dim": self.latent_dim, **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GAN":
        """A new `GAN` from what `get_config` returned."""
        networks = {
            name: keras.saving.deserialize_keras_object(config[name]) for name in ("generator", "discriminator")
        }
        return cls(**{**config, **networks})


class StopAtNaN(keras.callbacks.Callback):
    """Ends training, with a message, as soon as a metric is NaN or infinite. `GAN.fit` always has one.

    Keras' own `TerminateOnNaN` watches a metric called `loss`, which a GAN does not have.
    """

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        broken = [name for name, value in (logs or {}).items() if not math.isfinite(value)]
        if broken:
            self.model.stop_training = True
            print(
                f"\nTraining stopped at batch {batch + 1}: {', '.join(broken)} not finite. The networks' weights are "
                "spoiled; the history and samples of the epochs before are intact. Try a lower learning rate."
            )


class Progress(keras.callbacks.Callback):
    """One line for a whole training: steps done, time left, and the metrics of the epoch so far.

    For `fit(..., verbose=0)`, where Keras' own bar would fill a page with two lines an epoch. Written to stderr.

    Example:
        >>> Progress().on_train_end()
    """

    bar: tqdm | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        steps = self.params["steps"]
        self.bar = tqdm(total=steps and steps * self.params["epochs"], unit="step")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        done = (self.epoch * self.params["steps"] if self.params["steps"] else 0) + batch + 1
        self.bar.set_postfix({name: f"{value:.2f}" for name, value in (logs or {}).items()}, refresh=False)
        self.bar.update(done - self.bar.n)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        # Of steps that are executed at once, Keras names the first until 3.10, since then the last, even past the end.
        if self.params["steps"] and not self.model.stop_training:
            self.bar.update((epoch + 1) * self.params["steps"] - self.bar.n)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self.bar is not None:
            self.bar.close()


class Score(keras.callbacks.Callback):
    """Adds a score of the generator's samples to each epoch, and the seconds of training until then.

    Both go into the logs, so that Keras' `History`, and callbacks after this one, have a learning curve in score
    against seconds. The time that scoring takes is not counted.

    Args:
        score: `(images) -> float`, given `GAN.sample`'s array.
        samples: how many to draw; always from the same latent points.
        name: of the score in the logs.
        seed: of the latent points.
        clock: that counts the seconds; `time.process_time` where other programs compete for the CPU.

    Example:
        >>> callback = Score(lambda images: images.mean(), samples=100, name="ink")
        >>> print(callback.seconds)
        0.0
    """

    def __init__(
        self,
        score: Callable[[np.ndarray], float],
        samples: int = 2000,
        name: str = "score",
        seed: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ):
        super().__init__()
        if not (callable(score) and callable(clock) and isinstance(name, str) and is_whole(samples)):
            raise TypeError(
                f"Got score={score!r}, samples={samples!r}, name={name!r} and clock={clock!r}, expected a function of "
                "images, a whole number of at least 1, a string and a function that returns seconds."
            )
        _check_seed(seed)
        self.score = score
        self.samples = samples
        self.name = name
        self.seed = seed
        self.clock = clock
        self.seconds = 0.0

    def get_config(self) -> dict[str, Any]:
        """What must be the same when a training goes on from a `Checkpoint`."""
        return {"name": self.name, "samples": self.samples, "seed": self.seed}

    def get_state(self) -> dict[str, np.ndarray]:
        """The seconds so far, for `Checkpoint`."""
        return {"seconds": np.array(self.seconds)}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes back what `get_state` returned."""
        self.seconds = float(state["seconds"])

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.begin = self.clock()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.seconds += self.clock() - self.begin
        images = self.model.sample(self.samples, seed=self.seed)
        logs[self.name] = float(self.score(images)) if np.isfinite(images).all() else math.nan
        logs["seconds"] = self.seconds


class SampleGrid(keras.callbacks.Callback):
    """Draws the generator's images of the same latent points before training and after every epoch.

    Images that are not finite are left out, so that the frames before a failure stay.

    Args:
        path: where to write the frames as a GIF when training ends; None for no file.
        rows: of the grid.
        columns: of the grid.
        seed: of the latent points.

    Attributes:
        frames: list of uint8 arrays, (height, width) or (height, width, 3), one a picture.

    Raises:
        ValueError: rows or columns below 1.

    Example:
        >>> callback = SampleGrid(path=None, rows=2, columns=8)
        >>> callback.frames
        []
    """

    def __init__(self, path: str | pathlib.Path | None = None, rows: int = 4, columns: int = 8, seed: int = 0):
        super().__init__()
        if not (is_whole(rows) and is_whole(columns)):
            raise ValueError(f"Got rows={rows!r} and columns={columns!r}, expected at least 1 of each.")
        _check_seed(seed)
        self.path = None if path is None else pathlib.Path(path)
        self.rows = rows
        self.columns = columns
        self.seed = seed
        self.frames: list[np.ndarray] = []

    def get_config(self) -> dict[str, Any]:
        """What must be the same when a training goes on from a `Checkpoint`."""
        return {"rows": self.rows, "columns": self.columns, "seed": self.seed}

    def get_state(self) -> dict[str, np.ndarray]:
        """The frames so far, for `Checkpoint`."""
        return {"frames": np.array(self.frames, dtype=np.uint8)}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes back what `get_state` returned."""
        self.frames = list(state["frames"])

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if not self.frames:
            self._draw()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._draw()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self.path is not None and self.frames:
            plotting.write_gif(self.frames, self.path)

    def _draw(self) -> None:
        images = self.model.sample(self.rows * self.columns, seed=self.seed)
        if np.isfinite(images).all():
            self.frames.append(data.to_bytes(plotting.tile(images, self.columns)))


@contextlib.contextmanager
def keep_statistics(network: keras.Model) -> Iterator[None]:
    """Lets a network run in training mode and puts its running statistics back afterwards.

    The states of random generators are integers. They stay moved, so that dropout never repeats a mask.

    Example:
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
        >>> with keep_statistics(network):
        ...     _ = network(tf.ones((4, 1)), training=True)
        >>> print(network.layers[0].moving_mean.numpy())
        [0.]
    """
    statistics = [variable for variable in network.non_trainable_variables if "float" in variable.dtype]
    before = [tf.identity(variable.value) for variable in statistics]
    try:
        yield
    finally:
        for variable, value in zip(statistics, before, strict=True):
            variable.assign(value)


def _has_workers(gan: GAN) -> bool:
    """Whether other processes take part. Keras then averages the logs over an axis, which scalars do not have."""
    strategy = gan.distribute_strategy
    multiple = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return multiple and strategy.num_replicas_in_sync > len(strategy.extended.worker_devices)


def _scaled(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return optimizer if scales else keras.optimizers.LossScaleOptimizer(optimizer)


def _length(dataset: tf.data.Dataset) -> int:
    batches = int(dataset.cardinality())
    if batches < 1:
        raise ValueError("The dataset does not know its length. Pass steps_per_epoch.")
    return batches


def _in_equal_batches(dataset: tf.data.Dataset, devices: int) -> tf.data.Dataset:
    """Fills the last batch of a pass from the next one, so that all devices get as much in every step."""
    size = len(next(iter(dataset)))
    if size % devices:
        raise ValueError(f"Got batches of {size} samples for {devices} devices, expected a multiple of {devices}.")
    return dataset.repeat().rebatch(size, drop_remainder=True)


def _in_groups(dataset: tf.data.Dataset, size: int) -> tf.data.Dataset:
    """Joins each `size` consecutive batches into a tuple, whatever the sizes of the batches."""

    def members(window: tf.data.Dataset) -> tuple[tf.Tensor, ...]:
        return tuple(window.skip(index).take(1).get_single_element() for index in range(size))

    return dataset.window(size, drop_remainder=True).map(members).prefetch(tf.data.AUTOTUNE)


def _check_seed(seed: Any) -> None:
    if not (seed is None or is_whole(seed, 0)):
        raise ValueError(f"Got seed={seed!r}, expected a whole number from 0 to 2147483647.")


def _check_networks(generator: keras.Model, discriminator: keras.Model, latent_dim: int) -> None:
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        if not isinstance(network, keras.Model):
            raise TypeError(f"Got a {type(network).__name__} as {name}, expected a keras.Model.")
        if not network.built or not isinstance(network.input_shape, tuple):
            raise TypeError(f"The {name} has no known input shape. Begin it with keras.Input(shape).")
    if not is_whole(latent_dim) or generator.input_shape != (None, latent_dim):
        raise ValueError(
            f"Got latent_dim={latent_dim!r} and a generator with input shape {generator.input_shape}, expected "
            f"(None, {latent_dim}). Pass the latent size that the generator was built with."
        )
    if discriminator.input_shape != generator.output_shape:
        raise ValueError(
            f"The generator makes samples of shape {generator.output_shape}, but the discriminator reads "
            f"{discriminator.input_shape}. Build both for the same shape."
        )
    if keras.backend.standardize_dtype(discriminator.outputs[0].dtype) not in ("float32", "float64"):
        raise ValueError(
            f"The discriminator's logits are {discriminator.outputs[0].dtype}, too coarse for the losses. End it with "
            'layers.Dense(1, dtype="float32").'
        )
    if discriminator.output_shape != (None, 1):
        raise ValueError(
            f"The discriminator's output has shape {discriminator.output_shape}, expected (None, 1): one logit a "
            "sample. End it with layers.Dense(1)."
        )
    activation = getattr(discriminator.layers[-1], "activation", None)
    if activation not in (None, keras.activations.linear):
        raise ValueError(
            f"The discriminator ends with the activation {activation.__name__!r}, expected none: the losses take "
            "logits. Use layers.Dense(1), and keras.ops.sigmoid where a probability is wanted."
        )


def _check_scope(strategy: tf.distribute.Strategy, variables: Sequence[keras.Variable]) -> None:
    if not all(strategy.extended.variable_created_in_scope(variable.value) for variable in variables):
        raise ValueError(
            "A network or an optimizer was made for other devices than the GAN. Make all of them, and call compile, "
            "inside strategy.scope()."
        )


def _check_recipe(d_optimizer: Any, g_optimizer: Any, objective: Any, penalty: Any, d_steps: Any) -> None:
    for name, optimizer in (("d_optimizer", d_optimizer), ("g_optimizer", g_optimizer)):
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise TypeError(f"Got {name}={optimizer!r}, expected an optimizer such as keras.optimizers.Adam(2e-4).")
    if d_optimizer is g_optimizer:
        raise ValueError("Both players got the same optimizer. Make one for each: its moments belong to its weights.")
    if not isinstance(objective, losses.Objective):
        raise TypeError(f"Got objective={objective!r}, expected one such as gan_utils.losses.minimax().")
    if penalty is not None and not callable(penalty):
        raise TypeError(f"Got penalty={penalty!r}, expected a function (critic, real, fake) -> scalar, or None.")
    if not is_whole(d_steps):
        raise ValueError(f"Got d_steps={d_steps!r}, expected a whole number of at least 1.")


def _check_dataset(dataset: Any, input_shape: tuple[int | None, ...], d_steps: int) -> None:
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            f"Got a {type(dataset).__name__}, expected a tf.data.Dataset. gan_utils.data.batches makes one of an array."
        )
    shape = getattr(dataset.element_spec, "shape", None)
    if shape is None or not shape.is_compatible_with(input_shape):
        raise ValueError(
            f"The dataset's elements are {dataset.element_spec}, expected batches of samples of shape {input_shape}, "
            "as the discriminator reads them, without labels."
        )
    batches = dataset.cardinality().numpy()
    if 0 <= batches < d_steps:
        raise ValueError(
            f"The dataset has {batches} batches, expected at least d_steps={d_steps}. Use smaller batches."
        )
