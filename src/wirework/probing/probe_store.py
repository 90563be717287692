"""A repository of fitted probes: thousands in one small file, listed, selected and applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.core.arrays import load_arrays, save_arrays
from wirework.core.errors import nearest
from wirework.probing.activation_source import Source
from wirework.probing.activation_store import Activations
from wirework.probing.activation_windows import Rows, checked_rows
from wirework.probing.probe_bank import Floats, ProbeBank
from wirework.probing.stored_probe import StoredProbe

FORMAT, VERSION = "wirework probes", 1

_TEXTS = ("feature", "site", "model", "data", "method")
_BLOCK = 4096


@dataclass(frozen=True)
class ProbeStore:
    """Probes in the order in which they were added, each once.

    The file is safetensors with a checksum. Its header is JSON: `format`, `version`, `texts` (every
    text once), `scores` (the names of the figures). Arrays of P probes: `feature`, `site`, `model`,
    `data`, `method` (P) int32, numbers of texts; `k` (P) int32; `indices` int32 and `weights`
    float64, those of all probes one after the other; `bias`, `threshold` (P) float64, NaN for no
    threshold; `scores` (P, figures) float64, NaN for no figure.
    """

    probes: tuple[StoredProbe, ...] = ()

    def __post_init__(self) -> None:
        assert len({probe.id for probe in self.probes}) == len(self.probes)

    def __len__(self) -> int:
        return len(self.probes)

    def __iter__(self) -> Iterator[StoredProbe]:
        return iter(self.probes)

    def add(self, probes: Iterable[StoredProbe]) -> ProbeStore:
        """A store with `probes` behind its own; one that is there already takes the new scores."""
        by_id = {probe.id: probe for probe in self.probes}
        by_id.update((probe.id, probe) for probe in probes)
        return ProbeStore(tuple(by_id.values()))

    def select(
        self,
        *,
        feature: str | None = None,
        site: str | None = None,
        method: str | None = None,
        model: str | None = None,
        data: str | None = None,
        k: int | None = None,
        at_least: Mapping[str, float] | None = None,
    ) -> ProbeStore:
        """Those probes that fit everything that is given.

        `feature`, `site` and `method` are names, or patterns in which `*` stands for anything
        (`*.mlp.neuron`); `model` and `data` are hashes or their beginnings; `at_least`: figures
        that must be there and reach a bar.
        """
        patterns = {"feature": feature, "site": site, "method": method}
        hashes = {"model": model, "data": data}

        def fits(probe: StoredProbe) -> bool:
            return (
                all(_like(getattr(probe, name), wanted) for name, wanted in patterns.items())
                and all(getattr(probe, name).startswith(h or "") for name, h in hashes.items())
                and k in (None, probe.k)
                and all(
                    probe.scores.get(name, -np.inf) >= x for name, x in (at_least or {}).items()
                )
            )

        return ProbeStore(tuple(probe for probe in self.probes if fits(probe)))

    def get(self, id_: str) -> StoredProbe:
        """The probe whose id begins with `id_`. Raises `probe-unknown`, `probe-ambiguous`."""
        found = [probe for probe in self.probes if probe.id.startswith(id_)]
        if len(found) == 1:
            return found[0]
        if found:
            raise WireworkError(
                "probe-ambiguous", f"{len(found)} probes have ids that begin with {id_!r}",
                expected="the beginning of one id", got=id_, hint=found[0].id,
            )  # fmt: skip
        known = [probe.id for probe in self.probes]
        raise WireworkError(
            "probe-unknown", f"no probe here has the id {id_!r}",
            expected=f"one of {len(known)} ids", got=id_, hint=nearest(id_, known),
        )  # fmt: skip

    def apply(self, activations: Activations, rows: Rows | None = None) -> NDArray[np.float32]:
        """Scores (n, probes) of the stored flat tokens `rows`; None: all.

        Raises `probes-empty`, `probe-model-mismatch`, `site-absent`, `probe-index`,
        `rows-unknown`, `rows-not-stored`.
        """
        self.require_model(activations.model_hash, str(activations.folder))
        bank = ProbeBank(self.probes)
        n = activations.manifest.tokens
        wanted = activations.rows if rows is None else checked_rows(rows, n)
        found = np.empty((len(wanted), len(self)), np.float32)
        for first in range(0, len(wanted), _BLOCK):
            part = wanted[first : first + _BLOCK]
            values: dict[str, Floats] = {s: activations.matrix(s, part) for s in bank.sites}
            found[first : first + _BLOCK] = bank.scores(values)
        return found

    def watch(self, source: Source) -> ProbeWatch:
        """The probes at work on a running model, which is checked once, here.

        Raises `probes-empty`, `probe-model-mismatch`, `site-absent`.
        """
        self.require_model(source.hash(), "the model")
        bank = ProbeBank(self.probes)
        for site in bank.sites:
            source.width(site)
        return ProbeWatch(source, bank)

    def require_model(self, model: str, name: str) -> None:
        """Raises `probe-model-mismatch` where a probe was fitted on another model."""
        other = [probe for probe in self.probes if probe.model != model]
        if other:
            raise WireworkError(
                "probe-model-mismatch",
                f"{len(other)} of {len(self)} probes were fitted on another model than {name}",
                expected=f"model {other[0].model[:12]}, for {other[0].feature} at {other[0].site}",
                got=f"model {model[:12]}", hint=f'store.select(model="{model[:12]}")',
            )  # fmt: skip

    def save(self, path: Path | str) -> None:
        """Write atomically; equal stores give equal bytes. Raises `disk-full`,
        `path-not-writable`."""
        texts = sorted({getattr(probe, name) for probe in self.probes for name in _TEXTS})
        number = {text: i for i, text in enumerate(texts)}
        figures = sorted({name for probe in self.probes for name in probe.scores})
        arrays: dict[str, NDArray[Any]] = {
            name: np.array([number[getattr(p, name)] for p in self.probes], np.int32)
            for name in _TEXTS
        }
        arrays["k"] = np.array([p.k for p in self.probes], np.int32)
        arrays["indices"] = np.array([i for p in self.probes for i in p.indices], np.int32)
        arrays["weights"] = np.array([w for p in self.probes for w in p.weights], np.float64)
        arrays["bias"] = np.array([p.bias for p in self.probes], np.float64)
        # None becomes NaN.
        arrays["threshold"] = np.array([p.threshold for p in self.probes], np.float64)
        table = [[p.scores.get(name, np.nan) for name in figures] for p in self.probes]
        arrays["scores"] = np.array(table, np.float64).reshape(len(self), len(figures))
        header = {"format": FORMAT, "version": VERSION, "texts": texts, "scores": figures}
        save_arrays(Path(path), arrays, header)

    @classmethod
    def load(cls, path: Path | str) -> ProbeStore:
        """Raises `file-missing`, `file-damaged`, `probes-foreign`, `probes-version`,
        `probes-damaged`, `probe-malformed`."""
        arrays, header = load_arrays(Path(path))
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise WireworkError(
                "probes-foreign", f"{path} is no file of probes",
                expected="a file that `ProbeStore.save` wrote", got=str(header)[:80],
            )  # fmt: skip
        if header.get("version") != VERSION:
            raise WireworkError(
                "probes-version", f"{path} is of a version that this wirework cannot read",
                expected=f"version {VERSION}", got=f"version {header.get('version')}",
                hint="a newer wirework",
            )  # fmt: skip
        fault = _fault(arrays, header)
        if fault:
            raise WireworkError(
                "probes-damaged", f"{path} contradicts itself",
                expected="the arrays of a file of probes", got=fault,
            )  # fmt: skip
        return cls().add(_probes(arrays, header["texts"], header["scores"]))

    def list(self) -> tuple[dict[str, Any], ...]:
        """A row of plain values for every probe, its id first."""
        return tuple({"id": probe.id, "k": probe.k, **probe.plain()} for probe in self.probes)


class ProbeWatch:
    """Probes on a running model: rows of tokens in, a score of every probe at every token out."""

    def __init__(self, source: Source, bank: ProbeBank) -> None:
        self._source = source
        self.bank = bank

    def __call__(self, tokens: NDArray[np.int64]) -> Floats:
        """tokens (B, T), PADDING behind the end of a row -> (B, T, probes) float32."""
        found: dict[str, Floats] = {**self._source.run(tokens, self.bank.sites)}
        return self.bank.scores(found)


def _like(text: str, pattern: str | None) -> bool:
    return pattern is None or text == pattern or fnmatchcase(text, pattern)


def _fault(arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> str:
    """What keeps the arrays of a file from being probes; empty where nothing does."""
    texts, figures = header.get("texts"), header.get("scores")
    for names in (texts, figures):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return "texts or scores that are no list of texts"
    assert isinstance(texts, list) and isinstance(figures, list)
    kinds: dict[str, Any] = dict.fromkeys((*_TEXTS, "k", "indices"), np.int32)
    kinds |= dict.fromkeys(("weights", "bias", "threshold", "scores"), np.float64)
    if {name: array.dtype for name, array in arrays.items()} != kinds:
        return f"arrays {', '.join(f'{n} {a.dtype}' for n, a in sorted(arrays.items()))}"
    n = len(arrays["k"]) if arrays["k"].ndim == 1 else -1
    total = int(arrays["k"].astype(np.int64).sum())
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys((*_TEXTS, "k", "bias", "threshold"), (n,))
    shapes |= {"indices": (total,), "weights": (total,), "scores": (n, len(figures))}
    if {name: array.shape for name, array in arrays.items()} != shapes:
        return f"shapes {', '.join(f'{m} {a.shape}' for m, a in sorted(arrays.items()))}"
    if n and arrays["k"].min() < 1:
        return "a probe that reads nothing"
    codes = np.concatenate([arrays[name] for name in _TEXTS])
    return "a number of no text" if n and not 0 <= codes.min() <= codes.max() < len(texts) else ""


def _probes(
    arrays: Mapping[str, NDArray[Any]], texts: list[str], figures: list[str]
) -> Iterator[StoredProbe]:
    ends = np.cumsum(arrays["k"], dtype=np.int64)
    columns = {name: array.tolist() for name, array in arrays.items()}
    for i, end in enumerate(ends.tolist()):
        part = slice(end - columns["k"][i], end)
        threshold = columns["threshold"][i]
        scores = zip(figures, columns["scores"][i], strict=True)
        yield StoredProbe(
            indices=tuple(columns["indices"][part]),
            weights=tuple(columns["weights"][part]),
            bias=columns["bias"][i],
            threshold=None if np.isnan(threshold) else threshold,
            scores={name: score for name, score in scores if not np.isnan(score)},
            **{name: texts[columns[name][i]] for name in _TEXTS},
        )
