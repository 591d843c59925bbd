"""The ways to write a GAN's training step that `train_step.py` times, the networks they train, and the work they do.

    ours      `gan_utils.GAN`, through the function that `fit` compiles.
    bfloat16  the same with networks built under the dtype policy "mixed_bfloat16": half as many bits in matrix products
              and convolutions. The only one that does not compute in float32.
    two-pass  a custom `train_step` as in keras.io's DCGAN example, through the function that `fit` compiles: real and
              fake in one mixed batch for D, then fresh noise through G and D. That example's label noise is left out.
    one-tape  the step and loop of TensorFlow's DCGAN tutorial: one batch of noise, and the gradients of both players
              from one forward pass. So it does less than ours: G runs once, not twice, D on two batches, not three.
    reused    ours with `compile(reuse_fakes=True)`: one batch of fakes for both players, as in the tutorial.
    torch     the eager loop of PyTorch's DCGAN tutorial, channels first: D on real and fake separately, then the same
              fakes through the updated D. G runs once; the backward pass of G's loss also computes gradients of D's
              weights that are never used.

Each does what its source does, except that all networks run in training mode, all losses take logits, and all
optimizers are Adam with the same rates. In `train_step.py` one batch in memory serves every step, so that reading
data is not measured; `long_runs.py` hands in batches of digits.

TensorFlow, gan_utils and torch are imported in functions, so that start-up counts a contestant's own imports only.
"""

import itertools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

BATCH, LATENT, SHAPE = 128, 100, (28, 28, 1)
RATE, BETA_1 = 2e-4, 0.5

Networks = tuple[Any, Any]  # generator, discriminator
Batches = Callable[[], Iterator[Any]]  # starts an endless iterator over batches of real samples
Run = Callable[[int], float]  # makes so many steps; returns D's last loss, since reading it waits until a GPU is done


class Size(NamedTuple):
    """Networks as Keras models and as torch modules, and the steps that make a round of about a quarter second."""

    networks: Callable[[], Networks]
    twins: Callable[[], Networks]
    steps: int


class Contestant(NamedTuple):
    """A way to write the step, and how many batches take each path through the networks in it."""

    build: Callable[..., Run]  # from a `Size`, and `Batches` if not the same one for ever
    g_forward: int
    d_forward: int
    d_weights: int  # batches for which gradients of D's weights are computed


def mlp_networks() -> Networks:
    """The classic MNIST networks, those of the first notebook."""
    from gan_utils import models

    return models.mlp_generator(LATENT, SHAPE), models.mlp_discriminator(SHAPE)


def mlp_twins() -> Networks:
    """The torch twins of `mlp_networks`."""
    from torch import nn

    g_hidden = [(nn.Linear(*pair), nn.LeakyReLU(0.2)) for pair in itertools.pairwise((LATENT, 256, 512, 1024))]
    d_pairs = itertools.pairwise((784, 1024, 512, 256))
    d_hidden = [(nn.Linear(*pair), nn.LeakyReLU(0.2), nn.Dropout(0.5)) for pair in d_pairs]
    output = (nn.Linear(1024, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)))
    generator = nn.Sequential(*itertools.chain(*g_hidden), *output)
    return generator, nn.Sequential(nn.Flatten(), *itertools.chain(*d_hidden), nn.Linear(256, 1))


