"""Other games of two players. Each is a `GAN` that overrides hooks of it; `train_step` is never written again.

What a hook is given is a `training.Batch`: `samples`, `labels` (−1 where there is none), `latent`, and `outputs`, all
that the discriminator said.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from gan_utils import devices, penalties, refusals
from gan_utils.checks import is_real, is_whole
from gan_utils.training import GAN, Batch

_register = keras.saving.register_keras_serializable("gan_utils")


@_register
class ACGAN(GAN):
    """D also tells the class of a sample, and both players gain where it is right.

        D minimises   its loss of the objective + λ·(CE(real) + CE(fake))
        G minimises   its loss of the objective + λ·CE(fake)

    CE is the cross-entropy of the class that D tells and the label, a mean over the batch. Real samples without a label
    (−1) do not count in it.

    With the true classes overlapping, this game has no fixed point at the data: G avoids what D cannot classify.

    Differs from the paper: λ need not be 1.

    Args:
        discriminator: from samples to two outputs: one logit, and logits of the classes, (batch, classes).
        class_weight: λ, at least 0.
        **kwargs: `generator`, which reads labels, and `latent_dim` as of `GAN`.

    Raises:
        ValueError: D has other outputs, or G reads other labels, or none.

    Reference: A. Odena et al., Conditional Image Synthesis with Auxiliary Classifier GANs, 2017, arXiv:1610.09585.

    Example:
        >>> from gan_utils import models
        >>> generator = models.conditional_generator(models.mlp_generator(4, (1,), (8,), None), num_classes=2)
        >>> sample = keras.Input((1,))
        >>> discriminator = keras.Model(sample, [layers.Dense(1)(sample), layers.Dense(2)(sample)])
        >>> ACGAN(generator, discriminator, latent_dim=2).sample(4, labels=1).shape
        (4, 1)
    """

    def __init__(self, *args: Any, class_weight: float = 1.0, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.class_weight = _at_least_0("class_weight", class_weight)
        self.class_accuracy = keras.metrics.Mean(name="class_accuracy")

    def discriminator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        told = self.class_loss(real) + self.class_loss(fake)
        self.class_accuracy.update_state(*_hits(real.outputs[1], real.labels))
        return super().discriminator_loss(real, fake) + self.class_weight * told

    def generator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        return super().generator_loss(real, fake) + self.class_weight * self.class_loss(fake)

    def class_loss(self, batch: Batch) -> tf.Tensor:
        """The mean cross-entropy of the classes that D tells, over the samples that have a label."""
        return _labelled_cross_entropy(batch.outputs[1], batch.labels)

    @classmethod
    def check_discriminator(cls, generator: keras.Model, discriminator: keras.Model) -> None:
        refusals.check_samples(generator, discriminator)
        classes = refusals.classes_read_by(generator) or None
        refusals.check_outputs(discriminator, [(None, 1), (None, classes)], "a logit, and logits of G's classes.")
        for index in range(2):
            refusals.check_logits(discriminator, index)
        if classes is None:
            raise ValueError("The generator reads no labels. Build it by models.conditional_generator.")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [*super().metrics, self.class_accuracy]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_weight": self.class_weight}


@_register
class InfoGAN(GAN):
    """A part of the latent is a code that a network Q reads back from the sample, so that the code means something.

        G and Q minimise   G's loss of the objective − λ·L,    L = E[log Q(c | x)] + H(c) ≤ I(c; G(z, c))

    The code stands at the end of the latent: one of `categories`, one-hot, then `continuous` numbers, uniform in
    [−1, 1]. Q(c | x) is a softmax, and a Gaussian with the standard deviation 1 around each continuous number.

    Differs from the paper: Q is a network of its own, which shares no layers with D unless you build it so, and
    the Gaussian's standard deviation is not learned.

    Args:
        recognizer: Q, from samples to categories + continuous numbers, (batch, categories + continuous).
        categories: of the categorical code; 0 for none.
        continuous: how many continuous codes.
        information_weight: λ, at least 0.
        **kwargs: `generator`, `discriminator` and `latent_dim` as of `GAN`; the latent includes the code.

    Raises:
        TypeError: Q is not a built `keras.Model`.
        ValueError: the code does not fit into the latent, or Q reads other samples or returns another number of values.

    Reference: X. Chen et al., InfoGAN, 2016, arXiv:1606.03657.

    Example:
        >>> from gan_utils import models
        >>> generator, discriminator = models.mlp_generator(4, (2,), (8,), None), models.mlp_discriminator((2,), (8,))
        >>> recognizer = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
        >>> gan = InfoGAN(generator, discriminator, latent_dim=4, recognizer=recognizer, categories=3)
        >>> print(gan.latent(2, seed=0)[:, 1:].numpy())
        [[0. 0. 1.]
         [1. 0. 0.]]
    """

    def __init__(
        self,
        *args: Any,
        recognizer: keras.Model,
        categories: int = 0,
        continuous: int = 0,
        information_weight: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self._check_recognizer(recognizer)
        self.categories, self.continuous = _whole("categories", categories, 0), _whole("continuous", continuous, 0)
        code = self.categories + self.continuous
        if recognizer.output_shape != (None, code) or not 1 <= code <= self.latent_dim:
            raise ValueError(
                f"Got categories={categories}, continuous={continuous}, a recognizer that returns "
                f"{recognizer.output_shape} and latent_dim={self.latent_dim}, expected (None, {code}), at least 1 and "
                "at most the latent."
            )
        self.recognizer = recognizer
        self.information_weight = _at_least_0("information_weight", information_weight)
        self.information = keras.metrics.Mean(name="information_bound")

    def latent(self, count: int | tf.Tensor, seed: int | None = None) -> tf.Tensor:
        normal = super().latent(count, seed)
        free = self.latent_dim - self.categories - self.continuous
        parts = [normal[:, :free]]
        # The codes are made of the same normal numbers: the place of the largest is uniform, and so is Φ of each.
        if self.categories:
            parts.append(tf.one_hot(tf.argmax(normal[:, free : free + self.categories], axis=1), self.categories))
        uniform = tf.math.erf(normal[:, self.latent_dim - self.continuous :] / 2.0**0.5)  # 2·Φ − 1
        return tf.concat([*parts, uniform], axis=1)

    def generator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        bound = self.information_bound(fake)
        self.information.update_state(bound)
        return super().generator_loss(real, fake) - self.information_weight * bound

    def information_bound(self, fake: Batch) -> tf.Tensor:
        """L, in nats: a lower bound of the mutual information of code and sample."""
        code = fake.latent[:, -(self.categories + self.continuous) :]
        told = _in_full_precision(self.recognizer(fake.samples, training=True))  # of the same shape
        bound = self.continuous * tf.math.log(2.0)  # the entropy of numbers that are uniform in [−1, 1]
        if self.categories:
            log_q = tf.nn.log_softmax(told[:, : self.categories])
            bound += tf.reduce_mean(tf.reduce_sum(code[:, : self.categories] * log_q, axis=1))
            bound += tf.math.log(float(self.categories))
        missed = tf.reduce_sum((code[:, self.categories :] - told[:, self.categories :]) ** 2, axis=1)
        return bound - tf.reduce_mean(0.5 * missed) - self.continuous * 0.5 * math.log(2.0 * math.pi)

    def _check_recognizer(self, recognizer: keras.Model) -> None:
        refusals.check_model(recognizer, "recognizer")
        shapes = refusals.input_shapes(recognizer)
        if shapes != [self.generator.output_shape]:
            raise ValueError(
                f"The recognizer reads {shapes[0] if len(shapes) == 1 else shapes}, but the generator makes samples of "
                f"shape {self.generator.output_shape}. Build it for samples alone, of the same shape."
            )
        devices.check_scope(self.distribute_strategy, [variable.value for variable in recognizer.variables])

    @property
    def g_variables(self) -> list[keras.Variable]:
        return [*super().g_variables, *self.recognizer.trainable_variables]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [*super().metrics, self.information]

    def get_config(self) -> dict[str, Any]:
        codes = {"categories": self.categories, "continuous": self.continuous}
        recognizer = keras.saving.serialize_keras_object(self.recognizer)
        weight = {"information_weight": self.information_weight}
        return {**super().get_config(), "recognizer": recognizer, **codes, **weight}


class _Classifies(GAN):
    """A game whose D is a classifier: its first output are the logits of the classes, and some samples have labels."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.class_accuracy = keras.metrics.Mean(name="class_accuracy")

    @property
    def classes_read(self) -> int:
        """The dataset has to have labels, though no network reads them."""
        return self.discriminator.outputs[0].shape[1]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [*super().metrics, self.class_accuracy]


