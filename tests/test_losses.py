import dataclasses
import fractions
import re

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


@pytest.mark.parametrize("make", OBJECTIVES)
@pytest.mark.parametrize("smoothing", [{}, {"label_smoothing": 1 / 3}, {"label_smoothing": 0.1, "fake_smoothing": 0.2}])
def test_an_objective_is_found_again_by_its_name(make, smoothing):
    objective, real, fake = make(**smoothing), tf.constant([[0.3], [-2.0]]), tf.constant([[1.0], [0.5]])
    again = losses.get(objective.name)
    assert again.name == objective.name
    assert again.discriminator(real, fake) == objective.discriminator(real, fake)
    assert again.generator(fake) == objective.generator(fake)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("minimax()", losses.minimax()),
        ("minimax(label_smoothing=0.1, fake_smoothing=0.2)", losses.minimax(0.1, 0.2)),
        ("non_saturating(label_smoothing=1e-05)", losses.non_saturating(np.float64(1e-5))),
        ("least_squares()", losses.least_squares(0, 1, 1)),
        ("least_squares(fake=-1.0, target=0.0)", losses.least_squares(fake=-1, real=1, target=0)),
        ("least_squares(real=0.9)", losses.least_squares(real=0.9)),
        ("wasserstein()", losses.wasserstein()),
        ("hinge()", losses.hinge()),
        ("relativistic()", losses.relativistic()),
        ("kl()", losses.f_divergence("kl")),
        ("reverse_kl(non_saturating=True)", losses.f_divergence("reverse_kl", non_saturating=True)),
        ("pearson()", losses.f_divergence("pearson", False)),
        ("squared_hellinger()", losses.f_divergence("squared_hellinger")),
        ("jensen_shannon(non_saturating=True)", losses.f_divergence("jensen_shannon", True)),
    ],
)
def test_the_name_of_an_objective_is_the_call_that_makes_it(name, made):
    again = losses.get(name)
    assert made.name == again.name == name
    assert (again.probabilistic, again.paired) == (made.probabilistic, made.paired)
    assert again.discriminator(R, G) == made.discriminator(R, G)
    assert generator_loss(again, R, G) == generator_loss(made, R, G)


def test_settings_at_their_defaults_may_be_given_too():
    name = "least_squares(fake=-1.0, real=1.0, target=0.0)"
    assert losses.get(name).name == "least_squares(fake=-1.0, target=0.0)"
    assert losses.get("kl(non_saturating=False)").name == "kl()"


def test_the_makers_are_all_there():
    games = ["minimax", "non_saturating", "least_squares", "wasserstein", "hinge", "relativistic"]
    assert list(losses.MAKERS) == [*games, *DIVERGENCES]
    assert [name for name, make in losses.MAKERS.items() if make().probabilistic] == ["minimax", "non_saturating"]
    assert [name for name, make in losses.MAKERS.items() if make().paired] == ["relativistic"]
    assert [make().name for make in losses.MAKERS.values()] == [f"{name}()" for name in losses.MAKERS]


@pytest.mark.parametrize(
    "name",
    [
        "softplus()",  # no such maker
        "minimax",
        "",
        "minimax(0.1",
        "minimax(0.1)",
        "get(name=1)",
        "minimax() ",
        "minimax();hinge()",
        "kl(fake=1.0)",  # another maker's setting
        "kl(name=1)",
        "least_squares(fake=)",
        "least_squares(fake=1.2.3)",
        "least_squares(fake=0.0, fake=0.5)",
        "least_squares(fake=0.0 real=1.0)",
        "least_squares(fake=0.0, )",
        "least_squares(fake=True)",  # values that the maker refuses
        "least_squares(fake=nan)",
        "least_squares(fake=1.0)",
        "kl(non_saturating=1)",
        "kl(non_saturating=None)",
        "hinge(margin=1.0)",
        pytest.param(f"least_squares(fake={10_000 * '-'}1.0)", id="deeper than Python reads"),
        None,
        b"minimax()",
    ],
)
def test_an_unknown_objective_is_refused_with_all_that_there_are(name):
    with pytest.raises(ValueError, match=r"^Got the objective .* expected one of minimax\(label_sm") as caught:
        losses.get(name)
    message = str(caught.value)
    assert repr(name) in message
    assert all(f"{maker}(" in message for maker in losses.MAKERS)
    assert "least_squares(fake=0.0, real=1.0, target=1.0), wasserstein()" in message
    assert message.endswith("jensen_shannon(non_saturating=False).")


