"""The token table of a text tower of atri-mini's architecture in 4 bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.towers.text import TextNet

BLOCK = 32


class PackedTable(nn.Module):
    """An embedding table in 4 bits: two codes a byte, one scale for 32 values.

    multilingual-e5-small reached this project in that very form and the table stays frozen in
    training, so packing it again loses nothing.
    """

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        rows, width = table.shape
        blocks = table.reshape(rows, width // BLOCK, BLOCK)
        extreme = blocks.gather(2, blocks.abs().argmax(2, keepdim=True))
        scale = extreme / -8.0
        codes = (blocks / torch.where(scale == 0, torch.ones(()), scale) + 8).round().clamp(0, 15)
        codes = codes.to(torch.uint8).reshape(rows, width)
        self.register_buffer("packed", codes[:, 0::2] + codes[:, 1::2] * 16)
        self.register_buffer("scale", scale[:, :, 0].half())
        self.packed: Tensor
        self.scale: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        """int64 [batch, tokens] → float32 [batch, tokens, width]."""
        pairs = self.packed[ids].to(torch.int32)
        codes = torch.stack([pairs % 16, pairs // 16], dim=-1).flatten(-2).float() - 8.0
        blocks = torch.unflatten(codes, -1, (-1, BLOCK)) * self.scale[ids].float()[..., None]
        return blocks.flatten(-2)


def pack_embedding(net: TextNet, tolerance: float = 1e-3) -> None:
    """Replace the token table of a text tower by its packed form, in place.

    Raises:
        ValueError: the table has no exact 4-bit form (it was trained).
    """
    packed = PackedTable(net.tokens.weight.detach())
    sample = torch.arange(len(net.tokens.weight))[None]
    difference = float((packed(sample)[0] - net.tokens.weight).abs().max().detach())
    if difference > tolerance:
        raise ValueError(f"the token table is not 4-bit: packing changes it by {difference:.1e}")

    def embed(ids: Tensor) -> Tensor:
        """As `TextNet.embed`, from the packed table."""
        found: Tensor = net.embedding_norm(packed(ids) + net.positions.weight[: ids.shape[1]])
        return found

    net.embed = embed  # type: ignore[method-assign]
