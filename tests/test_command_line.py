"""The commands of `python -m gan_utils`: what they refuse, what they write, and that a kill costs them nothing."""

import csv
import doctest
import errno
import inspect
import io
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

import gan_utils
from gan_utils import GAN, SampleGrid, data, files, latent, losses, metrics, models, penalties, plotting
from gan_utils import __main__ as command

EPOCHS = 3
TRAIN = ["train", "--data", "mnist", "--base-filters", "2", "--batch-size", "60", "--latent-dim", "4"]
TRAIN += ["--learning-rate", "0.01", "--average", "0.9", "--seed", "5"]
QUICK = command.RECIPES["quick"]
FIRST = {  # the arguments in a settings.json of version 0.1.0
    "epochs": 7,
    "seed": 0,
    "data": "mnist",
    "image_size": 28,
    "model": "dcgan",
    "base_filters": 64,
    "latent_dim": 100,
    "objective": "non_saturating",
    "label_smoothing": 0.0,
    "d_steps": 1,
    "batch_size": 128,
    "learning_rate": 0.0002,
    "beta1": 0.5,
    "beta2": 0.999,
    "precision": "float32",
    "xla": False,
    "steps_per_execution": 1,
}
BY_HAND = ["--base-filters", "64", "--batch-size", "128", "--learning-rate", "2e-4", "--average", "0"]


class Killed(BaseException):
    """Stands for `kill -9`: nothing catches it."""


@pytest.fixture(autouse=True, scope="module")
def _small():
    """Few images, few samples, and for digits no tracing, which would take most of the time."""
    digits, classes = data.load_mnist("test")
    sets = {"train": (digits[200:320], classes[200:320]), "test": (digits[:200], classes[:200])}
    build = command._build

    def build_eager(*given):
        gan, args = build(*given), given[0]
        gan.run_eagerly = args.data == "mnist"
        return gan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load_mnist", lambda split="train": sets[split])
        patch.setattr(command, "SCORE_SAMPLES", 32)
        patch.setattr(command, "_build", build_eager)
        yield
        keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert command.main([*TRAIN, "--epochs", str(EPOCHS), "--output", str(folder)]) == 0
    return folder


def log(folder):
    """The log without the seconds, which differ from run to run."""
    rows = list(csv.reader((folder / "log.csv").read_text("utf-8").splitlines()))
    return [row[: rows[0].index("seconds")] for row in rows]


def weights(path):
    gan = keras.saving.load_model(path, compile=False)
    return np.concatenate([np.ravel(weight) for weight in gan.get_weights()])


def state(folder):
    """All arrays of a checkpoint but its header and the seconds of `Score`."""
    with np.load(folder / "checkpoint.npz") as stored:
        arrays = [stored[f"arr_{i}"] for i in range(1, len(stored.files))]
    return [array for array in arrays if array.dtype != np.float64]


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def words(*argv):
    """A training that lacks nothing but the words to be tested."""
    return ["train", "--data", "mnist", "--output", "new", *argv]


