// Curves and rows of values as small pictures; the numbers stand in a table beneath.

import { element, shape } from "./dom.js";

const WIDE = 320;
const HIGH = 190;
const EDGE = { left: 40, right: 12, top: 10, bottom: 38 };
const ROW = 34;

// A figure: picture, what its lines are, and its numbers, folded.
export function buildChart(curve) {
  const rows = curve.kind === "rows";
  return element(
    "figure",
    { class: "chart" },
    element("figcaption", {}, curve.title),
    rows ? rowsPicture(curve) : linesPicture(curve),
    rows ? null : lineNames(curve),
    element(
      "details",
      {},
      element("summary", {}, "numbers"),
      rows ? rowsTable(curve) : linesTable(curve),
    ),
  );
}

// How far from 0 to 1 each place stands; budgets stand in equal steps when they double.
function placesOf(curve) {
  const at = curve.log ? curve.at.map((value) => Math.log(value)) : curve.at;
  const first = at[0];
  const span = at.at(-1) - first || 1;
  return at.map((value) => (value - first) / span);
}

function linesPicture(curve) {
  const places = placesOf(curve);
  const x = (share) => EDGE.left + share * (WIDE - EDGE.left - EDGE.right);
  const span = curve.to - curve.from || 1;
  const y = (value) => EDGE.top + ((curve.to - value) / span) * (HIGH - EDGE.top - EDGE.bottom);
  const levels = [curve.from, (curve.from + curve.to) / 2, curve.to];
  return shape(
    "svg",
    {
      viewBox: `0 0 ${WIDE} ${HIGH}`,
      role: "img",
      "aria-label": `${curve.title}: ${summary(curve)}`,
    },
    ...levels.map((level) => gridLine(y(level), Number(level.toFixed(3)))),
    ...places.map((place, i) =>
      shape(
        "text",
        { x: x(place), y: HIGH - 22, "text-anchor": "middle" },
        crowded(places, i) ? "" : curve.at[i],
      ),
    ),
    shape(
      "text",
      { x: (EDGE.left + WIDE) / 2, y: HIGH - 6, "text-anchor": "middle", class: "axis" },
      curve.x,
    ),
    curve.bar === null || curve.bar < curve.from ? null : barLine(y(curve.bar), curve.bar),
    ...curve.lines.map((line, index) => oneLine(line, index, places.map(x), y)),
  );
}

// A number that would stand on the one before it is left out.
function crowded(places, index) {
  return index > 0 && places[index] - places[index - 1] < 0.08;
}

function gridLine(y, text) {
  return shape(
    "g",
    {},
    shape("line", { x1: EDGE.left, x2: WIDE - EDGE.right, y1: y, y2: y, class: "grid" }),
    shape("text", { x: EDGE.left - 6, y: y + 4, "text-anchor": "end" }, text),
  );
}

// Its name stands on the side of the line that is further from the ends of the chart.
function barLine(y, bar) {
  const below = y < HIGH / 2;
  return shape(
    "g",
    {},
    shape("line", { x1: EDGE.left, x2: WIDE - EDGE.right, y1: y, y2: y, class: "asked" }),
    shape("text", { x: EDGE.left + 4, y: y + (below ? 13 : -4), class: "axis" }, `bar ${bar}`),
  );
}

function oneLine(line, index, xs, y) {
  const point = (value, i) => `${xs[i].toFixed(1)},${y(value).toFixed(1)}`;
  const group = shape("g", { class: `series series-${index % 2}` });
  if (line.low) {
    const around = [...line.high.map(point), ...line.low.map(point).reverse()];
    group.append(shape("polygon", { points: around.join(" "), class: "band-between" }));
  }
  group.append(shape("polyline", { points: line.values.map(point).join(" ") }));
  for (const [i, value] of line.values.entries()) group.append(marker(index, xs[i], y(value)));
  return group;
}

function marker(index, x, y) {
  if (index % 2 === 0) return shape("circle", { cx: x, cy: y, r: 3.2 });
  return shape("rect", { x: x - 3, y: y - 3, width: 6, height: 6 });
}

function lineNames(curve) {
  const names = curve.lines.map((line, index) =>
    element(
      "li",
      {},
      shape(
        "svg",
        { width: 30, height: 12, "aria-hidden": "true", class: `series series-${index % 2}` },
        shape("polyline", { points: "1,6 29,6" }),
        marker(index, 15, 6),
      ),
      line.name,
    ),
  );
  return element("ul", { class: "series-names" }, ...names);
}

function summary(curve) {
  return curve.lines
    .map(
      (line) =>
        `${line.name} from ${line.values[0]} to ${line.values.at(-1)}, ` +
        `least ${Math.min(...line.values)}`,
    )
    .join("; ");
}

function rowsPicture(curve) {
  const high = curve.rows.length * ROW + 40;
  const x = (value) => 4 + (Math.min(value, curve.to) / curve.to) * (WIDE - 16);
  const marks = curve.rows.map((row, i) => {
    const y = i * ROW + 24;
    const group = shape("g", { class: "series series-0" });
    group.append(shape("text", { x: 4, y: y - 9 }, `${row.name}: ${row.text}`));
    if (row.low === undefined || row.low === null) {
      group.append(
        shape("rect", { x: 4, y: y - 4, width: Math.max(0.5, x(row.value) - 4), height: 8 }),
      );
    } else {
      group.append(shape("polyline", { points: `${x(row.low)},${y} ${x(row.high)},${y}` }));
      group.append(shape("circle", { cx: x(row.value), cy: y, r: 4 }));
    }
    return group;
  });
  const bar = curve.bar === null ? null : x(curve.bar);
  return shape(
    "svg",
    {
      viewBox: `0 0 ${WIDE} ${high}`,
      role: "img",
      "aria-label": `${curve.title}: ${rowsSummary(curve)}`,
    },
    bar === null ? null : shape("line", { x1: bar, x2: bar, y1: 4, y2: high - 30, class: "asked" }),
    ...marks,
    shape("line", { x1: 4, x2: WIDE - 12, y1: high - 30, y2: high - 30, class: "grid" }),
    shape("text", { x: 4, y: high - 17 }, "0"),
    shape(
      "text",
      { x: WIDE - 12, y: high - 17, "text-anchor": "end" },
      Number(curve.to.toPrecision(2)),
    ),
    shape("text", { x: WIDE / 2, y: high - 4, "text-anchor": "middle", class: "axis" }, curve.x),
  );
}

function rowsSummary(curve) {
  const bar = curve.bar === null ? "" : `; bar ${curve.bar}`;
  return curve.rows.map((row) => `${row.name} ${row.text}`).join("; ") + bar;
}

function linesTable(curve) {
  const parts = curve.lines.flatMap((line) => [
    [line.name, line.values],
    ...(line.low
      ? [
          [`${line.name}, low`, line.low],
          [`${line.name}, high`, line.high],
        ]
      : []),
  ]);
  return numberTable(
    [curve.x, ...parts.map(([name]) => name)],
    curve.at.map((at, i) => [at, ...parts.map((p) => p[1][i])]),
  );
}

function rowsTable(curve) {
  return numberTable(
    ["", curve.x],
    curve.rows.map((row) => [row.name, row.text]),
  );
}

function numberTable(heads, rows) {
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "numbers" },
    element(
      "table",
      {},
      element(
        "thead",
        {},
        element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head))),
      ),
      element(
        "tbody",
        {},
        ...rows.map((row) =>
          element("tr", {}, ...row.map((cell) => element("td", { class: "number" }, String(cell)))),
        ),
      ),
    ),
  );
}
