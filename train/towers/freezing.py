"""Which part of a tower is trained, and at what memory.

For any tower whose layers are one `nn.ModuleList`: CED, SONAR and both towers of atri-mini.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

Freeze = Literal["all", "none"] | int


class Counts(NamedTuple):
    """Numbers of parameters."""

    trained: int
    frozen: int


def count_parameters(module: nn.Module) -> Counts:
    """How many parameters are trained and how many are frozen; shared ones count once."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    trained = sum(size for size, on in sizes if on)
    return Counts(trained, sum(size for size, _ in sizes) - trained)


def blocks_of(tower: nn.Module) -> nn.ModuleList:
    """The blocks of a tower, in the order in which they run.

    Raises:
        ValueError: the tower has no `nn.ModuleList`, or more than one.
    """
    found = [module for module in tower.modules() if isinstance(module, nn.ModuleList)]
    if len(found) != 1:
        raise ValueError(f"{type(tower).__name__} has {len(found)} lists of blocks, not one")
    return found[0]


def freeze(tower: nn.Module, how: Freeze) -> Counts:
    """Freeze a tower: `"all"` of it, `"none"`, or all before its last `how` blocks.

    With a number, what the tower registers after its blocks (last norm, head) is trained too; 0
    trains nothing else. Says how many parameters are trained and frozen now.

    Raises:
        ValueError: more blocks than there are, or fewer than none.
    """
    tower.requires_grad_(how == "none")
    if isinstance(how, int):
        blocks = blocks_of(tower)
        if not 0 <= how <= len(blocks):
            raise ValueError(f"{how} blocks of {len(blocks)} cannot be trained")
        for parameter in _from_block(tower, blocks, len(blocks) - how):
            parameter.requires_grad_(True)
    return count_parameters(tower)


def _from_block(tower: nn.Module, blocks: nn.ModuleList, first: int) -> list[nn.Parameter]:
    """Parameters of the blocks from `first` on, and those registered after the blocks."""
    ordered = list(tower.parameters())
    inside = {id(parameter) for parameter in blocks.parameters()}
    end = max(place for place, parameter in enumerate(ordered) if id(parameter) in inside) + 1
    return [p for block in blocks[first:] for p in block.parameters()] + ordered[end:]


def train_mode(tower: nn.Module) -> None:
    """`tower.train()`, but a batch norm whose weights are frozen keeps its statistics too."""
    tower.train()
    for module in tower.modules():
        if isinstance(module, _BatchNorm) and not any(p.requires_grad for p in module.parameters()):
            module.eval()


def checkpoint_blocks(tower: nn.Module) -> None:
    """Keep only the input of each block for the backward pass, and run the block again there.

    Gradients stay the same; one more forward pass buys the memory of all but one block (Chen et
    al., arXiv 1604.06174). A batch norm in train mode inside a block counts its batch twice.
    """
    for block in blocks_of(tower):
        if not isinstance(block.forward, _Checkpointed):
            block.forward = _Checkpointed(block.forward)


class _Checkpointed:
    def __init__(self, forward: Callable[..., Tensor]) -> None:
        self.forward = forward

    def __call__(self, *inputs: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return self.forward(*inputs)
        found: Tensor = checkpoint(self.forward, *inputs, use_reentrant=False)
        return found
