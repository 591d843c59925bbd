"""The page with the two games: its formulas against the package's numbers, and what a reader does with it."""

import re
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from playwright import sync_api
from scipy import integrate
from scipy.special import expit
from scipy.stats import norm

from gan_utils import data, losses, metrics, models, penalties

GAMES = {  # on the line: the data N(mean, std²), the fakes N(b, w²)
    "near": {"mean": 1.5, "std": 0.6, "b": -1.5, "w": 1.0},
    "far": {"mean": 1.5, "std": 0.6, "b": -4.5, "w": 0.6},
    "narrow": {"mean": -0.5, "std": 1.2, "b": 0.5, "w": 0.3},
    "there": {"mean": 1.5, "std": 0.6, "b": 1.5, "w": 0.6},
}
LINE_OBJECTIVES = {
    "minimax": losses.minimax(),
    "non_saturating": losses.non_saturating(),
    "least_squares": losses.least_squares(),
    "wasserstein": losses.wasserstein(),
}
OBJECTIVES = {**LINE_OBJECTIVES, "hinge": losses.hinge(), "relativistic": losses.relativistic()}
PENALTIES = {
    "gradient_penalty": penalties.gradient_penalty(2.0),
    "r1": penalties.r1(2.0),
    "r1 + r2": penalties.r1(2.0) + penalties.r2(2.0),
}


@pytest.fixture
def game(page: sync_api.Page, server: str) -> sync_api.Page:
    page.goto(f"{server}/game/index.html")
    page.wait_for_selector("html[data-ready=plane]")
    return page


def call(game: sync_api.Page, body: str, argument: object = None) -> object:
    """What a piece of JavaScript returns, with the page's modules as `formulas` and `plane`, and `given`."""
    modules = "const [formulas, plane] = await Promise.all([import('./formulas.js'), import('./plane.js')]);"
    return game.evaluate(f"async (given) => {{ {modules} {body} }}", argument)


# ---- Formulas of the line -------------------------------------------------------------------------------------------


def line_numbers(game: sync_api.Page, name: str, place: dict[str, float], x: np.ndarray) -> dict[str, object]:
    return call(
        game,
        """const [name, place, x] = given;
        const { answer, push } = formulas.LINE_GAMES[name];
        return {
          answers: x.map((at) => answer(at, place)),
          pushes: x.map((at) => push(answer(at, place))),
          value: formulas.value(name, place),
          loss: formulas.generatorLoss(name, place),
          gradient: formulas.generatorGradient(name, place),
        };""",
        [name, place, x.tolist()],
    )


@pytest.mark.parametrize("name", LINE_OBJECTIVES)
def test_the_best_answers_give_the_losses_of_the_package(game, name):
    objective, levels = LINE_OBJECTIVES[name], (np.arange(4000) + 0.5) / 4000
    for place in GAMES.values():
        real = norm.ppf(levels, place["mean"], place["std"])
        fake = norm.ppf(levels, place["b"], place["w"])
        found = line_numbers(game, name, place, np.concatenate([real, fake]))
        answers = tf.constant(np.reshape(found["answers"], (2, -1, 1)), tf.float64)
        sign = 1.0 if name == "least_squares" else -1.0  # V and W₁ are what D climbs
        d_loss, g_loss = objective.discriminator(*answers).numpy(), objective.generator(answers[1]).numpy()
        np.testing.assert_allclose(sign * found["value"], d_loss, atol=2e-3)
        np.testing.assert_allclose(found["loss"], g_loss, rtol=1e-3, atol=2e-3)
        with tf.GradientTape() as tape:
            tape.watch(answers)
            loss = objective.generator(answers)
        pushes = tape.gradient(loss, answers).numpy().ravel() * tf.size(answers).numpy()
        np.testing.assert_allclose(found["pushes"], pushes, rtol=1e-6, atol=1e-12)


