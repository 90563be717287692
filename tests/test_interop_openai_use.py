"""A published model in use: its tokenizer, `ww.load`, the command line, reference means."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Regex, pre_tokenizers
from typer.testing import CliRunner

import openai_files as files
import wirework as ww
from wirework.cli.app import app
from wirework.core import WireworkError
from wirework.core.names import sites
from wirework.data import Tokenizer
from wirework.data.tokenizer import SPLIT_PATTERN
from wirework.interop import openai
from wirework.model import Checkpoint
from wirework.training.text_means import with_means


def independent_encode(ids: dict[str, int], text: str) -> list[int]:
    """tiktoken's rule: in every piece merge the pair whose union has the lowest id, until none."""
    alphabet = sorted(ids, key=ids.__getitem__)[:256]
    printable = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
    order = printable + [b for b in range(256) if b not in printable]
    letter = {byte: alphabet[rank] for rank, byte in enumerate(order)}
    found = []
    for piece, _ in pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated").pre_tokenize_str(text):
        parts = [letter[byte] for byte in piece.encode()]
        while True:
            pairs = [(ids.get(a + b, 1 << 30), i) for i, (a, b) in enumerate(pairwise(parts))]
            if not pairs or min(pairs)[0] == 1 << 30:
                break
            at = min(pairs)[1]
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        found += [ids[part] for part in parts]
    return found


def test_the_published_tokenizer_files_give_the_published_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = Path(__file__).read_text()
    made = files.own()
    trained = Tokenizer.train([code], 300)
    openai.write(Checkpoint(made.model, trained, {}, 0), tmp_path / "m")
    (tmp_path / "m/tokenizer.json").unlink()
    ids = json.loads((tmp_path / "m/encoder.json").read_text())
    assert (tmp_path / "m/vocab.bpe").read_text().startswith("#version: 0.2\n")
    found = openai.read(tmp_path / "m").tokenizer
    assert found.end_of_text == ids.pop("<|endoftext|>") == 299
    assert found.encode(code) == trained.encode(code) == independent_encode(ids, code)

    (tmp_path / "elsewhere").mkdir()
    for name in ("vocab.bpe", "encoder.json"):
        (tmp_path / "m" / name).rename(tmp_path / "elsewhere" / name)
    with pytest.raises(WireworkError, match=r"tokenizer-missing[\s\S]*encoder\.json"):
        openai.read(tmp_path / "m")
    assert openai.read_model(tmp_path / "m").config.vocab_size == 300
    monkeypatch.setenv("TINYPYTHON_TOK_DIR", str(tmp_path / "elsewhere"))
    assert openai.read(tmp_path / "m").tokenizer.hash() == found.hash()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("encoder.json", lambda text: "[]"),
        ("encoder.json", lambda text: json.dumps({**json.loads(text), "!": 9})),
        ("vocab.bpe", lambda text: text.replace("\n", " x y\n", 3)),
        ("vocab.bpe", lambda text: "\n".join([text.split("\n")[0], *text.split("\n")[:1:-1]])),
    ],
)
def test_tokenizer_files_that_contradict_each_other_are_refused(
    name: str, change: Callable[[str], str], tmp_path: Path
) -> None:
    openai.write(files.own(), tmp_path / "m")
    (tmp_path / "m/tokenizer.json").unlink()
    path = tmp_path / "m" / name
    path.write_text(change(path.read_text()))
    with pytest.raises(WireworkError, match=r"tokenizer-(foreign|damaged)"):
        openai.read(tmp_path / "m")


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path: Path) -> None:
    config = files.settings(vocab_size=280)
    with pytest.raises(WireworkError, match=r"tokenizer-foreign[\s\S]*at most 280 ids"):
        openai.read(files.put(tmp_path, config, files.tensors_of(config)))


# -- In use


def wirework(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = files.settings(sink=True, d_pos_emb=4, block_size=40)
    return files.put(tmp_path_factory.mktemp("published"), config, files.tensors_of(config))


def test_load_and_info_take_the_name_openai(folder: Path) -> None:
    loaded = ww.load(f"openai:{folder}")
    assert loaded.hash() == openai.read(folder).hash()
    code, out, _ = wirework("info", f"openai:{folder}", "--json")
    value = json.loads(out)
    assert code == 0
    assert value["model_hash"] == loaded.hash()
    assert value["record"]["openai"]["config"]["d_pos_emb"] == 4
    code, out, _ = wirework("info", f"openai:{folder}")
    assert "parity: logits agree to" in out


def test_convert_goes_both_ways(folder: Path, tmp_path: Path) -> None:
    code, out, _ = wirework("convert", f"openai:{folder}", tmp_path / "ours")
    assert code == 0
    assert "parity: logits agree to" in out
    assert "no reference means" in out
    assert ww.load(tmp_path / "ours").hash() == openai.read(folder).hash()
    code, out, _ = wirework("convert", tmp_path / "ours", f"openai:{tmp_path / 'back'}", "--json")
    assert code == 0
    assert json.loads(out)["remarks"][-1].startswith("written parity: logits agree to")
    assert openai.read(tmp_path / "back").hash() == openai.read(folder).hash()


def test_convert_tells_what_it_refuses(folder: Path, tmp_path: Path) -> None:
    config = {**json.loads((folder / "beeg_config.json").read_text()), "rotary": 1}
    odd = files.put(tmp_path / "odd", json.dumps(config), files.tensors_of(config))
    code, _, err = wirework("convert", f"openai:{odd}", tmp_path / "ours")
    assert code == 1
    assert "error[openai-config-unsupported]" in err
    assert not (tmp_path / "ours").exists()
    code, _, _ = wirework("convert", f"openai:{odd}", tmp_path / "ours", "--neutral", "rotary")
    assert code == 0


def test_means_are_asked_for_and_can_be_made(tmp_path: Path) -> None:
    task = ww.task("python/single_double_quote")
    config = files.settings(block_size=160, sink=True)
    folder = files.put(tmp_path / "in", config, files.tensors_of(config))
    prompts = [pair.prompt for pair in task.fit]
    Tokenizer.train(prompts, 300).save(folder / "tokenizer.json")
    checkpoint = ww.load(f"openai:{folder}")
    with pytest.raises(WireworkError, match=r"means-missing[\s\S]*--means-from"):
        ww.discover(checkpoint, task, unlearned_ok=True)

    (tmp_path / "text").mkdir()
    for number in range(4):
        (tmp_path / "text" / f"{number}.txt").write_text("\n".join(prompts[number::4] * 9))
    code, out, err = wirework(
        "convert", f"openai:{folder}", tmp_path / "out",
        "--means-from", tmp_path / "text", "--windows", 5,
    )  # fmt: skip
    assert code == 0, err
    assert "no reference means" not in out
    found = Checkpoint.load(tmp_path / "out")
    assert found.record["means"]["tokens"] == 8 * 160
    assert set(found.require_means()) == set(sites(2))
    assert with_means(checkpoint, str(tmp_path / "text"), windows=5).hash() == found.hash()
