import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from gan_utils import losses

# D = 4/5 and 1/2 on the real samples, 1/4 and 1/2 on the fakes.
REAL = np.log([[4.0], [1.0]])
FAKE = np.log([[1 / 3], [1.0]])

# D's loss, for each player's samples:
#   real, α = 0:    (−log 4/5 − log 1/2) / 2                        = (0.223144 + 0.693147) / 2 = 0.458145
#   real, α = 0.1:  (−0.9 log 4/5 − 0.1 log 1/5 − log 1/2) / 2      = (0.361773 + 0.693147) / 2 = 0.527460
#   fake, β = 0:    (−log 3/4 − log 1/2) / 2                        = (0.287682 + 0.693147) / 2 = 0.490415
#   fake, β = 0.2:  (−0.2 log 1/4 − 0.8 log 3/4 − log 1/2) / 2      = (0.507405 + 0.693147) / 2 = 0.600276
# G's loss, minimax: the fake term with the other sign. Non-saturating: (−log 1/4 − log 1/2) / 2 = 1.039721.
TABLE = [
    (losses.minimax, 0.0, 0.0, 0.458145 + 0.490415, -0.490415),
    (losses.minimax, 0.1, 0.0, 0.527460 + 0.490415, -0.490415),
    (losses.minimax, 0.0, 0.2, 0.458145 + 0.600276, -0.600276),
    (losses.minimax, 0.1, 0.2, 0.527460 + 0.600276, -0.600276),
    (losses.non_saturating, 0.0, 0.0, 0.458145 + 0.490415, 1.039721),
    (losses.non_saturating, 0.1, 0.0, 0.527460 + 0.490415, 1.039721),
    (losses.non_saturating, 0.0, 0.2, 0.458145 + 0.600276, 1.039721),
    (losses.non_saturating, 0.1, 0.2, 0.527460 + 0.600276, 1.039721),
]
OBJECTIVES = [losses.minimax, losses.non_saturating]


def gradient(loss, logits):
    logits = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = loss(logits)
    return tape.gradient(value, logits).numpy()


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits)))


@pytest.mark.parametrize(("make", "alpha", "beta", "d_loss", "g_loss"), TABLE)
def test_losses_agree_with_hand_worked_values(make, alpha, beta, d_loss, g_loss):
    objective = make(label_smoothing=alpha, fake_smoothing=beta)
    assert float(objective.discriminator(REAL, FAKE)) == pytest.approx(d_loss, abs=2e-6)
    assert float(objective.generator(FAKE)) == pytest.approx(g_loss, abs=2e-6)


def test_the_discriminator_of_minimax_minimises_minus_the_value_of_the_game():
    value = np.mean(np.log(sigmoid(REAL))) + np.mean(np.log(1 - sigmoid(FAKE)))
    assert float(losses.minimax().discriminator(REAL, FAKE)) == pytest.approx(-value, abs=1e-12)


def test_the_undecided_discriminator_costs_log_4():
    undecided = np.zeros((5, 1))
    assert float(losses.minimax().discriminator(undecided, undecided)) == pytest.approx(1.386294, abs=1e-6)


def test_the_losses_are_means_so_that_the_batch_size_does_not_matter():
    for make in OBJECTIVES:
        objective = make()
        twice = np.concatenate([FAKE, FAKE])
        assert float(objective.generator(twice)) == pytest.approx(float(objective.generator(FAKE)))
        once = float(objective.discriminator(REAL, FAKE))
        assert float(objective.discriminator(REAL, twice)) == pytest.approx(once)


@pytest.mark.parametrize("logit", [-20.0, -1.0, 0.0, 1.0, 20.0])
def test_the_generators_gradient_vanishes_under_minimax_where_it_is_largest_under_non_saturating(logit):
    minimax = gradient(losses.minimax().generator, [[logit]])
    non_saturating = gradient(losses.non_saturating().generator, [[logit]])
    np.testing.assert_allclose(minimax, [[-sigmoid(logit)]], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(non_saturating, [[sigmoid(logit) - 1]], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (0.1, 0.0), (0.1, 0.2)])
def test_the_discriminators_gradient_is_its_probability_minus_the_target(alpha, beta):
    objective = losses.minimax(alpha, beta)
    on_real = gradient(lambda logits: objective.discriminator(logits, FAKE), REAL)
    on_fake = gradient(lambda logits: objective.discriminator(REAL, logits), FAKE)
    np.testing.assert_allclose(on_real, (sigmoid(REAL) - (1 - alpha)) / 2, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(on_fake, (sigmoid(FAKE) - beta) / 2, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("make", OBJECTIVES)
@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (0.1, 0.2)])
def test_extreme_logits_give_finite_losses_and_gradients(make, alpha, beta):
    objective = make(alpha, beta)
    extreme = np.array([[-1000.0], [1000.0]], dtype=np.float32)
    for loss in (
        objective.generator,
        lambda logits: objective.discriminator(logits, tf.zeros((2, 1))),
        lambda logits: objective.discriminator(tf.zeros((2, 1)), logits),
    ):
        assert np.isfinite(loss(tf.constant(extreme)))
        assert np.isfinite(gradient(loss, extreme)).all()


