// Causal attention with sinks, one head at a time. Activations: x[channel * length + token].

import { expOf } from "./scalars.js";

// softmax(q k / sqrt(width)) of one query over the keys up to it, undivided, into `row`. `sink`:
// the logit of one more key without a value, or null. Gives the sum over the keys
// and 1 / the sum of all.
export function attendFrom(q, k, length, width, head, query, sink, row) {
  const scale = 1 / Math.sqrt(width);
  row.fill(0, 0, query + 1);
  for (let i = head * width; i < (head + 1) * width; i += 1) {
    const entry = q[i * length + query] * scale;
    if (entry === 0) continue;
    for (let s = 0, at = i * length; s <= query; s += 1, at += 1) row[s] += entry * k[at];
  }
  let highest = sink === null ? -Infinity : sink;
  for (let s = 0; s <= query; s += 1) highest = Math.max(highest, row[s]);
  let real = 0;
  for (let s = 0; s <= query; s += 1) {
    row[s] = expOf(row[s] - highest);
    real += row[s];
  }
  return { real, inverse: 1 / (sink === null ? real : real + expOf(sink - highest)) };
}

// Mixed values of the channels in `used` (rising), and every head's share of attention on real
// keys; heads without either are left out.
export function attend(q, k, v, length, layer, width) {
  const heads = q.length / length / width;
  const mixed = new Float64Array(v.length);
  const share = new Float64Array(heads * length);
  const row = new Float64Array(length);
  const adding = headsThatAdd(layer.head_constant, heads);
  for (let head = 0; head < heads; head += 1) {
    const used = layer.usedValues[head];
    if (!used.length && !adding[head]) continue;
    const sink = layer.sink ? layer.sink[head] : null;
    for (let query = 0; query < length; query += 1) {
      const { real, inverse } = attendFrom(q, k, length, width, head, query, sink, row);
      share[head * length + query] = real * inverse;
      for (const channel of used) {
        let sum = 0;
        for (let s = 0, at = channel * length; s <= query; s += 1, at += 1) sum += row[s] * v[at];
        mixed[channel * length + query] = sum * inverse;
      }
    }
  }
  return { mixed, share };
}

function headsThatAdd(constants, heads) {
  const found = new Uint8Array(heads);
  for (let i = 0; constants && i < constants.length; i += 1) if (constants[i]) found[i % heads] = 1;
  return found;
}

// In place: what value channels that are held at constants give, by their heads' shares.
export function addHeadConstants(out, length, constants, share) {
  const heads = share.length / length;
  const sum = new Float64Array(length);
  for (let row = 0; row < out.length / length; row += 1) {
    sum.fill(0);
    for (let head = 0; head < heads; head += 1) {
      const constant = constants[row * heads + head];
      if (constant === 0) continue;
      for (let t = 0; t < length; t += 1) sum[t] += constant * share[head * length + t];
    }
    for (let t = 0; t < length; t += 1) out[row * length + t] += sum[t];
  }
}
