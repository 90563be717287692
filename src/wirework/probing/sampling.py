"""Which of the labelled tokens a probe is fitted on: so many, so many of them positive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wirework.core.errors import WireworkError
from wirework.probing.feature import NO, YES, Integers
from wirework.probing.labelled import LabelledTokens


def sample_rows(
    labelled: LabelledTokens,
    feature: str,
    size: int = 20_000,
    *,
    positives: float = 0.2,
    skip_first: int = 10,
    least: int = 500,
    mirror: float = 0.5,
    among: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> Integers:
    """At most `size` rows of `labelled` for one feature, in order (sparse_probing.md §2.4, §9).

    Up to `positives * size` have the feature; the others are at most (1 - positives) / positives
    times as many, the share `mirror` of them hard negatives (in equal parts of the feature's
    `mirrors`) as far as there are any. The first `skip_first` tokens of every document are left
    out; `among` (N) bool leaves out others, such as those of the test documents. One priority
    drawn from `seed` serves every feature, so that features share tokens. Raises
    `feature-unknown`, `positives-too-few` (also where there are no negatives), `sample-malformed`.
    """
    if not (size >= 2 and 0 < positives < 1 and 0 <= mirror <= 1 and least >= 1):
        raise WireworkError(
            "sample-malformed", "a sample holds tokens with and without the feature",
            expected="size >= 2, 0 < positives < 1, 0 <= mirror <= 1, least >= 1",
            got=f"size {size}, positives {positives}, mirror {mirror}, least {least}",
        )  # fmt: skip
    labels = labelled.column(feature)
    allowed = labelled.position >= skip_first
    if among is not None:
        allowed = allowed & among
    order = np.random.default_rng(seed).permutation(len(labelled))
    order = order[allowed[order]]
    having, lacking = order[labels[order] == YES], order[labels[order] == NO]
    if len(having) < least or not len(lacking):
        raise WireworkError(
            "positives-too-few",
            f"{feature!r} cannot be probed: {len(having)} tokens have it, {len(lacking)} have not",
            expected=f"at least {least} tokens that have it, and some that have it not",
            got=f"{labelled.feature_set} on {len(labelled.documents)} documents",
            hint="more documents, or a smaller `least`",
        )
    chosen = having[: max(round(size * positives), 1)]
    room = min(size - len(chosen), round(len(chosen) * (1 - positives) / positives))
    hard = _hard_negatives(labelled, feature, lacking, round(room * mirror))
    taken = np.zeros(len(labelled), bool)
    taken[hard] = True
    easy = lacking[~taken[lacking]][: max(room, 1) - len(hard)]
    return np.sort(np.concatenate((chosen, hard, easy)))


def _hard_negatives(
    labelled: LabelledTokens, feature: str, lacking: Integers, room: int
) -> Integers:
    """Up to `room` of `lacking` that have one of the mirror features, from each alike."""
    names = [feature.name for feature in labelled.features]
    mirrors = [m for m in labelled.features[labelled.index(feature)].mirrors if m in names]
    found: list[Integers] = []
    taken = np.zeros(len(labelled), bool)
    for number, mirror in enumerate(mirrors):
        share = (room - sum(map(len, found))) // (len(mirrors) - number)
        rows = lacking[(labelled.column(mirror)[lacking] == YES) & ~taken[lacking]][:share]
        taken[rows] = True
        found.append(rows)
    return np.concatenate([np.zeros(0, np.int64), *found])
