// The whole drawing, small, with a window on what is seen; shown where something is out of sight.

import { element } from "./dom.js";

const MAP_WIDTH = 170;
export const MAP_HEIGHT = 96;

export function buildMinimap(view) {
  const canvas = element("canvas");
  const seen = element("div", { class: "seen-part" });
  const unseen = { "aria-hidden": "true", hidden: true };
  const box = element("div", { class: "minimap", ...unseen }, canvas, seen);
  let scale = 1;
  const go = (event) => {
    const rect = canvas.getBoundingClientRect();
    view.centre((event.clientX - rect.left) / scale, (event.clientY - rect.top) / scale);
  };
  box.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    box.setPointerCapture(event.pointerId);
    go(event);
  });
  box.addEventListener("pointermove", (event) => {
    if (box.hasPointerCapture(event.pointerId)) go(event);
  });
  return {
    box,
    // `boxes`: places {x, y, width, height} in the drawing.
    draw(boxes, lines, colours) {
      const { width, height } = view.world;
      scale = Math.min(MAP_WIDTH / width, MAP_HEIGHT / height);
      const sharp = window.devicePixelRatio || 1;
      canvas.width = Math.max(1, Math.round(width * scale * sharp));
      canvas.height = Math.max(1, Math.round(height * scale * sharp));
      canvas.style.width = `${width * scale}px`;
      canvas.style.height = `${height * scale}px`;
      const context = canvas.getContext("2d");
      context.setTransform(scale * sharp, 0, 0, scale * sharp, 0, 0);
      context.globalAlpha = 0.35;
      context.strokeStyle = colours.wire;
      context.lineWidth = 0.6 / scale;
      context.beginPath();
      for (const { steps } of lines) {
        for (const { x1, y1, x2, y2 } of steps) {
          context.moveTo(x1, y1);
          context.lineTo(x2, y2);
        }
      }
      context.stroke();
      context.globalAlpha = 1;
      context.fillStyle = colours.ink;
      for (const one of boxes) {
        context.fillRect(one.x - one.width / 2, one.y - one.height / 2, one.width, one.height);
      }
    },
    show() {
      box.hidden = view.whole();
      const { style } = seen;
      style.left = `${Math.max(0, -view.x / view.scale) * scale}px`;
      style.top = `${Math.max(0, -view.y / view.scale) * scale}px`;
      style.width = `${Math.min(view.world.width, view.width / view.scale) * scale}px`;
      style.height = `${Math.min(view.world.height, view.height / view.scale) * scale}px`;
    },
  };
}
