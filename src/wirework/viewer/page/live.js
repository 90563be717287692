// The whole model beside the circuit: answers of the server that this page came from.

import { element, magnitude, percent, plural, signed, tokenName } from "./dom.js";

const PATIENCE = 150;

// `state.page.live`: the address to ask. Follows the prompt that the page is about.
export function buildLive(state) {
  const told = element("div", { class: "live-told", "aria-live": "polite" });
  const tables = element("div", {
    class: "live-tables",
    tabindex: 0,
    role: "region",
    "aria-label": "logits and likeliest tokens",
  });
  const numbers = element(
    "details",
    { class: "live-numbers", hidden: true },
    element("summary", {}, "logits and likeliest tokens"),
    tables,
  );
  let asked = null;
  let running = null;
  let waiting = null;
  const ask = async (prompt) => {
    running?.abort();
    running = new AbortController();
    told.setAttribute("aria-busy", "true");
    try {
      const found = await question(state.page.live, prompt, running.signal);
      told.replaceChildren(...verdictParts(state, found));
      tables.replaceChildren(...answerTables(found));
      numbers.hidden = false;
    } catch (error) {
      // A question that a newer one took the place of has no answer.
      if (error.name === "AbortError") return;
      told.replaceChildren(element("p", { class: "live-error", role: "alert" }, error.message));
      numbers.hidden = true;
    }
    told.removeAttribute("aria-busy");
  };
  const follow = () => {
    const prompt = state.side(state.chosen.side).text;
    if (!prompt || prompt === asked) return;
    asked = prompt;
    clearTimeout(waiting);
    waiting = setTimeout(() => ask(prompt), PATIENCE);
  };
  state.onChange(follow);
  follow();
  return element(
    "section",
    { class: "live card", "aria-labelledby": "live-title" },
    element("h2", { id: "live-title" }, "Whole model"),
    told,
    numbers,
    // A page in which the circuit runs has a field for prompts.
    state.page.program ? null : ownPrompt(ask),
  );
}

async function question(address, prompt, signal) {
  let response;
  try {
    response = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt }),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer: it may have been stopped.");
  }
  const value = await response.json();
  if (response.ok) return value;
  const { message, expected } = value.error;
  throw new Error(`${message}${expected ? `; expected ${expected}` : ""}`);
}

function ownPrompt(ask) {
  const field = element("textarea", {
    rows: 2,
    maxlength: 8000,
    spellcheck: "false",
    "aria-label": "own prompt",
  });
  const send = () => {
    if (field.value) ask(field.value);
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
  });
  return element(
    "details",
    { class: "own-prompt" },
    element("summary", {}, "Ask about a prompt of your own"),
    field,
    element("button", { type: "button", onclick: send }, "ask"),
  );
}

function verdictParts(state, { tokens, sets }) {
  const alone = sets.every((set) => set.circuit !== null);
  return [
    verdictOf(state, sets, alone),
    element(
      "p",
      { class: "quiet" },
      `After ${plural(tokens.length, "token")}, the last ${tokenName(tokens.at(-1))}` +
        `${alone ? "; the circuit as it was found" : ""}; before calibration.`,
    ),
  ];
}

function answerTables({ answers, top }) {
  const alone = answers.every((one) => one.circuit !== null);
  const likeliest = [...answers].sort((one, other) => other.model - one.model);
  return [
    liveTable(
      "the model's likeliest next tokens",
      ["token", "logit", "share"],
      top.map((one) => [tokenName(one.text), signed(one.logit), percent(one.share)]),
    ),
    liveTable(
      "the answers, the model's likeliest first: logits",
      ["token", "answer", ...(alone ? ["circuit"] : []), "model"],
      likeliest.map((one) => [
        tokenName(one.text),
        one.set,
        ...(alone ? [signed(one.circuit)] : []),
        signed(one.model),
      ]),
    ),
  ];
}

// Which answer each gives, by how much, and whether they agree.
function verdictOf(state, sets, alone) {
  const side = state.side(state.chosen.side);
  const wants = sets.find((set) => set.name === side.wants);
  const against = sets.find((set) => set.name === side.against);
  const say = (who) => {
    const margin = wants[who] - against[who];
    const winner = margin >= 0 ? wants.name : against.name;
    return { winner, text: `${winner} by ${magnitude(margin)}` };
  };
  const rows = [["model", say("model")], ...(alone ? [["circuit", say("circuit")]] : [])];
  const agree = rows.every(([, said]) => said.winner === rows[0][1].winner);
  return element(
    "dl",
    { class: "live-verdict" },
    ...rows.map(([who, said]) =>
      element("div", {}, element("dt", {}, who), element("dd", {}, said.text)),
    ),
    alone
      ? element(
          "div",
          { class: agree ? "passed" : "missed" },
          element("dt", {}, "together"),
          element("dd", {}, agree ? "✓ they agree" : "✕ they differ"),
        )
      : null,
  );
}

function liveTable(caption, heads, rows) {
  return element(
    "table",
    {},
    element("caption", {}, caption),
    element(
      "thead",
      {},
      element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head))),
    ),
    element(
      "tbody",
      {},
      ...rows.map((row) =>
        element(
          "tr",
          {},
          ...row.map((cell, i) =>
            element(i ? "td" : "th", i ? { class: "number" } : { scope: "row" }, cell),
          ),
        ),
      ),
    ),
  );
}