def dcgan_networks() -> Networks:
    """A small DCGAN for digits. No bias where batch normalisation follows, which would subtract it again."""
    import keras
    from keras import layers

    conv = {"kernel_size": 5, "strides": 2, "padding": "same"}
    generator = [
        keras.Input((LATENT,)),
        layers.Dense(7 * 7 * 128, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Reshape((7, 7, 128)),
        layers.Conv2DTranspose(64, use_bias=False, **conv),  # (batch, 14, 14, 64)
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2DTranspose(1, activation="tanh", dtype="float32", **conv),  # (batch, 28, 28, 1)
    ]
    discriminator = [
        keras.Input(SHAPE),
        layers.Conv2D(64, **conv),  # (batch, 14, 14, 64)
        layers.LeakyReLU(0.2),
        layers.Conv2D(128, use_bias=False, **conv),  # (batch, 7, 7, 128)
        layers.BatchNormalization(),
        layers.LeakyReLU(0.2),
        layers.Flatten(),
        layers.Dense(1, dtype="float32"),
    ]
    return keras.Sequential(generator), keras.Sequential(discriminator)


def dcgan_twins() -> Networks:
    """The torch twins of `dcgan_networks`, channels first."""
    from torch import nn

    conv = {"kernel_size": 5, "stride": 2, "padding": 2}
    generator = [
        nn.Linear(LATENT, 7 * 7 * 128, bias=False),
        nn.BatchNorm1d(7 * 7 * 128),
        nn.ReLU(),
        nn.Unflatten(1, (128, 7, 7)),
        nn.ConvTranspose2d(128, 64, output_padding=1, bias=False, **conv),  # (batch, 64, 14, 14)
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 1, output_padding=1, **conv),  # (batch, 1, 28, 28)
        nn.Tanh(),
    ]
    discriminator = [
        nn.Conv2d(1, 64, **conv),  # (batch, 64, 14, 14)
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, bias=False, **conv),  # (batch, 128, 7, 7)
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 128, 1),
    ]
    return nn.Sequential(*generator), nn.Sequential(*discriminator)


def real_batch() -> np.ndarray:
    """Noise for images, (batch, 28, 28, 1): what they show makes no difference to the clock."""
    return np.random.default_rng(0).uniform(-1.0, 1.0, (BATCH, *SHAPE)).astype(np.float32)


def real_batches() -> Iterator[Any]:
    """The same batch for ever, through `tf.data`."""
    import tensorflow as tf

    return iter(tf.data.Dataset.from_tensors(real_batch()).repeat())


def adams() -> tuple[Any, Any]:
    """A Keras optimizer for each player."""
    import keras

    return keras.optimizers.Adam(RATE, beta_1=BETA_1), keras.optimizers.Adam(RATE, beta_1=BETA_1)


def through_fit(model: Any, batches: Batches) -> Run:
    """Steps of a compiled `keras.Model`, through the function that its `fit` calls."""
    model.make_train_function()
    iterator = batches()

    def run(steps: int) -> float:
        for _ in range(steps):
            logs = model.train_function(iterator)
        return float(logs["d_loss"])

    return run


def ours(size: Size, batches: Batches = real_batches) -> Run:
    """The course's own step."""
    import gan_utils

    gan = gan_utils.GAN(*size.networks(), latent_dim=LATENT)
    gan.compile(*adams())
    return through_fit(gan, batches)


def bfloat16(size: Size, batches: Batches = real_batches) -> Run:
    """The course's own step in mixed precision."""
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return ours(size, batches)
    finally:
        keras.config.set_dtype_policy("float32")


def reused(size: Size, batches: Batches = real_batches) -> Run:
    """The course's own step with one batch of fakes for both players."""
    import gan_utils

    gan = gan_utils.GAN(*size.networks(), latent_dim=LATENT)
    gan.compile(*adams(), reuse_fakes=True)
    return through_fit(gan, batches)


def penalised(size: Size, batches: Batches = real_batches) -> Run:
    """The course's own step with the Wasserstein loss and a gradient penalty."""
    import gan_utils
    from gan_utils import losses, penalties

    gan = gan_utils.GAN(*critic_networks(size), latent_dim=LATENT)
    gan.compile(*adams(), objective=losses.wasserstein(), penalty=penalties.gradient_penalty(10.0))
    return through_fit(gan, batches)


def penalised_by_hand(size: Size, batches: Batches = real_batches) -> Run:
    """The same step in plain TensorFlow, without checks or metrics."""
    import tensorflow as tf

    generator, critic = critic_networks(size)
    d_optimizer, g_optimizer = adams()
    iterator = batches()

    @tf.function
    def train_step(real: Any) -> Any:
        fake = generator(tf.random.normal((BATCH, LATENT)), training=True)
        with tf.GradientTape() as tape:
            between = real + tf.random.uniform((BATCH, 1, 1, 1)) * (fake - real)
            with tf.GradientTape() as inner:
                inner.watch(between)
                logits = critic(between, training=True)
            slopes = tf.sqrt(tf.reduce_sum(inner.gradient(logits, between) ** 2, axis=(1, 2, 3)) + 1e-12)
            d_loss = tf.reduce_mean(critic(fake, training=True)) - tf.reduce_mean(critic(real, training=True))
            d_loss += 10.0 * tf.reduce_mean((slopes - 1.0) ** 2)
        weights = critic.trainable_variables
        d_optimizer.apply(tape.gradient(d_loss, weights), weights)
        with tf.GradientTape() as tape:
            g_loss = -tf.reduce_mean(critic(generator(tf.random.normal((BATCH, LATENT)), training=True), training=True))
        weights = generator.trainable_variables
        g_optimizer.apply(tape.gradient(g_loss, weights), weights)
        return d_loss

    def run(steps: int) -> float:
        for real in itertools.islice(iterator, steps):
            d_loss = train_step(real)
        return float(d_loss)

    return run


