// What matters for this prompt: how far the answer's margin moves when each part alone is cut.

import { labelText, nodeLabel } from "./boxes.js";
import { whenStill } from "./canvas.js";
import { answerText, element, rove, signed } from "./dom.js";
import { allInterventions } from "./runs.js";
import { boxName, chooseEdge, chooseNode, edgeName } from "./state.js";

const FEW_ROWS = 5;
const MANY_ROWS = 40;
// A prompt that is being typed is ranked when the typing pauses.
const PATIENT = 60;
const EDGE_SLICE = 25;

export function buildMatters(state) {
  const list = element("ol", { class: "ranking" });
  const told = element("p", { class: "quiet", "aria-live": "off" });
  const more = element("button", { type: "button", class: "plain" }, "show more");
  let long = false;
  const kinds = ["nodes", "edges"].map((kind) =>
    element("button", { type: "button", onclick: () => ranking.ask(kind) }, kind),
  );
  const box = element(
    "section",
    { class: "matters card", "aria-labelledby": "matters-title" },
    element(
      "div",
      { class: "matters-head" },
      element("h2", { id: "matters-title" }, "What matters here"),
      element("div", { class: "switch", role: "group", "aria-label": "rank" }, ...kinds),
    ),
    told,
    list,
    more,
  );
  const show = () => {
    const { kind, rows, side, done, total } = ranking;
    box.hidden = !side;
    for (const button of kinds) {
      button.setAttribute("aria-pressed", String(button.textContent === kind));
    }
    if (!side) return;
    told.textContent = rankingWords(side, kind, done, total);
    list.setAttribute("aria-busy", String(done < total));
    showRows(state, list, rows.slice(0, long ? MANY_ROWS : FEW_ROWS));
    more.hidden = rows.length <= FEW_ROWS;
  };
  const ranking = createRanking(state, show);
  more.addEventListener("click", () => {
    long = !long;
    more.setAttribute("aria-expanded", String(long));
    more.textContent = long ? "show fewer" : "show more";
    show();
  });
  let known = "";
  state.onChange(() => {
    const { ids, wants, against } = state.side(state.chosen.side);
    const asked = JSON.stringify([ids.join(), wants, against, allInterventions(state)]);
    for (const button of list.querySelectorAll("button")) markItem(state, button);
    if (asked === known) return;
    known = asked;
    ranking.ask(ranking.kind);
  });
  show();
  return box;
}

// What is being ranked: rows so far, and on which side; `side` is null where nothing can run.
function createRanking(state, show) {
  let timer = 0;
  let question = null;
  const ranking = { kind: "nodes", rows: [], side: null, done: 0, total: 0 };
  const answer = async (side, kind) => {
    const mine = {};
    question = mine;
    const rank = kind === "nodes" ? nodeRanking : edgeRanking;
    for await (const found of rank(state, side)) {
      await whenStill();
      // Something else was asked meanwhile.
      if (question !== mine) return;
      Object.assign(ranking, found, { side });
      show();
    }
  };
  ranking.ask = (kind) => {
    const side = state.side(state.chosen.side);
    clearTimeout(timer);
    question = null;
    Object.assign(ranking, { kind }, side.run ? {} : { side: null });
    show();
    if (side.run) timer = setTimeout(() => answer(side, kind), PATIENT);
  };
  return ranking;
}

function showRows(state, list, rows) {
  const largest = Math.abs(rows[0]?.effect ?? 0) || 1;
  const buttons = rows.map((row) => rankedButton(state, row, largest));
  // Who works by keyboard goes on from the same row.
  const held = list.contains(document.activeElement) ? document.activeElement.dataset.part : null;
  list.replaceChildren(...buttons.map((button) => element("li", {}, button)));
  rove(buttons, (at, key) => ({ ArrowUp: at - 1, ArrowDown: at + 1 })[key]);
  if (held) (buttons.find((button) => button.dataset.part === held) ?? buttons[0])?.focus();
}

function rankingWords({ wants, against, margins }, kind, done, total) {
  const [one, other] = [wants, against].map(answerText);
  const counting = done < total ? ` (${done} of ${total} tried)` : "";
  const margin = signed(margins.at(-1));
  const part = kind.slice(0, -1);
  return `${one} over ${other}: ${margin}. It falls by so much if one ${part} is cut${counting}:`;
}

async function* nodeRanking(state, side) {
  const { ids, wants, against } = side;
  const found = state.engine.effects(ids, ids.length - 1, wants, against, allInterventions(state));
  for await (const { done, total, effects } of found) {
    const rows = state.places.map((place, node) => ({ node, effect: effects[place] }));
    yield { done, total, rows: ranked(rows, side) };
  }
}

// The same for weights: each one cut on top of what is changed now.
async function* edgeRanking(state, side) {
  const { ids, wants, against } = side;
  const { nodes, edges } = allInterventions(state);
  const last = ids.length - 1;
  const total = state.page.drawing.edges.length;
  const margin = side.run.margin(wants, against)[last];
  const rows = [];
  let until = performance.now() + EDGE_SLICE;
  for (let edge = 0; edge < total; edge += 1) {
    const name = edgeName(state.page, edge);
    if (!edges.includes(name)) {
      const run = state.engine.run(ids, { nodes, edges: [...edges, name] });
      rows.push({ edge, effect: margin - run.margin(wants, against)[last] });
    }
    if (performance.now() < until) continue;
    yield { done: edge + 1, total, rows: ranked(rows, side) };
    await new Promise((resume) => setTimeout(resume));
    until = performance.now() + EDGE_SLICE;
  }
  yield { done: total, total, rows: ranked(rows, side) };
}

function ranked(rows, { margins }) {
  const margin = margins.at(-1);
  return rows
    .filter(({ effect }) => Number.isFinite(effect) && effect !== 0)
    .map((row) => ({ ...row, flips: margin > 0 !== margin - row.effect > 0 }))
    .sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
}

function rankedButton(state, { node, edge, effect, flips }, largest) {
  const isNode = node !== undefined;
  const name = partName(state, node ?? null, edge ?? null);
  const label = isNode ? nodeLabel(state.page, node) : null;
  const bar = element("span", { class: "effect-bar", "aria-hidden": "true" });
  bar.style.setProperty("--part", `${((100 * Math.abs(effect)) / largest).toFixed(1)}%`);
  const button = element(
    "button",
    {
      type: "button",
      class: effect > 0 ? "positive" : "negative",
      "data-part": name,
      title: flips ? `${name}: without it the answer is the other one` : name,
      onclick: () => (isNode ? chooseNode(state, node) : chooseEdge(state, edge)),
    },
    element("span", { class: "part-name" }, shortName(name), label ? ` ${labelText(label)}` : null),
    flips ? element("span", { class: "flips" }, "flips") : null,
    bar,
    element("span", { class: "number" }, signed(effect)),
  );
  markItem(state, button);
  return button;
}

// Both ends of a weight are in one layer, which is said once.
function shortName(name) {
  return name.replace(/→ \d+\.(attn|mlp)\./, "→ ");
}

function partName({ page }, node, edge) {
  if (edge !== null) return edgeName(page, edge).replace("->", "→");
  return node === null ? null : boxName(page, node);
}

function markItem(state, button) {
  const { node, edge } = state.chosen;
  button.setAttribute("aria-pressed", String(button.dataset.part === partName(state, node, edge)));
}
