"""Data cards of features: what they are, how they are labelled, how common, where they fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wirework.core.errors import WireworkError
from wirework.probing.feature import YES, FeatureSet
from wirework.probing.labelled import BaseRate, LabelledTokens
from wirework.probing.measured_rates import CORPUS, DOCUMENTS, MEASURED


def data_cards(
    feature_set: FeatureSet, labelled: LabelledTokens | None = None, corpus: str = ""
) -> list[dict[str, Any]]:
    """One card per feature of the set, as plain JSON values.

    `labelled`: the set on some corpus, called `corpus` on the card; the base rate is measured
    there. Without it the card has the rate measured once on the standard library, for the sets
    "python" and "oversight", or none. Raises `card-labels-mismatch` where those are labels of
    other features.
    """
    if labelled is not None and labelled.features != feature_set.features:
        raise WireworkError(
            "card-labels-mismatch", f"the labels are not those of the set {feature_set.name!r}",
            expected=f"{len(feature_set.features)} features of {feature_set.name!r}",
            got=f"{len(labelled.features)} features of {labelled.feature_set!r}",
        )  # fmt: skip
    rates = _shipped(feature_set) if labelled is None else _measured(labelled, corpus)
    return [
        {
            "name": feature.name,
            "feature_set": feature_set.name,
            "group": feature.group,
            "what": feature.definition,
            "how": feature_set.how,
            "asked_of": feature.among,
            "positive_examples": list(feature.positive),
            "negative_examples": list(feature.negative),
            "hard_negatives": list(feature.mirrors),
            "base_rate": rates.get(feature.name),
            "limits": feature.limits,
            "risks": feature.risks,
        }
        for feature in feature_set.features
    ]


def _measured(labelled: LabelledTokens, corpus: str) -> dict[str, dict[str, Any]]:
    count = len(labelled.documents)
    skipped = len(labelled.skipped)
    found = {}
    for column, (name, rate) in enumerate(labelled.base_rates().items()):
        having = np.unique(labelled.document[labelled.labels[:, column] == YES])
        found[name] = _rate(corpus, *rate, len(having), count, skipped)
    return found


def _shipped(feature_set: FeatureSet) -> dict[str, dict[str, Any]]:
    sets = [MEASURED.get(name, {}) for name in feature_set.name.split("+")]
    return {name: _rate(CORPUS, *row, DOCUMENTS, 0) for one in sets for name, row in one.items()}


def _rate(
    corpus: str, positives: int, asked: int, having: int, documents: int, skipped: int
) -> dict[str, Any]:
    return {
        "corpus": corpus,
        "rate": BaseRate(positives, asked).rate,
        "positives": positives,
        "asked": asked,
        "documents_with": having,
        "documents": documents,
        "documents_skipped": skipped,
    }


def cards_markdown(cards: Sequence[dict[str, Any]]) -> str:
    """The same cards to be read. In examples « and » stand around what is labelled."""
    parts = []
    for card in cards:
        lines = [
            f"## {card['name']}",
            "",
            f"- **What:** {card['what']} ({card['group']})",
            f"- **How labelled:** {card['how']}; asked of {card['asked_of']}",
            f"- **Base rate:** {_rate_in_words(card['base_rate'])}",
            *(f"- **Has it:** {_shown(example)}" for example in card["positive_examples"]),
            *(f"- **Has it not:** {_shown(example)}" for example in card["negative_examples"]),
        ]
        if card["hard_negatives"]:
            lines.append(f"- **Hard negatives:** {', '.join(card['hard_negatives'])}")
        lines += [f"- **{title}:** {card[key]}"
                  for key, title in (("limits", "Limits"), ("risks", "Risks"))
                  if card[key]]  # fmt: skip
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _rate_in_words(rate: dict[str, Any] | None) -> str:
    if rate is None:
        return "not measured"
    return (
        f"{rate['rate']:.5%} of {rate['asked']} tokens, in {rate['documents_with']} of "
        f"{rate['documents']} documents ({rate['corpus']}; {rate['documents_skipped']} skipped)"
    )


def _shown(example: str) -> str:
    """As code in one line, with a fence that the example does not hold."""
    plain = example.replace("\n", "⏎")
    fence = "`" * (1 + max((len(run) for run in _runs(plain)), default=0))
    return f"{fence} {plain} {fence}"


def _runs(text: str) -> list[str]:
    """Runs of backticks."""
    return [run for run in "".join(c if c == "`" else " " for c in text).split() if run]
