"""One circuit as one HTML file: nothing is fetched, nothing but the page's own script runs."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wirework.circuit import Circuit, Groups
from wirework.core import Report, WireworkError
from wirework.core.files import write_text
from wirework.viewer.content import page_content

_PAGE = Path(__file__).with_name("page")
_MAIN = "main.js"
_STYLES = ("base.css", "drawing.css", "panels.css", "report.css", "hosted.css", "hands.css")
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?P<file>[\w-]+\.js)";\n', re.M)
_EXPORT = re.compile(r"^export (?=(async )?function |class |const |let )", re.M)


def render_page(
    circuit: Circuit,
    *,
    report: Report | None = None,
    evidence: Mapping[str, Any] | None = None,
    groups: Groups | None = None,
    examples: int = 12,
    more: Mapping[str, Any] | None = None,
) -> str:
    """The whole page as HTML. Equal input gives equal text.

    `report`: its measures, with bars passed or missed. `evidence`: top examples per node.
    `groups`: made by hand, drawn as one box each where a reader folds them.
    `examples`: how many pairs of the task's `report` split can be looked at token by token.
    `more`: what only some pages hold, such as `sizes` (`size_curve`), `seen_in` or `live`.
    Raises those of `page_content`.
    """
    content = page_content(
        circuit, report=report, evidence=evidence, groups=groups, examples=examples
    )
    return document({**content, **(more or {})})


def document(
    content: Mapping[str, Any], *, main: str = _MAIN, styles: Sequence[str] = _STYLES
) -> str:
    """A page whose script starts in the module `main`; `content` has the `title` and the data.

    Only where the content says that it is `live` may the page ask the server that it came from.
    """
    style = "\n".join(_read(name) for name in styles)
    script = "\n".join(_modules(main).values())
    # The browser itself refuses to fetch anything else, and to run any script but this one.
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; "
        f"script-src {_digest(script)}; base-uri 'none'; form-action 'none'"
        + ("; connect-src 'self'" if content.get("live") else "")
    )
    parts = {
        "policy": html.escape(policy),
        "title": _text(content["title"]),
        "style": style,
        "data": safe_json(content),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: parts[slot[1]], _read("page.html"))


def export_page(
    path: Path | str,
    circuit: Circuit,
    *,
    report: Report | None = None,
    evidence: Mapping[str, Any] | None = None,
    groups: Groups | None = None,
    examples: int = 12,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write `render_page` to a file, whole or not at all. Raises `disk-full` and the like too."""
    page = render_page(
        circuit, report=report, evidence=evidence, groups=groups, examples=examples, more=more
    )
    write_text(Path(path), page)


def view(
    circuit: Circuit | Path | str,
    *,
    export: Path | str | None = None,
    report: Report | None = None,
    evidence: Mapping[str, Any] | None = None,
    groups: Groups | None = None,
    examples: int = 12,
) -> Path:
    """Draw a circuit, or the one in a `.circuit` file, as a page; returns where it is.

    `export`: the HTML file to write; by default it stands beside the circuit's file. Raises
    `view-without-file` where neither says where, and what `Circuit.load`, `render_page` raise.
    """
    if isinstance(circuit, Circuit):
        if export is None:
            raise WireworkError(
                "view-without-file", "a circuit in memory has no file to put its page beside",
                expected="the HTML file to write", hint='export="quote.html"',
            )  # fmt: skip
        found, page = circuit, Path(export)
    else:
        found = Circuit.load(circuit)
        page = Path(circuit).with_suffix(".html") if export is None else Path(export)
    export_page(page, found, report=report, evidence=evidence, groups=groups, examples=examples)
    return page


def safe_json(value: Any) -> str:
    """JSON that can stand inside an HTML script element, whatever texts it holds.

    Only ASCII comes out, and no `<`, `>` or `&`. Numbers must be finite.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return re.sub(r"[<>&]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _text(text: str) -> str:
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _read(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """How a content security policy names an inline element with this text."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _modules(name: str, done: Mapping[str, str] | None = None) -> dict[str, str]:
    """A module after all that it imports, each once, joined to one script: a file that is opened
    from disk can import nothing. Names at the top of the modules must therefore all differ."""
    found = dict(done or {})
    text = _read(name)
    for match in _IMPORT.finditer(text):
        if match["file"] not in found:
            found = _modules(match["file"], found)
    body = _EXPORT.sub("", _IMPORT.sub("", text))
    assert not re.search(r"^(import|export)\b", body, re.M), f"{name}: an import of another form"
    assert not re.search(r"</script|<!--", body, re.I), f"{name}: would end the script"
    return {**found, name: body}
