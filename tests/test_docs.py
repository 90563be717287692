"""The written pages say what is so: map of files, table of errors, links."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from error_codes import error_codes
from floors import FLOORS
from source_tree import ROOT, SourceTree
from wirework.cli.app import app
from write_docs import PAGES

COMMAND = re.compile(r"^[@\s]*(?:wirework|\$\(WIREWORK\)) (?P<words>[a-z].*)$", re.MULTILINE)
GROUPS = {"bench", "graph", "tasks", "probe"}
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)#\s]+)(#[^)\s]*)?\)")


@pytest.fixture(scope="module")
def project() -> SourceTree:
    return SourceTree.read(ROOT)


@pytest.mark.parametrize("path", PAGES)
def test_the_generated_page_is_up_to_date(path: str, project: SourceTree) -> None:
    assert project.texts[path] == PAGES[path](project), "run `make docs`"


def test_the_map_lists_every_module(project: SourceTree) -> None:
    listed = re.findall(r"\]\(\.\./(\S+)\)", project.texts["docs/map.md"])
    assert sorted(listed) == sorted(source.path for source in project.sources)


def test_every_code_in_the_sources_is_in_the_table(project: SourceTree) -> None:
    """A second, blunter reading: no literal first argument of `WireworkError` is missed."""
    listed = set(re.findall(r"^\| `([a-z0-9-]+)` \|", project.texts["docs/errors.md"], re.M))
    for source in project.library:
        assert listed.issuperset(re.findall(r'WireworkError\(\s*"([^"]+)"', source.text))
    assert {"site-unknown", "measure-unknown", "disk-full"} <= listed


def test_codes_are_found_however_they_are_given() -> None:
    tree = SourceTree(
        {
            "src/wirework/core/errors.py": (
                "class WireworkError:\n    def __init__(self, code, message): ...\n"
                "def unknown(code, noun): return WireworkError(code, f'no such {noun}')\n"
                "class Complaint:\n    where: str\n    code: str\n    message: str\n"
            ),
            "src/wirework/core/a.py": (
                "WireworkError('a-direct', 'went ' 'wrong')\n"
                "errors.unknown('a-choice', 'thing')\n"
                "Complaint('here', 'a-field', 'is bad')\n"
                "WireworkError(code='a-keyword', message=f'{x} is bad')\n"
                "WireworkError('a-yes' if x else 'a-no', 'y' if x else 'n')\n"
                "Complaint(where, error.code, error.message)\n"
            ),
        }
    )
    found = {error.code: error.message for error in error_codes(tree)}
    assert found == {
        "a-direct": "went wrong",
        "a-choice": "no such …",
        "a-field": "is bad",
        "a-keyword": "… is bad",
        "a-yes": "y; or n",
        "a-no": "y; or n",
    }


def test_the_contributors_table_shows_the_floors(project: SourceTree) -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", project.texts["CONTRIBUTING.md"], re.M)
    shown = {name: int(level) for level, text in rows for name in re.findall(r"`(\w+)`", text)}
    assert shown == {name: floor.level for name, floor in FLOORS.items()}


def _commands_shown(project: SourceTree) -> dict[str, set[str]]:
    """Every `wirework` command in the pages and the Makefile, with the options shown with it."""
    shown: dict[str, set[str]] = {}
    for path, text in project.texts.items():
        if not (path.endswith(".md") or path == "Makefile"):
            continue
        for match in COMMAND.finditer(text.replace("\\\n", " ")):
            words = match["words"].partition("#")[0].split()
            name = " ".join(words[:2] if words[0] in GROUPS else words[:1])
            shown.setdefault(name, set()).update(w for w in words if w.startswith("--"))
    return shown


def test_every_command_shown_exists(project: SourceTree) -> None:
    shown = _commands_shown(project)
    assert {"train", "discover", "validate", "view", "tasks list", "info"} <= shown.keys()
    for name, options in shown.items():
        done = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "300"})
        assert done.exit_code == 0, f"wirework {name}: {done.output}"
        assert options <= set(re.findall(r"--[a-z-]+", done.output)), name


def test_every_link_leads_somewhere(project: SourceTree) -> None:
    lost = [
        f"{path}: {match['target']}"
        for path, text in project.texts.items()
        if path.endswith(".md")
        for match in LINK.finditer(text)
        if "://" not in match["target"]
        if not ((ROOT / path).parent / match["target"]).exists()
    ]
    assert lost == []
