"""Stored probes: round trips, selection, application, files that cannot be used."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from probing_sources import VOCAB, reader_source
from wirework.core import WireworkError
from wirework.core.arrays import load_arrays, save_arrays
from wirework.probing.activation_source import PADDING
from wirework.probing.activation_store import collect
from wirework.probing.probe_bank import ProbeBank
from wirework.probing.probe_store import ProbeStore
from wirework.probing.stored_probe import StoredProbe

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WIDTHS = {"embedding": 5, "inner": 10, "act": 10}


@st.composite
def probes(draw: st.DrawFn) -> StoredProbe:
    indices = draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=8, unique=True))
    return StoredProbe(
        feature=draw(st.text(min_size=1, max_size=6)),
        site=draw(st.sampled_from(["0.mlp.neuron", "1.mlp.neuron", "final", "encoder.1/in"])),
        indices=tuple(indices),
        weights=tuple(draw(NUMBERS) for _ in indices),
        bias=draw(NUMBERS),
        threshold=draw(st.none() | NUMBERS),
        model=draw(st.sampled_from(["a" * 64, "b" * 64])),
        data=draw(st.sampled_from(["c" * 64, "d" * 64])),
        method=draw(st.sampled_from(["", "adaptive", "optimal"])),
        scores=draw(st.dictionaries(st.sampled_from(["f1", "precision", "n"]), NUMBERS)),
    )


def random_probes(n: int, *, model: str = "a" * 64, k: int = 4) -> list[StoredProbe]:
    random = np.random.default_rng(0)
    found = []
    for number in range(n):
        site = sorted(WIDTHS)[number % 3]
        indices = random.choice(WIDTHS[site], k, replace=False)
        found.append(
            StoredProbe(
                feature=f"feature/{number}",
                site=site,
                indices=tuple(int(i) for i in indices),
                weights=tuple(random.normal(size=k).tolist()),
                bias=float(random.normal()),
                threshold=None if number % 7 == 0 else float(random.normal()),
                model=model,
                data="d" * 64,
                method="adaptive",
                scores={"f1": float(random.random()), "precision": 1.0},
            )
        )
    return found


@settings(max_examples=60)
@given(st.lists(probes(), max_size=6))
def test_what_is_loaded_is_what_was_saved(mine: list[StoredProbe]) -> None:
    store = ProbeStore().add(mine)
    with tempfile.TemporaryDirectory() as name:
        first, second = Path(name) / "a.probes", Path(name) / "b.probes"
        store.save(first)
        loaded = ProbeStore.load(first)
        loaded.save(second)
        assert loaded == store and loaded.list() == store.list()
        assert first.read_bytes() == second.read_bytes()


def test_thousands_are_one_small_file(tmp_path: Path) -> None:
    store = ProbeStore().add(random_probes(3000))
    store.save(tmp_path / "a.probes")
    assert (tmp_path / "a.probes").stat().st_size < 3000 * 150
    assert ProbeStore.load(tmp_path / "a.probes") == store


def test_a_probe_is_known_by_what_it_computes() -> None:
    one, other = random_probes(2)
    again = StoredProbe(**{**one.plain(), "scores": {"f1": 0.5}, "indices": one.indices,
                           "weights": one.weights})  # fmt: skip
    store = ProbeStore().add([one, other]).add([again])
    assert store.probes == (again, other) and again.id == one.id != other.id
    assert store.get(one.id[:6]) == again
    assert one.nodes[0] == f"{one.site}:{one.indices[0]}"
    for id_, code in (("", "probe-ambiguous"), ("x", "probe-unknown")):
        with pytest.raises(WireworkError) as caught:
            store.get(id_)
        assert caught.value.code == code


def test_selection() -> None:
    mine = random_probes(30)
    store = ProbeStore().add(mine)
    assert store.select() == store
    assert len(store.select(feature="feature/1*")) == 11
    assert len(store.select(feature="feature/1")) == 1
    assert {p.site for p in store.select(site="*e*g")} == {"embedding"}
    assert len(store.select(k=4, method="adaptive", model="aaa", data="d" * 64)) == 30
    assert not store.select(k=3) and not store.select(model="b") and not store.select(data="c")
    good = store.select(at_least={"f1": 0.5, "precision": 1})
    assert [p for p in mine if p.scores["f1"] >= 0.5] == list(good)
    assert not store.select(at_least={"recall": 0.0})
    # Brackets are no pattern where they are the name.
    odd = StoredProbe(**{**mine[0].plain(), "feature": "x[ab]", "indices": mine[0].indices,
                         "weights": mine[0].weights})  # fmt: skip
    assert len(ProbeStore().add([odd]).select(feature="x[ab]")) == 1


def defined(probe: StoredProbe, x: NDArray[Any]) -> NDArray[Any]:
    score: NDArray[Any] = x[..., list(probe.indices)] @ np.array(probe.weights) + probe.bias
    return score


@pytest.mark.parametrize("shape", [(7,), (2, 5), (0,)])
def test_scores_are_sums_of_products(shape: tuple[int, ...]) -> None:
    mine = random_probes(50)
    random = np.random.default_rng(1)
    values = {site: random.normal(size=(*shape, width)) for site, width in WIDTHS.items()}
    bank = ProbeBank(mine)
    found = bank.scores(values)
    expected = np.stack([defined(probe, values[probe.site]) for probe in mine], axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    narrow = bank.scores({site: x.astype(np.float32) for site, x in values.items()})
    assert narrow.dtype == np.float32 and narrow.shape == (*shape, 50)
    np.testing.assert_allclose(narrow, expected, rtol=1e-5, atol=1e-5)
    decided = bank.decisions(found)
    for number, probe in enumerate(mine):
        bar = probe.threshold
        wanted = np.zeros(shape, bool) if bar is None else expected[..., number] > bar
        assert np.array_equal(decided[..., number], wanted)


def test_stored_and_running_models_get_the_same_scores(tmp_path: Path) -> None:
    source = reader_source(8)
    random = np.random.default_rng(0)
    data = [random.integers(VOCAB, size=n).tolist() for n in (8, 5)]
    stored = collect(source, data, source.sites(), tmp_path / "a", dtype="float32")
    store = ProbeStore().add(random_probes(40, model=source.hash()))
    tokens = np.full((2, 8), PADDING)
    for row, ids in enumerate(data):
        tokens[row, : len(ids)] = ids
    watch = store.watch(source)
    found = watch(tokens)
    assert found.shape == (2, 8, 40)
    applied = store.apply(stored)
    np.testing.assert_allclose(applied, found[tokens != PADDING], rtol=1e-5, atol=1e-5)
    rows = np.array([11, 2, 2])
    assert np.array_equal(store.apply(stored, rows), applied[rows])
    mask = np.arange(13) == 4
    assert np.array_equal(store.apply(stored, mask), applied[4:5])
    for probe, mine in zip(store, applied.T, strict=True):
        np.testing.assert_allclose(
            mine, defined(probe, stored.matrix(probe.site)), rtol=1e-5, atol=1e-5
        )


def test_probes_of_another_model_are_not_applied(tmp_path: Path) -> None:
    source = reader_source(8)
    stored = collect(source, [[1, 2, 3]], ["act"], tmp_path / "a")
    foreign = ProbeStore().add(random_probes(4))
    for ask in (lambda: foreign.watch(source), lambda: foreign.apply(stored)):
        with pytest.raises(WireworkError) as caught:
            ask()
        assert caught.value.code == "probe-model-mismatch"
    mine = ProbeStore().add(random_probes(4, model=source.hash()))
    with pytest.raises(WireworkError) as caught:
        mine.apply(stored)
    assert caught.value.code == "site-absent"
    with pytest.raises(WireworkError) as caught:
        ProbeBank(random_probes(1)).scores({"act": np.zeros((2, 3))})
    assert caught.value.code == "probe-index"
    with pytest.raises(WireworkError) as caught:
        mine.select(site="nowhere").watch(source)
    assert caught.value.code == "probes-empty"
    narrow = reader_source(8, width=2)
    wide = ProbeStore().add(random_probes(4, model=narrow.hash()))
    with pytest.raises(WireworkError) as caught:
        wide.watch(narrow)(np.array([[1, 2]]))
    assert caught.value.code == "probe-index"


@pytest.mark.parametrize(
    "change",
    [
        {"indices": ()},
        {"indices": (1, 1)},
        {"indices": (-1, 2)},
        {"indices": (1, 2, 3)},
        {"weights": (1.0, float("nan"))},
        {"bias": float("inf")},
        {"threshold": float("nan")},
        {"scores": {"f1": float("nan")}},
        {"feature": ""},
        {"site": ""},
    ],
)
def test_what_is_no_probe_is_refused(change: dict[str, Any]) -> None:
    plain: dict[str, Any] = {
        "feature": "f", "site": "s", "indices": (1, 2), "weights": (1.0, 2.0), "bias": 0.0,
        "threshold": 0.0, "model": "m", "data": "d",
    }  # fmt: skip
    StoredProbe(**plain)
    with pytest.raises(WireworkError) as caught:
        StoredProbe(**{**plain, **change})
    assert caught.value.code == "probe-malformed"


@settings(max_examples=80)
@given(st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_a_changed_byte_is_found(place: int, flip: int, cut: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.probes"
        ProbeStore().add(random_probes(5)).save(path)
        data = bytearray(path.read_bytes())
        place %= len(data)
        data[place] ^= flip
        path.write_bytes(bytes(data[:place]) if cut else bytes(data))
        with pytest.raises(WireworkError) as caught:
            ProbeStore.load(path)
        assert caught.value.code == "file-damaged"


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "a.probes"
    ProbeStore().add(random_probes(5)).save(path)
    arrays, header = load_arrays(path)

    def code(arrays: Any = arrays, **changes: Any) -> str:
        save_arrays(tmp_path / "b.probes", arrays, {**header, **changes})
        with pytest.raises(WireworkError) as caught:
            ProbeStore.load(tmp_path / "b.probes")
        return caught.value.code

    assert code(format="something else") == "probes-foreign"
    assert code(version=2) == "probes-version"
    assert code(texts=["a"]) == "probes-damaged"
    assert code(texts=None) == "probes-damaged"
    assert code(scores=["f1"]) == "probes-damaged"
    for name in arrays:
        assert code({n: a for n, a in arrays.items() if n != name}) == "probes-damaged"
        assert code({**arrays, name: arrays[name][:-1]}) == "probes-damaged"
        assert code({**arrays, name: arrays[name].astype(np.float16)}) == "probes-damaged"
    for name in ("k", "feature", "site"):
        assert code({**arrays, name: arrays[name] - 10}) == "probes-damaged"
    assert code({**arrays, "indices": arrays["indices"] * 0}) == "probe-malformed"
    assert code({**arrays, "bias": arrays["bias"] * np.nan}) == "probe-malformed"
    with pytest.raises(WireworkError) as caught:
        ProbeStore.load(tmp_path / "none.probes")
    assert caught.value.code == "file-missing"
