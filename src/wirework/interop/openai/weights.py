"""`final_model.pt`: a torch zip of plain tensors, and nothing else, read without running any of it.

A file that is cut, packed, or asks for code is refused before torch opens it.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from wirework.core import WireworkError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_FILE = "final_model.pt"

_INDEX = "/data.pkl"
_NUMBERS = re.compile(r"[^/]+/data/\d+")
_LARGEST_INDEX = 32 << 20
"""Bytes of `data.pkl`: that of a model takes some hundred for each tensor."""

_ALLOWED = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    *(f"torch.{kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Bool", "Byte")),
}
"""All that the index of a state dict needs to name."""

_CALLS = {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}
"""Other ways to name or make an object, which `torch.save` does not use for a state dict."""


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Name -> tensor, mapped from the file as far as torch can.

    Raises `file-missing`, `openai-weights-damaged` (empty, cut, packed, not a torch zip, more
    numbers than the file holds) and `openai-weights-hostile` (asks for more than tensors).
    """
    import torch

    if not path.is_file():
        raise WireworkError(
            "file-missing", f"there is no file {path}", expected=f"a folder with {WEIGHTS_FILE}",
            got=str(path),
        )  # fmt: skip
    if path.stat().st_size == 0:
        raise _damaged(path, "an empty file")
    index, sizes = _read_zip(path)
    _check_index(path, index)
    try:
        found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # torch raises whatever the broken place leads to
        raise _damaged(path, f"{type(error).__name__}: {str(error)[:200]}") from error
    if not isinstance(found, dict):
        raise _damaged(path, f"a {type(found).__name__} in place of a state dict")
    for name, value in found.items():
        if not isinstance(name, str) or type(value) not in (torch.Tensor, torch.nn.Parameter):
            raise _damaged(path, f"a {type(value).__name__} where a named tensor should be")
    tensors = {name: value.detach() for name, value in found.items()}
    numbers = sum(value.numel() * value.element_size() for value in tensors.values())
    size = path.stat().st_size
    # Tied weights count twice. Strides of zero would let a few bytes pass for any matrix.
    if numbers > 2 * size:
        raise _damaged(path, f"tensors of {numbers:,} bytes in a file of {size:,}")
    # torch takes the index's word for where the numbers of a tensor end.
    claimed = {value.untyped_storage().data_ptr(): value for value in tensors.values()}
    if sorted(value.untyped_storage().nbytes() for value in claimed.values()) != sizes:
        raise _damaged(path, "tensors of other sizes than the entries of the zip")
    return tensors


def _read_zip(path: Path) -> tuple[bytes, list[int]]:
    """`data.pkl`, out of a zip whose entries are stored as they are and whole, and the bytes of
    every entry with numbers, rising."""
    index, sizes = b"", []
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            fault = _fault(entries, path.stat().st_size)
            if not fault:
                broken = archive.testzip()
                fault = f"another checksum than was saved: {broken[:80]}" if broken else ""
            if not fault:
                index = archive.read(next(e for e in entries if e.filename.endswith(_INDEX)))
                sizes = [e.file_size for e in entries if _NUMBERS.fullmatch(e.filename)]
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError) as error:
        raise _damaged(path, str(error)[:200]) from error
    if fault:
        raise _damaged(path, fault)
    return index, sorted(sizes)


def _fault(entries: list[zipfile.ZipInfo], size: int) -> str:
    """What is wrong with the contents of a zip of `size` bytes, or nothing."""
    indexes = [entry for entry in entries if entry.filename.endswith(_INDEX)]
    if len(indexes) != 1:
        return f"a zip with {len(indexes)} files data.pkl"
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        return "a packed zip; torch stores its entries as they are"
    if sum(entry.file_size for entry in entries) > size:
        return "a zip whose entries claim to be larger than the file"
    if indexes[0].file_size > _LARGEST_INDEX:
        return f"an index of {indexes[0].file_size:,} bytes"
    return ""


def _check_index(path: Path, index: bytes) -> None:
    """Read the index operation by operation, without doing any of it."""
    try:
        for operation, argument, _ in pickletools.genops(index):
            name = str(argument).replace(" ", ".")[:80]
            if operation.name == "GLOBAL" and name in _ALLOWED:
                continue
            if operation.name == "GLOBAL" or operation.name in _CALLS:
                raise WireworkError(
                    "openai-weights-hostile",
                    f"{path} asks for more than tensors when it is opened; nothing of it was run",
                    expected="a state dict of plain tensors",
                    got=name if operation.name == "GLOBAL" else operation.name,
                    hint="a copy from the publisher",
                )
    except ValueError as error:
        if isinstance(error, WireworkError):
            raise
        raise _damaged(path, str(error)[:200]) from error


def _damaged(path: Path, got: str) -> WireworkError:
    return WireworkError(
        "openai-weights-damaged", f"{path} is not a whole model file",
        expected="an uncompressed zip, as torch.save writes it", got=got,
        hint="copy it again from its source",
    )  # fmt: skip
