"""From places as `ast` counts them, lines and UTF-8 columns, to characters of the text."""

from __future__ import annotations

from typing import Any

import numpy as np

from wirework.probing.feature import Integers


class Places:
    """Of one text, whose lines end with `\\n`."""

    def __init__(self, text: str) -> None:
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        self._line_starts = np.concatenate(([0], np.flatnonzero(codes == 0x0A) + 1))
        self._bytes: Integers | None = None
        if not text.isascii():
            sizes = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)
            self._bytes = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)

    def characters(self, lines: Integers, columns: Integers) -> Integers:
        """Of every line (from 1) and byte column (from 0)."""
        starts: Integers = self._line_starts[lines - 1]
        if self._bytes is None:
            return starts + columns
        return np.searchsorted(self._bytes, self._bytes[starts] + columns)

    def span(self, node: Any) -> tuple[int, int]:
        """Where a node of the syntax tree starts and ends, in characters."""
        lines = np.array([node.lineno, node.end_lineno])
        start, end = self.characters(lines, np.array([node.col_offset, node.end_col_offset]))
        return int(start), int(end)
