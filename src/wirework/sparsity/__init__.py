"""Keeping weights sparse: projection, schedules, the optimizer step."""

from wirework.sparsity.optimizer import SparseAdamW as SparseAdamW
from wirework.sparsity.optimizer import SparsityConfig as SparsityConfig
from wirework.sparsity.projection import kept_count as kept_count
from wirework.sparsity.projection import project as project
from wirework.sparsity.projection import projection_factor as projection_factor
from wirework.sparsity.schedule import density_at as density_at
from wirework.sparsity.schedule import learning_rate_at as learning_rate_at
