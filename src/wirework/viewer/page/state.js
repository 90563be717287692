// The page's data and what the reader has chosen in it.

export function createState(page) {
  const first = page.examples[0];
  // Heads without a kept query or key look the same way at everything.
  const head = Math.max(0, page.heads.findIndex((one) => one.steered));
  const chosen = {
    example: 0,
    side: 0,
    token: first ? first.sides[0].tokens.length - 1 : 0,
    node: null,
    head: page.heads.length && !page.silent ? head : null,
  };
  const listeners = [];
  return {
    page,
    chosen,
    onChange(listener) {
      listeners.push(listener);
    },
    choose(changes) {
      Object.assign(chosen, changes);
      for (const listener of listeners) listener(changes);
    },
  };
}

export function chooseExample(state, example) {
  const count = state.page.examples.length;
  const index = (example + count) % count;
  const { side } = state.chosen;
  const token = state.page.examples[index].sides[side].tokens.length - 1;
  state.choose({ example: index, token });
}

// Choosing a node of an attention head also shows where that head looks.
export function chooseNode(state, node) {
  const changes = { node };
  const chosen = node === null ? undefined : state.page.drawing.nodes[node];
  if (chosen && chosen.head !== null) {
    const { layer } = chosen;
    const head = state.page.heads.findIndex((h) => h.layer === layer && h.head === chosen.head);
    if (head >= 0) changes.head = head;
  }
  state.choose(changes);
}

export function currentSide(state) {
  const example = state.page.examples[state.chosen.example];
  return example ? example.sides[state.chosen.side] : null;
}

// What a node or an answer set (counted behind the nodes) is at a token; null if unknown.
export function valueAt(page, side, node, token) {
  if (!side || !side.values) return null;
  const count = page.drawing.nodes.length;
  if (node < count) return side.values[node][token];
  const { name } = page.drawing.answers[node - count];
  if (name === side.wants) return side.margins[token];
  return name === side.against ? -side.margins[token] : null;
}

// The same as a share of the largest magnitude on the page's examples, in [-1, 1].
export function shareAt(page, side, node, token) {
  const value = valueAt(page, side, node, token);
  if (value === null) return null;
  // A margin of 4 is an answer given with 98%.
  const largest = node < page.drawing.nodes.length ? page.largest[node] : 4;
  return largest ? Math.max(-1, Math.min(1, value / largest)) : 0;
}

export function isRight(side) {
  return side.margins ? side.margins[side.margins.length - 1] > 0 : null;
}

export function boxName(page, box) {
  const { nodes, answers } = page.drawing;
  if (box === null) return "tokens";
  return box < nodes.length ? nodes[box].name : `answer ${answers[box - nodes.length].name}`;
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
