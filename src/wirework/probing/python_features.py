"""The 170 features of Python code (sparse_probing.md §9): labels on whole files, by lexeme."""

from __future__ import annotations

import builtins
import keyword
from collections import Counter
from collections.abc import Callable, Container, Iterable

import numpy as np
from numpy.typing import NDArray

from wirework.core.errors import WireworkError
from wirework.probing.feature import NOT_ASKED, Feature, FeatureSet, Integers, Labels, Marks, Text
from wirework.probing.python_catalog import LEXEME_FEATURES
from wirework.probing.python_catalog_syntax import SYNTAX_FEATURES
from wirework.probing.python_lexemes import (
    NAME,
    NEWLINE,
    Lexemes,
    lex_python,
    not_python,
)
from wirework.probing.python_places import Places
from wirework.probing.python_scopes import TYPES, Scope
from wirework.probing.python_spelling import spelling
from wirework.probing.python_syntax import Syntax, parse_python, read_syntax

Mask = NDArray[np.bool_]

_MIRRORS = {
    "in_dict_key": ("in_dict_value",), "in_dict_value": ("in_dict_key",),
    "in_assign_target": ("in_assign_rhs",), "in_assign_rhs": ("in_assign_target",),
    "in_if_body": ("in_else_or_elif_body",), "in_else_or_elif_body": ("in_if_body",),
    "in_try_body": ("in_except_handler",), "in_except_handler": ("in_try_body",),
    "is_param_definition": ("is_param_use",), "is_param_use": ("is_param_definition",),
    "is_called_function": ("is_variable_not_function",),
    "is_variable_not_function": ("is_called_function",),
    "is_open_bracket": ("is_close_bracket",), "is_close_bracket": ("is_open_bracket",),
    "innermost_is_paren": ("innermost_is_square", "innermost_is_curly"),
    "innermost_is_square": ("innermost_is_paren", "innermost_is_curly"),
    "innermost_is_curly": ("innermost_is_paren", "innermost_is_square"),
    "var_type_list": ("var_type_dict", "var_type_set", "var_type_tuple"),
    "var_type_dict": ("var_type_list", "var_type_set", "var_type_tuple"),
    "var_type_set": ("var_type_list", "var_type_dict", "var_type_tuple"),
    "var_type_tuple": ("var_type_list", "var_type_dict", "var_type_set"),
}  # fmt: skip
"""Hard negatives (sparse_probing.md §9)."""


def python_features() -> FeatureSet:
    """`feature_set("python")`: 170 features of lexemes in Python files.

    Labels hold for lexemes; blanks, blank lines and ends of lines inside brackets are not asked,
    and of the inferred types only variables of some known type. A file that this Python does not
    parse raises `text-not-python`.
    """
    features = tuple(
        Feature(
            name, group, definition, (positive,), (negative,),
            among="variables of a known type" if group == TYPE_GROUP else "lexemes",
            mirrors=_MIRRORS.get(name, ()),
            limits=_LIMITS.get(group, ""),
        )
        for group, rows in (LEXEME_FEATURES | SYNTAX_FEATURES).items()
        for name, definition, positive, negative in rows
    )  # fmt: skip
    names = tuple(feature.name for feature in features)

    def labeller(text: Text) -> Marks:
        lexemes, columns = label_lexemes(text.text)
        values = np.empty((len(lexemes), len(names)), np.int8)
        for column, name in enumerate(names):
            values[:, column] = columns[name]
        rest = np.full(len(names), NOT_ASKED, np.int8)
        return Marks(lexemes.starts, lexemes.ends, values, rest)

    how = "lexemes and syntax tree of the whole file, marked by character"
    return FeatureSet("python", features, labeller, how=how)


TYPE_GROUP = "inferred variable type"

_LIMITS = {
    TYPE_GROUP: "read off literals only: what was assigned since from a call is not seen",
    "identifier role": "names inside f-strings are part of one string lexeme",
    "inside which expression": "what stands inside an f-string is one string lexeme",
}


