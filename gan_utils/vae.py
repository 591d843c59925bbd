"""A variational autoencoder of binary images: its two networks, its training, and bounds of its likelihood.

    ln p(x) ≥ E ln p(x|z) − KL(q(z|x) ‖ p(z)),  z ~ q(z|x) = N(μ(x), σ²(x)),  p(z) = N(0, I)

Pixels are 0 or 1, the decoder gives logits of a 1, and all terms are sums over the pixels or latents of an image, in
nats: a cross-entropy averaged over pixels beside a summed KL would be another objective, whose best code says nothing.

References: D. P. Kingma and M. Welling, Auto-Encoding Variational Bayes, 2014, arXiv:1312.6114; Y. Burda et al.,
Importance Weighted Autoencoders, 2016, arXiv:1509.00519.
"""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from gan_utils.autoregressive import log_probability
from gan_utils.checks import is_real, is_whole

SIDES = (28, 32)  # of the images


def encoder(outputs: int = 40, filters: int = 16, image_size: int = 28, channels: int = 1) -> keras.Model:
    """From an image to a vector by three strided convolutions and a dense layer.

    Args:
        outputs: numbers in the vector: those of the code in an autoencoder, twice as many in a VAE, μ and ln σ².
        filters: feature maps of the first convolution; each further one has twice as many.
        image_size: side of the square images, 28 or 32.
        channels: of the images.

    Returns:
        A model from (batch, image_size, image_size, channels) to (batch, outputs).

    Raises:
        ValueError: another side, or a size that is not a positive whole number.

    Example:
        >>> print(f"{encoder().count_params():,} {encoder().output_shape}")
        64,296 (None, 40)
    """
    _check_sizes(image_size, outputs=outputs, filters=filters, channels=channels)
    stack: list[Any] = [keras.Input((image_size, image_size, channels))]
    for width in (filters, 2 * filters, 4 * filters):
        stack += [layers.Conv2D(width, 3, 2, "same", activation="relu")]
    return keras.Sequential([*stack, layers.Flatten(), layers.Dense(outputs)], name="encoder")


