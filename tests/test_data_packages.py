"""Text of installed distributions, with where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from wirework.core import WireworkError
from wirework.data import CorpusConfig, prepare_corpus
from wirework.data.packages import package_files, package_records


def _install(folder: Path, name: str, code: str) -> None:
    """As `pip install --target` leaves a distribution."""
    about = folder / f"{name}-1.2.dist-info"
    (folder / name).mkdir(parents=True)
    about.mkdir()
    (folder / name / "__init__.py").write_text(code)
    (folder / name / "data.bin").write_bytes(b"\0\1")
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.2\nLicense-Expression: MIT\n\nText.\n"
    )
    (about / "RECORD").write_text(
        f"{name}/__init__.py,,\n{name}/data.bin,,\n../../bin/{name}.py,,\n{name}/gone.py,,\n"
    )


@pytest.fixture
def libs(tmp_path: Path) -> Path:
    _install(tmp_path / "libs", "Good_Name", "x = 1\n" * 300)
    _install(tmp_path / "libs", "other", "y = [2]\n" * 300)
    return tmp_path / "libs"


def _config(libs: Path, *names: str) -> CorpusConfig:
    source = libs.parent / "own.py"
    source.write_text("print('own')\n" * 50)
    return CorpusConfig(
        source=str(source), packages=names, packages_from=str(libs), vocab_size=260,
        validation_share=0.3,
    )  # fmt: skip


def test_only_recorded_python_files_are_read(libs: Path) -> None:
    found = package_files(_config(libs, "good-name", "other"))
    assert [file.name for file in found] == [
        "good-name/Good_Name/__init__.py",
        "other/other/__init__.py",
    ]


def test_records_name_version_license_and_hash(libs: Path) -> None:
    config = _config(libs, "good_name")
    (record,) = package_records(config)
    assert record["version"] == "1.2"
    assert record["license"] == "MIT"
    assert record["files"] == 1
    (libs / "Good_Name" / "__init__.py").write_text("x = 2\n")
    assert package_records(config)[0]["sha256"] != record["sha256"]


def test_a_corpus_keeps_the_records_and_notices_a_change(libs: Path, tmp_path: Path) -> None:
    config = _config(libs, "other", "good-name")
    corpus = prepare_corpus(config, tmp_path / "corpus")
    assert [entry["name"] for entry in corpus.manifest["packages"]] == ["other", "good-name"]
    total = sum(split["documents"] for split in corpus.manifest["splits"].values())
    assert total == 3
    (libs / "other" / "__init__.py").write_text("z = {3}\n" * 200)
    assert prepare_corpus(config, tmp_path / "corpus").hash() != corpus.hash()


def test_a_missing_package_is_named_with_the_command_that_gets_it(libs: Path) -> None:
    with pytest.raises(WireworkError, match=r"package-missing[\s\S]*pip install --no-deps"):
        package_files(_config(libs, "other", "absent"))
