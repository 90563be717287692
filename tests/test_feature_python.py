"""The Python features: on real files against `ast` and `tokenize`, and at the edges."""

from __future__ import annotations

import ast
import importlib.util
import io
import re
import tokenize
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirework.core import WireworkError
from wirework.probing.feature_sets import feature_set
from wirework.probing.python_features import label_lexemes
from wirework.probing.python_lexemes import lex_python

MODULES = ("textwrap", "contextlib", "ast", "json.decoder", "configparser", "types", "this")

KINDS = {
    tokenize.NAME: 1, tokenize.NUMBER: 2, tokenize.STRING: 3, tokenize.COMMENT: 4,
    tokenize.NEWLINE: 5, tokenize.OP: 6,
}  # fmt: skip


@cache
def source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    return importlib.util.decode_source(Path(spec.origin).read_bytes())


def lexemes_by_tokenize(text: str) -> list[tuple[int, int, int, str]]:
    """(kind, line, column, text) with f-strings put together where Python takes them apart."""
    found: list[tuple[int, int, int, str]] = []
    lines = text.split("\n")
    depth, opened = 0, (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name = tokenize.tok_name[token.type]
        if name == "FSTRING_START":
            depth, opened = depth + 1, token.start if depth == 0 else opened
        elif name == "FSTRING_END":
            depth -= 1
            if depth == 0:
                inside = "\n".join(lines[opened[0] - 1 : token.end[0]])
                cut = len(inside) - len(lines[token.end[0] - 1]) + token.end[1]
                found.append((3, *opened, inside[opened[1] : cut]))
        elif depth == 0 and token.type in KINDS:
            string = "\n" if token.type == tokenize.NEWLINE else token.string
            found.append((KINDS[token.type], *token.start, string))
    return found


@pytest.mark.parametrize("module", MODULES)
def test_lexemes_are_those_of_tokenize(module: str) -> None:
    found = lex_python(source(module))
    ours = zip(found.kinds, found.lines, found.columns, found.strings, strict=True)
    wanted = lexemes_by_tokenize(source(module))
    assert [(int(k), int(row), int(col), s) for k, row, col, s in ours] == wanted


def characters_of(text: str, node: ast.AST) -> tuple[int, int]:
    """Where a node stands, found line by line."""
    lines = text.split("\n")
    assert isinstance(node, ast.expr | ast.stmt)
    assert node.end_lineno is not None and node.end_col_offset is not None

    def place(line: int, column: int) -> int:
        before = sum(len(earlier) + 1 for earlier in lines[: line - 1])
        return before + len(lines[line - 1].encode()[:column].decode())

    return place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)


WHOLE: dict[str, type[ast.AST] | tuple[type[ast.AST], ...]] = {
    "in_for": (ast.For, ast.AsyncFor), "in_while": ast.While,
    "in_return": ast.Return, "in_raise": ast.Raise,
    "in_listcomp": ast.ListComp, "in_lambda": ast.Lambda, "in_dict_literal": ast.Dict,
    "in_tuple": ast.Tuple, "in_comparison": ast.Compare, "in_boolop": ast.BoolOp,
    "in_class_body": ast.ClassDef, "in_ternary": ast.IfExp,
    "in_with_block": (ast.With, ast.AsyncWith),
    "in_augassign": ast.AugAssign, "in_slice": ast.Slice, "in_assert": ast.Assert,
}  # fmt: skip


@pytest.mark.parametrize("module", ["textwrap", "contextlib", "json.decoder"])
def test_regions_are_the_nodes_of_the_syntax_tree(module: str) -> None:
    text = source(module)
    tree = ast.parse(text)
    lexemes, columns = label_lexemes(text)
    starts = lexemes.starts
    strings = [n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr)]
    hidden = {id(inner) for outer in strings for inner in ast.walk(outer) if inner is not outer}
    for name, kind in WHOLE.items():
        wanted = np.zeros(len(lexemes), bool)
        for node in ast.walk(tree):
            if isinstance(node, kind) and id(node) not in hidden:
                start, end = characters_of(text, node)
                wanted |= (starts >= start) & (starts < end)
        assert np.array_equal(columns[name] == 1, wanted), name


@pytest.mark.parametrize("module", ["textwrap", "configparser"])
def test_names_are_those_of_the_syntax_tree(module: str) -> None:
    text = source(module)
    tree = ast.parse(text)
    lexemes, columns = label_lexemes(text)
    hidden = {
        id(inner) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for inner in ast.walk(n)
    }
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in hidden]
    calls = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    cases = {
        "is_name_load": [n for n in names if isinstance(n.ctx, ast.Load)],
        "is_name_store": [n for n in names if isinstance(n.ctx, ast.Store)],
        "is_called_function": [n for n in names if id(n) in calls],
    }
    for feature, nodes in cases.items():
        wanted = {characters_of(text, node)[0] for node in nodes}
        assert set(lexemes.starts[columns[feature] == 1].tolist()) == wanted


