import hashlib
import json

import keras
import numpy as np
import pytest
from keras import activations, layers

from gan_utils import data, models


def test_the_default_networks_are_the_classic_ones():
    # 100·256 + 256 + 256·512 + 512 + 512·1024 + 1024 + 1024·784 + 784
    assert models.mlp_generator().count_params() == 1_486_352
    # 784·1024 + 1024 + 1024·512 + 512 + 512·256 + 256 + 256 + 1
    assert models.mlp_discriminator().count_params() == 1_460_225


def test_the_shapes_are_those_asked_for():
    generator, discriminator = models.mlp_generator(5, (4, 6, 3), (8,)), models.mlp_discriminator((4, 6, 3), (8,))
    assert generator.input_shape == (None, 5)
    assert generator.output_shape == discriminator.input_shape == (None, 4, 6, 3)
    assert discriminator.output_shape == (None, 1)


def test_the_generator_stays_within_the_range_of_images():
    generator = models.mlp_generator(5, (4, 4, 1), (8,))
    images = generator(np.random.default_rng(0).normal(scale=100.0, size=(50, 5))).numpy()
    assert np.abs(images).max() <= 1.0
    assert images.min() < -0.9
    assert images.max() > 0.9


def test_without_an_activation_the_generator_leaves_the_range():
    generator = models.mlp_generator(5, (2,), (8,), output_activation=None)
    assert np.abs(generator(np.full((1, 5), 1000.0))).max() > 1.0


def test_the_discriminator_returns_logits():
    keras.utils.set_random_seed(0)
    discriminator = models.mlp_discriminator((2,), (8,))
    assert discriminator.layers[-1].activation is activations.linear
    logits = discriminator(np.random.default_rng(0).normal(scale=1000.0, size=(50, 2))).numpy()
    assert logits.min() < 0.0  # a probability would be neither below 0 ...
    assert logits.max() > 1.0  # ... nor above 1


def test_hidden_units_leak_a_fifth_of_what_is_negative():
    for network in (models.mlp_generator(2, (2,), (4, 4)), models.mlp_discriminator((2,), (4, 4))):
        leaks = [layer for layer in network.layers if isinstance(layer, layers.LeakyReLU)]
        assert [layer.negative_slope for layer in leaks] == [0.2, 0.2]


def test_the_discriminator_drops_units_in_training_only():
    discriminator = models.mlp_discriminator((2,), (64, 64), dropout_rate=0.5)
    samples = np.ones((1, 2))
    in_training = [discriminator(samples, training=True).numpy() for _ in range(3)]
    assert np.unique(in_training).size == 3
    assert discriminator(samples).numpy() == discriminator(samples).numpy()


def test_the_generator_drops_nothing():
    generator = models.mlp_generator(2, (3,), (64, 64))
    latent = np.ones((1, 2))
    np.testing.assert_array_equal(generator(latent, training=True), generator(latent))


def test_a_dropout_rate_of_0_makes_no_dropout_layer():
    def dropouts(**rate):
        network = models.mlp_discriminator((2,), (4, 4), **rate)
        return [layer.rate for layer in network.layers if isinstance(layer, layers.Dropout)]

    assert dropouts() == [0.5, 0.5]
    assert dropouts(dropout_rate=0.25) == [0.25, 0.25]
    assert dropouts(dropout_rate=0.0) == []


def test_no_hidden_layer_makes_a_linear_discriminator():
    discriminator = models.mlp_discriminator((3,), hidden_units=())
    assert discriminator.count_params() == 4


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": 2.0}, "latent_dim"),
        ({"output_shape": (28, -28, 1)}, "output_shape"),
        ({"hidden_units": (8, 0)}, "hidden_units"),
        ({"hidden_units": (8, 2.5)}, "hidden_units"),
    ],
)
def test_a_generator_of_impossible_size_is_refused(sizes, named):
    with pytest.raises(ValueError, match=rf"Got {named}=.*expected .*positive whole number"):
        models.mlp_generator(**sizes)


@pytest.mark.parametrize(("sizes", "named"), [({"input_shape": (0,)}, "input_shape"), ({"hidden_units": (0,)}, "hidd")])
def test_a_discriminator_of_impossible_size_is_refused(sizes, named):
    with pytest.raises(ValueError, match=rf"Got {named}.*\(0,\).*expected .*positive whole number"):
        models.mlp_discriminator(**sizes)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 50, float("nan")])
