// The lines of the drawing as shapes, and which of them the pointer is on.

import { distanceTo } from "./geometry.js";

const FAINTEST = 0.8;
const BOLDEST = 5;
const THIN = { residual: 1.4, embedding: 1.2, steer: 1.8, unembedding: 1.6 };

// Lines as {kind, sign, of, edges, steps}: `of`, what it stands for; `edges`, indices of weights.
// Links of one residual channel share their track, which is drawn once.
export function buildLines(page, geometry, anchor, drawn) {
  const { drawing } = page;
  const found = new Map();
  const at = (point) => (point < anchor.length ? anchor[point] : point);
  const add = (kind, sign, value, route, edge = null) => {
    const key = `${kind} ${sign} ${route.join(" ")}`;
    if (!found.has(key)) {
      found.set(key, { kind, sign, of: [], edges: [], steps: geometry.steps(route) });
    }
    const line = found.get(key);
    line.of.push(value);
    if (edge !== null) line.edges.push(edge);
  };
  const linksOf = (kind) =>
    drawing.links.filter((link) => link.kind === kind).map((link) => [link, link.route.map(at)]);
  // Where a channel is written and embedded, the step is drawn as written.
  const written = new Set();
  for (const kind of ["residual", "embedding"]) {
    for (const [link, route] of linksOf(kind)) {
      route.slice(1).forEach((to, index) => {
        const step = [route[index], to];
        if (kind === "residual") written.add(step.join(" "));
        add(written.has(step.join(" ")) ? "residual" : "embedding", 0, link, step);
      });
    }
  }
  for (const [link, route] of linksOf("steer")) add("steer", 0, link, route);
  for (const [link, route] of linksOf("unembedding")) {
    add("unembedding", Math.sign(link.weight), link, route);
  }
  for (const index of drawn) {
    const edge = drawing.edges[index];
    add("edge", Math.sign(edge.weight), edge, edge.route.map(at), index);
  }
  return [...found.values()];
}

export function lineWidth(line, shares) {
  if (line.kind !== "edge") return THIN[line.kind];
  const share = line.edges.reduce((sum, index) => sum + shares[index], 0);
  return FAINTEST + (BOLDEST - FAINTEST) * Math.min(1, share);
}

// The line nearest to a point, weights before links; null if none is within reach.
export function lineAt(lines, x, y, reach) {
  let best = null;
  let least = reach;
  for (const line of lines) {
    const handicap = line.kind === "edge" ? 0 : reach / 2;
    for (const step of line.steps) {
      if (x < step.x1 || x > step.x2) continue;
      const distance = distanceTo(step, x, y) + handicap;
      if (distance < least) [best, least] = [line, distance];
    }
  }
  return best;
}
