// Puts the page together.

import { element } from "./dom.js";
import { createEngine } from "./engine.js";
import { createState } from "./state.js";
import { buildDetails, buildHeading } from "./heading.js";
import { buildReport } from "./report.js";
import { buildLive } from "./live.js";
import { buildSizes } from "./sizes.js";
import { buildChanges } from "./changes.js";
import { buildDrawing } from "./drawing.js";
import { buildLooks } from "./looks.js";
import { buildMatters } from "./matters.js";
import { buildPanel } from "./panel.js";
import { buildPrompt } from "./prompt.js";
import { createLink } from "./link.js";
import { joinNotebook } from "./bridge.js";
import { buildSteps } from "./steps.js";
import { listenToUndo } from "./history.js";
import { markDrawing } from "./marks.js";

const page = JSON.parse(document.getElementById("content").textContent);
const state = createState(page);
const link = createLink(state);
const picture = buildDrawing(state);
picture.querySelector(".legend").before(buildSteps(state));
markDrawing(state, picture);
document.getElementById("page").append(
  buildHeading(page),
  buildPrompt(state),
  ...(page.live ? [buildLive(state)] : []),
  ...(page.program ? [buildChanges(state, link.box)] : []),
  element(
    "div",
    { class: "work" },
    picture,
    element(
      "div",
      { class: "beside" },
      ...(page.program ? [buildMatters(state)] : []),
      buildPanel(state),
      ...(page.program ? [buildLooks(state)] : []),
      ...(page.sizes ? [buildSizes(state)] : []),
    ),
  ),
  ...(page.report ? [buildReport(page.report)] : []),
  buildDetails(page),
);
listenToUndo(state);
if (page.notebook) joinNotebook(link);
// For the console, and for tests.
document.getElementById("page").state = state;
document.documentElement.dataset.ready = "true";

// The page is drawn before the circuit can run in it.
const begin = (engine) => {
  if (engine) state.connect(engine);
  link.start();
  document.documentElement.dataset.engine = engine ? "ready" : "none";
};
const fail = (error) => {
  page.silent = `The circuit cannot run in this browser: ${error.message}.`;
  page.program = null;
  state.choose({});
  document.documentElement.dataset.engine = "failed";
};
if (page.program) createEngine(page.program).then(begin, fail);
else begin(null);
