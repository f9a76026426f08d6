"""What stands on a tower: the projection into the space that sounds and captions share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DIM = 256  # of atri-mini


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


class AudioHead(nn.Module):
    """Features [batch, inputs] → unit vectors [batch, dim]; a linear path beside a small MLP."""

    def __init__(self, inputs: int, hidden: int, dropout: float, dim: int = DIM) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.mean: Tensor
        self.scale: Tensor
        self.straight = nn.Linear(inputs, dim)
        self.up = nn.Linear(inputs, hidden)
        self.down = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def standardise(self, rows: Tensor) -> None:
        """Take mean and deviation of the features from `rows` [n, inputs]."""
        self.mean.copy_(rows.mean(0))
        self.scale.copy_(1.0 / (rows.std(0) + 1e-3))

    def forward(self, rows: Tensor) -> Tensor:
        x = ((rows - self.mean) * self.scale).clamp(-6, 6)
        deep = self.down(self.dropout(F.gelu(self.up(self.dropout(x)))))
        return F.normalize(self.straight(self.dropout(x)) + deep, dim=-1)
