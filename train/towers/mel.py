"""Log-mel front end in matrix products, so that it exports inside the ONNX graph.

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


RADIX = 32
COLUMNS = WINDOW // RADIX
ROWS = 16
BINS = RADIX * ROWS
STEP = 160  # hop and window are both multiples of it


def _waves(angle: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.cos(angle), -np.sin(angle)


def dft_factors() -> tuple[NDArray[np.float64], ...]:
    """The 1024-point DFT of 800 samples as two small products and a twist between them.

    With sample n = 32·n1 + n2 and bin k = k1 + 32·k2 (Cooley and Tukey, 1965):
    X[k] = Σ_n2 W32^(n2·k2) · W1024^(n2·k1) · Σ_n1 W32^(n1·k1) · x[n].

    Returns:
        first [64, 25] (n1 → k1, real above imaginary), twist real and imaginary [32, 32] (k1, n2),
        second [64, 32] (n2 real above imaginary → k2 real beside imaginary, bins below 512).
    """
    n1, n2 = np.arange(COLUMNS), np.arange(RADIX)
    k1, k2 = np.arange(RADIX), np.arange(ROWS)
    first = np.concatenate(_waves(2 * math.pi * np.outer(k1, n1) / RADIX))
    twist_real, twist_imaginary = _waves(2 * math.pi * np.outer(k1, n2) / N_FFT)
    real, imaginary = _waves(2 * math.pi * np.outer(n2, k2) / RADIX)
    second = np.block([[real, imaginary], [-imaginary, real]])
    return first, twist_real, twist_imaginary, second


def hann() -> NDArray[np.float64]:
    """The symmetric Hann window of `WINDOW` samples."""
    return 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(WINDOW) / (WINDOW - 1))


class LogMel(nn.Module):
    """Waveform float32 [batch, samples] at 32 kHz → log-mel [batch, 1, 128, frames].

    There is a frame every 320 samples, 1 + (samples - 1) // 320 in all. Values are
    (log(power + 1e-5) + 4.5) / 5. Needs more than 400 samples (reflected edges).
    """

    window: Tensor
    first: Tensor
    twist_real: Tensor
    twist_imaginary: Tensor
    second: Tensor
    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        names = ("first", "twist_real", "twist_imaginary", "second")
        constants = dict(zip(names, dft_factors(), strict=True))
        constants["window"] = hann()
        by_bin = mel_bank()[:, :BINS].T.reshape(ROWS, RADIX, N_MELS)
        constants["bank"] = by_bin.transpose(1, 0, 2).reshape(BINS, N_MELS)  # k1 before k2
        for name, value in constants.items():
            self.register_buffer(name, torch.from_numpy(value).float(), persistent=False)

    def _frames(self, waveform: Tensor) -> Tensor:
        """Emphasised, windowed frames [batch, frames, 800]."""
        count = (waveform.shape[1] - 1) // HOP + 1
        edge = WINDOW // 2
        padded = F.pad(waveform[:, None], (edge, edge), mode="reflect")[:, 0]
        emphasised = padded[:, 1:] - PREEMPHASIS * padded[:, :-1]
        used = emphasised[:, : (count - 1) * HOP + WINDOW]
        steps = torch.unflatten(used, 1, (-1, STEP))
        parts = [steps[:, at : at + 2 * count - 1 : 2] for at in range(WINDOW // STEP)]
        return torch.cat(parts, dim=2) * self.window

    def forward(self, waveform: Tensor) -> Tensor:
        samples = torch.unflatten(self._frames(waveform), 2, (COLUMNS, RADIX))
        real, imaginary = (self.first @ samples).chunk(2, dim=2)
        twisted_real = real * self.twist_real - imaginary * self.twist_imaginary
        twisted_imaginary = real * self.twist_imaginary + imaginary * self.twist_real
        bins = torch.cat([twisted_real, twisted_imaginary], dim=3) @ self.second
        power = (bins[..., :ROWS].square() + bins[..., ROWS:].square()).flatten(2)
        mel = (power @ self.bank).transpose(1, 2)
        return ((mel + LOG_FLOOR).log() + 4.5).div(5.0)[:, None]
