// The bar of what is changed by hand: undo, redo, take back, and what it does to the answer.

import { element } from "./dom.js";
import { changesOf, isChanged, redo, restoreAll, undo } from "./history.js";
import { answerWords } from "./outcome.js";
import { chooseEdge, chooseNode, edgeName } from "./state.js";

// `link`: what stands at the end of the bar.
export function buildChanges(state, link) {
  const button = (label, mark, act) =>
    element("button", { type: "button", "aria-label": label, title: label, onclick: act }, mark);
  const back = button("undo (Ctrl+Z)", "↶", () => undo(state));
  const forth = button("redo (Ctrl+Shift+Z)", "↷", () => redo(state));
  const list = element("ul", { class: "change-list", "aria-label": "changed by hand" });
  const restore = () => restoreAll(state);
  const all = element("button", { type: "button", onclick: restore }, "restore all");
  const told = element("p", { class: "change-answer", role: "status", "aria-live": "polite" });
  const show = () => {
    const { past, future } = state.chosen.history;
    back.disabled = !past.length;
    forth.disabled = !future.length;
    all.hidden = !isChanged(state);
    const held = list.contains(document.activeElement);
    list.replaceChildren(...changesOf(state).map((change) => changeItem(state, change)));
    if (held) back.focus();
    told.replaceChildren(...answerNow(state));
  };
  state.onChange(show);
  show();
  return element(
    "div",
    { class: "changes", role: "group", "aria-label": "changes by hand" },
    back,
    forth,
    list,
    all,
    told,
    link,
  );
}

function changeItem(state, { words, choice, takeBack }) {
  const { drawing } = state.page;
  const named = (name) => (_, index) => edgeName(state.page, index) === name;
  const go = () => {
    const { node, edge } = choice;
    if (node) chooseNode(state, drawing.nodes.findIndex(({ name }) => name === node));
    else chooseEdge(state, drawing.edges.findIndex(named(edge)));
  };
  const label = `take back: ${words}`;
  return element(
    "li",
    {},
    choice
      ? element("button", { type: "button", class: "change-name", onclick: go }, words)
      : element("span", { class: "change-name" }, words),
    element("button", { type: "button", "aria-label": label, onclick: takeBack }, "×"),
  );
}

function answerNow(state) {
  const { side } = state.chosen;
  if (!state.engine) return [];
  if (!isChanged(state)) {
    return ["Nothing is changed. Click a box or a line to cut it, or to hold or scale a value."];
  }
  const [now, before] = [state.side(side), state.side(side, true)];
  if (!now.margins || !before.margins) return [];
  const flipped = now.margins.at(-1) > 0 !== before.margins.at(-1) > 0;
  return [
    `${answerWords(before)} → `,
    element("b", {}, answerWords(now)),
    flipped ? element("strong", { class: "flipped" }, " the answer flips") : null,
  ].filter((part) => part !== null);
}
