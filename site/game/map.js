// The game in the plane, on the page: the picture, the counts, and what a reader does.

import { fill, format, minus, path, scale, showValues } from "./draw.js";
import { erf, gridCenters, modeCoverage, ringCenters } from "./formulas.js";
import { PlaneGame } from "./plane.js";

const SIDE = 1.6; // the picture shows [−1.6, 1.6]²
const CELLS = 36; // of D's map, along one side
const ARROWS = 50;
const COUNTED = 1000; // fakes, for the modes
const LEVELS = [0.1, 0.25, 0.5, 0.75, 0.9]; // of D's map, where lines are drawn
const FRAME = 25; // milliseconds of training between two pictures that may be due
const NET = Array.from({ length: 17 }, (_, i) => -2 + i / 4); // latents of the lattice, along one axis

const form = document.querySelector("#plane form");
const canvas = document.getElementById("plane-map");
const byId = (id) => document.getElementById(id);
const tf = globalThis.tf;

const FORMULAS = {
  non_saturating: "D climbs E[log D(x)] + E[log(1 − D(G(z)))]; G descends −E[log D(G(z))].",
  minimax: "D climbs V = E[log D(x)] + E[log(1 − D(G(z)))]; G descends V.",
  least_squares: "D descends ½ E[(D(x) − 1)²] + ½ E[D(G(z))²]; G descends ½ E[(D(G(z)) − 1)²].",
  wasserstein: "D climbs E[D(x)] − E[D(G(z))]; G descends −E[D(G(z))].",
  hinge: "D descends E[max(0, 1 − D(x))] + E[max(0, 1 + D(G(z)))]; G descends −E[D(G(z))].",
  relativistic: "D descends E[softplus(D(G(z)) − D(x))]; G descends E[softplus(D(x) − D(G(z)))].",
};
const PENALTIES = {
  none: "",
  gradient_penalty: " To D’s loss is added λ E[(‖∇D‖ − 1)²], between data and fakes.",
  r1: " To D’s loss is added γ/2 E[‖∇D(x)‖²].",
  "r1 + r2": " To D’s loss is added γ/2 E[‖∇D‖²], at data and at fakes.",
  clip: " After each step D’s weights are clipped to [−c, c].",
};
const LEGEND = {
  showData: '<b class="real">○</b> data',
  showFakes: '<b class="fake-word">●</b> fakes',
  showArrows: "→ where G’s loss pushes a fake",
  showNet: "net: latents, carried by G",
};
const WEIGHTS = { gradient_penalty: "λ", r1: "γ", "r1 + r2": "γ", clip: "c" };
const UNBOUNDED = " The critic’s slope has no bound now: its scores may grow for ever. Choose one under “on D’s slope”.";
const PROBABILITIES = ["non_saturating", "minimax"]; // whose logit is that of a probability
const NO_HEIGHT = ["wasserstein", "relativistic"]; // whose scores mean something only beside each other

let game = null;
let drawn = []; // the reader's points
let cross = [0, 0]; // where the keyboard would put a point
let crossed = false;
let running = false;
let [lastTurn, lastPicture, lastCount, lastSpoken] = [0, 0, 0, 0];
let history = [];
let counts = null;
let fault = "";

// ---- Settings -------------------------------------------------------------------------------------------------------

const power = (name) => 10 ** Number(form[name].value);

function settings() {
  return {
    objective: form.objective.value,
    penalty: form.penalty.value,
    weight: power("weight"),
    dSteps: Number(form.dSteps.value),
    dRate: power("dRate"),
    gRate: power("gRate"),
    beta1: Number(form.beta1.value),
    units: Number(form.units.value),
    latentDim: Number(form.latentDim.value),
    seed: Number(form.seed.value),
  };
}

function data() {
  const [modes, std] = [Number(form.modes.value), Number(form.std.value)];
  if (form.shape.value === "ring") return { centers: ringCenters(modes), std };
  if (form.shape.value === "grid") return { centers: gridCenters(modes, modes > 1 ? 2 / (modes - 1) : 1), std };
  return { centers: drawn, std };
}

