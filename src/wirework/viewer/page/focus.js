// What the pointer or the keyboard is on, or else the chosen node, stands out with its neighbours.

import { element, signed, tokenName } from "./dom.js";
import { boxName, currentSide, linesOf, valueAt } from "./state.js";

// `parts`: the boxes, and lines as {group, of}. Returns the tip that tells names and values.
export function followPointer(state, svg, parts) {
  const tip = element("div", { class: "tip", role: "tooltip", hidden: true });
  const { boxes, lines } = parts;

  const light = (litBoxes, litLines) => {
    svg.classList.toggle("has-focus", litBoxes !== null);
    boxes.forEach((box, index) => box.classList.toggle("lit", litBoxes?.has(index) ?? false));
    for (const line of lines) {
      line.group.classList.toggle("lit", litLines !== null && line.of.some((value) => litLines.has(value)));
    }
    parts.bar.classList.toggle("lit", litBoxes?.has(null) ?? false);
  };
  const lightBox = (box) => {
    const found = linesOf(state.page, box);
    light(new Set([box, ...found.map(({ other }) => other)]), new Set(found.map((entry) => entry.line)));
  };
  const lightLine = (values) => {
    light(new Set(values.flatMap((value) => [value.source, value.target])), new Set(values));
  };
  const rest = () => {
    tip.hidden = true;
    if (state.chosen.node === null) light(null, null);
    else lightBox(state.chosen.node);
  };
  const tell = (rows, rect) => {
    tip.replaceChildren(...rows.map((row, index) => element(index ? "div" : "b", {}, row)));
    tip.hidden = false;
    const width = document.documentElement.clientWidth;
    const left = Math.min(Math.max(8, rect.left + rect.width / 2 - tip.offsetWidth / 2), width - tip.offsetWidth - 8);
    const above = rect.top - tip.offsetHeight - 10;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : rect.bottom + 10}px`;
  };

  boxes.forEach((box, index) => {
    const enter = () => {
      lightBox(index);
      tell(describeBox(state, index), box.getBoundingClientRect());
    };
    box.addEventListener("pointerenter", enter);
    box.addEventListener("pointerleave", rest);
    box.addEventListener("focus", () => box.matches(":focus-visible") && enter());
    box.addEventListener("blur", rest);
  });
  for (const line of lines) {
    line.group.addEventListener("pointerenter", (event) => {
      lightLine(line.of);
      tell(describeLine(state, line.of), new DOMRect(event.clientX, event.clientY, 0, 0));
    });
    line.group.addEventListener("pointerleave", rest);
  }
  state.onChange((changes) => {
    if ("node" in changes) rest();
  });
  window.addEventListener("scroll", () => (tip.hidden = true), { passive: true });
  return tip;
}

function describeBox(state, index) {
  const { page, chosen } = state;
  const side = currentSide(state);
  const value = valueAt(page, side, index, chosen.token);
  const node = page.drawing.nodes[index];
  const rows = [boxName(page, index)];
  if (node) rows.push(node.words);
  if (value !== null) {
    const what = node ? "" : "margin ";
    rows.push(`${what}${signed(value)} at token ${chosen.token + 1}, ${tokenName(side.tokens[chosen.token])}`);
  }
  return rows;
}

function describeLine(state, values) {
  const [value] = values;
  const { page } = state;
  const kinds = new Set(values.map((one) => one.kind));
  if (kinds.has("residual") || kinds.has("embedding")) {
    const channel = page.drawing.nodes[value.target].name.split(":")[1];
    return [
      `residual channel ${channel}`,
      ...values.map((one) => `${boxName(page, one.source)} → ${boxName(page, one.target)}`).slice(0, 6),
    ];
  }
  const rows = [`${boxName(page, value.source)} → ${boxName(page, value.target)}`];
  if (value.kind === "steer") rows.push("helps to choose the tokens that the value comes from");
  else rows.push(`${value.kind === "edge" ? "weight" : "largest weight"} ${signed(value.weight)}`);
  const carried = contribution(state, value);
  if (carried !== null) rows.push(carried);
  return rows;
}

// Attention mixes values of several tokens, so only other weights act on the value at one token.
function contribution(state, value) {
  const { page, chosen } = state;
  const node = page.drawing.nodes[value.source];
  if (value.kind !== "edge" || !node || node.kind === "attn.v") return null;
  const amount = valueAt(page, currentSide(state), value.source, chosen.token);
  if (amount === null) return null;
  return `× ${signed(amount)} = ${signed(value.weight * amount)} at token ${chosen.token + 1}`;
}
