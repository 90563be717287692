// AbsTopK: the k entries of largest magnitude stay, the rest becomes zero. Ties go to the lower
// index. Activations lie channel by channel: what channel i does at token t is x[i * length + t].

export function zeroRest(x, width, length, k) {
  if (k >= width) return;
  const sizes = new Float64Array(width);
  for (let t = 0; t < length; t += 1) {
    let filled = 0;
    for (let i = t; i < width * length; i += length) {
      sizes[filled] = Math.abs(x[i]);
      // Zeros are overwritten: they lose against everything.
      filled += sizes[filled] > 0 ? 1 : 0;
    }
    if (filled <= k) continue;
    const border = kthLargest(sizes, filled, k);
    let ties = k;
    for (let i = 0; i < filled; i += 1) ties -= sizes[i] > border ? 1 : 0;
    for (let i = t; i < width * length; i += length) {
      const size = Math.abs(x[i]);
      if (size > border) continue;
      if (size === border && ties > 0) ties -= 1;
      else x[i] = 0;
    }
  }
}

// Of the first `count` numbers, which change their places (quickselect).
function kthLargest(sizes, count, k) {
  const place = k - 1;
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const pivot = middleOf(sizes[low], sizes[(low + high) >> 1], sizes[high]);
    let i = low;
    let j = high;
    while (i <= j) {
      while (sizes[i] > pivot) i += 1;
      while (sizes[j] < pivot) j -= 1;
      if (i <= j) {
        const size = sizes[i];
        sizes[i] = sizes[j];
        sizes[j] = size;
        i += 1;
        j -= 1;
      }
    }
    if (place <= j) high = j;
    else if (place >= i) low = i;
    else break;
  }
  return sizes[place];
}

function middleOf(a, b, c) {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}
