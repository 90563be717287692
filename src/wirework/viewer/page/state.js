// The page's data, what the reader has chosen in it, and what follows from that.

import { NONE } from "./engine.js";
import { minus, rememberRuns, runSide } from "./runs.js";

export function createState(page) {
  const chosen = firstChoice(page);
  const [changes, points] = [createSignal(), createSignal()];
  let sides = new Map();
  const state = {
    page,
    chosen,
    // The circuit's engine once it is unpacked; `places`: the page's nodes in its order.
    engine: null,
    places: [],
    runOf: null,
    // Gives the function that ends it.
    onChange: changes.listen,
    choose(changed) {
      Object.assign(chosen, changed);
      sides = new Map();
      // Another prompt may be shorter: its last token is looked at instead.
      const last = Math.max(0, state.side(chosen.side).tokens.length - 1);
      chosen.token = Math.min(chosen.token, last);
      changes.send(changed);
    },
    // What the pointer is on is shown, not chosen.
    onPoint: points.listen,
    point: points.send,
    connect(engine) {
      state.engine = engine;
      state.places = page.drawing.nodes.map((node) => engine.nodes.indexOf(node.name));
      state.runOf = rememberRuns(engine);
      state.choose({ engine: true });
    },
    // A side of the pair as the circuit runs it now, or `before` anything was changed by hand.
    side: (index, before = false) =>
      remembered(`${index} ${before}`, () => runSide(state, index, before)),
    // The same as the drawing shows it: values, or differences of them.
    shownSide: (index) => remembered(`shown ${index}`, () => viewedSide(state, index)),
  };
  const remembered = (key, make) => {
    if (!sides.has(key)) sides.set(key, make());
    return sides.get(key);
  };
  return state;
}

// What is chosen when the page opens.
function firstChoice(page) {
  const first = page.examples[0];
  // Heads without a kept query or key look the same way at everything.
  const head = Math.max(0, page.heads.findIndex((one) => one.steered));
  return {
    example: 0,
    // Texts of the reader's own in place of the example's, for prompt and counterfactual.
    prompt: null,
    other: null,
    // The two answer sets that are compared; null: those of the example.
    sets: null,
    // Whether the counterfactual stands beside the prompt; what nodes show (VIEWS).
    compare: true,
    view: "value",
    side: 0,
    token: first ? first.sides[0].tokens.length - 1 : 0,
    node: null,
    // Index of a weight in `drawing.edges`; a node and an edge are never chosen at once.
    edge: null,
    // How it is drawn: groups that are one box, kinds of line that are hidden, how many weights at
    // most, what widths of lines stand for, and the share of the strongest effect below which nodes
    // and weights are dimmed or, with `hide`, left out.
    folded: [],
    hidden: [],
    drawn: 5000,
    width: "value",
    filter: 0,
    hide: false,
    // The last column that is drawn in full; null: all of them are.
    step: null,
    // Indices of the nodes that a smaller circuit keeps, as a Set; null: all of them.
    shown: null,
    head: page.heads.length && !page.silent ? head : null,
    // The token whose share of the attention is explained; null: the one looked at most.
    key: null,
    // What is changed by hand, as the engine takes it, and what it was before and after.
    interventions: NONE,
    history: { past: [], future: [] },
  };
}

function createSignal() {
  const listeners = new Set();
  return {
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    send(value) {
      for (const listener of listeners) listener(value);
    },
  };
}

// What nodes can show: name, words for a choice, words before a number.
export const VIEWS = [
  ["value", "values", ""],
  ["difference", "pair difference", "difference "],
  ["change", "effect of changes", "change "],
];

function viewedSide(state, index) {
  const side = state.side(index);
  const { view } = state.chosen;
  if (view === "difference") return minus(side, state.side(1 - index), -1);
  return view === "change" ? minus(side, state.side(index, true), 1) : side;
}

export function chooseExample(state, example) {
  const count = state.page.examples.length;
  const index = (example + count) % count;
  const token = state.page.examples[index].sides[state.chosen.side].tokens.length - 1;
  state.choose({ example: index, token, key: null, prompt: null, other: null, sets: null });
}

// Choosing a node of an attention head also shows where that head looks.
export function chooseNode(state, node) {
  const changes = { node, edge: null };
  const chosen = node === null ? undefined : state.page.drawing.nodes[node];
  if (chosen && chosen.head !== null) {
    const { layer } = chosen;
    const head = state.page.heads.findIndex((h) => h.layer === layer && h.head === chosen.head);
    if (head >= 0) changes.head = head;
  }
  state.choose(changes);
}

export function chooseEdge(state, edge) {
  state.choose({ node: null, edge });
}

// The chosen side as the drawing shows it; null where there are no tokens.
export function currentSide(state) {
  const side = state.shownSide(state.chosen.side);
  return side.tokens.length ? side : null;
}

// What a node or an answer set (counted behind the nodes) is at a token; null if unknown.
export function valueAt(page, side, node, token) {
  if (!side || !side.values) return null;
  const count = page.drawing.nodes.length;
  const known = (value) => (Number.isFinite(value) ? value : null);
  if (node < count) return known(side.values[node][token]);
  const { name } = page.drawing.answers[node - count];
  if (name === side.wants) return known(side.margins[token]);
  return name === side.against ? known(-side.margins[token]) : null;
}

// The same as a share of the largest magnitude on the task's prompts, in [-1, 1].
export function shareAt(page, side, node, token) {
  const value = valueAt(page, side, node, token);
  if (value === null) return null;
  // A margin of 4 is an answer given with 98%.
  const largest = node < page.drawing.nodes.length ? page.largest[node] : 4;
  return largest ? Math.max(-1, Math.min(1, value / largest)) : 0;
}

export function boxName(page, box) {
  const { nodes, answers } = page.drawing;
  if (box === null) return "tokens";
  return box < nodes.length ? nodes[box].name : `answer ${answers[box - nodes.length].name}`;
}

export function edgeName(page, edge) {
  const { source, target } = page.drawing.edges[edge];
  return `${boxName(page, source)} -> ${boxName(page, target)}`;
}

// Edges and links that begin or end at a box, as {line, other, out}.
export function linesOf(page, box) {
  const { edges, links } = page.drawing;
  const found = [];
  for (const line of [...edges, ...links]) {
    if (line.source === box) found.push({ line, other: line.target, out: true });
    if (line.target === box) found.push({ line, other: line.source, out: false });
  }
  return found;
}
