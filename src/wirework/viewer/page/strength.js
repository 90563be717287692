// How much nodes and weights do: exactly, where that was measured, or weight times activation.

import { valueAt } from "./state.js";

// By weight and by node, a size from 0 up that tells strong from weak whatever token is chosen.
export function measureEffects(page) {
  const { drawing, evidence, largest } = page;
  const count = drawing.nodes.length;
  const active = largest.some((value) => value > 0);
  const exact = evidence.edges.length > 0;
  const edges = drawing.edges.map((edge, index) => {
    if (exact) return Math.abs(evidence.edges[index]?.[0] ?? 0);
    return Math.abs(edge.weight) * (active ? largest[edge.source] : 1);
  });
  const measured = drawing.nodes.map((node) => evidence.nodes[node.name]?.effect ?? null);
  const known = measured.some((effect) => effect !== null);
  const nodes = known ? measured.map((effect) => Math.abs(effect ?? 0)) : new Array(count).fill(0);
  if (!known) {
    drawing.edges.forEach(({ source, target }, index) => {
      nodes[source] = Math.max(nodes[source], edges[index]);
      if (target < count) nodes[target] = Math.max(nodes[target], edges[index]);
    });
  }
  const words = active ? "weight × largest activation" : "weight";
  return { edges, nodes, exact, words: exact ? "exact effect on the answer" : words };
}

// What a weight adds to its target at the chosen token as the circuit runs now; null where that is
// not known.
export function carriedAt(state, edge) {
  const amount = arrivingAt(state, edge.source);
  return amount === null ? null : edge.weight * amount;
}

// The activation that leaves a node for the chosen token: attention brings those of all tokens.
export function arrivingAt(state, index) {
  const { page, chosen } = state;
  const side = state.side(chosen.side);
  const node = page.drawing.nodes[index];
  if (node.kind !== "attn.v") return valueAt(page, side, index, chosen.token);
  const head = page.heads.findIndex((one) => one.layer === node.layer && one.head === node.head);
  const looks = side?.attention?.[head]?.weights[chosen.token];
  if (!looks) return null;
  const at = (token) => valueAt(page, side, index, token) ?? 0;
  return looks.reduce((sum, look, token) => sum + look * at(token), 0);
}

// By weight, what its line is as wide as, as a share of the widest: in [0, 1].
export function widthShares(state, effects) {
  const { edges } = state.page.drawing;
  const sizes = edges.map((edge, index) => {
    if (state.chosen.width === "effect" && effects.exact) return effects.edges[index];
    const carried = state.chosen.width === "value" ? carriedAt(state, edge) : null;
    return Math.abs(carried ?? edge.weight);
  });
  const largest = sizes.reduce((most, size) => Math.max(most, size), 0) || 1;
  return sizes.map((size) => size / largest);
}

// What the filter leaves, as [weights, nodes], true where strong enough. Nodes at the ends of
// strong weights stay.
export function strongEnough(state, effects) {
  const { filter } = state.chosen;
  const most = (sizes) => sizes.reduce((best, size) => Math.max(best, size), 0);
  const passes = (sizes, largest) => sizes.map((size) => filter === 0 || size >= filter * largest);
  const edges = passes(effects.edges, most(effects.edges));
  const nodes = passes(effects.nodes, most(effects.nodes));
  state.page.drawing.edges.forEach(({ source, target }, index) => {
    if (!edges[index]) return;
    nodes[source] = true;
    if (target < nodes.length) nodes[target] = true;
  });
  return [edges, nodes];
}

// Indices of the weights that are drawn: the strongest, if there are too many.
export function drawnEdges(state, effects) {
  const all = effects.edges.map((_, index) => index);
  if (all.length <= state.chosen.drawn) return all;
  all.sort((a, b) => effects.edges[b] - effects.edges[a] || a - b);
  return all.slice(0, state.chosen.drawn);
}
