"""Whether a circuit really carries its task: groups of tests, a verdict."""

from wirework.validation.config import ValidationConfig as ValidationConfig
from wirework.validation.groups import GROUPS as GROUPS
from wirework.validation.validate import BARS as BARS
from wirework.validation.validate import validate as validate
