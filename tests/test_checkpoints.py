"""A training that is killed and started again ends with exactly what an uninterrupted one ends with."""

import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import gan_utils
from gan_utils import GAN, Checkpoint, SampleGrid, Score, data, losses

EPOCHS = 6
REAL = np.random.default_rng(0).uniform(-1, 1, size=(50, 4, 4, 1)).astype(np.float32)


def networks(units=6):
    """With all that has a state: weights, running statistics, dropout."""
    hidden = [layers.Dense(units), layers.BatchNormalization(), layers.LeakyReLU(0.2), layers.Dropout(0.3)]
    generator = [keras.Input((2,)), *hidden, layers.Dense(16, activation="tanh"), layers.Reshape((4, 4, 1))]
    discriminator = [
        keras.Input((4, 4, 1)),
        layers.Flatten(),
        layers.Dense(units),
        layers.Dropout(0.3),
        layers.Dense(1),
    ]
    return keras.Sequential(generator), keras.Sequential(discriminator)


def train(path, epochs=EPOCHS, real=REAL, batch_size=8, units=6, rate=1e-2, fit=None, callbacks=(), **recipe):
    """A training as a script would have it; returns the GAN, its film and its history."""
    keras.utils.set_random_seed(1)
    gan = GAN(*networks(units), latent_dim=2)
    average = keras.optimizers.Adam(rate, beta_1=0.5, use_ema=True)
    gan.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, 100)), average, **recipe)
    film, score = SampleGrid(rows=2, columns=2), Score(np.mean, samples=4, clock=lambda: 0.0)
    given = [Checkpoint(path), film, score, *callbacks]
    history = gan.fit(data.batches(real, batch_size), epochs=epochs, verbose=0, callbacks=given, **(fit or {}))
    return gan, film, history.history


def digest(gan, film, history):
    """Of everything that training leaves behind."""
    variables = [*gan.variables, *gan.d_optimizer.variables, *gan.g_optimizer.variables]
    parts = [variable.numpy().tobytes() for variable in variables]
    parts += [frame.tobytes() for frame in film.frames] + [json.dumps(history, sort_keys=True).encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"d_steps": 2},
        {"steps_per_execution": 4},
        {"fit": {"steps_per_epoch": 3}},
        {"objective": losses.minimax(label_smoothing=0.1)},
    ],
    ids=["plain", "k = 2", "4 steps at once", "3 steps an epoch", "minimax"],
)
def test_a_training_in_parts_equals_one_in_one_piece(tmp_path, recipe):
    whole = train(tmp_path / "whole.npz", **recipe)
    assert len(whole[1].frames) == EPOCHS + 1
    assert {len(values) for values in whole[2].values()} == {EPOCHS}
    for epochs in (1, 2, EPOCHS):
        parts = train(tmp_path / "new" / "parts.npz", epochs=epochs, **recipe)
    assert digest(*parts) == digest(*whole)
    again = train(tmp_path / "new" / "parts.npz", **recipe)  # nothing left to do
    assert digest(*again) == digest(*whole)


def test_what_counts_is_really_kept(tmp_path):
    """Without its noise, its optimizers or the order of its data, the rest of a training is another one."""
    whole = train(tmp_path / "whole.npz")
    train(tmp_path / "parts.npz", epochs=2)
    with np.load(tmp_path / "parts.npz", allow_pickle=False) as stored:
        arrays = [stored[f"arr_{i}"] for i in range(len(stored.files))]
    for i in range(1, len(arrays), 4):  # weights, statistics, random states, moments
        if arrays[i].any() and arrays[i].ndim < 3:  # the film is only a picture
            changed = [*arrays[:i], np.zeros_like(arrays[i]), *arrays[i + 1 :]]
            np.savez(tmp_path / "changed.npz", *changed)
            assert digest(*train(tmp_path / "changed.npz")) != digest(*whole), f"array {i} of {len(arrays)} is ignored"
            os.remove(tmp_path / "changed.npz")


CHILD = """
import sys
sys.path.insert(0, sys.argv[2])
import test_checkpoints as test
class Slow(test.keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        test.time.sleep(0.02)
print("ready", flush=True)
print(test.digest(*test.train(sys.argv[1], callbacks=[Slow()])), flush=True)
"""


def start(path):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", CHILD, str(path), str(pathlib.Path(__file__).parent)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)


