// The same as a table, for those who do not see the picture, and for copying.

import { element, magnitude, plural, signed } from "./dom.js";
import { labelText, nodeLabel } from "./boxes.js";
import { boxName, chooseEdge, chooseNode, currentSide, valueAt } from "./state.js";
import { carriedAt } from "./strength.js";

const ROWS_AT_ONCE = 200;

export function buildTable(state, effects) {
  const place = element("div", { class: "tables" });
  const most = { nodes: ROWS_AT_ONCE, edges: ROWS_AT_ONCE };
  const details = element(
    "details",
    { class: "as-table" },
    element("summary", {}, "Nodes and edges as tables"),
    place,
  );
  const show = () => {
    if (!details.open) return;
    const more = (kind) => () => {
      most[kind] += ROWS_AT_ONCE;
      show();
    };
    place.replaceChildren(
      nodeTable(state, effects, most.nodes, more("nodes")),
      edgeTable(state, effects, most.edges, more("edges")),
    );
  };
  details.addEventListener("toggle", show);
  state.onChange((changes) => {
    if ("token" in changes || "side" in changes || "example" in changes) show();
  });
  return details;
}

// The strongest first.
function strongestFirst(sizes, most) {
  const all = sizes.map((_, index) => index);
  return all.sort((a, b) => sizes[b] - sizes[a] || a - b).slice(0, most);
}

function nodeTable(state, effects, most, more) {
  const { page, chosen } = state;
  const { nodes } = page.drawing;
  const rows = strongestFirst(effects.nodes, most).map((index) => {
    const label = nodeLabel(page, index);
    const value = valueAt(page, currentSide(state), index, chosen.token);
    const choose = () => chooseNode(state, index);
    const button = element("button", { type: "button", onclick: choose }, nodes[index].name);
    return [
      button,
      nodes[index].words,
      label ? `${labelText(label)} (F1 ${label.scores.f1})` : "",
      signed(value),
      magnitude(effects.nodes[index]),
    ];
  });
  const heads = ["node", "what it is", "label", "value at the token", "strength"];
  return oneTable("nodes", heads, rows, nodes.length, more);
}

function edgeTable(state, effects, most, more) {
  const { page } = state;
  const { edges } = page.drawing;
  const rows = strongestFirst(effects.edges, most).map((index) => {
    const edge = edges[index];
    const name = `${boxName(page, edge.source)} → ${boxName(page, edge.target)}`;
    const choose = () => chooseEdge(state, index);
    const button = element("button", { type: "button", onclick: choose }, name);
    const carried = signed(carriedAt(state, edge));
    return [button, signed(edge.weight), carried, magnitude(effects.edges[index])];
  });
  const heads = ["edge", "weight", "weight × value at the token", `strength: ${effects.words}`];
  return oneTable("edges", heads, rows, edges.length, more);
}

function oneTable(kind, heads, rows, count, more) {
  const left = count - rows.length;
  const headings = heads.map((head) => element("th", { scope: "col" }, head));
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": kind },
    element(
      "table",
      {},
      element("caption", {}, `${plural(count, kind.slice(0, -1))}, the strongest first`),
      element("thead", {}, element("tr", {}, ...headings)),
      element(
        "tbody",
        {},
        ...rows.map(([first, ...rest]) =>
          element(
            "tr",
            {},
            element("th", { scope: "row" }, first),
            ...rest.map((cell) => element("td", {}, cell)),
          ),
        ),
      ),
    ),
    left > 0 ? element("button", { type: "button", onclick: more }, `more (${left} left)`) : null,
  );
}
