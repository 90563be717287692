"""The best k neurons with a proof: branch and bound on the perspective relaxation.

min over w, b, with at most k weights: loss + |w|^2 / (2 gamma). Every relaxation gives a dual
vector alpha, and every alpha a true lower bound, however roughly the relaxation was solved
(`sparse_probing.md §8.2`):

    dual(alpha) - gamma/2 (sum of q over what is in + the largest free q that fill k),

with q_j = (x_j.alpha)^2. The same bound with one neuron more or less says which neurons can no
longer be, or must be, in anything better than the best found; they are settled before branching.
"""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wirework.probing.checks import check_k
from wirework.probing.greedy import greedy_swap
from wirework.probing.losses import Floats, Loss
from wirework.probing.newton import Fit, Point, fit_ridge, newton_step
from wirework.probing.perspective import perspective, shares, solve_perspective

Indices = NDArray[np.int64]
Status = Literal["optimal", "time_limit", "node_limit"]

_ROUNDS = 60
# A relaxation is good enough when its own gap is this share of what its bound still lacks.
_ROUGH = 0.1
# Neurons tried in the place of another one.
_LIKELY = 3


@dataclass(frozen=True)
class Certificate:
    """What is proved about a support: no other of at most k neurons has less than `lower_bound`.

    `value`: objective of the support that was found, loss plus ridge penalty, in the scale in
    which it was fitted. `gap`: (value - lower_bound) / value. `status`: `optimal` when the gap
    is at most the one asked for. `gamma`: the shrinkage. `filter_size`: how many columns were
    searched: a proof says nothing about others.
    """

    value: float
    lower_bound: float
    gap: float
    status: Status
    loss: str
    gamma: float
    k: int
    filter_size: int
    nodes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class BestSubset:
    """`support` (k), ascending columns of X; `fit`: their weights in that order."""

    support: Indices
    fit: Fit
    certificate: Certificate


@dataclass(frozen=True)
class _Node:
    """Columns `inside` are in; of `free` ones `slots` may join. `working`, `w`, `b`: a start."""

    inside: Indices
    free: Indices
    slots: int
    working: Indices
    w: Floats
    b: float
    bound: float = 0.0


def best_subset(
    X: Floats,
    loss: Loss,
    k: int,
    gamma: float,
    *,
    gap: float = 1e-3,
    time_limit: float = 60.0,
    max_nodes: int = 100_000,
    starts: tuple[Indices, ...] = (),
) -> BestSubset:
    """The k columns of X (n, d), float64, of the least objective, with its certificate.

    It ends when the gap is at most `gap`, after `time_limit` seconds or `max_nodes` nodes, and
    always gives the best that it has found; the first node is always done. `starts`: further
    supports to begin with. Raises `probe-k-invalid`.
    """
    assert gamma > 0 and gap >= 0, "gamma, gap"
    check_k(k, X.shape[1])
    began = time.perf_counter()
    search = _Search(X, loss, k, gamma, gap)
    status: Status = "optimal"
    search.begin(starts)
    while search.open:
        if search.nodes >= max_nodes or time.perf_counter() - began >= time_limit:
            status = "node_limit" if search.nodes >= max_nodes else "time_limit"
            break
        search.expand()
    lower = search.lower_bound()
    value = search.fit.value
    share = max(value - lower, 0.0) / value if value > 0 else 0.0
    if share <= gap:
        status = "optimal"
    order = np.argsort(search.best)
    return BestSubset(
        search.best[order],
        replace(search.fit, w=search.fit.w[order]),
        Certificate(
            value=value,
            lower_bound=min(lower, value),
            gap=share,
            status=status,
            loss=loss.name,
            gamma=gamma,
            k=k,
            filter_size=X.shape[1],
            nodes=search.nodes,
            seconds=time.perf_counter() - began,
        ),
    )


