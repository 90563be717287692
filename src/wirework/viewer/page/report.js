// The verdict of a validation: what was missed, every measure beside its bar, the curves.

import { buildChart } from "./chart.js";
import { element, plural, shape } from "./dom.js";
import { verdictMark } from "./verdict.js";

const MARKS = { true: "passed", false: "missed", null: "" };
const LONG = 176;
// So few measures are shown without a fold.
const FEW = 8;

export function buildReport(report) {
  const asked = report.measures.filter((measure) => measure.passed !== null);
  const missed = asked.filter((measure) => !measure.passed);
  // What decides a verdict comes first.
  missed.sort((one, other) => Number(other.decisive) - Number(one.decisive));
  const groups = report.groups.map((group) => groupOf(report, group));
  unfoldInPrint(groups);
  return element(
    "section",
    { class: "report card", "aria-labelledby": "report-title" },
    element(
      "h2",
      { id: "report-title" },
      `${report.kind[0]?.toUpperCase() ?? ""}${report.kind.slice(1)} report`,
      report.verdict ? verdictMark(report.verdict) : null,
      element(
        "span",
        { class: "quiet" },
        `${asked.length - missed.length} of ${plural(asked.length, "bar")} reached`,
      ),
    ),
    missed.length ? missedList(missed) : null,
    key(),
    ...groups,
    report.curves.length ? element("h3", { class: "curves-title" }, "Curves") : null,
    element("div", { class: "curves" }, ...report.curves.map(buildChart)),
  );
}

// Paper unfolds nothing.
function unfoldInPrint(groups) {
  let folded = [];
  const open = (value) => folded.forEach((group) => (group.open = value));
  window.addEventListener("beforeprint", () => {
    folded = groups.filter((group) => !group.open);
    open(true);
  });
  window.addEventListener("afterprint", () => open(false));
}

function missedList(missed) {
  return element(
    "div",
    { class: "missed-first" },
    element("h3", {}, "Missed"),
    element("ul", { class: "measures" }, ...missed.map((measure) => measureRow(measure, true))),
  );
}

function key() {
  return element(
    "p",
    { class: "quiet report-key" },
    "Dot: the value; line: its 95% interval; tick: the bar that is asked; " +
      "tinted: the side that reaches it.",
  );
}

function groupOf(report, group) {
  const measures = report.measures.filter((measure) => measure.group === group.name);
  const asked = measures.filter((measure) => measure.passed !== null);
  const missed = asked.filter((measure) => !measure.passed).length;
  const state = missed ? `${missed} missed` : asked.length ? "passed" : "no bar";
  return element(
    "details",
    { class: "group", open: report.measures.length <= FEW },
    element(
      "summary",
      {},
      element("strong", {}, group.name),
      element("span", { class: "asks" }, group.asks),
      element("span", { class: "quiet count" }, plural(measures.length, "measure")),
      element(
        "span",
        { class: `bar ${missed ? "missed" : asked.length ? "passed" : "none"}` },
        state,
      ),
    ),
    element("ul", { class: "measures" }, ...measures.map((measure) => measureRow(measure, false))),
  );
}

function measureRow(measure, told) {
  const mark = MARKS[measure.passed];
  return element(
    "li",
    { class: "measure" },
    element("span", { class: "name" }, ...breakableName(measure.name)),
    measure.picture ? intervalPicture(measure) : element("span", { class: "interval-picture" }),
    element("span", { class: "number value" }, measure.value),
    element("span", { class: "number quiet" }, measure.interval),
    element("span", { class: "number quiet" }, measure.n ? `n = ${measure.n}` : ""),
    element("span", { class: "number quiet" }, measure.bar ? `bar ${measure.bar}` : ""),
    element(
      "span",
      { class: "mark-cell" },
      mark ? element("span", { class: `bar ${mark}` }, mark) : null,
    ),
    element(
      "span",
      { class: "note" },
      told && measure.says ? element("strong", {}, `${capital(measure.says)}. `) : null,
      measure.note,
    ),
  );
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function breakableName(name) {
  return name.split(/(?<=[:@_])/).flatMap((part) => [part, element("wbr")]);
}

// Where the value stands between the ends of its axis; the numbers stand beside as text.
function intervalPicture(measure) {
  const { value, low, high, bar, better, axis } = measure.picture;
  const x = (share) => 6 + share * (LONG - 12);
  const good =
    bar === null || better === "neither"
      ? null
      : better === "higher"
        ? [x(bar), x(1)]
        : [x(0), x(bar)];
  return shape(
    "svg",
    {
      class: `interval-picture ${MARKS[measure.passed] || "none"}`,
      viewBox: `0 0 ${LONG} 18`,
      "aria-hidden": "true",
    },
    shape("title", {}, `from ${axis[0]} to ${axis[1]}`),
    good
      ? shape("rect", {
          x: good[0],
          y: 3,
          width: Math.max(0, good[1] - good[0]),
          height: 12,
          class: "good",
        })
      : null,
    shape("line", { x1: 6, x2: LONG - 6, y1: 9, y2: 9, class: "grid" }),
    bar === null ? null : shape("line", { x1: x(bar), x2: x(bar), y1: 1, y2: 17, class: "tick" }),
    low === null || high === null
      ? null
      : shape("line", { x1: x(low), x2: x(high), y1: 9, y2: 9, class: "between" }),
    shape("circle", { cx: x(value), cy: 9, r: 4 }),
  );
}
