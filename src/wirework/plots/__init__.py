"""Pictures from plain arrays and reports; matplotlib is imported when one is drawn."""

from wirework.plots.frontier import FrontierPoint as FrontierPoint
from wirework.plots.frontier import SizeBand as SizeBand
from wirework.plots.frontier import draw_frontier as draw_frontier
from wirework.plots.frontier import draw_sizes_at_losses as draw_sizes_at_losses
from wirework.plots.overlap import draw_overlap as draw_overlap
from wirework.plots.probing import F1Line as F1Line
from wirework.plots.probing import TopToken as TopToken
from wirework.plots.probing import draw_f1_by_site as draw_f1_by_site
from wirework.plots.probing import draw_feature_map as draw_feature_map
from wirework.plots.probing import draw_neuron as draw_neuron
from wirework.plots.size_loss import SizeLoss as SizeLoss
from wirework.plots.size_loss import draw_size_loss as draw_size_loss
from wirework.plots.size_loss import draw_size_loss_grid as draw_size_loss_grid
from wirework.plots.style import picture_kind as picture_kind
from wirework.plots.task_bars import Bar as Bar
from wirework.plots.task_bars import draw_task_bars as draw_task_bars
from wirework.plots.training import draw_training as draw_training
from wirework.plots.validation import badge as badge
from wirework.plots.validation import draw_validation as draw_validation
