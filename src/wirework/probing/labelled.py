"""Labelled tokens: what probes read beside activations, flat over all documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wirework.core.arrays import load_arrays, save_arrays
from wirework.core.errors import WireworkError
from wirework.data import Skipped
from wirework.probing.feature import NOT_ASKED, YES, Feature, Integers, Labels, feature_index

SCHEMA = 1


class BaseRate(NamedTuple):
    """How many tokens have a feature, and how many were asked."""

    positives: int
    asked: int

    @property
    def rate(self) -> float:
        """positives / asked; 0 where none was asked."""
        return self.positives / self.asked if self.asked else 0.0


@dataclass(frozen=True, eq=False)
class LabelledTokens:
    """`tokens`, `document`, `position` (N) int64; `labels` (N, F) int8: 1, 0, or -1 (not asked).

    `document` is an index into `documents`, `position` the place in the document. `skipped`:
    documents that the set could not label, with the reason; their tokens are not here.
    `tokenizer`: its hash, empty for a callable without one.
    """

    tokens: Integers
    document: Integers
    position: Integers
    labels: Labels
    features: tuple[Feature, ...]
    documents: tuple[str, ...]
    feature_set: str
    tokenizer: str = ""
    skipped: tuple[Skipped, ...] = ()

    def __post_init__(self) -> None:
        """Raises `labels-shape-wrong`, such as for labels of tokens that are not there."""
        n, known = len(self.tokens), len(self.documents)
        wrong = [x for x in ("document", "position") if getattr(self, x).shape != (n,)]
        if self.labels.shape != (n, len(self.features)):
            wrong.append("labels")
        if not wrong and n and not 0 <= self.document.min() <= self.document.max() < known:
            wrong.append("document")
        if wrong:
            raise WireworkError(
                "labels-shape-wrong",
                f"{', '.join(wrong)} of {self.feature_set!r} do not fit its tokens",
                expected=f"{n} tokens of {known} documents, {len(self.features)} features",
                got=f"labels {self.labels.shape}, document {self.document.shape}, "
                f"position {self.position.shape}",
            )

    def __len__(self) -> int:
        return len(self.tokens)

    def index(self, name: str) -> int:
        """The column of a feature. Raises `feature-unknown`."""
        return feature_index(self.features, name)

    def column(self, name: str) -> Labels:
        """The labels (N) of one feature. Raises `feature-unknown`."""
        found: Labels = self.labels[:, self.index(name)]
        return found

    def only(self, names: Sequence[str]) -> LabelledTokens:
        """These features alone, in this order. Raises `feature-unknown`."""
        columns = [self.index(name) for name in names]
        return self._with(
            labels=self.labels[:, columns], features=tuple(self.features[i] for i in columns)
        )

    def beside(self, other: LabelledTokens) -> LabelledTokens:
        """The features of both, over the same tokens of the same documents.

        Raises `labels-differ` where tokens, documents or tokenizers are not the same, or where both
        have a feature of one name.
        """
        same = self.documents == other.documents and np.array_equal(self.tokens, other.tokens)
        twice = {f.name for f in self.features} & {f.name for f in other.features}
        if not same or twice or self.tokenizer != other.tokenizer:
            raise WireworkError(
                "labels-differ",
                f"the labels of {self.feature_set!r} and {other.feature_set!r} do not go together",
                expected="other features of the same tokens of the same documents",
                got=", ".join(sorted(twice))
                or f"{len(self)} tokens of {len(self.documents)} documents, "
                f"{len(other)} tokens of {len(other.documents)} documents",
                hint="label only the documents that neither set skipped",
            )
        return self._with(
            labels=np.concatenate((self.labels, other.labels), axis=1),
            features=self.features + other.features,
            feature_set=f"{self.feature_set}+{other.feature_set}",
            skipped=tuple(dict.fromkeys(self.skipped + other.skipped)),
        )

    def probeable(self, least: int = 500) -> tuple[str, ...]:
        """Features with at least so many tokens that have it, and as many that have it not."""
        rates = self.base_rates()
        return tuple(
            name for name, rate in rates.items()
            if min(rate.positives, rate.asked - rate.positives) >= least
        )  # fmt: skip

    def next_token(self) -> LabelledTokens:
        """Every token gets the labels of the one behind it, in its own document.

        That is, does a model know the feature before it is there (sparse_probing.md §2.1)? The
        last token of a document is not asked. Feature names stay.
        """
        labels = np.full_like(self.labels, NOT_ASKED)
        inside = np.flatnonzero(self.document[1:] == self.document[:-1])
        labels[inside] = self.labels[inside + 1]
        return self._with(labels=labels)

    def split(self, seed: int, test: float = 0.3) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Masks (N) of training and test tokens; whole documents are drawn for either.

        `test` is the share of documents. Raises `documents-too-few` where there are not two,
        `test-share-malformed`.
        """
        if not 0 < test < 1:
            raise WireworkError(
                "test-share-malformed", "the test share is a part of all documents",
                expected="0 < test < 1", got=str(test), hint="0.3",
            )  # fmt: skip
        if len(self.documents) < 2:
            raise WireworkError(
                "documents-too-few",
                f"{len(self.documents)} document cannot be split into training and test documents",
                expected="at least 2 documents with labels",
                got=", ".join(self.documents),
            )
        count = len(self.documents)
        chosen = min(max(round(test * count), 1), count - 1)
        order = np.random.default_rng(seed).permutation(count)
        is_test = np.zeros(count, bool)
        is_test[order[:chosen]] = True
        mask = is_test[self.document]
        return ~mask, mask

    def base_rates(self) -> dict[str, BaseRate]:
        """Of every feature, over all tokens that were asked."""
        positives = (self.labels == YES).sum(0)
        asked = (self.labels != NOT_ASKED).sum(0)
        return {
            feature.name: BaseRate(int(yes), int(all_of_them))
            for feature, yes, all_of_them in zip(self.features, positives, asked, strict=True)
        }

    def require_tokenizer(self, tokenizer_hash: str, what: str) -> None:
        """Raises `labels-tokenizer-mismatch` unless the labels were made with this tokenizer."""
        if self.tokenizer != tokenizer_hash:
            raise WireworkError(
                "labels-tokenizer-mismatch",
                f"the labels of {self.feature_set!r} belong to other tokens than those of {what}",
                expected=f"labels made with tokenizer {tokenizer_hash[:12]}",
                got=f"tokenizer {self.tokenizer[:12] or 'without a hash'}",
                hint="label_tokens with the model's own tokenizer",
            )

    def save(self, path: Path) -> None:
        """One safetensors file. Raises `disk-full`, `path-not-writable`."""
        header = {
            "schema": SCHEMA,
            "features": [feature.to_json() for feature in self.features],
            "documents": list(self.documents),
            "feature_set": self.feature_set,
            "tokenizer": self.tokenizer,
            "skipped": [[item.name, item.reason, item.detail] for item in self.skipped],
        }
        names = ("tokens", "document", "position", "labels")
        save_arrays(path, {name: getattr(self, name) for name in names}, header)

    @classmethod
    def load(cls, path: Path) -> LabelledTokens:
        """Inverse of `save`. Raises `file-missing`, `file-damaged`, `labels-schema-unknown`."""
        arrays, header = load_arrays(path)
        if not isinstance(header, dict) or header.get("schema") != SCHEMA:
            raise WireworkError(
                "labels-schema-unknown", f"{path} does not hold labelled tokens as written here",
                expected=f"schema {SCHEMA}", got=str(header)[:80],
            )  # fmt: skip
        return cls(
            **arrays,
            features=tuple(Feature.from_json(item) for item in header["features"]),
            documents=tuple(header["documents"]),
            feature_set=header["feature_set"],
            tokenizer=header["tokenizer"],
            skipped=tuple(Skipped(*item) for item in header["skipped"]),
        )

    def _with(self, **changes: Any) -> LabelledTokens:
        return LabelledTokens(**{**vars(self), **changes})
