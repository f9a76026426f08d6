"""What every training loop does: one optimiser step, and a line of progress."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn


def descend(
    loss: Tensor,
    optimiser: torch.optim.Optimizer,
    rate: float,
    *,
    clip: tuple[Iterable[nn.Parameter], float] | None = None,
) -> float:
    """One step at this learning rate, gradients of `clip`'s weights held to its norm; the loss."""
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    if clip is not None:
        nn.utils.clip_grad_norm_(*clip)
    optimiser.step()
    return float(loss.detach())


def log_progress(
    log: Path, step: int, losses: Sequence[float], seconds: float, found: Mapping[str, float]
) -> None:
    """Say where a run is, on stdout and in `log`: mean loss since the last time, what was found."""
    entry = {"step": step, "loss": round(fmean(losses), 4), "seconds": round(seconds, 1), **found}
    print(json.dumps(entry), flush=True)
    with log.open("a") as handle:
        handle.write(json.dumps(entry) + "\n")