def test_the_line_has_the_numbers_of_lessons_01_and_02(game):
    x = np.linspace(-6, 4, 41)
    for place in GAMES.values():
        mean, std, b, w = place.values()
        found = line_numbers(game, "minimax", place, x)
        logit = norm.logpdf(x, mean, std) - norm.logpdf(x, b, w)
        np.testing.assert_allclose(found["answers"], logit, atol=1e-9)
        regression = line_numbers(game, "least_squares", place, x)
        np.testing.assert_allclose(regression["answers"], expit(logit), atol=1e-12)
    # V(D*, G) of lesson 01, and the gradients at D* of lesson 02, as printed there
    assert round(line_numbers(game, "minimax", GAMES["near"], x)["value"], 4) == -0.1617
    assert round(line_numbers(game, "minimax", GAMES["there"], x)["value"], 6) == round(-np.log(4), 6)
    printed = {
        ("minimax", "near"): (-0.215, -0.411),
        ("non_saturating", "near"): (-8.118, 2.189),
        ("minimax", "there"): (0.0, 0.0),
    }
    for (name, place), gradient in printed.items():
        np.testing.assert_allclose(line_numbers(game, name, GAMES[place], x)["gradient"], gradient, atol=5e-4)
    np.testing.assert_allclose(
        line_numbers(game, "minimax", GAMES["far"], x)["gradient"], (-7.4e-6, -3.7e-5), rtol=1e-2
    )


def test_the_gradients_are_those_of_a_loss_with_d_held_still(game):
    body = """const [name, place, h] = given;
    const { answer, loss } = formulas.LINE_GAMES[name];
    const at = (b, w) => formulas.expectation((z) => loss(answer(w * z + b, place)), 12801);
    const { b, w } = place;
    return [(at(b + h, w) - at(b - h, w)) / (2 * h), (at(b, w + h) - at(b, w - h)) / (2 * h)];"""
    for name in LINE_OBJECTIVES:
        for key in ("near", "narrow"):
            slopes = call(game, body, [name, GAMES[key], 1e-3])
            gradient = line_numbers(game, name, GAMES[key], np.zeros(1))["gradient"]
            np.testing.assert_allclose(gradient, slopes, rtol=2e-3, atol=2e-3, err_msg=f"{name} {key}")


def test_the_wasserstein_distance_is_exact(game):
    for place in GAMES.values():
        mean, std, b, w = place.values()
        gap = lambda x, p=(mean, std), q=(b, w): abs(norm.cdf(x, *p) - norm.cdf(x, *q))  # noqa: E731
        truth = integrate.quad(gap, -12, 12, limit=500, points=[b, mean])[0]
        np.testing.assert_allclose(line_numbers(game, "wasserstein", place, np.zeros(1))["value"], truth, atol=1e-6)


# ---- Formulas of the plane ------------------------------------------------------------------------------------------


