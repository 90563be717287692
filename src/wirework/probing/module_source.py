"""Any torch module as a source of activations: forward hooks by the names of its parts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wirework.core import WireworkError
from wirework.core.errors import unknown_choice
from wirework.probing.activation_source import (
    PADDING,
    Batch,
    Held,
    absent_site,
    hold,
    losses_unavailable,
    next_token_losses,
)

INPUT = "/in"
"""Behind the name of a part: what it reads, not what it gives."""


@dataclass(frozen=True)
class Place:
    """What a part of a module reads (`in`) or gives (`out`); `path` as in `named_modules`."""

    path: str
    side: Literal["in", "out"]

    def __str__(self) -> str:
        return self.path + (INPUT if self.side == "in" else "")


class PlacedSource:
    """A source whose sites are places in a module: their names, and their widths."""

    _places: dict[str, Place]
    _widths: dict[str, int]

    def sites(self) -> tuple[str, ...]:
        return tuple(self._places)

    def width(self, site: str) -> int:
        """Seen in a run of one token, the first time that it is asked for."""
        if site not in self._places:
            raise absent_site(site, self.sites())
        if not self._widths:
            found = self.run(np.zeros((1, 1), np.int64), self.sites())
            self._widths = {name: value.shape[-1] for name, value in found.items()}
        return self._widths[site]

    def run(self, tokens: NDArray[np.int64], sites: tuple[str, ...]) -> Batch:
        """See `Source.run`."""
        raise AssertionError("every source runs its own model")


class ModuleSource(PlacedSource):
    """A torch module that maps rows of tokens (B, T) to anything.

    A site is the name of a part as `named_modules` gives it (`layers.3.mlp.act`) for what the part
    gives, with `/in` behind it (`layers.3.mlp.down/in`) for what it reads: the first tensor of
    either, (B, T, ...), flat over what follows T. Hooks stand only while `run` runs.
    """

    tokenizer = ""

    def __init__(
        self,
        module: nn.Module,
        sites: Iterable[str],
        *,
        context: int,
        vocab_size: int | None = None,
        causal: bool = False,
        call: Callable[[Tensor], Any] | None = None,
    ) -> None:
        """`call` runs the module on rows of tokens of one length, (B, T) int64 on its device;
        `module(tokens)` where None. `causal`: no activation depends on a later token, as you say;
        rows are then padded with id 0, while otherwise rows of unequal lengths are run apart.
        Raises `site-absent`, `module-training`.
        """
        assert context >= 1
        self.context, self.vocab_size, self.causal = context, vocab_size, causal
        self._module = module
        self._call = call if call is not None else module
        parts = {name for name, _ in module.named_modules()} - {""}
        self._places = {}
        for site in sites:
            path = site.removesuffix(INPUT)
            if path not in parts:
                raise unknown_choice("site-absent", "part of this module", path, parts)
            self._places[site] = Place(path, "in" if site.endswith(INPUT) else "out")
        require_evaluation(module)
        self._widths = {}

    def hash(self) -> str:
        """sha256 of the class and of every stored tensor."""
        return weights_hash(self._module)

    def describe(self) -> dict[str, Any]:
        return {"kind": "module", "class": type(self._module).__qualname__}

    @torch.no_grad()
    def run(self, tokens: NDArray[np.int64], sites: tuple[str, ...]) -> Batch:
        """Raises `site-absent`, `module-training`, `site-not-reached`, `site-repeated`,
        `site-shape`."""
        for site in sites:
            if site not in self._places:
                raise absent_site(site, self.sites())
        places = {site: self._places[site] for site in sites}
        lengths = (tokens != PADDING).sum(axis=1)
        if self.causal or len(np.unique(lengths)) == 1:
            return self._run(np.where(tokens == PADDING, 0, tokens), places)
        found: Batch = {}
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            for site, value in self._run(tokens[rows, :length], places).items():
                shape = (*tokens.shape, value.shape[-1])
                whole = found.setdefault(site, np.zeros(shape, np.float32))
                whole[rows, :length] = value
        return found

    @torch.no_grad()
    def losses(self, tokens: NDArray[np.int64], held: Held) -> NDArray[np.float32]:
        """The module must give logits (B, T, V): as a tensor, or as `logits` of what it gives.

        Raises `site-absent`, `module-training`, `site-shape`, `losses-unavailable`.
        """
        for site in held:
            if site not in self._places:
                raise absent_site(site, self.sites())
        if not self.causal:
            raise losses_unavailable("causal = False", "ModuleSource(..., causal=True)")
        require_evaluation(self._module)
        rows = torch.from_numpy(np.where(tokens == PADDING, 0, tokens)).to(device_of(self._module))
        with holding(self._module, self._places, held):
            found = self._call(rows)
        return next_token_losses(logits_of(found, tokens.shape), tokens)

    def _run(self, tokens: NDArray[np.int64], places: Mapping[str, Place]) -> Batch:
        require_evaluation(self._module)
        rows = torch.from_numpy(np.ascontiguousarray(tokens)).to(device_of(self._module))
        with recording(self._module, places) as values:
            self._call(rows)
        return as_batch(values, places, tokens.shape)


@contextmanager
def recording(module: nn.Module, places: Mapping[str, Place]) -> Iterator[dict[str, list[Tensor]]]:
    """Inside, every run of `module` leaves what passes at `places` in the dictionary.

    The hooks are gone afterwards, whatever happened. Raises `site-shape` for what is no tensor.
    """
    values: dict[str, list[Tensor]] = {name: [] for name in places}
    handles = []
    try:
        for name, place in places.items():
            part = module.get_submodule(place.path)
            keep = partial(_keep, values[name], name)
            if place.side == "in":
                before = partial(_before, keep)
                handles.append(part.register_forward_pre_hook(before, with_kwargs=True))
            else:
                handles.append(part.register_forward_hook(partial(_after, keep)))
        yield values
    finally:
        for handle in handles:
            handle.remove()


def _before(
    keep: Callable[[Any], None], part: nn.Module, args: tuple[Any, ...], named: dict[str, Any]
) -> None:
    keep(args or named)


def _after(
    keep: Callable[[Any], None], part: nn.Module, args: tuple[Any, ...], result: Any
) -> None:
    keep(result)


def _keep(values: list[Tensor], name: str, passed: Any) -> None:
    first = passed
    while isinstance(first, tuple | list) and first:
        first = first[0]
    if isinstance(first, Mapping) and first:
        first = next(iter(first.values()))
    if not isinstance(first, Tensor):
        raise _shape_error(name, "a tensor first", type(first).__name__)
    # What follows may change it in place.
    values.append(first.detach().clone())


@contextmanager
def holding(module: nn.Module, places: Mapping[str, Place], held: Held) -> Iterator[None]:
    """Inside, channels are held at their values in every run of `module`.

    The hooks are gone afterwards, whatever happened. Raises `site-shape` for what is no tensor.
    """
    handles = []
    try:
        for name, (channels, values) in held.items():
            part = module.get_submodule(places[name].path)
            change = partial(_changed, name, partial(hold, channels, values))
            if places[name].side == "in":
                before = partial(_change_before, change)
                handles.append(part.register_forward_pre_hook(before, with_kwargs=True))
            else:
                handles.append(part.register_forward_hook(partial(_change_after, change)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _change_before(
    change: Callable[[Any], Any], part: nn.Module, args: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (change(args), named) if args else (args, change(named))


def _change_after(
    change: Callable[[Any], Any], part: nn.Module, args: tuple[Any, ...], result: Any
) -> Any:
    return change(result)


def _changed(name: str, change: Callable[[Tensor], Tensor], passed: Any) -> Any:
    """`passed` with its first tensor changed."""
    if isinstance(passed, tuple | list) and passed:
        return type(passed)([_changed(name, change, passed[0]), *passed[1:]])
    if isinstance(passed, Mapping) and passed:
        key = next(iter(passed))
        return {**passed, key: _changed(name, change, passed[key])}
    if not isinstance(passed, Tensor) or passed.dim() < 3:
        got = str(tuple(passed.shape)) if isinstance(passed, Tensor) else type(passed).__name__
        raise _shape_error(name, "a tensor (B, T, ...) first", got)
    return change(passed)


def logits_of(result: Any, shape: tuple[int, ...]) -> Tensor:
    """Logits (B, T, V) of what a module gave for rows of `shape`. Raises `losses-unavailable`."""
    logits = getattr(result, "logits", result)
    if not isinstance(logits, Tensor) or logits.dim() != 3 or tuple(logits.shape[:2]) != shape:
        raise losses_unavailable(f"{type(result).__name__} without logits of every token")
    return logits


def as_batch(
    values: Mapping[str, list[Tensor]], places: Mapping[str, Place], shape: tuple[int, ...]
) -> Batch:
    """What was recorded of rows of `shape` (B, T), as (B, T, channels)."""
    found = {}
    for name, kept in values.items():
        if len(kept) != 1:
            raise _not_once(name, places[name], len(kept))
        value = kept[0]
        if value.dim() < 3 or tuple(value.shape[:2]) != shape:
            raise _shape_error(name, f"({shape[0]}, {shape[1]}, ...)", str(tuple(value.shape)))
        found[name] = value.flatten(2).float().cpu().numpy()
    return found


def device_of(module: nn.Module) -> torch.device:
    """Where the module's first weight lies."""
    weight = next(module.parameters(), None)
    return torch.device("cpu") if weight is None else weight.device


