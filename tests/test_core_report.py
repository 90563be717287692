"""Reports: one shape, kept bars, the same after a round trip."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirework.core import Measure, Report, WireworkError
from wirework.core.report import Better

number = st.floats(allow_nan=False)
maybe = st.none() | number
any_end = st.none() | st.floats()
any_measure = st.builds(
    Measure,
    value=st.floats(),
    low=any_end,
    high=any_end,
    n=st.none() | st.integers(0, 10**9),
    better=st.sampled_from(["higher", "lower", "neither"]),
    bar=maybe,
    note=st.text(),
)
any_report = st.builds(
    Report,
    kind=st.text(),
    measures=st.dictionaries(st.text(), any_measure, max_size=4),
    verdict=st.none() | st.text(),
    provenance=st.dictionaries(st.text(), st.integers() | st.text(), max_size=3),
    details=st.dictionaries(
        st.text(),
        st.recursive(
            st.floats() | st.text() | st.none() | st.booleans(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=3,
    ),
)


def refuse(token: str) -> None:
    raise AssertionError(f"{token} is not JSON")


def told(report: Report) -> str:
    """Every number of the measures, with a NaN equal to a NaN."""
    return repr(sorted(report.measures.items()))


@given(report=any_report)
def test_a_report_is_read_as_it_was_saved(
    tmp_path_factory: pytest.TempPathFactory, report: Report
) -> None:
    path = tmp_path_factory.mktemp("report") / "report.json"
    report.save(path)
    value = json.loads(path.read_text(), parse_constant=refuse)
    assert value == report.to_json()
    again = Report.load(path)
    assert told(again) == told(report)
    assert (again.kind, again.verdict, again.provenance, again.passed) == (
        report.kind, report.verdict, report.provenance, report.passed,
    )  # fmt: skip
    assert again.to_json() == report.to_json()
    assert Report.load(str(path)).details == value.get("details", {})


def test_numbers_that_json_lacks_are_written_so_that_programs_read_them() -> None:
    measure = Measure(math.nan, low=-math.inf, high=math.inf, better="lower", bar=math.inf)
    value = measure.to_json()
    assert (value["value"], value["low"], value["high"]) == (None, "-Infinity", "Infinity")
    assert float(value["low"]) == -math.inf
    details = {"curve": [1.5, math.nan, math.inf], "pair": (2, -math.inf)}
    assert Report("x", {}, details=details).to_json()["details"] == {
        "curve": [1.5, None, "Infinity"],
        "pair": [2, "-Infinity"],
    }


def test_an_interval_without_numbers_is_none() -> None:
    assert Measure(0.5, low=math.nan, high=math.nan) == Measure(0.5)


def test_a_report_with_bare_nan_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(
        '{"schema": 1, "kind": "x", "verdict": null, "provenance": {}, "measures": {"m": '
        '{"value": NaN, "low": NaN, "high": Infinity, "n": 2, "better": "lower", "bar": 1, '
        '"note": "", "passed": false}}}'
    )
    (found,) = Report.load(tmp_path / "old.json").measures.values()
    assert math.isnan(found.value) and found.passed is False
    assert (found.low, found.high) == (None, math.inf)


def test_the_shape_of_the_json() -> None:
    faithfulness = Measure(0.97, low=0.95, high=0.99, n=400, better="higher", bar=0.9)
    report = Report("validation", {"faithfulness": faithfulness}, "faithful", {"seed": 0})
    assert json.loads(json.dumps(report.to_json())) == {
        "schema": 1,
        "kind": "validation",
        "verdict": "faithful",
        "measures": {
            "faithfulness": {
                "value": 0.97,
                "low": 0.95,
                "high": 0.99,
                "n": 400,
                "better": "higher",
                "bar": 0.9,
                "passed": True,
                "note": "",
            }
        },
        "provenance": {"seed": 0},
    }


@pytest.mark.parametrize(
    ("measure", "passed"),
    [
        (Measure(0.9, better="higher", bar=0.9), True),
        (Measure(0.8999, better="higher", bar=0.9), False),
        (Measure(0.1, better="lower", bar=0.15), True),
        (Measure(0.15, better="lower", bar=0.15), True),
        (Measure(0.2, better="lower", bar=0.15), False),
        (Measure(0.2, better="neither", bar=0.15), None),
        (Measure(0.2, better="lower"), None),
        (Measure(math.nan, better="higher", bar=0.9), False),
        (Measure(math.nan, better="lower", bar=0.9), False),
    ],
)
def test_a_bar_is_kept_or_missed(measure: Measure, passed: bool | None) -> None:
    assert measure.passed is passed
    assert Report("x", {"m": measure}).passed is (passed is not False)


@given(value=number, bar=number, better=st.sampled_from(["higher", "lower"]))
def test_require_agrees_with_the_bar(value: float, bar: float, better: Better) -> None:
    report = Report("x", {"m": Measure(value, better=better)})
    if Measure(value, better=better, bar=bar).passed:
        assert report.require(m=bar) is report
    else:
        with pytest.raises(WireworkError, match="bar-missed"):
            report.require(m=bar)


def test_require_names_every_measure_that_missed() -> None:
    report = Report(
        "validation",
        {
            "faithfulness": Measure(0.8, better="higher"),
            "task_loss": Measure(0.2, better="lower"),
            "task_accuracy": Measure(0.99, better="higher"),
            "edges": Measure(40),
        },
    )
    with pytest.raises(WireworkError) as caught:
        report.require(faithfulness=0.9, task_loss=0.15, task_accuracy=0.97)
    assert caught.value.expected == "faithfulness >= 0.9, task_loss <= 0.15"
    assert caught.value.got == "faithfulness = 0.8, task_loss = 0.2"
    with pytest.raises(WireworkError, match="measure-undirected"):
        report.require(edges=60)
    with pytest.raises(WireworkError) as caught:
        report.require(faithfullness=0.9)
    assert (caught.value.code, caught.value.hint) == ("measure-unknown", "faithfulness")
    assert report.require() is report


def test_nothing_that_is_not_a_number_passes() -> None:
    with pytest.raises(WireworkError, match="bar-missed"):
        Report("x", {"m": Measure(math.nan, better="lower")}).require(m=1.0)


def test_it_is_printed_one_measure_a_line() -> None:
    measures = {
        "task_loss": Measure(0.2, 0.15, 0.25, 400, "lower", 0.15),
        "edges": Measure(52.0),
    }
    lines = str(Report("validation", measures, "weak")).splitlines()
    assert lines[0] == "validation report: weak"
    assert " ".join(lines[1].split()) == "task_loss 0.2 [0.15, 0.25] n=400 bar 0.15 MISSED"
    assert lines[2].split() == ["edges", "52"]
    assert str(Report("empty", {})) == "empty report"


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "{}", '{"schema": 2}', '"x"', "3", '{"schema": 1}'),
        '{"schema": 1, "kind": "x", "verdict": null, "provenance": {}, "measures": {"m": {}}}',
        '{"schema": 1, "kind": "x", "verdict": null, "provenance": {}, "measures": {"m": 1}}',
        '{"schema": 1, "kind": "x", "verdict": null, "provenance": {}, "measures": '
        '{"m": {"value": "much"}}}',
        '{"schema": 1, "kind": "x", "verdict": null, "provenance": {}, "measures": '
        '{"m": {"value": 1, "low": true}}}',
        '{"schema": 1, "kind": "x", "verdict": null, "provenance": {}, "measures": []}',
    ],
)
def test_what_is_no_report_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(WireworkError, match="report-foreign"):
        Report.load(tmp_path / "report.json")


def test_a_missing_or_damaged_report(tmp_path: Path) -> None:
    with pytest.raises(WireworkError, match="file-missing"):
        Report.load(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"schema": 1, "kind"')
    with pytest.raises(WireworkError, match="file-damaged"):
        Report.load(tmp_path / "half.json")