def test_losses_in_the_plane_are_those_of_the_package(game):
    real, fake = (np.random.default_rng(seed).normal(0, 3, (16, 1)) for seed in range(2))
    found = call(
        game,
        """const [real, fake] = given.map((logits) => tf.tensor2d(logits));
        const pairs = Object.entries(formulas.objectives(tf)).map(([name, objective]) => [
          name, [objective.discriminator(real, fake).dataSync()[0], objective.generator(fake, real).dataSync()[0]]]);
        return Object.fromEntries(pairs);""",
        [real.tolist(), fake.tolist()],
    )
    assert found.keys() == OBJECTIVES.keys()
    for name, objective in OBJECTIVES.items():
        logits = tf.constant(fake), tf.constant(real)
        generator = objective.generator(*logits) if objective.paired else objective.generator(logits[0])
        expected = objective.discriminator(*reversed(logits)).numpy(), generator.numpy()
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("penalty", [*PENALTIES, "none"])
def test_ds_loss_and_its_gradient_are_those_of_the_package(game, penalty):
    """Through the penalty the gradient is a second derivative, which TensorFlow.js gets wrong for some operations."""
    keras.utils.set_random_seed(0)
    critic = models.mlp_discriminator((2,), (16, 16), dropout_rate=0.0)
    for weight in critic.trainable_variables[1::2]:
        weight.assign(keras.random.normal(weight.shape, stddev=0.3))  # a bias of 0 would hide a fault
    real, fake = data.gaussian_mixture(32, data.ring_centers(8), 0.05, 0), data.gaussian_mixture(32, [[0.2, 0.1]], 0.5)
    epsilon = keras.random.uniform((32, 1), seed=keras.random.SeedGenerator(3)).numpy()
    with tf.GradientTape() as tape:
        loss = losses.least_squares().discriminator(critic(real), critic(fake))
        if penalty != "none":
            loss += PENALTIES[penalty](critic, real, fake, seed=keras.random.SeedGenerator(3))
    expected = [gradient.numpy().ravel() for gradient in tape.gradient(loss, critic.trainable_variables)]

    found = call(
        game,
        """const [penalty, weights, ...batches] = given;
        const settings = { objective: "least_squares", penalty, weight: 2, units: 16 };
        const game = new plane.PlaneGame(tf, { centers: formulas.ringCenters(), std: 0.05 }, settings);
        game.discriminator.forEach((part, i) => part.assign(tf.tensor(weights[i]).reshape(part.shape)));
        const [real, fake, epsilon] = batches.map((batch) => tf.tensor2d(batch));
        const loss = () => game.discriminatorLoss(real, fake, epsilon);
        const { value, grads } = tf.variableGrads(loss, game.discriminator);
        const gradients = game.discriminator.map((part) => Array.from(grads[part.name].dataSync()));
        return { loss: value.dataSync()[0], gradients };""",
        [
            penalty,
            [weight.ravel().tolist() for weight in critic.get_weights()],
            *(a.tolist() for a in (real, fake, epsilon)),
        ],
    )
    np.testing.assert_allclose(found["loss"], loss.numpy(), rtol=1e-4)
    for mine, truth in zip(found["gradients"], expected, strict=True):
        np.testing.assert_allclose(mine, truth, rtol=1e-3, atol=1e-4)


def test_modes_are_counted_as_the_package_counts(game):
    for centers, mine in (
        (data.ring_centers(7, 1.2), "ringCenters(7, 1.2)"),
        (data.grid_centers(4, 0.5), "gridCenters(4, 0.5)"),
    ):
        np.testing.assert_allclose(call(game, f"return formulas.{mine}"), centers, atol=1e-12)
        samples = data.gaussian_mixture(500, centers[::2], 0.1, seed=0)
        found = call(game, "return formulas.modeCoverage(...given)", [samples.tolist(), centers.tolist(), 0.15])
        modes, good = metrics.mode_coverage(samples, centers, 0.15)
        assert (found["modes"], found["good"]) == (modes, pytest.approx(good, abs=1e-12))
        assert 0 < modes < len(centers)
        assert 0 < good < 1
        assert sum(hits > 0 for hits in found["hits"]) == modes


def test_every_objective_takes_a_step_with_every_bound(game):
    sizes = call(
        game,
        """const rows = [];
        for (const objective of Object.keys(formulas.objectives(tf))) {
          for (const penalty of ["none", ...Object.keys(formulas.penalties(tf)), "clip"]) {
            for (const latentDim of [1, 2]) {
              const settings = { objective, penalty, latentDim, weight: 0.1, units: 8, dSteps: 2 };
              const game = new plane.PlaneGame(tf, { centers: formulas.ringCenters(), std: 0.05 }, settings);
              const before = Array.from(game.samples());
              game.step();
              const weights = game.discriminator.flatMap((part) => Array.from(part.dataSync()));
              const moved = Array.from(game.samples()).some((value, i) => value !== before[i]);
              const largest = penalty === "clip" ? Math.max(...weights.map(Math.abs)) : 0;
              rows.push([game.dLoss, game.gLoss, moved ? 1 : NaN, largest]);
              game.dispose();
            }
          }
        }
        return rows;""",
    )
    assert np.isfinite(sizes).all()
    assert np.max(sizes, axis=0)[3] <= 0.1 + 1e-6


