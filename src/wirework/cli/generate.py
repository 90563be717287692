"""`wirework generate`: a model goes on with a text."""

from __future__ import annotations

import codecs
import sys
import time
from typing import Annotated, Any

import typer

from wirework.cli.options import JSON, SEED
from wirework.cli.session import Session, session
from wirework.core.errors import unknown_choice

_DTYPES = ("float32", "float64")


def generate(
    name: Annotated[str, typer.Argument(metavar="RUN", help="A run or a checkpoint.")],
    prompt: Annotated[
        str | None,
        typer.Argument(help="The text to go on with; `-` reads it from stdin, none starts afresh."),
    ] = None,
    more: Annotated[
        list[str] | None, typer.Option("--prompt", help="One more prompt; may be repeated.")
    ] = None,
    tokens: Annotated[int, typer.Option(help="How many new tokens at most.")] = 64,
    temperature: Annotated[
        float, typer.Option(help="0 takes the most likely token, 1 draws as the model says.")
    ] = 0.0,
    top_k: Annotated[int | None, typer.Option(help="Draw from the K most likely.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the fewest that hold this probability.")
    ] = None,
    seed: SEED = 0,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    as_json: JSON = False,
) -> None:
    """Go on with a text, token by token, on the sparse engine.

    Example: wirework generate runs/tiny "def f(" --tokens 64
    """
    with session(as_json) as run:
        if dtype not in _DTYPES:
            raise unknown_choice("dtype-unknown", "number format", dtype, _DTYPES)
        texts = [sys.stdin.read() if text == "-" else text for text in (prompt, *(more or ()))
                 if text is not None]  # fmt: skip
        options = {
            "tokens": tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p,
            "seed": seed, "dtype": dtype,
        }  # fmt: skip
        _generate(run, name, texts or [""], options)


def _generate(run: Session, name: str, texts: list[str], options: dict[str, Any]) -> None:
    from wirework.engine import stream
    from wirework.training.runs import load_checkpoint

    checkpoint = load_checkpoint(name)
    tokenizer = checkpoint.tokenizer
    # A text begins behind the end of another.
    prompts = [tokenizer.encode(text) or [tokenizer.end_of_text] for text in texts]
    found: list[list[int]] = [[] for _ in prompts]
    writing = not run.as_json and len(texts) == 1
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    arriving = stream(
        checkpoint.sparse(), prompts, stop={tokenizer.end_of_text},
        context=checkpoint.config.context, **options,
    )  # fmt: skip
    if writing:
        typer.echo(texts[0], nl=False)
    times = []
    for index, token in arriving:
        times.append(time.monotonic())
        found[index].append(token)
        if writing:
            typer.echo(decoder.decode(tokenizer.token_bytes(token)), nl=False)
            sys.stdout.flush()
    # From the first token on: reading the prompts is not counted.
    rate = (len(times) - 1) / max(times[-1] - times[0], 1e-9) if len(times) > 1 else 0.0
    results = [
        {"prompt": text, "text": tokenizer.decode(ids), "tokens": ids}
        for text, ids in zip(texts, found, strict=True)
    ]
    written = decoder.decode(b"", final=True)
    if not writing:
        written = "\n".join(f"==> {n} <==\n{r['prompt']}{r['text']}" for n, r in enumerate(results))
    run.show(written, {"results": results, "tokens_per_second": rate, **options})
    run.tell(f"{len(times)} tokens, {rate:.1f} per second")