@_register
class SemiSupervisedGAN(_Classifies):
    """D is a classifier of K classes that learns from few labels, and from telling real samples from fakes.

    Its K logits l say both: class y has the probability exp(l_y)/Z with Z = Σ exp(l), and real the probability
    D = Z/(Z + 1), whose logit is log Z. That is a classifier of K + 1 classes with the logit 0 for "fake".

        D minimises   CE(labelled real) + its loss of the objective on log Z
        G minimises   its loss of the objective on log Z, or ‖E φ(x) − E φ(G(z))‖² where features φ are to be matched

    Args:
        discriminator: from samples to logits of the classes, (batch, classes), and, to match them, to features as a
            second output, (batch, features).
        feature_matching: whether G matches the mean of D's features instead.
        **kwargs: `generator` and `latent_dim` as of `GAN`.

    Raises:
        ValueError: D has other outputs, or no features to match.

    Reference: T. Salimans et al., Improved Techniques for Training GANs, 2016, arXiv:1606.03498, Section 5; matching of
    features, Section 3.1. Differs from the paper: the squared norm is a mean over features, and weight normalisation is
    left to the networks.

    Example:
        >>> from gan_utils import models
        >>> classifier = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
        >>> SemiSupervisedGAN(models.mlp_generator(2, (2,), (8,), None), classifier, latent_dim=2).scores is not None
        True
    """

    def __init__(self, *args: Any, feature_matching: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if feature_matching and len(self.discriminator.outputs) < 2:
            raise ValueError("There are no features to match. Let the discriminator return them as a second output.")
        self.feature_matching = bool(feature_matching)

    def judged(self, batch: Batch) -> Batch:
        """Its outputs are log Z, then all that the discriminator returned."""
        if batch.outputs:
            return batch
        batch = super().judged(batch)
        log_z = tf.reduce_logsumexp(batch.outputs[0], axis=1, keepdims=True)
        return batch._replace(outputs=(log_z, *batch.outputs))

    def discriminator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        self.class_accuracy.update_state(*_hits(real.outputs[1], real.labels))
        supervised = _labelled_cross_entropy(real.outputs[1], real.labels)
        return supervised + super().discriminator_loss(real, fake)

    def generator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        if not self.feature_matching:
            return super().generator_loss(real, fake)
        features = [_in_full_precision(self.judged(batch).outputs[2]) for batch in (real, fake)]
        return tf.reduce_mean((tf.reduce_mean(features[0], axis=0) - tf.reduce_mean(features[1], axis=0)) ** 2)

    @classmethod
    def check_discriminator(cls, generator: keras.Model, discriminator: keras.Model) -> None:
        refusals.check_samples(generator, discriminator)
        features = [(None, None)] * (len(discriminator.outputs) - 1)
        told = "logits of the classes, and perhaps features."
        refusals.check_outputs(discriminator, [(None, None), *features[:1]], told)
        refusals.check_logits(discriminator)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "feature_matching": self.feature_matching}


