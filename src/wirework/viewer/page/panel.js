// What is chosen, told in full: a node, an answer, an edge; or how to read the drawing.

import { element, plural } from "./dom.js";
import { aboutAnswer, aboutNode } from "./nodepanel.js";
import { aboutEdge } from "./edgepanel.js";
import { boxName, chooseNode } from "./state.js";

export function buildPanel(state) {
  const panel = element("aside", { class: "panel card", "aria-label": "what is chosen" });
  const show = () => {
    // Who works by keyboard goes on from the same button.
    const held = panel.contains(document.activeElement) ? document.activeElement.textContent : null;
    panel.replaceChildren(...contents(state));
    if (held) [...panel.querySelectorAll("button")].find((one) => one.textContent === held)?.focus();
  };
  state.onChange((changes) => {
    if ("node" in changes || "edge" in changes || "folded" in changes) show();
    else if (state.chosen.edge !== null) show();
  });
  show();
  return panel;
}

function contents(state) {
  const { node, edge } = state.chosen;
  const count = state.page.drawing.nodes.length;
  if (edge !== null) return [panelHead(state, "edge"), ...aboutEdge(state, edge)];
  if (node === null) return invitation(state);
  const name = boxName(state.page, node);
  const about = node < count ? aboutNode(state, node) : aboutAnswer(state, node);
  return [panelHead(state, name), ...about];
}

function panelHead(state, name) {
  const close = () => chooseNode(state, null);
  return element(
    "div",
    { class: "panel-head" },
    element("h2", {}, name),
    element("button", { type: "button", "aria-label": "let go of it", onclick: close }, "×"),
  );
}

function invitation(state) {
  const { drawing, evidence } = state.page;
  const told = Object.values(evidence.nodes);
  const labels = told.filter((one) => one.label && !one.label.unexplained).length;
  const shown = told.filter((one) => one.top.length).length;
  const extras = [
    shown ? `top examples from text are at hand for ${shown} of the nodes` : "",
    labels ? `${labels} have a label that holds on text not seen before` : "",
  ];
  return [
    element("h2", {}, "How to read it"),
    element(
      "p",
      {},
      "Each box is one channel of the network, named by its place (the column) and its number. " +
        "Each coloured line is one weight that is not zero; blue ones are positive, orange and " +
        "dashed ones negative.",
    ),
    element(
      "p",
      {},
      "Choose a token to see what every box holds there. Choose a box or a line to see all about " +
        "it. Point at anything to see what it is joined to. The wheel, two fingers or + and − " +
        "zoom; drag to move.",
    ),
    element(
      "p",
      { class: "quiet" },
      [
        `${plural(drawing.nodes.length, "node")}, ${plural(drawing.edges.length, "edge")}`,
        ...extras.filter(Boolean),
      ].join("; ") +
        ". With the keyboard: Tab to the drawing, then arrow keys, Enter to choose, Escape to let " +
        "go, Shift with arrow keys to move, + − 0 to zoom. The same stands in tables below the " +
        "drawing.",
    ),
  ];
}
