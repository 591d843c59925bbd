"""The runner of the studies: nothing that was measured is measured again or lost."""

import concurrent.futures
import errno
import importlib
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import study
import tensorflow as tf

from gan_utils import data, metrics

SETTINGS = {"plain": {}, "doubled": {"factor": 2}}
RESULTS = study.FOLDER
NO_STUDY = {"precision_gpu", "versions"}  # written by benchmarks/precision.py and tools/check_versions.py
NAMES = sorted(path.stem for path in RESULTS.glob("*.json") if path.stem not in NO_STUDY)

# A process that makes two runs, the first of them when another process has begun too, and gets stuck in the third.
STUCK = """
import pathlib, sys, time
import study, test_study

study.FOLDER = folder = pathlib.Path(sys.argv[1])
study.LOCKS = folder / "locks"
calls = []

def train(seed, factor=1):
    calls.append(test_study.begin(folder, "stuck", seed, factor))
    if len(calls) == 3:
        (folder / "stuck").touch()
        time.sleep(600)
    return {"by": "stuck"}

study.conduct("trial", {"steps": 3}, test_study.SETTINGS, range(6), train)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "FOLDER", tmp_path)
    monkeypatch.setattr(study, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(study, "PAUSE", 0.05)
    return tmp_path


def begin(folder, name, seed, factor):
    """Writes down that a run begins, and waits until both processes are at work."""
    with open(folder / "calls", "a") as file:
        file.write(f"{name} {seed} {factor}\n")
    wait_for(lambda: len({line.split()[0] for line in calls(folder)}) == 2)


def calls(folder):
    return (folder / "calls").read_text().splitlines()


def wait_for(condition):
    end = time.monotonic() + 120.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def runs(folder):
    return json.loads((folder / "trial.json").read_text("utf-8"))["runs"]


def test_a_study_runs_every_setting_with_every_seed(folder):
    study.conduct("trial", {"steps": 3}, SETTINGS, range(2), lambda seed, factor=1: {"score": factor * seed})
    assert [(run["setting"], run["seed"], run["score"]) for run in runs(folder)] == [
        ("plain", 0, 0),
        ("doubled", 0, 0),
        ("plain", 1, 1),
        ("doubled", 1, 2),
    ]
    written = json.loads((folder / "trial.json").read_text("utf-8"))
    assert written["command"] == "python studies/trial.py"
    assert written["protocol"] == {"steps": 3}
    assert set(written["versions"]) == {"python", "tensorflow", "keras", "gan_utils"}


def test_an_interrupted_study_goes_on_where_it_stopped(folder):
    calls = []

    def train(seed, factor=1):
        calls.append((seed, factor))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {"score": factor}

    with pytest.raises(KeyboardInterrupt):
        study.conduct("trial", {}, SETTINGS, range(2), train)
    assert len(runs(folder)) == 2
    study.conduct("trial", {}, SETTINGS, range(2), train)
    assert calls == [(0, 1), (0, 2), (1, 1), (1, 1), (1, 2)]
    assert len(runs(folder)) == 4


def test_each_run_is_a_line_so_that_a_change_can_be_read(folder):
    study.conduct("trial", {}, SETTINGS, range(2), lambda seed, factor=1: {"score": factor})
    lines = (folder / "trial.json").read_text("utf-8").splitlines()
    assert sum('"setting"' in line for line in lines) == 4
    assert not list(folder.glob("*.partial*"))


def test_a_study_of_another_script_names_its_command(folder):
    study.conduct("trial", {}, SETTINGS, range(1), lambda seed, factor=1: {}, command="python studies/other.py")
    assert json.loads((folder / "trial.json").read_text("utf-8"))["command"] == "python studies/other.py"


def test_two_processes_share_a_study_and_what_a_killed_one_leaves_is_made_by_the_other(folder, monkeypatch):
    paths = os.pathsep.join(str(pathlib.Path(file).parent) for file in (study.__file__, __file__))
    other = subprocess.Popen([sys.executable, "-c", STUCK, str(folder)], env={**os.environ, "PYTHONPATH": paths})
    wait_for(lambda: (folder / "calls").exists() or other.poll() is not None)
    assert other.poll() is None
    mine = []

    def train(seed, factor=1):
        begin(folder, "mine", seed, factor)
        mine.append((seed, factor))
        if len(mine) == 2:
            wait_for((folder / "stuck").exists)
        return {"by": "mine"}

    said = []

    def kill_who_is_waited_for(line, **options):
        said.append(line)
        if line.startswith("Waiting"):
            threading.Timer(10 * study.PAUSE, other.kill).start()

    monkeypatch.setattr(study, "print", kill_who_is_waited_for, raising=False)
    try:
        study.conduct("trial", {"steps": 3}, SETTINGS, range(6), train)
    finally:
        other.kill()
        other.wait()
    wanted = [(seed, factor) for seed in range(6) for factor in (1, 2)]
    theirs = [tuple(map(int, line.split()[1:])) for line in calls(folder) if line.startswith("stuck")]
    assert len(theirs) == 3
    assert sorted(mine + theirs[:2]) == wanted  # each once; the third run of the other process, by this one
    assert mine[-1] == theirs[2]
    assert sum(line.startswith("Waiting") for line in said) == 1
    assert [(run["seed"], run["setting"]) for run in runs(folder)] == [
        (seed, {1: "plain", 2: "doubled"}[factor]) for seed, factor in wanted
    ]
    assert [run["by"] for run in runs(folder)].count("stuck") == 2


def test_runs_that_end_at_the_same_time_are_all_kept(folder):
    file = study.File(folder / "trial.json", study.new_study("trial", {}))
    some = [{"setting": setting, "seed": seed} for seed in range(20) for setting in SETTINGS]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda run: file.add(run, list(SETTINGS)), reversed(some)))
    assert runs(folder) == some


def test_a_run_that_is_there_already_stays_as_it_is(folder):
    file = study.File(folder / "trial.json", study.new_study("trial", {}))
    for score in (1, 2):
        file.add({"setting": "plain", "seed": 0, "score": score}, ["plain"])
    assert [run["score"] for run in runs(folder)] == [1]


def test_runs_of_settings_that_are_not_asked_for_stay_behind_the_others(folder):
    study.conduct("trial", {}, {"old": {}, **SETTINGS}, range(2), lambda seed, factor=1: {})
    study.conduct("trial", {}, {**SETTINGS, "new": {}}, range(2), lambda seed, factor=1: {})
    assert [run["setting"] for run in runs(folder)] == ["plain", "doubled", "new", "old"] * 2


def test_a_lock_is_held_once_and_for_its_own_part(folder):
    path = folder / "trial.json"
    with study.locked(path, "plain", 0) as mine:
        assert mine
        for part, free in ((("plain", 0), False), (("plain", 1), True), (("doubled", 0), True), ((), True)):
            with study.locked(path, *part) as had:
                assert had == free
        with study.locked(folder / "elsewhere" / "trial.json", "plain", 0) as had:
            assert had
    with study.locked(path, "plain", 0) as mine:
        assert mine


@pytest.mark.skipif(os.name == "nt", reason="it replaces the lock of other systems")
def test_a_disk_without_locks_is_refused_in_words(folder, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(study.fcntl, "flock", refuse)
    with pytest.raises(OSError, match=r"lock cannot be locked \(.*No locks available\): copy the course to a disk"):
        study.conduct("trial", {}, SETTINGS, range(1), lambda seed, factor=1: {})


def test_runs_of_another_protocol_are_not_mixed(folder):
    def conduct(protocol, measured):
        study.conduct("trial", protocol, SETTINGS, range(1), lambda seed, factor=1: {}, measured=measured)

    conduct({"steps": 3, "sizes": (1, 2), "rate": 0.99}, {"floor": {"digits": 1.5}})
    (folder / "trial.json").write_text((folder / "trial.json").read_text("utf-8").replace('"doubled"', '"removed"'))
    conduct({"rate": 0.99, "steps": 3, "sizes": [1, 2]}, {"floor": {"digits": 1.51}})  # the same, but for a last digit
    kept = (folder / "trial.json").read_text("utf-8")
    assert json.loads(kept)["protocol"] == {"steps": 3, "sizes": [1, 2], "rate": 0.99, "floor": {"digits": 1.5}}
    assert len(json.loads(kept)["runs"]) == 3
    for protocol, floor, words in (
        ({"steps": 4, "sizes": (1, 2), "rate": 0.99}, 1.5, "another protocol: steps is 3 there, 4 here. Take back"),
        ({"steps": 3, "sizes": (1, 3), "rate": 0.99}, 1.5, r"sizes is \[1, 2\] there, \[1, 3\] here"),
        ({"steps": 3, "sizes": (1, 2), "rate": 0.995}, 1.5, "rate is 0.99 there, 0.995 here"),
        ({"sizes": (1, 2), "rate": 0.99}, 1.5, "steps is 3 there, 'absent' here"),
        ({"steps": 3, "sizes": (1, 2), "rate": 0.99, "k": 2}, 1.5, "k is 'absent' there, 2 here"),
        ({"steps": 3, "sizes": (1, 2), "rate": 0.99}, 1.6, "digits of floor is 1.5 there, 1.6 here"),
        ({"steps": 4, "sizes": (1, 2), "rate": 0.9}, 1.5, "steps is 3 there, 4 here; rate is 0.99 there, 0.9 here"),
    ):
        with pytest.raises(ValueError, match=words):
            conduct(protocol, {"floor": {"digits": floor}})
        assert (folder / "trial.json").read_text("utf-8") == kept


@pytest.mark.parametrize("name", NAMES)
def test_committed_runs_are_of_the_protocol_of_their_script(name, monkeypatch):
    """What is measured is left out: that takes too long. A script may conduct several studies, one after the other."""
    stored = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    script = pathlib.Path(stored["command"].removeprefix("python studies/")).stem
    given = {}

    def conduct(name, protocol, settings, seeds, train, command=None, measured=None):
        given[name] = protocol, command or f"python studies/{name}.py", measured or {}

    monkeypatch.setattr(study, "conduct", conduct)
    monkeypatch.setattr(study, "FOLDER", RESULTS)  # where a report looks for what is there
    monkeypatch.setattr(study, "reference", lambda name="MNIST": np.zeros((10_000, 1)))
    monkeypatch.setattr(study, "frechet", lambda images: 0.0)
    monkeypatch.setattr(metrics, "digit_features", lambda images: (np.zeros((len(images), 1)), None))
    monkeypatch.setattr(metrics, "frechet_distance", lambda *features: 0.0)
    monkeypatch.setattr(study, "IMAGES", dict.fromkeys(study.IMAGES, (data.load_mnist, metrics.digit_features)))
    monkeypatch.setattr(study, "scores", lambda *features: {})
    monkeypatch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", lambda threads: None)  # too late here
    monkeypatch.setattr("sys.argv", [name])
    importlib.import_module(script).main()

    protocol, command, measured = given[name]
    assert stored["command"] == command
    assert not list(study.differences({k: v for k, v in stored["protocol"].items() if k not in measured}, protocol))


def test_images_come_back_as_they_were_stored():
    images = data.to_signed(np.random.default_rng(0).integers(0, 256, size=(3, 4, 5, 3), dtype=np.uint8))
    np.testing.assert_array_equal(data.decode_images(study.encode(images), (4, 5, 3)), images)
