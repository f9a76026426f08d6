"""Vectors of all processes in one batch (torch.distributed), with exact gradients.

Each process encodes its own clips, gathers the vectors of all, and computes the loss of the whole
batch. `gather` passes back to each process only the gradient of its own rows, as that process
computes it; every process has the same loss, so what its parameters lack are the parts that the
others computed, and `sum_gradients` adds them up. The result is the gradient of one process with
the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn


def processes() -> int:
    """How many take part; 1 without a process group."""
    return distributed.get_world_size() if _together() else 1


def rank() -> int:
    """The number of this process."""
    return distributed.get_rank() if _together() else 0


def gather(rows: Tensor) -> Tensor:
    """Rows of all processes in the order of their ranks, [processes · n, …].

    Floating rows keep their gradient: this process's own part of the result is `rows` itself.

    Raises:
        ValueError: the processes have different numbers of rows.
    """
    if not _together():
        return rows
    _require_equal(len(rows), rows.device)
    plain = rows.detach().contiguous()
    sent = plain.to(torch.uint8) if plain.dtype == torch.bool else plain
    parts = [torch.empty_like(sent) for _ in range(processes())]
    distributed.all_gather(parts, sent)
    found = [part.to(plain.dtype) for part in parts]
    found[rank()] = rows
    return torch.cat(found)


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all processes, after each has run the loss backward.

    Parameters that took no part in a process count as zero there. Parameters which enter the loss
    behind `gather` (a learned temperature) have their whole gradient in every process: average
    those with `mean_gradients`.
    """
    if _together():
        for parameter in parameters:
            _reduce(parameter)


def mean_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients that every process has computed as a whole."""
    if _together():
        for parameter in parameters:
            _reduce(parameter)
            assert parameter.grad is not None
            parameter.grad /= processes()


def _reduce(parameter: nn.Parameter) -> None:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    distributed.all_reduce(parameter.grad)


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _require_equal(count: int, device: torch.device) -> None:
    counts = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(processes())]
    distributed.all_gather(counts, torch.tensor([count], device=device))
    found = [int(one) for one in counts]
    if len(set(found)) > 1:
        raise ValueError(f"the processes hold different numbers of rows: {found}")
