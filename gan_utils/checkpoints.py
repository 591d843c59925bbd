"""`Checkpoint`: a training that is killed, and started again by the same code, ends as if nothing had happened.

Keras' `BackupAndRestore` keeps neither the state of the noise, nor the order of the data, nor what callbacks hold.
"""

import hashlib
import json
import operator
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gan_utils import files, penalties

# What a difference means, where two hashes would tell a reader nothing.
_DIFFERS = {
    "data": "Its first batch of data was another one: the images changed (some were added, removed or edited), or they "
    "come in another order. A dataset that was read before has another order: make it anew.",
    "batches": "Its batches were another number: the images changed, or their number in a batch.",
    "generator": "Its generator is built from other layers.",
    "discriminator": "Its discriminator is built from other layers.",
}


class Checkpoint(keras.callbacks.Callback):
    """Keeps the state of a training in a file, written after every epoch, from which `GAN.fit` goes on.

    The state is all that the rest of the training depends on: both networks, both optimizers, the noise, the history,
    and what callbacks with `get_state` and `set_state` hold, such as the film of a `SampleGrid`. (Where such a callback
    has `get_config`, that must be the same when the training goes on, and fit into JSON.) The order of the data
    follows from the number of epochs done; it is not the order of a training without a `Checkpoint`. An epoch that
    leaves a weight, a moment or a metric not finite is not kept.

    A new file replaces the old one at once, so a kill while it is written leaves the old one. Of several machines, the
    first one writes; all read, when the training goes on.

    Args:
        path: of the file; it and its folder need not exist.

    Raises:
        OSError: in `GAN.fit`, if the path cannot be written.
        ValueError: in `GAN.fit`, if the path is a folder, or the file is damaged, or was written by another training:
            other networks, data, objective, optimizers, steps, callbacks that are kept, devices or versions. Nothing
            has changed then. A dataset that shuffles counts as another one once it has been read: make it anew, as in
            the example.

    Example:
        >>> checkpoint = Checkpoint("runs/digits.npz")  # gan.fit(data.batches(images), callbacks=[checkpoint, ...])
        >>> checkpoint.history
        {}
    """

    def __init__(self, path: str | pathlib.Path):
        super().__init__()
        self.path = pathlib.Path(path)
        self.history: dict[str, list[float]] = {}
        self.identity: dict[str, Any] = {}
        self.others: list[keras.callbacks.Callback] = []

    def restore(self, gan: keras.Model, dataset: tf.data.Dataset, steps: int, callbacks: Sequence[Any]) -> int:
        """Puts everything back to where the file left it, and returns the number of epochs done; 0 without a file."""
        files.check_writable(self.path)
        self.others = [callback for callback in callbacks if hasattr(callback, "get_state")]
        for callback in self.others:
            callback.set_model(gan)  # a film that belongs to another model begins anew before it takes a state back
        identity = _identify(gan, dataset, steps, self.others)
        self.identity = json.loads(json.dumps(identity, default=operator.index))  # as a file holds it
        self.history = {}
        header, arrays = self._read() if self.path.is_file() else ({"epochs": 0}, [])
        if arrays:
            self._compare(header["identity"])
        _check_workers(gan.distribute_strategy, header["epochs"])
        if not arrays:
            return 0
        variables = _variables(gan)
        for variable, value in zip(variables, arrays[: len(variables)], strict=True):
            variable.assign(value)
        values = iter(arrays[len(variables) :])
        for callback, names in zip(self.others, header["states"], strict=True):
            callback.set_state({name: next(values) for name in names})
        self.history = header["history"]
        return header["epochs"]

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        arrays = [variable.numpy() for variable in _variables(self.model)]
        means = [logs[metric.name] for metric in self.model.metrics]  # a score that others added may be NaN
        if not all(np.isfinite(array).all() for array in [*arrays, *means]):
            return
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        if not self.model.distribute_strategy.extended.should_checkpoint:  # another machine writes
            return
        states = [callback.get_state() for callback in self.others]
        header = {
            "epochs": epoch + 1,
            "identity": self.identity,
            "history": self.history,
            "states": [list(state) for state in states],
        }
        arrays += [value for state in states for value in state.values()]
        self._write({**header, "arrays": len(arrays)}, arrays)

    def _write(self, header: dict[str, Any], arrays: list[np.ndarray]) -> None:
        def write(path: pathlib.Path) -> None:
            with open(path, "wb") as file:
                np.savez(file, np.array(json.dumps(header)), *arrays)

        files.replace(self.path, write)

    def _read(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        try:
            with open(self.path, "rb") as file, np.load(file, allow_pickle=False) as stored:
                header, *arrays = (stored[f"arr_{i}"] for i in range(len(stored.files)))
            header = json.loads(str(header))
            if header["arrays"] != len(arrays):  # ZIP's own sums tell of changes, but not of losses
                raise ValueError(f"{len(arrays)} arrays, expected {header['arrays']}")
            if isinstance(header["identity"]["penalty"], bool):  # version 0.1.0 knew only whether there was one
                header["identity"]["penalty"] = penalties.OWN if header["identity"]["penalty"] else None
            return header, arrays
        except Exception as error:  # NumPy and zipfile raise a dozen kinds where a file is broken
            raise ValueError(
                f"The checkpoint {self.path} is damaged ({error}). Remove it to start anew, or restore a copy."
            ) from error

    def _compare(self, stored: dict[str, Any]) -> None:
        for name, here in self.identity.items():
            if stored.get(name) == here:
                continue
            differs = _DIFFERS.get(name, f"Its {name}: {stored.get(name)}; given: {here}.")
            raise ValueError(
                f"The checkpoint {self.path} belongs to another training. {differs} Name another file, or train with "
                "what it was written with."
            )


def _check_workers(strategy: tf.distribute.Strategy, epochs: int) -> None:
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        done = strategy.gather(strategy.run(lambda: tf.constant([epochs])), axis=0).numpy()
        if len({*done}) > 1:
            raise ValueError(
                f"The machines would go on after epochs {done.tolist()}. Give them one file in a folder that all read."
            )


def _variables(gan: keras.Model) -> list[keras.Variable]:
    """Everything that a step changes: weights, running statistics, random states, and both optimizers."""
    return [*gan.variables, *gan.d_optimizer.variables, *gan.g_optimizer.variables]


def _identify(gan: keras.Model, dataset: tf.data.Dataset, steps: int, callbacks: Sequence[Any]) -> dict[str, Any]:
    """What must be the same when a training goes on."""
    first = next(iter(dataset))
    return {
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        "devices": gan.distribute_strategy.num_replicas_in_sync,
        "generator": _digest(gan.generator),
        "discriminator": _digest(gan.discriminator),
        "latent_dim": gan.latent_dim,
        "game": _game(gan),
        "objective": gan.objective.name,
        "penalty": None if gan.penalty is None else gan.penalty.name,
        "d_steps": gan.d_steps,
        "reuse_fakes": gan.reuse_fakes or None,  # as in files of version 0.1.0, which lack it
        "average": gan.average,
        "d_optimizer": _describe(gan.d_optimizer),
        "g_optimizer": _describe(gan.g_optimizer),
        "batches": int(dataset.cardinality()),
        "steps": steps,
        "variables": len(_variables(gan)),
        "callbacks": [[type(each).__name__, getattr(each, "get_config", dict)()] for each in callbacks],
        "data": hashlib.sha256(b"".join(np.asarray(part).tobytes() for part in tf.nest.flatten(first))).hexdigest(),
    }


def _game(gan: keras.Model) -> dict[str, str] | None:
    """The class and settings of another game than the plain one, which files of version 0.1.0 do not name."""
    plain = ("name", "latent_dim", "generator", "discriminator", "average")
    settings = {name: value for name, value in gan.get_config().items() if name not in plain}
    if type(gan).__name__ == "GAN" and not settings:
        return None
    short = {
        name: _digest(getattr(gan, name)) if isinstance(value, dict) else json.dumps(value, default=str)
        for name, value in settings.items()  # dictionaries are networks, as an InfoGAN's recognizer
    }
    return {"class": type(gan).__name__, **short}


def _digest(network: keras.Model) -> str:
    """The same for networks that are built alike, whatever numbers Keras gave to their layers."""
    layers = [_describe(layer) + layer.dtype_policy.name for layer in network.layers]
    return hashlib.sha256("".join(layers).encode()).hexdigest()


def _describe(thing: keras.Layer | keras.optimizers.Optimizer) -> str:
    """Its class and settings, without the names and numbers that differ from one object to the next."""
    text = json.dumps(keras.saving.serialize_keras_object(thing), sort_keys=True)
    return re.sub(r'"(name|shared_object_id)": ("[^"]*"|\d+),? ?', "", text)
