// What the reader changes by hand: nodes held, scaled or cut, weights cut; undone and redone.

import { NONE } from "./engine.js";
import { EngineError } from "./network.js";
import { plural, signed } from "./dom.js";
import { groupName, namesOf } from "./groups.js";

const LONGEST_PAST = 200;

export function isChanged({ chosen }) {
  const { nodes, edges } = chosen.interventions;
  return chosen.shown !== null || edges.length > 0 || Object.keys(nodes).length > 0;
}

// `what`: {kind: "ablate"}, {kind: "clamp", value}, {kind: "scale", factor}, or null: as it was.
// All of the nodes change in one step. Gives the reason where the circuit cannot do that, else "".
export function setNodes(state, names, what) {
  return apply(state, withNodes(state.chosen.interventions, names, what));
}

export function withNodes({ nodes, edges }, names, what) {
  const others = Object.entries(nodes).filter(([name]) => !names.includes(name));
  const changed = what ? names.map((name) => [name, what]) : [];
  return { nodes: Object.fromEntries([...others, ...changed]), edges };
}

export function setEdge(state, name, cut) {
  const { nodes, edges } = state.chosen.interventions;
  const others = edges.filter((edge) => edge !== name);
  return apply(state, { nodes, edges: cut ? [...others, name] : others });
}

export function restoreAll(state) {
  if (state.chosen.shown) state.choose({ shown: null });
  apply(state, NONE);
}

function apply(state, interventions) {
  const { chosen } = state;
  if (JSON.stringify(interventions) === JSON.stringify(chosen.interventions)) return "";
  const reason = refusal(state, interventions);
  if (reason) return reason;
  const past = [...chosen.history.past, chosen.interventions].slice(-LONGEST_PAST);
  state.choose({ interventions, history: { past, future: [] } });
  return "";
}

// Why the circuit cannot run like that, in plain words; "" where it can.
export function refusal({ engine }, interventions) {
  if (!engine) return "the circuit is still being unpacked";
  try {
    engine.run([0], interventions);
    return "";
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return error.message;
  }
}

export function undo(state) {
  const { past, future } = state.chosen.history;
  if (!past.length) return;
  const history = { past: past.slice(0, -1), future: [state.chosen.interventions, ...future] };
  state.choose({ interventions: past.at(-1), history });
}

export function redo(state) {
  const { past, future } = state.chosen.history;
  if (!future.length) return;
  const history = { past: [...past, state.chosen.interventions], future: future.slice(1) };
  state.choose({ interventions: future[0], history });
}

// Every change as {words, choice, takeBack}: what it is, the node or edge that it is about, and how
// to take back it alone.
export function changesOf(state) {
  const { interventions, shown } = state.chosen;
  const { nodes, edges } = interventions;
  const cut = cutGroups(state);
  const together = new Set(cut.flatMap(({ names }) => names));
  const alone = Object.entries(nodes).filter(([name]) => !together.has(name));
  const fewer = {
    words: `only ${plural(shown?.size ?? 0, "node")}`,
    takeBack: () => state.choose({ shown: null }),
  };
  return [
    ...(shown ? [fewer] : []),
    ...cut.map(({ group, names }) => ({
      words: `cut ${groupName(group)}`,
      choice: { node: names[0] },
      takeBack: () => setNodes(state, names, null),
    })),
    ...alone.map(([name, what]) => ({
      words: changeWords(name, what),
      choice: { node: name },
      takeBack: () => setNodes(state, [name], null),
    })),
    ...edges.map((name) => ({
      words: `cut ${name.replace(" -> ", " → ")}`,
      choice: { edge: name },
      takeBack: () => setEdge(state, name, false),
    })),
  ];
}

// Groups of which every node is cut.
function cutGroups({ page, chosen }) {
  const { nodes } = chosen.interventions;
  return page.groups.flatMap((group) => {
    const names = namesOf(page, group);
    const all = names.length > 1 && names.every((name) => nodes[name]?.kind === "ablate");
    return all ? [{ group, names }] : [];
  });
}

function changeWords(name, what) {
  if (what.kind === "ablate") return `cut ${name}`;
  if (what.kind === "clamp") return `${name} = ${signed(what.value)}`;
  return `${name} × ${signed(what.factor)}`;
}

// Ctrl+Z and Ctrl+Shift+Z (or Ctrl+Y), except where a text is being written.
export function listenToUndo(state) {
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    if (event.target.closest?.("textarea, input:not([type=range])")) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) redo(state);
    else undo(state);
  });
}
