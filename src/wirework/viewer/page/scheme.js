// The button that changes between light and dark.

import { element } from "./dom.js";

const SCHEMES = ["auto", "light", "dark"];

export function schemeButton() {
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
