"""Models you can read: train sparse transformers, find circuits, test them, look at them.

Public names are loaded when first used, so that `import wirework` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wirework.circuit import Circuit as Circuit
    from wirework.core import Edge as Edge
    from wirework.core import Node as Node
    from wirework.core import Report as Report
    from wirework.core import Site as Site
    from wirework.core import WireworkError as WireworkError
    from wirework.discovery import DiscoveryConfig as DiscoveryConfig
    from wirework.discovery import discover as discover
    from wirework.discovery import take_circuit as take_circuit
    from wirework.discovery.compare import compare_rankings as compare_rankings
    from wirework.discovery.frontier import frontier as frontier
    from wirework.discovery.sweep import sweep as sweep
    from wirework.discovery.sweep_config import SweepConfig as SweepConfig
    from wirework.model import Checkpoint as Checkpoint
    from wirework.tasks import Task as Task
    from wirework.tasks import load_task as task
    from wirework.training import TrainConfig as TrainConfig
    from wirework.training import load_checkpoint as load
    from wirework.training import preset as preset
    from wirework.training import train as train
    from wirework.validation import ValidationConfig as ValidationConfig
    from wirework.validation import validate as validate
    from wirework.viewer import show as show
    from wirework.viewer import view as view

_WHERE = {
    "Checkpoint": ("model", "Checkpoint"),
    "Circuit": ("circuit", "Circuit"),
    "DiscoveryConfig": ("discovery", "DiscoveryConfig"),
    "Edge": ("core", "Edge"),
    "Node": ("core", "Node"),
    "Report": ("core", "Report"),
    "Site": ("core", "Site"),
    "SweepConfig": ("discovery.sweep_config", "SweepConfig"),
    "Task": ("tasks", "Task"),
    "TrainConfig": ("training", "TrainConfig"),
    "ValidationConfig": ("validation", "ValidationConfig"),
    "WireworkError": ("core", "WireworkError"),
    "compare_rankings": ("discovery.compare", "compare_rankings"),
    "discover": ("discovery", "discover"),
    "frontier": ("discovery.frontier", "frontier"),
    "load": ("training", "load_checkpoint"),
    "preset": ("training", "preset"),
    "sweep": ("discovery.sweep", "sweep"),
    "take_circuit": ("discovery", "take_circuit"),
    "task": ("tasks", "load_task"),
    "train": ("training", "train"),
    "validate": ("validation", "validate"),
    "show": ("viewer", "show"),
    "view": ("viewer", "view"),
}

__all__ = [
    "Checkpoint",
    "Circuit",
    "DiscoveryConfig",
    "Edge",
    "Node",
    "Report",
    "Site",
    "SweepConfig",
    "Task",
    "TrainConfig",
    "ValidationConfig",
    "WireworkError",
    "compare_rankings",
    "discover",
    "frontier",
    "load",
    "preset",
    "show",
    "sweep",
    "take_circuit",
    "task",
    "train",
    "validate",
    "view",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    package, attribute = _WHERE[name]
    return getattr(importlib.import_module(f"wirework.{package}"), attribute)


def __dir__() -> list[str]:
    return __all__
