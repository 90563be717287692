// The prompt beside its counterfactual: typed, cut into tokens, run, answered.

import { answerText, element, percent, signed, tokenName } from "./dom.js";
import { buildOutcome } from "./outcome.js";
import { SIDES, buildChips } from "./pair.js";
import { VIEWS, boxName, chooseExample, currentSide, valueAt } from "./state.js";

const IDLE = 150;

export function buildPrompt(state) {
  const { page } = state;
  const sides = SIDES.map((_, index) => buildSide(state, index));
  const status = element("p", { class: "status", role: "status", "aria-live": "polite" });
  const tools = [
    page.examples.length ? exampleChooser(state) : null,
    page.program ? setsChooser(state) : null,
    page.program ? compareButton(state) : null,
    page.program ? viewChooser(state) : null,
    page.heads.length && page.program ? headChooser(state) : null,
  ].filter(Boolean);
  let pointed = null;
  const show = (changes) => {
    for (const tool of tools) tool.show();
    sides.forEach((side, index) => {
      side.box.hidden = index === 1 && !state.chosen.compare;
      side.show(changes, pointed);
    });
    status.textContent = page.silent || describe(state);
  };
  state.onChange(show);
  state.onPoint((node) => {
    pointed = node;
    for (const side of sides) side.point(node);
  });
  show({});
  return element(
    "section",
    { class: "prompts card", "aria-labelledby": "prompts-title" },
    element(
      "div",
      { class: "toolbar" },
      element("h2", { id: "prompts-title" }, "Prompt"),
      ...tools.map((tool) => tool.box),
    ),
    element("div", { class: "sides" }, ...sides.map((side) => side.box)),
    status,
  );
}

// What changes the tokens of a side, and what only its answer.
const TOKENS = ["example", "prompt", "other", "compare", "engine"];

function buildSide(state, index) {
  const tokens = element("div", { class: "tokens" });
  const outcome = element("div", { class: "outcome-place" });
  const field = state.page.program ? textField(state, index) : null;
  let chips = null;
  return {
    box: element(
      "div",
      { class: "side" },
      element("div", { class: "side-name" }, SIDES[index], index && field ? copyOver(state) : null),
      field?.box ?? null,
      outcome,
      tokens,
    ),
    show(changes, pointed) {
      if (!chips || TOKENS.some((name) => name in changes)) {
        field?.show();
        chips = buildChips(state, index);
        tokens.replaceChildren(chips.box);
      }
      // A list that is open stays open while another prompt is typed.
      const open = outcome.querySelector("details")?.open;
      outcome.replaceChildren(buildOutcome(state, index));
      const details = outcome.querySelector("details");
      if (open && details) details.open = true;
      chips.refresh(pointed);
    },
    point: (node) => chips.refresh(node),
  };
}

// A prompt of one's own has a counterfactual when a word of its copy is changed.
function copyOver(state) {
  const copy = () => chooseText(state, 1, "other", state.side(0).text);
  const words = "copy the prompt here";
  return element("button", { type: "button", class: "plain", onclick: copy }, words);
}

// Runs when writing pauses, and at once on Enter; Shift and Enter begin a new line.
function textField(state, index) {
  const own = index === 0 ? "prompt" : "other";
  const field = element("textarea", {
    rows: 2,
    spellcheck: "false",
    autocapitalize: "off",
    autocomplete: "off",
    "aria-label": `text of the ${SIDES[index]}`,
    placeholder: "type a prompt",
    title: "Enter runs it, Shift and Enter begin a new line",
  });
  let timer = 0;
  const run = () => {
    clearTimeout(timer);
    timer = 0;
    if (lineEnds(state.side(index).text) === field.value) return;
    chooseText(state, index, own, field.value);
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(run, IDLE);
  });
  field.addEventListener("change", run);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    run();
  });
  return {
    box: field,
    // What is being written is never written over.
    show() {
      const { text } = state.side(index);
      if (timer || field.value === lineEnds(text)) return;
      field.value = text;
      field.rows = Math.min(4, Math.max(2, text.split("\n").length));
    },
  };
}

// A field for text knows one kind of line end.
function lineEnds(text) {
  return text.replace(/\r\n?/g, "\n");
}

