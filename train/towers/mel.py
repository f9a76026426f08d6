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
HALF = RADIX // 2 + 1
NEEDED = np.array([k2 for k2 in range(RADIX) if k2 not in (15, 16)])  # the others lie over 15 kHz
BINS = HALF * len(NEEDED)


def dft_factors() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The 1024-point DFT of 800 real samples as two products.

    With sample n = 32·n1 + n2 and bin k = k1 + 32·k2 (Cooley and Tukey, 1965):
    X[k] = Σ_n2 exp(-2πi·n2·(k1/1024 + k2/32)) · Σ_n1 exp(-2πi·n1·k1/32) · x[n].
    The samples are real, so bin 1024 - k has the power of bin k, and k1 = 0..16 give them all.

    Returns:
        first [34, 25] (k1 with real before imaginary, n1); second, real and imaginary part
        [17, 30, 64] each (k1, k2 of `NEEDED`, n2 real before imaginary).
    """
    k1, n1, n2 = np.arange(HALF), np.arange(COLUMNS), np.arange(RADIX)
    angle = 2 * math.pi * np.outer(k1, n1) / RADIX
    first = np.stack([np.cos(angle), -np.sin(angle)], axis=1).reshape(2 * HALF, COLUMNS)
    turns = k1[:, None, None] / N_FFT + NEEDED[:, None] / RADIX
    cos, sin = np.cos(2 * math.pi * turns * n2), np.sin(2 * math.pi * turns * n2)
    return first, np.concatenate([cos, sin], axis=2), np.concatenate([-sin, cos], axis=2)


def bank_by_factors() -> NDArray[np.float64]:
    """The mel bank over the bins in the order of `dft_factors`, [128, 510]; none counts twice."""
    bins = np.arange(HALF)[:, None] + RADIX * NEEDED
    bins = np.minimum(bins, N_FFT - bins).ravel()
    _, places = np.unique(bins, return_index=True)
    bank = np.zeros((N_MELS, BINS))
    bank[:, places] = mel_bank()[:, bins[places]]
    return bank


def hann() -> NDArray[np.float64]:
    """The symmetric Hann window of `WINDOW` samples."""
    return 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(WINDOW) / (WINDOW - 1))


class LogMel(nn.Module):
    """Waveform float32 [batch, samples] at 32 kHz → log-mel [batch, 1, 128, frames].

    There is a frame every 320 samples, 1 + (samples - 1) // 320 in all. Values are
    (log(power + 1e-5) + 4.5) / 5. Needs more than 400 samples (reflected edges).

    Time is the last dimension throughout, so that each product is one over all frames. Under
    autocast it stays in float32.
    """

    window: Tensor
    first: Tensor
    real: Tensor
    imaginary: Tensor
    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        constants = dict(zip(("first", "real", "imaginary"), dft_factors(), strict=True))
        constants["window"] = hann()[:, None]
        constants["bank"] = bank_by_factors()
        for name, value in constants.items():
            self.register_buffer(name, torch.from_numpy(value).float(), persistent=False)

    def _frames(self, waveform: Tensor) -> Tensor:
        """Emphasised, windowed frames [batch, 800, frames]."""
        count = (waveform.shape[1] - 1) // HOP + 1
        edge = WINDOW // 2
        padded = F.pad(waveform[:, None], (edge, edge), mode="reflect")[:, 0]
        emphasised = padded[:, 1:] - PREEMPHASIS * padded[:, :-1]
        whole = F.pad(emphasised, (0, 2 * HOP))[:, : (count + 2) * HOP]
        hops = torch.unflatten(whole, 1, (-1, HOP)).transpose(1, 2)
        rest = hops[:, : WINDOW - 2 * HOP, 2 : count + 2]
        frames = torch.cat([hops[:, :, :count], hops[:, :, 1 : count + 1], rest], dim=1)
        return frames * self.window

    def forward(self, waveform: Tensor) -> Tensor:
        with torch.autocast(waveform.device.type, enabled=False):
            return self._log_mel(waveform.float())

    def _log_mel(self, waveform: Tensor) -> Tensor:
        samples = torch.unflatten(self._frames(waveform), 1, (COLUMNS, RADIX)).flatten(2)
        spectra = torch.unflatten(self.first @ samples, 2, (RADIX, -1))
        spectra = torch.unflatten(spectra, 1, (HALF, 2)).flatten(2, 3)
        real, imaginary = self.real @ spectra, self.imaginary @ spectra
        power = (real * real + imaginary * imaginary).flatten(1, 2)
        return ((self.bank @ power + LOG_FLOOR).log() * 0.2 + 0.9)[:, None]
