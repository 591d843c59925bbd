"""What the study of near-duplicates computes itself, on collections whose truth is known."""

import duplicates
import numpy as np
import pytest

from gan_utils import data, faces


@pytest.fixture(scope="module")
def originals():
    return faces.draw(faces.sample_attributes(duplicates.PLANTED, seed=1))


@pytest.fixture
def features(monkeypatch, originals):
    """Pixels for features, few unseen faces, and ten planted ones whose copies are not far from them."""
    monkeypatch.setattr(duplicates.study, "face_features", lambda images: images.reshape(len(images), -1))
    monkeypatch.setattr(duplicates, "CHANCE", 0.05)
    unseen = faces.draw(faces.sample_attributes(200, seed=2)).reshape(200, -1)
    copies = duplicates.copies_of(originals, seed=0)
    groups = np.concatenate([originals[:, np.newaxis], copies], axis=1).reshape(duplicates.PLANTED, 21, -1)
    others = groups[:, :, ::-1]  # faces that stand on their heads, in wrong colours: no face is like them
    found = {"planted": (groups, duplicates.bounds_of(groups, unseen)), "control": (others, np.full(10, 1e-3))}
    monkeypatch.setattr(duplicates, "marked", lambda seed, which: found[which])
    monkeypatch.setattr(duplicates, "both", lambda seed: (unseen[:100], unseen[100:]))
    monkeypatch.setattr(duplicates.augmentation, "fresh", lambda: unseen[:, :8])
    monkeypatch.setattr(duplicates.metrics, "frechet_distance", lambda fake, real: 0.0)
    return groups


def test_a_generator_that_copies_a_planted_face_is_always_near_it(features, originals):
    owners = np.repeat([0, -1], [20, 80])
    found = duplicates.scores(np.repeat(originals[3:4], 40, axis=0), 0, owners)
    assert (found["near"], found["near_control"], found["owed"], found["paid"]) == (1.0, 0.0, 0.2, 5.0)
    assert found["by_face"][3] == 1.0
    assert set(found["by_face"]) == {0.0, 1.0}


def test_a_generator_that_shows_the_data_pays_what_it_owes(features, originals):
    copies = duplicates.copies_of(originals, seed=0)  # each is in its group
    strange = np.where(np.random.default_rng(0).random((800, 1, 1, 1)) < 0.5, -1.0, 1.0) * np.ones((1, 32, 32, 3))
    images = np.concatenate([copies.reshape(200, 32, 32, 3), strange]).astype(np.float32)
    found = duplicates.scores(images, 0, np.repeat([*range(10), -1], [20] * 10 + [800]))
    assert (found["near"], found["owed"], found["paid"]) == (0.2, 0.2, 1.0)


def test_unseen_faces_are_near_by_chance():
    random = np.random.default_rng(0)
    groups, unseen, more = random.normal(size=(10, 21, 16)), *random.normal(size=(2, 20_000, 16))
    bounds = duplicates.bounds_of(groups, unseen)
    found = duplicates.near(more, groups, bounds)
    assert found.shape == (20_000, 10)
    assert found.mean() == pytest.approx(duplicates.CHANCE, rel=0.3)
    assert duplicates.near(unseen, groups, bounds).sum(axis=0).tolist() == [20] * 10


def test_a_sample_is_as_far_from_a_group_as_from_its_nearest_image():
    groups = np.array([[[0.0], [10.0]], [[4.0], [5.0]]])
    np.testing.assert_allclose(duplicates.distances(np.array([[9.0], [1.0]]), groups), [[1.0, 4.0], [1.0, 3.0]])


def test_nearest_is_half_without_memory():
    training, others = np.arange(0.0, 100.0, 2.0)[:, np.newaxis], np.arange(1.0, 100.0, 2.0)[:, np.newaxis]
    assert duplicates.augmentation.nearest_is_training(training + 0.1, training, others) == 1.0
    between = np.arange(100)[:, np.newaxis] + 0.1
    assert duplicates.augmentation.nearest_is_training(between, training, others) == 0.5


