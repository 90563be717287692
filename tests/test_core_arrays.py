"""Arrays on disk: the same back, equal bytes for equal content, nothing edited passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from safetensors.numpy import save_file

from wirework.core import WireworkError
from wirework.core.arrays import load_arrays, save_arrays

dtypes = st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint16, np.bool_])
any_array = dtypes.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))
)
any_arrays = st.dictionaries(st.text("abc.", min_size=1), any_array, max_size=4)
any_header = st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=3)


@given(arrays=any_arrays, header=any_header)
def test_what_was_saved_is_loaded_and_saved_again_to_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, NDArray[Any]], header: Any
) -> None:
    folder = tmp_path_factory.mktemp("arrays")
    save_arrays(folder / "one", arrays, header)
    loaded, again = load_arrays(folder / "one")
    assert again == header
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].shape == array.shape
        assert loaded[name].tobytes() == array.tobytes()
    save_arrays(folder / "two", dict(reversed(loaded.items())), again)
    assert (folder / "two").read_bytes() == (folder / "one").read_bytes()


def test_the_layout_in_memory_does_not_matter(tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(3, 4)
    save_arrays(tmp_path / "one", {"a": array.T}, {})
    save_arrays(tmp_path / "two", {"a": np.ascontiguousarray(array.T)}, {})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert np.array_equal(load_arrays(tmp_path / "one")[0]["a"], array.T)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    save_arrays(path, {"weight": np.arange(64.0), "bias": np.ones(3)}, {"version": 1, "name": "x"})
    return path


def _refused(path: Path) -> WireworkError:
    with pytest.raises(WireworkError) as caught:
        load_arrays(path)
    assert caught.value.code == "file-damaged"
    assert str(path) in caught.value.message
    return caught.value


@given(data=st.data())
def test_no_edited_byte_changes_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Only padding may be edited: it is no part of the content."""
    path = tmp_path_factory.mktemp("edited") / "file"
    array = np.arange(8.0)
    save_arrays(path, {"weight": array}, {"version": 1})
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    is_padding = content[place] == ord(" ")
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    if is_padding:
        return
    _refused(path)


@pytest.mark.parametrize("length", [0, 1, 8, 100, -1])
def test_a_truncated_file(saved: Path, length: int) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    _refused(saved)


def test_a_file_that_grew(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    _refused(saved)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"format": "pt"},
        {"wirework": "not json"},
        {"wirework": "[]"},
        {"wirework": "{}"},
        {"wirework": json.dumps({"header": 3, "sha256": ""})},
        {"wirework": json.dumps({"header": "{}", "sha256": None})},
    ],
)
def test_a_foreign_safetensors_file(tmp_path: Path, metadata: dict[str, str]) -> None:
    save_file({"weight": np.ones(3)}, tmp_path / "file", metadata)
    _refused(tmp_path / "file")


def test_a_missing_file_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(WireworkError, match="file-missing"):
            load_arrays(path)
