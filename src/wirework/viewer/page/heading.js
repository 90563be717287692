// What the page is about: name, plain words, figures, colour scheme, report.

import { element } from "./dom.js";

const SCHEMES = ["auto", "light", "dark"];

export function buildHeading(page) {
  return element(
    "header",
    { class: "heading" },
    element(
      "div",
      { class: "title" },
      element("h1", {}, ...breakable(page.title)),
      element("p", {}, page.sentence),
    ),
    element(
      "dl",
      { class: "figures", "aria-label": "figures" },
      ...page.figures.map((figure) =>
        element(
          "div",
          { class: "figure" },
          element("dt", {}, figure.label),
          element("dd", { class: "value" }, figure.value),
          element("dd", { class: "note" }, figure.note),
        ),
      ),
    ),
    element(
      "dl",
      { class: "details", "aria-label": "further figures" },
      ...page.details.map((detail) =>
        element(
          "div",
          { title: detail.note },
          element("dt", {}, detail.label),
          element("dd", {}, detail.value),
        ),
      ),
    ),
    schemeButton(),
  );
}

// Long names may go on in a new line behind their own separators.
function breakable(name) {
  return name.split(/(?<=[/_.-])/).flatMap((part) => [part, element("wbr")]);
}

function schemeButton() {
  const root = document.documentElement;
  const button = element("button", { class: "scheme", type: "button" });
  const show = (scheme) => {
    root.dataset.scheme = scheme;
    button.textContent = { auto: "◐ auto", light: "☀ light", dark: "☾ dark" }[scheme];
    button.setAttribute("aria-label", `colours: ${scheme}; change`);
  };
  button.addEventListener("click", () => {
    show(SCHEMES[(SCHEMES.indexOf(root.dataset.scheme) + 1) % SCHEMES.length]);
  });
  show("auto");
  return button;
}

export function buildReport(report) {
  const marks = { true: "passed", false: "missed", null: "" };
  const rows = report.measures.map((measure) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", title: measure.note }, measure.name),
      element("td", { class: "number" }, measure.value),
      element("td", { class: "number" }, measure.interval),
      element("td", { class: "number" }, measure.n),
      element("td", { class: "number" }, measure.bar),
      element("td", {}, element("span", { class: `bar ${marks[measure.passed]}` }, marks[measure.passed])),
    ),
  );
  const columns = ["measure", "value", "95% interval", "n", "bar", ""];
  return element(
    "section",
    { class: "report card", "aria-labelledby": "report-title" },
    element(
      "h2",
      { id: "report-title" },
      `${report.kind[0]?.toUpperCase() ?? ""}${report.kind.slice(1)} report`,
      report.verdict
        ? element("span", { class: `verdict ${marks[report.passed]}` }, report.verdict)
        : null,
    ),
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": "report-title" },
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ...columns.map((c) => element("th", { scope: "col" }, c)))),
        element("tbody", {}, ...rows),
      ),
    ),
  );
}
