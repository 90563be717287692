"""What the searches of `wirework probe` read: options, model, labels and activations."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from wirework.cli.options import RESUME, SEED
from wirework.cli.session import Session

if TYPE_CHECKING:
    from wirework.probing import Activations, FeatureSet, LabelledTexts, LabelledTokens, ProbedModel

MODEL = Annotated[
    str, typer.Argument(help="A run, RUN@STEP, a checkpoint folder, or hf:FOLDER_OR_NAME.")
]
FEATURES = Annotated[
    str,
    typer.Option(
        "--features", help="A feature set, several as A+B, or a JSONL file of your own labels."
    ),
]
TEXT = Annotated[str, typer.Option(help="python-stdlib, a file, folder, glob or table.")]
MAX_BYTES = Annotated[int, typer.Option(min=1000, help="At most so much text.")]
TOKENS = Annotated[int, typer.Option(min=100, help="Tokens whose activations are taken.")]
OUT = Annotated[Path | None, typer.Option("--out", help="Write all figures as JSON.")]
PLOT = Annotated[Path | None, typer.Option("--plot", help="Draw them: a .png or .svg file.")]


@dataclass(frozen=True)
class Reading:
    """The options that `scan`, `fit` and `investigate` share."""

    model: MODEL
    features: FEATURES = "python"
    text: TEXT = "python-stdlib"
    max_bytes: MAX_BYTES = 1_000_000
    sites: Annotated[
        list[str] | None,
        typer.Option("--site", help="A site, or an ending such as mlp.neuron; may be repeated."),
    ] = None
    folder: Annotated[
        Path | None, typer.Option("--activations", help="Keep the activations in this folder.")
    ] = None
    max_disk: Annotated[
        float | None, typer.Option(min=0, help="Gigabytes that activations may take.")
    ] = None
    resume: RESUME = False
    seed: SEED = 0

    @contextmanager
    def opened(
        self, run: Session, wanted: Sequence[str] = (), *, head: bool = False
    ) -> Iterator[Opened]:
        """Model, features and sites, whose names are looked up before any work; `wanted`: names of
        features. The activations are gone afterwards, but for those in a folder with a name."""
        from wirework.probing import ProbedModel, feature_set, read_labels

        own = read_labels(Path(self.features)) if self.features.endswith(".jsonl") else None
        asked = feature_set(self.features) if own is None else own.feature_set
        for name in wanted:
            asked.index(name)
        probed = ProbedModel.load(self.model, head=head)
        sites = probed.sites(self.sites or ["mlp.neuron"])
        if self.folder is not None:
            yield Opened(self, run, probed, sites, asked, own, self.folder)
            return
        with tempfile.TemporaryDirectory(prefix="wirework-") as scratch:
            place = Path(scratch) / "activations"
            yield Opened(self, run, probed, sites, asked, own, place)


@dataclass(frozen=True)
class Opened:
    """A model and the features that it is asked for at some sites."""

    reading: Reading
    run: Session
    probed: ProbedModel
    sites: tuple[str, ...]
    features: FeatureSet
    own: LabelledTexts | None
    place: Path

    def collect(
        self, tokens: int, sites: Sequence[str] | None = None
    ) -> tuple[LabelledTokens, Activations]:
        """Labels of the text, and activations of at most so many tokens of it."""
        from wirework.probing import label_tokens

        reading, start = self.reading, self.run.progress
        if self.own is None:
            labelled = self.probed.label(self.features, reading.text, reading.max_bytes, start)
        else:
            labelled = label_tokens(self.own.documents, self.probed.cut, self.features, start=start)
        disk = None if reading.max_disk is None else int(reading.max_disk * 1e9)
        activations = self.probed.collect(
            labelled, sites or self.sites, self.place, tokens=tokens, seed=reading.seed,
            resume=reading.resume, max_disk=disk, start=start,
        )  # fmt: skip
        return labelled, activations


def reads(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is a `Reading` takes that one's options in its place."""
    known = get_type_hints(Reading, include_extras=True)
    shared = [
        Parameter(
            each.name, Parameter.KEYWORD_ONLY, annotation=known[each.name],
            default=Parameter.empty if each.default is MISSING else each.default,
        )
        for each in fields(Reading)
    ]  # fmt: skip
    own = list(signature(command, eval_str=True).parameters.values())[1:]

    @wraps(command)
    def expanded(**given: Any) -> None:
        command(Reading(**{each.name: given.pop(each.name) for each in fields(Reading)}), **given)

    parameters = [*shared, *(each.replace(kind=Parameter.KEYWORD_ONLY) for each in own)]
    vars(expanded)["__signature__"] = Signature(parameters)
    return expanded
