"""The page in a cell of a notebook: what is chosen and changed in it is known on both sides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anywidget import AnyWidget
from traitlets import Bunch, Dict, Int, Unicode, default, observe, validate

from wirework.circuit import Circuit, Groups
from wirework.core import Report, WireworkError
from wirework.core.errors import nearest
from wirework.viewer.content import page_content
from wirework.viewer.link import link_malformed, pack_link, unpack_link
from wirework.viewer.page import document
from wirework.viewer.size_curve import ranked_curve

_NUMBERS = {"ablate": None, "clamp": "value", "scale": "factor"}
"""What can be done to a node, and the name of the number that it takes."""


class CircuitWidget(AnyWidget):
    """A circuit's page in a notebook; made by `show`.

    `state`: all that is chosen and changed in the page, as the text behind # in a page's address
    ("": as it was opened); it can be kept, set again, and put behind the address of an exported
    page. The others are parts of it. `prompt`: the reader's own text, None: the example's.
    `selected`: name of a node, an edge (`A -> B`) or an answer (`answer NAME`), None: nothing.
    `interventions`: `{"nodes": {NODE: WHAT}, "edges": [EDGE, ...]}` with WHAT one of
    `{"kind": "ablate"}`, `{"kind": "clamp", "value": x}`, `{"kind": "scale", "factor": x}`.

    All four can be set and observed (`widget.observe(f, "selected")`); they are set as a whole.
    Setting raises `link-malformed`, `link-foreign`, `link-too-long`, `node-unknown`,
    `edge-absent`, `intervention-malformed`, and `circuit-needs-model` where the circuit does not
    run alone. Where the page cannot do what is set, it says so, and the state goes back.
    `height`: of the cell, in pixels.
    """

    _esm = Path(__file__).with_name("page") / "widget.js"
    _page = Unicode().tag(sync=True)
    height = Int(760, min=200).tag(sync=True)
    state = Unicode("").tag(sync=True)
    prompt = Unicode(None, allow_none=True)
    selected = Unicode(None, allow_none=True)
    interventions = Dict()

    def __init__(
        self,
        circuit: Circuit,
        *,
        report: Report | None = None,
        evidence: Mapping[str, Any] | None = None,
        groups: Groups | None = None,
        examples: int = 12,
        height: int = 760,
    ) -> None:
        content = page_content(
            circuit, report=report, evidence=evidence, groups=groups, examples=examples
        )
        drawing = content["drawing"]
        self.circuit = circuit
        self._mark = content["mark"]
        self._count = len(drawing["nodes"])
        self._boxes = [node["name"] for node in drawing["nodes"]]
        self._edges = [
            f"{self._boxes[edge['source']]} -> {self._boxes[edge['target']]}"
            for edge in drawing["edges"]
        ]
        self._boxes += [f"answer {answer['name']}" for answer in drawing["answers"]]
        more = {"notebook": True, "sizes": ranked_curve(circuit, evidence)}
        page = document({**content, **more})
        super().__init__(_page=page, height=height)

    @default("interventions")
    def _no_interventions(self) -> dict[str, Any]:
        return {"nodes": {}, "edges": []}

    @validate("state")
    def _check_state(self, proposal: Bunch) -> str:
        text: str = proposal["value"]
        self._parts(unpack_link(text, self._mark))
        return text

    @validate("prompt", "selected", "interventions")
    def _check_part(self, proposal: Bunch) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "interventions":
            value = self._interventions(value)
        self._joined(name, value)
        return value

    @observe("state")
    def _take_apart(self, change: Bunch) -> None:
        for name, value in self._parts(unpack_link(change["new"], self._mark)).items():
            setattr(self, name, value)

    @observe("prompt", "selected", "interventions")
    def _put_together(self, change: Bunch) -> None:
        self.state = self._joined(change["name"], change["new"])

    def _joined(self, name: str, value: Any) -> str:
        """The state with one part changed; whatever else is chosen in the page stays as it is."""
        fields = unpack_link(self.state, self._mark)
        if self._parts(fields)[name] == value:
            return self.state
        if name == "prompt":
            # Another text is looked at from its own last token.
            new: dict[str, Any] = {"p": self._prompt(value), "t": None, "q": None}
        elif name == "selected":
            new = {"n": None, "e": None, **self._place(value)}
        else:
            new = {"i": None if value == self._no_interventions() else value}
        kept = {letter: field for letter, field in fields.items() if letter not in new}
        changed = {letter: field for letter, field in new.items() if field is not None}
        return pack_link({**kept, **changed}, self._mark)

    def _parts(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What the fields of a link say about the traits that are parts of it."""
        prompt, selected = fields.get("p"), None
        if not (prompt is None or isinstance(prompt, str)):
            raise link_malformed()
        for letter, names in (("e", self._edges), ("n", self._boxes)):
            index = fields.get(letter, 0)
            if type(index) is not int or not 0 <= index < max(1, len(names)):
                raise link_malformed()
            selected = names[index] if letter in fields else selected
        interventions = self._interventions(fields.get("i", {}))
        return {
            "prompt": self._prompt(prompt),
            "selected": selected,
            "interventions": interventions,
        }

    def _prompt(self, text: str | None) -> str | None:
        if text is not None:
            self.circuit.require_alone()
        return text

    def _place(self, name: str | None) -> dict[str, int]:
        """The field of a link that chooses what has this name."""
        if name is None:
            return {}
        if name in self._boxes:
            return {"n": self._boxes.index(name)}
        self._require_edge(name)
        return {"e": self._edges.index(name)}

    def _require_edge(self, name: str) -> None:
        if name in self._edges:
            return
        if " -> " in name:
            raise WireworkError(
                "edge-absent", f"the circuit has no edge {name!r}", got=name,
                expected="a weight between two of its nodes", hint=nearest(name, self._edges),
            )  # fmt: skip
        raise self._no_such_node(name)

    def _no_such_node(self, name: str) -> WireworkError:
        return WireworkError(
            "node-unknown", f"the circuit has no node {name!r}", got=name,
            expected="one of its nodes", hint=nearest(name, self._boxes),
        )  # fmt: skip

    def _interventions(self, value: Any) -> dict[str, Any]:
        """In full and checked, as something of its own."""
        if not (isinstance(value, Mapping) and {*value} <= {"nodes", "edges"}):
            raise _malformed(value)
        nodes, edges = value.get("nodes", {}), value.get("edges", [])
        if not (isinstance(nodes, Mapping) and isinstance(edges, list | tuple)):
            raise _malformed(value)
        for name, what in nodes.items():
            if name not in self._boxes[: self._count]:
                raise self._no_such_node(str(name))
            if not _is_change(what):
                raise _malformed(what)
        for name in edges:
            self._require_edge(str(name))
        if nodes or edges:
            self.circuit.require_alone()
        return {"nodes": {name: dict(nodes[name]) for name in nodes}, "edges": [*edges]}


def _is_change(what: Any) -> bool:
    if not (isinstance(what, Mapping) and what.get("kind") in [*_NUMBERS]):
        return False
    number = _NUMBERS[what["kind"]]
    if {*what} != {"kind"} | ({number} if number else set()):
        return False
    value = what[number] if number else 0
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _malformed(value: Any) -> WireworkError:
    return WireworkError(
        "intervention-malformed", "this is nothing that can be done to a circuit",
        expected='{"nodes": {NODE: {"kind": "ablate"}}, "edges": [EDGE]}', got=str(value)[:100],
        hint='{"kind": "clamp", "value": 1.5} or {"kind": "scale", "factor": 0.5}',
    )  # fmt: skip
