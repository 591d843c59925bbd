"""What all studies share: one training run for each setting and seed, written to data/results/ as it ends.

Runs that the file already holds are kept, so an interrupted study goes on where it stopped; delete it to start anew.
"""

import base64
import json
import os
import pathlib
import platform
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import gan_utils
from gan_utils import data, files

FOLDER = pathlib.Path(__file__).parent.parent / "data" / "results"


def conduct(
    name: str,
    protocol: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
    seeds: Iterable[int],
    train: Callable[..., Mapping[str, Any]],
    command: str | None = None,
) -> None:
    """Runs `train(seed, **setting)` for every setting and seed, seed by seed, and keeps what each returns.

    Args:
        name: of the study: tools/NAME_study.py writes data/results/NAME.json.
        protocol: what all runs have in common, for the reader of the table.
        settings: the keyword arguments of `train`, by the setting's name.
        seeds: of the runs.
        train: one training run. Its record must fit into JSON; "seconds" is added to it.
        command: that makes the file again; None is "python tools/NAME_study.py".
    """
    path = FOLDER / f"{name}.json"
    study = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else new_study(name, protocol, command)
    done = {(run["setting"], run["seed"]) for run in study["runs"]}
    for seed in seeds:
        for setting, changes in settings.items():
            if (setting, seed) in done:
                continue
            keras.backend.clear_session()
            keras.utils.set_random_seed(seed)
            begin = time.perf_counter()
            run = {"setting": setting, "seed": seed, **train(seed, **changes)}
            run["seconds"] = round(time.perf_counter() - begin, 1)
            study["runs"].append(run)
            study["runs"].sort(key=lambda run: (run["seed"], list(settings).index(run["setting"])))
            write(study, path)
            print(json.dumps({key: value for key, value in run.items() if key != "samples"})[:300], flush=True)


def encode(images: np.ndarray) -> str:
    """Images in [-1, 1], (samples, height, width, channels), as text; back by `gan_utils.data.decode_images`."""
    return base64.b64encode(zlib.compress(data.to_bytes(images).tobytes(), 9)).decode()


def new_study(name: str, protocol: Mapping[str, Any], command: str | None = None) -> dict[str, Any]:
    return {
        "command": command or f"python tools/{name}_study.py",
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
