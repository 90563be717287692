// What a side answers: the likelier of the two sets that are compared, and by how much.

import { answerText, element, magnitude, percent, signed, tokenText } from "./dom.js";
import { isChanged } from "./history.js";

const MOST_ANSWERS = 40;

function probabilityOf(margin) {
  return 1 / (1 + Math.exp(-margin));
}

// "double 97.2%": the answer given and its share of the two that are compared.
export function answerWords(side, margin = side.margins.at(-1)) {
  const given = answerText(margin > 0 ? side.wants : side.against);
  return `${given} ${percent(probabilityOf(Math.abs(margin)))}`;
}

function marginWords({ wants, against }, margin) {
  const [one, other] = [wants, against].map(answerText);
  if (margin === 0) return `${one} and ${other} are even`;
  return `${one} ${margin > 0 ? "leads" : "trails"} ${other} by ${magnitude(margin)}`;
}

export function buildOutcome(state, index) {
  const side = state.side(index);
  if (side.problem) return element("p", { class: "outcome problem", role: "alert" }, side.problem);
  const wanted = side.own ? "" : `wants ${answerText(side.wants)}`;
  if (!side.margins) return element("div", { class: "outcome" }, wanted);
  const margin = side.margins.at(-1);
  const right = margin > 0;
  const mark = side.own ? "→" : right ? "✓" : "✗";
  const kind = side.own ? "" : right ? " right" : " wrong";
  const verdict = side.own ? "" : right ? "right: " : "wrong: ";
  return element(
    "div",
    { class: `outcome${kind}` },
    element("span", { class: "verdict-mark", "aria-hidden": "true" }, mark),
    element(
      "span",
      { class: "answer-given", title: "share of the two answers that are compared" },
      element("b", {}, answerText(right ? side.wants : side.against)),
      ` ${percent(probabilityOf(Math.abs(margin)))}`,
    ),
    logitTable(state, side),
    shareBar(side, margin),
    element("span", { class: "margin" }, `${verdict}${marginWords(side, margin)}`),
    isChanged(state) ? beforeLine(state.side(index, true)) : null,
  );
}

function shareBar({ wants, against }, margin) {
  const [one, other] = [margin, -margin].map((value) => percent(probabilityOf(value)));
  const label = `${answerText(wants)} ${one}, ${answerText(against)} ${other} of the two`;
  const part = element("span");
  const bar = element("span", { class: "share-bar", role: "img", "aria-label": label }, part);
  bar.style.setProperty("--part", `${(100 * probabilityOf(margin)).toFixed(1)}%`);
  return bar;
}

function beforeLine(before) {
  if (!before.margins) return null;
  const words = `before: ${answerWords(before)}, ${signed(before.margins.at(-1))}`;
  return element("span", { class: "before" }, words);
}

// Every answer token with its logit and its share among all answer tokens.
function logitTable(state, side) {
  const { engine } = state;
  const logits = side.run.logits(side.run.length - 1);
  const highest = logits.reduce((most, logit) => Math.max(most, logit), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - highest), 0);
  const rows = Object.entries(engine.answerSets).flatMap(([name, columns]) =>
    columns.map((column) => {
      const text = engine.tokenText(engine.answers[column]);
      return { name, text, logit: logits[column], share: Math.exp(logits[column] - highest) / sum };
    }),
  );
  rows.sort((a, b) => b.logit - a.logit);
  const heads = ["answer", "token", "logit", "share"].map((head) =>
    element("th", { scope: "col" }, head),
  );
  return element(
    "details",
    { class: "logits" },
    element("summary", {}, "logits"),
    element(
      "div",
      { class: "logits-box", tabindex: 0, role: "group", "aria-label": "logits of the answers" },
      element(
        "p",
        { class: "quiet" },
        `Shares: softmax over the logits of these ${rows.length} answer tokens and no others, ` +
          `before calibration. The margin is calibrated: ${signed(side.margins.at(-1))}.`,
      ),
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ...heads)),
        element("tbody", {}, ...rows.slice(0, MOST_ANSWERS).map(logitRow)),
      ),
    ),
  );
}

function logitRow({ name, text, logit, share }) {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, answerText(name)),
    element("td", {}, element("span", { class: "token" }, ...tokenText(text))),
    element("td", { class: "number" }, signed(logit)),
    element("td", { class: "number" }, percent(share)),
  );
}
