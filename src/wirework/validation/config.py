"""How much is asked of a validation: numbers of draws, pairs, budgets."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from wirework.core import Config


class ValidationConfig(Config):
    """The sizes of all groups of tests.

    `draws`: random circuits for `sufficiency` and `necessity`. `pairs`: pairs of `report` on
    which tests that run many circuits are measured; one run costs a whole forward pass.
    `interchange_draws`: random sets of nodes that are swapped at each rate of `interchange`.
    `ablation_pairs`: pairs of `fit` and of `report` on which the same nodes are calibrated and
    measured under other ablations.
    `attack_pairs`: pairs of `report` whose prompts are attacked; `attack_draws`: outcomes of each
    kind of change for a pair; `swap_rounds`, `swap_tries`: steps of the gradient-guided exchange
    of names, and how many exchanges are run in each. `exhaustive_limit`: prompts in a finite
    domain that is gone through whole.

    `restore_rates`: shares of the cut nodes that are restored at random, besides none and all,
    `restore_draws` times each. `needed_nodes`: how many nodes of the circuit are cut
    from the whole model, one at a time; more only while it needs every one. `budgets`: how many
    nodes an adversary may restore; it takes `adversary_steps` gradient steps from each of
    `adversary_restarts` starts and tries `adversary_tries` exchanges for every budget.

    `test_draws`: random circuits of the tests of sufficiency and necessity; `padding_draws`,
    `edge_draws`: nodes and edges of padding that minimality compares with; more nodes, as many as
    the correction for all tests asks for, while they are at most `padding_most` different ones;
    `edge_tests`: edges tested for it; `flips`: random sign flips and swaps. `least_share`,
    `least_harm`: up to what share of the margin, and nats of calibrated two-sided loss, the removal
    of a part is no harm.
    `equivalence_margin`: how far from 1/2 the share of prompts may be on which the circuit's margin
    is the larger one; margins that differ by at most `equivalence_zone` of the model's mean size
    are tied, half a share. `alpha`: level of the tests after correction.

    `null_controls`: what the circuit's search is tried on in vain: the null tasks `nonsense`,
    `shuffled`, `constant`, `inverted`, and `random_weights`; each is given up after `null_steps`
    gate steps if the loss is still near chance. `matched_draws`: random circuits whose loss is
    told. `stability_runs`: searches made again; each takes as long as the first.
    """

    draws: int = Field(200, ge=1)
    pairs: int = Field(32, ge=1)
    interchange_draws: int = Field(2, ge=1)
    ablation_pairs: int = Field(128, ge=1)
    attack_pairs: int = Field(20, ge=1)
    attack_draws: int = Field(3, ge=1)
    swap_rounds: int = Field(2, ge=1)
    swap_tries: int = Field(6, ge=1)
    exhaustive_limit: int = Field(4096, ge=2, le=8192)
    restore_rates: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.1, 0.25, 0.5, 0.75, 0.9), min_length=1
    )
    restore_draws: int = Field(18, ge=1)
    needed_nodes: int = Field(32, ge=1)
    budgets: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 4, 16, 64), min_length=1)
    adversary_restarts: int = Field(4, ge=1)
    adversary_steps: int = Field(3, ge=1)
    adversary_tries: int = Field(16, ge=0)
    test_draws: int = Field(99, ge=1)
    padding_draws: int = Field(99, ge=1)
    padding_most: int = Field(299, ge=1)
    edge_draws: int = Field(29, ge=1)
    edge_tests: int = Field(64, ge=0)
    flips: int = Field(2000, ge=1)
    least_share: float = Field(0.001, ge=0)
    least_harm: float = Field(0.002, ge=0)
    equivalence_margin: float = Field(0.1, gt=0, lt=0.5)
    equivalence_zone: float = Field(0.2, ge=0.001)
    alpha: float = Field(0.05, gt=0, lt=1)
    null_controls: tuple[
        Literal["nonsense", "shuffled", "constant", "inverted", "random_weights"], ...
    ] = ("nonsense", "shuffled", "constant", "inverted", "random_weights")
    null_steps: int = Field(200, ge=1)
    matched_draws: int = Field(20, ge=1)
    stability_runs: int = Field(3, ge=1)

    @classmethod
    def quick(cls) -> Self:
        """Fewer draws and a hastier adversary, for the groups of the quick report."""
        return cls(
            restore_draws=10, needed_nodes=16, budgets=(1, 4), adversary_restarts=2,
            adversary_tries=8,
        )  # fmt: skip