@pytest.mark.parametrize(
    "code", ["__import__('os')", "print()", "0.1or[print()]", "losses", "(print(),)", "f'{print()}'"]
)
@pytest.mark.parametrize("form", ["{}", "minimax({})", "minimax(label_smoothing={})", "kl(non_saturating={})", "{}()"])
def test_no_part_of_a_name_is_run(capsys, code, form):
    with pytest.raises(ValueError, match="expected one of minimax"):
        losses.get(form.format(code))
    assert capsys.readouterr().out == ""


def test_the_flags_of_an_objective_are_given_by_name_and_are_true_or_false():
    plain = losses.Objective("own", max, max)
    assert (plain.probabilistic, plain.paired) == (True, False)
    assert losses.Objective("own", max, max, paired=True).paired
    with pytest.raises(TypeError, match="positional"):
        losses.Objective("own", max, max, True)
    for flag in ("probabilistic", "paired"):
        with pytest.raises(TypeError, match=f"{flag}='no'.*expected True or False"):
            losses.Objective("own", max, max, **{flag: "no"})


# The other objectives, on two real and two generated samples

R = np.array([[2.0], [0.5]])
G = np.array([[-1.0], [1.5]])

# Squares: r − 1 = 1, −½; g = −1, 1½; g − 1 = −2, ½; g + 1 = 0, 2½
#   0, 1, 1:    D (1 + 0.25)/4 + (1 + 2.25)/4 = 0.3125 + 0.8125      G (4 + 0.25)/4
#   −1, 1, 0:   D (1 + 0.25)/4 + (0 + 6.25)/4 = 0.3125 + 1.5625      G (1 + 2.25)/4
# Means: r 1.25, g 0.25. Hinge: (0 + 0.5)/2 + (0 + 2.5)/2
# Relativistic, r − g = 3, −1:  softplus(−3), (1) = 0.048587, 1.313262;  softplus(3), (−1) = 3.048587, 0.313262
# kl:                 T(r) = r                   f*(T(g)) = e⁻², e^0.5 = 0.135335, 1.648721             T(g) = g
# reverse_kl:         T(r) = −0.135335, −0.606531                   = −2, 0.5             T(g) = −2.718282, −0.223130
# pearson:            T(r) = r                            = 0.25 − 1, 0.5625 + 1.5 = −0.75, 2.0625      T(g) = g
# squared_hellinger:  T(r) = 0.864665, 0.393469                     = −0.632121, 3.481689  T(g) = −1.718282, 0.776870
# jensen_shannon:     T(r) = 0.566219, 0.219070                     = −0.379885, 1.008266  T(g) = −0.620115, 0.491734
# with e⁻², e^−1.5, e⁻¹, e^−0.5, e, e^1.5 = 0.135335, 0.223130, 0.367879, 0.606531, 2.718282, 4.481689, and log 2 and
# softplus(−2), (−1.5), (−1), (−0.5), (1), (1.5) = 0.693147, 0.126928, 0.201413, 0.313262, 0.474077, 1.313262, 1.701413
LITERALS = {
    "least_squares()": (1.125, 1.0625),
    "least_squares(fake=-1.0, target=0.0)": (1.875, 0.8125),
    "wasserstein()": (0.25 - 1.25, -0.25),
    "hinge()": (1.5, -0.25),
    "relativistic()": (0.6809245, 1.6809245),
    "kl()": (0.892028 - 1.25, -0.892028),
    "kl(non_saturating=True)": (0.892028 - 1.25, -0.25),
    "reverse_kl()": (-0.75 + 0.370933, 0.75),
    "reverse_kl(non_saturating=True)": (-0.75 + 0.370933, 1.470706),
    "pearson()": (0.65625 - 1.25, -0.65625),
    "pearson(non_saturating=True)": (0.65625 - 1.25, -0.25),
    "squared_hellinger()": (1.424784 - 0.629067, -1.424784),
    "squared_hellinger(non_saturating=True)": (1.424784 - 0.629067, 0.470706),
    "jensen_shannon()": (0.3141905 - 0.3926445, -0.3141905),
    "jensen_shannon(non_saturating=True)": (0.3141905 - 0.3926445, 0.0641905),
}
GAMES = [losses.get(name) for name in ("minimax()", "non_saturating()", *LITERALS)]


