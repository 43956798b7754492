"""One clock for every device."""

import time

import torch


def now(device: torch.device | None = None) -> float:
    """Seconds, after everything on ``device`` is done."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
