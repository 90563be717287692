// Boxes of nodes and answers, and the columns that they stand in.

import { answerText, element, paint, shape } from "./dom.js";
import { ANSWER, BOX, TOP } from "./geometry.js";
import { foldedBoxes, groupLabel, groupName } from "./groups.js";
import { chooseNode, currentSide, shareAt } from "./state.js";

const LETTER = 5.9;

export function nodeLabel(page, index) {
  const found = page.evidence.nodes[page.drawing.nodes[index].name]?.label;
  return found && found.text && !found.unexplained ? found : null;
}

export function labelText(label) {
  return `${label.off ? "off for " : ""}${label.text}`;
}

export function buildBoxes(state) {
  const { page } = state;
  const { drawing } = page;
  const nodes = drawing.nodes.map((node, index) => {
    const label = nodeLabel(page, index);
    const told = label ? `, tells ${labelText(label)}, held-out F1 ${label.scores.f1}` : "";
    const named = label || groupLabel(page, index);
    const under = named ? shape("text", { class: "under", "text-anchor": "middle", y: 24 }) : null;
    const mark = node.positions ? positionMark() : null;
    const words = `${node.name}, ${node.words}${told}`;
    return buildBox(state, index, node.label, BOX, "node", words, [mark, under]);
  });
  const answers = drawing.answers.map((answer, index) => {
    const name = answerText(answer.name);
    const label = name.length > 12 ? `${name.slice(0, 11)}…` : name;
    const words = `answer ${answer.name}, ${answer.tokens.length} tokens`;
    return buildBox(state, nodes.length + index, label, ANSWER, "answer", words, []);
  });
  return [...nodes, ...answers];
}

function buildBox(state, index, label, size, kind, words, extras) {
  const toggle = () => chooseNode(state, state.chosen.node === index ? null : index);
  return shape(
    "g",
    {
      class: `box ${kind}`,
      role: "button",
      "aria-label": words,
      "data-words": words,
      onclick: toggle,
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        toggle();
      },
    },
    shape("rect", {
      x: -size.width / 2,
      y: -size.height / 2,
      width: size.width,
      height: size.height,
      rx: 7,
    }),
    shape("text", { class: "name", "text-anchor": "middle", dy: "0.36em" }, label),
    ...extras,
  );
}

function positionMark() {
  return shape("circle", { class: "position-mark", cx: -BOX.width / 2, cy: 0, r: 3.5 });
}

export function placeBoxes(boxes, geometry) {
  boxes.forEach((box, index) => {
    const { x, y } = geometry.place(index);
    box.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
  });
}

// What stands under the boxes, cut to the width of a column: the name of the folded group that is
// drawn there, or else the label of the node.
export function nameBoxes({ page, chosen }, { boxes, anchor, geometry }) {
  const letters = Math.floor((geometry.pitch - 8) / LETTER);
  const short = (text, room) => (text.length > room ? `${text.slice(0, room - 1)}…` : text);
  const folded = foldedBoxes(page, chosen.folded, anchor);
  boxes.forEach((box, index) => {
    const under = box.querySelector(".under");
    if (!under) return;
    const group = folded.get(index)?.group.label;
    const label = nodeLabel(page, index);
    const score = label ? ` ${label.scores.f1.toFixed(2).replace(/^0/, "")}` : "";
    const own = label ? `${short(labelText(label), letters - score.length)}${score}` : "";
    under.textContent = group ? short(group, letters) : own;
  });
}

export function refreshBoxes(state, boxes) {
  const { page, chosen } = state;
  const side = currentSide(state);
  boxes.forEach((box, index) => {
    const share = shareAt(page, side, index, chosen.token);
    paint(box, share);
    box.classList.toggle("unknown", share === null);
    box.setAttribute("aria-pressed", String(chosen.node === index));
  });
}

