"""`GAN`, a `keras.Model` with the one custom `train_step` of the course.

Another game is a subclass that overrides a hook; see `games`. What `fit` and files ask for is in `plumbing`.

Reference: I. Goodfellow et al., Generative Adversarial Nets, 2014, arXiv:1406.2661.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gan_utils import devices, losses, penalties, plumbing, refusals
from gan_utils.callbacks import Progress, SampleGrid, Score, StopAtNaN  # noqa: F401 (where version 0.1.0 had them)


class Batch(NamedTuple):
    """Samples, with all that the players know of them: what hooks are given.

    Attributes:
        samples: (batch, …), real or generated.
        labels: int32, (batch,), the classes; −1 where there is none. Fakes take the labels of the real batch.
        latent: (batch, latent_dim), what fakes were made from; None for real samples.
        outputs: all that the discriminator said of the samples; empty as long as it was not asked.

    Example:
        >>> batch = Batch(tf.zeros((4, 2)), tf.fill((4,), -1), outputs=(tf.ones((4, 1)),))
        >>> print(batch.logits.shape)
        (4, 1)
    """

    samples: tf.Tensor
    labels: tf.Tensor
    latent: tf.Tensor | None = None
    outputs: tuple[tf.Tensor, ...] = ()

    @property
    def logits(self) -> tf.Tensor:
        """The discriminator's first output: its logits, (batch, 1)."""
        return self.outputs[0]


