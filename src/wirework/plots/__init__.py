"""Pictures from plain arrays and reports; matplotlib is imported when one is drawn."""

from wirework.plots.training import draw_training as draw_training
