"""Task files in TOML: what they expand to, and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_samples import EXCHANGE, TOML, line_of, write
from wirework.core import WireworkError
from wirework.tasks import Task, load_task, read_task
from wirework.tasks.complaint import Source
from wirework.tasks.expand import expand
from wirework.tasks.template import Placeholder, split_text
from wirework.tasks.toml_file import parse_task_file

WORDS = ("red", "green", "blue", "black", "white", "brown", "pink", "grey", "cyan")


def texts(task: Task, split: str) -> list[str]:
    pairs = {str(name): found for name, found in task.splits.items()}[split]
    return [text for pair in pairs for text in (pair.prompt, pair.counterfactual)]


def test_a_file_expands_to_the_pairs_it_asks_for(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, TOML))
    assert (task.name, task.local) == ("own", False)
    assert [len(pairs) for pairs in task.splits.values()] == [20, 10, 12]
    assert task.templates == ("call", "lines", "return")
    assert task.report_only == ("return",)
    used = [pair.template for pair in task.report]
    assert {name: used.count(name) for name in used} == {"call": 3, "lines": 3, "return": 6}
    pair = next(pair for pair in task.fit if pair.template == "lines")
    indent = " " * (len(pair.prompt) - len(pair.prompt.lstrip()))
    name = pair.prompt.split()[0]
    assert pair.prompt.startswith(f'{indent}{name} = {{}}\n{indent}{name}("one ')
    assert pair.counterfactual == pair.prompt.replace('"', "'")
    assert (pair.answer, pair.counter_answer) == ("double", "single")
    assert pair.line == line_of(TOML, "text = '''")


def test_two_numbered_placeholders_never_agree(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, TOML))
    calls = [pair.prompt for pair in task.fit if pair.template == "call"]
    assert calls
    for prompt in calls:
        first, second = (word for word in WORDS if word in prompt)
        assert first != second


def test_report_uses_fillings_that_fit_and_select_never_see(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, TOML))
    words = {
        split: {word for word in WORDS if any(word in text for text in texts(task, split))}
        for split in ("fit", "select", "report")
    }
    assert len(words["report"]) == len(WORDS) // 3
    assert not words["report"] & (words["fit"] | words["select"])


def test_only_the_seed_and_the_file_decide(tmp_path: Path) -> None:
    first = load_task(write(tmp_path, TOML))
    assert load_task(write(tmp_path, TOML, "other.toml")).fit == first.fit
    other = load_task(write(tmp_path, TOML.replace("seed = 3", "seed = 4")))
    assert other.fit != first.fit
    assert other.hash() != first.hash()


def test_without_templates_of_its_own_report_takes_ordinary_ones(tmp_path: Path) -> None:
    text = TOML.replace("report_only = true\n", "")
    task, complaints = read_task(write(tmp_path, text))
    assert task is not None
    assert len(task.report) == 12
    assert [(c.code, c.level) for c in complaints] == [("task-no-report-only", "note")]


def test_variants_of_a_contrast_go_together(tmp_path: Path) -> None:
    text = TOML.replace("double = '\"'", "double = ['\"', '\"\"\"']")
    text = text.replace('single = "\'"', "single = [\"'\", \"'''\"]")
    task = load_task(write(tmp_path, text))
    for pair in task.fit:
        assert pair.counterfactual == pair.prompt.replace('"', "'")
    assert any('"""' in pair.prompt for pair in task.fit)
    assert any('"""' not in pair.prompt for pair in task.fit)


@given(
    words=st.integers(1, 12),
    counts=st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8)),
    seed=st.integers(0, 5),
)
def test_pairs_are_distinct_or_their_lack_is_told(
    words: int, counts: tuple[int, int, int], seed: int
) -> None:
    text = (
        f"seed = {seed}\n"
        f"counts = {{ fit = {counts[0]}, select = {counts[1]}, report = {counts[2]} }}\n"
        "answers = { a = 'x', b = 'y' }\n"
        "contrast = { c = { a = 'x', b = 'y' } }\n"
        f"slots = {{ w = {[f'w{i}' for i in range(words)]} }}\n"
        "template = [{ name = 't', text = '{c} {w}' }]\n"
    )
    source = Source("t.toml", text)
    file, complaints = parse_task_file(source)
    assert file is not None
    assert complaints == []
    pairs, _, complaints = expand(file, source)
    prompts = [pair.prompt for found in pairs.values() for pair in found]
    assert len(set(prompts)) == len(prompts)
    fit, select, report = counts
    held = words // 3 if words >= 8 else 0
    apart = fit + select <= words - held and report <= held
    enough = apart if held else fit + select + report <= words
    assert ([len(found) for found in pairs.values()] == list(counts)) == enough
    assert all(c.code == "template-too-few-fillings" for c in complaints)
    assert bool(complaints) != enough


