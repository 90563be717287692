"""Writes the generated pages: the map of the source files and the table of error codes."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from error_codes import error_codes
from floors import FLOORS, package_of
from source_tree import ROOT, Source, SourceTree

MAP = "docs/map.md"
ERRORS = "docs/errors.md"
_FOLDERS = ("tools", "tests", "benchmarks")


def map_page(tree: SourceTree) -> str:
    """Every module with the first line of its docstring, the library floor by floor."""
    lines = [
        "# Map of the source files",
        "",
        "Written by `make docs` from the first line of every module. A package imports only",
        "packages on lower floors; packages on one floor do not know each other.",
        "",
    ]
    lines += _section("`wirework`", [s for s in tree.library if not package_of(s.module)])
    for package, floor in sorted(FLOORS.items(), key=lambda item: -item[1].level):
        members = [source for source in tree.library if package_of(source.module) == package]
        lines += _section(f"`wirework.{package}` (floor {floor.level})", members)
    for folder in _FOLDERS:
        members = [source for source in tree.sources if source.path.startswith(f"{folder}/")]
        lines += _section(f"`{folder}/`", members)
    return "\n".join(lines)


def _section(title: str, members: list[Source]) -> list[str]:
    if not members:
        return []
    rows = [f"| [{Path(s.path).name}](../{s.path}) | {_cell(s.summary)} |" for s in members]
    return [f"## {title}", "", "| file | what it is |", "|---|---|", *rows, ""]


def errors_page(tree: SourceTree) -> str:
    """Every error code with its message and the modules that raise it."""
    lines = [
        "# Error codes",
        "",
        "Written by `make docs` from the sources. A mistake that you can mend is told like this,",
        "with exit code 1 on the command line and as `wirework.core.WireworkError` in Python:",
        "",
        "```",
        "error[site-unknown]: no place in a model is called '3.mlp.neurn'",
        "  expected  LAYER.PLACE with PLACE one of attn.in, attn.q, …; or final",
        "  got       3.mlp.neurn",
        "  try       3.mlp.neuron",
        "```",
        "",
        "`…` stands for what is filled in. Codes are stable: programs may match on them.",
        "",
        "| code | message | raised in |",
        "|---|---|---|",
    ]
    found = sorted(error_codes(tree), key=lambda error: error.code)
    for code, group in groupby(found, key=lambda error: error.code):
        places = list(group)
        modules = ", ".join(sorted({f"`{place.module}`" for place in places}))
        message = next((place.message for place in places if place.message), "")
        lines.append(f"| `{code}` | {_cell(message) or '…'} | {modules} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


PAGES = {MAP: map_page, ERRORS: errors_page}


def main() -> int:
    tree = SourceTree.read(ROOT)
    for path, page in PAGES.items():
        (ROOT / path).write_text(page(tree), encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
