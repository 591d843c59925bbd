import base64
import io
import re

import imageio.v3
import matplotlib.font_manager
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib import colors
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
    assert curves["½, cannot tell"] == [0.5, 0.5]
    assert ax.get_ylim() == (0.0, 1.0)


def test_what_is_real_has_one_colour_and_what_is_generated_another():
    for ax in (plotting.probabilities(PROBABILITIES), plotting.losses(LOSSES), plotting.points(PLANE, PLANE)):
        assert [line.get_color() for line in ax.get_lines()[:2]] == [plotting.REAL_COLOR, plotting.FAKE_COLOR]


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
    assert colors.to_hex(ax.collections[0].get_facecolor()) == plotting.REAL_COLOR
    assert ax.get_lines()[0].get_color() == plotting.FAKE_COLOR
    assert [line.get_linestyle() for line in ax.get_lines()] == ["-", "-", "--"]
    assert ax.get_ylim() == (0.0, 1.05)
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


def test_a_film_may_come_from_a_generator(tmp_path):
    frames = [np.full((4, 3), 60 * index, dtype=np.uint8) for index in range(3)]
    plotting.write_gif((frame for frame in frames), tmp_path / "film.gif")
    read = frames_of(tmp_path / "film.gif")
    assert [duration for _, duration in read] == [200, 200, 1000]
    assert [picture[0, 0, 0] for picture, _ in read] == [0, 60, 120]
    with pytest.raises(ValueError, match=r"Got frames of \[\], expected one or more"):
        plotting.write_gif((frame for frame in []), tmp_path / "none.gif")


def test_a_film_is_written_by_imageio(tmp_path, monkeypatch):
    def write(file, frames, **options):
        raise NotImplementedError(frames.shape)

    monkeypatch.setattr(imageio.v3, "imwrite", write)
    with pytest.raises(NotImplementedError, match=r"\(2, 4, 3\)"):
        plotting.write_gif([np.zeros((4, 3), np.uint8)] * 2, tmp_path / "film.gif")


def test_a_film_holds_at_most_32_shades_and_is_small(tmp_path):
    noise = np.random.default_rng(0).integers(256, size=(3, 64, 64, 3), dtype=np.uint8)
    plotting.write_gif(noise, tmp_path / "film.gif")
    for picture, _ in frames_of(tmp_path / "film.gif"):
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) <= 32
    assert (tmp_path / "film.gif").stat().st_size < 3 * 64 * 64  # 8 bits a pixel, as 256 shades of noise take


@pytest.mark.parametrize("name", ["film.mp4", "film.png", "film", "gif", ".gif"])
def test_a_film_of_another_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"Got path='.*{name}', expected a name that ends in \.gif"):
        plotting.write_gif([np.zeros((4, 4), np.uint8)], tmp_path / "new" / name)
    assert not list(tmp_path.iterdir())


def test_a_frame_of_a_film_is_magnified_by_a_whole_number():
    images = np.array([[[-1.0, 1.0], [1.0, -1.0]], [[0.0, 0.0], [1.0, 1.0]]])[..., np.newaxis]
    frame = plotting.film_frame(images, columns=2, height=5)  # three times, since twice is 4
    assert frame.dtype == np.uint8
    gray = 132  # 16/31 of 255, the nearest of 32 shades to 128
    small = [[0, 255, 255, 255, gray, gray], [255, 0, 255, 255, 255, 255]]
    np.testing.assert_array_equal(frame, np.kron(small, np.ones((3, 3))))
    assert plotting.film_frame(images, columns=1, height=4).shape == (2 * (2 + 2 + 2), 2 * 2)
    assert plotting.film_frame(images, columns=1, height=1).shape == (6, 2)


@pytest.mark.parametrize(("side", "times"), [(28, 3), (32, 3), (64, 2), (80, 1), (128, 1)])
def test_an_image_of_a_film_is_at_least_80_pixels_high(side, times):
    frame = plotting.film_frame(np.zeros((3, side, side, 1)), columns=2)
    assert frame.shape == (times * (2 * side + 2), times * (2 * side + 2))


