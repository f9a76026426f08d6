"""What CED and Dasheng have in common: a transformer over patches of a mel spectrogram.

Without class token; pre-norm blocks; the embedding is the mean over all patches. Written from the
papers and the shapes of the published weights, in the keys of their checkpoints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.towers.decibels import BANDS, HOP, SAMPLE_RATE, DecibelMel

WINDOW = 10 * SAMPLE_RATE
UNUSED = ("front_end.", "outputlayer.")


@dataclass(frozen=True)
class TowerShape:
    """Sizes of the transformer; the inner width is four times the outer."""

    width: int
    heads: int
    layers: int = 12


@dataclass(frozen=True)
class Patching:
    """A patch covers `bands` mel bands by `frames` frames; a clip has at most `longest` frames."""

    bands: int
    frames: int
    longest: int

    @property
    def shortest_samples(self) -> int:
        """The fewest samples that make one patch."""
        return (self.frames - 1) * HOP

    @property
    def longest_samples(self) -> int:
        """The most samples that are heard in one go."""
        return self.longest * HOP - 1


class FixedNorm(nn.BatchNorm1d):
    """Batch normalisation by the stored statistics, also in training."""

    def train(self, mode: bool = True) -> FixedNorm:  # noqa: ARG002
        super().train(False)
        return self


class Attention(nn.Module):
    """Multi-head self-attention over all patches."""

    def __init__(self, shape: TowerShape) -> None:
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

    def __init__(self, shape: TowerShape) -> None:
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


class PatchTower(nn.Module):
    """Waveform float32 [batch, samples] at 16 kHz → embedding [batch, width], not of unit length.

    A clip too short for one patch is filled up with zeros. One of more than
    `patching.longest_samples` is heard through the fewest windows of 10 s that cover it, at equal
    distances from its start to its end; the embedding is the mean over the windows.
    """

    patching: ClassVar[Patching]

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.shape = shape
        bands, frames = self.patching.bands, self.patching.frames
        places = self.patching.longest // frames
        self.mel = DecibelMel()
        self.time_pos_embed = nn.Parameter(0.02 * torch.randn(1, shape.width, 1, places))
        self.freq_pos_embed = nn.Parameter(0.02 * torch.randn(1, shape.width, BANDS // bands, 1))
        self.init_bn = nn.ModuleDict({"1": FixedNorm(BANDS)})
        proj = nn.Conv2d(1, shape.width, (bands, frames), (bands, frames))
        self.patch_embed = nn.ModuleDict({"proj": proj})
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width, eps=1e-6)

    def forward(self, waveform: Tensor) -> Tensor:
        missing = self.patching.shortest_samples - waveform.shape[1]
        if missing > 0:
            waveform = F.pad(waveform, (0, missing))
        if waveform.shape[1] <= self.patching.longest_samples:
            return self.pool(self.spectrogram(waveform))
        starts = window_starts(waveform.shape[1])
        windows = [waveform[:, start : start + WINDOW] for start in starts]
        return torch.stack([self.pool(self.spectrogram(window)) for window in windows]).mean(0)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """Normalised mel [batch, 64, frames] of a waveform of at least one patch."""
        found: Tensor = self.init_bn["1"](self.mel(waveform))
        return found

    def pool(self, mel: Tensor) -> Tensor:
        """Embedding [batch, width] of normalised mels [batch, 64, frames], `longest` at most."""
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