class _OwnLosses(GAN):
    """A game that takes no objective and no penalty."""

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As `GAN.compile`, without an objective or a penalty: the game's own losses are all there is."""
        if kwargs.get("objective") is not None or kwargs.get("penalty") is not None or len(args) > 2:
            raise ValueError(f"{type(self).__name__} has losses of its own. Leave objective and penalty out.")
        super().compile(*args, **kwargs)

    def get_compile_config(self) -> dict[str, Any]:
        config = super().get_compile_config()
        return {**config, "objective": None} if config else {}


@_register
class CatGAN(_Classifies, _OwnLosses):
    """D sorts samples into K classes: real ones surely, and into all of them alike; fakes it shall find doubtful.

        D minimises   E H(p(x)) − H(E p(x)) − E H(p(G(z))) + λ·CE(labelled real)
        G minimises   E H(p(G(z))) − H(E p(G(z)))

    p is the softmax of D's K logits, H the entropy in nats, and E a mean over the batch, so a batch needs many more
    samples than there are classes. There is no "fake": a sample looks real where D is sure of its class, whichever it
    is. Where no real sample has a label (−1), D finds classes of its own.

    Args:
        discriminator: from samples to logits of the classes, (batch, classes).
        class_weight: λ, at least 0.
        **kwargs: `generator` and `latent_dim` as of `GAN`.

    Raises:
        ValueError: D has other outputs, or the weight is below 0.

    Reference: J. T. Springenberg, Unsupervised and Semi-supervised Learning with Categorical Generative Adversarial
    Networks, 2016, arXiv:1511.06390.

    Example:
        >>> from gan_utils import models
        >>> classifier = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
        >>> CatGAN(models.mlp_generator(2, (2,), (8,), None), classifier, latent_dim=2).score_names()
        ('entropy(x)', 'entropy(G(z))')
    """

    def __init__(self, *args: Any, class_weight: float = 1.0, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.class_weight = _at_least_0("class_weight", class_weight)

    def discriminator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        self.class_accuracy.update_state(*_hits(real.logits, real.labels))
        told = _labelled_cross_entropy(real.logits, real.labels)
        return self.ambiguity(real) - tf.reduce_mean(self.scores(fake)) + self.class_weight * told

    def generator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        return self.ambiguity(fake)

    def ambiguity(self, batch: Batch) -> tf.Tensor:
        """E H(p) − H(E p): 0 where D tells nothing, −log K where it is sure of each sample, and finds all classes."""
        samples = tf.cast(tf.shape(batch.logits)[0], batch.logits.dtype)
        log_mean = tf.reduce_logsumexp(tf.nn.log_softmax(batch.logits), axis=0) - tf.math.log(samples)  # (classes,)
        return tf.reduce_mean(self.scores(batch)) - _entropy(log_mean)

    def scores(self, batch: Batch) -> tf.Tensor:
        """The entropy of the class of each sample, (batch,)."""
        return _entropy(tf.nn.log_softmax(batch.logits))

    def score_names(self) -> tuple[str, str]:
        return "entropy(x)", "entropy(G(z))"

    @classmethod
    def check_discriminator(cls, generator: keras.Model, discriminator: keras.Model) -> None:
        refusals.check_samples(generator, discriminator)
        refusals.check_outputs(discriminator, [(None, None)], "logits of the classes.")
        refusals.check_logits(discriminator)
        if discriminator.outputs[0].shape[1] < 2:
            raise ValueError("The discriminator tells one class, expected logits of two or more: of one it is sure.")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_weight": self.class_weight}


class _EnergyGame(_OwnLosses):
    """What `EBGAN` and `BEGAN` share: D is an autoencoder, and judges a sample by how badly it is reconstructed.

    A sample's energy is the mean of |x − D(x)|ᵖ over its values, with the `power` p.
    """

    power = 2

    def scores(self, batch: Batch) -> tf.Tensor:
        """The energy of each sample, (batch,)."""
        errors = tf.abs(_in_full_precision(batch.outputs[0]) - _in_full_precision(batch.samples)) ** self.power
        return tf.reduce_mean(errors, axis=list(range(1, len(errors.shape))))

    def score_names(self) -> tuple[str, str]:
        return "energy(x)", "energy(G(z))"

    @classmethod
    def check_discriminator(cls, generator: keras.Model, discriminator: keras.Model) -> None:
        refusals.check_samples(generator, discriminator)
        codes = [(None, None)] * (len(discriminator.outputs) - 1)
        told = "reconstructed samples, and perhaps codes."
        refusals.check_outputs(discriminator, [generator.output_shape, *codes[:1]], told)


@_register
class EBGAN(_EnergyGame):
    """D is an autoencoder; a sample's energy E is how badly it is reconstructed.

        D minimises   E(x) + [m − E(G(z))]₊
        G minimises   E(G(z)) + w·P,    P the mean squared cosine between the codes of pairs of fakes

    Energies are means over a batch of the mean squared error of each sample; the margin m is applied to each sample.

    Args:
        discriminator: from samples to their reconstructions, and, for the pulling-away term P, to codes as a second
            output, (batch, features).
        margin: m, above 0.
        pull_away: w, at least 0.
        **kwargs: `generator` and `latent_dim` as of `GAN`.

    Raises:
        ValueError: D does not return samples, or there are no codes to pull apart.

    Reference: J. Zhao et al., Energy-based Generative Adversarial Network, 2017, arXiv:1609.03126.

    Example:
        >>> from gan_utils import models
        >>> autoencoder = keras.Sequential([keras.Input((2,)), layers.Dense(1), layers.Dense(2)])
        >>> EBGAN(models.mlp_generator(2, (2,), (8,), None), autoencoder, latent_dim=2).score_names()
        ('energy(x)', 'energy(G(z))')
    """

    def __init__(self, *args: Any, margin: float = 1.0, pull_away: float = 0.0, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if pull_away and len(self.discriminator.outputs) < 2:
            raise ValueError("There are no codes to pull apart. Let the discriminator return them as a second output.")
        if not _at_least_0("margin", margin):
            raise ValueError("Got margin=0.0, expected a number above 0.")
        self.margin, self.pull_away = float(margin), _at_least_0("pull_away", pull_away)

    def discriminator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        return tf.reduce_mean(self.scores(real)) + tf.reduce_mean(tf.nn.relu(self.margin - self.scores(fake)))

    def generator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        loss = tf.reduce_mean(self.scores(fake))
        return loss + self.pull_away * self.similarity(fake.outputs[1]) if self.pull_away else loss

    def similarity(self, codes: tf.Tensor) -> tf.Tensor:
        """The mean squared cosine of all pairs of different codes, (batch, features)."""
        codes = _in_full_precision(codes)
        unit = codes / tf.sqrt(tf.reduce_sum(codes**2, axis=1, keepdims=True) + 1e-12)
        cosines = tf.linalg.matmul(unit, unit, transpose_b=True)  # (batch, batch)
        with_themselves = tf.reduce_sum(tf.reduce_sum(unit**2, axis=1) ** 2)  # 1 for each code, and 0 for one of zeros
        count = tf.cast(tf.shape(codes)[0], codes.dtype)
        pairs = tf.maximum(count * (count - 1.0), 1.0)  # a batch of one has none
        return (tf.reduce_sum(cosines**2) - with_themselves) / pairs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin, "pull_away": self.pull_away}


@_register
class BEGAN(_EnergyGame):
    """D is an autoencoder, and a controller holds the energy of the fakes at a share γ of that of real samples.

        D minimises   L(x) − k·L(G(z))
        G minimises   L(G(z))
        after D's step    k ← k + λ·(γ·L(x) − L(G(z))), kept in [0, 1]

    L is the mean absolute error of the reconstruction. k begins at 0, so that D first learns to reconstruct, and rises
    while the fakes are reconstructed better than γ asks for. The smaller γ, the more D cares for real samples alone,
    and the less the fakes vary. The metric "convergence" is M = L(x) + |γ·L(x) − L(G(z))|.

    Differs from the paper: k is moved by the fakes of D's step, not by those of G's.

    Args:
        discriminator: from samples to their reconstructions.
        diversity: γ, in (0, 1].
        balance_rate: λ, above 0.
        **kwargs: `generator` and `latent_dim` as of `GAN`.

    Raises:
        ValueError: D does not return samples, or a setting is out of its range.

    Reference: D. Berthelot et al., BEGAN: Boundary Equilibrium Generative Adversarial Networks, 2017, arXiv:1703.10717.

    Example:
        >>> from gan_utils import models
        >>> autoencoder = keras.Sequential([keras.Input((2,)), layers.Dense(1), layers.Dense(2)])
        >>> gan = BEGAN(models.mlp_generator(2, (2,), (8,), None), autoencoder, latent_dim=2, diversity=0.5)
        >>> print(gan.diversity, gan.balance.numpy())
        0.5 0.0
    """

    power = 1

    def __init__(self, *args: Any, diversity: float = 0.5, balance_rate: float = 1e-3, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if not (is_real(diversity) and 0.0 < diversity <= 1.0 and is_real(balance_rate) and balance_rate > 0.0):
            raise ValueError(
                f"Got diversity={diversity!r} and balance_rate={balance_rate!r}, expected a share in (0, 1], such as "
                "0.5, and a number above 0, such as 0.001."
            )
        self.diversity, self.balance_rate = float(diversity), float(balance_rate)
        shared = {"dtype": "float32", "autocast": False, "aggregation": "mean"}  # a mean over devices
        self.balance = self.add_weight(name="balance", initializer="zeros", trainable=False, **shared)  # k
        self.mean_balance = keras.metrics.Mean(name="balance")
        self.convergence = keras.metrics.Mean(name="convergence")

    def discriminator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        return tf.reduce_mean(self.scores(real)) - self.balance * tf.reduce_mean(self.scores(fake))

    def generator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        return tf.reduce_mean(self.scores(fake))

    def _note_discriminator(self, loss: tf.Tensor, real: Batch, fake: Batch) -> None:
        super()._note_discriminator(loss, real, fake)
        of_real, of_fake = (tf.reduce_mean(self.scores(batch)) for batch in (real, fake))
        lead = self.diversity * of_real - of_fake
        self.mean_balance.update_state(self.balance)
        self.convergence.update_state(of_real + tf.abs(lead))
        self.balance.assign(tf.clip_by_value(self.balance + self.balance_rate * lead, 0.0, 1.0))

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [*super().metrics, self.mean_balance, self.convergence]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "diversity": self.diversity, "balance_rate": self.balance_rate}


@_register
class UnrolledGAN(GAN):
    """G descends its loss at the D that would be there after a few more steps of D, and sees how D would react.

    D's steps inside G's are plain gradient descent on D's loss, on the same batches; the gradient goes through them, so
    it has second derivatives of D. Then D moves one real step, as always.

    Differs from the paper: the steps looked ahead are plain descent, whatever D's own optimizer is.

    Args:
        unrolled_steps: K, at least 1.
        unrolled_rate: learning rate of the steps looked ahead, above 0.
        **kwargs: `generator`, `discriminator` and `latent_dim` as of `GAN`.

    Raises:
        ValueError: D has a layer whose second derivative is wrong in Keras on TensorFlow.

    Reference: L. Metz et al., Unrolled Generative Adversarial Networks, 2017, arXiv:1611.02163.

    Example:
        >>> from gan_utils import models
        >>> networks = models.mlp_generator(2, (2,), (8,), None), models.mlp_discriminator((2,), (8,), 0.0)
        >>> UnrolledGAN(*networks, latent_dim=2, unrolled_steps=5).unrolled_steps
        5
    """

    def __init__(self, *args: Any, unrolled_steps: int = 5, unrolled_rate: float = 1e-2, **kwargs: Any):
        super().__init__(*args, **kwargs)
        penalties.check_network(self.discriminator, "unrolled steps")
        self.unrolled_steps = _whole("unrolled_steps", unrolled_steps, 1)
        if not (is_real(unrolled_rate) and unrolled_rate > 0):
            raise ValueError(f"Got unrolled_rate={unrolled_rate!r}, expected a number above 0.")
        self.unrolled_rate = float(unrolled_rate)

    def generator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        real, fake = (batch._replace(outputs=()) for batch in (real, fake))
        weights = [tf.identity(variable.value) for variable in self.d_variables]
        for _ in range(self.unrolled_steps):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                with self._with(weights):
                    loss = self.discriminator_loss(self.judged(real), self.judged(fake))
            slopes = tape.gradient(loss, weights, unconnected_gradients="zero")
            weights = [weight - self.unrolled_rate * slope for weight, slope in zip(weights, slopes, strict=True)]
        with self._with(weights):
            return super().generator_loss(real, self.judged(fake))

    def _with(self, weights: Sequence[tf.Tensor]) -> keras.StatelessScope:
        """Lends D these weights."""
        return keras.StatelessScope(state_mapping=list(zip(self.d_variables, weights, strict=True)))

    def get_config(self) -> dict[str, Any]:
        steps = {"unrolled_steps": self.unrolled_steps, "unrolled_rate": self.unrolled_rate}
        return {**super().get_config(), **steps}


@_register
class ModeRegularizedGAN(GAN):
    """An encoder leads each real sample back to a latent, and G has to reach it: no mode can be left out.

        G and E minimise   G's loss on G(z) + λ₁·d(x, G(E(x))) + λ₂·G's loss on G(E(x)),    d = mean squared difference

    Args:
        encoder: E, from samples to latents, (batch, latent_dim).
        distance_weight: λ₁, at least 0.
        mode_weight: λ₂, at least 0.
        **kwargs: `generator`, `discriminator` and `latent_dim` as of `GAN`.

    Raises:
        TypeError: E is not a built `keras.Model`.
        ValueError: E reads or returns other shapes, or a weight is negative.

    Reference: T. Che et al., Mode Regularized Generative Adversarial Networks, 2017, arXiv:1612.02136, Section 3.1: the
    regulariser, without the two steps of manifold and diffusion.

    Example:
        >>> from gan_utils import models
        >>> networks = models.mlp_generator(4, (2,), (8,), None), models.mlp_discriminator((2,), (8,))
        >>> encoder = keras.Sequential([keras.Input((2,)), layers.Dense(4)])
        >>> ModeRegularizedGAN(*networks, latent_dim=4, encoder=encoder).sample(3).shape
        (3, 2)
    """

    def __init__(
        self, *args: Any, encoder: keras.Model, distance_weight: float = 0.2, mode_weight: float = 0.2, **kwargs: Any
    ):
        super().__init__(*args, **kwargs)
        refusals.check_model(encoder, "encoder")
        shapes = [*refusals.input_shapes(encoder), encoder.output_shape]
        expected = [self.generator.output_shape, (None, self.latent_dim)]
        if shapes != expected:
            raise ValueError(f"The encoder has inputs and outputs of shapes {shapes}, expected {expected}.")
        devices.check_scope(self.distribute_strategy, [variable.value for variable in encoder.variables])
        self.encoder = encoder
        self.distance_weight = _at_least_0("distance_weight", distance_weight)
        self.mode_weight = _at_least_0("mode_weight", mode_weight)

    def generator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        again = self.judged(self.fakes_for(real, self.encoder(real.samples, training=True)))
        apart = tf.reduce_mean((_in_full_precision(real.samples) - _in_full_precision(again.samples)) ** 2)
        others = self.distance_weight * apart + self.mode_weight * super().generator_loss(real, again)
        return super().generator_loss(real, fake) + others

    @property
    def g_variables(self) -> list[keras.Variable]:
        return [*super().g_variables, *self.encoder.trainable_variables]

    def get_config(self) -> dict[str, Any]:
        weights = {"distance_weight": self.distance_weight, "mode_weight": self.mode_weight}
        return {**super().get_config(), "encoder": keras.saving.serialize_keras_object(self.encoder), **weights}


@_register
class MADGAN(GAN):
    """Several generators, and a D that has to tell which of them made a fake: they are driven to different modes.

        D minimises   the cross-entropy of K + 1 classes: 0 … K − 1 the generators, K real
        G minimises   E[−log p(real)] or, as in the 2014 paper, E[log(1 − p(real))]

    The objective tells which, for D's answer "real" as a logit, log p/(1 − p).

    Differs from the paper: all fakes together weigh as much in D's loss as the real samples; there each generator's do.

    Args:
        generator: of all: `TakeTurns`, in which sample j of a batch comes from generator j mod K.
        discriminator: from samples to K + 1 logits.
        **kwargs: `latent_dim` as of `GAN`.

    Raises:
        ValueError: the generator is not made of several, or D has another number of logits.

    Reference: A. Ghosh et al., Multi-Agent Diverse Generative Adversarial Networks, 2018, arXiv:1704.02906.

    Example:
        >>> from gan_utils import models
        >>> generator = take_turns([models.mlp_generator(2, (1,), (4,), None) for _ in range(3)])
        >>> discriminator = keras.Sequential([keras.Input((1,)), layers.Dense(4)])
        >>> MADGAN(generator, discriminator, latent_dim=2).sample(6).shape
        (6, 1)
    """

    def compile(
        self, d_optimizer: Any, g_optimizer: Any, objective: Any = None, penalty: Any = None, **kwargs: Any
    ) -> None:
        """As `GAN.compile`; the objective says what G minimises, and D has a loss of its own, without a penalty."""
        if penalty is not None or not getattr(objective, "probabilistic", True):
            raise ValueError(
                f"Got objective={objective!r:.80} and penalty={penalty!r:.80}, expected minimax() or non_saturating() "
                "and no penalty: D's loss is the cross-entropy of K + 1 classes."
            )
        super().compile(d_optimizer, g_optimizer, objective, penalty, **kwargs)

    def judged(self, batch: Batch) -> Batch:
        """Its outputs are the logit of "real", then all K + 1 logits."""
        if batch.outputs:
            return batch
        batch = super().judged(batch)
        (logits,) = batch.outputs
        real = logits[:, -1:] - tf.reduce_logsumexp(logits[:, :-1], axis=1, keepdims=True)
        return batch._replace(outputs=(real, logits))

    def discriminator_loss(self, real: Batch, fake: Batch) -> tf.Tensor:
        generators = fake.outputs[1].shape[1] - 1
        makers = tf.range(tf.shape(fake.samples)[0]) % generators
        is_real_class = tf.fill(tf.shape(real.samples)[:1], generators)
        return _labelled_cross_entropy(real.outputs[1], is_real_class) + _labelled_cross_entropy(
            fake.outputs[1], makers
        )

    @classmethod
    def check_discriminator(cls, generator: keras.Model, discriminator: keras.Model) -> None:
        refusals.check_samples(generator, discriminator)
        turns = next((layer for layer in generator.layers if isinstance(layer, TakeTurns)), None)
        if turns is None:
            raise ValueError("The generator is one network, expected games.take_turns([generator, …]).")
        told = f"a logit for each of {len(turns.networks)} generators and one for real."
        refusals.check_outputs(discriminator, [(None, len(turns.networks) + 1)], told)
        refusals.check_logits(discriminator)


@_register
class TakeTurns(layers.Layer):
    """Several generators in one: sample j of a batch is made by network j mod K.

    `GAN.sample` draws 256 samples at a time, each time beginning with network 0.

    Args:
        networks: two or more generators of the same latents and samples.

    Raises:
        TypeError: one is not a built `keras.Model`.
        ValueError: their shapes differ, or one is there twice.

    Example:
        >>> from gan_utils import models
        >>> TakeTurns([models.mlp_generator(2, (1,), (4,), None) for _ in range(3)])(tf.zeros((7, 2))).shape
        TensorShape([7, 1])
    """

    def __init__(self, networks: Sequence[keras.Model], **kwargs: Any):
        super().__init__(**kwargs)
        self.networks = list(networks)
        for turn, network in enumerate(self.networks):
            refusals.check_model(network, f"generator {turn}")
        shapes = {(network.input_shape, network.output_shape) for network in self.networks}
        if len(shapes) != 1 or len({*map(id, self.networks)}) < max(2, len(self.networks)):
            raise ValueError(f"Got {len(self.networks)} networks, expected two or more different ones of equal shapes.")

    def call(self, latent: tf.Tensor, training: bool = False) -> tf.Tensor:
        order, turns = tf.range(tf.shape(latent)[0]), len(self.networks)
        made = [_draw(network, latent[turn::turns], training) for turn, network in enumerate(self.networks)]
        return tf.dynamic_stitch([order[turn::turns] for turn in range(turns)], made)  # (batch, …), as the latents

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], *self.networks[0].output_shape[1:])

    def get_config(self) -> dict[str, Any]:
        networks = [keras.saving.serialize_keras_object(network) for network in self.networks]
        return {**super().get_config(), "networks": networks}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TakeTurns":
        networks = [keras.saving.deserialize_keras_object(network) for network in config.pop("networks")]
        return cls(networks, **config)


