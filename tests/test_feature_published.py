"""Builders for published data sets, on small files in their formats; words and positions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wirework.core import WireworkError
from wirework.probing.feature import LabelledTexts
from wirework.probing.feature_sets import feature_set
from wirework.probing.label_tokens import label_tokens
from wirework.probing.position_features import TARGETS, position_features, position_targets
from wirework.probing.published_sets import class_folders, entity_table
from wirework.probing.python_lexemes import lex_python
from wirework.probing.treebank_set import treebank
from wirework.probing.word_features import frequent_pairs, python_words, text_words


def marked(own: LabelledTexts, document: str, feature: str, value: int = 1) -> list[str]:
    """The words (between blanks) whose first characters have that label."""
    text = own.documents[document]
    marks = own.feature_set.label(text, [0], [len(text)], document)
    labels = marks.of_characters(len(text), own.feature_set.index(feature))
    found, place = [], 0
    for word in text.split():
        place = text.index(word, place)
        if labels[place] == value:
            found.append(word)
        place += len(word)
    return found


TREEBANK = """# newdoc id = first
# sent_id = 1
# text = She didn't see him.
1\tShe\tshe\tPRON\tPRP\tGender=Fem|Number=Sing|PronType=Prs\t4\tnsubj\t_\t_
2-3\tdidn't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdid\tdo\tAUX\tVBD\tTense=Past|VerbForm=Fin\t4\taux\t_\t_
3\tn't\tnot\tPART\tRB\t_\t4\tadvmod\t_\t_
4\tsee\tsee\tVERB\tVB\tVerbForm=Inf\t0\troot\t_\t_
5\thim\the\tPRON\tPRP\tGender=Masc|Number=Sing|PronType=Prs\t4\tobj\t_\tSpaceAfter=No
5.1\tcopy\tcopy\tVERB\t_\t_\t_\t_\t_\t_
6\t.\t.\tPUNCT\t.\t_\t4\tpunct\t_\t_

# text = Dogs bark!
1\tDogs\tdog\tNOUN\tNNS\tNumber=Plur\t2\tnsubj\t_\t_
2\tbark\tbark\tVERB\tVBP\tTense=Pres|VerbForm=Fin\t0\troot\t_\tSpaceAfter=No
3\t!\t!\tPUNCT\t.\t_\t2\tpunct\t_\t_

