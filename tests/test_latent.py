import numpy as np
import pytest

from gan_utils import latent

RANDOM = np.random.default_rng(0)
START, END = RANDOM.standard_normal((2, 10, 100))


@pytest.mark.parametrize("path", [latent.linear, latent.spherical])
def test_a_path_runs_from_the_start_to_the_end(path):
    points = path(START, END, steps=9)
    assert points.shape == (9, 10, 100)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points[0], START, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(points[-1], END, rtol=1e-5, atol=1e-6)


def test_the_straight_line_has_even_steps():
    steps = np.diff(latent.linear(START, END, steps=5), axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to((END - START) / 4, steps.shape), atol=1e-6)


def test_the_straight_line_leaves_the_shell_and_the_arc_stays():
    middle_of_line, middle_of_arc = latent.linear(START, END, 3)[1], latent.spherical(START, END, 3)[1]
    assert np.linalg.norm(middle_of_line, axis=1).mean() == pytest.approx(np.sqrt(50), rel=0.05)
    expected = (np.linalg.norm(START, axis=1) + np.linalg.norm(END, axis=1)) / 2
    np.testing.assert_allclose(np.linalg.norm(middle_of_arc, axis=1), expected, rtol=1e-5)


def test_the_arc_turns_by_even_angles():
    points = latent.spherical([3.0, 0.0], [0.0, 3.0], steps=4)
    angles = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    np.testing.assert_allclose(angles, [0.0, 30.0, 60.0, 90.0], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 3.0, rtol=1e-6)


def test_norms_change_evenly_along_the_arc():
    points = latent.spherical([1.0, 0.0], [0.0, 4.0], steps=4)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), [1.0, 2.0, 3.0, 4.0], rtol=1e-6)


def test_ends_in_one_direction_have_an_arc_without_a_turn():
    np.testing.assert_allclose(latent.spherical([1.0, 0.0], [3.0, 0.0], 3), [[1, 0], [2, 0], [3, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [([1.0, 0.0], [-2.0, 0.0], "opposite directions"), ([0.0, 0.0], [1.0, 0.0], "a latent that is 0")],
)
def test_an_arc_that_is_not_determined_is_refused(start, end, message):
    with pytest.raises(ValueError, match=message):
        latent.spherical(start, end, 3)


@pytest.mark.parametrize("path", [latent.linear, latent.spherical])
def test_impossible_paths_are_refused(path):
    with pytest.raises(ValueError, match=r"Got steps=1, expected at least 2"):
        path(START, END, 1)
    with pytest.raises(ValueError, match=r"\(10, 100\) and \(9, 100\), expected .* both finite"):
        path(START, END[1:], 3)
    with pytest.raises(ValueError, match="both finite"):
        path([1.0, np.nan], [1.0, 0.0], 3)


def test_an_analogy_is_a_difference_of_means_added_to_a_mean():
    result = latent.analogy([[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0]], [[10.0, 20.0], [20.0, 40.0]])
    np.testing.assert_array_equal(result, [2 - 1 + 15, 3 - 1 + 30])
    assert result.dtype == np.float32


@pytest.mark.parametrize("broken", [np.zeros(4), np.zeros((0, 4)), np.zeros((3, 5))])
def test_an_analogy_of_groups_that_do_not_fit_is_refused(broken):
    with pytest.raises(ValueError, match=r"Got groups of shapes .* expected \(exemplars, latent_dim\)"):
        latent.analogy(np.zeros((3, 4)), broken, np.zeros((3, 4)))
