"""metrics.jsonl: what a run logged, step by step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from wirework.core.files import write_text


class Metrics:
    """One line per logged step, without times, so that resumed runs are equal."""

    def __init__(self, path: Path, first: int) -> None:
        """Goes on with the lines of the first `first` steps where `path` exists."""
        self.path = path
        self.rows: list[dict[str, float]] = []
        if first and path.exists():
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            self.rows = [row for row in rows if row["step"] <= first]

    def add(self, row: dict[str, float]) -> None:
        self.rows.append(row)

    def recent_loss(self, count: int = 20) -> float:
        return float(np.mean([row["loss"] for row in self.rows[-count:]]))

    def save(self) -> None:
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))
