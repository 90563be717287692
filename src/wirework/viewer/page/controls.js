// What can be done to the chosen node or edge; stands in its panel.

import { element, signed, tokenName } from "./dom.js";
import { namesOf } from "./groups.js";
import { refusal, setEdge, setNodes, withNodes } from "./history.js";
import { answerWords } from "./outcome.js";
import { marginUnder } from "./runs.js";
import { edgeName } from "./state.js";

const CUT = { kind: "ablate" };
const CONTROLS = { node: nodeControls, edge: edgeControls, group: groupControls };

// `choice`: {node}, {edge} or {group}, indices of the drawing or of the page's groups. Empty where
// the circuit cannot run here.
export function buildControls(state, choice) {
  if (!state.page.program) return document.createDocumentFragment();
  const [[kind, index]] = Object.entries(choice);
  const words = kind === "group" ? "change the group" : "change it";
  const box = element("div", { class: "controls", role: "group", "aria-label": words });
  const told = element("p", { class: "controls-told", role: "alert" });
  const act = (change) => () => {
    told.textContent = change();
  };
  const parts = CONTROLS[kind](state, index, act);
  box.append(...parts.items, told);
  let placed = false;
  const stop = state.onChange(() => {
    // The panel was built anew: this box is gone.
    if (placed && !box.isConnected) return stop();
    placed = box.isConnected;
    return parts.show();
  });
  parts.show();
  return box;
}

function nodeControls(state, index, act) {
  const { name } = state.page.drawing.nodes[index];
  const now = () => state.chosen.interventions.nodes[name];
  const isCut = () => now()?.kind === "ablate";
  const set = (what) => setNodes(state, [name], what);
  const cut = pressable("cut", act(() => set(isCut() ? null : CUT)));
  const number = (label, start) =>
    element("input", {
      type: "number",
      step: "any",
      value: start,
      "aria-label": `${label} for ${name}`,
    });
  const held = state.side(state.chosen.side).values?.[index][state.chosen.token] ?? 0;
  const [value, factor] = [number("value", Number(held.toPrecision(3))), number("factor", -1)];
  const clampTo = () => setNumber(value, (found) => set({ kind: "clamp", value: found }));
  const scaleBy = () => setNumber(factor, (found) => set({ kind: "scale", factor: found }));
  const clamp = pressable("hold at", act(clampTo));
  const scale = pressable("multiply by", act(scaleBy));
  onEnter(value, act(clampTo));
  onEnter(factor, act(scaleBy));
  const back = element("button", { type: "button", onclick: act(() => set(null)) }, "back");
  const note = element("p", { class: "quiet" });
  const show = () => {
    const what = now();
    cut.setAttribute("aria-pressed", String(isCut()));
    clamp.setAttribute("aria-pressed", String(what?.kind === "clamp"));
    scale.setAttribute("aria-pressed", String(what?.kind === "scale"));
    const free = (field) => document.activeElement !== field;
    if (what?.kind === "clamp" && free(value)) value.value = String(what.value);
    if (what?.kind === "scale" && free(factor)) factor.value = String(what.factor);
    back.disabled = !what;
    note.textContent = cutNote(state, index);
  };
  const pair = (button, field) => element("span", { class: "control-pair" }, button, field);
  return { items: [cut, pair(clamp, value), pair(scale, factor), back, note], show };
}

function cutNote(state, index) {
  const { engine, places, chosen } = state;
  if (!engine) return "";
  const constant = engine.constants[places[index]];
  const token = chosen.token + 1;
  const valueNow = (before) => state.side(chosen.side, before).values?.[index][chosen.token];
  const [was, is] = [valueNow(true), valueNow(false)];
  const unlike = is === was ? "" : ` (was ${signed(was)})`;
  const here = is === undefined ? "" : `At token ${token}: ${signed(is)}${unlike}. `;
  const values = here + strongestWords(state, index);
  if (constant === null) return `${values}Nothing stands for it when it is cut.`;
  return `${values}Cut, it is held at ${signed(constant)} (${engine.ablation} ablation).`;
}

// Where in the prompt a node says most, unless that is the chosen token.
function strongestWords(state, index) {
  const { values, tokens } = state.side(state.chosen.side, true);
  const row = values?.[index];
  if (!row) return "";
  const most = row.reduce((at, value, i) => (Math.abs(value) > Math.abs(row[at]) ? i : at), 0);
  if (most === state.chosen.token || row[most] === 0) return "";
  return `Strongest at token ${most + 1}, ${tokenName(tokens[most])}: ${signed(row[most])}. `;
}

// All nodes of a group, cut and given back in one step.
function groupControls(state, index, act) {
  const names = namesOf(state.page, state.page.groups[index]);
  const now = () => names.map((name) => state.chosen.interventions.nodes[name]);
  const isCut = () => now().every((what) => what?.kind === "ablate");
  const set = (what) => setNodes(state, names, what);
  const cut = pressable("cut the group", act(() => set(isCut() ? null : CUT)));
  const back = pressable("restore the group", act(() => set(null)));
  const note = element("p", { class: "quiet" });
  const show = () => {
    cut.setAttribute("aria-pressed", String(isCut()));
    back.disabled = now().every((what) => !what);
    note.textContent = groupNote(state, names);
  };
  return { items: [cut, back, note], show };
}

// What the answer to the prompt does without the group, beside everything else that is changed.
function groupNote(state, names) {
  const { engine, chosen } = state;
  if (!engine) return "";
  const side = state.side(chosen.side);
  const [whole, without] = [null, CUT].map((what) => withNodes(chosen.interventions, names, what));
  const reason = refusal(state, without);
  if (reason) return `It cannot be cut: ${reason}.`;
  const [was, is] = [whole, without].map((one) => marginUnder(state, chosen.side, one));
  if (was === null) return "";
  const flips = was > 0 !== is > 0 ? ": the answer flips" : "";
  return (
    `With it ${answerWords(side, was)}, without it ${answerWords(side, is)}${flips} (margin ` +
    `${signed(was)} and ${signed(is)}). Cut, its nodes are held at their constants ` +
    `(${engine.ablation} ablation).`
  );
}

function edgeControls(state, index, act) {
  const name = edgeName(state.page, index);
  const isCut = () => state.chosen.interventions.edges.includes(name);
  const cut = pressable("cut", act(() => setEdge(state, name, !isCut())));
  const restore = act(() => setEdge(state, name, false));
  const back = element("button", { type: "button", onclick: restore }, "back");
  const show = () => {
    cut.setAttribute("aria-pressed", String(isCut()));
    back.disabled = !isCut();
  };
  return { items: [cut, back], show };
}

function pressable(words, act) {
  return element("button", { type: "button", onclick: act }, words);
}

function setNumber(field, change) {
  const found = field.value.trim() === "" ? NaN : Number(field.value);
  if (!Number.isFinite(found)) return "Write a number, such as 1.5.";
  return change(found);
}

function onEnter(field, act) {
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") act();
  });
}
