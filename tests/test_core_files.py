"""Files are whole or not there, and an edited one is noticed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirework.core import WireworkError
from wirework.core.files import (
    CHECKSUMS,
    disk_errors,
    read_json,
    require_replaceable,
    require_writable,
    require_writable_folder,
    sha256_file,
    verify_folder,
    write_bytes,
    write_folder,
    write_json,
    write_text,
)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@given(data=st.binary(max_size=5000))
def test_bytes_come_back_with_their_digest(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "new" / "folder" / "file"
    digest = write_bytes(path, data)
    assert path.read_bytes() == data
    assert digest == sha256_file(path) == hashlib.sha256(data).hexdigest()
    assert _names(path.parent) == ["file"]


def test_a_file_is_replaced_and_can_be_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old, and longer")
    write_text(path, "new ✓")
    assert path.read_text(encoding="utf-8") == "new ✓"
    assert path.stat().st_mode & 0o777 == 0o644


def test_json_has_one_form(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert write_json(one, {"b": [1.5, None], "a": "é"}) == write_json(
        two, {"a": "é", "b": [1.5, None]}
    )
    assert read_json(one) == {"a": "é", "b": [1.5, None]}
    assert one.read_text().endswith("}\n")


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1}}', b"\xff\xfe"])
def test_what_is_not_json_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(WireworkError, match="file-damaged"):
        read_json(tmp_path / "file")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(WireworkError, match="file-missing"):
        read_json(tmp_path / "none")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk-full"),
        (errno.EDQUOT, "disk-full"),
        (errno.EACCES, "path-not-writable"),
        (errno.EROFS, "path-not-writable"),
        (errno.ENOTDIR, "path-not-writable"),
        (errno.ENOENT, "path-not-writable"),
    ],
)
def test_troubles_of_the_disk_have_codes(number: int, code: str) -> None:
    with pytest.raises(WireworkError) as caught, disk_errors(Path("out/model")):
        raise OSError(number, os.strerror(number))
    assert caught.value.code == code
    assert "out/model" in caught.value.message
    assert os.strerror(number) in caught.value.got


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(TimeoutError), disk_errors(Path("out")):
        raise TimeoutError
    with pytest.raises(KeyError), disk_errors(Path("out")):
        raise KeyError("x")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, lets every later fsync find the disk full: where delayed writes fail."""

    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "fsync", refuse)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, full_disk: Callable[[], None]) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    full_disk()
    with pytest.raises(WireworkError, match="disk-full"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_folder(tmp_path: Path, full_disk: Callable[[], None]) -> None:
    path = tmp_path / "folder"
    with write_folder(path) as draft:
        write_text(draft / "a", "old")
    full_disk()
    with pytest.raises(WireworkError, match="--resume"), write_folder(path) as draft:
        write_text(draft / "a", "new")
    assert (path / "a").read_text() == "old"
    verify_folder(path)
    assert _names(tmp_path) == ["folder"]


def test_a_really_full_device() -> None:
    device = Path("/dev/full")
    if not device.exists():  # a device of Linux
        return
    with pytest.raises(WireworkError, match="disk-full"), disk_errors(device):
        device.write_bytes(b"x")


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "x")
    with pytest.raises(WireworkError, match="path-not-writable"):
        write_text(tmp_path / "file" / "inside", "y")
    assert (tmp_path / "file").read_text() == "x"


def test_what_can_be_written_is_known_before(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "x")
    for name in ("file", "other", "new/deep/other"):
        require_writable(tmp_path / name)
        write_text(tmp_path / name, "y")
    require_writable_folder(tmp_path / "newer" / "deep")
    assert _names(tmp_path) == ["file", "new", "other"], "nothing is left behind"


@pytest.mark.parametrize("name", ["folder", "file/inside", "file/deep/inside", "x" * 300])
def test_what_cannot_be_written_is_known_before(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / "file", "x")
    (tmp_path / "folder").mkdir()
    for attempt in (require_writable, lambda path: write_text(path, "y")):
        with pytest.raises(WireworkError) as caught:
            attempt(tmp_path / name)
        assert caught.value.code == "path-not-writable"
    assert _names(tmp_path) == ["file", "folder"]
    with pytest.raises(WireworkError, match="path-not-writable"):
        require_writable_folder(tmp_path / "file")


def test_where_the_system_makes_no_files() -> None:
    if not Path("/proc/self").exists():  # a folder of Linux
        return
    for attempt in (require_writable, lambda path: write_text(path, "y")):
        with pytest.raises(WireworkError, match="path-not-writable"):
            attempt(Path("/proc/x/y.json"))


