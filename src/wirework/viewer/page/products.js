// What acts on activations: products with sparse matrices, norms, gates. Sums run in the order of
// the Python engine, so that what ties there ties here. Activations: x[channel * length + token].

// W x + bias. Every output is its bias plus its products in the order of the columns.
export function multiply(matrix, x, length, bias) {
  const { rows, starts } = matrix;
  const out = new Float64Array(rows * length);
  for (let row = 0; row < rows; row += 1) {
    const at = row * length;
    const first = bias ? bias[row] : 0;
    if (first !== 0) for (let t = at; t < at + length; t += 1) out[t] = first;
    addProducts(matrix, starts[row], starts[row + 1], x, length, out, at);
  }
  return out;
}

// Four products at a time, added one after the other: fewer passes over the sums.
function addProducts({ columns, values }, from, end, x, length, out, at) {
  let place = from;
  for (; place + 4 <= end; place += 4) {
    const a = columns[place] * length;
    const b = columns[place + 1] * length;
    const c = columns[place + 2] * length;
    const d = columns[place + 3] * length;
    const u = values[place];
    const v = values[place + 1];
    const w = values[place + 2];
    const z = values[place + 3];
    for (let t = 0; t < length; t += 1) {
      out[at + t] = out[at + t] + u * x[a + t] + v * x[b + t] + w * x[c + t] + z * x[d + t];
    }
  }
  for (; place < end; place += 1) {
    const a = columns[place] * length;
    const u = values[place];
    for (let t = 0; t < length; t += 1) out[at + t] += u * x[a + t];
  }
}

// Rows of W, one for every token: an embedding.
export function gatherRows(matrix, ids) {
  const length = ids.length;
  const out = new Float64Array(matrix.cols * length);
  for (let t = 0; t < length; t += 1) {
    const row = ids[t];
    for (let place = matrix.starts[row]; place < matrix.starts[row + 1]; place += 1) {
      out[matrix.columns[place] * length + t] = matrix.values[place];
    }
  }
  return out;
}

const PARTS = 4;

// x / sqrt(mean(x^2) + eps) * gain + bias over the channels; `centred` takes the mean away first.
export function normed(x, length, gain, bias, eps, centred) {
  const width = gain.length;
  const out = new Float64Array(width * length);
  const mean = new Float64Array(length);
  if (centred) {
    sumOf(x, width, length, null, mean);
    for (let t = 0; t < length; t += 1) mean[t] /= width;
  }
  const scale = new Float64Array(length);
  sumOf(x, width, length, mean, scale);
  for (let t = 0; t < length; t += 1) scale[t] = 1 / Math.sqrt(scale[t] / width + eps);
  for (let i = 0; i < width; i += 1) {
    const factor = gain[i];
    const shift = bias ? bias[i] : 0;
    for (let t = 0, at = i * length; t < length; t += 1, at += 1) {
      out[at] = (x[at] - mean[t]) * scale[t] * factor + shift;
    }
  }
  return out;
}

// Sums over channels: of x, or of (x - mean)^2 where a mean is given; entry i in part i % PARTS.
function sumOf(x, width, length, mean, total) {
  const part = new Float64Array(length);
  for (let first = 0; first < PARTS; first += 1) {
    part.fill(0);
    for (let i = first; i < width; i += PARTS) {
      for (let t = 0, at = i * length; t < length; t += 1, at += 1) {
        if (mean) part[t] += (x[at] - mean[t]) * (x[at] - mean[t]);
        else part[t] += x[at];
      }
    }
    for (let t = 0; t < length; t += 1) total[t] += part[t];
  }
}

// In place: channels that are cut take their constant.
export function holdCut(x, length, gate) {
  const { cut, constant } = gate;
  for (let i = 0; i < cut.length; i += 1) {
    const held = constant[cut[i]];
    for (let t = cut[i] * length; t < (cut[i] + 1) * length; t += 1) x[t] = held;
  }
}
