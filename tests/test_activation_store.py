"""Stored activations: what is in them, resuming, limits, what is refused."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import tracemalloc
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from probing_sources import VOCAB, Reader, reader_source, small_checkpoint, small_model
from wirework.core import WireworkError
from wirework.probing.activation_files import MANIFEST, PROGRESS, ROWS
from wirework.probing.activation_source import PADDING, Batch, WireworkSource
from wirework.probing.activation_store import Activations, collect
from wirework.probing.activation_windows import TokenStream
from wirework.probing.hugging_face_source import HuggingFaceSource
from wirework.probing.module_source import ModuleSource
from wirework.training import load_checkpoint

SITES = ("embedding", "act")


class Watched:
    """A source that counts its passes and does something before one of them."""

    def __init__(
        self, source: ModuleSource, at: int = -1, act: Callable[[], object] = lambda: None
    ) -> None:
        self._source, self._at, self._act = source, at, act
        self.passes: list[int] = []
        self.context, self.vocab_size = source.context, source.vocab_size
        self.causal, self.sites, self.width = source.causal, source.sites, source.width
        self.tokenizer = source.tokenizer
        self.hash, self.describe = source.hash, source.describe

    def run(self, tokens: NDArray[np.int64], sites: tuple[str, ...]) -> Batch:
        if len(self.passes) == self._at:
            self._act()
        self.passes.append(int((tokens != PADDING).sum()))
        return self._source.run(tokens, sites)


def lose_power() -> None:
    raise RuntimeError("power is gone")


def documents(*lengths: int) -> list[list[int]]:
    random = np.random.default_rng(0)
    return [random.integers(VOCAB, size=n).tolist() for n in lengths]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("causal", [True, False])
def test_every_token_has_the_activation_of_its_window(tmp_path: Path, causal: bool) -> None:
    source = reader_source(8, causal=causal)
    data = documents(20, 3, 0, 8, 9)
    stored = collect(source, data, SITES, tmp_path / "a", overlap=2, dtype="float32", batch=2)
    stored.check()
    assert stored.sites == SITES and len(stored) == 40 and stored.width("act") == 10
    # The kept tokens of every window, by hand: 20 tokens, 9 tokens, documents of one window.
    step = 6 if causal else 4
    cuts = {0: [], 1: [], 3: [], 4: [8 if causal else 6]}
    cuts[0] = [8, 14] if causal else [6, 10, 14]
    expected = []
    for number, document in enumerate(data):
        edges = [0, *cuts.get(number, []), len(document)]
        for place, (begin, end) in enumerate(pairwise(edges)):
            first = place * step
            row = np.array([document[first : first + 8]], dtype=np.int64)
            if document:
                expected.append(source.run(row, ("act",))["act"][0, begin - first : end - first])
    np.testing.assert_allclose(stored.matrix("act"), np.concatenate(expected), rtol=1e-5, atol=1e-6)


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(any),
    stop=st.integers(0, 6),
    options=st.fixed_dictionaries(
        {
            "batch": st.integers(1, 3),
            "overlap": st.integers(0, 3),
            "chunk_bytes": st.integers(1, 2000),
            "dtype": st.sampled_from(["float16", "float32"]),
        }
    ),
    share=st.sampled_from([None, 0.5, 0.1]),
    causal=st.booleans(),
)
def test_resumed_is_uninterrupted(
    lengths: list[int], stop: int, options: dict[str, Any], share: float | None, causal: bool
) -> None:
    data, source = documents(*lengths), reader_source(8, causal=causal)
    rows = None
    if share is not None:
        rows = np.random.default_rng(1).random(sum(lengths)) < share
        rows[0] = True
    with tempfile.TemporaryDirectory() as name:
        whole, parts = Path(name) / "whole", Path(name) / "parts"
        told: dict[str, Any] = {"rows": rows, **options}
        watched = Watched(source)
        stored = collect(watched, data, SITES, whole, **told)
        if stop < len(watched.passes):
            failing = Watched(source, stop, lose_power)
            with pytest.raises(RuntimeError):
                collect(failing, data, SITES, parts, **told)
            with pytest.raises(WireworkError) as caught:
                Activations.of(parts)
            assert caught.value.code == "activations-incomplete"
            # A process that is killed while it writes leaves some of that.
            spoil(parts / "act.npy", -1)
            (parts / f".{PROGRESS}.x1").write_text("{")
        again = collect(source, data, SITES, parts, resume=True, **told)
        assert files_of(parts) == files_of(whole)
        again.check()
        everything = np.arange(sum(lengths)) if rows is None else np.flatnonzero(rows)
        assert np.array_equal(stored.rows, everything)


def test_every_token_is_run_once_without_overlap(tmp_path: Path) -> None:
    watched = Watched(reader_source(8))
    collect(watched, documents(20, 3, 9), SITES, tmp_path / "a", overlap=0)
    assert sum(watched.passes) == 32


def test_windows_without_a_wanted_token_are_not_run(tmp_path: Path) -> None:
    data, wanted = documents(30, 30), np.array([59, 3, 40])
    source = Watched(reader_source(8))
    stored = collect(source, data, SITES, tmp_path / "a", rows=wanted, overlap=0, dtype="float32")
    whole = collect(reader_source(8), data, SITES, tmp_path / "b", overlap=0, dtype="float32")
    assert sum(source.passes) == 22 and stored.rows.tolist() == [3, 40, 59]
    # As they are asked for: in any order, again, by mask.
    for rows in (np.array([59, 3, 59]), np.isin(np.arange(60), [3, 59])):
        one, other = stored.matrix("act", rows), whole.matrix("act", rows)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    with pytest.raises(WireworkError) as caught:
        stored.matrix("act", np.array([3, 4]))
    assert caught.value.code == "rows-not-stored" and "4" in caught.value.got


def test_blocks_are_the_matrix_in_parts(tmp_path: Path) -> None:
    stored = collect(reader_source(8), documents(30, 7), SITES, tmp_path / "a")
    blocks = list(stored.blocks("act", 10))
    assert [len(rows) for rows, _ in blocks] == [10, 10, 10, 7]
    assert np.array_equal(np.concatenate([x for _, x in blocks]), stored.matrix("act"))
    assert np.array_equal(np.concatenate([rows for rows, _ in blocks]), np.arange(37))
    # Plain NumPy files, half as many bytes as the activations had.
    plain = np.load(tmp_path / "a" / "act.npy")
    assert plain.dtype == np.float16
    assert np.array_equal(plain.astype(np.float32), stored.matrix("act"))


def test_flat_tokens_are_taken_as_documents_are(tmp_path: Path) -> None:
    data = documents(12, 5)
    one = collect(reader_source(8), TokenStream.of(data), SITES, tmp_path / "a")
    collect(reader_source(8), data, SITES, tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert one.data_hash == TokenStream.of(data).hash()
    assert one.model_hash == reader_source(8).hash()


def test_memory_is_bounded(tmp_path: Path) -> None:
    source = reader_source(64, width=100)
    data = documents(*[1500] * 20)
    tracemalloc.start()
    stored = collect(source, data, ["act"], tmp_path / "a", chunk_bytes=1 << 20, batch=8)
    _, peak = tracemalloc.get_traced_memory()
    for rows, x in stored.blocks("act", 1000):
        assert len(rows) == len(x)
    tracemalloc.stop()
    size = (tmp_path / "a" / "act.npy").stat().st_size
    assert size > 11e6 and peak < 6e6


def test_ctrl_c_stops_between_chunks(tmp_path: Path) -> None:
    told: dict[str, Any] = {"batch": 1, "chunk_bytes": 1}
    source = Watched(reader_source(8), 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(WireworkError) as caught:
        collect(source, documents(40), SITES, tmp_path / "a", **told)
    assert caught.value.code == "interrupted" and len(source.passes) == 3
    rest = Watched(reader_source(8))
    collect(rest, documents(40), SITES, tmp_path / "a", resume=True, **told)
    collect(reader_source(8), documents(40), SITES, tmp_path / "b", **told)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    done = Watched(reader_source(8))
    collect(done, documents(40), SITES, tmp_path / "a", resume=True, **told)
    assert len(rest.passes) == 4 and not done.passes


def refusal(folder: Path, data: Any = None, sites: Any = SITES, **told: Any) -> WireworkError:
    source = Watched(told.pop("source", reader_source(8)))
    with pytest.raises(WireworkError) as caught:
        collect(source, documents(20) if data is None else data, sites, folder, **told)
    assert not source.passes, "work was done before it was refused"
    return caught.value


def test_mistakes_are_refused_before_any_work(tmp_path: Path) -> None:
    there = tmp_path / "a"
    error = refusal(there, max_disk=700)
    # 20 tokens of (5 + 10) channels in 2 bytes, and the row numbers.
    assert error.code == "disk-limit" and error.got == "760 bytes" and "700 bytes" in error.expected
    assert refusal(there, data=[[1, VOCAB]]).code == "token-unknown"
    assert refusal(there, data=[[], []]).code == "documents-malformed"
    assert refusal(there, sites=["inward"]).code == "site-absent"
    assert refusal(there, sites=[]).code == "sites-empty"
    assert refusal(there, rows=np.array([20])).code == "rows-unknown"
    assert refusal(there, overlap=8).code == "overlap-too-large"
    assert not there.exists()
    there.mkdir()
    (there / "letter.txt").write_text("dear")
    assert refusal(there).code == "path-occupied"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / f".{MANIFEST}.x1").write_text("{")
    collect(reader_source(8), documents(20), SITES, tmp_path / "b", max_disk=760)
    assert refusal(tmp_path / "b").code == "activations-exist"


@dataclass(frozen=True)
class Labelled(TokenStream):
    tokenizer: str


def test_tokens_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    checkpoint = small_checkpoint()
    stream = TokenStream.of([[1, 2, 3]])
    arrays = (stream.tokens, stream.document, stream.position)
    source = WireworkSource(checkpoint)
    with pytest.raises(WireworkError) as caught:
        collect(source, Labelled(*arrays, "0" * 64), ["final"], tmp_path / "a")
    assert caught.value.code == "tokenizer-mismatch"
    for name, known in (("a", checkpoint.tokenizer.hash()), ("b", "")):
        assert len(collect(source, Labelled(*arrays, known), ["final"], tmp_path / name)) == 3


def test_a_full_disk_is_seen_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 700, 700))
    error = refusal(tmp_path / "a")
    assert error.code == "disk-too-small" and error.got == "760 bytes"


@pytest.mark.parametrize(
    "changed",
    [
        {"data": documents(21)},
        {"source": reader_source(8, seed=1)},
        {"source": reader_source(7)},
        {"sites": ("act",)},
        {"rows": np.arange(5)},
        {"batch": 1},
        {"dtype": "float32"},
        {"overlap": 0},
    ],
)
def test_only_the_same_collection_goes_on(tmp_path: Path, changed: dict[str, Any]) -> None:
    collect(reader_source(8), documents(20), SITES, tmp_path / "a", batch=2)
    before = files_of(tmp_path / "a")
    told: dict[str, Any] = {"batch": 2, "resume": True, **changed}
    assert refusal(tmp_path / "a", **told).code == "resume-mismatch"
    assert files_of(tmp_path / "a") == before


def test_activations_of_another_model_or_other_data_are_refused(tmp_path: Path) -> None:
    stored = collect(reader_source(8), documents(20), SITES, tmp_path / "a")
    right = {"model": stored.model_hash, "data": stored.data_hash}
    assert len(Activations.of(tmp_path / "a", **right)) == 20
    for name in right:
        with pytest.raises(WireworkError) as caught:
            Activations.of(tmp_path / "a", **{**right, name: "0" * 64})
        assert caught.value.code == f"activations-{name}-mismatch"
    with pytest.raises(WireworkError) as caught:
        stored.matrix("inner")
    assert caught.value.code == "site-absent"


def spoil(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def test_damage_is_found(tmp_path: Path) -> None:
    def made(name: str) -> Path:
        collect(reader_source(8), documents(20), SITES, tmp_path / name, chunk_bytes=1)
        return tmp_path / name

    def code(folder: Path) -> str:
        with pytest.raises(WireworkError) as caught:
            Activations.of(folder).check()
        return caught.value.code

    spoil((a := made("a")) / "act.npy", -1)
    assert code(a) == "activations-damaged"
    with (b := made("b")).joinpath("act.npy").open("r+b") as file:
        file.truncate(200)
    assert code(b) == "activations-damaged"
    assert refusal(b, resume=True, chunk_bytes=1).code == "activations-damaged"
    spoil((c := made("c")) / "act.npy", 20)
    assert code(c) == "activations-damaged"
    spoil((d := made("d")) / ROWS, -1)
    assert code(d) == "activations-damaged"
    (e := made("e")).joinpath(MANIFEST).write_text("{")
    assert code(e) == "file-damaged"
    (f := made("f")).joinpath(MANIFEST).write_text('{"format": "wirework activations"}')
    assert code(f) == "activations-version"
    text = (g := made("g")).joinpath(MANIFEST).read_text()
    (g / MANIFEST).write_text(text.replace('"batch": ', '"batch": -'))
    assert code(g) == "config-invalid"
    (h := made("h")).joinpath(PROGRESS).write_text("[]")
    assert code(h) == "activations-damaged"
    assert code(tmp_path) == "activations-foreign"
    assert code(tmp_path / "z") == "folder-missing"


def test_numbers_that_half_precision_cannot_hold_are_refused(tmp_path: Path) -> None:
    module = Reader().eval()
    source = ModuleSource(module, SITES, context=8)
    module.embedding.weight.data.fill_(1e5)
    with pytest.raises(WireworkError) as caught:
        collect(source, documents(5), SITES, tmp_path / "a")
    assert caught.value.code == "activations-overflow" and caught.value.got == "100000"
    assert collect(source, documents(5), SITES, tmp_path / "b", dtype="float32").rows[-1] == 4
    module.embedding.weight.data.fill_(np.nan)
    with pytest.raises(WireworkError) as caught:
        collect(source, documents(5), SITES, tmp_path / "c", dtype="float32")
    assert caught.value.code == "activations-not-finite"


def test_a_reference_model_and_an_encoder(tmp_path: Path) -> None:
    checkpoint = load_checkpoint("reference/v1-sparse-small")
    text = "def f(x):\n    return 'a' + x\n" * 30
    ids = checkpoint.tokenizer.encode(text)
    ours = WireworkSource(checkpoint, context=64)
    stored = collect(ours, [ids, ids[:5]], ["0.mlp.neuron", "final"], tmp_path / "a")
    assert stored.model_hash == checkpoint.hash()
    alone = ours.run(np.array([ids[:64]]), ("final",))["final"][0]
    np.testing.assert_allclose(stored.matrix("final", np.arange(64)), alone, rtol=2e-3, atol=2e-3)
    bert = HuggingFaceSource(small_model("bert"), before=(1,), after=(2,))
    data = documents(30, 4)
    stored = collect(bert, data, ["1.mlp.neuron"], tmp_path / "b", dtype="float32")
    alone = bert.run(np.array([data[1]]), ("1.mlp.neuron",))["1.mlp.neuron"][0]
    found = stored.matrix("1.mlp.neuron", np.arange(30, 34))
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)
