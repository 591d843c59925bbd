"""Wrong calls of the public functions, and damaged files: each is refused with a clear message, and nothing changes.

In a good call one argument at a time is replaced by what Hypothesis draws from a kind of bad values.
"""

import base64
import hashlib
import json
import pathlib
import re
import shutil
import traceback
import zlib

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import gan_utils
from gan_utils import (
    GAN,
    Checkpoint,
    LearningRates,
    SampleGrid,
    Score,
    data,
    faces,
    latent,
    losses,
    metrics,
    models,
    penalties,
    plotting,
)
from gan_utils import layers as gan_layers

PACKAGE = pathlib.Path(gan_utils.__file__).parent
ROOT = PACKAGE.parent
REPEATABLE = {"derandomize": True, "deadline": None, "database": None, "phases": [Phase.generate]}
EXAMPLES, DISTINCT = 5, 5  # of bad values for each argument: drawn, and in all at least that many different ones

# Kinds of bad values: lists of values, all of them tried, and of strategies to draw more from

NAN, INFINITE = float("nan"), float("inf")
STRANGE = [None, "", "3", b"2", 1j, [], {}, (1, 2), {3}, object, np.zeros(2)]
NOT_FINITE = [NAN, INFINITE, -INFINITE, np.float32(NAN)]


def no_whole(least):
    """A fraction, a float such as 2.0, True, a number that is too small, or more than TensorFlow counts."""
    fractions = st.floats(-5, 5).filter(lambda value: not value.is_integer())
    more = [fractions, st.integers(max_value=least - 1), st.integers(min_value=2**31)]
    return [*STRANGE, *NOT_FINITE, True, 2.5, float(least + 1), least - 1, 2**31, *more]


def arrays(good, *shapes, values=(NAN, INFINITE, -INFINITE)):
    """What is no array of numbers, or zeros of one of the shapes, or an array of the good shape with a bad value."""
    filled = [np.zeros(good) for _ in values]
    for array, value in zip(filled, values, strict=True):
        array.flat[-1] = value
    strange = [None, "array", ["a"], [[1.0], [1.0, 2.0]], {"a": 1}, np.array([1j, 2.0]), [None], object]
    return [*strange, *map(np.zeros, shapes), *filled]


COUNT, SEED = no_whole(1), no_whole(0)[1:]  # no seed is a fresh one
NUMBER = [*STRANGE, *NOT_FINITE]
POSITIVE = [*NUMBER, True, 0, -1.0, st.floats(max_value=0, allow_nan=False)]
SHARE = [*NUMBER, True, 1, 1.0, -0.1, st.floats(min_value=1), st.floats(max_value=-1e-9)]
NAME = [*NOT_FINITE, None, "Train", "all", "../all", 1j, b"2", [], {}, (1,), object, st.integers()]
PATH = ["nowhere", "photos/none", None, 3, 2.5, b"photos", [], {}, object, NAN]
NO_PATH = [3, 2.5, b"film.gif", [], {}, object, NAN, (1, 2)]
FUNCTION = [None, "mean", 0.5, [], np.zeros(2), st.integers()]
SIZES = [None, 4, 2.5, "4", {4}, (0,), (4, -1), (2.0,), (True,), (None,), ("4",), (NAN,), (2**31,), [[4]]]
SIZES.append(st.lists(st.integers(max_value=0), min_size=1, max_size=3))
HUGE = (NAN, INFINITE, -INFINITE, 1e300)
PIXELS = (*HUGE, 255, -1.1)
DIGITS = arrays((2, 28, 28, 1), (28, 28), (2, 28, 28), (0, 28, 28, 1), (2, 32, 32, 1), (), values=PIXELS)
PHOTOS = arrays((2, 8, 8, 3), (8, 8, 3), (0, 8, 8, 3), (2, 0, 8, 3), (2, 8, 8, 2), (2, 8, 8, 1), (), values=PIXELS)
PICTURES = arrays((2, 8, 8, 3), (8, 8, 3), (0, 8, 8, 3), (2, 0, 8, 3), (2, 8, 8, 2), (), values=PIXELS)
FEATURES = arrays((9, 3), (), (3,), (0, 3), (9, 0), (9, 4), (2, 3, 3), (9, 3, 1, 1), values=HUGE)
ENDS = arrays((3, 4), (), (4,), (3, 5), (2, 4), (1, 3, 4))
GROUP = arrays((3, 4), (), (4,), (0, 4), (3, 5), (1, 3, 4))
CURVE = arrays((5,), (), (0,), (4,), (5, 1), (1, 5), values=())
SHADES = [None, 3, [], [None], ["a"], np.zeros((2, 4, 4)), [np.zeros((4, 0), np.uint8)], "film", [[1]]]
HISTORY = [None, 3, [], {}, "loss", {"d_loss": [1.0]}, {"D(x)": [1.0]}, keras.callbacks.History()]
LOGITS = [None, 3, 0.5, "a", [], np.zeros((0, 1)), np.zeros((2, 1), int), tf.zeros((2, 1), tf.int32)]
TEXT = [None, 3, [], "A" * 40, 2.5, "é", st.binary(max_size=9), st.text("aB3+/=", max_size=9)]
SHAPE = [None, 3, (27, 28, 1), (28, 28, 5), (0,), "ab", (2.5,), (-1, -1), (None,), [[28]]]
FACE = arrays((3,), (), (2,), (0,), (3, 1), values=(NAN, INFINITE, -1.5, 2.5, 1e300))
CHOICE = arrays((3,), (), (2,), (0,), (3, 1), values=(NAN, 0.5, 1.5, -1, 4))

