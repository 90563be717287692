"""Is the neuron basis special, and do one or many neurons tell a feature? Both for one site."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wirework.core import Measure
from wirework.core.progress import StartProgress
from wirework.probing.feature import NOT_ASKED, YES
from wirework.probing.neuron_case import Details, Findings
from wirework.probing.one_neuron import confusion, f1_of, fit_one_neuron_probes
from wirework.probing.probe import SparseProbe
from wirework.probing.rankings import best, f_statistic, mean_difference
from wirework.probing.split_tokens import LabelPair, Parts, outcomes

Floats = NDArray[np.float32]

_FILTER = 50
"""Neurons that a probe of several may choose from, as published (sparse_probing.md §1.7)."""

SEVERAL = 5


@dataclass(frozen=True, eq=False)
class SiteText:
    """All neurons of one site, `train` and `held` (n, d), scaled; the labels of one feature."""

    parts: Parts
    train: Floats
    held: Floats
    labels: LabelPair

    @property
    def known(self) -> NDArray[np.bool_]:
        """Training tokens that are asked."""
        return np.asarray(self.labels[0] != NOT_ASKED)

    @property
    def yes(self) -> NDArray[np.bool_]:
        """Of these, which have the feature."""
        return np.asarray(self.labels[0][self.known] == YES)

    def singles(self, columns: NDArray[np.int64]) -> list[tuple[int, float, NDArray[np.bool_]]]:
        """Neurons with their training F1 and what their probe says of held-out tokens; best
        training F1 first."""
        columns = np.sort(columns)
        x = np.ascontiguousarray(self.train[self.known][:, columns].T)
        fitted = fit_one_neuron_probes(x, self.yes)
        f1 = f1_of(confusion(fitted[:, :1] * x + fitted[:, 1:] > 0, self.yes))
        said = fitted[:, 0] * self.held[:, columns] + fitted[:, 1] > 0
        return [(int(columns[i]), float(f1[i]), said[:, i]) for i in np.argsort(-f1, kind="stable")]

    def ranked(self, count: int) -> NDArray[np.int64]:
        """Neurons with the largest mean differences."""
        return best(mean_difference(self.train[self.known], self.yes), count)

    def several(self, removed: list[int]) -> NDArray[np.bool_]:
        """What a probe of five neurons says of held-out tokens, some neurons left out.

        Five of the 50 with the largest F statistic, chosen together on training text.
        """
        x = self.train[self.known]
        scores = f_statistic(x, self.yes)
        scores[removed] = -1
        chosen = best(scores, min(_FILTER, len(scores) - len(removed)))
        probe = SparseProbe(
            k=min(SEVERAL, len(chosen)), method="greedy", scale=False, allow_constant=True
        ).fit(x[:, chosen], self.yes)
        return np.asarray(probe.predict(self.held[:, chosen]), bool)

    def f1(self, said: NDArray[np.bool_], note: str = "") -> Measure:
        asked = int((self.labels[1] != NOT_ASKED).sum())
        values = outcomes(said, self.labels[1])
        return self.parts.measure(values, f1_of, asked, better="higher", note=note)


def prune(real: SiteText, shuffled: SiteText, steps: int, refits: int) -> Findings:
    """Held-out F1 as the best neurons, by training F1, are taken away one by one.

    Where it hardly falls, many neurons carry the feature (sparse_probing.md §1.7). One neuron at
    every step, and a probe of five at the first and the last. Measures as in `investigate`.
    """
    steps = min(steps, real.train.shape[1] - 1)
    curve = real.singles(real.ranked(refits))[: steps + 1]
    control = shuffled.singles(shuffled.ranked(refits))[: steps + 1]
    removed = [neuron for neuron, _, _ in curve[:steps]]
    wrong = [neuron for neuron, _, _ in control[:steps]]
    note = f"without the best {steps}"
    measures = {
        "site_f1": real.f1(curve[0][2], "the neuron of this site with the best training F1"),
        "site_f1_shuffled": shuffled.f1(control[0][2]),
        "next_f1": real.f1(curve[min(1, steps)][2], "without the best"),
        "pruned_f1": real.f1(curve[-1][2], note),
        "pruned_f1_shuffled": shuffled.f1(control[-1][2], note),
        "pruned_fall": _apart(real, curve[0][2], curve[-1][2]),
        "five_f1": real.f1(real.several([])),
        "five_f1_shuffled": shuffled.f1(shuffled.several([])),
        "five_pruned_f1": real.f1(real.several(removed), note),
        "five_pruned_f1_shuffled": shuffled.f1(shuffled.several(wrong), note),
    }
    rows: list[Details] = []
    for removed_before, (neuron, train_f1, said) in enumerate(curve):
        f1 = real.f1(said)
        rows.append({"removed": removed_before, "neuron": neuron, "train_f1": train_f1,
                     "f1": f1.value, "low": f1.low, "high": f1.high})  # fmt: skip
    return measures, {"pruning": rows}


def rotate(
    real: SiteText,
    shuffled: SiteText,
    rotations: int,
    refits: int,
    seed: int,
    start: StartProgress,
) -> Findings:
    """The best of as many random orthonormal directions as there are neurons, several times.

    Directions are scaled, ranked, refitted and chosen as neurons are (sparse_probing.md §1.4).
    Measures as in `investigate`.
    """
    neurons = real.singles(real.ranked(refits))[0][2]
    width = real.train.shape[1]
    centred = real.train - real.train.mean(0)
    covariance = (centred.T @ centred).astype(np.float64) / len(centred)
    del centred
    said, wrong, rows = [], [], []
    with start("rotations", rotations) as progress:
        for number in range(rotations):
            random = np.random.default_rng([seed, 6, number])
            basis, _ = np.linalg.qr(random.standard_normal((width, width)))
            # Of every direction, on all training text.
            spread = np.sqrt(np.maximum(np.einsum("ij,ij->j", basis, covariance @ basis), 0))
            basis /= 10 * np.maximum(spread, 1e-3)
            train_f1, own = _best_direction(real, basis, refits)
            said.append(own)
            wrong.append(_best_direction(shuffled, basis, refits)[1])
            rows.append({"train_f1": train_f1, "f1": real.f1(own).value})
            progress.advance()
    measures = {
        "rotated_f1": _mean_f1(real, said),
        "rotated_f1_shuffled": _mean_f1(shuffled, wrong),
        "basis_advantage": _apart(real, neurons, *said),
    }
    return measures, {"rotations": rows}


def _best_direction(
    text: SiteText, basis: NDArray[np.float64], refits: int
) -> tuple[float, NDArray[np.bool_]]:
    """Training F1 of the direction (columns of `basis`, scaled) that has the best, and what it
    says of held-out tokens."""
    x, n = text.train[text.known], len(text.yes)
    share = np.where(text.yes, 1 / text.yes.sum(), -1 / (n - text.yes.sum()))
    chosen = best(np.abs(share.astype(np.float32) @ x @ basis), refits)
    projection = basis[:, chosen].astype(np.float32)
    rotated = SiteText(text.parts, text.train @ projection, text.held @ projection, text.labels)
    _, f1, said = rotated.singles(np.arange(len(chosen)))[0]
    return f1, said


def _mean_f1(text: SiteText, said: list[NDArray[np.bool_]]) -> Measure:
    """Mean over rotations, its interval over documents."""
    values = np.concatenate([outcomes(one, text.labels[1]) for one in said], 1)

    def statistic(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        counts = sums.reshape(*sums.shape[:-1], len(said), 4)
        return np.asarray(f1_of(counts).mean(-1))

    asked = int((text.labels[1] != NOT_ASKED).sum())
    note = f"mean over {len(said)} rotations"
    return text.parts.measure(values, statistic, asked, better="higher", note=note)


def _apart(text: SiteText, one: NDArray[np.bool_], *others: NDArray[np.bool_]) -> Measure:
    """F1 of one minus the mean F1 of others, on the same documents."""
    values = np.concatenate([outcomes(said, text.labels[1]) for said in (one, *others)], 1)

    def statistic(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        f1 = f1_of(sums.reshape(*sums.shape[:-1], 1 + len(others), 4))
        return np.asarray(f1[..., 0] - f1[..., 1:].mean(-1))

    return text.parts.measure(values, statistic, int((text.labels[1] != NOT_ASKED).sum()))
