"""The same engine in half precision, on several devices, for hours: the same training, and no memory lost."""

import contextlib
import functools
import gc
import json
import pathlib
import subprocess
import sys
import tracemalloc

import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf
from keras import layers
from packaging import version

from gan_utils import GAN, data, models

REAL = np.random.default_rng(0).uniform(-1, 1, size=(64, 28, 28, 1)).astype(np.float32)


@pytest.fixture
def policy():
    """Sets the dtype policy of the networks that are built next."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def networks(kind):
    if kind == "classic":
        return models.mlp_generator(8), models.mlp_discriminator()
    if kind == "mlp":
        return models.mlp_generator(8, hidden_units=(16,)), models.mlp_discriminator(
            hidden_units=(16,), dropout_rate=0.0
        )
    return models.dcgan_generator(latent_dim=8, base_filters=4), models.dcgan_discriminator(base_filters=4)


@functools.cache
def in_full_precision(kind):
    return train(kind)


def train(kind, wrap=lambda optimizer: optimizer, epochs=2):
    keras.utils.set_random_seed(1)
    gan = GAN(*networks(kind), latent_dim=8)
    gan.compile(*(wrap(keras.optimizers.Adam(1e-3, beta_1=0.5)) for _ in range(2)))
    history = gan.fit(data.batches(REAL, 16), epochs=epochs, verbose=0).history
    return gan, history


def weights(gan):
    return np.concatenate([variable.numpy().ravel() for variable in gan.trainable_variables])


# --- half precision ---


@pytest.mark.parametrize(("name", "tolerance"), [("mixed_bfloat16", 0.03), ("mixed_float16", 0.03)])
@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_half_precision_trains_to_the_same_losses(policy, kind, name, tolerance):
    gan, full = in_full_precision(kind)
    policy(name)
    small = {"initial_scale": 1024.0}  # does not overflow, so that no step is skipped while the scale is sought

    def wrap(optimizer):
        return keras.optimizers.LossScaleOptimizer(optimizer, **small) if name == "mixed_float16" else optimizer

    half, history = train(kind, wrap)
    assert [layer.compute_dtype for layer in half.generator.layers][1] == name.removeprefix("mixed_")
    taken = [getattr(each, "inner_optimizer", each).iterations for each in (half.d_optimizer, half.g_optimizer)]
    assert taken == [8, 8]
    for metric, values in full.items():
        np.testing.assert_allclose(history[metric], values, atol=tolerance, err_msg=metric)
    assert np.corrcoef(weights(half), weights(gan))[0, 1] > 0.999
    assert half.sample(2).dtype == np.float32
    assert {variable.dtype for variable in half.trainable_variables} == {"float32"}


def test_a_scaled_loss_gives_the_same_gradients_to_the_last_bit():
    scaled, _ = train("mlp", wrap=lambda optimizer: keras.optimizers.LossScaleOptimizer(optimizer, 2.0**15))
    plain, _ = in_full_precision("mlp")
    np.testing.assert_array_equal(weights(scaled), weights(plain))  # a power of 2 costs no precision


def test_mixed_float16_gets_optimizers_that_scale_and_only_once(policy):
    gan, _ = in_full_precision("mlp")
    assert type(gan.d_optimizer) is type(gan.g_optimizer) is keras.optimizers.Adam
    policy("mixed_float16")
    gan = GAN(*networks("mlp"), latent_dim=8)
    gan.compile(keras.optimizers.Adam(), keras.optimizers.Adam())
    scaled = [gan.d_optimizer, gan.g_optimizer]
    assert [type(optimizer) for optimizer in scaled] == [keras.optimizers.LossScaleOptimizer] * 2
    gan.compile(*scaled)
    assert [gan.d_optimizer, gan.g_optimizer] == scaled


def test_logits_in_half_precision_are_refused(policy):
    policy("mixed_bfloat16")
    coarse = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"logits are bfloat16.*dtype=\"float32\""):
        GAN(models.mlp_generator(8, hidden_units=(16,)), coarse, latent_dim=8)


def test_a_gan_in_half_precision_is_saved_and_goes_on(policy, tmp_path):
    policy("mixed_float16")
    gan, _ = train("mlp", epochs=1)
    gan.save(tmp_path / "gan.keras")
    policy("float32")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    assert isinstance(loaded.d_optimizer, keras.optimizers.LossScaleOptimizer)
    for mine, theirs in zip(gan.d_optimizer.variables, loaded.d_optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    loaded.fit(data.batches(REAL, 16), verbose=0)


# --- several devices ---

several = pytest.mark.skipif(
    version.parse(keras.__version__) < version.parse("3.10"),
    reason="before Keras 3.10, metrics and random states do not work on several devices",
)


def run(script):
    """Runs a script of this folder, and returns the JSON it ends with."""
    path = pathlib.Path(__file__).with_name(script)
    child = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=600)
    assert child.returncode == 0, child.stderr[-3000:]
    return json.loads(child.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def report():
    """What a process with four logical CPUs found."""
    return run("devices.py")


@several
@pytest.mark.parametrize("case", ["plain on 4", "everything on 2", "family on 2"])
def test_several_devices_make_the_step_of_one(report, case):
    found = report[case]
    assert found["steps"] == 8
    assert found["moved"] > 0
    assert found["weights"] < 1e-5
    assert found["optimizers"] < 1e-5
    assert found["samples"] < 1e-5
    assert found["mean"] < 1e-5
    assert found["metrics"] < 1e-5  # and so not divided by the number of devices


@several
def test_each_device_draws_its_own_noise(report):
    assert report["noise"] == {"rows": 8, "distinct": 8, "as on one device": True}


@several
def test_a_training_on_two_devices_resumes_bit_for_bit(report):
    assert report["resumed"] == report["uninterrupted"]
    assert "Its devices: 2; given: 1." in report["resumed on one device"]


@several
def test_what_devices_cannot_share_is_refused(report):
    assert "Got batches of 6 samples for 4 devices, expected a multiple of 4" in report["uneven"]
    assert "inside strategy.scope()" in report["networks from outside"]
    assert "inside strategy.scope()" in report["optimizer from outside"]
    assert "Use mixed_bfloat16, or one device" in report["float16"]


@pytest.mark.parametrize("kind", [pytest.param("mirrored", marks=several), "one device"])
def test_a_strategy_of_one_device_trains_as_none(kind):
    """As on a machine with one GPU, or none."""
    cpu, found = "/cpu:0", []
    one = tf.distribute.MirroredStrategy([cpu]) if kind == "mirrored" else tf.distribute.OneDeviceStrategy(cpu)
    for scope in (contextlib.nullcontext(), one.scope()):
        keras.utils.set_random_seed(1)
        with scope:
            gan = GAN(*networks("mlp"), latent_dim=8)
            gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
        gan.fit(data.batches(REAL, 8), epochs=2, verbose=0)
        found.append(np.concatenate([np.ravel(variable) for variable in gan.trainable_variables]))
    np.testing.assert_allclose(*found, atol=1e-6)


@several
def test_two_worker_processes_train_as_one():
    first, second = run("workers.py")
    assert first["together"] == second["together"] == first["resumed"] == second["resumed"]
    told = "The machines would go on after epochs [3, 0]. Give them one file in a folder that all read."
    assert first["apart"] == second["apart"] == told
    assert sorted(first["together"]) == ["D(G(z))", "D(x)", "d_loss", "g_loss", "samples", "weights"]
    for name, values in first["alone"].items():
        np.testing.assert_allclose(first["together"][name], values, atol=1e-5, err_msg=name)


# --- memory ---


def test_a_training_leaves_little_memory_behind():
    process, sizes = psutil.Process(), []
    for _ in range(5):
        keras.backend.clear_session()
        train("classic", epochs=1)
        gc.collect()
        sizes.append(process.memory_info().rss / 1e6)
    assert (sizes[-1] - sizes[1]) / 3 < 20.0  # megabytes a training, after the second; weights and moments are 36


def test_any_number_of_samples_streams_through_little_memory():
    gan = GAN(*networks("mlp"), latent_dim=8)
    next(gan.stream(1))
    tracemalloc.start()
    count = sum(len(chunk) for chunk in gan.stream(20_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 10e6  # bytes; all samples together are 63 million


def test_a_stream_is_what_sample_draws():
    gan = GAN(*networks("mlp"), latent_dim=8)
    chunks = list(gan.stream(600, seed=3))
    assert [len(chunk) for chunk in chunks] == [256, 256, 88]
    np.testing.assert_array_equal(np.concatenate(chunks), gan.sample(600, seed=3))
    with pytest.raises(ValueError, match="count=0"):
        gan.stream(0)
