"""Drawing models that close strings along several paths, of which one is true."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from wirework.core import Node
from wirework.data import Tokenizer
from wirework.planted.draft import SPLIT_SIZES, Draft
from wirework.tasks import Answers, Pair, Task

QUOTES = ('"', "'")

SPACED = (b' "', b" '")
"""Tokens that open a string: with a double and with a single quote."""

BRACKETED = (b' ["', b" ['")
"""Tokens that open a string just behind a bracket."""

_WORDS = ("it", "go", "no", "sun", "red", "hat", "box", "ran", "far", "tea")
_FORMS = {
    "assign": "{name} = {quote}{body}",
    "call": "{name} ( {quote}{body}",
    "entry": "{name} : {quote}{body}",
    "item": "{name} [{quote}{body}",
    "same": "{name} [{quote}{key}{quote} ] = {quote}{body}",
    "mixed": "{name} [{other}{key}{other} ] = {quote}{body}",
}
"""Templates. `other` is a quote at random, the same one on both sides of a pair."""

_SHARP = 4.0
_ECHO = 0.5
_UNIT = 0.56
"""Brings a kind of quote, as read at the token that opens the string, to about 1 or -1."""


def string_task(seed: int, seen: tuple[str, ...], unseen: tuple[str, ...]) -> Task:
    """Open strings of 4 to 6 words. `unseen`: forms that stand in `report` only."""
    random = np.random.default_rng(seed)
    made: set[str] = set()

    def pair(form: str) -> Pair:
        while True:
            words = [str(word) for word in random.choice(_WORDS, int(random.integers(6, 9)))]
            parts = {"name": words[0], "key": words[1], "body": " ".join(words[2:])}
            parts["other"] = str(random.choice(["'", '"']))
            texts = [_FORMS[form].format(quote=quote, **parts) for quote in "\"'"]
            if not made.intersection(texts):
                made.update(texts)
                return Pair(texts[0], texts[1], "double", "single", form)

    def pairs(split: str, forms: tuple[str, ...]) -> tuple[Pair, ...]:
        return tuple(pair(forms[i % len(forms)]) for i in range(SPLIT_SIZES[split]))

    return Task(
        name="planted/strings",
        description="Close a string with the quote that opened it",
        local=False,
        answers={"double": Answers(tokens=('"',)), "single": Answers(tokens=("'",))},
        fit=pairs("fit", seen),
        select=pairs("select", seen),
        report=pairs("report", seen + unseen),
    )


class StringDraft(Draft):
    """One layer that reads a kind of quote from the embedding and answers with that quote.

    Every token has one constant channel and small numbers of its own. A value that looks at the
    opening of the string is about 1 after a double quote and -1 after a single one.
    """

    def __init__(self, task: Task, seed: int, *, size: int) -> None:
        pairs = [pair for split in task.splits.values() for pair in split]
        texts = [text for pair in pairs for text in (pair.prompt, pair.counterfactual)]
        tokenizer = Tokenizer.train(texts, 300)
        super().__init__(tokenizer, seed, size=size, n_layer=1, context=40, activation="relu")
        self.task = task
        every = range(tokenizer.vocab_size)
        self.constant = self.channel()
        self.embed(every, self.constant, 1.0)
        self.blur(every, 2, 0.5)
        self._heads = [int(head) for head in self.random.permutation(self.model.config.n_head)]

    def next_head(self) -> int:
        """A head at random that nothing uses yet."""
        return self._heads.pop()

    def tokens(self, *texts: bytes) -> list[int]:
        """The tokens of some texts, those that the vocabulary has."""
        known = {self.tokenizer.token_bytes(i): i for i in range(self.tokenizer.vocab_size)}
        return [known[text] for text in texts if text in known]

    def ending_in(self, text: bytes) -> list[int]:
        every = range(self.tokenizer.vocab_size)
        return [token for token in every if self.tokenizer.token_bytes(token).endswith(text)]

    def mark(self, name: str, tokens: Collection[int], against: Collection[int] = ()) -> Node:
        """What attention reads of a new channel: 1 at some tokens, -1 at those `against` them."""
        channel = self.channel()
        self.embed(tokens, channel, 1.0)
        self.embed(against, channel, -1.0)
        return self.node(name, "0.attn.in", channel)

    def look(self, name: str, head: int, at: Mapping[Node, float]) -> None:
        """Let a head look where the weighted sum of some channels is largest."""
        place = self.channel("attn.q", head)
        query = self.node(f"{name} query", "0.attn.q", place)
        key = self.node(f"{name} key", "0.attn.k", place)
        self.bias(query, _SHARP)
        for source, weight in at.items():
            self.wire(source, key, _SHARP * weight)

    def value(self, name: str, head: int, kind: Node) -> Node:
        value = self.node(name, "0.attn.v", self.channel("attn.v", head))
        self.wire(kind, value, _UNIT)
        return value

    def path(self, name: str, opening: tuple[bytes, bytes] = SPACED) -> tuple[int, Node, Node]:
        """A head that looks at the opening of the string; what it reads there; its value.

        Other tokens have a little of either kind, so that a head which looks everywhere errs.
        """
        head, tokens = self.next_head(), self.tokens(*opening)
        kind = self.mark(f"{name} kind", tokens[:1], tokens[1:])
        for token in set(range(self.tokenizer.vocab_size)) - set(tokens):
            self.embed([token], kind.index, float(self.random.choice([-_ECHO, _ECHO])))
        self.look(name, head, {self.mark(f"{name} mark", tokens): 1.0})
        return head, kind, self.value(f"{name} value", head, kind)

    def write(self, name: str, sources: Mapping[Node, float], channel: int | None = None) -> int:
        """Write a weighted sum of values, or of neurons, into a channel, a new one by default."""
        channel = self.channel() if channel is None else channel
        kind = "attn" if all(source.site.kind == "attn.v" for source in sources) else "mlp"
        write = self.node(f"{name} write", f"0.{kind}.out", channel)
        for source, weight in sources.items():
            self.wire(source, write, weight)
        return channel

    def heard(self, name: str, channel: int) -> Node:
        """What the MLP reads of a channel."""
        return self.node(f"{name} heard", "0.mlp.in", channel)

    def signs(self, name: str, reads: Mapping[Node, float]) -> tuple[Node, Node]:
        """Two neurons: how far a weighted sum lies above 0, and how far below."""
        neurons = []
        for sign, part in ((1.0, "above"), (-1.0, "below")):
            neuron = self.node(f"{name} {part}", "0.mlp.neuron", self.channel("mlp.neuron"))
            for source, weight in reads.items():
                self.wire(source, neuron, sign * weight)
            neurons.append(neuron)
        return neurons[0], neurons[1]

    def answer(self, name: str, channel: int, answers: tuple[str, str] = QUOTES) -> None:
        """Let a channel speak for the first answer where it is above 0, else for the second."""
        final = self.node(f"{name} final", "final", channel)
        for text, sign in zip(answers, (1.0, -1.0), strict=True):
            self.unembed(self.tokenizer.encode(text)[0], final, sign)
