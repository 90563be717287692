"""The GPU's kernels without a GPU, the whole model through torch.compile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from source_tree import ROOT
from wirework.model import ModelConfig, Transformer
from wirework.model.attention import attend_fused, attend_plain
from wirework.sparsity import SparseAdamW, SparsityConfig

RUNS = (["interpreted"] if find_spec("triton") else []) + (
    ["compiled"] if torch.cuda.is_available() else []
)
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
TINY = ModelConfig(
    vocab_size=50, context=8, n_layer=2, d_model=32, n_head=2, d_head=8, d_mlp=64, afrac=0.5
)


def run_kernel_cases(how: str, which: str) -> None:
    arguments = ["-q", "-p", "no:cacheprovider", "-m", which, "tests/kernel_cases.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1" if how == "interpreted" else "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize("how", RUNS)
def test_kernels(how: str) -> None:
    run_kernel_cases(how, "not long")


@pytest.mark.long
@pytest.mark.parametrize("how", RUNS)
def test_kernels_on_larger_matrices(how: str) -> None:
    run_kernel_cases(how, "long")


@pytest.mark.long
@pytest.mark.parametrize("architecture", [80, 90] if RUNS else [])
def test_kernels_can_be_built_without_a_gpu(
    architecture: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down to the machine code of an A100 or H100, as a call with these tensors would build it."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile
    from triton.runtime.jit import JITFunction

    from wirework.model.abstopk_cuda import abs_top_k_with_marks
    from wirework.sparsity.projection_cuda import zero_rest

    built = {}

    def build(kernel: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        given = dict(zip(kernel.arg_names, args, strict=False)) | options
        signature, constants, alignment = {}, {}, {}
        for parameter in kernel.params:
            name, value = parameter.name, given[parameter.name]
            if isinstance(value, torch.Tensor):
                signature[name] = f"*i{8 * value.element_size()}"
                aligned = value.data_ptr() % 16 == 0
            elif parameter.is_constexpr or (value == 1 and not parameter.do_not_specialize):
                signature[name], constants[name] = "constexpr", value
                continue
            else:
                signature[name] = "i32"
                aligned = value % 16 == 0 and not parameter.do_not_specialize
            if aligned:
                alignment[(parameter.num,)] = [["tt.divisibility", 16]]
        source = ASTSource(kernel, signature, constants, alignment)
        target = GPUTarget("cuda", architecture, 32)
        program = compile(source, target, {"num_warps": options.get("num_warps", 4)})
        built[kernel.fn.__name__] = program.asm["cubin"]

    monkeypatch.setattr(JITFunction, "run", build)
    abs_top_k_with_marks(torch.zeros(64, 2048, dtype=torch.bfloat16), 512)
    abs_top_k_with_marks(torch.zeros(64, 2080), 512)
    for axis in (0, 1):
        zero_rest(torch.zeros(2048, 6144), torch.zeros(2048, 6144), 200_000, 4, axis)
    names = {"_abs_top_k", "_abs_top_k_of_pairs", "guess_between", "count_beyond", "collect"}
    assert built.keys() == names | {"count_digit", "count_ties", "zero_rest"}
    assert all(built.values())


def gradients(model: Transformer, loss: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return [p.grad for p in model.parameters() if p.grad is not None]


def assert_compiles(changes: dict[str, Any], backend: str, device: str) -> None:
    torch.compiler.reset()
    model = Transformer(TINY.model_copy(update=changes)).double().to(device)
    tokens = torch.randint(0, 50, (3, 9), generator=torch.Generator().manual_seed(0)).to(device)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    plain = model(tokens[:, :-1], targets=tokens[:, 1:])
    fast = compiled(tokens[:, :-1], targets=tokens[:, 1:])
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-9)
    for a, b in zip(gradients(model, fast), gradients(model, plain), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param(
            {"position": "concat", "d_position": 8, "bigram": "none", "sink": False},
            marks=pytest.mark.long,
        ),
    ],
)
def test_the_model_compiles_without_a_break(changes: dict[str, Any], device: str) -> None:
    assert_compiles(changes, "aot_eager", device)


def test_the_attention_of_the_gpu_compiles_without_a_break() -> None:
    random = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 12, 8, generator=random, dtype=torch.float64)
    sink = torch.randn(3, generator=random, dtype=torch.float64)
    torch.compiler.reset()
    compiled = torch.compile(attend_fused, fullgraph=True, backend="aot_eager")
    expected = attend_plain(q, k, v, sink)
    torch.testing.assert_close(compiled(q, k, v, sink), expected, rtol=0, atol=1e-9)


def take_steps(device: str, *, compiled: bool) -> dict[str, torch.Tensor]:
    """The weights after some steps of training in float64."""
    torch.compiler.reset()
    model = Transformer(TINY).double().to(device)
    run = torch.compile(model, fullgraph=True, backend="aot_eager") if compiled else model
    recipe = SparsityConfig(
        lr=1e-2, epsilon=1e-8, density=0.2, embedding_density=0.2, anneal_stop=0.5
    )
    optimizer = SparseAdamW(model, recipe, 6)
    random = torch.Generator().manual_seed(0)
    for step in range(6):
        tokens = torch.randint(0, 50, (3, 9), generator=random).to(device)
        run(tokens[:, :-1], targets=tokens[:, 1:]).backward()
        optimizer.step(step)
    return {name: value.cpu() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("device", DEVICES)
def test_compiled_steps_equal_plain_ones(device: str) -> None:
    fast, plain = take_steps(device, compiled=True), take_steps("cpu", compiled=False)
    for name, value in plain.items():
        assert torch.equal(fast[name] == 0, value == 0), name
        torch.testing.assert_close(fast[name], value, rtol=0, atol=1e-9)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch warns about itself
@pytest.mark.parametrize("device", DEVICES if shutil.which("g++") else DEVICES[1:])
def test_the_compiled_model_computes_the_same(device: str) -> None:
    assert_compiles({}, "inductor", device)


# torch asks a tensor inside the model for its gradient, and warns about itself.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_all_layers_share_one_program() -> None:
    """torch.compile would leave the ninth layer as it is, did the layers differ."""
    torch.compiler.reset()
    counters.clear()
    model = Transformer(TINY.model_copy(update={"n_layer": 10}))
    for layer in model.layers:
        layer.compile(fullgraph=True, backend="eager")
    model(torch.zeros(2, 8, dtype=torch.long)).sum().backward()
    assert counters["stats"]["unique_graphs"] == 1