def label_lexemes(text: str) -> tuple[Lexemes, dict[str, Labels | Mask]]:
    """The lexemes of a file and, by feature, their labels (L). Raises `text-not-python`."""
    tree = parse_python(text)
    lexemes = lex_python(text)
    syntax = read_syntax(tree)
    place = Places(text)
    depths = _depths(lexemes, syntax, place)
    for index in np.flatnonzero(depths("fstring") > 0).tolist():
        _require_whole(lexemes.strings[index])
    columns: dict[str, Labels | Mask] = {}
    columns |= spelling(lexemes)
    columns |= _roles(lexemes, syntax, place)
    columns |= _inside(depths)
    columns |= _layout(lexemes, depths)
    columns |= _neighbours(lexemes)
    return lexemes, columns


def _require_whole(string: str) -> None:
    """Python 3.12 lets an f-string hold its own quotes, where a lexeme as cut here would end.

    Raises `text-not-python`.
    """
    try:
        parse_python(string)
    except WireworkError:
        shown = f"{string[:40]!r}, an f-string with its own quotes inside"
        raise not_python(shown) from None


def _index(flat: list[int], places: Places, edges: Integers) -> Integers:
    """The lexemes whose `edges` (starts or ends) are at flat (line, column) pairs.

    Raises `text-not-python` where the parser sees a name that is no lexeme.
    """
    pairs = np.array(flat, np.int64).reshape(-1, 2)
    characters = places.characters(pairs[:, 0], pairs[:, 1])
    found = np.searchsorted(edges, characters)
    known = np.minimum(found, max(len(edges) - 1, 0))
    if len(characters) and (not len(edges) or (edges[known] != characters).any()):
        raise not_python("its lexemes and its syntax tree disagree")
    return found


def _depths(lexemes: Lexemes, syntax: Syntax, place: Places) -> Callable[[str], Integers]:
    """How many stretches of a region every lexeme starts inside of, by region."""

    def of(region: str) -> Integers:
        flat = np.array(syntax.regions.get(region, []), np.int64).reshape(-1, 4)
        edges = [place.characters(flat[:, i], flat[:, i + 1]) for i in (0, 2)]
        first, last = (np.searchsorted(lexemes.starts, edge) for edge in edges)
        size = len(lexemes) + 1
        step = np.bincount(first, minlength=size) - np.bincount(last, minlength=size)
        return np.cumsum(step)[:-1]

    return of


def _inside(depths: Callable[[str], Integers]) -> dict[str, Mask]:
    function, classes = depths("function"), depths("class")
    names = [row[0] for rows in SYNTAX_FEATURES.values() for row in rows]
    found: dict[str, Mask] = {
        name: depths(name.removeprefix("in_")) > 0 for name in names if name.startswith("in_")
    }
    found["at_module_level"] = (function == 0) & (classes == 0)
    found["in_function_body"] = (function > 0) & ~found["in_def_header"]
    found["in_class_body"] = classes > 0
    return found


