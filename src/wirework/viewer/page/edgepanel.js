// All about one weight: its ends, what it carries, what cutting it does.

import { element, signed, tokenName } from "./dom.js";
import { buildControls } from "./controls.js";
import { buildCopy } from "./copy.js";
import { boxName, chooseNode, edgeName, valueAt } from "./state.js";
import { edgeText } from "./nodetext.js";
import { arrivingAt, carriedAt } from "./strength.js";

export function aboutEdge(state, index) {
  const { page, chosen } = state;
  const edge = page.drawing.edges[index];
  const side = state.side(chosen.side);
  const source = page.drawing.nodes[edge.source];
  const known = carriedAt(state, edge) !== null;
  const effect = page.evidence.edges[index];
  const matters = page.evidence.matters[edgeName(page, index)];
  const mixed = source.kind === "attn.v" ? ", brought by attention" : "";
  const figures = [["weight", signed(edge.weight)]];
  if (known) {
    figures.push(
      [`source${mixed}`, signed(arrivingAt(state, edge.source))],
      ["weight × source", signed(carriedAt(state, edge))],
      ["target", signed(valueAt(page, side, edge.target, chosen.token))],
    );
  }
  if (effect) figures.push(["cut: margin", signed(effect[0])], ["cut: loss", signed(effect[1])]);
  const token = chosen.token + 1;
  const at = known ? `At token ${token}, ${tokenName(side.tokens[token - 1])}:` : null;
  const end = (box) => {
    const choose = () => chooseNode(state, box);
    return element("button", { type: "button", onclick: choose }, boxName(page, box));
  };
  return [
    element("p", { class: "ends-of-edge" }, end(edge.source), " → ", end(edge.target)),
    buildControls(state, { edge: index }),
    at ? element("p", { class: "quiet" }, at) : null,
    element(
      "dl",
      { class: "edge-figures" },
      ...figures.map(([name, value]) =>
        element("div", {}, element("dt", {}, name), element("dd", { class: "number" }, value)),
      ),
    ),
    matters ? element("p", {}, matters) : null,
    element(
      "p",
      { class: "quiet" },
      "Cut, the target alone sees, in place of the source, the constant that stands for the " +
        "source where it is ablated; all else goes on as before.",
    ),
    buildCopy(() => edgeText(state, index)),
  ].filter(Boolean);
}
