"""`wirework probe`: features in the activations of any model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from wirework.cli.options import JSON
from wirework.cli.probe_reading import MODEL, OUT, PLOT, TOKENS, Reading, reads
from wirework.cli.session import require_targets, session, settle_process
from wirework.core import WireworkError
from wirework.core.strict_json import strict

if TYPE_CHECKING:
    from wirework.probing import NeuronScore

probe = typer.Typer(no_args_is_help=True, help="Find features in the activations of any model.")

STORE = Annotated[Path, typer.Argument(help="A file of fitted probes.")]


@probe.command("scan")
@reads
def scan_command(
    reading: Reading,
    tokens: TOKENS = 100_000,
    least: Annotated[
        int, typer.Option(min=2, help="Positives a feature needs in training and in test text.")
    ] = 50,
    out: OUT = None,
    plot: PLOT = None,
    as_json: JSON = False,
) -> None:
    """The best single neuron for every feature, scored on held-out documents.

    Example: wirework probe scan reference/v1-sparse --out scan.json --plot scan.svg
    """
    with session(as_json) as run:
        _settle(out, plot)
        with reading.opened(run) as opened:
            from wirework.probing import scan

            labelled, activations = opened.collect(tokens)
            found = scan(
                activations, labelled, rows=activations.rows, least=least, seed=reading.seed,
                start=run.progress,
            )  # fmt: skip
            value = {
                "model": reading.model,
                "features": reading.features,
                "tokens": len(activations),
                **found.to_json(),
            }
        from wirework.cli.probe_shown import draw_scan, scan_table
        from wirework.core.files import write_json

        run.show(scan_table(found), value)
        if found.left_out:
            run.tell(f"{len(found.left_out)} features with too few tokens left out (--json)")
        if out is not None:
            write_json(out, strict(value))
        if plot is not None:
            draw_scan(found, plot)


@probe.command("fit")
@reads
def fit_command(
    reading: Reading,
    feature: Annotated[list[str], typer.Argument(help="Features of the set.")],
    tokens: TOKENS = 100_000,
    k: Annotated[list[int] | None, typer.Option("-k", "--k", min=1, help="Neurons.")] = None,
    method: Annotated[str, typer.Option(help="How neurons are chosen.")] = "optimal",
    least: Annotated[int, typer.Option(min=2, help="Positives needed in training text.")] = 500,
    out: Annotated[Path | None, typer.Option("--out", help="Add the probes to this file.")] = None,
    plot: PLOT = None,
    as_json: JSON = False,
) -> None:
    """Fit k-sparse probes at every site, score them on held-out documents, store them.

    Example: wirework probe fit reference/v1-sparse is_comma -k 1 -k 4 --out probes.safetensors
    """
    with session(as_json) as run:
        _settle(out, plot)
        from wirework.cli.probe_shown import draw_fits, probe_table
        from wirework.probing import ProbeStore, SparseProbe, fit_probe

        store = ProbeStore.load(out) if out is not None and out.exists() else ProbeStore()
        with reading.opened(run, feature) as opened:
            probes = [
                SparseProbe(count, method, allow_constant=True, seed=reading.seed)
                for count in dict.fromkeys(k or [1])
            ]
            opened.probed.require_fit(probes, opened.sites)
            labelled, activations = opened.collect(tokens)
            asked = [(f, p, site) for f in feature for p in probes for site in activations.sites]
            fitted = []
            with run.progress("probes", len(asked)) as progress:
                for name, one, site in asked:
                    fitted.append(
                        fit_probe(
                            activations, labelled, name, site, one, least=least, seed=reading.seed
                        )
                    )
                    progress.advance(f1=fitted[-1].scores["f1"])
        run.show(probe_table(fitted), [found.plain() for found in fitted])
        if out is not None:
            store.add(fitted).save(out)
        if plot is not None:
            draw_fits(fitted, plot)


@probe.command("investigate")
@reads
def investigate_command(
    reading: Reading,
    feature: Annotated[str, typer.Argument(help="A feature of the set.")],
    neuron: Annotated[
        str | None, typer.Option(help="SITE:INDEX. Default: the best one that a scan finds.")
    ] = None,
    tokens: TOKENS = 50_000,
    out: OUT = None,
    plot: PLOT = None,
    as_json: JSON = False,
) -> None:
    """What a neuron is worth: ablation, confounders, other features, rotations, pruning.

    Example: wirework probe investigate reference/v1-sparse is_string_lexeme --plot neuron.svg
    """
    with session(as_json) as run:
        _settle(out, plot)
        from wirework.core import Node

        asked = None if neuron is None else Node.parse(neuron)
        with reading.opened(run, [feature], head=True) as opened:
            from wirework.probing import investigate, scan

            sites = None if asked is None else [str(asked.site)]
            if asked is not None:
                opened.probed.require_neuron(str(asked.site), asked.index)
            labelled, activations = opened.collect(tokens, sites)
            rows, seed = activations.rows, reading.seed
            if asked is None:
                alone = labelled.only([feature])
                found = scan(activations, alone, rows=rows, controls=(), seed=seed)
                chosen: NeuronScore | tuple[str, int] = found.best[feature]
            else:
                chosen = (str(asked.site), asked.index)
            text_of = opened.probed.text_of
            report = investigate(
                feature, chosen, activations, labelled, source=opened.probed.source,
                text_of=text_of, rows=rows, seed=seed, start=run.progress,
            )  # fmt: skip
            run.show(str(report), report.to_json())
            if out is not None:
                report.save(out)
            if plot is not None:
                from wirework.cli.probe_shown import draw_report

                texts = None if text_of is None else [text_of(t) for t in labelled.tokens.tolist()]
                draw_report(report, labelled, activations, texts, plot)


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
        from wirework.cli.probe_shown import probe_table
        from wirework.probing import ProbeStore

        found = list(ProbeStore.load(store).select(feature=feature, site=site))
        run.show(probe_table(found), [each.plain() for each in found])


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


def _settle(out: Path | None, plot: Path | None) -> None:
    settle_process()
    require_targets(out, picture=plot)
