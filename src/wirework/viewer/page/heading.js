// What the page is about: name, plain words, figures, colour scheme.

import { element } from "./dom.js";
import { schemeButton } from "./scheme.js";

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
          { class: "figure", title: figure.note },
          element("dt", {}, figure.label),
          element("dd", { class: "value" }, figure.value),
          element("dd", { class: "note" }, figure.note),
        ),
      ),
    ),
    schemeButton(),
  );
}

// What few want to know first; stands at the end of the page.
export function buildDetails(page) {
  return element(
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
  );
}

// Long names may go on in a new line behind their own separators.
function breakable(name) {
  return name.split(/(?<=[/_.-])/).flatMap((part) => [part, element("wbr")]);
}
