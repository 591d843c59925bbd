// The formulas of both games. Nothing here draws; site/tests/test_game.py compares every number with gan_utils.

// ---- One dimension -------------------------------------------------------------------------------------------------
// A game is {mean, std, b, w}: the data are N(mean, std²), G(z) = w z + b with z from N(0, 1), so the fakes are N(b, w²).

export const softplus = (l) => Math.max(l, 0) + Math.log1p(Math.exp(-Math.abs(l)));
export const sigmoid = (l) => (l >= 0 ? 1 / (1 + Math.exp(-l)) : Math.exp(l) / (1 + Math.exp(l)));
export const density = (x, mean, std) => Math.exp(-0.5 * ((x - mean) / std) ** 2) / (std * Math.sqrt(2 * Math.PI));

/** The logit of D*: log p − log q, p the density of the data and q that of the fakes. */
export function optimalLogit(x, { mean, std, b, w }) {
  return 0.5 * ((x - b) / w) ** 2 - 0.5 * ((x - mean) / std) ** 2 + Math.log(w / std);
}

const slopeOfLogit = (x, { mean, std, b, w }) => (x - b) / w ** 2 - (x - mean) / std ** 2;
const optimalProbability = (x, game) => sigmoid(optimalLogit(x, game));

/** The slope of the best critic with slopes of at most 1: +1 where more of the fakes than of the data lie to the left. */
export function criticSlope(x, { mean, std, b, w }) {
  return Math.sign((x - b) / w - (x - mean) / std); // of the standardised places, which order the distribution functions
}

/** The best critic of the Wasserstein distance, 0 halfway between both means: its height has no meaning. */
export function critic(x, game) {
  const { mean, std, b, w } = game;
  const kink = (w * mean - std * b) / (w - std); // where both distribution functions are equal
  const height = (at) => (w === std ? Math.sign(mean - b) * at : Math.sign(std - w) * Math.abs(at - kink));
  return height(x) - height((mean + b) / 2);
}

/** What G hears of D*: `answer` is D*'s number at x, `slope` its derivative, `push` the derivative of G's loss by it. */
export const LINE_GAMES = {
  minimax: { answer: optimalLogit, slope: slopeOfLogit, loss: (l) => -softplus(l), push: (l) => -sigmoid(l) },
  non_saturating: { answer: optimalLogit, slope: slopeOfLogit, loss: (l) => softplus(-l), push: (l) => -sigmoid(-l) },
  least_squares: {
    answer: optimalProbability, // (1·p + 0·q) / (p + q)
    slope: (x, game) => slopeOfLogit(x, game) * optimalProbability(x, game) * (1 - optimalProbability(x, game)),
    loss: (d) => 0.5 * (d - 1) ** 2,
    push: (d) => d - 1,
  },
  wasserstein: { answer: critic, slope: criticSlope, loss: (f) => -f, push: () => -1 },
};

/** E[f(z)] for z from N(0, 1), by the trapezoidal rule. */
export function expectation(f, points = 3201, limit = 8) {
  const step = (2 * limit) / (points - 1);
  let sum = 0;
  for (let i = 0; i < points; i++) {
    const z = -limit + i * step;
    sum += density(z, 0, 1) * f(z);
  }
  return sum * step;
}

/** G's loss at D*. */
export function generatorLoss(name, game, points) {
  const { answer, loss } = LINE_GAMES[name];
  return expectation((z) => loss(answer(game.w * z + game.b, game)), points);
}

/** What one fake adds to the gradient for b: the push times the slope. For w it is z times that. */
export function contribution(name, x, game) {
  const { answer, slope, push } = LINE_GAMES[name];
  return push(answer(x, game)) * slope(x, game);
}

/** The gradient of G's loss by (b, w), D* held still as in a step of G. */
export function generatorGradient(name, game, points) {
  const at = (z) => contribution(name, game.w * z + game.b, game);
  return [expectation(at, points), expectation((z) => z * at(z), points)];
}

/** What D* makes of the game: V(D*, G); D's loss of least squares; the Wasserstein distance W₁. */
export function value(name, game, points) {
  const { mean, std, b, w } = game;
  if (name === "wasserstein") return meanDistance(mean - b, Math.abs(std - w));
  const ofData = (f) => expectation((z) => f(optimalLogit(mean + std * z, game)), points);
  const ofFakes = (f) => expectation((z) => f(optimalLogit(b + w * z, game)), points);
  if (name === "least_squares") return 0.5 * ofFakes(sigmoid); // ½ ∫ p q / (p + q)
  return ofData((l) => -softplus(-l)) + ofFakes((l) => -softplus(l));
}

