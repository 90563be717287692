// Where things are drawn: x from the width at hand, y as the layout gave it.

export const BOX = { width: 40, height: 24 };
export const ANSWER = { width: 92, height: 34 };
const BAR = { x: 6, width: 12 };
const TOP = 62;
const BOTTOM = 14;
const NARROWEST = 66;
const WIDEST = 132;

export function makeGeometry(drawing, available) {
  const count = drawing.columns.length;
  const boxes = drawing.nodes.length + drawing.answers.length;
  // Answers are wider than nodes, and stand as far from their neighbours.
  const further = (ANSWER.width - BOX.width) / 2;
  const fixed = BAR.x + BAR.width + further + ANSWER.width / 2 + 4;
  const pitch = Math.min(WIDEST, Math.max(NARROWEST, (available - fixed) / (count - 1.05)));
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
    top: TOP,
    pitch,
    x,
    place,
    bar: { x: BAR.x, y: TOP, width: BAR.width, height: inner },
    step: (from, to) => curve(place(from), place(to), halfWidth(from), halfWidth(to)),
    path: (route) =>
      route
        .slice(1)
        .map((point, index) => {
          const from = route[index];
          const inside = index > 0 ? 0 : halfWidth(from);
          const end = index === route.length - 2 ? halfWidth(point) : 0;
          return curve(place(from), place(point), inside, end);
        })
        .join(""),
  };
}

// A line that leaves and arrives level.
function curve(from, to, leave, arrive) {
  const [x1, x2] = [from.x + leave, to.x - arrive];
  const middle = (x1 + x2) / 2;
  const round = (value) => Math.round(value * 10) / 10;
  return (
    `M${round(x1)} ${round(from.y)}` +
    `C${round(middle)} ${round(from.y)} ${round(middle)} ${round(to.y)} ${round(x2)} ${round(to.y)}`
  );
}
