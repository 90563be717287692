"""Files that are written whole or not at all, and checked when they are read."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wirework.core.errors import WireworkError

CHECKSUMS = "checksums.json"
_NOT_WRITABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    # A file where a folder should be, or the other way round.
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    # Where nothing can be made, as below /proc; a name too long; a mount point.
    *(errno.ENOENT, errno.ENAMETOOLONG, errno.EBUSY),
}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into `disk-full` or `path-not-writable`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WireworkError(
                "disk-full",
                f"no space is left to write {path}; what was there before is unchanged",
                expected="free space on the disk",
                got=str(error),
                hint="free some space, then run the same command with --resume",
            ) from error
        if error.errno in _NOT_WRITABLE:
            raise WireworkError(
                "path-not-writable", f"cannot write {path}", expected="a folder you may write to",
                got=str(error),
            ) from error  # fmt: skip
        raise


def require_writable(path: Path) -> None:
    """Before long work: that the file `path` can be written at its end. Leaves nothing behind.

    Raises `path-not-writable` for a folder or a device too, `disk-full`.
    """
    with disk_errors(path):
        if path.exists() and not path.is_file():
            raise IsADirectoryError(errno.EISDIR, "something other than a file is there", str(path))
        _try_folder(path.parent)


def require_writable_folder(path: Path) -> None:
    """Before long work: that files can be written in a folder, which need not be there yet.

    Raises `path-not-writable`, `disk-full`.
    """
    with disk_errors(path):
        _try_folder(path)


def require_replaceable(path: Path) -> None:
    """Before long work: that `write_folder` can write `path`. Raises `path-occupied` and those of
    `require_writable_folder`."""
    with disk_errors(path):
        _try_folder(path.parent)
        _refuse_foreign(path)


def _try_folder(path: Path) -> None:
    """Write a file without a name in a folder, or in the nearest one above that is there."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    with tempfile.TemporaryFile(dir=place):
        pass


def write_bytes(path: Path, data: bytes) -> str:
    """Write atomically (temporary file, fsync, rename); returns the sha256 of `data`.

    Raises `disk-full`, `path-not-writable`; the old file then stays as it was.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        finally:
            if os.path.exists(name):
                os.unlink(name)
    return hashlib.sha256(data).hexdigest()


def write_text(path: Path, text: str) -> str:
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> str:
    return write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Raises `file-missing` or `file-damaged`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise WireworkError(
            "file-missing", f"there is no file {path}", expected="a JSON file", got=str(path)
        ) from None
    except (ValueError, RecursionError) as error:
        raise WireworkError(
            "file-damaged", f"{path} is not JSON", expected="a whole JSON file", got=str(error)
        ) from None


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Fill a temporary folder that becomes `path` in one rename when the block ends.

    A file `checksums.json` with the sha256 of every file is added. An older folder at `path`
    is replaced only after the new one is complete. Raises `path-occupied` before the block runs
    where `path` holds anything that this did not write.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _restore(path)
        _refuse_foreign(path)
        draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield draft
            write_json(draft / CHECKSUMS, _checksums(draft))
            os.chmod(draft, 0o755)
            if path.exists():
                old = draft.with_name(draft.name + ".old")
                os.replace(path, old)
                os.replace(draft, path)
                shutil.rmtree(old)
            else:
                os.replace(draft, path)
        finally:
            if draft.exists():
                shutil.rmtree(draft)


def _refuse_foreign(path: Path) -> None:
    if not path.exists() or (path / CHECKSUMS).is_file():
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    raise WireworkError(
        "path-occupied",
        f"{path} holds something that wirework did not write, and would replace",
        expected="a new folder, or one that wirework wrote",
        got="a folder with other files" if path.is_dir() else "a file",
        hint=f"{path}-new",
    )


def _restore(path: Path) -> None:
    """Undo a replacement that was killed between its two renames."""
    if not path.exists():
        for old in path.parent.glob(f".{glob.escape(path.name)}.*.old"):
            os.replace(old, path)
            return


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in files}


def verify_folder(path: Path) -> dict[str, str]:
    """Check a folder that `write_folder` made; returns its checksums.

    Raises `folder-missing`, `folder-foreign` (no checksums), `checksum-mismatch`.
    """
    _restore(path)
    if not path.is_dir():
        raise WireworkError("folder-missing", f"there is no folder {path}", got=str(path))
    if not (path / CHECKSUMS).is_file():
        raise WireworkError(
            "folder-foreign",
            f"{path} was not written by wirework",
            expected=f"a folder that holds {CHECKSUMS}",
            got=", ".join(sorted(p.name for p in path.iterdir())[:6]) or "an empty folder",
        )
    expected = read_json(path / CHECKSUMS)
    if not isinstance(expected, dict):
        raise WireworkError("file-damaged", f"{path / CHECKSUMS} is not a table of checksums")
    for name, digest in expected.items():
        actual = sha256_file(path / name) if (path / name).is_file() else None
        if actual != digest:
            raise WireworkError(
                "checksum-mismatch",
                f"{path / name} is not the file that was written",
                expected=f"sha256 {digest}",
                got=f"sha256 {actual}" if actual else "no such file",
                hint="copy it again from its source, or run the command that made it",
            )
    return {str(k): str(v) for k, v in expected.items()}
