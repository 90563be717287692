"""Going on with a text: greedy, drawn, many prompts together, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from networks import VOCAB, Switches, random_gates, random_network, switches
from wirework.circuit import extract
from wirework.cli.app import app
from wirework.core import WireworkError
from wirework.core.names import sites
from wirework.data import Tokenizer
from wirework.engine import Decoder, Network, forward, generate, stream
from wirework.engine.sampling import Sampling
from wirework.model import Checkpoint, ModelConfig, Transformer

WANT = Switches(7, 2, "none", True, True, True, "gelu", ("attn.in", "mlp.neuron"), False)
NETWORK = random_network(WANT)
PROMPTS = [[3, 1, 4], [1], [5, 0, 2, 6, 5], [3, 1, 4, 1]]


def refused(network: Network, prompts: Any, **options: Any) -> str:
    """The code of the error, which comes before anything is computed."""
    with pytest.raises(WireworkError) as caught:
        stream(network, prompts, **{"tokens": 3, **options})
    return caught.value.code


@settings(max_examples=20)
@given(switches(), st.integers(1, 3))
def test_greedy_is_the_best_token_again_and_again(want: Switches, begin: int) -> None:
    network = random_network(want)
    tokens = [8, 2, 5][:begin]
    (found,) = generate(network, [tokens], tokens=4, dtype=np.float64)
    for token in found:
        logits = forward(network, np.array([tokens]), dtype=np.float64).logits[0, -1]
        assert token == np.argmax(logits)
        tokens.append(int(token))


@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_prompts_do_not_depend_on_their_neighbours(temperature: float) -> None:
    options: dict[str, Any] = {"tokens": 9, "temperature": temperature, "seed": 5}
    together = generate(NETWORK, PROMPTS, **options)
    backwards = generate(NETWORK, PROMPTS[::-1], **options)[::-1]
    for prompt, ids, other in zip(PROMPTS, together, backwards, strict=True):
        (alone,) = generate(Decoder(NETWORK), [prompt], **options)
        np.testing.assert_array_equal(ids, alone)
        np.testing.assert_array_equal(ids, other)
        assert len(ids) == 9


def test_a_seed_decides_what_is_drawn() -> None:
    options: dict[str, Any] = {"tokens": 30, "temperature": 2.0}
    first, again, other = (generate(NETWORK, PROMPTS, **options, seed=seed) for seed in (1, 1, 2))
    assert all(map(np.array_equal, first, again))
    assert not any(map(np.array_equal, first, other))


def test_tokens_come_one_by_one_and_in_turn() -> None:
    arriving = stream(NETWORK, PROMPTS[:2], tokens=1000)
    assert [index for index, _ in islice(arriving, 6)] == [0, 1, 0, 1, 0, 1]


def test_a_stop_token_ends_its_own_prompt_only() -> None:
    free = generate(NETWORK, PROMPTS, tokens=12, temperature=1.5)
    stop = int(free[0][4])
    stopped = generate(NETWORK, PROMPTS, tokens=12, temperature=1.5, stop=[stop])
    for ids, short in zip(free, stopped, strict=True):
        ends = np.flatnonzero(ids == stop)
        np.testing.assert_array_equal(short, ids[: ends[0]] if len(ends) else ids)
    assert len(stopped[0]) <= 4


def test_a_circuit_chooses_among_its_answers() -> None:
    alone = extract(NETWORK, random_gates(NETWORK, 3), np.array([7, 2, 4]))
    (found,) = generate(alone, [[3, 1]], tokens=20, temperature=5.0)
    assert set(found.tolist()) == {7, 2, 4}


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0.05, 1.0), st.floats(0.1, 4.0))
def test_only_likely_tokens_are_drawn(seed: int, k: int, p: float, temperature: float) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, 10).round(1)
    share = np.exp(logits / temperature)
    order = np.argsort(-logits, kind="stable")[:k]
    share = share[order] / share[order].sum()
    enough = int(np.argmax(np.cumsum(share) >= p - 1e-12)) + 1 if share.sum() >= p else k
    sampling = Sampling(temperature, top_k=k, top_p=p)
    drawn = {sampling.choose(logits, random) for _ in range(20)}
    assert drawn <= set(order[: enough + 1].tolist())
    assert Sampling(temperature, top_k=1).choose(logits, random) == np.argmax(logits)


def test_draws_follow_the_probabilities() -> None:
    logits = np.log([0.1, 0.6, 0.3])
    random = np.random.default_rng(0)
    drawn = [Sampling(1.0).choose(logits, random) for _ in range(20_000)]
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, [0.1, 0.6, 0.3], atol=0.015)
    drawn = [Sampling(1.0, top_p=0.85).choose(logits, random) for _ in range(20_000)]
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, [0, 2 / 3, 1 / 3], atol=0.015)


def test_mistakes_are_told_before_the_work() -> None:
    for change in (
        {"temperature": -1.0}, {"temperature": np.nan}, {"top_k": 0}, {"top_p": 0.0},
        {"top_p": 1.5},
    ):  # fmt: skip
        assert refused(NETWORK, PROMPTS, **change) == "sampling-impossible"
    assert refused(NETWORK, [[]]) == "tokens-malformed"
    assert refused(NETWORK, [[0.5]]) == "tokens-malformed"
    assert refused(NETWORK, [[1], [VOCAB]]) == "token-unknown"
    assert refused(NETWORK, PROMPTS, tokens=0) == "generation-empty"
    assert refused(NETWORK, PROMPTS, context=6) == "generation-too-long"
    with_positions = random_network(replace(WANT, position="add"))
    assert refused(with_positions, [[1, 2, 3]], tokens=5) == "generation-too-long"
    assert len(generate(with_positions, [[1, 2, 3]], tokens=4)[0]) == 4
    assert refused(with_positions, [[1] * 7]) == "prompt-too-long"
    assert generate(NETWORK, [], tokens=3) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small untrained model."""
    text = ['def area(w, h):\n    return w * h\nname = "é→"\n' * 20]
    tokenizer = Tokenizer.train(text, 300)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, context=40, n_layer=1, d_model=16, n_head=2, d_head=4,
        d_mlp=32,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("runs") / "small"
    means = {site: np.zeros(config.width(site.kind), np.float32) for site in sites(1)}
    Checkpoint(Transformer(config), tokenizer, means, 0).save(folder)
    return folder


