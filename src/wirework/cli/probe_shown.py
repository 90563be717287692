"""Tables and pictures of probes, as `wirework probe` shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

if TYPE_CHECKING:
    from wirework.core import Report
    from wirework.plots import TopToken
    from wirework.probing import Activations, LabelledTokens, NeuronScore, Scan, StoredProbe

_BEGINNING = 10

_CONTROLS = {"shuffled": "shuffled labels", "random": "random directions"}

_TOP, _OF_ONE_TOKEN, _BEFORE = 14, 4, 24
"""Tokens of a neuron's page; how many of them may be the same; what is shown before each."""


def scan_table(found: Scan) -> Table:
    table = Table(title="Best single neuron on held-out documents; beside F1 that of shuffled\n"
                  "labels and of random directions", title_justify="left", box=None)  # fmt: skip
    for name in ("feature", "neuron"):
        table.add_column(name, no_wrap=True)
    for name in ("F1", "95%", "shuffled", "random", "prec.", "recall"):
        table.add_column(name, justify="right", no_wrap=True)
    for score in sorted(found.best.values(), key=lambda score: -score.f1):
        controls = [_control(found.controls, name, score) for name in ("shuffled", "random")]
        table.add_row(
            score.feature, f"{score.site}:{score.neuron}", f"{score.f1:.3f}",
            f"{score.low:.2f}-{score.high:.2f}", *controls, f"{score.precision:.2f}",
            f"{score.recall:.2f}",
        )  # fmt: skip
    return table


def _control(
    controls: Mapping[str, Mapping[str, NeuronScore]], name: str, score: NeuronScore
) -> str:
    return f"{controls[name][score.feature].f1:.2f}" if name in controls else "-"


def probe_table(probes: Sequence[StoredProbe]) -> Table:
    """Ids by their beginnings, which are enough to name a probe."""
    table = Table(box=None)
    table.add_column("id", no_wrap=True)
    table.add_column("feature", overflow="fold")
    table.add_column("site", no_wrap=True)
    for name in ("k", "F1", "95%", "prec.", "recall"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in probes:
        scores: dict[str, Any] = dict(each.scores)
        ends = "-"
        if "f1_low" in scores:
            ends = f"{scores['f1_low']:.2f}-{scores['f1_high']:.2f}"
        f1, precision, recall = (
            "-" if scores.get(name) is None else f"{scores[name]:.3f}"
            for name in ("f1", "precision", "recall")
        )
        beginning = each.id[:_BEGINNING]
        table.add_row(beginning, each.feature, each.site, str(each.k), f1, ends, precision, recall)
    return table


def draw_scan(found: Scan, path: Path) -> None:
    """The best neuron of every feature at every site, beside the controls."""
    from wirework.plots import draw_feature_map

    features = list(found.best)
    sites = list(next(iter(found.by_site.values())))
    f1 = [[found.by_site[name][site].f1 for site in sites] for name in features]
    controls = {
        _CONTROLS[name]: [scores[feature].f1 for feature in features]
        for name, scores in found.controls.items()
    }
    draw_feature_map(features, sites, f1, path, controls=controls)


def draw_fits(probes: Sequence[StoredProbe], path: Path) -> None:
    """F1 of probes by site and k, a panel for every feature."""
    from wirework.plots import F1Line, draw_f1_by_site

    sites = list(dict.fromkeys(each.site for each in probes))
    panels, always = {}, {}
    for feature in dict.fromkeys(each.feature for each in probes):
        own = [each for each in probes if each.feature == feature]
        rate = own[0].scores["base_rate"]
        always[feature] = 2 * rate / (1 + rate)
        panels[feature] = {
            f"k = {k}": F1Line(*(
                [each.scores[name] for each in own if each.k == k]
                for name in ("f1", "f1_low", "f1_high")
            ))
            for k in dict.fromkeys(each.k for each in own)
        }  # fmt: skip
    draw_f1_by_site(sites, panels, path, controls=always, control="always yes")


def draw_report(
    report: Report,
    labelled: LabelledTokens,
    activations: Activations,
    texts: Sequence[str] | None,
    path: Path,
) -> None:
    """The page of an investigated neuron; `texts`: of all tokens, where they are known."""
    from wirework.plots import draw_neuron
    from wirework.probing.feature import NOT_ASKED, YES

    told = report.provenance
    feature, site, neuron = told["feature"], told["site"], told["neuron"]
    held = np.zeros(len(labelled), bool)
    held[activations.rows] = True
    held &= labelled.split(told["seed"], told["test"])[1]
    held &= labelled.column(feature) != NOT_ASKED
    rows = np.flatnonzero(held)
    values = activations.matrix(site, rows)[:, neuron]
    positive = labelled.column(feature)[rows] == YES
    weight = told["weight"]
    threshold = None if weight == 0 else -told["bias"] / weight
    order = np.argsort(-values if weight >= 0 else values, kind="stable")
    top = [] if texts is None else _top(labelled, texts, rows, values, positive, order)
    draw_neuron(
        values, positive, path, feature=feature, neuron=f"{site}:{neuron}", threshold=threshold,
        tokens=top, off=weight < 0, control=report["f1_shuffled"].value,
    )  # fmt: skip


def _top(
    labelled: LabelledTokens,
    texts: Sequence[str],
    rows: np.ndarray[Any, np.dtype[np.int64]],
    values: np.ndarray[Any, np.dtype[np.float32]],
    positive: np.ndarray[Any, np.dtype[np.bool_]],
    order: np.ndarray[Any, np.dtype[np.intp]],
) -> list[TopToken]:
    """The first of `order`, few of each token, with what stands before them."""
    from wirework.plots import TopToken

    found: list[TopToken] = []
    shown: Counter[int] = Counter()
    for place in order.tolist():
        row = int(rows[place])
        token = int(labelled.tokens[row])
        if shown[token] == _OF_ONE_TOKEN:
            continue
        shown[token] += 1
        first = row - min(_BEFORE, int(labelled.position[row]))
        before = "".join(texts[first:row])
        found.append(TopToken(before, texts[row], float(values[place]), bool(positive[place])))
        if len(found) == _TOP:
            break
    return found
