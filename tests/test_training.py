import re
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image, ImageSequence

import gan_utils
from gan_utils import GAN, data, losses, models, penalties, plotting
from gan_utils.callbacks import Progress, SampleGrid, Score, StopAtNaN

REAL = np.random.default_rng(0).normal(size=(14, 3)).astype(np.float32)
METRICS = ["d_loss", "g_loss", "D(x)", "D(G(z))"]


class Witness(GAN):
    """Keeps what each step receives. Compile it with `run_eagerly=True`: a traced step would be seen only once."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.latents, self.reals, self.fakes, self.generated = [], [], [], []

    def latent(self, count, seed=None):
        self.latents.append(super().latent(count, seed).numpy())
        return self.latents[-1]

    def discriminator_loss(self, real, fake):
        self.reals.append(real.samples.numpy())
        self.fakes.append(fake.samples.numpy())
        return super().discriminator_loss(real, fake)

    def generator_loss(self, real, fake):
        self.generated.append(fake.samples.numpy())
        return super().generator_loss(real, fake)


class Call(layers.Layer):
    """Tells `record` in which mode, and with how many samples, its network runs."""

    def __init__(self, name, record):
        super().__init__(name=name)
        self.record = record

    def call(self, inputs, training=None):
        self.record((self.name, training, inputs.shape[0]))
        return inputs


def rich_networks():
    """All that a step has to keep apart: weights, running statistics and the state of dropout."""
    keras.utils.set_random_seed(0)

    def hidden():
        return [layers.Dense(6), layers.BatchNormalization(), layers.LeakyReLU(0.2), layers.Dropout(0.3)]

    generator = keras.Sequential([keras.Input((2,)), *hidden(), layers.Dense(3)], name="generator")
    return generator, keras.Sequential([keras.Input((3,)), *hidden(), layers.Dense(1)], name="discriminator")


def plain_networks(shape=(3,), activation=None):
    """Networks whose answers are the same in training and in inference."""
    keras.utils.set_random_seed(0)
    return models.mlp_generator(2, shape, (4,), activation), models.mlp_discriminator(shape, (4,), 0.0)


def linear_networks(shape=(3,)):
    """A critic w·x, whose gradients are known: with respect to w the mean of x, with respect to x it is w."""
    generator = plain_networks(shape)[0]
    critic = keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(1, use_bias=False)])
    return generator, critic


def make(networks=rich_networks, kind=GAN, seed=0, rate=0.1, **recipe):
    gan = kind(*networks(), latent_dim=2, seed=seed)
    gan.compile(keras.optimizers.SGD(rate), keras.optimizers.SGD(rate), **recipe)
    return gan


def in_order(samples=REAL[:10], batch_size=4):
    return tf.data.Dataset.from_tensor_slices(samples).batch(batch_size)


def train(gan, dataset=None, **settings):
    return gan.fit(in_order() if dataset is None else dataset, verbose=0, **settings).history


def values(variables):
    return [variable.numpy() for variable in variables]


def unchanged(variables, before):
    return [np.array_equal(variable.numpy(), value) for variable, value in zip(variables, before, strict=True)]


def probability(logits):
    return 1 / (1 + np.exp(-np.asarray(logits)))


def nothing(*logits):
    """A loss of 0 that depends on the logits, so that there is a gradient to take."""
    return sum(0.0 * tf.reduce_sum(logit) for logit in logits)


def wasserstein():
    return losses.Objective("w", lambda real, fake: tf.reduce_mean(fake) - tf.reduce_mean(real), tf.reduce_mean)


# One step


@pytest.mark.parametrize("wrap", [lambda step: step, tf.function], ids=["eager", "traced"])
def test_a_discriminator_step_changes_nothing_of_the_generator(wrap):
    gan = make()
    theirs = [*gan.generator.weights, *gan.g_optimizer.variables]
    mine = gan.discriminator.weights
    before_theirs, before_mine = values(theirs), values(mine)
    wrap(gan.discriminator_step)(tf.constant(REAL[:4]))
    assert all(unchanged(theirs, before_theirs))
    assert not any(unchanged(mine, before_mine))
    assert gan.d_optimizer.iterations == 1


@pytest.mark.parametrize("wrap", [lambda step: step, tf.function], ids=["eager", "traced"])
def test_a_generator_step_changes_nothing_of_the_discriminator(wrap):
    gan = make()
    theirs = [*gan.discriminator.weights, *gan.d_optimizer.variables]
    mine = [weight for weight in gan.generator.weights if "dense/bias" not in weight.path]
    before_theirs, before_mine = values(theirs), values(mine)
    wrap(gan.generator_step)(tf.constant(REAL[:4]))
    assert all(unchanged(theirs, before_theirs))
    assert not any(unchanged(mine, before_mine))
    assert gan.g_optimizer.iterations == 1


def test_both_networks_run_in_training_mode_and_real_and_fake_as_two_batches():
    calls = []

    def networks():
        generator, discriminator = plain_networks()
        watched_generator = keras.Sequential([keras.Input((2,)), Call("G", calls.append), generator])
        return watched_generator, keras.Sequential([keras.Input((3,)), Call("D", calls.append), discriminator])

    gan = make(networks, penalty=lambda critic, real, fake: nothing(critic(real[:2])))
    calls.clear()
    gan.discriminator_step(tf.constant(REAL[:5]))
    assert calls == [("G", True, 5), ("D", True, 5), ("D", True, 5), ("D", True, 2)]
    calls.clear()
    gan.generator_step(tf.constant(REAL[:5]))
    assert calls == [("G", True, 5), ("D", True, 5)]
    calls.clear()
    gan.sample(5)
    gan(np.zeros((5, 2)))
    assert calls == [("G", False, 5), ("G", False, 5)]


def test_running_statistics_follow_the_real_and_then_the_fake_batch():
    def networks():
        norm = layers.BatchNormalization(momentum=0.5)
        return plain_networks()[0], keras.Sequential([keras.Input((3,)), norm, layers.Dense(1)])

    gan = make(networks, Witness)
    gan.discriminator_step(tf.constant(REAL[:4]))
    after_real = 0.5 * 0.0 + 0.5 * REAL[:4].mean(axis=0)
    expected = 0.5 * after_real + 0.5 * gan.fakes[0].mean(axis=0)
    np.testing.assert_allclose(gan.discriminator.layers[0].moving_mean, expected, atol=1e-6)


def test_dropout_draws_a_new_mask_in_every_step():
    def networks():
        blank = keras.Sequential(
            [keras.Input((2,)), layers.Dense(3, kernel_initializer="zeros", bias_initializer="ones")]
        )
        return blank, keras.Sequential([keras.Input((3,)), layers.Dropout(0.5), layers.Dense(1)])

    gan = make(networks, rate=0.0)
    seen = []
    for _ in range(4):
        gan.reset_metrics()
        gan.discriminator_step(tf.ones((8, 3)))
        gan.generator_step(tf.constant(REAL[:8]))
        seen += [float(metric.result()) for metric in (gan.real_score, gan.fake_score, gan.g_loss)]
    assert len(set(seen)) == 12


# One iteration of Algorithm 1


def reference(generator, discriminator, batches, objective, d_steps, rate=0.1, seed=0):
    """Algorithm 1 in as few lines as it takes, without the package."""
    noise = keras.random.SeedGenerator(seed)

    def fake(size):
        return generator(keras.random.normal((size, 2), seed=noise), training=True)

    def descend(loss, weights, tape):
        for weight, slope in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign(weight - rate * slope)

    for step, real in enumerate(batches, start=1):
        samples = fake(len(real))
        with tf.GradientTape() as tape:
            on_real = tf.math.log_sigmoid(discriminator(real, training=True))
            on_fake = tf.math.log_sigmoid(-discriminator(samples, training=True))
            loss = -tf.reduce_mean(on_real) - tf.reduce_mean(on_fake)
        descend(loss, discriminator.trainable_variables, tape)
        if step % d_steps == 0:
            with tf.GradientTape() as tape:
                logits = discriminator(fake(len(real)), training=True)
                loss = tf.reduce_mean(tf.math.log_sigmoid(-logits))
                if objective == "non_saturating":
                    loss = -tf.reduce_mean(tf.math.log_sigmoid(logits))
            descend(loss, generator.trainable_variables, tape)


@pytest.mark.parametrize(("objective", "d_steps"), [("minimax", 2), ("non_saturating", 1)])
def test_training_equals_algorithm_1_written_by_hand(objective, d_steps):
    gan = make(seed=7, objective=getattr(losses, objective)(), d_steps=d_steps)
    train(gan, in_order(REAL[:12]), epochs=2)
    networks = rich_networks()
    batches = [tf.constant(REAL[start : start + 4]) for start in (0, 4, 8)]
    reference(*networks, [*batches[: 3 // d_steps * d_steps]] * 2, objective, d_steps, seed=7)
    for ours, theirs in zip((gan.generator, gan.discriminator), networks, strict=True):
        for weight, expected in zip(ours.trainable_variables, theirs.trainable_variables, strict=True):
            np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


def test_the_default_objective_is_the_non_saturating_one():
    assert make(plain_networks).objective.name == losses.non_saturating().name


@pytest.mark.parametrize(
    ("d_steps", "used", "g_sizes"),
    [(1, [4, 4, 4, 2], [4, 4, 4, 2]), (2, [4, 4, 4, 2], [4, 2]), (3, [4, 4, 4], [4]), (4, [4, 4, 4, 2], [2])],
)
def test_an_iteration_takes_k_real_batches_and_fresh_noise_for_each_step(d_steps, used, g_sizes):
    gan = make(plain_networks, Witness, d_steps=d_steps, run_eagerly=True)
    train(gan, in_order(REAL))
    np.testing.assert_array_equal(np.concatenate(gan.reals), REAL[: sum(used)])
    assert [len(real) for real in gan.reals] == [len(fake) for fake in gan.fakes] == used
    assert [len(fake) for fake in gan.generated] == g_sizes
    assert gan.d_optimizer.iterations == len(used)
    assert gan.g_optimizer.iterations == len(g_sizes)
    assert len(np.unique(np.concatenate(gan.latents))) == 2 * (sum(used) + sum(g_sizes))


@pytest.mark.parametrize("d_steps", [1, 3])
def test_partial_batches_train_in_a_traced_step_too(d_steps):
    gan = make(plain_networks, d_steps=d_steps)
    history = train(gan, in_order(REAL[:10]), epochs=2)
    assert np.isfinite([history[name] for name in METRICS]).all()
    assert gan.d_optimizer.iterations == 6
    assert gan.g_optimizer.iterations == 6 // d_steps


# Metrics


@pytest.mark.parametrize("d_steps", [1, 2])
def test_the_metrics_of_an_epoch_weigh_every_sample_the_same(d_steps):
    gan = make(plain_networks, Witness, rate=0.0, objective=wasserstein(), d_steps=d_steps, run_eagerly=True)
    history = train(gan, in_order(REAL))  # batches of 4, 4, 4 and 2
    on_real, on_fake, on_generated = (
        gan.discriminator(np.concatenate(samples)).numpy() for samples in (gan.reals, gan.fakes, gan.generated)
    )
    assert sorted(history) == sorted(METRICS)
    assert history["d_loss"] == [pytest.approx(on_fake.mean() - on_real.mean(), abs=1e-6)]
    assert history["g_loss"] == [pytest.approx(on_generated.mean(), abs=1e-6)]
    assert history["D(x)"] == [pytest.approx(probability(on_real).mean(), abs=1e-6)]
    assert history["D(G(z))"] == [pytest.approx(probability(on_fake).mean(), abs=1e-6)]


def test_the_metrics_start_anew_with_each_epoch():
    told = iter(range(1, 100))
    objective = losses.Objective("1, 2, 3 …", lambda *logits: next(told) + nothing(*logits), nothing)
    gan = make(plain_networks, objective=objective, run_eagerly=True)
    assert train(gan, in_order(REAL[:8]), epochs=3)["d_loss"] == [1.5, 3.5, 5.5]


def test_the_scores_are_means_of_probabilities():
    def networks():
        generator, critic = linear_networks((1,))
        critic.layers[-1].kernel.assign([[1.0]])
        return generator, critic

    gan = make(networks, rate=0.0)
    gan.discriminator_step(tf.math.log([[1.0], [9.0]]))
    assert float(gan.real_score.result()) == pytest.approx((0.5 + 0.9) / 2)


# The recipe


def test_a_custom_objective_drives_both_players():
    gan = make(linear_networks, Witness, objective=wasserstein(), run_eagerly=True)
    weights = gan.discriminator.layers[-1].kernel.numpy()
    gan.discriminator_step(tf.constant(REAL[:4]))
    step = 0.1 * (REAL[:4].mean(axis=0) - gan.fakes[0].mean(axis=0))
    np.testing.assert_allclose(gan.discriminator.layers[-1].kernel[:, 0], weights[:, 0] + step, atol=1e-6)
    bias = gan.generator.layers[-2].bias.numpy()
    gan.generator_step(tf.constant(REAL[:4]))
    step = -0.1 * gan.discriminator.layers[-1].kernel[:, 0]
    np.testing.assert_allclose(gan.generator.layers[-2].bias, bias + step, atol=1e-6)


def half_squared_slope(critic, real, fake):
    """Of a critic w·x: ½‖w‖², whose gradient with respect to w is w."""
    with tf.GradientTape() as tape:
        tape.watch(real)
        logits = critic(real)
    slopes = tape.gradient(logits, real)  # (batch, height, width, channels)
    return 0.5 * tf.reduce_mean(tf.reduce_sum(slopes**2, axis=(1, 2, 3)))


@pytest.mark.parametrize("settings", [{}, {"run_eagerly": True}], ids=["traced", "eager"])
def test_a_penalty_on_the_slope_of_the_critic_shrinks_its_weights(settings):
    objective = losses.Objective("nothing", nothing, nothing)
    gan = make(lambda: linear_networks((2, 2, 1)), objective=objective, penalty=half_squared_slope, **settings)
    weights = gan.discriminator.layers[-1].kernel.numpy()
    history = train(gan, in_order(np.ones((4, 2, 2, 1), np.float32)))
    np.testing.assert_allclose(gan.discriminator.layers[-1].kernel, 0.9 * weights, rtol=1e-5)
    assert history["d_loss"] == [pytest.approx(0.5 * np.sum(weights**2), rel=1e-5)]
    assert history["g_loss"] == [0.0]


def test_a_penalty_receives_the_critic_and_both_batches_of_images():
    received = []

    def penalty(critic, real, fake):
        received.append((critic(fake).numpy(), real.numpy(), fake.numpy()))
        return 5.0

    gan = make(lambda: plain_networks((4, 4, 1)), Witness, rate=0.0, penalty=penalty)
    images = np.random.default_rng(0).uniform(-1, 1, size=(3, 4, 4, 1)).astype(np.float32)
    gan.discriminator_step(tf.constant(images))
    logits, real, fake = received[0]
    np.testing.assert_array_equal(real, images)
    np.testing.assert_array_equal(fake, gan.fakes[0])
    np.testing.assert_allclose(logits, gan.discriminator(fake), rtol=1e-6)
    unpunished = losses.non_saturating().discriminator(gan.discriminator(real), gan.discriminator(fake))
    assert float(gan.d_loss.result()) == pytest.approx(5.0 + float(unpunished), rel=1e-6)


def test_both_losses_can_be_overridden():
    class Game(GAN):
        def discriminator_loss(self, real, fake):
            return 3.0 * tf.reduce_mean(real.logits)

        def generator_loss(self, real, fake):
            return 2.0 * tf.reduce_mean(fake.samples)

    gan = make(linear_networks, Game)
    critic, bias = gan.discriminator.layers[-1].kernel, gan.generator.layers[-2].bias.numpy()
    before = critic.numpy()
    history = train(gan, in_order(REAL[:4]))
    assert history["d_loss"] == [pytest.approx(float(np.mean(3 * REAL[:4] @ before)), rel=1e-5)]
    np.testing.assert_allclose(critic[:, 0], before[:, 0] - 0.1 * 3.0 * REAL[:4].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(gan.generator.layers[-2].bias, bias - 0.1 * 2.0 / 3, atol=1e-6)


def test_a_second_compile_replaces_the_recipe():
    gan = make(plain_networks)
    train(gan)
    objective = losses.Objective("7 and 8", lambda *logits: 7.0 + nothing(*logits), lambda fake: 8.0 + nothing(fake))
    gan.compile(keras.optimizers.SGD(), keras.optimizers.SGD(), objective=objective, d_steps=3)
    history = train(gan)
    assert (history["d_loss"], history["g_loss"]) == ([7.0], [8.0])
    assert (int(gan.d_optimizer.iterations), int(gan.g_optimizer.iterations)) == (3, 1)


def test_the_optimizers_of_keras_train_the_networks_they_were_given():
    gan = GAN(*rich_networks(), latent_dim=2, seed=0)
    gan.compile(keras.optimizers.Adam(1e-2), keras.optimizers.RMSprop(1e-2))
    before = values(gan.trainable_variables)
    train(gan)
    assert sum(unchanged(gan.trainable_variables, before)) <= 1  # a bias before batch normalisation may rest
    assert len(gan.d_optimizer.variables) == 2 + 2 * len(gan.discriminator.trainable_variables)
    assert gan.get_metrics_result().keys() == set(METRICS)


# Repeatability


def result(kind=GAN, networks=rich_networks, seed=0, **recipe):
    gan = make(networks, kind, seed, **recipe)
    return train(gan, epochs=2), values(gan.weights)


def test_the_same_seed_gives_the_same_history_and_weights_and_another_seed_others():
    (history, weights), (again, same), (other, others) = (result(seed=seed) for seed in (3, 3, 4))
    assert history == again
    assert all(np.array_equal(*pair) for pair in zip(weights, same, strict=True))
    assert history != other
    assert not any(np.array_equal(*pair) for pair in zip(weights, others, strict=True))


def test_without_a_seed_the_noise_follows_the_global_one():
    first, again, other = (GAN(*rich_networks(), 2, seed=None).latent(2).numpy() for _ in range(3))
    np.testing.assert_array_equal(first, again)
    keras.utils.set_random_seed(1)
    other = GAN(models.mlp_generator(2, (3,), (4,)), models.mlp_discriminator((3,), (4,)), 2).latent(2).numpy()
    assert not np.isin(first, other).any()


def assert_same_result(one, other):
    (history, weights), (other_history, other_weights) = one, other
    for name in METRICS:
        np.testing.assert_allclose(other_history[name], history[name], rtol=1e-4)
    for weight, other_weight in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(other_weight, weight, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module", params=[1, 2])
def step_by_step(request):
    return request.param, result(d_steps=request.param)


@pytest.mark.parametrize("settings", [{"run_eagerly": True}, {"steps_per_execution": 2}], ids=["eager", "two at once"])
def test_however_the_step_is_executed_the_result_is_the_same(settings, step_by_step):
    d_steps, expected = step_by_step
    assert_same_result(expected, result(d_steps=d_steps, **settings))


def test_a_step_compiled_by_xla_gives_the_same_result():
    class SameNoise(GAN):
        """XLA draws other random numbers from the same seed, so this noise is not random."""

        def latent(self, count, seed=None):
            ticks = tf.linspace(-1.0, 1.0, count)
            return tf.stack([ticks, ticks**2], axis=1)

    def networks():
        generator, discriminator = rich_networks()
        for layer in (*generator.layers, *discriminator.layers):
            if isinstance(layer, layers.Dropout):
                layer.rate = 0.0
        return generator, discriminator

    recipe = {"kind": SameNoise, "networks": networks, "d_steps": 2}
    assert_same_result(result(**recipe), result(**recipe, jit_compile=True))


def test_an_interrupted_training_goes_on_as_if_it_had_not_been():
    whole, halves = make(plain_networks), make(plain_networks)
    at_once = train(whole, in_order(REAL[:12]), epochs=2)
    in_two = [train(halves, in_order(REAL[:12]))["d_loss"][0] for _ in range(2)]
    assert at_once["d_loss"] == in_two
    assert all(unchanged(whole.weights, values(halves.weights)))


def test_samples_are_repeated_by_their_seed_and_fresh_without_one():
    gan = make(seed=9)
    assert gan.sample(3, seed=0).tolist() == gan.sample(3, seed=0).tolist()
    for other in (gan.sample(3, seed=1), gan.sample(3), gan.sample(3)):
        assert not np.isin(other, gan.sample(3, seed=0)).any()
    assert not np.isin(gan.sample(3), gan.sample(3)).any()


def test_samples_are_numpy_arrays_of_the_generators_shape():
    gan = make(lambda: plain_networks((4, 4, 1), "tanh"))
    samples = gan.sample(5)
    assert isinstance(samples, np.ndarray)
    assert samples.shape == (5, 4, 4, 1)
    assert samples.dtype == np.float32


def test_any_number_of_samples_is_drawn_in_inference_mode():
    gan = make()
    gan.generator_step(tf.constant(REAL[:8]))  # now the running statistics are not those of a batch
    for count in (1, 256, 257, 600):
        expected = gan.generator(gan.latent(count, seed=5), training=False)
        np.testing.assert_allclose(gan.sample(count, seed=5), expected, rtol=1e-5, atol=1e-6)


def test_samples_can_be_drawn_before_compile():
    assert GAN(*plain_networks(), latent_dim=2).sample(2).shape == (2, 3)


def test_the_noise_is_standard_normal():
    noise = make(plain_networks).latent(20_000).numpy()
    assert noise.shape == (20_000, 2)
    # the standard errors are 0.007 and 0.005: five of them
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=0.035)
    np.testing.assert_allclose(noise.std(axis=0), 1.0, atol=0.025)


# fit


def test_the_pipeline_of_the_package_feeds_fit():
    gan = make(plain_networks, d_steps=2)
    history = train(gan, data.batches(REAL, batch_size=4), epochs=3)
    assert [len(history[name]) for name in METRICS] == [3, 3, 3, 3]
    assert gan.g_optimizer.iterations == 3 * 2


def test_float64_samples_of_numpy_are_taken():
    gan = make(plain_networks)
    assert np.isfinite(train(gan, in_order(REAL.astype(np.float64)))["d_loss"]).all()


def test_an_endless_dataset_needs_only_the_number_of_steps():
    gan = make(plain_networks, d_steps=3)
    train(gan, in_order(REAL[:8]).repeat(), steps_per_epoch=2, epochs=2)
    assert (int(gan.d_optimizer.iterations), int(gan.g_optimizer.iterations)) == (12, 4)


def poisoned():
    """Two good batches for the first epoch of two steps, and a NaN in the first batch of the second epoch."""
    return in_order(np.concatenate([REAL[:8], np.full((8, 3), np.nan, np.float32)]))


def image_gan(**recipe):
    return make(lambda: plain_networks((4, 4, 1), "tanh"), **recipe)


def images(count=8):
    return np.random.default_rng(0).uniform(-1, 1, size=(count, 4, 4, 1)).astype(np.float32)


def test_nan_in_the_data_is_blamed_on_the_data_and_the_epochs_before_stay():
    gan = make(plain_networks)
    with pytest.raises(ValueError, match="Batch 3 has NaN or infinite values"):
        train(gan, poisoned(), steps_per_epoch=2, epochs=5)
    assert gan.d_optimizer.iterations == 2
    for name in METRICS:
        assert len(gan.history.history[name]) == 1
        assert np.isfinite(gan.history.history[name][0])
    assert all(np.isfinite(value).all() for value in values(gan.weights))


@pytest.mark.parametrize("d_steps", [1, 2])
def test_a_learning_rate_that_is_much_too_high_stops_training(capsys, d_steps):
    gan = make(plain_networks, rate=1e30, d_steps=d_steps)
    history = train(gan, epochs=50)
    assert len(history["d_loss"]) < 50
    assert "Try a lower learning rate" in capsys.readouterr().out


def test_frames_before_a_nan_stay_and_their_gif_is_written(tmp_path):
    gan = image_gan()
    film = SampleGrid(tmp_path / "film.gif", rows=2, columns=2)
    spoiled = in_order(np.concatenate([images(), np.full((8, 4, 4, 1), np.nan, np.float32)]))
    with pytest.raises(ValueError, match="has NaN"):
        train(gan, spoiled, steps_per_epoch=2, epochs=5, callbacks=[film])
    assert len(film.frames) == 2
    with Image.open(film.path) as gif:
        assert gif.n_frames == 2


def test_weights_that_are_spoiled_in_the_first_epoch_leave_the_first_frame(tmp_path, capsys):
    film = SampleGrid(tmp_path / "film.gif", rows=2, columns=2)
    train(image_gan(rate=1e30), in_order(images()), epochs=3, callbacks=[film])
    assert "not finite" in capsys.readouterr().out
    assert len(film.frames) == 1
    assert film.path.stat().st_size > 0


def test_training_that_goes_well_says_nothing(capsys):
    train(make(plain_networks))
    assert capsys.readouterr().out == ""


def test_callbacks_see_every_epoch_and_the_nan_guard_is_always_among_them():
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append("begin"), on_epoch_end=lambda epoch, logs: seen.append(set(logs))
    )
    mine = [watch]
    train(make(plain_networks), epochs=2, callbacks=mine)
    assert seen == ["begin", set(METRICS), set(METRICS)]
    assert mine == [watch]
    assert issubclass(StopAtNaN, keras.callbacks.Callback)


# Pictures of training


def test_a_film_shows_the_same_latent_points_before_training_and_after_each_epoch():
    gan = image_gan()
    expected = []

    def keep(*_):
        picture = plotting.tile(gan.sample(6, seed=3), columns=3)
        expected.append(data.to_bytes(picture))

    film = SampleGrid(rows=2, columns=3, seed=3)
    keep()
    watch = keras.callbacks.LambdaCallback(on_epoch_end=keep)
    train(gan, in_order(images()), epochs=3, callbacks=[watch, film])
    np.testing.assert_array_equal(film.frames, expected)
    assert film.frames[0].shape == (10, 16)
    assert len({frame.tobytes() for frame in film.frames}) == 4


def test_a_film_goes_on_where_it_stopped_and_can_be_read_back(tmp_path):
    gan = image_gan()
    film = SampleGrid(tmp_path / "new" / "film.gif", rows=1, columns=2)
    for _ in range(2):
        train(gan, in_order(images()), epochs=2, callbacks=[film])
    with Image.open(film.path) as gif:
        read = [np.asarray(frame.convert("L"), int) for frame in ImageSequence.Iterator(gif)]
    assert len(read) == len(film.frames) == 5
    for epoch, (picture, frame) in enumerate(zip(read, film.frames, strict=True)):
        large = plotting.enlarged(frame, 20, f"epoch {epoch}")  # an image of 4 pixels is 80 high
        np.testing.assert_allclose(picture, large, atol=16)  # a GIF has fewer grays


def test_a_film_does_not_change_what_is_learned():
    def weights(callbacks):
        gan = image_gan()
        train(gan, in_order(images()), epochs=2, callbacks=callbacks)
        return values(gan.weights)

    with_film, without = weights([SampleGrid(rows=2, columns=2)]), weights([])
    for one, other in zip(with_film, without, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [{"rows": 0}, {"columns": 0}, {"columns": -1}])
def test_a_film_without_pictures_is_refused(size):
    with pytest.raises(ValueError, match=r"Got rows=.* and columns=.*, expected at least 1 of each"):
        SampleGrid(**size)


def test_a_score_joins_the_history_with_the_seconds_of_training_alone():
    gan, seen = image_gan(), []

    def slow(samples):
        time.sleep(0.5)
        seen.append(samples)
        return samples.mean()

    score = Score(slow, samples=5, name="ink", seed=3)
    begin = time.perf_counter()
    history = train(gan, in_order(images()), epochs=3, callbacks=[score])
    assert time.perf_counter() - begin > history["seconds"][-1] + 3 * 0.5
    assert history["seconds"] == sorted(history["seconds"])
    assert history["seconds"][0] > 0.0
    assert history["ink"] == [samples.mean() for samples in seen]
    np.testing.assert_array_equal(seen[-1], gan.sample(5, seed=3))  # the same latent points each time
    more = train(gan, in_order(images()), epochs=1, callbacks=[score])
    assert more["seconds"][0] > history["seconds"][-1]  # a second `fit` goes on


def test_another_clock_can_count_the_seconds():
    ticks = iter(range(100))
    score = Score(np.mean, 5, clock=lambda: float(next(ticks)))
    assert train(image_gan(), in_order(images()), epochs=2, callbacks=[score])["seconds"] == [1.0, 2.0]


def test_callbacks_of_keras_can_follow_a_score(tmp_path):
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "ink", save_best_only=True, mode="min")
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    train(image_gan(), in_order(images()), epochs=2, callbacks=[Score(np.mean, 5, "ink"), best, log])
    assert (tmp_path / "best.keras").exists()
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    assert {"ink", "seconds"} < set(header.split(","))
    assert len(rows) == 2


def test_samples_that_are_not_finite_have_no_score(capsys):
    gan = image_gan(rate=1e30)
    history = train(gan, in_order(images()), callbacks=[Score(np.mean, 5)])
    assert "Training stopped" in capsys.readouterr().out
    assert np.isnan(history["score"]).all()


@pytest.mark.parametrize("settings", [{}, {"steps_per_execution": 2}, {"d_steps": 2}], ids=["1", "2 at once", "k = 2"])
def test_progress_counts_all_steps_and_writes_to_stderr_only(capsys, settings):
    progress = Progress()
    train(make(plain_networks, **settings), in_order(REAL[:8]), epochs=3, callbacks=[progress])
    steps = 3 if "d_steps" in settings else 6
    assert (progress.bar.n, progress.bar.total) == (steps, steps)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{steps}/{steps}" in err
    assert "d_loss=" in err


# Saving


def test_a_generator_is_saved_and_loaded(tmp_path):
    gan = make()
    gan.generator_step(tf.constant(REAL[:8]))
    gan.generator.save(tmp_path / "generator.keras")
    loaded = keras.saving.load_model(tmp_path / "generator.keras")
    latent = gan.latent(3, seed=0)
    np.testing.assert_allclose(loaded(latent), gan.sample(3, seed=0), atol=1e-6)


def test_weights_of_the_whole_game_are_saved_and_loaded(tmp_path):
    gan, other = make(), GAN(*rich_networks(), latent_dim=2)
    gan.discriminator_step(tf.constant(REAL))
    gan.generator_step(tf.constant(REAL[:8]))
    gan.save_weights(tmp_path / "gan.weights.h5")
    other.load_weights(tmp_path / "gan.weights.h5")
    np.testing.assert_array_equal(other.sample(3, seed=0), gan.sample(3, seed=0))
    assert all(unchanged(other.discriminator.weights, values(gan.discriminator.weights)))


def test_a_gan_is_rebuilt_from_its_config():
    gan = GAN(*rich_networks(), latent_dim=2, name="the_game")
    again = GAN.from_config(gan.get_config())
    assert (again.name, again.latent_dim) == ("the_game", 2)
    again.set_weights(gan.get_weights())
    np.testing.assert_array_equal(again.sample(3, seed=0), gan.sample(3, seed=0))
    assert again.generator is not gan.generator
    train(make(lambda: (again.generator, again.discriminator)))


def test_keras_knows_the_gan_by_its_name():
    gan = make()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(GAN(*plain_networks(), 2)))
    assert isinstance(again, GAN)
    assert keras.saving.get_registered_name(type(gan)) == "gan_utils>GAN"
    assert gan_utils.GAN is GAN


# Refusals


def sequence(*stack):
    return keras.Sequential(list(stack))


def two_outputs():
    inputs = keras.Input((3,))
    return keras.Model(inputs, [layers.Dense(1)(inputs), layers.Dense(1)(inputs)])


GENERATOR = models.mlp_generator(2, (3,), (4,), None)
DISCRIMINATOR = models.mlp_discriminator((3,), (4,))
POINT = keras.Input((3,))
NETWORKS = {
    "another latent size": (GENERATOR, DISCRIMINATOR, 5, "latent_dim=5 .*(None, 2), expected (None, 5)"),
    "shapes that do not fit": (
        GENERATOR,
        models.mlp_discriminator((4,), (4,)),
        2,
        "makes samples of shape (None, 3), .*reads (None, 4)",
    ),
    "images for points": (
        GENERATOR,
        models.mlp_discriminator((3, 1), (4,)),
        2,
        "makes samples of shape (None, 3), .*reads (None, 3, 1)",
    ),
    "two logits": (GENERATOR, sequence(POINT, layers.Dense(2)), 2, "shape (None, 2), expected (None, 1)"),
    "two outputs": (GENERATOR, two_outputs(), 2, "shape [(None, 1), (None, 1)], expected (None, 1)"),
    "a probability": (GENERATOR, sequence(POINT, layers.Dense(1, "sigmoid")), 2, "end in [0, 1], .*expected logits"),
    "a sigmoid layer": (
        GENERATOR,
        sequence(POINT, layers.Dense(1), layers.Activation("sigmoid")),
        2,
        "end in [0, 1], .*expected logits",
    ),
    "no generator": (None, DISCRIMINATOR, 2, "a NoneType as generator, expected a keras.Model"),
    "a builder": (models.mlp_generator, DISCRIMINATOR, 2, "a function as generator, expected a keras.Model"),
    "a layer": (GENERATOR, layers.Dense(1), 2, "a Dense as discriminator, expected a keras.Model"),
    "unbuilt generator": (sequence(layers.Dense(3)), DISCRIMINATOR, 2, "generator has no known input .*keras.Input"),
    "unbuilt critic": (GENERATOR, sequence(layers.Dense(1)), 2, "discriminator has no known input .*keras.Input"),
}


def pattern(message):
    """A regular expression from words in which only `.*` is one."""
    return ".*".join(map(re.escape, message.split(".*")))


@pytest.mark.parametrize(("generator", "discriminator", "latent_dim", "message"), NETWORKS.values(), ids=NETWORKS)
def test_networks_that_cannot_play_are_refused(generator, discriminator, latent_dim, message):
    with pytest.raises((TypeError, ValueError), match=pattern(message)):
        GAN(generator, discriminator, latent_dim)


def test_a_float_or_missing_latent_size_is_refused():
    with pytest.raises(ValueError, match=pattern("latent_dim=None .*(None, 2)")):
        GAN(GENERATOR, DISCRIMINATOR, None)


def test_a_linear_last_activation_is_no_reason_to_refuse():
    for last in (layers.Dense(1, activation="linear"), layers.Activation("linear", dtype="float32")):
        critic = sequence(keras.Input((3,)), layers.Dense(1), last)
        assert GAN(GENERATOR, critic, 2).discriminator is critic


def adam():
    return keras.optimizers.Adam()


SHARED = keras.optimizers.Adam()
RECIPES = {
    "a string": ("adam", adam(), {}, "d_optimizer='adam', expected an optimizer such as"),
    "a number": (adam(), 1e-3, {}, "g_optimizer=0.001, expected an optimizer such as"),
    "a class": (keras.optimizers.Adam, adam(), {}, "d_optimizer=<class .*expected an optimizer"),
    "one optimizer for both": (SHARED, SHARED, {}, "the same optimizer. Make one for each"),
    "a name of a loss": (adam(), adam(), {"objective": "minimax"}, "objective='minimax', expected .*minimax()"),
    "a maker of losses": (adam(), adam(), {"objective": losses.minimax}, "objective=<function .*expected .*minimax()"),
    "a number as penalty": (
        adam(),
        adam(),
        {"penalty": 10.0},
        "penalty=10.0, expected a function (critic, real, fake)",
    ),
    "no steps": (adam(), adam(), {"d_steps": 0}, "d_steps=0, expected a whole number of at least 1"),
    "fewer steps": (adam(), adam(), {"d_steps": -1}, "d_steps=-1, expected a whole number of at least 1"),
    "half a step": (adam(), adam(), {"d_steps": 1.5}, "d_steps=1.5, expected a whole number of at least 1"),
}


@pytest.mark.parametrize(("d_optimizer", "g_optimizer", "recipe", "message"), RECIPES.values(), ids=RECIPES)
def test_a_recipe_that_cannot_work_is_refused_and_the_earlier_one_stays(d_optimizer, g_optimizer, recipe, message):
    gan = make(plain_networks, objective=losses.minimax(), penalty=half_squared_slope, d_steps=2, run_eagerly=True)

    def state():
        return gan.d_optimizer, gan.g_optimizer, gan.objective, gan.penalty, gan.d_steps, gan.run_eagerly

    before = state()
    with pytest.raises((TypeError, ValueError), match=pattern(message)):
        gan.compile(d_optimizer, g_optimizer, **recipe)
    assert all(now is then for now, then in zip(state(), before, strict=True))


def test_after_a_refused_recipe_training_goes_on_with_the_earlier_one():
    gan = make(plain_networks)
    with pytest.raises(TypeError, match="objective='minimax'"):
        gan.compile(adam(), adam(), objective="minimax")
    assert np.isfinite(train(gan)["d_loss"]).all()


DATASETS = {
    "an array": (lambda: REAL, "a ndarray, expected a tf.data.Dataset. gan_utils.data.batches"),
    "a tensor": (lambda: tf.constant(REAL), "expected a tf.data.Dataset"),
    "labels": (
        lambda: tf.data.Dataset.zip(in_order(), in_order()),
        "expected .*(None, 3), .*labels, whole numbers of shape (None,)",
    ),
    "no batches": (lambda: in_order().unbatch(), "shape=(3,), .*expected batches of samples of shape (None, 3)"),
    "longer vectors": (lambda: in_order(np.zeros((4, 5))), "shape=(None, 5), .*expected .*(None, 3)"),
    "images": (lambda: in_order(np.zeros((4, 3, 3, 1))), "shape=(None, 3, 3, 1), .*expected .*(None, 3)"),
    "nothing": (lambda: in_order().take(0), "has 0 batches, expected at least d_steps=3"),
    "too few batches": (lambda: in_order(REAL[:8]), "has 2 batches, expected at least d_steps=3. Use smaller batches"),
}


@pytest.mark.parametrize(("dataset", "message"), DATASETS.values(), ids=DATASETS)
def test_a_dataset_that_cannot_be_learned_from_is_refused_before_training(dataset, message):
    gan = make(plain_networks, d_steps=3)
    before = values(gan.variables)
    with pytest.raises((TypeError, ValueError), match=pattern(message)):
        gan.fit(dataset(), verbose=0)
    assert all(unchanged(gan.variables, before))


def test_an_empty_dataset_is_refused_with_one_step_too():
    with pytest.raises(ValueError, match="has 0 batches, expected at least d_steps=1"):
        make(plain_networks).fit(in_order().take(0))


def test_fit_asks_for_compile_first():
    with pytest.raises(ValueError, match=re.escape("compile()")):
        GAN(*plain_networks(), latent_dim=2).fit(in_order())


@pytest.mark.parametrize("count", [0, -1, 2.5, "3", None])
def test_a_number_of_samples_that_is_none_is_refused(count):
    gan = make(plain_networks)
    with pytest.raises(ValueError, match=f"count={count!r}, expected a whole number of at least 1"):
        gan.sample(count)


@pytest.mark.parametrize("wrap", [lambda callback: callback, lambda callback: (callback,)])
def test_callbacks_may_be_none_one_or_several(wrap):
    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    gan = make()
    gan.fit(in_order(), callbacks=None, verbose=0)
    gan.fit(in_order(), callbacks=wrap(callback), epochs=2, shuffle=False, verbose=0)
    assert seen == [0, 1]


# Objectives of critics and of pairs, penalties, and fakes that are used twice


@pytest.mark.parametrize(
    ("objective", "names"),
    [(losses.minimax(), ("D(x)", "D(G(z))")), (losses.wasserstein(), ("logit(x)", "logit(G(z))"))],
    ids=["probabilities", "logits"],
)
def test_the_scores_of_a_critic_are_called_logits_and_are_means_of_them(objective, names):
    gan = make(plain_networks, Witness, rate=0.0, objective=objective, run_eagerly=True)
    history = train(gan, in_order(REAL))
    show = probability if objective.probabilistic else np.asarray
    for name, samples in zip(names, (gan.reals, gan.fakes), strict=True):
        expected = show(gan.discriminator(np.concatenate(samples))).mean()
        assert history[name] == [pytest.approx(expected, abs=1e-6)]
    gan.compile(keras.optimizers.SGD(), keras.optimizers.SGD(), losses.hinge())
    assert [metric.name for metric in gan.metrics] == ["d_loss", "g_loss", "logit(x)", "logit(G(z))"]


def test_a_paired_objective_lets_the_generator_see_the_real_logits():
    seen = []

    def generator(fake_logits, real_logits):
        seen.append((fake_logits.numpy(), real_logits.numpy()))
        return tf.reduce_mean(tf.math.softplus(real_logits - fake_logits))

    discriminator = losses.relativistic().discriminator
    gan = make(plain_networks, Witness, objective=losses.Objective("pairs", discriminator, generator, paired=True))
    gan.generator_step(tf.constant(REAL[:4]))
    np.testing.assert_allclose(seen[0][0], gan.discriminator(gan.generated[0]), atol=1e-6)
    np.testing.assert_allclose(seen[0][1], gan.discriminator(REAL[:4]), atol=1e-6)


def test_fakes_that_are_used_twice_are_drawn_and_judged_once():
    gan = make(plain_networks, Witness, reuse_fakes=True, run_eagerly=True, d_steps=2)
    train(gan, in_order(REAL[:8]))
    assert [len(latent) for latent in gan.latents] == [4, 4]  # one of each D step, none of G's
    np.testing.assert_array_equal(gan.generated[0], gan.fakes[1])


def norm_networks():
    """Batch normalisation in both, and no dropout, whose masks depend on the order of the passes."""
    keras.utils.set_random_seed(0)

    def hidden():
        return [layers.Dense(6), layers.BatchNormalization(), layers.LeakyReLU(0.2)]

    generator = keras.Sequential([keras.Input((2,)), *hidden(), layers.Dense(3)])
    return generator, keras.Sequential([keras.Input((3,)), *hidden(), layers.Dense(1)])


def test_a_joint_step_by_hand():
    """One pass of G, one of D on its fakes; both gradients at the same weights, as in TensorFlow's tutorial."""
    gan = make(norm_networks, seed=7, reuse_fakes=True)
    train(gan, in_order(REAL[:8]), epochs=2)
    generator, discriminator = norm_networks()
    noise = keras.random.SeedGenerator(7)
    for real in [tf.constant(REAL[:4]), tf.constant(REAL[4:8])] * 2:
        with tf.GradientTape(persistent=True) as tape:
            on_real = discriminator(real, training=True)
            on_fake = discriminator(generator(keras.random.normal((4, 2), seed=noise), training=True), training=True)
            d_loss = tf.reduce_mean(tf.math.softplus(-on_real)) + tf.reduce_mean(tf.math.softplus(on_fake))
            g_loss = tf.reduce_mean(tf.math.softplus(-on_fake))
        both = [(d_loss, discriminator), (g_loss, generator)]
        slopes = [tape.gradient(loss, network.trainable_variables) for loss, network in both]
        for (_, network), gradients in zip(both, slopes, strict=True):
            for weight, slope in zip(network.trainable_variables, gradients, strict=True):
                weight.assign(weight - 0.1 * slope)
    for ours, theirs in ((gan.generator, generator), (gan.discriminator, discriminator)):
        for weight, expected in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6, err_msg=weight.path)


