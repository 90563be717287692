"""Circuits as plain data: taken out of a model, run alone, compared, stored in one file."""

from wirework.circuit.circuit import Calibration as Calibration
from wirework.circuit.circuit import Circuit as Circuit
from wirework.circuit.extract import extract as extract
from wirework.circuit.graph import Nodes as Nodes
from wirework.circuit.graph import Sizes as Sizes
from wirework.circuit.graph import Subgraph as Subgraph
from wirework.circuit.graph import edges as edges
from wirework.circuit.graph import off_path as off_path
from wirework.circuit.graph import on_path as on_path
from wirework.circuit.graph import sizes as sizes
