// Puts the page together.

import { element } from "./dom.js";
import { createState } from "./state.js";
import { buildHeading, buildReport } from "./heading.js";
import { buildExamples } from "./examples.js";
import { buildDrawing } from "./drawing.js";
import { buildLegend } from "./legend.js";
import { buildPanel } from "./panel.js";

const page = JSON.parse(document.getElementById("content").textContent);
const state = createState(page);
const picture = element("section", { class: "picture card", "aria-label": "drawing" });
picture.append(buildDrawing(state), buildLegend(page.drawing, picture));
document.getElementById("page").append(
  buildHeading(page),
  buildExamples(state),
  element("div", { class: "work" }, picture, buildPanel(state)),
  ...(page.report ? [buildReport(page.report)] : []),
);
document.documentElement.dataset.ready = "true";
