// All circuits of a folder: cards, and which tasks share which nodes. The page of a gallery.

import { schemeButton } from "./scheme.js";
import { element, plural, shape } from "./dom.js";
import { buildNodeMap } from "./nodemap.js";
import { verdictMark } from "./verdict.js";

const SMALL = { width: 260, height: 120, edge: 8 };
const RANKS = { faithful: 0, partly: 1, unfaithful: 2 };
const ORDERS = {
  task: (one) => [one.task, one.edges],
  edges: (one) => [one.edges, one.task],
  nodes: (one) => [one.nodes, one.task],
  loss: (one) => [one.loss ?? Infinity, one.task],
  verdict: (one) => [RANKS[one.verdict] ?? 3, one.task],
  file: (one) => [one.file, one.task],
};

const page = JSON.parse(document.getElementById("content").textContent);
const asked = { order: "task", falling: false, task: "" };
const grid = element("ul", { class: "circuit-cards", "aria-label": "circuits" });
const told = element("p", { class: "quiet", role: "status" });

document
  .getElementById("page")
  .append(
    galleryHeading(),
    ...(page.damaged.length ? [damagedFiles()] : []),
    element("section", { class: "card", "aria-label": "circuits" }, galleryControls(), told, grid),
    ...page.maps.map(buildNodeMap),
  );
showCards();
document.documentElement.dataset.ready = "true";

function galleryHeading() {
  const tasks = new Set(page.circuits.map((one) => one.task)).size;
  const models = new Set(page.circuits.map((one) => one.model)).size;
  return element(
    "header",
    { class: "heading gallery-heading" },
    element(
      "div",
      { class: "title" },
      element("h1", {}, page.title),
      element(
        "p",
        {},
        [
          plural(page.circuits.length, "circuit"),
          plural(tasks, "task"),
          `${plural(models, "model")}. Choose one to open its page.`,
        ].join(", "),
      ),
    ),
    schemeButton(),
  );
}

function damagedFiles() {
  return element(
    "section",
    { class: "card damaged", "aria-labelledby": "damaged-title" },
    element(
      "h2",
      { id: "damaged-title" },
      `${plural(page.damaged.length, "file")} could not be read`,
    ),
    element(
      "ul",
      {},
      ...page.damaged.map((one) =>
        element("li", {}, element("strong", {}, one.file), `: ${one.fault}`),
      ),
    ),
  );
}

function galleryControls() {
  const order = element(
    "select",
    {},
    ...Object.keys(ORDERS).map((name) => element("option", { value: name }, name)),
  );
  order.addEventListener("change", () => {
    asked.order = order.value;
    showCards();
  });
  const turn = element("button", { type: "button", "aria-pressed": "false" }, "↓ falling");
  turn.addEventListener("click", () => {
    asked.falling = !asked.falling;
    turn.setAttribute("aria-pressed", String(asked.falling));
    showCards();
  });
  const tasks = [...new Set(page.circuits.map((one) => one.task))].sort();
  const task = element(
    "select",
    {},
    element("option", { value: "" }, "all tasks"),
    ...tasks.map((name) => element("option", { value: name }, name)),
  );
  task.addEventListener("change", () => {
    asked.task = task.value;
    showCards();
  });
  return element(
    "div",
    { class: "toolbar" },
    element("label", {}, "sort by ", order),
    turn,
    tasks.length > 1 ? element("label", {}, "show ", task) : null,
  );
}

function showCards() {
  const key = ORDERS[asked.order];
  const shown = page.circuits.filter((one) => asked.task === "" || one.task === asked.task);
  const sign = asked.falling ? -1 : 1;
  shown.sort((one, other) => sign * compareKeys(key(one), key(other)));
  grid.replaceChildren(...shown.map(circuitCard));
  const falling = asked.falling ? ", falling" : "";
  told.textContent = `${plural(shown.length, "circuit")}, by ${asked.order}${falling}`;
}

function compareKeys(one, other) {
  for (let i = 0; i < one.length; i += 1) {
    if (one[i] < other[i]) return -1;
    if (one[i] > other[i]) return 1;
  }
  return 0;
}

function circuitCard(one) {
  const figures = [
    ["nodes", one.nodes.toLocaleString("en")],
    ["edges", one.edges.toLocaleString("en")],
    ["loss", one.loss_text],
    ["right", one.accuracy],
  ];
  return element(
    "li",
    { class: "circuit-card" },
    smallDrawing(one.drawing),
    element("h2", {}, element("a", { href: one.href }, one.task || one.file)),
    element("p", { class: "quiet" }, one.file, one.seed === "" ? "" : ` · seed ${one.seed}`),
    element(
      "dl",
      { class: "card-figures" },
      ...figures.map(([name, value]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, value)),
      ),
    ),
    element("p", {}, cardVerdict(one)),
  );
}

function cardVerdict(one) {
  const missed = one.missed.length ? `missed: ${one.missed.join(", ")}` : null;
  return element(
    "span",
    {},
    verdictMark(one.verdict ?? "not validated"),
    missed ? element("span", { class: "quiet missed-names" }, missed) : null,
  );
}

function smallDrawing(drawing) {
  const { width, height, edge } = SMALL;
  const x = (share) => (edge + share * (width - 2 * edge)).toFixed(1);
  const y = (share) => (edge + share * (height - 2 * edge)).toFixed(1);
  const largest = Math.max(...drawing.lines.map((line) => Math.abs(line[2])), 0) || 1;
  const nodes = drawing.points.length - drawing.answers;
  return shape(
    "svg",
    { class: "small-drawing", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    ...drawing.lines.map(([from, to, weight]) => {
      const [a, b] = [drawing.points[from], drawing.points[to]];
      const sign = weight > 0 ? "positive" : weight < 0 ? "negative" : "wire";
      const bold = 0.5 + (1.6 * Math.abs(weight)) / largest;
      return shape("path", {
        class: sign,
        "stroke-width": bold.toFixed(2),
        d: `M${x(a[0])} ${y(a[1])}L${x(b[0])} ${y(b[1])}`,
      });
    }),
    ...drawing.points.map(([column, down], index) =>
      shape("circle", {
        cx: x(column),
        cy: y(down),
        r: index < nodes ? 2 : 4,
        class: index < nodes ? "dot" : "goal",
      }),
    ),
  );
}
