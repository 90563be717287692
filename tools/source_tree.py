"""Reads the project's own text: files, parsed Python, and what each module imports."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "wirework"
_NOT_OURS = {".git", ".venv", "__pycache__", "build", "dist", "runs"}


@dataclass(frozen=True)
class Import:
    """One import. `target` is the absolute module, `name` what is taken from it ("" for all).

    `deferred`: inside a function. `typing_only`: under `if TYPE_CHECKING`.
    """

    target: str
    name: str
    line: int
    deferred: bool
    typing_only: bool


@dataclass(frozen=True)
class Source:
    """A parsed Python file. `module` is its dotted name, empty outside of `src`."""

    path: str
    text: str
    tree: ast.Module
    module: str

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        finder = _ImportFinder(self)
        finder.visit(self.tree)
        return tuple(finder.found)

    @property
    def summary(self) -> str:
        """First line of the docstring, empty where there is none."""
        return (ast.get_docstring(self.tree) or "").partition("\n")[0]


@dataclass(frozen=True)
class SourceTree:
    """Every text file of the project by its path, and the Python among them."""

    texts: dict[str, str] = field(repr=False)

    @classmethod
    def read(cls, root: Path) -> SourceTree:
        """All files that git knows or would add; without git, all that are not build results."""
        texts = {}
        for path in sorted(_project_files(root)):
            try:
                texts[path] = (root / path).read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
        return cls(texts)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        return tuple(
            Source(path, text, ast.parse(text, path), _module_name(path))
            for path, text in self.texts.items()
            if path.endswith(".py")
        )

    @cached_property
    def library(self) -> tuple[Source, ...]:
        """The modules under `src`."""
        return tuple(source for source in self.sources if source.module)


def _project_files(root: Path) -> Iterator[str]:
    if (root / ".git").exists():
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        names = set(listing.split("\0")) - {""}
        yield from (name for name in names if (root / name).is_file())
        return
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        if path.is_file() and not _NOT_OURS.intersection(parts):
            yield "/".join(parts)


def _module_name(path: str) -> str:
    if not path.startswith("src/"):
        return ""
    parts = path.removeprefix("src/").removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class _ImportFinder(ast.NodeVisitor):
    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: list[Import] = []
        self.functions = 0
        self.typing = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._enter_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._enter_function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._enter_function(node)

    def _enter_function(self, node: ast.AST) -> None:
        self.functions += 1
        self.generic_visit(node)
        self.functions -= 1

    def visit_If(self, node: ast.If) -> None:
        guarded = ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        self.typing += guarded
        for child in node.body:
            self.visit(child)
        self.typing -= guarded
        for child in node.orelse:
            self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, "", node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        target = node.module or ""
        if node.level:
            here = self.source.module.split(".")
            base = here[: len(here) - node.level + self.source.is_package]
            target = ".".join([*base, target] if target else base)
        for alias in node.names:
            self._add(target, alias.name, node.lineno)

    def visit_Call(self, node: ast.Call) -> None:
        """`import_module("wirework.x")` is an import like any other."""
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in ("import_module", "__import__") and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                self._add(first.value, "", node.lineno)
        self.generic_visit(node)

    def _add(self, target: str, name: str, line: int) -> None:
        self.found.append(Import(target, name, line, self.functions > 0, self.typing > 0))
