"""Whether a circuit really carries its task: groups of tests, a verdict."""

from wirework.validation.config import ValidationConfig as ValidationConfig
from wirework.validation.groups import GROUPS as GROUPS
from wirework.validation.validate import validate as validate
from wirework.validation.verdict import RULES as RULES
from wirework.validation.verdict import Verdict as Verdict
from wirework.validation.verdict import verdict_of as verdict_of
