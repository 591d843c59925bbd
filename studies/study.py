"""What all studies share: one training run for each setting and seed, written to data/results/ as it ends.

Runs that the file already holds are kept, so an interrupted study goes on where it stopped; delete it to start anew.
Two processes can work on one file at once: start the same study twice, and each makes the runs that the other does not.
"""

import base64
import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os
import pathlib
import platform
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import keras
import numpy as np
import tensorflow as tf

import gan_utils
from gan_utils import data, files, metrics, models

if os.name == "nt":
    import msvcrt
else:
    import fcntl

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "data" / "results"
LOCKS = ROOT / "build" / "locks"
HELD_OUT = 10_000  # training images that choose a learning rate
PAUSE = 10.0  # seconds between two looks at the runs that another process makes

IMAGES = {
    "MNIST": (data.load_mnist, metrics.digit_features),
    "Fashion-MNIST": (data.load_fashion_mnist, metrics.fashion_features),
}


def conduct(
    name: str,
    protocol: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
    seeds: Iterable[int],
    train: Callable[..., Mapping[str, Any]],
    command: str | None = None,
    measured: Mapping[str, Any] | None = None,
) -> None:
    """Runs `train(seed, **setting)` for every setting and seed, seed by seed, and keeps what each returns.

    A run that another process makes is left to it. In the end this one waits for it; where the other process dies, its
    run is made here.

    Args:
        name: of the study: studies/NAME.py writes data/results/NAME.json.
        protocol: what all runs have in common, for the reader of the table.
        settings: the keyword arguments of `train`, by the setting's name.
        seeds: of the runs.
        train: one training run. Its record must fit into JSON; "seconds" is added to it.
        command: that makes the file again; None is "python studies/NAME.py".
        measured: entries of the protocol that were measured, such as the score of real images. Another machine finds
            other last digits, so they may differ from the file's by one in a hundred.

    Raises:
        ValueError: the file holds runs of another protocol.
    """
    measured = measured or {}
    file = File(FOLDER / f"{name}.json", new_study(name, {**protocol, **measured}, command), tuple(measured))
    wanted = [(setting, seed) for seed in seeds for setting in settings]
    waiting = False
    while missing := file.missing(wanted):
        idle = not any([make(file, setting, seed, settings, train) for setting, seed in missing])
        if idle and not waiting:
            print(f"Waiting for another process, which makes {missing}", flush=True)
        if idle:
            time.sleep(PAUSE)
        waiting = idle


def make(
    file: "File", setting: str, seed: int, settings: Mapping[str, Mapping[str, Any]], train: Callable[..., Any]
) -> bool:
    """Makes a run and says so, unless another process makes it or has made it."""
    with locked(file.path, setting, seed) as mine:
        if not mine or not file.missing([(setting, seed)]):
            return False
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)
        begin = time.perf_counter()
        run = {"setting": setting, "seed": seed, **train(seed, **settings[setting])}
        run["seconds"] = round(time.perf_counter() - begin, 1)
        file.add(run, list(settings))
    print(json.dumps({key: value for key, value in run.items() if key != "samples"})[:300], flush=True)
    return True


