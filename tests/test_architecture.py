"""The house keeps its rules, and every rule notices when it is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from architecture import MAX_FILE_LINES, MAX_FUNCTION_LINES, RULES, Rule
from source_tree import ROOT, SourceTree

LIBRARY = "src/wirework"
CORE_A = f"{LIBRARY}/core/a.py"
RULE_NAMES = {rule.__name__: rule for rule in RULES}

# Of every rule: small trees (path: text) that break it. Joined words keep this file within rules.
OFFENCES: dict[str, list[dict[str, str]]] = {
    "imports_point_down": [
        {f"{LIBRARY}/core/names.py": "import wirework.data.tokenizer"},
        {f"{LIBRARY}/core/names.py": "from wirework.data import Tokenizer"},
        {f"{LIBRARY}/core/names.py": "from wirework import data"},
        {f"{LIBRARY}/core/names.py": "import wirework"},
        {f"{LIBRARY}/core/names.py": "from ..data import Tokenizer"},
        {f"{LIBRARY}/core/names.py": "from .. import data"},
        {f"{LIBRARY}/core/__init__.py": "from ..data import Tokenizer"},
        {f"{LIBRARY}/core/names.py": "def f():\n    from wirework.data import Tokenizer"},
        {f"{LIBRARY}/core/names.py": "f = lambda: __import__('wirework.data')"},
        {f"{LIBRARY}/core/names.py": "import_module('wirework.data')"},
        {f"{LIBRARY}/core/names.py": "if TYPE_CHECKING:\n    import wirework.data"},
        {f"{LIBRARY}/data/tokenizer.py": "from wirework.engine import forward"},
        {f"{LIBRARY}/cli/train.py": "import wirework"},
        {f"{LIBRARY}/cli/train.py": "from wirework.__main__ import main"},
        {f"{LIBRARY}/attic/__init__.py": ""},
        {f"{LIBRARY}/attic/box.py": "from wirework.core import Site"},
    ],
    "no_import_ring": [
        {
            CORE_A: "from wirework.core.b import x",
            f"{LIBRARY}/core/b.py": "def f():\n    from wirework.core import a",
        },
        {
            f"{LIBRARY}/core/__init__.py": "from wirework.core.a import x as x",
            CORE_A: "from wirework.core import y",
        },
        {
            CORE_A: "from . import b",
            f"{LIBRARY}/core/b.py": "from .c import x",
            f"{LIBRARY}/core/c.py": "from wirework.core.a import y",
        },
    ],
    "torch_stays_out": [
        {f"{LIBRARY}/engine/forward.py": "import torch"},
        {f"{LIBRARY}/circuit/circuit.py": "def f():\n    from torch.nn import Linear"},
        {f"{LIBRARY}/cli/train.py": "import torch.nn"},
        {f"{LIBRARY}/__init__.py": "import torch"},
    ],
    "the_top_is_lazy": [
        {f"{LIBRARY}/__init__.py": "from wirework.circuit import Circuit as Circuit"},
        {f"{LIBRARY}/__init__.py": "from .model import Transformer as Transformer"},
    ],
    "files_are_short": [
        {"tests/test_long.py": "x = 1\n" * (MAX_FILE_LINES + 1)},
        {"benchmarks/long.py": "\n" * (MAX_FILE_LINES + 1)},
    ],
    "functions_are_short": [
        {CORE_A: "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES},
        {CORE_A: "async def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES},
    ],
    "the_library_is_silent": [
        {f"{LIBRARY}/cli/train.py": "def f():\n    print('hello')"},
        {CORE_A: "def f():\n    breakpoint()"},
    ],
    "nothing_executable_is_loaded": [
        {CORE_A: "import pickle"},
        {"tests/test_a.py": "def f():\n    from dill import loads"},
        {"benchmarks/a.py": "import joblib.numpy_pickle"},
        {f"{LIBRARY}/model/a.py": "torch.load(path)"},
        {f"{LIBRARY}/model/a.py": "torch.load(path, weights_only=False)"},
        {f"{LIBRARY}/model/a.py": "from torch import load"},
        {f"{LIBRARY}/model/a.py": "np.load(path, allow_pickle=True)"},
        {f"{LIBRARY}/data/a.py": "load_dataset(name, trust_remote_code=flag)"},
        {CORE_A: "eval('1')"},
        {CORE_A: "exec('x = 1')"},
    ],
    "errors_are_not_swallowed": [
        {CORE_A: "try:\n    f()\nexcept:\n    raise"},
        {CORE_A: "try:\n    f()\nexcept Exception:\n    pass"},
        {CORE_A: "try:\n    f()\nexcept (OSError, BaseException):\n    pass"},
        {CORE_A: "with contextlib.suppress(Exception):\n    f()"},
    ],
    "no_attic_modules": [
        {f"{LIBRARY}/core/utils.py": ""},
        {f"{LIBRARY}/helpers/text.py": ""},
    ],
    "no_global_statement": [{CORE_A: "def f():\n    global x\n    x = 1"}],
    "no_work_on_import": [
        {CORE_A: "configure_logging()"},
        {CORE_A: "table = build_table()"},
        {CORE_A: "table = [build_row(i) for i in range(3)]"},
        {CORE_A: "class A:\n    table: int = build_table()"},
        {CORE_A: "for i in range(3):\n    x = i"},
        {CORE_A: "if flag:\n    configure_logging()"},
        {CORE_A: "with open('x') as file:\n    x = 1"},
        {CORE_A: "app.command()(f)"},
        {f"{LIBRARY}/cli/a.py": "configure_logging()"},
    ],
    "modules_say_what_they_are": [
        {CORE_A: "x = 1"},
        {"tests/test_a.py": '"""No full stop"""'},
    ],
    "no_stubs_or_skips": [
        {"tests/test_a.py": "@pytest.mark.skip\ndef test_a(): ..."},
        {"tests/test_a.py": "@pytest.mark.xfail(reason='x')\ndef test_a(): ..."},
        {"tests/test_a.py": "def test_a():\n    pytest.skip('not today')"},
        {"tests/test_a.py": "torch = pytest.importorskip('torch')"},
        {CORE_A: "def f():\n    raise NotImplementedError('soon')"},
        {CORE_A: "x = 1  # TO" + "DO: mend"},
    ],
    "checks_are_not_silenced": [
        {CORE_A: "x = 1  # no" + "qa: F401"},
        {CORE_A: "x = 1  # type: " + "ignore"},
        {"tests/test_a.py": "x = 1  # type: " + "ignore[assignment]"},
    ],
    "error_codes_are_literal": [
        {CORE_A: "class WireworkError:\n    code: str\nWireworkError(name, 'x')"},
        {CORE_A: "def fail(code): ...\nfail('Bad_Code')"},
        {CORE_A: "def fail(code): ...\nfail(code=f'{noun}-bad')"},
    ],
    "text_names_no_machine": [
        {"README.md": "see /" + "tmp/out"},
        {"docs/a.md": "```\ncd /ho" + "me/me/wirework\n```"},
        {"Makefile": "pip install --index-url https://py" + "pi.org/simple"},
    ],
}

# Trees that come close to breaking a rule and do not.
DECENT: dict[str, list[dict[str, str]]] = {
    "imports_point_down": [
        {f"{LIBRARY}/data/a.py": "from wirework.core import Site\nfrom .b import x\nimport torch"},
        {f"{LIBRARY}/cli/a.py": "from wirework.viewer import page"},
        {f"{LIBRARY}/__init__.py": "from wirework.cli import main"},
        {f"{LIBRARY}/__main__.py": "from wirework.cli import main"},
    ],
    "no_import_ring": [
        {
            f"{LIBRARY}/core/__init__.py": "from wirework.core.a import x as x",
            CORE_A: "from wirework.core.b import y",
            f"{LIBRARY}/core/b.py": "if TYPE_CHECKING:\n    from wirework.core.a import x",
        }
    ],
    "torch_stays_out": [
        {
            f"{LIBRARY}/cli/a.py": "def f():\n    import torch",
            f"{LIBRARY}/model/a.py": "import torch",
        },
        {f"{LIBRARY}/engine/a.py": "import torchtitan"},
    ],
    "the_top_is_lazy": [
        {
            f"{LIBRARY}/__init__.py": "from wirework.core import Site as Site\n"
            "def load():\n    from wirework.model import checkpoint"
        }
    ],
    "nothing_executable_is_loaded": [
        {f"{LIBRARY}/model/a.py": "model.eval()\ntorch.load(path, weights_only=True)\nimport json"}
    ],
    "errors_are_not_swallowed": [
        {CORE_A: "try:\n    f()\nexcept OSError:\n    pass"},
        {CORE_A: "try:\n    f()\nexcept Exception as error:\n    raise X from error"},
    ],
    "no_work_on_import": [
        {CORE_A: "PATTERN = re.compile('x')\nA = Site(None, FINAL)\nf = lambda: g()"},
        {CORE_A: "@lru_cache(maxsize=3)\ndef f():\n    return g()"},
        {CORE_A: "if __name__ == '__main__':\n    main()"},
        {f"{LIBRARY}/cli/a.py": "app = typer.Typer()\napp.add_typer(tasks)"},
        {f"{LIBRARY}/cli/a.py": "for command in (train, info):\n    app.command()(command)"},
    ],
    "checks_are_not_silenced": [
        {CORE_A: "x = 1  # type: " + "ignore[untyped-decorator]"},
        {CORE_A: "x = '# no" + "qa'"},
    ],
    "error_codes_are_literal": [
        {CORE_A: "def fail(code):\n    relay(code)\ndef relay(code): ...\nfail('a-b')"},
        {CORE_A: "class A:\n    def add(self, code): ...\n{1}.add(2)"},
    ],
}


def _named(cases: dict[str, list[dict[str, str]]]) -> list[tuple[Rule, dict[str, str]]]:
    return [(RULE_NAMES[name], files) for name, trees in cases.items() for files in trees]


def _write(root: Path, files: dict[str, str]) -> SourceTree:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return SourceTree.read(root)


@pytest.fixture(scope="module")
def project() -> SourceTree:
    return SourceTree.read(ROOT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule: Rule, project: SourceTree) -> None:
    assert rule(project) == []


def test_the_whole_house_is_looked_at(project: SourceTree) -> None:
    paths = {source.path for source in project.sources}
    assert {"src/wirework/core/names.py", "tests/test_architecture.py"} <= paths
    assert {"Makefile", ".ci/run", "pyproject.toml", "README.md"} <= project.texts.keys()
    modules = {source.module for source in project.library}
    assert {"wirework", "wirework.core", "wirework.core.names"} <= modules


@pytest.mark.parametrize(("rule", "files"), _named(OFFENCES))
def test_the_rule_notices(rule: Rule, files: dict[str, str], tmp_path: Path) -> None:
    complaints = rule(_write(tmp_path, files))
    assert complaints
    names = [path.removeprefix("src/").removesuffix(".py").replace("/", ".") for path in files]
    assert any(word in complaints[0] for word in [*files, *names])


@pytest.mark.parametrize(("rule", "files"), _named(DECENT))
def test_the_rule_lets_the_decent_pass(rule: Rule, files: dict[str, str], tmp_path: Path) -> None:
    assert rule(_write(tmp_path, files)) == []


def test_every_rule_is_seen_to_fail() -> None:
    assert OFFENCES.keys() == RULE_NAMES.keys()