def _roles(lexemes: Lexemes, syntax: Syntax, place: Places) -> dict[str, Labels | Mask]:
    """Groups E and F."""

    def marked(where: Integers | list[int]) -> Mask:
        found = np.zeros(len(lexemes), bool)
        found[where] = True
        return found

    names = syntax.names
    starts = [number for node, _ in names for number in (node.lineno, node.col_offset)]
    at = _index(starts, place, lexemes.starts)
    kinds = [type(node.ctx).__name__ for node, _ in names]
    load = marked(at[[kind == "Load" for kind in kinds]])
    store = marked(at[[kind == "Store" for kind in kinds]])
    called = marked(at[[id(node) in syntax.called for node, _ in names]])
    roles = _resolved(syntax)
    types = np.full(len(lexemes), -1, np.int8)
    types[at] = _types(syntax)
    identifier = _identifiers(lexemes)
    behind = ["", *lexemes.strings][: len(lexemes)]
    seen = _seen_before(lexemes, identifier)
    found: dict[str, Labels | Mask] = {
        "is_name_load": load,
        "is_name_store": store,
        "is_attribute_name": marked(_index(syntax.attributes, place, lexemes.ends)),
        "is_called_function": called,
        "is_called_method": marked(_index(syntax.called_attributes, place, lexemes.ends)),
        "is_kwarg_name": marked(_index(syntax.keywords, place, lexemes.starts)),
        "is_function_name_def": identifier & _is_among(behind, ("def",)),
        "is_class_name_def": identifier & _is_among(behind, ("class",)),
        "is_param_definition": marked(_index(syntax.params, place, lexemes.starts)),
        "is_variable_not_function": (load | store) & ~called,
        "is_first_use_in_file": identifier & (seen == 0),
        "is_repeated_identifier": identifier & (seen >= 3),
    }
    for role, chosen in roles.items():
        found[role] = marked(at[chosen])
    for number, kind in enumerate(TYPES):
        labels = (types == number).astype(np.int8)
        found[f"var_type_{kind}"] = np.where(types >= 0, labels, np.int8(NOT_ASKED))
    return found


def _resolved(syntax: Syntax) -> dict[str, Mask]:
    """Which of the names are what, by where they are bound."""
    known = frozenset(dir(builtins))
    bound = set().union(
        *(s.params | s.assigned | s.imported | s.defined for s in syntax.scopes)
    )  # fmt: skip
    cache: dict[tuple[int, str], tuple[bool, bool, bool, bool, bool]] = {}
    rows = []
    for node, scope in syntax.names:
        key = (id(scope), node.id)
        if key not in cache:
            cache[key] = _role(node.id, scope, known, bound)
        rows.append(cache[key])
    table = np.array(rows, bool).reshape(-1, 5)
    names = ("is_param_use", "is_local_var", "is_module_global", "is_imported_name_use",
             "is_builtin_name")  # fmt: skip
    return {name: table[:, i] for i, name in enumerate(names)}


def _role(
    name: str, scope: Scope, known: frozenset[str], bound: set[str]
) -> tuple[bool, bool, bool, bool, bool]:
    home = scope.resolve(name)
    if home is None:
        return False, False, False, False, name in known and name not in bound
    param = name in home.params
    assigned = name in home.assigned and not param
    at_module = home.kind == "module"
    own = not at_module and home in _own_scopes(scope)
    return param, assigned and own, assigned and at_module, name in home.imported, False


def _own_scopes(scope: Scope) -> list[Scope]:
    """Comprehensions around a place up to its function, class or module, this one too."""
    return [s for s in scope.chain() if s.owner is scope.owner]


def _types(syntax: Syntax) -> list[int]:
    """For every name its place in `TYPES`, -1 where none is known."""
    found = []
    typed = set().union(*(scope.literals for scope in syntax.scopes))
    for node, scope in syntax.names:
        if node.id not in typed:
            found.append(-1)
            continue
        kind = scope.type_at(node.id, (node.lineno, node.col_offset))
        found.append(-1 if kind is None else TYPES.index(kind))
    return found


def _identifiers(lexemes: Lexemes) -> Mask:
    words = frozenset(keyword.kwlist)
    found: Mask = (lexemes.kinds == NAME) & ~_is_among(lexemes.strings, words)
    return found


def _seen_before(lexemes: Lexemes, identifier: Mask) -> Integers:
    """How often each identifier stood in the file before; 0 for other lexemes."""
    count: Counter[str] = Counter()
    found = np.zeros(len(lexemes), np.int64)
    for place in np.flatnonzero(identifier).tolist():
        name = lexemes.strings[place]
        found[place] = count[name]
        count[name] += 1
    return found


