"""Times the training step of `gan_utils.GAN` against other ways of writing it: same networks, batch and optimizers.

    python benchmarks/train_step.py                  # about two minutes on two CPU cores
    python benchmarks/train_step.py --json times.json

The contestants (each does what its source does, on logits, with every network in training mode):

    ours      `gan_utils.GAN`, through the function that `fit` compiles.
    two-pass  a custom `train_step` as in keras.io's DCGAN example, through the function that `fit` compiles: real and
              fake in one mixed batch for D, then fresh noise through G and D. Left out: that example's label noise.
    one-tape  the loop of TensorFlow's DCGAN tutorial: one batch of noise, both gradients from one forward pass. It
              does less than the others: G runs once instead of twice, D on two batches instead of three.
    torch     the eager loop of PyTorch's DCGAN tutorial, where torch is installed, channels first: D on real and fake
              separately, then the same fakes once more through the updated D. Its backward pass for G also computes
              gradients of D's weights, which nobody uses.

Each contestant is warmed up, then all take turns in many short rounds. Other programs can only slow a round down, so
the best rounds are compared. One batch in memory serves all steps: reading data is not measured.

Start-up runs from the launch of a fresh process, through its imports, to the end of its first step on the DCGAN. Each
contestant imports only what it needs, without the plotting libraries that the tutorials import too.
"""

import argparse
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported, or it has no effect

# TensorFlow, gan_utils and torch are imported where they are used: start-up counts only a contestant's own imports.
import numpy as np

BATCH = 128
LATENT = 100
SHAPE = (28, 28, 1)
RATE, BETA_1 = 2e-4, 0.5
PEAK_SIDE = 2048

Run = Callable[[int], float]  # makes so many steps, returns D's last loss: reading it waits until a GPU has finished


class Size(NamedTuple):
    """Two networks to train, as Keras models and as torch modules, and how many steps make a round of half a second."""

    networks: Callable[[], tuple[Any, Any]]
    twins: Callable[[], tuple[Any, Any]]
    steps: int


class Contestant(NamedTuple):
    """A way to write the step, and the batches that pass through the networks in it, for `step_flops`."""

    build: Callable[[Size], Run]
    g_forward: int
    d_forward: int
    d_weights: int  # batches for which gradients of D's weights are computed


def mlp_networks() -> tuple[Any, Any]:
    """The classic MNIST networks, those of the first notebook."""
    from gan_utils import models

    return models.mlp_generator(LATENT, SHAPE), models.mlp_discriminator(SHAPE)


def mlp_twins() -> tuple[Any, Any]:
    """The torch twins of `mlp_networks`."""
    from torch import nn

    g_sizes, d_sizes = (LATENT, 256, 512, 1024), (math.prod(SHAPE), 1024, 512, 256)
    g_hidden = [(nn.Linear(*pair), nn.LeakyReLU(0.2)) for pair in itertools.pairwise(g_sizes)]
    d_hidden = [(nn.Linear(*pair), nn.LeakyReLU(0.2), nn.Dropout(0.5)) for pair in itertools.pairwise(d_sizes)]
    output = (nn.Linear(1024, math.prod(SHAPE)), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)))
    generator = nn.Sequential(*itertools.chain(*g_hidden), *output)
    return generator, nn.Sequential(nn.Flatten(), *itertools.chain(*d_hidden), nn.Linear(256, 1))


def dcgan_networks() -> tuple[Any, Any]:
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
        layers.Conv2DTranspose(1, activation="tanh", **conv),  # (batch, 28, 28, 1)
    ]
    discriminator = [
        keras.Input(SHAPE),
        layers.Conv2D(64, **conv),  # (batch, 14, 14, 64)
        layers.LeakyReLU(0.2),
        layers.Conv2D(128, use_bias=False, **conv),  # (batch, 7, 7, 128)
        layers.BatchNormalization(),
        layers.LeakyReLU(0.2),
        layers.Flatten(),
        layers.Dense(1),
    ]
    return keras.Sequential(generator), keras.Sequential(discriminator)


def dcgan_twins() -> tuple[Any, Any]:
    """The torch twins of `dcgan_networks`, channels first."""
    from torch import nn

    conv = {"kernel_size": 5, "stride": 2, "padding": 2}
    generator = nn.Sequential(
        nn.Linear(LATENT, 7 * 7 * 128, bias=False),
        nn.BatchNorm1d(7 * 7 * 128),
        nn.ReLU(),
        nn.Unflatten(1, (128, 7, 7)),
        nn.ConvTranspose2d(128, 64, output_padding=1, bias=False, **conv),  # (batch, 64, 14, 14)
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 1, output_padding=1, **conv),  # (batch, 1, 28, 28)
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, 64, **conv),  # (batch, 64, 14, 14)
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, bias=False, **conv),  # (batch, 128, 7, 7)
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 128, 1),
    )
    return generator, discriminator


