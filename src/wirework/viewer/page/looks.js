// Why a head looks where it looks: its score of one token as a sum over channels.

import { element, percent, signed, tokenName } from "./dom.js";
import { chooseNode } from "./state.js";

const MOST_ROWS = 8;

export function buildLooks(state) {
  const body = element("div", { class: "looks-body" });
  const words = element("span", {});
  const box = element(
    "details",
    { class: "looks card" },
    element("summary", {}, element("h2", {}, "Why it looks there"), words),
    body,
  );
  // The head, the token that looks, and the token that is looked at.
  const asked = () => {
    const { head, side, token, key } = state.chosen;
    const shown = head === null ? null : state.side(side);
    const weights = shown?.attention?.[head].weights[token];
    if (!weights) return null;
    const strongest = weights.indexOf(Math.max(...weights));
    return { ...state.page.heads[head], side: shown, token, key: key ?? strongest, weights };
  };
  const show = () => {
    const found = asked();
    box.hidden = !found;
    if (!found) return;
    const { layer, head, side, token, key, weights } = found;
    const name = (t) => `${tokenName(side.tokens[t])} (${t + 1})`;
    words.textContent =
      `layer ${layer}, head ${head}: ${name(token)} looks at ${name(key)}, ` +
      percent(weights[key]);
    if (box.open) body.replaceChildren(...explain(state, found, name));
  };
  box.addEventListener("toggle", show);
  state.onChange(show);
  show();
  return box;
}

function explain(state, { layer, head, side, token, key, weights }, name) {
  const select = element(
    "select",
    {
      "aria-label": "token that is looked at",
      onchange: () => state.choose({ key: Number(select.value) }),
    },
    ...[...weights].map((weight, t) =>
      element("option", { value: t }, `${name(t)}, ${percent(weight)}`),
    ),
  );
  select.value = String(key);
  const items = side.run.scores(layer, head, token, key);
  const total = items.reduce((sum, item) => sum + item.product, 0);
  const rest = items.slice(MOST_ROWS);
  const left = rest.reduce((sum, item) => sum + item.product, 0);
  return [
    element("label", { class: "tool" }, "looks at ", select),
    element(
      "p",
      { class: "quiet" },
      "The query of the token that looks times the key of the token looked at, channel by " +
        "channel. The larger the sum beside those of other tokens, the more attention.",
    ),
    element(
      "table",
      { class: "scores" },
      element("thead", {}, rowOf("th", ["channel", "query", "key", "product"], { scope: "col" })),
      element(
        "tbody",
        {},
        ...items.slice(0, MOST_ROWS).map((item) => scoreRow(state, item)),
        rest.length ? rowOf("td", [`${rest.length} smaller`, "", "", signed(left)]) : null,
      ),
      element("tfoot", {}, rowOf("td", ["sum", "", "", signed(total)])),
    ),
  ];
}

function scoreRow(state, item) {
  if (item.held) {
    return rowOf("td", [`${item.held} others, cut`, "held", "held", signed(item.product)]);
  }
  const cell = (node, value) =>
    node === null
      ? `held at ${signed(value)}`
      : element(
          "button",
          { type: "button", onclick: () => chooseNode(state, state.places.indexOf(node)) },
          signed(value),
        );
  return rowOf("td", [
    String(item.channel),
    cell(item.queryNode, item.query),
    cell(item.keyNode, item.key),
    signed(item.product),
  ]);
}

function rowOf(kind, cells, attributes = {}) {
  return element("tr", {}, ...cells.map((cell) => element(kind, attributes, cell)));
}