// A text of one's own stays beside the other side as it is. The last token is looked at.
function chooseText(state, index, own, text) {
  const given = state.page.examples[state.chosen.example]?.sides[index];
  const value = given?.text === text ? null : text;
  state.choose({ [own]: value, side: index, token: Infinity, key: null });
}

function exampleChooser(state) {
  const { examples } = state.page;
  const pick = () => {
    if (select.value !== "own") chooseExample(state, Number(select.value));
  };
  const own = element("option", { value: "own" }, "your own prompt");
  const select = element(
    "select",
    { "aria-label": "example", onchange: pick },
    ...examples.map(({ template }, index) =>
      element("option", { value: index }, `${index + 1} of ${examples.length} · ${template}`),
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
    const { prompt, other, example } = state.chosen;
    const isOwn = prompt !== null || other !== null;
    if (isOwn) select.append(own);
    else own.remove();
    select.value = isOwn ? "own" : String(example);
  };
  return { box, show };
}

function setsChooser(state) {
  const names = state.page.drawing.answers.map((answer) => answer.name);
  const selectOf = (label, place) => {
    const select = element(
      "select",
      {
        "aria-label": label,
        onchange: () => {
          const { wants, against } = state.side(0);
          const sets = place === 0 ? [select.value, against] : [wants, select.value];
          // A set cannot be compared with itself: they change places.
          if (sets[0] === sets[1]) sets[1 - place] = place === 0 ? wants : against;
          state.choose({ sets });
        },
      },
      ...names.map((name) => element("option", { value: name }, answerText(name))),
    );
    return select;
  };
  const selects = [selectOf("answer", 0), selectOf("compared with", 1)];
  const word = (text) => element("span", {}, text);
  const box = element("div", { class: "tool" }, word("answer"), selects[0], word("or"), selects[1]);
  const show = () => {
    const { wants, against } = state.side(0);
    [selects[0].value, selects[1].value] = [wants, against];
  };
  return { box, show };
}

function compareButton(state) {
  const toggle = () => {
    const moved = state.chosen.side === 1 ? { side: 0, token: Infinity } : {};
    state.choose({ compare: !state.chosen.compare, ...moved });
  };
  const attributes = { type: "button", class: "pair-button", onclick: toggle };
  const box = element("button", attributes, "counterfactual");
  return { box, show: () => box.setAttribute("aria-pressed", String(state.chosen.compare)) };
}

function viewChooser(state) {
  const select = element(
    "select",
    { onchange: () => state.choose({ view: select.value }) },
    ...VIEWS.map(([name, words]) => element("option", { value: name }, words)),
  );
  return {
    box: element("label", { class: "tool" }, "show ", select),
    show: () => (select.value = state.chosen.view),
  };
}

function headChooser(state) {
  const select = element(
    "select",
    {
      onchange: () =>
        state.choose({ head: select.value === "" ? null : Number(select.value), key: null }),
    },
    element("option", { value: "" }, "none"),
    ...state.page.heads.map((head, index) =>
      element("option", { value: index }, `layer ${head.layer}, head ${head.head}`),
    ),
  );
  return {
    box: element("label", { class: "tool" }, "attention of ", select),
    show: () => (select.value = state.chosen.head === null ? "" : String(state.chosen.head)),
  };
}

function describe(state) {
  const { page, chosen } = state;
  const side = currentSide(state);
  if (!side) return "";
  const { token, node, head } = chosen;
  const at = `token ${token + 1} of the ${SIDES[chosen.side]}, ${tokenName(side.tokens[token])}`;
  const view = VIEWS.find(([name]) => name === chosen.view)[2];
  const what = view ? `the ${view}of ` : "";
  const parts = [
    node === null
      ? `Boxes show what nodes hold at ${at}.`
      : `At ${at}, ${what}${boxName(page, node)} is ${signed(valueAt(page, side, node, token))}.`,
  ];
  const looks = head === null ? null : side.attention?.[head];
  if (looks?.weights[token]) {
    const { layer, head: number } = page.heads[head];
    const sink = looks.sink[token];
    parts.push(
      `Arcs: where layer ${layer}, head ${number} looks from there` +
        `${sink ? `; the sink, which is no token, gets ${percent(sink)}` : ""}.`,
    );
  }
  return parts.join(" ");
}
