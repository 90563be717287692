// How often a node is how strong, by the answer that is right.

import { element, plural, shape, signed } from "./dom.js";

const BARS = { width: 264, height: 34 };

// `page.histograms`: see viewer/activity.py. Null where nothing was measured.
export function buildHistogram(page, index) {
  const found = page.histograms;
  if (!found) return null;
  const bins = found.nodes[index];
  const total = found.prompts.reduce((sum, count) => sum + count, 0);
  const title = element("h3", {}, "Strongest value in a prompt, by its right answer");
  if (!bins) {
    const words = `The same in all ${plural(total, "prompt")} of the task that were looked at.`;
    const told = element("p", { class: "quiet" }, words);
    return element("section", { class: "histogram" }, title, told);
  }
  const tallest = Math.max(...bins.counts.flat());
  return element(
    "section",
    { class: "histogram" },
    title,
    ...found.classes.map((name, at) =>
      element(
        "figure",
        {},
        element("figcaption", {}, name, counted(found.prompts[at])),
        histogramBars(bins, bins.counts[at], tallest, name),
      ),
    ),
    element(
      "div",
      { class: "ends" },
      element("span", {}, signed(bins.low)),
      element("span", {}, signed(bins.high)),
    ),
  );
}

function counted(prompts) {
  return element("span", { class: "count" }, plural(prompts, "prompt"));
}

function histogramBars({ low, high }, counts, tallest, name) {
  const { width, height } = BARS;
  const step = width / counts.length;
  const zero = low < 0 && high > 0 ? ((0 - low) / (high - low)) * width : null;
  const edge = (at) => signed(low + ((high - low) * at) / counts.length);
  const said = (count, at) => (count ? [`${edge(at)} to ${edge(at + 1)}: ${count}`] : []);
  const words = counts.flatMap(said);
  return shape(
    "svg",
    {
      class: "bars",
      viewBox: `0 0 ${width} ${height}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `${name}: ${words.join("; ")}`,
    },
    shape("path", { class: "axis", d: `M0 ${height - 0.5}H${width}` }),
    zero === null ? null : shape("path", { class: "axis", d: `M${zero.toFixed(1)} 0V${height}` }),
    ...counts.map((count, at) => {
      // One prompt is still seen.
      const tall = count ? Math.max(2, ((height - 2) * count) / tallest) : 0;
      const [x, y] = [(at * step + 0.75).toFixed(2), (height - tall).toFixed(1)];
      return shape("rect", { x, y, width: step - 1.5, height: tall.toFixed(1) });
    }),
  );
}
