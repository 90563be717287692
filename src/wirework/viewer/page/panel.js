// All about one node: what it is, its weights in and out, its tokens, its best examples.

import { element, magnitude, paint, plural, signed, tokenText } from "./dom.js";
import { boxName, chooseNode, linesOf } from "./state.js";

export function buildPanel(state) {
  const panel = element("aside", { class: "panel card", "aria-label": "chosen node" });
  const show = () => {
    const { node } = state.chosen;
    panel.replaceChildren(...(node === null ? invitation(state) : aboutBox(state, node)));
  };
  state.onChange((changes) => {
    if ("node" in changes) show();
  });
  show();
  return panel;
}

function invitation(state) {
  const { drawing, evidence } = state.page;
  const shown = Object.keys(evidence).length;
  return [
    element("h2", {}, "How to read it"),
    element(
      "p",
      {},
      "Each box is one channel of the network, named by its place (the column) and its number. " +
        "Each coloured line is one weight that is not zero; the wider, the larger.",
    ),
    element(
      "p",
      {},
      "Choose a token to see what every box holds there. Choose a box to see its weights, and its " +
        "value at every token. Point at anything to see what it is joined to; kinds of line can be " +
        "hidden in the legend.",
    ),
    element(
      "p",
      { class: "quiet" },
      `${plural(drawing.nodes.length, "node")} and ${plural(drawing.edges.length, "edge")} are drawn` +
        `${shown ? `; top examples from text are at hand for ${shown} of the nodes` : ""}. ` +
        "With the keyboard: Tab to the drawing, then arrow keys, Enter to choose, Escape to let go.",
    ),
  ];
}

function aboutBox(state, box) {
  const { page } = state;
  const { nodes, answers } = page.drawing;
  const node = nodes[box];
  const head = element(
    "div",
    { class: "panel-head" },
    element("h2", {}, boxName(page, box)),
    element(
      "button",
      { type: "button", "aria-label": "let go of the node", onclick: () => chooseNode(state, null) },
      "×",
    ),
  );
  if (!node) return [head, ...aboutAnswer(state, box, answers[box - nodes.length])];
  return [
    head,
    element("p", {}, `This is the ${node.words}.`),
    page.silent ? null : element("p", { class: "quiet" }, spread(page, box)),
    node.positions ? element("p", { class: "quiet" }, "It also takes in the token's position.") : null,
    ...lineLists(state, box),
    node.embedding && node.embedding.count ? tokenTable("Tokens embedded in it", node.embedding) : null,
    ...Object.entries(node.unembedding ?? {}).map(([name, weights]) =>
      weights.count ? tokenTable(`Weights to answers “${name}”`, weights) : null,
    ),
    ...examplesOf(page.evidence[node.name]),
  ].filter(Boolean);
}

function aboutAnswer(state, box, answer) {
  return [
    element(
      "p",
      {},
      `${plural(answer.tokens.length, "token")} of which any is a right answer of this side:`,
    ),
    element(
      "p",
      { class: "answer-tokens" },
      ...answer.tokens.slice(0, 40).map((text) => element("span", { class: "token" }, ...tokenText(text))),
      answer.tokens.length > 40 ? ` and ${answer.tokens.length - 40} more` : null,
    ),
    ...lineLists(state, box),
  ];
}

function spread(page, box) {
  const values = page.examples.flatMap((example) => example.sides.flatMap((side) => side.values[box]));
  if (!values.length) return "";
  const active = values.filter((value) => value !== 0);
  if (!active.length) return "Zero at every token of the examples.";
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  const silent = active.length === values.length ? "" : `, and is zero at ${values.length - active.length}`;
  return `On ${plural(values.length, "token")} of the examples it runs from ${signed(low)} to ${signed(high)}${silent}.`;
}

const LISTS = [
  ["edge", false, "Weights in"],
  ["edge", true, "Weights out"],
  ["residual", false, "Same residual channel, written before"],
  ["residual", true, "Same residual channel, read later"],
  ["steer", false, "Queries and keys of its head"],
  ["steer", true, "Values whose source it helps to choose"],
  ["unembedding", false, "Read from (largest weight)"],
  ["unembedding", true, "Answers (largest weight)"],
];

function lineLists(state, box) {
  const { page } = state;
  const all = linesOf(page, box);
  return LISTS.map(([kind, out, title]) => {
    const found = all.filter(({ line, out: leaves }) => line.kind === kind && leaves === out);
    if (!found.length) return null;
    found.sort((a, b) => Math.abs(b.line.weight) - Math.abs(a.line.weight));
    const largest = Math.abs(found[0].line.weight);
    return element(
      "section",
      { class: "lines" },
      element("h3", {}, title, element("span", { class: "count" }, found.length)),
      element("ul", {}, ...found.map(({ line, other }) => lineRow(state, line, other, largest))),
    );
  }).filter(Boolean);
}

function lineRow(state, line, other, largest) {
  const name = boxName(state.page, other);
  return element(
    "li",
    {},
    element("button", { type: "button", onclick: () => chooseNode(state, other) }, name),
    line.weight === 0 ? null : weightBar(line.weight, largest),
  );
}

function weightBar(weight, largest) {
  const bar = element("span", { class: "weight-bar", "aria-hidden": "true" }, element("span"));
  bar.firstChild.style.width = `${(Math.abs(weight) / largest) * 100}%`;
  const sign = weight > 0 ? "positive" : "negative";
  return element("span", { class: `weight ${sign}` }, bar, element("span", { class: "number" }, signed(weight)));
}

function tokenTable(title, weights) {
  const largest = Math.abs(weights.top[0][1]);
  const rest = weights.count - weights.top.length;
  return element(
    "section",
    { class: "lines" },
    element("h3", {}, title, element("span", { class: "count" }, weights.count)),
    element(
      "ul",
      {},
      ...weights.top.map(([text, weight]) =>
        element("li", {}, element("span", { class: "token" }, ...tokenText(text)), weightBar(weight, largest)),
      ),
    ),
    rest > 0 ? element("p", { class: "quiet" }, `and ${rest} smaller`) : null,
  );
}

function examplesOf(evidence) {
  if (!evidence) return [];
  const titles = { top: "Strongest in text", random: "Drawn at random" };
  return Object.entries(titles).map(([kind, title]) => {
    if (!evidence[kind].length) return null;
    const largest = Math.max(...[...evidence.top, ...evidence.random].flatMap((e) => e.values.map(Math.abs)));
    return element(
      "section",
      { class: "evidence" },
      element("h3", {}, title),
      ...evidence[kind].map((example) => snippet(example, largest || 1)),
    );
  });
}

function snippet(example, largest) {
  const tokens = example.tokens.map((text, t) => {
    const value = example.values[t];
    const token = element(
      "span",
      { class: `token${t === example.position ? " peak" : ""}`, title: `${signed(value)}` },
      ...tokenText(text),
    );
    paint(token, value / largest);
    return token;
  });
  const peak = example.values[example.position];
  return element(
    "p",
    { class: "snippet", "aria-label": `example with value ${magnitude(peak)}` },
    example.cut[0] ? "… " : null,
    ...tokens,
    example.cut[1] ? " …" : null,
    element("span", { class: "number" }, signed(peak)),
  );
}