def real_batch() -> np.ndarray:
    """A batch of images, (batch, 28, 28, 1). What they show does not matter to the clock."""
    return np.random.default_rng(0).uniform(-1.0, 1.0, (BATCH, *SHAPE)).astype(np.float32)


def real_dataset() -> Any:
    """`real_batch` for ever."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensors(real_batch()).repeat()


def adams() -> tuple[Any, Any]:
    """One Keras optimizer for each player."""
    import keras

    return keras.optimizers.Adam(RATE, beta_1=BETA_1), keras.optimizers.Adam(RATE, beta_1=BETA_1)


def through_fit(model: Any) -> Run:
    """Steps of a compiled `keras.Model`, through the function that its `fit` calls."""
    model.make_train_function()
    iterator = iter(real_dataset())

    def run(steps: int) -> float:
        for _ in range(steps):
            logs = model.train_function(iterator)
        return float(logs["d_loss"])

    return run


def ours(size: Size) -> Run:
    """The course's own step."""
    import gan_utils

    gan = gan_utils.GAN(*size.networks(), latent_dim=LATENT)
    gan.compile(*adams())
    return through_fit(gan)


def two_pass(size: Size) -> Run:
    """The step of keras.io's DCGAN example, by F. Chollet."""
    import keras
    import tensorflow as tf

    generator, discriminator = size.networks()
    d_optimizer, g_optimizer = adams()
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    class TwoPass(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.noise = keras.random.SeedGenerator(0)
            self.means = [keras.metrics.Mean(name="d_loss"), keras.metrics.Mean(name="g_loss")]
            self.built = True

        @property
        def metrics(self) -> list[Any]:
            return self.means

        def train_step(self, real: Any) -> dict[str, Any]:
            count = tf.shape(real)[0]
            fake = generator(keras.random.normal((count, LATENT), seed=self.noise), training=True)
            mixed = tf.concat([fake, real], axis=0)  # (2 batch, height, width, channels)
            labels = tf.concat([tf.zeros((count, 1)), tf.ones((count, 1))], axis=0)
            with tf.GradientTape() as tape:
                d_loss = cross_entropy(labels, discriminator(mixed, training=True))
            d_variables = discriminator.trainable_variables
            d_optimizer.apply_gradients(zip(tape.gradient(d_loss, d_variables), d_variables, strict=True))

            latent = keras.random.normal((count, LATENT), seed=self.noise)
            with tf.GradientTape() as tape:
                fake_logits = discriminator(generator(latent, training=True), training=True)
                g_loss = cross_entropy(tf.ones((count, 1)), fake_logits)
            g_variables = generator.trainable_variables
            g_optimizer.apply_gradients(zip(tape.gradient(g_loss, g_variables), g_variables, strict=True))
            for mean, loss in zip(self.means, (d_loss, g_loss), strict=True):
                mean.update_state(loss)
            return {mean.name: mean.result() for mean in self.means}

    model = TwoPass()
    model.compile(optimizer=None)
    return through_fit(model)


def one_tape(size: Size) -> Run:
    """The step and the loop of TensorFlow's DCGAN tutorial."""
    import keras
    import tensorflow as tf

    generator, discriminator = size.networks()
    d_optimizer, g_optimizer = adams()
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

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
        g_optimizer.apply_gradients(zip(g_gradients, g_variables, strict=True))
        d_optimizer.apply_gradients(zip(d_gradients, d_variables, strict=True))
        return d_loss

    batches = iter(real_dataset())

    def run(steps: int) -> float:
        for real in itertools.islice(batches, steps):
            d_loss = train_step(real)
        return float(d_loss)

    return run


def torch_loop(size: Size) -> Run:
    """The step and the loop of PyTorch's DCGAN tutorial, by N. Inkawhich."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator, discriminator = (network.to(device).train() for network in size.twins())
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=RATE, betas=(BETA_1, 0.999))
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=RATE, betas=(BETA_1, 0.999))
    criterion = torch.nn.BCEWithLogitsLoss()
    real = torch.from_numpy(real_batch().transpose(0, 3, 1, 2).copy()).to(device)
    ones, zeros = torch.ones((BATCH, 1), device=device), torch.zeros((BATCH, 1), device=device)

    def train_step() -> float:
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

    return lambda steps: [train_step() for _ in range(steps)][-1]


SIZES = {"MLP": Size(mlp_networks, mlp_twins, steps=16), "DCGAN": Size(dcgan_networks, dcgan_twins, steps=4)}
CONTESTANTS = {
    "ours": Contestant(ours, g_forward=2, d_forward=3, d_weights=2),
    "two-pass": Contestant(two_pass, g_forward=2, d_forward=3, d_weights=2),
    "one-tape": Contestant(one_tape, g_forward=1, d_forward=2, d_weights=2),
    "torch": Contestant(torch_loop, g_forward=1, d_forward=3, d_weights=3),
}


def layer_products(network: Any) -> list[int]:
    """Multiplications of one sample's forward pass, layer by layer, for layers with a kernel.

    Each weight of a kernel takes part once per position: of the output for a convolution, of the input for a
    transposed one, one in all for a dense layer. Positions where the kernel hangs over the edge count in full.
    """
    counts = []
    for layer in network.layers:
        if hasattr(layer, "kernel"):
            grid = layer.input.shape if "Transpose" in type(layer).__name__ else layer.output.shape
            counts.append(math.prod(layer.kernel.shape) * math.prod(grid[1:-1]))
    return counts


def step_flops(generator: Any, discriminator: Any, contestant: Contestant) -> int:
    """Floating-point operations of one step: a multiplication and an addition for each product of `layer_products`.

    Counted are the matrix products and convolutions of forward passes, gradients of weights, and gradients of inputs.
    A player's own step needs no gradient of its first layer's input; the generator's step needs one of D's. Left out,
    as 2 % or less of the whole: activations, normalisation, losses, metrics, optimizers.
    """
    g, d = layer_products(generator), layer_products(discriminator)
    g_backward = 2 * sum(g) - g[0]
    d_inputs = 3 * sum(d) - 2 * d[0]  # two batches in D's step, one in G's
    products = contestant.g_forward * sum(g) + g_backward
    products += (contestant.d_forward + contestant.d_weights) * sum(d) + d_inputs
    return 2 * BATCH * products


def check_twins(name: str, keras_networks: tuple[Any, Any], torch_networks: tuple[Any, Any]) -> None:
    """Asserts that the torch networks have exactly as many trained parameters as the Keras ones."""
    for network, twin in zip(keras_networks, torch_networks, strict=True):
        expected = sum(math.prod(variable.shape) for variable in network.trainable_variables)
        found = sum(parameter.numel() for parameter in twin.parameters())
        assert found == expected, f"{name}: torch twin has {found:,} parameters, Keras network {expected:,}."


def matmul_flops() -> float:
    """Operations a second of one large float32 matrix multiplication in TensorFlow."""
    import tensorflow as tf

    factor = tf.random.normal((PEAK_SIDE, PEAK_SIDE))
    begin = time.perf_counter()
    float(tf.matmul(factor, factor)[0, 0])
    return 2 * PEAK_SIDE**3 / (time.perf_counter() - begin)


def time_steps(size: Size, names: list[str], rounds: int, steps: int, seconds: float) -> tuple[dict[str, Any], float]:
    """Milliseconds a step of each contestant in each round, and the fastest matrix multiplication between rounds.

    The contestants take turns, each round in another order. After `seconds`, no further round begins.
    """
    runs = {name: CONTESTANTS[name].build(size) for name in names}
    for run in runs.values():
        run(2)  # the first call traces; the second finds allocators and thread pools warm
    times: dict[str, list[float]] = {name: [] for name in names}
    peak, deadline = 0.0, time.perf_counter() + seconds
    for turn in range(rounds):
        peak = max(peak, matmul_flops())
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begin = time.perf_counter()
            runs[name](steps)
            times[name].append(1000 * (time.perf_counter() - begin) / steps)
        if time.perf_counter() > deadline:
            break
    return times, peak


def first_step(name: str) -> float:
    """Makes one step of the DCGAN, and returns the time of day at which it was done."""
    CONTESTANTS[name].build(SIZES["DCGAN"])(1)
    return time.time()


def time_startup(names: list[str], repeats: int) -> dict[str, list[float]]:
    """Seconds from the launch of a fresh process to the end of its first step, for each contestant, taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _, name in itertools.product(range(repeats), names):
        begin = time.time()
        command = [sys.executable, __file__, "--startup", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds[name].append(float(done.stdout.split()[-1]) - begin)
    return seconds
