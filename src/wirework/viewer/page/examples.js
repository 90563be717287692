// Prompt and counterfactual token by token, with what was answered and where a head looks.

import { element, paint, percent, rove, signed, tokenName, tokenText } from "./dom.js";
import { boxName, chooseExample, isRight, shareAt, valueAt } from "./state.js";

const SIDES = ["prompt", "counterfactual"];

export function buildExamples(state) {
  const { page } = state;
  const title = element("h2", { id: "examples-title" }, "Examples");
  const attributes = { class: "examples card", "aria-labelledby": "examples-title" };
  if (!page.examples.length) {
    return element("section", attributes, title, element("p", { class: "notice" }, "No example was asked for."));
  }
  const rows = element("div", { class: "sides" });
  const status = element("p", { class: "status", role: "status", "aria-live": "polite" });
  const choice = chooser(state);
  const heads = page.heads.length && !page.silent ? headChooser(state) : null;
  let chips = [];

  const rebuild = () => {
    const { sides } = page.examples[state.chosen.example];
    chips = sides.map((side, index) => buildChips(state, side, index, sides[1 - index]));
    rows.replaceChildren(...sides.map((side, index) => buildSide(side, index, chips[index])));
    choice.show();
  };
  const refresh = () => {
    const { sides } = page.examples[state.chosen.example];
    sides.forEach((side, index) => refreshChips(state, side, index, chips[index]));
    if (heads) heads.show();
    status.textContent = page.silent || describe(state);
  };
  state.onChange((changes) => {
    if ("example" in changes) rebuild();
    refresh();
  });
  rebuild();
  refresh();
  return element(
    "section",
    attributes,
    element("div", { class: "toolbar" }, title, choice.box, heads ? heads.box : null),
    rows,
    status,
  );
}

function chooser(state) {
  const { examples } = state.page;
  const mark = (side) => ({ true: "✓", false: "✗", null: "" })[isRight(side)];
  const select = element(
    "select",
    { "aria-label": "example", onchange: () => chooseExample(state, Number(select.value)) },
    ...examples.map((example, index) =>
      element(
        "option",
        { value: index },
        `${index + 1} of ${examples.length} · ${example.template} ${example.sides.map(mark).join("")}`,
      ),
    ),
  );
  const step = (by) => () => chooseExample(state, state.chosen.example + by);
  const box = element(
    "div",
    { class: "chooser" },
    element("button", { type: "button", "aria-label": "previous example", onclick: step(-1) }, "‹"),
    select,
    element("button", { type: "button", "aria-label": "next example", onclick: step(1) }, "›"),
  );
  const show = () => {
    select.value = String(state.chosen.example);
  };
  return { box, show };
}

function headChooser(state) {
  const select = element(
    "select",
    {
      onchange: () => state.choose({ head: select.value === "" ? null : Number(select.value) }),
    },
    element("option", { value: "" }, "none"),
    ...state.page.heads.map((head, index) =>
      element("option", { value: index }, `layer ${head.layer}, head ${head.head}`),
    ),
  );
  const show = () => {
    select.value = state.chosen.head === null ? "" : String(state.chosen.head);
  };
  const box = element("label", { class: "heads" }, "attention from the chosen token ", select);
  return { box, show };
}

function buildSide(side, index, chips) {
  return element(
    "div",
    { class: "side" },
    element("div", { class: "side-name" }, SIDES[index]),
    element(
      "div",
      { class: "chips", role: "group", "aria-label": `tokens of the ${SIDES[index]}` },
      ...chips.flatMap((chip, t) =>
        side.tokens[t].includes("\n") ? [chip, element("span", { class: "line-end" })] : [chip],
      ),
    ),
    buildOutcome(side),
  );
}

