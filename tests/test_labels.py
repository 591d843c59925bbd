"""Labels on their way through the engine: from the data to both networks, and back out as samples of a class."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from comparing import assert_equal, state, values
from keras import layers

from gan_utils import GAN, Checkpoint, SampleGrid, Score, data, models, plotting
from gan_utils.layers import SpectralNormalization

LATENT, CLASSES, RATE, SEED = 2, 3, 0.1, 7
REAL = np.random.default_rng(0).normal(size=(14, 3)).astype(np.float32)
LABELS = np.array([0, 2, 1, 1, 2, -1, 0, 0, 1, 2, 2, 0, 1, 2])
SIZES = [4, 4, 4, 2]


def generator():
    return models.conditional_generator(models.mlp_generator(LATENT + CLASSES, (3,), (4,), None), CLASSES)


def concatenating():
    return models.conditional_discriminator(models.mlp_discriminator((3 + CLASSES,), (4,), 0.0), CLASSES)


def projecting():
    return models.projection_discriminator(models.mlp_discriminator((3,), (4,), 0.0), CLASSES)


def plain_generator():
    return models.mlp_generator(LATENT, (3,), (4,), None)


def plain_discriminator():
    return models.mlp_discriminator((3,), (4,), 0.0)


def tells_its_label():
    """A generator that draws 0, 1 or 2, the label, whatever the latent; and 0 where there is none."""
    latent, labels = keras.Input((LATENT,)), keras.Input((CLASSES,))
    joined = layers.Concatenate()([latent, labels])
    network = keras.Model([latent, labels], layers.Dense(1, use_bias=False)(joined))
    network.set_weights([np.array([[0.0], [0.0], [0.0], [1.0], [2.0]])])
    return network


def critic_of_numbers():
    return keras.Sequential([keras.Input((1,)), layers.Dense(1)])


def make(g=generator, d=concatenating, kind=GAN, rate=RATE, average=None, optimizer=keras.optimizers.SGD, **recipe):
    keras.utils.set_random_seed(0)
    gan = kind(g(), d(), latent_dim=LATENT, seed=SEED, average=average)
    gan.compile(optimizer(rate), optimizer(rate), **recipe)
    return gan


def pairs(samples=REAL, labels=LABELS, size=4):
    return tf.data.Dataset.from_tensor_slices((samples, labels)).batch(size)


def train(gan, dataset=None, **settings):
    return gan.fit(pairs() if dataset is None else dataset, verbose=0, **settings).history


def one_hot(labels):
    """A row of zeros where there is no label."""
    return tf.constant([[float(label == each) for each in range(CLASSES)] for label in labels])


def pattern(message):
    """A regular expression from words in which only `.*` is one."""
    return ".*".join(map(re.escape, message.split(".*")))


# The networks


@pytest.mark.parametrize("label", range(CLASSES))
def test_the_generator_reads_the_label_beside_the_latent(label):
    network = models.mlp_generator(LATENT + CLASSES, (3,), (4,), None)
    z = tf.constant(np.random.default_rng(1).normal(size=(5, LATENT)).astype(np.float32))
    beside = np.concatenate([z, np.eye(CLASSES)[[label] * 5]], axis=1)
    drawn = models.conditional_generator(network, CLASSES)([z, one_hot([label] * 5)])
    np.testing.assert_allclose(drawn, network(beside), rtol=1e-6)
    other = models.conditional_generator(network, CLASSES)([z, one_hot([(label + 1) % CLASSES] * 5)])
    assert (np.abs(drawn - other) > 1e-4).all()


def test_the_discriminator_of_vectors_reads_the_label_beside_the_sample():
    network = models.mlp_discriminator((3 + CLASSES,), (4,), 0.0)
    beside = np.concatenate([tf.constant(REAL), one_hot(LABELS)], axis=1)
    judged = models.conditional_discriminator(network, CLASSES)([tf.constant(REAL), one_hot(LABELS)])
    np.testing.assert_allclose(judged, network(beside), rtol=1e-6)


def test_the_discriminator_of_images_reads_the_label_as_constant_feature_maps():
    network = models.mlp_discriminator((4, 5, 1 + CLASSES), (4,), 0.0)
    images = np.random.default_rng(1).normal(size=(2, 4, 5, 1)).astype(np.float32)
    maps = np.zeros((2, 4, 5, CLASSES), np.float32)
    maps[0, :, :, 2] = maps[1, :, :, 0] = 1.0
    judged = models.conditional_discriminator(network, CLASSES)([tf.constant(images), one_hot([2, 0])])
    np.testing.assert_allclose(judged, network(np.concatenate([images, maps], axis=3)), rtol=1e-6)


def dense(network, features):
    """φ of an `mlp_discriminator` with one hidden layer, by NumPy."""
    kernel, bias = (weight.numpy() for weight in network.layers[1].weights)
    linear = features @ kernel + bias
    return np.where(linear > 0, linear, 0.2 * linear)


def rows_of(discriminator):
    """The weights of a projection that the one-hot label meets: a row v for each class."""
    labels = discriminator.inputs[1]
    layer = next(layer for layer in discriminator.layers if layer.weights and layer.input is labels)
    return getattr(layer, "layer", layer).kernel


def test_the_projection_is_the_formula_of_the_paper():
    """w·φ(x) + b + v_y·φ(x); without a label, the last term is 0."""
    network = models.mlp_discriminator((3,), (5,), 0.0)
    discriminator = models.projection_discriminator(network, CLASSES)
    v = np.random.default_rng(1).normal(size=(CLASSES, 5)).astype(np.float32)
    embedding = rows_of(discriminator)
    embedding.assign(v)
    network.layers[-1].bias.assign([0.3])
    w, phi = network.layers[-1].kernel.numpy()[:, 0], dense(network, REAL)
    expected = [w @ phi[i] + 0.3 + (v[y] @ phi[i] if y >= 0 else 0.0) for i, y in enumerate(LABELS)]
    np.testing.assert_allclose(
        discriminator([tf.constant(REAL), one_hot(LABELS)])[:, 0], expected, rtol=1e-5, atol=1e-6
    )
    assert {id(weight) for weight in network.weights} < {id(weight) for weight in discriminator.weights}


def test_where_the_last_layer_is_normalised_so_are_the_rows_of_the_projection():
    """Ten times the weights are then the same layer."""
    network = keras.Sequential([keras.Input((3,)), layers.Dense(5), SpectralNormalization(layers.Dense(1))])
    discriminator = models.projection_discriminator(network, CLASSES)
    embedding = rows_of(discriminator)
    read = [tf.constant(REAL), one_hot(LABELS)]
    before = discriminator(read) - network(REAL)
    assert np.abs(before).max() > 1e-2  # not 0.02, as with the weights as they are
    embedding.assign(10.0 * embedding)
    np.testing.assert_allclose(discriminator(read) - network(REAL), before, rtol=1e-4, atol=1e-5)


UNFIT = {
    "no room for a label": (lambda: models.conditional_generator(plain_generator(), 2), "(None, 2) .*room"),
    "no room for a sample": (lambda: models.conditional_discriminator(plain_discriminator(), 3), "(None, 3) .*room"),
    "one class": (lambda: models.conditional_generator(plain_generator(), 1), "num_classes=1, expected at least 2"),
    "half a class": (lambda: models.projection_discriminator(plain_discriminator(), 2.5), "num_classes=(2.5,)"),
    "no network": (lambda: models.conditional_generator("G", 2), "network='G', expected a built keras.Model"),
    "labels twice": (
        lambda: models.projection_discriminator(concatenating(), 3),
        "expected a built keras.Model with one",
    ),
    "a generator of images": (
        lambda: models.conditional_generator(keras.Sequential([keras.Input((4, 4, 9)), layers.Flatten()]), 3),
        "expected a generator of vectors",
    ),
    "no dense layer last": (
        lambda: models.projection_discriminator(
            keras.Sequential([keras.Input((3,)), layers.Dense(1), layers.Activation("linear")]), 3
        ),
        "'activation.*', expected layers.Dense(1)",
    ),
    "two logits": (
        lambda: models.projection_discriminator(keras.Sequential([keras.Input((3,)), layers.Dense(2)]), 3),
        "expected layers.Dense(1)",
    ),
}


@pytest.mark.parametrize(("build", "message"), UNFIT.values(), ids=UNFIT)
def test_networks_that_cannot_read_labels_are_refused(build, message):
    with pytest.raises((TypeError, ValueError), match=pattern(message)):
        build()


def test_networks_of_other_classes_are_refused_together():
    other = models.conditional_discriminator(models.mlp_discriminator((3 + 4,), (4,)), 4)
    with pytest.raises(ValueError, match=r"networks for 3 and 4 classes\. Build both for the same labels"):
        GAN(generator(), other, LATENT)


def test_a_network_with_a_second_input_that_is_no_label_is_refused():
    samples, image = keras.Input((3,)), keras.Input((4, 4, 1))
    joined = layers.Concatenate()([samples, layers.Flatten()(image)])
    with pytest.raises(ValueError, match=pattern("discriminator has inputs of shapes [(None, 3), (None, 4, 4, 1)]")):
        GAN(plain_generator(), keras.Model([samples, image], layers.Dense(1)(joined)), LATENT)


# A conditional game by hand


def sigmoid(logits):
    return 1.0 / (1.0 + tf.exp(-logits))


def play_by_hand(d, epochs, d_steps=1):
    """The game of Mirza and Osindero, non-saturating, with plain gradient descent; returns the networks."""
    keras.utils.set_random_seed(0)
    g, d, noise = generator(), d(), keras.random.SeedGenerator(SEED)

    def descend(loss, weights, tape):
        for weight, slope in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign(weight - RATE * slope)

    def judge(samples, y):
        return sigmoid(d([tf.constant(samples), one_hot(y)], training=True))

    def fakes(y):
        return g([keras.random.normal((len(y), LATENT), seed=noise), one_hot(y)], training=True)

    parts = [slice(0, 4), slice(4, 8), slice(8, 12), slice(12, 14)]
    for step, part in enumerate(parts * epochs, start=1):
        x, y = REAL[part], LABELS[part]
        fake = fakes(y)
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(tf.math.log(judge(x, y))) - tf.reduce_mean(tf.math.log(1 - judge(fake, y)))
        descend(loss, d.trainable_variables, tape)
        if step % d_steps == 0:
            with tf.GradientTape() as tape:
                loss = -tf.reduce_mean(tf.math.log(judge(fakes(y), y)))
            descend(loss, g.trainable_variables, tape)
    return g, d


@pytest.mark.parametrize("d", [concatenating, projecting])
@pytest.mark.parametrize(
    "recipe", [{"steps_per_execution": 3}, {"d_steps": 2, "run_eagerly": True}], ids=["three at once", "d_steps=2"]
)
def test_a_conditional_game_trains_to_the_weights_of_one_written_by_hand(d, recipe):
    gan = make(d=d, **recipe)
    before = values(gan.trainable_variables)
    train(gan, epochs=2)
    for ours, theirs in zip((gan.generator, gan.discriminator), play_by_hand(d, 2, gan.d_steps), strict=True):
        for weight, expected in zip(ours.trainable_variables, theirs.trainable_variables, strict=True):
            np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=2e-6)
    assert not any(map(np.array_equal, before, values(gan.trainable_variables)))


class Witness(GAN):
    """Keeps what the hooks are given. Compile it with `run_eagerly=True`."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.d_steps_seen, self.g_steps_seen = [], []

    def discriminator_loss(self, real, fake):
        self.d_steps_seen.append((real, fake))
        return super().discriminator_loss(real, fake)

    def generator_loss(self, real, fake):
        self.g_steps_seen.append((real, fake))
        return super().generator_loss(real, fake)


