"""What the nodes of a circuit stand for: examples of text, direct effects."""

from wirework.explain.effects import node_effects as node_effects
from wirework.explain.evidence import Evidence as Evidence
from wirework.explain.evidence import Example as Example
from wirework.explain.evidence import NodeEvidence as NodeEvidence
from wirework.explain.evidence import evidence_path as evidence_path
from wirework.explain.examples import top_examples as top_examples
