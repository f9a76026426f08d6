"""Endless training views from cached log-mels: crops, gain, equaliser curves, mixtures.

All of it happens on mel power, so no waveform is read again: adding two powers is a mixture of
two uncorrelated sounds, a factor is a gain, a curve over the bands an equaliser.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.data.augment import crop
from train.melcache import CachedClip
from train.towers.mel import LOG_FLOOR, N_MELS

SILENCE = (float(np.log(LOG_FLOOR)) + 4.5) / 5.0


def to_power(mel: Tensor) -> Tensor:
    """Normalised log-mel → power above the floor."""
    return ((mel * 5.0 - 4.5).exp() - LOG_FLOOR).clamp_min(0.0)


def to_log(power: Tensor) -> Tensor:
    """Power → normalised log-mel, as `LogMel` gives it."""
    return ((power + LOG_FLOOR).log() + 4.5) / 5.0


def draw(
    rng: np.random.Generator, chance: NDArray[np.floating[Any]], count: int
) -> NDArray[np.int64]:
    """Places drawn by their cumulated chances, int64 [count]; the last chance may round below 1."""
    return np.minimum(np.searchsorted(chance, rng.random(count)), len(chance) - 1)


class Views:
    """Draws batches of augmented views, float32 [batch, 1, 128, frames].

    Args:
        clips: the clips to draw from; a clip's chance grows with the square root of its length,
            so that effects are not drowned by long recordings.
        seed: every batch is a function of the seed and the step.
        mix: chance of a second sound beneath the first.
    """

    def __init__(self, clips: Sequence[CachedClip], seed: int, mix: float = 0.3) -> None:
        self.mels = [np.ascontiguousarray(clip.mel) for clip in clips]
        weight = np.sqrt([min(len(mel), 2000) for mel in self.mels])
        self.chance = np.cumsum(weight / weight.sum())
        self.seed = seed
        self.mix = mix

    def _stack(self, rng: np.random.Generator, picks: NDArray[np.int64], length: int) -> Tensor:
        crops = np.stack([crop(self.mels[pick], length, rng) for pick in picks])
        return torch.from_numpy(crops.astype(np.float32)).transpose(1, 2)

    def batch(self, step: int, size: int, length: int) -> Tensor:
        """The batch of `step`: `size` views of `length` frames."""
        rng = np.random.default_rng((self.seed, step))
        return self.of(rng, draw(rng, self.chance, size), length)

    def each(self, step: int, length: int) -> Tensor:
        """One view of every clip, in their order."""
        rng = np.random.default_rng((self.seed, step))
        return self.of(rng, np.arange(len(self.mels)), length)

    def of(self, rng: np.random.Generator, picks: NDArray[np.int64], length: int) -> Tensor:
        """A view of each of the clips picked, int64 [n]; a clip may be picked more than once."""
        size = len(picks)
        power = to_power(self._stack(rng, picks, length))
        under = to_power(self._stack(rng, draw(rng, self.chance, size), length))
        decibels = rng.uniform(-20.0, 0.0, size) - 100.0 * (rng.random(size) > self.mix)
        gain = rng.uniform(-18.0, 6.0, size)
        mixed = power + under * _factor(decibels)
        return to_log(mixed * _factor(gain) * self._curve(rng, size))[:, None]

    def _curve(self, rng: np.random.Generator, size: int) -> Tensor:
        """A smooth equaliser of up to ±9 dB over the bands for half of the views."""
        knots = rng.uniform(-9.0, 9.0, (size, 5)) * (rng.random((size, 1)) < 0.5)
        bands = np.linspace(0, 4, N_MELS)
        curves = np.stack([np.interp(bands, np.arange(5), row) for row in knots])
        return torch.from_numpy(10.0 ** (curves / 10.0)).float()[:, :, None]


def _factor(decibels: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(10.0 ** (decibels / 10.0)).float()[:, None, None]
