"""Augmentation of waveforms: crop, equaliser, second sound, noise, gain; each by an explicit rng.

Waveforms are float32 [samples], one or more, finite and around ±1; so are the results. Silence
stays silence: levels are relative to the sound's own. Nothing is clipped; `Augment` scales a
result that exceeds ±1 down as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
Range = tuple[float, float]
Colour = Literal["white", "pink"]
Scalar = TypeVar("Scalar", bound=np.generic)

FFT_STEP = 4096  # transforms are of a multiple of it, which has small factors
INAUDIBLE = 1e-6  # where the tail of a filter may end
EQ_BANDS = 3
LOWEST_CENTRE = 80.0  # Hz


class Band(NamedTuple):
    """One bell of an equaliser: centre in Hz, height in dB, quality factor."""

    centre: float
    decibels: float
    q: float = 1.0


def crop(frames: NDArray[Scalar], length: int, rng: np.random.Generator | None) -> NDArray[Scalar]:
    """`length` rows of a sound [n, …], at random (first ones without `rng`); short ones loop."""
    if len(frames) < length:
        frames = np.tile(frames, (-(-length // len(frames)), *([1] * (frames.ndim - 1))))
    last = len(frames) - length
    start = int(rng.integers(last + 1)) if rng is not None else 0
    return frames[start : start + length]


def gain(wave: Wave, decibels: float) -> Wave:
    """The waveform louder by `decibels`."""
    return wave * np.float32(10.0 ** (decibels / 20.0))


def mix(wave: Wave, other: Wave, snr: float, rng: np.random.Generator | None) -> Wave:
    """The waveform with a second one beneath it, whose power is `snr` dB below its own.

    The second one is cropped or looped to the first one's length (`crop`).
    """
    under = crop(other, len(wave), rng).astype(np.float64)
    power = float(np.mean(np.square(under)))
    if power == 0.0:
        return wave.copy()
    wanted = float(np.mean(np.square(wave, dtype=np.float64))) / 10.0 ** (snr / 10.0)
    return (wave + under * math.sqrt(wanted / power)).astype(np.float32)


def noise(samples: int, rng: np.random.Generator, colour: Colour = "white") -> Wave:
    """Gaussian noise float32 [samples], `pink` with power as 1/f; its level is for `mix` to set."""
    white = rng.standard_normal(samples)
    if colour == "white":
        return white.astype(np.float32)
    spectrum = np.fft.rfft(white)
    spectrum[0] = 0.0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return np.fft.irfft(spectrum, samples).astype(np.float32)


def peaking_filter(band: Band, rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients b, a, float64 [3] each, of a peaking biquad; a[0] is 1.

    Source: Bristow-Johnson, Audio EQ Cookbook, peakingEQ.

    Raises:
        ValueError: the centre is not between 0 and half the rate, or q is not positive.
    """
    if not 0 < band.centre < rate / 2 or band.q <= 0:
        raise ValueError(f"no filter at {rate} Hz: {band}")
    turn = 2 * math.pi * band.centre / rate
    amplitude, alpha = 10.0 ** (band.decibels / 40.0), math.sin(turn) / (2 * band.q)
    middle = -2 * math.cos(turn)
    b = np.array([1 + alpha * amplitude, middle, 1 - alpha * amplitude])
    a = np.array([1 + alpha / amplitude, middle, 1 - alpha / amplitude])
    return b / a[0], a / a[0]


def equalise(wave: Wave, rate: int, bands: Sequence[Band]) -> Wave:
    """The waveform through peaking filters in a row, in one product of spectra.

    The transform is long enough for the filters' tails, so it equals the recursion.

    Raises:
        ValueError: as `peaking_filter`.
    """
    filters = [peaking_filter(band, rate) for band in bands]
    tail = sum(_tail(a) for _, a in filters)
    size = -(-(len(wave) + tail) // FFT_STEP) * FFT_STEP
    delay = np.exp(-2j * math.pi * np.arange(size // 2 + 1) / size)
    spectrum = np.fft.rfft(wave.astype(np.float64), size)
    for b, a in filters:
        spectrum *= np.polyval(b[::-1], delay) / np.polyval(a[::-1], delay)
    return np.fft.irfft(spectrum, size)[: len(wave)].astype(np.float32)


def _tail(a: NDArray[np.float64]) -> int:
    """Samples until the filter's response has died away."""
    radius = max(0.5, float(np.abs(np.roots(a)).max()))
    return math.ceil(math.log(INAUDIBLE) / math.log(radius))


@dataclass(frozen=True)
class Augment:
    """What is done to a clip, in this order: the chance of each, and its range.

    `crop` takes a random part of at least the share `shortest` and loops it; `eq` has three bands
    of up to ±`eq_db` dB; `mix` puts another sound beneath, and `noise` white or pink noise, at a
    signal-to-noise ratio in dB; `gain` is in dB.
    """

    crop: float = 0.5
    eq: float = 0.5
    mix: float = 0.3
    noise: float = 0.3
    gain: float = 1.0
    shortest: float = 0.5
    eq_db: float = 6.0
    mix_snr: Range = (0.0, 20.0)
    noise_snr: Range = (10.0, 40.0)
    gain_db: Range = (-18.0, 6.0)

    def __call__(
        self, wave: Wave, rate: int, rng: np.random.Generator, others: Sequence[Wave] = ()
    ) -> Wave:
        """A view of a waveform, of its length; within ±1.

        Args:
            wave: float32 [samples].
            rate: in Hz.
            rng: decides everything.
            others: sounds of the same rate to mix in; without any there is no mixing.
        """
        length = len(wave)
        if rng.random() < self.crop:
            part = math.ceil(length * rng.uniform(self.shortest, 1.0))
            wave = crop(crop(wave, part, rng), length, None)
        if rng.random() < self.eq:
            wave = equalise(wave, rate, self._bands(rate, rng))
        if rng.random() < self.mix and others:
            other = others[int(rng.integers(len(others)))]
            wave = mix(wave, other, rng.uniform(*self.mix_snr), rng)
        if rng.random() < self.noise:
            colour: Colour = "white" if rng.random() < 0.5 else "pink"
            wave = mix(wave, noise(length, rng, colour), rng.uniform(*self.noise_snr), None)
        if rng.random() < self.gain:
            wave = gain(wave, rng.uniform(*self.gain_db))
        return (wave / max(1.0, float(np.abs(wave).max()))).astype(np.float32)

    def _bands(self, rate: int, rng: np.random.Generator) -> list[Band]:
        centres = np.exp(rng.uniform(math.log(LOWEST_CENTRE), math.log(0.4 * rate), EQ_BANDS))
        heights = rng.uniform(-self.eq_db, self.eq_db, EQ_BANDS)
        return [Band(float(f), float(db)) for f, db in zip(centres, heights, strict=True)]
