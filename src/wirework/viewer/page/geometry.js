// Where things are drawn: x from the width at hand, y as the layout gave it.

export const BOX = { width: 40, height: 24 };
export const ANSWER = { width: 92, height: 34 };
// The headings of the columns stand above.
export const TOP = 62;
const BAR = { x: 6, width: 12 };
const BOTTOM = 14;
const NARROWEST = 66;
const NARROWEST_LABELLED = 98;
const WIDEST = 150;

export function makeGeometry(drawing, available, labelled) {
  const count = drawing.columns.length;
  const boxes = drawing.nodes.length + drawing.answers.length;
  // Answers are wider than nodes, and stand as far from their neighbours.
  const further = (ANSWER.width - BOX.width) / 2;
  const fixed = BAR.x + BAR.width + further + ANSWER.width / 2 + 4;
  const narrowest = labelled ? NARROWEST_LABELLED : NARROWEST;
  const pitch = Math.min(WIDEST, Math.max(narrowest, (available - fixed) / (count - 1.05)));
  const first = BAR.x + BAR.width + pitch * 0.95;
  const inner = Math.max(drawing.height, 120);
  const shift = TOP + (inner - drawing.height) / 2;

  const x = (column) => {
    if (column === 0) return BAR.x + BAR.width;
    return first + pitch * (column - 1) + (column === count - 1 ? further : 0);
  };
  const halfWidth = (point) => {
    if (point >= boxes) return 0;
    return (point < drawing.nodes.length ? BOX.width : ANSWER.width) / 2;
  };
  const place = (point) => {
    const [column, y] = drawing.points[point];
    return { x: x(column), y: y + shift };
  };
  return {
    width: fixed + pitch * (count - 1.05),
    height: inner + TOP + BOTTOM,
    pitch,
    x,
    place,
    bar: { x: BAR.x, y: TOP, width: BAR.width, height: inner },
    // From point to point of a route, as curves that leave and arrive level: {x1, y1, x2, y2}.
    // Boxes are left and met at their sides, and passed through their middle.
    steps: (route) =>
      route.slice(1).map((point, index) => {
        const from = place(route[index]);
        const to = place(point);
        const leave = index > 0 ? 0 : halfWidth(route[index]);
        const arrive = index === route.length - 2 ? halfWidth(point) : 0;
        return { x1: from.x + leave, y1: from.y, x2: to.x - arrive, y2: to.y };
      }),
  };
}

// Distance from a point to a step, along the shorter of the two ways to it; Infinity beside it.
export function distanceTo({ x1, y1, x2, y2 }, x, y) {
  if (x < x1 || x > x2 || x1 === x2) return Infinity;
  // Both control points stand half-way: x = x1 + (x2 - x1) (1.5 t - 1.5 t^2 + t^3).
  const wanted = (x - x1) / (x2 - x1);
  let t = wanted;
  for (let turn = 0; turn < 6; turn += 1) {
    t -= (1.5 * t - 1.5 * t * t + t * t * t - wanted) / (1.5 - 3 * t + 3 * t * t);
  }
  const rise = y2 - y1;
  const here = y1 + rise * t * t * (3 - 2 * t);
  const slope = (rise * 6 * t * (1 - t)) / ((x2 - x1) * (1.5 - 3 * t + 3 * t * t));
  return Math.abs(y - here) / Math.hypot(1, slope);
}
