"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

JSON = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of text.")]
RESUME = Annotated[
    bool, typer.Option("--resume", help="Go on with what an interrupted run has saved.")
]
SETTINGS = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated."),
]
SEED = Annotated[int, typer.Option(help="Seed of every random choice.")]
