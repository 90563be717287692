// Task by node: how many circuits of a task hold a node.

import { element, plural, shape } from "./dom.js";

const CELL = { width: 13, height: 22 };
const HEAD = { names: 190, above: 96 };
const LISTED = 15;

export function buildNodeMap(map, index) {
  const title = `map-title-${index}`;
  return element(
    "section",
    { class: "card node-map", "aria-labelledby": title },
    element("h2", { id: title }, "Which tasks share which nodes"),
    element(
      "p",
      { class: "quiet" },
      `Model ${map.model}: ${plural(map.circuits, "circuit")}. A square is a node that circuits ` +
        "of the task hold, the larger the more of them. Nodes stand from the tokens to the answer; " +
        `only those that two circuits hold are shown${leftOut(map)}.`,
    ),
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "map of tasks and nodes" },
      mapPicture(map),
    ),
    mostShared(map),
  );
}

function leftOut(map) {
  const { length } = map.nodes;
  return map.shared > length ? ` (the ${length} most shared of ${map.shared})` : "";
}

function mapPicture(map) {
  const width = HEAD.names + map.nodes.length * CELL.width + 70;
  const height = HEAD.above + map.tasks.length * CELL.height + 6;
  const x = (column) => HEAD.names + column * CELL.width;
  const y = (row) => HEAD.above + row * CELL.height;
  return shape(
    "svg",
    { class: "map", width, height, role: "img", "aria-label": mapWords(map) },
    ...map.nodes.map((node, i) =>
      shape(
        "text",
        { transform: `translate(${x(i) + 10} ${HEAD.above - 6}) rotate(-60)`, class: "map-node" },
        node,
      ),
    ),
    ...map.tasks.flatMap((task, row) => [
      shape("text", { x: HEAD.names - 8, y: y(row) + 15, "text-anchor": "end" }, shortTask(task)),
      shape("rect", {
        x: HEAD.names,
        y: y(row) + 1,
        width: map.nodes.length * CELL.width,
        height: CELL.height - 2,
        class: "map-row",
      }),
      ...task.counts.map((count, i) => mapCell(task, count, map.nodes[i], x(i), y(row))),
    ]),
  );
}

function mapCell(task, count, node, x, y) {
  if (!count) return null;
  const share = count / task.circuits;
  const size = 3 + 8 * share;
  return shape(
    "rect",
    {
      x: (x + (CELL.width - size) / 2).toFixed(1),
      y: (y + (CELL.height - size) / 2).toFixed(1),
      width: size.toFixed(1),
      height: size.toFixed(1),
      class: "map-cell",
    },
    shape(
      "title",
      {},
      `${node}: in ${count} of ${plural(task.circuits, "circuit")} of ${task.task}`,
    ),
  );
}

function shortTask(task) {
  const name = task.task.length > 24 ? `…${task.task.slice(-23)}` : task.task;
  return task.circuits > 1 ? `${name} ×${task.circuits}` : name;
}

function mapWords(map) {
  const nodes = plural(map.nodes.length, "shared node");
  return `${plural(map.tasks.length, "task")} by ${nodes}; the list beneath says the same`;
}

// The same for those who see no picture, and to copy.
function mostShared(map) {
  const rows = map.nodes.map((node, i) => ({
    node,
    tasks: map.tasks_of[i],
    circuits: map.tasks.reduce((sum, task) => sum + task.counts[i], 0),
    names: map.tasks
      .filter((task) => task.counts[i])
      .map((task) => task.task)
      .join(", "),
  }));
  rows.sort((one, other) => other.tasks - one.tasks || other.circuits - one.circuits);
  const body = element("tbody", {});
  const fill = (count) =>
    body.replaceChildren(
      ...rows
        .slice(0, count)
        .map((row) =>
          element(
            "tr",
            {},
            element("th", { scope: "row", class: "map-name" }, row.node),
            element("td", { class: "number" }, String(row.tasks)),
            element("td", { class: "number" }, String(row.circuits)),
            element("td", {}, row.names),
          ),
        ),
    );
  fill(LISTED);
  const all = element("button", { type: "button" }, `show all ${rows.length}`);
  all.addEventListener("click", () => {
    fill(rows.length);
    all.remove();
  });
  return element(
    "details",
    {},
    element("summary", {}, "The most shared nodes as a list"),
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "the most shared nodes" },
      element(
        "table",
        {},
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            ...["node", "tasks", "circuits", "in"].map((head) =>
              element("th", { scope: "col" }, head),
            ),
          ),
        ),
        body,
      ),
    ),
    rows.length > LISTED ? all : null,
  );
}
