"""The state of a page as the text behind "#" in its address, as `page/link.js` writes and reads it.

A link is `VERSION.MARK.LETTERS`: the mark says which circuit it is for, the letters are base64url
of a JSON object. What is as it was when the page was opened is left out; the empty link is that.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, NoReturn

from wirework.circuit import Circuit, every_node
from wirework.core import WireworkError

VERSION = "1"
LONGEST = 100_000
"""Characters that a page reads of a link."""


def circuit_mark(circuit: Circuit) -> str:
    """8 letters that differ between circuits whose parts have other names or numbers."""
    nodes = [str(node) for node in every_node(circuit.nodes)]
    known = [circuit.model_hash, circuit.task, nodes, [str(edge) for edge, _ in circuit.edges()]]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:8]


def pack_link(fields: Mapping[str, Any], mark: str) -> str:
    """Letters of `link.js` with their values -> the link. Raises `link-too-long`."""
    if not fields:
        return ""
    plain = json.dumps(fields, separators=(",", ":"), allow_nan=False)
    letters = base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")
    text = f"{VERSION}.{mark}.{letters}"
    if len(text) > LONGEST:
        raise WireworkError(
            "link-too-long", "this state does not fit into a link",
            expected=f"at most {LONGEST:,} characters", got=f"{len(text):,}",
        )  # fmt: skip
    return text


def unpack_link(text: str, mark: str) -> dict[str, Any]:
    """Inverse of `pack_link`. Raises `link-malformed`, and `link-foreign` where the link is of
    another version or for another circuit. What the values mean, the page checks."""
    if not text:
        return {}
    version, _, rest = text.partition(".")
    for_circuit, dot, letters = rest.partition(".")
    if not (version.isdecimal() and dot) or len(text) > LONGEST:
        raise link_malformed()
    if (version, for_circuit) != (VERSION, mark):
        raise WireworkError(
            "link-foreign", "this link is for another circuit, or another version of the page",
            expected=f"{VERSION}.{mark}.…", got=f"{version}.{for_circuit}.…",
        )  # fmt: skip
    try:
        plain = base64.b64decode(letters + "=" * (-len(letters) % 4), b"-_", validate=True)
        fields = json.loads(plain.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise link_malformed() from None
    if not isinstance(fields, dict):
        raise link_malformed()
    return fields


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def link_malformed() -> WireworkError:
    return WireworkError(
        "link-malformed", "this is no link to the state of a page",
        expected="the text behind # in the address of a page, or nothing",
    )  # fmt: skip
