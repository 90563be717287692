"""How few edges a circuit of closing quotes needs, under our limits and under the published one.

    python benchmarks/quote_circuits.py --out benchmarks/results/quote_circuits.json

At least three search seeds in one model, a few coefficients each, of which the one with the fewest
edges counts. `strict`: the default limits - loss on every template, 0.95 of the full model's
margin, heads that look where the model's look. `published`: the mean loss alone. Edges are pruned
under both. Prints medians with intervals over the seeds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console

from wirework.cli.progress import progress_to
from wirework.cli.sweep import settle_workers
from wirework.core import RunRecord
from wirework.core.files import write_json
from wirework.discovery import DiscoveryConfig
from wirework.discovery.sweep import sweep
from wirework.discovery.sweep_config import SweepConfig

LIMITS = {
    "strict": DiscoveryConfig(edges=True),
    "published": DiscoveryConfig(edges=True, faithfulness=0, every_template=False, attention=1),
}
MEASURES = ("edges", "nodes", "embedding_edges", "unembedding_edges", "task_loss", "task_accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="reference/v1-sparse")
    parser.add_argument("--task", default="python/single_double_quote")
    parser.add_argument("--seeds", type=int, default=3, help="search seeds")
    parser.add_argument("--coefficients", type=float, nargs="+", default=[2e-3, 4e-3])
    parser.add_argument("--limits", nargs="+", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--folder", type=Path, default=None, help="keep the circuits here")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/quote_circuits.json"))
    wanted = parser.parse_args()
    settle_workers()
    shown = progress_to(Console(stderr=True), quiet=False)
    summary = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in wanted.limits:
            config = SweepConfig(
                tasks=(wanted.task,),
                coefficients=tuple(wanted.coefficients),
                seeds=tuple(range(wanted.seeds)),
                discovery=LIMITS[name],
            )
            folder = (wanted.folder or Path(scratch)) / name
            done = sweep(wanted.model, config, folder, resume=True, start=shown)
            for what in MEASURES:
                measure = done.measure(what, wanted.task)
                summary[f"{what}:{name}"] = None if measure is None else measure.to_json()
                print(f"{name:10} {what:18} {measure}")
    record = RunRecord.collect(seed=None, dtype="auto", threads=1).to_json()
    write_json(wanted.out, {"measures": summary, "model": wanted.model, "provenance": record})


if __name__ == "__main__":
    main()
