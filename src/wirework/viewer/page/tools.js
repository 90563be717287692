// The row above the drawing: search, filter, groups, zoom.

import { element, percent, plural } from "./dom.js";
import { labelText, nodeLabel } from "./boxes.js";
import { groupLabel } from "./groups.js";
import { boxName, chooseNode } from "./state.js";
import { drawnEdges, strongEnough } from "./strength.js";
import { zoomButtons } from "./view.js";

const EDGES_AT_ONCE = 5000;
// The slider runs through shares of the strongest effect from a thousandth to all of it.
const NOTCHES = 60;

export function buildTools(state, picture) {
  return element(
    "div",
    { class: "tools", role: "group", "aria-label": "tools of the drawing" },
    buildSearch(state, picture),
    buildFilter(state, picture.effects),
    state.page.groups.length ? buildFold(state) : null,
    element(
      "div",
      { class: "zoom", role: "group", "aria-label": "zoom" },
      ...zoomButtons(picture.view).map(([name, sign, act]) =>
        element("button", { type: "button", "aria-label": name, title: name, onclick: act }, sign),
      ),
    ),
    buildPaging(state, picture.effects),
  );
}

// Boxes whose name, label, answer or answer tokens hold a text.
export function matches(page, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  const { nodes, answers } = page.drawing;
  const texts = nodes.map((node, index) => {
    const label = nodeLabel(page, index);
    return [node.name, label ? labelText(label) : "", groupLabel(page, index)].join(" ");
  });
  texts.push(...answers.map((answer) => ["answer", answer.name, ...answer.tokens].join(" ")));
  return texts.flatMap((one, index) => (one.toLowerCase().includes(wanted) ? [index] : []));
}

function buildSearch(state, picture) {
  const status = element("output", { class: "found-count" });
  let found = [];
  let at = -1;
  const mark = () => {
    const boxes = new Set(found.map((index) => picture.anchor[index] ?? index));
    picture.boxes.forEach((box, index) => box.classList.toggle("found", boxes.has(index)));
  };
  const look = () => {
    found = matches(state.page, input.value);
    at = -1;
    mark();
    status.textContent = input.value.trim() ? `${found.length} found` : "";
  };
  const go = (step) => {
    if (!found.length) return;
    at = (at + step + found.length) % found.length;
    chooseNode(state, found[at]);
    status.textContent = `${at + 1} of ${found.length}: ${boxName(state.page, found[at])}`;
  };
  const input = element("input", {
    type: "search",
    class: "search",
    placeholder: "find a node, label, answer",
    "aria-label": "find a node, a label or an answer; Enter goes to the next",
    oninput: look,
    onkeydown: (event) => {
      if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
      if (event.key !== "Escape" || !input.value) return;
      event.stopPropagation();
      input.value = "";
      look();
    },
  });
  state.onChange((changes) => {
    if ("folded" in changes) mark();
  });
  return element("div", { class: "find" }, input, status);
}

const notchShare = (notch) => (notch === 0 ? 0 : 10 ** ((3 * (notch - NOTCHES)) / NOTCHES));

function buildFilter(state, effects) {
  const count = element("output", { class: "filter-count" });
  const input = element("input", {
    type: "range",
    min: 0,
    max: NOTCHES,
    step: 1,
    value: 0,
    "aria-label": `leave out what is weak, by ${effects.words}`,
    oninput: () => state.choose({ filter: notchShare(Number(input.value)) }),
  });
  const hide = element("input", {
    type: "checkbox",
    onchange: () => state.choose({ hide: hide.checked }),
  });
  const show = () => {
    const { filter } = state.chosen;
    const notch = filter ? Math.round(NOTCHES + (NOTCHES * Math.log10(filter)) / 3) : 0;
    input.value = String(notch);
    hide.checked = state.chosen.hide;
    const [edges, nodes] = strongEnough(state, effects).map((kept) => kept.filter(Boolean).length);
    const all = effects.edges.length;
    const left = [
      `${edges.toLocaleString("en")} of ${plural(all, "edge")}`,
      `${nodes.toLocaleString("en")} of ${plural(effects.nodes.length, "node")}`,
    ];
    count.textContent = filter ? `≥ ${percent(filter)}: ${left.join(", ")}` : "all";
    const words = `at least ${percent(filter)} of the strongest: ${left.join(", ")}`;
    input.setAttribute("aria-valuetext", filter ? words : "all");
  };
  state.onChange((changes) => {
    if ("filter" in changes || "hide" in changes) show();
  });
  show();
  return element(
    "div",
    { class: "filter", title: `strength: ${effects.words}` },
    element("span", { "aria-hidden": "true" }, "strength"),
    input,
    count,
    element("label", {}, hide, " hide the rest"),
  );
}

function buildFold(state) {
  const { groups } = state.page;
  const button = element("button", {
    type: "button",
    onclick: () => {
      const all = groups.map((_, index) => index);
      state.choose({ folded: state.chosen.folded.length ? [] : all });
    },
  });
  const show = () => {
    const folded = state.chosen.folded.length;
    const count = folded || groups.length;
    button.textContent = `${folded ? "unfold" : "fold"} ${plural(count, "group")}`;
    button.setAttribute("aria-pressed", String(folded > 0));
  };
  button.title = "groups made by hand, and nodes joined or labelled alike that act as one";
  state.onChange((changes) => {
    if ("folded" in changes) show();
  });
  show();
  return button;
}

// Beyond so many weights the drawing shows the strongest, and more when asked to.
function buildPaging(state, effects) {
  const all = effects.edges.length;
  if (all <= EDGES_AT_ONCE) return null;
  const told = element("span", {});
  const more = element(
    "button",
    { type: "button", onclick: () => state.choose({ drawn: state.chosen.drawn + EDGES_AT_ONCE }) },
    `show ${EDGES_AT_ONCE.toLocaleString("en")} more`,
  );
  const show = () => {
    const drawn = drawnEdges(state, effects).length;
    const count = drawn.toLocaleString("en");
    told.textContent = `the ${count} strongest of ${plural(all, "edge")} are drawn`;
    more.hidden = drawn >= all;
  };
  state.onChange((changes) => {
    if ("drawn" in changes) show();
  });
  show();
  return element("div", { class: "paging", role: "status" }, told, more);
}
