"""Whether a circuit really carries its task: fit, controls, exactness, a verdict."""

from wirework.validation.validate import BARS as BARS
from wirework.validation.validate import validate as validate