def test_a_dropout_rate_that_is_no_share_is_refused(rate):
    with pytest.raises(ValueError, match=rf"Got dropout_rate={rate}, expected .*\[0, 1\)"):
        models.mlp_discriminator((2,), (4,), dropout_rate=rate)


@pytest.mark.parametrize(("image_size", "convolutions"), [(28, 3), (32, 3), (64, 4)])
def test_dcgan_networks_mirror_each_other(image_size, convolutions):
    generator = models.dcgan_generator(image_size, channels=3, latent_dim=7, base_filters=8)
    discriminator = models.dcgan_discriminator(image_size, channels=3, base_filters=8)
    assert generator.input_shape == (None, 7)
    assert generator.output_shape == discriminator.input_shape == (None, image_size, image_size, 3)
    assert discriminator.output_shape == (None, 1)
    down = [layer.filters for layer in discriminator.layers if isinstance(layer, layers.Conv2D)]
    up = [layer.filters for layer in generator.layers if isinstance(layer, layers.Conv2DTranspose)]
    assert down == [8 * 2**index for index in range(convolutions)]
    assert up == [*reversed(down[:-1]), 3]


def test_the_dcgan_of_the_digits_has_the_weights_counted_by_hand():
    # 100·4·4·256 + 4·256 of batch norm; 4·4·256·128 + 4·128; 4·4·128·64 + 4·64; 4·4·64·1 + 1
    assert models.dcgan_generator().count_params() == 409_600 + 1_024 + 524_288 + 512 + 131_072 + 256 + 1_025
    # 4·4·1·64 + 64; 4·4·64·128 + 4·128; 4·4·128·256 + 4·256; 4·4·256 + 1
    assert models.dcgan_discriminator().count_params() == 1_088 + 131_072 + 512 + 524_288 + 1_024 + 4_097


def test_28_pixels_are_the_middle_of_32():
    small, large = models.dcgan_generator(28, base_filters=4), models.dcgan_generator(32, base_filters=4)
    large.set_weights(small.get_weights())
    latent = np.random.default_rng(0).normal(size=(3, 100)).astype("float32")
    np.testing.assert_array_equal(small(latent), large(latent)[:, 2:-2, 2:-2])


def test_dcgan_networks_follow_the_guidelines():
    generator, discriminator = models.dcgan_generator(32, 3), models.dcgan_discriminator(32, 3)
    kinds = [[type(layer).__name__ for layer in network.layers] for network in (generator, discriminator)]
    block = ["BatchNormalization", "ReLU", "Conv2DTranspose"]
    assert kinds[0] == ["Dense", "Reshape", *block, *block, *block]
    block = ["Conv2D", "BatchNormalization", "LeakyReLU"]
    assert kinds[1] == ["Conv2D", "LeakyReLU", *block, *block, "Flatten", "Dense"]
    for layer in [*generator.layers, *discriminator.layers]:
        if isinstance(layer, layers.Conv2D | layers.Conv2DTranspose):
            assert layer.strides == (2, 2)
            assert layer.kernel_size == (4, 4)
        if isinstance(layer, layers.LeakyReLU):
            assert layer.negative_slope == 0.2
    assert generator.layers[-1].activation is activations.tanh
    assert discriminator.layers[-1].activation is activations.linear


def test_dcgan_weights_begin_with_a_standard_deviation_of_2_hundredths():
    keras.utils.set_random_seed(0)
    for network in (models.dcgan_generator(), models.dcgan_discriminator()):
        for weight in network.trainable_weights:
            if weight.path.endswith("kernel"):
                assert np.std(weight) == pytest.approx(0.02, rel=0.1), weight.path
                assert abs(np.mean(weight)) < 0.004, weight.path


