"""`wirework probe` as a person uses it: own labels, fit, store, look, apply; mistakes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from test_plots import words
from wirework.cli.app import app

MODEL = "reference/v1-sparse-small"


def wirework(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def parsed(*arguments: object) -> Any:
    code, out, err = wirework(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of few lines, digits labelled."""
    path = tmp_path_factory.mktemp("labels") / "digits.jsonl"
    chance = random.Random(0)
    feature = {"name": "is_digit", "definition": "a digit"}
    rows: list[dict[str, Any]] = [{"wirework_labels": 1, "name": "mine", "features": [feature]}]
    for number in range(20):
        words = [chance.choice(["x = 7", "y = foo", "print(3)", "if a:"]) for _ in range(50)]
        text = " ".join(words)
        spans = [[i, i + 1, "is_digit"] for i, letter in enumerate(text) if letter.isdigit()]
        rows.append({"document": f"{number}.txt", "text": text, "spans": spans})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def store(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probes") / "probes.safetensors"
    fitted = parsed(
        "probe", "fit", MODEL, "is_digit", "--features", labels, "-k", 1, "-k", 2, "--least", 50,
        "--tokens", 3000, "--out", path, "--plot", path.with_suffix(".svg"),
    )  # fmt: skip
    drawn = words(path.with_suffix(".svg"))
    assert {"is_digit", "k = 1", "k = 2", "always yes", "1.mlp.neuron"} <= drawn
    assert all(0 < s["f1_low"] <= s["f1"] <= s["f1_high"] for s in (p["scores"] for p in fitted))
    assert [len(each["indices"]) for each in fitted] == [1, 1, 2, 2]
    assert max(each["scores"]["f1"] for each in fitted) > 0.9
    return path


def test_a_scan_finds_the_neuron_and_writes_all_scores(labels: Path, tmp_path: Path) -> None:
    out, kept, drawn = (tmp_path / name for name in ("scan.json", "activations", "scan.svg"))
    found = parsed(
        "probe", "scan", MODEL, "--features", labels, "--tokens", 3000, "--least", 20,
        "--out", out, "--activations", kept, "--plot", drawn,
    )  # fmt: skip
    assert json.loads(out.read_text()) == found
    best = found["best"]["is_digit"]
    assert best["f1"] > 0.8 > found["controls"]["shuffled"]["is_digit"]["f1"]
    assert best["site"].endswith("mlp.neuron")
    assert {
        "is_digit",
        "mean of 1",
        "0.mlp.neuron",
        "shuffled labels",
        "random directions",
    } <= words(drawn)
    assert (kept / "manifest.json").exists()
    code, shown, _ = wirework(
        "probe", "scan", MODEL, "--features", labels, "--tokens", 3000, "--least", 20,
        "--activations", kept, "--resume",
    )  # fmt: skip
    assert code == 0
    assert f"{best['site']}:{best['neuron']}" in shown


def test_probes_are_listed_shown_and_added_to(store: Path, labels: Path) -> None:
    listed = parsed("probe", "list", store)
    assert len(listed) == 4
    assert len(parsed("probe", "list", store, "--site", "1.*")) == 2
    code, shown, _ = wirework("probe", "list", store)
    assert code == 0
    ids = [line.split()[0] for line in shown.splitlines()[2:]]
    one = parsed("probe", "show", store, ids[0])
    assert one["id"].startswith(ids[0])
    assert one["feature"] == "is_digit"
    code, shown, _ = wirework("probe", "show", store, ids[0])
    assert f"{one['site']}:{one['indices'][0]}" in shown


def test_probes_say_where_they_see_their_feature(store: Path, tmp_path: Path) -> None:
    found = parsed("probe", "apply", store, MODEL, "x = 7 if a:")
    assert "".join(row["token"] for row in found) == "x = 7 if a:"
    seven = next(row for row in found if "7" in row["token"])
    other = next(row for row in found if "if" in row["token"])
    assert max(seven["scores"].values()) > 0 > max(other["scores"].values())
    file = tmp_path / "text.txt"
    file.write_text("x = 7 if a:")
    assert parsed("probe", "apply", store, MODEL, f"@{file}") == found
    code, shown, _ = wirework("probe", "apply", store, MODEL, "x = 7")
    assert code == 0
    assert "is_digit" in shown


def test_an_investigation_says_what_the_neuron_is_worth(labels: Path, tmp_path: Path) -> None:
    out, drawn = tmp_path / "report.json", tmp_path / "neuron.svg"
    own = ["--features", labels, "--tokens", 2000, "--site", "0.mlp.neuron"]
    found = parsed("probe", "investigate", MODEL, "is_digit", *own, "--out", out, "--plot", drawn)
    assert json.loads(out.read_text())["measures"].keys() == found["measures"].keys()
    measures = found["measures"]
    assert measures["f1"]["value"] > 0.8 > measures["f1_shuffled"]["value"]
    told, shown = found["provenance"], words(drawn)
    assert f"{told['site']}:{told['neuron']} and is_digit" in shown
    assert f"the probe: F1 {measures['f1']['value']:.2f}" in shown
    assert any(word.startswith("has is_digit") for word in shown)


def test_feature_sets_and_their_cards() -> None:
    names = parsed("probe", "features")
    assert {"python", "oversight"} <= set(names)
    cards = parsed("probe", "features", "oversight")
    assert all(card["what"] for card in cards)
    code, shown, _ = wirework("probe", "features", "python")
    assert code == 0
    assert "is_keyword" in shown


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["scan", MODEL, "--features", "pyton"], "feature-set-unknown"),
        (["scan", MODEL, "--features", "nowhere.jsonl"], "file-missing"),
        (["fit", MODEL, "is_keyward"], "feature-unknown"),
        (["list", "nowhere.safetensors"], "file-missing"),
        (["apply", "nowhere.safetensors", MODEL, "x"], "file-missing"),
        (["scan", MODEL, "--features", "python+mine"], "feature-set-unknown"),
        (["scan", MODEL, "--site", "mlp.nerve"], "site-absent"),
        (["scan", MODEL, "--plot", "scan.pdf"], "picture-format"),
        (["fit", MODEL, "is_comma", "-k", "9999"], "probe-k-invalid"),
        (["fit", MODEL, "is_comma", "--method", "best"], "probe-method-unknown"),
        (["investigate", MODEL, "is_comma", "--neuron", "0.mlp.neuron:99999"], "neuron-absent"),
        (["investigate", MODEL, "is_comma", "--neuron", "9.mlp.neuron:0"], "site-absent"),
    ],
)
def test_mistakes_are_told_before_any_work(arguments: list[str], code: str) -> None:
    exit_code, out, err = wirework("probe", *arguments)
    assert exit_code == 1
    assert f"error[{code}]" in err
    assert not out
    assert "tokens" not in err.splitlines()[0]  # no progress: nothing was labelled


