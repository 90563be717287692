// The circuit as a program: it runs in the page, in double precision, as the Python engine runs it.

import { attendFrom } from "./attention.js";
import { runForward } from "./forward.js";
import { EngineError, buildNetwork, constantOf, intervene, listNodes } from "./network.js";
import { logSumExp } from "./scalars.js";
import { buildTokenizer } from "./tokenizer.js";
import { unpackArrays } from "./unpack.js";

export const NONE = { nodes: {}, edges: [] };

// Milliseconds that the page may be busy without a pause.
const SLICE = 25;

// See `program` in program.py for what a program holds. Fails where the browser cannot unpack it.
export async function createEngine(program) {
  const arrays = await unpackArrays(program.arrays);
  const network = buildNetwork(program.network, arrays);
  const nodes = listNodes(network);
  const tokenizer = unpackTokenizer(arrays);
  const engine = {
    nodes: nodes.map((node) => node.name),
    answers: Int32Array.from(network.outputs),
    answerSets: program.answers,
    constants: nodes.map((node) => constantOf(network, node)),
    ablation: program.ablation,
    context: program.context,
    tokenText: (id) => tokenizer.texts[id],
    // Text -> the ids of its tokens, their texts, and [start, end) of each in the text.
    tokenize(text) {
      const ids = tokenizer.encode(text);
      const texts = Array.from(ids, (id) => tokenizer.texts[id]);
      return { ids, texts, offsets: tokenizer.offsets(text, ids) };
    },
    run(ids, interventions = NONE) {
      checkIds(program, network, ids);
      return makeRun(parts, intervene(network, parts.byName, interventions), ids);
    },
    effects: (...asked) => nodeEffects(parts, engine, ...asked),
  };
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const parts = { network, nodes, byName, program };
  return engine;
}

function unpackTokenizer(arrays) {
  const bytes = arrays.get("pieces.bytes");
  let end = 0;
  const pieces = Array.from(arrays.get("pieces.sizes"), (size) => {
    end += size;
    return bytes.subarray(end - size, end);
  });
  return buildTokenizer(pieces, arrays.get("merges"));
}

function checkIds({ context }, { embedding }, ids) {
  if (!ids.length) throw new EngineError("prompt-empty", "there is no token to run on");
  if (context !== null && ids.length > context) {
    const message = `${ids.length} tokens; the circuit takes at most ${context}`;
    throw new EngineError("prompt-too-long", message);
  }
  const known = (id) => Number.isInteger(id) && id >= 0 && id < embedding.rows;
  if (!ids.every(known)) throw new EngineError("token-unknown", "an id that is no token");
}

// What one run of a network gave; arrays are by token, (T).
function makeRun(parts, network, ids) {
  const pass = runForward(network, ids, { keep: true });
  const { length } = ids;
  return {
    length,
    ids,
    network,
    residuals: pass.residuals,
    // What a node does after gate and interventions.
    node(index) {
      const { site, channel } = parts.nodes[index];
      return pass.sites.get(site).slice(channel * length, (channel + 1) * length);
    },
    // Calibrated margin of one answer set over another. `side`: 0 as a prompt of the task, 1 as a
    // counterfactual: the calibration's shift speaks for the answer of the prompts.
    margin(wants, against, side = 0) {
      return Float64Array.from(ids, (_, t) => marginAt(parts, pass, t, wants, against, side));
    },
    logits: (position) => logitsAt(pass, position),
    // By query and key, (T * T); what lacks to 1 in a row is the sink's.
    attention: (layer, head) => attentionOf(network, pass, layer, head),
    scores: (layer, head, query, key) => scoresOf(parts, network, pass, layer, head, query, key),
  };
}

function logitsAt({ logits, length }, position) {
  const count = logits.length / length;
  return Float64Array.from({ length: count }, (_, i) => logits[i * length + position]);
}

function marginAt({ program }, pass, position, wants, against, side) {
  const logits = logitsAt(pass, position);
  const { scale, shift } = program.calibration;
  const [wanted, other] = [wants, against].map((name) => logSumExp(logits, program.answers[name]));
  return scale * (wanted - other) + (side === 0 ? shift : -shift);
}

function attentionOf({ layers, d_head: width }, { sites, length }, layer, head) {
  const [q, k] = ["q", "k"].map((name) => sites.get(`${layer}.attn.${name}`));
  const sink = layers[layer].sink ? layers[layer].sink[head] : null;
  const found = new Float64Array(length * length);
  for (let query = 0; query < length; query += 1) {
    const row = found.subarray(query * length, (query + 1) * length);
    const { inverse } = attendFrom(q, k, length, width, head, query, sink, row);
    for (let key = 0; key <= query; key += 1) row[key] *= inverse;
  }
  return found;
}

// The score of a key as the sum that it is, by channel, largest product first: {channel, queryNode,
// keyNode (indices, null where cut), query, key, product}. Channels that are cut on both sides are
// one item, {held: their number, product}. Products hold the factor 1 / sqrt(d_head).
function scoresOf({ byName, nodes }, { gates, d_head: width }, pass, layer, head, query, key) {
  const nodeOf = (place, channel) => {
    const gate = gates.get(`${layer}.${place}`);
    if (gate && !gate.keep[channel]) return null;
    return nodes.indexOf(byName.get(`${layer}.${place}:${channel}`));
  };
  const valueOf = (place, channel, t) =>
    pass.sites.get(`${layer}.${place}`)[channel * pass.length + t];
  const items = [];
  const held = { held: 0, product: 0 };
  for (let channel = head * width; channel < (head + 1) * width; channel += 1) {
    const [queryNode, keyNode] = [nodeOf("attn.q", channel), nodeOf("attn.k", channel)];
    const [from, to] = [valueOf("attn.q", channel, query), valueOf("attn.k", channel, key)];
    const product = (from / Math.sqrt(width)) * to;
    if (queryNode === null && keyNode === null) {
      held.held += 1;
      held.product += product;
    } else items.push({ channel, queryNode, keyNode, query: from, key: to, product });
  }
  if (held.held) items.push(held);
  return items.sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
}

// What every node matters for the margin at a token: margin under the interventions - margin with
// the node ablated as well. Yields {done, total, effects}, effects by node, NaN where not done or
// where a node has no constant; pauses so that the page stays alive, and ends when nobody asks on.
async function* nodeEffects(parts, engine, ids, position, wants, against, interventions = NONE) {
  const seen = ids.slice(0, position + 1);
  const base = engine.run(seen, interventions);
  const margin = base.margin(wants, against)[position];
  const total = parts.nodes.length;
  const effects = new Float64Array(total).fill(NaN);
  let until = performance.now() + SLICE;
  for (let index = 0; index < total; index += 1) {
    const less = marginWithout(parts, base, parts.nodes[index], wants, against, interventions);
    effects[index] = margin - less;
    if (performance.now() < until || index + 1 === total) continue;
    yield { done: index + 1, total, effects };
    await new Promise((resume) => setTimeout(resume));
    until = performance.now() + SLICE;
  }
  yield { done: total, total, effects };
}

// At the last token of the run `base`.
function marginWithout(parts, base, node, wants, against, interventions) {
  if (constantOf(base.network, node) === null) return NaN;
  const nodes = { ...interventions.nodes, [node.name]: { kind: "ablate" } };
  const network = intervene(parts.network, parts.byName, { ...interventions, nodes });
  // Nothing before the node's own layer changes.
  const layer = node.layer ?? parts.network.layers.length;
  const start = { layer, residual: base.residuals[layer] };
  const pass = runForward(network, base.ids, { start });
  return marginAt(parts, pass, base.length - 1, wants, against, 0);
}
