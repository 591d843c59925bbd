"""A training that is killed and started again ends with exactly what an uninterrupted one ends with."""

import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import pathlib
import random
import shutil
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import gan_utils
from gan_utils import GAN, Checkpoint, SampleGrid, Score, data, losses, penalties

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
        layers.Dense(1, dtype="float32"),
    ]
    return keras.Sequential(generator), keras.Sequential(discriminator)


def build(units=6, rate=1e-2, **recipe):
    keras.utils.set_random_seed(1)
    gan = GAN(*networks(units), latent_dim=2)
    average = keras.optimizers.Adam(rate, beta_1=0.5, use_ema=True)
    gan.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, 100)), average, **recipe)
    return gan


def train(path, epochs=EPOCHS, real=REAL, batch_size=8, grid=2, fit=None, callbacks=(), gan=None, **recipe):
    """A training as a script would have it; returns the GAN, its film and its history."""
    gan = gan or build(**recipe)
    film, score = SampleGrid(rows=grid, columns=2), Score(np.mean, samples=4, clock=lambda: 0.0)
    given = [Checkpoint(path), film, score, *callbacks]
    history = gan.fit(data.batches(real, batch_size), epochs=epochs, verbose=0, callbacks=given, **(fit or {}))
    return gan, film, history.history


def state(gan):
    return [*gan.variables, *gan.d_optimizer.variables, *gan.g_optimizer.variables]


