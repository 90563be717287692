"""Strict, frozen configurations: TOML in, unknown keys refused, a hash that does not drift."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from wirework.core.errors import WireworkError, nearest


class Config(BaseModel):
    """Base of every configuration; `replace` and `override` return a changed copy."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def parse(cls, values: dict[str, Any], source: str = "configuration") -> Self:
        """Build from plain values. Raises `config-unknown-key` or `config-invalid`."""
        try:
            # JSON mode: a list stands for a tuple, as in every TOML and JSON file.
            # TOML's dates become text.
            return cls.model_validate_json(json.dumps(values, default=str))
        except ValidationError as error:
            raise _explain(cls, error, source) from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a TOML file. Raises `config-missing`, `config-not-toml` and those of `parse`."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise WireworkError(
                "config-missing", f"there is no file {path}", expected="a TOML file", got=str(path)
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise WireworkError(
                "config-not-toml", f"{path} is not TOML", expected="key = value", got=str(error)
            ) from None
        return cls.parse(values, str(path))

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        return type(self).parse({**self.plain(), **changes})

    def override(self, settings: Iterable[str]) -> Self:
        """A copy with `key=value` texts applied; dots reach into nested configurations.

        Values are read as TOML (`true`, `3`, `1e-3`, `[1, 2]`), anything else as text.
        Raises `setting-malformed`, `config-unknown-key`, `config-invalid`.
        """
        values = self.plain()
        for setting in settings:
            key, equals, text = setting.partition("=")
            if not equals or not key.strip():
                raise WireworkError(
                    "setting-malformed",
                    f"{setting!r} sets nothing",
                    expected="key=value",
                    got=setting,
                    hint="--set steps=2000",
                )
            _assign(values, key.strip(), _read_value(text.strip()), type(self))
        return type(self).parse(values, "--set")

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        values: dict[str, Any] = self.model_dump(mode="json")
        return values

    def hash(self) -> str:
        """sha256 of the canonical JSON: equal values give equal hashes, whatever their order.

        Fields at their default are left out, so that a field that a later version adds does not
        change the hash of what was made before.
        """
        values = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _read_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _assign(values: dict[str, Any], key: str, value: Any, owner: type[BaseModel]) -> None:
    *path, last = key.split(".")
    inner = values
    for part in path:
        if not isinstance(inner.get(part), dict):
            raise _unknown_key(owner, key, "--set")
        inner = inner[part]
    # A dictionary field takes new keys; a configuration's own fields are checked by `parse`.
    inner[last] = value


def _keys(owner: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for name, field in owner.model_fields.items():
        found.append(prefix + name)
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += _keys(inner, f"{prefix}{name}.")
    return found


def _unknown_key(owner: type[BaseModel], key: str, source: str) -> WireworkError:
    known = _keys(owner)
    last = key.split(".")[-1]
    # `rate` is most likely meant for `optimizer.rate`, whatever else looks like it.
    same_end = [name for name in known if name.split(".")[-1] == last]
    near = nearest(key, same_end or known) or next(iter(same_end), "") or nearest(last, known)
    return WireworkError(
        "config-unknown-key",
        f"{source} has a key that {owner.__name__} does not know",
        expected=f"one of {', '.join(known)}",
        got=key,
        hint=near,
    )


def _explain(owner: type[BaseModel], error: ValidationError, source: str) -> WireworkError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "(the whole)"
    if first["type"] == "extra_forbidden":
        return _unknown_key(owner, key, source)
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, WireworkError):
        return cause
    return WireworkError(
        "config-invalid",
        f"{source}: {key} cannot be used",
        expected=first["msg"],
        got=repr(first["input"])[:120],
    )
