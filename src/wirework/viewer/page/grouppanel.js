// The group of the chosen node: what makes it one, its nodes, and what can be done to all of them.

import { buildControls } from "./controls.js";
import { element, plural } from "./dom.js";
import { groupAt, groupWords } from "./groups.js";
import { chooseNode } from "./state.js";

export function aboutGroup(state, index) {
  const { groups, drawing } = state.page;
  const at = groupAt(state.page, index);
  if (at < 0) return null;
  const { members, label } = groups[at];
  const folded = state.chosen.folded.includes(at);
  const turn = () => {
    const others = state.chosen.folded.filter((one) => one !== at);
    state.choose({ folded: folded ? others : [...others, at] });
  };
  const fold = { type: "button", class: "fold", onclick: turn };
  return element(
    "section",
    { class: "group" },
    element(
      "h3",
      {},
      label ? `Group “${label}” ` : "Group ",
      element("span", { class: "count" }, plural(members.length, "node")),
    ),
    element("p", { class: "quiet" }, groupWords(state.page, groups[at])),
    element(
      "div",
      { class: "members" },
      ...members.map((member) => {
        const choose = () => chooseNode(state, member);
        return element("button", { type: "button", onclick: choose }, drawing.nodes[member].name);
      }),
      element("button", fold, folded ? "unfold" : "fold"),
    ),
    buildControls(state, { group: at }),
  );
}
