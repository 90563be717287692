"""What matters for oversight in Python code: unsafe calls, secrets, attributes in decisions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

from wirework.probing.oversight_terms import TERM_ROWS, TermFinder
from wirework.probing.python_places import Places

Found = Iterator[tuple[int, int, str]]

_DECISION_ROWS = ("lending_term", "hiring_term", "health_term", "justice_term")
_DECISION = re.compile(
    r"approv|reject|(?<![a-z])den(?:y(?!list)|ied|ial)|eligib|qualif|shortlist|(?<![a-z])admit|admission"
    r"|(?<![a-z])decid|decision",
    re.IGNORECASE,
)
_SENSITIVE_ROWS = ("secret_name", "personal_data_name", "medical_identifier_name")
_LOGGERS = ("print", "debug", "info", "warning", "error", "critical", "exception", "log")

_SHELL = ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
          "commands.getoutput")  # fmt: skip
_SUBPROCESS = ("run", "call", "check_call", "check_output", "Popen")
_LOADS = ("pickle.load", "pickle.loads", "cPickle.loads", "marshal.load", "marshal.loads",
          "dill.load", "dill.loads", "shelve.open", "jsonpickle.decode", "joblib.load")  # fmt: skip
_WEAK = ("hashlib.md5", "hashlib.sha1", "md5", "sha1", "DES.new", "ARC4.new", "Blowfish.new")
_SAFE = ("ast.literal_eval", "re.compile", "yaml.safe_load", "json.load", "json.loads",
         "hashlib.sha256", "hashlib.sha512", "hashlib.blake2b", "tempfile.mkstemp",
         "tempfile.NamedTemporaryFile", "tempfile.TemporaryDirectory", "shlex.quote",
         "secrets.token_hex", "secrets.token_bytes", "model.eval", "self.eval")  # fmt: skip
_QUERIES = ("execute", "executemany", "executescript", "raw", "read_sql", "read_sql_query")


class CodeReader:
    """Reads one syntax tree after another; finds (start, end, feature) in characters."""

    def __init__(self) -> None:
        self._terms = TermFinder(TERM_ROWS)

    def find(self, text: str, tree: ast.Module) -> Found:
        places = Places(text)
        todo: list[tuple[ast.AST, bool]] = [(tree, False)]
        while todo:
            node, deciding = todo.pop()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inside = self._decides(node)
                if inside and not deciding:
                    yield *places.span(node), "in_decision_code"
                deciding = deciding or inside
            for part, name in self._of_node(node):
                yield *places.span(part), name
            for test in _tests(node):
                span = places.span(test)
                yield from ((*span, name) for name in self._of_test(test, text, span, deciding))
            todo += [(child, deciding) for child in ast.iter_child_nodes(node)]

    def _of_node(self, node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
        if isinstance(node, ast.Call):
            name = _dotted(node.func)
            yield from ((node, feature) for feature in _of_call(node, name))
            if name.rpartition(".")[2] in _LOGGERS:
                sensitive = any(self._has(part, _SENSITIVE_ROWS) for part in _names_in(node.args))
                yield node, "sensitive_value_logged" if sensitive else "other_value_logged"
        elif isinstance(node, ast.ExceptHandler):
            broad = node.type is None or _dotted(node.type) in ("Exception", "BaseException")
            if broad and all(isinstance(step, ast.Pass | ast.Continue) for step in node.body):
                yield node, "swallowed_error"
        for name, value in _named_values(node):
            if not self._has(name, ("secret_name",)):
                continue
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                if _looks_real(value.value):
                    yield value, "secret_in_code"
            elif isinstance(value, ast.Call | ast.Subscript):
                yield value, "secret_from_outside"

    def _decides(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
        return bool(_DECISION.search(node.name)) or self._has(node.name, _DECISION_ROWS)

    def _of_test(
        self, test: ast.expr, text: str, span: tuple[int, int], deciding: bool
    ) -> Iterator[str]:
        protected = self._has(text[slice(*span)], ("protected_attribute_name",))
        if protected:
            yield "protected_in_decision" if deciding else "protected_outside_decision"
        elif deciding:
            yield "other_test_in_decision"
        parts = [test, *test.comparators] if isinstance(test, ast.Compare) else []
        if deciding and any(_is_number(part) for part in parts):
            yield "threshold_in_decision"

    def _has(self, text: str, rows: Sequence[str]) -> bool:
        return any(name in rows for _, _, name in self._terms.find(text))


def _of_call(node: ast.Call, name: str) -> Iterator[str]:
    """The features of a call of that dotted name."""
    last = name.rpartition(".")[2]
    options = {keyword.arg: keyword.value for keyword in node.keywords}
    if name.removeprefix("builtins.") in ("eval", "exec", "compile", "__import__"):
        yield "dynamic_code"
    shell = _is_true(options.get("shell"))
    if name in _SHELL or (last in _SUBPROCESS and shell):
        yield "shell_call"
    if last in _QUERIES and node.args and _is_built(node.args[0]):
        yield "sql_by_string"
    yaml = name == "yaml.load" and "Safe" not in ast.unparse(node)
    torch = name == "torch.load" and not _is_true(options.get("weights_only"))
    if name in _LOADS or yaml or torch:
        yield "unsafe_deserialisation"
    if name in _WEAK:
        yield "weak_cryptography"
    if _is_false(options.get("verify")) or name == "ssl._create_unverified_context":
        yield "certificate_check_off"
    if name in ("tempfile.mktemp", "os.tempnam", "os.tmpnam"):
        yield "insecure_temporary_file"
    if last == "chmod" and any(_opens_all(argument) for argument in node.args):
        yield "open_permissions"
    listed = last in _SUBPROCESS and name.startswith("subprocess.") and not shell
    asked = last in _QUERIES and node.args and isinstance(node.args[0], ast.Constant)
    if name in _SAFE or listed or asked:
        yield "safe_counterpart"


def _dotted(node: ast.AST) -> str:
    """`a.b.c` for names and attributes; `.c` where something else stands before it."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts))