def decoder(latent_dim: int = 20, filters: int = 16, image_size: int = 28, channels: int = 1) -> keras.Model:
    """From a latent vector to the logits of an image, the encoder's mirror image.

    Args:
        latent_dim: numbers in the latent vector.
        filters: feature maps before the last layer; each layer towards z has twice as many.
        image_size: side of the square images, 28 or 32.
        channels: of the images.

    Returns:
        A model from (batch, latent_dim) to (batch, image_size, image_size, channels), logits.

    Raises:
        ValueError: another side, or a size that is not a positive whole number.

    Example:
        >>> print(f"{decoder().count_params():,} {decoder().output_shape}")
        62,769 (None, 28, 28, 1)
    """
    _check_sizes(image_size, latent_dim=latent_dim, filters=filters, channels=channels)
    stack: list[Any] = [keras.Input((latent_dim,)), layers.Dense(4 * 4 * 4 * filters, activation="relu")]
    stack += [layers.Reshape((4, 4, 4 * filters))]
    for width in (2 * filters, filters):
        stack += [layers.Conv2DTranspose(width, 4, 2, "same", activation="relu")]
    stack += [layers.Conv2DTranspose(channels, 4, 2, "same"), layers.Cropping2D((32 - image_size) // 2)]
    return keras.Sequential(stack, name="decoder")


def gaussian_kl(mean: Any, log_variance: Any) -> Any:
    """KL(N(μ, σ²) ‖ N(0, I)) = ½ Σ (μ² + σ² − 1 − ln σ²), in nats.

    Args:
        mean: μ, (batch, latent_dim).
        log_variance: ln σ², (batch, latent_dim).

    Returns:
        (batch,), at least 0.

    Example:
        >>> print(gaussian_kl(ops.array([[0.0, 0.0], [3.0, 4.0]]), ops.zeros((2, 2))).numpy())
        [ 0.  12.5]
    """
    return 0.5 * ops.sum(mean**2 + ops.exp(log_variance) - 1.0 - log_variance, axis=1)


class VAE(keras.Model):
    """Trains an encoder and a decoder by the bound, with one latent for each image in a step.

    Its loss, `loss`, is −E ln p(x|z) + β KL in nats; the two are reported as `reconstruction` and `divergence`.

    Args:
        encoder: from images to μ and ln σ² side by side, (batch, 2·latent_dim).
        decoder: from latents to logits.
        beta: weight of the KL; with 1 the loss is that of the bound.
        seed: of the latents.

    Raises:
        TypeError: one is no Keras model.
        ValueError: the widths do not fit, or β is below 0.

    Example:
        >>> vae = VAE(encoder(4), decoder(2))
        >>> vae.compile(keras.optimizers.Adam(1e-3))
        >>> history = vae.fit(np.zeros((32, 28, 28, 1)), batch_size=16, verbose=0)
        >>> print(sorted(history.history))
        ['divergence', 'loss', 'reconstruction']
    """

    def __init__(self, encoder: keras.Model, decoder: keras.Model, beta: float = 1.0, seed: int = 0, **kwargs: Any):
        _check_networks(encoder, decoder)
        if not (is_real(beta) and beta >= 0.0):
            raise ValueError(f"Got beta={beta!r}, expected a number of at least 0; 1 is that of the bound.")
        super().__init__(**kwargs)
        self.encoder, self.decoder, self.beta = encoder, decoder, float(beta)
        self.seeds = keras.random.SeedGenerator(seed)
        self.means = {name: keras.metrics.Mean(name) for name in ("loss", "reconstruction", "divergence")}
        self.built = True

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What `fit` resets at the start of an epoch."""
        return list(self.means.values())

    def call(self, images: Any) -> tuple[Any, Any]:
        """−ln p(x|z) for one z ~ q(z|x), and the KL, each (batch,)."""
        mean, log_variance = ops.split(self.encoder(images), 2, axis=1)
        noise = keras.random.normal(ops.shape(mean), seed=self.seeds)
        latents = mean + ops.exp(0.5 * log_variance) * noise
        return -log_probability(images, self.decoder(latents)), gaussian_kl(mean, log_variance)

    def train_step(self, images: Any) -> dict[str, Any]:
        """A step of the optimizer down the mean loss of a batch."""
        images = tf.cast(images[0] if isinstance(images, tuple) else images, self.compute_dtype)
        with tf.GradientTape() as tape:
            reconstruction, divergence = map(tf.reduce_mean, self(images))
            loss = reconstruction + self.beta * divergence
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        for name, value in (("loss", loss), ("reconstruction", reconstruction), ("divergence", divergence)):
            self.means[name].update_state(value)
        return {name: mean.result() for name, mean in self.means.items()}


def bound(
    encoder: keras.Model,
    decoder: keras.Model,
    images: np.ndarray,
    samples: int = 1,
    seed: int = 0,
    batch_size: int = 100,
) -> np.ndarray:
    """A lower bound of ln p(x) of each image, in nats, from K latents of q(z|x).

        ln 1/K Σₖ p(x, zₖ) / q(zₖ|x) ≤ ln p(x)    in expectation

    K = 1 is an estimate of the bound that a VAE trains. It rises with K, towards ln p(x).

    Args:
        encoder: from images to μ and ln σ² side by side.
        decoder: from latents to logits.
        images: binary, (images, height, width, channels).
        samples: K, at least 1.
        seed: of the latents.
        batch_size: images in one pass, each `samples` times; the larger, the more memory.

    Returns:
        float64, (images,).

    Raises:
        TypeError: one is no Keras model.
        ValueError: the widths do not fit, a size is below 1, or pixels are not 0 and 1.

    Example:
        >>> keras.utils.set_random_seed(0)
        >>> images = np.zeros((3, 28, 28, 1), "float32")
        >>> one, many = (bound(encoder(4), decoder(2), images, samples).mean() for samples in (1, 20))
        >>> print(one < -500, many < -500)
        True True
    """
    _check_networks(encoder, decoder)
    if not (is_whole(samples) and is_whole(batch_size) and is_whole(seed, 0)):
        raise ValueError(
            f"Got samples={samples!r}, batch_size={batch_size!r} and seed={seed!r}, expected at least 1, 1 and 0."
        )
    images = np.asarray(images, np.float32)
    if not ((images == 0) | (images == 1)).all():
        raise ValueError(
            f"Got values from {images.min():g} to {images.max():g}, expected 0 and 1 only. Images in [-1, 1] become "
            "that by (images > 0).astype('float32')."
        )
    run = tf.function(lambda pixels, noise: _log_weights(encoder, decoder, pixels, noise), reduce_retracing=True)
    random = np.random.default_rng(seed)
    found = []
    for start in range(0, len(images), batch_size):
        pixels = tf.constant(images[start : start + batch_size])
        noise = random.standard_normal((samples, len(pixels), decoder.input_shape[1]), np.float32)
        weights = [run(pixels, tf.constant(some)) for some in noise]  # K times (batch,)
        found.append(tf.reduce_logsumexp(tf.stack(weights), axis=0).numpy() - math.log(samples))
    return np.concatenate(found)


def _log_weights(encoder: keras.Model, decoder: keras.Model, pixels: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """ln p(x, z) − ln q(z|x), (batch,), of z = μ + σ · noise; the constants of both Gaussians cancel."""
    mean, log_variance = tf.split(encoder(pixels, training=False), 2, axis=1)
    latents = mean + tf.exp(0.5 * log_variance) * noise
    logits = tf.cast(decoder(latents, training=False), tf.float64)
    log_ratio = 0.5 * tf.reduce_sum(noise**2 + log_variance - latents**2, axis=1)  # of prior to posterior
    return log_probability(pixels, logits) + tf.cast(log_ratio, tf.float64)


def _check_networks(encoder: keras.Model, decoder: keras.Model) -> None:
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        if not isinstance(network, keras.Model):
            raise TypeError(f"Got {name}={network!r:.60}, expected a keras.Model, such as vae.{name}().")
    width, latent_dim = encoder.output_shape[-1], decoder.input_shape[-1]
    if width != 2 * latent_dim:
        raise ValueError(
            f"Got an encoder of {width} outputs and a decoder of {latent_dim} latents, expected {2 * latent_dim} "
            "outputs: μ and ln σ² of each latent."
        )


def _check_sizes(image_size: int, **sizes: int) -> None:
    if image_size not in SIDES:
        raise ValueError(f"Got image_size={image_size!r}, expected one of {list(SIDES)}. Resize the images.")
    for name, value in sizes.items():
        if not is_whole(value):
            raise ValueError(f"Got {name}={value!r}, expected a whole number of at least 1.")
