// Marks in the drawing: what is changed by hand, what comes later than the column stepped to; and
// the node under the pointer, for those who show it elsewhere.

import { element, shape } from "./dom.js";
import { BOX } from "./geometry.js";
import { anchors } from "./groups.js";

const SIGNS = { ablate: "✂", clamp: "=", scale: "×" };
const SAID = { ablate: "cut by hand", clamp: "held by hand", scale: "scaled by hand" };

export function markDrawing(state, picture) {
  const { nodes, points } = state.page.drawing;
  const boxes = [...picture.querySelectorAll(".frame .box")];
  const marks = new Map();
  for (const [kind, words] of Object.entries(SAID)) {
    picture.append(element("span", { id: `change-${kind}`, hidden: true }, words));
  }
  const show = () => {
    const { step } = state.chosen;
    const kinds = changedKinds(state);
    boxes.forEach((box, index) => {
      const kind = kinds.get(index);
      box.classList.toggle("later", step !== null && points[index][0] > step);
      if (box.dataset.change === kind) return;
      marks.get(index)?.remove();
      if (kind) {
        Object.assign(box.dataset, { change: kind });
        box.setAttribute("aria-describedby", `change-${kind}`);
        marks.set(index, changeMark(SIGNS[kind]));
        box.append(marks.get(index));
      } else {
        delete box.dataset.change;
        box.removeAttribute("aria-describedby");
      }
    });
  };
  state.onChange(show);
  show();
  const boxOf = (event) => boxes.indexOf(event.target.closest?.(".box"));
  let pointed = null;
  const point = (index) => {
    const node = index >= 0 && index < nodes.length ? index : null;
    if (node !== pointed) state.point((pointed = node));
  };
  for (const name of ["pointerover", "focusin"]) {
    picture.addEventListener(name, (event) => point(boxOf(event)));
  }
  for (const name of ["pointerleave", "focusout"]) picture.addEventListener(name, () => point(-1));
}

// How nodes are changed; the box of a folded group shows what is changed in it.
function changedKinds({ page, chosen }) {
  const anchor = anchors(page, chosen.folded);
  const kinds = new Map();
  page.drawing.nodes.forEach(({ name }, index) => {
    const kind = chosen.interventions.nodes[name]?.kind;
    if (kind) kinds.set(anchor[index], kind).set(index, kind);
  });
  return kinds;
}

function changeMark(sign) {
  const at = { x: -BOX.width / 2, y: -BOX.height / 2 };
  return shape(
    "g",
    { class: "change-mark", "aria-hidden": "true", transform: `translate(${at.x} ${at.y})` },
    shape("circle", { r: 8 }),
    shape("text", { "text-anchor": "middle", dy: "0.36em" }, sign),
  );
}

// Whether a line is cut by hand, and whether it ends later than the column stepped to.
export function lineMarks({ page, chosen }, line) {
  const { edges } = chosen.interventions;
  const { nodes, points } = page.drawing;
  const name = ({ source, target }) => `${nodes[source].name} -> ${nodes[target].name}`;
  const isCut = (edge) => edges.includes(name(edge));
  const isLater = ({ target }) => points[target][0] > chosen.step;
  const cut = edges.length > 0 && line.kind === "edge" && line.of.every(isCut);
  const later = chosen.step !== null && line.of.every(isLater);
  return { cut, later };
}