# What is called, with good arguments, and the bad values of each


def networks():
    return models.mlp_generator(2, (3,), (4,), None), models.mlp_discriminator((3,), (4,))


def adam():
    return keras.optimizers.Adam()


def in_batches(*shape):
    return tf.data.Dataset.from_tensor_slices(np.zeros(shape, np.float32)).batch(2)


def draw(image_size=16, **attributes):
    return faces.draw(attributes, image_size)


PLAYER = GAN(*networks(), latent_dim=2, seed=0)
PLAYER.compile(adam(), adam())
NO_NETWORKS = [None, "mlp", 3, models.mlp_generator, keras.layers.Dense(1), keras.Sequential([keras.layers.Dense(3)])]
NETWORK = [*NO_NETWORKS, models.mlp_generator(5, (4,), (4,)), models.mlp_discriminator((4,), (4,))]
OPTIMIZER = [None, "adam", 1e-3, keras.optimizers.Adam, PLAYER, [], {}]
NO_DATASETS = [None, "data", 3, np.zeros((4, 3)), tf.zeros((4, 3)), [np.zeros((2, 3))], tf.data.Dataset.range(3)]
DATASET = [*NO_DATASETS, *(in_batches(*shape) for shape in ((4, 2), (4, 3, 1), (0, 3), (4,)))]
X = np.linspace(0, 1, 5)
PAIR = {"features_a": np.eye(9, 3), "features_b": np.eye(9, 3)}
ENDS_OF_PATH = {"start": np.ones((3, 4)), "end": np.ones((3, 4)), "steps": 3}
GROUPS = ("positive", "negative", "base")
FRAMES = [np.zeros((4, 4), np.uint8)]
CALLS = [
    (data.load_mnist, {"split": "test"}, {"split": NAME}),
    (data.load_fashion_mnist, {"split": "test"}, {"split": NAME}),
    (data.load_celeba, {"folder": "celeba"}, {"folder": PATH, "image_size": COUNT, "count": no_whole(1)[1:]}),
    (data.load_image_folder, {"folder": "photos"}, {"folder": PATH, "image_size": COUNT}),
    (data.shipped_file, {"name": "mnist.npz"}, {"name": NAME}),
    (data.load_results, {"name": "ring"}, {"name": NAME}),
    (data.decode_images, {"text": base64.b64encode(zlib.compress(bytes(784)))}, {"text": TEXT, "shape": SHAPE}),
    (data.to_signed, {"pixels": np.zeros(2, np.uint8)}, {"pixels": arrays((2,), (), (2,), (0,), (3, 3))}),
    (data.to_bytes, {"images": X}, {"images": arrays((2, 2), (0,), (0, 28), values=PIXELS)}),
    (data.check_images, {"images": X}, {"images": arrays((2, 2), (0,), (0, 28), values=PIXELS)}),
    (
        data.batches,
        {"samples": np.zeros((4, 3)), "batch_size": 2},
        {"samples": arrays((4, 3), (4,), (0, 3), (), (1, 2, 3), values=HUGE), "batch_size": COUNT},
    ),
    (
        data.gaussian_mixture,
        {"samples": 4, "centers": [[4.0]], "std": 1.0},
        {
            "samples": COUNT,
            "centers": arrays((2, 2), (), (2,), (0, 2), (2, 0), (1, 1, 1), values=HUGE),
            "std": POSITIVE,
        },
    ),
    (data.ring_centers, {}, {"modes": COUNT, "radius": POSITIVE}),
    (data.grid_centers, {}, {"side": COUNT, "spacing": POSITIVE}),
    (faces.sample_attributes, {"count": 3}, {"count": COUNT}),
    (faces.draw, {"attributes": faces.sample_attributes(3)}, {"attributes": arrays((3,), (3, 9))}),
    (
        draw,
        faces.sample_attributes(3),
        {
            **dict.fromkeys(faces.sample_attributes(1), FACE),
            "hair_style": CHOICE,
            "hair_color": CHOICE,
            "image_size": no_whole(16),
        },
    ),
    (latent.linear, ENDS_OF_PATH, {"start": ENDS, "end": ENDS, "steps": no_whole(2)}),
    (latent.spherical, ENDS_OF_PATH, {"start": ENDS, "end": ENDS, "steps": no_whole(2)}),
    (latent.analogy, dict.fromkeys(GROUPS, np.ones((3, 4))), dict.fromkeys(GROUPS, GROUP)),
    (
        losses.Objective,
        {"name": "own", "discriminator": max, "generator": max},
        {"name": [None, 3, 2.5, [], b"own"], "discriminator": FUNCTION, "generator": FUNCTION},
    ),
    (
        losses.cross_entropy,
        {"logits": tf.zeros((2, 1)), "target": 1.0},
        {"logits": LOGITS, "target": NUMBER},
    ),
    (losses.minimax, {}, {"label_smoothing": SHARE, "fake_smoothing": SHARE}),
    (losses.non_saturating, {}, {"label_smoothing": SHARE, "fake_smoothing": SHARE}),
    (
        metrics.mode_coverage,
        {"samples": np.eye(9, 3), "centers": np.eye(3), "radius": 0.1},
        {"samples": FEATURES, "centers": FEATURES, "radius": POSITIVE},
    ),
    (metrics.frechet_distance, PAIR, dict.fromkeys(PAIR, FEATURES)),
    (
        metrics.kernel_distance,
        {**PAIR, "subset_size": 3, "subsets": 2},
        {**dict.fromkeys(PAIR, FEATURES), "subset_size": no_whole(2), "subsets": COUNT},
    ),
    (
        metrics.inception_score,
        {"logits": np.eye(9, 3), "splits": 2},
        {"logits": arrays((9, 3), (), (3,), (0, 3), (9, 0), (2, 3, 3), values=HUGE), "splits": COUNT},
    ),
    (
        metrics.precision_recall,
        {"real": np.eye(9, 3), "fake": np.eye(9, 3)},
        {"real": FEATURES, "fake": FEATURES, "k": COUNT},
    ),
    (
        metrics.nearest_neighbors,
        {"queries": np.eye(9, 3), "references": np.eye(9, 3)},
        {"queries": FEATURES, "references": FEATURES, "k": COUNT},
    ),
    (metrics.digit_features, {"images": np.zeros((2, 28, 28, 1))}, {"images": DIGITS}),
    (metrics.fashion_features, {"images": np.zeros((2, 28, 28, 1))}, {"images": DIGITS}),
    (metrics.inception_features, {"images": np.zeros((2, 8, 8, 3))}, {"images": PHOTOS}),
    (
        models.mlp_generator,
        {"latent_dim": 2, "output_shape": (3,), "hidden_units": (4,)},
        {
            "latent_dim": COUNT,
            "output_shape": SIZES,
            "hidden_units": SIZES,
            "output_activation": [bad for bad in NAME if bad is not None],
        },
    ),
    (
        models.mlp_discriminator,
        {"input_shape": (3,), "hidden_units": (4,)},
        {"input_shape": SIZES, "hidden_units": SIZES, "dropout_rate": SHARE},
    ),
    (
        models.dcgan_generator,
        {"base_filters": 2},
        {"image_size": COUNT, "channels": COUNT, "latent_dim": COUNT, "base_filters": COUNT},
    ),
    (
        models.dcgan_discriminator,
        {"base_filters": 2},
        {"image_size": COUNT, "channels": COUNT, "base_filters": COUNT},
    ),
    (models.load_pretrained, {"name": "mnist_classifier"}, {"name": NAME}),
    (
        plotting.tile,
        {"images": np.zeros((2, 8, 8, 3)), "columns": 2},
        {"images": PICTURES, "columns": COUNT, "padding": no_whole(0)},
    ),
    (plotting.image_grid, {"images": np.zeros((2, 8, 8, 3))}, {"images": PICTURES, "columns": COUNT}),
    (plotting.densities, {"x": X, "real": X, "fake": X}, {"x": CURVE, "real": CURVE, "fake": CURVE}),
    (
        plotting.points,
        {"real": np.eye(2), "fake": np.eye(2)},
        {
            "real": arrays((3, 2), (), (2,), (0, 2), (2, 3), (3, 2, 2)),
            "fake": arrays((3, 2), (), (2,), (2, 3), (3, 2, 2), values=()),
        },
    ),
    (plotting.losses, {"history": {"d_loss": [1.0], "g_loss": [1.0]}}, {"history": HISTORY}),
    (plotting.probabilities, {"history": {"D(x)": [0.5], "D(G(z))": [0.5]}}, {"history": HISTORY}),
    (
        plotting.figure_frame,
        {"figure": FigureCanvasAgg(Figure()).figure},
        {"figure": STRANGE, "dpi": COUNT},
    ),
    (
        plotting.write_gif,
        {"frames": FRAMES, "path": "film.gif"},
        {"frames": SHADES, "path": NO_PATH, "seconds": POSITIVE},
    ),
    (
        plotting.player,
        {"frames": [np.zeros((4, 4), np.uint8)], "alt": "nothing"},
        {"frames": SHADES, "seconds": POSITIVE, "width": COUNT},
    ),
    (
        GAN,
        {"generator": PLAYER.generator, "discriminator": PLAYER.discriminator, "latent_dim": 2},
        {
            "generator": NETWORK,
            "discriminator": NETWORK,
            "latent_dim": COUNT,
            "seed": SEED,
            "average": [*SHARE[1:], 0, 0.0],
        },
    ),
    (
        PLAYER.compile,
        {"d_optimizer": PLAYER.d_optimizer, "g_optimizer": PLAYER.g_optimizer},
        {
            "d_optimizer": OPTIMIZER,
            "g_optimizer": OPTIMIZER,
            "objective": ["minimax", 3, losses.minimax, [], {}, tf.reduce_mean],
            "penalty": ["r1", 10, 10.0, [], np.zeros(2), True],
            "d_steps": COUNT,
        },
    ),
    (PLAYER.fit, {"dataset": in_batches(4, 3), "verbose": 0}, {"dataset": DATASET}),
    (PLAYER.sample, {"count": 3}, {"count": COUNT, "seed": SEED}),
    (
        Score,
        {"score": np.mean},
        {
            "score": FUNCTION,
            "samples": COUNT,
            "name": [None, 3, 2.5, [], b"own"],
            "seed": SEED,
            "clock": FUNCTION,
        },
    ),
    (SampleGrid, {}, {"path": NO_PATH, "rows": COUNT, "columns": COUNT[1:], "seed": SEED}),  # no columns is a default
    (LearningRates, {"factor": lambda epoch: 1.0}, {"factor": FUNCTION}),
    (
        losses.least_squares,
        {},
        {"fake": [*NUMBER, True], "real": [*NUMBER, True, 0.0], "target": [*NUMBER, True]},
    ),
    (losses.f_divergence, {"name": "kl"}, {"name": NAME, "non_saturating": [None, 3, "yes", [], 2.5]}),
    (losses.get, {"name": "minimax()"}, {"name": [*NAME, "minimax", "minimax(1)", "kl(x=1)", "print('a')"]}),
    (penalties.gradient_penalty, {}, {"weight": POSITIVE}),
    (penalties.dragan, {}, {"weight": POSITIVE}),
    (penalties.r1, {}, {"weight": POSITIVE}),
    (penalties.r2, {}, {"weight": POSITIVE}),
    (penalties.WeightClip, {}, {"limit": POSITIVE}),
    (penalties.get, {"name": "r1(weight=10.0)"}, {"name": [*NAME, "r1", "r1(10)", "r1() + r3()", "print('a')"]}),
    (
        gan_layers.SpectralNormalization,
        {"layer": keras.layers.Dense(2)},
        {"layer": [None, "dense", 3, keras.layers.ReLU, keras.Input((2,))], "power_iterations": COUNT},
    ),
    (gan_layers.LayerNormalization, {}, {"epsilon": POSITIVE}),
    (
        models.conditional_generator,
        {"network": models.mlp_generator(5, (3,), (4,)), "num_classes": 3},
        {"network": NO_NETWORKS, "num_classes": [*COUNT, 1, 5, 6]},
    ),
    (
        models.conditional_discriminator,
        {"network": models.mlp_discriminator((5,), (4,)), "num_classes": 3},
        {"network": NO_NETWORKS, "num_classes": [*COUNT, 1, 5, 6]},
    ),
    (
        models.projection_discriminator,
        {"network": models.mlp_discriminator((5,), (4,)), "num_classes": 3},
        {"network": [*NO_NETWORKS, models.mlp_generator(5, (4,), (4,))], "num_classes": [*COUNT, 1]},
    ),
    (Checkpoint, {"path": "run.npz"}, {"path": NO_PATH}),
]
CASES = {
    f"{function.__qualname__}-{argument}": (function, good, argument, values)
    for function, good, bad in CALLS
    for argument, values in bad.items()
}
OFFLINE = ("load_fashion_mnist", "inception_features")  # a good call may download


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """Where the calls happen: a folder with images, one like CelebA, and a film."""
    path = tmp_path_factory.mktemp("bad")
    for place, name in (("photos", "a.png"), ("celeba/img_align_celeba", "a.jpg")):
        (path / place).mkdir(parents=True)
        Image.new("RGB", (178, 218)).save(path / place / name)
    (path / "celeba" / "list_attr_celeba.txt").write_text("1\nMale\na.jpg 1\n")
    plotting.write_gif(FRAMES, path / "shown.gif")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        yield path