@pytest.mark.parametrize("d_steps", [1, 2])
def test_fakes_are_made_for_the_labels_of_the_real_batch(d_steps):
    gan = make(kind=Witness, rate=0.0, d_steps=d_steps, run_eagerly=True)
    train(gan)
    assert [len(real.samples) for real, _ in gan.d_steps_seen] == SIZES
    assert [len(real.samples) for real, _ in gan.g_steps_seen] == SIZES[d_steps - 1 :: d_steps]
    for real, fake in [*gan.d_steps_seen, *gan.g_steps_seen]:
        place = np.flatnonzero((real.samples[0].numpy() == REAL).all(axis=1))[0]
        assert real.labels.numpy().tolist() == LABELS[place : place + len(real.labels)].tolist()
        assert_equal([fake.labels, real.latent is None], [real.labels, True])
        made = gan.generator([fake.latent, one_hot(real.labels.numpy())])
        np.testing.assert_allclose(fake.samples, made, rtol=1e-6)
        np.testing.assert_allclose(
            fake.logits, gan.discriminator([fake.samples, one_hot(real.labels.numpy())]), rtol=1e-5
        )
    assert gan.d_steps_seen[0][0].labels.dtype == tf.int32


def test_a_penalty_meets_the_critic_with_the_labels_of_the_batch():
    told = []

    def penalty(critic, real, fake):
        told.extend([(samples, critic(samples)) for samples in (real, fake)])
        return 0.0

    gan = make(penalty=penalty)
    gan.discriminator_step((tf.constant(REAL[:4]), tf.constant([2, 0, -1, 1])))
    gan.discriminator.set_weights(make().discriminator.get_weights())
    for samples, logits in told:
        np.testing.assert_allclose(logits, gan.discriminator([samples, one_hot([2, 0, -1, 1])]), rtol=1e-5)


