"""A run record names what made an artefact, and nothing that differs between equal runs."""

from __future__ import annotations

import json
import platform
import re
from importlib import metadata

from wirework.core import RunRecord
from wirework.core.run import library_versions, source_commit


def test_it_names_what_made_the_artefact() -> None:
    record = RunRecord.collect(
        seed=3,
        threads=2,
        dtype="float64",
        inputs={"model": "sha256:02be77"},
        config={"steps": 5},
        config_hash="8f3a1c",
    )
    plain = json.loads(json.dumps(record.to_json()))
    assert (plain["seed"], plain["threads"], plain["dtype"]) == (3, 2, "float64")
    assert plain["inputs"] == {"model": "sha256:02be77"}
    assert plain["config"] == {"steps": 5}
    assert plain["config_hash"] == "8f3a1c"
    assert plain["device"] == "cpu"
    assert RunRecord(**plain) == record


def test_equal_runs_have_equal_records() -> None:
    assert RunRecord.collect(seed=0) == RunRecord.collect(seed=0)
    assert RunRecord.collect(seed=0) != RunRecord.collect(seed=1)


def test_it_keeps_no_reference_to_what_it_was_given() -> None:
    inputs = {"model": "a"}
    record = RunRecord.collect(seed=None, inputs=inputs)
    inputs["model"] = "b"
    assert record.inputs == {"model": "a"}


def test_versions_are_those_installed() -> None:
    versions = library_versions()
    assert versions["python"] == platform.python_version()
    assert versions["numpy"] == metadata.version("numpy")
    assert versions["torch"] == metadata.version("torch")
    assert versions["wirework"] == metadata.version("wirework")


def test_the_commit_is_a_commit_or_unknown() -> None:
    assert re.fullmatch(r"[0-9a-f]{40}\+?|unknown", source_commit())
