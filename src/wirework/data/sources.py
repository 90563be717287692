"""Find the files that a source means, and read them as documents."""

from __future__ import annotations

import ast
import glob
import hashlib
import importlib.util
import os
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from wirework.core.errors import WireworkError, nearest
from wirework.core.files import CHECKSUMS, sha256_file
from wirework.data.documents import CorpusConfig, Document, Skipped, SourceFile, seeded_share
from wirework.data.packages import package_files
from wirework.data.tables import HUB, parse_hub, read_hub, read_jsonl, read_parquet

PYTHON_STDLIB = "python-stdlib"

_TABLES = {".jsonl": read_jsonl, ".parquet": read_parquet}
_CACHE = "__pycache__"
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_HEAD = 8192


def find_files(source: str) -> list[SourceFile]:
    """The files behind a source (none for `hf:`), sorted by name.

    A folder gives everything under it except hidden entries, `__pycache__` and folders that
    wirework wrote. Raises `source-missing`, `source-no-match`.
    """
    if source.startswith(HUB):
        return []
    if source == PYTHON_STDLIB:
        library = _walk(Path(sysconfig.get_path("stdlib")), _INSTALLED)
        return [file for file in library if file.path.suffix == ".py"]
    path = Path(source).expanduser()
    if path.is_dir():
        return _walk(path)
    if path.exists():
        return [SourceFile(path.name, path)]
    if glob.has_magic(source):
        return _match(str(path))
    raise _missing(path, source)


def corpus_files(config: CorpusConfig) -> list[SourceFile]:
    """The files behind a configuration: of its source, then of its packages.

    Raises `package-missing` and those of `find_files`.
    """
    return find_files(config.source) + package_files(config)


def read_documents(config: CorpusConfig) -> Iterator[Document | Skipped]:
    """Everything a source holds, in a fixed order: files by name, rows in their order.

    Raises `corpus-empty` or `column-missing` at the end if there was no document at all, and
    those of `find_files` and `read_hub`.
    """
    left = sys.maxsize if config.max_bytes is None else config.max_bytes
    found, complaint = False, None
    skipped: Counter[str] = Counter()
    for item in _read_all(config):
        if isinstance(item, WireworkError):
            complaint = complaint or item
            continue
        if isinstance(item, Skipped):
            skipped[item.reason] += 1
        else:
            left -= len(item.text.encode())
            if left < 0:
                break
            found = True
        yield item
    if not found:
        raise complaint or _empty(config, skipped)


def expected_items(config: CorpusConfig) -> int:
    """How many items `read_documents` is going to yield; 0 where only reading would tell."""
    files = _pick(corpus_files(config), config)
    return 0 if any(file.path.suffix in _TABLES for file in files) else len(files)


def fingerprint(config: CorpusConfig) -> str:
    """sha256 over the names and bytes behind a source; a data set on the hub is taken by name.

    Raises `source-missing`, `source-no-match`, `source-malformed`, `package-missing`.
    """
    # Which files parse depends on the interpreter.
    digest = hashlib.sha256(f"python{sys.version_info[0]}.{sys.version_info[1]}\n".encode())
    files = corpus_files(config)
    if config.source.startswith(HUB):
        folder = Path(parse_hub(config.source)[0]).expanduser()
        files += _walk(folder) if folder.is_dir() else []
    for file in files:
        try:
            content = sha256_file(file.path) if file.path.is_file() else "none"
        except OSError:
            content = "unreadable"
        name = file.name.encode("utf-8", errors="surrogateescape").hex()
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()


def _read_all(config: CorpusConfig) -> Iterator[Document | Skipped | WireworkError]:
    """As `read_documents`; a table without the column is skipped and its error handed on."""
    if config.source.startswith(HUB):
        yield from read_hub(config)
    for file in _pick(corpus_files(config), config):
        read_table = _TABLES.get(file.path.suffix)
        if read_table is None:
            yield _read_text(file)
            continue
        try:
            yield from read_table(file.path, file.name, config.column)
        except WireworkError as error:
            yield error
            yield Skipped(file.name, "no-column", error.message)
        except OSError as error:
            yield Skipped(file.name, "unreadable", str(error))


