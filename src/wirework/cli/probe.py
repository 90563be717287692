"""`wirework probe`: features in the activations of any model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from wirework.cli.options import JSON, RESUME, SEED
from wirework.cli.session import Session, session, settle_process
from wirework.core import WireworkError

if TYPE_CHECKING:
    from wirework.probing import Activations, LabelledTokens, NeuronScore, Scan, StoredProbe

probe = typer.Typer(no_args_is_help=True, help="Find features in the activations of any model.")

MODEL = Annotated[
    str, typer.Argument(help="A run, RUN@STEP, a checkpoint folder, or hf:FOLDER_OR_NAME.")
]
FEATURES = Annotated[
    str, typer.Option("--features", help="A feature set, or a JSONL file of your own labels.")
]
TEXT = Annotated[str, typer.Option(help="python-stdlib, a file, folder, glob or table.")]
MAX_BYTES = Annotated[int, typer.Option(min=1000, help="At most so much text.")]
TOKENS = Annotated[int, typer.Option(min=100, help="Tokens whose activations are taken.")]
SITES = Annotated[
    list[str] | None,
    typer.Option("--site", help="A site, or an ending such as mlp.neuron; may be repeated."),
]
FOLDER = Annotated[
    Path | None, typer.Option("--activations", help="Keep the activations in this folder.")
]
MAX_DISK = Annotated[float | None, typer.Option(min=0, help="Gigabytes that activations may take.")]
STORE = Annotated[Path, typer.Argument(help="A file of fitted probes.")]


@probe.command("scan")
def scan_command(
    model: MODEL,
    features: FEATURES = "python",
    text: TEXT = "python-stdlib",
    max_bytes: MAX_BYTES = 1_000_000,
    tokens: TOKENS = 100_000,
    sites: SITES = None,
    least: Annotated[
        int, typer.Option(min=2, help="Positives a feature needs in training and in test text.")
    ] = 50,
    folder: FOLDER = None,
    max_disk: MAX_DISK = None,
    resume: RESUME = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write all scores as JSON.")] = None,
    seed: SEED = 0,
    as_json: JSON = False,
) -> None:
    """The best single neuron for every feature, scored on held-out documents.

    Example: wirework probe scan reference/v1-sparse --out scan.json
    """
    with session(as_json) as run, _folder(folder) as place:
        settle_process()
        from wirework.core.files import write_json
        from wirework.probing import scan

        labelled, activations = _collected(
            run, model, features, text, max_bytes, tokens, sites, place, max_disk, resume, seed
        )
        found = scan(
            activations, labelled, rows=activations.rows, least=least, seed=seed,
            start=run.progress,
        )  # fmt: skip
        value = {
            "model": model,
            "features": features,
            "tokens": len(activations),
            **found.to_json(),
        }
        if out is not None:
            write_json(out, value)
        run.show(_scan_table(found), value)
        if found.left_out:
            run.tell(f"{len(found.left_out)} features with too few tokens left out (--json)")


@probe.command("fit")
def fit_command(
    model: MODEL,
    feature: Annotated[list[str], typer.Argument(help="Features of the set.")],
    features: FEATURES = "python",
    text: TEXT = "python-stdlib",
    max_bytes: MAX_BYTES = 1_000_000,
    tokens: TOKENS = 100_000,
    sites: SITES = None,
    k: Annotated[list[int] | None, typer.Option("-k", "--k", min=1, help="Neurons.")] = None,
    method: Annotated[str, typer.Option(help="How neurons are chosen.")] = "optimal",
    least: Annotated[int, typer.Option(min=2, help="Positives needed in training text.")] = 500,
    folder: FOLDER = None,
    max_disk: MAX_DISK = None,
    resume: RESUME = False,
    out: Annotated[Path | None, typer.Option("--out", help="Add the probes to this file.")] = None,
    seed: SEED = 0,
    as_json: JSON = False,
) -> None:
    """Fit k-sparse probes at every site, score them on held-out documents, store them.

    Example: wirework probe fit reference/v1-sparse is_comma -k 1 -k 4 --out probes.safetensors
    """
    with session(as_json) as run, _folder(folder) as place:
        settle_process()
        from wirework.probing import ProbeStore, SparseProbe, fit_probe

        store = ProbeStore.load(out) if out is not None and out.exists() else ProbeStore()
        labelled, activations = _collected(
            run, model, features, text, max_bytes, tokens, sites, place, max_disk, resume, seed,
            wanted=feature,
        )  # fmt: skip
        asked = [(f, n, site) for f in feature for n in k or [1] for site in activations.sites]
        fitted = []
        with run.progress("probes", len(asked)) as progress:
            for name, count, site in asked:
                estimator = SparseProbe(count, method, allow_constant=True, seed=seed)
                fitted.append(
                    fit_probe(activations, labelled, name, site, estimator, least=least, seed=seed)
                )
                progress.advance(f1=fitted[-1].scores["f1"])
        if out is not None:
            store.add(fitted).save(out)
        run.show(_probe_table(fitted), [found.plain() for found in fitted])


@probe.command("investigate")
def investigate_command(
    model: MODEL,
    feature: Annotated[str, typer.Argument(help="A feature of the set.")],
    neuron: Annotated[
        str | None, typer.Option(help="SITE:INDEX. Default: the best one that a scan finds.")
    ] = None,
    features: FEATURES = "python",
    text: TEXT = "python-stdlib",
    max_bytes: MAX_BYTES = 1_000_000,
    tokens: TOKENS = 50_000,
    sites: SITES = None,
    folder: FOLDER = None,
    max_disk: MAX_DISK = None,
    resume: RESUME = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the report as JSON.")] = None,
    seed: SEED = 0,
    as_json: JSON = False,
) -> None:
    """What a neuron is worth: ablation, confounders, other features, rotations, pruning.

    Example: wirework probe investigate reference/v1-sparse is_string_lexeme --out report.json
    """
    with session(as_json) as run, _folder(folder) as place:
        settle_process()
        from wirework.core import Node
        from wirework.probing import ProbedModel, investigate, scan

        asked = Node.parse(neuron) if neuron is not None else None
        labelled, activations = _collected(
            run, model, features, text, max_bytes, tokens,
            sites if asked is None else [str(asked.site)], place, max_disk, resume, seed,
            wanted=[feature],
        )  # fmt: skip
        rows = activations.rows
        if asked is None:
            alone = labelled.only([feature])
            found = scan(activations, alone, rows=rows, controls=(), seed=seed)
            chosen: NeuronScore | tuple[str, int] = found.best[feature]
        else:
            chosen = (str(asked.site), asked.index)
        probed = ProbedModel.load(model, head=True)
        report = investigate(
            feature, chosen, activations, labelled, source=probed.source, text_of=probed.text_of,
            rows=rows, seed=seed, start=run.progress,
        )  # fmt: skip
        if out is not None:
            report.save(out)
        run.show(str(report), report.to_json())


@probe.command("features")
def features_command(
    features: Annotated[
        str | None, typer.Argument(metavar="[SET]", help="A feature set; default: all their names.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """The features of a set: what each means, how common it is in the standard library."""
    with session(as_json) as run:
        from wirework.probing import FEATURE_SETS, data_cards, feature_set

        if features is None:
            run.show("\n".join(FEATURE_SETS), list(FEATURE_SETS))
            return
        cards = data_cards(feature_set(features))
        table = Table("feature", "base rate", "definition", box=None)
        for card in cards:
            rate = card["base_rate"]
            shown = "-" if rate is None else f"{rate['rate']:.2%}"
            table.add_row(card["name"], shown, card["what"])
        run.show(table, cards)


@probe.command("list")
def list_command(
    store: STORE,
    feature: Annotated[str | None, typer.Option(help="Only this feature; * and ? match.")] = None,
    site: Annotated[str | None, typer.Option(help="Only this site; * and ? match.")] = None,
    as_json: JSON = False,
) -> None:
    """The probes of a file with their held-out scores."""
    with session(as_json) as run:
        from wirework.probing import ProbeStore

        found = list(ProbeStore.load(store).select(feature=feature, site=site))
        run.show(_probe_table(found), [each.plain() for each in found])


@probe.command("show")
def show_command(
    store: STORE,
    probe_id: Annotated[str, typer.Argument(help="The id that `list` gives, or its beginning.")],
    as_json: JSON = False,
) -> None:
    """One probe: its neurons, weights and scores."""
    with session(as_json) as run:
        from wirework.probing import ProbeStore

        found = ProbeStore.load(store).get(probe_id)
        table = Table("neuron", title=f"{found.feature} at {found.site} ({found.method})", box=None,
                      title_justify="left")  # fmt: skip
        table.add_column("weight", justify="right")
        for node, weight in zip(found.nodes, found.weights, strict=True):
            table.add_row(node, f"{weight:+.4g}")
        table.add_row("bias", f"{found.bias:+.4g}")
        for name, value in found.scores.items():
            table.add_row(name.replace("_", " "), f"{value:.3f}")
        run.show(table, {"id": found.id, **found.plain()})


@probe.command("apply")
def apply_command(
    store: STORE,
    model: MODEL,
    text: Annotated[str, typer.Argument(help="The text itself, or @FILE.")],
    feature: Annotated[str | None, typer.Option(help="Only this feature; * and ? match.")] = None,
    as_json: JSON = False,
) -> None:
    """Which features the probes see at which tokens of a text."""
    with session(as_json) as run:
        settle_process()
        from wirework.probing import ProbedModel, ProbeStore

        probes = ProbeStore.load(store).select(feature=feature)
        probed = ProbedModel.load(model)
        tokens, texts = probed.tokens(_text(text))
        scores = probes.watch(probed.source)(tokens[None])[0]
        value = [
            {"token": piece, "scores": dict(zip([p.id for p in probes], row.tolist(), strict=True))}
            for piece, row in zip(texts, scores, strict=True)
        ]
        table = Table("token", "features seen", box=None)
        for piece, row in zip(texts, scores, strict=True):
            seen = [p for p, s in zip(probes, row, strict=True) if s > (p.threshold or 0)]
            names = dict.fromkeys(each.feature for each in seen)
            table.add_row(repr(piece), ", ".join(names))
        run.show(table, value)


def _text(value: str) -> str:
    """The text itself, or that of a file."""
    if not value.startswith("@"):
        return value
    path = Path(value[1:])
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WireworkError(
            "text-unreadable", f"the text of {path} cannot be read",
            expected="a file in UTF-8 behind the @", got=str(error),
        ) from None  # fmt: skip


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    """The folder for activations; where none is named, one that is gone afterwards."""
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="wirework-") as scratch:
        yield Path(scratch) / "activations"


def _collected(
    run: Session, model: str, features: str, text: str, max_bytes: int, tokens: int,
    sites: list[str] | None, place: Path, max_disk: float | None, resume: bool, seed: int,
    wanted: Sequence[str] = (),
) -> tuple[LabelledTokens, Activations]:  # fmt: skip
    from wirework.probing import ProbedModel, feature_set, label_tokens, read_labels

    own = read_labels(Path(features)) if features.endswith(".jsonl") else None
    asked = feature_set(features) if own is None else own.feature_set
    for name in wanted:
        asked.index(name)
    probed = ProbedModel.load(model)
    if own is None:
        labelled = probed.label(asked, text, max_bytes, run.progress)
    else:
        labelled = label_tokens(own.documents, probed.cut, asked, start=run.progress)
    activations = probed.collect(
        labelled, sites or ["mlp.neuron"], place, tokens=tokens, seed=seed, resume=resume,
        max_disk=None if max_disk is None else int(max_disk * 1e9), start=run.progress,
    )  # fmt: skip
    return labelled, activations


def _scan_table(found: Scan) -> Table:
    table = Table(title="Best single neuron on held-out documents; beside F1 that of shuffled\n"
                  "labels and of random directions", title_justify="left", box=None)  # fmt: skip
    for name in ("feature", "neuron"):
        table.add_column(name, no_wrap=True)
    for name in ("F1", "95%", "shuffled", "random", "prec.", "recall"):
        table.add_column(name, justify="right", no_wrap=True)
    for score in sorted(found.best.values(), key=lambda score: -score.f1):
        controls = [_control(found.controls, name, score) for name in ("shuffled", "random")]
        table.add_row(
            score.feature, f"{score.site}:{score.neuron}", f"{score.f1:.3f}",
            f"{score.low:.2f}-{score.high:.2f}", *controls, f"{score.precision:.2f}",
            f"{score.recall:.2f}",
        )  # fmt: skip
    return table


def _control(
    controls: Mapping[str, Mapping[str, NeuronScore]], name: str, score: NeuronScore
) -> str:
    return f"{controls[name][score.feature].f1:.2f}" if name in controls else "-"


def _probe_table(probes: list[StoredProbe]) -> Table:
    table = Table("id", "feature", "site", box=None)
    for name in ("k", "F1", "precision", "recall", "balanced acc."):
        table.add_column(name, justify="right")
    for each in probes:
        scores: dict[str, Any] = dict(each.scores)
        numbers = (scores.get(n) for n in ("f1", "precision", "recall", "balanced_accuracy"))
        cells = ("-" if number is None else f"{number:.3f}" for number in numbers)
        table.add_row(each.id, each.feature, each.site, str(each.k), *cells)
    return table
