"""Scopes of a Python file: which names are bound where, and how."""

from __future__ import annotations

import ast
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

ScopeKind = Literal["module", "function", "class", "comprehension"]

Place = tuple[int, int]
"""A line from 1 and a column in UTF-8 bytes from 0, as `ast` counts."""

TYPES = ("str", "int", "float", "bool", "list", "dict", "set", "tuple", "NoneType", "file")
"""What a variable is seen to hold (sparse_probing.md §9 F)."""

_CALLED = {"str": "str", "int": "int", "float": "float", "list": "list", "dict": "dict",
           "set": "set", "tuple": "tuple", "open": "file"}  # fmt: skip
_DISPLAYS = {ast.List: "list", ast.ListComp: "list", ast.Dict: "dict", ast.DictComp: "dict",
             ast.Set: "set", ast.SetComp: "set", ast.Tuple: "tuple", ast.JoinedStr: "str",
             ast.Compare: "bool"}  # fmt: skip


@dataclass
class Scope:
    """One module, function (or lambda), class or comprehension, while a file is read."""

    kind: ScopeKind
    node: ast.AST
    parent: Scope | None = None
    params: set[str] = field(default_factory=set)
    assigned: set[str] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)
    defined: set[str] = field(default_factory=set)
    global_names: set[str] = field(default_factory=set)
    outer_names: set[str] = field(default_factory=set)
    literals: dict[str, list[tuple[Place, Place, str]]] = field(default_factory=dict)
    owner: Scope = field(init=False, repr=False)
    """The function, class or module that a comprehension stands in; itself for others."""
    module: Scope = field(init=False, repr=False)

    def __post_init__(self) -> None:
        inside = self.parent if self.kind == "comprehension" else None
        self.owner = inside.owner if inside else self
        self.module = self.parent.module if self.parent else self

    def binds(self, name: str) -> bool:
        return name not in self.outer_names and (
            name in self.params
            or name in self.assigned
            or name in self.imported
            or name in self.defined
        )

    def chain(self) -> Iterator[Scope]:
        """This scope and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def resolve(self, name: str) -> Scope | None:
        """The scope that binds a name seen from here; None where none of the file does."""
        behind_function = False
        for scope in self.chain():
            if name in scope.global_names:
                return scope.module if scope.module.binds(name) else None
            if scope.binds(name) and not (scope.kind == "class" and behind_function):
                return scope
            behind_function = behind_function or scope.kind == "function"
        return None

    def settle(self) -> None:
        """To be called once all of the file was read: declared names belong to the module."""
        self.module.assigned |= self.assigned & self.global_names
        self.outer_names |= self.global_names
        for found in self.literals.values():
            found.sort()

    def type_at(self, name: str, place: Place) -> str | None:
        """The type of the last literal assigned to `name` before `place`, or just there."""
        home = self.owner
        if name not in home.literals and self.resolve(name) is self.module:
            home = self.module
        found = home.literals.get(name, [])
        for target, end, kind in reversed(found[: bisect_right(found, (place, (1 << 60, 0), ""))]):
            if target == place or end <= place:
                return kind
        return None


def literal_type(value: ast.expr | None) -> str | None:
    """Which of `TYPES` a value is seen to be, None for any other."""
    if isinstance(value, ast.Constant):
        name = type(value.value).__name__
        return name if name in TYPES else None
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return _CALLED.get(value.func.id)
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not):
        return "bool"
    return _DISPLAYS.get(type(value)) if value is not None else None
