// Two circuits laid over each other: the page of a comparison.

import { schemeButton } from "./scheme.js";
import { element, plural, shape, signed } from "./dom.js";
import { buildOverlay, sampleOf } from "./overlay.js";

const WHERE = ["both", "left", "right"];
const SHOWN_ROWS = 40;

const page = JSON.parse(document.getElementById("content").textContent);
const words = { both: "in both", left: `only ${page.names[0]}`, right: `only ${page.names[1]}` };
const chosen = { node: null, hidden: new Set(), every: false, order: "difference" };
const weightPlace = element("div", {
  class: "scroll",
  tabindex: 0,
  role: "region",
  "aria-label": "weights of both circuits",
});
const weights = element("section", { class: "card weights", "aria-labelledby": "weights-title" });
const overlay = buildOverlay(page, words, chosen, refresh);

document
  .getElementById("page")
  .append(
    heading(),
    ...page.notes.map((note) => element("p", { class: "card notice" }, note)),
    element(
      "section",
      { class: "card picture", "aria-label": "overlay of both circuits" },
      toggles(),
      overlay.view,
    ),
    weights,
  );
refresh();
document.documentElement.dataset.ready = "true";

function heading() {
  const rows = ["task", "nodes", "edges", "loss", "accuracy", "seed", "model"];
  return element(
    "header",
    { class: "heading compare-heading" },
    element(
      "div",
      { class: "title" },
      element(
        "h1",
        {},
        `${page.names[0]} `,
        element("span", { class: "quiet" }, "beside"),
        ` ${page.names[1]}`,
      ),
      element(
        "p",
        {},
        "One drawing of both circuits: what they share, and what only one of them has.",
      ),
    ),
    schemeButton(),
    element(
      "div",
      { class: "compare-tables" },
      plainTable(
        ["", ...page.names],
        rows.map((row) => [row, ...page.circuits.map((circuit) => circuit[row])]),
      ),
      plainTable(
        ["", "in both", ...page.names.map((name) => `only ${name}`), "shared (Jaccard)"],
        page.shares.map((one) => [one.what, one.both, one.left, one.right, one.jaccard]),
      ),
    ),
  );
}

function plainTable(heads, rows) {
  return element(
    "table",
    {},
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        ...heads.map((head) => (head ? element("th", { scope: "col" }, head) : element("td"))),
      ),
    ),
    element(
      "tbody",
      {},
      ...rows.map(([first, ...rest]) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, first),
          ...rest.map((cell) => element("td", { class: "number" }, String(cell))),
        ),
      ),
    ),
  );
}

// Buttons that are the legend as well.
function toggles() {
  const edges = page.shares.find((one) => one.what === "edges");
  return element(
    "div",
    { class: "legend", role: "group", "aria-label": "what is shown" },
    ...WHERE.map((side) => {
      const button = element(
        "button",
        { class: "entry", type: "button", "aria-pressed": "true" },
        sampleOf(side),
        `${words[side]} (${plural(edges[side], "edge")})`,
      );
      button.addEventListener("click", () => {
        if (!chosen.hidden.delete(side)) chosen.hidden.add(side);
        button.setAttribute("aria-pressed", String(!chosen.hidden.has(side)));
        refresh();
      });
      return button;
    }),
  );
}

function refresh() {
  overlay.refresh();
  const rows = visibleEdges();
  const about =
    chosen.node === null ? "Weights" : `Weights of ${page.drawing.nodes[chosen.node].name}`;
  const more = rows.length > SHOWN_ROWS && !chosen.every;
  weightPlace.replaceChildren(weightTable(more ? rows.slice(0, SHOWN_ROWS) : rows));
  weights.replaceChildren(
    element("h2", { id: "weights-title" }, about),
    element("p", { class: "quiet" }, nodeWords(), `${plural(rows.length, "weight")}. `),
    weightPlace,
    more
      ? element(
          "button",
          {
            type: "button",
            onclick: () => {
              chosen.every = true;
              refresh();
            },
          },
          `show all ${rows.length}`,
        )
      : "",
  );
}

function nodeWords() {
  if (chosen.node === null) return "Choose a node to see its weights alone. ";
  const node = page.drawing.nodes[chosen.node];
  return `${node.words}; ${words[node.in]}. `;
}

function visibleEdges() {
  const rows = page.drawing.edges.filter(
    (edge) =>
      !chosen.hidden.has(edge.in) &&
      (chosen.node === null || [edge.source, edge.target].includes(chosen.node)),
  );
  const size = {
    difference: (edge) => Math.abs((edge.left ?? 0) - (edge.right ?? 0)),
    left: (edge) => Math.abs(edge.left ?? 0),
    right: (edge) => Math.abs(edge.right ?? 0),
  }[chosen.order];
  return rows.sort((one, other) => size(other) - size(one));
}

function weightTable(rows) {
  const name = (box) => page.drawing.nodes[box].name;
  const heads = [
    ["left", page.names[0]],
    ["right", page.names[1]],
    ["difference", "difference"],
  ];
  return element(
    "table",
    {},
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        element("th", { scope: "col" }, "edge"),
        element("th", { scope: "col" }, "where"),
        ...heads.map(([order, text]) =>
          element(
            "th",
            { scope: "col", "aria-sort": chosen.order === order ? "descending" : "none" },
            element(
              "button",
              {
                type: "button",
                class: "sort",
                onclick: () => {
                  chosen.order = order;
                  refresh();
                },
              },
              chosen.order === order ? `${text} ▾` : text,
            ),
          ),
        ),
      ),
    ),
    element(
      "tbody",
      {},
      ...rows.map((edge) =>
        element(
          "tr",
          {},
          element(
            "th",
            { scope: "row", class: "edge-name" },
            `${name(edge.source)} → ${name(edge.target)}`,
          ),
          element("td", { class: `side-${edge.in}` }, sampleOf(edge.in), ` ${words[edge.in]}`),
          element("td", { class: "number" }, signed(edge.left)),
          element("td", { class: "number" }, signed(edge.right)),
          element(
            "td",
            { class: "number" },
            edge.in === "both" ? signed(edge.left - edge.right) : "–",
          ),
        ),
      ),
    ),
  );
}