def test_lines_columns_and_brackets_are_those_of_the_text() -> None:
    text = source("textwrap")
    lexemes, columns = label_lexemes(text)
    lines = text.split("\n")
    for place in range(0, len(lexemes), 7):
        line, column = int(lexemes.lines[place]), int(lexemes.columns[place])
        start = int(lexemes.starts[place])
        assert text[:start].count("\n") == line - 1
        indent = len(lines[line - 1]) - len(lines[line - 1].lstrip(" "))
        assert columns["indent_4"][place] == (indent == 4)
        assert columns["col_ge40"][place] == (column >= 40)
        assert columns["first_lexeme_in_line"][place] == (
            not lines[line - 1][:column].strip() and lexemes.strings[place] != "\n"
        )
        assert columns["line_longer_79"][place] == (len(lines[line - 1]) > 79)


def marked(feature: str, text: str) -> list[str]:
    lexemes, columns = label_lexemes(text)
    return [s for s, yes in zip(lexemes.strings, columns[feature] == 1, strict=True) if yes]


def test_there_are_170_in_their_groups() -> None:
    groups = [feature.group for feature in feature_set("python").features]
    sizes = [groups.count(group) for group in dict.fromkeys(groups)]
    assert sizes == [14, 9, 12, 12, 17, 10, 18, 22, 23, 13, 10, 10]


def test_scopes_are_those_of_python() -> None:
    text = (
        "import os\nx = 1\n"
        "def f(a):\n    def g():\n        nonlocal b\n        b = a\n    b = 2\n    return b, x\n"
        "class A:\n    y = x\n    def h(self): return y, os\n"
        "z = [q for q in x]\n"
    )
    assert marked("is_param_use", text) == ["a"]
    assert marked("is_local_var", text) == ["b", "b", "y", "q", "q"]
    assert marked("is_module_global", text) == ["x", "x", "x", "z", "x"]
    assert marked("is_imported_name_use", text) == ["os"]


def test_a_global_name_is_the_modules_wherever_it_is_declared() -> None:
    assert marked("is_module_global", "def f():\n    global x\n    x = 1\ny = x\n") == [
        "x",
        "y",
        "x",
    ]


def test_types_are_those_of_the_last_literal_before() -> None:
    text = "x = 1\nf(x)\nx = ''\nf(x)\ndef g():\n    x\ndef h(x):\n    x\n"
    assert marked("var_type_int", text) == ["x", "x"]
    assert marked("var_type_str", text) == ["x", "x", "x"]
    _, columns = label_lexemes(text)
    asked = columns["var_type_int"] != -1
    assert np.array_equal(asked, columns["var_type_str"] != -1) and int(asked.sum()) == 5


def test_characters_beyond_ascii_and_other_ends_of_lines() -> None:
    assert marked("is_name_load", "é = 'ü€😀'; x = é + naïve\r\ny = x\r\n") == ["é", "naïve", "x"]
    assert marked("is_attribute_name", "# é\r\na.ß.c\r\n") == ["ß", "c"]
    assert marked("is_newline", "x = 1\r\n\r\n") == ["\r\n"]
    assert not any(column.any() for column in label_lexemes("")[1].values())


def test_f_strings_are_one_lexeme() -> None:
    text = "x = f'a{b + c!r:>{d}}e' f\"{g}\"\n"
    assert marked("is_string_lexeme", text) == ["f'a{b + c!r:>{d}}e'", 'f"{g}"']
    assert marked("in_fstring", text) == marked("is_string_lexeme", text)
    lines = "x = (f'a\\d{b}'  # c\n     'd')\n"
    assert marked("in_fstring", lines) == ["f'a\\d{b}'", "# c", "'d'"]
    assert marked("is_name_load", text) == [] and marked("in_binop", text) == []


def test_a_long_chain_is_not_too_deep() -> None:
    text = "x = " + " + ".join(["a"] * 3000) + "\n"
    try:
        ast.parse(text)
    except (RecursionError, MemoryError, SyntaxError):
        with pytest.raises(WireworkError):
            label_lexemes(text)
    else:
        assert len(marked("in_binop", text)) == 5999


@pytest.mark.parametrize(
    ("text", "reason"),
    [("x = (\n", "line 1"), ("x = 1\n  y\n", "line 2"), ("a\rb\n", "carriage return"),
     ("x = 'a\0'\n", "null bytes"), ("x\U000e0100 = 1\n", "at character 1"),
     ("print 'x'\n", "line 1"), ("\ufeffx = y\n", "FEFF"),
     ("x = f'{a['b']}'\n", "line 1|own quotes")],
)  # fmt: skip
def test_what_is_no_python_is_refused_with_the_place(text: str, reason: str) -> None:
    with pytest.raises(WireworkError) as error:
        feature_set("python").label(text)
    assert error.value.code == "text-not-python"
    assert re.search(reason, error.value.got)


@given(st.lists(st.sampled_from(
    ["x", "f(", ")", "[", "]", "{", "}", ":", ",", " ", "\n", "'a'", "# c", "=", ".", "\\\n", "12"]
), max_size=14))  # fmt: skip
def test_lexemes_of_any_text_are_tokenizes_or_refused(pieces: list[str]) -> None:
    text = "".join(pieces)
    try:
        found = lex_python(text)
        ast.parse(text)
    except (WireworkError, SyntaxError):
        return
    wanted = lexemes_by_tokenize(text)
    assert found.strings == [string for _, _, _, string in wanted]
    assert (found.ends > found.starts).all() and (found.starts[1:] >= found.ends[:-1]).all()
