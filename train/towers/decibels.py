"""Mel spectrogram in decibels, the front end of CED and Dasheng, in matrix products.

16 kHz, 512-point DFT under a periodic Hann window, a frame every 10 ms, 64 bands to 8 kHz.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

SAMPLE_RATE = 16_000
N_FFT = 512
HOP = 160
BANDS = 64
F_MAX = 8000.0
POWER_FLOOR = 1e-10
TOP_DB = 120.0


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


class DecibelMel(nn.Module):
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
