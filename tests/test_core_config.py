"""Configurations: strict, frozen, from TOML and `--set`, with a hash that does not drift."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator

from wirework.core import Config, WireworkError


class Optimizer(Config):
    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)


class Training(Config):
    steps: int = 100
    name: str = "tiny"
    kind: Literal["sparse", "dense"] = "sparse"
    resume: bool = False
    limit: int | None = None
    optimizer: Optimizer = Optimizer()
    topk: dict[str, int] = Field(default_factory=dict)

    @field_validator("steps")
    @classmethod
    def _positive(cls, steps: int) -> int:
        if steps < 1:
            raise WireworkError("steps-too-few", "no step is taken", got=str(steps))
        return steps


any_training = st.builds(
    Training,
    steps=st.integers(1, 10**9),
    name=st.text(),
    kind=st.sampled_from(["sparse", "dense"]),
    resume=st.booleans(),
    limit=st.none() | st.integers(),
    optimizer=st.builds(Optimizer, rate=st.floats(allow_nan=False, allow_infinity=False)),
    topk=st.dictionaries(st.text(), st.integers()),
)


@given(any_training)
def test_plain_values_give_the_same_configuration_and_hash(config: Training) -> None:
    again = Training.parse(config.plain())
    assert again == config
    assert again.hash() == config.hash()


@given(any_training, any_training)
def test_hashes_are_equal_exactly_where_the_values_are(one: Training, two: Training) -> None:
    assert (one.hash() == two.hash()) == (one.plain() == two.plain())


def test_the_hash_does_not_drift() -> None:
    """A changed hash would disown every cached corpus and every run that is to be resumed."""
    assert Optimizer(rate=0.5).hash() == (
        "76cc9dea7f7510d7cc8ac367280b9df06c6067c129c97e699936f25add168cd7"
    )


def test_a_field_that_comes_later_leaves_older_hashes_alone() -> None:
    class Later(Optimizer):
        epsilon: float = 1e-8

    assert Later(rate=0.5).hash() == Optimizer(rate=0.5).hash()
    assert Later(rate=0.5, epsilon=0.1).hash() != Optimizer(rate=0.5).hash()


def test_the_hash_forgets_the_order_and_the_spelling_of_numbers() -> None:
    one = Optimizer.parse({"rate": 1, "betas": [0.5, 1]})
    two = Optimizer.parse({"betas": [0.5, 1.0], "rate": 1.0})
    assert one.hash() == two.hash()


def test_it_is_frozen() -> None:
    config = Training()
    with pytest.raises(ValidationError, match="frozen"):
        config.__setattr__("steps", 3)
    assert config.steps == 100


def test_replace_gives_a_checked_copy() -> None:
    config = Training()
    assert config.replace(steps=5).steps == 5
    assert config.steps == 100
    with pytest.raises(WireworkError, match="config-invalid"):
        config.replace(steps="many")


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("steps=7", "steps", 7),
        (" steps = 7 ", "steps", 7),
        ("resume=true", "resume", True),
        ("name=a b=c", "name", "a b=c"),
        ('name="7"', "name", "7"),
        ("name=", "name", ""),
        ("name=2026-01-31", "name", "2026-01-31"),
        ("kind=dense", "kind", "dense"),
        ("optimizer.rate=3e-3", "optimizer", Optimizer(rate=3e-3)),
        ("optimizer.rate=1", "optimizer", Optimizer(rate=1.0)),
        ("optimizer.betas=[0.5, 0.6]", "optimizer", Optimizer(betas=(0.5, 0.6))),
        ("topk.neuron=64", "topk", {"neuron": 64}),
    ],
)
def test_override_reads_values_as_toml(setting: str, key: str, value: Any) -> None:
    assert getattr(Training().override([setting]), key) == value


def test_override_applies_in_order_and_leaves_the_original() -> None:
    config = Training(topk={"q": 1})
    changed = config.override(["steps=1", "topk.q=2", "steps=2"])
    assert (changed.steps, changed.topk) == (2, {"q": 2})
    assert (config.steps, config.topk) == (100, {"q": 1})


@pytest.mark.parametrize("setting", ["steps", "=3", "", "  = 3"])
def test_a_setting_that_sets_nothing(setting: str) -> None:
    with pytest.raises(WireworkError) as caught:
        Training().override([setting])
    assert caught.value.code == "setting-malformed"
    assert caught.value.expected == "key=value"


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("step", "steps"),
        ("optimizer.rat", "optimizer.rate"),
        ("optimiser.rate", "optimizer.rate"),
        ("rate", "optimizer.rate"),
        ("steps.rate", "optimizer.rate"),
    ],
)
def test_an_unknown_key_names_the_nearest(key: str, near: str) -> None:
    with pytest.raises(WireworkError) as caught:
        Training().override([f"{key}=1"])
    assert caught.value.code == "config-unknown-key"
    assert caught.value.got == key
    assert caught.value.hint == near
    assert "optimizer.betas" in caught.value.expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": "7"}, "steps"),
        ({"steps": 1.5}, "steps"),
        ({"steps": True}, "steps"),
        ({"resume": 1}, "resume"),
        ({"kind": "dens"}, "'sparse' or 'dense'"),
        ({"optimizer": {"betas": [1.0]}}, "optimizer.betas"),
        ({"topk": {"q": "x"}}, "topk.q"),
    ],
)
def test_a_value_of_another_kind_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(WireworkError) as caught:
        Training.parse(values, "train.toml")
    assert caught.value.code == "config-invalid"
    assert "train.toml" in caught.value.message
    assert words in str(caught.value)


def test_a_field_of_its_own_may_refuse_with_its_own_code() -> None:
    with pytest.raises(WireworkError, match=r"error\[steps-too-few\]"):
        Training.parse({"steps": 0})


def test_load_reads_toml(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text("steps = 3\n[optimizer]\nbetas = [0.1, 0.2]\n")
    config = Training.load(path)
    assert (config.steps, config.optimizer.betas) == (3, (0.1, 0.2))


@pytest.mark.parametrize("data", [b"steps = \n", b"\xff\xfe", b"steps = 1\nsteps = 2\n"])
def test_load_refuses_what_is_not_toml(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "train.toml"
    path.write_bytes(data)
    with pytest.raises(WireworkError) as caught:
        Training.load(path)
    assert caught.value.code == "config-not-toml"
    assert str(path) in caught.value.message


def test_load_names_a_missing_file_and_a_wrong_key(tmp_path: Path) -> None:
    for missing in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(WireworkError, match="config-missing"):
            Training.load(missing)
    (tmp_path / "bad.toml").write_text("stepz = 3\n")
    with pytest.raises(WireworkError) as caught:
        Training.load(tmp_path / "bad.toml")
    assert caught.value.code == "config-unknown-key"
    assert caught.value.hint == "steps"
