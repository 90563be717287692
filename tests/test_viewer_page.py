"""The page as a file: whole, self-contained, the same every time."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from viewer_circuits import quote_task, random_circuit
from wirework.circuit import Circuit
from wirework.core import WireworkError
from wirework.viewer import export_page, page, render_page
from wirework.viewer.comparison import comparison_page
from wirework.viewer.gallery import Gallery

FOLDER = Path(page.__file__).with_name("page")
NAMESPACE = "http://www.w3.org/2000/svg"


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit(22)


@pytest.fixture(scope="module")
def text(circuit: Circuit) -> str:
    return render_page(circuit)


def test_the_page_names_no_other_address(text: str) -> None:
    found = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w[^\s\"'<>]*", text))
    assert found == {NAMESPACE}
    assert not re.search(r"<link[^>]+stylesheet|<script[^>]+src|@import|url\(", text)
    assert re.search(r"default-src &#x27;none&#x27;", text)


def test_the_page_is_the_same_every_time(circuit: Circuit, text: str) -> None:
    assert render_page(circuit) == text


def test_the_page_of_a_small_circuit_is_small(text: str) -> None:
    assert len(text.encode()) < 1_500_000


def test_every_file_of_the_pages_is_used_and_short(circuit: Circuit, text: str) -> None:
    others = comparison_page(circuit, circuit, ("a", "b")) + Gallery(Path(), (), ()).page(str)
    files = sorted(FOLDER.iterdir())
    assert {file.suffix for file in files} == {".css", ".html", ".js"}
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 400
        inner = [line for line in lines if not re.match(r"import|export|<|\{\{", line)]
        assert "\n".join(inner[-3:]) in text + others, f"{file.name} is on no page"


def test_export_writes_the_page_and_nothing_else(
    circuit: Circuit, text: str, tmp_path: Path
) -> None:
    export_page(tmp_path / "new" / "quote.html", circuit)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["quote.html"]
    assert (tmp_path / "new" / "quote.html").read_text(encoding="utf-8") == text


def test_what_was_there_stays_where_the_page_cannot_be_made(
    circuit: Circuit, tmp_path: Path
) -> None:
    path = tmp_path / "quote.html"
    path.write_text("before", encoding="utf-8")
    with pytest.raises(WireworkError):
        export_page(path, circuit, evidence={"version": 0})
    assert path.read_text(encoding="utf-8") == "before" and len(list(tmp_path.iterdir())) == 1


def test_hostile_texts_end_no_element() -> None:
    bad = "</title></script><script>alert(1)</script><!-- \u2028 \ud800 {{style}}"
    task = replace(quote_task(2), name=bad, description=bad)
    text = render_page(random_circuit(22, task=task), examples=1)
    assert len(re.findall(r"<script", text)) == 2 and len(re.findall(r"</script", text)) == 2
    assert text.count("</title>") == 1 and text.count("<style>") == 1
    match = re.search(r'id="content">(.*?)</script>', text, re.S)
    assert match and json.loads(match[1])["title"] == bad
    text.encode("utf-8")