/** E|m + s z|. On a line W₁ pairs equal quantiles, which lie (mean − b) + (std − w) z apart. */
function meanDistance(m, s) {
  if (s === 0) return Math.abs(m);
  return s * Math.sqrt(2 / Math.PI) * Math.exp(-0.5 * (m / s) ** 2) + m * erf(m / (s * Math.SQRT2));
}

export function erf(x) {
  if (Math.abs(x) > 6) return Math.sign(x);
  let [sum, term] = [x, x];
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

// ---- The plane -----------------------------------------------------------------------------------------------------

/** Points evenly spaced on a circle. */
export function ringCenters(modes = 8, radius = 1) {
  const angle = (i) => (2 * Math.PI * i) / modes;
  return Array.from({ length: modes }, (_, i) => [radius * Math.cos(angle(i)), radius * Math.sin(angle(i))]);
}

/** Points of a square grid around the origin. */
export function gridCenters(side = 5, spacing = 2) {
  const tick = (i) => spacing * (i - (side - 1) / 2);
  return Array.from({ length: side * side }, (_, i) => [tick(Math.floor(i / side)), tick(i % side)]);
}

/**
 * How many modes are reached, and what share of the samples lies in one. A sample is good if its nearest center is
 * within the radius; a mode is covered if one good sample is nearest to it. `hits` counts the good samples of each mode.
 */
export function modeCoverage(samples, centers, radius) {
  const hits = centers.map(() => 0);
  for (const [x, y] of samples) {
    let [nearest, least] = [0, Infinity];
    centers.forEach(([cx, cy], i) => {
      const distance = Math.hypot(x - cx, y - cy);
      if (distance < least) [nearest, least] = [i, distance];
    });
    if (least <= radius) hits[nearest] += 1;
  }
  const good = hits.reduce((sum, count) => sum + count, 0);
  return { modes: hits.filter((count) => count > 0).length, good: good / samples.length, hits };
}

/** The losses of both players on tensors of logits, as in gan_utils.losses; each is the mean over a batch. */
export function objectives(tf) {
  const minus = (loss) => (...logits) => loss(...logits).neg();
  const [up, down] = [(l) => l.neg().softplus().mean(), (l) => l.softplus().mean()]; // −log D, −log(1 − D)
  const halfSquare = (l, target) => l.sub(target).square().mean().mul(0.5);
  const score = (l) => l.mean();
  const classify = (real, fake) => up(real).add(down(fake));
  return {
    non_saturating: { discriminator: classify, generator: up },
    minimax: { discriminator: classify, generator: minus(down) },
    least_squares: {
      discriminator: (real, fake) => halfSquare(real, 1).add(halfSquare(fake, 0)),
      generator: (fake) => halfSquare(fake, 1),
    },
    wasserstein: { discriminator: (real, fake) => score(fake).sub(score(real)), generator: minus(score) },
    hinge: {
      discriminator: (real, fake) => tf.relu(tf.sub(1, real)).mean().add(tf.relu(tf.add(1, fake)).mean()),
      generator: minus(score),
    },
    relativistic: {
      discriminator: (real, fake) => down(fake.sub(real)),
      generator: (fake, real) => down(real.sub(fake)),
    },
  };
}

/** Penalties on D's slope, as in gan_utils.penalties: (critic, real, fake, epsilon, weight) → scalar. */
export function penalties(tf) {
  const squares = (critic, points) => tf.grad((x) => critic(x).sum())(points).square().sum(1); // ‖∇f(x)‖², (batch,)
  const flat = (critic, points, weight) => squares(critic, points).mean().mul(weight / 2);
  return {
    gradient_penalty: (critic, real, fake, epsilon, weight) => {
      const between = real.add(epsilon.mul(fake.sub(real))); // epsilon: (batch, 1), uniform in [0, 1)
      return squares(critic, between).add(1e-12).sqrt().sub(1).square().mean().mul(weight);
    },
    r1: (critic, real, fake, epsilon, weight) => flat(critic, real, weight),
    "r1 + r2": (critic, real, fake, epsilon, weight) => flat(critic, real, weight).add(flat(critic, fake, weight)),
  };
}
