"""Decoding: same sound, same samples; bounded memory; times in seconds of the file."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from atri_cli.audio import decode, source
from atri_cli.errors import AudioError
from atri_cli.library.types import Window
from tests.sounds import noise, tone, write, write_noise, write_tone

RATE = 16000


def windows(path: Path) -> list[tuple[Window, NDArray[np.float32]]]:
    return list(decode.stream_windows(path, RATE, 2.0, 1.0, 0.25))


def pitch(waveform: NDArray[np.float32]) -> float:
    return float(np.abs(np.fft.rfft(waveform)).argmax()) * RATE / len(waveform)


def test_windows_of_a_long_file(tmp_path: Path) -> None:
    found = windows(write_noise(tmp_path / "a.wav", 5.5))
    spans = [(window.start, window.end) for window, _ in found]
    assert spans == [(0, 2), (1, 3), (2, 4), (3, 5), (3.5, 5.5)]
    assert all(len(waveform) == 2 * RATE for _, waveform in found)


def test_a_short_file_is_one_window_of_its_own_length(tmp_path: Path) -> None:
    ((window, waveform),) = windows(write_tone(tmp_path / "a.wav", seconds=0.7))
    assert window == Window(0, 0.7)
    assert len(waveform) == 0.7 * RATE


def test_a_very_short_file_is_repeated(tmp_path: Path) -> None:
    ((window, waveform),) = windows(write_noise(tmp_path / "a.wav", 0.1))
    assert window == Window(0, 0.1)
    assert len(waveform) == 0.25 * RATE
    np.testing.assert_array_equal(waveform[1600:3200], waveform[:1600])


@pytest.mark.parametrize("kind", ["flac", "aiff", "caf", "w64", "rf64", "au", "voc"])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_lossless_containers_give_identical_windows(tmp_path: Path, kind: str, rate: int) -> None:
    whole = np.round(noise(3.3, rate) * 32767).astype(np.int16)
    paths = [tmp_path / f"a.{kind}", tmp_path / "a.wav"]
    for path in paths:
        soundfile.write(path, whole, rate, "PCM_16", format=path.suffix[1:].upper())
    one, other = (windows(path) for path in paths)
    assert [window for window, _ in one] == [window for window, _ in other]
    for (_, left), (_, right) in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("size", [1000, 4097, 50_000])
def test_the_block_size_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = write_noise(tmp_path / "a.wav", 7, 44100)
    usual = windows(path)
    monkeypatch.setattr(source, "BLOCK_VALUES", size)
    for (left_at, left), (right_at, right) in zip(usual, windows(path), strict=True):
        assert left_at == right_at
        np.testing.assert_allclose(left, right, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 192_000])
def test_resampling_keeps_time_and_pitch(tmp_path: Path, rate: int) -> None:
    ((window, waveform),) = windows(write_tone(tmp_path / "a.wav", 1000, 1.0, rate))
    assert window.end == pytest.approx(1.0, abs=1e-4)
    assert pitch(waveform) == pytest.approx(1000, abs=2)
    np.testing.assert_allclose(waveform[2000:14000], tone(1000)[2000:14000], atol=2e-3)


def test_resampling_lets_no_alias_through(tmp_path: Path) -> None:
    ((_, waveform),) = windows(write_tone(tmp_path / "a.wav", 11_000, 1.0, 48000))
    assert np.abs(waveform[2000:14000]).max() < 1e-3


def test_channels_are_averaged(tmp_path: Path) -> None:
    channels = np.stack([tone(440), *[np.zeros(RATE, np.float32)] * 7], axis=1)
    path = write(tmp_path / "a.wav", channels, RATE, "FLOAT")
    assert decode.read_info(path) == decode.AudioInfo(1.0, RATE, 8)
    ((_, waveform),) = windows(path)
    np.testing.assert_allclose(waveform, tone(440) / 8, atol=1e-7)


def test_silent_stretches_give_no_window(tmp_path: Path) -> None:
    whole = np.concatenate([np.zeros(4 * RATE, np.float32), tone(440, 1.0)])
    spans = [window.start for window, _ in windows(write(tmp_path / "a.wav", whole))]
    assert spans == [3.0]


def test_a_few_bad_samples_become_zero(tmp_path: Path) -> None:
    whole = tone(440)
    whole[[5, 6, 7, 8]] = [np.nan, np.inf, -np.inf, 1e30]
    ((_, waveform),) = windows(write(tmp_path / "a.wav", whole, RATE, "FLOAT"))
    assert not waveform[5:9].any()
    np.testing.assert_array_equal(waveform[9:], tone(440)[9:])


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(seconds: float) -> int:
        path = tmp_path / f"{seconds}.wav"
        write(path, np.repeat(noise(seconds, 96000)[:, None], 8, axis=1), 96000)
        tracemalloc.start()
        for _ in decode.stream_windows(path, 32000, 2.0, 1.0, 0.25):
            pass
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(3)
    assert peak(12) < peak(3) + 500_000


def test_span(tmp_path: Path) -> None:
    whole = np.concatenate([tone(300, 1.0), tone(2000, 1.0)])
    path = write(tmp_path / "a.wav", whole)
    assert pitch(decode.load_span(path, RATE, 0.2, 0.8)) == pytest.approx(300, abs=5)
    assert pitch(decode.load_span(path, RATE, 1.25)) == pytest.approx(2000, abs=5)
    assert len(decode.load_span(path, RATE)) == 2 * RATE
    assert len(decode.load_span(path, RATE, 1.5, 99)) == RATE / 2
    assert len(decode.load_span(path, 8000, 0.25, 0.75)) == 4000


@pytest.mark.parametrize(("start", "end"), [(3.0, None), (5.0, 6.0), (1.0, 0.5), (-1.0, 0.5)])
def test_a_span_outside_the_file_is_refused(
    tmp_path: Path, start: float, end: float | None
) -> None:
    path = write_tone(tmp_path / "a.wav", seconds=2)
    with pytest.raises(AudioError, match=r"has no sound at") as caught:
        decode.load_span(path, RATE, start, end)
    assert caught.value.reason == "outside"
