// All about one node: what it is and tells, what it does, its weights, its tokens, its examples.

import { element, magnitude, paint, percent, plural, signed, tokenText } from "./dom.js";
import { labelText } from "./boxes.js";
import { buildControls } from "./controls.js";
import { buildCopy } from "./copy.js";
import { aboutGroup } from "./grouppanel.js";
import { groupAt } from "./groups.js";
import { buildHistogram } from "./histogram.js";
import { boxName, chooseEdge, chooseNode, linesOf } from "./state.js";
import { LISTS, nodeText } from "./nodetext.js";

export function aboutNode(state, index) {
  const { page } = state;
  const node = page.drawing.nodes[index];
  const evidence = page.evidence.nodes[node.name];
  const group = aboutGroup(state, index);
  const folded = state.chosen.folded.includes(groupAt(page, index));
  return [
    folded ? group : null,
    element("p", {}, `${folded ? "Its first node" : "This"} is the ${node.words}.`),
    buildControls(state, { node: index }),
    evidence?.label ? aboutLabel(evidence.label) : null,
    evidence && evidence.effect !== null ? aboutEffect(evidence.effect) : null,
    folded ? null : group,
    aboutOthers(page, node.name),
    node.positions ? quiet("It also takes in the token's position.") : null,
    buildHistogram(page, index),
    ...lineLists(state, index),
    node.embedding?.count ? tokenTable("Tokens embedded in it", node.embedding) : null,
    ...Object.entries(node.unembedding ?? {}).map(([name, weights]) =>
      weights.count ? tokenTable(`Weights to answers “${name}”`, weights) : null,
    ),
    ...examplesOf(evidence),
    buildCopy(() => nodeText(state, index)),
  ].filter(Boolean);
}

const count = (number) => element("span", { class: "count" }, number);

const quiet = (text) => element("p", { class: "quiet" }, text);

const tokenSpan = (text) => element("span", { class: "token" }, ...tokenText(text));

export function aboutAnswer(state, box) {
  const answer = state.page.drawing.answers[box - state.page.drawing.nodes.length];
  return [
    element(
      "p",
      {},
      `${plural(answer.tokens.length, "token")} of which any is a right answer of this side:`,
    ),
    element(
      "p",
      { class: "answer-tokens" },
      ...answer.tokens.slice(0, 40).map(tokenSpan),
      answer.tokens.length > 40 ? ` and ${answer.tokens.length - 40} more` : null,
    ),
    ...lineLists(state, box),
  ];
}

function aboutLabel(label) {
  const { scores, control, share } = label;
  if (!scores) return labelSection("unexplained", [label.unexplained]);
  const chance = [`always yes ${magnitude(scores.chance_f1)}`];
  if (control !== null) chance.unshift(`shuffled labels ${magnitude(control)}`);
  const [f1, low, high] = [scores.f1, scores.low, scores.high].map(magnitude);
  const [right, found, rate] = [scores.precision, scores.recall, scores.base_rate].map(percent);
  const rows = [
    `Held-out F1 ${f1} (95%: ${low} to ${high}); ${chance.join(", ")}.`,
    `Precision ${right}, recall ${found}; holds at ${rate} of tokens.`,
  ];
  if (share.value !== null) {
    const beside = share.control === null ? "" : `, shuffled ${percent(share.control)}`;
    rows.push(`Explains ${percent(share.value)} of what the node does for the task${beside}.`);
  }
  if (!label.unexplained) return labelSection(`tells: ${labelText(label)}`, rows);
  const best = `Best of what was tried: ${labelText(label)}. ${label.unexplained}.`;
  return labelSection("unexplained", [best, ...rows]);
}

function labelSection(title, rows) {
  return element(
    "section",
    { class: "label" },
    element("h3", {}, title),
    ...rows.map(quiet),
  );
}

function aboutEffect(effect) {
  const against = effect > 0 ? "it stands in the way" : "it does nothing alone";
  const words = effect < 0 ? "it helps" : against;
  return element(
    "p",
    { class: "effect" },
    "Direct effect: cut alone, it changes the mean answer margin by ",
    element("b", { class: "number" }, signed(effect)),
    ` (${words}).`,
  );
}

function aboutOthers(page, name) {
  const names = page.seen_in?.[name];
  if (!names) return null;
  const words = names.length ? names.join(", ") : "no other circuit that was looked at";
  return quiet(`Also in: ${words}.`);
}

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
      element("h3", {}, title, count(found.length)),
      element("ul", {}, ...found.map(({ line, other }) => lineRow(state, line, other, largest))),
    );
  }).filter(Boolean);
}

function lineRow(state, line, other, largest) {
  const { page } = state;
  const name = boxName(page, other);
  const edge = line.kind === "edge" ? page.drawing.edges.indexOf(line) : -1;
  const bar = line.weight === 0 ? null : weightBar(line.weight, largest);
  const button = {
    type: "button",
    class: "to-edge",
    "aria-label": `edge to or from ${name}, weight ${signed(line.weight)}`,
    onclick: () => chooseEdge(state, edge),
  };
  return element(
    "li",
    {},
    element("button", { type: "button", onclick: () => chooseNode(state, other) }, name),
    edge < 0 ? bar : element("button", button, bar),
  );
}

function weightBar(weight, largest) {
  const bar = element("span", { class: "weight-bar", "aria-hidden": "true" }, element("span"));
  bar.firstChild.style.width = `${(Math.abs(weight) / largest) * 100}%`;
  const number = element("span", { class: "number" }, signed(weight));
  return element("span", { class: `weight ${weight > 0 ? "positive" : "negative"}` }, bar, number);
}

function tokenTable(title, weights) {
  const largest = Math.abs(weights.top[0][1]);
  const rest = weights.count - weights.top.length;
  return element(
    "section",
    { class: "lines" },
    element("h3", {}, title, count(weights.count)),
    element(
      "ul",
      {},
      ...weights.top.map(([text, weight]) =>
        element("li", {}, tokenSpan(text), weightBar(weight, largest)),
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
    const all = [...evidence.top, ...evidence.random].flatMap((one) => one.values.map(Math.abs));
    const largest = Math.max(...all);
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
    "div",
    { class: "snippet", role: "group", "aria-label": `example with value ${magnitude(peak)}` },
    example.cut[0] ? "… " : null,
    ...tokens,
    example.cut[1] ? " …" : null,
    element("span", { class: "number" }, signed(peak)),
  );
}
