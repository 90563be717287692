"""Circuits as plain data: taken out of a model, run alone, compared, stored in one file."""

from wirework.circuit.circuit import Calibration as Calibration
from wirework.circuit.circuit import Circuit as Circuit
from wirework.circuit.cut import cut_edges as cut_edges
from wirework.circuit.cut import without_edges as without_edges
from wirework.circuit.cut import without_node as without_node
from wirework.circuit.extract import extract as extract
from wirework.circuit.graph import Nodes as Nodes
from wirework.circuit.graph import Sizes as Sizes
from wirework.circuit.graph import Subgraph as Subgraph
from wirework.circuit.graph import between as between
from wirework.circuit.graph import edges as edges
from wirework.circuit.graph import every_node as every_node
from wirework.circuit.graph import off_path as off_path
from wirework.circuit.graph import on_path as on_path
from wirework.circuit.graph import sizes as sizes
from wirework.circuit.graph import unlinked as unlinked
from wirework.circuit.groups import Group as Group
from wirework.circuit.groups import Groups as Groups
