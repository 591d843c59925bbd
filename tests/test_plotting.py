import base64
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image, ImageSequence

from gan_utils import plotting

LOSSES = {"d_loss": [1.2, 1.3, 1.1], "g_loss": [0.9, 0.8, 0.7]}
PROBABILITIES = {"D(x)": [0.9, 0.7, 0.6], "D(G(z))": [0.1, 0.3, 0.4]}
LINE = np.linspace(-1, 1, 5)
PLANE = np.array([[1.0, 0.0], [0.0, -2.0], [-1.0, 1.0]])
DRAWINGS = {
    "image_grid": lambda **ax: plotting.image_grid(np.zeros((3, 4, 4, 1)), columns=2, **ax),
    "densities": lambda **ax: plotting.densities(LINE, 1 - abs(LINE), LINE**2, {"D": LINE**2, "D*": abs(LINE)}, **ax),
    "points": lambda **ax: plotting.points(PLANE, PLANE / 2, **ax),
    "losses": lambda **ax: plotting.losses(LOSSES, **ax),
    "probabilities": lambda **ax: plotting.probabilities(PROBABILITIES, **ax),
}


def frames_of(path):
    with Image.open(path) as gif:
        return [(np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(gif)]


@pytest.fixture(autouse=True)
def never_shown(monkeypatch):
    def show(*args, **kwargs):
        raise AssertionError("plt.show belongs to the reader, not to a library")

    monkeypatch.setattr(plt, "show", show)


def test_a_tile_puts_each_pixel_in_its_place():
    a, b, c = np.arange(18).reshape(3, 2, 3) / 20
    picture = plotting.tile(np.stack([a, b, c])[..., np.newaxis], columns=2, padding=1)
    expected = [
        [a[0, 0], a[0, 1], a[0, 2], 1, b[0, 0], b[0, 1], b[0, 2]],
        [a[1, 0], a[1, 1], a[1, 2], 1, b[1, 0], b[1, 1], b[1, 2]],
        [1, 1, 1, 1, 1, 1, 1],
        [c[0, 0], c[0, 1], c[0, 2], 1, 1, 1, 1],
        [c[1, 0], c[1, 1], c[1, 2], 1, 1, 1, 1],
    ]
    np.testing.assert_array_equal(picture, expected)


def test_a_tile_keeps_the_colours():
    images = np.random.default_rng(0).uniform(-1, 1, size=(4, 3, 2, 3))
    picture = plotting.tile(images, columns=2)
    assert picture.shape == (3 + 2 + 3, 2 + 2 + 2, 3)
    np.testing.assert_array_equal(picture[:3, 4:], images[1])
    np.testing.assert_array_equal(picture[5:, :2], images[2])
    np.testing.assert_array_equal(picture[3:5], 1.0)


def test_a_tile_leaves_the_images_as_they_are():
    images = np.zeros((2, 2, 2, 1), dtype=np.float32)
    picture = plotting.tile(images, columns=2)
    assert picture.dtype == np.float32
    picture[:] = 0.5
    assert not images.any()


def test_a_tile_without_padding_has_no_lines():
    np.testing.assert_array_equal(plotting.tile(np.zeros((4, 2, 2, 1)), columns=2, padding=0), np.zeros((4, 4)))


@pytest.mark.parametrize("shape", [(5, 28, 28), (28, 28), (5, 28, 28, 2), (5, 28, 28, 4), (0, 28, 28, 1), (5, 2)])
def test_what_is_no_stack_of_images_is_refused(shape):
    for function in (plotting.tile, plotting.image_grid):
        with pytest.raises(ValueError, match=re.escape(f"Got images of shape {shape}, expected (samples, height")):
            function(np.zeros(shape), columns=2)


@pytest.mark.parametrize("columns", [0, -1])
def test_a_tile_needs_a_column(columns):
    with pytest.raises(ValueError, match=f"Got columns={columns}, expected at least 1"):
        plotting.tile(np.zeros((4, 2, 2, 1)), columns)


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_picture_is_drawn_on_the_axes_that_are_given(draw):
    figure, (left, right) = plt.subplots(1, 2)
    assert draw(ax=right) is right
    assert right.has_data()
    assert not left.has_data()
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_picture_makes_its_own_axes_where_none_are_given(draw):
    figure, other = plt.subplots()
    ax = draw()
    assert ax.has_data()
    assert not other.has_data()
    assert ax.figure is not figure
    assert len(plt.get_fignums()) == 2
    ax.figure.canvas.draw()


@pytest.mark.parametrize("name", ["densities", "points", "losses", "probabilities"])
def test_both_axes_are_named_and_so_are_the_curves(name):
    ax = DRAWINGS[name]()
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert ax.get_legend() is not None


def test_an_image_grid_names_its_rows_at_their_middles():
    ax = plotting.image_grid(np.zeros((6, 5, 5, 1)), columns=2, row_names=("first", "second", "third"))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["first", "second", "third"]
    np.testing.assert_array_equal(ax.get_yticks(), [2.0, 9.0, 16.0])  # rows of 5 pixels with 2 between them
    assert ax.axison
    assert not plotting.image_grid(np.zeros((6, 5, 5, 1))).axison


def test_an_image_grid_shows_minus_1_black_and_1_white():
    images = np.stack([np.full((2, 2, 1), value) for value in (-0.5, 0.0, 0.5)])
    ax = plotting.image_grid(images, columns=3, title="Three grays")
    (shown,) = ax.get_images()
    assert ax.get_title() == "Three grays"
    np.testing.assert_array_equal(shown.get_array()[0], [0.25, 0.25, 1, 1, 0.5, 0.5, 1, 1, 0.75, 0.75])
    assert shown.get_clim() == (0.0, 1.0)
    np.testing.assert_array_equal(shown.to_rgba([0.0, 1.0])[:, :3], [[0, 0, 0], [1, 1, 1]])


def test_the_losses_are_drawn_from_the_first_epoch_on_beside_their_values_at_equilibrium():
    ax = plotting.losses(LOSSES)
    curves = {line.get_label(): line for line in ax.get_lines()}
    for name, key in (("discriminator", "d_loss"), ("generator", "g_loss")):
        assert list(curves[name].get_xdata()) == [1, 2, 3]
        assert list(curves[name].get_ydata()) == LOSSES[key]
    assert curves["log 4"].get_ydata()[0] == pytest.approx(1.386294, abs=1e-6)
    assert curves["log 2"].get_ydata()[0] == pytest.approx(0.693147, abs=1e-6)
    assert curves["log 4"].get_color() == curves["discriminator"].get_color() != curves["generator"].get_color()


def test_the_probabilities_are_drawn_on_the_scale_from_0_to_1():
    ax = plotting.probabilities(PROBABILITIES)
    curves = {line.get_label(): list(line.get_ydata()) for line in ax.get_lines()}
    assert curves["D(x), real"] == PROBABILITIES["D(x)"]
    assert curves["D(G(z)), generated"] == PROBABILITIES["D(G(z))"]
    assert ax.get_ylim() == (0.0, 1.0)


@pytest.mark.parametrize(
    ("function", "history", "missing"),
    [
        (plotting.losses, {"d_loss": [1.0]}, "g_loss"),
        (plotting.losses, {"loss": [1.0], "g_loss": [1.0]}, "d_loss"),
        (plotting.probabilities, LOSSES, r"D\(x\)', 'D\(G\(z\)\)"),
    ],
)
def test_a_history_that_lacks_a_curve_is_refused_before_a_figure_is_made(function, history, missing):
    with pytest.raises(ValueError, match=rf"{sorted(history)[-1]}.*lacks \['{missing}'\].*gan\.history\.history"):
        function(history)
    assert not plt.get_fignums()


def test_densities_show_both_densities_and_each_answer():
    ax = DRAWINGS["densities"]()
    curves = {line.get_label(): list(line.get_ydata()) for line in ax.get_lines()}
    assert curves == {"$p_g$": list(LINE**2), "D": list(LINE**2), "D*": list(abs(LINE))}
    assert ax.collections[0].get_label() == "$p_{data}$"
    assert ax.get_xlim() == (-1.0, 1.0)


def test_points_of_the_plane_keep_their_proportions_and_the_view_is_that_of_the_real_ones():
    ax = plotting.points(PLANE, PLANE * 100)
    real, fake = ax.get_lines()
    np.testing.assert_array_equal(np.transpose(real.get_data()), PLANE)
    np.testing.assert_array_equal(np.transpose(fake.get_data()), PLANE * 100)
    assert ax.get_aspect() == 1.0
    low, high = ax.get_xlim()
    assert (low, high) == ax.get_ylim() == (-high, high)
    assert 2.0 < high < 4.0  # the largest real coordinate is 2


def test_a_figure_becomes_a_frame_and_is_closed():
    figure = plt.figure(figsize=(4, 2), facecolor="red")
    frame = plotting.figure_frame(figure, dpi=50)
    assert frame.shape == (100, 200, 3)
    assert frame.dtype == np.uint8
    assert frame[0, 0].tolist() == [255, 0, 0]
    assert not plt.get_fignums()


def test_a_gif_is_read_back_frame_by_frame(tmp_path):
    frames = [np.array([[0, 255], [60 * index, 128], [7, 7]], dtype=np.uint8) for index in range(4)]
    path = tmp_path / "new" / "folder" / "film.gif"
    plotting.write_gif(frames, path, seconds=0.3)
    read = frames_of(path)
    assert [duration for _, duration in read] == [300, 300, 300, 1000]
    for (picture, _), frame in zip(read, frames, strict=True):
        np.testing.assert_array_equal(picture, np.stack([frame] * 3, axis=-1))
    with Image.open(path) as gif:
        assert gif.info["loop"] == 0  # for ever


def test_a_gif_keeps_colours(tmp_path):
    frames = [np.full((4, 4, 3), color, dtype=np.uint8) for color in ([255, 0, 0], [0, 0, 255])]
    plotting.write_gif(frames, str(tmp_path / "film.gif"))
    read = [picture[0, 0].tolist() for picture, _ in frames_of(tmp_path / "film.gif")]
    np.testing.assert_allclose(read, [[255, 0, 0], [0, 0, 255]], atol=8)


def test_a_gif_of_many_grays_stays_close_to_them(tmp_path):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    plotting.write_gif([ramp, ramp[::-1]], tmp_path / "film.gif")
    for (picture, _), frame in zip(frames_of(tmp_path / "film.gif"), (ramp, ramp[::-1]), strict=True):
        np.testing.assert_allclose(picture[..., 0].astype(int), frame, atol=16)


def test_a_film_of_one_frame_is_a_gif_too(tmp_path):
    plotting.write_gif([np.full((4, 4), 9, np.uint8)], tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as gif:
        assert np.asarray(gif.convert("L")).tolist() == [[9] * 4] * 4


@pytest.mark.parametrize(
    ("frames", "given"),
    [
        ([], r"\[\]"),
        ([np.zeros((4, 4))], "float64"),
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], r"\(4, 4\).*\(4, 5\)"),
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.int64)], "int64.*uint8"),
    ],
)
def test_frames_that_make_no_film_are_refused_and_nothing_is_written(tmp_path, frames, given):
    with pytest.raises(ValueError, match=f"Got frames of .*{given}.*expected one or more uint8 arrays of one shape"):
        plotting.write_gif(frames, tmp_path / "new" / "film.gif")
    assert not list(tmp_path.iterdir())


def test_a_gif_is_shown_with_the_file_inside(tmp_path):
    path = tmp_path / "film.gif"
    plotting.write_gif([np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)], path)
    page = plotting.show_gif(path, width=123).data
    assert 'width="123"' in page
    embedded = page.split("data:image/gif;base64,")[1].split('"')[0]
    assert base64.b64decode(embedded) == path.read_bytes()
    assert str(tmp_path) not in page


def test_a_gif_that_is_not_there_cannot_be_shown(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"film\.gif"):
        plotting.show_gif(tmp_path / "film.gif")
