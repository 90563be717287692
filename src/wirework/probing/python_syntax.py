"""One walk over the syntax tree of a Python file: which stretches are inside what, which names."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from wirework.probing.python_lexemes import not_python
from wirework.probing.python_scopes import Scope, literal_type

_NO_CHILDREN = frozenset({"ctx", "op", "ops", "type_comment", "kind", "type_params"})

_WHOLE = {
    ast.Import: ("import",), ast.ImportFrom: ("import",), ast.Return: ("return",),
    ast.Raise: ("raise",), ast.Assert: ("assert",), ast.Await: ("await",),
    ast.With: ("with_block",), ast.AsyncWith: ("with_block",), ast.AugAssign: ("augassign",),
    ast.Slice: ("slice",), ast.List: ("list_literal",), ast.Set: ("set_literal",),
    ast.Tuple: ("tuple",), ast.Compare: ("comparison",), ast.BoolOp: ("boolop",),
    ast.IfExp: ("ternary",), ast.Dict: ("dict_literal",), ast.Lambda: ("lambda",),
    ast.ListComp: ("comprehension", "listcomp"), ast.SetComp: ("comprehension", "setcomp"),
    ast.DictComp: ("comprehension", "dictcomp"), ast.GeneratorExp: ("comprehension", "genexp"),
    ast.For: ("for",), ast.AsyncFor: ("for",), ast.While: ("while",), ast.If: ("if",),
    ast.ExceptHandler: ("except_handler",), ast.Yield: ("yield",), ast.YieldFrom: ("yield",),
    ast.JoinedStr: ("fstring",),
}  # fmt: skip
"""Regions that are a whole node."""

_BITWISE = (ast.BitOr, ast.BitXor, ast.BitAnd, ast.LShift, ast.RShift)

_Functions = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Syntax:
    """What a walk found. Places are (line from 1, column in UTF-8 bytes).

    `regions`: name -> flat (line, column, end line, end column) of every stretch, which may nest;
    `names`: every `ast.Name` outside of f-strings with its scope; `called`: the ids of the nodes
    that are called; `attributes`: where attribute names end, and whether they are called;
    `params`, `keywords`: where they start.
    """

    regions: dict[str, list[int]] = field(default_factory=dict)
    names: list[tuple[ast.Name, Scope]] = field(default_factory=list)
    called: set[int] = field(default_factory=set)
    attributes: list[int] = field(default_factory=list)
    called_attributes: list[int] = field(default_factory=list)
    params: list[int] = field(default_factory=list)
    keywords: list[int] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)


def parse_python(text: str) -> ast.Module:
    """Raises `text-not-python`."""
    if "\r" in text.replace("\r\n", ""):
        raise not_python("a carriage return that ends no line")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        raise not_python(f"line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise not_python(f"{type(error).__name__}: {error}") from None


def read_syntax(tree: ast.Module) -> Syntax:
    walk = _Walk()
    walk.run(tree)
    return walk.found


class _Walk:
    """Every node once, with its scope; no recursion, so that no file is nested too deeply."""

    def __init__(self) -> None:
        self.found = Syntax()
        self.todo: list[tuple[ast.AST, Scope]] = []
        self.fields: dict[type, list[str]] = {}
        self.generators: set[int] = set()
        self.handlers: dict[type, Callable[[Any, Scope], None]] = {
            ast.Name: self._name, ast.Attribute: self._attribute, ast.Call: self._call,
            ast.FunctionDef: self._function, ast.AsyncFunctionDef: self._function,
            ast.ClassDef: self._class, ast.Lambda: self._lambda, ast.If: self._if,
            ast.For: self._for, ast.AsyncFor: self._for, ast.While: self._while,
            ast.Try: self._try, ast.Assign: self._assign, ast.AnnAssign: self._annotated,
            ast.Subscript: self._subscript, ast.Dict: self._dict, ast.BinOp: self._binop,
            ast.ListComp: self._comprehension, ast.SetComp: self._comprehension,
            ast.DictComp: self._comprehension, ast.GeneratorExp: self._comprehension,
            ast.Yield: self._yield, ast.YieldFrom: self._yield, ast.Import: self._import,
            ast.ImportFrom: self._import, ast.Global: self._declared,
            ast.Nonlocal: self._declared, ast.ExceptHandler: self._handler,
            ast.NamedExpr: self._walrus, ast.JoinedStr: self._fstring, ast.arg: self._arg,
            ast.MatchAs: self._captured, ast.MatchStar: self._captured,
            ast.MatchMapping: self._captured, ast.TryStar: self._try,
        }  # fmt: skip
        # Of later versions of Python.
        template = getattr(ast, "TemplateStr", None)
        if template is not None:
            self.handlers[template] = self._fstring

    def run(self, tree: ast.Module) -> None:
        module = self._scope("module", tree, None)
        self._docstring(tree)
        self._children(tree, module)
        while self.todo:
            node, scope = self.todo.pop()
            kind = type(node)
            for region in _WHOLE.get(kind, ()):
                self._region(region, node, node)
            handler = self.handlers.get(kind)
            if handler is None:
                self._children(node, scope)
            else:
                handler(node, scope)
        for scope in self.found.scopes:
            scope.settle()
            if id(scope.node) in self.generators:
                self._region("generator_function", scope.node, scope.node)

    def _scope(self, kind: Any, node: ast.AST, parent: Scope | None) -> Scope:
        scope = Scope(kind, node, parent)
        self.found.scopes.append(scope)
        return scope

    def _children(self, node: ast.AST, scope: Scope) -> None:
        kind = type(node)
        if kind not in self.fields:
            self.fields[kind] = [name for name in node._fields if name not in _NO_CHILDREN]
        for name in self.fields[kind]:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                self.todo.append((value, scope))
            elif isinstance(value, list):
                self._push(value, scope)

    def _push(self, nodes: Sequence[ast.AST | str | None], scope: Scope) -> None:
        self.todo.extend((node, scope) for node in nodes if isinstance(node, ast.AST))

    def _region(self, name: str, first: Any, last: Any) -> None:
        """From the start of `first` to the end of `last`."""
        self._stretch(
            name, first.lineno, first.col_offset, last.end_lineno, last.end_col_offset
        )  # fmt: skip

    def _stretch(self, name: str, *places: int) -> None:
        self.found.regions.setdefault(name, []).extend(places)

    def _block(self, name: str, body: Sequence[ast.AST]) -> None:
        if body:
            self._region(name, body[0], body[-1])

    def _header(self, name: str, node: Any) -> None:
        """From `def` or `class` to just before the first statement (or its first decorator)."""
        first = node.body[0]
        decorators = getattr(first, "decorator_list", [])
        line, column = first.lineno, first.col_offset
        if decorators:
            # The `@` stands before the expression.
            line, column = decorators[0].lineno, decorators[0].col_offset - 1
        self._stretch(name, node.lineno, node.col_offset, line, column)

    def _docstring(self, node: Any) -> None:
        first = node.body[0] if node.body else None
        value = first.value if isinstance(first, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            self._region("docstring", first, first)

    def _name(self, node: ast.Name, scope: Scope) -> None:
        self.found.names.append((node, scope))
        if isinstance(node.ctx, ast.Store):
            scope.assigned.add(node.id)

    def _attribute(self, node: Any, scope: Scope) -> None:
        self.found.attributes += (node.end_lineno, node.end_col_offset)
        if id(node) in self.found.called:
            self.found.called_attributes += (node.end_lineno, node.end_col_offset)
        self.todo.append((node.value, scope))

    def _call(self, node: Any, scope: Scope) -> None:
        function = node.func
        self.found.called.add(id(function))
        self._stretch("call_args", function.end_lineno, function.end_col_offset,
                      node.end_lineno, node.end_col_offset)  # fmt: skip
        if node.args:
            self._region("first_call_arg", node.args[0], node.args[0])
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                self._region("star_arg", argument, argument)
        for keyword in node.keywords:
            if keyword.arg is not None:
                self.found.keywords += (keyword.lineno, keyword.col_offset)
                self._region("keyword_arg_value", keyword.value, keyword.value)
            self.todo.append((keyword.value, scope))
        self.todo.append((function, scope))
        self._push(node.args, scope)

    def _function(self, node: _Functions, scope: Scope) -> None:
        parent = scope.owner
        name = node.name
        scope.defined.add(name)
        inner = self._scope("function", node, scope)
        self._docstring(node)
        self._header("def_header", node)
        regions = {
            "function": True,
            "method": parent.kind == "class",
            "nested_function": parent.kind == "function",
            "async_function": isinstance(node, ast.AsyncFunctionDef),
            "dunder_method": name.startswith("__") and name.endswith("__"),
            "init": name == "__init__",
            "test_function": name.startswith("test"),
            "decorated_function": bool(node.decorator_list),
        }
        for region, is_one in regions.items():
            if is_one:
                self._region(region, node, node)
        self._decorators(node, scope)
        if node.returns is not None:
            self._region("annotation", node.returns, node.returns)
            self._region("return_annotation", node.returns, node.returns)
            self.todo.append((node.returns, scope))
        self._parameters(node.args, inner, scope)
        self._push(node.body, inner)

    def _parameters(self, arguments: ast.arguments, inner: Scope, outer: Scope) -> None:
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                self._region("default_value", default, default)
                self.todo.append((default, outer))
        listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        for argument in (*listed, arguments.vararg, arguments.kwarg):
            if argument is not None:
                inner.params.add(argument.arg)
                self._arg(argument, outer)

    def _arg(self, node: ast.arg, scope: Scope) -> None:
        self.found.params += (node.lineno, node.col_offset)
        if node.annotation is not None:
            self._region("annotation", node.annotation, node.annotation)
            self.todo.append((node.annotation, scope))

    def _decorators(self, node: _Functions | ast.ClassDef, scope: Scope) -> None:
        for decorator in node.decorator_list:
            self._region("decorator", decorator, decorator)
        self._push(node.decorator_list, scope)

    def _class(self, node: ast.ClassDef, scope: Scope) -> None:
        scope.defined.add(node.name)
        self._docstring(node)
        self._region("class", node, node)
        self._header("class_header", node)
        for base in node.bases:
            self._region("class_bases", base, base)
        self._decorators(node, scope)
        self._push([*node.bases, *(keyword.value for keyword in node.keywords)], scope)
        self._push(node.body, self._scope("class", node, scope))

    def _lambda(self, node: ast.Lambda, scope: Scope) -> None:
        inner = self._scope("function", node, scope)
        self._parameters(node.args, inner, scope)
        self.todo.append((node.body, inner))

    def _if(self, node: ast.If, scope: Scope) -> None:
        self._region("if_test", node.test, node.test)
        self._block("if_body", node.body)
        self._block("else_or_elif_body", node.orelse)
        self._children(node, scope)

    def _for(self, node: ast.For | ast.AsyncFor, scope: Scope) -> None:
        self._region("for_iterable", node.iter, node.iter)
        self._region("for_target", node.target, node.target)
        self._block("loop_else", node.orelse)
        self._children(node, scope)

    def _while(self, node: ast.While, scope: Scope) -> None:
        self._block("loop_else", node.orelse)
        self._children(node, scope)

    def _try(self, node: ast.Try | ast.TryStar, scope: Scope) -> None:
        self._block("try_body", node.body)
        self._block("finally", node.finalbody)
        self._children(node, scope)

    def _assign(self, node: ast.Assign, scope: Scope) -> None:
        for target in node.targets:
            self._region("assign_target", target, target)
        self._assigned(node, node.targets, node.value, scope)

    def _annotated(self, node: ast.AnnAssign, scope: Scope) -> None:
        self._region("assign_target", node.target, node.target)
        self._region("annotation", node.annotation, node.annotation)
        self._assigned(node, [node.target], node.value, scope)

    def _assigned(
        self, node: Any, targets: list[ast.expr], value: ast.expr | None, scope: Scope
    ) -> None:
        if value is not None:
            self._region("assign_rhs", value, value)
        kind, target = literal_type(value), targets[0]
        if kind and len(targets) == 1 and isinstance(target, ast.Name):
            place = (target.lineno, target.col_offset)
            end = (node.end_lineno, node.end_col_offset)
            scope.owner.literals.setdefault(target.id, []).append((place, end, kind))
        self._children(node, scope)

    def _subscript(self, node: ast.Subscript, scope: Scope) -> None:
        self._region("subscript_index", node.slice, node.slice)
        self._children(node, scope)

    def _dict(self, node: ast.Dict, scope: Scope) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None:
                self._region("dict_key", key, key)
                self._region("dict_value", value, value)
        self._children(node, scope)

    def _binop(self, node: ast.BinOp, scope: Scope) -> None:
        if not isinstance(node.op, _BITWISE):
            self._region("binop", node, node)
        self.todo += ((node.left, scope), (node.right, scope))

    def _comprehension(self, node: Any, scope: Scope) -> None:
        inner = self._scope("comprehension", node, scope)
        first = node.generators[0]
        # The first iterable is evaluated outside.
        self.todo.append((first.iter, scope))
        for generator in node.generators:
            self.todo.append((generator.target, inner))
            self._push(generator.ifs, inner)
            if generator is not first:
                self.todo.append((generator.iter, inner))
        parts = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        self._push(parts, inner)

    def _yield(self, node: ast.AST, scope: Scope) -> None:
        self.generators.add(id(scope.owner.node))
        self._children(node, scope)

    def _walrus(self, node: ast.NamedExpr, scope: Scope) -> None:
        scope.owner.assigned.add(node.target.id)
        self.found.names.append((node.target, scope.owner))
        self.todo.append((node.value, scope))

    def _import(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
        for alias in node.names:
            scope.imported.add(alias.asname or alias.name.partition(".")[0])

    def _declared(self, node: ast.Global | ast.Nonlocal, scope: Scope) -> None:
        declared = scope.global_names if isinstance(node, ast.Global) else scope.outer_names
        declared.update(node.names)

    def _handler(self, node: ast.ExceptHandler, scope: Scope) -> None:
        if node.name:
            scope.assigned.add(node.name)
        self._children(node, scope)

    def _captured(self, node: Any, scope: Scope) -> None:
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        if name:
            scope.assigned.add(name)
        self._children(node, scope)

    def _fstring(self, node: ast.AST, scope: Scope) -> None:
        """One lexeme: what stands in it has no place of its own, and is not looked at."""
