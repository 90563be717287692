// What the pointer or the keyboard is on, or else what is chosen, stands out with its neighbours.

import { element, magnitude, signed, tokenName } from "./dom.js";
import { labelText, nodeLabel } from "./boxes.js";
import { groupAt, groupName } from "./groups.js";
import { lineAt } from "./lines.js";
import { carriedAt, arrivingAt } from "./strength.js";
import { VIEWS, boxName, chooseEdge, chooseNode, currentSide } from "./state.js";
import { linesOf, valueAt } from "./state.js";

const REACH = 7;

// `picture`: what `buildDrawing` put together. Returns the tip that tells names and values, and
// `rest`, which goes back to what is chosen.
export function followPointer(state, picture) {
  const tip = element("div", { class: "tip", role: "tooltip", hidden: true });
  const { boxes, frame, canvas, view } = picture;
  let pointed = null;

  const light = (litBoxes, litValues) => {
    frame.classList.toggle("has-focus", litBoxes !== null);
    boxes.forEach((box, index) => box.classList.toggle("lit", litBoxes?.has(index) ?? false));
    const stands = (line) => litValues !== null && line.of.some((one) => litValues.has(one));
    const lit = picture.lines.filter(stands);
    canvas.light(lit.map((line) => ({ ...line, dim: false, lit: true })));
  };
  const lightBox = (box) => {
    const { anchor } = picture;
    const members = anchor.flatMap((first, index) => (first === anchor[box] ? [index] : []));
    const found = (members.length ? members : [box]).flatMap((one) => linesOf(state.page, one));
    const others = found.map(({ other }) => picture.anchor[other] ?? other);
    light(new Set([picture.anchor[box] ?? box, ...others]), new Set(found.map(({ line }) => line)));
  };
  const lightLine = (values) => {
    const ends = values.flatMap(({ source, target }) => [source, target]);
    light(new Set(ends.map((end) => picture.anchor[end] ?? end)), new Set(values));
  };
  const rest = () => {
    tip.hidden = true;
    pointed = null;
    frame.classList.remove("on-line");
    if (state.chosen.node !== null) lightBox(state.chosen.node);
    else if (state.chosen.edge !== null) lightLine([state.page.drawing.edges[state.chosen.edge]]);
    else light(null, null);
  };
  const tell = (rows, rect) => showTip(tip, rows, rect);

  boxes.forEach((box, index) => {
    const enter = () => {
      if (frame.matches(".dragged")) return;
      pointed = null;
      lightBox(index);
      tell(describeBox(state, index), box.getBoundingClientRect());
    };
    box.addEventListener("pointerenter", enter);
    box.addEventListener("pointerleave", rest);
    box.addEventListener("focus", () => box.matches(":focus-visible") && enter());
    box.addEventListener("blur", rest);
  });
  const lineUnder = (event) => {
    if (event.target.closest?.(".box") || frame.matches(".dragged")) return null;
    const [x, y] = view.toWorld(event.clientX, event.clientY);
    return lineAt(picture.lines.filter((line) => !line.dim), x, y, REACH / view.scale);
  };
  frame.addEventListener("pointermove", (event) => {
    const line = lineUnder(event);
    if (line === pointed) return;
    if (!line) return rest();
    pointed = line;
    frame.classList.add("on-line");
    lightLine(line.of);
    tell(describeLine(state, line), new DOMRect(event.clientX, event.clientY, 0, 0));
  });
  frame.addEventListener("pointerleave", rest);
  frame.addEventListener("click", (event) => {
    if (event.target.closest(".box")) return;
    const line = lineUnder(event);
    if (line?.edges.length) chooseEdge(state, strongest(state.page, line.edges));
    else if (!line) chooseNode(state, null);
  });
  state.onChange((changes) => {
    if ("node" in changes || "edge" in changes) rest();
  });
  window.addEventListener("scroll", () => (tip.hidden = true), { passive: true });
  return { tip, rest };
}

function showTip(tip, rows, rect) {
  tip.replaceChildren(...rows.map((row, index) => element(index ? "div" : "b", {}, row)));
  tip.hidden = false;
  const width = document.documentElement.clientWidth;
  const middle = rect.left + rect.width / 2 - tip.offsetWidth / 2;
  tip.style.left = `${Math.min(Math.max(8, middle), width - tip.offsetWidth - 8)}px`;
  const above = rect.top - tip.offsetHeight - 10;
  tip.style.top = `${above > 4 ? above : rect.bottom + 10}px`;
}

function strongest(page, edges) {
  const size = (index) => Math.abs(page.drawing.edges[index].weight);
  return edges.reduce((best, index) => (size(index) > size(best) ? index : best));
}

function describeBox(state, index) {
  const { page, chosen } = state;
  const side = currentSide(state);
  const value = valueAt(page, side, index, chosen.token);
  const node = page.drawing.nodes[index];
  const rows = [boxName(page, index)];
  if (node) {
    rows.push(node.words);
    const label = nodeLabel(page, index);
    if (label) rows.push(`tells ${labelText(label)}, held-out F1 ${label.scores.f1}`);
    const group = page.groups[groupAt(page, index)];
    const unity = group?.unity ?? null;
    const acts = unity === null ? "" : `, which acts as one to ${magnitude(unity)}`;
    if (group) rows.push(`one of ${groupName(group)}${acts}`);
  }
  if (value !== null) {
    const view = VIEWS.find(([name]) => name === chosen.view)[2];
    const what = `${view}${node ? "" : "margin "}${signed(value)}`;
    rows.push(`${what} at token ${chosen.token + 1}, ${tokenName(side.tokens[chosen.token])}`);
  }
  return rows;
}

function describeLine(state, { kind, of, edges }) {
  const { page, chosen } = state;
  const ends = (one) => `${boxName(page, one.source)} → ${boxName(page, one.target)}`;
  if (kind === "residual" || kind === "embedding") {
    const channel = page.drawing.nodes[of[0].target].name.split(":")[1];
    return [`residual channel ${channel}`, ...of.slice(0, 6).map(ends)];
  }
  const [value] = of;
  if (kind === "steer") return [ends(value), "helps to choose the tokens a value comes from"];
  if (kind === "unembedding") return [ends(value), `largest weight ${signed(value.weight)}`];
  if (of.length > 1) return [`${of.length} weights of folded groups`, ...of.slice(0, 6).map(ends)];
  const rows = [ends(value), `weight ${signed(value.weight)}`];
  const carried = carriedAt(state, value);
  if (carried !== null) {
    const amount = signed(arrivingAt(state, value.source));
    rows.push(`× ${amount} = ${signed(carried)} at token ${chosen.token + 1}`);
  }
  const effect = page.evidence.edges[edges[0]];
  if (effect) rows.push(`cut: the answer margin changes by ${signed(effect[0])}`);
  return rows;
}