def test_an_exchange_changes_two_fillings_over_and_takes_the_answer_with_them(
    tmp_path: Path,
) -> None:
    task = load_task(write(tmp_path, EXCHANGE))
    assert [len(pairs) for pairs in task.splits.values()] == [20, 10, 12]
    for pair in (*task.fit, *task.select, *task.report):
        right, other = (task.answers[n].tokens for n in (pair.answer, pair.counter_answer))
        assert right[0].strip() + "!" == right[1]
        moved = pair.prompt.replace(right[1][:-1], "#").replace(other[1][:-1], right[1][:-1])
        assert pair.counterfactual == moved.replace("#", other[1][:-1])
        assert right[1][:-1] in pair.prompt
    alone = {pair.answer for pair in task.report}
    assert not alone & {pair.answer for pair in task.fit}
    again = Task.from_json(task.to_json())
    assert again.hash() == task.hash()


EXCHANGE_MISTAKES = {
    "one filling": (
        'word = ["red", "green", "blue", "black", "white", "brown", "pink", "grey", "cyan"]',
        'word = ["red"]',
        "exchange-too-few",
        "word =",
    ),
    "no answer": (
        'answer = [" {word:1}", "{word:1}!"]\n\n',
        "\n",
        "template-without-answer",
        "text = '{indent}print(",
    ),
    "not in the prompt": ("{word:1}!", "{word:3}!", "template-answer-unseen", "answer ="),
    "same answer": ("{word:1}!", "{indent}!", "template-answer-same", "answer ="),
    "answer of a slot": ("{word:1}!", "{wrod:1}!", "template-placeholder-unknown", "{wrod:1}"),
    "unused": ("[slots]", "other = ['a', 'b']\n\n[slots]", "slot-unused", "other ="),
    "two of a name": (
        'indent = ["',
        'word = ["x"]\nindent = ["',
        "slot-name-taken",
        'word = ["x"]',
    ),
}


@pytest.mark.parametrize("name", EXCHANGE_MISTAKES)
def test_a_mistake_in_an_exchange_is_named_with_its_line(name: str, tmp_path: Path) -> None:
    old, new, code, place = EXCHANGE_MISTAKES[name]
    assert old in EXCHANGE
    text = EXCHANGE.replace(old, new, 1)
    path = write(tmp_path, text)
    found = {c.code: c for c in read_task(path)[1]}
    assert found[code].where == f"{path}:{line_of(text, place)}"


def test_an_answer_beside_a_contrast_is_refused(tmp_path: Path) -> None:
    text = TOML.replace("report_only = true", "answer = 'x'\nreport_only = true")
    assert [c.code for c in read_task(write(tmp_path, text))[1]] == ["template-answer-same"]
    both = text.replace("[slots]", "[exchange]\nmoved = ['a', 'b']\n\n[slots]")
    both = both.replace("'x'", "'{moved:1}'").replace("the {word} sort", "the {moved:1} {word}")
    codes = [c.code for c in read_task(write(tmp_path, both))[1]]
    assert codes == ["template-contrasts-differ"]


