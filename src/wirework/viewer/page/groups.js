// Groups of nodes: those that a person made, and those that were found to act as one.

import { magnitude, plural } from "./dom.js";

const WHY = {
  "same label": "They have the same label",
  "joined to the same": "They have the same neighbours",
  "made by hand": "Grouped by hand",
};

// By node, the node whose box it is drawn in: those of a folded group stand, column by column,
// where the first of them stands.
export function anchors(page, folded) {
  const { nodes, points } = page.drawing;
  const anchor = nodes.map((_, index) => index);
  for (const at of folded) {
    const first = new Map();
    for (const member of page.groups[at].members) {
      const [column] = points[member];
      if (!first.has(column)) first.set(column, member);
      anchor[member] = first.get(column);
    }
  }
  return anchor;
}

// The folded groups in their boxes: by the node of the box {group, size}, the nodes in that box.
export function foldedBoxes(page, folded, anchor) {
  const found = new Map();
  for (const at of folded) {
    const group = page.groups[at];
    for (const member of group.members) {
      const size = found.get(anchor[member])?.size ?? 0;
      found.set(anchor[member], { group, size: size + 1 });
    }
  }
  return found;
}

export function namesOf(page, group) {
  return group.members.map((member) => page.drawing.nodes[member].name);
}

export function groupAt(page, node) {
  return page.groups.findIndex((one) => one.members.includes(node));
}

// What a person called the group of a node; "" where nobody did.
export function groupLabel(page, node) {
  return page.groups[groupAt(page, node)]?.label ?? "";
}

export function groupName({ label, members }) {
  return label ? `“${label}”` : `group of ${members.length}`;
}

// What makes it one, and how far it is.
export function groupWords(page, { why, members, unity, tokens }) {
  if (members.length < 2) return `${WHY[why]}: one node alone.`;
  if (unity === null) return `${WHY[why]}. Whether they act as one cannot be told here.`;
  const scale = "1: multiples of one signal; 0: nothing in common";
  const where = `on ${plural(tokens, "token")} of the task's prompts`;
  const figure = `${magnitude(unity)} ${where} (${scale})`;
  if (unity >= page.as_one) return `${WHY[why]}. They act as one: ${figure}.`;
  return `${WHY[why]}. They do not act as one: ${figure}; ${page.as_one} is asked.`;
}
