"""What the tests of tasks share: a task file, a tokenizer and count models of real Python code."""

from __future__ import annotations

import functools
import sysconfig
from pathlib import Path

import numpy as np

from wirework.data import NGramModel, Tokenizer

TOML = """\
description = "Close a string"
seed = 3

[counts]
fit = 20
select = 10
report = 12

[answers.double]
starting = ['"']

[answers.single]
starting = ["'"]

[contrast.quote]
double = '"'
single = "'"

[slots]
indent = ["", "    "]
word = ["red", "green", "blue", "black", "white", "brown", "pink", "grey", "cyan"]

[[template]]
name = "call"
text = '{indent}print({quote}{word:1} and {word:2} again'

[[template]]
name = "lines"
text = '''
{indent}{word:1} = {{}}
{indent}{word:1}({quote}one {word:2} more'''

[[template]]
name = "return"
text = '{indent}return {quote}the {word} sort of'
report_only = true
"""


EXCHANGE = """\
seed = 3
counts = { fit = 20, select = 10, report = 12 }

[exchange]
word = ["red", "green", "blue", "black", "white", "brown", "pink", "grey", "cyan"]

[slots]
indent = ["", "    "]
thing = ["car", "sky", "sea", "book"]

[[template]]
name = "asked"
text = '{indent}print({word:1}, {word:2}, {thing} of'
answer = [" {word:1}", "{word:1}!"]

[[template]]
name = "alone"
text = '{indent}{word:1} and a {thing} of'
answer = [" {word:1}", "{word:1}!"]
report_only = true
"""


@functools.cache
def library_texts() -> tuple[str, ...]:
    """The standard library's own modules, without packages: the same with or without its tests."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    return tuple(path.read_text("utf-8") for path in sorted(folder.glob("*.py")))


@functools.cache
def code_tokenizer() -> Tokenizer:
    return Tokenizer.train(library_texts(), 2048)


@functools.cache
def count_models() -> dict[str, NGramModel]:
    """What follows one token, and what follows three."""
    tokenizer = code_tokenizer()
    tokens = np.concatenate([np.array(row) for row in tokenizer.encode_many(library_texts())])
    return {
        "bigram": NGramModel(tokens, 2, tokenizer.vocab_size),
        "last three tokens": NGramModel(tokens, 4, tokenizer.vocab_size),
    }


def write(folder: Path, text: str, name: str = "own.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def line_of(text: str, part: str) -> int:
    """The line, from 1, of the first place where `part` stands in `text`."""
    return text[: text.index(part)].count("\n") + 1
