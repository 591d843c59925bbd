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
    with pytest.raises(ValueError, match=r"expected \(count,\), the same for all"):
        faces.draw({**FACE, "skin": np.zeros(2)})
    with pytest.raises(ValueError, match=r"Got image_size=8"):
        faces.draw(FACE, 8)
    with pytest.raises(ValueError, match=r"Got count=0"):
        faces.sample_attributes(0)
