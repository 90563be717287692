"""Everything that the page says about one circuit, as plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wirework.circuit import Circuit, Groups
from wirework.core import Report, WireworkError
from wirework.data import Tokenizer
from wirework.tasks import Task
from wirework.viewer.activity import histograms, largest_values, measure_activity
from wirework.viewer.beside import require_report_of
from wirework.viewer.drawing import draw
from wirework.viewer.evidence import box_labels, show_evidence
from wirework.viewer.examples import (
    answer_sets,
    chosen_pairs,
    show_examples,
    show_heads,
)
from wirework.viewer.groups import AS_ONE, named_boxes, page_groups
from wirework.viewer.link import circuit_mark
from wirework.viewer.numbers import share, shown
from wirework.viewer.program import program
from wirework.viewer.report_panel import report_panel

VERSION = 1


def page_content(
    circuit: Circuit,
    *,
    report: Report | None = None,
    evidence: Mapping[str, Any] | None = None,
    groups: Groups | None = None,
    examples: int = 12,
) -> dict[str, Any]:
    """The page's data. Raises `evidence-malformed`, `evidence-foreign`, `groups-foreign`,
    `report-of-another`, `view-examples-negative`, and what the task stored in the circuit raises
    where it does not fit the stored tokenizer."""
    if examples < 0:
        raise WireworkError(
            "view-examples-negative", "a page cannot show fewer than no examples",
            expected="0 or more", got=str(examples), hint="12",
        )  # fmt: skip
    if groups is not None:
        groups.require_of(circuit)
    if report is not None:
        require_report_of(report, circuit)
    task = Task.from_json(circuit.task)
    encoded = task.encode(Tokenizer.from_json(circuit.tokenizer), circuit.network.context)
    answers = answer_sets(task, encoded)
    nothing = {"version": 1, "nodes": {}}
    told = show_evidence(circuit, nothing if evidence is None else evidence)
    labels = box_labels(told)
    drawing = draw(circuit, answers, {*labels, *named_boxes(groups)})
    activity = measure_activity(circuit, task, encoded.report) if circuit.runs_alone else None
    return {
        "version": VERSION,
        "mark": circuit_mark(circuit),
        "title": task.name,
        "sentence": _sentence(circuit, task),
        "figures": _figures(circuit, task),
        "details": _details(circuit),
        "drawing": drawing,
        "groups": page_groups(drawing, labels, activity, groups),
        "as_one": AS_ONE,
        "histograms": None if activity is None else histograms(activity),
        "heads": show_heads(circuit),
        "examples": show_examples(circuit, task, chosen_pairs(task, examples)),
        "largest": [0] * len(drawing["nodes"]) if activity is None else largest_values(activity),
        "program": program(circuit, answers),
        "silent": "" if circuit.runs_alone else _silent(circuit),
        "report": None if report is None else report_panel(report),
        "evidence": told,
    }


def _sentence(circuit: Circuit, task: Task) -> str:
    behaviour = task.description.strip().rstrip(".")
    size = circuit.sizes
    drawn = (
        f"Below is the part of the model that does it: {_count(size.nodes, 'channel')} (boxes) and "
        f"{_count(size.edges, 'weight')} between them (lines). Signals run from the tokens of a "
        "prompt on the left to the answer on the right."
    )
    return f"{behaviour}. {drawn}" if behaviour else drawn


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _figures(circuit: Circuit, task: Task) -> list[dict[str, str]]:
    """What one wants to know first."""
    size, losses = circuit.sizes, circuit.losses
    raw = shown(losses.get("task_loss_raw"))
    return [
        {"label": "nodes", "value": f"{size.nodes:,}", "note": "channels kept"},
        {"label": "edges", "value": f"{size.edges:,}", "note": "weights between them"},
        {
            "label": "task loss",
            "value": shown(losses.get("task_loss")),
            "note": f"nats; {raw} before calibration",
        },
        {
            "label": "accuracy",
            "value": share(losses.get("task_accuracy")),
            "note": f"of {2 * len(task.report):,} held-out prompts",
        },
        {
            "label": "full model",
            "value": shown(losses.get("model_loss")),
            "note": f"its loss; {share(losses.get('model_accuracy'))} right",
        },
    ]


def _details(circuit: Circuit) -> list[dict[str, str]]:
    """What stands beside: label, value, and in plain words what it is."""
    size, scale = circuit.sizes, circuit.calibration
    rows = [
        ("embedding edges", f"{size.embedding_edges:,}",
         "nonzero weights from tokens of the task's prompts to channels that are read"),
        ("unembedding edges", f"{size.unembedding_edges:,}",
         "nonzero weights from the last reads to answer tokens"),
        ("shadow weights", f"{size.shadow_weights:,}",
         "weights into cut channels: they decide who wins, and carry no signal"),
    ]  # fmt: skip
    if size.position_edges:
        rows.append(("position edges", f"{size.position_edges:,}", "weights from positions"))
    target = circuit.losses.get("target_loss")
    if target is not None:
        rows.append(("target loss", shown(target), "what the search had to meet"))
    sign = "−" if scale.shift < 0 else "+"
    rows += [
        ("calibration", f"margin × {shown(scale.scale)} {sign} {shown(abs(scale.shift))}",
         "scale and shift of the answer margin, seen from the prompt's side"),
        ("model", f"{circuit.model_hash[:12]}, step {circuit.model_step:,}",
         f"hash of its weights: {circuit.model_hash}"),
        ("ablation", circuit.ablation, "what everything that was cut is held at"),
        ("runs alone", "yes" if circuit.runs_alone else "no",
         "whether the file computes its answers without the model"),
    ]  # fmt: skip
    return [{"label": label, "value": value, "note": note} for label, value, note in rows]


def _silent(circuit: Circuit) -> str:
    return (
        f"This circuit was found under {circuit.ablation} ablation and cannot run without its "
        "model, so the page holds no activations."
    )