def generator_loss(objective, real, fake):
    return objective.generator(fake, real) if objective.paired else objective.generator(fake)


@pytest.mark.parametrize("name", LITERALS)
def test_the_other_losses_agree_with_hand_worked_values(name):
    objective = losses.get(name)
    d_loss, g_loss = LITERALS[name]
    assert float(objective.discriminator(R, G)) == pytest.approx(d_loss, abs=2e-6)
    assert float(generator_loss(objective, R, G)) == pytest.approx(g_loss, abs=2e-6)


@pytest.mark.parametrize("objective", GAMES, ids=lambda objective: objective.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_loss_is_a_mean_in_the_precision_of_its_logits(objective, dtype):
    real, fake = tf.constant(R, dtype), tf.constant(G, dtype)
    thrice = [tf.tile(logits, (3, 1)) for logits in (real, fake)]
    for loss in (objective.discriminator, lambda *logits: generator_loss(objective, *logits)):
        assert (loss(real, fake).shape, loss(real, fake).dtype) == ((), dtype)
        assert float(loss(*thrice)) == pytest.approx(float(loss(real, fake)), rel=1e-6)


@pytest.mark.parametrize("objective", GAMES[2:], ids=lambda objective: objective.name)
def test_logits_that_are_none_are_refused(objective):
    for wrong in (np.zeros((0, 1), np.float32), np.zeros((2, 1), np.int32)):
        with pytest.raises((TypeError, tf.errors.InvalidArgumentError)):
            objective.generator(tf.constant(wrong), *([tf.constant(wrong)] if objective.paired else []))


def test_least_squares_still_moves_a_fake_that_cross_entropy_leaves_where_it_is():
    far = np.array([[50.0]])
    assert abs(gradient(losses.non_saturating().generator, far).item()) < 1e-20
    assert gradient(losses.least_squares().generator, far).item() == 49.0
    assert gradient(losses.least_squares(-1.0, 1.0, 0.0).generator, far).item() == 50.0


def test_the_hinge_leaves_samples_beyond_its_margin_alone_but_its_generator_never_rests():
    objective, beyond = losses.hinge(), np.array([[1.5], [0.5], [-3.0], [5.0]])
    on_real = gradient(lambda logits: objective.discriminator(logits, G), beyond)
    on_fake = gradient(lambda logits: objective.discriminator(R, logits), -beyond)
    np.testing.assert_array_equal(on_real, [[0.0], [-0.25], [-0.25], [0.0]])
    np.testing.assert_array_equal(on_fake, [[0.0], [0.25], [0.25], [0.0]])
    np.testing.assert_array_equal(gradient(objective.generator, beyond), np.full((4, 1), -0.25))


def test_a_common_shift_of_all_scores_changes_nothing_for_wasserstein_and_relativistic():
    for objective in (losses.wasserstein(), losses.relativistic()):
        shifted = objective.discriminator(R + 7.0, G + 7.0)
        assert float(shifted) == pytest.approx(float(objective.discriminator(R, G)), abs=1e-12)


def test_the_relativistic_game_compares_pairs_by_position():
    # r − g = 0.5, 1.5 after the swap: softplus(−0.5), softplus(−1.5) = 0.474077, 0.201413
    objective = losses.relativistic()
    assert float(objective.discriminator(R, G[::-1])) == pytest.approx((0.474077 + 0.201413) / 2, abs=1e-6)
    assert float(objective.generator(G, R)) == float(objective.discriminator(G, R))


@pytest.mark.parametrize(("real", "fake"), [((3, 1), (2, 1)), ((3, 1), (1, 1)), ((3,), (3, 1)), ((3, 1), (3,))])
def test_relativistic_logits_that_make_no_pairs_are_refused(real, fake):
    objective, shapes = losses.relativistic(), (np.zeros(real), np.zeros(fake))
    said = re.escape(f"shapes {real} and {fake}") + ".*must be equal"
    with pytest.raises(ValueError, match=said):
        objective.discriminator(*shapes)
    with pytest.raises(ValueError, match="compared in pairs"):
        objective.generator(*shapes[::-1])


def test_relativistic_pairs_of_a_size_that_only_the_run_knows():
    batch = tf.TensorSpec((None, 1), tf.float64)
    loss = tf.function(losses.relativistic().discriminator, input_signature=(batch, batch))
    assert float(loss(R, G)) == pytest.approx(LITERALS["relativistic()"][0], abs=1e-6)


# The logits on real and on generated samples at which a float32 can still hold the loss
HUGE = {
    "least_squares()": ([-1000, 1000], [-1000, 1000]),
    "wasserstein()": ([-1000, 1000], [-1000, 1000]),
    "hinge()": ([-1000, 1000], [-1000, 1000]),
    "relativistic()": ([-1000, 1000], [1000, -1000]),
    "kl()": ([-1000, 1000], [-1000, 80]),
    "kl(non_saturating=True)": ([-1000, 1000], [-1000, 80]),
    "reverse_kl()": ([-80, 1000], [-1000, 1000]),
    "reverse_kl(non_saturating=True)": ([-80, 1000], [-80, 1000]),
    "pearson()": ([-1000, 1000], [-1000, 1000]),
    "squared_hellinger()": ([-80, 1000], [-1000, 80]),
    "squared_hellinger(non_saturating=True)": ([-80, 1000], [-80, 80]),
    "jensen_shannon()": ([-1000, 1000], [-1000, 1000]),
    "jensen_shannon(non_saturating=True)": ([-1000, 1000], [-1000, 1000]),
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_logits_give_finite_losses_and_gradients(name):
    objective = losses.get(name)
    real, fake = (np.array(logits, np.float32)[:, None] for logits in HUGE[name])
    for loss, logits in (
        (lambda logits: objective.discriminator(logits, fake), real),
        (lambda logits: objective.discriminator(real, logits), fake),
        (lambda logits: generator_loss(objective, real, logits), fake),
    ):
        assert np.isfinite(loss(tf.constant(logits)))
        assert np.isfinite(gradient(loss, logits)).all()


def test_a_logit_near_0_keeps_its_digits_in_the_hellinger_distance():
    # e^v − 1 = v + v²/2 + … and 1 − e^−v = v − v²/2 + …; subtracted in float32, 5 % of 1e-6 would be lost
    tiny = tf.constant([[1e-6]])
    for non_saturating in (False, True):
        loss = losses.f_divergence("squared_hellinger", non_saturating).generator(tiny)
        assert float(loss) == pytest.approx(-1e-6, rel=1e-5)


def test_a_pearson_generator_below_minus_2_is_driven_down_and_the_non_saturating_one_up():
    # d/dv of −(v²/4 + v) = −v/2 − 1
    low = np.array([[-3.0]])
    assert gradient(losses.f_divergence("pearson").generator, low).item() == 0.5
    assert gradient(losses.f_divergence("pearson", non_saturating=True).generator, low).item() == -1.0


# What D's best loss says: two Gaussians, P = N(0.5, 1) and Q = N(-0.3, 1.3²), by the trapezoidal rule

X, STEP = np.linspace(-14.0, 14.0, 701, retstep=True)


def density(mean, std):
    return np.exp(-(((X - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))


P, Q = density(0.5, 1.0), density(-0.3, 1.3)
RATIO = P / Q
JENSEN_SHANNON = STEP * np.sum(P * np.log(2 * P / (P + Q)) + Q * np.log(2 * Q / (P + Q))) / 2

# name: f′(u), the v that g_f makes it from, f(u), and the divergence by its definition
DIVERGENCES = {
    "kl": (lambda u: 1 + np.log(u), lambda t: t, lambda u: u * np.log(u), P * np.log(P / Q)),
    "reverse_kl": (lambda u: -1 / u, lambda t: -np.log(-t), lambda u: -np.log(u), Q * np.log(Q / P)),
    "pearson": (lambda u: 2 * (u - 1), lambda t: t, lambda u: (u - 1) ** 2, (P - Q) ** 2 / Q),
    "squared_hellinger": (
        lambda u: 1 - 1 / np.sqrt(u),
        lambda t: -np.log(1 - t),
        lambda u: (np.sqrt(u) - 1) ** 2,
        (np.sqrt(P) - np.sqrt(Q)) ** 2,
    ),
    "jensen_shannon": (
        lambda u: np.log(2 * u / (u + 1)),
        lambda t: t - np.log(2 - np.exp(t)),  # log 2 − softplus(−v) = t, so that e^v = e^t / (2 − e^t)
        lambda u: u * np.log(u) - (u + 1) * np.log((u + 1) / 2),
        P * np.log(2 * P / (P + Q)) + Q * np.log(2 * Q / (P + Q)),
    ),
}
PERTURBATIONS = {
    "shift": 1.0 + 0 * X,
    "slope": X,
    "wave": np.sin(3 * X),
    "bump": np.exp(-((X - 1) ** 2)),
    "step": X > 0,
}


def expected(loss, logits, weights):
    """E[loss of one sample] under a density that the weights give on the grid. Logits: (…, grid)."""
    flat = tf.reshape(tf.constant(logits, tf.float64), (-1, 1, 1))
    return STEP * (tf.vectorized_map(loss, flat).numpy().reshape(np.shape(logits)) * weights).sum(axis=-1)


def expected_d_loss(objective, logits):
    """D's loss if real samples have the density P, generated ones Q, and D answers with these logits on the grid."""
    zero = tf.zeros((1, 1), tf.float64)
    on_real = expected(lambda logit: objective.discriminator(logit, zero), logits, P)
    on_fake = expected(lambda logit: objective.discriminator(zero, logit), logits, Q)
    return on_real + on_fake - float(objective.discriminator(zero, zero))


def assert_none_better(objective, best):
    """No logits near the best ones give a lower loss: it grows with the square of the distance."""
    sizes = np.repeat([-0.5, -0.01, 0.01, 0.5], len(PERTURBATIONS))
    directions = np.tile(np.array(list(PERTURBATIONS.values())), (4, 1))
    more = expected_d_loss(objective, best + sizes[:, None] * directions) - expected_d_loss(objective, best)
    assert (more > 1e-3 * sizes**2).all(), (list(PERTURBATIONS), sizes, more)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_bound_of_an_f_divergence_is_the_divergence_and_no_discriminator_gives_more(name):
    derivative, inverse, f, integrand = DIVERGENCES[name]
    objective, best = losses.f_divergence(name), inverse(derivative(RATIO))
    divergence = STEP * np.sum(integrand)
    assert STEP * np.sum(Q * f(RATIO)) == pytest.approx(divergence, abs=1e-9)
    assert -expected_d_loss(objective, best) == pytest.approx(divergence, abs=1e-6)
    assert_none_better(objective, best)


def test_the_divergences_have_the_values_of_closed_forms():
    # Of N(m, s²) from N(n, t²), d = m − n:  KL = log(t/s) + (s² + d²)/(2t²) − ½,
    # Hellinger² = 2 − 2·√(2st/(s² + t²))·exp(−d²/(4(s² + t²))),  Pearson = t²/(s·√(2t² − s²))·exp(d²/(2t² − s²)) − 1
    shares = {name: STEP * np.sum(integrand) for name, (*_, integrand) in DIVERGENCES.items()}
    assert shares["kl"] == pytest.approx(np.log(1.3) + 1.64 / 3.38 - 0.5, abs=1e-9)
    assert shares["reverse_kl"] == pytest.approx(-np.log(1.3) + 2.33 / 2 - 0.5, abs=1e-9)
    assert shares["squared_hellinger"] == pytest.approx(2 - 2 * np.sqrt(2.6 / 2.69) * np.exp(-0.64 / 10.76), abs=1e-9)
    assert shares["jensen_shannon"] == pytest.approx(2 * JENSEN_SHANNON, abs=1e-9)
    assert shares["pearson"] == pytest.approx(1.69 / np.sqrt(2.38) * np.exp(0.64 / 2.38) - 1, abs=1e-9)
    assert abs(shares["pearson"] - STEP * np.sum((P - Q) ** 2 / P)) > 0.1  # what the paper's table prints


def test_the_gan_of_the_f_divergences_is_minimax():
    best = np.log(RATIO)
    assert -expected_d_loss(losses.minimax(), best) == pytest.approx(2 * JENSEN_SHANNON - np.log(4), abs=1e-6)
    assert_none_better(losses.minimax(), best)
    jensen_shannon = losses.f_divergence("jensen_shannon")
    for logits in (best, np.sin(X)):
        gap = expected_d_loss(losses.minimax(), logits) - expected_d_loss(jensen_shannon, logits)
        assert gap == pytest.approx(np.log(4), abs=1e-9)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_discriminator_that_calls_the_data_more_real_has_a_lower_loss(name):
    objective = losses.f_divergence(name)
    assert gradient(lambda logits: objective.discriminator(logits, G), R).max() < 0
    assert gradient(losses.f_divergence(name, non_saturating=True).generator, G).max() < 0


@pytest.mark.parametrize(("a", "b", "c"), [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0), (0.2, 0.9, 0.5)])
def test_the_best_discriminator_of_least_squares_and_what_its_generator_then_minimises(a, b, c):
    objective = losses.least_squares(a, b, c)
    best = (b * P + a * Q) / (P + Q)
    assert_none_better(objective, best)
    g_loss = expected(objective.generator, best, Q)
    with_reals = 2 * (g_loss + expected(objective.generator, best, P))
    assert with_reals == pytest.approx(STEP * np.sum(((b - c) * (P + Q) - (b - a) * Q) ** 2 / (P + Q)), abs=1e-9)
    closed = {
        0.0: (STEP * np.sum(Q**3 / (P + Q) ** 2) / 2, STEP * np.sum(Q**2 / (P + Q))),
        -1.0: (STEP * np.sum(Q * (P - Q) ** 2 / (P + Q) ** 2) / 2, STEP * np.sum((P - Q) ** 2 / (P + Q))),
    }
    if a in closed:
        assert (g_loss, with_reals) == pytest.approx(closed[a], abs=1e-9)


@pytest.mark.parametrize("maker", losses.MAKERS)
def test_no_objective_makes_autograph_warn_in_a_graph(maker, capfd, caplog):
    """It prints a warning into the log of a training, where it cannot find the source of a function."""
    objective = losses.MAKERS[maker]()
    tf.function(objective.discriminator)(tf.constant(R), tf.constant(G))
    assert "AutoGraph" not in "".join([caplog.text, *capfd.readouterr()])


# Wrong settings


@pytest.mark.parametrize("name", ["fake", "real", "target"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, True, None, "1", [0.5], 1j])
def test_least_squares_wants_finite_numbers(name, value):
    with pytest.raises(ValueError, match=rf"{name}={re.escape(repr(value))}.*expected finite numbers"):
        losses.least_squares(**{name: value})


@pytest.mark.parametrize("kind", [int, np.int64, np.float32, np.float64, fractions.Fraction])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_least_squares_takes_any_kind_of_number(kind, dtype):
    objective = losses.least_squares(kind(-1), kind(1), kind(0))
    assert objective.name == "least_squares(fake=-1.0, target=0.0)"
    assert float(objective.discriminator(tf.constant(R, dtype), tf.constant(G, dtype))) == 1.875


@pytest.mark.parametrize(("fake", "real"), [(1.0, 1.0), (0, 0.0), (-1, np.float32(-1))])
def test_least_squares_with_one_value_for_real_and_fake_is_refused(fake, real):
    with pytest.raises(ValueError, match=f"Got fake={re.escape(repr(fake))}.*nothing to learn"):
        losses.least_squares(fake, real)


@pytest.mark.parametrize("name", ["gan", "KL", "", None, 3, ["kl"], {"kl": 1}])
def test_an_unknown_f_divergence_is_refused_with_those_there_are(name):
    said = ", ".join(DIVERGENCES)
    with pytest.raises(ValueError, match=rf"Got name={re.escape(repr(name))}, .*expected one of {said}"):
        losses.f_divergence(name)


@pytest.mark.parametrize("value", [1, 0, None, "yes", 0.5])
def test_non_saturating_is_true_or_false(value):
    with pytest.raises(ValueError, match=f"non_saturating={value!r}, expected .*True or False"):
        losses.f_divergence("kl", value)
