"""Two processes with half a batch each learn what one learns from the whole."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn import functional as F

from train.gather import gather, mean_gradients, rank, sum_gradients
from train.losses import get_loss

N, K, WORLD = 6, 3, 2
pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch without distributed")


def step(loss_name: str, mine: slice) -> dict[str, Any]:
    """One backward pass over the clips of `mine`; loss and gradients."""
    torch.manual_seed(0)
    audio, text = nn.Linear(5, 4).double(), nn.Linear(3, 4).double()
    log_tau = nn.Parameter(torch.tensor(-1.5, dtype=torch.float64))
    sounds = torch.randn(N, 5, dtype=torch.float64)
    words = torch.randn(K, N, 3, dtype=torch.float64)
    loss = get_loss(loss_name)
    drawn = loss.draw(torch.ones(K, N).bool(), 0, torch.rand(K + 1, N))
    a = gather(F.normalize(audio(sounds[mine]), dim=-1))
    t = gather(F.normalize(text(words[:, mine]), dim=-1).transpose(0, 1).contiguous())
    d = gather(drawn[:, mine].T.contiguous())
    value = loss(a, t.transpose(0, 1), d.T, log_tau.exp())
    torch.autograd.backward(value)
    sum_gradients([*audio.parameters(), *text.parameters()])
    mean_gradients([log_tau])
    found = [*audio.parameters(), *text.parameters(), log_tau]
    return {"loss": value.detach(), "gradients": [one.grad for one in found]}


def work(number: int, folder: str) -> None:
    """One of the processes."""
    address = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=address, rank=number, world_size=WORLD)
    half = N // WORLD
    found = {
        name: step(name, slice(number * half, (number + 1) * half)) for name in ("kcl", "cacl")
    }
    try:
        gather(torch.zeros(1 + number))
        found["unequal"] = "taken"
    except ValueError as error:
        found["unequal"] = str(error)
    torch.save(found, f"{folder}/{rank()}.pt")
    distributed.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32", reason="gloo's file store needs POSIX paths")
def test_two_processes_are_as_one(tmp_path: Path) -> None:
    multiprocessing.spawn(work, (str(tmp_path),), nprocs=WORLD)
    for number in range(WORLD):
        found = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        for name in ("kcl", "cacl"):
            alone = step(name, slice(None))
            torch.testing.assert_close(found[name]["loss"], alone["loss"], atol=1e-9, rtol=0)
            for got, wanted in zip(found[name]["gradients"], alone["gradients"], strict=True):
                torch.testing.assert_close(got, wanted, atol=1e-6, rtol=0)
        assert found["unequal"] == "the processes hold different numbers of rows: [1, 2]"


def test_alone_nothing_changes() -> None:
    rows = torch.ones(2, 3)
    assert gather(rows) is rows
    parameter = nn.Parameter(torch.ones(1))
    sum_gradients([parameter])
    mean_gradients([parameter])
    assert parameter.grad is None