def test_a_process_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    moments = random.Random(0)
    paths, ends = [tmp_path / "a.npz", tmp_path / "b.npz"], []  # two processes at a time
    kills = resumed = 0
    while kills < 10:
        for path, process in [(path, start(path)) for path in paths]:
            assert process.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0.5, 2.5))
            if process.poll() is None:
                process.kill()
                process.communicate()
                kills, resumed = kills + 1, resumed + path.is_file()
            else:  # it was too quick: what it ends with is compared, and the next one begins anew
                ends.append(process.communicate()[0].split()[-1])
                path.unlink()
    assert resumed > 0
    ends += [start(path).communicate()[0].split()[-1] for path in paths]
    assert set(ends) == {digest(*train(tmp_path / "whole.npz"))}


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    train(path, epochs=2)
    before = path.read_bytes()

    def killed(file, *arrays):
        file.write(b"PK half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        train(path)
    assert path.read_bytes() == before
    monkeypatch.undo()
    assert digest(*train(path)) == digest(*train(tmp_path / "whole.npz"))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
def test_a_damaged_checkpoint_is_refused_and_kept(tmp_path, damage):
    path = tmp_path / "run.npz"
    train(path, epochs=1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    damaged = {"truncated": content[: len(content) // 2], "flipped": content, "empty": b"", "text": b"weights"}[damage]
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"checkpoint .*run.npz is damaged .*Remove it to start anew"):
        train(path)
    assert path.read_bytes() == bytes(damaged)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"units": 7}, "generator"),
        ({"real": REAL[::-1]}, "data"),
        ({"batch_size": 10}, "batches"),
        ({"objective": losses.minimax()}, "objective"),
        ({"d_steps": 2}, "d_steps"),
        ({"rate": 2e-2}, "d_optimizer"),
        ({"callbacks": [SampleGrid()]}, "callbacks"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_with_the_reason(tmp_path, change, named):
    train(tmp_path / "run.npz", epochs=1)
    with pytest.raises(ValueError, match=f"belongs to another training. Its {named}: .*Name another file"):
        train(tmp_path / "run.npz", **change)


def test_a_checkpoint_of_another_version_is_refused(tmp_path, monkeypatch):
    train(tmp_path / "run.npz", epochs=1)
    monkeypatch.setattr(tf, "__version__", "9.0.0")
    with pytest.raises(ValueError, match=r"Its versions: .*tensorflow.*given: .*9\.0\.0"):
        train(tmp_path / "run.npz")


def test_a_refused_checkpoint_changes_nothing(tmp_path):
    train(tmp_path / "run.npz", epochs=1)
    keras.utils.set_random_seed(2)
    gan = GAN(*networks(), latent_dim=2)
    gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
    before = [variable.numpy() for variable in gan.variables]
    with pytest.raises(ValueError, match="belongs to another training"):
        gan.fit(data.batches(REAL, 8), verbose=0, callbacks=[Checkpoint(tmp_path / "run.npz")])
    for variable, value in zip(gan.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize("callbacks", [[], [SampleGrid(), SampleGrid(), Score(np.mean)]], ids=["fewer", "more"])
def test_a_checkpoint_with_other_callbacks_is_refused_before_a_weight_is_touched(tmp_path, callbacks):
    train(tmp_path / "run.npz", epochs=1)
    gan, *_ = train(tmp_path / "other.npz", epochs=2)
    before = [variable.numpy() for variable in gan.variables]
    with pytest.raises(ValueError, match=r"belongs to another training\. Its callbacks"):
        gan.fit(data.batches(REAL, 8), verbose=0, callbacks=[Checkpoint(tmp_path / "run.npz"), *callbacks])
    for variable, value in zip(gan.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_an_epoch_that_ends_in_nan_is_not_kept(tmp_path, capsys):
    train(tmp_path / "run.npz", epochs=2)
    before = (tmp_path / "run.npz").read_bytes()

    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.generator.weights[0].assign(self.model.generator.weights[0] * np.nan)

    train(tmp_path / "run.npz", callbacks=[Spoil()])
    assert "Training stopped" in capsys.readouterr().out
    assert (tmp_path / "run.npz").read_bytes() == before


def test_a_cell_that_runs_twice_goes_on(tmp_path):
    """Keras gives new numbers to the layers of networks that are built again in one process."""
    gan_utils.models.mlp_generator()
    train(tmp_path / "run.npz", epochs=1)
    assert {len(values) for values in train(tmp_path / "run.npz", epochs=3)[2].values()} == {3}


def test_a_dataset_without_a_length_needs_the_number_of_steps(tmp_path):
    gan = GAN(*networks(), latent_dim=2)
    gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
    dataset = data.batches(REAL, 8).filter(lambda batch: True)
    with pytest.raises(ValueError, match=r"does not know its length, .* pass steps_per_epoch"):
        gan.fit(dataset, verbose=0, callbacks=[Checkpoint(tmp_path / "run.npz")])
    gan.fit(dataset, steps_per_epoch=2, verbose=0, callbacks=[Checkpoint(tmp_path / "run.npz")])