def wirework(*arguments: object, typed: str = "") -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    words = ["generate", *(str(argument) for argument in arguments)]
    done = CliRunner().invoke(app, words, input=typed)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_the_command_goes_on_with_a_text(run: Path) -> None:
    code, out, err = wirework(run, "def é", "--tokens", 5)
    assert code == 0, err
    assert out.startswith("def é") and out.endswith("\n")
    assert "5 tokens" in err and "per second" in err
    code, typed, _ = wirework(run, "-", "--tokens", 5, typed="def é")
    assert (code, typed) == (0, out)
    code, answer, err = wirework(run, "def é", "--tokens", 5, "--json")
    values = json.loads(answer)
    (result,) = values["results"]
    assert code == 0 and not err
    assert out == f"{result['prompt']}{result['text']}\n"
    assert len(result["tokens"]) == 5
    assert values["tokens_per_second"] > 0


def test_the_command_draws_and_takes_several_prompts(run: Path) -> None:
    options = ("--temperature", 1, "--top-k", 40, "--top-p", 0.9, "--seed", 4, "--tokens", 6)
    code, answer, _ = wirework(run, "a", "--prompt", "def ", *options, "--json")
    together = json.loads(answer)["results"]
    assert code == 0 and [r["prompt"] for r in together] == ["a", "def "]
    _, answer, _ = wirework(run, "def ", *options, "--json", "--dtype", "float64")
    assert json.loads(answer)["results"][0]["prompt"] == "def "
    code, out, _ = wirework(run, "a", "--prompt", "def ", *options)
    assert code == 0
    assert out == "".join(
        f"==> {n} <==\n{r['prompt']}{r['text']}\n" for n, r in enumerate(together)
    )


def test_the_command_begins_a_text_of_its_own(run: Path) -> None:
    code, out, err = wirework(run, "--tokens", 3)
    assert code == 0 and out and "tokens" in err


def test_the_command_tells_mistakes(run: Path) -> None:
    for code, arguments in (
        ("generation-too-long", (run, "def", "--tokens", 60)),
        ("sampling-impossible", (run, "def", "--temperature", -1)),
        ("dtype-unknown", (run, "def", "--dtype", "float16")),
        ("run-missing", ("no/such/run", "def")),
    ):
        exit_code, out, err = wirework(*arguments)
        assert (exit_code, out) == (1, ""), code
        assert f"error[{code}]" in err
