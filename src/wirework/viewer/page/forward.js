// The forward pass of the Python engine, in its order. Activations: x[channel * length + token].

import { zeroRest } from "./abstopk.js";
import { addHeadConstants, attend } from "./attention.js";
import { siteName, siteWidth } from "./network.js";
import { gatherRows, holdCut, multiply, normed } from "./products.js";
import { gelu } from "./scalars.js";

// What one pass over ids (T) leaves behind. `logits`: x[answer * length + token]. Where `keep` asks
// for them, `sites`: name -> activations, and `residuals`: before every layer and after the last.
// With `start` = {layer, residual} the pass begins at that layer.
export function runForward(network, ids, { start = null, keep = false } = {}) {
  const length = ids.length;
  const pass = { network, ids, length, keep, sites: new Map(), residuals: [] };
  let r = start ? start.residual.slice() : embedded(pass);
  for (let index = start ? start.layer : 0; index < network.layers.length; index += 1) {
    if (keep) pass.residuals[index] = r.slice();
    const layer = network.layers[index];
    addTo(pass, r, attentionWrites(pass, layer, index, r), "resid.attn");
    addTo(pass, r, mlpWrites(pass, layer, index, r), "resid.mlp");
  }
  if (keep) pass.residuals.push(r.slice());
  const { final_gain: gain, final_norm_bias: bias, unembedding } = network;
  const final = settle(pass, null, "final", () => normOf(network, r, length, gain, bias));
  pass.logits = multiply(unembedding, final, length, network.unembedding_bias);
  if (network.bigram) addBigram(pass);
  return pass;
}

function embedded({ network, ids, length }) {
  const r = gatherRows(network.embedding, ids);
  if (network.position === "add") addInto(r, positionsOf(network, length));
  return r;
}

function addInto(x, y) {
  for (let i = 0; i < x.length; i += 1) x[i] += y[i];
}

// r <- AbsTopK(activation(r + delta)), in place.
function addTo({ network, length }, r, delta, place) {
  addInto(r, delta);
  if (network.residual === "relu") for (let i = 0; i < r.length; i += 1) r[i] = Math.max(r[i], 0);
  if (place in network.topk) zeroRest(r, r.length / length, length, network.topk[place]);
}

function normOf(network, x, length, gain, bias) {
  return normed(x, length, gain, bias, network.eps, network.norm === "layer");
}

// AbsTopK unless it is `ranked` already, gate, interventions; what is cut whole is never computed.
function settle(pass, layer, place, compute, ranked = false) {
  const { network, length } = pass;
  const site = siteName(layer, place);
  const gate = network.gates.get(site);
  const width = siteWidth(network, layer, place);
  let x;
  if (gate?.empty) x = new Float64Array(width * length);
  else {
    x = compute();
    if (place in network.topk && !ranked) {
      if (gate?.before) holdCut(x, length, gate);
      zeroRest(x, width, length, network.topk[place]);
    }
  }
  if (gate) holdCut(x, length, gate);
  for (const { channel, kind, number } of network.changes.get(site) ?? []) {
    const row = x.subarray(channel * length, (channel + 1) * length);
    if (kind === "clamp") row.fill(number);
    else for (let t = 0; t < length; t += 1) row[t] *= number;
  }
  if (pass.keep) pass.sites.set(site, x);
  return x;
}

// The position vector of every token.
function positionsOf({ positions, position_width: width }, length) {
  const out = new Float64Array(width * length);
  for (let i = 0; i < width; i += 1) {
    for (let t = 0; t < length; t += 1) out[i * length + t] = positions[t * width + i];
  }
  return out;
}

// What attention or MLP reads: the normed residual, and normed positions beside it.
function readOf(pass, layer, place, r, gain, bias, positionGain, positionBias) {
  const { network, length } = pass;
  const compute = () => normOf(network, r, length, gain, bias);
  if (!positionGain) return settle(pass, layer, place, compute);
  const rows = normOf(network, positionsOf(network, length), length, positionGain, positionBias);
  const both = new Float64Array(r.length + rows.length);
  both.set(rows, r.length);
  if (!network.position_in_topk) {
    both.set(settle(pass, layer, place, compute));
    return both;
  }
  both.set(compute());
  if (place in network.topk) {
    const gate = network.gates.get(siteName(layer, place));
    if (gate?.before) holdCut(both, length, gate);
    zeroRest(both, both.length / length, length, network.topk[place]);
  }
  both.set(settle(pass, layer, place, () => both.slice(0, r.length), true));
  return both;
}

function attentionWrites(pass, layer, index, r) {
  const { network, length } = pass;
  const x = readOf(
    pass, index, "attn.in", r, layer.attn_gain, layer.attn_norm_bias,
    layer.position_gain_attn, layer.position_norm_bias_attn,
  );
  const [q, k, v] = ["q", "k", "v"].map((name) =>
    settle(pass, index, `attn.${name}`, () =>
      multiply(layer[name], x, length, layer[`${name}_bias`]),
    ),
  );
  return settle(pass, index, "attn.out", () => {
    const { mixed, share } = attend(q, k, v, length, layer, network.d_head);
    const out = multiply(layer.attn_out, mixed, length, layer.attn_out_bias);
    if (layer.head_constant) addHeadConstants(out, length, layer.head_constant, share);
    return out;
  });
}

function mlpWrites(pass, layer, index, r) {
  const { network, length } = pass;
  const x = readOf(
    pass, index, "mlp.in", r, layer.mlp_gain, layer.mlp_norm_bias,
    layer.position_gain_mlp, layer.position_norm_bias_mlp,
  );
  const active = network.activation === "relu" ? (value) => Math.max(value, 0) : gelu;
  const neurons = settle(pass, index, "mlp.neuron", () => {
    const out = multiply(layer.mlp_in, x, length, layer.mlp_in_bias);
    for (let i = 0; i < out.length; i += 1) if (out[i] !== 0) out[i] = active(out[i]);
    return out;
  });
  return settle(pass, index, "mlp.out", () =>
    multiply(layer.mlp_out, neurons, length, layer.mlp_out_bias),
  );
}

function addBigram({ network, ids, length, logits }) {
  const count = logits.length / length;
  for (let answer = 0; answer < count; answer += 1) {
    for (let t = 0; t < length; t += 1) {
      logits[answer * length + t] += network.bigram[ids[t] * count + answer];
    }
  }
}
