"""What the studies of mode collapse count and build, against numbers worked out by hand."""

import balance
import collapse
import keras
import numpy as np
import pytest
import stacked
import tensorflow as tf

from gan_utils import data, diversity
from gan_utils.training import Batch

CENTERS = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def test_what_is_counted_of_a_cloud():
    """Five samples at mode 0, of which four are good, three at mode 1, of which none is, and none at the others."""
    samples = np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [4, 4], [6, 0], [14, 0], [10, 4]], np.float64)
    found = collapse.counts(samples, CENTERS, std=1.0)
    shares = np.array([5, 3]) / 8
    kl = float(np.sum(shares * np.log(4 * shares)))
    assert found == {
        "near": 2,
        "covered": 1,
        "good": 0.5,
        "kl": pytest.approx(kl, rel=1e-3),
        "kl_good": pytest.approx(np.log(4), rel=1e-3),
        "spread": pytest.approx(4 / (2 * 3), rel=1e-3),
    }


def test_a_mode_that_few_are_near_is_not_counted():
    samples = np.repeat(CENTERS[:1], 1000, axis=0)
    samples[:10] = CENTERS[1]
    assert collapse.counts(samples, CENTERS, 1.0)["near"] == 1  # ten of a thousand are not more than 1 %
    samples[10] = CENTERS[1]
    assert collapse.counts(samples, CENTERS, 1.0)["near"] == 2


def test_counts_of_the_data_and_of_nothing():
    found = collapse.counts(data.gaussian_mixture(20_000, CENTERS, 0.1), CENTERS, 0.1)
    assert (found["near"], found["covered"]) == (4, 4)
    # good: 1 − exp(−9/2). Their variance: σ²·(1 − 4.5·e^−4.5/(1 − e^−4.5)) = 0.949 σ²
    assert found["good"] == pytest.approx(1 - np.exp(-4.5), abs=0.003)
    assert found["spread"] == pytest.approx(1 - 4.5 * np.exp(-4.5) / (1 - np.exp(-4.5)), abs=0.03)
    assert found["kl"] < 0.001
    assert set(collapse.counts(np.full((3, 2), np.nan), CENTERS, 0.1).values()) == {None}
    bad = collapse.counts(np.full((3, 2), 5.0), CENTERS, 0.1)
    assert (bad["covered"], bad["good"], bad["kl_good"], bad["spread"]) == (0, 0.0, None, None)


def test_half_of_the_fakes_are_recalled():
    gan = collapse.build("memory of fakes", np.zeros((2, 2)))
    gan.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
    real = Batch(tf.zeros((128, 2)), tf.fill((128,), -1))
    met = []
    for number in range(1, 61):
        fake = real._replace(samples=tf.fill((128, 2), float(number)))
        samples = gan.both_judged(real, fake)[1].samples.numpy()
        assert (samples[:64] == number).all()
        assert len(np.unique(samples[64:])) == 1
        met.append(samples[-1, 0])
    assert met[:2] == [1.0, 1.0]  # of itself, as nothing else is there
    assert all(1 <= old < number and old >= number - 50 for number, old in enumerate(met[1:], start=2))
    assert len(set(met)) > 20


@pytest.mark.parametrize("method", collapse.METHODS)
def test_each_method_takes_a_step(method):
    keras.utils.set_random_seed(0)
    real = data.gaussian_mixture(128, collapse.CENTERS["ring of 8"][0], 0.02)
    gan = collapse.build(method, real)
    both = (keras.optimizers.Adam() for _ in range(2))
    gan.compile(*both, penalty=collapse.METHODS[method].penalty, run_eagerly=True)
    before = [weight.numpy() for weight in gan.generator.trainable_variables]
    gan.train_step(tf.constant(real))
    assert all(np.isfinite(metric.result()) for metric in gan.metrics)
    assert any((old != new).any() for old, new in zip(before, gan.generator.trainable_variables, strict=True))


def test_minibatch_discrimination_is_adapted_where_it_says_so():
    real = data.gaussian_mixture(128, collapse.CENTERS["ring of 8"][0], 0.02)
    for method, is_adapted in (("minibatch discrimination", True), ("minibatch discrimination, scale as drawn", False)):
        layer = collapse.build(method, real).discriminator.layers[-2]
        assert isinstance(layer, diversity.MinibatchDiscrimination)
        assert bool((layer.offset.numpy() != 0).all()) == is_adapted


