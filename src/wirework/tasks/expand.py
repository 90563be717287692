"""Expansion of a task file into pairs: seeded, every prompt once, fillings kept for `report`."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np

from wirework.tasks.complaint import Complaint, Source
from wirework.tasks.pairs import SPLITS, Answers, Pair, Split
from wirework.tasks.template import Piece, Placeholder, TaskFile, Template, split_text

HELD_OUT_FROM = 8
"""A slot with at least so many fillings keeps a third of them for `report` alone."""

FEW = 4096
"""Up to so many draws of a template are all gone through."""


def expand(
    file: TaskFile, source: Source
) -> tuple[dict[Split, tuple[Pair, ...]], dict[str, Answers], list[Complaint]]:
    """The pairs of a task file that `check_task_file` found right, and all their answer sets.

    `fit` and `select` are shared out evenly among the ordinary templates. Half of `report` comes
    from the ordinary templates, half from those marked `report_only` (all of it from one kind
    where there is no other), both with the fillings that are kept for it. The draws depend on
    the seed, on the names of the template and of its slots, and on nothing outside the file.
    """
    ordinary = [i for i, template in enumerate(file.template) if not template.report_only]
    kept = [i for i, template in enumerate(file.template) if template.report_only]
    counts = file.counts
    half = counts.report // 2 if ordinary and kept else counts.report * bool(kept)
    plan: dict[Split, dict[int, int]] = {
        "fit": _share(counts.fit, ordinary),
        "select": _share(counts.select, ordinary),
        "report": _share(counts.report - half, ordinary) | _share(half, kept),
    }
    pools = {split: _pools(file, split) for split in SPLITS}
    answers = dict(file.answers)
    seen: set[str] = set()
    found: list[Complaint] = []
    pairs: dict[Split, list[Pair]] = {split: [] for split in SPLITS}
    for index, template in enumerate(file.template):
        line = source.line_of("template", index, "text")
        random = np.random.default_rng([file.seed, zlib.crc32(template.name.encode())])
        draw = Draw(file, template, line, answers)
        for split in SPLITS:
            asked = plan[split].get(index, 0)
            drawn = draw.pairs(asked, pools[split], seen, random)
            pairs[split] += drawn
            if len(drawn) < asked:
                found.append(_too_few(template, split, asked, len(drawn), draw, pools, source))
    return {split: tuple(pairs[split]) for split in SPLITS}, answers, found


def _share(total: int, indices: Sequence[int]) -> dict[int, int]:
    """`total` split over `indices` as evenly as can be, the first taking the remainder."""
    n = len(indices)
    return {index: total // n + (i < total % n) for i, index in enumerate(indices)}


def _pools(file: TaskFile, split: Split) -> dict[str, tuple[str, ...]]:
    """The fillings that a split may use, slot by slot."""
    pools = {}
    for name, fillings in (file.slots | file.exchange).items():
        if len(fillings) < HELD_OUT_FROM:
            pools[name] = fillings
            continue
        random = np.random.default_rng([file.seed, zlib.crc32(name.encode())])
        held = set(random.permutation(len(fillings))[: len(fillings) // 3].tolist())
        pools[name] = tuple(
            text for i, text in enumerate(fillings) if (i in held) == (split == "report")
        )
    return pools


class Draw:
    """Draws pairs from one template; the answers that it makes are added to `answers`."""

    def __init__(
        self, file: TaskFile, template: Template, line: int | None, answers: dict[str, Answers]
    ) -> None:
        self.template = template
        self.line = line
        self.answers = answers
        self.pieces: list[Piece] = split_text(template.text)
        self.answer_pieces = [split_text(text) for text in template.answer]
        placeholders = {piece for piece in self.pieces if isinstance(piece, Placeholder)}
        self.exchanged = sorted({p.slot for p in placeholders if p.slot in file.exchange})
        placeholders |= {Placeholder(slot, number) for slot in self.exchanged for number in (1, 2)}
        slots = sorted({p.slot for p in placeholders if p.slot not in file.contrast})
        self.numbers = {
            slot: sorted(p.number for p in placeholders if p.slot == slot) for slot in slots
        }
        contrasts = sorted({p.slot for p in placeholders if p.slot in file.contrast})
        self.contrasts = {name: file.contrast[name] for name in contrasts}
        sides = set(self.contrasts[contrasts[0]]) if contrasts else set()
        self.sides = tuple(name for name in file.answers if name in sides)

    def capacity(self, pools: Mapping[str, Sequence[str]]) -> int:
        """How many different draws there are; changed places make no other pair."""
        return prod(self._choices(pools)) // (2 if self.exchanged else 1)

    def pairs(
        self,
        asked: int,
        pools: Mapping[str, Sequence[str]],
        seen: set[str],
        random: np.random.Generator,
    ) -> list[Pair]:
        """`asked` pairs whose texts are not in `seen`, or fewer where no more are to be found."""
        drawn: list[Pair] = []
        for digits in self._draws(asked, pools, random) if asked else ():
            pair = self._pair(digits, pools)
            if pair.prompt in seen or pair.counterfactual in seen:
                continue
            seen |= {pair.prompt, pair.counterfactual}
            drawn.append(pair)
            if len(drawn) == asked:
                break
        return drawn

    def _choices(self, pools: Mapping[str, Sequence[str]]) -> list[int]:
        """Between how many things each choice is made: a filling, or a variant of a contrast.

        A second filling of the same slot is chosen among the fillings that are left.
        """
        fillings = [
            max(0, len(pools[slot]) - taken)
            for slot, numbers in self.numbers.items()
            for taken in range(len(numbers))
        ]
        return fillings + [len(sides[self.sides[0]]) for sides in self.contrasts.values()]

    def _draws(
        self, asked: int, pools: Mapping[str, Sequence[str]], random: np.random.Generator
    ) -> Iterator[list[int]]:
        """All draws in random order where they are few, else random ones."""
        choices = self._choices(pools)
        capacity = prod(choices)
        if capacity <= FEW:
            order = np.unravel_index(random.permutation(capacity), choices)
            yield from np.stack(order, axis=1).tolist()
            return
        for _ in range(40 * (asked + 10)):
            yield random.integers(0, choices).tolist()

    def _pair(self, digits: Sequence[int], pools: Mapping[str, Sequence[str]]) -> Pair:
        chosen = iter(digits)
        filled: dict[Placeholder, str] = {}
        for slot, numbers in self.numbers.items():
            left = list(pools[slot])
            for number in numbers:
                filled[Placeholder(slot, number)] = left.pop(next(chosen))
        variants = {name: next(chosen) for name in self.contrasts}
        if self.exchanged:
            sides = [filled, self._changed_over(filled)]
            answer, counter_answer = (self._answer(side) for side in sides)
        else:
            answer, counter_answer = self.sides
            sides = [
                filled | {Placeholder(c): self.contrasts[c][name][i] for c, i in variants.items()}
                for name in self.sides
            ]
        prompt, counterfactual = (_text(self.pieces, side) for side in sides)
        return Pair(prompt, counterfactual, answer, counter_answer, self.template.name, self.line)

    def _changed_over(self, filled: Mapping[Placeholder, str]) -> dict[Placeholder, str]:
        """The fillings of the counterfactual: 1 and 2 of the exchanged slots in other places."""
        twin = dict(filled)
        for slot in self.exchanged:
            first, second = Placeholder(slot, 1), Placeholder(slot, 2)
            twin[first], twin[second] = filled[second], filled[first]
        return twin

    def _answer(self, filled: Mapping[Placeholder, str]) -> str:
        """The name of the answer set that is right with these fillings."""
        answer = Answers(tokens=tuple(_text(pieces, filled) for pieces in self.answer_pieces))
        self.answers[str(answer)] = answer
        return str(answer)


def _text(pieces: Sequence[Piece], filled: Mapping[Placeholder, str]) -> str:
    return "".join(piece if isinstance(piece, str) else filled[piece] for piece in pieces)


def _too_few(
    template: Template,
    split: Split,
    asked: int,
    drawn: int,
    draw: Draw,
    pools: Mapping[Split, Mapping[str, Sequence[str]]],
    source: Source,
) -> Complaint:
    return Complaint(
        "template-too-few-fillings",
        f"template {template.name!r} gives only {drawn} of {asked} different pairs for {split}",
        source.where(draw.line),
        expected="more fillings in its slots, more templates, or smaller [counts]",
        got=f"{draw.capacity(pools[split])} combinations of fillings for {split}"
        + (" together with fit" if split == "select" else ""),
    )