def snapshot(thing):
    """What shows whether an argument has changed."""
    if isinstance(thing, dict):
        return [(name, snapshot(value)) for name, value in thing.items()]
    if isinstance(thing, list | tuple):
        return [snapshot(value) for value in thing]
    return (thing.shape, thing.dtype, thing.tobytes()) if isinstance(thing, np.ndarray) else repr(thing)


def variables():
    return [*PLAYER.variables, *PLAYER.d_optimizer.variables, *PLAYER.g_optimizer.variables]


def weights():
    return [variable.numpy().tobytes() for variable in variables()]


def state(function):
    """All that a call could change: figures, files, global random numbers, the GAN's recipe, and what it learned."""
    recipe = PLAYER.d_optimizer, PLAYER.g_optimizer, PLAYER.objective, PLAYER.penalty, PLAYER.d_steps
    files = sorted((str(path), path.stat().st_mtime_ns) for path in pathlib.Path().rglob("*"))
    near = function is GAN or getattr(function, "__self__", None) is PLAYER  # nothing else can reach the weights
    random = np.random.get_state()[1].tobytes()  # noqa: NPY002
    return [*map(id, recipe)], plt.get_fignums(), files, random, weights() if near else None


def forms(value):
    """The ways in which a message may show a bad value."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        counts = (
            [f"Got {len(value)} samples", f" {value.shape[-1]} and", f"and {value.shape[-1]} f"] if value.ndim else []
        )
        summary = [repr(value)[:12], str(value), "ndarray", str(value.dtype), "NaN", "finite", " from "]
        return [*summary, str(value.shape), *counts]
    shown = [getattr(value, name, None) for name in ("shape", "element_spec", "input_shape", "output_shape")]
    if isinstance(value, dict | list):
        shown = [sorted(value)] if isinstance(value, dict) else [getattr(one, "shape", type(one)) for one in value]
    words = {keras.Model: "no known input shape", tf.data.Dataset: " 0 batches"}
    shown += [word for kind, word in words.items() if isinstance(value, kind)]
    return [
        repr(value)[:12],
        str(value)[:12] or "''",
        type(value).__name__,
        *(str(one) for one in shown if one is not None),
    ]


def refuse(call, value):
    """Asserts that the call is refused by our own code, or by the system over a path, with a message that helps."""
    with pytest.raises((TypeError, ValueError, OSError)) as caught:
        call()
    message, place = str(caught.value), traceback.extract_tb(caught.tb)[-1].filename
    ours = pathlib.Path(place).parent == PACKAGE
    assert ours or isinstance(caught.value, OSError) or "pathlib" in place, f"{place}: {message}"
    assert any(form in message for form in forms(value)), f"{value!r} is not shown: {message}"
    assert re.search("expected|must be|should be|[Rr]emove|missing|lacks|No such|Not a|Begin|Build", message), message


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_call_is_refused_and_changes_nothing(name):
    function, good, argument, values = CASES[name]
    tried = set()

    def try_one(value):
        arguments = {**good, argument: value}
        before, given_before = state(function), snapshot(arguments)
        refuse(lambda: function(**arguments), value)
        assert state(function) == before
        assert snapshot(arguments) == given_before
        tried.add(repr(value))

    for value in values:
        if isinstance(value, st.SearchStrategy):
            settings(max_examples=EXAMPLES, **REPEATABLE)(given(value=value)(try_one))()
        else:
            try_one(value)
    assert len(tried) >= DISTINCT


def test_at_least_two_hundred_wrong_calls_were_made():
    assert len(CASES) * DISTINCT >= 200


@pytest.mark.parametrize("number", [n for n, (call, *_) in enumerate(CALLS) if call.__name__ not in OFFLINE])
def test_the_calls_are_good_but_for_that_one_argument(number):
    function, good, _ = CALLS[number]
    function(**good)


# Damaged files


def damaged(content, share, cut, bit=0):
    """The content up to that share of it, or with one bit there turned over."""
    place = int(share * len(content))
    return content[:place] if cut else content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


PLACES = {"share": st.floats(0, 1, exclude_max=True), "cut": st.booleans(), "bit": st.integers(0, 7)}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A copy of some of the shipped files, where alone the package looks."""
    source = data.shipped_file("mnist.npz").parent
    for name in ("manifest.json", "mnist.npz", "pretrained/mnist_classifier.keras", "results/ring.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(source / name, tmp_path / name)
    monkeypatch.setattr(data, "_FOLDERS", (tmp_path,))
    return tmp_path


@pytest.mark.parametrize(
    ("load", "name"),
    [(data.load_mnist, "mnist.npz"), (lambda: models.load_pretrained("mnist_classifier"), "mnist_classifier.keras")],
)
def test_shipped_files_are_refused_with_their_name_however_they_are_damaged(shipped, load, name):
    (path,) = shipped.rglob(name)
    content = path.read_bytes()

    @settings(max_examples=15, **REPEATABLE)
    @given(**PLACES)
    def every(share, cut, bit):
        path.write_bytes(damaged(content, share, cut, bit))
        with pytest.raises(ValueError, match=rf"{name} is damaged: its sha256 is .*git checkout"):
            load()

    every()


@pytest.mark.parametrize("name", ["manifest.json", "results/ring.json"])
def test_damaged_tables_are_named_or_still_tables(shipped, name):
    content = (shipped / name).read_bytes()

    @settings(max_examples=60, **REPEATABLE)
    @given(**PLACES)
    def every(share, cut, bit):
        (shipped / name).write_bytes(damaged(content.rstrip(), share, cut, bit))
        try:
            table = data.load_results("ring") if "ring" in name else data.shipped_file("mnist.npz")
        except ValueError as error:
            assert re.search(rf"{name} is damaged|mnist\.npz is damaged|Got the name", str(error))  # noqa: PT017
        else:
            assert not cut
            assert isinstance(table, dict | pathlib.Path)

    every()


class Touch:
    """Unpickled, it leaves a file behind: what a pickle may do is anything."""

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path("unpickled"),)


