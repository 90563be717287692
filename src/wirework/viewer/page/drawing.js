// The circuit as a picture: columns, wires, weights, boxes, and the tools to look at it.

import { element, rove, shape } from "./dom.js";
import { buildGround, buildHeadings } from "./boxes.js";
import { buildBoxes, foldBoxes, frameOf, nameBoxes, neighbour, nodeLabel } from "./boxes.js";
import { placeBoxes, refreshBoxes } from "./boxes.js";
import { buildCanvas } from "./canvas.js";
import { ANSWER, BOX, makeGeometry } from "./geometry.js";
import { followPointer } from "./focus.js";
import { buildLegend } from "./legend.js";
import { anchors, groupLabel } from "./groups.js";
import { buildLines, lineWidth } from "./lines.js";
import { lineMarks } from "./marks.js";
import { MAP_HEIGHT, buildMinimap } from "./minimap.js";
import { onColours, readColours } from "./painter.js";
import { drawnEdges, measureEffects, strongEnough, widthShares } from "./strength.js";
import { chooseNode } from "./state.js";
import { buildTable } from "./table.js";
import { buildTools } from "./tools.js";
import { createView, READABLE } from "./view.js";

const LOWEST_FRAME = 380;
// Width of a printed page, in pixels.
const PAPER = 660;

export function buildDrawing(state) {
  const { page } = state;
  const named = (_, index) => nodeLabel(page, index) || groupLabel(page, index);
  const labelled = page.drawing.nodes.some(named);
  const layers = {
    ground: shape("svg", { class: "ground", "aria-hidden": "true" }),
    boxes: shape("svg", { class: "circuit", role: "group", "aria-label": "nodes and answers" }),
    headings: shape("svg", { class: "headings", "aria-hidden": "true" }),
  };
  const boxes = buildBoxes(state);
  layers.boxes.append(...boxes);
  const picture = { boxes, lines: [], effects: measureEffects(page), labelled, geometry: null };
  const frame = frameOf();
  const view = createView(frame, () => {
    moveLayers(layers, view);
    frame.classList.toggle("whole", view.whole());
    // Nothing is out of sight above or below: a finger that moves so scrolls the page.
    frame.classList.toggle("level", view.world.height * view.scale <= view.height + 1);
    canvas.moved();
    minimap.show();
  });
  const canvas = buildCanvas(view);
  const minimap = buildMinimap(view);
  const { ground, headings } = layers;
  frame.append(ground, canvas.below, canvas.above, layers.boxes, headings);
  Object.assign(picture, { frame, view, canvas, minimap, layers, anchor: [] });

  const focus = followPointer(state, picture);
  listen(state, picture, focus);
  return element(
    "section",
    { class: "picture card", "aria-label": "drawing" },
    buildTools(state, picture),
    element("div", { class: "drawing" }, frame, focus.tip),
    // Over the drawing, the map would cover some of it.
    element(
      "div",
      { class: "below-drawing" },
      element("div", {}, buildLegend(state, picture.effects)),
      minimap.box,
    ),
    buildTable(state, picture.effects),
  );
}

function listen(state, picture, focus) {
  const { boxes, frame, view } = picture;
  const refill = () => {
    relay(state, picture);
    focus.rest();
  };
  state.onChange((changes) => {
    refreshBoxes(state, boxes);
    if ("folded" in changes || "drawn" in changes) refill();
    else repaint(state, picture);
    if (Number.isInteger(changes.node)) revealBox(picture, changes.node);
  });
  onColours(() => {
    picture.colours = readColours();
    repaint(state, picture);
  });
  refreshBoxes(state, boxes);
  const places = state.page.drawing.points.slice(0, boxes.length);
  rove(boxes, (at, key) => neighbour(places, boxes, at, key));
  boxes.forEach((box, index) => {
    box.addEventListener("focus", () => box.matches(":focus-visible") && revealBox(picture, index));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") chooseNode(state, null);
  });
  // Only the width matters, and drawing changes the height.
  let known = 0;
  let printing = false;
  const fill = (width, highest) => {
    picture.colours = readColours();
    layOut(state, picture, width, highest);
    refill();
  };
  new ResizeObserver(() => {
    const width = frame.clientWidth;
    if (width && width !== known && !printing) fill((known = width), highestFrame(frame));
  }).observe(frame);
  window.addEventListener("beforeprint", () => {
    printing = true;
    fill(PAPER, Infinity);
    view.fit();
    picture.canvas.paint(2);
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    fill(known, highestFrame(frame));
  });
}

// The drawing ends where the window does, if that leaves enough of it.
function highestFrame(frame) {
  const top = frame.getBoundingClientRect().top + window.scrollY;
  return Math.max(LOWEST_FRAME, window.innerHeight - top - 16);
}