def require_evaluation(module: nn.Module) -> None:
    """Raises `module-training`: dropout would make activations a matter of chance."""
    if any(part.training for part in module.modules()):
        raise WireworkError(
            "module-training",
            f"{type(module).__name__} is set to training, where dropout changes activations",
            expected="a module that is set to evaluation",
            got="training = True",
            hint="model.eval()",
        )


def weights_hash(module: nn.Module, settings: str = "", *, without: str | None = None) -> str:
    """sha256 of the class, `settings` and every stored tensor with its name and type, except
    those whose name begins with `without`."""
    digest = hashlib.sha256(f"{type(module).__qualname__}|{settings}|".encode())
    for name, value in sorted(module.state_dict().items()):
        if without is not None and name.startswith(without):
            continue
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        plain = value.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _not_once(name: str, place: Place, times: int) -> WireworkError:
    if times == 0:
        return WireworkError(
            "site-not-reached",
            f"the part behind {name} was not called",
            expected="a part that every run calls once",
            got=f"{place} was not called",
        )
    return WireworkError(
        "site-repeated",
        f"the part behind {name} was called {times} times in one run",
        expected="a part that every run calls once",
        got=f"{times} calls of {place}",
    )


def _shape_error(name: str, expected: str, got: str) -> WireworkError:
    return WireworkError(
        "site-shape",
        f"what passes at {name} is not one vector a token",
        expected=expected,
        got=got,
    )
