"""The tokenizer of a published model: `tokenizer.json`, or GPT-2's `vocab.bpe` and `encoder.json`.

Source: weight_sparse_paper.md §1.5, circuit_tools.md §4.5.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wirework.core import WireworkError
from wirework.core.files import read_json, write_json, write_text
from wirework.data.tokenizer import END_OF_TEXT, Tokenizer

FOLDER_VARIABLE = "TINYPYTHON_TOK_DIR"
"""Names a folder with the tokenizer's files, as it does for the published code."""

_MERGES, _IDS, _WHOLE = "vocab.bpe", "encoder.json", "tokenizer.json"
_VERSION = "#version: 0.2"


def find_tokenizer(folder: Path, vocab_size: int) -> tuple[Tokenizer, Path]:
    """The tokenizer of a model and the folder it was found in: `folder`, or `TINYPYTHON_TOK_DIR`.

    Raises `tokenizer-missing`, `tokenizer-foreign` (more ids than `vocab_size`, ids that do not
    follow the merges) and `tokenizer-damaged`.
    """
    places = [folder]
    if named := os.environ.get(FOLDER_VARIABLE):
        places.append(Path(named))
    for place in places:
        tokenizer = _open(place)
        if tokenizer is not None and tokenizer.vocab_size > vocab_size:
            raise WireworkError(
                "tokenizer-foreign", f"the tokenizer in {place} is not this model's",
                expected=f"at most {vocab_size} ids", got=f"{tokenizer.vocab_size} ids",
            )  # fmt: skip
        if tokenizer is not None:
            return tokenizer, place
    raise WireworkError(
        "tokenizer-missing",
        f"there is no tokenizer in {folder}",
        expected=f"{_MERGES} and {_IDS}, or {_WHOLE}, there or where {FOLDER_VARIABLE} points",
        got=", ".join(sorted(path.name for path in folder.iterdir())[:6]),
        hint=f"copy {_MERGES} and {_IDS} into {folder}; "
        "for the weights alone: wirework.interop.openai.read_model",
    )


def _open(folder: Path) -> Tokenizer | None:
    if (folder / _WHOLE).is_file():
        return Tokenizer.load(folder / _WHOLE)
    if not ((folder / _MERGES).is_file() and (folder / _IDS).is_file()):
        return None
    ids = read_json(folder / _IDS)
    if not isinstance(ids, dict) or not all(type(value) is int for value in ids.values()):
        raise _foreign(folder / _IDS, "no table of ids")
    ids = {piece: number for piece, number in ids.items() if piece != END_OF_TEXT}
    merges = _read_merges(folder / _MERGES)
    if not _follow(merges, ids):
        raise _foreign(folder / _IDS, "ids that do not follow the merges")
    return Tokenizer.from_merges(ids, merges)


def _read_merges(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise _foreign(path, str(error)) from None
    pairs = [line.split(" ") for line in lines[1:] if line]
    if not lines[0].startswith("#version") or any(len(pair) != 2 for pair in pairs):
        raise _foreign(path, "lines that are not merges")
    return [(left, right) for left, right in pairs]


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """`tokenizer.json`; beside it, where its ids follow its merges, the files of the published
    code."""
    tokenizer.save(folder / _WHOLE)
    model: dict[str, Any] = read_json(folder / _WHOLE)["model"]
    # Older files of the library write a merge as one text.
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    if not _follow(pairs, model["vocab"]):
        return
    write_text(folder / _MERGES, "\n".join([_VERSION, *map(" ".join, pairs), ""]))
    write_json(folder / _IDS, {**model["vocab"], END_OF_TEXT: tokenizer.end_of_text})


def _follow(merges: Sequence[Sequence[str]], ids: Mapping[str, int]) -> bool:
    """Whether merge number n makes the id 256 + n: the published code ranks a merge by its id."""
    made = [ids.get("".join(pair), -1) for pair in merges]
    return made == list(range(256, 256 + len(merges)))


def _foreign(path: Path, got: str) -> WireworkError:
    return WireworkError(
        "tokenizer-foreign", f"{path} is not a file of the published tokenizer",
        expected=f"GPT-2's {_MERGES} and {_IDS}, ids in the order of the merges", got=got,
    )  # fmt: skip
