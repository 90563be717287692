"""Pairs of prompts as tokens, with the answer tokens of each side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from wirework.data import Tokenizer
from wirework.tasks.complaint import Complaint, Level, Source
from wirework.tasks.pairs import Answers, Pair

Tokens = NDArray[np.int64]
NO_TOKEN = -1
"""Stands in the answer arrays where a row has fewer answers than the widest one."""


@dataclass(frozen=True)
class Prompts:
    """N pairs as arrays of 2N rows: rows [0, N) hold the prompts, [N, 2N) their counterfactuals.

    `tokens` (2N, T): right-padded with end-of-text. `last` (2N,): index of the last real token,
    where the answer is read. `wanted`, `other` (2N, A): ids of the right answers and of the other
    side's answers, padded with -1. `template` (2N,): index into the task's template names.
    """

    tokens: Tokens
    last: Tokens
    wanted: Tokens
    other: Tokens
    template: Tokens

    def __len__(self) -> int:
        """The number of pairs, N."""
        return len(self.tokens) // 2

    def take(self, indices: Sequence[int] | Tokens) -> Prompts:
        """The pairs with these indices in [0, N), both sides of each."""
        pairs = np.asarray(indices, dtype=np.int64)
        assert pairs.ndim == 1, "indices of pairs stand in one row"
        assert not len(pairs) or 0 <= pairs.min() <= pairs.max() < len(self), "no such pair"
        rows = np.concatenate([pairs, pairs + len(self)])
        return Prompts(
            self.tokens[rows],
            self.last[rows],
            self.wanted[rows],
            self.other[rows],
            self.template[rows],
        )

    def batches(self, pairs: int, *, seed: int | None = None) -> Iterator[Prompts]:
        """Every pair once, at most `pairs` at a time; in a seeded order unless `seed` is None."""
        assert pairs > 0, "a batch holds at least one pair"
        order = np.arange(len(self))
        if seed is not None:
            np.random.default_rng(seed).shuffle(order)
        for start in range(0, len(self), pairs):
            yield self.take(order[start : start + pairs])


@dataclass(frozen=True)
class EncodedTask:
    """The three splits of a task as tokens of one vocabulary.

    `templates`: the names that `Prompts.template` counts.
    """

    fit: Prompts
    select: Prompts
    report: Prompts
    templates: tuple[str, ...]

    def answer_tokens(self) -> Tokens:
        """Every answer token of the task, sorted: the only logits that its loss looks at."""
        splits = (self.fit, self.select, self.report)
        sides = [side for part in splits for side in (part.wanted, part.other)]
        ids = {int(i) for side in sides for i in np.unique(side)}
        return np.array(sorted(ids - {NO_TOKEN}), dtype=np.int64)

    def prompt_tokens(self) -> Tokens:
        """Every token of some prompt, padding left out, sorted."""
        found: set[int] = set()
        for part in (self.fit, self.select, self.report):
            real = np.arange(part.tokens.shape[1]) <= part.last[:, None]
            found.update(int(token) for token in np.unique(part.tokens[real]))
        return np.array(sorted(found), dtype=np.int64)


@dataclass
class Findings:
    """Complaints about single pairs, gathered to one for each kind and template.

    Notes are gathered over all templates.
    """

    source: Source
    first: dict[tuple[str, str], Complaint] = field(default_factory=dict)
    pairs: dict[tuple[str, str], set[Pair]] = field(default_factory=dict)

    def add(
        self, code: str, pair: Pair, what: str, expected: str, got: str, level: Level = "error"
    ) -> None:
        key = (code, pair.template if level == "error" else "")
        where = self.source.where(pair.line)
        self.first.setdefault(
            key, Complaint(code, what, where, expected=expected, got=got, level=level)
        )
        self.pairs.setdefault(key, set()).add(pair)

    def complaints(self) -> list[Complaint]:
        found = []
        for (code, template), first in self.first.items():
            count = len(self.pairs[code, template])
            place = f" of template {template!r}" if template else ""
            often = f" (the first of {count} such pairs{place})" if count > 1 else ""
            found.append(replace(first, message=first.message + often))
        return found

    @property
    def fatal(self) -> bool:
        return any(complaint.level == "error" for complaint in self.first.values())


def encode_pairs(
    pairs: Sequence[Pair],
    answers: Mapping[str, Answers],
    tokenizer: Tokenizer,
    *,
    templates: Sequence[str],
    context: int | None,
    findings: Findings,
) -> Prompts | None:
    """Pairs as `Prompts`; what is wrong with them for this tokenizer and context is added.

    `context` None sets no limit. None where there is no pair or `findings` holds an error:
    `task-prompt-too-long`, `task-prompt-empty`, `task-answer-unknown` (no token starts with it),
    `task-answer-merges` (it would join the prompt's last token), `task-answers-overlap`.
    """
    sides = [(pair, pair.prompt, pair.answer, pair.counter_answer) for pair in pairs]
    sides += [(pair, pair.counterfactual, pair.counter_answer, pair.answer) for pair in pairs]
    rows = tokenizer.encode_many([prompt for _, prompt, _, _ in sides])
    for (pair, prompt, _, _), row in zip(sides, rows, strict=True):
        _check_length(pair, prompt, row, context, findings)
    vocabulary = _starting_tokens(answers, tokenizer)
    continued = _Continuations(sides, answers, tokenizer)
    wanted, other = [], []
    for index, (pair, _, name, counter) in enumerate(sides):
        right, wrong = (
            continued.answer_ids(index, rows[index], which, vocabulary, pair, findings)
            for which in (name, counter)
        )
        if shared := right & wrong:
            findings.add(
                "task-answers-overlap",
                pair,
                f"{name!r} and {counter!r} share tokens",
                "two sets of tokens without a common one",
                ", ".join(repr(tokenizer.token_text(i)) for i in sorted(shared)[:8]),
            )
        wanted.append(sorted(right))
        other.append(sorted(wrong))
    if not pairs or findings.fatal:
        return None
    numbers = {name: index for index, name in enumerate(templates)}
    return Prompts(
        tokens=_padded(rows, tokenizer.end_of_text),
        last=np.array([len(row) - 1 for row in rows], dtype=np.int64),
        wanted=_padded(wanted, NO_TOKEN),
        other=_padded(other, NO_TOKEN),
        template=np.array([numbers[pair.template] for pair, _, _, _ in sides], dtype=np.int64),
    )


def _check_length(
    pair: Pair, prompt: str, row: Sequence[int], context: int | None, findings: Findings
) -> None:
    if not row:
        findings.add("task-prompt-empty", pair, "a prompt has no token", "some text", repr(prompt))
    elif context is not None and len(row) > context:
        findings.add(
            "task-prompt-too-long",
            pair,
            f"a prompt has {len(row)} tokens, more than the model's context",
            f"at most {context} tokens",
            repr(prompt if len(prompt) <= 80 else f"{prompt[:40]} … {prompt[-30:]}"),
        )


def _starting_tokens(
    answers: Mapping[str, Answers], tokenizer: Tokenizer
) -> dict[str, frozenset[int]]:
    """Per answer set, the vocabulary tokens of `starting` less those of `except_starting`."""
    ids = [i for i in range(tokenizer.vocab_size) if i != tokenizer.end_of_text]
    texts = {i: tokenizer.token_bytes(i) for i in ids}
    found = {}
    for name, answer in answers.items():
        starts = tuple(text.encode() for text in answer.starting)
        excepted = tuple(text.encode() for text in answer.except_starting)
        found[name] = frozenset(
            i for i in ids if texts[i].startswith(starts) and not texts[i].startswith(excepted)
        )
    return found


class _Continuations:
    """Every prompt with every answer text of its pair, encoded together."""

    def __init__(
        self,
        sides: Sequence[tuple[Pair, str, str, str]],
        answers: Mapping[str, Answers],
        tokenizer: Tokenizer,
    ) -> None:
        self.answers = answers
        self.tokenizer = tokenizer
        self.places: dict[tuple[int, str], int] = {}
        texts: list[str] = []
        for index, (_, prompt, *names) in enumerate(sides):
            for text in self._texts(*names):
                self.places[index, text] = len(texts)
                texts.append(prompt + text)
        self.encoded = tokenizer.encode_many(texts)

    def _texts(self, *names: str) -> list[str]:
        sets = [self.answers[name] for name in names]
        return list(dict.fromkeys(text for a in sets for text in (*a.tokens, *a.starting)))

    def answer_ids(
        self,
        index: int,
        row: Sequence[int],
        name: str,
        vocabulary: Mapping[str, frozenset[int]],
        pair: Pair,
        findings: Findings,
    ) -> set[int]:
        """Ids of an answer set after one prompt; what is wrong with them goes to `findings`."""
        answer = self.answers[name]
        ids = set(vocabulary[name])
        if answer.starting and not ids:
            findings.add(
                "task-answer-unknown",
                pair,
                f"no token of the vocabulary is an answer of {name!r}",
                "an answer that a token starts with",
                ", ".join(map(repr, answer.starting)),
            )
        for text in (*answer.tokens, *answer.starting):
            continued = self.encoded[self.places[index, text]]
            if list(continued[: len(row)]) != list(row):
                findings.add(
                    "task-answer-merges",
                    pair,
                    f"the answer {text!r} of {name!r} joins the prompt's last token",
                    "a prompt that ends where a token ends when the answer follows",
                    repr(self.tokenizer.token_text(row[-1]) if row else ""),
                )
            elif text in answer.tokens:
                ids.add(int(continued[len(row)]))
                self._note_split(text, continued[len(row)], pair, findings)
        return ids

    def _note_split(self, text: str, first: int, pair: Pair, findings: Findings) -> None:
        if self.tokenizer.token_bytes(first) != text.encode():
            findings.add(
                "task-answer-split",
                pair,
                f"the answer {text!r} is more than one token; only its first is scored",
                "",
                repr(self.tokenizer.token_text(first)),
                level="note",
            )


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tokens:
    width = max(len(row) for row in rows)
    array = np.full((len(rows), width), value, dtype=np.int64)
    for index, row in enumerate(rows):
        array[index, : len(row)] = row
    return array
