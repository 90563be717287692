"""How a circuit was searched for, so that another search can be made alike."""

from __future__ import annotations

from wirework.ablation import AblationConfig
from wirework.circuit import Circuit
from wirework.discovery import DiscoveryConfig


def recipe_of(circuit: Circuit) -> DiscoveryConfig:
    """The configuration stored in the circuit; the default one with the circuit's ablation and
    target where it stores none. Raises what `DiscoveryConfig.parse` raises."""
    stored = circuit.recipe.get("discovery")
    if stored is not None:
        return DiscoveryConfig.parse(dict(stored), "the recipe of the circuit")
    config = DiscoveryConfig(ablation=AblationConfig.of_name(circuit.ablation))
    target = circuit.losses.get("target_loss", config.target_loss)
    return config.replace(target_loss=target)
