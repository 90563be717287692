"""One model, one text, one set of labels: what every probe is fitted and scored on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core.progress import StartProgress, silent
from wirework.data import CorpusConfig, Document, Tokenizer, read_documents
from wirework.probing.activation_source import Ablatable, WireworkSource, absent_site
from wirework.probing.activation_store import Activations, collect
from wirework.probing.checks import about, require_neurons
from wirework.probing.feature import YES, FeatureSet, Integers
from wirework.probing.hugging_face_source import load_hugging_face
from wirework.probing.label_tokens import Cut, checked_cut, label_tokens, tokenizer_cut
from wirework.probing.labelled import LabelledTokens
from wirework.probing.one_neuron import balanced_accuracy_of, confusion, f1_of
from wirework.probing.probe import METHODS, SparseProbe
from wirework.probing.sampling import sample_rows
from wirework.probing.selection import check_options
from wirework.probing.split_tokens import Parts
from wirework.probing.stored_probe import StoredProbe
from wirework.training import load_checkpoint

HUGGING_FACE = "hf:"
_ROWS = 1000
"""Any number of rows: the options do not depend on it."""


@dataclass(frozen=True)
class ProbedModel:
    """A source of activations and what cuts text into its tokens."""

    source: Ablatable
    cut: Tokenizer | Cut

    @classmethod
    def load(cls, name: str, *, head: bool = False) -> ProbedModel:
        """One of ours, or `hf:` and a folder or name; `head`: with its language-model head, which
        ablation needs. Raises what loading either raises."""
        if not name.startswith(HUGGING_FACE):
            checkpoint = load_checkpoint(name)
            return cls(WireworkSource(checkpoint), checkpoint.tokenizer)
        place = name.removeprefix(HUGGING_FACE)
        source = load_hugging_face(place, head=head)
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(place)

        def cut(text: str) -> tuple[Any, Any]:
            found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            return found["input_ids"], found["offset_mapping"]

        return cls(source, cut)

    def sites(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Sites by name, or by an ending such as `mlp.neuron` for all that end so.

        Raises `site-absent`.
        """
        known = self.source.sites()
        found: list[str] = []
        for name in wanted:
            matching = [site for site in known if site == name or site.endswith(f".{name}")]
            if not matching:
                raise absent_site(name, known)
            found += matching
        return tuple(dict.fromkeys(found))

    def require_neuron(self, site: str, index: int) -> None:
        """Raises `site-absent`, `neuron-absent`."""
        require_neurons(site, [index], self.source.width(site))

    def require_fit(self, probes: Sequence[SparseProbe], sites: Sequence[str]) -> None:
        """Tell before any work what their options would make `fit` raise at one of the sites.

        Raises `probe-method-unknown`, `probe-k-invalid`, `probe-option-invalid`.
        """
        for site in sites:
            with about(site):
                for probe in probes:
                    check_options(probe, METHODS, _ROWS, self.source.width(site))

    @property
    def text_of(self) -> Callable[[int], str] | None:
        """The text of a token id, where the tokenizer is ours."""
        return self.cut.token_text if isinstance(self.cut, Tokenizer) else None

    def tokens(self, text: str) -> tuple[Integers, list[str]]:
        """The ids of a text (T), and the piece of it that each token is."""
        cut = tokenizer_cut(self.cut) if isinstance(self.cut, Tokenizer) else checked_cut(self.cut)
        ids, starts, ends = cut(text, "the text")
        return ids, [text[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]

    def label(
        self, features: FeatureSet, text: str, max_bytes: int, start: StartProgress = silent
    ) -> LabelledTokens:
        """Label at most so many bytes of a source of text (`CorpusConfig.source`).

        Raises what `read_documents` and `label_tokens` raise.
        """
        config = CorpusConfig.parse({"source": text, "max_bytes": max_bytes})
        found = (item for item in read_documents(config) if isinstance(item, Document))
        return label_tokens({d.name: d.text for d in found}, self.cut, features, start=start)

    def collect(
        self,
        labelled: LabelledTokens,
        sites: Sequence[str],
        folder: Path,
        *,
        tokens: int,
        seed: int = 0,
        **options: Any,
    ) -> Activations:
        """Activations of at most so many tokens, drawn evenly but for the first of a document.

        `sites`: as `ProbedModel.sites` reads them. `options`, and what is raised: see `collect`.
        """
        return collect(
            self.source, labelled, self.sites(sites), folder,
            rows=drawn_rows(labelled, tokens, seed), **options,
        )  # fmt: skip


def drawn_rows(labelled: LabelledTokens, count: int, seed: int, skip_first: int = 10) -> Integers:
    """At most `count` tokens in order, none of the first `skip_first` of a document (§2.4)."""
    allowed = np.flatnonzero(labelled.position >= skip_first)
    return np.sort(np.random.default_rng(seed).permutation(allowed)[:count])


def fit_probe(
    activations: Activations,
    labelled: LabelledTokens,
    feature: str,
    site: str,
    probe: SparseProbe,
    *,
    size: int = 20_000,
    least: int = 500,
    test: float = 0.3,
    seed: int = 0,
) -> StoredProbe:
    """Fit a probe on training documents and score it on the others.

    Rows are drawn as `sample_rows` does, among those that have activations, so that base rates are
    alike for all features; `least` positives in training text. `scores`: `f1` with `f1_low` and
    `f1_high` (95%, test documents drawn with replacement), `precision`, `recall`,
    `balanced_accuracy`, `base_rate` on test rows, `train_f1`. Raises what `sample_rows`,
    `LabelledTokens.split` and `SparseProbe.fit` raise.
    """
    parts = labelled.split(seed, test)
    stored = np.zeros(len(labelled), dtype=np.bool_)
    stored[activations.rows] = True
    column = labelled.column(feature)
    counts: list[NDArray[np.int64]] = []
    fitted = probe
    for part, at_least in zip(parts, (least, 1), strict=True):
        rows = sample_rows(
            labelled, feature, size, least=at_least, among=part & stored, seed=seed
        )  # fmt: skip
        X, y = activations.matrix(site, rows), column[rows] == YES
        with about(f"{feature!r} at {site}"):
            if not counts:
                fitted = probe.fit(X, y)
            said = fitted.decision_function(X) > 0
        counts.append(confusion(said, y))
    low, high = Parts.of(labelled, rows, test, seed).interval(said, column[rows])
    hits, alarms, misses, _ = counts[1].tolist()
    return StoredProbe(
        feature=feature,
        site=site,
        indices=tuple(fitted.neurons_.tolist()),
        weights=tuple(fitted.weights_.tolist()),
        bias=float(fitted.intercept_[0]),
        threshold=0.0,
        model=activations.model_hash,
        data=activations.data_hash,
        method=f"{probe.method}, k={probe.k}",
        scores={
            "f1": float(f1_of(counts[1])),
            "f1_low": low,
            "f1_high": high,
            "precision": hits / (hits + alarms) if hits + alarms else 0.0,
            "recall": hits / (hits + misses),
            "balanced_accuracy": float(balanced_accuracy_of(counts[1])),
            "base_rate": (hits + misses) / int(counts[1].sum()),
            "train_f1": float(f1_of(counts[0])),
        },
    )
