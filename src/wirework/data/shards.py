"""Documents on their way to disk: gathered once, split, encoded into token shards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from wirework.core.files import sha256_file
from wirework.core.progress import StartProgress
from wirework.data.documents import Document, Skipped, seeded_share
from wirework.data.tokenizer import Tokenizer

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")

_BATCH_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """Where a document lies in the spool."""

    name: str
    offset: int
    size: int


@dataclass
class Spool:
    """All distinct documents one behind the other in a file, so that a source is read once and
    memory does not grow with the corpus."""

    file: BinaryIO
    entries: list[Entry] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    """(name, name of the equal document that was kept)"""

    def read(self, entry: Entry) -> bytes:
        self.file.seek(entry.offset)
        return self.file.read(entry.size)


def gather(
    file: BinaryIO, items: Iterable[Document | Skipped], start: StartProgress, total: int
) -> Spool:
    """Write every distinct document into `file`, an empty one open for reading and writing."""
    spool = Spool(file)
    seen: dict[bytes, str] = {}
    offset = 0
    with start("reading", total) as progress:
        for item in items:
            progress.advance()
            if isinstance(item, Skipped):
                spool.skipped.append(item)
                continue
            data = item.text.encode()
            first = seen.setdefault(hashlib.sha256(data).digest(), item.name)
            if first != item.name:
                spool.duplicates.append((item.name, first))
                continue
            file.write(data)
            spool.entries.append(Entry(item.name, offset, len(data)))
            offset += len(data)
    return spool


def divide(spool: Spool, share: float, seed: int) -> dict[Split, list[Entry]]:
    """Whole documents to train or validation by a seeded hash of their names.

    Neither is empty where there are two documents. A single one is cut at a line's end, the
    last `share` of it being validation; with no line's end to cut at, validation is empty.
    """
    if len(spool.entries) == 1:
        return _cut(spool, spool.entries[0], share)
    drawn = {e.name: seeded_share(seed, "validation", e.name) for e in spool.entries}
    lowest = min(spool.entries, key=lambda e: drawn[e.name])
    highest = max(spool.entries, key=lambda e: drawn[e.name])
    chosen = {e.name for e in spool.entries if drawn[e.name] < share}
    chosen = (chosen | {lowest.name}) - {highest.name}
    return {
        "train": [e for e in spool.entries if e.name not in chosen],
        "validation": [e for e in spool.entries if e.name in chosen],
    }


def _cut(spool: Spool, only: Entry, share: float) -> dict[Split, list[Entry]]:
    data = spool.read(only)
    end = data.rfind(b"\n", 0, int(len(data) * (1 - share))) + 1 or data.find(b"\n") + 1
    if end in (0, len(data)):
        return {"train": [only], "validation": []}
    head = Entry(only.name, only.offset, end)
    tail = Entry(only.name, only.offset + end, only.size - end)
    return {"train": [head], "validation": [tail]}


def sample_texts(spool: Spool, entries: list[Entry], seed: int, limit: int) -> Iterator[str]:
    """Documents in a seeded order, up to `limit` bytes in all, the last one cut short."""
    for entry in sorted(entries, key=lambda e: seeded_share(seed, "tokenizer", e.name)):
        data = spool.read(entry)[:limit]
        limit -= len(data)
        yield data.decode("utf-8", errors="ignore")
        if limit <= 0:
            return


def write_shards(
    folder: Path,
    spool: Spool,
    splits: dict[Split, list[Entry]],
    tokenizer: Tokenizer,
    start: StartProgress,
) -> dict[Split, dict[str, Any]]:
    """Write `train.bin` and `validation.bin`: token ids, little-endian, each document followed
    by end-of-text. Returns documents, bytes, tokens and sha256 of each."""
    kind = token_dtype(tokenizer.vocab_size)
    written: dict[Split, dict[str, Any]] = {}
    with start("encoding", sum(len(entries) for entries in splits.values())) as progress:
        for split in SPLITS:
            path, tokens = shard_path(folder, split), 0
            with path.open("wb") as file:
                for texts in _batches(spool, splits[split]):
                    for ids in tokenizer.encode_many(texts):
                        file.write(np.array([*ids, tokenizer.end_of_text], dtype=kind).tobytes())
                        tokens += len(ids) + 1
                    progress.advance(len(texts))
            written[split] = {
                "documents": len(splits[split]),
                "bytes": sum(entry.size for entry in splits[split]),
                "tokens": tokens,
                "sha256": sha256_file(path),
            }
    return written


def _batches(spool: Spool, entries: list[Entry]) -> Iterator[list[str]]:
    texts: list[str] = []
    size = 0
    for entry in entries:
        texts.append(spool.read(entry).decode())
        size += entry.size
        if size >= _BATCH_BYTES:
            yield texts
            texts, size = [], 0
    if texts:
        yield texts


def shard_path(folder: Path, split: Split) -> Path:
    return folder / f"{split}.bin"


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Two bytes per token where the vocabulary allows it, else four."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")