@pytest.mark.parametrize("d", [concatenating, projecting])
def test_a_step_moves_what_belongs_to_the_classes_of_its_batch_alone(d):
    gan = make(d=d)
    rows = [gan.generator.trainable_variables[0]]
    rows.append(gan.discriminator.trainable_variables[0] if d is concatenating else rows_of(gan.discriminator))
    before = [weight.numpy()[-CLASSES:] for weight in rows]
    batch = tf.constant(REAL[:4]), tf.constant([0, 2, 2, -1])
    gan.discriminator_step(batch)
    gan.generator_step(batch)
    for weight, old in zip(rows, before, strict=True):
        assert [bool(moved) for moved in np.abs(weight.numpy()[-CLASSES:] - old).max(axis=1) > 0] == [True, False, True]


def test_only_one_network_may_read_labels():
    for g, d in ((generator, plain_discriminator), (plain_generator, concatenating)):
        gan = make(g, d, run_eagerly=True)
        assert np.isfinite(train(gan)["d_loss"]).all()
        assert gan.classes_read == CLASSES
        with pytest.raises(ValueError, match="read labels of 3 classes, but the dataset has none"):
            gan.fit(pairs().map(lambda samples, labels: samples))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64])
def test_labels_may_be_whole_numbers_of_any_kind(kind):
    gan, other = (make(run_eagerly=True) for _ in range(2))
    labels = np.maximum(LABELS, 0)
    train(gan, pairs(labels=labels.astype(kind)))
    train(other, pairs(labels=labels.astype(np.int32)))
    assert_equal(state(gan), state(other))


