"""Two processes with half a batch each learn what one learns from the whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn import functional as F

from tests.trainer_tools import PLAN, Tiny, make_clips
from train.clips import Clip
from train.gather import gather, mean_gradients, rank, sum_gradients
from train.gradcache import encode_in_chunks
from train.losses import get_loss
from train.runlog import METRICS
from train.trainer import Trainer
from train.types import Inputs

N, K, WORLD = 6, 3, 2
LOSSES = ("kcl", "cacl")
pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch without distributed")


def step(loss_name: str, mine: slice, chunk: int | None = None) -> dict[str, Any]:
    """One backward pass over the clips of `mine`; loss and gradients.

    Some captions are missing, two clips of different processes clash, only the first process uses
    `extra`, and none uses `idle`.
    """
    torch.manual_seed(0)
    audio, text = nn.Linear(5, 4).double(), nn.Linear(3, 4).double()
    log_tau = nn.Parameter(torch.tensor(-1.5, dtype=torch.float64))
    extra, idle = (nn.Parameter(torch.ones(4, dtype=torch.float64)) for _ in range(2))
    sounds = torch.randn(N, 5, dtype=torch.float64)
    words = torch.randn(K, N, 3, dtype=torch.float64)
    loss = get_loss(loss_name)
    drawn = loss.draw(torch.rand(K, N) > 0.2, 0, torch.rand(K + 1, N))
    clash = torch.zeros(N, N, dtype=torch.bool)
    clash[1, 4] = clash[4, 1] = True

    def encode_audio(rows: Tensor, is_first: Tensor) -> Tensor:
        found = audio(rows)
        return F.normalize(found + extra * is_first if is_first.any() else found, dim=-1)

    def encode_text(rows: Tensor) -> Tensor:
        return F.normalize(text(rows), dim=-1)

    is_first = torch.arange(N)[:, None] == 0
    a = encode_in_chunks(encode_audio, (sounds[mine], is_first[mine]), chunk)
    t = encode_in_chunks(encode_text, (words[:, mine].transpose(0, 1),), chunk)
    value = loss(
        gather(a.vectors),
        gather(t.vectors).transpose(0, 1),
        gather(drawn[:, mine].T).T,
        log_tau.exp(),
        clash=clash,
    )
    torch.autograd.backward(value)
    a.backward()
    t.backward()
    towers = [*audio.parameters(), *text.parameters(), extra, idle]
    sum_gradients(towers)
    mean_gradients([log_tau])
    assert idle.grad is None
    return {"loss": value.detach(), "gradients": [one.grad for one in (*towers[:-1], log_tau)]}


def work(number: int, folder: str) -> None:
    """One of the processes."""
    address = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=address, rank=number, world_size=WORLD)
    half = N // WORLD
    mine = slice(number * half, (number + 1) * half)
    found: dict[str, Any] = {
        f"{name} {chunk}": step(name, mine, chunk) for name in LOSSES for chunk in (None, 2)
    }
    found["numbers"] = gather(torch.tensor([[number, 7]]))
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
        for name in LOSSES:
            alone = step(name, slice(None))
            for part in (found[f"{name} None"], found[f"{name} 2"]):
                torch.testing.assert_close(part["loss"], alone["loss"], atol=1e-9, rtol=0)
                for got, wanted in zip(part["gradients"], alone["gradients"], strict=True):
                    torch.testing.assert_close(got, wanted, atol=1e-9, rtol=0)
        assert found["numbers"].tolist() == [[0, 7], [1, 7]]
        assert found["unequal"] == "the processes hold different numbers of rows: [1, 2]"


def test_alone_nothing_changes() -> None:
    rows = torch.ones(2, 3)
    assert gather(rows) is rows
    parameter = nn.Parameter(torch.ones(1))
    sum_gradients([parameter])
    mean_gradients([parameter])
    assert parameter.grad is None


class Plain(Tiny):
    """Without noise and dropout, whose numbers differ between one process and two."""

    def __init__(self) -> None:
        super().__init__()
        self.drop.p = 0.0

    def collate_audio(self, clips: Sequence[Clip], rng: np.random.Generator | None) -> Inputs:  # noqa: ARG002
        return super().collate_audio(clips, None)


def learn(folder: Path) -> list[Tensor]:
    """The weights after a run of the loop."""
    torch.set_num_threads(1)
    model = Plain()
    Trainer(model, make_clips(), replace(PLAN, loss="kcl+jsd"), folder).run()
    return [one.detach() for one in model.parameters()]


def learn_together(number: int, folder: str) -> None:
    """One of the processes of a run."""
    address = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=address, rank=number, world_size=WORLD)
    torch.save(learn(Path(folder) / "run"), f"{folder}/weights-{number}.pt")
    distributed.destroy_process_group()


def test_the_loop_learns_the_same_in_two_processes(tmp_path: Path) -> None:
    multiprocessing.spawn(learn_together, (str(tmp_path),), WORLD)  # type: ignore[no-untyped-call]
    alone = learn(tmp_path / "alone")
    for number in range(WORLD):
        together = torch.load(tmp_path / f"weights-{number}.pt", weights_only=True)
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-4)
    logs = [
        [json.loads(line) for line in (tmp_path / name / METRICS).read_text().splitlines()]
        for name in ("alone", "run")
    ]
    assert len(logs[0]) == len(logs[1])
    for one, other in zip(*logs, strict=True):
        assert one["step"] == other["step"]
        assert one.get("loss", 0) == pytest.approx(other.get("loss", 0), abs=1e-4)