def test_twenty_copies_differ_and_are_near_what_they_copy(originals):
    copies = duplicates.copies_of(originals, seed=0)
    assert copies.shape == (duplicates.PLANTED, duplicates.TIMES, 32, 32, 3)
    assert copies.dtype == np.float32
    assert np.abs(copies).max() <= 1.0
    np.testing.assert_array_equal(copies[:, 0, :, 1:], originals[:, :, :-1])  # to the right by a pixel
    np.testing.assert_array_equal(copies[:, 4, 1:, 1:], originals[:, :-1, :-1])
    assert len(np.unique(data.to_bytes(copies[0]).reshape(duplicates.TIMES, -1), axis=0)) == duplicates.TIMES


def test_all_sets_hold_the_same_planted_and_distinct_faces():
    plain, owners, _ = duplicates.training_set(0, "distinct")
    copied, whose, _ = duplicates.training_set(0, "duplicates")
    cleaned, left, told = duplicates.training_set(0, "cleaned by the truth")
    assert [len(plain), len(copied), len(cleaned)] == [1000, 1000, 810]
    assert np.bincount(owners + 1).tolist() == [990] + [1] * 10
    assert np.bincount(whose + 1).tolist() == [800] + [20] * 10
    assert np.bincount(left + 1).tolist() == [800] + [1] * 10
    assert told == {"recall": 1.0, "precision": 1.0, "lost": 0}
    once = {image.tobytes() for image in plain[owners < 0]}
    for images, of in ((copied, whose), (cleaned, left)):
        assert {image.tobytes() for image in images[of < 0]} < once


def test_cleaning_removes_nothing_where_no_two_hashes_are_near():
    bits = np.random.default_rng(0).random((200, 128)) < 0.5
    kept = duplicates.clean(bits, threshold=10)
    assert kept.tolist() == list(range(200))
    assert duplicates.judged(kept, np.full(200, -1)) == {"recall": None, "precision": None, "lost": 0}


def test_distinct_faces_without_duplicates_stay_under_the_hash():
    images = faces.draw(faces.sample_attributes(100, seed=5))
    assert len(duplicates.clean(duplicates.hashed(images), threshold=0)) == 100


def test_cleaning_keeps_the_first_of_near_hashes_and_does_not_chain():
    bits = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]], bool)
    assert duplicates.clean(bits, threshold=0).tolist() == [0, 1, 2, 3]
    assert duplicates.clean(bits, threshold=1).tolist() == [0, 2, 3]
    assert duplicates.clean(bits, threshold=4).tolist() == [0]


def test_a_cleaning_is_judged_by_copies_of_which_another_is_left():
    owners = np.array([0, 0, 0, 1, 1, -1, -1])
    assert duplicates.judged(np.array([0, 3, 5, 6]), owners) == {"recall": 1.0, "precision": 1.0, "lost": 0}
    assert duplicates.judged(np.array([0, 1, 3, 4, 5]), owners) == {"recall": 0.33333, "precision": 0.5, "lost": 1}
    gone = duplicates.judged(np.array([0, 1, 2, 5, 6]), owners)  # of face 1 nothing is left
    assert gone == {"recall": 0.33333, "precision": 0.5, "lost": 1}


def test_samples_that_are_not_finite_have_no_scores():
    samples = np.full((4, 32, 32, 3), np.nan, np.float32)
    assert set(duplicates.scores(samples, 0, np.array([0, -1])).values()) == {None}
    assert set(duplicates.pictures(samples, 0, samples).values()) == {None}


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match=r"threshold=-1, expected \(images, bits\), and at least 0"):
        duplicates.clean(np.zeros((3, 8), bool), threshold=-1)
    with pytest.raises(ValueError, match=r"Got hashes of shape \(3,\)"):
        duplicates.clean(np.zeros(3, bool), threshold=0)
    with pytest.raises(ValueError, match="Got 100 unseen faces, expected at least 5000"):
        duplicates.bounds_of(np.zeros((1, 1, 2)), np.zeros((100, 2)))
    with pytest.raises(ValueError, match="Got 3 training images and 2 others, expected as many"):
        duplicates.augmentation.nearest_is_training(np.zeros((1, 2)), np.zeros((3, 2)), np.zeros((2, 2)))