def test_the_same_seed_is_the_same_game_and_nothing_leaks(game):
    losses_of_two, tensors = call(
        game,
        """const play = (looks) => {
          const settings = { units: 8, penalty: "r1" };
          const game = new plane.PlaneGame(tf, { centers: formulas.ringCenters(), std: 0.05 }, settings);
          for (let i = 0; i < 3; i++) {
            game.step();
            for (let j = 0; j < looks; j++) { game.pushes(4); game.logits(new Float32Array(8)); }
          }
          const losses = [game.dLoss, game.gLoss];
          game.dispose();
          return losses;
        };
        const first = play(1);
        const before = tf.memory().numTensors;
        return [[first, play(2)], [before, tf.memory().numTensors]];""",
    )
    assert losses_of_two[0] == losses_of_two[1]
    assert tensors[0] == tensors[1]


# ---- The page -------------------------------------------------------------------------------------------------------


def number(game: sync_api.Page, term: str) -> str:
    return game.locator("#line-numbers div", has_text=term).locator("dd").inner_text()


def test_a_slider_and_a_drag_move_the_fakes(game):
    before = game.locator("#stage").inner_html()
    game.locator("#line [name=b]").focus()
    game.keyboard.press("ArrowRight")
    assert game.locator("#stage").inner_html() != before
    assert game.locator("#line [name=b]").input_value() == "-1.4"
    box = game.locator("#stage [data-dot=b] circle").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    game.mouse.move(x, y)
    game.mouse.down()
    game.mouse.move(x + 60, y)
    game.mouse.up()
    assert -0.9 < float(game.locator("#line [name=b]").input_value()) < -0.2


def test_far_away_g_walks_only_if_the_gradient_does_not_vanish(game):
    places = {}
    for name in LINE_OBJECTIVES:
        game.select_option("#line [name=objective]", name)
        game.click("[data-start='-4.5 0.6']")
        for _ in range(5):
            game.click("#walk-step")
        places[name] = game.locator("#line label", has_text="b:").locator(".value").inner_text()
        assert number(game, "G’s steps") == "5"
    assert places["minimax"] == places["least_squares"] == "−4.50"
    assert float(places["non_saturating"].replace("−", "-")) > -2.5
    assert places["wasserstein"] == "−4.25"  # 5 steps of 0.05, slope 1
    game.click("#walk")
    game.wait_for_function("document.querySelector('#line [name=b]').value > -3.5")
    game.click("#walk")


def score(game: sync_api.Page) -> str:
    return game.locator("#score").inner_text()


def steps(game: sync_api.Page) -> int:
    return int(re.search(r"D \d+, G (\d+)", score(game))[1])


def test_the_plane_trains_and_stops_when_hidden(game):
    game.locator("#plane-map").scroll_into_view_if_needed()
    before = game.locator("#plane-map").screenshot()
    start = time.perf_counter()
    game.click("#train")
    game.wait_for_function("+/, G (\\d+)/.exec(document.querySelector('#score').innerText)[1] >= 150", timeout=120_000)
    seconds = time.perf_counter() - start
    print(f"{steps(game) / seconds:.0f} training steps a second, pictures included")
    assert steps(game) / seconds > 2
    assert int(score(game).split(" of 8")[0]) >= 4  # the blob of the start has left the middle
    game.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    game.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert game.locator("#train").inner_text() == "Train"
    stopped = steps(game)
    game.wait_for_timeout(300)
    assert steps(game) == stopped
    assert game.locator("#plane-map").screenshot() != before
    assert "modes" in game.locator("#spoken").inner_text()


