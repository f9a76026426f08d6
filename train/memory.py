"""How much memory a training step needs: what autograd holds for the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


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
