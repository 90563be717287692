"""Base rates of the features on the standard library, as `probing/measured_rates.py` holds them.

    python benchmarks/feature_rates.py --out rates.json

Labels every document that `CorpusConfig(max_bytes=4_000_000)` picks, with the tokenizer of
`reference/v1-sparse-small`; writes, by set and feature: tokens that have it, tokens that were
asked, documents that have it. The figures depend on the interpreter's own library.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console

from wirework.cli.progress import progress_to
from wirework.core import RunRecord
from wirework.core.files import write_json
from wirework.probing import ProbedModel, feature_set
from wirework.probing.feature import YES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=["python", "oversight"])
    parser.add_argument("--max-bytes", type=int, default=4_000_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/feature_rates.json"))
    wanted = parser.parse_args()
    shown = progress_to(Console(stderr=True), quiet=False)
    probed = ProbedModel.load("reference/v1-sparse-small")
    found: dict[str, object] = {}
    for name in wanted.sets:
        labelled = probed.label(feature_set(name), "python-stdlib", wanted.max_bytes, shown)
        found[name] = {
            feature: [*rate, len(np.unique(labelled.document[labelled.column(feature) == YES]))]
            for feature, rate in labelled.base_rates().items()
        }
        sizes = len(labelled.documents), len(labelled), len(labelled.skipped)
        found[f"{name}:documents, tokens, skipped"] = sizes
    record = RunRecord.collect(seed=0, dtype="auto", threads=1)
    write_json(wanted.out, {"rates": found, "provenance": record.to_json()})


if __name__ == "__main__":
    main()
