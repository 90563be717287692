// Nodes and edges as plain text, tab-separated, with the numbers as the page holds them.

import { boxName, linesOf, valueAt } from "./state.js";
import { arrivingAt, carriedAt } from "./strength.js";

// Kinds of line, whether they leave the node, and what a list of them is called.
export const LISTS = [
  ["edge", false, "Weights in"],
  ["edge", true, "Weights out"],
  ["residual", false, "Same residual channel, written before"],
  ["residual", true, "Same residual channel, read later"],
  ["steer", false, "Queries and keys of its head"],
  ["steer", true, "Values whose source it helps to choose"],
  ["unembedding", false, "Read from (largest weight)"],
  ["unembedding", true, "Answers (largest weight)"],
];

export function nodeText(state, index) {
  const { page } = state;
  const node = page.drawing.nodes[index];
  const evidence = page.evidence.nodes[node.name];
  const rows = [["node", node.name], ["what", node.words]];
  const effect = evidence?.effect ?? null;
  if (effect !== null) rows.push(["effect on the answer margin", effect]);
  if (evidence?.label) rows.push(...labelRows(evidence.label));
  const lines = linesOf(page, index);
  for (const [kind, out, title] of LISTS) {
    for (const { line, other, out: leaves } of lines) {
      if (line.kind !== kind || leaves !== out) continue;
      rows.push([title, boxName(page, other), line.weight]);
    }
  }
  const side = state.side(state.chosen.side);
  const tokens = side?.values ? side.tokens : [];
  tokens.forEach((text, token) => {
    rows.push(["value", token + 1, JSON.stringify(text), valueAt(page, side, index, token)]);
  });
  return asText(rows);
}

function labelRows(label) {
  const rows = [[label.unexplained ? "unexplained" : "label", label.unexplained || label.text]];
  const scores = Object.entries(label.scores ?? {});
  rows.push(...scores.map(([name, value]) => [`label ${name}`, value]));
  if (label.control !== null) rows.push(["label control f1", label.control]);
  return rows;
}

export function edgeText(state, index) {
  const { page, chosen } = state;
  const edge = page.drawing.edges[index];
  const side = state.side(state.chosen.side);
  const rows = [
    ["edge", `${boxName(page, edge.source)} -> ${boxName(page, edge.target)}`],
    ["weight", edge.weight],
  ];
  if (side?.values) {
    rows.push(
      ["token", chosen.token + 1, JSON.stringify(side.tokens[chosen.token])],
      ["source", arrivingAt(state, edge.source)],
      ["target", valueAt(page, side, edge.target, chosen.token)],
      ["weight x source", carriedAt(state, edge)],
    );
  }
  const effect = page.evidence.edges[index];
  if (effect) {
    rows.push(["effect on the answer margin", effect[0]], ["effect on the loss", effect[1]]);
  }
  return asText(rows);
}

const asText = (rows) => rows.map((row) => row.join("\t")).join("\n");