REFUSED = {
    "no command": ([], "the following arguments are required: COMMAND"),
    "no data": (["train", "--output", "new"], "arguments are required: --data"),
    "epochs": (words("--epochs", "0"), "argument --epochs: got '0', expected a whole number of at least 1"),
    "half epochs": (words("--epochs", "1.5"), "argument --epochs: got '1.5', expected a whole number"),
    "abbreviated": (words("--epoch", "1"), "unrecognized arguments: --epoch 1"),
    "rate": (words("--learning-rate", "2e4"), "--learning-rate: got '2e4', expected a number above 0 and at most 1"),
    "NaN": (words("--beta1", "nan"), "argument --beta1: got 'nan', expected a number from 0 to less than 1"),
    "seed": (words("--seed", "-1"), "argument --seed: got '-1', expected a whole number from 0"),
    "model": (words("--model", "vae"), "argument --model: invalid choice: 'vae'"),
    "data": (words("--data", "nowhere"), "--data: got 'nowhere', expected mnist, fashion_mnist, or a folder"),
    "size of digits": (words("--image-size", "32"), "got --image-size 32, but images of mnist have 28"),
    "size": (words("--data", "photos", "--image-size", "48"), "got --image-size 48, expected one of (28, 32, 64)"),
    "filters": (words("--model", "mlp", "--base-filters", "8"), "--base-filters, the width of dcgan, for an mlp"),
    "file": (words("--output", "file"), "got --output file, which is a file, expected a folder"),
    "no folder": (
        words("--output", "file/run"),
        "Got path='file/run/settings.json', which cannot be written (Not a dir",
    ),
    "long name": (words("--output", "x" * 300), "File name too long"),
    "long data": (words("--data", "x" * 300), "expected mnist, fashion_mnist, or a folder of images that exists"),
    "skip": (words("--skip-broken"), "got --skip-broken, which is for a folder, for mnist; leave it out"),
    "one class": (
        words("--data", "photos", "--conditional"),
        "got --conditional for 0 subfolders of photos, expected one for a class",
    ),
    "objective": (words("--objective", "hinges"), "argument --objective: invalid choice: 'hinges'"),
    "smooth": (
        words("--objective", "wasserstein", "--label-smoothing", "0.1"),
        "--label-smoothing for wasserstein, but only non_saturating and minimax have targets to smooth; leave it out",
    ),
    "penalty": (words("--penalty", "r3"), "argument --penalty: invalid choice: 'r3'"),
    "penalised batch": (
        words("--penalty", "r1"),
        "got --penalty r1 with batch normalisation, by which one image's logit depends on the others; add "
        "--normalization layer, spectral or none",
    ),
    "no bound": (
        words("--objective", "wasserstein"),
        "got --objective wasserstein, whose critic needs a bound on its sl",
    ),
    "asked for batch": (words("--penalty", "r1", "--normalization", "batch"), "got --penalty r1 with batch normalis"),
    "weight alone": (words("--penalty-weight", "1"), "--penalty-weight without --penalty; leave it out, or give both"),
    "weight": (words("--penalty", "r1", "--penalty-weight", "inf"), "got 'inf', expected a number above 0, such as 10"),
    "mlp": (words("--model", "mlp", "--normalization", "layer"), "--normalization, which is dcgan's, for an mlp"),
    "average": (words("--average", "1"), "argument --average: got '1', expected a number from 0 to less than 1"),
    "recipe": (words("--recipe", "slow"), "argument --recipe: invalid choice: 'slow'"),
    "held": (words("--output", "held"), "held holds a training: go on with it by --resume, or name another --output"),
    "other": (
        words("--output", "held", "--resume", "--batch-size", "7"),
        f"held holds a training with --batch-size {QUICK['batch_size']} (now 7); give the same, or name another",
    ),
    "new options": (
        words("--output", "held", "--resume", "--objective", "hinge", "--penalty", "r1", "--normalization", "none"),
        "--normalization batch (now none), --objective non_saturating (now hinge), --penalty None (now ['r1']), "
        "--penalty-weight None (now 10.0); give the same, or",
    ),
    "labels": (words("--output", "held", "--resume", "--conditional"), "with --conditional False (now True); give the"),
    "of version 0.1.0": (
        words("--output", "first", "--resume"),
        f"first holds a training with --base-filters 64 (now {QUICK['base_filters']}), --batch-size 128 (now "
        f"{QUICK['batch_size']}), --learning-rate 0.0002 (now {QUICK['learning_rate']}), --average none (now "
        f"{QUICK['average']}); give the same, as --recipe paper does, or name another --output",
    ),
    "0.1.0 with more": (
        words("--output", "first", "--resume", "--recipe", "paper", "--reuse-fakes"),
        "first holds a training with --reuse-fakes none (now True); give the same, or name another --output",
    ),
    "0.1.0 at another rate": (
        words("--output", "first", "--resume", "--recipe", "paper", "--beta1", "0.9"),
        "first holds a training with --beta1 0.5 (now 0.9); give the same, or name another --output",
    ),
    "damaged": (words("--output", "torn", "--resume"), "settings.json is damaged"),
    "a list": (words("--output", "list", "--resume"), "settings.json is damaged"),
    "no model": (["sample", "none.keras", "--output", "a.png"], "there is no model none.keras; expected a .keras"),
    "no training": (["sample", "photos", "--output", "a.png"], "there is no model photos/last.keras"),
    "not keras": (["info", "file"], "there is no model file; expected a .keras file"),
    "many": (["sample", "m.keras", "--count", "1025", "--output", "a.png"], "1025, but a picture holds 1024"),
    "format": (["sample", "m.keras", "--output", "a.jpg"], "got 'a.jpg', expected a file that ends in .png or .npy"),
    "nowhere": (["sample", "m.keras", "--output", "file/a.png"], "Got path='file/a.png', which cannot be written"),
    "no walk": (["interpolate", "m.keras", "--output", "file/a.gif"], "Got path='file/a.gif', which cannot be written"),
    "label": (
        ["sample", "m.keras", "--label", "cat", "--output", "a.png"],
        "got 'cat', expected the number of a class",
    ),
    "few": (["evaluate", "m.keras", "--samples", "99"], "argument --samples: got '99', expected 100 to 10000"),
    "steps": (["interpolate", "m.keras", "--steps", "1", "--output", "a.gif"], "expected a whole number from 2 to 32"),
}
ALLOWED = {
    "help": (["--help"], 0, "measure how good a trained model's images are"),
    "help of train": (["train", "--help"], 0, f"both players (quick: {QUICK['learning_rate']}, paper: 0.0002)"),
    "done by 0.1.0": (
        words("--output", "first", "--resume", "--recipe", "paper", "--epochs", "7"),
        0,
        "first is done: 7",
    ),
    "by hand": (
        words("--output", "first", "--resume", "--epochs", "7", *BY_HAND),
        0,
        "first is done: 7 epochs.",
    ),
    "less broken": (words("--output", "photo run", "--data", "photos", "--resume", "--skip-broken"), 0, "is done: 20"),
    "done": (words("--output", "held", "--resume", "--epochs", "7"), 0, "held is done: 7 epochs."),
}
CHILD = """
import contextlib, io, json, sys
from gan_utils.__main__ import main
answers = []
for argv in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = main(argv)
        except SystemExit as end:
            code = end.code
    answers.append((code, out.getvalue()))
heavy = {"tensorflow", "keras", "numpy", "matplotlib"} & set(sys.modules)
print(json.dumps({"answers": answers, "imported": sorted(heavy)}))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """All of `REFUSED` and `ALLOWED` in one process that has not imported TensorFlow."""
    folder = tmp_path_factory.mktemp("refused")
    folders = ["first", "held", "list", "photo run", "photos", "torn"]
    for name in folders:
        (folder / name).mkdir()
        if name != "photos":
            (folder / name / "checkpoint.npz").touch()
    for name in ("file", "m.keras"):
        (folder / name).touch()
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.chdir(folder)
    for name, argv, epochs in (("held", [], 7), ("photo run", ["--data", "photos"], 20)):
        args = command._parser().parse_args(words(*argv))
        command._check_train(args)
        kept = {"arguments": {**command._arguments(args), "epochs": epochs}, "finished": epochs}
        (folder / name / "settings.json").write_text(json.dumps(kept), "utf-8")
    monkeypatch.undo()
    (folder / "first" / "settings.json").write_text(json.dumps({"arguments": FIRST, "finished": 7}), "utf-8")
    (folder / "torn" / "settings.json").write_text('{"argu', "utf-8")
    (folder / "list" / "settings.json").write_text("[1]", "utf-8")
    cases = {**REFUSED, **ALLOWED}
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(pathlib.Path(gan_utils.__file__).parents[1])}
    asked = [sys.executable, "-c", CHILD, json.dumps([argv for argv, *_ in cases.values()])]
    told = json.loads(subprocess.check_output(asked, text=True, cwd=folder, env=environment))
    assert told["imported"] == []
    assert {path.name for path in folder.iterdir()} == {*folders, "file", "m.keras"}
    return dict(zip(cases, told["answers"], strict=True))


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_value_is_refused_in_one_line_before_tensorflow_is_imported(answers, case):
    code, said = answers[case]
    assert (code, said.count("\n")) == (2, 1)
    assert REFUSED[case][1] in said


@pytest.mark.parametrize("case", ALLOWED)
def test_what_needs_no_tensorflow_does_not_wait_for_it(answers, case):
    _, code, words = ALLOWED[case]
    assert answers[case][0] == code
    assert words in answers[case][1]


def test_the_module_is_a_command():
    """And TensorFlow's log does not reach the student."""
    done = subprocess.run([sys.executable, "-m", "gan_utils", "info"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"tensorflow     {tf.__version__}" in done.stdout


def test_help_and_documentation_are_right():
    assert doctest.testmod(command).failed == 0
    examples = [line.split("(")[0] for line in command.EXAMPLES.splitlines() if " train " in line]
    for line in examples:
        assert command._parser().parse_args(shlex.split(line)[3:]).epochs == 20
    assert len(examples) == 3


def test_what_the_command_line_offers_is_all_that_the_package_has():
    """Its lists are written twice, since the modules import TensorFlow."""
    assert tuple(models.DCGAN_LAYERS) == command.DCGAN_SIZES
    assert models.NORMALIZATIONS == command.NORMALIZATIONS
    assert sorted(losses.MAKERS) == sorted(command.OBJECTIVES)
    assert list(penalties.MAKERS) == list(command.PENALTIES)
    smoothed = {
        name for name, maker in losses.MAKERS.items() if "label_smoothing" in inspect.signature(maker).parameters
    }
    assert smoothed == {*command.SMOOTHED}


def test_the_recipes():
    paper = {"learning_rate": 2e-4, "batch_size": 128, "base_filters": 64, "average": 0.0}
    assert command.RECIPES["paper"] == paper
    assert list(QUICK) == list(paper)

    def options(*argv):
        args = command._parser().parse_args(words(*argv))
        command._check_train(args)
        return {name: getattr(args, name) for name in paper}

    assert options() == QUICK
    assert options("--recipe", "paper") == paper
    assert options("--recipe", "paper", "--average", "0.5", "--batch-size", "3") == paper | {
        "average": 0.5,
        "batch_size": 3,
    }
    assert options("--average", "0") == QUICK | {"average": 0.0}
    assert options("--model", "mlp") == QUICK | {"base_filters": None}


def built(*argv):
    args = command._parser().parse_args(words("--base-filters", "1", "--latent-dim", "2", *argv))
    command._check_train(args)
    return command._build(args, (28, 28, 1), 0)


@pytest.mark.parametrize("name", command.OBJECTIVES)
def test_each_objective_can_be_asked_for(name):
    bound = ("--clip", "0.1") if name == "wasserstein" else ()
    assert built("--objective", name, *bound).objective.name == f"{name}()"


def test_penalties_are_added_and_weights_clipped_where_that_is_asked_for():
    gan = built("--penalty", "r1", "--penalty", "r2", "--penalty-weight", "2", "--normalization", "none")
    assert gan.penalty.name == "r1(weight=2.0) + r2(weight=2.0)"
    clipped = built("--clip", "0.01", "--objective", "wasserstein")
    assert {layer.kernel_constraint.limit for layer in clipped.discriminator.layers if hasattr(layer, "kernel")} == {
        0.01
    }


@pytest.mark.parametrize("name", command.PENALTIES)
def test_each_penalty_can_be_asked_for(name):
    assert built("--penalty", name, "--normalization", "layer").penalty.name == f"{name}(weight=10.0)"
    assert built("--penalty", name, "--penalty-weight", "0.5", "--normalization", "none").penalty.name.endswith("=0.5)")


def test_options_of_the_method_reach_the_gan():
    gan = built("--recipe", "paper")
    assert (gan.average, gan.reuse_fakes, gan.penalty) == (None, False, None)
    assert gan.objective.name == "non_saturating()"
    assert any(isinstance(layer, layers.BatchNormalization) for layer in gan.discriminator.layers)
    gan = built("--average", "0.5", "--reuse-fakes", "--normalization", "spectral", "--label-smoothing", "0.1")
    assert (gan.average, gan.reuse_fakes) == (0.5, True)
    assert gan.objective.name == "non_saturating(label_smoothing=0.1)"
    kinds = [type(layer).__name__ for layer in gan.discriminator.layers]
    assert "SpectralNormalization" in kinds
    assert "BatchNormalization" not in kinds


def test_a_training_leaves_what_it_promises(run):
    files = {"best.keras", "checkpoint.npz", "generator.keras", "last.keras", "log.csv", "logs", "samples.gif"}
    assert {path.name for path in run.iterdir()} == files | {"saved_model", "settings.json"}
    header, *rows = log(run)
    assert header == ["epoch", "D(G(z))", "D(x)", "d_loss", "g_loss", "frechet_distance"]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    settings = json.loads((run / "settings.json").read_text("utf-8"))
    assert settings["arguments"]["base_filters"] == 2
    assert settings["versions"]["tensorflow"] == tf.__version__
    assert settings["finished"] == EPOCHS
    with Image.open(run / "samples.gif") as film:
        assert film.n_frames > 1  # Pillow joins frames that are equal


def test_tensorboard_gets_the_numbers_of_the_log_and_images(run):
    header, *rows = log(run)
    paths = [str(path) for path in (run / "logs").iterdir()]
    events = [tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(paths)]
    values = [(event.step, value) for event in events for value in event.summary.value]
    for column, name in enumerate(header[1:], start=1):
        found = {step: float(tf.make_ndarray(value.tensor)) for step, value in values if value.tag == name}
        assert found == pytest.approx({int(row[0]): float(row[column]) for row in rows}, rel=1e-6)
    pictures = [tf.make_ndarray(value.tensor) for _, value in values if value.tag == "samples"]
    assert [(int(width), int(height)) for width, height, _ in pictures] == [(238, 118)] * EPOCHS  # 8 × 4 digits


def test_all_saved_forms_draw_the_same(run):
    gan = keras.saving.load_model(run / "last.keras", compile=False)
    generator = keras.saving.load_model(run / "generator.keras", compile=False)
    points = gan.latent(5, seed=1)
    expected = gan.sample(5, seed=1)
    assert np.ptp(expected) > 0
    np.testing.assert_array_equal(generator(points), expected)
    assert not np.array_equal(gan.generator(points), expected)  # but its mean
    exported = tf.saved_model.load(str(run / "saved_model"))
    np.testing.assert_allclose(exported.serve(points), expected, atol=1e-6)


def test_a_training_in_parts_equals_one_in_one_piece(run, tmp_path, monkeypatch, capsys):
    """Killed after each kind of file was begun, and resumed each time by the same command."""
    parts = tmp_path / "parts"
    train = [*TRAIN, "--epochs", str(EPOCHS), "--output", str(parts), "--resume"]
    replace = files.replace
    checkpoints = 0

    def kill_at(name, count):
        def replace_until(path, write):
            nonlocal count, checkpoints
            if path.name == name and (count := count - 1) == 0:
                path.with_name(f"{path.stem}.partial{path.suffix}").write_text("half a file")
                raise Killed
            checkpoints += path.name == "checkpoint.npz"
            replace(path, write)

        monkeypatch.setattr(files, "replace", replace_until)
        with pytest.raises(Killed):
            command.main(train)

    kill_at("log.csv", 1)
    assert not (parts / "log.csv").exists()  # its checkpoint is there
    kill_at("last.keras", 2)
    assert len(log(parts)) == 1 + 2
    kill_at("checkpoint.npz", 1)
    kill_at("generator.keras", 1)
    assert checkpoints == EPOCHS  # no epoch was trained twice, but for the one whose checkpoint was not yet written
    monkeypatch.setattr(files, "replace", replace)
    assert command.main(train) == 0

    assert {path.name for path in parts.iterdir()} == {path.name for path in run.iterdir()}  # nothing half done
    for ours, theirs in zip(state(parts), state(run), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert log(parts) == log(run)
    assert (parts / "samples.gif").read_bytes() == (run / "samples.gif").read_bytes()
    for name in ("last.keras", "best.keras"):
        np.testing.assert_array_equal(weights(parts / name), weights(run / name))
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in parts.rglob("*")}
    assert command.main(train) == 0
    assert capsys.readouterr().out == f"{parts} is done: 3 epochs. For more of them, give a larger --epochs.\n"
    assert {path: path.stat().st_mtime_ns for path in parts.rglob("*")} == before


def test_the_best_model_is_that_of_the_lowest_score_also_after_a_resume(tmp_path, monkeypatch, capsys):
    scores = iter([np.nan, 1.0, 2.0])
    monkeypatch.setattr(metrics, "frechet_distance", lambda *features: next(scores))
    train = [*TRAIN, "--output", str(tmp_path)]
    assert command.main([*train, "--epochs", "2"]) == 0
    assert "Best: epoch 2, Fréchet distance 1.0 of 32 samples.\n" in capsys.readouterr().out
    second = weights(tmp_path / "last.keras")
    assert command.main([*train, "--epochs", "3", "--resume"]) == 0
    assert [row[-1] for row in log(tmp_path)] == ["frechet_distance", "nan", "1.0", "2.0"]
    np.testing.assert_array_equal(weights(tmp_path / "best.keras"), second)
    assert not np.array_equal(weights(tmp_path / "last.keras"), second)


def test_an_epoch_that_spoils_the_weights_is_told_and_not_kept(tmp_path, monkeypatch, capsys):
    train = [*TRAIN, "--output", str(tmp_path)]
    assert command.main([*train, "--epochs", "1"]) == 0
    first = weights(tmp_path / "last.keras")

    def spoil(film, epoch, logs=None):
        film.model.generator.weights[0].assign(film.model.generator.weights[0] * np.nan)

    monkeypatch.setattr(SampleGrid, "on_epoch_end", spoil)
    assert command.main([*train, "--epochs", "2", "--resume"]) == 1
    assert "train: error: epoch 2 is not finite, and not kept; " in capsys.readouterr().err
    assert len(log(tmp_path)) == 1 + 1
    np.testing.assert_array_equal(weights(tmp_path / "last.keras"), first)


def test_other_arguments_are_refused_on_resume(run, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main([*TRAIN, "--beta1", "0.9", "--d-steps", "2", "--output", str(run), "--resume"])
    assert "with --d-steps 1 (now 2), --beta1 0.5 (now 0.9); give the same" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(GAN, "fit", interrupted)
    assert command.main([*TRAIN, "--output", str(tmp_path)]) == 130
    assert capsys.readouterr().err == (
        "\nStopped. The same command with --resume goes on after the last whole epoch.\n"
    )


def test_what_breaks_off_in_tensorflow_is_one_line(tmp_path, monkeypatch, capsys):
    def out_of_memory(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor")

    monkeypatch.setattr(GAN, "fit", out_of_memory)
    assert command.main([*TRAIN, "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        "python -m gan_utils train: error: TensorFlow broke off: OOM when allocating a tensor\n"
    )
    assert not list(tmp_path.glob("*.json"))  # of a training that never began


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def test_a_folder_of_images_has_no_score_and_no_best_model(photos, tmp_path, capsys):
    argv = ["train", "--data", str(photos), "--model", "mlp", "--image-size", "8", "--batch-size", "4"]
    argv += ["--epochs", "1", "--d-steps", "2", "--objective", "minimax", "--label-smoothing", "0.1"]
    assert command.main([*argv, "--output", str(tmp_path / "run")]) == 0
    assert "no Fréchet distance, and no best.keras" in capsys.readouterr().out
    assert not (tmp_path / "run" / "best.keras").exists()
    assert (tmp_path / "run" / "log.csv").read_text().splitlines()[0] == "epoch,D(G(z)),D(x),d_loss,g_loss"
    records = tf.data.TFRecordDataset([str(path) for path in (tmp_path / "run" / "logs").iterdir()])
    values = [tf.compat.v1.Event.FromString(record.numpy()).summary.value for record in records]
    (picture,) = [tf.make_ndarray(value.tensor) for (value,) in filter(None, values) if value.tag == "samples"]
    assert tf.io.decode_image(picture[2]).shape == (38, 78, 3)  # 4 × 8 places of 8 pixels, and lines of 2
    assert command.main(["info", str(tmp_path / "run")]) == 0
    assert "images         (8, 8, 3)\n" in (said := capsys.readouterr().out)
    assert "objective      minimax(label_smoothing=0.1)\n" in said
    assert command.main(["sample", str(tmp_path / "run"), "--count", "5", "--output", str(tmp_path / "a.png")]) == 0
    assert read(tmp_path / "a.png").shape == (18, 28, 3)  # 2 × 3 places of 8 pixels, and lines of 2


def test_an_empty_folder_is_told(tmp_path, capsys):
    assert command.main(["train", "--data", str(tmp_path), "--output", str(tmp_path / "run")]) == 1
    assert "holds no images" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_sixteen_bits(tmp_path):
    try:
        assert command.main([*TRAIN, "--epochs", "1", "--precision", "mixed_bfloat16", "--output", str(tmp_path)]) == 0
        gan = keras.saving.load_model(tmp_path / "last.keras", compile=False)
        assert gan.generator.layers[0].compute_dtype == "bfloat16"
        assert gan.sample(2).dtype == np.float32
    finally:
        keras.config.set_dtype_policy("float32")


def test_samples_are_those_of_the_model(run, tmp_path):
    gan = keras.saving.load_model(run / "last.keras", compile=False)
    expected = data.to_bytes(gan.sample(300, seed=7))  # more than the 256 of one pass
    for model in (run, run / "last.keras", run / "generator.keras"):
        path = tmp_path / "new" / "samples.npy"
        assert command.main(["sample", str(model), "--count", "300", "--seed", "7", "--output", str(path)]) == 0
        stored = np.load(path)
        assert stored.dtype == np.uint8
        np.testing.assert_array_equal(stored, expected)
    path = tmp_path / "samples.png"
    assert command.main(["sample", str(run), "--count", "12", "--seed", "7", "--output", str(path)]) == 0
    picture = data.to_bytes(plotting.tile(gan.sample(12, seed=7), 4))
    np.testing.assert_array_equal(read(path), picture)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "samples.png"}


def test_a_large_file_of_samples_is_written_as_a_stream(run, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("all at once")

    monkeypatch.setattr(GAN, "sample", refuse)
    assert command.main(["sample", str(run), "--count", "600", "--output", str(tmp_path / "many.npy")]) == 0
    assert np.load(tmp_path / "many.npy", mmap_mode="r").shape == (600, 28, 28, 1)


def test_a_model_of_a_notebook_opens(tmp_path, capsys):
    gan = GAN(models.mlp_generator(3, (4, 4, 1), (5,)), models.mlp_discriminator((4, 4, 1), (5,)), latent_dim=3)
    gan.save(tmp_path / "plain.keras")
    gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
    gan.fit(data.batches(np.zeros((8, 4, 4, 1)), 4), verbose=0)
    gan.save(tmp_path / "gan.keras")
    path = tmp_path / "samples.npy"
    assert command.main(["sample", str(tmp_path / "gan.keras"), "--count", "9", "--output", str(path)]) == 0
    np.testing.assert_array_equal(np.load(path), data.to_bytes(gan.sample(9, seed=0)))
    assert command.main(["info", str(tmp_path / "gan.keras")]) == 0
    said = capsys.readouterr().out
    assert said.endswith(
        "generator      116 parameters\nclasses        none\ndiscriminator  91 parameters\naverage        none\n"
        "objective      non_saturating()\npenalty        none\n"
    )
    assert command.main(["info", str(tmp_path / "plain.keras")]) == 0
    assert "objective      none in the file\n" in capsys.readouterr().out
    gan = GAN(gan.generator, gan.discriminator, latent_dim=3, average=0.75)
    gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3), penalty=penalties.r1(5.0))
    gan.save(tmp_path / "gan.keras")
    assert command.main(["info", str(tmp_path / "gan.keras")]) == 0
    assert (
        "average        0.75\nobjective      non_saturating()\npenalty        r1(weight=5.0)" in capsys.readouterr().out
    )


def test_a_lone_generator_has_no_objective(run, capsys):
    assert command.main(["info", str(run / "generator.keras")]) == 0
    said = capsys.readouterr().out
    assert "generator      1,241 parameters\n" in said
    assert "discriminator" not in said


def test_scores_stand_beside_those_of_real_images(run, capsys):
    assert command.main(["evaluate", str(run), "--samples", "120", "--seed", "3"]) == 0
    said = capsys.readouterr().out
    gan = keras.saving.load_model(run / "last.keras", compile=False)
    real, _ = metrics.digit_features(data.load_mnist("test")[0])
    expected = {}
    for images in (gan.sample(120, seed=3), data.load_mnist("train")[0][:120]):
        features, logits = metrics.digit_features(images)
        near = metrics.precision_recall(real[:120], features)
        found = {
            "Fréchet distance": metrics.frechet_distance(features, real),
            "kernel distance": metrics.kernel_distance(features, real, 120)[0],
            "inception score": metrics.inception_score(logits)[0],
            "precision": near["precision"],
            "recall": near["recall"],
        }
        for name, value in found.items():
            expected.setdefault(name, []).append(f"{value:.3f}")
    rows = {line[:20].strip(): line[20:].split()[:2] for line in said.splitlines()}
    assert {name: rows[name] for name in expected} == expected
    assert float(rows["Fréchet distance"][0]) > 2 * float(rows["Fréchet distance"][1])
    assert said.startswith("N = 120 generated images against 200 of mnist's test images.\n")


def test_scores_need_images_of_the_same_shape(tmp_path, capsys):
    models.mlp_generator(3, (8, 8, 3), (5,)).save(tmp_path / "generator.keras")
    assert command.main(["evaluate", str(tmp_path / "generator.keras")]) == 1
    assert "makes images (8, 8, 3), but those of mnist are (28, 28, 1)" in capsys.readouterr().err


def test_walks_lead_from_image_to_image_along_an_arc(tmp_path):
    model = data.shipped_file("pretrained/mnist_generator.keras")
    walk = ["interpolate", str(model), "--pairs", "2", "--steps", "3", "--seed", "4", "--output"]
    assert command.main([*walk, str(tmp_path / "walks.png")]) == 0
    generator = keras.saving.load_model(model, compile=False)
    a, b, c, d = keras.random.normal((4, 100), seed=4).numpy()
    points = [a, latent.spherical(a, c, 3)[1], c, b, latent.spherical(b, d, 3)[1], d]
    expected = data.to_bytes(plotting.tile(generator(np.stack(points), training=False), columns=3))
    drawn = read(tmp_path / "walks.png").astype(int)
    assert np.abs(drawn - expected).max() <= 1  # one batch or several: a rounding apart
    assert command.main([*walk, str(tmp_path / "walks.gif")]) == 0
    with Image.open(tmp_path / "walks.gif") as film:
        assert (film.n_frames, film.size) == (3, (3 * 58, 3 * 28))  # large enough to be seen


def test_code_in_a_model_is_refused(tmp_path, capsys):
    network = keras.Sequential([keras.Input((2,)), layers.Lambda(lambda x: x), layers.Dense(4)])
    network.save(tmp_path / "lambda.keras")
    assert command.main(["sample", str(tmp_path / "lambda.keras"), "--output", str(tmp_path / "a.png")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"python -m gan_utils sample: error: Keras cannot open {tmp_path / 'lambda.keras'} in its")
    assert "Lambda" in error
    assert error.count("\n") == 1


def test_what_is_no_generator_is_refused(tmp_path, capsys):
    classifier = data.shipped_file("pretrained/mnist_classifier.keras")
    assert command.main(["info", str(classifier)]) == 1
    assert "expected a generator, from vectors to images" in capsys.readouterr().err
    (tmp_path / "torn.keras").write_bytes(b"PK half")
    assert command.main(["info", str(tmp_path / "torn.keras")]) == 1
    assert "Keras cannot open" in capsys.readouterr().err


def test_a_moved_training_goes_on(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "moved")
    assert command.main([*TRAIN, "--epochs", "2", "--output", str(tmp_path / "moved"), "--resume"]) == 0
    assert "is done: 3 epochs" in capsys.readouterr().out


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A training with labels, and the labels that it was given."""
    folder = tmp_path_factory.mktemp("labelled") / "digits"
    seen = []

    def batches(*args):
        seen.append(args)
        return original(*args)

    original = data.batches
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "batches", batches)
        assert command.main([*TRAIN, "--epochs", "1", "--conditional", "--output", str(folder)]) == 0
    ((_, _, _, labels),) = seen
    return folder, labels


def test_a_training_with_labels(labelled):
    folder, labels = labelled
    np.testing.assert_array_equal(labels, data.load_mnist("train")[1])
    gan = keras.saving.load_model(folder / "last.keras", compile=False)
    assert [tensor.shape[1:] for tensor in gan.generator.inputs] == [(4,), (10,)]
    assert [tensor.shape[1:] for tensor in gan.discriminator.inputs] == [(28, 28, 1), (10,)]
    with Image.open(folder / "samples.gif") as film:
        assert film.width == 3 * (10 * 30 - 2)  # a column for each digit


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A model whose images differ by far from class to class, and from its mean to its last weights."""
    folder = tmp_path_factory.mktemp("conditional")
    generator = models.conditional_generator(models.mlp_generator(14, (4, 4, 1), (6,)), 10)
    gan = GAN(generator, models.mlp_discriminator((4, 4, 1), (5,)), latent_dim=4, average=0.9)
    random = np.random.default_rng(0)
    for weight in gan.variables:
        weight.assign(random.normal(size=weight.shape) if "float" in weight.dtype else weight)
    gan.save(folder / "last.keras")
    gan.drawing_network.save(folder / "generator.keras")
    seen = [gan.sample(1, seed=0, labels=label) for label in range(10)] + [
        generator([gan.latent(1, 0), tf.eye(10)[:1]])
    ]
    assert all(np.abs(one - other).max() > 0.1 for i, one in enumerate(seen) for other in seen[:i])
    return folder, gan


@pytest.mark.parametrize(("asked", "labels"), [([7], 7), ([7, 3], [7, 3, 7, 3, 7]), ([], [0, 1, 2, 3, 4])])
def test_samples_of_a_class(conditional, tmp_path, asked, labels):
    folder, gan = conditional
    images = gan.sample(5, seed=2, labels=labels)
    argv = [word for label in asked for word in ("--label", str(label))] + ["--count", "5", "--seed", "2", "--output"]
    for model in (folder, folder / "generator.keras"):
        assert command.main(["sample", str(model), *argv, str(tmp_path / "a.npy")]) == 0
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), data.to_bytes(images))
    assert command.main(["sample", str(folder), *argv, str(tmp_path / "a.png")]) == 0
    np.testing.assert_array_equal(read(tmp_path / "a.png"), data.to_bytes(plotting.tile(images, 3)))


@pytest.mark.parametrize(("asked", "labels"), [([], [0, 0]), (["--label", "7", "--label", "3"], [7, 3])])
def test_a_walk_stays_within_a_class(conditional, tmp_path, asked, labels):
    folder, gan = conditional
    walk = ["interpolate", str(folder), "--pairs", "2", "--steps", "2", "--seed", "4", *asked, "--output"]
    assert command.main([*walk, str(tmp_path / "walks.png")]) == 0
    starts_and_ends = gan.sample(4, seed=4, labels=[*labels, *labels])
    expected = data.to_bytes(plotting.tile(starts_and_ends[[0, 2, 1, 3]], columns=2))
    assert np.abs(read(tmp_path / "walks.png").astype(int) - expected).max() <= 1


def test_a_model_with_labels_is_scored_and_described(labelled, capsys):
    folder, _ = labelled
    assert command.main(["evaluate", str(folder), "--samples", "100"]) == 0
    assert capsys.readouterr().out.startswith("N = 100 generated images")
    for model, told in (
        (folder, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 (labels 0 to 9)\n"),
        (folder / "generator.keras", "generator      2,521 parameters\nclasses        0, 1, 2"),
    ):
        assert command.main(["info", str(model)]) == 0
        assert told in capsys.readouterr().out


@pytest.mark.parametrize(("verb", "suffix"), [("sample", "png"), ("interpolate", "gif")])
def test_labels_that_a_model_does_not_know(run, conditional, tmp_path, capsys, verb, suffix):
    folder, _ = conditional
    to = ["--output", str(tmp_path / f"a.{suffix}")]
    assert command.main([verb, str(run), "--label", "7", *to]) == 1
    said = f"python -m gan_utils {verb}: error: got --label 7, but {run / 'last.keras'} was trained without labels; "
    assert capsys.readouterr().err == said + "leave it out\n"
    assert command.main([verb, str(folder), "--label", "3", "--label", "10", *to]) == 1
    assert f"got --label 10, but {folder / 'last.keras'} knows the labels 0 to 9\n" in capsys.readouterr().err


@pytest.fixture
def pets(tmp_path):
    """Images in subfolders, of which one is hidden, and one is no image."""
    random = np.random.default_rng(0)
    for kind, count in (("dogs", 3), ("cats", 4), (".hidden", 1)):
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for number in range(count):
            image = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
            image.save(tmp_path / "pets" / kind / f"{number}.png")
    return tmp_path / "pets"


def trained(folder, *argv):
    train = ["train", "--data", str(folder), "--model", "mlp", "--image-size", "8", "--batch-size", "4", *argv]
    return command.main([*train, "--output", str(folder.parent / "run")])


def test_the_subfolders_of_a_folder_are_its_classes(pets, capsys):
    assert trained(pets, "--epochs", "1", "--conditional") == 0
    settings = json.loads((pets.parent / "run" / "settings.json").read_text("utf-8"))
    assert settings["classes"] == ["cats", "dogs"]
    capsys.readouterr()
    assert command.main(["info", str(pets.parent / "run")]) == 0
    assert "classes        cats, dogs (labels 0 to 1)\n" in capsys.readouterr().out
    shutil.rmtree(pets / "dogs")
    with pytest.raises(SystemExit, match="2"):
        trained(pets, "--epochs", "2", "--conditional", "--resume")
    assert f"got --conditional for 1 subfolders of {pets}, expected one for a class" in capsys.readouterr().err


def test_broken_images_can_be_left_out(pets, capsys):
    (pets / "cats" / "9.png").write_bytes(b"half a file")
    assert trained(pets, "--epochs", "1") == 1
    assert "1 of 8 images cannot be used: cats/9.png" in capsys.readouterr().err
    assert trained(pets, "--epochs", "1", "--skip-broken") == 0
    assert ": 7 images (8, 8, 3), 2 batches" in capsys.readouterr().out


def test_images_that_were_added_are_told_on_resume(pets, capsys):
    assert trained(pets, "--epochs", "1") == 0
    (pets / "new.png").write_bytes((pets / "cats" / "0.png").read_bytes())
    capsys.readouterr()
    assert trained(pets, "--epochs", "2", "--resume") == 1
    error = capsys.readouterr().err
    assert "the images changed (some were added, removed or edited)" in error
    assert error.count("\n") == 1


def test_a_training_of_version_0_1_0_goes_on(pets):
    run, options = pets.parent / "run", ["--learning-rate", "2e-4", "--average", "0"]
    assert trained(pets, *options, "--epochs", "1") == 0
    settings = json.loads((run / "settings.json").read_text("utf-8"))
    arguments = {name: settings["arguments"][name] for name in FIRST}
    first = {"arguments": arguments, "versions": settings["versions"], "finished": 1}
    (run / "settings.json").write_text(json.dumps(first), "utf-8")
    assert trained(pets, *options, "--epochs", "2", "--resume") == 0
    settings = json.loads((run / "settings.json").read_text("utf-8"))
    assert (settings["finished"], settings["arguments"]["penalty"]) == (2, None)


@pytest.mark.parametrize("argv", [words(), ["sample", "m.keras", "--output", "a.png"]])
def test_a_read_only_place_is_told_at_once(tmp_path, monkeypatch, capsys, argv):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.keras").touch()
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(SystemExit, match="2"):
        command.main(argv)
    error = capsys.readouterr().err
    assert "which cannot be written (Permission denied), expected another place." in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]


def test_a_place_that_takes_no_log_is_told(tmp_path, monkeypatch, capsys):
    def refuse(path):
        raise tf.errors.PermissionDeniedError(None, None, f"{path}; Permission denied")

    monkeypatch.setattr(tf.summary, "create_file_writer", refuse)
    assert command.main([*TRAIN, "--output", str(tmp_path)]) == 1
    said = f"python -m gan_utils train: error: TensorFlow broke off: {tmp_path / 'logs'}; Permission denied\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("error", [NotImplementedError("no such\nthing"), RuntimeError("no such thing")])
def test_errors_of_keras_are_one_line(run, tmp_path, monkeypatch, capsys, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(GAN, "sample", fail)
    sample = ["sample", str(run), "--output", str(tmp_path / "a.png")]
    assert command.main(sample) == 1
    assert capsys.readouterr().err == "python -m gan_utils sample: error: no such thing\n"
    error = MemoryError()
    assert command.main(sample) == 1
    assert capsys.readouterr().err == "python -m gan_utils sample: error: MemoryError\n"
    error = KeyError("a fault of the package")
    with pytest.raises(KeyError):
        command.main(sample)


@pytest.mark.parametrize(
    ("encoding", "word"), [("utf-8", "Fréchet"), ("cp1251", "Fr?chet"), ("cp932", "Fr?chet"), ("ascii", "Fr?chet")]
)
def test_a_terminal_that_lacks_a_letter(tmp_path, monkeypatch, encoding, word):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, errors="strict"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding, errors="strict"))
    (tmp_path / "日本").mkdir()
    assert command.main(["train", "--data", str(tmp_path / "日本"), "--output", str(tmp_path / "run")]) == 1
    sys.stdout.flush()
    assert f"no {word} distance" in written.getvalue().decode(encoding)
    sys.stderr.flush()
    assert "holds no images" in sys.stderr.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp932"])
def test_help_prints_everywhere(encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    prints = "from gan_utils import __main__ as command; command.EXAMPLES += ' é 日'; command.main(['--help'])"
    told = subprocess.check_output([sys.executable, "-c", prints], env=environment, stderr=subprocess.STDOUT)
    assert b"sevens.png ?" in told
