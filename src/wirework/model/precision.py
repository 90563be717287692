"""The number format of a run: `auto` is bfloat16 only where the machine has a unit for it."""

from __future__ import annotations

import torch


def resolve_dtype(wanted: str, device: str = "cpu") -> torch.dtype:
    """`auto`, `float32`, `bfloat16` or `float64` -> a torch dtype.

    Without a bf16 matrix unit bfloat16 is emulated and many times slower (design §6).
    """
    if wanted != "auto":
        named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
        return named[wanted]
    return torch.bfloat16 if _has_bf16_unit(device) else torch.float32


def _has_bf16_unit(device: str) -> bool:
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(dtype: torch.dtype, device: str = "cpu") -> torch.autocast:
    """Products in bfloat16, weights and sums in float32; nothing changes for other dtypes."""
    return torch.autocast(device, dtype, enabled=dtype == torch.bfloat16)
