"""The rules of the house, each a function from a source tree to its complaints."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath
from typing import TypeVar

from error_codes import error_codes
from floors import ROOF, floor_of, package_of
from source_tree import PACKAGE, Import, Source, SourceTree

Rule = Callable[[SourceTree], list[str]]
Syntax = TypeVar("Syntax", bound=ast.AST)

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 150

ATTICS = {"utils", "util", "misc", "common", "helpers"}
EXECUTABLE_FORMATS = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
HARMLESS_CALLS = {
    *("bool", "bytes", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple"),
    *("enumerate", "len", "map", "max", "min", "range", "sorted", "sum", "zip"),
    *("array", "compile", "dtype", "field", "fields", "finfo", "fromkeys", "iinfo"),
    *("log", "resolve", "split", "sqrt", "tag", "with_name"),
    *("float32", "float64", "int32", "int64", "uint8", "uint64"),
}
"""What a module may call while it is imported, besides classes: cheap, and without effect."""

# Bracketed letters keep the patterns from matching themselves.
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:tm[p]|wor[k]|hom[e]|roo[t]|User[s])/")
REGISTRY_HOSTS = re.compile(
    r"py[p]i\.org|pythonho[s]ted|npm[j]s|deb\.debi[a]n|download\.pytorc[h]", re.IGNORECASE
)
STUBS = re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X]|HAC[K])\b")


def imports_point_down(tree: SourceTree) -> list[str]:
    found = []
    for source in tree.library:
        here = floor_of(source.module)
        parts = source.module.split(".")
        if here is ROOF and (len(parts) > 2 or (len(parts) == 2 and source.is_package)):
            found.append(f"{source.path}:1: the package {parts[1]} has no floor")
        for used in _own_imports(source):
            module = f"{used.target}.{used.name}" if used.target == PACKAGE else used.target
            there = floor_of(module)
            inside = here is ROOF or package_of(module) == package_of(source.module) != ""
            if not inside and there.level >= here.level:
                found.append(
                    f"{source.path}:{used.line}: {source.module} (floor {here.level}) "
                    f"imports {module.rstrip('.')} (floor {there.level})"
                )
    return found


def no_import_ring(tree: SourceTree) -> list[str]:
    modules = {source.module for source in tree.library}
    graph: dict[str, set[str]] = {}
    for source in tree.library:
        targets = set()
        for used in _own_imports(source):
            inner = f"{used.target}.{used.name}"
            if not used.typing_only:
                targets.add(inner if inner in modules else used.target)
        graph[source.module] = targets
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return ["modules import each other in a ring: " + " <- ".join(error.args[1])]
    return []


def torch_stays_out(tree: SourceTree) -> list[str]:
    found = []
    for source in tree.library:
        allowed = floor_of(source.module).torch
        for used in source.imports:
            if used.target.partition(".")[0] != "torch" or allowed == "yes":
                continue
            if allowed == "no" or not (used.deferred or used.typing_only):
                found.append(f"{source.path}:{used.line}: torch here? The floor says {allowed!r}")
    return found


def the_top_is_lazy(tree: SourceTree) -> list[str]:
    return [
        f"{source.path}:{used.line}: `import {PACKAGE}` would import {used.target}"
        for source in tree.library
        if source.module == PACKAGE
        for used in _own_imports(source)
        if not (used.deferred or used.typing_only) and package_of(used.target) != "core"
    ]


def files_are_short(tree: SourceTree) -> list[str]:
    return [
        f"{source.path}:{lines}: {lines} lines are more than {MAX_FILE_LINES}"
        for source in tree.sources
        if (lines := len(source.text.splitlines())) > MAX_FILE_LINES
    ]


def functions_are_short(tree: SourceTree) -> list[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        f"{source.path}:{node.lineno}: {node.name} has more than {MAX_FUNCTION_LINES} lines"
        for source, node in _find(tree.sources, ast.stmt)
        if isinstance(node, functions)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    ]


def the_library_is_silent(tree: SourceTree) -> list[str]:
    return [
        f"{source.path}:{node.lineno}: {name}() in the library"
        for source, node in _find(tree.library, ast.Call)
        if (name := ast.unparse(node.func)) in ("print", "pprint", "pprint.pprint", "breakpoint")
    ]


def nothing_executable_is_loaded(tree: SourceTree) -> list[str]:
    found = []
    for source in tree.sources:
        for used in source.imports:
            if used.target.partition(".")[0] in EXECUTABLE_FORMATS:
                found.append(f"{source.path}:{used.line}: {used.target} runs what it loads")
            if (used.target, used.name) == ("torch", "load"):
                found.append(f"{source.path}:{used.line}: call torch.load by its full name")
    for source, node in _find(tree.sources, ast.Call):
        name = ast.unparse(node.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        unsafe = (
            name in ("eval", "exec")
            or (name == "torch.load" and options.get("weights_only") != "True")
            or options.get("allow_pickle", "False") != "False"
            or options.get("trust_remote_code", "False") != "False"
        )
        if unsafe:
            found.append(f"{source.path}:{node.lineno}: {name} may run what it is given")
    return found


def errors_are_not_swallowed(tree: SourceTree) -> list[str]:
    found = []
    for source, handler in _find(tree.sources, ast.ExceptHandler):
        kind = "" if handler.type is None else ast.unparse(handler.type)
        ignored = all(isinstance(step, ast.Pass | ast.Continue) for step in handler.body)
        if not kind or (ignored and re.search(r"\b(Base)?Exception\b", kind)):
            found.append(f"{source.path}:{handler.lineno}: this `except` hides every mistake")
    for source, call in _find(tree.sources, ast.Call):
        if re.fullmatch(r"(contextlib\.)?suppress\((Base)?Exception\)", ast.unparse(call)):
            found.append(f"{source.path}:{call.lineno}: this `suppress` hides every mistake")
    return found


def no_attic_modules(tree: SourceTree) -> list[str]:
    return [
        f"{source.path}:1: a name that says nothing; name the module after what it does"
        for source in tree.library
        if ATTICS.intersection(PurePosixPath(source.path.removesuffix(".py")).parts)
    ]


def no_global_statement(tree: SourceTree) -> list[str]:
    return [
        f"{source.path}:{node.lineno}: global {', '.join(node.names)}"
        for source, node in _find(tree.sources, ast.Global)
    ]


def no_work_on_import(tree: SourceTree) -> list[str]:
    found = []
    for source in tree.library:
        for step in _steps_on_import(source.tree.body):
            # Typer's commands are put together from calls and loops.
            if package_of(source.module) == "cli" and "app." in ast.unparse(step):
                continue
            if isinstance(step, ast.For | ast.While | ast.With | ast.Try):
                found.append(f"{source.path}:{step.lineno}: a block that runs on import")
            elif isinstance(step, ast.Expr) and isinstance(step.value, ast.Call):
                found.append(f"{source.path}:{step.lineno}: a call that runs on import")
            elif isinstance(step, ast.Assign | ast.AnnAssign) and step.value is not None:
                found += [
                    f"{source.path}:{step.lineno}: {ast.unparse(call.func)}() runs on import"
                    for call in _calls(step.value)
                    if not _is_harmless(call)
                ]
    return found


def modules_say_what_they_are(tree: SourceTree) -> list[str]:
    return [
        f"{source.path}:1: no docstring whose first line says what the file is"
        for source in tree.sources
        if not source.summary.endswith((".", "?", "!"))
    ]


def no_stubs_or_skips(tree: SourceTree) -> list[str]:
    found = []
    for source, node in _find(tree.sources, ast.Attribute):
        if re.fullmatch(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)", ast.unparse(node)):
            found.append(f"{source.path}:{node.lineno}: {ast.unparse(node)}")
    for source, name in _find(tree.library, ast.Name):
        if name.id == "NotImplementedError":
            found.append(f"{source.path}:{name.lineno}: not implemented")
    for source in tree.sources:
        for line, comment in _comments(source):
            if STUBS.search(comment):
                found.append(f"{source.path}:{line}: {comment}")
    return found


def checks_are_not_silenced(tree: SourceTree) -> list[str]:
    """Some of numba's and torch's functions have no types; nothing else needs to be silenced."""
    return [
        f"{source.path}:{line}: {comment}"
        for source in tree.sources
        for line, comment in _comments(source)
        if re.search(r"\bnoqa\b|pragma:|type:\s*ignore", comment)
        and not re.fullmatch(r"# type: ignore\[(untyped-decorator|no-untyped-call)\]", comment)
    ]


def error_codes_are_literal(tree: SourceTree) -> list[str]:
    return [
        f"{error.path}:{error.line}: write the code as a literal in kebab-case, not {error.code!r}"
        for error in error_codes(tree)
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", error.code)
    ]


def text_names_no_machine(tree: SourceTree) -> list[str]:
    return [
        f"{path}:{number}: {match.group()} belongs to one machine or registry"
        for path, text in tree.texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        for pattern in (MACHINE_PATHS, REGISTRY_HOSTS)
        if (match := pattern.search(line))
    ]


RULES: tuple[Rule, ...] = (
    imports_point_down,
    no_import_ring,
    torch_stays_out,
    the_top_is_lazy,
    files_are_short,
    functions_are_short,
    the_library_is_silent,
    nothing_executable_is_loaded,
    errors_are_not_swallowed,
    no_attic_modules,
    no_global_statement,
    no_work_on_import,
    modules_say_what_they_are,
    no_stubs_or_skips,
    checks_are_not_silenced,
    error_codes_are_literal,
    text_names_no_machine,
)


def _find(sources: Iterable[Source], kind: type[Syntax]) -> Iterator[tuple[Source, Syntax]]:
    for source in sources:
        for node in source.nodes:
            if isinstance(node, kind):
                yield source, node


def _own_imports(source: Source) -> Iterator[Import]:
    for used in source.imports:
        if used.target == PACKAGE or used.target.startswith(f"{PACKAGE}."):
            yield used


def _comments(source: Source) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _steps_on_import(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported, also those in classes and conditions."""
    for step in body:
        if isinstance(step, ast.If):
            if "__name__" not in ast.unparse(step.test):
                yield from _steps_on_import([*step.body, *step.orelse])
        elif isinstance(step, ast.ClassDef):
            yield from _steps_on_import(step.body)
        else:
            yield step


def _calls(value: ast.AST) -> Iterator[ast.Call]:
    if isinstance(value, ast.Lambda):
        return
    if isinstance(value, ast.Call):
        yield value
    for child in ast.iter_child_nodes(value):
        yield from _calls(child)


def _is_harmless(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    return name in HARMLESS_CALLS or name.lstrip("_")[:1].isupper()
