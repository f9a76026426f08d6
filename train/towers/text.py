"""The text tower of atri-mini: a small multilingual transformer encoder (BERT's post-norm form)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class TextShape:
    """Sizes of the encoder; the defaults are multilingual-e5-small's."""

    vocabulary: int
    width: int = 384
    layers: int = 12
    heads: int = 12
    inner: int = 1536
    positions: int = 128
    dim: int = 256


class Layer(nn.Module):
    """Self-attention and a GELU network, each followed by residual and layer norm."""

    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query = nn.Linear(shape.width, shape.width)
        self.key = nn.Linear(shape.width, shape.width)
        self.value = nn.Linear(shape.width, shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.attention_norm = nn.LayerNorm(shape.width, eps=1e-12)
        self.up = nn.Linear(shape.width, shape.inner)
        self.down = nn.Linear(shape.inner, shape.width)
        self.out_norm = nn.LayerNorm(shape.width, eps=1e-12)

    def _split(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        query, key, value = (self._split(f(x)) for f in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + bias
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        x = self.attention_norm(x + self.out(mixed))
        found: Tensor = self.out_norm(x + self.down(F.gelu(self.up(x))))
        return found


class TextNet(nn.Module):
    """Token ids and mask, int64 [batch, tokens] → unit vectors float32 [batch, dim]."""

    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Embedding(shape.positions, shape.width)
        self.embedding_norm = nn.LayerNorm(shape.width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.project = nn.Linear(shape.width, shape.dim)

    def embed(self, ids: Tensor) -> Tensor:
        """Input of the first layer, [batch, tokens, width]."""
        found: Tensor = self.embedding_norm(
            self.tokens.weight[ids] + self.positions.weight[: ids.shape[1]]
        )
        return found

    def hidden(self, x: Tensor, mask: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """Output of the layers from `first` up to, not with, `last`: [batch, tokens, width]."""
        bias = (1.0 - mask[:, None, None, :].to(x.dtype)) * -1e4
        for layer in self.layers[first:last]:
            x = layer(x, bias)
        return x

    def encode(self, x: Tensor, mask: Tensor, first: int = 0) -> Tensor:
        """Layers from `first` on, then the mean over real tokens: [batch, width]."""
        x = self.hidden(x, mask, first)
        weight = mask[:, :, None].to(x.dtype)
        return (x * weight).sum(1) / weight.sum(1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        pooled = self.encode(self.embed(input_ids), attention_mask)
        return F.normalize(self.project(pooled), dim=-1)