@dataclasses.dataclass(frozen=True)
class File:
    """data/results/NAME.json, to which several processes may add runs at once.

    Args:
        path: of the file, which need not exist.
        new: what the file holds before the first run.
        measured: names of entries of its protocol that may differ by one in a hundred.
    """

    path: pathlib.Path
    new: dict[str, Any]
    measured: Collection[str] = ()

    def missing(self, wanted: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        """Those pairs of setting and seed for which the file has no run."""
        with locked(self.path, wait=True):
            there = set(map(key, self._read()["runs"]))
        return [pair for pair in wanted if pair not in there]

    def add(self, run: dict[str, Any], order: Sequence[str]) -> None:
        """Adds a run, unless its like is there; seed by seed, settings in this order, then those it does not name."""
        rank = {setting: index for index, setting in enumerate(order)}
        with locked(self.path, wait=True):
            study = self._read()
            if key(run) not in map(key, study["runs"]):
                runs = [*study["runs"], run]
                runs.sort(key=lambda run: (run["seed"], rank.get(run["setting"], len(rank))))
                write({**study, "runs": runs}, self.path)

    def _read(self) -> dict[str, Any]:
        if not self.path.is_file():
            return self.new
        study = json.loads(self.path.read_text(encoding="utf-8"))
        if different := "; ".join(differences(study["protocol"], self.new["protocol"], self.measured)):
            raise ValueError(
                f"{self.path} holds runs of another protocol: {different}. Take back what was changed in the script, "
                f"or move the file away to make all runs anew."
            )
        return study


def key(run: Mapping[str, Any]) -> tuple[str, int]:
    return run["setting"], run["seed"]


def differences(stored: Mapping[str, Any], given: Mapping[str, Any], measured: Collection[str] = ()) -> Iterator[str]:
    """What differs between the protocol in a file and the one of today, in words."""
    there, here = flat(stored), flat(json.loads(json.dumps(given)))
    for name in here | there:
        pair = there.get(name, "absent"), here.get(name, "absent")
        numbers = all(isinstance(value, int | float) for value in pair)
        if pair[0] != pair[1] and not (numbers and name[0] in measured and math.isclose(*pair, rel_tol=0.01)):
            yield "{} is {!r} there, {!r} here".format(" of ".join(reversed(name)), *pair)


def flat(protocol: Mapping[str, Any], above: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """The entries of nested dictionaries, by their path of names."""
    entries: dict[tuple[str, ...], Any] = {}
    for name, value in protocol.items():
        entries |= flat(value, (*above, name)) if isinstance(value, Mapping) else {(*above, name): value}
    return entries


@contextlib.contextmanager
def locked(path: pathlib.Path, *part: Any, wait: bool = False) -> Iterator[bool]:
    """Holds the lock on a file, or on a part of it, and says whether it could be had.

    The lock is the system's, on an empty file in `LOCKS`: it ends with the process, even one that is killed.

    Args:
        path: of the file, which need not exist.
        part: what of the file is locked, such as a setting and a seed; nothing is the file itself.
        wait: until whoever holds the lock lets go.
    """
    digest = hashlib.sha256(repr((str(path.resolve()), *part)).encode()).hexdigest()[:16]
    LOCKS.mkdir(parents=True, exist_ok=True)
    with open(LOCKS / f"{path.stem}-{digest}.lock", "a") as file:
        while not (mine := take(file)) and wait:
            time.sleep(0.02)
        yield mine


def take(file: IO[str]) -> bool:
    """Takes the system's lock on an open file, which ends when the file is closed; False if it is taken."""
    try:
        if os.name == "nt":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # what each of them says of a lock that is taken
        return False
    except OSError as error:
        raise OSError(f"{file.name} cannot be locked ({error}): copy the course to a disk of this machine") from error
    return True


@functools.cache
def held_out(name: str = "MNIST") -> np.ndarray:
    """Features of the last `HELD_OUT` training images of one of `IMAGES`, on which a learning rate is chosen."""
    load, extract = IMAGES[name]
    return extract(load("train")[0][-HELD_OUT:])[0]


@functools.cache
def reference(name: str = "MNIST") -> np.ndarray:
    """Features of the 10,000 test images of one of `IMAGES`, (10000, 128)."""
    load, extract = IMAGES[name]
    return extract(load("test")[0])[0]


def frechet(images: np.ndarray, name: str = "MNIST") -> float:
    """Fréchet distance to the 10,000 test images, in the features of the shipped classifier of this data set."""
    return metrics.frechet_distance(IMAGES[name][1](images)[0], reference(name))


def face_features(images: np.ndarray) -> np.ndarray:
    """Of faces of 32 pixels, (samples, 256), as the shipped network sees them that reads attributes."""
    return _face_reader().predict(images, batch_size=500, verbose=0)


@functools.cache
def _face_reader() -> keras.Model:
    reader = models.load_pretrained("faces_attributes")
    return keras.Model(reader.inputs, reader.get_layer("features").output)


def scores(extracted: tuple[np.ndarray, np.ndarray], real: np.ndarray) -> dict[str, float]:
    """All metrics of (features, logits) against the features of as many real images."""
    features, logits = extracted
    found = {
        "frechet": metrics.frechet_distance(features, real),
        "kernel": metrics.kernel_distance(features, real)[0],
        **metrics.precision_recall(real, features),
        "inception_score": metrics.inception_score(logits)[0],
    }
    return {name: rounded(value) for name, value in found.items()}


def rounded(value: float | None, digits: int = 5) -> float | None:
    """To so many significant digits; None where there is no finite number."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.{digits}g}")


def best_runs(name: str, row: str, score: str) -> dict[str, dict[str, Any]]:
    """By each value of `row`, the run of data/results/NAME.json with the lowest score; one without comes last."""
    runs = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))["runs"]
    best: dict[str, dict[str, Any]] = {}
    for run in sorted(runs, key=lambda run: (run[score] is None, run[score])):
        best.setdefault(run[row], run)
    return best


class Clock(keras.callbacks.Callback):
    """Counts the CPU seconds of all trainings it takes part in, and ends the one in which they are spent.

    Args:
        seconds: after which training ends.
    """

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds, self.spent = seconds, 0.0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self.before, self.begin = self.spent, time.process_time()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.spent = self.before + time.process_time() - self.begin
        self.model.stop_training = self.model.stop_training or self.spent >= self.seconds


def stretches(
    gan: gan_utils.GAN,
    dataset: tf.data.Dataset,
    checks: Iterable[int],
    clock: Clock,
    at_once: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Iterator[tuple[int, dict[str, float]]]:
    """Trains to each of these steps of G, and tells its number and what the log says of the steps since the last one.

    The first `at_once` steps, which compile, are not on the clock; the callbacks take part in all. Whoever reads
    decides when to end.
    """
    gan.fit(dataset, steps_per_epoch=at_once, verbose=0, callbacks=list(callbacks))
    done = at_once
    for check in checks:
        history = gan.fit(dataset, steps_per_epoch=check - done, verbose=0, callbacks=[clock, *callbacks]).history
        done = gan.steps_of_g
        yield done, {name: values[-1] for name, values in history.items()}


def encode(images: np.ndarray) -> str:
    """Images in [-1, 1], (samples, height, width, channels), as text; back by `gan_utils.data.decode_images`."""
    return base64.b64encode(zlib.compress(data.to_bytes(images).tobytes(), 9)).decode()


def new_study(name: str, protocol: Mapping[str, Any], command: str | None = None) -> dict[str, Any]:
    return {
        "command": command or f"python studies/{name}.py",
        "protocol": dict(protocol),
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "gan_utils": gan_utils.__version__,
        },
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "runs": [],
    }


def write(study: Mapping[str, Any], path: pathlib.Path) -> None:
    """One run a line, so that a change can be read in a diff; an interruption leaves the last complete file."""
    head = json.dumps({**study, "runs": []}, indent=1).removesuffix("[]\n}")
    runs = ",\n".join(json.dumps(run) for run in study["runs"])
    files.replace(path, lambda partial: partial.write_text(f"{head}[\n{runs}\n]}}\n", encoding="utf-8"))
