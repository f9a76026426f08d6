"""What stands on a tower: the projection into the space that sounds and captions share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ProjectionHead(nn.Module):
    """Linear, ReLU, Linear, unit length: pooled vectors [n, inputs] → unit vectors [n, dim].

    The head of ML-CLAP, which ATRI starts from (arXiv 2502.14627); its inner width is `dim` too.
    """

    def __init__(self, inputs: int, dim: int = 1024) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, dim)
        self.second = nn.Linear(dim, dim)

    def forward(self, pooled: Tensor) -> Tensor:
        return F.normalize(self.second(F.relu(self.first(pooled))), dim=-1)
