"""What else a neuron fires on: other features of the same set, and its strongest activations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wirework.probing.feature import NO, NOT_ASKED, YES
from wirework.probing.neuron_case import Case, Details, Findings, Measures, accuracy_of
from wirework.probing.one_neuron import f1_of
from wirework.probing.split_tokens import LabelPair

TOP_SHARE = 0.01
"""Of training tokens: their score is the least that counts as a top activation."""

_SHOWN, _LEAST_SHARE = 10, 0.05


def other_features(
    case: Case, column: int, labels: LabelPair, shuffled: LabelPair, least: int
) -> Findings:
    """The neuron on every other feature, also where `case`'s own feature is not.

    A feature counts that has `least` positives and negatives in training and in test text each;
    elsewhere, that is where `case`'s feature is not, the same. Measures as in `investigate`.
    """
    top = _top(case)
    names = case.parts.names
    outside = (case.labels[0] == NO, case.labels[1] == NO)
    covered = _shares(top, labels[1])
    rest = _shares(top & outside[1], labels[1], among=outside[1])
    rows: list[Details] = []
    elsewhere: dict[int, Case] = {}
    whole: dict[int, Case] = {column: case}
    for other in range(len(names)):
        own = labels[0][:, other], labels[1][:, other]
        if other == column:
            continue
        row: Details = {"name": names[other], "top_share": covered[0][other],
                        "lift": covered[1][other], "f1": None, "elsewhere_f1": None}  # fmt: skip
        if _enough(own, least):
            whole[other] = case.of_labels(own)
            f1 = whole[other].measure(f1_of)
            row |= {"f1": f1.value, "low": f1.low, "high": f1.high}
        apart = _only(own, outside)
        if _enough(apart, least):
            elsewhere[other] = case.of_labels(apart)
            row["elsewhere_f1"] = elsewhere[other].measure(f1_of).value
        rows.append(row)
    measures, second = _second(case, elsewhere, outside, shuffled)
    measures |= _top_measures(case, top, shuffled[1][:, column])
    told = max(whole, key=lambda other: whole[other].train_f1())
    control = case.of_labels((shuffled[0][:, told], shuffled[1][:, told]))
    measures["best_feature_f1"] = whole[told].measure(f1_of, names[told])
    measures["best_feature_f1_shuffled"] = control.measure(f1_of, names[told])
    details: Details = {
        "features": sorted(rows, key=lambda row: -(row["f1"] or 0)),
        "top": {
            "tokens": int(top.sum()),
            "without_the_feature": int((top & outside[1]).sum()),
            "rest_labelled": _labelled(names, rest, column),
        },
        "best_feature": names[told],
        "second_feature": None if second is None else names[second],
    }
    return measures, {"other_features": details}


def _second(
    case: Case,
    elsewhere: dict[int, Case],
    outside: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    shuffled: LabelPair,
) -> tuple[Measures, int | None]:
    """The feature that the neuron tells best where the first is not, chosen on training text."""
    if not elsewhere:
        return {}, None
    second = max(elsewhere, key=lambda other: _train_accuracy(elsewhere[other]))
    note = f"{case.parts.names[second]}, on tokens without the feature"
    found = elsewhere[second]
    control = case.of_labels(_only((shuffled[0][:, second], shuffled[1][:, second]), outside))
    measures: Measures = {}
    for name, statistic in (("f1", f1_of), ("balanced_accuracy", accuracy_of)):
        measures[f"second_{name}"] = found.measure(statistic, note)
        measures[f"second_{name}_shuffled"] = control.measure(statistic, note)
    return measures, second


def _train_accuracy(case: Case) -> float:
    said, labels = case.scores[0] > 0, case.labels[0]
    return float(said[labels == YES].mean() + (~said[labels == NO]).mean()) / 2


def _only(labels: LabelPair, among: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> LabelPair:
    train, held = (
        np.where(own, x, NOT_ASKED).astype(np.int8) for x, own in zip(labels, among, strict=True)
    )
    return train, held


def _enough(labels: LabelPair, least: int) -> bool:
    return all(min((x == YES).sum(), (x == NO).sum()) >= max(1, least) for x in labels)


def _top(case: Case) -> NDArray[np.bool_]:
    """Held-out tokens with a score that training tokens seldom reach."""
    train, held = case.scores
    least = np.quantile(train, 1 - TOP_SHARE)
    above = held > least
    return above if above.any() else held >= least


def _top_measures(case: Case, top: NDArray[np.bool_], shuffled: NDArray[np.int8]) -> Measures:
    found: Measures = {}
    for name, labels in (("top_covered", case.labels[1]), ("top_covered_shuffled", shuffled)):
        kinds = np.stack([top & (labels == YES), top & (labels != NOT_ASKED)], 1)
        found[name] = case.parts.measure(kinds, _share, int(kinds[:, 1].sum()), better="higher")
    return found


def _share(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def _shares(
    top: NDArray[np.bool_], labels: NDArray[np.int8], among: NDArray[np.bool_] | None = None
) -> tuple[list[float | None], list[float | None]]:
    """By feature: its share of the top tokens that are asked, and that over its base rate."""
    whole = np.ones(len(top), bool) if among is None else among
    shares: list[float | None] = []
    lifts: list[float | None] = []
    for column in labels.T:
        asked, yes = whole & (column != NOT_ASKED), whole & (column == YES)
        of_top = int((top & asked).sum())
        share = float((top & yes).sum()) / of_top if of_top else None
        shares.append(share)
        rate = float(yes.sum()) / max(int(asked.sum()), 1)
        lifts.append(share / rate if share is not None and rate else None)
    return shares, lifts


def _labelled(
    names: tuple[str, ...],
    rest: tuple[list[float | None], list[float | None]],
    column: int,
) -> list[Details]:
    """The features that are most over-represented among the remaining top activations."""
    shares, lifts = rest
    rows = [
        {"name": names[i], "share": shares[i], "lift": lifts[i]}
        for i in range(len(names))
        if i != column and lifts[i] and (shares[i] or 0) >= _LEAST_SHARE
    ]
    return sorted(rows, key=lambda row: -float(row["lift"] or 0))[:_SHOWN]