def test_labels_that_no_network_reads_change_nothing():
    with_labels, without = (make(plain_generator, plain_discriminator) for _ in range(2))
    history = train(with_labels, pairs(labels=LABELS + 1000), epochs=2)
    assert history == train(without, tf.data.Dataset.from_tensor_slices(REAL).batch(4), epochs=2)
    assert_equal(state(with_labels), state(without))


def test_the_pipeline_of_the_package_feeds_a_conditional_game():
    gan = make(kind=Witness, d_steps=2, run_eagerly=True)
    train(gan, data.batches(REAL, 4, labels=LABELS), epochs=2)
    assert len(gan.d_steps_seen) == 8
    for real, _ in gan.d_steps_seen:
        for sample, label in zip(real.samples.numpy(), real.labels.numpy(), strict=True):
            assert label == LABELS[np.flatnonzero((sample == REAL).all(axis=1))[0]]


# Samples of a class


@pytest.mark.parametrize("average", [None, 0.9])
def test_samples_go_through_the_classes_or_are_of_those_that_are_asked_for(average):
    gan = make(tells_its_label, critic_of_numbers, average=average)
    assert gan.sample(7)[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert gan.sample(3, labels=2)[:, 0].tolist() == [2, 2, 2]
    assert gan.sample(1, labels=0)[:, 0].tolist() == [0]
    assert gan.sample(3, seed=1, labels=np.int64(1))[:, 0].tolist() == [1, 1, 1]
    for labels in ([2, 0, 1, 1], (2, 0, 1, 1), np.array([2, 0, 1, 1], np.uint8)):
        assert gan.sample(4, labels=labels)[:, 0].tolist() == [2, 0, 1, 1]
    many = np.random.default_rng(0).integers(0, CLASSES, 600)  # more than are drawn at a time
    assert_equal([gan.sample(600, labels=many)[:, 0], gan.sample(600)[:, 0]], [many, np.arange(600) % CLASSES])
    assert [len(part) for part in gan.stream(600, labels=many)] == [256, 256, 88]


def test_a_seed_gives_the_same_latents_for_every_class():
    gan = make()
    z = gan.latent(4, seed=3)
    for labels in ([1, 1, 1, 1], [2, 0, 1, 0]):
        expected = gan.generator([z, one_hot(labels)])
        np.testing.assert_allclose(gan.sample(4, seed=3, labels=labels), expected, rtol=1e-6)
        np.testing.assert_allclose(gan([z, one_hot(labels)]), expected, rtol=1e-6)
    np.testing.assert_array_equal(gan.sample(4, seed=3, labels=1), gan.sample(4, seed=3, labels=[1, 1, 1, 1]))


@pytest.mark.parametrize(
    "labels",
    [3, -1, 1.0, "1", True, [0, 1], [0, 1, 3], [0, -1, 2], [0.0, 1.0, 2.0], [[0], [1], [2]], np.eye(3, dtype=int)],
)
def test_labels_of_no_class_are_refused(labels):
    gan = make()
    before = gan.noise.state.numpy()
    for draw in (gan.sample, gan.stream):
        with pytest.raises(
            ValueError, match="(?s)" + pattern("Got labels=.*, expected one whole number from 0 to 2, or 3 of them")
        ):
            draw(3, labels=labels)
    np.testing.assert_array_equal(gan.noise.state, before)


@pytest.mark.parametrize("labels", [0, [0, 1, 2]])
def test_a_generator_that_reads_no_labels_is_asked_for_none(labels):
    gan = make(plain_generator, concatenating)
    with pytest.raises(ValueError, match=r"but the generator reads none\. Leave them out"):
        gan.sample(3, labels=labels)
    assert gan.sample(3).shape == (3, 3)


# Data that cannot be learned from


@pytest.mark.parametrize(
    ("label", "message"),
    [(3, "Batch 2 has labels from 0 to 3, expected 0 to 2, or -1 for none"), (-2, "Batch 2 has labels from -2 to 2")],
)
@pytest.mark.parametrize("d_steps", [1, 2])
def test_a_label_of_no_class_ends_the_training_with_its_name(label, message, d_steps):
    labels = np.maximum(LABELS, 0)
    labels[5] = label
    ended = []

    class Watch(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            ended.append(True)

    gan = make(d_steps=d_steps)
    with pytest.raises(ValueError, match=pattern(message)):
        train(gan, pairs(labels=labels), callbacks=[Watch()])
    assert ended == [True]
    assert all(np.isfinite(value).all() for value in values(gan.variables))
    assert int(gan.d_optimizer.iterations) == (1 if d_steps == 1 else 0)


def test_callbacks_of_one_line_are_told_that_such_a_training_ends():
    ended = []
    watch = keras.callbacks.LambdaCallback(on_train_end=lambda logs: ended.append(logs))
    with pytest.raises(ValueError, match="has labels from 9 to 9"):
        train(make(run_eagerly=True), pairs(labels=np.full(14, 9)), callbacks=[watch])
    assert len(ended) == 1


def of(samples, labels):
    return tf.data.Dataset.from_tensor_slices((samples, labels)).batch(4)


UNFIT_DATA = {
    "no labels": (
        lambda: tf.data.Dataset.from_tensor_slices(REAL).batch(4),
        "networks read labels of 3 classes, .*labels=labels",
    ),
    "fractions": (lambda: of(REAL, LABELS.astype(np.float32)), "as a pair with labels, whole numbers of shape (None,)"),
    "one-hot rows": (
        lambda: of(REAL, np.eye(CLASSES, dtype=int)[LABELS]),
        "a pair with labels, whole numbers of shape",
    ),
    "words": (lambda: of(REAL, [str(label) for label in LABELS]), "a pair with labels, whole numbers of shape"),
    "truth values": (lambda: of(REAL, LABELS > 0), "a pair with labels, whole numbers of shape"),
    "labels first": (lambda: of(LABELS, REAL), "expected batches of samples of shape (None, 3)"),
    "three parts": (
        lambda: tf.data.Dataset.from_tensor_slices((REAL, LABELS, LABELS)).batch(4),
        "as a pair with labels",
    ),
    "bytes": (lambda: of(REAL.astype(np.uint8), LABELS), "holds uint8, expected real numbers"),
}


@pytest.mark.parametrize(("dataset", "message"), UNFIT_DATA.values(), ids=UNFIT_DATA)
def test_a_dataset_whose_labels_cannot_be_read_is_refused_before_training(dataset, message):
    gan = make()
    before = values(gan.variables)
    with pytest.raises((TypeError, ValueError), match=pattern(message)):
        train(gan, dataset())
    assert_equal(values(gan.variables), before)


# Callbacks and files


def image_gan(**recipe):
    def draws():
        return models.conditional_generator(models.mlp_generator(LATENT + CLASSES, (4, 4, 1), (4,)), CLASSES)

    def judges():
        return models.conditional_discriminator(models.mlp_discriminator((4, 4, 1 + CLASSES), (4,), 0.0), CLASSES)

    return make(draws, judges, **recipe)


def images():
    return pairs(np.random.default_rng(0).uniform(-1, 1, size=(14, 4, 4, 1)).astype(np.float32))


def test_a_film_has_a_column_for_each_class():
    gan, film, narrow = image_gan(), SampleGrid(rows=2, seed=3), SampleGrid(rows=1, columns=2, seed=3)
    expected = []

    def keep(epoch, logs=None):
        expected.append(data.to_bytes(plotting.tile(gan.sample(6, seed=3, labels=[0, 1, 2, 0, 1, 2]), 3)))

    keep(-1)
    train(gan, images(), epochs=2, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=keep), film, narrow])
    assert_equal(film.frames, expected)
    assert narrow.frames[-1].shape[1] < film.frames[-1].shape[1]


