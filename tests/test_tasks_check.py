"""Checks of a task: all complaints at once, and tasks that local counts solve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from task_samples import TOML, code_tokenizer, count_models, line_of, write
from wirework.core import WireworkError
from wirework.data import NGramModel
from wirework.tasks import (
    check_file,
    check_task,
    load_task,
    local_loss,
    new_task_file,
    refuse_local,
    refuse_local_headline,
    refuse_unequal,
)

# The quote is the last token but one: three tokens see it.
NEAR = (
    TOML.replace("{quote}{word:1} and {word:2} again", "{word:1}, {word:2}, {quote}x")
    .replace("{quote}one {word:2} more", "{word:2}, {quote}x")
    .replace("{quote}the {word} sort of", "{word}, {quote}x")
)

PRINT, RETURN = "text = '{indent}print", "text = '{indent}return"


def test_a_right_task_gives_no_errors(tmp_path: Path) -> None:
    task, complaints = check_file(write(tmp_path, TOML), code_tokenizer(), 60)
    assert task is not None
    assert {complaint.level for complaint in complaints} <= {"note"}


def test_all_complaints_come_at_once_and_the_first_is_raised(tmp_path: Path) -> None:
    text = TOML.replace("starting = ['\"']", "starting = ['zebra']")
    text = text.replace("return {quote}the", "return {quote}" + "the " * 50)
    path = write(tmp_path, text)
    task, complaints = check_file(path, code_tokenizer(), 40)
    assert task is not None
    errors = [complaint for complaint in complaints if complaint.level == "error"]
    assert {complaint.code for complaint in errors} == {
        "task-prompt-too-long",
        "task-answer-unknown",
    }
    long = next(c for c in errors if c.code == "task-prompt-too-long")
    assert long.where == f"{path}:{line_of(text, '{quote}the the')}"
    assert "6 such pairs of template 'return'" in long.message
    assert "at most 40" in long.expected
    with pytest.raises(WireworkError) as caught:
        task.encode(code_tokenizer(), 40)
    assert caught.value.code in {complaint.code for complaint in errors}
    assert "more:" in caught.value.message


def test_a_broken_file_gives_its_own_complaints_only(tmp_path: Path) -> None:
    path = write(tmp_path, TOML.replace("{word} sort", "{wrod} sort"))
    task, complaints = check_file(path, code_tokenizer(), 60)
    assert task is None
    assert [complaint.code for complaint in complaints] == ["template-placeholder-unknown"]
    assert str(complaints[0]).startswith("error[template-placeholder-unknown]: ")


def test_unequal_sides_and_split_answers_are_notes(tmp_path: Path) -> None:
    text = TOML.replace('single = "\'"', 'single = "\'a long long "')
    text = text.replace("starting = ['\"']", "tokens = ['\" of quotes']")
    task = load_task(write(tmp_path, text))
    notes = {c.code: c for c in check_task(task, code_tokenizer(), 60)}
    assert {c.level for c in notes.values()} == {"note"}
    assert notes["task-lengths-differ"].where == f"{task.source}:{line_of(text, PRINT)}"
    assert notes["task-lengths-differ"].got == "42 of 42 pairs"
    assert str(notes["task-answer-split"]).startswith("note[task-answer-split]")
    assert task.encode(code_tokenizer(), 60).fit.wanted.shape[0] == 40


def test_a_task_that_three_tokens_solve_is_refused_unless_it_says_so(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, NEAR))
    losses = local_loss(task, code_tokenizer(), count_models())
    assert losses["last three tokens"] < 0.5 <= losses["bigram"]
    with pytest.raises(WireworkError) as caught:
        refuse_local(task, code_tokenizer(), count_models())
    assert caught.value.code == "task-local"
    assert caught.value.got == f"{losses['last three tokens']:.3f}"
    told = load_task(write(tmp_path, NEAR.replace("seed = 3", "seed = 3\nlocal = true")))
    assert refuse_local(told, code_tokenizer(), count_models()) == losses


def test_a_task_out_of_reach_of_three_tokens_costs_what_guessing_costs(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, TOML))
    losses = refuse_local(task, code_tokenizer(), count_models())
    assert min(losses.values()) >= math.log(2)


class OneCount:
    """Every context was followed once by `token`, and by nothing else."""

    def __init__(self, token: int, length: int) -> None:
        self.token, self.length = token, length

    def next_counts(self, context: Sequence[int]) -> NDArray[np.int64]:
        assert 1 <= len(context) <= 3
        counts = np.zeros(self.length, dtype=np.int64)
        counts[self.token] = 1
        return counts


def test_the_loss_is_that_of_smoothed_counts(tmp_path: Path) -> None:
    tokenizer = code_tokenizer()
    task = load_task(write(tmp_path, TOML))
    quote = tokenizer.encode('"')[0]
    models = {"one": OneCount(quote, tokenizer.vocab_size), "none": OneCount(0, 2048)}
    losses = local_loss(task, tokenizer, models)

    def smoothed(alpha: float) -> float:
        share = (1 + alpha) / (1 + 2 * alpha)
        return -(math.log(share) + math.log(1 - share)) / 2

    assert losses["one"] == pytest.approx(min(smoothed(0.1), smoothed(1.0)))
    assert losses["none"] == pytest.approx(math.log(2))


def test_unequal_sides_are_refused_where_they_must_be_equal(tmp_path: Path) -> None:
    text = TOML.replace("return {quote}the", "return {quote}the {longer}").replace(
        "[slots]", "[contrast.longer]\ndouble = 'a long long'\nsingle = 'a'\n\n[slots]"
    )
    task = load_task(write(tmp_path, text))
    refuse_unequal(task, code_tokenizer(), ("fit", "select"))
    with pytest.raises(WireworkError) as caught:
        refuse_unequal(task, code_tokenizer())
    assert caught.value.code == "task-lengths-differ"
    assert caught.value.message.startswith(f"{task.source}:{line_of(text, RETURN)}: ")
    assert caught.value.got == "6 of 42 pairs"


def test_a_local_task_in_a_headline_is_named_with_its_line(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, TOML))
    refuse_local_headline([task])
    local = load_task(write(tmp_path, TOML.replace("seed = 3", "seed = 3\nlocal = true"), "l.toml"))
    with pytest.raises(WireworkError) as caught:
        refuse_local_headline([task, local])
    assert caught.value.code == "task-local-headline"
    assert caught.value.message.startswith(f"{tmp_path / 'l.toml'}:3: ")


def test_leaks_are_named_with_their_line(tmp_path: Path) -> None:
    text = TOML.replace("{quote}the {word} sort of", "{word} sort of {quote}")
    path = write(tmp_path, text)
    found = check_file(path, code_tokenizer(), 60)[1]
    leaks = {c.where for c in found if c.code == "task-answer-in-prompt"}
    assert leaks == {f"{path}:{line_of(text, RETURN)}"}
    text = TOML.replace("{quote}the {word} sort of", "{word} sort {end}").replace(
        "[slots]", "[contrast.end]\ndouble = 'of'\nsingle = 'for'\n\n[slots]"
    )
    path = write(tmp_path, text)
    found = check_file(path, code_tokenizer(), 60)[1]
    (leak,) = [c for c in found if c.level == "error"]
    assert leak.code == "task-contrast-at-end"
    assert leak.where == f"{path}:{line_of(text, RETURN)}"
    local = write(tmp_path, text.replace("seed = 3", "seed = 3\nlocal = true"))
    assert not [c for c in check_file(local, code_tokenizer(), 60)[1] if c.level == "error"]


def test_a_new_file_passes_its_checks_and_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    new_task_file(path)
    task, complaints = check_file(path, code_tokenizer(), 60)
    assert task is not None
    assert complaints == []
    refuse_local(task, code_tokenizer(), count_models())
    path.write_text("mine")
    for name, code in (("mine.toml", "task-file-exists"), ("mine.txt", "task-file-kind")):
        with pytest.raises(WireworkError) as caught:
            new_task_file(tmp_path / name)
        assert caught.value.code == code
    assert path.read_text() == "mine"


def test_no_count_models_refuse_nothing(tmp_path: Path) -> None:
    models: dict[str, NGramModel] = {}
    assert refuse_local(load_task(write(tmp_path, NEAR)), code_tokenizer(), models) == {}


def test_the_examples_of_the_page_are_right(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "tasks.md").read_text(encoding="utf-8")
    toml, exchange = (page.split("```toml\n")[i].split("```")[0] for i in (1, 2))
    exchange = "counts = { fit = 8, select = 4, report = 3 }\n" + exchange
    jsonl = page.split("```json\n")[1].split("```")[0]
    for split in ("select", "report"):
        jsonl += jsonl.splitlines()[0].replace('"fit"', f'"{split}"').replace("done", split) + "\n"
    for text, name in ((toml, "mine.toml"), (exchange, "two.toml"), (jsonl, "mine.jsonl")):
        task, complaints = check_file(write(tmp_path, text, name), code_tokenizer(), 128)
        assert task is not None
        assert [str(c) for c in complaints if c.level == "error"] == []
        refuse_local(task, code_tokenizer(), count_models())
