"""Gradient-guided exchange of names on which the label does not depend (HotFlip)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from keyword import iskeyword
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import PromptTensors, Reference
from wirework.ablation.packed import Packed
from wirework.tasks import Origin, Pair
from wirework.tasks.template import Placeholder, split_text
from wirework.validation.judge import Judged, encode, judge
from wirework.validation.label_rules import LabelRule
from wirework.validation.subject import Subject

Victim = Literal["circuit", "model"]

_NAME = re.compile(r"([ _.]?)(?:([a-z]+)|([A-Z][a-z]+)|([A-Z]+))")
_WORD = re.compile(r"[A-Za-z]+")
_SPECIAL = frozenset({"self", "cls", "match", "case", "type"})


@dataclass(frozen=True)
class Swaps:
    """What may be exchanged for what: name tokens of like form, in both sides of a pair alike and
    wherever they stand, for names that the pair does not have; never a token that differs between
    the sides, the last one, a word of Python or of an answer.

    `kinds`: (vocabulary) which tokens are alike, -1 where none is; `sources`: tokens that may go.
    """

    subject: Subject
    rule: LabelRule | None
    kinds: NDArray[np.int64]
    sources: frozenset[int]

    @classmethod
    def of(cls, subject: Subject, rule: LabelRule | None, origin: Origin | None) -> Swaps:
        """Without a rule that reads the label off the text, only names that fill a slot may go,
        and no word of the templates, their contrasts and exchanges may come or go."""
        answers = subject.task.answers.values()
        texts = [t for a in answers for t in (*a.tokens, *a.starting, *a.except_starting)]
        fixed = _SPECIAL | _words(texts)
        free: frozenset[str] | None = None
        if rule is None:
            assert origin is not None, "nothing says what the label depends on"
            file = origin.file
            sides = [texts for contrast in file.contrast.values() for texts in contrast.values()]
            literal = [
                piece for template in file.template for piece in split_text(template.text)
                if not isinstance(piece, Placeholder)
            ]  # fmt: skip
            fixed |= _words([*literal, *(t for group in sides for t in group)])
            fixed |= _words(text for texts in file.exchange.values() for text in texts)
            free = _words(text for texts in file.slots.values() for text in texts)
        tokenizer = subject.checkpoint.tokenizer
        kinds = np.full(tokenizer.vocab_size, -1)
        forms: dict[tuple[str, int], int] = {}
        sources = set()
        for token in range(tokenizer.vocab_size):
            found = _NAME.fullmatch(tokenizer.token_text(token))
            word = found[0].lstrip(" _.") if found else ""
            if found is None or iskeyword(word) or word in fixed:
                continue
            kinds[token] = forms.setdefault((found[1], found.lastindex or 0), len(forms))
            if free is None or word in free:
                sources.add(token)
        return cls(subject, rule, kinds, frozenset(sources))

    def search(
        self, pairs: Sequence[Pair], victim: Victim, *, rounds: int, tries: int
    ) -> list[tuple[NDArray[np.int64], Judged]]:
        """By round: all changed pairs that were tried, and of which of `pairs` each was made.

        In every round the exchanges that the gradient finds best, `tries` a pair, are run; the
        best goes on, until the victim alone gives the wrong answer. The gradient does not see what
        AbsTopK shuts out.
        """
        now = judge(self.subject, pairs)
        assert len(now.pairs) == len(pairs), "pairs of the task itself can be asked"
        current, goals = list(pairs), _goal(now, victim)
        seen = set(current)
        found = []
        for _ in range(rounds):
            active = np.flatnonzero(goals.min(axis=0) >= 0)
            made = self._proposed([current[i] for i in active], goals[:, active], victim, tries)
            new = [(i, pair) for i, some in zip(active, made, strict=True) for pair in some
                   if pair not in seen]  # fmt: skip
            seen |= {pair for _, pair in new}
            home = {pair: i for i, pair in new}
            tried = judge(self.subject, [pair for _, pair in new])
            if not tried.pairs:
                break
            origins = np.array([home[pair] for pair in tried.pairs])
            found.append((origins, tried))
            reached = _goal(tried, victim)
            for place, index in enumerate(origins):
                if reached[:, place].min() < goals[:, index].min():
                    current[index], goals[:, index] = tried.pairs[place], reached[:, place]
        return found

    def _proposed(
        self, pairs: Sequence[Pair], goals: NDArray[np.float64], victim: Victim, tries: int
    ) -> list[list[Pair]]:
        """For every pair the exchanges that by first order bring one of its sides furthest."""
        if not pairs:
            return []
        prompts = encode(self.subject, pairs)
        packed, slopes = self._slopes(prompts, victim)
        table = self.subject.model.embedding.weight.detach()
        proposed = []
        for index, pair in enumerate(pairs):
            sides = (index, index + len(pairs))
            tokens = [prompts.tokens[i, : prompts.last[i] + 1].tolist() for i in sides]
            reached: list[tuple[float, int, int]] = []
            for token in self._movable(*tokens):
                fresh = np.flatnonzero(self.kinds == self.kinds[token])
                fresh = fresh[~np.isin(fresh, np.concatenate(tokens))]
                change = table[fresh] - table[token]
                for row, i, goal in zip(tokens, sides, goals[:, index], strict=True):
                    at = [place for place, t in enumerate(row) if t == token]
                    hoped = goal + (change @ slopes[packed.rows[i, at]].sum(0)).numpy()
                    best = np.argsort(hoped, kind="stable")[:tries]
                    reached += [(float(hoped[k]), token, int(fresh[k])) for k in best]
            swaps = dict.fromkeys((old, new) for _, old, new in sorted(reached))
            made = (self._exchanged(pair, tokens, old, new) for old, new in swaps)
            proposed.append(list(islice((new for new in made if new is not None), tries)))
        return proposed

    def _movable(self, first: Sequence[int], second: Sequence[int]) -> list[int]:
        held = {first[-1], second[-1]}
        return sorted(
            token for token in {*first} & self.sources - held
            if first.count(token) == second.count(token)
        )  # fmt: skip

    def _exchanged(
        self, pair: Pair, tokens: Sequence[Sequence[int]], old: int, new: int
    ) -> Pair | None:
        """None where the new text is cut into other tokens, or the rule gives another label."""
        tokenizer = self.subject.checkpoint.tokenizer
        rows = [[new if token == old else token for token in row] for row in tokens]
        texts = [tokenizer.decode(row) for row in rows]
        if tokenizer.encode_many(texts) != rows:
            return None
        changed = replace(pair, prompt=texts[0], counterfactual=texts[1])
        return changed if self.rule is None or self.rule.keeps(changed) else None

    def _slopes(self, prompts: PromptTensors, victim: Victim) -> tuple[Packed, Tensor]:
        """Gradient of the victim's margin less the other's by what every row of tokens is embedded
        as, (rows, D); each side has rows of its own."""
        subject = self.subject
        reference = subject.holding.reference(subject.whole, prompts, shared=False)
        reference = reference or Reference(Packed.of(prompts, shared=False))
        table = subject.model.embedding.weight.detach()
        embedded = table[reference.packed.tokens].requires_grad_()
        reference = replace(reference, embedded=embedded)
        gates = {s: torch.from_numpy(kept).to(table.dtype) for s, kept in subject.keep.items()}
        opened = {site: torch.ones_like(gate) for site, gate in gates.items()}
        alone = subject.whole.margins(prompts, gates, reference, subject.edges)
        gap = subject.circuit.calibration.scale * alone
        gap = gap - subject.whole.margins(prompts, opened, reference)
        (slopes,) = torch.autograd.grad(gap.sum(), embedded)
        return reference.packed, slopes if victim == "circuit" else -slopes


def _goal(judged: Judged, victim: Victim) -> NDArray[np.float64]:
    """Below 0 where the victim is wrong and the other right, (2, N)."""
    if victim == "circuit":
        return np.maximum(judged.circuit, -judged.model)
    return np.maximum(judged.model, -judged.circuit)


def _words(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(word for text in texts for word in _WORD.findall(text))