# newdoc id = second
1\tSeen\tsee\tVERB\tVBN\tTense=Past|VerbForm=Part|Voice=Pass\t0\troot\t_\t_
2\ttwo\ttwo\tNUM\tCD\tNumType=Card\t1\tobj\t_\t_
"""


def test_a_treebank_is_aligned_with_its_text(tmp_path: Path) -> None:
    (tmp_path / "ewt.conllu").write_text(TREEBANK, encoding="utf-8")
    own = treebank([tmp_path / "ewt.conllu"])
    assert dict(own.documents) == {
        "first": "She didn't see him. Dogs bark!", "second": "Seen two"
    }  # fmt: skip
    assert len(own.feature_set.features) == 16 + 29 + 22
    assert marked(own, "first", "upos_PRON") == ["She", "him."]
    assert marked(own, "first", "upos_PRON", 0) == ["see", "Dogs", "bark!"]
    assert marked(own, "first", "upos_PRON", -1) == ["didn't"]
    assert marked(own, "first", "Gender_Fem") == ["She"]
    assert marked(own, "first", "Gender_Fem", 0) == ["him."]
    assert marked(own, "first", "Number_Plur") == ["Dogs"]
    assert marked(own, "first", "Number_Plur", 0) == ["She", "him."]
    assert marked(own, "first", "Tense_Past", 0) == ["bark!"]
    assert marked(own, "second", "Voice_Pass") == ["Seen"]
    assert marked(own, "second", "NumType_Card") == ["two"]
    assert marked(own, "second", "NumType_Card", 0) == ["Seen"]
    text = own.documents["first"]
    marks = own.feature_set.label(text, name="first")
    eos = marks.of_characters(len(text), own.feature_set.index("eos"))
    first = marks.of_characters(len(text), own.feature_set.index("first_eos"))
    assert [text[i] for i in np.flatnonzero(eos == 1)] == [".", "!"]
    assert [text[i] for i in np.flatnonzero(first == 1)] == ["."]
    assert [text[i] for i in np.flatnonzero(first == 0)] == ["!"]


@pytest.mark.parametrize(
    "text", ["1\tone\n", TREEBANK.replace("# text = Dogs", "# text = Cats"), "# nothing\n"]
)
def test_a_broken_treebank_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.conllu").write_text(text, encoding="utf-8")
    with pytest.raises(WireworkError) as error:
        treebank([tmp_path / "x.conllu"])
    assert error.value.code == "treebank-malformed" and "x.conllu" in error.value.message


def test_folders_are_classes(tmp_path: Path) -> None:
    for language, text in (("de", "eins\nzwei\ndrei\n"), ("fr", "un\n"), ("es", "  ")):
        (tmp_path / language).mkdir()
        (tmp_path / language / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "fr" / "b.txt").write_bytes(b"\xff")
    own = class_folders(tmp_path)
    assert list(own.documents) == ["de/a.txt", "fr/a.txt"]
    assert own.feature_set.names == ("is_de", "is_fr")
    assert marked(own, "de/a.txt", "is_de") == ["eins", "zwei", "drei"]
    assert marked(own, "de/a.txt", "is_fr", 0) == ["eins", "zwei", "drei"]
    assert {(s.name, s.reason) for s in own.skipped} == {
        ("es/a.txt", "empty"), ("fr/b.txt", "not-text")
    }  # fmt: skip
    pieces = class_folders(tmp_path, piece=10).documents
    assert list(pieces.values()) == ["eins\nzwei\n", "drei\n", "un\n"]
    with pytest.raises(WireworkError) as error:
        class_folders(tmp_path / "fr")
    assert error.value.code == "classes-too-few"
    with pytest.raises(WireworkError) as error:
        class_folders(tmp_path / "it")
    assert error.value.code == "folder-missing"


def test_facts_stand_on_the_last_word_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(
        "name,sport,alive\nAda Lovelace,,no\nBob Examples,golf|judo,yes\nAda Lovelace,chess,no\n"
        "Al Li,golf,yes\nCarl Sample,golf,\n", encoding="utf-8",
    )  # fmt: skip
    texts = {
        "a": "Did Ada Lovelace meet Bob Examples? Not Ada Lovelacey, Al Li.",
        "b": "nobody",
        "c": "Carl Sample golfs",
    }
    own = entity_table(tmp_path / "people.csv", texts)
    assert set(own.documents) == {"a", "c"}
    assert own.feature_set.names == ("alive=no", "alive=yes", "sport=chess", "sport=golf")
    assert marked(own, "a", "sport=chess") == ["Lovelace"]
    assert marked(own, "a", "sport=golf", 0) == ["Lovelace"]
    assert marked(own, "a", "alive=yes") == ["Examples?"]
    assert marked(own, "c", "sport=golf") == ["Sample"]
    assert marked(own, "c", "alive=yes", -1) == ["Carl", "Sample", "golfs"]
    assert entity_table(
        tmp_path / "people.csv", texts, properties=["alive"]
    ).feature_set.names == ("alive=no", "alive=yes")  # fmt: skip


def test_a_table_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("name,sport\nAda Lovelace,chess\n", encoding="utf-8")
    cases: dict[str, Callable[[], object]] = {
        "entities-not-found": lambda: entity_table(path, {"a": "nobody"}),
        "entities-malformed": lambda: entity_table(path, {"a": "x"}, properties=["age"]),
        "file-missing": lambda: entity_table(tmp_path / "none.csv", {"a": "x"}),
    }
    for code, act in cases.items():
        with pytest.raises(WireworkError) as error:
            act()
        assert error.value.code == code


def test_latex_without_an_end_of_math_is_skipped() -> None:
    def characters(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        return [ord(c) for c in text], [(i, i + 1) for i in range(len(text))]

    found = label_tokens({"a": "x $y$", "b": "5 $"}, characters, feature_set("latex"))
    assert found.documents == ("a",) and found.skipped[0].name == "b"
    assert found.column("is_math").tolist() == [0, 0, 0, 1, 0]


def test_compound_words_are_asked_where_they_could_be() -> None:
    words = python_words(["is not", "for i in range"])
    text = "for i in range(3):\n    x is not y\n    z is w  # is not\nnot range\n"
    marks = words.label(text)
    lexemes = lex_python(text)

    def asked(feature: str) -> list[tuple[str, int]]:
        labels = marks.of_characters(len(text), words.index(feature))[lexemes.starts].tolist()
        return [(s, v) for s, v in zip(lexemes.strings, labels, strict=True) if v != -1]

    assert asked("is not") == [("not", 1), ("w", 0), ("not", 0)]
    assert asked("is not (missing first)") == [("not", 0), ("w", 0), ("not", 1)]
    assert asked("is not (missing second)") == [("not", 0), ("w", 1), ("not", 0)]
    assert asked("for i in range") == [("range", 1), ("range", 0)]


@pytest.mark.parametrize("phrases", [[], ["is"], ["a b", "a b"]])
def test_a_phrase_that_is_no_compound_is_refused(phrases: list[str]) -> None:
    with pytest.raises(WireworkError) as error:
        text_words(phrases)
    assert error.value.code == "phrase-malformed"


def test_frequent_pairs_are_counted() -> None:
    texts = ["high school, high School! a high b"] * 3
    assert frequent_pairs(texts, least=3) == ("high school", "a high", "high b")
    assert frequent_pairs(texts, top=1, least=3) == ("high school",)
    assert frequent_pairs(texts, least=7) == ()


def test_positions_are_counted_in_windows() -> None:
    position = np.arange(10)
    targets = position_targets(position, 4)
    assert tuple(targets) == TARGETS
    place = position % 4
    assert np.allclose(targets["absolute"], place)
    assert np.allclose(targets["centred"], place - 1.5)
    assert np.allclose(targets["centred_scaled"] * np.arange(4).std(), place - 1.5)
    assert np.allclose(2 ** targets["logarithm"], place + 1)
    windows = position_features(4).label("abcdef", range(6), range(1, 7))
    first = position_features(4).index("is_first_token")
    assert windows.values[:, first].tolist() == [1, 0, 0, 0, 1, 0]
    with pytest.raises(WireworkError) as error:
        position_targets(position, 1)
    assert error.value.code == "context-malformed"
