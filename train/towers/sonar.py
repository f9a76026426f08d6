"""The SONAR text encoder (Duquenne et al., arXiv 2308.11466), in the keys of its checkpoint.

Twenty-four pre-norm transformer layers of width 1024 over NLLB's tokens, 766 million parameters.
Token ids are NLLB's in fairseq's order: 0 `<pad>`, 1 `<unk>`, 2 `<s>`, 3 `</s>`; a text is its
language tag, its pieces, `</s>`. The published weights are for non-commercial use (CC BY-NC 4.0).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.towers.layouts import fill, read_weights
from train.towers.sizes import heads_of, layers_of, length

FIRST_POSITION = 2
M2M_EMBEDDINGS = ("shared.weight", "embed_tokens.weight", "encoder.embed_tokens.weight")
M2M_RENAMES = (
    (r"^(shared|embed_tokens)\.", "encoder_frontend.embed."),
    (r"^layers\.", "encoder.layers."),
    (r"\.out_proj\.", ".output_proj."),
    (r"\.fc1\.", ".ffn.inner_proj."),
    (r"\.fc2\.", ".ffn.output_proj."),
    (r"\.final_layer_norm\.", ".ffn_layer_norm."),
)
M2M_ROWS = (1, 3, 0, 2)  # where <pad>, <unk>, <s> and </s> stand in the other order


@dataclass(frozen=True)
class SonarShape:
    """Sizes of the encoder; the defaults are the published one's."""

    vocabulary: int = 256_206
    width: int = 1024
    layers: int = 24
    heads: int = 16
    inner: int = 8192
    tokens: int = 514


def sinusoids(tokens: int, width: int) -> Tensor:
    """Position vectors float32 [tokens, width]: sines in the first half, cosines in the second.

    Frequencies are exp(-i·ln(10000) / (width/2 - 1)); the first token is at step 2.
    """
    half = width // 2
    steps = torch.arange(FIRST_POSITION, FIRST_POSITION + tokens, device="cpu").float()
    places = torch.arange(half, device="cpu").float()
    angles = torch.outer(steps, torch.exp(places * (-math.log(10_000) / (half - 1))))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Attention(nn.Module):
    """Multi-head self-attention with scale 1/√(width of a head)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        query, key, value = (
            torch.unflatten(project(x), -1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=real)
        found: Tensor = self.output_proj(mixed.transpose(1, 2).flatten(2))
        return found


class FeedForward(nn.Module):
    """Linear, ReLU, Linear."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.inner_proj = nn.Linear(width, inner)
        self.output_proj = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.output_proj(F.relu(self.inner_proj(x)))
        return found


class Layer(nn.Module):
    """Attention and feed-forward, each after a layer norm and with a residual."""

    def __init__(self, shape: SonarShape) -> None:
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.self_attn = Attention(shape.width, shape.heads)
        self.ffn_layer_norm = nn.LayerNorm(shape.width)
        self.ffn = FeedForward(shape.width, shape.inner)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x), real)
        found: Tensor = x + self.ffn(self.ffn_layer_norm(x))
        return found


class Frontend(nn.Module):
    """Token vectors times √width, and their positions."""

    positions: Tensor

    def __init__(self, shape: SonarShape) -> None:
        super().__init__()
        self.scale = math.sqrt(shape.width)
        self.embed = nn.Embedding(shape.vocabulary, shape.width)
        table = sinusoids(shape.tokens, shape.width)
        self.register_buffer("positions", table, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        # Indexed, because the ONNX node of F.embedding takes the name of the graph's output.
        return self.embed.weight[ids] * self.scale + self.positions[: ids.shape[1]]


class Encoder(nn.Module):
    """All layers, one after the other."""

    def __init__(self, shape: SonarShape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, real)
        return x


class SonarText(nn.Module):
    """Token ids and mask int64 [batch, tokens] → sentence vectors [batch, width].

    The mean over real tokens, language tag and `</s>` among them; not of unit length. Padding
    stands on the right. At most `shape.tokens` tokens. The dropout of its own training is left out.
    """

    def __init__(self, shape: SonarShape | None = None) -> None:
        super().__init__()
        self.shape = shape = shape or SonarShape()
        self.encoder_frontend = Frontend(shape)
        self.encoder = Encoder(shape)
        self.layer_norm = nn.LayerNorm(shape.width)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        real = attention_mask[:, None, None, :].bool()
        x = self.layer_norm(self.encoder(self.encoder_frontend(input_ids), real))
        weight = attention_mask[:, :, None].to(x.dtype)
        found: Tensor = (x * weight).sum(1) / (weight.sum(1) + 1e-7)
        return found


def sonar_shape(weights: Mapping[str, Tensor]) -> SonarShape:
    """Sizes of the encoder with these weights, which stand under fairseq2's keys."""
    published, embed = SonarShape(), "encoder_frontend.embed.weight"
    width = length(weights, embed, 1, published.width)
    return SonarShape(
        vocabulary=length(weights, embed, 0, published.vocabulary),
        width=width,
        layers=layers_of(weights, "encoder.layers.") or published.layers,
        heads=heads_of(width),
        inner=length(weights, "encoder.layers.0.ffn.inner_proj.weight", 0, published.inner),
    )


def load_sonar(path: Path, shape: SonarShape | None = None) -> SonarText:
    """The encoder of an official checkpoint, in eval mode; its size is read from the weights.

    Layouts: `sonar_text_encoder.pt` as fairseq2 names it, and M2M-100's names (the port for
    transformers, older fairseq), whose first four token rows are brought into fairseq2's order.

    Raises:
        ModelError: unreadable, or not an encoder of this shape; names the key.
    """
    weights = read_weights(path)
    m2m = not weights.keys().isdisjoint(M2M_EMBEDDINGS)
    weights = _from_m2m(weights) if m2m else weights
    with torch.device("meta"):
        net = SonarText(shape or sonar_shape(weights))
    net = fill(net, weights, path).eval()
    if m2m:
        _reorder(net.encoder_frontend.embed.weight)
    return net


def _from_m2m(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under M2M-100's names in those of fairseq2, less stored positions and versions."""
    found = {}
    for key, value in weights.items():
        name = key.removeprefix("encoder.")
        for old, new in M2M_RENAMES:
            name = re.sub(old, new, name, count=1)
        if name != "version" and not name.startswith("embed_positions."):
            found[name] = value
    return found


@torch.no_grad()
def _reorder(rows: Tensor) -> None:
    """Bring the rows of M2M-100's first four tokens into fairseq2's order."""
    rows[: len(M2M_ROWS)] = rows[list(M2M_ROWS)]
