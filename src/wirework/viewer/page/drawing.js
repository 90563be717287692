// The circuit as a picture: columns, wires, weights, boxes.

import { element, paint, rove, shape } from "./dom.js";
import { ANSWER, BOX, makeGeometry } from "./geometry.js";
import { followPointer } from "./focus.js";
import { chooseNode, currentSide, shareAt } from "./state.js";

const FAINTEST = 1.1;
const BOLDEST = 5;

export function buildDrawing(state) {
  const { drawing } = state.page;
  const parts = { lines: buildLines(drawing), boxes: buildBoxes(state), bar: shape("rect", { class: "bar", rx: 4 }) };
  const columns = shape("g", { class: "columns" });
  const svg = shape(
    "svg",
    { class: "circuit", role: "group", "aria-label": "the circuit, from tokens to answers" },
    columns,
    parts.bar,
    ...parts.lines.map((line) => line.group),
    ...parts.boxes,
  );
  const scroll = element("div", { class: "scroll" }, svg);
  const layOut = (available) => {
    const geometry = makeGeometry(drawing, available);
    svg.setAttribute("width", geometry.width);
    svg.setAttribute("height", geometry.height);
    for (const [name, value] of Object.entries(geometry.bar)) parts.bar.setAttribute(name, value);
    columns.replaceChildren(...buildColumns(drawing.columns, geometry));
    for (const line of parts.lines) line.draw(geometry);
    parts.boxes.forEach((box, index) => {
      const { x, y } = geometry.place(index);
      box.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
    });
  };
  // Only the width matters, and drawing changes the height.
  let known = 0;
  new ResizeObserver(() => {
    const width = scroll.clientWidth;
    if (width && width !== known) layOut((known = width));
  }).observe(scroll);

  const refresh = () => refreshBoxes(state, parts.boxes);
  state.onChange(refresh);
  refresh();
  const places = drawing.points.slice(0, parts.boxes.length);
  rove(parts.boxes, (at, key) => neighbour(places, at, key));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") chooseNode(state, null);
  });
  const tip = followPointer(state, svg, parts);
  return element("div", { class: "drawing" }, scroll, tip);
}

function buildColumns(columns, geometry) {
  const half = geometry.pitch / 2;
  const bands = [];
  const headings = columns.map((column, index) => {
    const last = index === columns.length - 1;
    // Boxes of answers are wider; headings stay in the middle of what they are above.
    const x = index === 0 ? 2 : geometry.x(index);
    const anchor = index === 0 ? "start" : "middle";
    const band = bands.at(-1);
    if (column.layer !== null) {
      if (band && band.layer === column.layer) band.to = x + half;
      else bands.push({ layer: column.layer, from: x - half, to: x + half });
    }
    return shape(
      "g",
      { class: `heading-text${last ? " last" : ""}`, "text-anchor": anchor },
      shape("text", { x, y: 36, class: "place" }, column.heading),
      shape("text", { x, y: 50, class: "word" }, column.word),
    );
  });
  return [
    ...bands.flatMap((band) => [
      shape("rect", {
        class: "band",
        x: band.from + 2,
        y: 2,
        width: band.to - band.from - 4,
        height: geometry.height - 4,
        rx: 8,
      }),
      shape(
        "text",
        { class: "layer", x: (band.from + band.to) / 2, y: 18, "text-anchor": "middle" },
        `layer ${band.layer}`,
      ),
    ]),
    ...headings,
  ];
}

// Every line has a group with what is seen and a wider, unseen path that the pointer finds.
function buildLines(drawing) {
  const largest = Math.max(...drawing.edges.map((edge) => Math.abs(edge.weight)), 0) || 1;
  const wires = drawing.links.filter((link) => link.kind === "residual" || link.kind === "embedding");
  const others = drawing.links.filter((link) => !wires.includes(link));
  return [
    ...wireSteps(wires),
    ...others.map((link) => line(link, `link ${link.kind}`, link.kind === "unembedding" ? 1.6 : 1.2)),
    ...drawing.edges.map((edge) => {
      const width = FAINTEST + ((BOLDEST - FAINTEST) * Math.abs(edge.weight)) / largest;
      return line(edge, "edge", width);
    }),
  ];
}