def test_a_confident_mistake_costs_its_logit():
    # −log sigmoid(−1000) = 1000, which log(sigmoid(l)) would call infinite
    assert float(losses.cross_entropy(tf.constant([[-1000.0]]), 1.0)) == pytest.approx(1000.0)
    assert float(losses.cross_entropy(tf.constant([[1000.0]]), 0.0)) == pytest.approx(1000.0)
    assert float(losses.cross_entropy(tf.constant([[1000.0]]), 1.0)) == pytest.approx(0.0)


def test_the_cross_entropy_is_least_where_the_probability_is_the_target():
    # −0.8 log 0.8 − 0.2 log 0.2 = 0.178515 + 0.321888
    logits = np.log([[4.0]])
    assert float(losses.cross_entropy(logits, 0.8)) == pytest.approx(0.500402, abs=1e-6)
    np.testing.assert_allclose(gradient(lambda values: losses.cross_entropy(values, 0.8), logits), 0.0, atol=1e-12)


@pytest.mark.parametrize("make", OBJECTIVES)
def test_label_smoothing_is_one_sided(make):
    plain, smooth = make(), make(label_smoothing=0.3)
    for fake in (FAKE, FAKE + 3.0):
        np.testing.assert_array_equal(smooth.generator(fake), plain.generator(fake))
        on_fake = [gradient(lambda logits, o=o: o.discriminator(REAL, logits), fake) for o in (plain, smooth)]
        np.testing.assert_array_equal(*on_fake)
    added = [float(smooth.discriminator(REAL, fake) - plain.discriminator(REAL, fake)) for fake in (FAKE, FAKE + 3.0)]
    assert added[0] == pytest.approx(added[1], abs=1e-12)


@pytest.mark.parametrize("make", OBJECTIVES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_keep_the_precision_of_the_logits(make, dtype):
    objective = make(0.1, 0.2)
    real, fake = tf.constant(REAL, dtype), tf.constant(FAKE, dtype)
    assert objective.discriminator(real, fake).dtype == dtype
    assert objective.generator(fake).dtype == dtype
    assert objective.generator(fake).shape == ()


@pytest.mark.parametrize("make", OBJECTIVES)
@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan")])
def test_smoothing_outside_its_range_is_refused(make, value):
    with pytest.raises(ValueError, match=rf"label_smoothing={value}, fake_smoothing=0.0.*\[0, 1\)"):
        make(label_smoothing=value)
    with pytest.raises(ValueError, match=rf"label_smoothing=0.0, fake_smoothing={value}.*\[0, 1\)"):
        make(fake_smoothing=value)


@pytest.mark.parametrize("make", OBJECTIVES)
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.9, 0.2)])
def test_smoothing_that_would_swap_real_and_fake_is_refused(make, alpha, beta):
    with pytest.raises(ValueError, match=f"label_smoothing={alpha}, fake_smoothing={beta}.*sum must be below 1"):
        make(alpha, beta)


def test_an_objective_says_how_it_was_made_and_cannot_be_changed():
    objective = losses.non_saturating(label_smoothing=0.1)
    assert objective.name == "non_saturating(label_smoothing=0.1)"
    assert losses.minimax(0.1, 0.2).name == "minimax(label_smoothing=0.1, fake_smoothing=0.2)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        objective.name = "another"


@pytest.mark.parametrize("make", losses.MAKERS.values())
@pytest.mark.parametrize("smoothing", [{}, {"label_smoothing": 1 / 3}, {"label_smoothing": 0.1, "fake_smoothing": 0.2}])
def test_an_objective_is_found_again_by_its_name(make, smoothing):
    objective, real, fake = make(**smoothing), tf.constant([[0.3], [-2.0]]), tf.constant([[1.0], [0.5]])
    again = losses.get(objective.name)
    assert again.name == objective.name
    assert again.discriminator(real, fake) == objective.discriminator(real, fake)
    assert again.generator(fake) == objective.generator(fake)


@pytest.mark.parametrize("name", ["hinge()", "minimax", "", "minimax(0.1"])
def test_an_unknown_objective_is_refused(name):
    with pytest.raises(ValueError, match=r"expected one of minimax\(\), non_saturating\(\)"):
        losses.get(name)
