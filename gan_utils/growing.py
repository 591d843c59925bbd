"""Progressive growing: a GAN learns small images first, then new layers for twice the side are faded in.

    output = (1 − α)·(what the smaller network says, enlarged) + α·(what the new layers say),    α from 0 to 1

A level is a GAN of its own, with new optimizers: networks of twice the side, which `inherit` the weights of the level
before. α is a weight that is not trained, so it is saved with a network.

    film = growing.Film(64)
    for size in (8, 16, 32, 64):
        keras.utils.set_random_seed(size)
        networks = [build(size, fading=size > 8) for build in (growing.generator, growing.discriminator)]
        if size > 8:
            networks = [growing.inherit(*pair) for pair in zip(networks, (gan.generator, gan.discriminator))]
        gan = growing.GrowingGAN(*networks, latent_dim=100, average=0.99)
        gan.compile(*(keras.optimizers.Adam(1e-3, beta_1=0.0, beta_2=0.99) for _ in range(2)))
        callbacks = [film, gan_utils.Checkpoint(f"runs/{size}.npz")] + [growing.FadeIn(1000)] * (size > 8)
        gan.fit(data.batches(growing.shrink(images, size), 64), epochs=10, callbacks=callbacks)

Killed and started again, the loop goes through the levels that are done without training, and goes on within the last.

Differs from the paper: a level is one strided convolution of 4×4, as in a DCGAN, not two of 3×3 and a resize; tanh ends
the generator; the loss is the one that `compile` is given.

Reference: T. Karras et al., Progressive Growing of GANs for Improved Quality, Stability, and Variation, 2018,
arXiv:1710.10196.
"""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from gan_utils import data, plotting, refusals
from gan_utils.callbacks import SampleGrid
from gan_utils.checks import as_numbers, check_epsilon, is_real, is_whole
from gan_utils.diversity import MinibatchStandardDeviation
from gan_utils.training import GAN, Batch

FILTERS = (128, 64, 32, 16)  # feature maps of 4, 8, 16 and 32 pixels
_register = keras.saving.register_keras_serializable("gan_utils")
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)


