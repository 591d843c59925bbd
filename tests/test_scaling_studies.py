"""What the studies of growing and augmentation compute themselves, against numbers worked out by hand."""

import augmentation as few
import growing as grown
import keras
import numpy as np
import pytest

from gan_utils import growing
from gan_utils.diversity import MinibatchStandardDeviation


def kinds(network):
    return [type(layer) for layer in network.layers]


def test_parts_are_put_into_the_dcgan_one_at_a_time():
    plain, equalized, pixel, deviation = (grown.networks(grown.METHODS[name]) for name in [*grown.METHODS][:4])
    for network, changed in zip(plain, equalized, strict=True):
        wrapped = [layer for layer in changed.layers if isinstance(layer, growing.EqualizedLearningRate)]
        assert len(wrapped) == sum(hasattr(layer, "kernel") for layer in network.layers) == 5
        assert [layer.gain for layer in wrapped] == [2.0**0.5] * 4 + [1.0]
    batch_norm = keras.layers.BatchNormalization
    assert kinds(pixel[0]).count(growing.PixelNormalization) == kinds(plain[0]).count(batch_norm) == 4
    assert kinds(pixel[0]).count(batch_norm) == 0
    assert kinds(pixel[1]) == kinds(plain[1])
    assert kinds(deviation[0]) == kinds(plain[0])
    assert kinds(deviation[1]).count(MinibatchStandardDeviation) == 1
    assert deviation[1].count_params() == plain[1].count_params() + 4 * 4


def test_the_networks_with_and_without_growing_are_the_same_but_for_the_fade():
    grows, not_grows = (grown.networks(grown.METHODS[name]) for name in [*grown.METHODS][:3:-1])
    for fading, plain in zip(grows, not_grows, strict=True):
        assert {layer.name for layer in plain.layers if layer.weights} < {layer.name for layer in fading.layers}
        assert len(growing.fades_of(fading)) == 1


def test_sliced_distance_of_a_shift_in_one_dimension():
    a = np.random.default_rng(0).normal(size=(500, 1)).astype(np.float32)
    assert grown.sliced(a, a) == 0.0
    assert grown.sliced(a, a[::-1] + 0.25) == pytest.approx(250.0, rel=1e-4)


def test_patches_do_not_see_what_half_the_side_shows():
    coarse = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 3)).astype(np.float32)
    fine = np.random.default_rng(1).uniform(-1, 1, (5, 16, 16, 3)).astype(np.float32)
    large = coarse.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(grown.patches(large), 0.0, atol=0.1)
    np.testing.assert_allclose(grown.patches(fine), grown.patches(fine + large), atol=1e-4)
    assert grown.patches(fine).shape == (5 * grown.PATCHES, 7 * 7 * 3)


def test_a_memory_is_found_and_fresh_faces_are_none(monkeypatch):
    monkeypatch.setattr(few, "fresh", lambda: np.random.default_rng(0).normal(size=(50, 256)))
    memory, real = (few.by_construction(0, kind) for kind in (few.MEMORY, few.REAL))
    assert memory["nearest"] == 1.0
    assert real["nearest"] == pytest.approx(0.5, abs=0.1)
    assert np.mean(memory["ratio_128"]) > 1.5 * np.mean(memory["ratio_64"])
