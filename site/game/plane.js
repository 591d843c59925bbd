// The game in the plane: two small networks, trained by TensorFlow.js. Nothing here draws.

import { objectives, penalties } from "./formulas.js";

export const SETTINGS = {
  objective: "non_saturating",
  penalty: "none", // or "gradient_penalty", "r1", "r1 + r2", "clip"
  weight: 1, // of the penalty; the largest weight of D if "clip"
  dSteps: 1, // k: steps of D to each of G
  dRate: 5e-3,
  gRate: 5e-3,
  beta1: 0.5, // of Adam
  units: 32, // in both hidden layers of both networks
  latentDim: 2,
  batch: 64,
  seed: 1,
};

/** Pseudo-random numbers from a seed: `uniform()` in [0, 1), `normal()` from N(0, 1). */
export function numbers(seed) {
  let state = seed >>> 0;
  const uniform = () => { // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal };
}

/**
 * TensorFlow.js has no derivative of x > 0, which is 0; without it, there is no second derivative of LeakyReLU. Of tanh,
 * sigmoid and others that keep their output for the derivative, it has a second one that is wrong: do not use them here.
 */
function prepare(tf) {
  tf.registerGradient({
    kernelName: "Greater",
    inputsToSave: ["a", "b"],
    gradFunc: (_, [a, b]) => ({ a: () => tf.zerosLike(a), b: () => tf.zerosLike(b) }),
  });
}

/** A multilayer perceptron with LeakyReLU(0.2), as gan_utils.models builds it; weights: kernel, bias, kernel, … */
export function perceptron(weights, x) {
  for (let i = 0; i < weights.length; i += 2) {
    x = x.matMul(weights[i]).add(weights[i + 1]); // (batch, units)
    if (i + 2 < weights.length) x = x.leakyRelu(0.2);
  }
  return x;
}

export class PlaneGame {
  /** `data` is {centers, std}: a mixture of Gaussians of equal weight; it may be replaced at any time. */
  constructor(tf, data, settings = {}) {
    if (!tf.getGradient("Greater")) prepare(tf);
    // steps: of G; dSteps: of D; dTurns: of D since G's last
    Object.assign(this, { tf, data, settings: { ...SETTINGS, ...settings }, steps: 0, dSteps: 0, dTurns: 0 });
    this.objectives = objectives(tf);
    this.penalties = penalties(tf);
    const { units, latentDim, seed } = this.settings;
    this.random = numbers(seed); // of the game, and another for what only looks at it, so that a seed is one game
    this.aside = numbers(seed + 1);
    this.generator = this.layers([latentDim, units, units, 2]);
    this.discriminator = this.layers([2, units, units, 1]);
    this.shown = this.normals(400, latentDim, this.aside); // latents of the fakes that are drawn: the same ones all the time
    this.compile();
  }

  /** New optimizers; the networks stay. */
  compile(settings = {}) {
    Object.assign(this.settings, settings);
    for (const optimizer of [this.dOptimizer, this.gOptimizer]) optimizer?.dispose();
    const { dRate, gRate, beta1 } = this.settings;
    [this.dOptimizer, this.gOptimizer] = [dRate, gRate].map((rate) => this.tf.train.adam(rate, beta1, 0.999));
  }

  layers(sizes) { // Glorot's uniform weights, biases 0
    const variable = (values, shape) => this.tf.tidy(() => this.tf.variable(this.tf.tensor(values, shape)));
    return sizes.slice(1).flatMap((outputs, i) => {
      const limit = Math.sqrt(6 / (sizes[i] + outputs));
      const kernel = Float32Array.from({ length: sizes[i] * outputs }, () => limit * (2 * this.random.uniform() - 1));
      return [variable(kernel, [sizes[i], outputs]), variable(new Float32Array(outputs), [outputs])];
    });
  }

  normals(count, dimensions, random = this.random) {
    const values = Float32Array.from({ length: count * dimensions }, () => random.normal());
    return this.tf.tensor2d(values, [count, dimensions]);
  }

  real(count, random = this.random) {
    const { centers, std } = this.data;
    const values = new Float32Array(2 * count);
    for (let i = 0; i < count; i++) {
      const [x, y] = centers[Math.floor(random.uniform() * centers.length)];
      values.set([x + std * random.normal(), y + std * random.normal()], 2 * i);
    }
    return this.tf.tensor2d(values, [count, 2]);
  }

  critic = (x) => perceptron(this.discriminator, x);
  generate = (z) => perceptron(this.generator, z);

  /** D's loss, penalty included; the pieces of a step, so that a test can compare them. */
  discriminatorLoss(real, fake, epsilon) {
    const { objective, penalty, weight } = this.settings;
    const loss = this.objectives[objective].discriminator(this.critic(real), this.critic(fake));
    const added = this.penalties[penalty];
    return added ? loss.add(added(this.critic, real, fake, epsilon, weight)) : loss;
  }

  generatorLoss(fake, real) {
    return this.objectives[this.settings.objective].generator(this.critic(fake), this.critic(real));
  }

  /** One update of D. Returns its loss. */
  stepD() {
    const { batch, latentDim, penalty, weight } = this.settings;
    this.dTurns += 1;
    this.dSteps += 1;
    return this.tf.tidy(() => {
      const [real, fake] = [this.real(batch), this.generate(this.normals(batch, latentDim))];
      const epsilon = this.tf.tensor2d(Float32Array.from({ length: batch }, this.random.uniform), [batch, 1]);
      const loss = this.minimize(this.dOptimizer, () => this.discriminatorLoss(real, fake, epsilon), this.discriminator);
      if (penalty === "clip") for (const part of this.discriminator) part.assign(part.clipByValue(-weight, weight));
      return (this.dLoss = loss);
    });
  }

  /** One update of G. Returns its loss. */
  stepG() {
    const { batch, latentDim } = this.settings;
    this.steps += 1;
    this.dTurns = 0;
    return this.tf.tidy(() => {
      const [real, latent] = [this.real(batch), this.normals(batch, latentDim)];
      const loss = () => this.generatorLoss(this.generate(latent), real);
      return (this.gLoss = this.minimize(this.gOptimizer, loss, this.generator));
    });
  }

  /** k steps of D, then one of G. */
  step() {
    for (let i = 0; i < this.settings.dSteps; i++) this.stepD();
    this.stepG();
  }

  /** Whose turn is next. */
  get next() {
    return this.dTurns < this.settings.dSteps ? "D" : "G";
  }

  minimize(optimizer, loss, weights) {
    return optimizer.minimize(loss, true, weights).dataSync()[0];
  }

  /** D's logits at points, flat: x, y, x, y, … */
  logits(points) {
    return this.tf.tidy(() => this.critic(this.tf.tensor2d(points, [points.length / 2, 2])).dataSync());
  }

  /** G's samples of latents, a tensor; without any, of the ones that are drawn. Flat: x, y, x, y, … */
  samples(latent = this.shown) {
    return this.tf.tidy(() => this.generate(latent).dataSync());
  }

  /** How G's loss pushes each drawn fake: minus the derivative of one fake's loss by its place. Flat. */
  pushes(count) {
    return this.tf.tidy(() => {
      const fake = this.generate(this.shown.slice([0, 0], [count, -1]));
      const real = this.real(count, this.aside);
      return this.tf.grad((x) => this.generatorLoss(x, real).mul(-count))(fake).dataSync();
    });
  }

  dispose() {
    for (const part of [...this.generator, ...this.discriminator, this.shown]) part.dispose();
    for (const optimizer of [this.dOptimizer, this.gOptimizer]) optimizer.dispose();
  }
}
