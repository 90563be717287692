"""The file that a task's pairs were drawn from, and other pairs from it with the same labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wirework.tasks.catalog import catalog_names, find_file
from wirework.tasks.complaint import Source
from wirework.tasks.expand import Draw, expand
from wirework.tasks.pairs import Pair
from wirework.tasks.task import Task
from wirework.tasks.template import Placeholder, TaskFile, Template, split_text
from wirework.tasks.toml_file import parse_task_file

_LEAD = re.compile(r"(\{(\w+)(?::\d+)?\})\{(\w+)(?::\d+)?\}\n")
"""A first line that is one filling behind its indentation."""

_FAR = 1000
"""Numbers of placeholders that no template uses."""


@dataclass(frozen=True)
class Origin:
    """`file`: templates and slots; `names`: its answer sets -> those that the task wants there."""

    file: TaskFile
    names: Mapping[str, str]

    def draw(
        self, templates: Iterable[Template], count: int, random: np.random.Generator
    ) -> list[Pair]:
        """Up to `count` pairs of each template, with every filling that the file has for a slot,
        whichever split it was kept for; no text twice. Where there are no more than 4096, all."""
        pools = self.file.slots | self.file.exchange
        seen: set[str] = set()
        found: list[Pair] = []
        for template in templates:
            drawn = Draw(self.file, template, None, {}).pairs(count, pools, seen, random)
            found += [
                replace(pair, answer=self.names[pair.answer], counter_answer=self.names[counter])
                for pair in drawn
                if pair.answer in self.names and (counter := pair.counter_answer) in self.names
            ]
        return found

    def longer(self, lines: int) -> list[Template]:
        """Templates behind `lines` more lines of a kind with which the file itself begins some;
        only those that begin with the same indentation."""
        for template in self.file.template:
            lead = _LEAD.match(template.text)
            if lead is None or not self._is_blank(lead[2]) or lead[3] not in self.file.slots:
                continue
            indent, slot = lead[1], lead[3]
            first = "".join(f"{indent}{{{slot}:{_FAR + i}}}\n" for i in range(lines))
            return [_behind(first, t) for t in self.file.template if t.text.startswith(indent)]
        return []

    def joined(self, random: np.random.Generator) -> list[Template]:
        """Every template behind the beginning of another: its lines before the contrast."""
        leads = [lead for template in self.file.template if (lead := self._lead(template))]
        if not leads:
            return []
        chosen = random.integers(len(leads), size=len(self.file.template))
        return [_behind(leads[i], t) for i, t in zip(chosen, self.file.template, strict=True)]

    def within(self, limit: int, random: np.random.Generator) -> Origin:
        """With so few fillings that all templates together give at most `limit` pairs.

        The slot with most fillings to spare loses one at a time, which one is drawn; where there
        is none, the template with most pairs goes.
        """
        file = self.file
        kept = {
            slot: tuple(random.permutation(np.array(fillings, dtype=object)).tolist())
            for slot, fillings in (file.slots | file.exchange).items()
        }
        draws = [Draw(file, template, None, {}) for template in file.template]
        least = _least(draws, kept)
        while sum(draw.capacity(kept) for draw in draws) > limit:
            slot = max(kept, key=lambda name: len(kept[name]) - least[name])
            if len(kept[slot]) > least[slot]:
                kept[slot] = kept[slot][:-1]
            else:
                draws.remove(max(draws, key=lambda draw: draw.capacity(kept)))
                least = _least(draws, kept)
        return replace(self, file=file.model_copy(update={
            "slots": {name: kept[name] for name in file.slots},
            "exchange": {name: kept[name] for name in file.exchange},
            "template": tuple(draw.template for draw in draws),
        }))  # fmt: skip

    def _is_blank(self, slot: str) -> bool:
        fillings = (self.file.slots | self.file.exchange).get(slot, ("?",))
        return not "".join(fillings).strip()

    def _lead(self, template: Template) -> str:
        """The lines before the first that holds what differs between the sides."""
        lead = ""
        for line in template.text.splitlines(keepends=True):
            slots = {piece.slot for piece in split_text(line) if isinstance(piece, Placeholder)}
            if slots & {*self.file.contrast, *self.file.exchange}:
                return lead
            lead += line
        return ""


def origin_of(task: Task) -> Origin | None:
    """Where every pair of the task comes from: its own file or the one of the catalog with its
    name. None without such a file, or where the task's answers do not follow from the file's."""
    path = _path_of(task)
    if path is None:
        return None
    source = Source.read(path)
    file, complaints = parse_task_file(source)
    if file is None or complaints:
        return None
    splits, _, _ = expand(file, source)
    drawn = {(p.prompt, p.counterfactual): p for pairs in splits.values() for p in pairs}
    names: dict[str, str] = {}
    for pair in (pair for pairs in task.splits.values() for pair in pairs):
        twin = drawn.get((pair.prompt, pair.counterfactual))
        if twin is None:
            return None
        answers = (twin.answer, pair.answer), (twin.counter_answer, pair.counter_answer)
        if any(names.setdefault(theirs, ours) != ours for theirs, ours in answers):
            return None
    return Origin(file, names)


def _least(draws: Iterable[Draw], slots: Iterable[str]) -> dict[str, int]:
    """How many different fillings of each slot one prompt may need."""
    least = dict.fromkeys(slots, 1)
    for draw in draws:
        for slot, numbers in draw.numbers.items():
            least[slot] = max(least[slot], len(numbers))
    return least


def _path_of(task: Task) -> Path | None:
    # What was made of a task is called by its name and something in brackets.
    name = task.name.partition(" (")[0]
    if name in catalog_names():
        return find_file(name)
    path = Path(task.source)
    return path if path.suffix == ".toml" and path.is_file() else None


def _behind(lead: str, template: Template) -> Template:
    return template.model_copy(update={"text": lead + template.text})