@pytest.mark.parametrize("objective", [make() for make in losses.MAKERS.values()], ids=lambda objective: objective.name)
def test_every_objective_of_the_package_trains_and_is_saved_by_name(objective):
    gan = make(plain_networks, rate=0.01, objective=objective, penalty=penalties.r1(0.1) + penalties.r2())
    assert np.isfinite(train(gan, in_order(REAL[:8]))["d_loss"]).all()
    again = GAN(*plain_networks(), latent_dim=2)
    again.compile_from_config(gan.get_compile_config())
    assert again.objective.name == objective.name
    assert again.penalty.name == "r1(weight=0.1) + r2(weight=10.0)"


@pytest.mark.parametrize("penalty", [make() for make in penalties.MAKERS.values()], ids=lambda penalty: penalty.name)
def test_a_gan_with_a_penalty_goes_on_from_its_file_with_the_same_gradients(tmp_path, penalty):
    gan = make(plain_networks, rate=0.01, objective=losses.wasserstein(), penalty=penalty, d_steps=2)
    train(gan)
    gan.save(tmp_path / "gan.keras")
    again = keras.saving.load_model(tmp_path / "gan.keras")
    assert (again.penalty.name, again.d_steps) == (penalty.name, 2)
    again.noise.state.assign(gan.noise.state)  # which no file keeps
    assert train(gan) == train(again)


def test_a_gan_with_a_penalty_of_ones_own_is_loaded_without_its_recipe(tmp_path):
    gan = make(linear_networks, penalty=lambda critic, real, fake: 0.0)
    gan.save(tmp_path / "gan.keras")
    assert not keras.saving.load_model(tmp_path / "gan.keras").compiled


def test_the_penalty_draws_from_the_noise_of_the_gan():
    """So that a resumed training draws the same mixing weights, and two trainings of one seed are the same."""

    def weights(seed):
        gan = make(plain_networks, seed=seed, objective=losses.wasserstein(), penalty=penalties.gradient_penalty())
        train(gan)
        return np.concatenate([np.ravel(value) for value in values(gan.discriminator.weights)])

    np.testing.assert_array_equal(weights(3), weights(3))
    assert not np.array_equal(weights(3), weights(4))
