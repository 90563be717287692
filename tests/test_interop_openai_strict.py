"""OpenAI's files that are odd, incomplete or hostile: named or refused, never half believed."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import openai_files as files
from wirework.core import WireworkError
from wirework.interop import openai
from wirework.model import Checkpoint


def read_with(folder: Path, drop: tuple[str, ...] = (), **changes: Any) -> list[str]:
    """Remarks of a plain model whose configuration was changed by hand."""
    config = {key: value for key, value in files.SMALL.items() if key not in drop}
    files.put(folder, {**config, **changes}, files.tensors_of(files.SMALL))
    remarks: list[str] = openai.read(folder).record["openai"]["remarks"]
    return remarks


def test_old_and_neutral_keys_are_named(tmp_path: Path) -> None:
    remarks = read_with(
        tmp_path, drop=("d_mlp", "sink"), n_mlp=48, use_tied_aux_matrix=False,
        bigram_table_rank=None, spare_switch=False, dropout=0.1, debug_nans=True,
    )  # fmt: skip
    assert "old key n_mlp read as d_mlp" in remarks
    assert "passed over: old key use_tied_aux_matrix (false)" in remarks
    assert "passed over: old key bigram_table_rank" in remarks
    assert "passed over: unknown key spare_switch = False" in remarks
    assert "published defaults for absent keys: sink" in remarks


def test_unknown_keys_that_do_something_are_refused_unless_allowed(tmp_path: Path) -> None:
    with pytest.raises(WireworkError, match=r"openai-config-unsupported[\s\S]*rotary"):
        read_with(tmp_path, rotary=True)
    assert (
        openai.read(tmp_path, neutral=["rotary"])
        .record["openai"]["remarks"][0]
        .startswith("passed over: unknown key rotary")
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"use_tied_aux_matrix": True}, "openai-config-unsupported"),
        ({"n_mlp": 7, "d_mlp": 48}, "openai-config-unsupported"),
        ({"afrac_loctypes": "attn_in,attn_y"}, "openai-config-unsupported"),
        ({"afrac": 0.01}, "afrac-too-small"),
        ({"n_layer": "two"}, "config-invalid"),
        ({"d_model": 2**40}, "config-invalid"),
        ({"n_layer": 200_000}, "openai-tensors-mismatch"),
        ({"vocab_size": 200_000}, "openai-tensors-mismatch"),
        ({"activation_type": "silu"}, "config-invalid"),
    ],
)
def test_wrong_configurations_are_refused(
    changes: dict[str, Any], code: str, tmp_path: Path
) -> None:
    with pytest.raises(WireworkError, match=code):
        read_with(tmp_path, **changes)


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "file-damaged"), ("[" * 200_000, "file-damaged"), ("[1]", "openai-config-unsupported"),
     ('{"afrac": NaN}', "config-invalid")],
)  # fmt: skip
def test_configurations_that_are_none_are_refused(text: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(WireworkError, match=code):
        openai.read(files.put(tmp_path, text, {}))


# -- What stands in the weights


def read_changed(
    folder: Path, change: Callable[[dict[str, Tensor]], Any], **config: Any
) -> Checkpoint:
    wanted = files.settings(**config)
    tensors = files.tensors_of(wanted)
    change(tensors)
    return openai.read(files.put(folder, wanted, tensors))


def test_everything_that_does_not_fit_is_named_at_once(tmp_path: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        for layer in (0, 1):
            del tensors[f"transformer.h.{layer}.mlp.c_fc.bias"]
        tensors["rotary.table"] = torch.zeros(3)
        tensors["lm_head.weight"] = torch.zeros(4, 5)

    with pytest.raises(WireworkError, match="openai-tensors-mismatch") as caught:
        read_changed(tmp_path, change)
    assert "missing: transformer.h.{0..1}.mlp.c_fc.bias" in caught.value.got
    assert "unused: rotary.table" in caught.value.got
    assert "lm_head.weight of float32 4 x 5 where floats 300 x 12" in caught.value.got


def test_a_sink_that_was_never_trained_is_explained(tmp_path: Path) -> None:
    with pytest.raises(WireworkError, match="openai-tensors-mismatch") as caught:
        read_changed(
            tmp_path, lambda t: [t.pop(n) for n in list(t) if "sink" in n], sink=True, flash=False
        )
    assert '"sink": false' in caught.value.hint


def test_other_masks_and_untied_twins_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WireworkError, match=r"another mask in transformer\.h\.1\.attn\.bias"):
        read_changed(tmp_path / "a", lambda t: t["transformer.h.1.attn.bias"].fill_(1), flash=False)
    with pytest.raises(WireworkError, match=r"lm_head\.weight unlike transformer\.wte\.weight"):
        read_changed(
            tmp_path / "b",
            lambda t: t.update({"lm_head.weight": t["lm_head.weight"] + 1}),
            tied_unembed=True,
        )


def test_absent_parts_without_effect_may_be_absent(tmp_path: Path) -> None:
    found = read_changed(tmp_path / "a", lambda t: t.pop("final_logits_bias"))
    assert "no final_logits_bias: zeros" in found.record["openai"]["remarks"]
    assert not found.model.logit_bias.any()
    zero = read_changed(tmp_path / "b", lambda t: t["transformer.wpe.weight"].zero_())
    assert zero.config.position == "none"
    assert any("positions left out" in remark for remark in zero.record["openai"]["remarks"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_number_formats_are_widened_and_named(dtype: torch.dtype, tmp_path: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: (value.double() / 3).to(dtype) for name, value in tensors.items()})

    found = read_changed(tmp_path, change)
    kind = str(dtype).removeprefix("torch.")
    assert any(f"{kind} read as float32" in r for r in found.record["openai"]["remarks"])
    assert all(value.dtype == torch.float32 for value in found.model.state_dict().values())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_no_numbers_are_named(value: float, tmp_path: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        name = "transformer.h.1.mlp.c_proj.weight"
        tensors[name] = tensors[name].double()
        tensors[name][0, 0] = value

    with pytest.raises(WireworkError, match=r"openai-weights-not-finite[\s\S]*h\.1\.mlp\.c_proj"):
        read_changed(tmp_path, change)


# -- Hostile and incomplete files


def zipped(index: bytes, packed: bool = False) -> bytes:
    buffer = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        archive.writestr("archive/data.pkl", index)
        archive.writestr("archive/data/0", bytes(1 << 20))
    return buffer.getvalue()


HOSTILE = {
    "asks for a shell": b"cos\nsystem\n(S'touch ran'\ntR.",
    "the same in a newer dialect": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.",
    "asks for memory": b"cbuiltins\nbytearray\n(L100000000000000L\ntR.",
    "makes an instance": b"(S'touch ran'\nios\nsystem\n.",
}


@pytest.mark.parametrize("index", HOSTILE.values(), ids=HOSTILE.keys())
def test_files_that_ask_for_more_than_tensors_are_refused(
    index: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files.put(tmp_path, files.SMALL, {})
    (tmp_path / "final_model.pt").write_bytes(zipped(index))
    with pytest.raises(WireworkError, match="openai-weights-hostile"):
        openai.read(tmp_path)
    assert not (tmp_path / "ran").exists()


DAMAGED = {
    "empty": b"",
    "text": b"not a model at all",
    "a zip of something else": zipped(b"")[:60],
    "an index that breaks off": zipped(b"\x80\x02}q"),
    "an index of nonsense": zipped(b"\x80\x02\xff\xff\xff"),
    "packed": zipped(b"\x80\x02}q\x00.", packed=True),
    "a number": zipped(b"\x80\x02K\x05."),
    "a table of numbers": zipped(b"\x80\x02}X\x01\x00\x00\x00aK\x05s."),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_files_that_are_no_models_are_refused(content: bytes, tmp_path: Path) -> None:
    files.put(tmp_path, files.SMALL, {})
    (tmp_path / "final_model.pt").write_bytes(content)
    with pytest.raises(WireworkError, match="openai-weights-damaged"):
        openai.read(tmp_path)


def test_a_few_bytes_do_not_pass_for_a_large_matrix(tmp_path: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors["lm_head.weight"] = torch.zeros(1).expand(2**20, 2**20)

    with pytest.raises(WireworkError, match="openai-weights-damaged"):
        read_changed(tmp_path, change)


def test_numbers_that_end_early_are_noticed_in_a_sound_zip(tmp_path: Path) -> None:
    path = files.put(tmp_path, files.SMALL, files.tensors_of(files.SMALL)) / "final_model.pt"
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content[:-4] if name.endswith("/data/3") else content)
    with pytest.raises(WireworkError, match=r"openai-weights-damaged[\s\S]*other sizes"):
        openai.read(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, str]:
    """A folder, its weights as bytes, the hash of its model."""
    config = files.settings(vocab_size=300, n_layer=1, enable_bigram_table=False)
    folder = files.put(tmp_path_factory.mktemp("whole"), config, files.tensors_of(config))
    return folder, (folder / "final_model.pt").read_bytes(), openai.read(folder).hash()


@settings(max_examples=150)
@given(share=st.floats(0, 1), bit=st.integers(0, 7), cut=st.booleans())
def test_no_cut_and_no_changed_bit_goes_unnoticed(
    whole: tuple[Path, bytes, str], share: float, bit: int, cut: bool
) -> None:
    folder, content, model_hash = whole
    place = min(int(share * len(content)), len(content) - 1)
    changed = bytearray(content[:place] if cut else content)
    if not cut:
        changed[place] ^= 1 << bit
    (folder / "final_model.pt").write_bytes(bytes(changed))
    try:
        found = openai.read(folder).hash()
    except WireworkError as error:
        assert error.code.startswith("openai-"), error
    else:  # a bit of the packaging that nobody reads
        assert found == model_hash


def test_missing_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(WireworkError, match="folder-missing"):
        openai.read(tmp_path / "nowhere")
    with pytest.raises(WireworkError, match="file-missing"):
        openai.read(tmp_path)
    (tmp_path / "beeg_config.json").write_text(json.dumps(files.SMALL))
    with pytest.raises(WireworkError, match="file-missing"):
        openai.read(tmp_path)
