"""The commands of `python -m gan_utils`: what they refuse, what they write, and that a kill costs them nothing."""

import csv
import doctest
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

import gan_utils
from gan_utils import GAN, SampleGrid, data, files, latent, metrics, models, plotting
from gan_utils import __main__ as command

EPOCHS = 3
TRAIN = ["train", "--data", "mnist", "--base-filters", "2", "--batch-size", "60", "--latent-dim", "4"]
TRAIN += ["--learning-rate", "0.01", "--seed", "5"]


class Killed(BaseException):
    """Stands for `kill -9`: nothing catches it."""


@pytest.fixture(autouse=True, scope="module")
def _small():
    """Few images, few samples, and for digits no tracing, which would take most of the time."""
    digits, _ = data.load_mnist("test")
    images = {"train": digits[200:320], "test": digits[:200]}
    build = command._build

    def build_eager(args, shape):
        gan = build(args, shape)
        gan.run_eagerly = args.data == "mnist"
        return gan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load_mnist", lambda split="train": (images[split], None))
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
    "held": (words("--output", "held"), "held holds a training: go on with it by --resume, or name another --output"),
    "other": (
        words("--output", "held", "--resume", "--batch-size", "64"),
        "held holds a training with --batch-size 128 (now 64); give the same, or name another --output",
    ),
    "damaged": (words("--output", "torn", "--resume"), "settings.json is damaged"),
    "no model": (["sample", "none.keras", "--output", "a.png"], "there is no model none.keras; expected a .keras"),
    "no training": (["sample", "photos", "--output", "a.png"], "there is no model photos/last.keras"),
    "not keras": (["info", "file"], "there is no model file; expected a .keras file"),
    "many": (["sample", "m.keras", "--count", "1025", "--output", "a.png"], "1025, but a picture holds 1024"),
    "format": (["sample", "m.keras", "--output", "a.jpg"], "got 'a.jpg', expected a file that ends in .png or .npy"),
    "few": (["evaluate", "m.keras", "--samples", "99"], "argument --samples: got '99', expected 100 to 10000"),
    "steps": (["interpolate", "m.keras", "--steps", "1", "--output", "a.gif"], "expected a whole number from 2 to 32"),
}
ALLOWED = {
    "help": (["--help"], 0, "measure how good a trained model's images are"),
    "help of train": (["train", "--help"], 0, "of Adam, for both players (default: 0.0002)"),
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
    for name in ("photos", "held", "torn"):
        (folder / name).mkdir()
    for name in ("file", "m.keras", "held/checkpoint.npz", "torn/checkpoint.npz"):
        (folder / name).touch()
    defaults = command._parser().parse_args(words())
    command._check_train(defaults)
    kept = {"arguments": {**command._arguments(defaults), "epochs": 7}, "finished": 7}
    (folder / "held" / "settings.json").write_text(json.dumps(kept), "utf-8")
    (folder / "torn" / "settings.json").write_text('{"argu', "utf-8")
    cases = {**REFUSED, **ALLOWED}
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(pathlib.Path(gan_utils.__file__).parents[1])}
    asked = [sys.executable, "-c", CHILD, json.dumps([argv for argv, *_ in cases.values()])]
    told = json.loads(subprocess.check_output(asked, text=True, cwd=folder, env=environment))
    assert told["imported"] == []
    assert sorted(path.name for path in folder.iterdir()) == ["file", "held", "m.keras", "photos", "torn"]
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
    assert tuple(models.DCGAN_LAYERS) == command.DCGAN_SIZES
    assert doctest.testmod(command).failed == 0
    examples = [line.split("(")[0] for line in command.EXAMPLES.splitlines() if " train " in line]
    for line in examples:
        assert command._parser().parse_args(shlex.split(line)[3:]).epochs == 20
    assert len(examples) == 2


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
    assert "generator      116 parameters\ndiscriminator  91 parameters\nobjective      non_saturating()\n" in said
    assert command.main(["info", str(tmp_path / "plain.keras")]) == 0
    assert "objective      none in the file\n" in capsys.readouterr().out


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
        assert (film.n_frames, film.size) == (3, (58, 28))


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
