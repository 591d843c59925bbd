"""The runner of the studies: nothing that was measured is measured again or lost."""

import json

import numpy as np
import pytest
import study

from gan_utils import data

SETTINGS = {"plain": {}, "doubled": {"factor": 2}}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "FOLDER", tmp_path)
    return tmp_path


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
    assert written["command"] == "python tools/trial_study.py"
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


def test_a_study_of_another_tool_names_its_command(folder):
    study.conduct("trial", {}, SETTINGS, range(1), lambda seed, factor=1: {}, command="python tools/other.py")
    assert json.loads((folder / "trial.json").read_text("utf-8"))["command"] == "python tools/other.py"


def test_images_come_back_as_they_were_stored():
    images = data.to_signed(np.random.default_rng(0).integers(0, 256, size=(3, 4, 5, 3), dtype=np.uint8))
    np.testing.assert_array_equal(data.decode_images(study.encode(images), (4, 5, 3)), images)