def take_turns(networks: Sequence[keras.Model]) -> keras.Model:
    """One generator made of several, which take turns through a batch; for `MADGAN`, or with a plain D as a control.

    Args:
        networks: two or more generators of the same latents and samples.

    Raises:
        TypeError: one is not a built `keras.Model`.
        ValueError: their shapes differ, or one is there twice.

    Example:
        >>> from gan_utils import models
        >>> take_turns([models.mlp_generator(2, (1,), (4,), None) for _ in range(3)]).output_shape
        (None, 1)
    """
    turns = TakeTurns(networks)
    latent = keras.Input(turns.networks[0].input_shape[1:])
    return keras.Model(latent, turns(latent), name="generator")


def _draw(network: keras.Model, latent: tf.Tensor, training: bool) -> tf.Tensor:
    """The samples of a generator, which is not called at all for none: batch normalisation has no mean of nothing."""
    count = tf.shape(latent)[0]
    nothing = tf.zeros((count, *network.output_shape[1:]), network.outputs[0].dtype)
    return tf.cond(count > 0, lambda: network(latent, training=training), lambda: nothing)


def _labelled_cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The mean over the samples that have a label; 0 where none has."""
    labelled = tf.cast(labels >= 0, logits.dtype)
    costs = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(labels, 0), logits)  # (batch,)
    return tf.reduce_sum(labelled * costs) / tf.maximum(tf.reduce_sum(labelled), 1.0)


def _entropy(log_chances: tf.Tensor) -> tf.Tensor:
    """In nats, over the last axis."""
    return -tf.reduce_sum(tf.exp(log_chances) * log_chances, axis=-1)


def _in_full_precision(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, keras.config.floatx())


def _hits(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether each class is told right, and its weight in the mean: 0 without a label."""
    hits = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
    return tf.cast(hits, tf.float32), tf.cast(labels >= 0, tf.float32)


def _at_least_0(name: str, value: Any) -> float:
    if not (is_real(value) and value >= 0):
        raise ValueError(f"Got {name}={value!r}, expected a number of at least 0.")
    return float(value)


def _whole(name: str, value: Any, least: int) -> int:
    if not is_whole(value, least):
        raise ValueError(f"Got {name}={value!r}, expected a whole number of at least {least}.")
    return int(value)