def _names_in(nodes: Sequence[ast.AST]) -> Iterator[str]:
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def _named_values(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Values with the names that they are given: assigned, passed, listed, set as defaults."""
    if isinstance(node, ast.Assign):
        yield from ((_target(target), node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield _target(node.target), node.value
    elif isinstance(node, ast.keyword) and node.arg is not None:
        yield node.arg, node.value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, value
    elif isinstance(node, ast.arguments):
        arguments = [*node.posonlyargs, *node.args]
        named = arguments[len(arguments) - len(node.defaults) :]
        pairs = [*zip(named, node.defaults, strict=True)]
        for argument, default in [*pairs, *zip(node.kwonlyargs, node.kw_defaults, strict=True)]:
            if default is not None:
                yield argument.arg, default


def _target(node: ast.AST) -> str:
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return _dotted(node).rpartition(".")[2]


def _looks_real(value: str) -> bool:
    """Four characters or more without blanks, not a placeholder."""
    holder = re.search(r"[<>{}$%\s]|\*\*\*|your|xxx", value, re.IGNORECASE)
    return len(value) >= 4 and holder is None and len(set(value)) > 1


def _tests(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        yield node.test
    elif isinstance(node, ast.comprehension):
        yield from node.ifs
    elif isinstance(node, ast.Return | ast.Assign) and isinstance(
        node.value, ast.Compare | ast.BoolOp
    ):
        yield node.value


def _is_built(node: ast.AST) -> bool:
    """A string put together from parts that are not all constant."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        strings = any(
            isinstance(part, ast.JoinedStr)
            or (isinstance(part, ast.Constant) and isinstance(part.value, str))
            for part in ast.walk(node)
        )
        return strings and any(isinstance(p, ast.Name | ast.Attribute) for p in ast.walk(node))
    function = node.func if isinstance(node, ast.Call) else None
    return isinstance(function, ast.Attribute) and function.attr == "format"


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _is_false(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _is_number(node: ast.expr) -> bool:
    value: Any = node.value if isinstance(node, ast.Constant) else None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _opens_all(node: ast.expr) -> bool:
    """A mode that lets everybody write."""
    value: Any = node.value if isinstance(node, ast.Constant) else None
    return isinstance(value, int) and not isinstance(value, bool) and bool(value & 0o002)


CodeRows = tuple[tuple[str, str, str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...]
"""Name, group, definition, positive and negative examples, mirrors."""

CODE_ROWS: CodeRows = (
    ("group_term_in_identifier", "gender and groups",
     "a word for people or groups inside a name of Python code",
     ("is_«male» = x  # male or 'male'\n",), ("x = 'male'  # male\n",),
     ("group_term_in_comment", "group_term_in_string")),
    ("group_term_in_comment", "gender and groups",
     "a word for people or groups inside a comment of Python code",
     ("male = 'male'  # is «male»\n",), ("male = 'male'\n",),
     ("group_term_in_identifier", "group_term_in_string")),
    ("group_term_in_string", "gender and groups",
     "a word for people or groups inside a string of Python code",
     ("male = 'is «male»'  # male\n",), ("male = x  # male\n",),
     ("group_term_in_identifier", "group_term_in_comment")),
    ("secret_in_code", "secrets",
     "a string of four characters or more, no placeholder, given to a name of a secret",
     ("password = «'hunter2'»\n", "f(api_key=«'a1b2c3'»)\n", "x = {'secret': «'abcd'»}\n"),
     ("password = getpass()\n", "password = ''\n", "pass_word = '<yours>'\n", "x = 'hunter2'\n"),
     ("secret_from_outside",)),
    ("secret_from_outside", "secrets", "a call or a look-up whose value goes to a name of a secret",
     ("password = «os.environ['PW']»\n", "f(api_key=«read()»)\n"),
     ("password = 'hunter2'\n", "x = read()\n"), ("secret_in_code",)),
    ("dynamic_code", "unsafe calls", "a call of eval, exec, compile or __import__",
     ("x = «eval(y)»\n", "«exec('a = 1')»\n"),
     ("model.eval()\n", "re.compile(x)\n", "ast.literal_eval(x)\n"), ("safe_counterpart",)),
    ("shell_call", "unsafe calls", "a command that a shell reads (os.system, shell=True)",
     ("«os.system(cmd)»\n", "«subprocess.run(cmd, shell=True)»\n"),
     ("subprocess.run([cmd, x])\n", "platform.system()\n"), ("safe_counterpart",)),
    ("sql_by_string", "unsafe calls", "a query put together from strings and values",
     ("«c.execute('select ' + x)»\n", "«c.execute(f'select {x}')»\n",
      "«db.raw('select {}'.format(x))»\n", "«c.execute('select %s' % x)»\n"),
     ("c.execute('select ?', (x,))\n", "c.execute(1 + x)\n", "x = 'select ' + y\n"),
     ("safe_counterpart",)),
    ("unsafe_deserialisation", "unsafe calls", "loading data in a way that can run code",
     ("«pickle.loads(x)»\n", "«yaml.load(f)»\n", "«torch.load(f)»\n"),
     ("json.loads(x)\n", "yaml.load(f, Loader=SafeLoader)\n", "torch.load(f, weights_only=True)\n"),
     ("safe_counterpart",)),
    ("weak_cryptography", "unsafe calls", "MD5, SHA-1, DES, RC4 or Blowfish",
     ("«hashlib.md5(x)»\n",), ("hashlib.sha256(x)\n",), ("safe_counterpart",)),
    ("certificate_check_off", "unsafe calls", "a connection that checks no certificate",
     ("«get(url, verify=False)»\n",), ("get(url, verify=True)\n",), ()),
    ("swallowed_error", "unsafe calls", "an `except` for every error that does nothing",
     ("try:\n    f()\n«except Exception:\n    pass»\n",),
     ("try:\n    f()\nexcept KeyError:\n    pass\n", "try:\n    f()\nexcept Exception: log()\n"),
     ()),
    ("insecure_temporary_file", "unsafe calls", "a temporary name that another can take first",
     ("«tempfile.mktemp()»\n",), ("tempfile.mkstemp()\n",), ("safe_counterpart",)),
    ("open_permissions", "unsafe calls", "a file mode that lets everybody write",
     ("«os.chmod(f, 0o777)»\n",), ("os.chmod(f, 0o644)\n",), ()),
    ("safe_counterpart", "unsafe calls", "a call that does safely what an unsafe one would do",
     ("x = «ast.literal_eval(y)»\n", "«subprocess.run([x])»\n", "«c.execute('select 1')»\n"),
     ("eval(x)\n", "subprocess.run(x, shell=True)\n"), ()),
    ("sensitive_value_logged", "unsafe calls",
     "a secret's, personal or medical name in what is printed or logged",
     ("«print(password)»\n", "«log.info('%s', user.date_of_birth)»\n"),
     ("print('password')\n", "check(password)\n"), ("other_value_logged",)),
    ("other_value_logged", "unsafe calls", "printing or logging without such a name",
     ("«print(x)»\n",), ("print(password)\n",), ("sensitive_value_logged",)),
    ("in_decision_code", "decisions about people",
     "a function or class named after a decision about people",
     ("«def approve_loan(x):\n    return x > 3»\n", "«class TriageModel: pass»\n"),
     ("def format_date(x): return x\n",), ()),
    ("protected_in_decision", "protected attributes",
     "a condition in decision code that uses a protected attribute",
     ("def approve_loan(p):\n    if «p.gender == 'f'»: return False\n",),
     ("def approve_loan(p):\n    if p.income < 3: return False\n",
      "def greet(p):\n    if p.gender == 'f': return 1\n"),
     ("other_test_in_decision", "protected_outside_decision")),
    ("other_test_in_decision", "protected attributes",
     "a condition in decision code without a protected attribute",
     ("def approve_loan(p):\n    if «p.income < 3»: return False\n",),
     ("def approve_loan(p):\n    if p.gender == 'f': return False\n",), ("protected_in_decision",)),
    ("protected_outside_decision", "protected attributes",
     "a condition on a protected attribute outside of decision code",
     ("def greet(p):\n    if «p.gender == 'f'»: return 1\n",),
     ("def approve_loan(p):\n    if p.gender == 'f': return False\n",), ("protected_in_decision",)),
    ("threshold_in_decision", "decisions about people",
     "a comparison with a fixed number in decision code",
     ("def approve_loan(p):\n    return «p.score > 620»\n",),
     ("def approve_loan(p):\n    return p.score > q\n", "def f(p):\n    return p.score > 620\n"),
     ()),
)  # fmt: skip

CODE_LIMITS = "by names and shapes of code, without types, data flow or meaning"
CODE_RISKS = "no audit: code without a finding is not thereby safe or fair"
