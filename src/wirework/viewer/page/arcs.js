// Where a head looks from the chosen token: an arc to every token, as wide as its share.

import { shape } from "./dom.js";

const LOWEST = 0.01;
const ROOM = 22;

// Gives the function that draws the arcs over the chips anew.
export function buildArcs(state, index, box, chips) {
  const svg = shape("svg", { class: "arcs", "aria-hidden": "true" });
  box.append(svg);
  const draw = () => {
    const { side, token, head } = state.chosen;
    const looks = side === index && head !== null ? state.side(index).attention?.[head] : null;
    const weights = looks?.weights[token];
    box.classList.toggle("looking", Boolean(weights));
    svg.replaceChildren();
    if (!weights || !chips[token] || !box.offsetWidth) return;
    svg.setAttribute("width", box.offsetWidth);
    svg.setAttribute("height", box.offsetHeight);
    const from = topOf(chips[token]);
    svg.append(
      ...[...weights].flatMap((weight, key) =>
        weight < LOWEST || !chips[key] ? [] : [arc(from, topOf(chips[key]), weight)],
      ),
    );
  };
  // Chips go to other lines when the page becomes narrower.
  new ResizeObserver(draw).observe(box);
  return draw;
}

function topOf(chip) {
  return { x: chip.offsetLeft + chip.offsetWidth / 2, y: chip.offsetTop };
}

function arc(from, to, weight) {
  const same = from.x === to.x && from.y === to.y;
  const apart = Math.hypot(from.x - to.x, from.y - to.y);
  const high = Math.min(ROOM, 7 + apart / 9) * 1.3;
  const [start, end] = same ? [from.x - 6, to.x + 6] : [from.x, to.x];
  const top = (point) => (point.y - high).toFixed(1);
  const path = `M${start} ${from.y}C${start} ${top(from)} ${end} ${top(to)} ${end} ${to.y}`;
  return shape("path", {
    d: path,
    "stroke-width": (0.8 + 5 * weight).toFixed(2),
    opacity: (0.35 + 0.65 * Math.sqrt(weight)).toFixed(2),
    "data-weight": weight.toPrecision(6),
  });
}