@keras.saving.register_keras_serializable("gan_utils")
class GAN(plumbing.Trainer):
    """A generator and a discriminator that learn from each other, step for step as in Algorithm 1 of the 2014 paper.

        for each training iteration                              fit: one `train_step`
            for k steps                                          `d_steps`
                sample m latents z from N(0, I)                  `discriminator_step`
                sample m real x from the data                    one batch of the dataset, fresh in each of the k steps
                update D to climb log D(x) + log(1 − D(G(z)))    `discriminator_loss`, `d_optimizer`
            sample m latents z                                   `generator_step`
            update G to descend log(1 − D(G(z)))                 `generator_loss`, `g_optimizer`

    Real and fake samples pass through the discriminator as two batches, so that batch normalisation does not mix
    their statistics. Each player runs in training mode in both steps, but a step moves only the weights and running
    statistics of its own player.

    A network with a second input reads labels there, one-hot, (batch, classes); see `models.conditional_generator`.
    The dataset then holds pairs of samples and labels, and fakes are made for the labels of the real batch.

    `save("gan.keras")` keeps both networks, both optimizers and the recipe. `keras.saving.load_model` reads the file
    where this class has been imported. A penalty or an objective of your own is a function that no file can hold: the
    GAN is then loaded without its recipe, to be compiled again.

    Differs from the paper: any Keras optimizers in place of momentum, and any `losses.Objective`; the default is the
    non-saturating one. The last batch of an epoch may be smaller than the others.

    Args:
        generator: model from (batch, latent_dim), and labels where it reads them, to samples.
        discriminator: model from samples, and labels where it reads them, to (batch, 1) logits.
        latent_dim: length of the latent vector z.
        seed: of the latent noise. None draws one, reproducibly after `keras.utils.set_random_seed`.
        average: decay of a running mean of the generator's weights and of its statistics of batch normalisation, such
            as 0.99: after each step, mean ← 0.99·mean + 0.01·weights. `sample` then draws with the mean. It begins
            with the weights that the generator has when its first `fit` begins, so a slow mean is late: with 0.999 it
            has left them behind after some thousand steps. None for no mean.

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

    def train_step(self, batches: Any) -> dict[str, tf.Tensor]:
        """One iteration of Algorithm 1: `d_steps` steps of the discriminator, then one of the generator.

        Args:
            batches: one element of the dataset, or a tuple of `d_steps` of them where that is more than 1.
        """
        *earlier, last = batches if self.d_steps > 1 else (batches,)
        with tf.control_dependencies(tf.nest.flatten(batches)):  # no counter moves before the batches are there
            for real in earlier:
                self.discriminator_step(real)
            if self.reuse_fakes:
                self.joint_step(last)
            else:
                self.discriminator_step(last)
                self.generator_step(last)
        return devices.as_logs(self.distribute_strategy, self.get_metrics_result())

    def discriminator_step(self, real: Any) -> None:
        """Updates D on real samples, alone or with labels, and as many fresh fakes. Nothing of G changes."""
        real = as_batch(real)
        with keep_statistics(self.generator):
            fake = self.fakes_for(real)
        with tf.GradientTape() as tape:
            real, fake = self.both_judged(real, fake)
            loss = self.discriminator_loss(real, fake)
            share = self._share(loss, self.d_optimizer)
        devices.apply(self.d_optimizer, tape.gradient(share, self.d_variables), self.d_variables)
        self._note_discriminator(loss, real, fake)

    def generator_step(self, real: Any) -> None:
        """Updates G on as many fresh fakes as there are real samples, with their labels. Nothing of D changes."""
        real = as_batch(real)
        with keep_statistics(self.discriminator), tf.GradientTape() as tape:
            loss = self.generator_loss(real, self.judged(self.fakes_for(real)))
            share = self._share(loss, self.g_optimizer)
        self._update_generator(tape.gradient(share, self.g_variables), loss, real)

    def joint_step(self, real: Any) -> None:
        """Updates both players from one batch of fakes that D judges once: `compile(reuse_fakes=True)`.

        Differs from Algorithm 1: G does not meet the D that has just learned, and G's latents are not fresh.
        """
        real = as_batch(real)
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            real, fake = self.both_judged(real, self.fakes_for(real))
            d_loss, g_loss = self.discriminator_loss(real, fake), self.generator_loss(real, fake)
            d_share, g_share = self._share(d_loss, self.d_optimizer), self._share(g_loss, self.g_optimizer)
        d_gradients = d_tape.gradient(d_share, self.d_variables)
        g_gradients = g_tape.gradient(g_share, self.g_variables)
        devices.apply(self.d_optimizer, d_gradients, self.d_variables)
        self._note_discriminator(d_loss, real, fake)
        self._update_generator(g_gradients, g_loss, real)

    # The hooks: what another game overrides

    def discriminator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        """What D minimises, a scalar, once it has judged both batches."""
        loss = self.objective.discriminator(real.logits, fake.logits)
        if self.penalty is not None:
            loss += self.penalty(self.critic(real.labels), real.samples, fake.samples, seed=self.noise)
        return loss

    def generator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        """What G minimises, a scalar. D has judged the fakes; a game that needs it asks for the real ones too."""
        if self.objective.paired:
            return self.objective.generator(fake.logits, self.judged(real).logits)
        return self.objective.generator(fake.logits)

    def both_judged(self, real: Batch, fake: Batch) -> tuple[Batch, Batch]:
        """Both batches with what D says of them in its own step: two passes, of one batch each."""
        return self.judged(real), self.judged(fake)

    def scores(self, batch: Batch) -> tf.Tensor:
        """What the metrics show of a batch that D has judged: D(x), or the logits of a critic."""
        return tf.sigmoid(batch.logits) if self.objective.probabilistic else batch.logits

    def score_names(self) -> tuple[str, str]:
        """What the metrics call the scores of real and of fake samples."""
        return ("D(x)", "D(G(z))") if self.objective.probabilistic else ("logit(x)", "logit(G(z))")

    @property
    def d_variables(self) -> list[keras.Variable]:
        """All weights that D's step trains."""
        return self.discriminator.trainable_variables

    @property
    def g_variables(self) -> list[keras.Variable]:
        """All weights that G's step trains. A game with parts of its own, such as an encoder, adds theirs."""
        return self.generator.trainable_variables

    @classmethod
    def check_discriminator(cls, generator: keras.Model, discriminator: keras.Model) -> None:
        """Refuses a discriminator that does not answer as this game needs it."""
        refusals.check_samples(generator, discriminator)
        refusals.check_outputs(discriminator, [(None, 1)], "one logit a sample. End it with layers.Dense(1).")
        refusals.check_logits(discriminator)

    # Its parts

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        latent_dim: int,
        seed: int | None = None,
        average: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        refusals.check_networks(generator, discriminator, latent_dim)
        self.check_discriminator(generator, discriminator)
        refusals.check_seed(seed)
        refusals.check_average(average)
        parts = [*generator.variables, *discriminator.variables]
        devices.check_scope(self.distribute_strategy, [variable.value for variable in parts])
        self.generator = generator
        self.discriminator = discriminator
        self.latent_dim = int(latent_dim)
        self.noise = keras.random.SeedGenerator(None if seed is None else int(seed))
        self.average = None if average is None else float(average)
        self.mean_generator = None if average is None else _copy(generator)
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
        penalty: penalties.Penalty | Callable | None = None,
        d_steps: int = 1,
        reuse_fakes: bool = False,
        **kwargs: Any,
    ) -> None:
        """Chooses the method: what the players minimise, and how.

        Args:
            d_optimizer: updates the discriminator.
            g_optimizer: updates the generator; another object than `d_optimizer`, since each keeps its own moments.
            objective: losses of both players; None is `losses.non_saturating()`.
            penalty: added to the discriminator's loss: one of `penalties`, a sum of them, or a function of your own,
                `(critic, real, fake) -> scalar`. `critic` maps samples to logits.
            d_steps: discriminator steps to each generator step: k of Algorithm 1.
            reuse_fakes: whether G learns from the fakes that D's last step has judged, as in TensorFlow's tutorial.
                Less work, but not Algorithm 1; see `joint_step`.
            **kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution`, as in `keras.Model.compile`.

        Networks built under the dtype policy "mixed_float16" get optimizers that scale the loss, so that small
        gradients are not rounded to 0; "mixed_bfloat16" needs none.

        Raises:
            TypeError: an argument has the wrong type, or is one that a GAN cannot use.
            ValueError: `d_steps` is below 1, both players share an optimizer, one was made outside of the strategy's
                scope that the GAN was made in, "mixed_float16" meets several devices, or the discriminator has a layer
                that spoils the penalty.
        """
        objective = losses.non_saturating() if objective is None else objective
        refusals.check_recipe(d_optimizer, g_optimizer, objective, penalty, d_steps, kwargs)
        counters = [optimizer.variables[0].value for optimizer in (d_optimizer, g_optimizer)]
        devices.check_scope(self.distribute_strategy, counters)
        if isinstance(penalty, penalties.Penalty):
            penalties.check_network(self.discriminator)
        together = self.distribute_strategy.num_replicas_in_sync
        half = refusals.check_half_precision([self.generator, self.discriminator], together)
        super().compile(optimizer=None, **kwargs)
        self.objective = objective
        self.penalty = penalties.of(penalty)
        self.d_steps = int(d_steps)
        self.reuse_fakes = bool(reuse_fakes)
        self.d_optimizer = _scaled(d_optimizer) if half else d_optimizer
        self.g_optimizer = _scaled(g_optimizer) if half else g_optimizer
        self.d_optimizer.build(self.d_variables)
        self.g_optimizer.build(self.g_variables)
        self.real_score.name, self.fake_score.name = self.score_names()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Means over the epoch so far: both losses, and the scores of real and fake samples, as D's step sees them."""
        return [self.d_loss, self.g_loss, self.real_score, self.fake_score]

    def latent(self, count: int | tf.Tensor, seed: int | None = None) -> tf.Tensor:
        """Draws latent vectors from N(0, I), (count, latent_dim): fresh ones, or always the same for a given seed."""
        source = self.noise if seed is None else int(seed)
        return devices.draw(keras.random.normal, count, (self.latent_dim,), source)

    def fakes_for(self, real: Batch, latent: tf.Tensor | None = None) -> Batch:
        """As many samples of the generator in training mode, with the same labels; of fresh latents, or of these."""
        latent = self.latent(tf.shape(real.samples)[0]) if latent is None else latent
        return Batch(_run(self.generator, latent, real.labels, training=True), real.labels, latent)

    def judged(self, batch: Batch) -> Batch:
        """The batch with the discriminator's outputs in training mode. One that has them stays as it is."""
        if batch.outputs:
            return batch
        outputs = _run(self.discriminator, batch.samples, batch.labels, training=True)
        return batch._replace(outputs=tuple(keras.tree.flatten(outputs)))

    def critic(self, labels: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
        """The discriminator as penalties see it: from samples, which have these labels, to logits."""
        return lambda samples: self.judged(Batch(samples, labels)).logits

    def _share(self, loss: tf.Tensor, optimizer: keras.optimizers.Optimizer) -> tf.Tensor:
        """What a device differentiates: its part of the global batch's mean, for gradients are summed over devices."""
        return optimizer.scale_loss(loss) / self.distribute_strategy.num_replicas_in_sync

    def _update_generator(self, gradients: Sequence[tf.Tensor], loss: tf.Tensor, real: Batch) -> None:
        devices.apply(self.g_optimizer, gradients, self.g_variables)
        if self.mean_generator is not None:
            devices.follow(_floats(self.mean_generator), _floats(self.generator), self.average)
        self.g_loss.update_state(loss, sample_weight=tf.shape(real.samples)[0])

    def _note_discriminator(self, loss: tf.Tensor, real: Batch, fake: Batch) -> None:
        self.d_loss.update_state(loss, sample_weight=tf.shape(real.samples)[0])
        self.real_score.update_state(self.scores(real))
        self.fake_score.update_state(self.scores(fake))

    # Drawing

    @property
    def drawing_network(self) -> keras.Model:
        """What `sample` draws with: the generator, or its running mean where there is one."""
        return self.generator if self.mean_generator is None else self.mean_generator

    def sample(self, count: int, seed: int | None = None, labels: int | Sequence[int] | None = None) -> np.ndarray:
        """Draws samples from the generator, or its running mean, in inference mode.

        Args:
            count: how many, at least 1.
            seed: the same seed gives the same latent vectors; None draws fresh ones.
            labels: the class of all samples, or of each, (count,), where the generator reads labels. None cycles
                through the classes: 0, 1, 2, …, 0, 1, …

        Returns:
            NumPy array, (count, …), in the generator's range.

        Raises:
            ValueError: fewer than one sample is asked for, or labels of no class.
        """
        return np.concatenate(list(self.stream(count, seed, labels)))

    def stream(
        self, count: int, seed: int | None = None, labels: int | Sequence[int] | None = None
    ) -> Iterator[np.ndarray]:
        """Draws what `sample` draws, 256 samples at a time: in memory are these, and the latent vectors of all."""
        refusals.check_seed(seed)
        if not refusals.is_whole(count):
            raise ValueError(f"Got count={count!r}, expected a whole number of at least 1.")
        labels = refusals.check_labels(labels, count, self.classes_drawn)
        latent, network = self.latent(count, seed), self.drawing_network
        parts = [slice(start, start + 256) for start in range(0, count, 256)]
        return (_run(network, latent[part], labels[part], training=False).numpy() for part in parts)

    @property
    def classes_drawn(self) -> int:
        """How many classes the generator draws on demand; 0 where it reads no labels."""
        return refusals.classes_read_by(self.generator)

    @property
    def classes_read(self) -> int:
        """How many classes the data need labels of; 0 where no network reads them."""
        return self.classes_drawn or refusals.classes_read_by(self.discriminator)

    @property
    def range_of_images(self) -> tuple[float, float]:
        """The lowest and the highest value that the generator draws, of images; infinite where there is none."""
        is_image = len(self.generator.output_shape) == 4
        return refusals.output_range(self.generator.outputs[0]) if is_image else (-math.inf, math.inf)

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        """The samples for the given latent vectors; where the generator reads labels, for (latent, one-hot labels)."""
        return self.drawing_network(inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs: both networks and the latent size. A game adds parts and settings of its own."""
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        config = {name: keras.saving.serialize_keras_object(network) for name, network in networks.items()}
        average = {} if self.average is None else {"average": self.average}
        return {"name": self.name, "latent_dim": self.latent_dim, **config, **average}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GAN":
        """A new game from what `get_config` returned."""
        parts = {name: keras.saving.deserialize_keras_object(part) for name, part in config.items()}
        return cls(**parts)


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


def as_batch(real: Any) -> Batch:
    """An element of the dataset, samples or a pair of samples and labels, as a `Batch`.

    Example:
        >>> print(as_batch(tf.zeros((3, 2))).labels.numpy())
        [-1 -1 -1]
    """
    if isinstance(real, Batch):
        return real
    samples, labels = real if isinstance(real, tuple) else (real, tf.fill(tf.shape(real)[:1], -1))
    return Batch(samples, tf.cast(labels, tf.int32))


def _run(network: keras.Model, inputs: Any, labels: Any, training: bool) -> Any:
    """What the network makes of latents or samples, and of the labels where it reads them."""
    classes = refusals.classes_read_by(network)
    return network([inputs, tf.one_hot(labels, classes)] if classes else inputs, training=training)


def _copy(network: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    copy.trainable = False
    return copy


def _floats(network: keras.Model) -> list[keras.Variable]:
    """Weights and running statistics, without the states of random generators."""
    return [variable for variable in network.variables if "float" in variable.dtype]


def _scaled(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return optimizer if scales else keras.optimizers.LossScaleOptimizer(optimizer)
