// Byte-level BPE as the Python tokenizer does it.

import { BLANKS, LETTERS, NUMBERS } from "./classes.js";
import { EngineError } from "./network.js";

// `pieces`: the bytes of every id; `merges`: left, right and joined id, the first merge first;
// without them texts are not to be split in the published way, and `encode` refuses.
export function buildTokenizer(pieces, merges) {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const texts = pieces.map((bytes) => decoder.decode(bytes));
  const idOfByte = new Map(
    pieces.flatMap((bytes, id) => (bytes.length === 1 ? [[bytes[0], id]] : [])),
  );
  const joined = new Map();
  for (let i = 0; merges && i < merges.length; i += 3) {
    joined.set(merges[i] * pieces.length + merges[i + 1], { rank: i, id: merges[i + 2] });
  }
  const pattern = splitPattern();
  const known = new Map();
  const idsOf = (word) => {
    if (!known.has(word)) {
      const letters = Array.from(new TextEncoder().encode(word), (byte) => idOfByte.get(byte));
      known.set(word, mergeAll(letters, joined, pieces.length));
    }
    return known.get(word);
  };
  return {
    texts,
    encode(text) {
      if (!merges) throw new EngineError("tokenizer-foreign", "this page cannot split such texts");
      if (/\p{Surrogate}/u.test(text)) {
        throw new EngineError("text-not-unicode", "the text holds half of a surrogate pair");
      }
      const words = text.match(pattern) ?? [];
      return Int32Array.from(words.flatMap(idsOf));
    },
    offsets: (text, ids) => offsetsOf(text, Array.from(ids, (id) => pieces[id].length)),
  };
}

// The published pattern (weight_sparse_paper.md §1.5).
function splitPattern() {
  const [l, n, s] = [LETTERS, NUMBERS, BLANKS].map(rangesOf);
  const parts = [
    `[^\\r\\n${l}${n}]?[${l}]+`, `[${n}]{1,3}`, ` ?[^${s}${l}${n}]+[\\r\\n/]*`,
    `[${s}]*[\\r\\n]+`, `[${s}]+(?![^${s}])`, `[${s}]+`,
  ];
  return new RegExp(parts.join("|"), "gu");
}

function rangesOf(gaps) {
  let at = 0;
  const bounds = gaps.trim().split(/\s+/).map((gap) => (at += parseInt(gap, 36)).toString(16));
  return bounds.map((bound, i) => `${i % 2 ? "-" : ""}\\u{${bound}}`).join("");
}

// Joins the pair that was merged first in training, the leftmost one, until none is left.
function mergeAll(ids, joined, count) {
  for (;;) {
    let best = null;
    let place = 0;
    for (let i = 0; i + 1 < ids.length; i += 1) {
      const found = joined.get(ids[i] * count + ids[i + 1]);
      if (found && (!best || found.rank < best.rank)) {
        best = found;
        place = i;
      }
    }
    if (!best) return ids;
    ids.splice(place, 2, best.id);
  }
}

// Where every token stands in the text; one that holds part of a character stands for all of it.
function offsetsOf(text, sizes) {
  const unitOf = [];
  let unit = 0;
  for (const character of text) {
    const bytes = new TextEncoder().encode(character).length;
    for (let i = 0; i < bytes; i += 1) unitOf.push([unit, unit + character.length]);
    unit += character.length;
  }
  let from = 0;
  return sizes.map((size) => {
    const found = [unitOf[from][0], unitOf[from + size - 1][1]];
    from += size;
    return found;
  });
}