function moveLayers(layers, view) {
  const transform = (y) => `translate(${view.x}px, ${y}px) scale(${view.scale})`;
  layers.ground.style.transform = transform(view.y);
  layers.boxes.style.transform = transform(view.y);
  layers.headings.style.transform = transform(Math.max(0, view.y));
}

function revealBox(picture, index) {
  if (!picture.geometry) return;
  const { x, y } = picture.geometry.place(picture.anchor[index] ?? index);
  picture.view.reveal(x, y);
}

// Everything in its place for a width and at most a height, in pixels.
function layOut(state, picture, width, highest) {
  const { layers, view, frame } = picture;
  const { drawing } = state.page;
  const before = picture.geometry;
  const whole = !before || view.whole();
  // What is higher than the frame is seen smaller, and has more width at hand.
  const readable = Math.max(READABLE, Math.min(1, highest / drawing.height));
  const geometry = makeGeometry(drawing, width / readable, picture.labelled);
  picture.geometry = geometry;
  for (const layer of Object.values(layers)) {
    layer.setAttribute("width", geometry.width);
    layer.setAttribute("height", geometry.height);
  }
  layers.ground.replaceChildren(...buildGround(drawing.columns, geometry));
  layers.headings.replaceChildren(...buildHeadings(drawing.columns, geometry));
  placeBoxes(picture.boxes, geometry);
  const narrow = Math.min(1, width / geometry.width);
  const scale = highest === Infinity ? narrow : Math.max(narrow, READABLE);
  const all = geometry.height * scale;
  // What does not fit has its map in sight, too.
  const height = all <= highest ? all : Math.max(LOWEST_FRAME, highest - MAP_HEIGHT - 8);
  frame.style.height = `${height}px`;
  Object.assign(view, { width, height, world: geometry });
  if (!before) view.begin();
  else if (whole) view.fit();
  else view.set(view.x, view.y, view.scale);
}

// The lines anew: which there are, and where they end.
function relay(state, picture) {
  if (!picture.geometry) return;
  const { page, chosen } = state;
  picture.anchor = anchors(page, chosen.folded);
  foldBoxes(state, picture.boxes, picture.anchor);
  nameBoxes(state, picture);
  picture.drawn = drawnEdges(state, picture.effects);
  picture.all = buildLines(page, picture.geometry, picture.anchor, picture.drawn);
  repaint(state, picture);
}

// How they look: widths, what the filter and the legend leave.
function repaint(state, picture) {
  if (!picture.all) return;
  const { chosen } = state;
  const shares = widthShares(state, picture.effects);
  const [edges, nodes] = strongEnough(state, picture.effects);
  const count = nodes.length;
  const kept = (box) => box === null || box >= count || nodes[box];
  const there = (box) => box === null || box >= count || !chosen.shown || chosen.shown.has(box);
  const lines = [];
  for (const line of picture.all) {
    if (chosen.hidden.includes(line.kind)) continue;
    if (!line.of.some((one) => there(one.source) && there(one.target))) continue;
    const strong = line.edges.length
      ? line.edges.some((index) => edges[index])
      : line.of.some((link) => kept(link.source) && kept(link.target));
    if (!strong && chosen.hide) continue;
    const { cut, later } = lineMarks(state, line);
    lines.push(Object.assign(line, { dim: !strong || later, cut, width: lineWidth(line, shares) }));
  }
  const rank = ({ kind, width }) => (kind === "edge" ? width : -1);
  picture.lines = lines.sort((a, b) => rank(a) - rank(b));
  picture.boxes.forEach((box, index) => {
    const gone = !there(index) || (!kept(index) && chosen.hide);
    box.classList.toggle("left-out", gone);
    box.classList.toggle("weak", !gone && !kept(index));
  });
  const stop = picture.boxes.find((box) => box.getAttribute("tabindex") === "0");
  if (stop?.matches(".inside, .left-out")) {
    stop.setAttribute("tabindex", "-1");
    picture.boxes.find((box) => !box.matches(".inside, .left-out"))?.setAttribute("tabindex", "0");
  }
  picture.canvas.show(lines, picture.colours);
  drawMinimap(picture);
}

// Anew only where something has come, gone or moved: values are not seen in it.
function drawMinimap(picture) {
  const { geometry, lines, colours, minimap, view } = picture;
  const boxes = smallBoxes(picture);
  const key = [boxes.length, lines.length, geometry.width, view.width, colours.ink].join(" ");
  if (key !== picture.mapped) minimap.draw(boxes, lines, colours);
  picture.mapped = key;
  minimap.show();
}

function smallBoxes({ boxes, geometry }) {
  return boxes.flatMap((box, index) => {
    if (box.matches(".inside, .left-out")) return [];
    return [{ ...geometry.place(index), ...(box.matches(".answer") ? ANSWER : BOX) }];
  });
}
