"""A prepared corpus: a folder of memory-mapped token shards, a tokenizer and a manifest."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core.errors import WireworkError
from wirework.core.files import CHECKSUMS, read_json, verify_folder, write_folder, write_json
from wirework.core.progress import StartProgress, silent
from wirework.data.documents import CorpusConfig
from wirework.data.packages import package_records
from wirework.data.shards import (
    Entry,
    Spool,
    divide,
    gather,
    sample_texts,
    shard_path,
    token_dtype,
    write_shards,
)
from wirework.data.sources import expected_items, fingerprint, read_documents
from wirework.data.tokenizer import Tokenizer

FORMAT = 1
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"

TOKENIZER_SAMPLE = 8 << 20
"""Bytes of training text that a tokenizer learns from: more changes few of 2,048 merges."""


@dataclass(frozen=True)
class Corpus:
    """Tokens of both splits (read-only, mapped from disk), each document ending in end-of-text.

    `manifest`: `splits` (documents, bytes, tokens, sha256 of each), `skipped` (name, reason,
    detail), `skipped_counts` (per reason), `duplicates` (name, same_as), `config`,
    `packages` (name, version, license, files, sha256), `tokenizer_hash`, `vocab_size`, `dtype` and
    what decides whether it can be used again.
    """

    folder: Path
    manifest: dict[str, Any]
    tokenizer: Tokenizer
    train: NDArray[np.unsignedinteger[Any]]
    validation: NDArray[np.unsignedinteger[Any]]

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """Raises `corpus-foreign`, `corpus-version`, and those of `core.files.verify_folder`."""
        if MANIFEST not in verify_folder(folder):
            raise _foreign(folder)
        manifest = read_json(folder / MANIFEST)
        if not isinstance(manifest, dict) or manifest.get("kind") != "corpus":
            raise _foreign(folder)
        if manifest["format"] != FORMAT:
            raise WireworkError(
                "corpus-version",
                f"{folder} was written by another version of wirework",
                expected=f"corpus format {FORMAT}",
                got=f"format {manifest['format']}",
                hint="delete the folder and prepare the corpus again",
            )
        tokenizer = Tokenizer.load(folder / TOKENIZER)
        kind = np.dtype(manifest["dtype"])
        train, validation = (
            _map(shard_path(folder, split), kind) for split in ("train", "validation")
        )
        return cls(folder, manifest, tokenizer, train, validation)

    def hash(self) -> str:
        """sha256 over the tokenizer and the tokens: equal for equal contents in any folder."""
        parts = [self.manifest["tokenizer_hash"]]
        parts += [self.manifest["splits"][split]["sha256"] for split in ("train", "validation")]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def prepare_corpus(
    config: CorpusConfig,
    folder: Path,
    tokenizer: Tokenizer | None = None,
    start: StartProgress = silent,
) -> Corpus:
    """Read, split and encode a source into `folder`, or open what an equal call left there.

    A corpus that was made from other text or another configuration, or is damaged, is replaced
    once the new one is complete. Without `tokenizer` one is trained on the training split;
    `config.vocab_size` counts only then. The bar of the reading has the total 0 where it is not
    known beforehand (tables). Raises `corpus-folder-taken`, `corpus-empty`, and
    those of `read_documents`.
    """
    _refuse_taken(folder)
    origin = {
        "config": config.plain(),
        "fingerprint": fingerprint(config),
        "tokenizer_given": tokenizer.hash() if tokenizer else None,
    }
    ready = _ready(folder, origin)
    if ready is not None:
        return ready
    with write_folder(folder) as draft:
        path = draft / "spool"
        with path.open("w+b") as file:
            spool = gather(file, read_documents(config), start, expected_items(config))
            splits = divide(spool, config.validation_share, config.seed)
            if tokenizer is None:
                tokenizer = _train_tokenizer(config, spool, splits["train"], start)
            written = write_shards(draft, spool, splits, tokenizer, start)
        path.unlink()
        tokenizer.save(draft / TOKENIZER)
        manifest = {
            "kind": "corpus",
            "format": FORMAT,
            "vocab_size": tokenizer.vocab_size,
            "end_of_text": tokenizer.end_of_text,
            "tokenizer_hash": tokenizer.hash(),
            "dtype": token_dtype(tokenizer.vocab_size).str,
            "splits": written,
            "skipped": [vars(item) for item in spool.skipped],
            "skipped_counts": dict(Counter(item.reason for item in spool.skipped)),
            "duplicates": [{"name": name, "same_as": kept} for name, kept in spool.duplicates],
            "packages": package_records(config),
            **origin,
        }
        write_json(draft / MANIFEST, manifest)
    return Corpus.open(folder)


def _train_tokenizer(
    config: CorpusConfig, spool: Spool, entries: list[Entry], start: StartProgress
) -> Tokenizer:
    texts = list(sample_texts(spool, entries, config.seed, TOKENIZER_SAMPLE))
    with start("training the tokenizer", 1) as progress:
        tokenizer = Tokenizer.train(texts, config.vocab_size)
        progress.advance()
    return tokenizer


def _ready(folder: Path, origin: dict[str, Any]) -> Corpus | None:
    """The corpus in `folder` if it is whole and was made in the same way."""
    try:
        corpus = Corpus.open(folder)
    except WireworkError:
        return None
    same = all(corpus.manifest[key] == value for key, value in origin.items())
    return corpus if same else None


def _refuse_taken(folder: Path) -> None:
    """Never replace a folder that holds anything but a corpus."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    own = {CHECKSUMS, MANIFEST, TOKENIZER, "train.bin", "validation.bin"}
    other = sorted(p.name for p in folder.iterdir() if p.name not in own) if folder.is_dir() else []
    if other or not (folder / MANIFEST).is_file():
        raise WireworkError(
            "corpus-folder-taken",
            f"{folder} holds something other than a corpus",
            expected="a new or empty folder, or a corpus to replace",
            got=", ".join(other[:6]) or str(folder),
        )


def _foreign(folder: Path) -> WireworkError:
    return WireworkError(
        "corpus-foreign",
        f"{folder} is not a corpus",
        expected=f"a folder with a {MANIFEST} that describes a corpus",
        got=", ".join(sorted(p.name for p in folder.iterdir())[:6]),
    )


def _map(path: Path, kind: np.dtype[Any]) -> NDArray[np.unsignedinteger[Any]]:
    if path.stat().st_size == 0:
        return np.empty(0, dtype=kind)
    return np.memmap(path, dtype=kind, mode="r")
