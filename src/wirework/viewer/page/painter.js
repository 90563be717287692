// Puts lines on a canvas. Colours come from the style sheet.

import { element } from "./dom.js";

const COLOURS = ["positive", "negative", "wire", "ink", "band", "line"];
const ALPHA = { edge: 0.85, unembedding: 0.8, residual: 0.8, embedding: 0.4, steer: 1 };
export const DIM = 0.12;

export function readColours() {
  const probe = element("span", { hidden: true });
  document.body.append(probe);
  const found = {};
  for (const name of COLOURS) {
    probe.style.setProperty("color", `var(--${name})`);
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

// Calls back when the colours may have changed.
export function onColours(changed) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  new MutationObserver(changed).observe(document.documentElement, { attributes: true });
}

// `lines`: {kind, sign, steps, width, dim}, in the order in which they are painted. `window`: the
// part of the drawing that the canvas shows, {x, y, scale} with {width, height} in its own pixels.
export function paintLines(canvas, lines, window, colours, sharpness) {
  const { x, y, scale, width, height } = window;
  if (canvas.width !== width * sharpness) canvas.width = width * sharpness;
  if (canvas.height !== height * sharpness) canvas.height = height * sharpness;
  const context = canvas.getContext("2d");
  const zoom = scale * sharpness;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(zoom, 0, 0, zoom, x * sharpness, y * sharpness);
  const [left, top] = [-x / scale, -y / scale];
  const [right, bottom] = [left + width / scale, top + height / scale];
  for (const line of lines) {
    const seen = line.steps.filter(
      (step) =>
        step.x2 >= left &&
        step.x1 <= right &&
        Math.max(step.y1, step.y2) >= top &&
        Math.min(step.y1, step.y2) <= bottom,
    );
    if (!seen.length) continue;
    lineStyle(context, line, colours, zoom);
    // One stroke each: many lines in one path took the browser three times as long.
    context.beginPath();
    for (const { x1, y1, x2, y2 } of seen) {
      const middle = (x1 + x2) / 2;
      context.moveTo(x1, y1);
      if (y1 === y2) context.lineTo(x2, y2);
      else context.bezierCurveTo(middle, y1, middle, y2, x2, y2);
    }
    context.stroke();
  }
}

// What is negative is dashed, for those who cannot tell the colours apart.
function lineStyle(context, line, colours, zoom) {
  const { kind, sign, width } = line;
  context.globalAlpha = line.dim ? DIM : line.lit ? 1 : ALPHA[kind];
  context.lineWidth = Math.max(width, 0.6 / zoom);
  context.strokeStyle = sign > 0 ? colours.positive : sign < 0 ? colours.negative : colours.wire;
  if (line.lit && !sign) context.strokeStyle = colours.ink;
  context.lineCap = kind === "steer" ? "round" : "butt";
  if (line.cut) {
    context.strokeStyle = colours.wire;
    context.setLineDash([2, 8]);
  } else if (kind === "steer") context.setLineDash([0.1, 4]);
  else context.setLineDash(sign < 0 ? [5 + width, 3 + width / 2] : []);
}
