"""A model on a task, and what is left of it when nodes are cut."""

from wirework.ablation.calibrate import calibrate as calibrate
from wirework.ablation.gates import Keep as Keep
from wirework.ablation.gates import NodeGates as NodeGates
from wirework.ablation.gates import keep_of as keep_of
from wirework.ablation.gates import keep_taps as keep_taps
from wirework.ablation.gates import kept_nodes as kept_nodes
from wirework.ablation.gates import site_gates as site_gates
from wirework.ablation.lone import lone_margins as lone_margins
from wirework.ablation.lone import require_answers as require_answers
from wirework.ablation.match import MEAN_PRETRAINING as MEAN_PRETRAINING
from wirework.ablation.match import require_model_of as require_model_of
from wirework.ablation.score import PromptTensors as PromptTensors
from wirework.ablation.score import TaskScore as TaskScore
from wirework.ablation.score import all_margins as all_margins
from wirework.ablation.score import calibrated as calibrated
from wirework.ablation.score import frozen as frozen
from wirework.ablation.score import margins as margins
from wirework.ablation.score import score as score
from wirework.ablation.score import score_of as score_of
from wirework.ablation.score import two_sided_loss as two_sided_loss
