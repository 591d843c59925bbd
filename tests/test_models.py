import numpy as np
import pytest
from keras import activations, layers

from gan_utils import models


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
