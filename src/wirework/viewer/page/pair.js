// Tokens of a side as chips: chosen by click or arrow keys, with what a node holds at each.

import { buildArcs } from "./arcs.js";
import { element, paint, percent, plural, rove } from "./dom.js";
import { signed, tokenName, tokenText } from "./dom.js";
import { differences } from "./runs.js";
import { VIEWS, boxName, shareAt, valueAt } from "./state.js";

export const SIDES = ["prompt", "counterfactual"];
const MOST_CHIPS = 300;

// `refresh(node)` shows that node, or else the chosen one.
export function buildChips(state, index) {
  const side = state.side(index);
  const beside = state.chosen.compare ? state.side(1 - index).tokens : [];
  const differs = beside.length ? differences(side.tokens, beside) : () => false;
  const limit = state.engine?.context ?? Infinity;
  const shown = side.tokens.slice(0, MOST_CHIPS);
  const chips = shown.map((text, t) =>
    element(
      "button",
      {
        type: "button",
        class: `chip${differs(t) ? " differs" : ""}${t >= limit ? " beyond" : ""}`,
        onclick: () => state.choose({ side: index, token: t, key: null }),
      },
      element("span", { class: "chip-text" }, ...tokenText(text)),
      element("span", { class: "value-bar", "aria-hidden": "true" }),
    ),
  );
  const keys = (at) => ({ ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: chips.length - 1 });
  rove(chips, (at, key) => keys(at)[key]);
  const rest = side.tokens.length - shown.length;
  const box = element(
    "div",
    { class: "chips", role: "group", "aria-label": `tokens of the ${SIDES[index]}` },
    ...chips.flatMap((chip, t) =>
      shown[t].includes("\n") && t + 1 < chips.length
        ? [chip, element("span", { class: "line-end" })]
        : [chip],
    ),
    rest > 0 ? element("span", { class: "quiet" }, `… and ${plural(rest, "token")} more`) : null,
  );
  const arcs = buildArcs(state, index, box, chips);
  const refresh = (pointed) => {
    refreshChips(state, index, chips, pointed);
    arcs();
  };
  return { box, refresh };
}

function refreshChips(state, index, chips, pointed) {
  const { page, chosen } = state;
  const side = state.shownSide(index);
  const node = pointed ?? chosen.node;
  const isChosenSide = chosen.side === index;
  const looks = isChosenSide && chosen.head !== null ? side.attention?.[chosen.head] : null;
  const view = VIEWS.find(([name]) => name === chosen.view)[2];
  const what = view ? `${view}of ` : "";
  chips.forEach((chip, t) => {
    const isChosen = isChosenSide && chosen.token === t;
    chip.setAttribute("aria-pressed", String(isChosen));
    const share = node === null ? 0 : shareAt(page, side, node, t);
    paint(chip, share);
    chip.style.setProperty("--bar", `${Math.round(Math.abs(share ?? 0) * 14)}px`);
    const value = node === null ? null : valueAt(page, side, node, t);
    const look = looks && t <= chosen.token ? looks.weights[chosen.token]?.[t] : undefined;
    chip.title = [
      `token ${t + 1}: ${tokenName(side.tokens[t])}, id ${side.ids[t]}`,
      side.offsets ? `characters ${side.offsets[t][0] + 1} to ${side.offsets[t][1]}` : "",
      value === null ? "" : `${what}${boxName(page, node)} = ${signed(value)}`,
      look === undefined ? "" : `${percent(look)} of the attention of token ${chosen.token + 1}`,
    ].filter(Boolean).join("\n");
    if (isChosen) for (const one of chips) one.setAttribute("tabindex", one === chip ? "0" : "-1");
  });
}