def critic_networks(size: Size) -> Networks:
    """The networks of that size, with a discriminator without batch normalisation and dropout."""
    import keras
    from keras import layers

    generator, discriminator = size.networks()
    kept = [
        layer for layer in discriminator.layers if not isinstance(layer, layers.BatchNormalization | layers.Dropout)
    ]
    return generator, keras.Sequential([keras.Input(SHAPE), *kept])


def two_pass(size: Size, batches: Batches = real_batches) -> Run:
    """The step of keras.io's DCGAN example, by F. Chollet."""
    import keras
    import tensorflow as tf

    generator, discriminator = size.networks()
    d_optimizer, g_optimizer = adams()
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    noise = keras.random.SeedGenerator(0)
    means = [keras.metrics.Mean(name="d_loss"), keras.metrics.Mean(name="g_loss")]

    class TwoPass(keras.Model):
        metrics = property(lambda self: means)

        def train_step(self, real: Any) -> dict[str, Any]:
            count = tf.shape(real)[0]
            fake = generator(keras.random.normal((count, LATENT), seed=noise), training=True)
            mixed = tf.concat([fake, real], axis=0)  # (2 batch, height, width, channels)
            labels = tf.concat([tf.zeros((count, 1)), tf.ones((count, 1))], axis=0)
            with tf.GradientTape() as tape:
                d_loss = cross_entropy(labels, discriminator(mixed, training=True))
            d_variables = discriminator.trainable_variables
            d_optimizer.apply(tape.gradient(d_loss, d_variables), d_variables)
            latent = keras.random.normal((count, LATENT), seed=noise)
            with tf.GradientTape() as tape:
                fake_logits = discriminator(generator(latent, training=True), training=True)
                g_loss = cross_entropy(tf.ones((count, 1)), fake_logits)
            g_variables = generator.trainable_variables
            g_optimizer.apply(tape.gradient(g_loss, g_variables), g_variables)
            means[0].update_state(d_loss)
            means[1].update_state(g_loss)
            return {mean.name: mean.result() for mean in means}

    model = TwoPass()
    model.compile(optimizer=None)
    return through_fit(model, batches)


def one_tape(size: Size, batches: Batches = real_batches) -> Run:
    """The step and the loop of TensorFlow's DCGAN tutorial. It returns D's loss, so that the clock can wait for it."""
    import keras
    import tensorflow as tf

    generator, discriminator = size.networks()
    d_optimizer, g_optimizer = adams()
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    iterator = batches()

    @tf.function
    def train_step(real: Any) -> Any:
        noise = tf.random.normal([BATCH, LATENT])
        with tf.GradientTape() as gen_tape, tf.GradientTape() as disc_tape:
            fake = generator(noise, training=True)
            real_logits = discriminator(real, training=True)
            fake_logits = discriminator(fake, training=True)
            g_loss = cross_entropy(tf.ones_like(fake_logits), fake_logits)
            d_loss = cross_entropy(tf.ones_like(real_logits), real_logits)
            d_loss += cross_entropy(tf.zeros_like(fake_logits), fake_logits)
        g_variables, d_variables = generator.trainable_variables, discriminator.trainable_variables
        g_gradients, d_gradients = gen_tape.gradient(g_loss, g_variables), disc_tape.gradient(d_loss, d_variables)
        g_optimizer.apply(g_gradients, g_variables)
        d_optimizer.apply(d_gradients, d_variables)
        return d_loss

    def run(steps: int) -> float:
        for real in itertools.islice(iterator, steps):
            d_loss = train_step(real)
        return float(d_loss)

    return run


