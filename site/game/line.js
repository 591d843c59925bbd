// The game on a line: two bell curves, the best D, and what G hears of it.

import { fill, format, minus, path, scale, showValues, steps } from "./draw.js";
import { LINE_GAMES, contribution, density, generatorGradient, generatorLoss, value } from "./formulas.js";

const form = document.querySelector("#line form");
const [stage, valueChart, sizeChart] = ["stage", "value", "size"].map((id) => document.getElementById(id));
const [LEFT, RIGHT, TOP] = [-6.5, 4.5, 1.3]; // of the picture, in x and in density
const PLACES = steps(-6, 4, 51); // of b, for the two small pictures
const STAGE = { strip: 84, axis: 26 }; // pixels: the arrows' strip, and the numbers below

const TEXTS = {
  minimax: {
    formula: "G descends E[log(1 − D(G(z)))]. D climbs V.",
    value: "V at D*, as b moves",
    number: "V(D*, G)",
    lesson: "Press “far”: V is at its ceiling, 0, D* is flat under the fakes, and no arrow is left. D knows the way; G does not hear it.",
    marks: [[0, "0"], [-Math.log(4), "−log 4"]],
  },
  non_saturating: {
    formula: "G descends −E[log D(G(z))]. D climbs V, as before.",
    value: "V at D*, as b moves",
    number: "V(D*, G)",
    lesson: "The same D* and the same V. But now a fake pulls hardest where D is sure that it is fake. What G descends is not V.",
    marks: [[0, "0"], [-Math.log(4), "−log 4"]],
  },
  least_squares: {
    formula: "G descends ½ E[(D(G(z)) − 1)²]. D shall say 1 of data and 0 of fakes.",
    value: "D's least loss, as b moves",
    number: "D's loss at D*",
    lesson: "The best D is the same curve as before. Far away it is flat, and G's gradient vanishes as it does under minimax. A D that is still learning is not that flat.",
    marks: [[0.25, "¼"], [0, "0"]],
  },
  wasserstein: {
    formula: "G descends −E[f(G(z))]. The critic f has no slope above 1.",
    value: "W₁, as b moves",
    number: "W₁",
    lesson: "The best critic has slope 1 almost everywhere: each fake pulls with 1, however far it is. Its height has no meaning. Where both curves differ in width it has a kink.",
    marks: [[0, "0"]],
  },
};
const NAMES = { minimax: "minimax", non_saturating: "non-saturating", least_squares: "least squares", wasserstein: "Wasserstein" };

let curves = null; // over PLACES, for one w and one data curve
let exact = {}; // where G walked to, between the marks of the sliders
let walked = 0;
let walking = null;

function read() {
  const game = Object.fromEntries(["mean", "std", "b", "w", "rate"].map((name) => [name, Number(form[name].value)]));
  return { ...game, b: exact.b ?? game.b, w: exact.w ?? game.w };
}

function move(place) {
  exact = place;
  for (const name of Object.keys(place)) form[name].value = place[name];
  draw();
}

function draw() {
  const [game, name] = [read(), form.objective.value];
  showValues(form, { b: () => format(game.b), w: () => format(game.w) });
  const texts = TEXTS[name];
  document.getElementById("line-formula").textContent = texts.formula;
  document.getElementById("value-title").textContent = texts.value;
  const lesson = document.getElementById("line-lesson");
  if (lesson.textContent !== texts.lesson) lesson.textContent = texts.lesson;
  const gradient = generatorGradient(name, game);
  const rows = {
    [texts.number]: format(value(name, game)),
    "G’s loss": format(generatorLoss(name, game)),
    "slope in b": format(gradient[0]),
    "slope in w": format(gradient[1]),
    "gradient’s size": format(Math.hypot(...gradient)),
    "G’s steps": String(walked),
  };
  document.getElementById("line-numbers").innerHTML = Object.entries(rows)
    .map(([term, number]) => `<div><dt>${term}</dt><dd>${number}</dd></div>`)
    .join("");
  measure(game);
  fill(stage, (width, height) => drawStage(width, height, game, name));
  fill(valueChart, (width, height) => drawValue(width, height, game, name));
  fill(sizeChart, (width, height) => drawSize(width, height, game, name, Math.hypot(...gradient)));
}

