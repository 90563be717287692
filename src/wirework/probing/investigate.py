"""What a high score of one neuron for one feature is worth: the secondary investigation.

Measures of the report. Those of probes stand beside the same with labels in a random order, where
the name ends in `_shuffled`.

    f1, precision, recall, balanced_accuracy, average_precision, base_rate
    best_threshold_f1           at the threshold with the best training F1
    matched_balanced_accuracy, matched_f1
                                on tokens matched on the strongest confounder
    same_token_balanced_accuracy, same_token_f1
                                on the same tokens with and without the feature
    matched_covered, same_token_covered
                                the share of positives that can be matched; where none can, the
                                scores are NaN
    confounder_correlation      of the strongest confounder with the activation
    top_covered                 the share of top activations (a score that 1% of training tokens
                                exceed) that have the feature
    best_feature_f1             of the feature that the neuron tells best of all, by training F1
    second_f1, second_balanced_accuracy
                                of the other feature that the neuron tells best where the first is
                                not; absent where no other has enough positives there
    site_f1                     the best neuron of the site
    rotated_f1                  mean over random bases of the best direction of each
    basis_advantage             site_f1 - rotated_f1
    next_f1, pruned_f1          the best neuron left when one, when `steps` are taken away
    pruned_fall                 site_f1 - pruned_f1
    five_f1, five_pruned_f1     of five neurons, before and after

With a model, the change of next-token loss in nats, where the neuron is held at 0 (`zero_...`) or
at its mean over training text (`mean_...`):

    zero_loss_positive, zero_loss_negative
                                at tokens with the feature and without it
    zero_loss_specific          the first minus the second
    zero_loss_positive_random, zero_loss_negative_random
                                mean over random other neurons of the site
    zero_loss_beyond_random     zero_loss_positive - zero_loss_positive_random
    zero_loss_positive_shuffled at as many tokens of any kind
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core import Report, WireworkError
from wirework.core.errors import unknown_choice
from wirework.core.progress import StartProgress, silent
from wirework.probing.activation_source import Ablatable
from wirework.probing.checks import about, check_finite, require_neurons
from wirework.probing.confounders import TextOf, confounders, explain_away, same_token
from wirework.probing.feature import NO, YES
from wirework.probing.iterative_pruning import SiteText, prune, rotate
from wirework.probing.labelled import LabelledTokens
from wirework.probing.neuron_ablation import Ablation, ablate
from wirework.probing.neuron_case import Case, Details, Measures, read
from wirework.probing.polysemanticity import other_features
from wirework.probing.scan import Matrices, NeuronScore
from wirework.probing.split_tokens import LabelPair, Parts, scale_of, shuffled_labels
from wirework.probing.token_table import token_table

_SAME = 1e-6


def investigate(
    feature: str,
    neuron: NeuronScore | tuple[str, int],
    activations: Matrices,
    labelled: LabelledTokens,
    *,
    source: Ablatable | None = None,
    text_of: TextOf | None = None,
    ablated_with: Sequence[int] = (),
    rows: NDArray[np.int64] | None = None,
    refits: int = 30,
    least: int = 50,
    rotations: int = 5,
    steps: int = 10,
    random_neurons: int = 20,
    tokens: int = 20_000,
    test: float = 0.3,
    seed: int = 0,
    start: StartProgress = silent,
) -> Report:
    """One neuron, as a scan found it or as (site, index), and one feature (§4.6).

    All choices are made on training documents, all figures are of held-out ones, with 95%
    intervals over documents. Use the `rows`, `test` and `seed` of the scan, or its choice has
    seen what is held out. `source`: the model, for ablation on `tokens` tokens, together with the
    neurons `ablated_with` of the site. `text_of`: the text of an id, for confounders of spelling.

    Raises `feature-unknown`, `site-absent`, `neuron-absent`, `probe-not-finite`, `rows-unknown`,
    `investigate-labels-few`, `investigate-split-mismatch`, `activations-model-mismatch`, and what
    `split` and `ablate` do. A neuron that never varies gets a report as any other.
    """
    site, index = _place(neuron, activations)
    _require_model(source, activations)
    parts = Parts.of(labelled, rows, test, seed)
    _require_labels(feature, parts, labelled.index(feature), least)
    subject = _Subject.of(site, [index, *ablated_with], feature, activations, parts, seed)
    _require_split(neuron, subject.case)
    found = [
        read(subject.case, subject.shuffled),
        subject.explained_away(labelled, feature, text_of),
        ({}, token_table(subject.case, labelled.tokens[parts.test])),
        other_features(subject.case, subject.column, parts.labels, subject.wrong, least),
        prune(*subject.texts, steps, refits + steps),
    ]
    if rotations:
        found.append(rotate(*subject.texts, rotations, refits + steps, seed, start))
    if source is not None:
        found.append(
            ablate(
                subject.ablation, source, labelled, feature, parts,
                tokens=tokens, random_neurons=random_neurons, seed=seed, start=start,
            )
        )  # fmt: skip
    measures: Measures = {}
    details: Details = {}
    for some, more in found:
        measures |= some
        details |= more
    provenance = subject.provenance() | _data(activations, labelled) | {"test": test, "seed": seed}
    return Report("feature", measures, provenance=provenance, details=details)


@dataclass(frozen=True, eq=False)
class _Subject:
    """The neurons (the first is the one in question), the feature's `column`; `texts` and cases
    with the true labels and with `wrong` ones."""

    ablation: Ablation
    column: int
    wrong: LabelPair
    texts: tuple[SiteText, SiteText]
    case: Case
    shuffled: Case
    scale: float

    @classmethod
    def of(
        cls,
        site: str,
        neurons: list[int],
        feature: str,
        activations: Matrices,
        parts: Parts,
        seed: int,
    ) -> _Subject:
        train, held = (activations.matrix(site, own) for own in (parts.train, parts.test))
        require_neurons(site, neurons, train.shape[1])
        with about(site):
            check_finite(train)
            check_finite(held)
        means, active = train.mean(0, dtype=np.float64), np.ptp(train, 0) > 0
        scale = scale_of(train)
        train, held = (np.divide(x, scale, dtype=np.float32) for x in (train, held))
        column = parts.names.index(feature)
        wrong = shuffled_labels(parts.labels, seed)
        true_text, wrong_text = (
            SiteText(parts, train, held, (labels[0][:, column], labels[1][:, column]))
            for labels in (parts.labels, wrong)
        )
        index = neurons[0]
        case, shuffled = (
            Case.of(parts, text.train[:, index], text.held[:, index], text.labels)
            for text in (true_text, wrong_text)
        )
        ablation = Ablation(site, neurons, means, active)
        texts = true_text, wrong_text
        return cls(ablation, column, wrong, texts, case, shuffled, float(scale[index]))

    def explained_away(
        self, labelled: LabelledTokens, feature: str, text_of: TextOf | None
    ) -> tuple[Measures, Details]:
        parts = self.case.parts
        found = confounders(labelled, parts, feature, text_of)
        return explain_away(self.case, self.shuffled, found, same_token(labelled, parts))

    def provenance(self) -> dict[str, Any]:
        parts = self.case.parts
        return {
            "feature": parts.names[self.column],
            "site": self.ablation.site,
            "neuron": self.ablation.neurons[0],
            "weight": self.case.weight / self.scale,
            "bias": self.case.bias,
            "scale": self.scale,
            "training_tokens": len(parts.train),
            "held_out_tokens": len(parts.test),
            "held_out_documents": parts.documents,
        }


def _data(activations: Matrices, labelled: LabelledTokens) -> dict[str, Any]:
    """The feature set; hashes of model and data, where the activations know them."""
    names = {"model": "model_hash", "data": "data_hash"}
    hashes = {name: getattr(activations, of, None) for name, of in names.items()}
    return {"feature_set": labelled.feature_set, **hashes}


def _place(neuron: NeuronScore | tuple[str, int], activations: Matrices) -> tuple[str, int]:
    site, index = (neuron.site, neuron.neuron) if isinstance(neuron, NeuronScore) else neuron
    if site not in activations.sites:
        raise unknown_choice("site-absent", "site of these activations", site, activations.sites)
    return site, index


def _require_labels(feature: str, parts: Parts, column: int, least: int) -> None:
    counts = [
        int((labels[:, column] == kind).sum()) for labels in parts.labels for kind in (YES, NO)
    ]
    if min(counts) < max(1, least):
        raise WireworkError(
            "investigate-labels-few", f"{feature!r} has too few labels to be investigated",
            expected=f"{least} positives and {least} negatives in training and in test text each",
            got="training {} and {}, test {} and {}".format(*counts),
            hint="more documents, or a smaller `least`",
        )  # fmt: skip


def _require_model(source: Ablatable | None, activations: Matrices) -> None:
    known = getattr(activations, "model_hash", None)
    if source is None or known is None or known == source.hash():
        return
    raise WireworkError(
        "activations-model-mismatch", "the activations are of another model than is ablated",
        expected=f"model {known[:12]}", got=f"model {source.hash()[:12]}",
        hint="collect the activations of this model, in a new folder",
    )  # fmt: skip


def _require_split(neuron: NeuronScore | tuple[str, int], case: Case) -> None:
    """A scan's choice must have been made on the same training documents."""
    if isinstance(neuron, tuple) or abs(case.train_f1() - neuron.train_f1) < _SAME:
        return
    raise WireworkError(
        "investigate-split-mismatch",
        "the neuron was chosen on other training documents than those of this investigation",
        expected=f"training F1 {neuron.train_f1:.6g}, as the scan found",
        got=f"{case.train_f1():.6g}",
        hint="the `rows`, `test` and `seed` of the scan, on the same activations",
    )
