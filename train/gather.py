"""Vectors of all processes in one batch (torch.distributed), with exact gradients.

Each process encodes its own clips, gathers the vectors of all, and computes the loss of the whole
batch. `gather` passes back to each process only the gradient of its own rows, as that process
computes it; every process has the same loss, so what its parameters lack are the parts that the
others computed, and `sum_gradients` adds them up. The result is the gradient of one process with
the whole batch.

What a loop does with N clips a process, K languages, D dimensions:

    a = gather(audio)                                     # [N, D] → [processes · N, D]
    t = gather(texts.transpose(0, 1)).transpose(0, 1)     # [K, N, D] → [K, processes · N, D]
    d = gather(drawn.T).T                                 # bool [K, N] likewise
    loss(a, t, d, log_tau.exp(), clash=…).backward()      # clash of the whole batch; not divided
    sum_gradients(parameters of the towers)
    mean_gradients([log_tau, *loss.parameters()])

With chunks (`train.gradcache`) gather their `vectors`, and run their `backward` before
`sum_gradients`. A batch norm in train mode sees the clips of its own process only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn


def processes() -> int:
    """How many take part; 1 without a process group."""
    return distributed.get_world_size() if _together() else 1


def rank() -> int:
    """The number of this process."""
    return distributed.get_rank() if _together() else 0


def join_processes() -> None:
    """Join the group that `torchrun` started this process in: nccl on GPUs, gloo on the CPU.

    Nothing happens in a process of its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not _together():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def wait_for_all() -> None:
    """Go on when every process is here: what the first one wrote can be read by all."""
    if _together():
        distributed.barrier()


def leave_processes() -> None:
    """Leave the group, if there is one."""
    if _together():
        distributed.destroy_process_group()


def gather(rows: Tensor) -> Tensor:
    """Rows of all processes in the order of their ranks, [processes · n, …].

    Floating rows keep their gradient: this process's own part of the result is `rows` itself.
    Masks and indices (bool, int) have none.

    Raises:
        ValueError: the processes have different numbers of rows; raised in each of them.
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

    All processes give the same parameters in the same order; frozen ones are left alone. A
    parameter that took no part in a process counts as zero there; one that took part in none keeps
    `grad` None, so that the optimiser passes over it as it would in one process. Parameters which
    enter the loss behind `gather` (a learned temperature) have their whole gradient in every
    process: average those with `mean_gradients`.
    """
    _reduce(parameters)


def mean_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients that every process has computed as a whole."""
    for gradient in _reduce(parameters):
        gradient.div_(processes())


def _reduce(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Sum over the processes, in place; gives back the gradients that any process has."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained or not _together():
        return []
    here = [parameter.grad is not None for parameter in trained]
    used = torch.tensor(here, dtype=torch.int32, device=trained[0].device)
    distributed.all_reduce(used)
    found = []
    for parameter, count in zip(trained, used.tolist(), strict=True):
        if count:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            distributed.all_reduce(gradient)
            parameter.grad = gradient
            found.append(gradient)
    return found


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _require_equal(count: int, device: torch.device) -> None:
    counts = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(processes())]
    distributed.all_gather(counts, torch.tensor([count], device=device))
    found = [int(one) for one in counts]
    if len(set(found)) > 1:
        raise ValueError(f"the processes hold different numbers of rows: {found}")