function measure({ mean, std, w }) {
  const key = [mean, std, w].join();
  if (curves?.key === key) return;
  const at = (f) => Object.fromEntries(Object.keys(LINE_GAMES).map((name) => [name, PLACES.map((b) => f(name, { mean, std, b, w }))]));
  curves = { key, values: at((name, game) => value(name, game, 401)), sizes: at((name, game) => Math.hypot(...generatorGradient(name, game, 401))) };
}

function places(width, height) {
  return { x: scale([LEFT, RIGHT], [8, width - 8]), y: scale([0, TOP], [height - STAGE.strip - STAGE.axis, 30]) };
}

/** Where the two dots are, in pixels: the top of the fakes' curve and its flank. */
function handles(width, height, { b, w }) {
  const { x, y } = places(width, height);
  const on = (at) => [x(at), Math.max(y(density(at, b, w)), y(TOP) + 6)];
  return { b: on(b), w: on(b + w) };
}

function drawStage(width, height, game, name) {
  const { mean, std, b, w } = game;
  const { x, y } = places(width, height);
  const xs = steps(LEFT, RIGHT, 331);
  const curve = (f) => path(xs.map((at) => [x(at), y(f(at))]));
  const { answer } = LINE_GAMES[name];
  const best = name === "wasserstein" ? (at) => 0.5 + answer(at, game) / 11 : (at) => LINE_GAMES.least_squares.answer(at, game);
  const dots = handles(width, height, game);
  const bottom = y(0);
  let text = `<clipPath id="field"><rect x="0" y="${y(TOP) - 8}" width="${width}" height="${bottom - y(TOP) + 8}"/></clipPath>`;
  if (name !== "wasserstein") {
    for (const [level, mark] of [[1, "D = 1"], [0.5, "½"]]) {
      text += `<path class="grid" d="M8 ${y(level)}H${width - 8}"/><text class="small" x="${width - 10}" y="${y(level) - 5}" text-anchor="end">${mark}</text>`;
    }
  }
  text += `<g clip-path="url(#field)"><path class="data" d="${curve((at) => density(at, mean, std))}"/>`;
  text += `<path class="fakes" d="${curve((at) => density(at, b, w))}"/><path class="best" d="${curve(best)}"/></g>`;
  text += `<path class="axis" d="M8 ${bottom}H${width - 8}"/>`;
  for (let at = -6; at <= 4; at += 2) text += `<text class="small" x="${x(at)}" y="${height - 6}" text-anchor="middle">${minus(String(at))}</text>`;
  for (let i = 0; i < 9; i++) text += drawFake(b + w * (i / 2 - 2), bottom + 8 + i * 8.5, x, game, name);
  for (const [dot, [cx, cy]] of Object.entries(dots)) {
    text += `<g class="dot" data-dot="${dot}"><circle cx="${cx}" cy="${cy}" r="11"/><text x="${cx}" y="${cy + 5}" text-anchor="middle">${dot}</text></g>`;
  }
  const words = [["data", "data-key", "data"], ["fakes", "fakes-key", "fakes"], [name === "wasserstein" ? "best critic f*" : "D*", "best-key", "best"]];
  words.forEach(([word, kind], i) => {
    text += `<path class="${kind}" d="M${12 + i * 96} 15h26"/><text x="${44 + i * 96}" y="20">${word}</text>`;
  });
  return text;
}

/** One fake on the strip, and its arrow: six units of the gradient are one unit of x, as in lesson 02. */
function drawFake(place, height, x, game, name) {
  if (place < LEFT || place > RIGHT) return "";
  const [from, to] = [x(place), x(Math.max(LEFT, Math.min(RIGHT, place - contribution(name, place, game) / 6)))];
  const side = Math.sign(to - from);
  const head = Math.min(7, Math.abs(to - from));
  const arrow = Math.abs(to - from) > 1 ? `<path class="arrow" d="M${from} ${height}H${to}m${-side * head} ${-head / 1.7}L${to} ${height}l${-side * head} ${head / 1.7}"/>` : "";
  return `${arrow}<circle class="fake" cx="${from}" cy="${height}" r="3.5"/>`;
}

function drawValue(width, height, game, name) {
  const values = curves.values[name];
  const marks = TEXTS[name].marks;
  const all = [...values, ...marks.map(([level]) => level)];
  const x = scale([PLACES[0], PLACES.at(-1)], [12, width - 12]);
  const y = scale([Math.min(...all), Math.max(...all)], [height - 26, 22]);
  let text = "";
  for (const [level, mark] of marks) {
    text += `<path class="grid" d="M12 ${y(level)}H${width - 12}"/><text class="small" x="${width - 12}" y="${y(level) - 4}" text-anchor="end">${mark}</text>`;
  }
  text += `<path class="best" d="${path(values.map((v, i) => [x(PLACES[i]), y(v)]))}"/>`;
  return text + bottom(x, height) + `<circle class="here" cx="${x(game.b)}" cy="${y(value(name, game))}" r="7"/>`;
}

