// Smaller circuits: drag the number of nodes, see the loss, and the drawing follows.

import { element, magnitude, percent, plural, shape } from "./dom.js";

const CURVE = { width: 260, height: 92, left: 8, right: 10, top: 16, bottom: 18 };
const GUESSING = Math.log(2);
// Nats: small losses could not be told apart beside much larger ones.
const MOST = 3;

// `state.page.sizes`: see viewer/size_curve.py; sets `state.chosen.shown`.
export function buildSizes(state) {
  const { order, points, pairs, ranked, target } = state.page.sizes;
  const last = points.length - 1;
  const slider = element("input", {
    type: "range",
    min: 0,
    max: last,
    step: 1,
    value: last,
    class: "size-slider",
    "aria-label": "nodes kept",
  });
  const told = element("output", { class: "size-told" });
  const curve = sizeCurve(points, target);
  const show = (index) => {
    const [k, loss, accuracy] = points[index];
    const text = `${plural(k, "node")}: loss ${magnitude(loss)}, ${percent(accuracy)} right`;
    told.textContent = text;
    slider.setAttribute("aria-valuetext", text);
    curve.mark(index);
  };
  slider.addEventListener("input", () => {
    const index = Number(slider.value);
    state.choose({ shown: index === last ? null : new Set(order.slice(0, points[index][0])) });
  });
  const follow = () => {
    const { shown } = state.chosen;
    const index = shown === null ? last : points.findIndex(([k]) => k === shown.size);
    if (index < 0) return;
    slider.value = String(index);
    show(index);
  };
  state.onChange((changes) => {
    if ("shown" in changes) follow();
  });
  follow();
  const whole = element(
    "button",
    { type: "button", onclick: () => state.choose({ shown: null }) },
    "all nodes",
  );
  return element(
    "section",
    { class: "sizes card", "aria-labelledby": "sizes-title" },
    element("h2", { id: "sizes-title" }, "Smaller circuits"),
    element("div", { class: "size-row" }, slider, told, whole),
    curve.svg,
    element(
      "p",
      { class: "quiet" },
      "Keeps the nodes that the circuit misses most when each is cut alone; the others are " +
        `held at their constants. Loss in nats on ${plural(pairs, "held-out pair")}; ` +
        `the ranking is ${ranked}.`,
    ),
  );
}

function sizeCurve(points, target) {
  const { width, height, left, right, top, bottom } = CURVE;
  const most = Math.max(GUESSING, ...points.map((point) => Math.min(point[1], MOST)));
  const above = points.some((point) => point[1] > MOST);
  const ends = [Math.log(points[0][0]), Math.log(points.at(-1)[0])];
  const x = (k) =>
    left + ((Math.log(k) - ends[0]) / (ends[1] - ends[0] || 1)) * (width - left - right);
  const y = (loss) => top + (1 - Math.min(loss, most) / most) * (height - top - bottom);
  const level = (loss, name) =>
    shape("line", { x1: left, x2: width - right, y1: y(loss), y2: y(loss), class: name });
  const word = (at, down, anchor, text) =>
    shape("text", { x: at, y: down, "text-anchor": anchor }, text);
  const dot = shape("circle", { r: 5, class: "here" });
  const svg = shape(
    "svg",
    {
      class: "size-curve",
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": curveWords(points, target),
    },
    level(GUESSING, "guessing"),
    target === null ? null : level(target, "asked"),
    word(left, 11, "start", above ? `loss; at the top ${MOST} or more` : "loss"),
    target === null ? null : word(left, y(target) - 3, "start", `target ${target}`),
    word(left, height - 5, "start", points[0][0]),
    word(width / 2, height - 5, "middle", "nodes"),
    word(width - right, height - 5, "end", points.at(-1)[0]),
    shape("polyline", {
      points: points.map(([k, loss]) => `${x(k).toFixed(1)},${y(loss).toFixed(1)}`).join(" "),
    }),
    dot,
  );
  const mark = (index) => {
    dot.setAttribute("cx", x(points[index][0]).toFixed(1));
    dot.setAttribute("cy", y(points[index][1]).toFixed(1));
  };
  return { svg, mark };
}

function curveWords(points, target) {
  const [first, last] = [points[0], points.at(-1)];
  const asked = target === null ? "" : `; target ${target} (dashed)`;
  return (
    `loss over the number of nodes, from ${magnitude(first[1])} with ${first[0]} ` +
    `to ${magnitude(last[1])} with ${last[0]}${asked}; dotted: guessing, 0.69`
  );
}