def test_a_frame_of_a_film_keeps_its_colours():
    images = np.random.default_rng(0).uniform(-1, 1, size=(4, 3, 2, 3))
    frame = plotting.film_frame(images, columns=2, height=3)
    np.testing.assert_array_equal(frame, np.rint((plotting.tile(images, 2) + 1) * 127.5))
    captioned = plotting.film_frame(np.zeros((1, 64, 64, 3)), columns=1, caption="epoch 3")
    assert captioned.shape[1:] == (128, 3)
    np.testing.assert_array_equal(captioned[-128:], 128)


def test_a_film_frame_holds_32_even_shades_of_gray():
    ramp = np.linspace(-1, 1, 256).reshape(1, 16, 16, 1)
    frame = plotting.film_frame(ramp, columns=1, caption="epoch 3")
    assert np.unique(frame).tolist() == np.rint(np.arange(32) * 255 / 31).tolist()
    np.testing.assert_allclose(frame[-80:][::5, ::5].ravel(), np.arange(256), atol=255 / 62 + 1)


CAPTIONED = np.full((32, 28, 28, 1), -1.0)


def strip(caption, images=CAPTIONED, columns=8):
    whole, bare = (plotting.film_frame(images, columns, text) for text in (caption, ""))
    np.testing.assert_array_equal(whole[-len(bare) :], bare)
    return whole[: -len(bare)]


def test_the_caption_stands_in_a_light_strip_above():
    text = strip("epoch 3")
    assert text.shape == (33, 714)
    assert text[[0, -1]].min() == text[:, [0, -1]].min() == 255  # nothing is cut off
    rows, columns = np.nonzero(text < 128)
    assert text.min() == 0
    assert 15 <= np.ptp(rows) + 1 <= 25  # from the top of h to the foot of p
    assert abs(rows.mean() - 16) < 3
    assert 60 < np.ptp(columns) < 110
    assert columns.min() < 25  # text that begins at one place does not sway when a number grows


def test_captions_differ_and_the_frames_of_a_film_have_one_shape():
    three, eight = strip("epoch 3"), strip("epoch 8")
    assert three.shape == eight.shape
    assert not np.array_equal(three, eight)
    np.testing.assert_array_equal(three[:, :75], eight[:, :75])  # "epoch" stands still


def test_a_caption_that_is_long_is_written_smaller_to_its_end():
    first, second = (strip("epoch 1,000,000 of many more than fit into the frame " * 3 + end) for end in "38")
    assert first.shape == second.shape == (33, 714)
    assert np.nonzero(first != second)[1].min() > 600
    assert first[:, -1].min() == 255
    assert np.nonzero(first < 128)[1].min() < 25


@pytest.mark.parametrize("columns", [1, 2, 16, 40])
def test_a_caption_is_legible_in_a_frame_of_any_width(columns):
    """Where a page shows the frame in 640 pixels, or in its own where it is narrower."""
    text = strip("epoch 12", np.zeros((columns, 28, 28, 1)), columns)
    rows, places = np.nonzero(text < 128)
    assert np.ptp(rows) * min(1.0, 640 / text.shape[1]) >= 12
    assert text[:, -1].min() == 255
    assert places.max() < text.shape[1] - 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"caption": 3}, TypeError, r"Got caption=3 and height=80, expected text"),
        ({"caption": None}, TypeError, r"Got caption=None and height=80, expected text"),
        ({"height": 0}, ValueError, r"Got caption='' and height=0, expected text, and at least 1 pixel"),
        ({"height": 80.0}, ValueError, r"Got caption='' and height=80\.0, expected text, and at least 1 pixel"),
        ({"columns": 0}, ValueError, r"Got columns=0, expected at least 1"),
    ],
)
def test_a_frame_that_cannot_be_drawn_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        plotting.film_frame(**{"images": np.zeros((1, 4, 4, 1)), "columns": 1, **options})
    with pytest.raises(ValueError, match=r"Got values from 0 to 255"):
        plotting.film_frame(np.array([0.0, 255.0]).reshape(1, 2, 1, 1), 1)


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