def test_pickled_objects_are_never_loaded(shipped, monkeypatch):
    monkeypatch.chdir(shipped)
    touch = np.array([Touch()], dtype=object)
    np.savez("mnist.npz", x_train=touch, y_train=touch, arr_0=touch)
    manifest = {"mnist.npz": {"sha256": hashlib.sha256(pathlib.Path("mnist.npz").read_bytes()).hexdigest()}}
    pathlib.Path("manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        data.load_mnist()
    with pytest.raises(ValueError, match=r"checkpoint mnist\.npz is damaged .*allow_pickle=False"):
        PLAYER.fit(in_batches(4, 3), verbose=0, callbacks=[Checkpoint("mnist.npz")])
    assert not pathlib.Path("unpickled").exists()
    np.load("mnist.npz", allow_pickle=True)["x_train"]
    assert pathlib.Path("unpickled").exists()  # the test can fail


def test_nothing_in_the_course_loads_pickles():
    for folder in ("gan_utils", "studies", "tools", "benchmarks", "notebooks"):
        for path in (*(ROOT / folder).glob("*.py"), *(ROOT / folder).glob("*.ipynb")):
            text = path.read_text("utf-8")
            assert text.count("np.load(") == len(re.findall(r"np\.load\([^\n]*allow_pickle=False", text)), path
            assert not re.search(r"import pickle|joblib|safe_mode=False|enable_unsafe|allow_pickle=True", text), path


def test_a_damaged_checkpoint_is_refused_before_anything_changes_or_is_as_good_as_whole(tmp_path):
    """A ZIP file has bytes of no consequence, such as dates: turned over, they may pass."""
    gan, dataset, path = PLAYER, in_batches(4, 3), tmp_path / "run.npz"
    gan.fit(dataset, verbose=0, callbacks=[Checkpoint(path)])
    content, kept = path.read_bytes(), weights()
    gan.fit(dataset, verbose=0)
    now, values = weights(), [variable.numpy() for variable in variables()]
    directory = content.index(b"PK\x01\x02")
    flips = [(place, place % 8) for place in (*range(0, 110, 2), *range(110, len(content), 400))]
    flips += [(place, bit) for place in range(directory, directory + 56) for bit in (0, 3, 7)]  # its first entry
    damages = [damaged(content, (place + 0.5) / len(content), False, bit) for place, bit in flips]
    damages += [content[:length] for length in range(0, len(content), 600)]
    refused = 0
    for damage in damages:
        path.write_bytes(damage)
        try:
            Checkpoint(path).restore(gan, dataset, 2, [])
        except ValueError as error:
            assert f"checkpoint {path} is damaged" in str(error)  # noqa: PT017
            assert weights() == now
            refused += 1
        else:
            assert weights() == kept
            for variable, value in zip(variables(), values, strict=True):
                variable.assign(value)
    assert 0.5 * len(damages) < refused
