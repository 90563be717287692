// What the colours and lines mean; kinds of line can be hidden.

import { element, plural, shape } from "./dom.js";

const KINDS = [
  ["residual", "same residual channel", "written, later read"],
  ["steer", "attention", "a query or key steers a value of its head"],
  ["embedding", "from the tokens", "a token's embedding in a channel"],
  ["unembedding", "to the answers", "weights on answer tokens; the largest is shown"],
];

export function buildLegend(drawing, section) {
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
      `negative weight (${plural(drawing.edges.length, "edge")}); width: its size`,
    ),
    ...KINDS.filter(([kind]) => kinds.has(kind)).map(([kind, name, words]) => toggle(kind, name, words, section)),
    drawing.nodes.some((node) => node.positions)
      ? element("span", { class: "entry" }, element("span", { class: "dot", "aria-hidden": "true" }), "takes in the position")
      : null,
    element(
      "span",
      { class: "entry" },
      element("span", { class: "scale", "aria-hidden": "true" }),
      "value: − to +, darkest where the node is strongest",
    ),
  );
}

function sample(kind) {
  const stroke = kind.startsWith("edge") ? 3.5 : 1.6;
  const line = shape("path", { class: "seen", d: "M1 6H27", "stroke-width": stroke });
  return shape("svg", { class: "sample", width: 28, height: 12, "aria-hidden": "true" }, shape("g", { class: `line ${kind}` }, line));
}

function toggle(kind, name, words, section) {
  const button = element(
    "button",
    {
      type: "button",
      class: "entry",
      title: `${words}; click to hide or show`,
      "aria-pressed": "true",
      onclick: () => {
        const shown = section.classList.toggle(`hide-${kind}`) === false;
        button.setAttribute("aria-pressed", String(shown));
      },
    },
    sample(kind === "residual" || kind === "embedding" ? `wire ${kind}` : `link ${kind}`),
    name,
  );
  return button;
}