// Folded groups stand in the boxes of their first nodes, with the number of nodes on them.
export function foldBoxes({ page, chosen }, boxes, anchor) {
  const folded = foldedBoxes(page, chosen.folded, anchor);
  anchor.forEach((first, index) => {
    const box = boxes[index];
    const found = folded.get(index);
    box.classList.toggle("inside", first !== index);
    box.classList.toggle("folded", found !== undefined);
    box.querySelector(".count-mark")?.remove();
    const more = found ? `, folded ${groupName(found.group)}` : "";
    box.setAttribute("aria-label", box.dataset.words + more);
    if (found?.size > 1) box.append(countMark(found.size));
  });
}

function countMark(size) {
  const [x, y] = [BOX.width / 2, -BOX.height / 2];
  const text = shape("text", { x, y: y + 3.5, "text-anchor": "middle" }, `×${size}`);
  const back = shape("rect", { x: x - 12, y: y - 8, width: 24, height: 15, rx: 7.5 });
  return shape("g", { class: "count-mark", "aria-hidden": "true" }, back, text);
}

// The bands of the layers and the bar of the tokens, which lie under everything.
export function buildGround(columns, geometry) {
  return [
    ...layerBands(columns, geometry).map((band) =>
      shape("rect", {
        class: "band",
        x: band.from + 2,
        y: 2,
        width: band.to - band.from - 4,
        height: geometry.height - 4,
        rx: 8,
      }),
    ),
    shape("rect", { class: "bar", rx: 4, ...geometry.bar }),
  ];
}

function layerBands(columns, geometry) {
  const bands = [];
  columns.forEach((column, index) => {
    if (column.layer === null) return;
    const x = geometry.x(index);
    const [from, to] = [x - geometry.pitch / 2, x + geometry.pitch / 2];
    const band = bands.at(-1);
    if (band && band.layer === column.layer) band.to = to;
    else bands.push({ layer: column.layer, from, to });
  });
  return bands;
}

// Headings stay in sight when the drawing is moved up.
export function buildHeadings(columns, geometry) {
  const headings = columns.map((column, index) => {
    const last = index === columns.length - 1;
    const [x, anchor] = index === 0 ? [2, "start"] : [geometry.x(index), "middle"];
    return shape(
      "g",
      { class: `heading-text${last ? " last" : ""}`, "text-anchor": anchor },
      shape("text", { x, y: 36, class: "place" }, column.heading),
      shape("text", { x, y: 50, class: "word" }, column.word),
    );
  });
  const layers = layerBands(columns, geometry).map((band) =>
    shape(
      "text",
      { class: "layer", x: (band.from + band.to) / 2, y: 18, "text-anchor": "middle" },
      `layer ${band.layer}`,
    ),
  );
  const back = shape("rect", { class: "behind", width: geometry.width, height: TOP - 6 });
  return [back, ...layers, ...headings];
}

// Arrow keys: up and down in a column, left and right to the nearest box of the next one.
export function neighbour(places, boxes, at, key) {
  const shown = (index) => !boxes[index].matches(".inside, .left-out");
  if (key === "Home") return boxes.findIndex((_, index) => shown(index));
  if (key === "End") return boxes.findLastIndex((_, index) => shown(index));
  const [column, y] = places[at];
  const along = { ArrowUp: -1, ArrowDown: 1 }[key] ?? 0;
  const across = { ArrowLeft: -1, ArrowRight: 1 }[key] ?? 0;
  let best = -1;
  let least = Infinity;
  places.forEach(([otherColumn, otherY], index) => {
    const beside = otherColumn === column && (otherY - y) * along;
    const ahead = across ? (otherColumn - column) * across : beside;
    if (!(ahead > 0) || !shown(index)) return;
    const distance = Math.abs(otherColumn - column) * 1e6 + Math.abs(otherY - y);
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
}

export function frameOf(...layers) {
  return element(
    "div",
    { class: "frame", role: "group", "aria-label": "the circuit, from tokens to answers" },
    ...layers,
  );
}
