"""CED and Dasheng computed directly in numpy, float64, over checkpoints made in their layouts."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HOP = 160
NORM = ("weight", "bias")
CED_PATCH, DASHENG_PATCH = (16, 16), (64, 4)
LONGEST = {CED_PATCH: 1012, DASHENG_PATCH: 1008}
Patch = tuple[int, int]
Weights = dict[str, Tensor]
Array = NDArray[np.float64]


def official(width: int, layers: int, patch: Patch, seed: int = 0) -> Weights:
    """A random checkpoint under the published keys, tagging head and front end among them."""
    places, bands = LONGEST[patch] // patch[1], 64 // patch[0]
    sizes = {"time_pos_embed": (1, width, 1, places), "freq_pos_embed": (1, width, bands, 1)}
    sizes |= {"front_end.0.spectrogram.window": (512,), "front_end.0.mel_scale.fb": (257, 64)}
    sizes |= {f"init_bn.1.{name}": (64,) for name in ("weight", "bias", "running_mean")}
    sizes |= {"patch_embed.proj.weight": (width, 1, *patch), "patch_embed.proj.bias": (width,)}
    linear = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    linear |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    for block in (f"blocks.{number}" for number in range(layers)):
        for name, size in linear.items():
            sizes |= {f"{block}.{name}.weight": size, f"{block}.{name}.bias": size[:1]}
        sizes |= {f"{block}.{n}.{p}": (width,) for n in ("norm1", "norm2") for p in NORM}
    sizes |= {f"{name}.{p}": (width,) for name in ("norm", "outputlayer.0") for p in NORM}
    sizes |= {"outputlayer.1.weight": (527, width), "outputlayer.1.bias": (527,)}
    torch.manual_seed(seed)
    weights = {name: 0.3 * torch.randn(size) for name, size in sizes.items()}
    weights["init_bn.1.running_var"] = 400 + torch.rand(64)
    weights["init_bn.1.num_batches_tracked"] = torch.tensor(7)
    return weights


def noise(samples: int, seed: int = 0) -> Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(0.1 * random.standard_normal(samples)).float()


def slow_mel(waveform: Array) -> Array:
    """Decibels [64, frames], frame by frame and band by band."""
    padded = np.pad(waveform, 256, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(512) / 512)
    top = 2595 * math.log10(1 + 8000 / 700)
    corners = [700 * (10 ** (step * top / 65 / 2595) - 1) for step in range(66)]
    found = np.zeros((64, 1 + len(waveform) // HOP))
    for frame in range(found.shape[1]):
        power = np.abs(np.fft.rfft(padded[frame * HOP : frame * HOP + 512] * window)) ** 2
        for band in range(64):
            heights = np.interp(np.arange(257) * 31.25, corners[band : band + 3], [0.0, 1.0, 0.0])
            found[band, frame] = 10 * math.log10(max(float(heights @ power), 1e-10))
    return np.maximum(found, found.max() - 120)


def slow_norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def slow_attention(x: Array, weights: dict[str, Array], name: str, heads: int) -> Array:
    """Head by head and query by query."""
    width = x.shape[1] // heads
    rows = x @ weights[f"{name}.qkv.weight"].T + weights[f"{name}.qkv.bias"]
    mixed = np.zeros_like(x)
    for head in range(heads):
        query, key, value = (
            rows[:, part * x.shape[1] + head * width :][:, :width] for part in range(3)
        )
        for place in range(len(x)):
            scores = np.exp(key @ query[place] / math.sqrt(width))
            mixed[place, head * width : (head + 1) * width] = scores @ value / scores.sum()
    return mixed @ weights[f"{name}.proj.weight"].T + weights[f"{name}.proj.bias"]


def slow_tower(waveform: Array, checkpoint: Weights, heads: int) -> Array:
    """Embedding [width] of one clip, straight from the published weights."""
    w = {name: value.double().numpy() for name, value in checkpoint.items()}
    mel = slow_mel(waveform).T - w["init_bn.1.running_mean"]
    mel = mel / np.sqrt(w["init_bn.1.running_var"] + 1e-5) * w["init_bn.1.weight"]
    mel = (mel + w["init_bn.1.bias"]).T
    tokens = []
    high, wide = w["patch_embed.proj.weight"].shape[2:]
    for band in range(64 // high):
        for time in range(mel.shape[1] // wide):
            patch = mel[high * band : high * band + high, wide * time : wide * time + wide]
            token = (w["patch_embed.proj.weight"][:, 0] * patch).sum((1, 2))
            place = w["time_pos_embed"][0, :, 0, time] + w["freq_pos_embed"][0, :, band, 0]
            tokens.append(token + w["patch_embed.proj.bias"] + place)
    x = np.stack(tokens)
    erf = np.vectorize(math.erf)
    layers = sum(name.endswith("norm1.weight") for name in w)
    for block in (f"blocks.{number}" for number in range(layers)):
        x = x + slow_attention(slow_norm(x, w, f"{block}.norm1"), w, f"{block}.attn", heads)
        inner = slow_norm(x, w, f"{block}.norm2") @ w[f"{block}.mlp.fc1.weight"].T
        inner = inner + w[f"{block}.mlp.fc1.bias"]
        inner = 0.5 * inner * (1 + erf(inner / math.sqrt(2)))
        x = x + inner @ w[f"{block}.mlp.fc2.weight"].T + w[f"{block}.mlp.fc2.bias"]
    found: Array = slow_norm(x, w, "norm").mean(0)
    return found