def test_the_rows_of_the_table():
    rows = collapse.settings("ring of 8")
    assert len(rows) == 2 * len(collapse.METHODS) - 2 + 4 + 1
    assert len({tuple(row.values()) for row in rows.values()}) == len(rows)
    unrolled = [row for row in rows.values() if row["method"].startswith("unrolled")]
    assert sorted(row["objective"] for row in unrolled) == ["minimax"] * 3 + ["non-saturating"] * 4


def test_modes_of_stacked_digits():
    shares = np.full(10, 0.1)
    every = np.stack(np.meshgrid(*[np.arange(10)] * 3), axis=-1).reshape(-1, 3)
    assert stacked.counts(every, shares) == {"modes": 1000, "kl": pytest.approx(0.0, abs=1e-9)}
    assert stacked.counts(every[:1], shares) == {"modes": 1, "kl": pytest.approx(np.log(1000), abs=1e-4)}
    ones = np.array([[1, 1, 1], [1, 1, 2]])
    uneven = np.array([0.0, 0.6, 0.4] + [0.0] * 7)
    kl = 0.5 * np.log(0.5 / 0.216) + 0.5 * np.log(0.5 / 0.144)
    assert stacked.counts(ones, uneven) == {"modes": 2, "kl": pytest.approx(kl, abs=1e-4)}


def test_stacks_are_of_digits_drawn_one_by_one():
    digits = np.linspace(-1.0, 1.0, 256)[:, np.newaxis, np.newaxis, np.newaxis] * np.ones((1, 28, 28, 1))
    first, second = stacked.stacks(digits, seed=1).take(2)
    again = next(iter(stacked.stacks(digits, seed=1)))
    assert first.shape == (64, 28, 28, 3)
    np.testing.assert_array_equal(first, again)
    tones = np.rint((np.concatenate([first, second])[:, 0, 0] + 1) * 127.5)  # (128, 3)
    np.testing.assert_array_equal(np.ptp(np.concatenate([first, second]), axis=(1, 2)), 0.0)
    assert len(np.unique(tones)) > 150  # of 256, in 384 draws
    assert np.abs(np.corrcoef(tones.T)[np.triu_indices(3, 1)]).max() < 0.4
    assert (stacked.stacks(digits, seed=2).take(1).get_single_element() != first).numpy().any()


def test_the_channels_are_read_one_by_one():
    images, labels = data.load_mnist("test")
    stack = images[:12].reshape(4, 3, 28, 28).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(stacked.read(stack), labels[:12].reshape(4, 3))


@pytest.mark.parametrize(("method", "outputs"), [("plain", 4), ("PacGAN 2", 2), ("minibatch deviation", 4)])
def test_the_discriminators_of_stacks(method, outputs):
    network = stacked.METHODS[method](4)
    assert network(np.zeros((4, 28, 28, 3), np.float32)).shape == (outputs, 1)
    assert network.input_shape == (None, 28, 28, 3)
    more = network.count_params() - stacked.critic(4).count_params()
    assert more == {"plain": 0, "PacGAN 2": 4 * 4 * 3 * 4, "minibatch deviation": 4 * 4}[method]


@pytest.mark.parametrize(("logit", "expected"), [(0.0, balance.AT_MOST), (5.0, 0)])
def test_a_schedule_leaves_out_the_steps_of_a_d_that_is_right(logit, expected):
    generator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    weight = keras.initializers.Constant(logit)  # real samples are 1 and fakes 0: right about all with 2x − 1, times 5
    discriminator = keras.Sequential(
        [keras.Input((1,)), keras.layers.Rescaling(2.0, -1.0), keras.layers.Dense(1, kernel_initializer=weight)]
    )
    gan = balance.Scheduled(generator, discriminator, latent_dim=2, at_most=balance.AT_MOST)
    gan.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))  # nobody learns, so nobody becomes right
    gan.fit(tf.data.Dataset.from_tensors(tf.ones((8, 1))), verbose=0)
    assert int(gan.d_optimizer.iterations) == expected