def digest(gan, film, history):
    """Of everything that training leaves behind."""
    parts = [variable.numpy().tobytes() for variable in state(gan)]
    parts += [frame.tobytes() for frame in film.frames] + [json.dumps(history, sort_keys=True).encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training without a break."""
    return train(tmp_path_factory.mktemp("whole") / "run.npz")


@pytest.fixture(scope="module")
def first_epoch(tmp_path_factory):
    path = tmp_path_factory.mktemp("first") / "run.npz"
    train(path, epochs=1)
    return path


@pytest.fixture
def path(first_epoch, tmp_path):
    """Of a checkpoint that was written after one epoch."""
    return pathlib.Path(shutil.copy(first_epoch, tmp_path))


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"d_steps": 2, "objective": losses.minimax(label_smoothing=0.1)},
        {"steps_per_execution": 4},
        {"fit": {"steps_per_epoch": 3}},
    ],
    ids=["plain", "minimax, k = 2", "4 steps at once", "3 steps an epoch"],
)
def test_a_training_in_parts_equals_one_in_one_piece(tmp_path, recipe, whole):
    whole = train(tmp_path / "whole.npz", **recipe) if recipe else whole
    assert len(whole[1].frames) == EPOCHS + 1
    assert {len(values) for values in whole[2].values()} == {EPOCHS}
    for epochs in (1, 2, EPOCHS):
        parts = train(tmp_path / "new" / "parts.npz", epochs=epochs, **recipe)
    assert digest(*parts) == digest(*whole)
    again = train(tmp_path / "new" / "parts.npz", **recipe)  # nothing left to do
    assert digest(*again) == digest(*whole)


def test_what_counts_is_really_kept(tmp_path, path, whole):
    """Without its noise, its optimizers or the order of its data, the rest of a training is another one."""
    right = digest(*whole)
    gan = build()  # one for all: its step is traced once
    fresh = [variable.numpy() for variable in state(gan)]

    def rest(checkpoint):
        for variable, value in zip(state(gan), fresh, strict=True):
            variable.assign(value)
        return digest(*train(checkpoint, gan=gan))

    with np.load(path, allow_pickle=False) as stored:
        arrays = [stored[f"arr_{i}"] for i in range(len(stored.files))]
    assert rest(path) == right
    for i in range(1, len(arrays), 4):  # weights, statistics, random states, moments
        if arrays[i].any() and arrays[i].ndim < 3:  # the film is only a picture
            changed = [*arrays[:i], np.zeros_like(arrays[i]), *arrays[i + 1 :]]
            np.savez(tmp_path / "changed.npz", *changed)
            assert rest(tmp_path / "changed.npz") != right, f"array {i} of {len(arrays)} is ignored"
            os.remove(tmp_path / "changed.npz")


# A process that imports TensorFlow takes five seconds to start. On Linux, a server imports it once and forks itself for
# each start; that is safe because it runs nothing of TensorFlow and, without OpenBLAS' threads, has only one thread.
PROCESSES = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


class Tell(keras.callbacks.Callback):
    """Tells where training is. Its state is so large that writing a checkpoint takes a while."""

    def __init__(self, tell):
        super().__init__()
        self.tell = tell

    def get_state(self):
        self.tell("writes")
        return {"ballast": np.zeros(2_000_000)}

    def set_state(self, state):
        assert state["ballast"].shape == (2_000_000,)

    def on_train_batch_end(self, batch, logs=None):
        self.tell("trains")
        time.sleep(0.02)


def child(path, pipe):
    pipe.send("starts")
    pipe.send(digest(*train(path, callbacks=[Tell(pipe.send)])))


def start(path):
    here, there = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=child, args=(path, there), daemon=True)
    process.start()
    there.close()
    return process, here


def told(pipe, patience=600):
    """What a process tells, until it ends or is silent for so many seconds."""
    with contextlib.suppress(EOFError):
        while pipe.poll(patience):
            yield pipe.recv()


def kill(process, pipe, moments):
    """Kills a process at a random moment: a little after it has told so often where it is. Returns its last word."""
    place = moments.choice(["starts", "trains", "writes", "writes"])
    count, most = {"starts": (0, 1.0), "trains": (moments.randint(1, 12), 0.05), "writes": (1, 0.02)}[place]
    heard = [*told(pipe, patience=0)]  # while the other process was watched
    while count > 0 and (word := next(told(pipe), None)):
        heard.append(word)
        count -= word == place
    time.sleep(moments.uniform(0, most))
    process.kill()
    process.join()
    return ["", *heard, *told(pipe)][-1]


def test_a_process_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    PROCESSES.set_forkserver_preload(["pytest", "gan_utils.training"])
    whole = start(tmp_path / "whole.npz")
    moments = random.Random(0)
    paths, ends = [tmp_path / "a" / "run.npz", tmp_path / "b" / "run.npz"], []  # two processes at a time
    kills = resumed = torn = 0
    while kills < 10 or torn < 2:
        assert kills < 100
        for path, (process, pipe) in [(path, start(path)) for path in paths]:
            last = kill(process, pipe, moments)
            assert process.exitcode <= 0, "it failed; it was not killed"
            if process.exitcode < 0:
                kills, resumed = kills + 1, resumed + path.is_file()
                torn += last == "writes" and [*path.parent.glob("*")] not in ([], [path])
            else:  # it was too quick: what it ends with is compared, and the next one begins anew
                ends.append(last)
                path.unlink()
    assert resumed > 0
    again = start(paths[0])
    with keras.device("cpu"):  # this process goes on with the other one: here Python's hashes are not the server's
        ends.append(digest(*train(paths[1], callbacks=[Tell([].append)])))
    ends += [[*told(pipe)][-1] for _, pipe in (whole, again)]
    assert len(set(ends)) == 1
    assert len(ends[0]) == 64


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(path, whole, monkeypatch):
    before = path.read_bytes()

    def killed(file, *arrays):
        file.write(b"PK half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        train(path)
    assert path.read_bytes() == before
    monkeypatch.undo()
    assert digest(*train(path)) == digest(*whole)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
def test_a_damaged_checkpoint_is_refused_and_kept(path, damage):
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
        ({"units": 7}, "Its generator is built from other layers"),
        ({"real": REAL[::-1]}, "Its first batch of data was another one: the images changed"),
        ({"batch_size": 10}, "batches"),
        ({"objective": losses.minimax()}, "objective"),
        ({"d_steps": 2}, "d_steps"),
        ({"rate": 2e-2}, "d_optimizer"),
        ({"callbacks": [SampleGrid()]}, "callbacks"),
        ({"grid": 3}, "callbacks"),
        ({"fit": {"steps_per_epoch": 3}}, "steps"),
        ({"penalty": lambda critic, real, fake: tf.reduce_mean(critic(fake))}, "penalty: None; given: a function of"),
        ({"penalty": penalties.r1(1.0)}, r"penalty: None; given: r1\(weight=1.0\)"),
        ({"reuse_fakes": True}, "reuse_fakes"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_with_the_reason(path, change, named):
    told = named if named.startswith("Its") else f"Its {named}.*"
    with pytest.raises(ValueError, match=f"belongs to another training. {told}.*Name another file"):
        train(path, **change)


def test_a_training_with_a_penalty_that_draws_resumes_bit_for_bit(tmp_path):
    recipe = {"objective": losses.wasserstein(), "penalty": penalties.dragan(1.0) + penalties.gradient_penalty(2.0)}
    whole = train(tmp_path / "whole.npz", epochs=3, **recipe)
    train(tmp_path / "part.npz", epochs=1, **recipe)
    assert digest(*train(tmp_path / "part.npz", epochs=3, **recipe)) == digest(*whole)
    with pytest.raises(ValueError, match=r"Its penalty: dragan\(weight=1.0\) \+ gradient_penalty\(weight=2.0\); given"):
        train(tmp_path / "part.npz", epochs=4, objective=losses.wasserstein(), penalty=penalties.dragan(1.0))


def test_a_checkpoint_of_another_precision_is_refused(path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with pytest.raises(ValueError, match=r"belongs to another training\. Its generator"):
            train(path)
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_checkpoint_of_another_version_is_refused(path, monkeypatch):
    monkeypatch.setattr(tf, "__version__", "9.0.0")
    with pytest.raises(ValueError, match=r"Its versions: .*tensorflow.*given: .*9\.0\.0"):
        train(path)


def test_a_refused_checkpoint_changes_nothing(path):
    keras.utils.set_random_seed(2)
    gan = GAN(*networks(), latent_dim=2)
    gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
    before = [variable.numpy() for variable in gan.variables]
    with pytest.raises(ValueError, match="belongs to another training"):
        gan.fit(data.batches(REAL, 8), verbose=0, callbacks=[Checkpoint(path)])
    for variable, value in zip(gan.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize("callbacks", [[], [SampleGrid(), SampleGrid(), Score(np.mean)]], ids=["fewer", "more"])
def test_a_checkpoint_with_other_callbacks_is_refused_before_a_weight_is_touched(path, callbacks):
    gan = build()
    before = [variable.numpy() for variable in gan.variables]
    with pytest.raises(ValueError, match=r"belongs to another training\. Its callbacks"):
        gan.fit(data.batches(REAL, 8), verbose=0, callbacks=[Checkpoint(path), *callbacks])
    for variable, value in zip(gan.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


class Spoil(keras.callbacks.Callback):
    """Makes one weight NaN, before an epoch or after its last step."""

    def __init__(self, first):
        super().__init__()
        setattr(self, "on_epoch_begin" if first else "on_epoch_end", self.spoil)

    def spoil(self, epoch, logs=None):
        self.model.generator.weights[0].assign(self.model.generator.weights[0] * np.nan)


def test_an_epoch_with_nan_is_not_kept(path, capsys):
    before = path.read_bytes()
    train(path, callbacks=[Spoil(first=True)])
    assert "Training stopped" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_an_epoch_with_a_loss_that_is_not_finite_is_not_kept(tmp_path, capsys):
    """Though its gradients, and so the weights, are."""
    players = losses.minimax()
    endless = losses.Objective("endless", lambda *logits: players.discriminator(*logits) + math.inf, players.generator)
    gan, _, _ = train(tmp_path / "run.npz", objective=endless)
    assert "Training stopped" in capsys.readouterr().out
    assert all(np.isfinite(variable).all() for variable in state(gan))
    assert not list(tmp_path.iterdir())


def test_weights_that_the_last_step_of_an_epoch_spoiled_are_not_kept(path, capsys):
    before = path.read_bytes()
    train(path, callbacks=[Spoil(first=False)])
    assert path.read_bytes() == before


def test_a_score_that_is_nan_has_its_place_in_the_history(tmp_path):
    scores = [0.5, math.nan, 0.25]
    for epochs, part in ((2, scores[:2]), (3, scores[2:])):  # the second training goes on where the first one ended
        callbacks = [Score(lambda images, part=part: part.pop(0), samples=4), Checkpoint(tmp_path / "run.npz")]
        history = build().fit(data.batches(REAL, 8), epochs=epochs, verbose=0, callbacks=callbacks)
    np.testing.assert_array_equal(history.history["score"], scores)


def test_a_dataset_that_was_read_before_is_refused_with_a_hint(tmp_path):
    gan, dataset, checkpoint = build(), data.batches(REAL, 8), Checkpoint(tmp_path / "run.npz")
    gan.fit(dataset, epochs=1, verbose=0, callbacks=[checkpoint])
    with pytest.raises(ValueError, match=r"the images changed.* A dataset that was read before has another order"):
        gan.fit(dataset, epochs=2, verbose=0, callbacks=[checkpoint])
    gan.fit(data.batches(REAL, 8), epochs=2, verbose=0, callbacks=[checkpoint])
    assert len(checkpoint.history["d_loss"]) == 2


def test_numbers_of_numpy_are_kept_too(tmp_path):
    path = tmp_path / "run.npz"
    film = SampleGrid(rows=np.int64(2), columns=np.int64(2), seed=np.int64(1))
    for epochs in (1, 2):
        gan = GAN(*networks(), latent_dim=np.int64(2), seed=np.int64(1))
        gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3), d_steps=np.int64(2))
        callbacks = [film, checkpoint := Checkpoint(path)]
        gan.fit(data.batches(REAL, 8), epochs=epochs, steps_per_epoch=np.int64(2), verbose=0, callbacks=callbacks)
    assert len(checkpoint.history["d_loss"]) == 2


def test_settings_of_callbacks_are_compared_as_json_has_them(tmp_path):
    class Sized(SampleGrid):
        def get_config(self):
            return {"size": (2, 2), "names": {1: "one"}}

    for epochs in (1, 2):
        callbacks = [Sized(rows=2, columns=2), checkpoint := Checkpoint(tmp_path / "run.npz")]
        build().fit(data.batches(REAL, 8), epochs=epochs, verbose=0, callbacks=callbacks)
    assert len(checkpoint.history["d_loss"]) == 2


def test_a_cell_that_runs_twice_goes_on(path):
    """Keras gives new numbers to the layers of networks that are built again in one process."""
    gan_utils.models.mlp_generator()
    assert {len(values) for values in train(path, epochs=3)[2].values()} == {3}


def test_a_dataset_without_a_length_needs_the_number_of_steps(tmp_path):
    gan = GAN(*networks(), latent_dim=2)
    gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
    dataset = data.batches(REAL, 8).filter(lambda batch: True)
    with pytest.raises(ValueError, match=r"does not know its length.* steps_per_epoch"):
        gan.fit(dataset, verbose=0, callbacks=[Checkpoint(tmp_path / "run.npz")])
    gan.fit(dataset, steps_per_epoch=2, verbose=0, callbacks=[Checkpoint(tmp_path / "run.npz")])
