/* The networks of the course, run in the reader's browser by onnxruntime-web.

   The first part knows networks and latents, the second the page. A picture is drawn when something asks for it and no
   other drawing is under way, at most once a frame, so a slider that moves faster than the network skips pictures. */

export const LATENT_DIM = 100;
const PLAIN_FACES = 51;
const here = new URL(".", import.meta.url);
const by = (id) => document.getElementById(id);

/* Networks and latents */

let runtime;
const sessions = new Map();

function load(name) {
  if (!sessions.has(name)) sessions.set(name, start(name));
  return sessions.get(name);
}

async function start(name) {
  runtime ??= import("./vendor/ort.wasm.min.mjs");
  const ort = await runtime;
  ort.env.wasm.wasmPaths = new URL("vendor/", here).href;
  ort.env.wasm.numThreads = 1; // more need headers that a plain server does not send
  return ort.InferenceSession.create(new URL(`${name}.onnx`, here).href, { executionProviders: ["wasm"] });
}

let turn = Promise.resolve();

/** What a network returns, a Float32Array, for a batch: one flat array for each input, in the order of the model's. */
export function run(name, count, ...inputs) {
  turn = turn.catch(() => {}).then(async () => {
    const [ort, session] = [await runtime, await load(name)];
    const feeds = session.inputNames.map((input, index) => {
      const shape = [count, ...session.inputMetadata[index].shape.slice(1)];
      return [input, new ort.Tensor("float32", Float32Array.from(inputs[index]), shape)];
    });
    const results = await session.run(Object.fromEntries(feeds));
    return results[session.outputNames[0]].data;
  });
  return turn;
}

/** A latent of N(0, I) that depends on the seed alone: mulberry32, then Box and Muller. */
export function latent(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return Array.from({ length: LATENT_DIM }, () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
}

export const length = (z) => Math.hypot(...z);

/** A point of the straight line from a to b. */
export function line(a, b, t) {
  return a.map((value, index) => (1 - t) * value + t * b[index]);
}

/** A point of the arc: the angle grows evenly and so does the length, as in gan_utils.latent.spherical. */
export function arc(a, b, t) {
  const [lengthA, lengthB] = [length(a), length(b)];
  const cosine = a.reduce((sum, value, index) => sum + value * b[index], 0) / (lengthA * lengthB);
  const angle = Math.acos(Math.min(cosine, 1));
  if (angle < 1e-6) return line(a, b, t);
  const [first, second] = [1 - t, t].map((part) => Math.sin(part * angle) / Math.sin(angle));
  const size = (1 - t) * lengthA + t * lengthB;
  return a.map((value, index) => size * ((first * value) / lengthA + (second * b[index]) / lengthB));
}

export const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));