class _Search:
    """The tree: open nodes by bound, the best support so far, the least bound given up.

    `best` is in the columns of the whole X, all else in those that the root has left in `X`.
    """

    best: Indices
    fit: Fit

    def __init__(self, X: Floats, loss: Loss, k: int, gamma: float, gap: float) -> None:
        # The intercept is free, so centring changes nothing but the rounding.
        self.X = np.asfortranarray(X - loss.c @ X / loss.c.sum())
        self.loss, self.k, self.gamma, self.gap = loss, k, gamma, gap
        self.names: Indices = np.arange(X.shape[1])
        self.open: list[tuple[float, int, _Node]] = []
        self.nodes = 0
        self._serial = itertools.count()
        self._floor = np.inf
        self._tried: set[tuple[int, ...]] = set()

    @property
    def _cutoff(self) -> float:
        return self.fit.value * (1 - self.gap)

    def lower_bound(self) -> float:
        """What no support can go below."""
        waiting = self.open[0][0] if self.open else np.inf
        return float(min(self._floor, waiting, self.fit.value))

    def begin(self, starts: tuple[Indices, ...]) -> None:
        """A good support to begin with, the root, and without the columns that it rules out."""
        X, loss = self.X, self.loss
        self.best = greedy_swap(X, loss.y, loss.c, self.k, self.gamma)
        self.fit = fit_ridge(X[:, self.best], loss, self.gamma)
        none: Indices = np.empty(0, dtype=np.int64)
        # Under strong shrinkage every neuron wins what it wins alone.
        alone = np.argsort(-np.abs(self._pull(none) @ X))[: self.k]
        for support in (alone, *starts):
            self._try(np.asarray(support, dtype=np.int64))
        self._swap()
        level = fit_ridge(X[:, none], loss, self.gamma).b
        root = self._relax(_Node(none, self.names, self.k, none, np.empty(0), level))
        if root is None:
            return
        kept = np.sort(np.concatenate([root.inside, root.free]))
        self.X, self.names = np.asfortranarray(X[:, kept]), self.names[kept]
        self._tried.clear()
        self._push(
            replace(
                root,
                inside=np.searchsorted(kept, root.inside),
                free=np.searchsorted(kept, root.free),
                working=np.searchsorted(kept, root.working),
            )
        )

    def expand(self) -> None:
        """Branch on the open node of the least bound."""
        bound, _, node = heapq.heappop(self.open)
        if bound >= self._cutoff:
            self._floor = min(self._floor, bound)
            return
        inside = np.isin(node.working, node.inside)
        s = shares(node.w, inside, node.slots)
        # The largest weight that is only partly in; the largest at all where none is.
        part = ~inside & (s > 1e-6) & (s < 1 - 1e-6)
        candidates = np.flatnonzero(part if part.any() else ~inside)
        j = node.free[0]
        if len(candidates):
            j = node.working[candidates[np.abs(node.w[candidates]).argmax()]]
        free, rest = node.free[node.free != j], node.working != j
        for child in (
            replace(node, inside=np.append(node.inside, j), free=free, slots=node.slots - 1),
            replace(node, free=free, working=node.working[rest], w=node.w[rest]),
        ):
            left = self._relax(child)
            if left is not None:
                self._push(left)

    def _push(self, node: _Node) -> None:
        heapq.heappush(self.open, (node.bound, next(self._serial), node))

    def _relax(self, node: _Node) -> _Node | None:
        """Bound a node, settle what its bound settles; None where it can hold nothing better."""
        self.nodes += 1
        for _ in range(_ROUNDS):
            if node.slots == 0 or len(node.free) <= node.slots:
                self._close(node)
                return None
            at, inside = self._point(node)
            alpha = self.loss.feasible(self.loss.slopes(at.z)[0])
            q = (alpha @ self.X) ** 2
            settled = self._settle(node, alpha, q)
            if settled is None:
                return None
            if settled.inside is not node.inside or settled.free is not node.free:
                node = settled
                continue
            node = settled
            s = shares(at.w, inside, node.slots)[~inside]
            whole = bool(((s < 1e-6) | (s > 1 - 1e-6)).all())
            lacks = at.value - node.bound
            if lacks <= 1e-9 * at.value or (
                not whole and lacks <= _ROUGH * (self._cutoff - node.bound)
            ):
                break
            if whole:
                self._try(self._rounded(node, q))
            node = self._improve(node, q)
        self._try(self._rounded(node, q))
        if node.bound >= self._cutoff:
            self._floor = min(self._floor, node.bound)
            return None
        return node

    def _penalty(self, inside: NDArray[np.bool_], slots: int, w: Floats) -> float:
        return float(perspective(w, inside, slots)) / (2 * self.gamma)

    def _point(self, node: _Node) -> tuple[Point, NDArray[np.bool_]]:
        inside = np.isin(node.working, node.inside)
        z = self.X[:, node.working] @ node.w + node.b
        value = self.loss.value(z) + self._penalty(inside, node.slots, node.w)
        return Point(node.w, node.b, z, value), inside

    def _settle(self, node: _Node, alpha: Floats, q: Floats) -> _Node | None:
        """The node's bound for alpha, and what must be in or out of anything better."""
        free, slots = node.free, node.slots
        order = np.argpartition(-q[free], [slots - 1, slots])
        top = np.zeros(len(free), dtype=bool)
        top[order[:slots]] = True
        last, following = q[free[order[slots - 1]]], q[free[order[slots]]]
        base = q[node.inside].sum() + q[free[top]].sum()
        half = self.gamma / 2
        bound = max(node.bound, float(self.loss.dual(alpha, half * base)))
        if bound >= self._cutoff:
            self._floor = min(self._floor, bound)
            return None
        turned = base + np.where(top, following - q[free], q[free] - last)
        forced = self.loss.dual(alpha, half * turned)
        sure = forced >= self._cutoff
        if not sure.any():
            return replace(node, bound=bound)
        self._floor = min(self._floor, float(forced[sure].min()))
        joined, gone = free[sure & top], free[sure & ~top]
        stays = ~np.isin(node.working, gone)
        return replace(
            node,
            inside=np.concatenate([node.inside, joined]),
            free=free[~sure],
            slots=slots - len(joined),
            working=node.working[stays],
            w=node.w[stays],
            bound=bound,
        )

    def _improve(self, node: _Node, q: Floats) -> _Node:
        """One step of the relaxation, on the columns that count and those that may."""
        free = node.free
        few = min(len(free), 2 * node.slots + 10)
        likely = free[np.argpartition(-q[free], few - 1)[:few]]
        used = node.working[node.w != 0]
        working = np.unique(np.concatenate([node.inside, used, likely]))
        w = np.zeros(len(working))
        w[np.searchsorted(working, used)] = node.w[node.w != 0]
        at, inside = self._point(replace(node, working=working, w=w))

        def penalty(w: Floats) -> float:
            return self._penalty(inside, node.slots, w)

        def solve_model(H: Floats, r: Floats, w: Floats) -> Floats:
            found: Floats = solve_perspective(H, r, inside, node.slots, self.gamma, w, 2000, 1e-7)
            return found

        after = newton_step(self.X[:, working], self.loss, penalty, solve_model, at)
        return replace(node, working=working, w=after.w, b=after.b)

    def _close(self, node: _Node) -> None:
        """A node with nothing left to choose: its support is the best it has."""
        support = np.concatenate([node.inside, node.free[: node.slots]])
        fit = fit_ridge(self.X[:, support], self.loss, self.gamma)
        self._take(support, fit)
        self._floor = min(self._floor, max(node.bound, self._dual(support, fit)))

    def _dual(self, support: Indices, fit: Fit) -> float:
        alpha = self.loss.slopes(self.X[:, support] @ fit.w + fit.b)[0]
        alpha = self.loss.feasible(alpha)
        q = (alpha @ self.X[:, support]) ** 2
        return float(self.loss.dual(alpha, self.gamma / 2 * q.sum()))

    def _rounded(self, node: _Node, q: Floats) -> Indices:
        """What is in, and the largest weights (then the largest q) of the rest."""
        size = np.zeros(len(self.names))
        size[node.working] = np.abs(node.w)
        order = np.lexsort((-q[node.free], -size[node.free]))
        return np.concatenate([node.inside, node.free[order[: node.slots]]])

    def _try(self, support: Indices) -> bool:
        """Whether `support` (of `X`) is better than the best so far."""
        key = tuple(sorted(support.tolist()))
        if key in self._tried:
            return False
        self._tried.add(key)
        return self._take(support, fit_ridge(self.X[:, support], self.loss, self.gamma))

    def _take(self, support: Indices, fit: Fit) -> bool:
        if fit.value >= self.fit.value:
            return False
        self.best, self.fit = self.names[support], fit
        return True

    def _swap(self) -> None:
        """Exchange one neuron for a likely other until that no longer helps (before the root)."""
        size = self.loss.c @ self.X**2 + 1 / self.gamma
        better = True
        while better:
            better = False
            for j in self.best:
                rest = self.best[self.best != j]
                if len(rest) == self.k:
                    # It was exchanged in this round.
                    continue
                alpha = self._pull(rest)
                likely = (alpha @ self.X) ** 2 / size
                others = np.setdiff1d(self.names, self.best)
                for new in others[np.argsort(-likely[others])[:_LIKELY]]:
                    better |= self._try(np.append(rest, new))

    def _pull(self, support: Indices) -> Floats:
        """alpha where `support` alone is fitted."""
        fit = fit_ridge(self.X[:, support], self.loss, self.gamma)
        return self.loss.slopes(self.X[:, support] @ fit.w + fit.b)[0]
