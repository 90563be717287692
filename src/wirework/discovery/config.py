"""What a search for a circuit may be told."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from wirework.ablation import AblationConfig
from wirework.core import Config


class DiscoveryConfig(Config):
    """Gate training and discretisation (weight_sparse_paper.md §4, Table 2 search centres).

    `target_loss`: two-sided task loss in nats on `select`. `faithfulness`: least share of the full
    model's margin that the circuit must keep there (design §4), so that a fitted scale cannot
    stand in for nodes; somewhat more than is asked of the circuit on unseen prompts; 0 asks for
    nothing (published). `coefficient`: loss per open node, rising from 0 over the first `ramp` of
    the steps (published: constant). `retries`: how often it is halved and gates are trained anew
    where the open ones miss the target by far (published: none). `batch`: pairs in a step.
    `calibrate`: `during` learns scale and shift with the gates, at `calibration_lr`, and fits them
    for every candidate (on `calibration_pairs` pairs of `fit`); `after` does so only for the
    chosen one (published).
    `clean_up`: cut nodes that the target can spare after discretisation, by their exact effect on
    `price_pairs` pairs, until `tries` in a row must stay (published: by hand).
    `every_template`: the target must be met on the prompts of each template, not only in the mean
    (published), but where the full model itself misses it there.
    `ablation`: what cut nodes are held at. `edges`: after the nodes, train gates on the weights
    between kept nodes, for `edge_steps` steps at `edge_coefficient` loss per open edge.
    `shut_below`: a gate whose number falls so low by the next look, every `look_every` steps,
    stays shut, and its node leaves the computation; -1 (published) shuts none. `patience`: stop
    training after so many steps in which loss + `coefficient` x open gates did not fall; 0 never
    stops early. `give_up`: stop after so many steps if the loss, with what exceeds the limits,
    has not come half the way from chance (ln 2) to the target; 0 never does. `restore`:
    what the circuit should bear. `none` (published) trains with every other node cut; otherwise
    each step counts the mean of that loss and the one with some closed nodes restored: `random`,
    each with a probability drawn evenly between 0 and `restore_rate` at every step, or
    `adversarial`, the `restore_budget` nodes whose gates raise the loss fastest. A candidate must
    then meet the target with nodes restored as well, in the mean of random draws or with the worst
    that a short search finds, before calibration. `attention`: highest distance of its heads'
    attention from the whole model's, in the mean over prompts and heads
    (`ablation.attention_distance`); 1 (published) allows everything.
    """

    target_loss: float = Field(0.15, gt=0)
    faithfulness: float = Field(0.95, ge=0)
    steps: int = Field(1000, ge=1)
    batch: int = Field(32, ge=1)
    coefficient: float = Field(2e-3, ge=0)
    ramp: float = Field(0.2, ge=0, le=1)
    lr: float = Field(3e-3, gt=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.95, ge=0, lt=1)
    weight_decay: float = Field(1e-3, ge=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    clip_rms: float = Field(1.0, gt=0)
    init_bias: float = 0.1
    init_noise: float = Field(0.01, ge=0)
    temperature: float = Field(1.0, gt=0)
    calibrate: Literal["during", "after"] = "during"
    calibration_lr: float = Field(0.015, gt=0)
    calibration_pairs: int = Field(128, ge=1)
    retries: int = Field(2, ge=0)
    every_template: bool = True
    clean_up: bool = True
    price_pairs: int = Field(32, ge=1)
    tries: int = Field(12, ge=1)
    ablation: AblationConfig = AblationConfig()
    edges: bool = False
    edge_steps: int = Field(400, ge=1)
    edge_coefficient: float = Field(3e-3, ge=0)
    shut_below: float = Field(-0.3, ge=-1, le=0)
    look_every: int = Field(50, ge=1)
    patience: int = Field(150, ge=0)
    give_up: int = Field(0, ge=0)
    restore: Literal["none", "random", "adversarial"] = "none"
    restore_rate: float = Field(1.0, gt=0, le=1)
    restore_budget: int = Field(16, ge=1)
    attention: float = Field(0.19, gt=0, le=1)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"

    def gate_options(self, seed: int) -> dict[str, Any]:
        """How gates start and open, as `GateSet` takes it."""
        return {
            "bias": self.init_bias,
            "noise": self.init_noise,
            "temperature": self.temperature,
            "seed": seed,
        }
