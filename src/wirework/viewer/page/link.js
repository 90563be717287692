// The state of the page as the part of its address behind "#": written, copied, read again.

import { element } from "./dom.js";
import { refusal } from "./history.js";
import { VIEWS } from "./state.js";

const VERSION = "1";
const REST_MS = 200;
const LONGEST_LINK = 100000;

const isIndex = (value, count) => Number.isInteger(value) && value >= 0 && value < count;
const isText = (value) => typeof value === "string";
const isShare = (value) => typeof value === "number" && value >= 0 && value <= 1;
const isFlag = (value) => typeof value === "boolean";
const isList = (value, accept) => Array.isArray(value) && value.length < 1e5 && value.every(accept);

// Name in the link -> what is chosen, and what it may be. What is as it was at first is left out.
const FIELDS = {
  x: ["example", (value, { page }) => isIndex(value, page.examples.length)],
  p: ["prompt", isText],
  o: ["other", isText],
  a: ["sets", isPairOfSets],
  b: ["compare", isFlag],
  v: ["view", (value) => VIEWS.some(([name]) => name === value)],
  s: ["side", (value) => isIndex(value, 2)],
  n: ["node", (value, { page: { drawing } }) => isIndex(value, countBoxes(drawing))],
  e: ["edge", (value, { page }) => isIndex(value, page.drawing.edges.length)],
  g: ["folded", (value, { page }) => isList(value, (one) => isIndex(one, page.groups.length))],
  k: ["hidden", (value) => isList(value, isText)],
  d: ["drawn", (value) => isIndex(value, 1e7)],
  w: ["width", isText],
  f: ["filter", isShare],
  l: ["hide", isFlag],
  c: ["step", (value, { page }) => isIndex(value, page.drawing.columns.length)],
  h: ["head", (value, { page }) => value === null || isIndex(value, page.heads.length)],
  q: ["key", (value) => isIndex(value, 1e6)],
  i: ["interventions", isIntervention],
};

function isPairOfSets(value, { page }) {
  const names = page.drawing.answers.map((answer) => answer.name);
  if (!isList(value, (name) => names.includes(name))) return false;
  return value.length === 2 && value[0] !== value[1];
}

function countBoxes({ nodes, answers }) {
  return nodes.length + answers.length;
}

function isIntervention(value, state) {
  const isObject = value !== null && typeof value === "object" && isList(value.edges, isText);
  if (!isObject || value.nodes === null || typeof value.nodes !== "object") return false;
  const whats = Object.values(value.nodes);
  const known = whats.every((what) => what !== null && typeof what === "object");
  return known && state.engine !== null && refusal(state, value) === "";
}

export function createLink(state) {
  const start = { ...state.chosen };
  const { mark } = state.page;
  const listeners = [];
  const told = element("span", { class: "link-told", role: "status" });
  const copyParts = copyButton(told, () => write());
  let written = null;
  let timer = 0;

  const write = () => {
    clearTimeout(timer);
    timer = 0;
    written = stateText(state, start, mark);
    const address = location.href.split("#")[0] + (written ? `#${written}` : "");
    try {
      history.replaceState(history.state, "", address);
    } catch (error) {
      // Some hosts of pages do not let them change their address.
      if (error.name !== "SecurityError") throw error;
      location.hash = written;
    }
    copyParts[1].hidden = true;
    for (const listener of listeners) listener(written);
  };
  const read = () => {
    const text = location.hash.slice(1);
    if (text === written) return;
    const found = text ? parseLink(text, state, mark) : { changes: {} };
    told.textContent = found.problem ?? "";
    if (!found.problem) state.choose({ ...start, token: Infinity, ...found.changes });
    write();
  };
  return {
    box: element("span", { class: "link" }, ...copyParts, told),
    // Reads the address that the page was opened with, and follows the state from then on.
    start() {
      read();
      state.onChange(() => {
        told.textContent = "";
        if (!timer) timer = setTimeout(write, REST_MS);
      });
      window.addEventListener("hashchange", read);
    },
    // Every link that is written, and one that comes from elsewhere than the address.
    onWrite: (listener) => listeners.push(listener),
    open: (text) => location.replace(`${location.href.split("#")[0]}#${text}`),
  };
}

// A button, and a field that shows the address where the browser keeps its clipboard to itself.
function copyButton(told, write) {
  const label = "link to this state";
  const quiet = { readonly: true, hidden: true };
  const field = element("input", { class: "link-field", ...quiet, "aria-label": label });
  const copy = async () => {
    write();
    try {
      await navigator.clipboard.writeText(location.href);
      told.textContent = "copied";
    } catch (error) {
      if (!["NotAllowedError", "TypeError"].includes(error.name)) throw error;
      Object.assign(field, { hidden: false, value: location.href });
      field.select();
      told.textContent = "press Ctrl+C to copy it";
    }
  };
  const title = "this page with all that is chosen and changed";
  return [element("button", { type: "button", onclick: copy, title }, "copy link"), field];
}

function stateText(state, start, mark) {
  const { page, chosen } = state;
  const found = {};
  for (const [letter, [name]] of Object.entries(FIELDS)) {
    if (JSON.stringify(chosen[name]) !== JSON.stringify(start[name])) found[letter] = chosen[name];
  }
  const last = state.side(chosen.side).tokens.length - 1;
  if (chosen.token !== last) found.t = chosen.token;
  if (chosen.shown && page.sizes) found.m = chosen.shown.size;
  if (!Object.keys(found).length) return "";
  const bytes = new TextEncoder().encode(JSON.stringify(found));
  const letters = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  const safe = letters.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  return `${VERSION}.${mark}.${safe}`;
}

// {changes}, or {problem}: why the link says nothing here.
function parseLink(text, state, mark) {
  const [version, circuit, letters] = text.slice(0, LONGEST_LINK).split(".");
  if (!/^\d+$/.test(version) || letters === undefined) {
    return { problem: "The address ends in something that is no link to a state; it was ignored." };
  }
  if (version !== VERSION) {
    return { problem: "This link is of another version of the page; it was ignored." };
  }
  if (circuit !== mark) {
    return { problem: "This link belongs to another circuit; it was ignored." };
  }
  const found = unpackLink(letters);
  const changes = found && checkedChanges(found, state);
  return changes ? { changes } : { problem: "This link is damaged; it was ignored." };
}

function unpackLink(letters) {
  try {
    const plain = atob(letters.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
    const found = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return found !== null && typeof found === "object" ? found : null;
  } catch (error) {
    // What atob, TextDecoder and JSON.parse say about texts that they cannot read.
    if (["InvalidCharacterError", "TypeError", "SyntaxError"].includes(error.name)) return null;
    throw error;
  }
}

// All or nothing: a link with anything wrong in it changes nothing.
function checkedChanges(found, state) {
  const { page } = state;
  const changes = {};
  for (const [letter, value] of Object.entries(found)) {
    if (letter === "t") {
      if (!isIndex(value, 1e6)) return null;
      changes.token = value;
    } else if (letter === "m") {
      if (!page.sizes || !isIndex(value, page.sizes.order.length + 1)) return null;
      changes.shown = new Set(page.sizes.order.slice(0, value));
    } else {
      const [name, accept] = Object.hasOwn(FIELDS, letter) ? FIELDS[letter] : [];
      if (!name || !accept(value, state)) return null;
      changes[name] = value;
    }
  }
  return changes;
}
