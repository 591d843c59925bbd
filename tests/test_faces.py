import time

import numpy as np
import pytest

from gan_utils import faces

ATTRIBUTES = faces.sample_attributes(400, seed=3)
FACE = {name: np.zeros(1) for name in ATTRIBUTES} | {"hair_style": np.ones(1), "width": np.full(1, 0.5)}


def changed(**attributes):
    """Pixels, (height, width), by which one face differs from the plain one."""
    other = {**FACE, **{name: np.array([value], float) for name, value in attributes.items()}}
    return np.abs(faces.draw(other) - faces.draw(FACE))[0].max(axis=-1)


def rows_and_columns(difference):
    return np.nonzero(difference > 0.2)


def test_attributes_are_drawn_from_their_ranges():
    assert {len(values) for values in ATTRIBUTES.values()} == {400}
    for name in ("smile", "skin", "background", "width", "turn"):
        low = -1.0 if name == "turn" else 0.0
        assert low <= ATTRIBUTES[name].min() < low + 0.05
        assert 0.95 < ATTRIBUTES[name].max() <= 1.0
    for name in ("glasses", "beard"):
        assert set(ATTRIBUTES[name]) == {0.0, 1.0}
        assert 0.3 < ATTRIBUTES[name].mean() < 0.5
    assert set(ATTRIBUTES["hair_style"]) == set(range(len(faces.HAIR_STYLES)))
    assert set(ATTRIBUTES["hair_color"]) == set(range(len(faces.HAIR_COLORS)))


def test_attributes_are_independent():
    table = faces.sample_attributes(20_000)
    correlations = np.corrcoef(np.stack([values.astype(float) for values in table.values()]))
    assert np.abs(correlations - np.eye(len(table))).max() < 0.03


