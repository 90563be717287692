"""`wirework bench train | decode | load | discover | probe | trust`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wirework.cli.options import JSON, SEED, SETTINGS
from wirework.cli.session import Session, require_targets, session, settle_process

if TYPE_CHECKING:
    from wirework.core import Report

bench = typer.Typer(
    help="Measure this machine: sparse beside dense, side by side, as ratios with intervals.",
    no_args_is_help=True, rich_markup_mode=None,
)  # fmt: skip

PAIRS = Annotated[int, typer.Option(help="Turns that count, at least 5.")]
D_MODEL = Annotated[int | None, typer.Option(help="Width of the model, a multiple of 16.")]
LAYERS = Annotated[int | None, typer.Option(help="Layers of the model.")]
VOCAB = Annotated[int | None, typer.Option("--vocab", help="Size of the vocabulary.")]
DENSITY = Annotated[float | None, typer.Option(help="Share of the weights that is nonzero.")]
CONTEXT = Annotated[int | None, typer.Option(help="Tokens of context.")]
OUT = Annotated[Path | None, typer.Option("--out", help="Write the report as JSON.")]


@bench.command()
def train(
    pairs: PAIRS = 5,
    d_model: D_MODEL = None,
    layers: LAYERS = None,
    context: CONTEXT = None,
    batch: Annotated[int | None, typer.Option(help="Windows of a step.")] = None,
    vocab: VOCAB = None,
    density: DENSITY = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float64.")] = "auto",
    seed: SEED = 0,
    out: OUT = None,
    as_json: JSON = False,
) -> None:
    """A sparse training step beside a dense one and the plain reference; 1 if a bar is missed.

    Example: wirework bench train --pairs 11
    """
    with session(as_json) as run:
        _settle(out)
        from wirework.bench.train import TrainBench, bench_train

        config = TrainBench.parse(
            _given(
                pairs=pairs, d_model=d_model, layers=layers, context=context, batch=batch,
                vocab_size=vocab, density=density, dtype=dtype, seed=seed,
            ),
            "the command line",
        )  # fmt: skip
        _finish(run, bench_train(config, start=run.progress), out)


@bench.command()
def decode(
    pairs: PAIRS = 5,
    d_model: D_MODEL = None,
    layers: LAYERS = None,
    context: CONTEXT = None,
    vocab: VOCAB = None,
    density: DENSITY = None,
    seed: SEED = 0,
    out: OUT = None,
    as_json: JSON = False,
) -> None:
    """Sparse generation beside torch on the same model written out; 1 if a bar is missed.

    Example: wirework bench decode --d-model 512 --layers 4
    """
    with session(as_json) as run:
        _settle(out)
        from wirework.bench.decode import DecodeBench, bench_decode

        config = DecodeBench.parse(
            _given(
                pairs=pairs, d_model=d_model, layers=layers, context=context,
                vocab_size=vocab, density=density, seed=seed,
            ),
            "the command line",
        )  # fmt: skip
        _finish(run, bench_decode(config, start=run.progress), out)


@bench.command()
def load(
    pairs: PAIRS = 5,
    d_model: D_MODEL = None,
    layers: LAYERS = None,
    vocab: VOCAB = None,
    density: DENSITY = None,
    seed: SEED = 0,
    out: OUT = None,
    as_json: JSON = False,
) -> None:
    """Size and loading of a sparse checkpoint beside a dense one; 1 if a bar is missed.

    Example: wirework bench load --density 0.015625
    """
    with session(as_json) as run:
        _settle(out)
        from wirework.bench.load import LoadBench, bench_load

        config = LoadBench.parse(
            _given(
                pairs=pairs, d_model=d_model, layers=layers,
                vocab_size=vocab, density=density, seed=seed,
            ),
            "the command line",
        )  # fmt: skip
        _finish(run, bench_load(config, start=run.progress), out)


@bench.command()
def discover(
    model: Annotated[str, typer.Argument(help="A run, a checkpoint, or reference/NAME.")],
    task: Annotated[str, typer.Argument(help="A shipped task or a file of your own.")],
    seeds: Annotated[int, typer.Option(min=1, help="Searches of either kind.")] = 5,
    seed: SEED = 0,
    settings: SETTINGS = None,
    out: OUT = None,
    as_json: JSON = False,
) -> None:
    """Our search for a circuit beside the plain published loop; 1 if a bar is missed.

    Example: wirework bench discover runs/tiny python/single_double_quote --seeds 3
    """
    with session(as_json) as run:
        _settle(out)
        from wirework.bench.discover import DiscoverBench, bench_discover
        from wirework.discovery import DiscoveryConfig
        from wirework.tasks import load_task
        from wirework.training import load_checkpoint

        discovery = DiscoveryConfig().override(settings or [])
        config = DiscoverBench.parse(
            {"seeds": seeds, "seed": seed, "discovery": discovery.plain()}, "the command line"
        )
        report = bench_discover(load_checkpoint(model), load_task(task), config, start=run.progress)
        _finish(run, report, out)


@bench.command()
def probe(
    seeds: Annotated[int, typer.Option(min=1, help="Data sets of every kind.")] = 3,
    seed: SEED = 0,
    settings: SETTINGS = None,
    out: OUT = None,
    as_json: JSON = False,
) -> None:
    """A scan beside one fit after another, optimal probes beside an L1 fit; 1 if a bar is missed.

    Example: wirework bench probe --set neurons=2000
    """
    with session(as_json) as run:
        _settle(out)
        from wirework.bench.probe import ProbeBench, bench_probe

        config = ProbeBench(seed=seed, seeds=seeds).override(settings or [])
        _finish(run, bench_probe(config, start=run.progress), out)


@bench.command()
def trust(
    seeds: Annotated[int, typer.Option(min=1, help="Of every planted model and ablation.")] = 1,
    verdict_seeds: Annotated[
        int, typer.Option(min=1, help="Of every family of right and wrong circuits.")
    ] = 2,
    full: Annotated[
        bool, typer.Option("--full", help="All families, 5 and 8 seeds; the result gets a date.")
    ] = False,
    family: Annotated[
        list[str] | None, typer.Option("--family", help="Only this family; may be repeated.")
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(help="Keep every result in this folder; the same call goes on from there."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="First seed of all models (default: 50, not seen before)."),
    ] = None,
    out: OUT = None,
    as_json: JSON = False,
) -> None:
    """What searches and verdicts are worth where the truth is known; 1 if a bar is missed.

    Example: wirework bench trust --full --rows trust-rows --out trust.json
    """
    with session(as_json) as run:
        settle_process()
        from wirework.bench.trust import FULL, TrustBench, bench_trust, dated

        asked = {**_given(seed=seed), "seeds": seeds, "verdict_seeds": verdict_seeds}
        if full:
            asked.update(FULL)
            out = dated(out or Path("trust.json"))
        require_targets(out)
        config = TrustBench.parse(
            {**asked, "families": family or [], "rows": rows}, "the command line"
        )
        _finish(run, bench_trust(config, start=run.progress), out)


def _settle(out: Path | None) -> None:
    settle_process()
    require_targets(out)


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given; the measurement has its own defaults for the others."""
    return {name: value for name, value in options.items() if value is not None}


def _finish(run: Session, report: Report, out: Path | None) -> None:
    for note in report.provenance["notes"]:
        run.tell(f"note[{note['code']}]: {note['message']} (load {note['got']})")
    run.show(str(report), report.to_json())
    if out is not None:
        report.save(out)
    if not report.passed:
        raise typer.Exit(1)