def test_bad_input_is_told_with_the_feature_and_the_file(
    store: Path, labels: Path, tmp_path: Path
) -> None:
    own = ["--features", labels]
    kept = tmp_path / "activations"
    broken = tmp_path / "broken.jsonl"
    header = {"wirework_labels": 1, "name": "mine", "features": [
        {"name": "is_digit", "definition": "a digit"}, {"name": "is_all", "definition": "all"}
    ]}  # fmt: skip
    texts = [{"document": f"{n}", "text": "x = 7 " * 40, "spans": [[0, 240, "is_all"]]}
             for n in range(4)]  # fmt: skip
    one_class = tmp_path / "one_class.jsonl"
    one_class.write_text("\n".join(map(json.dumps, [header, *texts])))
    broken.write_text(
        "\n".join(map(json.dumps, [header, {**texts[0], "spans": [[0, 999, "is_digit"]]}]))
    )
    cases: list[tuple[list[object], str, list[object]]] = [
        (["scan", MODEL, *own, "--max-disk", 0.000001, "--activations", kept], "disk-limit",
         [kept]),
        (["scan", MODEL, *own, "--least", 100000], "scan-without-features", ["mine", "is_digit"]),
        (["scan", MODEL, "--features", one_class, "--least", 2], "scan-without-features",
         ["mine"]),
        (["fit", MODEL, "is_digit", *own, "--least", 100000], "positives-too-few", ["is_digit"]),
        (["fit", MODEL, "is_all", "--features", one_class, "--least", 2], "positives-too-few",
         ["is_all"]),
        (["scan", MODEL, "--features", broken], "labels-span-outside", [broken, "is_digit"]),
        (["show", store, "zz"], "probe-unknown", []),
        (["apply", store, "reference/v1-sparse", "x"], "probe-model-mismatch", []),
        (["apply", store, MODEL, f"@{tmp_path / 'nothing'}"], "text-unreadable",
         [tmp_path / "nothing"]),
    ]  # fmt: skip
    for arguments, code, named in cases:
        exit_code, _, err = wirework("probe", *arguments)
        assert exit_code == 1, arguments
        assert f"error[{code}]" in err
        assert all(str(name) in err for name in named), (code, err)
