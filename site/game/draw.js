// What both games share: charts as SVG text, and numbers as words.

/** A number for a reader: three digits, powers of ten where it is very small or large. */
export function format(value) {
  if (!Number.isFinite(value)) return "not finite";
  const size = Math.abs(value);
  if (size < 1e-12) return "0"; // rounding
  if (size >= 1e4 || size < 1e-3) {
    const [digits, power] = value.toExponential(0).split("e");
    return `${minus(digits)}·10${[...String(+power)].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻").join("")}`;
  }
  return minus(value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3));
}

export const minus = (text) => text.replace("-", "−");

/** A linear scale from one interval to another. */
export function scale([a, b], [from, to]) {
  return Object.assign((value) => from + ((value - a) / (b - a)) * (to - from), {
    invert: (place) => a + ((place - from) / (to - from)) * (b - a),
  });
}

/** The attribute d of a path through points [x, y]; it breaks where one is not finite. */
export function path(points) {
  let [text, pen] = ["", "M"];
  for (const [x, y] of points) {
    if (Number.isFinite(x + y)) text += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = Number.isFinite(x + y) ? "L" : "M";
  }
  return text;
}

export const steps = (from, to, count) => Array.from({ length: count }, (_, i) => from + ((to - from) * i) / (count - 1));

/** Fills an SVG of the page at its true size, so that letters keep theirs. `draw` gets width and height. */
export function fill(svg, draw) {
  const { width, height } = svg.getBoundingClientRect();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.innerHTML = draw(width, height);
}

/** Shows the value of each slider of a form beside its name. */
export function showValues(form, words = {}) {
  for (const input of form.querySelectorAll("input[type=range]")) {
    const text = (words[input.name] ?? ((value) => minus(String(value))))(Number(input.value));
    input.closest("label").querySelector(".value").textContent = text;
    input.setAttribute("aria-valuetext", text);
  }
}