function restart() {
  game?.dispose();
  game = new PlaneGame(tf, data(), settings());
  [history, fault] = [[], ""];
  count();
  draw();
}

function say() {
  const grid = form.shape.value === "grid";
  showValues(form, {
    modes: (value) => (grid ? `${value} × ${value}` : value),
    ...Object.fromEntries(["weight", "dRate", "gRate"].map((name) => [name, (value) => Number((10 ** value).toPrecision(2)).toString()])),
  });
  const { objective, penalty } = settings();
  byId("plane-formula").textContent = FORMULAS[objective] + PENALTIES[penalty] + (objective === "wasserstein" && penalty === "none" ? UNBOUNDED : "");
  byId("weight-label").hidden = penalty === "none";
  byId("weight-label").querySelector(".symbol").textContent = WEIGHTS[penalty] ?? "";
  byId("modes-label").hidden = form.shape.value === "drawn";
  byId("draw-tools").hidden = form.shape.value !== "drawn";
  canvas.classList.toggle("drawable", form.shape.value === "drawn");
  canvas.setAttribute("role", form.shape.value === "drawn" ? "application" : "img");
  const words = Object.entries(LEGEND).filter(([name]) => form[name].checked).map(([, text]) => text);
  if (form.showMap.checked) words.push(mapLegend(objective));
  words.push("circles: 3σ of a mode, solid if covered");
  if (form.shape.value === "drawn") words.push("click or drag to draw; by keyboard: arrows, Enter, Delete");
  byId("legend").innerHTML = words.join(" · ");
}

function mapLegend(objective) {
  if (NO_HEIGHT.includes(objective)) return "D’s map: blue is D’s highest score here, orange its lowest";
  const middle = PROBABILITIES.includes(objective) ? "D = ½" : objective === "hinge" ? "D = 0" : "D = ½ of the way from 0 to 1";
  return `D’s map: blue is “data”, orange is “fake”, the thick line is ${middle}`;
}

// ---- Playing --------------------------------------------------------------------------------------------------------

function play(on) {
  running = on && !fault && game.data.centers.length > 0;
  byId("train").textContent = running ? "Pause" : "Train";
  if (running) requestAnimationFrame(frame);
  else speak();
}

function turn(player) {
  if (!game.data.centers.length) return;
  player === "D" ? game.stepD() : game.stepG();
  if (player === "G") history.push([game.steps, game.dLoss ?? NaN, game.gLoss, counts.modes, counts.good]);
  if (history.length > 4000) history = history.filter((_, i) => i % 2);
  if (!Number.isFinite(player === "D" ? game.dLoss : game.gLoss)) {
    fault = "The numbers are no longer finite. Start again, with smaller learning rates or a bound on D’s slope.";
    play(false);
  }
}

/** A hundred steps of D alone, in pieces, so that one sees it learn. */
async function headStart() {
  play(false);
  const [mine, button] = [game, byId("d-steps")];
  button.disabled = true;
  for (let i = 0; i < 20 && game === mine && !running && !fault; i++) {
    for (let j = 0; j < 5; j++) turn("D");
    draw();
    await new Promise(requestAnimationFrame);
  }
  button.disabled = false;
  speak();
}

function frame(now) {
  if (!running) return;
  const speed = form.speed.value;
  if (speed === "full") {
    do turn(game.next);
    while (running && performance.now() - now < FRAME);
    if (!running || now - lastPicture > 100) draw(now); // at the end always: a fault is to be seen
  } else if (now - lastTurn > 1000 / Number(speed)) {
    lastTurn = now;
    const player = game.next;
    const place = player === "D" && game.settings.dSteps > 1 ? ` (${game.dTurns + 1} of ${game.settings.dSteps})` : "";
    turn(player);
    announce(`${player}’s turn${place}`);
    draw(now);
  }
  if (running) requestAnimationFrame(frame);
}