@_register
class EqualizedLearningRate(layers.Wrapper):
    """Applies a layer with c·W in place of its kernel W, which starts as N(0, 1), whatever initializer it was given.

        c = gain / √n    n the number of weights that meet in one output: He's standard deviation

    At the start it computes what He's initialization would. But Adam moves each weight by about the learning rate,
    whatever its gradient's size; and so all kernels change at the same pace relative to what they are, wide or narrow.

    Args:
        layer: has a `kernel` (Dense, convolutions, their transposes). Its dtype counts. One that has its weights
            already, as in a copy of a network, keeps them.
        gain: √2 before a ReLU or its like, 1 at an output.

    Raises:
        TypeError: it is no layer.
        ValueError: the layer has no kernel (found out when it is built), or the gain is not above 0.

    Reference: Section 4.1 of the paper. Differs from it: of a transposed convolution n counts the weights that reach
    one output, 1/stride² of the kernel's.

    Example:
        >>> layer = EqualizedLearningRate(layers.Dense(1), gain=1.0)
        >>> layer.build((None, 4))
        >>> _ = layer.layer.kernel.assign(ops.ones((4, 1)))
        >>> print(layer(ops.ones((1, 4))).numpy())  # 4 · 1/√4
        [[2.]]
    """

    def __init__(self, layer: layers.Layer, gain: float = 2.0**0.5, **kwargs: Any):
        if not isinstance(layer, layers.Layer):
            raise TypeError(f"Got layer={layer!r:.80}, expected a Keras layer with a kernel, such as layers.Dense(1).")
        if not (is_real(gain) and gain > 0.0):
            raise ValueError(f"Got gain={gain!r}, expected a number above 0, such as √2 before a ReLU.")
        kwargs["dtype"] = layer.variable_dtype
        super().__init__(layer, **kwargs)
        self.gain = float(gain)

    def build(self, input_shape: Any) -> None:
        """Builds the layer, with a kernel from N(0, 1)."""
        self.layer.kernel_initializer = keras.initializers.RandomNormal(stddev=1.0)
        super().build(input_shape)
        kernel = getattr(self.layer, "kernel", None)
        if not isinstance(kernel, keras.Variable):
            raise ValueError(f"Got {self.layer!r:.80}, expected a layer with a `kernel`, such as Dense or Conv2D.")
        transposed = isinstance(self.layer, _TRANSPOSED)  # (…, outputs, inputs)
        meeting = math.prod(kernel.shape) / kernel.shape[-2 if transposed else -1]
        self.factor = self.gain / math.sqrt(meeting / (math.prod(self.layer.strides) if transposed else 1))

    def call(self, inputs: Any) -> Any:
        """The layer's output with c·W."""
        kernel = self.layer.kernel
        values = [(variable, variable.value) for variable in self.layer.variables]  # as an outer scope has them
        with keras.StatelessScope([*values, (kernel, kernel * self.factor)]):
            return self.layer(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The layer's."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "gain": self.gain}


@_register
class PixelNormalization(layers.Layer):
    """Divides the feature vector of each pixel by its root mean square: x / √(mean(x²) + ε), over the last axis.

    Nothing is learned. In half precision it computes in float32.

    Args:
        epsilon: ε, above 0.

    Raises:
        ValueError: ε is not above 0.

    Reference: Section 4.2 of the paper.

    Example:
        >>> print(PixelNormalization()(ops.convert_to_tensor([[3.0, 4.0], [30.0, 40.0]])).numpy().round(3))
        [[0.849 1.131]
         [0.849 1.131]]
    """

    def __init__(self, epsilon: float = 1e-8, **kwargs: Any):
        check_epsilon(epsilon)
        super().__init__(**kwargs)
        self.epsilon = float(epsilon)

    def call(self, inputs: Any) -> Any:
        """The vectors, of root mean square 1."""
        features = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        squares = ops.mean(features**2, axis=-1, keepdims=True)
        return ops.cast(features * ops.rsqrt(squares + self.epsilon), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "epsilon": self.epsilon}


@_register
class Fade(layers.Layer):
    """(1 − α)·old + α·new, where α is a weight that is not trained; `FadeIn` moves it.

    Images whose old part has half the side are enlarged.

    Args:
        alpha: α at the start, from 0 to 1.

    Raises:
        ValueError: α is out of its range.

    Example:
        >>> fade = Fade(alpha=0.25)
        >>> print(fade([ops.ones((1, 2)), 5.0 * ops.ones((1, 2))]).numpy())
        [[2. 2.]]
    """

    def __init__(self, alpha: float = 0.0, **kwargs: Any):
        if not (is_real(alpha) and 0.0 <= alpha <= 1.0):
            raise ValueError(f"Got alpha={alpha!r}, expected a share from 0, the old network, to 1, the new one.")
        super().__init__(**kwargs)
        self.start = float(alpha)

    def build(self, input_shape: Any) -> None:
        """Makes α."""
        self.alpha = self.add_weight(
            name="alpha",
            shape=(),
            initializer=keras.initializers.Constant(self.start),
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",  # all devices hold the same
        )

    def call(self, inputs: Any) -> Any:
        """The mixture, of the new part's shape."""
        old, new = inputs
        old = enlarge(old) if old.shape[1] != new.shape[1] else old
        alpha = ops.cast(self.alpha, new.dtype)
        return (1.0 - alpha) * old + alpha * new

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The new part's."""
        return input_shape[1]

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "alpha": self.start}


def enlarge(images: Any) -> Any:
    """Images of twice the side: each pixel becomes four.

    XLA has the gradient of this, but not that of Keras' `UpSampling2D`.

    Example:
        >>> print(enlarge(ops.convert_to_tensor([[[[1.0], [2.0]]]])).numpy()[0, :, :, 0])
        [[1. 1. 2. 2.]
         [1. 1. 2. 2.]]
    """
    return ops.repeat(ops.repeat(images, 2, axis=1), 2, axis=2)


def shrink(images: np.ndarray, image_size: int) -> np.ndarray:
    """Images of a smaller side: each pixel is the mean of a square.

    Args:
        images: (samples, side, side, channels).
        image_size: the new side, which divides the old one.

    Returns:
        float32, (samples, image_size, image_size, channels).

    Raises:
        ValueError: images of another shape, or a side that does not divide theirs.

    Example:
        >>> print(shrink(np.arange(16.0).reshape(1, 4, 4, 1), 2)[0, :, :, 0])
        [[ 2.5  4.5]
         [10.5 12.5]]
    """
    images = as_numbers("images", images)
    square = images.ndim == 4 and images.shape[1] == images.shape[2]
    if not (square and is_whole(image_size) and images.shape[1] % image_size == 0):
        raise ValueError(
            f"Got images of shape {images.shape} and image_size={image_size!r}, expected (samples, side, side, "
            "channels) and a side that divides theirs, such as half of it."
        )
    times = images.shape[1] // image_size
    squares = images.reshape(len(images), image_size, times, image_size, times, images.shape[3])
    return squares.mean(axis=(2, 4), dtype=np.float32)