@given(st.text(alphabet='ab"{}: \n'))
def test_doubled_braces_stand_for_any_text(text: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    pieces = split_text(doubled)
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == text
    assert split_text("{slot:2}" + doubled)[0] == Placeholder("slot", 2)


TEXT = "text = '{indent}return {quote}the {word} sort of'"

MISTAKES = {
    # name: (in TOML, replaced, by), (code, the line that is named, the hint)
    "placeholder": ("the {word} sort", "the {wrod} sort", "template-placeholder-unknown", "{wrod}"),
    "placeholder in a later line": (
        "({quote}one {word:2}",
        "({quote}one {wrd:2}",
        "template-placeholder-unknown",
        "{wrd:2}",
    ),
    "brace": ("= {{}}", "= {}", "template-brace", "= {}"),
    "lone brace": ("sort of'", "sort of}'", "template-brace", "sort of}"),
    "key": ("report_only", "reportonly", "task-unknown-key", "reportonly"),
    "key of answers": (
        'starting = ["\'"]',
        'startin = ["\'"]',
        "task-unknown-key",
        "startin =",
    ),
    "key at the top": ("seed = 3", "sed = 3", "task-unknown-key", "sed = 3"),
    "key of counts": ("select = 10", "selected = 10", "task-unknown-key", "selected"),
    "type": ("seed = 3", 'seed = "3"', "task-value-invalid", 'seed = "3"'),
    "type inside": ("report = 12", 'report = "x"', "task-value-invalid", 'report = "x"'),
    "negative": ("fit = 20", "fit = -1", "task-value-invalid", "fit = -1"),
    "missing key": (TEXT, "", "task-value-invalid", '[[template]]\nname = "return"'),
    "empty answers": ("starting = ['\"']", "starting = []", "answers-empty", "[answers.double]"),
    "unused slot": ("indent = [", "unused = ['x']\nindent = [", "slot-unused", "unused ="),
    "empty slot": ('indent = ["", "    "]', "indent = []", "slot-empty", "indent ="),
    "twice in a slot": ('"pink", ', '"red", ', "slot-fillings-repeated", "word ="),
    "slot and contrast": ("indent = [", "quote = ['x']\nindent = [", "slot-name-taken", "quote ="),
    "slot's name": ("indent = [", "'a b' = ['x']\nindent = [", "slot-name-malformed", "'a b'"),
    "no contrast": (TEXT, "text = 'the {word} of'", "template-without-contrast", "the {word} of"),
    "numbered contrast": ("{quote}the", "{quote:2}the", "contrast-numbered", "{quote:2}"),
    "same contrast": ('single = "\'"', "single = '\"'", "contrast-same", "[contrast.quote]"),
    "one side": ('single = "\'"\n', "", "contrast-malformed", "[contrast.quote]"),
    "unequal sides": (
        "double = '\"'",
        "double = ['\"', '`']",
        "contrast-malformed",
        "[contrast.quote]",
    ),
    "unknown side": ('single = "\'"', 'sngle = "\'"', "task-answers-unknown", "[contrast.quote]"),
    "same name": (
        'name = "return"',
        'name = "call"',
        "template-name-repeated",
        'name = "call"\n' + TEXT,
    ),
    "too few": ("fit = 20", "fit = 2000", "template-too-few-fillings", "text = '{indent}print("),
    "empty split": ("select = 10", "select = 0", "task-split-empty", ""),
    "not TOML": ("seed = 3", "seed = = 3", "task-not-toml", "seed = = 3"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_file_and_line(name: str, tmp_path: Path) -> None:
    old, new, code, place = MISTAKES[name]
    assert old in TOML
    text = TOML.replace(old, new)
    path = write(tmp_path, text)
    with pytest.raises(WireworkError) as caught:
        load_task(path)
    where = f"{path}:{line_of(text, place)}: " if place else f"{path}: "
    found = [c for c in read_task(path)[1] if c.code == code]
    assert caught.value.code == read_task(path)[1][0].code
    assert found, str(caught.value)
    assert found[0].error().message.startswith(where)


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("the {word} sort", "the {wrod} sort", "{word}"),
        ("report_only", "reportonly", "report_only"),
        ('single = "\'"', 'sngle = "\'"', "single"),
        ("= {{}}", "= {}", "{{}}"),
    ],
)
def test_the_nearest_right_word_is_offered(old: str, new: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(WireworkError) as caught:
        load_task(write(tmp_path, TOML.replace(old, new)))
    assert caught.value.hint == hint


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = TOML.replace("the {word} sort", "the {wrod} sort").replace("= {{}}", "= {}")
    text = text.replace('"pink", ', '"red", ')
    path = write(tmp_path, text)
    task, complaints = read_task(path)
    assert task is None
    codes = [complaint.code for complaint in complaints]
    assert codes == ["slot-fillings-repeated", "template-brace", "template-placeholder-unknown"]
    with pytest.raises(WireworkError) as caught:
        load_task(path)
    assert caught.value.code == codes[0]
    assert "and 2 more" in caught.value.message
    assert f"{path}:{line_of(text, '= {}')} template-brace" in caught.value.message


def test_contrasts_of_different_answers_do_not_mix(tmp_path: Path) -> None:
    text = TOML.replace("[slots]", "[answers.third]\ntokens = [':']\n\n[slots]")
    text = text.replace("[slots]", "[contrast.other]\ndouble = 'x'\nthird = 'y'\n\n[slots]")
    path = write(tmp_path, text.replace("the {word} sort", "the {other} {word} sort"))
    assert [c.code for c in read_task(path)[1]] == ["template-contrasts-differ"]
    apart = text.replace("return {quote}the", "return {other}the")
    task = load_task(write(tmp_path, apart))
    assert {pair.counter_answer for pair in task.report} == {"single", "third"}


def test_missing_and_foreign_files_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "latin.toml").write_bytes(b"description = '\xe9'")
    for name, code in (
        ("none.toml", "task-file-missing"),
        ("none.jsonl", "task-file-missing"),
        ("folder.toml", "task-file-missing"),
        ("notes.txt", "task-file-kind"),
        ("latin.toml", "task-not-text"),
        ("none", "task-unknown"),
    ):
        with pytest.raises(WireworkError) as caught:
            load_task(tmp_path / name)
        assert caught.value.code == code
