// The union of two circuits as a picture: colour and line pattern say which has what.

import { element, rove, shape } from "./dom.js";

const NODE = { width: 42, height: 23 };
const GOAL = { width: 92, height: 30 };
const MARGIN = { top: 50, left: 26, bottom: 12 };
const STEP = { least: 64, most: 128 };

export function sampleOf(side) {
  return shape(
    "svg",
    { class: "sample", width: 34, height: 12, "aria-hidden": "true" },
    shape("path", { d: "M1 6H33", class: `overlay-line side-${side}` }),
  );
}

// `chosen`: node, and which sides are hidden; `changed` is called when a node is chosen.
export function buildOverlay(page, words, chosen, changed) {
  const { drawing } = page;
  const count = drawing.nodes.length;
  const lines = [...drawing.links, ...drawing.edges].map((line) => ({
    line,
    path: shape("path", {
      class: `overlay-line ${line.kind === "edge" ? "edge" : "link"} side-${line.in}`,
    }),
  }));
  const pick = (index) => {
    chosen.node = chosen.node === index ? null : index;
    changed();
  };
  const boxes = drawing.nodes.map((node, index) => overlayBox(node, index, words, pick));
  const goals = drawing.answers.map((answer) =>
    boxShape(
      "g",
      GOAL,
      answer.in,
      answer.name.length > 12 ? `${answer.name.slice(0, 11)}…` : answer.name,
      {
        role: "img",
        "aria-label": `answer ${answer.name}, ${words[answer.in]}`,
      },
    ),
  );
  const heads = shape("g", {});
  const svg = shape(
    "svg",
    { class: "overlay", role: "group", "aria-label": "both circuits, from tokens to answers" },
    heads,
    ...lines.map(({ path }) => path),
    ...goals,
    ...boxes,
  );
  rove(
    boxes,
    (at, key) =>
      ({ ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1 })[key],
  );
  const scroll = element("div", { class: "scroll" }, svg);
  let known = 0;
  new ResizeObserver(() => {
    if (scroll.clientWidth && scroll.clientWidth !== known) {
      known = scroll.clientWidth;
      layOutOverlay(drawing, known, { svg, heads, lines, boxes: [...boxes, ...goals] });
    }
  }).observe(scroll);
  return {
    view: scroll,
    refresh() {
      const touched = new Set();
      for (const { line, path } of lines) {
        const lit = chosen.node !== null && [line.source, line.target].includes(chosen.node);
        if (lit) touched.add(line.source).add(line.target);
        path.classList.toggle("lit", lit);
        path.classList.toggle("hidden", chosen.hidden.has(line.in));
      }
      svg.classList.toggle("has-choice", chosen.node !== null);
      boxes.forEach((box, index) => {
        box.setAttribute("aria-pressed", String(index === chosen.node));
        box.classList.toggle("lit", index === chosen.node || touched.has(index));
        box.classList.toggle("hidden", chosen.hidden.has(drawing.nodes[index].in));
      });
      goals.forEach((goal, index) => goal.classList.toggle("lit", touched.has(count + index)));
    },
  };
}

function overlayBox(node, index, words, pick) {
  return boxShape(
    "g",
    NODE,
    node.in,
    node.label,
    {
      role: "button",
      "aria-label": `${node.name}, ${words[node.in]}`,
      onclick: () => pick(index),
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        pick(index);
      },
    },
    shape("title", {}, `${node.name}: ${node.words}; ${words[node.in]}`),
  );
}

function boxShape(name, size, side, label, attributes, ...rest) {
  return shape(
    name,
    { class: `overlay-box side-${side}`, ...attributes },
    ...rest,
    shape("rect", {
      x: -size.width / 2,
      y: -size.height / 2,
      width: size.width,
      height: size.height,
      rx: 6,
    }),
    shape("text", { "text-anchor": "middle", dy: "0.36em" }, label),
  );
}

function layOutOverlay(drawing, available, parts) {
  const last = drawing.columns.length - 1;
  const pitch = Math.min(
    STEP.most,
    Math.max(STEP.least, (available - MARGIN.left - GOAL.width - 4) / last),
  );
  const x = (column) => MARGIN.left + pitch * column + (column === last ? GOAL.width / 2 - 20 : 0);
  const at = (point) => ({
    x: x(drawing.points[point][0]),
    y: drawing.points[point][1] + MARGIN.top,
  });
  parts.svg.setAttribute("width", x(last) + GOAL.width / 2 + 4);
  parts.svg.setAttribute("height", drawing.height + MARGIN.top + MARGIN.bottom);
  parts.heads.replaceChildren(
    ...drawing.columns.map((column, index) =>
      shape(
        "g",
        { "text-anchor": index ? "middle" : "start" },
        shape(
          "text",
          { x: index ? x(index) : 2, y: 16, class: "layer" },
          column.layer === null ? "" : `layer ${column.layer}`,
        ),
        shape("text", { x: index ? x(index) : 2, y: 32, class: "place" }, column.heading),
      ),
    ),
  );
  for (const { line, path } of parts.lines) path.setAttribute("d", overlayPath(line.route.map(at)));
  parts.boxes.forEach((box, index) => {
    const point = at(index);
    box.setAttribute("transform", `translate(${point.x.toFixed(1)} ${point.y.toFixed(1)})`);
  });
}

// Level at every point that it runs through.
function overlayPath(points) {
  const round = (value) => Math.round(value * 10) / 10;
  const parts = points.slice(1).map((to, index) => {
    const from = points[index];
    const middle = round((from.x + to.x) / 2);
    return `C${middle} ${round(from.y)} ${middle} ${round(to.y)} ${round(to.x)} ${round(to.y)}`;
  });
  return `M${round(points[0].x)} ${round(points[0].y)}${parts.join("")}`;
}