def generator(
    image_size: int, channels: int = 3, latent_dim: int = 100, filters: Sequence[int] = FILTERS, fading: bool = False
) -> keras.Model:
    """The generator of a level: equalised learning rates, pixel normalisation after each LeakyReLU, tanh at the end.

    Args:
        image_size: side of the images: 8, 16, 32, … as far as there are filters.
        channels: 1 for gray, 3 for colour.
        latent_dim: length of the latent vector z, which is normalised first.
        filters: feature maps of 4, 8, 16, … pixels, the same for all levels. The images of a side are drawn from those
            of half the side.
        fading: whether the images of half the side are drawn, too, and fade out. α starts at 0.

    Returns:
        A model from (batch, latent_dim) to (batch, image_size, image_size, channels), in [-1, 1].

    Raises:
        ValueError: another image size, a size that is not a positive whole number, or 8 pixels that fade.

    Example:
        >>> print(generator(8).count_params(), generator(64, fading=True).output_shape)
        212995 (None, 64, 64, 3)
    """
    sides = _sides(image_size, filters, fading, channels=channels, latent_dim=latent_dim)
    latent = keras.Input((latent_dim,), name="latent")
    start = EqualizedLearningRate(layers.Dense(4 * 4 * filters[0]), name="start")
    x = layers.Reshape((4, 4, filters[0]))(start(PixelNormalization()(latent)))
    features = [PixelNormalization()(layers.LeakyReLU(0.2)(x))]  # of 4, 8, … pixels, up to half the image's side
    for side, maps in zip(sides[:-1], filters[1:], strict=False):
        x = EqualizedLearningRate(layers.Conv2DTranspose(maps, 4, 2, "same"), name=f"up_{side}")(features[-1])
        features.append(PixelNormalization()(layers.LeakyReLU(0.2)(x)))

    def image(side: int, maps: keras.KerasTensor) -> keras.KerasTensor:
        draw = layers.Conv2DTranspose(channels, 4, 2, "same", dtype="float32")
        return EqualizedLearningRate(draw, gain=1.0, name=f"image_{side}")(maps)

    drawn = image(image_size, features[-1])
    if fading:
        smaller = image(image_size // 2, features[-2])
        drawn = Fade(name=f"fade_{image_size}", dtype="float32")([smaller, drawn])
    return keras.Model(latent, layers.Activation("tanh", dtype="float32")(drawn), name="generator")


def discriminator(
    image_size: int, channels: int = 3, filters: Sequence[int] = FILTERS, fading: bool = False
) -> keras.Model:
    """The discriminator of a level: equalised learning rates, LeakyReLU, and in the end the deviation of a batch.

    Args:
        image_size: side of the images: 8, 16, 32, … as far as there are filters.
        channels: 1 for gray, 3 for colour.
        filters: feature maps of 4, 8, 16, … pixels, the same for all levels.
        fading: whether the image of half the side is looked at, too, and fades out. α starts at 0.

    Returns:
        A model from (batch, image_size, image_size, channels) to (batch, 1): the logit of "this sample is real".

    Raises:
        ValueError: as for `generator`.

    Example:
        >>> print(discriminator(8).count_params(), discriminator(64, fading=True).output_shape)
        8337 (None, 1)
    """
    sides = _sides(image_size, filters, fading, channels=channels)
    samples = keras.Input((image_size, image_size, channels), name="samples")

    def halved(x: keras.KerasTensor, side: int, name: str) -> keras.KerasTensor:
        convolution = layers.Conv2D(filters[int(math.log2(side)) - 3], 4, 2, "same")
        return layers.LeakyReLU(0.2)(EqualizedLearningRate(convolution, name=f"{name}_{side}")(x))

    x = halved(samples, image_size, "image")
    for side in reversed(sides[:-1]):
        x = halved(x, side, "down")
        if fading and side == image_size // 2:
            smaller = halved(layers.AveragePooling2D(2)(samples), side, "image")
            x = Fade(name=f"fade_{image_size}")([smaller, x])
    x = layers.Flatten()(MinibatchStandardDeviation()(x))
    logit = EqualizedLearningRate(layers.Dense(1, dtype="float32"), gain=1.0, name="logit")(x)
    return keras.Model(samples, logit, name="discriminator")


def inherit(network: keras.Model, smaller: keras.Model) -> keras.Model:
    """Copies the weights of the level before into a network: those of all layers of the same name.

    With `fading`, the network is then exactly the smaller one as long as α = 0: G draws its images, enlarged, and D
    says what it says of the image averaged down.

    Args:
        network: of this level, from `generator` or `discriminator`.
        smaller: of the level before, from the same builder.

    Returns:
        The network itself.

    Raises:
        TypeError: one is no built `keras.Model`.
        ValueError: the smaller one still fades (its α is below 1), a layer of it has other shapes here, or there is no
            such layer.

    Example:
        >>> small, large = generator(8), generator(16, fading=True)
        >>> latent = ops.ones((1, 100))
        >>> print(np.array_equal(inherit(large, small)(latent), enlarge(small(latent))))
        True
    """
    refusals.check_model(network, "network")
    refusals.check_model(smaller, "smaller network")
    for fade in fades_of(smaller):
        if float(fade.alpha) < 1.0:
            raise ValueError(f"The smaller network has α = {float(fade.alpha):g}, expected 1. Fade it in to the end.")
    given = {layer.name: layer for layer in smaller.layers if layer.weights}
    heirs = [layer for layer in network.layers if layer.name in given]
    for layer in heirs:
        shapes = [[tuple(weight.shape) for weight in each.weights] for each in (given[layer.name], layer)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"The layer {layer.name!r} has weights of shapes {shapes[1]}, but {shapes[0]} in the smaller network. "
                "Build both with the same filters, channels and latent_dim."
            )
    if not heirs:
        raise ValueError(
            f"Got networks without a layer in common, of {sorted(given)}, expected both from growing.generator, or "
            "both from growing.discriminator."
        )
    for layer in heirs:
        layer.set_weights(given[layer.name].get_weights())
    return network


@_register
class GrowingGAN(GAN):
    """A level of progressive growing. While the networks fade, so do the real images.

        real ← (1 − α)·(real, averaged down and enlarged) + α·real    α that of D

    Without fading networks it is the plain game.

    Reference: the caption of Figure 2 of the paper.

    Example:
        >>> gan = GrowingGAN(generator(16, fading=True), discriminator(16, fading=True), latent_dim=100)
        >>> real = Batch(ops.reshape(ops.arange(256.0), (1, 16, 16, 1)), ops.zeros((1,)))
        >>> print(gan.faded(real).samples[0, :2, :2, 0].numpy())  # α = 0: the mean of 0, 1, 16 and 17
        [[8.5 8.5]
         [8.5 8.5]]
    """

    def both_judged(self, real: Batch, fake: Batch) -> tuple[Batch, Batch]:
        return super().both_judged(self.faded(real), fake)

    def generator_loss(self, real: Batch, fake: Batch) -> Any:
        return super().generator_loss(self.faded(real), fake)

    def faded(self, real: Batch) -> Batch:
        """The real batch as D sees it at this α; one that was judged stays as it is."""
        fades = fades_of(self.discriminator)
        if real.outputs or not fades:
            return real
        alpha = ops.cast(fades[0].alpha, real.samples.dtype)
        coarse = enlarge(ops.average_pool(real.samples, 2))
        return real._replace(samples=(1.0 - alpha) * coarse + alpha * real.samples)


def fades_of(network: keras.Model) -> list[Fade]:
    """The `Fade` layers of a network: none, or one.

    Example:
        >>> print(len(fades_of(generator(8))), fades_of(generator(16, fading=True))[0].name)
        0 fade_16
    """
    return [layer for layer in network.layers if isinstance(layer, Fade)]


class FadeIn(keras.callbacks.Callback):
    """Moves α of both networks, and of G's running mean, from 0 to 1 in so many steps of G; then it stays 1.

    It counts the steps that G's optimizer has done, so that a training that goes on from a `Checkpoint` does so here.

    Args:
        steps: of G, at least 1.

    Raises:
        ValueError: fewer than one step, or, in `GAN.fit`, networks that do not fade.

    Example:
        >>> FadeIn(1000).alpha(250)
        0.25
    """

    def __init__(self, steps: int):
        super().__init__()
        if not is_whole(steps):
            raise ValueError(f"Got steps={steps!r}, expected a whole number of at least 1.")
        self.steps = int(steps)

    def get_config(self) -> dict[str, Any]:
        """What must be the same when a training goes on from a `Checkpoint`."""
        return {"steps": self.steps}

    def get_state(self) -> dict[str, np.ndarray]:
        """Nothing: α is a weight."""
        return {}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes back what `get_state` returned."""

    def alpha(self, done: int) -> float:
        """α after so many steps."""
        return min(1.0, done / self.steps)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        players = [self.model.generator, self.model.discriminator]
        if not all(map(fades_of, players)):
            raise ValueError("Got a network that does not fade. Build both with fading=True, or leave FadeIn out.")
        if self.model.mean_generator is not None:
            players.append(self.model.mean_generator)
        self.layers = [layer for network in players for layer in fades_of(network)]
        self._move()

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._move()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._move()  # before a film is drawn and a checkpoint is written

    def _move(self) -> None:
        alpha = self.alpha(self.model.steps_of_g)
        for layer in self.layers:
            layer.alpha.assign(alpha)


class Film(SampleGrid):
    """A `SampleGrid` that goes on from level to level: smaller images are enlarged, their side stands above.

    Args:
        image_size: side of the largest images.
        path: as of `SampleGrid`; so are the others.

    Raises:
        ValueError: as for `SampleGrid`, or, in `GAN.fit`, images whose side does not divide `image_size`.

    Example:
        >>> Film(64, rows=2).frames
        []
    """

    def __init__(
        self,
        image_size: int,
        path: str | pathlib.Path | None = None,
        rows: int = 4,
        columns: int | None = None,
        seed: int = 0,
    ):
        super().__init__(path, rows, columns, seed)
        if not is_whole(image_size):
            raise ValueError(f"Got image_size={image_size!r}, expected the side of the largest images, such as 64.")
        self.image_size = int(image_size)
        self.sides: list[int] = []

    def get_config(self) -> dict[str, Any]:
        """What must be the same when a training goes on from a `Checkpoint`."""
        return {**super().get_config(), "image_size": self.image_size}

    def get_state(self) -> dict[str, np.ndarray]:
        """The frames so far, and the side of the images in each, for `Checkpoint`."""
        return {**super().get_state(), "sides": np.array(self.sides, np.int64)}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes back what `get_state` returned."""
        super().set_state(state)
        self.sides = state["sides"].tolist()

    def set_model(self, model: keras.Model) -> None:
        """Goes on with the film, whatever the model."""
        keras.callbacks.Callback.set_model(self, model)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        side = self.model.generator.output_shape[1]
        if self.image_size % side:
            raise ValueError(
                f"Got images of {side} pixels for a film of {self.image_size}, expected a divisor of that."
            )
        super().on_train_begin(logs)

    def film(self) -> list[np.ndarray]:
        """The frames as the file has them, with the side of the images above."""
        times = math.ceil(80 / self.image_size)
        named = zip(self.frames, self.sides, strict=True)
        return [plotting.enlarged(frame, times, f"{side} × {side} pixels") for frame, side in named]

    def _draw(self) -> None:
        columns = self._columns()
        images = self.model.sample(self.rows * columns, seed=self.seed)
        if np.isfinite(images).all():
            times = self.image_size // images.shape[1]
            images = images.repeat(times, axis=1).repeat(times, axis=2)
            self.frames.append(data.to_bytes(plotting.tile(images, columns)))
            self.sides.append(self.image_size // times)


def _sides(image_size: int, filters: Sequence[int], fading: bool, **sizes: int) -> list[int]:
    """8, 16, … up to the image's side, if there are filters for it."""
    given = {**sizes, **{f"filters[{index}]": maps for index, maps in enumerate(filters)}}
    for name, value in given.items():
        if not is_whole(value):
            raise ValueError(f"Got {name}={value!r}, expected a positive whole number.")
    sides = [8 * 2**level for level in range(len(filters))]
    if image_size not in sides:
        raise ValueError(f"Got image_size={image_size!r} and {len(filters)} filters, expected one of {sides}.")
    if fading and image_size == sides[0]:
        raise ValueError("Got fading=True for 8 pixels, the first level, expected False: there is no smaller network.")
    return sides[: sides.index(image_size) + 1]
