"""Taps: record, replace and differentiate activations at named sites, as an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from wirework.core import Site


class Taps:
    """What to do at which site of one forward pass.

    `replace[site]` maps the activation (batch, position, channel) after AbsTopK to the one that
    the model goes on with; it runs first. `record`: sites whose activation is kept, detached, in
    `values`. `grad`: sites whose activation is kept with its graph, so that `values[site].grad`
    is filled by `backward`.
    """

    def __init__(
        self,
        *,
        record: Iterable[Site] = (),
        replace: Mapping[Site, Callable[[Tensor], Tensor]] | None = None,
        grad: Iterable[Site] = (),
    ) -> None:
        self.record = frozenset(record)
        self.replace = dict(replace or {})
        self.grad = frozenset(grad)
        self.values: dict[Site, Tensor] = {}

    def at(self, layer: int, kind: str, x: Tensor) -> Tensor:
        """What the model goes on with at a site of a layer, where the activation is `x`.

        Without anything to do the layer's number is not looked at: `torch.compile` then makes one
        program for all layers, and would give up at the ninth otherwise.
        """
        idle = not (self.replace or self.grad or self.record)
        return x if idle else self(Site(layer, kind), x)

    def __call__(self, site: Site, x: Tensor) -> Tensor:
        change = self.replace.get(site)
        if change is not None:
            x = change(x)
        if site in self.grad:
            if not x.requires_grad:
                x = x.detach().requires_grad_()
            x.retain_grad()
            self.values[site] = x
        elif site in self.record:
            self.values[site] = x.detach()
        return x
