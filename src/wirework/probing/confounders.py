"""Does a neuron tell a feature, or something that comes with it? Scores after matching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wirework.core import Measure
from wirework.probing.feature import NO, NOT_ASKED, YES
from wirework.probing.labelled import LabelledTokens
from wirework.probing.neuron_case import Case, Details, Findings, Measures, accuracy_of
from wirework.probing.one_neuron import f1_of
from wirework.probing.split_tokens import Parts

TextOf = Callable[[int], str]
"""An id to its text, such as `Tokenizer.token_text`."""

_LEAST_COVERED = 0.1
"""Share of training positives that need a negative beside them in their stratum, or the
confounder and the feature cannot be told apart."""

_LONGEST = 12


@dataclass(frozen=True)
class Confounder:
    """`values` (n) of training and held-out tokens, NaN where unknown, and the strata they fall
    into, integers."""

    name: str
    values: tuple[NDArray[np.float64], NDArray[np.float64]]
    strata: tuple[NDArray[np.int64], NDArray[np.int64]]

    @classmethod
    def of(cls, name: str, parts: Parts, values: NDArray[np.float64]) -> Confounder:
        """`values` of all labelled tokens. Whole numbers are strata, unknown ones are one more."""
        own = values[parts.train], values[parts.test]
        train, held = (np.where(np.isnan(x), -1, np.floor(x)).astype(np.int64) for x in own)
        return cls(name, own, (train, held))


def confounders(
    labelled: LabelledTokens, parts: Parts, feature: str, text_of: TextOf | None
) -> list[Confounder]:
    """What may explain a neuron in place of the feature.

    `position`: 2 log2(position in the document + 1). `frequency`: log2(1 + occurrences of the token
    in the training documents). With `text_of` also `length`: characters of the token, at most 12;
    `first_of_word`. Then every other feature of the set.
    """
    seen = np.isin(labelled.document, np.unique(labelled.document[parts.train]))
    counts = np.bincount(labelled.tokens[seen], minlength=int(labelled.tokens.max()) + 1)
    values: dict[str, NDArray[np.float64]] = {
        "position": 2 * np.log2(labelled.position + 1),
        "frequency": np.log2(1 + counts[labelled.tokens]),
    }
    if text_of is not None:
        values |= _spelling(labelled, text_of)
    for column, name in enumerate(parts.names):
        if name != feature:
            labels = labelled.labels[:, column]
            values[name] = np.where(labels == NOT_ASKED, np.nan, labels)
    return [Confounder.of(name, parts, value) for name, value in values.items()]


def _spelling(labelled: LabelledTokens, text_of: TextOf) -> dict[str, NDArray[np.float64]]:
    ids, which = np.unique(labelled.tokens, return_inverse=True)
    texts = [text_of(int(token)) for token in ids]
    # A word begins behind a blank, or where no letter stands before.
    begins = np.array([_in_word(text.lstrip(" ")[:1]) for text in texts], bool)[which]
    apart = np.array([text.startswith(" ") for text in texts], bool)[which]
    ends = np.array([_in_word(text[-1:]) for text in texts], bool)[which]
    after = np.concatenate([[False], ends[:-1]]) & (labelled.position > 0)
    lengths = np.array([min(len(text), _LONGEST) for text in texts], np.float64)
    return {
        "length": lengths[which],
        "first_of_word": (begins & (apart | ~after)).astype(np.float64),
    }


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def explain_away(
    case: Case, shuffled: Case, found: list[Confounder], tokens: Confounder
) -> Findings:
    """Correlations of each confounder, and the neuron's scores on matched held-out tokens.

    The strongest confounder is chosen on training text: by the product of its correlations with
    the activation and with the label, among those that leave at least a tenth of the positives a
    negative of the same stratum (the others mean nearly the same as the feature). Measures as in
    `investigate`; `tokens`: strata of the same token.
    """
    rows: list[Details] = []
    for confounder in found:
        accuracy, f1, covered = matched(case, confounder)
        rows.append({
            "name": confounder.name,
            "with_activation": _correlation(case.train, confounder.values[0]),
            "with_label": _correlation(_numbers(case.labels[0]), confounder.values[0]),
            "train_covered": _covered(case.labels[0], confounder.strata[0]),
            "matched_balanced_accuracy": accuracy.value,
            "matched_f1": f1.value,
            "covered": covered.value,
        })  # fmt: skip
    strength = [
        abs(row["with_activation"] * row["with_label"]) * (row["train_covered"] >= _LEAST_COVERED)
        for row in rows
    ]
    place = int(np.argmax(strength))
    strongest = found[place]
    measures: Measures = {}
    for name, confounder in (("matched", strongest), ("same_token", tokens)):
        accuracy, f1, covered = matched(case, confounder)
        measures[f"{name}_balanced_accuracy"] = accuracy
        measures[f"{name}_balanced_accuracy_shuffled"] = matched(shuffled, confounder)[0]
        measures[f"{name}_f1"] = f1
        measures[f"{name}_f1_shuffled"] = matched(shuffled, confounder)[1]
        measures[f"{name}_covered"] = covered
    with_it = rows[place]["with_activation"]
    measures["confounder_correlation"] = Measure(
        with_it, n=len(case.train), note=f"of {strongest.name} with the activation, training text"
    )
    return measures, {"confounders": rows, "strongest_confounder": strongest.name}


def same_token(labelled: LabelledTokens, parts: Parts) -> Confounder:
    """Strata of one token each."""
    return Confounder.of("token", parts, labelled.tokens.astype(np.float64))


def matched(case: Case, confounder: Confounder) -> tuple[Measure, Measure, Measure]:
    """Balanced accuracy and F1 on held-out tokens where the confounder says nothing, and the share
    of positives that can be matched.

    Positives of strata without negatives are left out and the other way round. Negatives are
    weighted so that they fall into strata as positives do, and that the base rate stays.
    """
    labels, strata = case.labels[1], confounder.strata[1]
    yes, no = labels == YES, labels == NO
    weights = _matching(yes, no, strata)
    said = case.scores[1] > 0
    outcomes = np.stack([said & yes, said & no, ~said & yes, ~said & no], 1) * weights[:, None]
    kept, parts = int((weights > 0).sum()), case.parts
    note = f"matched on {confounder.name}"
    accuracy = parts.measure(outcomes, accuracy_of, kept, better="higher", note=note)
    f1 = parts.measure(outcomes, _f1_of, kept, better="higher", note=note)
    shares = np.stack([yes & (weights > 0), yes], 1)
    covered = parts.measure(shares, _ratio, int(yes.sum()), note=note)
    return accuracy, f1, covered


def _matching(
    yes: NDArray[np.bool_], no: NDArray[np.bool_], strata: NDArray[np.int64]
) -> NDArray[np.float64]:
    _, which = np.unique(strata, return_inverse=True)
    positives, negatives = np.bincount(which, yes), np.bincount(which, no)
    both = (positives > 0) & (negatives > 0)
    share = np.divide(positives, negatives, out=np.zeros(len(both)), where=both)
    return np.where(yes, both[which], np.where(no, share[which], 0)) * np.where(
        no, no.sum() / max(yes.sum(), 1), 1
    )


def _covered(labels: NDArray[np.int8], strata: NDArray[np.int64]) -> float:
    yes, no = labels == YES, labels == NO
    return float((_matching(yes, no, strata) > 0)[yes].mean())


def _f1_of(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN where nothing is matched."""
    return np.where(counts.sum(-1) > 0, f1_of(counts), np.nan)


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def _numbers(labels: NDArray[np.int8]) -> NDArray[np.float64]:
    return np.where(labels == NOT_ASKED, np.nan, labels)


def _correlation(one: NDArray[np.floating], other: NDArray[np.float64]) -> float:
    """Of two arrays where both are known; 0 where one of them never changes."""
    known = ~np.isnan(one) & ~np.isnan(other)
    a, b = one[known].astype(np.float64), other[known]
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