def test_a_folder_arrives_whole_with_its_checksums(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model"
    with write_folder(path) as draft:
        write_text(draft / "a", "1")
        write_text(draft / "deep" / "b", "2")
        assert not path.exists()
    assert verify_folder(path) == {
        "a": hashlib.sha256(b"1").hexdigest(),
        "deep/b": hashlib.sha256(b"2").hexdigest(),
    }
    assert _names(path.parent) == ["model"]
    assert path.stat().st_mode & 0o777 == 0o755


def test_a_folder_of_ours_and_a_new_one_can_be_written(tmp_path: Path) -> None:
    with write_folder(tmp_path / "model") as draft:
        write_text(draft / "a", "1")
    for name in ("model", "new/model"):
        require_replaceable(tmp_path / name)
    assert _names(tmp_path) == ["model"]
    with pytest.raises(WireworkError, match="path-not-writable"):
        require_replaceable(tmp_path / "model" / "a" / "model")


def test_a_newer_folder_takes_the_place_of_the_older(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for name in ("a", "b"):
        with write_folder(path) as draft:
            write_text(draft / name, name)
    assert _names(path) == ["b", CHECKSUMS]
    assert _names(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_block_that_fails_changes_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "model"
    with write_folder(path) as draft:
        write_text(draft / "a", "old")
    with pytest.raises(error), write_folder(path) as draft:
        write_text(draft / "a", "new")
        raise error
    assert (path / "a").read_text() == "old"
    assert _names(tmp_path) == ["model"]


def test_an_edited_truncated_or_lost_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for spoil in (
        lambda: (path / "a").write_text("two"),
        lambda: (path / "a").write_text("on"),
        lambda: (path / "a").unlink(),
    ):
        with write_folder(path) as draft:
            write_text(draft / "a", "one")
        spoil()
        with pytest.raises(WireworkError) as caught:
            verify_folder(path)
        assert caught.value.code == "checksum-mismatch"
        assert str(path / "a") in caught.value.message


def test_a_foreign_or_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(WireworkError, match="folder-missing"):
        verify_folder(tmp_path / "none")
    write_text(tmp_path / "notes.txt", "mine")
    with pytest.raises(WireworkError) as caught:
        verify_folder(tmp_path)
    assert caught.value.code == "folder-foreign"
    assert caught.value.got == "notes.txt"


@pytest.mark.parametrize("text", ["[]", "{", '"x"'])
def test_damaged_checksums(tmp_path: Path, text: str) -> None:
    write_text(tmp_path / CHECKSUMS, text)
    with pytest.raises(WireworkError, match="file-damaged"):
        verify_folder(tmp_path)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_nothing_of_the_users_is_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thesis"
    mine = path if kind == "file" else path / "chapter"
    write_text(mine, "mine")
    with pytest.raises(WireworkError) as caught, write_folder(path):
        raise AssertionError("the work must not begin")
    assert caught.value.code == "path-occupied"
    with pytest.raises(WireworkError, match="path-occupied"):
        require_replaceable(path)
    assert mine.read_text() == "mine"
    assert _names(tmp_path) == ["thesis"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with write_folder(tmp_path / "model") as draft:
        write_text(draft / "a", "1")
    assert verify_folder(tmp_path / "model").keys() == {"a"}


def test_a_replacement_killed_between_its_renames_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "model [1]"
    with write_folder(path) as draft:
        write_text(draft / "a", "old")
    path.rename(tmp_path / ".model [1].x7.old")
    assert verify_folder(path).keys() == {"a"}
    path.rename(tmp_path / ".model [1].x7.old")
    with pytest.raises(RuntimeError), write_folder(path) as draft:
        raise RuntimeError
    assert (path / "a").read_text() == "old"


def test_a_folder_where_a_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(WireworkError, match="path-not-writable"):
        write_text(tmp_path / "folder", "y")
    with pytest.raises(WireworkError, match="file-missing"):
        read_json(tmp_path / "folder")
    assert _names(tmp_path) == ["folder"]


WRITER = """
import sys
from pathlib import Path
from wirework.core.files import write_folder, write_json
folder = Path(sys.argv[1])
for turn in range(10**6):
    write_json(folder / "state.json", {"turn": turn, "padding": "x" * (turn % 50_000)})
    sys.stdout.write("."), sys.stdout.flush()
"""


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.read(20)
    time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    writer.stdout.close()
    writer.wait()
    assert json.loads((tmp_path / "state.json").read_text())["turn"] >= 19
