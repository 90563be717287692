"""A task file to begin with: small, commented, and right as it stands."""

from __future__ import annotations

from pathlib import Path

from wirework.core.errors import WireworkError
from wirework.core.files import write_text

_SKELETON = """\
# A task: prompts that end where an answer is due, in pairs that differ in one small place.
# docs/tasks.md explains every line. Check it: wirework tasks check MODEL {name}
description = "Close what was opened with ( or with [ by its own bracket"
seed = 0  # everything drawn follows from it
local = false  # true: the last few tokens may give the answer away

[counts]  # pairs in each split
fit = 256
select = 128
report = 128

# What is right after a prompt (the first set that a contrast names) and after its counterfactual.
[answers.round]
starting = [")"]  # every token that starts with it

[answers.square]
starting = ["]"]  # or: tokens = ["]", "],"], the first token of each text

# The place where the two sides differ; which filling stands there decides which answers are right.
# Keep it more than three tokens away from the end.
[contrast.open]
round = "("
square = "["

# Fillings drawn alike for both sides. A slot with eight or more keeps a third of them for `report`.
[slots]
indent = ["", "    ", "        "]
name = ["names", "values", "result", "data", "items", "pairs", "lines", "rows", "args", "parts"]
item = ["a", "b", "c", "x", "y", "z", "i", "j", "k", "n", "m", "p"]
number = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "16"]

# {{item:1}} and {{item:2}} are two different fillings; a brace of the prompt is doubled.
[[template]]
name = "names"
text = '{{indent}}{{name}} = {{open}}{{item:1}}, {{item:2}}, {{item:3}}'

[[template]]
name = "numbers"
text = '{{indent}}{{name}} = {{open}}{{number:1}}, {{number:2}}, {{number:3}}'

[[template]]
name = "after a line"
text = '''
{{indent}}{{name:1}} = {{{{}}}}
{{indent}}{{name:2}} = {{open}}{{item:1}}, {{number:1}}, {{item:2}}'''

# Nothing of this form is seen before the figures are made; half of `report` comes from it.
[[template]]
name = "return"
text = '{{indent}}return {{open}}{{item:1}}, {{item:2}}, {{number}}'
report_only = true
"""


def new_task_file(path: Path) -> None:
    """Write a commented task file that passes its checks, to be changed into one's own.

    Raises `task-file-kind` unless the name ends in .toml, `task-file-exists`, and those of
    `core.files.write_text`.
    """
    if path.suffix != ".toml":
        raise WireworkError(
            "task-file-kind",
            f"{path} is no name for a task file",
            expected="a name that ends in .toml",
            got=path.name,
            hint=f"{path.stem or 'mine'}.toml",
        )
    if path.exists():
        raise WireworkError(
            "task-file-exists",
            f"{path} is there already and stays as it is",
            expected="a name that is free",
            got=str(path),
            hint=f"{path.stem}-2.toml",
        )
    write_text(path, _SKELETON.format(name=path))
