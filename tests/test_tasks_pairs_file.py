"""Task files in JSONL: one pair a line, wrong lines named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from task_samples import write
from wirework.core import WireworkError
from wirework.tasks import Answers, Task, load_task, read_task


def pair(split: str, number: int, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "prompt": f"x{number} = [1, 2",
        "counterfactual": f"x{number} = (1, 2",
        "answers": ["]"],
        "counter_answers": {"starting": [")"]},
        "split": split,
        "template": "brackets" if split != "report" else "other",
    }
    return {**values, **changes}


PAIRS = [pair("fit", 0), pair("fit", 1), pair("select", 2), pair("report", 3)]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_pairs_are_read_as_they_stand(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, lines(PAIRS), "mine.jsonl"))
    assert (task.name, task.description, task.local) == ("mine", "", False)
    assert [len(pairs) for pairs in task.splits.values()] == [2, 1, 1]
    assert task.fit[1].prompt == "x1 = [1, 2"
    assert task.fit[1].line == 2
    assert task.report_only == ("other",)
    assert task.answers[task.fit[0].answer] == Answers(tokens=("]",))
    assert task.answers[task.fit[0].counter_answer] == Answers(starting=(")",))
    assert len(task.answers) == 2


def test_the_first_line_may_speak_of_the_whole_task(tmp_path: Path) -> None:
    head = {"name": "my/brackets", "description": "Close it", "local": True}
    task = load_task(write(tmp_path, lines([head, *PAIRS]), "mine.jsonl"))
    assert (task.name, task.description, task.local) == ("my/brackets", "Close it", True)
    assert task.fit[0].line == 2


def test_an_answer_may_be_one_text_and_lines_may_be_blank(tmp_path: Path) -> None:
    rows = [{**row, "answers": "]"} for row in PAIRS]
    text = lines(rows).replace("\n", "\n\n")
    task = load_task(write(tmp_path, text, "mine.jsonl"))
    assert task.answers[task.fit[0].answer] == Answers(tokens=("]",))
    assert task.fit[1].line == 3


MISTAKES: dict[str, tuple[str, str, int]] = {
    "no JSON": ("{'prompt': 1}", "task-line-malformed", 3),
    "no object": ("[1, 2]", "task-line-malformed", 3),
    "unknown key": (json.dumps(pair("fit", 9, anwsers=[])), "task-unknown-key", 3),
    "missing key": (
        json.dumps({k: v for k, v in pair("fit", 9).items() if k != "prompt"}),
        "task-missing-key",
        3,
    ),
    "wrong type": (json.dumps(pair("fit", 9, prompt=3)), "task-value-invalid", 3),
    "unknown split": (json.dumps(pair("fitt", 9)), "task-split-unknown", 3),
    "empty answers": (json.dumps(pair("fit", 9, answers=[])), "answers-empty", 3),
    "blank answer": (json.dumps(pair("fit", 9, answers=[""])), "answers-empty", 3),
    "same sides": (json.dumps(pair("fit", 9, counterfactual="x9 = [1, 2")), "task-pair-same", 3),
    "same answers": (
        json.dumps(pair("fit", 9, counter_answers=["]"])),
        "task-answers-coincide",
        3,
    ),
    "repeated prompt": (json.dumps(pair("fit", 1)), "task-prompt-repeated", 3),
    "prompt of another split": (json.dumps(pair("fit", 2)), "task-prompt-repeated", 4),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_line_is_named(name: str, tmp_path: Path) -> None:
    wrong, code, line = MISTAKES[name]
    text = lines(PAIRS[:2]) + wrong + "\n" + lines(PAIRS[2:])
    path = write(tmp_path, text, "mine.jsonl")
    with pytest.raises(WireworkError) as caught:
        load_task(path)
    assert caught.value.code == code
    assert caught.value.message.startswith(f"{path}:{line}: ")


def test_the_nearest_split_and_key_are_offered(tmp_path: Path) -> None:
    for changes, hint in (({"split": "fitt"}, "fit"), ({"temlpate": "x"}, "template")):
        path = write(tmp_path, lines([{**PAIRS[0], **changes}]), "mine.jsonl")
        assert read_task(path)[1][0].hint == hint


def test_every_wrong_line_is_told(tmp_path: Path) -> None:
    text = "nonsense\n" + lines([pair("fitt", 1), pair("fit", 2, prompt=None)])
    path = write(tmp_path, text, "mine.jsonl")
    task, complaints = read_task(path)
    assert task is None
    assert [(c.code, c.where) for c in complaints] == [
        ("task-line-malformed", f"{path}:1"),
        ("task-split-unknown", f"{path}:2"),
        ("task-value-invalid", f"{path}:3"),
    ]


def test_every_empty_split_is_told(tmp_path: Path) -> None:
    for text, count in (("", 3), (lines(PAIRS[:2]), 2)):
        task, complaints = read_task(write(tmp_path, text, "mine.jsonl"))
        assert task is not None
        assert [c.code for c in complaints].count("task-split-empty") == count


def test_a_task_survives_its_json(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, lines(PAIRS), "mine.jsonl"))
    value = json.loads(json.dumps(task.to_json()))
    again = Task.from_json(value)
    assert again.to_json() == value
    assert again.hash() == task.hash()
    assert again.fit[0].prompt == task.fit[0].prompt
    moved = load_task(write(tmp_path, "\n" + lines(PAIRS), "moved.jsonl"))
    assert moved.hash() == task.hash()
    other = load_task(write(tmp_path, lines([*PAIRS, pair("fit", 8)]), "other.jsonl"))
    assert other.hash() != task.hash()


def test_damaged_json_is_refused(tmp_path: Path) -> None:
    good = load_task(write(tmp_path, lines(PAIRS), "mine.jsonl")).to_json()
    unknown_answers = {**good["fit"][0], "answer": "none of them"}
    mistakes: list[Any] = [
        None,
        [],
        {},
        {**good, "schema": 99},
        {**good, "fit": 3},
        {**good, "answers": {}},
        {**good, "fit": [{"prompt": "x"}]},
        {**good, "fit": [{**good["fit"][0], "prompt": 3}]},
        {**good, "fit": [unknown_answers]},
    ]
    for wrong in mistakes:
        with pytest.raises(WireworkError) as caught:
            Task.from_json(wrong)
        assert caught.value.code == "task-damaged"
