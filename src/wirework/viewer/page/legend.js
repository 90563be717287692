// What the colours and lines mean; kinds of line can be hidden, and widths stand for what one asks.

import { element, plural, shape } from "./dom.js";

const KINDS = [
  ["residual", "same residual channel", "written, later read"],
  ["steer", "attention", "a query or key steers a value of its head"],
  ["embedding", "from the tokens", "a token's embedding in a channel"],
  ["unembedding", "to the answers", "weights on answer tokens; the largest is shown"],
];

export function buildLegend(state, effects) {
  const { drawing } = state.page;
  const kinds = new Set(drawing.links.map((link) => link.kind));
  return element(
    "div",
    { class: "legend", role: "group", "aria-label": "legend" },
    element(
      "span",
      { class: "entry" },
      sample("edge positive"),
      "positive ",
      sample("edge negative"),
      `negative weight (${plural(drawing.edges.length, "edge")})`,
    ),
    widths(state, effects),
    ...KINDS.filter(([kind]) => kinds.has(kind)).map((kind) => kindToggle(state, ...kind)),
    drawing.nodes.some((node) => node.positions) ? positionEntry() : null,
    element(
      "span",
      { class: "entry" },
      element("span", { class: "scale", "aria-hidden": "true" }),
      "value: − (dashed frame) to +, darkest where the node is strongest",
    ),
  );
}

function positionEntry() {
  const dot = element("span", { class: "dot", "aria-hidden": "true" });
  return element("span", { class: "entry" }, dot, "takes in the position");
}

function widths(state, effects) {
  const select = element(
    "select",
    { onchange: () => state.choose({ width: select.value }) },
    state.page.silent ? null : element("option", { value: "value" }, "weight × value at the token"),
    effects.exact ? element("option", { value: "effect" }, "exact effect on the answer") : null,
    element("option", { value: "weight" }, "weight"),
  );
  const show = () => {
    select.value = state.chosen.width;
    if (!select.value) select.value = "weight";
  };
  state.onChange((changes) => {
    if ("width" in changes) show();
  });
  show();
  return element("label", { class: "entry" }, "width:", select);
}

function sample(kind) {
  const stroke = kind.startsWith("edge") ? 3.5 : 1.6;
  const line = shape("path", { class: "seen", d: "M1 6H33", "stroke-width": stroke });
  const group = shape("g", { class: `line ${kind}` }, line);
  return shape("svg", { class: "sample", width: 34, height: 12, "aria-hidden": "true" }, group);
}

function kindToggle(state, kind, name, words) {
  const button = element(
    "button",
    {
      type: "button",
      class: "entry",
      title: `${words}; click to hide or show`,
      onclick: () => {
        const { hidden } = state.chosen;
        const others = hidden.filter((one) => one !== kind);
        state.choose({ hidden: others.length < hidden.length ? others : [...hidden, kind] });
      },
    },
    sample(kind === "residual" || kind === "embedding" ? `wire ${kind}` : `link ${kind}`),
    name,
  );
  const show = () => {
    button.setAttribute("aria-pressed", String(!state.chosen.hidden.includes(kind)));
  };
  state.onChange((changes) => {
    if ("hidden" in changes) show();
  });
  show();
  return button;
}
