"""Log-mel front end as one strided convolution, so that it exports inside the ONNX graph.

32 kHz, 1024-point DFT, 800-sample Hann window, hop 320, 128 mel bands to 15 kHz (the front end of
EfficientAT, Schmid et al., ICASSP 2023, whose teacher this project learns from).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

SAMPLE_RATE = 32_000
N_FFT = 1024
WINDOW = 800
HOP = 320
N_MELS = 128
F_MAX = 15_000.0
PREEMPHASIS = 0.97
LOG_FLOOR = 1e-5


def mel_bank() -> NDArray[np.float64]:
    """Triangles equally spaced on the HTK/Kaldi mel scale, 0 Hz to `F_MAX`, as [128, 513]."""

    def mel(hz: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return 1127.0 * np.log1p(np.asarray(hz, dtype=np.float64) / 700.0)

    edges = np.linspace(0.0, float(mel(F_MAX)), N_MELS + 2)
    bins = mel(np.arange(N_FFT // 2 + 1) * SAMPLE_RATE / N_FFT)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - left) / (centre - left)
    falling = (right - bins) / (right - centre)
    return np.clip(np.minimum(rising, falling), 0.0, None)


def dft_kernels(bins: int) -> NDArray[np.float64]:
    """Cosine and sine rows with window and pre-emphasis folded in, [2 * bins, WINDOW + 1]."""
    n = np.arange(WINDOW)
    hann = 0.5 - 0.5 * np.cos(2 * math.pi * n / (WINDOW - 1))
    angle = 2 * math.pi * np.arange(bins)[:, None] * n[None, :] / N_FFT
    rows = np.concatenate([np.cos(angle), np.sin(angle)]) * hann
    kernels = np.zeros((2 * bins, WINDOW + 1))
    kernels[:, 1:] += rows
    kernels[:, :-1] -= PREEMPHASIS * rows
    return kernels


class LogMel(nn.Module):
    """Waveform float32 [batch, samples] at 32 kHz → log-mel [batch, 1, 128, 1 + samples // 320].

    Values are (log(power + 1e-5) + 4.5) / 5. Needs more than 400 samples (reflected edges).
    """

    def __init__(self) -> None:
        super().__init__()
        bank = mel_bank()
        self.bins = int(np.nonzero(bank.any(axis=0))[0].max()) + 1
        kernels = torch.from_numpy(dft_kernels(self.bins)).float()
        self.register_buffer("kernels", kernels[:, None, :], persistent=False)
        bank_t = torch.from_numpy(bank[:, : self.bins]).float()
        self.register_buffer("bank", bank_t, persistent=False)
        self.kernels: Tensor
        self.bank: Tensor

    def forward(self, waveform: Tensor) -> Tensor:
        padded = F.pad(waveform[:, None, :], (WINDOW // 2, WINDOW // 2), mode="reflect")
        spectrum = F.conv1d(padded, self.kernels, stride=HOP)
        real, imaginary = spectrum[:, : self.bins], spectrum[:, self.bins :]
        power = real * real + imaginary * imaginary
        mel = torch.matmul(self.bank, power)
        return ((mel + LOG_FLOOR).log() + 4.5).div(5.0)[:, None]
