"""Which tokens a neuron fires on, with a feature and without it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wirework.probing.feature import NO, YES
from wirework.probing.neuron_case import Case, Details

_LEAST, _SHOWN = 5, 20


def token_table(case: Case, tokens: NDArray[np.int64]) -> Details:
    """Mean scaled activation by token, held-out text, of tokens with five occurrences or more.

    `both`: tokens that occur with the feature and without it, the largest differences first (does
    the neuron fire on the same token only where the feature is?). `inside`, `outside`: the tokens
    on which the probe's score is highest on average, with the feature and without it
    (sparse_probing.md §4.1).
    """
    ids, which = np.unique(tokens, return_inverse=True)
    counts, means = [], []
    for kind in (YES, NO):
        own = case.labels[1] == kind
        count = np.bincount(which[own], minlength=len(ids))
        total = np.bincount(which[own], case.held[own].astype(np.float64), len(ids))
        counts.append(count)
        means.append(total / np.maximum(count, 1))
    (inside, outside), sign = means, 1 if case.weight >= 0 else -1
    enough = [count >= _LEAST for count in counts]
    shown = {
        "both": (enough[0] & enough[1], np.abs(inside - outside)),
        "inside": (enough[0], sign * inside),
        "outside": (enough[1], sign * outside),
    }
    found: Details = {}
    for name, (kept, value) in shown.items():
        order = np.argsort(-np.where(kept, value, -np.inf), kind="stable")
        found[name] = [
            {
                "token": int(ids[i]),
                "inside": float(inside[i]) if counts[0][i] else None,
                "outside": float(outside[i]) if counts[1][i] else None,
                "count_inside": int(counts[0][i]),
                "count_outside": int(counts[1][i]),
            }
            for i in order[: min(_SHOWN, int(kept.sum()))]
        ]
    return {"tokens": found}
