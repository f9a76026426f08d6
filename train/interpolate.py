"""Between the weights a run began with and those it ended with: what was learnt, and not forgotten.

A few hundred sounds teach a model their own names and take away some of what it knew of all others.
The straight line between both sets of weights often holds a better model than either end
(WiSE-FT, Wortsman et al., CVPR 2022, arXiv 2109.01903); validation chooses the place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from train.checkpoints import state_of

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of what training changes."""
    return {name: one.detach().clone() for name, one in state_of(model).items()}


@torch.no_grad()
def mix(
    model: nn.Module, begin: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float
) -> None:
    """Put (1 - share) · begin + share · end into the model; whole numbers are the end's."""
    for name, tensor in state_of(model).items():
        floating = tensor.is_floating_point()
        tensor.copy_(torch.lerp(begin[name], end[name], share) if floating else end[name])


def best_share(
    model: nn.Module,
    begin: Mapping[str, Tensor],
    score: Callable[[], float],
    shares: Sequence[float] = SHARES,
) -> float:
    """Leave in the model the best mixture of `begin` and the weights it has; its share of these.

    Args:
        model: as training left it.
        begin: `weights_of` it before training.
        score: of the model as it is, higher is better; of equal ones the larger share wins.
        shares: to try.
    """
    end = weights_of(model)
    found = []
    for share in shares:
        mix(model, begin, end, share)
        found.append((score(), share))
    _, best = max(found)
    mix(model, begin, end, best)
    return best
