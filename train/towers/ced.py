"""The CED audio encoder (Dinkel et al., arXiv 2308.11957), in the keys of its checkpoints.

A vision transformer without class token over patches of 16 mel bands by 16 frames. Written from
the paper and the shapes of the published weights (Apache-2.0).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from atri_cli.errors import ModelError
from train.towers.layouts import fill, read_weights

SAMPLE_RATE = 16_000
N_FFT = 512
HOP = 160
BANDS = 64
F_MAX = 8000.0
POWER_FLOOR = 1e-10
TOP_DB = 120.0
PATCH = 16
TIMES = 63
SHORTEST = (PATCH - 1) * HOP
LONGEST = 1012 * HOP - 1
WINDOW = 10 * SAMPLE_RATE


@dataclass(frozen=True)
class CedShape:
    """Sizes of the transformer; the inner width is four times the outer."""

    width: int
    heads: int
    layers: int = 12


CED_SHAPES = {
    "tiny": CedShape(192, 3),
    "mini": CedShape(256, 4),
    "small": CedShape(384, 6),
    "base": CedShape(768, 12),
}


def mel_bank() -> NDArray[np.float64]:
    """Triangles between points equally spaced on the HTK mel scale, as [64, 257].

    The triangles are straight over hertz; 2595·log10(1 + f/700) only places their corners.
    """
    top = 2595 * math.log10(1 + F_MAX / 700)
    corners = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    bins = np.arange(N_FFT // 2 + 1) * SAMPLE_RATE / N_FFT
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return np.clip(np.minimum(rising, falling), 0.0, None)


def windowed_dft() -> NDArray[np.float64]:
    """Real parts, then imaginary parts, of the DFT under a periodic Hann window, [514, 512]."""
    turns = 2 * math.pi * np.arange(N_FFT) / N_FFT
    angles = np.outer(np.arange(N_FFT // 2 + 1), turns)
    return np.concatenate([np.cos(angles), -np.sin(angles)]) * (0.5 - 0.5 * np.cos(turns))


class CedMel(nn.Module):
    """Waveform float32 [batch, samples] at 16 kHz → mel power in dB [batch, 64, frames].

    There is a frame every 160 samples, 1 + samples // 160 in all, edges reflected. What lies more
    than 120 dB under the loudest value of its own clip is raised to there. In matrix products, so
    that it exports to ONNX; under autocast it stays in float32.
    """

    dft: Tensor
    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, value in (("dft", windowed_dft()), ("bank", mel_bank())):
            self.register_buffer(name, torch.from_numpy(value).float(), persistent=False)

    def _frames(self, waveform: Tensor) -> Tensor:
        """Overlapping stretches of the waveform, [batch, 512, frames]."""
        edge = N_FFT // 2
        padded = F.pad(waveform[:, None], (edge, edge), mode="reflect")[:, 0]
        return padded.unfold(1, N_FFT, HOP).transpose(1, 2)

    def forward(self, waveform: Tensor) -> Tensor:
        with torch.autocast(waveform.device.type, enabled=False):
            real, imaginary = (self.dft @ self._frames(waveform.float())).chunk(2, dim=1)
            power = self.bank @ (real * real + imaginary * imaginary)
            decibels = 10.0 * power.clamp(min=POWER_FLOOR).log10()
            return torch.maximum(decibels, decibels.amax((1, 2), keepdim=True) - TOP_DB)


class FixedNorm(nn.BatchNorm1d):
    """Batch normalisation by the stored statistics, also in training."""

    def train(self, mode: bool = True) -> FixedNorm:  # noqa: ARG002
        super().train(False)
        return self


class Attention(nn.Module):
    """Multi-head self-attention over all patches."""

    def __init__(self, shape: CedShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.unflatten(self.qkv(x), -1, (3, self.heads, -1)).transpose(1, 3)
        query, key, value = parts.unbind(2)
        mixed = F.scaled_dot_product_attention(query, key, value)
        found: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return found


class Block(nn.Module):
    """Attention and a GELU network, each after a layer norm and with a residual."""

    def __init__(self, shape: CedShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=1e-6)
        self.attn = Attention(shape)
        self.norm2 = nn.LayerNorm(shape.width, eps=1e-6)
        fc1, fc2 = nn.Linear(shape.width, 4 * shape.width), nn.Linear(4 * shape.width, shape.width)
        self.mlp = nn.ModuleDict({"fc1": fc1, "fc2": fc2})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        found: Tensor = x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
        return found


class Ced(nn.Module):
    """Waveform float32 [batch, samples] at 16 kHz → embedding [batch, width], not of unit length.

    A clip of less than 2400 samples (one patch) is filled up with zeros. One of more than 161,919
    is heard through the fewest windows of 10 s that cover it, at equal distances from its start to
    its end; the embedding is the mean over the windows.
    """

    def __init__(self, shape: CedShape) -> None:
        super().__init__()
        self.shape = shape
        self.mel = CedMel()
        self.time_pos_embed = nn.Parameter(0.02 * torch.randn(1, shape.width, 1, TIMES))
        self.freq_pos_embed = nn.Parameter(0.02 * torch.randn(1, shape.width, BANDS // PATCH, 1))
        self.init_bn = nn.ModuleDict({"1": FixedNorm(BANDS)})
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, shape.width, PATCH, PATCH)})
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width, eps=1e-6)

    def forward(self, waveform: Tensor) -> Tensor:
        if waveform.shape[1] < SHORTEST:
            waveform = F.pad(waveform, (0, SHORTEST - waveform.shape[1]))
        if waveform.shape[1] <= LONGEST:
            return self._embed(waveform)
        starts = window_starts(waveform.shape[1])
        windows = [waveform[:, start : start + WINDOW] for start in starts]
        return torch.stack([self._embed(window) for window in windows]).mean(0)

    def _embed(self, waveform: Tensor) -> Tensor:
        mel = self.init_bn["1"](self.mel(waveform))
        x = self.patch_embed["proj"](mel[:, None])
        x = x + self.time_pos_embed[..., : x.shape[-1]] + self.freq_pos_embed
        x = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        found: Tensor = self.norm(x).mean(1)
        return found


def window_starts(samples: int) -> list[int]:
    """First samples of the windows that cover a clip of more than one window."""
    gaps = math.ceil(samples / WINDOW) - 1
    return [place * (samples - WINDOW) // gaps for place in range(gaps + 1)]


def load_ced(path: Path, shape: CedShape | None = None) -> Ced:
    """The encoder of an official checkpoint, in eval mode; its size is read from the weights.

    Layouts: `audiotransformer_*.pt`, and the port for transformers, which puts `encoder.` before
    the keys. The tagging head and the front end's own tables are left out.

    Raises:
        ModelError: unreadable, or not an encoder of this shape; names the key.
    """
    weights = _official(read_weights(path))
    shape = shape or _shape_of(weights, path)
    with torch.device("meta"):
        net = Ced(shape)
    return fill(net, weights, path).eval()


def _official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the keys of the first publication, less what is not used."""
    found = {}
    for key, value in weights.items():
        name = key.removeprefix("encoder.")
        if name.startswith("init_bn.") and not name.startswith("init_bn.1."):
            name = name.replace("init_bn.", "init_bn.1.", 1)
        if not name.startswith(("front_end.", "outputlayer.")):
            found[name] = value
    return found


def _shape_of(weights: Mapping[str, Tensor], path: Path) -> CedShape:
    """The published size of this width; the largest when the key that tells it is missing."""
    if "norm.weight" not in weights:
        return CED_SHAPES["base"]
    width = weights["norm.weight"].numel()
    found = [shape for shape in CED_SHAPES.values() if shape.width == width]
    if not found:
        widths = ", ".join(f"{shape.width} ({name})" for name, shape in CED_SHAPES.items())
        why = f"`norm.weight` has {width} values; CED has {widths}."
        raise ModelError(f"`{path}` is no published size of CED.", why=why)
    return found[0]
