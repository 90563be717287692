"""What to tell when a run cannot go on: which tensor went wrong first, how much memory would do."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from wirework.core import WireworkError
from wirework.core.names import sites
from wirework.model import Taps, Transformer
from wirework.model.precision import autocast
from wirework.sparsity import SparseAdamW
from wirework.sparsity.sharded import local_part
from wirework.training.execution import Batch, Executor, largest_divisor


def first_not_finite(executor: Executor, batch: Batch) -> str:
    """The first tensor of a step that holds NaN or infinity, in words.

    Looked for among the weights, then among the activations of that batch (B, T+1), run again,
    then among the gradients, from the last parameter back. All processes call it and get the
    same answer.
    """
    whole = executor.whole()
    found = "" if whole is None else _in_forward_pass(whole, executor, batch)
    return executor.world.from_first(found) or _in_gradients(executor)


def _in_forward_pass(model: Transformer, executor: Executor, batch: Batch) -> str:
    for name, parameter in model.named_parameters():
        if not _finite(parameter):
            return f"the weight {name}"
    order: dict[str, bool] = {}
    windows = torch.from_numpy(batch).to(executor.world.device)
    for part in torch.split(windows, executor.micro_batch):
        taps = Taps(record=sites(model.config.n_layer))
        with torch.no_grad(), autocast(executor.dtype, executor.world.device.type):
            logits = model(part[:, :-1], taps)
        named = {f"the activation {site}": value for site, value in taps.values.items()}
        for name, value in {**named, "the logits": logits}.items():
            order[name] = order.get(name, True) and _finite(value)
    return next((name for name, finite in order.items() if not finite), "")


def _in_gradients(executor: Executor) -> str:
    for name, parameter in reversed(list(executor.model.named_parameters())):
        gradient = parameter.grad
        bad = gradient is not None and not _finite(local_part(gradient))
        if executor.world.any(bad):
            return f"the gradient of {name}"
    return "the sum of squares of all gradients"


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())


@contextlib.contextmanager
def memory_told(rows: int = 0, find: Callable[[], int | None] | None = None) -> Iterator[None]:
    """Turn a lack of memory in the block into `out-of-memory`, or `model-too-large` without `find`.

    `rows` is the micro-batch; `find` looks for one that fits, after all that the block held is
    free: 0 where none does, None where it cannot try.
    """
    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if not _lacks_memory(error):
            raise
        reason = str(error).strip().partition("\n")[0][:160]
        traceback.clear_frames(error.__traceback__)
    _release()
    if find is None:
        raise WireworkError(
            "model-too-large",
            "the model and what trains it do not fit into the memory",
            expected="four times the size of its weights, on a device or over several",
            got=reason,
            hint="more GPUs with --parallel fsdp, or a smaller model",
        )
    raise _out_of_memory(rows, find(), reason)


def _out_of_memory(rows: int, fit: int | None, reason: str) -> WireworkError:
    if fit is None:
        expected = f"a micro-batch below {rows}; which fits was not tried"
        hint = f"--micro-batch {max(1, rows // 2)}, or --checkpoint-activations"
    elif fit:
        expected = f"a micro-batch of {fit}: a step with it was tried, and fits"
        hint = f"--micro-batch {fit}"
    else:
        expected = "room for one window: not even that fits"
        hint = "--checkpoint-activations, --parallel fsdp on more GPUs, or a smaller model"
    return WireworkError(
        "out-of-memory",
        f"{rows} windows in one pass need more memory than there is",
        expected=expected,
        got=reason,
        hint=f"the same command with {hint}",
    )


def rows_that_fit(executor: Executor, optimizer: SparseAdamW, batch: Batch) -> int | None:
    """The largest micro-batch of those tried, halving, with which a step has room; 0 for none.

    Makes real steps, so the weights are spoilt afterwards. None where the weights are sharded: a
    process cannot try alone.
    """
    if executor.world.parallel == "fsdp":
        return None
    windows = executor.share(batch)
    while executor.micro_batch > 1:
        executor.micro_batch = largest_divisor(executor.rows, executor.micro_batch // 2)
        try:
            # The second pass has the gradients of the first beside it.
            executor.backward(windows[: 2 * executor.micro_batch], alone=True)
            optimizer.step(optimizer.steps - 1)
            return executor.micro_batch
        except (RuntimeError, MemoryError) as error:
            if not _lacks_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)
        _release()
    return 0


def _release() -> None:
    """Give back what nobody refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _lacks_memory(error: BaseException) -> bool:
    """An allocation failed: of CUDA, cuBLAS, torch or oneDNN on the CPU, numpy, Python."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    signs = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "could not create a primitive")
    return any(sign in str(error) for sign in signs)