def shown_frames(page):
    encoded = [part.split('"')[0] for part in page.split("data:image/webp;base64,")[1:]]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in encoded]


def test_a_player_holds_every_frame_without_loss_and_shows_the_last():
    rng = np.random.default_rng(0)
    for shape in ((9, 7), (9, 7, 3)):
        frames = rng.integers(0, 256, (3, *shape), dtype=np.uint8)
        page = plotting.player(list(frames), alt="noise,", captions=["a", "b", "<c>"]).data
        for frame, shown in zip(frames, shown_frames(page), strict=True):
            assert np.array_equal(shown, frame if frame.ndim == 3 else np.stack([frame] * 3, axis=-1))
        assert re.findall("display:(block|none)", page)[:3] == ["none", "none", "block"]
        assert 'alt="noise, a"' in page
        assert ">&lt;c&gt;</output>" in page
        assert "http" not in page  # it needs no network


def test_a_player_counts_epochs_from_the_frame_before_training():
    assert ">epoch 2</output>" in plotting.player([np.zeros((4, 4), np.uint8)] * 3, "nothing").data


@pytest.mark.parametrize(
    ("frames", "captions"),
    [
        ([], []),
        ([np.zeros((4, 4), np.uint8)], ["a", "b"]),
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], ["a", "b"]),
        ([np.zeros((4, 4))], ["a"]),
    ],
)
def test_what_makes_no_film_is_not_played(frames, captions):
    with pytest.raises(ValueError, match=r"expected one or more uint8 arrays of one shape|expected a caption for each"):
        plotting.player(frames, "nothing", captions)


def test_a_table_aligns_numbers_and_keeps_bars_of_cells():
    written = plotting.table(["a|b", "n"], [["x", 1], ["|y|", "2 ± 1"]]).data
    assert written.splitlines() == ["| a\\|b | n |", "|:---|---:|", "| x | 1 |", "| \\|y\\| | 2 ± 1 |"]


def test_a_table_with_a_row_too_short_is_refused():
    with pytest.raises(ValueError, match=r"\['x'\], expected 2 cells.*\['a', 'b'\]"):
        plotting.table(["a", "b"], [["x"]])


def test_a_grid_has_the_names_of_its_rows_and_columns():
    ax = plotting.image_grid(np.zeros((6, 8, 10, 1)), 3, row_names=["r", "s"], column_names=["a", "b", "c"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["r", "s"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]
    assert list(ax.get_xticks()) == [4.5, 16.5, 28.5]  # the middles of 10 pixels, with 2 between them
    assert list(ax.get_yticks()) == [3.5, 13.5]
    plt.close(ax.figure)


def test_the_style_of_the_course_has_large_letters_and_its_own_colours():
    with plt.style.context("gan_utils.course"):
        sizes = [
            matplotlib.font_manager.FontProperties(size=plt.rcParams[f"{name}size"]).get_size_in_points()
            for name in ("font.", "axes.label", "axes.title", "legend.font", "xtick.label", "ytick.label")
        ]
        assert min(sizes) >= 13
        cycle = plt.rcParams["axes.prop_cycle"]
        assert {color.lower() for color in cycle.by_key()["color"]} == set(plotting.COLORS.values())
        assert len(set(zip(*cycle.by_key().values(), strict=True))) == len(cycle)
        ax = plotting.densities(LINE, 1 - abs(LINE), LINE**2, {"D*": LINE**2, "D": abs(LINE)})
        assert [line.get_linestyle() for line in ax.get_lines()] == ["-", "-", "--"]
        plt.close(ax.figure)