function announce(text) {
  byId("turn").textContent = text;
  byId("turn").hidden = !text;
}

function count() {
  const latent = game.normals(COUNTED, game.settings.latentDim, game.aside);
  counts = game.data.centers.length
    ? modeCoverage(pairs(game.samples(latent)), game.data.centers, 3 * game.data.std)
    : { modes: 0, good: 0, hits: [] };
  latent.dispose();
}

function speak() {
  byId("spoken").textContent = fault || byId("score").textContent;
}

// ---- The picture ----------------------------------------------------------------------------------------------------

const pairs = (flat) => Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);

function colours() {
  const style = getComputedStyle(document.body);
  return Object.fromEntries(
    ["background", "text", "blue", "vermillion", "green", "muted", "line"].map((name) => [name, style.getPropertyValue(`--course-${name}`).trim()]),
  );
}

function draw(now = performance.now()) {
  lastPicture = now;
  if (now - lastCount > 250 || !running) [lastCount] = [now, count()];
  const ratio = devicePixelRatio;
  const size = canvas.clientWidth;
  if (canvas.width !== Math.round(size * ratio)) canvas.width = canvas.height = Math.round(size * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const colour = colours();
  context.fillStyle = colour.background;
  context.fillRect(0, 0, size, size);
  const place = { x: scale([-SIDE, SIDE], [0, size]), y: scale([-SIDE, SIDE], [size, 0]), size };
  const fakes = pairs(game.samples());
  const pushes = pairs(game.data.centers.length ? game.pushes(ARROWS) : new Float32Array(2 * ARROWS));
  if (form.showMap.checked) drawMap(context, place, colour);
  if (form.showNet.checked) drawNet(context, place, colour);
  drawModes(context, place, colour);
  if (form.showData.checked) drawData(context, place, colour);
  if (form.showFakes.checked) drawDots(context, place, fakes, colour.vermillion, colour.background);
  if (form.showArrows.checked) drawArrows(context, place, fakes, pushes, colour);
  if (crossed && form.shape.value === "drawn") drawCross(context, place, colour);
  report(pushes);
}

/** What share of the map's colour a logit has: from 0, a fake, to 1, a real sample. */
function shares(logits) {
  const { objective } = game.settings;
  if (objective === "least_squares") return logits.map((l) => Math.max(0, Math.min(1, l)));
  if (objective === "hinge") return logits.map((l) => Math.max(0, Math.min(1, (l + 1) / 2)));
  if (PROBABILITIES.includes(objective)) return logits.map((l) => 1 / (1 + Math.exp(-l)));
  const [low, high] = [Math.min(...logits), Math.max(...logits)];
  return logits.map((l) => (high > low ? (l - low) / (high - low) : 0.5));
}

function drawMap(context, { size }, colour) {
  const points = new Float32Array(2 * (CELLS + 1) ** 2);
  for (let row = 0, i = 0; row <= CELLS; row++) {
    for (let column = 0; column <= CELLS; column++) {
      points[i++] = SIDE * ((2 * column) / CELLS - 1);
      points[i++] = SIDE * (1 - (2 * row) / CELLS);
    }
  }
  const share = shares(Array.from(game.logits(points)));
  const [real, fake] = [rgb(colour.blue), rgb(colour.vermillion)];
  const image = new ImageData(CELLS + 1, CELLS + 1);
  share.forEach((value, i) => image.data.set([...(value > 0.5 ? real : fake), 2 * 120 * Math.abs(value - 0.5)], 4 * i));
  const small = new OffscreenCanvas(CELLS + 1, CELLS + 1);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(small, 0.5, 0.5, CELLS, CELLS, 0, 0, size, size); // a pixel's value belongs to its middle
  context.strokeStyle = colour.text;
  for (const level of LEVELS) {
    context.globalAlpha = level === 0.5 ? 1 : 0.45;
    context.lineWidth = level === 0.5 && !NO_HEIGHT.includes(game.settings.objective) ? 2.5 : 1;
    contour(context, share, level, size / CELLS);
  }
  context.globalAlpha = 1;
}

/** The line on which the map has this value: in each cell a piece between the two or four sides that it crosses. */
function contour(context, values, level, cell) {
  const at = (row, column) => values[row * (CELLS + 1) + column] - level;
  context.beginPath();
  for (let row = 0; row < CELLS; row++) {
    for (let column = 0; column < CELLS; column++) {
      const corners = [[0, 0], [0, 1], [1, 1], [1, 0]].map(([r, c]) => [row + r, column + c, at(row + r, column + c)]);
      const crossings = corners.flatMap(([r, c, value], i) => {
        const [nextR, nextC, next] = corners[(i + 1) % 4];
        if (value > 0 === next > 0) return [];
        const part = value / (value - next);
        return [[cell * (c + part * (nextC - c)), cell * (r + part * (nextR - r))]];
      });
      for (let i = 0; i + 1 < crossings.length; i += 2) {
        context.moveTo(...crossings[i]);
        context.lineTo(...crossings[i + 1]);
      }
    }
  }
  context.stroke();
}

/** The share of N(0, 1) between two numbers. */
const mass = (from, to) => 0.5 * (erf(to / Math.SQRT2) - erf(from / Math.SQRT2));

function drawNet(context, { x, y, size }, colour) {
  context.strokeStyle = context.fillStyle = colour.vermillion;
  context.lineWidth = 0.8;
  const lattice = game.settings.latentDim === 1 ? steps1() : NET.flatMap((a) => NET.map((b) => [a, b]));
  const latent = tf.tensor2d(lattice);
  const points = pairs(game.samples(latent)).map(([a, b]) => [x(a), y(b)]);
  latent.dispose();
  if (game.settings.latentDim === 1) {
    context.lineWidth = 2.5;
    return context.stroke(new Path2D(path(points)));
  }
  const n = NET.length;
  for (let i = 0; i + 1 < n; i++) {
    for (let j = 0; j + 1 < n; j++) {
      const corners = [i * n + j, i * n + j + 1, (i + 1) * n + j + 1, (i + 1) * n + j].map((k) => points[k]);
      const area = Math.max(1, Math.abs(corners.reduce((sum, [px, py], k) => {
        const [qx, qy] = corners[(k + 1) % 4];
        return sum + px * qy - py * qx;
      }, 0) / 2));
      const fullness = (mass(NET[i], NET[i + 1]) * mass(NET[j], NET[j + 1]) * size * size) / area; // 1: evenly spread
      context.beginPath();
      corners.forEach((corner, k) => (k ? context.lineTo(...corner) : context.moveTo(...corner)));
      context.closePath();
      context.globalAlpha = Math.min(0.5, 0.03 * fullness);
      context.fill();
      context.globalAlpha = 0.35;
      context.stroke();
    }
  }
  context.globalAlpha = 1;
}

const steps1 = () => Array.from({ length: 241 }, (_, i) => [-3 + i / 40]);

function drawModes(context, { x, y }, colour) {
  context.strokeStyle = colour.text;
  game.data.centers.forEach(([cx, cy], i) => {
    const covered = counts.hits[i] > 0;
    context.lineWidth = covered ? 2 : 1;
    context.setLineDash(covered ? [] : [3, 4]);
    context.beginPath();
    context.arc(x(cx), y(cy), Math.abs(x(3 * game.data.std) - x(0)), 0, 2 * Math.PI);
    context.stroke();
  });
  context.setLineDash([]);
}

let sample = { key: "", points: [] }; // of the data, drawn once for each mixture

function drawData(context, { x, y }, colour) {
  const { centers, std } = game.data;
  const key = JSON.stringify([centers, std]);
  if (sample.key !== key && centers.length) {
    const real = game.real(240, game.aside);
    sample = { key, points: pairs(real.dataSync()) };
    real.dispose();
  }
  context.strokeStyle = colour.blue;
  context.lineWidth = 1.5;
  for (const [a, b] of centers.length ? sample.points : []) {
    context.beginPath();
    context.arc(x(a), y(b), 3, 0, 2 * Math.PI);
    context.stroke();
  }
}

function drawDots(context, { x, y }, points, fill, rim) {
  context.fillStyle = fill;
  context.strokeStyle = rim;
  context.lineWidth = 0.8;
  for (const [a, b] of points) {
    context.beginPath();
    context.arc(x(a), y(b), 3.4, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}

function drawArrows(context, { x, y }, fakes, pushes, colour) {
  context.strokeStyle = colour.text;
  context.lineWidth = 1.6;
  context.beginPath();
  pushes.forEach(([dx, dy], i) => {
    const size = Math.hypot(dx, dy);
    const length = Math.min(0.3, 0.05 * size) / (size || 1);
    const [fromX, fromY] = [x(fakes[i][0]), y(fakes[i][1])];
    const [toX, toY] = [x(fakes[i][0] + length * dx), y(fakes[i][1] + length * dy)];
    if (Math.hypot(toX - fromX, toY - fromY) < 1.5) return;
    const angle = Math.atan2(toY - fromY, toX - fromX);
    const head = Math.min(6, Math.hypot(toX - fromX, toY - fromY));
    context.moveTo(fromX, fromY);
    context.lineTo(toX, toY);
    for (const side of [2.6, -2.6]) {
      context.moveTo(toX, toY);
      context.lineTo(toX + head * Math.cos(angle + side), toY + head * Math.sin(angle + side));
    }
  });
  context.stroke();
}

function drawCross(context, { x, y }, colour) {
  context.strokeStyle = colour.text;
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x(cross[0]) - 10, y(cross[1]));
  context.lineTo(x(cross[0]) + 10, y(cross[1]));
  context.moveTo(x(cross[0]), y(cross[1]) - 10);
  context.lineTo(x(cross[0]), y(cross[1]) + 10);
  context.stroke();
}

// ---- Numbers --------------------------------------------------------------------------------------------------------

function report(pushes) {
  const total = game.data.centers.length;
  const push = pushes.reduce((sum, [dx, dy]) => sum + Math.hypot(dx, dy), 0) / pushes.length;
  const text = total
    ? `<b>${counts.modes} of ${total}</b> modes · <b>${Math.round(100 * counts.good)} %</b> good · steps: D <b>${game.dSteps}</b>, G <b>${game.steps}</b><br>size of G’s gradient at a fake: <b>${format(push)}</b>`
    : "Draw the data: click or drag in the picture.";
  byId("score").innerHTML = fault || text;
  const name = `The plane. ${byId("score").textContent}`;
  if (performance.now() - lastSpoken > 3000 || !running) {
    lastSpoken = performance.now();
    canvas.setAttribute("aria-label", name);
  }
  chart(byId("modes-chart"), [["modes", ([, , , modes]) => modes / (total || 1)], ["good", ([, , , , good]) => good]], [0, 1]);
  chart(byId("losses-chart"), [["d", ([, d]) => d], ["g", ([, , g]) => g]]);
}

function chart(svg, lines, range) {
  const every = Math.max(1, Math.floor(history.length / 200));
  const points = history.filter((_, i) => i % every === 0);
  const values = points.flatMap((point) => lines.map(([, of]) => of(point))).filter(Number.isFinite);
  const [low, high] = range ?? [Math.min(0, ...values), Math.max(1, ...values)];
  fill(svg, (width, height) => {
    const x = scale([0, Math.max(1, points.at(-1)?.[0] ?? 1)], [52, width - 6]);
    const y = scale([low, high], [height - 6, 10]);
    const marks = (range ? [["100 %", 1], ["0", 0]] : [[format(high), high], [format(low), low]]).map(
      ([text, level]) => `<path class="grid" d="M52 ${y(level)}H${width - 6}"/><text class="small" x="48" y="${y(level) + (level === high ? 8 : 0)}" text-anchor="end">${text}</text>`,
    );
    return marks.join("") + lines.map(([name, of]) => `<path class="curve ${name}" d="${path(points.map((point) => [x(point[0]), y(of(point))]))}"/>`).join("");
  });
}

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

// ---- What a reader does ---------------------------------------------------------------------------------------------

function listen() {
  byId("train").addEventListener("click", () => {
    if (!running) announce("");
    play(!running);
  });
  for (const [id, player] of [["d-step", "D"], ["g-step", "G"]]) {
    byId(id).addEventListener("click", () => {
      play(false);
      if (!fault) turn(player);
      draw();
      speak();
    });
  }
  byId("d-steps").addEventListener("click", headStart);
  byId("again").addEventListener("click", () => (announce(""), restart(), speak()));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => change(target.name));
  document.addEventListener("visibilitychange", () => document.hidden && play(false));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  new ResizeObserver(() => draw()).observe(canvas);
  byId("undo").addEventListener("click", () => redraw(() => drawn.pop()));
  byId("clear").addEventListener("click", () => redraw(() => drawn.splice(0)));
  listenToCanvas();
}

function change(name) {
  if (name === "shape") {
    form.modes.max = form.shape.value === "grid" ? 6 : 12;
    form.modes.value = form.shape.value === "grid" ? 5 : 8;
    if (form.shape.value === "grid") form.std.value = 0.03;
  }
  if (name === "penalty" || name === "objective") form.weight.value = { clip: -1, r1: -1, "r1 + r2": -1, gradient_penalty: form.objective.value === "wasserstein" ? 0 : -1 }[form.penalty.value] ?? 0;
  if (name === "speed") announce("");
  say();
  game.data = data();
  if (!game.data.centers.length) play(false);
  if (["units", "latentDim", "seed"].includes(name)) restart();
  else if (["dRate", "gRate", "beta1"].includes(name)) game.compile(settings());
  else Object.assign(game.settings, settings());
  draw();
}

function redraw(edit) {
  edit();
  game.data = data();
  if (!drawn.length) play(false);
  draw();
}

/** Adds a mode where there is none within 2σ, so that each can be counted. */
function add([x, y]) {
  const free = drawn.every(([a, b]) => Math.hypot(x - a, y - b) > 2 * Number(form.std.value));
  if (free && drawn.length < 100 && Math.max(Math.abs(x), Math.abs(y)) <= SIDE) redraw(() => drawn.push([x, y]));
}

function listenToCanvas() {
  const at = (event) => {
    const { left, top, width } = canvas.getBoundingClientRect();
    return [SIDE * ((2 * (event.clientX - left)) / width - 1), SIDE * (1 - (2 * (event.clientY - top)) / width)];
  };
  const drawing = () => form.shape.value === "drawn";
  canvas.addEventListener("pointerdown", (event) => {
    if (!drawing()) return;
    canvas.setPointerCapture(event.pointerId);
    add(at(event));
  });
  canvas.addEventListener("pointermove", (event) => drawing() && event.buttons && add(at(event)));
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    const known = move || ["Enter", " ", "Delete", "Backspace"].includes(event.key);
    if (!drawing() || !known) return;
    event.preventDefault();
    crossed = true;
    if (move) cross = cross.map((value, i) => Math.max(-1.5, Math.min(1.5, value + 0.1 * move[i])));
    else if (event.key === "Enter" || event.key === " ") add(cross);
    else redraw(() => drawn.pop());
    draw();
  });
  canvas.addEventListener("blur", () => ((crossed = false), draw()));
}

if (tf) {
  await tf.setBackend("cpu"); // networks this small wait longer for a graphics card than they compute
  game = new PlaneGame(tf, data(), settings());
  count();
  say();
  listen();
  document.documentElement.dataset.ready = "plane";
} else {
  byId("score").textContent = "TensorFlow.js was not loaded: vendor/tf.es2017.min.js is missing. The game on a line works without it.";
}