def test_the_seed_chooses_the_faces():
    first, again, other = (faces.sample_attributes(5, seed)["smile"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("image_size", [16, 32, 64])
def test_faces_are_images_in_the_range_of_tanh(image_size):
    images = faces.draw(ATTRIBUTES, image_size)
    assert images.shape == (400, image_size, image_size, 3)
    assert images.dtype == np.float32
    assert -1.0 <= images.min() < -0.6
    assert 0.8 < images.max() <= 1.0


def test_a_face_does_not_depend_on_its_neighbours():
    alone = faces.draw({name: values[300:301] for name, values in ATTRIBUTES.items()})
    np.testing.assert_array_equal(alone[0], faces.draw(ATTRIBUTES)[300])


def test_a_small_face_is_a_large_one_seen_from_afar():
    large = faces.draw(ATTRIBUTES, 128).reshape(400, 32, 4, 32, 4, 3).mean(axis=(2, 4))
    assert np.abs(large - faces.draw(ATTRIBUTES)).mean() < 0.02


def test_each_attribute_changes_its_own_part_of_the_picture():
    parts = {  # rows and columns of 32 between which the change lies
        "smile": (16, 28, 8, 24),
        "glasses": (10, 20, 5, 27),
        "beard": (17, 27, 6, 26),
        "hair_style": (0, 30, 2, 30),
    }
    for name, (top, bottom, left, right) in parts.items():
        rows, columns = rows_and_columns(changed(**{name: 0.0 if name == "hair_style" else 1.0}))
        assert len(rows) > 10, name
        assert rows.min() >= top, name
        assert rows.max() < bottom, name
        assert columns.min() >= left, name
        assert columns.max() < right, name
    assert changed(background=0.5)[0].min() > 0.05  # the first row is all background
    assert changed(skin=1.0)[17, 10] > 0.3  # a cheek


def test_a_smile_grows_evenly():
    changes = [changed(smile=value).sum() for value in (0.25, 0.5, 0.75, 1.0)]
    assert np.all(np.diff([0.0, *changes]) > 0.5)


def test_a_head_that_turns_right_is_the_mirror_image_of_one_that_turns_left():
    left, right = (faces.draw({**FACE, "turn": np.array([turn])})[0] for turn in (-0.8, 0.8))
    np.testing.assert_allclose(left, right[:, ::-1], atol=1e-4)
    nose = right[18, 10:22].mean(axis=-1).argmin() + 10
    assert nose > 17  # turned right, the nose stands right of the middle
    lips = np.nonzero(right[20:26, :, 0] - right[20:26, :, 1] > 0.6)[1]
    assert lips.mean() > 17


SIDE = 128
PLACES = (np.arange(SIDE) + 0.5) * 2.0 / SIDE - 1.0  # x of each column, y of each row
PIXEL = 2.0 / SIDE


def large(turn=0.0, **attributes):
    """Bytes of the plain face, short of hair, (rows, columns, 3)."""
    plain = {**FACE, "hair_style": np.zeros(1), "turn": np.array([turn])}
    return (
        faces.draw({**plain, **{name: np.array([v], float) for name, v in attributes.items()}}, SIDE)[0] + 1
    ) * 127.5


def row(y):
    return int((y + 1.0) / PIXEL)


def spans(turn, y, **attributes):
    """The row nearest to y, and where it changes with an attribute: x of the first and last pixel of each run."""
    change = np.abs(large(turn, **attributes) - large(turn))[row(y)].max(axis=-1) > 40
    edges = np.flatnonzero(np.diff(np.concatenate([[False], change, [False]])))
    return PLACES[row(y)], PLACES[np.minimum(edges, SIDE - 1)].reshape(-1, 2) - [0.0, PIXEL]


@pytest.mark.parametrize("turn", [-0.8, 0.0, 0.8])
def test_a_head_turns_with_all_that_is_in_its_face(turn):
    """Each part by the formula of where it is drawn: the farther it stands out, the farther it moves."""
    face = large(turn)
    rows, red = slice(row(0.3), row(0.5)), face[..., 0] - face[..., 1] > 90
    lips = PLACES[np.nonzero(red[rows])[1]]
    assert lips.mean() == pytest.approx(0.18 * turn, abs=PIXEL)
    dark = face[row(-0.03)].max(axis=-1) < 60
    pupils = PLACES[dark & (abs(PLACES) < 0.5)]
    assert pupils.mean() == pytest.approx(0.26 * turn, abs=PIXEL)
    apart = pupils[pupils > 0.26 * turn].mean() - pupils[pupils < 0.26 * turn].mean()
    assert apart == pytest.approx(2 * (0.225 - 0.03 * turn**2), abs=PIXEL)
    skin = np.array([255, 219, 190])
    eyes = PLACES[(np.abs(face[row(-0.04)] - skin).max(axis=-1) > 40) & (abs(PLACES - 0.05 * turn) < 0.49)]
    assert (eyes.min() + eyes.max()) / 2 == pytest.approx(0.21 * turn, abs=PIXEL)
    assert np.ptp(eyes) == pytest.approx(2 * (0.225 - 0.03 * turn**2 + 0.135), abs=2 * PIXEL)
    nose = PLACES[np.abs(face[row(0.17)] - 0.78 * skin).max(axis=-1) < 3]
    assert nose.mean() == pytest.approx(0.27 * turn, abs=PIXEL)
    assert np.ptp(nose) == pytest.approx(0.15 - PIXEL, abs=2 * PIXEL)


@pytest.mark.parametrize("turn", [-0.8, 0.0, 0.8])
def test_a_head_turns_with_all_that_is_round_its_face(turn):
    _, [(left, right)] = spans(turn, 0.35, skin=1.0)
    assert (left + right) / 2 == pytest.approx(0.05 * turn, abs=PIXEL)
    y, changes = spans(turn, -0.29, hair_color=2)  # above the brows; there −0.30 + 0.10·cos 4u is y
    assert changes.mean() == pytest.approx(0.22 * turn, abs=PIXEL)
    assert np.ptp(changes) == pytest.approx(2 * np.arccos((y + 0.30) / 0.10) / 4, abs=2 * PIXEL)
    y, ((_, gap_left), (gap_right, _)) = spans(turn, 0.2, beard=1)  # between the cheeks, where y is 0.26 − 0.75·u²
    assert (gap_left + gap_right) / 2 == pytest.approx(0.13 * turn, abs=PIXEL)
    assert gap_right - gap_left == pytest.approx(2 * np.sqrt((0.26 - y) / 0.75), abs=3 * PIXEL)
    _, changes = spans(turn, 0.1, glasses=1)
    assert changes.mean() == pytest.approx(0.21 * turn, abs=PIXEL)
    _, changes = spans(turn, 0.6, hair_style=1)  # the back of the head moves against the face
    assert (changes.min() + changes.max()) / 2 == pytest.approx(-0.10 * turn, abs=PIXEL)
    still, moved = (spans(angle, -0.12, hair_style=2)[1] for angle in (0.0, turn))
    assert [moved.min(), moved.max()] == pytest.approx(
        [still.min() - 0.1 * turn, still.max() - 0.1 * turn], abs=1.1 * PIXEL
    )


@pytest.mark.parametrize("turn", [-0.4, 0.0, 0.4])  # farther, and a pupil would hide a bridge that stays
def test_the_bridge_of_the_glasses_stands_between_the_eyes(turn):
    _, changes = spans(turn, -0.05, glasses=1)
    bridge = changes[np.abs(changes.mean(axis=1) - 0.21 * turn).argmin()]
    assert bridge.mean() == pytest.approx(0.21 * turn, abs=PIXEL)
    assert np.ptp(bridge) == pytest.approx(0.14, abs=1.1 * PIXEL)


@pytest.mark.parametrize("turn", [-0.8, 0.0, 0.8])
def test_brows_move_with_the_eyes(turn):
    skin, brow = 190.0, 0.6 * faces.HAIR_COLORS["blond"][2]  # of blue
    for y in (-0.215, -0.195):  # through a brow, and where only its ends are left
        coverage = (skin - large(turn, hair_color=2)[row(y), :, 2]) / (skin - brow)
        coverage *= abs(PLACES - 0.05 * turn) < 0.5
        assert coverage.max() > 0.5
        assert np.average(PLACES, weights=coverage) == pytest.approx(0.21 * turn, abs=PIXEL)


def test_colours_are_those_of_their_names():
    for index, color in enumerate(faces.HAIR_COLORS.values()):
        np.testing.assert_allclose(large(hair_color=index)[row(-0.45), row(0.0)], color, atol=0.5)
        np.testing.assert_allclose(
            large(hair_color=index, beard=1)[row(0.55), row(0.0)], 0.72 * np.array(color), atol=0.5
        )
    blond, bald = np.array(faces.HAIR_COLORS["blond"]), large()
    long, curly = (large(hair_style=style, hair_color=2) for style in (1, 2))
    place = row(0.5), row(-0.55)
    np.testing.assert_allclose(long[place], 0.97 * 0.86 * blond + 0.03 * bald[place], atol=0.5)
    np.testing.assert_allclose(curly[row(-0.1), row(-0.62)], 0.94 * blond, atol=0.5)
    for skin, color in ((0.0, (255, 219, 190)), (1.0, (146, 94, 62)), (0.5, (200.5, 156.5, 126))):
        np.testing.assert_allclose(large(skin=skin)[row(0.2), row(-0.3)], color, atol=0.5)
        np.testing.assert_allclose(large(skin=skin)[row(0.72), row(0.0)], 0.82 * np.array(color), atol=0.5)  # neck


def test_the_background_is_light_above_and_the_shirt_has_the_opposite_hue():
    # 0.92 − 0.30·(½ + ½·cos 2π(h − c/3 + ½)) at h = 0: 0.92, 0.695, 0.695; by 1 − 0.12·y: 1.11906 above, 0.94 below.
    image = large(background=0.0)
    np.testing.assert_allclose(image[0, 0], [255, 198.3, 198.3], atol=0.2)
    np.testing.assert_allclose(image[row(0.5), 0], np.array([0.92, 0.695, 0.695]) * 255 * (1 - 0.12 * PLACES[row(0.5)]))
    # 0.55 − 0.55·(½ + ½·cos 2π(½ − c/3 + ½)): 0, 0.4125, 0.4125
    np.testing.assert_allclose(image[-1, row(0.5)], [0, 105.2, 105.2], atol=0.1)
    np.testing.assert_allclose(large(background=1 / 3)[0, 0], [198.3, 255, 198.3], atol=0.2)


@pytest.mark.parametrize(("width", "half"), [(0.0, 0.46), (1.0, 0.56)])
def test_a_wide_head_is_wide(width, half):
    skin = np.abs(large(width=width, skin=1.0) - large(width=width))[row(0.04)].max(axis=-1) > 40
    assert np.ptp(PLACES[skin]) == pytest.approx(2 * half, abs=2 * PIXEL)
    column = np.abs(large(width=width, background=0.5) - large(width=width)).max(axis=-1)[:, row(0.0)] > 10
    assert PLACES[~column].min() == pytest.approx(-0.02 - 0.66, abs=2 * PIXEL)  # the top of the hair


def test_a_smile_is_wider_and_higher_at_its_corners_and_shows_teeth():
    for smile, half_width in ((0.0, 0.17), (1.0, 0.27)):
        image = large(smile=smile)
        rows, columns = np.nonzero(image[row(0.25) : row(0.6), :, 0] - image[row(0.25) : row(0.6), :, 1] > 90)
        assert np.ptp(PLACES[columns]) == pytest.approx(2 * half_width, abs=3 * PIXEL)
        corner = np.mean(PLACES[rows + row(0.25)][abs(PLACES[columns]) > half_width - 2 * PIXEL])
        assert corner == pytest.approx(0.405 - 0.07 * smile, abs=1.5 * PIXEL)  # y runs downwards
        teeth = (image[row(0.25) : row(0.6)].min(axis=-1) > 240).sum()
        assert (teeth > 50) == (smile == 1.0)


@pytest.mark.parametrize(("smile", "top", "bottom"), [(0.0, 0.37, 0.44), (1.0, 0.348, 0.542)])
def test_a_smile_opens_the_mouth_downwards(smile, top, bottom):
    # In the middle: 0.405 + 0.04·smile, more and less 0.035 + 0.062·smile.
    column = np.abs(large(smile=smile)[:, row(0.0)] - [255, 219, 190]).max(axis=-1) > 60
    found = PLACES[column & (PLACES > 0.3) & (PLACES < 0.6)]
    assert [found.min(), found.max()] == pytest.approx([top, bottom], abs=PIXEL)


def test_eyes_are_white_around_dark_pupils():
    image = large()
    column = image[:, row(0.225)]
    eye = PLACES[(np.abs(column - [255, 219, 190]).max(axis=-1) > 40) & (PLACES > -0.19) & (PLACES < 0.12)]
    assert [eye.min(), eye.max()] == pytest.approx([-0.04 - 0.105, -0.04 + 0.105], abs=PIXEL)
    pupil = PLACES[(column.max(axis=-1) < 60) & (PLACES > -0.19)]
    assert [pupil.min(), pupil.max()] == pytest.approx([-0.03 - 0.09, -0.03 + 0.09], abs=1.5 * PIXEL)
    across = PLACES[(image[row(-0.03)].max(axis=-1) < 60) & (PLACES > 0.0) & (PLACES < 0.4)]
    assert [across.min(), across.max()] == pytest.approx([0.225 - 0.075, 0.225 + 0.075], abs=0.9 * PIXEL)


def test_curls_go_eleven_times_round_the_head():
    angles = np.linspace(-np.pi, 0.0, 100)  # over the head, on the middle line of its curls
    x, y = 0.75 * np.cos(angles), 0.76 * np.sin(angles)
    change = np.abs(large(hair_style=2) - large()).max(axis=-1)[[row(v) for v in y - 0.12], [row(v) for v in x]]
    wave = np.cos(11 * np.arctan2(y, x))
    assert change[wave > 0.5].min() > 40
    assert change[wave < -0.5].max() == 0


def test_glasses_and_beards_are_drawn_two_times_in_five_and_hair_evenly():
    # Standard errors of shares of 20,000: √(0.4·0.6/20,000) = 0.0035; five of them.
    table = faces.sample_attributes(20_000)
    for name in ("glasses", "beard"):
        assert table[name].mean() == pytest.approx(0.4, abs=0.0173)
    for name, kinds in (("hair_style", 3), ("hair_color", 4)):
        np.testing.assert_allclose(np.bincount(table[name]) / 20_000, np.full(kinds, 1 / kinds), atol=0.0173)
    for name in ("smile", "skin", "background", "width", "turn"):
        low = -1.0 if name == "turn" else 0.0
        counts, _ = np.histogram(table[name], 10, (low, 1.0))
        np.testing.assert_allclose(counts / 20_000, 0.1, atol=0.0107)


def test_two_thousand_faces_take_at_most_a_second():
    attributes = faces.sample_attributes(500)
    seconds = []
    for _ in range(5):
        begin = time.process_time()
        faces.draw(attributes)
        seconds.append(time.process_time() - begin)
    assert min(seconds) < 0.25


def test_wrong_attributes_are_refused():
    with pytest.raises(ValueError, match=r"\['smile'\] are missing"):
        faces.draw({name: values for name, values in FACE.items() if name != "smile"})
    with pytest.raises(ValueError, match=r"Got turn from -2 to -2, expected -1 … 1"):
        faces.draw({**FACE, "turn": np.array([-2.0])})
    with pytest.raises(ValueError, match=r"Got smile from nan"):
        faces.draw({**FACE, "smile": np.array([np.nan])})
    for name, last in (("hair_style", 2), ("hair_color", 3)):
        with pytest.raises(ValueError, match=rf"Got {name} from {last + 1} to {last + 1}, expected 0 … {last}"):
            faces.draw({**FACE, name: np.array([last + 1])})
        with pytest.raises(ValueError, match=rf"Got {name} of \[0\.5\], expected whole numbers from 0 to {last}"):
            faces.draw({**FACE, name: np.array([0.5])})
    with pytest.raises(ValueError, match=r"expected \(count,\), the same for all"):
        faces.draw({**FACE, "skin": np.zeros(2)})
    with pytest.raises(ValueError, match=r"Got image_size=8"):
        faces.draw(FACE, 8)
    with pytest.raises(ValueError, match=r"Got count=0"):
        faces.sample_attributes(0)
