"""What the parts of a circuit do: examples, exact effects, attention scores, labels, predicates."""

from wirework.explain.effects import EdgeEffect as EdgeEffect
from wirework.explain.effects import edge_effects as edge_effects
from wirework.explain.effects import node_effects as node_effects
from wirework.explain.evidence import Evidence as Evidence
from wirework.explain.evidence import Example as Example
from wirework.explain.evidence import NodeEvidence as NodeEvidence
from wirework.explain.evidence import evidence_path as evidence_path
from wirework.explain.examples import top_examples as top_examples
from wirework.explain.head_summary import HeadSummary as HeadSummary
from wirework.explain.head_summary import summarise_heads as summarise_heads
from wirework.explain.node_label import EffectShare as EffectShare
from wirework.explain.node_label import LabelScore as LabelScore
from wirework.explain.node_label import NodeLabel as NodeLabel
from wirework.explain.node_label import Term as Term
from wirework.explain.node_labels import label_nodes as label_nodes
from wirework.explain.query_key import ChannelParts as ChannelParts
from wirework.explain.query_key import HeadScores as HeadScores
from wirework.explain.query_key import explain_scores as explain_scores
from wirework.explain.query_key import heads as heads
from wirework.explain.weight_predicate import PredicateScore as PredicateScore
from wirework.explain.weight_predicate import WeightPredicate as WeightPredicate
from wirework.explain.weight_predicates import weight_predicates as weight_predicates
