"""How much is asked of a validation: numbers of draws, pairs, budgets."""

from __future__ import annotations

from pydantic import Field

from wirework.core import Config


class ValidationConfig(Config):
    """The sizes of all groups of tests.

    `draws`: random circuits for `sufficiency` and `necessity`. `pairs`: pairs of `report` on
    which tests that run many circuits are measured; one run costs a whole forward pass.
    """

    draws: int = Field(200, ge=1)
    pairs: int = Field(32, ge=1)
