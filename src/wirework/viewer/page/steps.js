// One column after the other: what the circuit has done so far, and what the next column does.

import { element, plural, signed } from "./dom.js";
import { currentSide, valueAt } from "./state.js";

const DOES = {
  tokens: "The tokens of the prompt enter here, each as numbers of its own.",
  "attn.in": "The attention of this layer reads these channels of the residual stream.",
  "q · k":
    "Queries say what a token looks for, keys what it is found by; what fits draws attention.",
  v: "Values: what a token hands to those that look at it.",
  "attn.out": "What the heads gathered is written into these channels of the residual stream.",
  "mlp.in": "The MLP of this layer reads these channels of the residual stream.",
  neuron: "Neurons add up what was read, and let through what is large enough.",
  "mlp.out": "What the neurons say is written into these channels of the residual stream.",
  final: "The last reads: what the answer is made from.",
  answers: "The answers: every last read speaks for or against each of them.",
};

export function buildSteps(state) {
  const { columns } = state.page.drawing;
  const last = columns.length - 1;
  const label = "step through the columns";
  const range = { type: "range", min: 0, max: last, step: 1 };
  const slider = element("input", { ...range, "aria-label": label });
  const go = (step) => state.choose({ step: step >= last ? null : Math.max(0, step) });
  const at = () => state.chosen.step ?? last;
  slider.addEventListener("input", () => go(Number(slider.value)));
  const arrow = (label, mark, by) =>
    element("button", { type: "button", "aria-label": label, onclick: () => go(at() + by) }, mark);
  const end = () => state.choose({ step: null });
  const all = element("button", { type: "button", onclick: end }, "all");
  const told = element("p", { class: "step-told", "aria-live": "polite" });
  const show = () => {
    slider.value = String(at());
    slider.setAttribute("aria-valuetext", columnName(columns[at()]));
    all.hidden = state.chosen.step === null;
    told.replaceChildren(...stepWords(state));
  };
  state.onChange(show);
  show();
  return element(
    "div",
    { class: "steps", role: "group", "aria-label": "step by step" },
    element("span", { class: "quiet" }, "step by step"),
    arrow("previous column", "‹", -1),
    slider,
    arrow("next column", "›", 1),
    all,
    told,
  );
}

function columnName({ heading, layer }) {
  return layer === null ? heading : `layer ${layer}, ${heading}`;
}

function stepWords(state) {
  const { step, token } = state.chosen;
  const { columns, points, nodes } = state.page.drawing;
  if (step === null) return ["Move the slider to see the circuit work column by column."];
  const side = currentSide(state);
  const here = nodes.flatMap(({ name }, index) =>
    points[index][0] === step ? [{ name, value: valueAt(state.page, side, index, token) }] : [],
  );
  const active = here.filter(({ value }) => value);
  active.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const does = DOES[columns[step].heading] ?? "";
  const strongest = active.length
    ? ` At token ${token + 1}, ${active.length} of ${plural(here.length, "node")} here ` +
      `${active.length === 1 ? "is" : "are"} not zero; the largest is ` +
      `${active[0].name} = ${signed(active[0].value)}.`
    : "";
  return [element("b", {}, `${columnName(columns[step])}: `), `${does}${strongest}`];
}
