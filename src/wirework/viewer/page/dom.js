// Elements, and numbers and tokens as people read them. Texts only ever become text nodes.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function shape(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

export function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

// Three significant digits, with a sign that has the width of a digit.
export function signed(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  return (value > 0 ? "+" : "−") + magnitude(value);
}

export function magnitude(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return size.toExponential(1);
  return Number(size.toPrecision(3)).toString();
}

export function percent(value) {
  if (value > 0 && value < 0.001) return "<0.1%";
  if (value < 1 && value > 0.999) return ">99.9%";
  return `${Math.round(value * 1000) / 10}%`;
}

// One line of text for a token, with everything visible that would not be.
export function tokenName(text) {
  const visible = visibleParts(text).map((part) => part.text).join("");
  return `“${visible.length > 24 ? `${visible.slice(0, 23)}…` : visible}”`;
}

// The text of a token, its blanks and control characters as marks.
export function tokenText(text) {
  return visibleParts(text).map((part) =>
    part.mark ? element("span", { class: "mark" }, part.text) : document.createTextNode(part.text),
  );
}

// The name of an answer; blanks that would run together, and line ends, as marks.
export function answerText(name) {
  return name.replace(/ {2,}|\r?\n|\t/g, markOf);
}

function visibleParts(text) {
  if (text === "") return [{ text: "∅", mark: true }];
  const hidden = /( +)|(\r?\n)|(\t)|([\p{Cc}\p{Cf}\p{Zl}\p{Zp}])/gu;
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(hidden)) {
    if (found.index > from) parts.push({ text: text.slice(from, found.index), mark: false });
    parts.push({ text: markOf(found[0]), mark: true });
    from = found.index + found[0].length;
  }
  if (from < text.length) parts.push({ text: text.slice(from), mark: false });
  return parts;
}

function markOf(hidden) {
  if (hidden[0] === " ") return hidden.length > 3 ? `␣×${hidden.length}` : "␣".repeat(hidden.length);
  if (hidden.endsWith("\n")) return "↵";
  if (hidden === "\t") return "⇥";
  return `⟨${hidden.codePointAt(0).toString(16).padStart(2, "0")}⟩`;
}

// Colours an element by a number in [-1, 1]; the style sheet knows the colours.
export function paint(target, ratio) {
  const size = Math.min(Math.abs(ratio ?? 0), 1);
  // Small values still have to be told from none.
  const share = size === 0 ? 0 : 0.08 + 0.92 * size;
  target.style.setProperty("--share", `${(share * 100).toFixed(1)}%`);
  target.classList.toggle("positive", ratio > 0);
  target.classList.toggle("negative", ratio < 0);
  // Where the text has to change its colour for a contrast of 4.5, in the dark and the light scheme.
  target.classList.toggle("strong", share > 0.55);
  target.classList.toggle("full", share > (ratio < 0 ? 0.64 : 0.705));
  target.classList.toggle("deep", share > (ratio < 0 ? 0.955 : 0.86));
}

// Arrow keys move between items of which only one is a stop of the Tab key.
export function rove(items, next) {
  const stop = (item) => {
    for (const other of items) other.setAttribute("tabindex", other === item ? "0" : "-1");
  };
  if (items.length) stop(items[0]);
  for (const item of items) {
    item.addEventListener("focus", () => stop(item));
    item.addEventListener("keydown", (event) => {
      const target = items[next(items.indexOf(item), event.key)];
      if (!target) return;
      event.preventDefault();
      target.focus();
    });
  }
}