/** Puts image number `index` of a batch on a canvas, whose size is the image's. */
export function paint(canvas, values, index = 0) {
  const pixels = canvas.width * canvas.height;
  const channels = canvas.dataset.gray === undefined ? 3 : 1;
  const picture = new ImageData(canvas.width, canvas.height);
  for (let pixel = 0; pixel < pixels; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      const place = (index * pixels + pixel) * channels + Math.min(channel, channels - 1);
      picture.data[4 * pixel + channel] = (values[place] + 1) * 127.5; // from [−1, 1]
    }
    picture.data[4 * pixel + 3] = 255;
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

/* The page */

const frame = () => new Promise(requestAnimationFrame);
const signed = (value, digits = 1) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
const percent = (share) => `${(100 * share).toFixed(share > 0.01 && share < 0.99 ? 0 : 1)} %`;

/** The drawings that are under way; tests wait for them. */
export const drawings = new Set();

/** The same work, done at most once a frame and never twice at a time; the last wish is always heard. */
function whenFree(work) {
  let wanted = false;
  let running = null;
  async function go() {
    while (wanted) {
      wanted = false;
      await work();
      await frame();
    }
  }
  return () => {
    wanted = true;
    if (!running) {
      running = go()
        .catch((error) => trouble(`A network could not be run (${error.message}). Load the page again, or use another browser.`))
        .finally(() => (drawings.delete(running), (running = null)));
      drawings.add(running);
    }
    return running;
  };
}

function trouble(sentence) {
  by("status").className = "trouble";
  by("status").textContent = sentence;
}

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

/** Draws two histograms of logits, real above the axis and fake below; returns what moves the marks. */
function gauge(svg, logits, name = "") {
  const narrow = svg.clientWidth < 500;
  const [width, height, middle, letters] = narrow ? [380, 190, 85, 16] : [720, 170, 80, 16];
  const [low, high, bins] = [-13, 8, 42];
  const x = (logit) => (width * (Math.min(Math.max(logit, low), high) - low)) / (high - low);
  const add = (tag, attributes, text) => svg.append(element(tag, attributes, text));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  for (const [kind, side] of [["real", -1], ["fake", 1]]) {
    const counts = new Array(bins).fill(0);
    for (const logit of logits[kind]) counts[Math.min(Math.floor(((x(logit) / width) * bins)), bins - 1)]++;
    const points = counts.map((count, bin) => `${((bin + 0.5) * width) / bins},${middle + (side * 55 * count) / Math.max(...counts)}`);
    add("path", { d: `M0,${middle}L${points.join("L")}L${width},${middle}Z`, class: `curve ${kind}` });
  }
  add("line", { x1: 0, x2: width, y1: middle, y2: middle, class: "axis" });
  for (const tick of [-10, -5, 0, 5]) {
    add("line", { x1: x(tick), x2: x(tick), y1: middle - 5, y2: middle + 5, class: "axis" });
    add("text", { x: x(tick), y: height - 5, "font-size": letters, "text-anchor": "middle" }, tick < 0 ? `−${-tick}` : tick);
  }
  add("text", { x: width, y: middle - 38, "font-size": letters, "text-anchor": "end", class: "real" }, "real images");
  add("text", { x: 0, y: middle + 50, "font-size": letters, class: "fake" }, "generated images");
  const marks = element("g", {});
  svg.append(marks);
  return (values) => {
    const lines = values.map((v) => element("line", { x1: x(v), x2: x(v), y1: 20, y2: height - 25, class: "mark" }));
    const place = { x: Math.min(Math.max(x(values[0]), 40), width - 40), y: 14, "font-size": letters, "text-anchor": "middle" };
    marks.replaceChildren(...lines, element("text", place, name));
  };
}

/** One slider with its name and value in a row; calls `changed` when it moves. */
function slider(parent, name, label, changed) {
  const row = document.createElement("label");
  row.className = "slider";
  const input = Object.assign(document.createElement("input"), { type: "range", min: -5, max: 5, step: 0.1, value: 0, name });
  const shown = Object.assign(document.createElement("output"), { value: "0" });
  const title = Object.assign(document.createElement("span"), { textContent: label });
  row.append(title, input, shown);
  parent.append(row);
  const show = () => (shown.value = Number(input.value) ? signed(Number(input.value)) : "0");
  input.addEventListener("input", () => (show(), changed()));
  return { name, label, amount: () => Number(input.value), reset: () => ((input.value = 0), show()) };
}

const FIRST = { smile: "smile", glasses: "glasses", beard: "beard", "long hair": "long hair", skin: "dark skin", turn: "turn" };
const MORE = { "black hair": "black hair", "blond hair": "blond hair", "red hair": "red hair", "short hair": "short hair" };

let explorer; // what explorer.json says

/** The latent of a face by number: the plain ones of notebook 05 first, then any. */
const face = (number) => explorer.faces[number] ?? latent(number);
const anyFace = () => PLAIN_FACES + Math.floor(Math.random() * (10000 - PLAIN_FACES));

function startFaces() {
  const number = by("number");
  const mark = gauge(by("gauge"), explorer.logits.faces, "this face");
  const draw = whenFree(async () => {
    const z = face(Number(number.value)).slice();
    const moved = [];
    for (const { name, label, amount } of sliders) {
      if (amount()) moved.push(`${label} ${signed(amount())}`);
      explorer.directions[name].forEach((value, index) => (z[index] += amount() * value));
    }
    const image = await run("faces_generator", 1, z);
    paint(by("face"), image);
    by("face").setAttribute("aria-label", `Generated face ${number.value}${moved.length ? " with " : ""}${moved.join(", ")}`);
    by("norm").value = length(z).toFixed(1);
    paintLatent(by("latent"), z);
    const [logit] = await run("faces_discriminator", 1, image);
    mark([logit]);
    by("opinion").textContent = `Logit ${signed(logit)}: “${logit < 0 ? "fake" : "real"}”. D gives it a chance of ${percent(sigmoid(logit))} to be real.`;
  });
  const make = (parent, names) => Object.entries(names).map(([name, label]) => slider(by(parent), name, label, draw));
  const sliders = [...make("sliders", FIRST), ...make("more", MORE)];
  const show = (next) => ((number.value = next), draw());
  by("another").addEventListener("click", () => show(anyFace()));
  by("plain").addEventListener("click", () => show((Number(number.value) + 1) % PLAIN_FACES));
  by("reset").addEventListener("click", () => (sliders.forEach((one) => one.reset()), draw()));
  number.addEventListener("input", () => number.checkValidity() && number.value !== "" && draw());
  const { real, fake } = explorer.logits.faces;
  const above = (logits) => logits.filter((logit) => logit > 0).length;
  by("shares").textContent = `${above(real)} of the real ones lie above 0, and ${above(fake)} of G's.`;
  return draw();
}

/** z as squares of 10 × 10: blue above 0, vermillion below, pale near 0. */
function paintLatent(canvas, z) {
  const style = getComputedStyle(document.body);
  const color = (name) => style.getPropertyValue(`--course-${name}`).trim();
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, 10, 10);
  z.forEach((value, index) => {
    context.globalAlpha = Math.min(Math.abs(value) / 3, 1);
    context.fillStyle = color(value < 0 ? "vermillion" : "blue");
    context.fillRect(index % 10, Math.floor(index / 10), 1, 1);
  });
}