def test_the_batch_norm_of_a_dcgan_forgets_a_tenth_a_step_and_divides_by_no_less_than_its_epsilon():
    for network in (models.dcgan_generator(base_filters=2), models.dcgan_discriminator(base_filters=2)):
        found = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
        assert [(layer.momentum, layer.epsilon) for layer in found] == [(0.9, 1e-5)] * len(found)
        assert len(found) >= 2
        *extents, channels = found[0].input.shape[1:]
        ones = np.ones((2, *extents, channels), np.float32)
        batch = ones * np.float32(0.01) * np.array([1.0, 3.0], np.float32).reshape(2, 1, 1, 1)  # of mean 0.02
        # The variance is 0.01² = 1e-4: −0.01 and 0.01 from the mean, divided by √(1e-4 + 1e-5), are ∓0.953463.
        normalised = found[0](batch, training=True)
        np.testing.assert_allclose(normalised, ones * np.array([-0.953463, 0.953463]).reshape(2, 1, 1, 1), rtol=1e-3)
        # The mean goes from 0 to 0.1·0.02, the variance from 1 to 0.9 + 0.1·1e-4.
        np.testing.assert_allclose(found[0].moving_mean, 0.002, rtol=1e-5)
        np.testing.assert_allclose(found[0].moving_variance, 0.90001, rtol=1e-6)
        # (0.5 − 0.002)/√(0.90001 + 1e-5)
        np.testing.assert_allclose(found[0](0.5 * ones), 0.498 / np.sqrt(0.90002), rtol=1e-6)


@pytest.mark.parametrize(
    ("builder", "sizes", "message"),
    [
        (models.dcgan_generator, {"image_size": 48}, r"Got image_size=48, expected one of \[28, 32, 64\]"),
        (models.dcgan_discriminator, {"image_size": 27}, r"Got image_size=27, expected one of"),
        (models.dcgan_generator, {"base_filters": 0}, r"Got base_filters=\(0,\), expected positive"),
        (models.dcgan_discriminator, {"channels": 1.5}, r"Got channels=\(1.5,\), expected positive"),
        (models.dcgan_generator, {"latent_dim": -1}, r"Got latent_dim=\(-1,\), expected positive"),
    ],
)
def test_an_impossible_dcgan_is_refused(builder, sizes, message):
    with pytest.raises(ValueError, match=message):
        builder(**sizes)


def test_a_shipped_network_is_loaded_as_it_was_trained():
    images, labels = data.load_mnist("test")
    network = models.load_pretrained("mnist_classifier")
    features, logits = network.predict(images, batch_size=500, verbose=0)
    assert features.shape == (10_000, 128)
    accuracy = (logits.argmax(axis=1) == labels).mean()
    manifest = json.loads(data.shipped_file("mnist.npz").with_name("manifest.json").read_text("utf-8"))
    assert accuracy >= 0.992
    assert manifest["pretrained/mnist_classifier.keras"]["scores"]["test_accuracy"] == pytest.approx(accuracy, abs=2e-4)


def test_every_shipped_network_is_in_the_manifest_and_small():
    folder = data.shipped_file("mnist.npz").parent
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    files = {f"pretrained/{path.name}": path for path in (folder / "pretrained").iterdir()}
    assert {name for name in manifest if name.startswith("pretrained/")} == set(files)
    for name, path in files.items():
        assert {"sha256", "what", "origin", "budget", "scores", "licence"} <= set(manifest[name])
        assert path.stat().st_size <= 6 * 2**20
        models.load_pretrained(path.stem)


def test_a_damaged_missing_or_unknown_network_is_named(tmp_path, monkeypatch):
    source = data.shipped_file("pretrained/mnist_classifier.keras")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    names = ("damaged", "missing")
    manifest = {f"pretrained/{name}.keras": {"sha256": digest} for name in names}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "pretrained").mkdir()
    (tmp_path / "pretrained" / "damaged.keras").write_bytes(source.read_bytes()[:-1])
    monkeypatch.setattr(data, "_FOLDERS", (tmp_path,))
    with pytest.raises(ValueError, match=r"damaged\.keras is damaged: its sha256 .*git checkout"):
        models.load_pretrained("damaged")
    with pytest.raises(FileNotFoundError, match=r"pretrained/missing\.keras is missing.*git checkout"):
        models.load_pretrained("missing")
    with pytest.raises(ValueError, match=r"Got the name 'pretrained/unknown\.keras', expected one of .*damaged"):
        models.load_pretrained("unknown")
