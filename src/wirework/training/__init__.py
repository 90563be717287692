"""Training runs: configuration, presets, the loop, evaluation, opening what was trained."""

from wirework.training.config import TrainConfig as TrainConfig
from wirework.training.evaluate import evaluate as evaluate
from wirework.training.evaluate import nonzeros as nonzeros
from wirework.training.loop import train as train
from wirework.training.presets import PRESETS as PRESETS
from wirework.training.presets import preset as preset
from wirework.training.presets import preset_names as preset_names
from wirework.training.runs import load_checkpoint as load_checkpoint
from wirework.training.runs import run_config as run_config
