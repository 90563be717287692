"""OpenAI's files: every variant is read as it computes and written back whole."""

from __future__ import annotations

import json
import zipfile
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
from wirework.interop.openai.config import PublishedConfig
from wirework.interop.openai.reference import reference_logits
from wirework.model import Checkpoint, Transformer

GOLDEN = json.loads((Path(__file__).parent / "data/openai_logits.json").read_text())["cases"]


def published() -> st.SearchStrategy[files.Settings]:
    """Any setting of all switches that the published code accepts."""
    places = (*files.EIGHT.split(","), "resid_post_attn", "resid_post_mlp")
    bigram = st.sampled_from([(False, False), (True, False), (True, True)])
    return st.builds(
        lambda bigram, sink_and_flash, **rest: files.settings(
            enable_bigram_table=bigram[0], learnable_bigram_table=bigram[1],
            sink=sink_and_flash[0], flash=sink_and_flash[1], **rest,
        ),
        bigram=bigram,
        sink_and_flash=st.sampled_from([(s, f) for s in (True, False) for f in (True, False)]),
        n_layer=st.integers(1, 2),
        d_head=st.sampled_from([None, 3]),
        d_mlp=st.sampled_from([None, 20]),
        bias=st.booleans(),
        ln_bias=st.booleans(),
        rms_norm=st.booleans(),
        residual_activation_type=st.sampled_from(["identity", "relu"]),
        activation_type=st.sampled_from(["gelu", "relu"]),
        afrac=st.sampled_from([None, 0.25, 0.5, 1.0]),
        afrac_loctypes=st.lists(st.sampled_from(places), unique=True).map(",".join),
        tied_unembed=st.booleans(),
        d_pos_emb=st.sampled_from([None, 4, 5]),
        sinusoidal_cat_pos_emb=st.booleans(),
    )  # fmt: skip


def prompt(length: int = 8) -> Tensor:
    return torch.randint(300, (length,), generator=torch.Generator().manual_seed(0))


def logits_in_float64(model: Transformer, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.double()(tokens[None])[0]
    model.float()
    return logits


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: str(case["name"]))
def test_the_published_code_gave_these_logits(case: dict[str, Any], tmp_path: Path) -> None:
    config = files.settings(**case["changes"])
    model = openai.read_model(files.put(tmp_path / "m", config, files.tensors_of(config)))
    logits = logits_in_float64(model, torch.tensor(case["tokens"]))
    wanted = torch.tensor(case["logits"], dtype=torch.float64)
    assert (logits[:, :8] - wanted).abs().max() < 1e-9
    assert (logits.sum(1) - torch.tensor(case["sums"], dtype=torch.float64)).abs().max() < 1e-9


@settings(max_examples=30)
@given(config=published())
def test_every_variant_is_read_and_written_back(
    config: files.Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("variant")
    tensors = files.tensors_of(config)
    checkpoint = openai.read(files.put(folder / "in", config, tensors))
    assert "logits agree to" in checkpoint.record["openai"]["parity"]
    logits = logits_in_float64(checkpoint.model, prompt())
    wanted = reference_logits(PublishedConfig(**config), tensors, prompt())
    assert (logits - wanted).abs().max() < 1e-9

    openai.write(checkpoint, folder / "out")
    found = torch.load(folder / "out/final_model.pt", weights_only=True)
    assert found.keys() == {name for name in tensors if not name.endswith(".attn.bias")}
    for name, value in found.items():
        assert value.shape == tensors[name].shape
        assert value.numpy().tobytes() == tensors[name].numpy().tobytes(), name
    again = json.loads((folder / "out/beeg_config.json").read_text())
    resolved = {
        **config,
        "d_head": config["d_head"] or 6,
        "d_mlp": config["d_mlp"] or 48,
        "afrac": None if config["afrac"] == 1 else config["afrac"],
        "flash": True,
    }
    free = set()
    if resolved["afrac"] is None:
        free |= {"afrac_loctypes"}
    if config["d_pos_emb"] is None:
        free |= {"sinusoidal_cat_pos_emb"}
    assert {key for key in resolved if again[key] != resolved[key]} <= free
    assert openai.read(folder / "out").hash() == checkpoint.hash()
    assert str(openai.parity(checkpoint.model, folder / "out")).startswith("parity")


OURS: list[dict[str, Any]] = [
    {},
    {"position": "add"},
    {"position": "add", "position_table": "sinusoidal"},
    {"position": "concat", "position_in_topk": True, "d_position": 4},
    {"position": "concat", "position_table": "sinusoidal", "afrac": 1.0},
    {"norm": "layer", "norm_bias": False, "tied": True, "residual": "relu"},
    {"bias": False, "sink": False, "bigram": "none", "d_head": 4},
    {"bigram": "frozen", "afrac_places": ["mlp.neuron", "resid.attn"], "activation": "relu"},
]


@pytest.mark.parametrize("changes", OURS, ids=str)
def test_our_models_come_back_from_published_files(changes: dict[str, Any], tmp_path: Path) -> None:
    made = files.own(**changes)
    openai.write(made, tmp_path / "m")
    back = openai.read(tmp_path / "m")
    before, after = made.model.stored(), back.model.stored()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert back.tokenizer.hash() == made.tokenizer.hash()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"position": "concat", "d_position": 4}, "position_in_topk = False"),
        ({"n_head": 3}, "n_head = 3"),
    ],
)
def test_what_the_format_cannot_say_is_refused(
    changes: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(WireworkError, match=rf"openai-not-expressible[\s\S]*{named}"):
        openai.write(files.own(**changes), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_the_zip_is_as_range_readers_expect_it(tmp_path: Path) -> None:
    openai.write(files.own(tied=True), tmp_path / "m")
    with zipfile.ZipFile(tmp_path / "m/final_model.pt") as archive:
        entries = archive.infolist()
    assert "archive/data.pkl" in [entry.filename for entry in entries]
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    largest = sorted(entry.file_size for entry in entries)[-2:]
    assert largest[0] < largest[1] == 300 * 300 * 4  # tied weights are stored once


@pytest.mark.parametrize(
    "changes",
    [{"tied_unembed": True}, {"rms_norm": False, "d_pos_emb": 4}, {"sink": True}],
    ids=str,
)
def test_a_checkpoint_of_published_weights_survives_the_disk(
    changes: files.Settings, tmp_path: Path
) -> None:
    config = files.settings(**changes)
    made = openai.read(files.put(tmp_path / "in", config, files.tensors_of(config)))
    made.save(tmp_path / "out")
    back = Checkpoint.load(tmp_path / "out")
    assert back.hash() == made.hash()
    assert back.means == {}
    assert back.record == made.record
