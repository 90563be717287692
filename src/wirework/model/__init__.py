"""The torch transformer, its taps, its checkpoint folder."""

from wirework.model.checkpoint import Checkpoint as Checkpoint
from wirework.model.compress import sparse as sparse
from wirework.model.config import ModelConfig as ModelConfig
from wirework.model.means import reference_means as reference_means
from wirework.model.taps import Taps as Taps
from wirework.model.transformer import ProjectedMatrix as ProjectedMatrix
from wirework.model.transformer import Transformer as Transformer