function buildOutcome(side) {
  if (!side.margins) return element("div", { class: "outcome" }, `wants ${side.wants}`);
  const margin = side.margins[side.margins.length - 1];
  const right = margin > 0;
  const probability = 1 / (1 + Math.exp(-margin));
  return element(
    "div",
    {
      class: `outcome ${right ? "right" : "wrong"}`,
      title: `calibrated margin ${signed(margin)}, before calibration ${signed(side.raw_margin)}`,
    },
    element("span", { class: "verdict-mark", "aria-hidden": "true" }, right ? "✓" : "✗"),
    element("span", {}, element("b", {}, side.wants), ` ${percent(probability)}`),
    element("span", { class: "margin" }, `${right ? "right" : "wrong"}, margin ${signed(margin)}`),
  );
}

function buildChips(state, side, index, other) {
  const differs = differences(side.tokens, other.tokens);
  const chips = side.tokens.map((text, t) =>
    element(
      "button",
      {
        type: "button",
        class: `chip${differs(t) ? " differs" : ""}`,
        onclick: () => state.choose({ side: index, token: t }),
      },
      element("span", { class: "chip-text" }, ...tokenText(text)),
      element("span", { class: "gaze", "aria-hidden": "true" }),
    ),
  );
  rove(chips, (at, key) => ({ ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: chips.length - 1 })[key]);
  return chips;
}

// Where two prompts differ: all that is neither their common beginning nor their common end.
function differences(mine, other) {
  let start = 0;
  while (start < mine.length && start < other.length && mine[start] === other[start]) start += 1;
  let end = 0;
  const most = Math.min(mine.length, other.length) - start;
  while (end < most && mine[mine.length - 1 - end] === other[other.length - 1 - end]) end += 1;
  if (mine.length === other.length) return (t) => mine[t] !== other[t];
  return (t) => t >= start && t < mine.length - end;
}

function refreshChips(state, side, index, chips) {
  const { node, side: chosenSide, token, head } = state.chosen;
  const looks = Boolean(side.attention) && head !== null && chosenSide === index;
  chips[0].parentElement.classList.toggle("looking", looks);
  // The tallest bar is the strongest look; weights over many tokens are all small.
  const tallest = looks ? largestLook(side, head, token) : 1;
  chips.forEach((chip, t) => {
    const chosen = chosenSide === index && token === t;
    chip.setAttribute("aria-pressed", String(chosen));
    paint(chip, node === null ? 0 : shareAt(state.page, side, node, t));
    const gaze = looks && t <= token ? side.attention[head].weights[token][t] : null;
    chip.style.setProperty("--gaze", gaze === null ? "0%" : `${((gaze / tallest) * 100).toFixed(1)}%`);
    const value = node === null ? null : valueAt(state.page, side, node, t);
    chip.title = [
      `token ${t + 1}: ${tokenName(side.tokens[t])}`,
      value === null ? "" : `${boxName(state.page, node)} = ${signed(value)}`,
      gaze === null ? "" : `${percent(gaze)} of the attention`,
    ].filter(Boolean).join("\n");
    if (chosen) for (const one of chips) one.setAttribute("tabindex", one === chip ? "0" : "-1");
  });
}

function largestLook(side, head, token) {
  return Math.max(...side.attention[head].weights[token]) || 1;
}

function describe(state) {
  const { page } = state;
  const { example, side: index, token, node, head } = state.chosen;
  const side = page.examples[example].sides[index];
  const at = `At token ${token + 1} of the ${SIDES[index]}, ${tokenName(side.tokens[token])}`;
  const parts = [
    node === null
      ? `${at}: the boxes show what each node is there. Choose one to colour the tokens.`
      : `${at}, ${boxName(page, node)} is ${signed(valueAt(page, side, node, token))}.`,
  ];
  if (head !== null) {
    const sink = side.attention[head].sink[token];
    const { layer, head: number } = page.heads[head];
    parts.push(
      `Bars: where layer ${layer}, head ${number} looks from there ` +
        `(tallest ${percent(largestLook(side, head, token))}${sink ? `, sink ${percent(sink)}` : ""}).`,
    );
  }
  return parts.join(" ");
}