def torch_loop(size: Size, batches: Batches | None = None) -> Run:
    """The step and the loop of PyTorch's DCGAN tutorial, by N. Inkawhich."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator, discriminator = (network.to(device) for network in size.twins())
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=RATE, betas=(BETA_1, 0.999))
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=RATE, betas=(BETA_1, 0.999))
    criterion = torch.nn.BCEWithLogitsLoss()
    same = torch.from_numpy(real_batch().reshape(BATCH, 1, 28, 28)).to(device)
    iterator = itertools.repeat((same,)) if batches is None else batches()
    ones, zeros = torch.ones((BATCH, 1), device=device), torch.zeros((BATCH, 1), device=device)

    def train_step(real: torch.Tensor) -> float:
        discriminator.zero_grad()
        real_loss = criterion(discriminator(real), ones)
        real_loss.backward()
        fake = generator(torch.randn(BATCH, LATENT, device=device))
        fake_loss = criterion(discriminator(fake.detach()), zeros)
        fake_loss.backward()
        d_optimizer.step()
        generator.zero_grad()
        criterion(discriminator(fake), ones).backward()
        g_optimizer.step()
        return (real_loss + fake_loss).item()

    return lambda steps: [train_step(real.to(device)) for (real,) in itertools.islice(iterator, steps)][-1]


SIZES = {"MLP": Size(mlp_networks, mlp_twins, steps=6), "DCGAN": Size(dcgan_networks, dcgan_twins, steps=1)}
CONTESTANTS = {
    "ours": Contestant(ours, g_forward=2, d_forward=3, d_weights=2),
    "bfloat16": Contestant(bfloat16, g_forward=2, d_forward=3, d_weights=2),
    "two-pass": Contestant(two_pass, g_forward=2, d_forward=3, d_weights=2),
    "reused": Contestant(reused, g_forward=1, d_forward=2, d_weights=2),
    "one-tape": Contestant(one_tape, g_forward=1, d_forward=2, d_weights=2),
    "torch": Contestant(torch_loop, g_forward=1, d_forward=3, d_weights=3),
}

# The Wasserstein loss with a gradient penalty, by the course and by hand. Their operations are not counted.
PENALISED = {"ours": penalised, "by hand": penalised_by_hand}


def layer_products(network: Any) -> list[int]:
    """Multiplications in one sample's forward pass, for each layer with a kernel.

    Each weight of the kernel takes part once per position: of the output for a convolution, of the input for a
    transposed one, once in all for a dense layer. Positions where the kernel hangs over the edge count in full.
    """
    layers = [layer for layer in network.layers if hasattr(layer, "kernel")]
    shapes = [layer.input.shape if "Transpose" in type(layer).__name__ else layer.output.shape for layer in layers]
    return [math.prod(layer.kernel.shape) * math.prod(shape[1:-1]) for layer, shape in zip(layers, shapes, strict=True)]


def step_flops(networks: Networks, way: Contestant) -> int:
    """Floating-point operations of one step: a multiplication and an addition for each of `layer_products`.

    Counted are the matrix products and convolutions of forward passes, gradients of weights and gradients of inputs.
    A player's own loss needs no gradient of its first layer's input; G's loss needs that of D's. Not counted:
    activations, normalisation, dropout, losses, metrics and optimizers, which cost time but few operations.
    """
    g, d = (layer_products(network) for network in networks)
    g_products = way.g_forward * sum(g) + 2 * sum(g) - g[0]
    d_inputs = 3 * sum(d) - 2 * d[0]  # two batches in D's step, one in G's
    return 2 * BATCH * (g_products + (way.d_forward + way.d_weights) * sum(d) + d_inputs)


def check_twins(networks: Networks, twins: Networks) -> None:
    """Asserts that the torch networks have as many trained parameters as the Keras ones."""
    for network, twin in zip(networks, twins, strict=True):
        expected = sum(math.prod(variable.shape) for variable in network.trainable_variables)
        found = sum(parameter.numel() for parameter in twin.parameters())
        assert found == expected, f"The torch twin has {found:,} parameters, the Keras network {expected:,}."
