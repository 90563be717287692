"""A task: prompt pairs in three splits, and the sets of tokens that are right after each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wirework.core.errors import WireworkError
from wirework.data import Tokenizer
from wirework.tasks.complaint import Complaint, Source, raise_first
from wirework.tasks.encode import EncodedTask, Findings, Prompts, encode_pairs
from wirework.tasks.pairs import SPLITS, Answers, Pair, Split

SCHEMA = 1


@dataclass(frozen=True)
class Task:
    """Pairs of prompts of which each side wants answers out of another set.

    `answers`: name -> set of tokens; each pair names two of them. `fit`, `select`, `report`: the
    splits of design.md §4; no prompt stands in two of them, and some templates stand in `report`
    alone. `local`: a bigram count or the last three tokens are allowed to solve it. `source`: the
    file that it came from, for complaints; `line`: where it says that it is local.
    """

    name: str
    description: str
    local: bool
    answers: Mapping[str, Answers]
    fit: tuple[Pair, ...]
    select: tuple[Pair, ...]
    report: tuple[Pair, ...]
    source: str = ""
    line: int | None = None

    @property
    def splits(self) -> dict[Split, tuple[Pair, ...]]:
        return {"fit": self.fit, "select": self.select, "report": self.report}

    @property
    def templates(self) -> tuple[str, ...]:
        """Names of all templates, in the order in which the pairs first use them."""
        pairs = (pair for split in SPLITS for pair in self.splits[split])
        return tuple(dict.fromkeys(pair.template for pair in pairs))

    @property
    def report_only(self) -> tuple[str, ...]:
        """Names of the templates that only `report` uses."""
        seen = {pair.template for pair in (*self.fit, *self.select)}
        return tuple(name for name in self.templates if name not in seen)

    def encode(self, tokenizer: Tokenizer, context: int | None) -> EncodedTask:
        """The task as tokens; prompts may have up to `context` tokens (None: any number).

        Raises the first of what `encode_leniently` finds wrong, and `task-split-empty`.
        """
        parts, found = self.encode_leniently(tokenizer, context)
        for split, part in parts.items():
            if part is None and not self.splits[split]:
                found.append(
                    Complaint("task-split-empty", f"the split {split!r} holds no pair", self.source)
                )
        raise_first(found)
        whole = {split: part for split, part in parts.items() if part is not None}
        return EncodedTask(**whole, templates=self.templates)

    def encode_leniently(
        self, tokenizer: Tokenizer, context: int | None
    ) -> tuple[dict[Split, Prompts | None], list[Complaint]]:
        """Each split as tokens, or None where a complaint forbids it, with all complaints."""
        findings = Findings(Source(self.source or self.name))
        parts = {
            split: encode_pairs(
                pairs,
                self.answers,
                tokenizer,
                templates=self.templates,
                context=context,
                findings=findings,
            )
            for split, pairs in self.splits.items()
        }
        return parts, findings.complaints()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; `from_json` is the inverse but for `source` and lines."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "description": self.description,
            "local": self.local,
            "answers": {name: answer.plain() for name, answer in self.answers.items()},
            **{split: [_pair_json(pair) for pair in self.splits[split]] for split in SPLITS},
        }

    @classmethod
    def from_json(cls, value: Any) -> Task:
        """Raises `task-damaged` for anything that `to_json` does not give."""
        try:
            if value["schema"] != SCHEMA:
                raise ValueError(f"schema {value['schema']}")
            answers = {
                str(name): Answers.parse(fields, "answers")
                for name, fields in value["answers"].items()
            }
            return cls(
                name=str(value["name"]),
                description=str(value["description"]),
                local=bool(value["local"]),
                answers=answers,
                fit=_read_pairs(value["fit"], answers),
                select=_read_pairs(value["select"], answers),
                report=_read_pairs(value["report"], answers),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WireworkError(
                "task-damaged",
                "this is not a task as wirework writes it",
                expected=f"the JSON of a task, schema {SCHEMA}",
                got=f"{type(error).__name__}: {error}"[:200],
            ) from None

    def hash(self) -> str:
        """sha256 of what a model is asked: answers, and pairs in their order.

        Name, description, file and lines don't count, nor does the order of the answer sets.
        """
        value = self.to_json()
        for key in ("name", "description"):
            del value[key]
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def __str__(self) -> str:
        counts = ", ".join(f"{split} {len(pairs)}" for split, pairs in self.splits.items())
        return f"{self.name}: {counts} pairs, {len(self.templates)} templates"


def _pair_json(pair: Pair) -> dict[str, Any]:
    values = asdict(pair)
    del values["line"]
    return values


def _read_pairs(value: Any, answers: Mapping[str, Answers]) -> tuple[Pair, ...]:
    return tuple(_read_pair(pair, answers) for pair in value)


def _read_pair(value: Any, answers: Mapping[str, Answers]) -> Pair:
    pair = Pair(**value)
    texts = (pair.prompt, pair.counterfactual, pair.template)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a pair holds something other than text")
    for name in (pair.answer, pair.counter_answer):
        if name not in answers:
            raise KeyError(f"answers {name!r}")
    return pair