def _layout(lexemes: Lexemes, depths: Callable[[str], Integers]) -> dict[str, Mask]:
    """Groups J and K."""
    row = lexemes.lines - 1
    shown = [line.removesuffix("\r") for line in lexemes.text.split("\n")]
    indents = np.array([_indent(line) for line in shown], np.int64)[row]
    blank = np.array([True, *(not line.strip() for line in shown)], bool)
    blank[0] = False
    depth, innermost = lexemes.depth, lexemes.innermost
    first = _is_first(lexemes)
    # A closing bracket lies outside of itself, but what it closes is open before it.
    closes = _is_among(lexemes.strings, (")", "]", "}"))
    return {
        **{f"bracket_depth_ge{n}": depth >= n for n in (1, 2, 3)},
        **{f"innermost_is_{name}": innermost == i + 1
           for i, name in enumerate(("paren", "square", "curly"))},
        "call_depth_ge2": depths("call_args") >= 2,
        "loop_depth_ge2": depths("for") + depths("while") >= 2,
        "if_depth_ge2": depths("if") >= 2,
        "indent_0": indents == 0,
        "indent_4": indents == 4,
        "indent_ge8": indents >= 8,
        "indent_ge12": indents >= 12,
        "first_lexeme_in_line": first,
        "last_lexeme_in_line": _is_last(lexemes),
        "col_ge40": lexemes.columns >= 40,
        "col_ge72": lexemes.columns >= 72,
        "line_no_le10": lexemes.lines <= 10,
        "line_no_ge500": lexemes.lines >= 500,
        "is_continuation_line": first & ((depth >= 1) | closes),
        "after_blank_line": first & blank[row],
        "line_ends_with_colon": np.array([s.rstrip().endswith(":") for s in shown], bool)[row],
        "line_longer_79": np.array([len(s) > 79 for s in shown], bool)[row],
    }  # fmt: skip


def _indent(line: str) -> int:
    """Columns of white space before a line; tabs reach to the next multiple of eight."""
    inner = len(line) - len(line.lstrip(" \t\f"))
    if "\t" not in line and "\f" not in line:
        return inner
    return len(line[:inner].replace("\f", "").expandtabs(8))


def _is_first(lexemes: Lexemes) -> Mask:
    """Only blanks before it in its line: no lexeme of the line before it, nor one reaching in."""
    before = np.concatenate(([0], lexemes.ends[:-1])) if len(lexemes) else np.zeros(0, np.int64)
    # An end of line ends where the next line starts.
    found: Mask = before <= lexemes.line_starts[lexemes.lines - 1]
    code: Mask = lexemes.kinds != NEWLINE
    return found & code


def _is_last(lexemes: Lexemes) -> Mask:
    """Only blanks behind it in the line where it ends."""
    codes = np.frombuffer(lexemes.text.encode("utf-32-le"), np.uint32)
    shown = np.flatnonzero(~np.isin(codes, (0x20, 0x09, 0x0C, 0x0D)))
    stops = np.concatenate((codes[shown] == 0x0A, [True]))
    found: Mask = stops[np.searchsorted(shown, lexemes.ends)]
    newline: Mask = lexemes.kinds == NEWLINE
    return found | newline


def _is_among(strings: Iterable[str], wanted: Container[str]) -> Mask:
    return np.array([string in wanted for string in strings], bool)


def _neighbours(lexemes: Lexemes) -> dict[str, Mask]:
    """Group L."""
    strings = lexemes.strings
    before, after = ["", *strings][: len(strings)], [*strings, ""][1:]

    newline = np.concatenate((lexemes.kinds[1:] == NEWLINE, [False]))[: len(lexemes)]
    return {
        "prev_is_dot": _is_among(before, (".",)),
        "prev_is_open_paren": _is_among(before, ("(",)),
        "prev_is_comma": _is_among(before, (",",)),
        "prev_is_equals": _is_among(before, ("=",)),
        "next_is_open_paren": _is_among(after, ("(",)),
        "next_is_dot": _is_among(after, (".",)),
        "next_is_colon": _is_among(after, (":",)),
        "next_is_newline": newline,
        "next_is_equals": _is_among(after, ("=",)),
        "next_is_close_bracket": _is_among(
            after,
            (
                ")",
                "]",
                "}",
            ),
        ),
    }
