// A verdict as a badge.

import { element } from "./dom.js";

const VERDICT_KINDS = { faithful: "passed", partly: "partly", unfaithful: "missed" };
const VERDICT_SIGNS = { faithful: "✓ ", partly: "≈ ", unfaithful: "✕ " };

// A word with a sign, so that the colour is not needed.
export function verdictMark(verdict) {
  const kind = VERDICT_KINDS[verdict] ?? "none";
  return element("span", { class: `verdict ${kind}` }, `${VERDICT_SIGNS[verdict] ?? ""}${verdict}`);
}