def test_without_labels_a_film_has_eight_columns():
    networks = (
        lambda: models.mlp_generator(LATENT, (4, 4, 1), (4,)),
        lambda: models.mlp_discriminator((4, 4, 1), (4,), 0.0),
    )
    gan, film = make(*networks, run_eagerly=True), SampleGrid(rows=2, seed=3)
    frame = data.to_bytes(plotting.tile(gan.sample(16, seed=3), 8))
    train(gan, images(), callbacks=[film])
    np.testing.assert_array_equal(film.frames[0], frame)


def test_a_score_sees_all_classes_alike():
    gan, seen = make(tells_its_label, critic_of_numbers, rate=0.0, run_eagerly=True), []
    dataset = of(REAL[:, :1], LABELS)
    history = train(gan, dataset, callbacks=[Score(lambda samples: seen.append(samples) or samples.mean(), samples=6)])
    assert history["score"] == [1.0]
    assert seen[0][:, 0].tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("d", [concatenating, projecting])
def test_a_conditional_game_goes_on_from_a_checkpoint_and_from_its_file(d, tmp_path):
    def start():
        moments = lambda rate: keras.optimizers.SGD(rate, momentum=0.9)  # noqa: E731
        return make(d=d, average=0.9, d_steps=2, optimizer=moments, run_eagerly=True)

    whole, first, resumed = start(), start(), start()
    history = train(whole, epochs=2)
    train(first, callbacks=[Checkpoint(tmp_path / "run.npz")])
    first.save(tmp_path / "game.keras")
    assert train(resumed, epochs=2, callbacks=[Checkpoint(tmp_path / "run.npz")]) == history
    assert_equal(state(resumed), state(whole))

    loaded = keras.saving.load_model(tmp_path / "game.keras")
    assert_equal([loaded.sample(5, 0, labels=1)], [first.sample(5, 0, labels=1)])
    loaded.noise.state.assign(first.noise.state)  # which no file of Keras keeps
    loaded.run_eagerly = True
    train(loaded)
    assert_equal(state(loaded), state(whole))


def test_a_checkpoint_of_other_labels_is_refused(tmp_path):
    train(make(run_eagerly=True), callbacks=[Checkpoint(tmp_path / "run.npz")])
    labels = LABELS.copy()
    labels[0] = 1
    with pytest.raises(ValueError, match=r"belongs to another training\. Its first batch of data was another one"):
        train(make(run_eagerly=True), pairs(labels=labels), epochs=2, callbacks=[Checkpoint(tmp_path / "run.npz")])


def test_a_conditional_generator_is_saved_alone_and_exported(tmp_path):
    gan = make()
    gan.generator.save(tmp_path / "generator.keras")
    z, labels = gan.latent(4, seed=0), one_hot([0, 1, 2, 0])
    loaded = keras.saving.load_model(tmp_path / "generator.keras")
    np.testing.assert_allclose(loaded([z, labels]), gan.sample(4, seed=0), atol=1e-6)
    gan.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(exported.serve([z, labels]), gan.sample(4, seed=0), atol=1e-6)
