"""Differentiable augmentation: D never sees images as they are, so that it cannot learn a few of them by heart.

Moved, cut out or coloured images among the real ones alone would teach G to draw such images. So D augments whatever it
is given, within its own network: real images and fakes in all steps, and gradients flow through to G.

References: S. Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, 2020, arXiv:2006.10738; T.
Karras et al., Training Generative Adversarial Networks with Limited Data, 2020, arXiv:2006.06676.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from gan_utils import devices, refusals
from gan_utils.checks import check_images, is_real, is_whole

_register = keras.saving.register_keras_serializable("gan_utils")
KINDS = ("color", "translation", "cutout")


@_register
class Augmentation(layers.Layer):
    """Colours, moves and cuts out images at random, each image and each change with probability p, in training only.

        color          brightness + U(−½, ½), saturation · U(0, 2), contrast · U(½, 1½)
        translation    by up to an eighth of the side each way; what comes in is gray, 0
        cutout         a square of half the side, around any pixel, becomes 0

    p is a weight that is not trained, so it is saved, and `AdaptiveAugmentation` can move it. With p = 0, images stay
    as they are.

    Differs from the papers: these are Zhao's changes, applied with Karras' p.

    Args:
        probability: p at the start, from 0 to 1.
        kinds: which changes, in this order.
        seed: of the changes. None draws one, reproducibly after `keras.utils.set_random_seed`.

    Raises:
        ValueError: p is out of its range, there is no such change, or inputs are no images.

    Example:
        >>> layer = Augmentation(1.0, kinds=("cutout",), seed=0)
        >>> print(int((layer(tf.ones((1, 8, 8, 1)), training=True).numpy() == 0.0).sum()) >= 4)
        True
        >>> _ = layer.probability.assign(0.0)
        >>> print(layer(tf.ones((1, 8, 8, 1)), training=True).numpy().min())
        1.0
    """

    def __init__(
        self, probability: float = 1.0, kinds: tuple[str, ...] = KINDS, seed: int | None = None, **kwargs: Any
    ):
        if not (is_real(probability) and 0.0 <= probability <= 1.0):
            raise ValueError(f"Got probability={probability!r}, expected a number from 0 to 1.")
        if isinstance(kinds, str) or not kinds or not {*kinds} <= {*KINDS}:
            raise ValueError(f"Got kinds={kinds!r}, expected some of {', '.join(KINDS)}, as in kinds=('cutout',).")
        super().__init__(**kwargs)
        self.start, self.kinds = float(probability), tuple(kinds)
        self.seed = None if seed is None else int(seed)
        self.noise = keras.random.SeedGenerator(self.seed)

    def build(self, input_shape: Any) -> None:
        """Makes p."""
        if len(input_shape) != 4 or None in input_shape[1:]:
            raise ValueError(f"Got the input shape {input_shape}, expected (batch, height, width, channels), known.")
        self.probability = self.add_weight(
            name="probability",
            shape=(),
            initializer=keras.initializers.Constant(self.start),
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",  # all devices hold the same
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The images, changed where chance says so."""
        if not training:
            return inputs
        images = inputs
        for kind in self.kinds:
            changed = getattr(self, f"_{kind}")(images)
            chosen = self._uniform(images) < self.probability
            images = tf.where(chosen, changed, images)
        return images

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The inputs'."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "probability": self.start, "kinds": list(self.kinds), "seed": self.seed}

    def _translation(self, images: tf.Tensor) -> tf.Tensor:
        for axis in (1, 2):
            side = images.shape[axis]
            shift = tf.floor(self._uniform(images) * (2 * (side // 8) + 1)) - side // 8  # (batch, 1, 1, 1)
            places = tf.reshape(tf.range(side, dtype=tf.float32), (1, side, 1) if axis == 1 else (1, 1, side))
            come_from = tf.cast(places - shift[..., 0], tf.int32)  # (batch, side, 1) or (batch, 1, side)
            # A sum over places, not gathered: a penalty could not compute with the gradient of that.
            takes = tf.one_hot(tf.reshape(come_from, (-1, side)), side, dtype=images.dtype)  # outside: a row of zeros
            images = tf.einsum("bij,bjwc->biwc" if axis == 1 else "bij,bhjc->bhic", takes, images)
        return images

    def _cutout(self, images: tf.Tensor) -> tf.Tensor:
        inside = True
        for axis in (1, 2):
            side = images.shape[axis]
            shape = [1, 1, 1, 1]
            shape[axis] = side
            center = tf.floor(self._uniform(images) * side)
            inside &= tf.abs(tf.reshape(tf.range(side, dtype=tf.float32), shape) - center + 0.5) < side / 4
        return tf.where(inside, tf.zeros_like(images), images)

    def _color(self, images: tf.Tensor) -> tf.Tensor:
        images += tf.cast(self._uniform(images) - 0.5, images.dtype)
        for axes, low, high in (((3,), 0.0, 2.0), ((1, 2, 3), 0.5, 1.5)):
            mean = tf.reduce_mean(images, axis=axes, keepdims=True)
            images = mean + tf.cast(low + (high - low) * self._uniform(images), images.dtype) * (images - mean)
        return images

    def _uniform(self, images: tf.Tensor) -> tf.Tensor:
        """One number for each image, (batch, 1, 1, 1)."""
        return devices.draw(keras.random.uniform, tf.shape(images)[0], (1, 1, 1), self.noise)


def augmented(discriminator: keras.Model, layer: Augmentation) -> keras.Model:
    """A discriminator that augments what it judges, in training.

    Args:
        discriminator: of images alone.
        layer: what augments.

    Returns:
        A model that shares its weights with the discriminator.

    Raises:
        TypeError: it is no built `keras.Model`.
        ValueError: it reads labels, too.

    Example:
        >>> from gan_utils import models
        >>> discriminator = augmented(models.dcgan_discriminator(base_filters=4), Augmentation())
        >>> print(discriminator.input_shape, discriminator.output_shape)
        (None, 28, 28, 1) (None, 1)
    """
    refusals.check_model(discriminator, "discriminator")
    if len(discriminator.inputs) > 1:
        raise ValueError("The discriminator reads labels too, expected one of images alone.")
    images = keras.Input(discriminator.input_shape[1:])
    return keras.Model(images, discriminator(layer(images)), name="discriminator")


class AdaptiveAugmentation(keras.callbacks.Callback):
    """Steers p by how much better D knows the training images than images it was not trained on.

        r = share of training images that D takes for real − the same share of held-out images

    r is 0 as long as D judges both alike, and 1 once it knows the training images by heart. Every few steps p grows by
    `speed` where r is above the target, and falls by as much where it is not, within [0, 1]. D judges in inference
    mode, images as they are.

    Differs from the paper: its r_v has means of D's outputs and is divided by what D makes of fakes.

    Args:
        training: images of the training set, (samples, height, width, channels).
        held_out: others, which are not in it.
        target: of r, between 0 and 1.
        every: how many calls of the training step lie between two looks.
        speed: by how much p changes at each.

    Raises:
        ValueError: a number is out of its range, images are none, or, in `GAN.fit`, D does not augment.

    Example:
        >>> steer = AdaptiveAugmentation(np.zeros((4, 8, 8, 1)), np.zeros((4, 8, 8, 1)), target=0.2)
        >>> print(steer.moved(0.5, r=0.9) > 0.5, steer.moved(0.0, r=0.1))
        True 0.0
    """

    def __init__(
        self, training: np.ndarray, held_out: np.ndarray, target: float = 0.2, every: int = 10, speed: float = 0.02
    ):
        super().__init__()
        self.images = [check_images(images).astype(np.float32) for images in (training, held_out)]
        if not (is_real(target) and 0.0 < target < 1.0 and is_real(speed) and 0.0 < speed <= 1.0 and is_whole(every)):
            raise ValueError(
                f"Got target={target!r}, every={every!r} and speed={speed!r}, expected a share, a whole number of at "
                "least 1, and a step of p up to 1."
            )
        self.target, self.every, self.speed = float(target), int(every), float(speed)
        self.calls, self.course = 0, []  # of (G steps, r, p)

    def get_config(self) -> dict[str, Any]:
        """What must be the same when a training goes on from a `Checkpoint`."""
        return {"target": self.target, "every": self.every, "speed": self.speed}

    def get_state(self) -> dict[str, np.ndarray]:
        """Calls so far and the course of r and p, for `Checkpoint`; p itself is a weight."""
        return {"calls": np.array(self.calls), "course": np.array(self.course, np.float64).reshape(-1, 3)}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes back what `get_state` returned."""
        self.calls, self.course = int(state["calls"]), [tuple(row) for row in state["course"].tolist()]

    def moved(self, probability: float, r: float) -> float:
        """The next p."""
        return float(np.clip(probability + (self.speed if r > self.target else -self.speed), 0.0, 1.0))

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        found = [layer for layer in self.model.discriminator.layers if isinstance(layer, Augmentation)]
        if len(found) != 1:
            raise ValueError("The discriminator does not augment. Build it by gan_utils.augmentation.augmented.")
        self.layer = found[0]

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.calls += 1
        if self.calls % self.every == 0:
            judge = self.model.discriminator
            real = [float(np.mean(judge(images, training=False) > 0.0)) for images in self.images]
            r = real[0] - real[1]
            self.layer.probability.assign(self.moved(float(self.layer.probability), r))
            self.course.append((self.model.steps_of_g, r, float(self.layer.probability)))
