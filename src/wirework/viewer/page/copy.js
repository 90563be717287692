// Values as text: to select, and to copy with one button.

import { element } from "./dom.js";

// `write()` gives the text, when it is wanted.
export function buildCopy(write) {
  const name = "values as text";
  const fixed = { readonly: true, spellcheck: "false" };
  const area = element("textarea", { rows: 6, "aria-label": name, ...fixed });
  const details = element("details", { class: "values" }, element("summary", {}, name), area);
  const status = element("span", { class: "quiet", role: "status" });
  details.addEventListener("toggle", () => {
    if (details.open) area.value = write();
  });
  const copy = async () => {
    area.value = write();
    try {
      await navigator.clipboard.writeText(area.value);
      status.textContent = "copied";
    } catch {
      // Browsers may refuse; then the text is shown, selected, to be copied by hand.
      details.open = true;
      area.focus();
      area.select();
      status.textContent = "selected: copy it with Ctrl+C";
    }
  };
  const button = element("button", { type: "button", onclick: copy }, "copy values");
  return element("div", { class: "copying" }, element("div", {}, button, " ", status), details);
}
