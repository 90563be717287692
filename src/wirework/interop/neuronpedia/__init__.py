"""Attribution graphs as Neuronpedia and circuit-tracer show them: written, checked, read back.

What is known of the format: circuit_tools.md §4.1; what numbers mean here: docs/exchange.md.
"""

from wirework.interop.neuronpedia.check import check_graph as check_graph
from wirework.interop.neuronpedia.check import check_graph_file as check_graph_file
from wirework.interop.neuronpedia.direct import DirectEffects as DirectEffects
from wirework.interop.neuronpedia.direct import direct_effects as direct_effects
from wirework.interop.neuronpedia.features import feature_details as feature_details
from wirework.interop.neuronpedia.folder import address as address
from wirework.interop.neuronpedia.folder import write_graph_folder as write_graph_folder
from wirework.interop.neuronpedia.graph import GraphConfig as GraphConfig
from wirework.interop.neuronpedia.graph import attribution_graph as attribution_graph
from wirework.interop.neuronpedia.graph import graph_text as graph_text
from wirework.interop.neuronpedia.groups import ReadGroups as ReadGroups
from wirework.interop.neuronpedia.groups import read_groups as read_groups
from wirework.interop.neuronpedia.schema import feature_schema as feature_schema
from wirework.interop.neuronpedia.schema import graph_schema as graph_schema