def test_slow_motion_and_single_steps(game):
    game.click("#d-step")
    game.click("#d-step")
    assert steps(game) == 0
    game.click("#g-step")
    assert steps(game) == 1
    assert "D 2, G 1" in score(game)
    game.select_option("#plane [name=speed]", "10")
    game.click("#train")
    game.wait_for_function("document.querySelector('#turn').innerText.startsWith('G')")
    game.wait_for_function("document.querySelector('#turn').innerText.startsWith('D')")
    game.click("#train")
    game.click("#again")
    assert steps(game) == 0


def test_a_head_start_of_d_silences_minimax_alone(game):
    game.select_option("#plane [name=objective]", "minimax")
    game.click("#again")
    game.click("#d-steps")
    game.wait_for_function("document.querySelector('#score').innerText.includes('D 100, G 0')")
    sizes = []
    for objective in ("minimax", "non_saturating"):
        game.select_option("#plane [name=objective]", objective)
        sizes.append(float(score(game).split("fake: ")[1]))
    assert sizes[1] > 5 * sizes[0]


def test_a_reader_draws_by_mouse_and_by_keyboard(game):
    game.select_option("#plane [name=shape]", "drawn")
    assert "Draw the data" in score(game)
    game.click("#train")  # nothing to learn from
    assert game.locator("#train").inner_text() == "Train"
    box = game.locator("#plane-map").bounding_box()
    game.mouse.move(box["x"] + 100, box["y"] + 150)
    game.mouse.down()
    game.mouse.move(box["x"] + 300, box["y"] + 150, steps=40)
    game.mouse.up()
    drawn = int(score(game).split(" of ")[1].split()[0])
    assert 5 <= drawn <= 12
    game.locator("#plane-map").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowLeft", "Enter"):
        game.keyboard.press(key)
    assert f" of {drawn + 1} modes" in score(game)
    game.keyboard.press("Delete")
    assert f" of {drawn} modes" in score(game)
    game.click("#g-step")
    game.click("#clear")
    assert "Draw the data" in score(game)


def test_what_cannot_go_on_says_so(game):
    game.evaluate("tf.train.adam = () => ({ minimize: () => tf.scalar(NaN), dispose: () => {} })")
    game.click("#again")
    game.click("#train")
    game.wait_for_function("document.querySelector('#score').innerText.includes('no longer finite')")
    assert game.locator("#train").inner_text() == "Train"


def test_the_line_works_without_tensorflow(page, server):
    page.route("**/tf.es2017.min.js", lambda route: route.abort())
    page.goto(f"{server}/game/index.html")
    page.wait_for_function("document.querySelector('#score').innerText.includes('was not loaded')")
    page.click("[data-start='-4.5 0.6']")
    assert page.locator("#line label", has_text="b:").locator(".value").inner_text() == "−4.50"
    page.faults.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_does_not_scroll_sideways(game, scheme):
    game.emulate_media(color_scheme=scheme)
    game.set_viewport_size({"width": 390, "height": 844})
    assert game.evaluate("document.documentElement.scrollWidth") <= 390
    assert game.evaluate(
        "[...document.querySelectorAll('svg text')].every((t) => parseFloat(getComputedStyle(t).fontSize) >= 15)"
    )


def test_every_control_has_a_name_and_is_reached_by_keyboard(game):
    nameless = game.evaluate(
        """[...document.querySelectorAll("input, select, button, canvas, svg")].filter((part) =>
        !(part.labels?.length || part.textContent.trim() || part.ariaLabel || part.getAttribute("aria-labelledby")))
        .map((part) => part.outerHTML)"""
    )
    assert nameless == []
    reached = set()
    for _ in range(60):
        game.keyboard.press("Tab")
        reached.add(game.evaluate("document.activeElement.id || document.activeElement.name || ''"))
    assert {
        "objective",
        "b",
        "w",
        "walk",
        "plane-map",
        "train",
        "d-step",
        "speed",
        "shape",
        "penalty",
        "showNet",
    } <= reached
