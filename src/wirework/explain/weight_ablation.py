"""A model on text while one weight is ablated at some of the positions: exact losses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from wirework.explain.model_weight import ModelWeight, shifted
from wirework.explain.window_sample import Integers, WindowSample
from wirework.model import Taps, Transformer
from wirework.model.layers import Layer

Floats = NDArray[np.float64]


class WeightAblation:
    """Losses (n) of a sample of text: nats of predicting, at every token, the one behind it; 0
    where there is none.

    `base`: of the whole model. `read` (weights, n): what every weight reads; `slope` (weights, n):
    the summed loss differentiated by the target of the weight, before AbsTopK and activation,
    zeros without `slopes`.
    """

    def __init__(
        self,
        model: Transformer,
        sample: WindowSample,
        weights: Sequence[ModelWeight],
        *,
        slopes: bool = False,
    ) -> None:
        self.sample = sample
        self._model = model
        self._last = 2 * model.config.n_layer - 1
        self._device = model.unembedding.weight.device
        self._tokens, self._targets, self._place = (
            torch.from_numpy(x).to(self._device)
            for x in (sample.tokens, sample.targets, sample.place)
        )
        kind, size = model.unembedding.weight.dtype, (len(sample), model.config.d_model)
        # The residual before every half layer in which an edge stands, and before the last one.
        self._before = {
            half: torch.zeros(size, dtype=kind, device=self._device)
            for half in {*(weight.half for weight in weights), self._last}
        }
        self.base = np.zeros(len(sample))
        self.read = np.zeros((len(weights), len(sample)))
        self.slope = np.zeros((len(weights), len(sample)))
        groups: dict[torch.nn.Linear, list[int]] = defaultdict(list)
        for number, weight in enumerate(weights):
            groups[weight.linear].append(number)
        for batch in sample.batches:
            with torch.set_grad_enabled(slopes):
                self._whole(batch, weights, groups, slopes)

    def _whole(
        self,
        batch: Integers,
        weights: Sequence[ModelWeight],
        groups: dict[torch.nn.Linear, list[int]],
        slopes: bool,
    ) -> None:
        """One batch of the model as it is."""
        grid, real = self._grid(batch)
        shifts, seen = [], []
        with ExitStack() as stack:
            for linear, mine in groups.items():
                shift = torch.zeros(
                    *grid.shape, len(mine), dtype=linear.weight.dtype, device=self._device,
                    requires_grad=slopes,
                )  # fmt: skip
                rows = [weights[number].row for number in mine]
                seen.append(stack.enter_context(shifted(linear, rows, shift)))
                shifts.append(shift)
            r = self._begin(self._tokens[grid])
            for half in range(self._last + 1):
                if half in self._before:
                    self._before[half][grid[real]] = r[real].detach()
                r = self._run(r, self._positions(grid.shape[1]), half, half + 1)
        counts = real & (self._targets[grid] >= 0)
        at = grid[counts]
        losses = self._losses(r[counts], at)
        self.base[at.cpu()] = losses.detach().double().cpu()
        found = torch.autograd.grad(losses.sum(), shifts) if slopes else shifts
        place = batch[batch >= 0]
        for mine, slope, (given,) in zip(groups.values(), found, seen, strict=True):
            columns = [weights[number].column for number in mine]
            cells = np.ix_(np.array(mine), place)
            self.read[cells] = given[real][:, columns].double().cpu().T
            self.slope[cells] = slope[real].detach().double().cpu().T

    @torch.no_grad()
    def losses(self, weight: ModelWeight, taken: Floats) -> Floats:
        """The losses while the target of a weight lacks `taken` (n), position by position."""
        found = self.base.copy()
        for grid, shift in self._touched(taken):
            rows, losses = self._without(weight, grid, shift)
            found[rows.cpu()] = losses.double().cpu()
        return found

    @torch.enable_grad()
    def losses_and_slope(self, weight: ModelWeight, taken: Floats) -> tuple[Floats, Floats]:
        """The same, and the slope (n) there: the summed loss differentiated by the target."""
        found, slope = self.base.copy(), np.zeros(len(self.base))
        for grid, shift in self._touched(taken):
            shift.requires_grad_()
            rows, losses = self._without(weight, grid, shift)
            if not len(rows):
                continue
            found[rows.cpu()] = losses.detach().double().cpu()
            (mine,) = torch.autograd.grad(losses.sum(), shift)
            real = grid >= 0
            slope[grid[real].cpu()] = mine[real].double().cpu()
        return found, slope

    def _touched(self, taken: Floats) -> Iterable[tuple[Tensor, Tensor]]:
        """The batches in which anything is taken away: places (B, T), shifts (B, T)."""
        for batch in self.sample.batches:
            mine = np.where(batch >= 0, -taken[batch], 0.0)
            if mine.any():
                shift = torch.from_numpy(mine).to(
                    self._device, self._model.unembedding.weight.dtype
                )
                yield torch.from_numpy(batch).to(self._device), shift

    def _without(self, weight: ModelWeight, grid: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Which losses change (m), and to what: only these are computed to the end."""
        counts = (grid >= 0) & (self._targets[grid] >= 0)
        if weight.half == self._last:
            changed = counts & (shift.detach() != 0)
            rows = grid[changed]
            with shifted(weight.linear, [weight.row], shift[changed][None, :, None]):
                return rows, self._finish(self._before[self._last][rows], rows)
        at = grid.clamp_min(0)
        with shifted(weight.linear, [weight.row], shift[..., None]):
            beside = self._positions(grid.shape[1])
            r = self._run(self._before[weight.half][at], beside, weight.half, self._last)
        changed = counts & (r.detach() != self._before[self._last][at]).any(-1)
        rows = grid[changed]
        return rows, self._finish(r[changed], rows)

    def _finish(self, r: Tensor, rows: Tensor) -> Tensor:
        """Residuals (m, D) before the last half layer, where each token is alone -> losses (m)."""
        if not len(rows):
            return r.new_zeros(0)
        table = self._positions(self._model.config.context)
        beside = None if table is None else table[self._place[rows]]
        return self._losses(self._run(r[None], beside, self._last, self._last + 1)[0], rows)

    def _losses(self, r: Tensor, rows: Tensor) -> Tensor:
        """Residuals (m, D) at the end -> losses (m)."""
        logits = self._model.unembed(self._model.norm_final(r), self._tokens[rows])
        kind = torch.promote_types(logits.dtype, torch.float32)
        return functional.cross_entropy(logits.to(kind), self._targets[rows], reduction="none")

    def _begin(self, tokens: Tensor) -> Tensor:
        r: Tensor = self._model.embedding(tokens)
        if self._model.positions is not None and self._model.config.position == "add":
            r = r + self._model.positions[: tokens.shape[1]]
        return r

    def _positions(self, length: int) -> Tensor | None:
        """Rows that stand beside the residual, (length, P)."""
        table = self._model.positions
        return None if table is None or self._model.config.position == "add" else table[:length]

    def _run(self, r: Tensor, positions: Tensor | None, first: int, end: int) -> Tensor:
        """Half layers `first` to `end`, without the latter."""
        for half in range(first, end):
            layer = self._model.layers[half // 2]
            assert isinstance(layer, Layer)
            step = layer.after_mlp if half % 2 else layer.after_attention
            r = step(r, positions, Taps())
        return r

    def _grid(self, batch: Integers) -> tuple[Tensor, Tensor]:
        """Places (B, T), any behind the end of a window, and which are real."""
        grid = torch.from_numpy(batch).to(self._device)
        return grid.clamp_min(0), grid >= 0
