"""The table of methods, in a budget of two steps."""

import functools
import json
import math

import keras
import methods
import pytest
import study

from gan_utils import data, losses, metrics


def few_digits(split):
    images, labels = data.load_mnist("test")
    return images[:1100], labels[:1100]


@pytest.fixture
def small(tmp_path, monkeypatch):
    sizes = {"SECONDS": 0.0, "STEPS_PER_CHECK": 2, "SAMPLES": 1000, "CURVE_SAMPLES": 50, "LABORATORY_STEPS": 4}
    for name, value in sizes.items():
        monkeypatch.setattr(methods, name, value)
    monkeypatch.setattr(study, "IMAGES", {"MNIST": (few_digits, metrics.digit_features)})
    monkeypatch.setattr(metrics, "kernel_distance", functools.partial(metrics.kernel_distance, subsets=2))
    monkeypatch.setattr(methods, "SEEDS", range(1))
    monkeypatch.setattr(study, "FOLDER", tmp_path)
    monkeypatch.setattr(study, "LOCKS", tmp_path / "locks")
    study.reference.cache_clear()
    yield tmp_path / "methods.json"
    study.reference.cache_clear()


def test_every_objective_of_the_course_takes_part(monkeypatch):
    names = {*(f"{maker}()" for maker in losses.MAKERS), "non_saturating(label_smoothing=0.1)"}
    assert set(methods.objectives()) == names

    def squares() -> losses.Objective:
        return losses.Objective("squares()", losses.minimax().discriminator, losses.minimax().generator)

    monkeypatch.setitem(losses.MAKERS, "squares", squares)
    assert set(methods.objectives()) == {*names, "squares()"}
    assert {"MNIST · DCGAN, squares()", "grid of 25 · squares()"} < set(methods.settings())


def test_all_methods_are_compared_and_none_twice(small, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["methods.py", "--target", "1e9"])
    chosen = ("MNIST · MLP, non_saturating()", "MNIST · DCGAN, minimax()", "ring of 8 · minimax()")
    settings = {name: setting for name, setting in methods.settings().items() if name in chosen}
    monkeypatch.setattr(methods, "settings", lambda: settings)
    methods.main()
    written = small.read_text("utf-8")
    runs = {run["setting"]: run for run in json.loads(written)["runs"]}
    assert set(runs) == set(chosen)
    for run in runs.values():
        if run["data"] == "MNIST":
            assert run["steps"] == 2
            assert len(run["curve"]) == 1
            assert run["train_seconds"] == run["curve"][0][0] > 0.0
            assert run["frechet"] > 10.0 * json.loads(written)["protocol"]["floor"]["MNIST"]["frechet"]
            assert all(0.0 <= run[name] <= 1.0 for name in ("precision", "recall", "coverage"))
        else:
            assert 0 <= run["modes"] <= len(methods.CENTERS[run["data"]][0])
    monkeypatch.setattr(methods, "train", None)  # would fail if a run were made again
    methods.main()
    assert small.read_text("utf-8") == written
    times = [line.split()[-1] for line in capsys.readouterr().out.splitlines() if line.startswith("MNIST · MLP")]
    assert times == [f"{runs['MNIST · MLP, non_saturating()']['train_seconds']:.1f}"] * 2  # reached at once, each time


def test_the_time_to_a_score_is_that_of_the_first_point_that_reaches_it():
    curve = [[5.0, None], [10.0, 300.0], [20.0, 150.0], [30.0, 180.0], [40.0, 90.0]]
    assert methods.seconds_to(150.0, curve) == 20.0
    assert methods.seconds_to(100.0, curve) == 40.0
    assert math.isnan(methods.seconds_to(50.0, curve))


def test_a_run_that_diverges_is_recorded_without_a_score(small, monkeypatch):
    monkeypatch.setattr(keras.optimizers.Adam, "__init__", infinite_rate(keras.optimizers.Adam.__init__))
    run = methods.train_on_images(0, "MNIST", "MLP", "non_saturating()")
    assert "frechet" not in run
    assert run["curve"][-1][1] is None


def infinite_rate(build):
    return lambda self, learning_rate, **options: build(self, learning_rate=math.inf, **options)
