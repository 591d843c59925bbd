"""What looks at a training from outside, where `test_training.py` does not: rates of both players, paths of films."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_utils import GAN, Checkpoint, LearningRates, SampleGrid, Score, models

REAL = np.random.default_rng(0).uniform(-1, 1, (8, 4, 4, 1)).astype(np.float32)


def compiled(wrap=lambda optimizer: optimizer, seed=0):
    keras.utils.set_random_seed(seed)
    gan = GAN(models.mlp_generator(2, (4, 4, 1), (4,)), models.mlp_discriminator((4, 4, 1), (4,), 0.0), 2, seed=seed)
    gan.compile(wrap(keras.optimizers.SGD(0.1)), wrap(keras.optimizers.SGD(0.02)))
    return gan


def fit(gan, *callbacks, epochs=1):
    dataset = tf.data.Dataset.from_tensor_slices(REAL).batch(4)
    return gan.fit(dataset, epochs=epochs, callbacks=list(callbacks), verbose=0).history


class Rates(keras.callbacks.Callback):
    """Keeps the rates that each epoch was trained with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        both = self.model.d_optimizer, self.model.g_optimizer
        self.seen.append(tuple(round(float(optimizer.learning_rate), 6) for optimizer in both))


# Learning rates of both players


@pytest.mark.parametrize("wrap", [lambda optimizer: optimizer, keras.optimizers.LossScaleOptimizer], ids=["", "scaled"])
def test_both_rates_follow_the_epoch(wrap):
    rates = Rates()
    fit(compiled(wrap), LearningRates(lambda epoch: 0.5**epoch), rates, epochs=3)
    assert rates.seen == [(0.1, 0.02), (0.05, 0.01), (0.025, 0.005)]


def test_a_second_fit_multiplies_the_first_rates_again():
    gan, rates, halves = compiled(), Rates(), LearningRates(lambda epoch: 0.5)
    for _ in range(2):
        fit(gan, halves, rates)
    assert rates.seen == [(0.05, 0.01), (0.05, 0.01)]


def test_a_resumed_training_has_the_rates_of_an_uninterrupted_one(tmp_path):
    def run(epochs, path):
        gan = compiled()
        fit(gan, LearningRates(lambda epoch: 1.0 / (1 + epoch)), Checkpoint(path), epochs=epochs)
        return np.concatenate([np.ravel(variable) for variable in gan.variables])

    whole = run(4, tmp_path / "whole.npz")
    run(2, tmp_path / "part.npz")
    np.testing.assert_array_equal(run(4, tmp_path / "part.npz"), whole)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), None, "1"])
def test_a_factor_that_is_none_is_refused(factor):
    with pytest.raises(ValueError, match=r"Got factor .* for epoch 0, expected a number above 0"):
        fit(compiled(), LearningRates(lambda epoch: factor))


def test_a_number_as_schedule_and_a_schedule_in_the_optimizer_are_refused():
    with pytest.raises(TypeError, match=r"Got factor=0.5, expected a function of the epoch"):
        LearningRates(0.5)
    gan = compiled()
    falling = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    gan.compile(keras.optimizers.SGD(falling), keras.optimizers.SGD(0.1))
    with pytest.raises(TypeError, match="follows a schedule of its own"):
        fit(gan, LearningRates(lambda epoch: 1.0))
    gan.compile(keras.optimizers.SGD(falling), keras.optimizers.SGD(0.1))
    fit(gan)  # without it, the schedule is taken


# Films


def test_a_film_of_another_gan_begins_anew():
    film, one, other = SampleGrid(rows=1, columns=2), compiled(seed=0), compiled(seed=1)
    fit(one, film, epochs=2)
    assert len(film.frames) == 3
    fit(one, film)
    assert len(film.frames) == 4
    fit(other, film)
    assert len(film.frames) == 2  # before training, and after the epoch
    fresh = SampleGrid(rows=1, columns=2)
    fit(compiled(seed=1), fresh)
    np.testing.assert_array_equal(film.frames, fresh.frames)


def test_a_film_used_before_takes_back_what_a_checkpoint_holds(tmp_path):
    checkpoint, film = tmp_path / "run.npz", SampleGrid(rows=1, columns=2)
    fit(compiled(seed=1), SampleGrid(rows=1, columns=2), Checkpoint(checkpoint), epochs=2)
    fit(compiled(seed=0), film)
    fit(compiled(seed=1), film, Checkpoint(checkpoint), epochs=3)
    whole = SampleGrid(rows=1, columns=2)
    fit(compiled(seed=1), whole, Checkpoint(tmp_path / "whole.npz"), epochs=3)
    np.testing.assert_array_equal(film.frames, whole.frames)


@pytest.mark.parametrize("name", ["film.mp4", "film", "film.png", "gif"])
def test_a_film_of_another_kind_is_refused_at_once(tmp_path, name):
    with pytest.raises(ValueError, match=r"expected a file that ends in \.gif"):
        SampleGrid(tmp_path / name)


def test_a_folder_for_a_film_is_refused_at_once(tmp_path):
    (tmp_path / "film.gif").mkdir()
    with pytest.raises(ValueError, match=r"expected a file that ends in \.gif"):
        SampleGrid(tmp_path / "film.gif")


@pytest.mark.parametrize("make", [lambda path: SampleGrid(path / "film.gif"), lambda path: Checkpoint(path / "c.npz")])
def test_a_place_that_cannot_be_written_is_found_before_training(tmp_path, make):
    (tmp_path / "file").write_text("not a folder")
    gan = compiled()
    before = [variable.numpy() for variable in gan.trainable_variables]
    with pytest.raises((OSError, ValueError), match="file"):
        fit(gan, make(tmp_path / "file"))
    for variable, value in zip(gan.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_checkpoint_that_is_a_folder_is_found_before_training(tmp_path):
    with pytest.raises((OSError, ValueError), match=r"folder|directory"):
        fit(compiled(), Checkpoint(tmp_path))


# What is used for a second GAN


def test_rates_are_those_of_the_optimizers_that_train():
    halves, rates = LearningRates(lambda epoch: 0.5), Rates()
    fit(compiled(), halves, rates)
    other = compiled(seed=1)
    other.compile(keras.optimizers.SGD(0.4), keras.optimizers.SGD(0.2))
    fit(other, halves, rates)
    other.compile(keras.optimizers.SGD(0.04), keras.optimizers.SGD(0.02))
    fit(other, halves, rates)
    assert rates.seen == [(0.05, 0.01), (0.2, 0.1), (0.02, 0.01)]


def test_the_seconds_of_a_score_are_those_of_one_gan():
    ticks = iter(range(100))
    score = Score(np.mean, 4, clock=lambda: float(next(ticks)))
    assert fit(compiled(), score, epochs=2)["seconds"] == [1.0, 2.0]
    assert fit(compiled(seed=1), score)["seconds"] == [1.0]


def test_a_callback_that_waits_for_validation_is_refused():
    with pytest.raises(ValueError, match="EarlyStopping watches 'val_loss', which a GAN does not have"):
        fit(compiled(), keras.callbacks.EarlyStopping())
    fit(compiled(), keras.callbacks.EarlyStopping("d_loss", mode="min"))
