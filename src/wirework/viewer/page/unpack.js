// The program of a circuit as it travels in the page: one compressed text of all arrays.

const BYTES = { u8: 1, u16: 2, u32: 4, bf16: 2, f32: 4, f64: 8 };
const ARRAYS = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, f32: Float32Array };

// name -> Float64Array, or an array of whole numbers where it holds those.
export async function unpackArrays(packed) {
  const text = atob(packed.data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const whole = new Uint8Array(await new Response(stream).arrayBuffer());
  const found = new Map();
  for (const [name, place] of Object.entries(packed.index)) {
    found.set(name, readNumbers(whole, place));
  }
  return found;
}

// The first bytes of all numbers come first, then the second ones: that compresses better.
function readNumbers(whole, [kind, count, offset]) {
  const size = BYTES[kind];
  // bfloat16 is the upper half of float32.
  const width = kind === "bf16" ? 4 : size;
  const bytes = new Uint8Array(count * width);
  for (let plane = 0; plane < size; plane += 1) {
    const from = offset + plane * count;
    const to = width - size + plane;
    for (let i = 0; i < count; i += 1) bytes[i * width + to] = whole[from + i];
  }
  if (kind === "f64") return new Float64Array(bytes.buffer);
  const numbers = new (ARRAYS[kind] ?? Float32Array)(bytes.buffer);
  return numbers instanceof Float32Array ? new Float64Array(numbers) : numbers;
}

// Compressed sparse rows from the gaps between the places of the nonzeros, row after row.
export function unpackMatrix(arrays, name, [rows, cols]) {
  const gaps = arrays.get(`${name}.gaps`);
  const starts = new Uint32Array(rows + 1);
  const columns = new Uint32Array(gaps.length);
  let place = 0;
  for (let i = 0; i < gaps.length; i += 1) {
    place += gaps[i];
    columns[i] = place % cols;
    starts[Math.floor(place / cols) + 1] += 1;
  }
  for (let row = 0; row < rows; row += 1) starts[row + 1] += starts[row];
  return { rows, cols, starts, columns, values: arrays.get(`${name}.values`) };
}
