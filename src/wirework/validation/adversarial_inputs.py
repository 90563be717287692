"""Prompts with the same labels on which a circuit and its model part, searched for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core import Measure
from wirework.core.progress import StartProgress
from wirework.core.report import Better
from wirework.tasks import Origin, Pair, origin_of
from wirework.tasks.template import Template
from wirework.validation.clusters import clustered_share_interval, template_clusters
from wirework.validation.config import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.input_moves import MOVES, changed
from wirework.validation.judge import Judged, judge
from wirework.validation.label_rules import LabelRule, rule_of
from wirework.validation.subject import Subject
from wirework.validation.token_swaps import Swaps

EXAMPLES = 20
"""At most so many prompts are shown."""

_LINES = (2, 4, 8)


@dataclass
class _Attack:
    """What became of every prompt of `pairs`, (2, N): row 0 the prompts, row 1 their
    counterfactuals. `parted`: the two disagreed under some change; `circuit`, `model`: each was
    right under all."""

    pairs: Sequence[Pair]
    parted: NDArray[np.bool_]
    circuit: NDArray[np.bool_]
    model: NDArray[np.bool_]
    table: dict[str, list[Any]] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> _Attack:
        shape = (2, len(pairs))
        return cls(pairs, np.zeros(shape, bool), np.ones(shape, bool), np.ones(shape, bool))

    def take(self, change: str, origins: NDArray[np.int64], tried: Judged) -> None:
        """Outcomes of one change; `origins`: of which of `pairs` each was made."""
        for side in range(2):
            np.logical_or.at(self.parted[side], origins, tried.apart[side])
            np.logical_and.at(self.circuit[side], origins, tried.circuit[side] > 0)
            np.logical_and.at(self.model[side], origins, tried.model[side] > 0)
        row = {
            "change": change,
            "tried": 2 * len(tried.pairs),
            "disagreed": int(tried.apart.sum()),
            "circuit_right": int((tried.circuit > 0).sum()),
            "model_right": int((tried.model > 0).sum()),
        }
        for name, value in row.items():
            self.table.setdefault(name, []).append(value)
        for side, index in np.argwhere(tried.apart):
            pair = self.pairs[origins[index]]
            shown = tried.example(int(side), int(index))
            unchanged = (pair.prompt, pair.counterfactual)[side]
            self.examples.append({**shown, "change": change, "unchanged": unchanged})

    def clearest(self) -> list[dict[str, Any]]:
        """Those on which both are surest of their different answers; in a fixed order."""

        def order(example: dict[str, Any]) -> tuple[float, str]:
            return -min(abs(example["circuit"]), abs(example["model"])), example["text"]

        once = {example["text"]: example for example in self.examples}
        return sorted(once.values(), key=order)[:EXAMPLES]


def input_findings(
    subject: Subject, config: ValidationConfig, *, seed: int, start: StartProgress
) -> Findings:
    """`disagreement_found`, `attacked_accuracy` and `model_attacked_accuracy` on pairs of `report`.

    Changes keep the label by construction: other fillings of the task's own templates and more of
    their neutral lines (`Origin`); where the label can be read off the text (`LabelRule`), also
    recombined templates and `MOVES`, each outcome checked by that rule; exchanges of names
    (`Swaps`) guided by the gradient, against the circuit and against the model. The unchanged
    prompt counts as one of the changes. Nothing is found out about a task of which neither file
    nor rule is known. `details["adversarial_inputs"]`: outcomes by change, the clearest examples.
    """
    origin, rule = origin_of(subject.task), rule_of(subject.task)
    if origin is None and rule is None:
        return Findings()
    random = np.random.default_rng([seed, 4])
    report = subject.task.report
    chosen = np.sort(random.permutation(len(report))[: config.attack_pairs])
    pairs = [report[i] for i in chosen]
    attack = _Attack.of(pairs)
    with start("adversarial inputs", 2 + 2 * config.swap_rounds) as progress:
        _try(subject, attack, "none", list(enumerate(pairs)))
        if origin is not None:
            _refill(subject, attack, origin, rule, config.attack_draws, random)
        progress.advance()
        if rule is not None:
            _move(subject, attack, rule, config.attack_draws, random)
        progress.advance()
        swaps = Swaps.of(subject, rule, origin)
        for victim in ("circuit", "model"):
            name = f"names exchanged against the {victim}"
            found = swaps.search(
                pairs, victim, rounds=config.swap_rounds, tries=config.swap_tries
            )  # fmt: skip
            if found:
                origins = np.concatenate([origins for origins, _ in found])
                attack.take(name, origins, _together([tried for _, tried in found]))
            progress.advance(config.swap_rounds)
    return _findings(attack)


def input_passes(subject: Subject, config: ValidationConfig) -> float:
    """Forward passes over `config.pairs` pairs that the group costs."""
    origin, rule = origin_of(subject.task), rule_of(subject.task)
    if origin is None and rule is None:
        return 0.0
    kinds = (2 if origin else 0) + (len(MOVES[rule.kind]) + 1 if rule else 0)
    # Two runs for every pair that is tried; a gradient step costs three of either. Changed prompts
    # are about half as long again.
    runs = 2 * (1 + kinds * config.attack_draws)
    runs += 2 * config.swap_rounds * (2 * config.swap_tries + 6)
    return 1.5 * runs * min(config.attack_pairs, len(subject.report)) / config.pairs


def _refill(
    subject: Subject, attack: _Attack, origin: Origin, rule: LabelRule | None, draws: int,
    random: np.random.Generator,
) -> None:  # fmt: skip
    """Other pairs of the same templates, as they are, behind neutral lines, behind the beginning
    of other templates."""
    needed = draws * max(_counts(attack.pairs).values())
    found = {"other fillings": origin.draw(origin.file.template, needed, random)}
    longer = [origin.draw(origin.longer(lines), needed, random) for lines in _LINES]
    found["more lines of the task"] = [pair for some in longer for pair in some]
    if rule is not None:
        mixes: list[Template] = [t for _ in range(draws) for t in origin.joined(random)]
        mixed = origin.draw(mixes, max(_counts(attack.pairs).values()), random)
        found["beginning of another template"] = [pair for pair in mixed if rule.keeps(pair)]
    for change, pairs in found.items():
        _share_out(subject, attack, change, pairs, draws, random)


def _share_out(
    subject: Subject, attack: _Attack, change: str, made: Sequence[Pair], draws: int,
    random: np.random.Generator,
) -> None:  # fmt: skip
    """Give every pair of the attack at most `draws` of those made from its template."""
    by_template: dict[str, list[Pair]] = {}
    for i in random.permutation(len(made)):
        by_template.setdefault(made[i].template, []).append(made[i])
    given: list[tuple[int, Pair]] = []
    for index, pair in enumerate(attack.pairs):
        rest = by_template.get(pair.template, [])
        given += [(index, rest.pop()) for _ in range(min(draws, len(rest)))]
    _try(subject, attack, change, given)


def _move(
    subject: Subject, attack: _Attack, rule: LabelRule, draws: int, random: np.random.Generator
) -> None:
    given: dict[str, list[tuple[int, Pair]]] = {}
    for index, pair in enumerate(attack.pairs):
        for change, outcomes in changed(pair, rule, draws, random).items():
            given.setdefault(change, []).extend((index, new) for new in outcomes)
    for change, some in given.items():
        _try(subject, attack, change, some)


def _try(subject: Subject, attack: _Attack, change: str, given: Sequence[tuple[int, Pair]]) -> None:
    home = {pair: index for index, pair in given}
    tried = judge(subject, list(home))
    if tried.pairs:
        attack.take(change, np.array([home[pair] for pair in tried.pairs]), tried)


def _counts(pairs: Sequence[Pair]) -> dict[str, int]:
    names = [pair.template for pair in pairs]
    return {name: names.count(name) for name in names}


def _together(parts: Sequence[Judged]) -> Judged:
    return Judged(
        tuple(pair for part in parts for pair in part.pairs),
        np.concatenate([part.circuit for part in parts], axis=1),
        np.concatenate([part.model for part in parts], axis=1),
    )


def _findings(attack: _Attack) -> Findings:
    tried = sum(attack.table["tried"])
    shares: dict[str, tuple[NDArray[np.bool_], Better, str]] = {
        "disagreement_found": (
            attack.parted,
            "lower",
            f"Share of prompts of report on which some change that keeps the right answer makes "
            f"circuit and model give different ones; {tried} changed prompts were tried",
        ),
        "attacked_accuracy": (
            attack.circuit,
            "higher",
            "Share of prompts of report that the circuit answers right under every change tried",
        ),
        "model_attacked_accuracy": (
            attack.model,
            "higher",
            "Share of prompts of report that the model answers right under every change tried",
        ),
    }
    found, clusters = {}, template_clusters([pair.template for pair in attack.pairs])
    for name, (hits, better, note) in shares.items():
        low, high = clustered_share_interval(hits.T, clusters)
        found[name] = Measure(float(hits.mean()), low, high, hits.size, better=better, note=note)
    details = {"changes": attack.table, "examples": attack.clearest()}
    return Findings(found, {"adversarial_inputs": details})
