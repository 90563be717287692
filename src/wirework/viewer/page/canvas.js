// The canvas of the lines. It is larger than the frame, so that it can be moved without being
// painted anew; what stands out is painted on a second one above it.

import { element } from "./dom.js";
import { paintLines } from "./painter.js";

const AROUND = 220;
const REPAINT_AFTER = 110;
// While it moves, so many lines at most are painted, the strongest; the rest when it stands still.
const WHILE_MOVING = 1500;

// Work that can wait lets the drawing move smoothly.
export async function whenStill() {
  while (document.querySelector(".frame.moving")) {
    await new Promise((resume) => setTimeout(resume, REPAINT_AFTER));
  }
}

export function buildCanvas(view) {
  const below = element("canvas", { class: "lines-below", "aria-hidden": "true" });
  const above = element("canvas", { class: "lines-above", "aria-hidden": "true" });
  let lines = [];
  let lit = [];
  let colours = null;
  let painted = null;
  let waiting = 0;
  let timer = 0;

  const put = () => {
    if (!painted) return;
    const ratio = view.scale / painted.scale;
    const x = view.x - painted.x * ratio;
    const y = view.y - painted.y * ratio;
    for (const canvas of [below, above]) {
      canvas.style.transform = `translate(${x}px, ${y}px) scale(${ratio})`;
    }
  };
  const paint = (sharpness = 0, most = Infinity) => {
    waiting = 0;
    if (!colours) return;
    const width = Math.ceil(view.width) + 2 * AROUND;
    const height = Math.ceil(view.height) + 2 * AROUND;
    painted = { x: view.x + AROUND, y: view.y + AROUND, scale: view.scale, width, height };
    const sharp = Math.max(window.devicePixelRatio || 1, sharpness);
    for (const canvas of [below, above]) {
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const some = lines.length > most ? lines.slice(-most) : lines;
    paintLines(below, some, painted, colours, sharp);
    paintLines(above, lit, painted, colours, sharp);
    put();
  };
  const rest = () => {
    view.frame.classList.remove("moving");
    cancelAnimationFrame(waiting);
    waiting = 0;
    soon();
  };
  const soon = (most = Infinity) => {
    if (!waiting) waiting = requestAnimationFrame(() => paint(0, most));
  };
  // Whether the frame still lies within what was painted, sharp enough to be looked at.
  const covers = () => {
    const ratio = view.scale / painted.scale;
    const x = view.x - painted.x * ratio;
    const y = view.y - painted.y * ratio;
    const [right, bottom] = [x + painted.width * ratio, y + painted.height * ratio];
    const sharp = ratio < 2 && ratio > 0.4;
    return sharp && x <= 0 && y <= 0 && right >= view.width && bottom >= view.height;
  };
  return {
    below,
    above,
    show(newLines, newColours) {
      [lines, colours] = [newLines, newColours];
      below.dataset.lines = String(lines.length);
      soon();
    },
    light(newLit) {
      lit = newLit;
      above.dataset.lines = String(lit.length);
      above.hidden = !lit.length;
      const sharp = window.devicePixelRatio || 1;
      if (painted && !waiting) paintLines(above, lit, painted, colours, sharp);
    },
    moved() {
      // Layers of their own are moved without being drawn again, but are blurred where they grow.
      view.frame.classList.add("moving");
      put();
      clearTimeout(timer);
      timer = setTimeout(rest, REPAINT_AFTER);
      if (!painted) soon();
      else if (!covers()) soon(WHILE_MOVING);
    },
    paint,
  };
}
