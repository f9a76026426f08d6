"""The log-mel front end against a direct transform of one frame in numpy, float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from train.towers.mel import F_MAX, HOP, LOG_FLOOR, N_FFT, N_MELS, SAMPLE_RATE, WINDOW, LogMel

SILENCE = (math.log(LOG_FLOOR) + 4.5) / 5.0


@pytest.fixture(scope="module")
def front() -> LogMel:
    return LogMel()


def noise(samples: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def run(front: LogMel, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Frames [frames, 128] of one waveform."""
    found: NDArray[np.float32] = front(torch.from_numpy(waveform)[None])[0, 0].T.numpy()
    return found


def slow_mel(hz: float) -> float:
    return 1127.0 * math.log(1.0 + hz / 700.0)


def slow_frame(waveform: NDArray[np.float32], frame: int) -> NDArray[np.float64]:
    """One frame: reflect, pre-emphasise, window, transform bin by bin, sum up triangles."""
    padded = np.pad(waveform.astype(np.float64), WINDOW // 2, mode="reflect")
    emphasised = padded[1:] - 0.97 * padded[:-1]
    n = np.arange(WINDOW)
    window = 0.5 - 0.5 * np.cos(2 * math.pi * n / (WINDOW - 1))
    samples = emphasised[frame * HOP : frame * HOP + WINDOW] * window
    bands = np.zeros(N_MELS)
    edges = np.linspace(0.0, slow_mel(F_MAX), N_MELS + 2)
    for k in range(N_FFT // 2 + 1):
        power = abs(np.sum(samples * np.exp(-2j * math.pi * k * n / N_FFT))) ** 2
        place = slow_mel(k * SAMPLE_RATE / N_FFT)
        for band in range(N_MELS):
            left, centre, right = edges[band : band + 3]
            if left < place < right:
                rising = place <= centre
                side = (place - left) / (centre - left)
                bands[band] += power * (side if rising else (right - place) / (right - centre))
    found: NDArray[np.float64] = (np.log(bands + LOG_FLOOR) + 4.5) / 5.0
    return found


@pytest.mark.parametrize("frame", [0, 7, 20])
def test_a_frame_is_what_the_direct_transform_gives(front: LogMel, frame: int) -> None:
    waveform = noise(20 * HOP + 1)
    np.testing.assert_allclose(run(front, waveform)[frame], slow_frame(waveform, frame), atol=2e-4)


def test_a_tone_is_in_its_band(front: LogMel) -> None:
    hertz = 1000.0
    tone = np.sin(2 * math.pi * hertz * np.arange(16_000) / SAMPLE_RATE).astype(np.float32)
    step = slow_mel(F_MAX) / (N_MELS + 1)
    assert abs(int(run(front, tone)[20].argmax()) - (slow_mel(hertz) / step - 1)) <= 1


@pytest.mark.parametrize("samples", [401, 640, 641, 32_000, 32_001, 40_123])
def test_there_is_a_frame_every_hop(front: LogMel, samples: int) -> None:
    assert run(front, noise(samples)).shape == (1 + (samples - 1) // HOP, N_MELS)


def test_silence_is_the_floor(front: LogMel) -> None:
    np.testing.assert_allclose(run(front, np.zeros(3200, np.float32)), SILENCE, atol=1e-6)


def test_ten_times_the_amplitude_is_a_hundred_times_the_power(front: LogMel) -> None:
    waveform = noise(8000)
    louder = run(front, waveform * 1000) - run(front, waveform * 100)
    np.testing.assert_allclose(louder, math.log(100) / 5.0, atol=1e-3)


def test_a_shift_by_one_hop_shifts_the_frames(front: LogMel) -> None:
    waveform = noise(16_000)
    here, later = run(front, waveform), run(front, waveform[HOP:])
    np.testing.assert_allclose(here[4:-3], later[3:-3], atol=1e-5)


def test_rows_of_a_batch_do_not_touch(front: LogMel) -> None:
    one, two = noise(5000, 1), noise(5000, 2)
    both = front(torch.from_numpy(np.stack([one, two])))
    np.testing.assert_allclose(both[1, 0].T.numpy(), run(front, two), atol=1e-6)
