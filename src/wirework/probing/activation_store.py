"""Activations of a model over many documents, on disk: collected in chunks, read in blocks."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.core.interrupt import Interruptible, interrupted
from wirework.core.progress import StartProgress, silent
from wirework.probing.activation_files import (
    ActivationFolder,
    Manifest,
    damaged,
    rows_hash,
)
from wirework.probing.activation_source import PADDING, Source
from wirework.probing.activation_windows import (
    Documents,
    Rows,
    TokenStream,
    Windows,
    checked_rows,
    cut_windows,
)
from wirework.probing.checks import about

PASS_BYTES = 1 << 28
"""What the recorded activations of one pass may take by default, float32."""

MOST_WINDOWS = 32
"""No pass reads more windows of full length than these, unless it is told to."""

CHUNK_BYTES = 1 << 26
"""What is collected before it is written."""

_BLOCK = 1 << 14


def collect(
    source: Source,
    data: Documents,
    sites: Iterable[str],
    folder: Path | str,
    *,
    rows: Rows | None = None,
    overlap: int | None = None,
    dtype: Literal["float16", "float32"] = "float16",
    batch: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    max_disk: int | None = None,
    resume: bool = False,
    start: StartProgress = silent,
) -> Activations:
    """Run `source` over documents and store the activations of `sites` in `folder`.

    `data`: flat tokens such as `LabelledTokens`, or one sequence of ids for each document. `rows`:
    which flat tokens are stored, as indices or as a mask; None: all. Documents are cut into windows
    of the source's context. Every stored token comes from exactly one of them, and behind the
    first window of its document it sees at least `overlap` earlier tokens; where the model is not
    causal, it sees as many later ones before the last window. None: a quarter of the context; of
    long documents the model then reads 4/3 (causal) or twice as many tokens as there are.

    `batch`: windows of full length in one pass, shorter ones are more (None: so many that their
    activations take 256 MB, at most 32). Memory: the model at work on that many, its activations,
    and `chunk_bytes` of rows that are not yet written. `max_disk`: bytes that the numbers may
    take in the folder.

    An interrupted collection goes on with `resume=True`, and leaves the same bytes as one that was
    not interrupted (on the same machine, with as many threads); it needs the same model, data and
    options.

    Raises, before any work: `documents-malformed`, `tokenizer-mismatch`, `token-unknown`,
    `rows-unknown`, `sites-empty`, `site-absent`, `overlap-too-large`, `disk-limit`,
    `disk-too-small`, `activations-exist`, `path-occupied`, `resume-mismatch`,
    `activations-damaged`; on the way: `interrupted`, `activations-not-finite`,
    `activations-overflow`, `disk-full`, `path-not-writable` and those of the source.
    """
    stream = TokenStream.of(data)
    _require_own_tokenizer(data, source)
    _require_known_tokens(data, stream, source)
    everything = np.arange(len(stream.tokens), dtype=np.int64)
    wanted = everything if rows is None else np.unique(checked_rows(rows, len(everything)))
    overlap = source.context // 4 if overlap is None else overlap
    windows = cut_windows(stream, source.context, overlap, causal=source.causal)
    widths = _widths(source, sites)
    per_window = 4 * source.context * sum(width for _, width in widths)
    manifest = Manifest(
        model=source.hash(),
        data=stream.hash(),
        source=source.describe(),
        tokens=len(stream.tokens),
        n=len(wanted),
        rows=rows_hash(wanted),
        sites=widths,
        dtype=dtype,
        context=source.context,
        overlap=overlap,
        batch=max(1, min(MOST_WINDOWS, PASS_BYTES // per_window)) if batch is None else batch,
        chunk_bytes=chunk_bytes,
    )
    files = ActivationFolder(folder)
    _require_room(manifest, files, max_disk)
    chunks = _chunks(windows, wanted, manifest)
    progress = files.begin(manifest, wanted, resume=resume)
    with Interruptible() as asked, start("activations", manifest.n, progress.rows) as bar:
        for number in range(len(progress.ends), len(chunks)):
            before = progress.rows
            with about(str(files.path)):
                values = _run_chunk(source, stream, chunks[number], wanted, manifest)
            progress = files.append(manifest, progress, values)
            bar.advance(progress.rows - before)
            if asked.requested and progress.rows < manifest.n:
                raise interrupted(number + 1, len(chunks), "the same with resume=True")
    return Activations.of(folder)


@dataclass(frozen=True, eq=False)
class Activations:
    """Stored activations; nothing but the row numbers is in memory.

    `rows` (n,): the flat tokens that are stored, rising. They are what `matrix` is asked for.
    """

    folder: Path
    manifest: Manifest
    rows: NDArray[np.int64]

    @classmethod
    def of(
        cls, folder: Path | str, *, model: str | None = None, data: str | None = None
    ) -> Activations:
        """Open what `collect` stored; `model`, `data`: the hashes that they should be of.

        Raises `folder-missing`, `activations-foreign`, `activations-version`,
        `activations-damaged`, `activations-incomplete`, `activations-model-mismatch`,
        `activations-data-mismatch`, `file-damaged`, `config-invalid`.
        """
        files = ActivationFolder(folder)
        manifest, progress = files.manifest(), files.progress()
        if model is not None and manifest.model != model:
            raise WireworkError(
                "activations-model-mismatch", f"{folder} holds activations of another model",
                expected=f"model {model[:12]}", got=f"model {manifest.model[:12]}",
                hint="collect the activations of this model, in a new folder",
            )  # fmt: skip
        if data is not None and manifest.data != data:
            raise WireworkError(
                "activations-data-mismatch", f"{folder} holds activations on other tokens",
                expected=f"data {data[:12]}", got=f"data {manifest.data[:12]}",
                hint="collect the activations on these tokens, in a new folder",
            )  # fmt: skip
        if progress.rows != manifest.n:
            raise WireworkError(
                "activations-incomplete", f"{folder} is not complete",
                expected=f"{manifest.n} rows", got=f"{progress.rows} rows",
                hint="collect once more with resume=True",
            )  # fmt: skip
        files.require_files(manifest)
        return cls(Path(folder), manifest, files.rows(manifest))

    def __len__(self) -> int:
        return self.manifest.n

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(site for site, _ in self.manifest.sites)

    @property
    def model_hash(self) -> str:
        return self.manifest.model

    @property
    def data_hash(self) -> str:
        return self.manifest.data

    def width(self, site: str) -> int:
        """Raises `site-absent`."""
        return self.manifest.width(site)

    def matrix(self, site: str, rows: Rows | None = None) -> NDArray[np.float32]:
        """(n, channels) of the flat tokens `rows`, in their order; None: all that are stored.

        Raises `site-absent`, `rows-unknown`, `rows-not-stored`.
        """
        values = ActivationFolder(self.folder).values(self.manifest, site)
        places = np.arange(len(self)) if rows is None else self._places(rows)
        found = np.empty((len(places), values.shape[1]), np.float32)
        for first in range(0, len(places), _BLOCK):
            found[first : first + _BLOCK] = values[places[first : first + _BLOCK]]
        return found

    def blocks(
        self, site: str, size: int = _BLOCK
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """All rows of a site in order, at most `size` at a time: (flat tokens, (n, channels))."""
        assert size >= 1
        values = ActivationFolder(self.folder).values(self.manifest, site)
        for first in range(0, len(self), size):
            part = slice(first, first + size)
            yield self.rows[part], values[part].astype(np.float32)

    def check(self) -> None:
        """Read everything and compare checksums. Raises `activations-damaged`."""
        files = ActivationFolder(self.folder)
        values = [files.values(self.manifest, site) for site in self.sites]
        first, progress = 0, files.progress()
        for end, expected in zip(progress.ends, progress.sha256, strict=True):
            digest = hashlib.sha256()
            for array in values:
                digest.update(np.ascontiguousarray(array[first:end]).data)
            if digest.hexdigest() != expected:
                raise damaged(self.folder, f"rows {first} … {end - 1} with another checksum")
            first = end

    def _places(self, rows: Rows) -> NDArray[np.int64]:
        asked = checked_rows(rows, self.manifest.tokens)
        places = np.minimum(np.searchsorted(self.rows, asked), len(self) - 1)
        absent = asked[self.rows[places] != asked]
        if len(absent):
            raise WireworkError(
                "rows-not-stored", f"{self.folder} lacks some of the tokens that are asked for",
                expected=f"some of the {len(self)} flat tokens that were collected",
                got=f"{len(absent)} others, the first of them {absent[0]}",
                hint="collect with these rows, in a new folder",
            )  # fmt: skip
        return places


@dataclass(frozen=True, eq=False)
class _Window:
    """A window `first` : `last`, and the rows `low` : `high` of the store that come from it."""

    first: int
    last: int
    low: int
    high: int


def _chunks(windows: Windows, wanted: NDArray[np.int64], manifest: Manifest) -> list[list[_Window]]:
    """Windows that hold a wanted row, in order, in runs of about `chunk_bytes`."""
    low, high = np.searchsorted(wanted, windows.keep), np.searchsorted(wanted, windows.end)
    rows = max(1, manifest.chunk_bytes // manifest.row_bytes)
    found: list[list[_Window]] = []
    number = -1
    for i in np.flatnonzero(high > low):
        window = _Window(*(int(a[i]) for a in (windows.first, windows.last, low, high)))
        if window.low // rows != number:
            number = window.low // rows
            found.append([])
        found[-1].append(window)
    return found


def _run_chunk(
    source: Source,
    stream: TokenStream,
    chunk: list[_Window],
    wanted: NDArray[np.int64],
    manifest: Manifest,
) -> dict[str, NDArray[Any]]:
    """The stored rows of a chunk: site -> (rows, channels). Windows of like length go together."""
    first, rows = chunk[0].low, chunk[-1].high - chunk[0].low
    values = {site: np.empty((rows, width), manifest.dtype) for site, width in manifest.sites}
    rest = sorted(chunk, key=lambda window: (window.first - window.last, window.first))
    while rest:
        longest = rest[0].last - rest[0].first
        count = max(1, manifest.batch * manifest.context // longest)
        now, rest = rest[:count], rest[count:]
        tokens = np.full((len(now), longest), PADDING, np.int64)
        for row, window in enumerate(now):
            tokens[row, : window.last - window.first] = stream.tokens[window.first : window.last]
        found = source.run(tokens, tuple(values))
        for site, into in values.items():
            for row, window in enumerate(now):
                kept = found[site][row][wanted[window.low : window.high] - window.first]
                into[window.low - first : window.high - first] = _narrow(kept, site, manifest)
    return values


def _narrow(values: NDArray[np.float32], site: str, manifest: Manifest) -> NDArray[Any]:
    """In the number format of the store."""
    with np.errstate(over="ignore"):
        found = values.astype(manifest.dtype)
    if np.isfinite(found).all():
        return found
    if not np.isfinite(values).all():
        raise WireworkError(
            "activations-not-finite", f"activations of {site} are not finite",
            expected="finite numbers", got="NaN or infinity",
            hint="run the model in float32 or bfloat16",
        )  # fmt: skip
    raise WireworkError(
        "activations-overflow", f"activations of {site} exceed what {manifest.dtype} can hold",
        expected=f"magnitudes of at most {np.finfo(manifest.dtype).max}",
        got=f"{np.abs(values).max():.6g}", hint='dtype="float32"',
    )  # fmt: skip


def _widths(source: Source, sites: Iterable[str]) -> tuple[tuple[str, int], ...]:
    asked = dict.fromkeys(sites)
    widths = {site: source.width(site) for site in asked}
    if not widths:
        raise WireworkError(
            "sites-empty", "nothing says which activations to collect",
            expected="names of sites", got="none", hint=next(iter(source.sites()), ""),
        )  # fmt: skip
    return tuple((site, widths[site]) for site in source.sites() if site in widths)


def _require_own_tokenizer(data: Documents, source: Source) -> None:
    """Labelled tokens say which tokenizer made them."""
    used = getattr(data, "tokenizer", "")
    if used and source.tokenizer and used != source.tokenizer:
        raise WireworkError(
            "tokenizer-mismatch", "the tokens were made by another tokenizer than the model's",
            expected=f"tokenizer {source.tokenizer[:12]}", got=f"tokenizer {used[:12]}",
            hint="label the documents with the model's own tokenizer",
        )  # fmt: skip


def _require_known_tokens(data: Documents, stream: TokenStream, source: Source) -> None:
    if source.vocab_size is None or stream.tokens.max() < source.vocab_size:
        return
    i = int(np.flatnonzero(stream.tokens >= source.vocab_size)[0])
    number = int(stream.document[i])
    names = getattr(data, "documents", None)
    document = number if names is None else repr(names[number])
    raise WireworkError(
        "token-unknown", f"the model has no token {stream.tokens[i]}",
        expected=f"ids 0 … {source.vocab_size - 1}",
        got=f"{stream.tokens[i]} at place {stream.position[i]} of document {document}",
        hint="encode the documents with the model's own tokenizer",
    )  # fmt: skip


def _require_room(manifest: Manifest, files: ActivationFolder, max_disk: int | None) -> None:
    size = manifest.n * (manifest.row_bytes + 8)
    shape = f"{manifest.n} tokens x {manifest.row_bytes} bytes of {len(manifest.sites)} sites"
    if max_disk is not None and size > max_disk:
        raise WireworkError(
            "disk-limit", f"{files.path} would take {size / 1e9:.3g} GB: {shape}",
            expected=f"at most {max_disk / 1e9:.3g} GB ({max_disk} bytes)", got=f"{size} bytes",
            hint="fewer sites or rows, or a larger max_disk",
        )  # fmt: skip
    there = files.path.absolute()
    while not there.exists():
        there = there.parent
    held = sum(p.stat().st_blocks * 512 for p in files.path.glob("*.npy"))
    free = shutil.disk_usage(there).free
    if size - held > free:
        raise WireworkError(
            "disk-too-small", f"{files.path} would take {size / 1e9:.3g} GB: {shape}",
            expected=f"at most {free / 1e9:.3g} GB, what the disk has left",
            got=f"{size - held} bytes", hint="fewer sites or rows, or another disk",
        )  # fmt: skip
