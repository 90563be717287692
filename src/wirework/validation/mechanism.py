"""Whether the circuit works as the whole model does, not only whether it answers as well."""

from __future__ import annotations

from wirework.core.progress import StartProgress
from wirework.validation.activations_kept import (
    norm_findings,
    role_findings,
    variance_findings,
)
from wirework.validation.attention_kept import attention_findings
from wirework.validation.binarised import binarised_findings, turns_of
from wirework.validation.both_runs import MOST_PAIRS, BothRuns
from wirework.validation.config import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.held_otherwise import ABLATIONS, held_otherwise_findings
from wirework.validation.interchange import interchange_findings, interchange_runs
from wirework.validation.subject import Subject


def mechanism_findings(
    subject: Subject, config: ValidationConfig, *, seed: int, start: StartProgress
) -> Findings:
    """The pruned run (circuit alone) beside the unpruned one, on the same prompts of `report`.

    What a critic of such circuits asks (weight_sparse_paper.md §10.2): do kept nodes have the same
    activations (`fvu`) and the same part in the task (`sign_changes`), may the two runs lend each
    other theirs (`interchange`), do heads look where they looked (`attention_distance`), do norms
    amplify what is kept (`norm_shift`, `frozen_norm_loss`), are nodes on or off
    (`binarised_loss`), how does the circuit fare under another ablation (`zero_loss`,
    `mean_loss`). On `config.pairs` pairs, at most 64, and other ablations on
    `config.ablation_pairs`; two values are fitted on 64 pairs of `fit`.
    """
    with start("mechanism", 5) as progress:
        runs = BothRuns.of(subject, subject.sample(min(config.pairs, MOST_PAIRS), seed))
        fit = BothRuns.of(subject, subject.fit.first(MOST_PAIRS))
        progress.advance()
        found = variance_findings(runs, seed=seed) | role_findings(runs, seed=seed)
        found |= attention_findings(runs, seed=seed) | norm_findings(runs, seed=seed)
        progress.advance()
        found |= interchange_findings(runs, config.interchange_draws, seed=seed)
        progress.advance()
        found |= binarised_findings(fit, runs, seed=seed)
        progress.advance()
        many = config.ablation_pairs
        parts = subject.fit.first(many), subject.sample(many, seed)
        found |= held_otherwise_findings(subject, *parts, seed=seed)
        progress.advance()
    return found


def mechanism_passes(subject: Subject, config: ValidationConfig) -> float:
    """Forward passes over `config.pairs` pairs that the group costs."""
    layers = subject.model.config.n_layer
    turns = turns_of(layers)
    on_fit = min(len(subject.fit), MOST_PAIRS) * (2 + turns)
    on_report = min(len(subject.report), config.pairs, MOST_PAIRS)
    on_report *= 2 + turns + interchange_runs(layers, config.interchange_draws)
    on_both = ABLATIONS * sum(
        min(len(part), config.ablation_pairs) for part in (subject.fit, subject.report)
    )
    return (on_fit + on_report + on_both) / config.pairs
