"""Collects every error code of the library with its message, from the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from source_tree import Source, SourceTree

PARAMETER = "code"
"""A function with a parameter, or a class with a field, of this name takes an error code."""


@dataclass(frozen=True)
class ErrorCode:
    """A code where it is given. `code` is empty where the source does not spell it out."""

    code: str
    message: str
    module: str
    path: str
    line: int


@dataclass(frozen=True)
class _Carrier:
    """Something that is called with an error code, such as `WireworkError` or `unknown_choice`.

    `position` of the code among the arguments. `message`: that of the error raised inside, empty
    where it is an argument too. `module`: the only one where the name means this; empty for all.
    """

    name: str
    position: int
    message: str
    module: str


def error_codes(tree: SourceTree) -> list[ErrorCode]:
    """Every place where the library gives an error code, in the order of the files."""
    carriers = [carrier for source in tree.library for carrier in _carriers(source)]
    found = []
    for source in tree.library:
        here = {c.name: c for c in carriers if c.module in ("", source.module)}
        found += list(_codes(source, here))
    return found


def _carriers(source: Source) -> Iterator[_Carrier]:
    methods = set()
    for node in source.nodes:
        if not isinstance(node, ast.ClassDef):
            continue
        fields = [n.target.id for n in node.body
                  if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]  # fmt: skip
        if PARAMETER in fields:
            yield _Carrier(node.name, fields.index(PARAMETER), "", "")
        for child in node.body:
            if isinstance(child, ast.FunctionDef):
                methods.add(child)
                # `self` is no argument of the call.
                position = _position(child) - 1
                is_constructor = child.name == "__init__"
                if position >= 0:
                    name = node.name if is_constructor else child.name
                    yield _Carrier(name, position, "", "" if is_constructor else source.module)
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef) and node not in methods and _position(node) >= 0:
            yield _Carrier(node.name, _position(node), _message_inside(node), "")


def _position(function: ast.FunctionDef) -> int:
    names = [argument.arg for argument in function.args.posonlyargs + function.args.args]
    return names.index(PARAMETER) if PARAMETER in names else -1


def _message_inside(function: ast.FunctionDef) -> str:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and _called(node) == "WireworkError":
            return _message(node, 0)
    return ""


def _codes(source: Source, carriers: dict[str, _Carrier]) -> Iterator[ErrorCode]:
    for node in source.nodes:
        if not isinstance(node, ast.Call) or _called(node) not in carriers:
            continue
        carrier = carriers[_called(node)]
        value = _argument(node, carrier.position)
        if value is None or _is_passed_on(value):
            continue
        message = carrier.message or _message(node, carrier.position)
        for code in _literals(value):
            # Other methods of the same name, `set.add` say, take values that are no codes.
            if carrier.module and not code:
                continue
            yield ErrorCode(code, message, source.module, source.path, node.lineno)


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _argument(call: ast.Call, position: int) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == PARAMETER:
            return keyword.value
    return call.args[position] if position < len(call.args) else None


def _is_passed_on(value: ast.expr) -> bool:
    if isinstance(value, ast.Name):
        return value.id == PARAMETER
    return isinstance(value, ast.Attribute) and value.attr == PARAMETER


def _literals(value: ast.expr) -> list[str]:
    if isinstance(value, ast.IfExp):
        return _literals(value.body) + _literals(value.orelse)
    if isinstance(value, ast.Constant):
        return [value.value] if isinstance(value.value, str) else []
    return [""]


def _message(call: ast.Call, position: int) -> str:
    """The argument `message`, or else the first text after the code."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == "message"]
    texts = [_template(value) for value in [*named, *call.args[position + 1 :]]]
    return next((text for text in texts if text.strip("… ")), "")


def _template(value: ast.expr) -> str:
    """The text of a message; what is filled in when it is raised stands as `…`."""
    if isinstance(value, ast.Constant):
        return str(value.value)
    if isinstance(value, ast.JoinedStr):
        return "".join(_template(part) for part in value.values)
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        return _template(value.left) + _template(value.right)
    if isinstance(value, ast.IfExp):
        return f"{_template(value.body)}; or {_template(value.orelse)}"
    return "…"