function drawSize(width, height, game, name, size) {
  const [low, high] = [-10, 3]; // powers of ten
  const x = scale([PLACES[0], PLACES.at(-1)], [42, width - 12]);
  const y = scale([low, high], [height - 26, 12]);
  const level = (v) => y(Math.max(low, Math.min(high, Math.log10(v))));
  let text = "";
  for (const power of [-8, -4, 0]) {
    text += `<path class="grid" d="M42 ${y(power)}H${width - 12}"/><text class="small" x="38" y="${y(power) + 5}" text-anchor="end">${power ? `10${{ "-8": "⁻⁸", "-4": "⁻⁴" }[power]}` : "1"}</text>`;
  }
  for (const other of Object.keys(NAMES)) {
    const line = path(curves.sizes[other].map((v, i) => [x(PLACES[i]), level(v)]));
    const key = height - 96 + 18 * Object.keys(NAMES).indexOf(other);
    const chosen = other === name ? " chosen" : "";
    text += `<path class="size ${other}${chosen}" d="${line}"/><path class="size ${other}${chosen}" d="M${width - 168} ${key}h34"/>`;
    text += `<text class="small" x="${width - 128}" y="${key + 5}">${NAMES[other]}</text>`;
  }
  return text + bottom(x, height) + `<circle class="here" cx="${x(game.b)}" cy="${level(size)}" r="7"/>`;
}

function bottom(x, height) {
  const marks = [-6, -4, -2, 0, 2, 4].map((at) => `<text class="small" x="${x(at)}" y="${height - 6}" text-anchor="middle">${minus(String(at))}</text>`);
  return marks.join("");
}

// ---- What a reader does ---------------------------------------------------------------------------------------------

function step() {
  const game = read();
  const [db, dw] = generatorGradient(form.objective.value, game);
  walked += 1;
  const within = (value, low, high) => Math.max(low, Math.min(high, value));
  move({ b: within(game.b - game.rate * db, -6, 4), w: within(game.w - game.rate * dw, 0.1, 3) });
}

function walk(on) {
  clearInterval(walking);
  walking = on ? setInterval(step, 60) : null;
  document.getElementById("walk").textContent = on ? "Stop" : "Let G walk";
}

document.getElementById("walk").addEventListener("click", () => walk(!walking));
document.getElementById("walk-step").addEventListener("click", () => (walk(false), step()));
document.addEventListener("visibilitychange", () => document.hidden && walk(false));
for (const button of form.querySelectorAll("[data-start]")) {
  const [b, w] = button.dataset.start.split(" ").map(Number);
  button.addEventListener("click", () => ((walked = 0), move({ b, w })));
}
form.addEventListener("input", ({ target }) => {
  if (target.name in exact) delete exact[target.name];
  if (target.name !== "rate") walked = 0;
  draw();
});
form.addEventListener("submit", (event) => event.preventDefault());

stage.addEventListener("pointerdown", (event) => {
  const { left, top, width, height } = stage.getBoundingClientRect();
  const [px, py] = [event.clientX - left, event.clientY - top];
  const near = Object.entries(handles(width, height, read()))
    .map(([name, [x, y]]) => [Math.hypot(px - x, py - y), name])
    .sort(([a], [b]) => a - b)[0];
  if (near[0] > 30) return;
  event.preventDefault();
  walk(false);
  stage.setPointerCapture(event.pointerId);
  const drag = ({ clientX }) => {
    const { b } = read();
    const at = places(width, height).x.invert(clientX - left);
    const snapped = near[1] === "b" ? Math.round(at * 20) / 20 : Math.round((at - b) * 20) / 20;
    const [low, high] = near[1] === "b" ? [-6, 4] : [0.1, 3];
    walked = 0;
    move({ ...exact, [near[1]]: Math.max(low, Math.min(high, snapped)) });
  };
  stage.addEventListener("pointermove", drag);
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => stage.removeEventListener("pointermove", drag), { once: true });
});

new ResizeObserver(draw).observe(stage);
