// Prompts run through the circuit in the page: what every node does at every token, now and before.

import { NONE } from "./engine.js";
import { EngineError } from "./network.js";

const KEPT_RUNS = 16;
// Longer texts are too long for any circuit; they are not even cut into tokens.
const LONGEST_TEXT = 20000;

// Runs of the engine, the latest ones remembered.
export function rememberRuns(engine) {
  const known = new Map();
  return (ids, interventions) => {
    const key = `${ids} ${JSON.stringify(interventions)}`;
    const found = known.get(key) ?? engine.run(ids, interventions);
    known.delete(key);
    known.set(key, found);
    if (known.size > KEPT_RUNS) known.delete(known.keys().next().value);
    return found;
  };
}

// What stands on a side, 0 or 1: {text, ids, tokens, offsets, wants, against, own, problem}.
// `offsets` are null for prompts of the task, `problem` is why it cannot run, in plain words.
function promptAt({ page, chosen, engine }, index) {
  const given = page.examples[chosen.example]?.sides[index];
  const own = index === 0 ? chosen.prompt : chosen.other;
  const names = page.drawing.answers.map((answer) => answer.name);
  const sets = chosen.sets ?? sidesOf(page, chosen.example) ?? names;
  const [wants, against] = index === 0 ? sets : [sets[1], sets[0]];
  // The calibration's shift speaks for the answer of the task's prompts.
  const turned = given !== undefined && given.wants === against && given.against === wants;
  const isOwn = own !== null || !given;
  const prompt = { wants, against, turned, own: isOwn, problem: "", offsets: null };
  if (own !== null || !given) return { ...prompt, ...tokensOf(engine, own ?? "", page.silent) };
  return { ...prompt, text: given.text, ids: given.ids, tokens: given.tokens };
}

function sidesOf(page, example) {
  const given = page.examples[example]?.sides[0];
  return given ? [given.wants, given.against] : null;
}

function tokensOf(engine, text, silent) {
  const none = { text, ids: [], tokens: [], offsets: [] };
  if (!engine) return { ...none, problem: silent || "The circuit is being unpacked." };
  if (!text) return { ...none, problem: "Type a prompt, or choose an example." };
  if (text.length > LONGEST_TEXT) {
    const [size, most] = [text.length, LONGEST_TEXT].map((count) => count.toLocaleString("en"));
    return { ...none, problem: `Too long: ${size} characters; at most ${most} are looked at.` };
  }
  try {
    const { ids, texts, offsets } = engine.tokenize(text);
    const { context } = engine;
    const over = context !== null && ids.length > context;
    const much = `Too long: ${ids.length} tokens; the circuit reads at most ${context}.`;
    const problem = over ? much : "";
    return { text, ids, tokens: texts, offsets, problem };
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return { ...none, problem: `This text cannot be read: ${error.message}.` };
  }
}

// A side with what the circuit does on it; `values` by node and `margins` are null where it cannot
// run. `before`: as if nothing had been changed by hand.
export function runSide(state, index, before) {
  const prompt = promptAt(state, index);
  const silent = { ...prompt, run: null, values: null, margins: null, attention: null };
  if (!state.engine || prompt.problem) return silent;
  let run;
  try {
    run = state.runOf(prompt.ids, before ? NONE : allInterventions(state));
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return { ...silent, problem: `This cannot run: ${error.message}.` };
  }
  const { heads } = state.page;
  let looks = null;
  return {
    ...prompt,
    run,
    values: state.places.map((place) => run.node(place)),
    margins: run.margin(prompt.wants, prompt.against, prompt.turned ? 1 - index : index),
    get attention() {
      looks ??= heads.map(({ layer, head }) => looksOf(run.attention(layer, head), run.length));
      return looks;
    },
  };
}

// The margin at the last token of a side as it would be under other changes by hand; null where the
// side cannot run.
export function marginUnder(state, index, interventions) {
  const { page, chosen } = state;
  const { run, ids, wants, against, turned } = state.side(index);
  if (!run) return null;
  const changed = allInterventions({ page, chosen: { ...chosen, interventions } });
  const { margin } = state.runOf(ids, changed);
  return margin(wants, against, turned ? 1 - index : index).at(-1);
}

// By query its weights on the tokens up to it, and the share that stands on no token.
function looksOf(all, length) {
  const weights = Array.from({ length }, (_, t) => all.subarray(t * length, t * length + t + 1));
  const sink = weights.map((row) => {
    const rest = 1 - row.reduce((sum, weight) => sum + weight, 0);
    return rest > 1e-9 ? rest : 0;
  });
  return { weights, sink };
}

// What the reader has changed by hand, and the nodes that a smaller circuit leaves out.
export function allInterventions({ page, chosen }) {
  const { interventions, shown } = chosen;
  if (!shown) return interventions;
  const left = page.drawing.nodes.filter((_, index) => !shown.has(index));
  const cut = Object.fromEntries(left.map((node) => [node.name, { kind: "ablate" }]));
  return { nodes: { ...interventions.nodes, ...cut }, edges: interventions.edges };
}

// Token of one prompt -> the token of the other that stands in its place, or null: those of their
// common beginning, of their common end, the last, and all where they are equally long.
function counterpart(mine, other) {
  if (mine.length === other.length) return (t) => t;
  const start = commonStart(mine, other);
  const end = Math.max(1, commonEnd(mine, other, start));
  return (t) => {
    if (t < start) return t;
    return t >= mine.length - end ? t - mine.length + other.length : null;
  };
}

// Where two prompts differ: all that is neither their common beginning nor their common end.
export function differences(mine, other) {
  if (mine.length === other.length) return (t) => mine[t] !== other[t];
  const start = commonStart(mine, other);
  const end = commonEnd(mine, other, start);
  return (t) => t >= start && t < mine.length - end;
}

function commonStart(mine, other) {
  let start = 0;
  while (start < mine.length && start < other.length && mine[start] === other[start]) start += 1;
  return start;
}

function commonEnd(mine, other, start) {
  const most = Math.min(mine.length, other.length) - start;
  let end = 0;
  while (end < most && mine[mine.length - 1 - end] === other[other.length - 1 - end]) end += 1;
  return end;
}

// A side minus another one, token by token; NaN where no token stands in the same place.
export function minus(side, other, sign) {
  if (!side.values || !other.values) return { ...side, values: null, margins: null };
  const at = counterpart(side.tokens, other.tokens);
  const less = (row, from, factor) =>
    Float64Array.from(row, (value, t) => (at(t) === null ? NaN : value - factor * from[at(t)]));
  const values = side.values.map((row, node) => less(row, other.values[node], 1));
  const margins = less(side.margins, other.margins, sign);
  return { ...side, attention: side.attention, values, margins };
}
