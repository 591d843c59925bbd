"""Trains on one, two and four logical CPUs, and prints as JSON how far the results are apart; see test_hardware.py.

A process of its own, since the number of devices is fixed once TensorFlow runs.
"""

import hashlib
import json
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from gan_utils import GAN, Checkpoint, losses, models, penalties
from gan_utils.layers import LayerNormalization

REAL = np.random.default_rng(0).uniform(-1, 1, (30, 4, 4, 1)).astype(np.float32)  # not a multiple of the batch size


def strategy(devices):
    """The default all-reduce mixes up several collectives on CPUs; GPUs have their own."""
    names = [f"CPU:{index}" for index in range(devices)]
    return tf.distribute.MirroredStrategy(names, cross_device_ops=tf.distribute.ReductionToOneDevice())


def networks(case):
    if case == "family":
        generator = keras.Sequential([keras.Input((5,)), layers.Dense(16, "tanh"), layers.Reshape((4, 4, 1))])
        critic = [layers.Flatten(), layers.Dense(6), LayerNormalization(), layers.LeakyReLU(), layers.Dense(1)]
        critic = keras.Sequential([keras.Input((4, 4, 1)), *critic])
        return models.conditional_generator(generator, 3), models.projection_discriminator(critic, 3)
    norm = [layers.BatchNormalization(synchronized=True)] if case == "everything" else []
    generator = [layers.Dense(6), *norm, layers.LeakyReLU(), layers.Dense(16, "tanh"), layers.Reshape((4, 4, 1))]
    discriminator = [layers.Flatten(), layers.Dense(6), layers.LeakyReLU(), layers.Dense(1, dtype="float32")]
    return keras.Sequential([keras.Input((2,)), *generator]), keras.Sequential([keras.Input((4, 4, 1)), *discriminator])


def slope(critic, real, fake):
    return tf.reduce_mean(tf.square(critic(real) - critic(fake)))


def build(case, devices):
    keras.utils.set_random_seed(1)
    with strategy(devices).scope() if devices > 1 else tf.distribute.get_strategy().scope():
        gan = GAN(*networks(case), latent_dim=2, average=0.9 if case == "family" else None)
        if case == "family":
            objective, penalty = losses.wasserstein(), penalties.gradient_penalty(1.0) + penalties.r1(0.5)
            gan.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), objective, penalty, d_steps=2)
        elif case == "everything":
            momentum = [keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True) for _ in range(2)]
            gan.compile(*momentum, penalty=slope, d_steps=2)
        else:
            gan.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
    return gan


def dataset(case="plain", size=8):
    samples = (REAL, np.arange(30) % 3) if case == "family" else REAL
    return tf.data.Dataset.from_tensor_slices(samples).batch(size)


def train(case, devices, epochs=2, callbacks=()):
    gan = build(case, devices)
    endless = {"x": dataset(case).repeat().rebatch(8, drop_remainder=True), "steps_per_epoch": 4 // gan.d_steps}
    given = {"dataset": dataset(case)} if devices > 1 else {"dataset": endless.pop("x"), **endless}
    epochs *= gan.d_steps
    return gan, gan.fit(**given, epochs=epochs, verbose=0, callbacks=list(callbacks)).history


def flat(variables):
    return np.concatenate([np.ravel(variable).astype(np.float64) for variable in variables])


def apart(one, several):
    return float(np.abs(flat(one) - flat(several)).max())


def compare(case, devices):
    start = build(case, 1)
    (one, one_history), (several, history) = train(case, 1), train(case, devices)
    return {
        "steps": int(several.g_optimizer.iterations.numpy()),
        "moved": apart(start.trainable_variables, one.trainable_variables),
        "weights": apart(one.variables, several.variables),
        "optimizers": max(
            apart(one.d_optimizer.variables, several.d_optimizer.variables),
            apart(one.g_optimizer.variables, several.g_optimizer.variables),
        ),
        "metrics": max(apart(one_history[name], history[name]) for name in one_history),
        "mean": apart(*((gan.mean_generator or gan.generator).variables for gan in (one, several))),
        "samples": apart(one.sample(4, seed=0), several.sample(4, seed=0)),
    }


def noise():
    four, one = build("plain", 4), build("plain", 1)
    drawn = four.distribute_strategy.run(lambda: four.latent(2))
    rows = np.concatenate([part.numpy() for part in four.distribute_strategy.experimental_local_results(drawn)])
    return {
        "rows": len(rows),
        "distinct": len(np.unique(rows, axis=0)),
        "as on one device": bool(np.array_equal(rows, one.latent(8))),
    }


def digest(gan):
    return hashlib.sha256(flat([*gan.variables, *gan.d_optimizer.variables, *gan.g_optimizer.variables])).hexdigest()


def resume(folder):
    whole, _ = train("everything", 2, 2, [Checkpoint(folder / "whole.npz")])
    train("everything", 2, 1, [Checkpoint(folder / "part.npz")])
    resumed, _ = train("everything", 2, 2, [Checkpoint(folder / "part.npz")])
    alone = refused(lambda: train("everything", 1, 3, [Checkpoint(folder / "part.npz")]))
    return {"uninterrupted": digest(whole), "resumed": digest(resumed), "resumed on one device": alone}


def refused(act):
    try:
        act()
    except ValueError as error:
        return str(error)
    return "accepted"


def outsiders():
    players, optimizers = networks("plain"), [keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1)]
    with strategy(2).scope():
        gan = GAN(*networks("plain"), latent_dim=2)
        found = {
            "networks from outside": refused(lambda: GAN(*players, latent_dim=2)),
            "optimizer from outside": refused(lambda: gan.compile(*optimizers)),
        }
        keras.config.set_dtype_policy("mixed_float16")
        half = GAN(*networks("plain"), latent_dim=2)
        return {**found, "float16": refused(lambda: half.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1)))}


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
    found = {"plain on 4": compare("plain", 4), "everything on 2": compare("everything", 2)}
    found["family on 2"] = compare("family", 2)
    found["noise"] = noise()
    with tempfile.TemporaryDirectory() as folder:
        found |= resume(pathlib.Path(folder))
    found["uneven"] = refused(lambda: build("plain", 4).fit(dataset(size=6), verbose=0))
    print(json.dumps(found | outsiders()))


if __name__ == "__main__":
    main()
