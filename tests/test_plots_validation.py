"""Pictures of a validation say what the report has, and nothing that it has not."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from validation_reports import MEASURES, report
from wirework.core import Measure, Report, WireworkError
from wirework.plots import badge, draw_validation

PANELS = {
    "subset_random": "Other nodes restored at random",
    "subset_adversarial": "The worst nodes chosen",
    "interchange": "Activations interchanged",
    "control_loss:random": "Losses beside random circuits",
    "adversarial_inputs": "Prompts changed, right answer kept",
}


def words(path: Path) -> set[str]:
    return set(re.findall(r">([^<>]+)</text>", path.read_text(encoding="utf-8")))


def test_all_curves_stand_in_one_figure(tmp_path: Path) -> None:
    path, again = tmp_path / "a.svg", tmp_path / "b.svg"
    draw_validation(report(), path, title="quote: partly")
    draw_validation(report(), again, title="quote: partly")
    assert {*PANELS.values(), "quote: partly"} <= words(path)
    assert {"worst draw", "circuit, nodes restored", "model, cut", "in the circuit"} <= words(path)
    assert {"bar 0.9", "bar 0.85", "target 0.15", "64"} <= words(path)
    assert {"neutral lines: 26 of 120", "random circuits: 0.66"} <= words(path)
    assert path.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("key", PANELS)
def test_what_a_report_lacks_is_left_out(key: str, tmp_path: Path) -> None:
    draw_validation(report("faithful", key), tmp_path / "one.svg")
    assert words(tmp_path / "one.svg") & set(PANELS.values()) == {PANELS[key]}


def test_a_report_without_curves_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WireworkError) as caught:
        draw_validation(Report("validation", {}), tmp_path / "none.svg")
    assert caught.value.code == "curves-missing"
    assert not (tmp_path / "none.svg").exists()


@pytest.mark.parametrize("verdict", ["faithful", "partly", "unfaithful", None])
def test_a_badge_says_task_verdict_and_bars(verdict: str | None) -> None:
    drawn = ElementTree.fromstring(badge(report(verdict), task="python/quote <&>"))
    space = "{http://www.w3.org/2000/svg}"
    left, right = (element.text or "" for element in drawn.iter(f"{space}text"))
    assert left == "python/quote <&>"
    # Bars are asked of three measures; the adversary's is missed.
    assert right.endswith(f"{verdict or 'no verdict'} 2/3")
    title = drawn.find(f"{space}title")
    assert title is not None and title.text == drawn.get("aria-label")


def test_verdicts_differ_in_colour_and_in_their_sign() -> None:
    drawn = [badge(report(verdict)) for verdict in ("faithful", "partly", "unfaithful")]
    fills = [frozenset(re.findall(r'fill="(#\w+)"', text)) for text in drawn]
    signs = [text.rsplit("</text>", 1)[0].rsplit(">", 1)[1].split()[0] for text in drawn]
    assert len(set(fills)) == len(set(signs)) == 3
    assert len({*signs, "faithful", "partly", "unfaithful"}) == 6


def test_letters_stand_out_from_their_ground() -> None:
    for verdict in ("faithful", "partly", "unfaithful", None):
        text = badge(report(verdict))
        ground, _, _, letters = re.findall(r'fill="(#\w+)"', text)
        bright, dark = sorted(map(luminance, (ground, letters)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, verdict


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, in [0, 1] (WCAG 2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_measure_that_is_no_number_misses_its_bar_on_the_badge() -> None:
    odd = {**MEASURES, "faithfulness": Measure(float("nan"), better="higher", bar=0.9)}
    assert "2/4" in badge(replace(report(), measures=odd))
