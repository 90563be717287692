"""Changes of a prompt's text that keep its label and work against what a circuit may rely on."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from keyword import iskeyword

import numpy as np

from wirework.tasks import Pair
from wirework.validation.label_rules import QUOTES, Kind, LabelRule

Random = np.random.Generator
Change = Callable[[Pair, Random], Pair | None]

_NEUTRAL = ("pass", "x = 1", "n += 1", "import time", "del x", "assert n", "a = b", "run()")
_STRINGS = ('x = "a"', "x = 'a'", 'x = "it\'s"', "x = 'a \"b\"'", 'x = ""', "x = ''", "x = 'a\\'b'")
_MARKS = ("# don't", '# 3" wide', '# it isn\'t 5" but 4"', "# the ' alone", '# "name')
_CLOSED = ("x = [[1], [2]]", "x = {1: (2, 3)}", "x = f(a[0], (b))", "x = [(), {}, []]")
_OPEN = ("# see [1", "# (as above", "# {name", "# first) second", "# a] b", "# f(x[0")
_QUOTED = ('x = "["', "x = ')'", 'x = "{"', "x = '[['", 'x = "]"', 'x = "(a"')
_ELEMENTS = ("[0]", "(1, 2)", "{1}", "[[1]]", "f(x)", "x[0]", '"["', "')'")
_OFTEN = (2, 5, 10)


def changed(pair: Pair, rule: LabelRule, draws: int, random: Random) -> dict[str, list[Pair]]:
    """By the name of a change, at most `draws` different outcomes of it whose label the rule
    says to be kept on both sides."""
    found: dict[str, list[Pair]] = {}
    for name, change in MOVES[rule.kind].items():
        made = [change(pair, random) for _ in range(2 * draws)]
        kept = dict.fromkeys(new for new in made if new is not None and rule.keeps(new))
        found[name] = [new for new in kept if new != pair][:draws]
    return found


def _closed_string(pair: Pair, random: Random) -> Pair:
    return _behind(pair, [str(random.choice(_STRINGS))])


def _mark_in_comment(pair: Pair, random: Random) -> Pair:
    return _behind(pair, [str(random.choice(_MARKS))])


def _closed_brackets(pair: Pair, random: Random) -> Pair:
    return _behind(pair, [str(random.choice(_CLOSED))])


def _bracket_in_comment(pair: Pair, random: Random) -> Pair:
    return _behind(pair, [str(random.choice(_OPEN))])


def _bracket_in_string(pair: Pair, random: Random) -> Pair:
    return _behind(pair, [str(random.choice(_QUOTED))])


def _neutral_lines(pair: Pair, random: Random) -> Pair:
    return _behind(pair, random.choice(_NEUTRAL, random.choice(_OFTEN)).tolist())


def _behind(pair: Pair, lines: Collection[str]) -> Pair:
    """Behind lines of the indentation of its first one."""
    indent = pair.prompt[: len(pair.prompt) - len(pair.prompt.lstrip(" "))]
    lead = "".join(f"{indent}{line}\n" for line in lines)
    return replace(pair, prompt=lead + pair.prompt, counterfactual=lead + pair.counterfactual)


def _escaped_mark(pair: Pair, random: Random) -> Pair | None:
    mark = "\\" + str(random.choice(QUOTES))
    return _inside(pair, random, mark, mark)


def _other_mark(pair: Pair, random: Random) -> Pair | None:
    """In either side the mark that does not close it."""
    first = _side_mark(pair.prompt, pair.counterfactual)
    if first is None:
        return None
    return _inside(pair, random, *(QUOTES if first == QUOTES[1] else QUOTES[::-1]))


def _side_mark(prompt: str, other: str) -> str | None:
    place = common_start(prompt, other)
    return prompt[place] if prompt[place : place + 1] in QUOTES else None


def _longer_string(pair: Pair, random: Random) -> Pair | None:
    words = re.findall(r"[A-Za-z]{2,}", _shared_end(pair))
    if not words:
        return None
    added = "".join(f" {word}" for word in random.choice(words, random.choice(_OFTEN)))
    return _inside(pair, random, added, added)


def _inside(pair: Pair, random: Random, first: str, second: str) -> Pair | None:
    """With texts put between two words of what both sides end in, at the same place."""
    end = _shared_end(pair)
    places = [len(end) - found.start() for found in re.finditer(r"\b", end)]
    places = [place for place in places if 0 < place < len(end)]
    if not places:
        return None
    place = int(random.choice(places))
    sides = (pair.prompt, first), (pair.counterfactual, second)
    prompt, counterfactual = (text[:-place] + new + text[-place:] for text, new in sides)
    return replace(pair, prompt=prompt, counterfactual=counterfactual)


def _longer_list(pair: Pair, random: Random) -> Pair | None:
    words = [word for word in re.findall(r"\w+", _shared_end(pair)) if not iskeyword(word)]
    if not words:
        return None
    added = "".join(f", {word}" for word in random.choice(words, random.choice(_OFTEN)))
    return replace(pair, prompt=pair.prompt + added, counterfactual=pair.counterfactual + added)


def _closed_inside(pair: Pair, random: Random) -> Pair | None:
    """A list with a closed bracket as one more element."""
    place = _shared_end(pair)[::-1].find(" ,")
    if place < 0:
        return None
    added = f" {random.choice(_ELEMENTS)},"
    at = place + 1
    sides = (text[:-at] + added + text[-at:] for text in (pair.prompt, pair.counterfactual))
    prompt, counterfactual = sides
    return replace(pair, prompt=prompt, counterfactual=counterfactual)


def _shared_end(pair: Pair) -> str:
    """What both sides end in, behind all that differs."""
    length = common_start(pair.prompt[::-1], pair.counterfactual[::-1])
    return pair.prompt[len(pair.prompt) - length :]


def common_start(first: str, second: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))


MOVES: Mapping[Kind, Mapping[str, Change]] = {
    "quote": {
        "neutral lines": _neutral_lines,
        "closed string before": _closed_string,
        "mark in a comment": _mark_in_comment,
        "escaped mark in the string": _escaped_mark,
        "other mark in the string": _other_mark,
        "longer string": _longer_string,
    },
    "brackets": {
        "neutral lines": _neutral_lines,
        "closed brackets before": _closed_brackets,
        "bracket in a comment": _bracket_in_comment,
        "bracket in a string": _bracket_in_string,
        "closed brackets inside": _closed_inside,
        "longer list": _longer_list,
    },
}
"""By what a label depends on: changes that a circuit with a short-cut may not survive."""
