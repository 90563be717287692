"""What cannot be written or drawn at the end of long work is told before it begins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from test_cli import QUOTE, wirework
from wirework.validation.groups import GROUPS

TARGETS = [
    ["validate", "no.circuit", "--model", "no", "--out"],
    ["validate", "no.circuit", "--model", "no", "--badge"],
    ["validate", "no.circuit", "--model", "no", "--plot"],
    ["rankings", "no", "--out"],
    ["view", "no.circuit", "--export"],
    *(["bench", name, "--out"] for name in ("train", "decode", "load", "probe", "trust")),
    ["bench", "discover", "no", QUOTE, "--out"],
    ["probe", "scan", "no", "--out"],
    ["probe", "fit", "no", "is_comma", "--out"],
    ["probe", "investigate", "no", "is_comma", "--out"],
]


@pytest.mark.parametrize("words", TARGETS, ids=lambda words: " ".join(words[:2]) + words[-1])
def test_a_path_that_cannot_be_written_is_told_before_any_work(
    words: list[str], tmp_path: Path
) -> None:
    code, _, err = wirework(*words, tmp_path)
    assert code == 1
    assert "error[path-not-writable]" in err


def test_folders_that_cannot_be_made_are_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "quote.circuit").mkdir()
    for words in (
        ["sweep", "no", "--out", tmp_path / "file" / "sweep"],
        ["frontier", "no", "--out", tmp_path / "file"],
        ["discover", "no", QUOTE, "--out", tmp_path / "quote"],
        ["convert", "no", tmp_path / "file" / "model"],
        ["convert", "no", f"openai:{tmp_path / 'file' / 'model'}"],
    ):
        code, _, err = wirework(*words)
        assert code == 1
        assert "error[path-not-writable]" in err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--plot", "p.xyz"], "picture-format"),
        (["--plot", "p.svg", "--group", "fit", "--group", "exactness"], "curves-missing"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_told_before_any_work(
    words: list[str], error: str, tmp_path: Path
) -> None:
    code, _, err = wirework("validate", tmp_path / "no.circuit", "--model", "no", *words)
    assert code == 1
    assert f"error[{error}]" in err


def test_help_of_validate_names_every_group() -> None:
    code, text, _ = wirework("validate", "--help")
    assert code == 0
    words = re.sub(r"[^a-z ]+", " ", text)
    for name, group in GROUPS.items():
        assert f" {name} " in words
        assert group.usual == (name != "stability")
    assert "all but stability" in " ".join(words.split())