def _pick(files: list[SourceFile], config: CorpusConfig) -> list[SourceFile]:
    """With `max_bytes`, the text files that fit, tried in a seeded order; tables always stay."""
    if config.max_bytes is None:
        return files
    left, kept = config.max_bytes, set()
    for file in sorted(files, key=lambda f: seeded_share(config.seed, "pick", f.name)):
        size = file.path.stat().st_size if file.path.is_file() else 0
        if file.path.suffix not in _TABLES:
            if size > left:
                continue
            left -= size
        kept.add(file)
    return [file for file in files if file in kept]


def _read_text(file: SourceFile) -> Document | Skipped:
    try:
        if not file.path.is_file():
            return Skipped(file.name, "unreadable", "not a regular file")
        with file.path.open("rb") as opened:
            head = opened.read(_HEAD)
            if b"\0" in head:
                return Skipped(file.name, "not-text", "it holds null bytes")
            data = head + opened.read()
    except OSError as error:
        return Skipped(file.name, "unreadable", error.strerror or str(error))
    if not data.strip():
        return Skipped(file.name, "empty")
    try:
        if file.path.suffix == ".py":
            return _read_python(file.name, data)
        return Document(file.name, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Skipped(file.name, "not-text", str(error))


def _read_python(name: str, data: bytes) -> Document | Skipped:
    try:
        # Respects the encoding that the file declares, and ends every line with \n.
        text = importlib.util.decode_source(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except UnicodeDecodeError:
        raise
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        return Skipped(name, "not-python", where + error.msg)
    except (ValueError, LookupError, RecursionError, MemoryError) as error:
        return Skipped(name, "not-python", f"{type(error).__name__}: {error}")
    return Document(name, text)


def _walk(root: Path, without: frozenset[str] = frozenset()) -> list[SourceFile]:
    found = []
    for folder, folders, names in os.walk(root):
        if CHECKSUMS in names and Path(folder) != root:
            folders.clear()
            continue
        hidden = {name for name in folders if name.startswith(".")}
        folders[:] = [n for n in folders if n not in hidden | without | {_CACHE}]
        for name in names:
            if not name.startswith("."):
                path = Path(folder, name)
                found.append(SourceFile(path.relative_to(root).as_posix(), path))
    return sorted(found, key=lambda file: file.name)


def _match(pattern: str) -> list[SourceFile]:
    root = _fixed_part(pattern)
    paths = [Path(p) for p in glob.glob(pattern, recursive=True) if not os.path.isdir(p)]
    if paths:
        found = {SourceFile(path.relative_to(root).as_posix(), path) for path in paths}
        return sorted(found, key=lambda file: file.name)
    if not root.is_dir():
        raise _missing(root, pattern)
    last = pattern.rsplit("/", 1)[-1]
    choices = sorted({c for f in _walk(root)[:5000] for c in (f.path.name, f"*{f.path.suffix}")})
    near = nearest(last, choices)
    raise WireworkError(
        "source-no-match",
        f"no file matches {pattern}",
        expected=f"a pattern for files under {root}",
        got=pattern,
        hint=pattern.removesuffix(last) + near if near else "",
    )


def _fixed_part(pattern: str) -> Path:
    """The folder in front of the first part with a wildcard."""
    fixed = []
    for part in Path(pattern).parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _empty(config: CorpusConfig, skipped: Counter[str]) -> WireworkError:
    limit = config.max_bytes
    return WireworkError(
        "corpus-empty",
        f"{config.source} holds no text that can be used"
        + (f" within max_bytes={limit}" if limit else ""),
        expected="at least one file or row with text",
        got=", ".join(f"{count} {reason}" for reason, count in skipped.items()) or "nothing",
        hint="a larger max_bytes" if limit else PYTHON_STDLIB,
    )


def _missing(path: Path, source: str) -> WireworkError:
    parent, child = path, path.name
    while not parent.exists():
        child, parent = parent.name, parent.parent
    siblings = sorted(p.name for p in parent.iterdir()) if parent.is_dir() else []
    near = nearest(child, siblings)
    hint = str(parent / near) if near else nearest(source, [PYTHON_STDLIB])
    return WireworkError(
        "source-missing",
        f"there is no file or folder {path}",
        expected=f"{PYTHON_STDLIB}, a file, a folder, a glob, or hf:NAME",
        got=source,
        hint=hint or PYTHON_STDLIB,
    )