function startWalk() {
  const at = by("t");
  let ends = [0, anyFace()];
  let walking = false;
  let [since, count, rate] = [0, 0, ""];
  const draw = whenFree(async () => {
    count++;
    const t = Number(at.value);
    const way = document.querySelector("[name=way]:checked").value === "arc" ? arc : line;
    const [a, b] = ends.map(face);
    const z = way(a, b, t);
    const images = await run("faces_generator", 3, [...a, ...z, ...b]);
    ["from", "between", "to"].forEach((id, index) => paint(by(id), images, index));
    const logits = await run("faces_discriminator", 3, images);
    by("t-value").value = t.toFixed(2);
    by("walked").textContent = `From face ${ends[0]} to ${ends[1]}. Length of z: ${length(z).toFixed(1)}. D's logit: ${signed(logits[1])}.${rate}`;
  });
  async function walk() {
    let before = performance.now();
    [since, count] = [before, 0];
    while (walking) {
      await draw();
      const now = performance.now();
      let t = Number(at.value) + Math.min(now - before, 200) / 4000; // four seconds from face to face
      before = now;
      if (t >= 1) [t, ends] = [0, [ends[1], anyFace()]];
      at.value = t;
      if (now - since > 1000) {
        rate = ` ${((1000 * count) / (now - since)).toFixed(0)} new images a second.`;
        [since, count] = [now, 0];
      }
    }
    rate = "";
    draw();
  }
  const play = by("play");
  play.addEventListener("click", () => {
    walking = !walking;
    play.textContent = walking ? "Stop" : "Walk";
    play.setAttribute("aria-pressed", walking);
    if (walking) walk();
  });
  by("pair").addEventListener("click", () => ((ends = [anyFace(), anyFace()]), draw()));
  at.addEventListener("input", draw);
  document.querySelectorAll("[name=way]").forEach((radio) => radio.addEventListener("change", draw));
  return draw();
}

async function startDigits() {
  by("digits-opinion").textContent = "Loading the networks for digits: 4.3 MB.";
  await Promise.all(["mnist_conditional_generator", "mnist_discriminator"].map(load));
  const mark = gauge(by("digits-gauge"), explorer.logits.mnist);
  let seed = 1;
  const draw = whenFree(async () => {
    const digits = [...by("text").value].filter((sign) => /[0-9]/.test(sign)).map(Number);
    if (!digits.length) {
      by("digits-opinion").textContent = "Type digits from 0 to 9; other signs this generator does not know.";
      return;
    }
    const each = document.querySelector("[name=latents]:checked").value === "each";
    const z = digits.flatMap((_, index) => latent(seed + (each ? index : 0)));
    const labels = digits.flatMap((digit) => Array.from({ length: 10 }, (_, index) => Number(index === digit)));
    const images = await run("mnist_conditional_generator", digits.length, z, labels);
    const logits = await run("mnist_discriminator", digits.length, images);
    const figures = digits.map((digit, index) => {
      const figure = document.createElement("figure");
      figure.innerHTML = `<canvas class="pixels" width="28" height="28" data-gray role="img" aria-label="A generated ${digit}"></canvas>`;
      figure.append(Object.assign(document.createElement("figcaption"), { textContent: signed(logits[index]) }));
      paint(figure.firstChild, images, index);
      return figure;
    });
    by("written").replaceChildren(...figures);
    mark([...logits]);
    by("digits-opinion").textContent = "Under each digit the logit of a D for digits.";
  });
  by("again").addEventListener("click", () => ((seed = Math.floor(Math.random() * 1e9)), draw()));
  by("text").addEventListener("input", draw);
  document.querySelectorAll("[name=latents]").forEach((radio) => radio.addEventListener("change", draw));
  await draw();
  document.querySelector("#digits fieldset").disabled = false;
}

async function main() {
  if (typeof WebAssembly !== "object") {
    trouble(
      "The networks on this page run on WebAssembly, which this browser does not offer; some switch it off in a strict " +
        "mode. Everything else of the course works without it: lesson 05 does the same on Colab or on your computer.",
    );
    return;
  }
  const answer = await fetch(new URL("explorer.json", here));
  if (!answer.ok) throw new Error(`explorer.json: ${answer.status}`);
  explorer = await answer.json();
  await Promise.all(["faces_generator", "faces_discriminator"].map(load));
  await startFaces();
  await startWalk();
  document.querySelectorAll("#faces fieldset, #walk fieldset").forEach((set) => (set.disabled = false));
  by("status").textContent = "Move a slider: a generator, trained in this course, draws the face anew from 100 numbers z.";
  const near = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      near.disconnect();
      startDigits().catch(report);
    },
    { rootMargin: "200px" },
  );
  near.observe(by("digits"));
}

function report(error) {
  trouble(`The page could not load its networks (${error.message}). Load it again, or read lesson 05 instead.`);
}

main().catch(report);