function line(value, kind, width) {
  const sign = value.weight > 0 ? "positive" : value.weight < 0 ? "negative" : "";
  const seen = shape("path", { class: "seen", "stroke-width": width.toFixed(2) });
  const hit = shape("path", { class: "hit" });
  return {
    group: shape("g", { class: `line ${kind} ${sign}` }, seen, hit),
    of: [value],
    draw(geometry) {
      const path = geometry.path(value.route);
      seen.setAttribute("d", path);
      hit.setAttribute("d", path);
    },
  };
}

// Links of one residual channel share their track, which is drawn once.
function wireSteps(links) {
  const steps = new Map();
  for (const link of links) {
    link.route.slice(1).forEach((to, index) => {
      const from = link.route[index];
      const key = `${from} ${to}`;
      if (!steps.has(key)) steps.set(key, { from, to, of: [] });
      steps.get(key).of.push(link);
    });
  }
  return [...steps.values()].map(({ from, to, of }) => {
    const kind = of.some((link) => link.kind === "residual") ? "residual" : "embedding";
    const seen = shape("path", { class: "seen", "stroke-width": 1.2 });
    const hit = shape("path", { class: "hit" });
    return {
      group: shape("g", { class: `line wire ${kind}` }, seen, hit),
      of,
      draw(geometry) {
        const path = geometry.step(from, to);
        seen.setAttribute("d", path);
        hit.setAttribute("d", path);
      },
    };
  });
}

function buildBoxes(state) {
  const { drawing } = state.page;
  const box = (index, label, size, kind, words, extra = null) =>
    shape(
      "g",
      {
        class: `box ${kind}`,
        role: "button",
        "aria-label": words,
        onclick: () => chooseNode(state, state.chosen.node === index ? null : index),
        onkeydown: (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          chooseNode(state, state.chosen.node === index ? null : index);
        },
      },
      shape("rect", {
        x: -size.width / 2,
        y: -size.height / 2,
        width: size.width,
        height: size.height,
        rx: 7,
      }),
      extra,
      shape("text", { "text-anchor": "middle", dy: "0.36em" }, label),
    );
  const nodes = drawing.nodes.map((node, index) =>
    box(index, node.label, BOX, "node", `${node.name}, ${node.words}`, node.positions ? positionMark() : null),
  );
  const answers = drawing.answers.map((answer, index) => {
    const label = answer.name.length > 12 ? `${answer.name.slice(0, 11)}…` : answer.name;
    const words = `answer ${answer.name}, ${answer.tokens.length} tokens`;
    return box(drawing.nodes.length + index, label, ANSWER, "answer", words);
  });
  return [...nodes, ...answers];
}

function positionMark() {
  return shape("circle", { class: "position-mark", cx: -BOX.width / 2, cy: 0, r: 3.5 });
}

function refreshBoxes(state, boxes) {
  const { page, chosen } = state;
  const side = currentSide(state);
  boxes.forEach((box, index) => {
    const share = shareAt(page, side, index, chosen.token);
    paint(box, share);
    box.classList.toggle("unknown", share === null);
    box.setAttribute("aria-pressed", String(chosen.node === index));
  });
}

// Arrow keys: up and down in a column, left and right to the nearest box of the next one.
function neighbour(boxes, at, key) {
  const [column, y] = boxes[at];
  const along = { ArrowUp: -1, ArrowDown: 1 }[key] ?? 0;
  const across = { ArrowLeft: -1, ArrowRight: 1 }[key] ?? 0;
  let best = -1;
  let least = Infinity;
  boxes.forEach(([otherColumn, otherY], index) => {
    const ahead = across ? (otherColumn - column) * across : otherColumn === column && (otherY - y) * along;
    if (!(ahead > 0)) return;
    const distance = Math.abs(otherColumn - column) * 1e6 + Math.abs(otherY - y);
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
}
