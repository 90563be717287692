// The network of a circuit, its nodes, and what interventions make of it. A network never changes.

import { unpackMatrix } from "./unpack.js";

export const PLACES = [
  "attn.in", "attn.q", "attn.k", "attn.v", "attn.out", "mlp.in", "mlp.neuron", "mlp.out",
];

// Target of a weight -> where it comes from, and which matrix holds it.
const BLOCKS = {
  "attn.q": ["attn.in", "q"],
  "attn.k": ["attn.in", "k"],
  "attn.v": ["attn.in", "v"],
  "attn.out": ["attn.v", "attn_out"],
  "mlp.neuron": ["mlp.in", "mlp_in"],
  "mlp.out": ["mlp.neuron", "mlp_out"],
};

// What a user, or a link that somebody changed, asked for in vain.
export class EngineError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export function siteName(layer, place) {
  return layer === null ? place : `${layer}.${place}`;
}

export function buildNetwork(header, arrays) {
  const layers = Array.from({ length: header.n_layer }, () => ({}));
  const network = { ...header, layers, gates: new Map(), changes: new Map() };
  const put = (name, value) => {
    const [, layer, rest] = name.match(/^(?:layers\.(\d+)\.)?(\w+)$/);
    (layer === undefined ? network : layers[Number(layer)])[rest] = value;
  };
  for (const [name, shape] of Object.entries(header.matrices)) {
    put(name, unpackMatrix(arrays, name, shape));
  }
  for (const [name, value] of arrays) {
    if (name.startsWith("network.")) put(name.slice("network.".length), value);
  }
  for (const site of header.gates) {
    const keep = arrays.get(`gate.${site}.keep`);
    const before = header.gates_before.includes(site);
    network.gates.set(site, makeGate(keep, arrays.get(`gate.${site}.constant`), before));
  }
  for (const layer of layers) layer.usedValues = valuesRead(layer.attn_out, header);
  return network;
}

function makeGate(keep, constant, before) {
  const cut = [];
  for (let i = 0; i < keep.length; i += 1) if (!keep[i]) cut.push(i);
  return { keep, constant, before, cut: Uint32Array.from(cut), empty: cut.length === keep.length };
}

// By head, the value channels that some weight reads.
function valuesRead(matrix, { n_head: heads, d_head: width }) {
  const channels = [...new Set(matrix.columns)].sort((a, b) => a - b);
  return Array.from({ length: heads }, (_, head) =>
    channels.filter((channel) => Math.floor(channel / width) === head),
  );
}

export function siteWidth(network, layer, place) {
  if (place === "mlp.neuron") return network.layers[layer].mlp_in.rows;
  if (["attn.q", "attn.k", "attn.v"].includes(place)) return network.n_head * network.d_head;
  return network.embedding.cols;
}

// Kept nodes in order of computation: name, layer (null at the end), place, site, channel.
export function listNodes(network) {
  const nodes = [];
  const add = (layer, place) => {
    const site = siteName(layer, place);
    const gate = network.gates.get(site);
    for (let channel = 0; channel < siteWidth(network, layer, place); channel += 1) {
      if (gate && !gate.keep[channel]) continue;
      nodes.push({ name: `${site}:${channel}`, layer, place, site, channel });
    }
  };
  network.layers.forEach((_, layer) => PLACES.forEach((place) => add(layer, place)));
  add(null, "final");
  return nodes;
}

// The network under interventions, {nodes: {name: {kind, value or factor}}, edges: [name]}.
// `byName`: name -> node. A weight with an ablated end is no edge: cutting it changes nothing.
export function intervene(network, byName, { nodes = {}, edges = [] }) {
  const found = { ...network, gates: new Map(network.gates), changes: new Map(network.changes) };
  found.layers = network.layers.map((layer) => ({ ...layer }));
  for (const edge of edges) {
    const [source, target] = String(edge).split(" -> ").map((name) => byName.get(name));
    const place = placeOf(network, source, target);
    if (place < 0) throw new EngineError("edge-absent", `the circuit has no edge ${edge}`);
    const ablated = [source, target].some((end) => nodes[end.name]?.kind === "ablate");
    if (!ablated) cutEdge(found, network, source, target, place);
  }
  for (const [name, what] of Object.entries(nodes)) {
    const node = byName.get(name);
    if (!node) throw new EngineError("node-absent", `the circuit has no node ${name}`);
    if (what?.kind === "ablate") ablateNode(found, node);
    else changeNode(found, node, what ?? {});
  }
  return found;
}

// Where in the matrix into its target an edge stands, -1 where it is none.
function placeOf(network, source, target) {
  if (!source || !target || source.layer !== target.layer) return -1;
  const [from, name] = BLOCKS[target.place] ?? [];
  if (from !== source.place) return -1;
  const { starts, columns } = network.layers[target.layer][name];
  for (let i = starts[target.channel]; i < starts[target.channel + 1]; i += 1) {
    if (columns[i] === source.channel) return i;
  }
  return -1;
}

export function constantOf(network, node) {
  const gate = network.gates.get(node.site);
  return gate ? gate.constant[node.channel] : null;
}

function heldAt(network, node) {
  const constant = constantOf(network, node);
  if (constant !== null) return constant;
  throw new EngineError("node-without-constant", `nothing stands for ${node.name} when it is cut`);
}

// The target sees the constant of the source: weight * constant goes to its bias, or, where a sink
// takes attention away, to what its head adds by its share.
function cutEdge(found, network, source, target, place) {
  const [, name] = BLOCKS[target.place];
  const layer = found.layers[target.layer];
  const matrix = layer[name];
  const more = matrix.values[place] * heldAt(network, source);
  const values = matrix.values.slice();
  // A weight of zero: the order of the other products stays.
  values[place] = 0;
  layer[name] = { ...matrix, values };
  if (target.place === "attn.out" && layer.sink) {
    const { n_head: heads, d_head: width } = network;
    const constants = layer.head_constant?.slice() ?? new Float64Array(matrix.rows * heads);
    constants[target.channel * heads + Math.floor(source.channel / width)] += more;
    layer.head_constant = constants;
  } else {
    const bias = layer[`${name}_bias`]?.slice() ?? new Float64Array(matrix.rows);
    bias[target.channel] += more;
    layer[`${name}_bias`] = bias;
  }
}

function ablateNode(found, node) {
  heldAt(found, node);
  const gate = found.gates.get(node.site);
  const keep = gate.keep.slice();
  keep[node.channel] = 0;
  found.gates.set(node.site, makeGate(keep, gate.constant, gate.before));
}

function changeNode(found, node, { kind, value, factor }) {
  const number = kind === "clamp" ? value : factor;
  if (!["clamp", "scale"].includes(kind) || !Number.isFinite(number)) {
    throw new EngineError("intervention-malformed", `${node.name} can be ablated, clamped, scaled`);
  }
  const change = { channel: node.channel, kind, number };
  found.changes.set(node.site, [...(found.changes.get(node.site) ?? []), change]);
}
