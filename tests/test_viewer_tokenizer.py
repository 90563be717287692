"""The page's tokenizer and its functions of one number, in Chromium, beside Python's."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page
from scipy.special import erf
from tokenizers import Regex, pre_tokenizers

from circuits import small_circuit
from page_engine import open_modules, start_engine
from wirework.data import Tokenizer
from wirework.viewer.program import program

TEXTS = [
    'def f(name, count=10):\n    return "it\'s " + name * count\n\n\n',
    "über naïve 日本語の文 ١٢٣ ½ ok\r\n\t\tx  =  [1, 22, 333, 4444] // done\r\n",
    "🙂🙃 e\u0301\u200d\ufeff\x85\u2028\u3000\xa0\x1c end",
]
ODD = " \t\r\n\x0b\x0c\x1c\x1f\x85\xa0\u1680\u180e\u2003\u200b\u2028\u202f\u2060\u3000\ufeff'\"/"
"""Blanks, and what one library or another takes for blanks."""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, 420)


@pytest.fixture(scope="module")
def page(browser: Browser, tokenizer: Tokenizer) -> Page:
    found = open_modules(browser)
    start_with(found, tokenizer.to_json())
    return found


def start_with(page: Page, tokenizer: str) -> None:
    start_engine(page, program(small_circuit(tokenizer=tokenizer), {}) or {})


def tokenize(page: Page, texts: list[str]) -> list[dict[str, Any]]:
    """By text its `ids`, `texts`, `offsets`, or the code of what went wrong as `error`."""
    # As escapes: halves of surrogate pairs cannot travel as text.
    found: list[dict[str, Any]] = page.evaluate(
        "(all) => JSON.parse(all).map((text) => {"
        "  try { const found = engine.tokenize(text);"
        "        return { ...found, ids: Array.from(found.ids) }; }"
        "  catch (error) { return { error: error.code }; } })",
        json.dumps(texts),
    )
    return found


TEXT = st.one_of(
    st.text(),
    st.text(st.sampled_from(ODD + "aB7é日🙂_")),
    st.lists(st.one_of(st.sampled_from([t[i : i + 9] for t in TEXTS for i in range(len(t))]),
                       st.text(max_size=4))).map("".join),
)  # fmt: skip


@settings(max_examples=100)
@given(st.lists(TEXT, min_size=1, max_size=8))
def test_texts_become_the_tokens_that_python_makes_of_them(
    page: Page, tokenizer: Tokenizer, texts: list[str]
) -> None:
    for text, found in zip(texts, tokenize(page, texts), strict=True):
        ids = tokenizer.encode(text)
        assert found["ids"] == ids
        assert found["texts"] == [tokenizer.token_text(token) for token in ids]
        units = text.encode("utf-16-le")
        # Every token lies in the characters between its offsets, and no other one.
        ends = list(itertools.accumulate(len(tokenizer.token_bytes(token)) for token in ids))
        for end, token, (first, last) in zip(ends, ids, found["offsets"], strict=True):
            piece = tokenizer.token_bytes(token)
            around = units[2 * first : 2 * last].decode("utf-16-le").encode()
            before = len(units[: 2 * first].decode("utf-16-le").encode())
            assert piece in around
            assert before <= end - len(piece) and end <= before + len(around)
            assert len(around) - len(piece) <= 6


def test_the_names_of_special_tokens_are_ordinary_text(page: Page, tokenizer: Tokenizer) -> None:
    [found] = tokenize(page, ["a<|endoftext|>b"])
    assert found["ids"] == tokenizer.encode("a<|endoftext|>b")
    shown = page.evaluate(f"engine.tokenText({tokenizer.end_of_text})")
    assert shown == tokenizer.token_text(tokenizer.end_of_text) == "<|endoftext|>"


def test_half_of_a_surrogate_pair_is_refused(page: Page) -> None:
    texts = ["a\ud800", "\udc00b", "\ude42\ud83d", "ok", "🙂"]
    errors = [found.get("error") for found in tokenize(page, texts)]
    assert errors == ["text-not-unicode"] * 3 + [None, None]


def test_every_single_token_shows_as_in_python(page: Page, tokenizer: Tokenizer) -> None:
    shown = page.evaluate(
        "(count) => Array.from({ length: count }, (_, id) => engine.tokenText(id))",
        tokenizer.vocab_size,
    )
    assert shown == [tokenizer.token_text(token) for token in range(tokenizer.vocab_size)]


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain.update(pre_tokenizer=None),
        lambda plain: plain.update(normalizer={"type": "Lowercase"}),
        lambda plain: plain["model"].update(ignore_merges=True),
        lambda plain: plain["pre_tokenizer"]["pretokenizers"][0].update(
            pattern={"Regex": r"\s+|\S+"}
        ),
        lambda plain: plain["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
    ],
)
def test_a_tokenizer_that_splits_otherwise_is_not_imitated(
    browser: Browser, tokenizer: Tokenizer, change: Any
) -> None:
    plain = json.loads(tokenizer.to_json())
    change(plain)
    page = open_modules(browser)
    start_with(page, json.dumps(plain))
    assert tokenize(page, ["some text"]) == [{"error": "tokenizer-foreign"}]
    assert page.evaluate("engine.run(Int32Array.of(1, 2)).length") == 2
    page.close()


def test_merges_in_the_older_form_are_read(browser: Browser, tokenizer: Tokenizer) -> None:
    plain = json.loads(tokenizer.to_json())
    plain["model"]["merges"] = [" ".join(pair) for pair in plain["model"]["merges"]]
    page = open_modules(browser)
    start_with(page, json.dumps(plain))
    assert [one["ids"] for one in tokenize(page, TEXTS)] == tokenizer.encode_many(TEXTS)
    page.close()


@pytest.mark.long
def test_classes_of_characters_are_those_of_the_tokenizers_library(page: Page) -> None:
    """All of Unicode. Where this fails, the library knows another version: classes.js has to be
    written again from what stands in `wanted`."""
    names = {"LETTERS": r"\p{L}+", "NUMBERS": r"\p{N}+", "BLANKS": r"\s+"}
    for name, pattern in names.items():
        split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
        wanted: list[int] = []
        for first in (*range(0, 0xD800, 128), *range(0xE000, 0x110000, 128)):
            for run, _ in split.pre_tokenize_str("".join(map(chr, range(first, first + 128)))):
                if wanted and wanted[-1] == ord(run[0]) - 1:
                    wanted.pop()
                    wanted.append(ord(run[-1]))
                else:
                    wanted += [ord(run[0]), ord(run[-1])]
        written = page.evaluate(f"async () => (await import('/classes.js')).{name}")
        gaps = [int(gap, 36) for gap in written.split()]
        assert list(itertools.accumulate(gaps)) == wanted


def values_of(page: Page, name: str, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    found = page.evaluate(
        "async ([name, all]) => { const module = await import('/scalars.js');"
        " return all.map((x) => module[name](x)); }",
        [name, x.tolist()],
    )
    return np.array(found, dtype=np.float64)


POINTS = np.concatenate(
    [
        np.linspace(-7, 7, 20_001),
        np.geomspace(1e-300, 1, 2000),
        -np.geomspace(1e-300, 1, 2000),
        [0.84375, 1.25, 1 / 0.35, 6.0, 40.0],
    ]
)


def test_the_error_function_is_exact_to_double_precision(page: Page) -> None:
    found, wanted = values_of(page, "erf", POINTS), erf(POINTS)
    apart = np.abs(found - wanted) / np.spacing(np.abs(wanted))
    assert apart.max() <= 2  # of either library 1


def test_gelu_and_exp_are_exact_to_double_precision(page: Page) -> None:
    gelu = 0.5 * POINTS * (1 + erf(POINTS * np.sqrt(0.5)))
    apart = np.abs(values_of(page, "gelu", POINTS) - gelu)
    assert np.all(apart <= 2**-51 * np.abs(POINTS))
    x = np.concatenate([-np.geomspace(1e-20, 707, 20_000), [0.0, -708.0]])
    found = values_of(page, "expOf", x)
    assert (np.abs(found - np.exp(x)) / np.spacing(np.exp(x))).max() <= 2
    assert values_of(page, "expOf", np.array([-709.0, -1e300])).tolist() == [0, 0]
