"""What people bring of their own: data, networks, callbacks and habits of Keras. It works, or is refused at once."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from gan_utils import GAN, Checkpoint, data, losses, models, penalties, refusals

REAL = np.random.default_rng(0).uniform(-1, 1, (8, 4, 4, 1)).astype(np.float32)


def compiled(shape=(4, 4, 1), activation="tanh", **recipe):
    keras.utils.set_random_seed(0)
    gan = GAN(models.mlp_generator(2, shape, (4,), activation), models.mlp_discriminator(shape, (4,), 0.0), 2, seed=0)
    gan.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), **recipe)
    return gan


def batches(samples=REAL, size=4):
    return tf.data.Dataset.from_tensor_slices(samples).batch(size)


def weights(gan):
    return np.concatenate([np.ravel(variable) for variable in gan.trainable_variables])


# The range of the data

DATA = {
    "bytes": ((REAL * 127.5 + 127.5).astype(np.uint8), TypeError, "uint8, expected real numbers.*to_signed"),
    "whole numbers": ((REAL * 100).astype(np.int64), TypeError, "int64, expected real numbers"),
    "0 to 255": (REAL * 127.5 + 127.5, ValueError, r"Batch 1 has values from \d.* to 2\d\d.*\[-1, 1\].*to_signed"),
    "0 to 1": (REAL / 2 + 0.5, ValueError, r"Batch 1 has values from 0\.\d+ to 0\.9\d+, but .*2 \* x - 1"),
    "NaN": (np.where(np.arange(8)[:, None, None, None] == 5, np.nan, REAL), ValueError, "Batch 2 has NaN"),
    "infinite": (np.where(np.arange(8)[:, None, None, None] == 0, np.inf, REAL), ValueError, "Batch 1 has NaN or inf"),
}


@pytest.mark.parametrize(("images", "kind", "message"), DATA.values(), ids=DATA)
def test_images_in_another_range_than_the_generator_draws_are_refused(images, kind, message):
    with pytest.raises(kind, match=message):
        compiled().fit(batches(images), verbose=0)


@pytest.mark.parametrize("name", ["bytes", "0 to 255", "0 to 1"])
def test_nothing_is_learned_from_them(name):
    gan = compiled()
    before = weights(gan)
    with pytest.raises((TypeError, ValueError)):
        gan.fit(batches(DATA[name][0]), verbose=0)
    np.testing.assert_array_equal(weights(gan), before)
    assert int(gan.d_optimizer.iterations) == int(gan.g_optimizer.iterations) == 0


def test_dark_and_bright_images_in_the_right_range_are_taken():
    for images in (-np.ones_like(REAL), np.zeros_like(REAL), REAL, np.where(REAL > -0.9, 1.0, -1.0)):
        assert np.isfinite(compiled().fit(batches(images.astype(np.float32)), verbose=0).history["d_loss"]).all()


def test_a_bright_batch_later_in_the_epoch_is_taken():
    images = np.concatenate([REAL[:4], np.abs(REAL[:4])])
    compiled().fit(batches(images), verbose=0)


def test_the_generator_tells_the_range():
    sigmoid = compiled(activation="sigmoid")
    sigmoid.fit(batches(REAL / 2 + 0.5), verbose=0)
    with pytest.raises(ValueError, match=r"draws in \[0, 1\]"):
        sigmoid.fit(batches(REAL), verbose=0)
    compiled(activation=None).fit(batches(200.0 * REAL), verbose=0)  # may draw anything


def test_vectors_may_have_any_range_but_must_be_numbers():
    gan = compiled((3,))
    vectors = 1000.0 * np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    gan.fit(batches(vectors), verbose=0)
    vectors[2, 1] = np.nan
    with pytest.raises(ValueError, match="Batch 1 has NaN"):
        gan.fit(batches(vectors), verbose=0)


@pytest.mark.parametrize("settings", [{"d_steps": 2}, {"steps_per_execution": 2}, {"run_eagerly": True}], ids=str)
def test_bad_data_are_found_however_the_steps_are_made(settings):
    with pytest.raises(ValueError, match="Batch 1 has values from"):
        compiled(**settings).fit(batches(REAL + 1.0), verbose=0)


def test_looking_at_the_data_does_not_change_their_order():
    found = []
    for wrap in (lambda dataset: dataset, lambda dataset: dataset.map(lambda x: x)):
        gan = compiled()
        dataset = data.batches(REAL, 4, seed=3)
        gan.fit(wrap(dataset), verbose=0)
        found.append(weights(gan))
    by_hand = compiled()
    for real in data.batches(REAL, 4, seed=3):
        by_hand.discriminator_step(real)
        by_hand.generator_step(real)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], weights(by_hand), atol=1e-6)


# Datasets that do not end, or do not say what they hold


def test_an_endless_dataset_asks_for_the_steps_of_an_epoch():
    with pytest.raises(ValueError, match=r"repeats without end.*Pass steps_per_epoch"):
        compiled().fit(batches().repeat(), verbose=0)


def test_a_dataset_of_unknown_shape_says_how_to_tell_it():
    unknown = tf.data.Dataset.from_generator(lambda: iter([REAL]), output_types=tf.float32)
    with pytest.raises(ValueError, match=r"does not know the shape.*tf.ensure_shape\(x, \(None, 4, 4, 1\)\)"):
        compiled().fit(unknown, verbose=0)
    compiled().fit(unknown.map(lambda x: tf.ensure_shape(x, (None, 4, 4, 1))), steps_per_epoch=1, verbose=0)


# Discriminators that return probabilities


def on(*stack):
    return keras.Sequential([keras.Input((3,)), layers.Dense(1), *stack])


def functional(last):
    inputs = keras.Input((3,))
    return keras.Model(inputs, last(layers.Dense(1)(inputs)))


PROBABILITIES = {
    "an operation": functional(ops.sigmoid),
    "its arithmetic": functional(lambda x: 0.5 * (1.0 + ops.tanh(x))),
    "a layer": on(layers.Activation("sigmoid")),
    "a layer in a model": keras.Sequential([keras.Input((3,)), on(layers.Activation("sigmoid"))]),
    "a model of a layer": on(keras.Sequential([layers.Activation("sigmoid")])),
    "a Lambda": on(layers.Lambda(lambda x: tf.sigmoid(x))),
    "a Lambda by name": on(layers.Lambda(keras.activations.sigmoid)),
    "behind a reshaping": on(layers.Activation("sigmoid"), layers.Reshape((1, 1)), layers.Flatten()),
    "behind a mean": keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, "sigmoid"), layers.Reshape((4, 1)), layers.GlobalAveragePooling1D()]
    ),
    "hard sigmoid": on(layers.Activation("hard_sigmoid")),
    "tanh": on(layers.Activation("tanh")),
    "clipped": functional(lambda x: ops.clip(x, 0.0, 1.0)),
}


@pytest.mark.parametrize("discriminator", PROBABILITIES.values(), ids=PROBABILITIES)
def test_a_squashed_answer_is_found_wherever_it_is_squashed(discriminator):
    with pytest.raises(ValueError, match=r"answers end in \[.*expected logits.*Dense\(1\) without an activation"):
        GAN(models.mlp_generator(2, (3,), (4,), None), discriminator, 2)


LOGITS = {
    "a layer": on(),
    "scaled": functional(lambda x: 3.0 * x - 1.0),
    "linear": on(layers.Activation("linear")),
    "reshaped": on(layers.Reshape((1, 1)), layers.Flatten()),
    "a sigmoid inside": on(layers.Activation("sigmoid"), layers.Dense(1)),
    "a model": keras.Sequential([keras.Input((3,)), on()]),
    "soft clipping far out": functional(lambda x: 30.0 * ops.tanh(x / 30.0)),
}


@pytest.mark.parametrize("discriminator", LOGITS.values(), ids=LOGITS)
def test_logits_are_taken(discriminator):
    assert GAN(models.mlp_generator(2, (3,), (4,), None), discriminator, 2).discriminator is discriminator


def test_the_range_is_that_of_the_last_activation():
    assert refusals.output_range(on(layers.Activation("relu")).outputs[0]) == (0.0, np.inf)
    assert refusals.output_range(models.dcgan_generator(base_filters=4).outputs[0]) == (-1.0, 1.0)
    assert refusals.output_range(models.dcgan_generator(32, base_filters=4).outputs[0]) == (-1.0, 1.0)
    assert refusals.output_range(models.dcgan_discriminator(base_filters=4).outputs[0]) == (-np.inf, np.inf)


# Networks of other kinds


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def test_a_subclassed_network_is_refused_in_a_sentence():
    with pytest.raises(TypeError, match=r"discriminator has no known input shape. Begin it with keras.Input"):
        GAN(models.mlp_generator(2, (3,), (4,), None), Subclassed(), 2)
    called = Subclassed()
    called(tf.zeros((1, 3)))
    with pytest.raises(TypeError, match="discriminator has no known input shape"):
        GAN(models.mlp_generator(2, (3,), (4,), None), called, 2)


def test_a_network_of_keras_2_is_named_as_such():
    legacy = types.new_class("Sequential")
    legacy.__module__ = "tf_keras.src.engine.sequential"
    with pytest.raises(TypeError, match=r"a Sequential as generator, expected a keras.Model. That is Keras 2"):
        GAN(legacy(), models.mlp_discriminator((3,), (4,)), 2)


# What Keras offers for one network with one loss


@pytest.mark.parametrize("name", ["loss", "metrics", "loss_weights", "optimizer", "auto_scale_loss"])
def test_settings_of_another_compile_are_refused_and_the_recipe_stays(name):
    gan = compiled(objective=losses.minimax())
    with pytest.raises(TypeError, match=f"Got {name}, expected of Keras' own settings only jit_compile"):
        gan.compile(keras.optimizers.SGD(), keras.optimizers.SGD(), **{name: "mse"})
    assert gan.objective.name == "minimax()"


@pytest.mark.parametrize("name", ["validation_data", "validation_split", "class_weight", "batch_size", "y"])
def test_settings_of_another_fit_are_refused_before_training(name):
    gan = compiled()
    before = weights(gan)
    with pytest.raises(TypeError, match=f"Got {name}, expected of Keras' settings only .*gan_utils.Score"):
        gan.fit(batches(), verbose=0, **{name: 0.1})
    np.testing.assert_array_equal(weights(gan), before)


def schedule(epoch, rate):
    return rate


CALLBACKS = {
    "ReduceLROnPlateau": lambda: keras.callbacks.ReduceLROnPlateau("d_loss"),
    "LearningRateScheduler": lambda: keras.callbacks.LearningRateScheduler(schedule),
    "SwapEMAWeights": lambda: keras.callbacks.SwapEMAWeights(),
}


@pytest.mark.parametrize(("name", "make"), CALLBACKS.items(), ids=CALLBACKS)
def test_callbacks_that_want_one_optimizer_are_refused_before_training(name, make):
    gan = compiled()
    before = weights(gan)
    with pytest.raises(TypeError, match=f"{name} needs a model with one optimizer. Use (gan_utils.LearningRates|GAN)"):
        gan.fit(batches(), callbacks=[make()], verbose=0)
    np.testing.assert_array_equal(weights(gan), before)


def test_a_callback_of_the_same_name_by_somebody_else_is_taken():
    mine = type("ReduceLROnPlateau", (keras.callbacks.Callback,), {"__module__": __name__})
    compiled().fit(batches(), callbacks=[mine()], verbose=0)


@pytest.mark.parametrize("name", ["evaluate", "train_on_batch", "test_on_batch"])
def test_methods_for_one_network_name_what_to_use(name):
    with pytest.raises(NotImplementedError, match=f"A GAN has no {name}. Use gan"):
        getattr(compiled(), name)(REAL)


def test_methods_that_make_sense_work(tmp_path, capsys):
    gan = compiled()
    latent = gan.latent(3, seed=0).numpy()
    for predict in (gan.predict_on_batch, lambda points: gan.predict(points, verbose=0)):
        np.testing.assert_allclose(predict(latent), gan.sample(3, seed=0), atol=1e-6)
    gan.summary()
    assert "discriminator" in capsys.readouterr().out
    gan.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(exported.serve(latent), gan.sample(3, seed=0), atol=1e-6)


@pytest.mark.parametrize("name", ["gan.h5", "gan", "gan.tf", "gan.keras.zip"])
def test_a_gan_is_not_saved_in_a_form_that_cannot_be_read(tmp_path, name):
    with pytest.raises(ValueError, match=r"expected a name that ends in \.keras"):
        compiled().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_gradients_can_be_accumulated():
    """Two steps of half a batch each, with the rate of one: as one step of the whole batch."""
    keras.utils.set_random_seed(0)
    gan = compiled()
    twice = {"gradient_accumulation_steps": 2}
    gan.compile(keras.optimizers.SGD(0.1, **twice), keras.optimizers.SGD(0.1, **twice))
    before = weights(gan)
    gan.discriminator_step(REAL[:4])
    np.testing.assert_array_equal(weights(gan), before)
    gan.discriminator_step(REAL[4:])
    assert not np.array_equal(weights(gan), before)
    assert np.isfinite(gan.fit(batches(), epochs=2, verbose=0).history["d_loss"]).all()


def test_the_penalties_of_the_package_refuse_what_spoils_them():
    networks = models.dcgan_generator(latent_dim=2, base_filters=4), models.dcgan_discriminator(base_filters=4)
    gan = GAN(*networks, latent_dim=2)
    with pytest.raises(ValueError, match="BatchNormalization"):
        gan.compile(keras.optimizers.SGD(), keras.optimizers.SGD(), penalty=penalties.gradient_penalty())
    assert not gan.compiled
    gan.compile(keras.optimizers.SGD(), keras.optimizers.SGD(), penalty=lambda critic, real, fake: 0.0)  # own risk


def test_a_bad_first_batch_is_told_in_a_sentence_with_a_checkpoint_too(tmp_path):
    with pytest.raises(ValueError, match="Batch 1 has values from"):
        compiled().fit(batches(200.0 * REAL), callbacks=[Checkpoint(tmp_path / "run.npz")], verbose=0)


def test_an_execution_of_no_steps_is_refused_and_the_recipe_stays():
    gan = compiled(objective=losses.minimax())
    with pytest.raises(ValueError, match="steps_per_execution='x', expected a whole number"):
        gan.compile(keras.optimizers.SGD(), keras.optimizers.SGD(), losses.hinge(), steps_per_execution="x")
    assert gan.objective.name == "minimax()"
