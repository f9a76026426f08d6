"""How much memory a training step needs: what autograd holds for the backward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from train.batches import Batches
from train.losses import get_loss
from train.objective import forward
from train.plan import TrainPlan
from train.types import Clip, TwoTower

PROBED = (2, 4)  # clips


@dataclass
class SavedBytes:
    """Bytes of saved tensors: now, and the most at any moment."""

    now: int = 0
    peak: int = 0


@contextmanager
def saved_bytes() -> Iterator[SavedBytes]:
    """Count the activations that autograd saves inside the block, on any device.

    A storage that is saved several times counts once. Weights count as well when an operation
    saves them. On CUDA, `torch.cuda.max_memory_allocated` also has what operations use in passing.
    """
    found = SavedBytes()
    holders: dict[int, int] = {}

    class Held:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor.detach()  # else an output would keep its own node alive
            storage = tensor.untyped_storage()
            self.place, self.size = storage.data_ptr(), storage.nbytes()
            holders[self.place] = holders.get(self.place, 0) + 1
            if holders[self.place] == 1:
                found.now += self.size
                found.peak = max(found.peak, found.now)

        def __del__(self) -> None:
            holders[self.place] -= 1
            if not holders[self.place]:
                found.now -= self.size

    with torch.autograd.graph.saved_tensors_hooks(Held, _tensor_of):
        yield found


def _tensor_of(held: object) -> Tensor:
    tensor: Tensor = held.tensor  # type: ignore[attr-defined]
    return tensor


def estimate(model: TwoTower, plan: TrainPlan, clips: Sequence[Clip]) -> int:
    """Bytes that a step of this plan needs: weights, gradients, moments, activations, scores.

    Two small batches are encoded; what they hold for the backward pass is taken to grow with the
    clips, up to a chunk of them. Weights and optimiser are exact, the rest is within a few tenths.
    """
    few = list(clips[: PROBED[1]])
    loss = get_loss(plan.loss)
    held, drawn = [], 1
    mode = model.training
    model.train()
    for count in PROBED:
        batch = next(Batches(few[:count], plan.languages, count, plan.seed).epoch(0))
        drawn = int(loss.draw(batch.present, plan.anchor, batch.uniform).sum())
        with saved_bytes() as saved:
            forward(model, loss, batch, replace(plan, chunk=None, precision="fp32"), (0,))
        held.append(saved.peak)
    model.train(mode)
    size = min(plan.batch_size, len(clips))
    each = max(0, held[1] - held[0]) / (PROBED[1] - PROBED[0])
    rows = size if plan.chunk is None else min(size, plan.chunk)
    vectors = 4 * model.dim * (size + drawn / PROBED[1] * size) * 3
    scores = 4 * size * drawn / PROBED[1] * size * 3
    weights = sum(4 * one.numel() * (4 if one.requires_grad else 1) for one in model.parameters())
    return round(weights + each * rows + vectors + scores)
