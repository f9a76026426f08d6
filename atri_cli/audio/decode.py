"""From a sound file to waveforms for a model: decode, mix to mono, resample, cut.

The samples depend on the sound alone, not on its lossless container. Samples that are NaN,
infinite or absurdly large become 0. Silent windows (peak below -90 dBFS) are left out: they hold
nothing to find, and the vector of silence would match queries by accident.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from atri_cli.audio.files import show
from atri_cli.audio.segments import Mono, cut, loop_to
from atri_cli.audio.source import AudioInfo, open_source
from atri_cli.errors import AudioError
from atri_cli.library.types import Window

__all__ = ["AudioInfo", "load_span", "read_info", "stream_windows"]

# soxr's standard: the error is below 16-bit quantisation. Its faster settings gain little, as
# decoding dominates, and let aliases through that a mel front end would hear.
RESAMPLING = "HQ"

# Under 10 ms there is nothing a listener could name.
MIN_SECONDS = 0.01

SILENT_PEAK = 10 ** (-90 / 20)

# Floats this large are not sound; squared in a spectrum they would overflow.
MAX_SAMPLE = 1e6


def read_info(path: Path) -> AudioInfo:
    """Duration, rate and channels from the header, without decoding.

    Raises:
        AudioError: see `atri_cli.audio.source.open_source`.
    """
    with open_source(path) as source:
        return source.info


def stream_windows(
    path: Path, sample_rate: int, segment_seconds: float, hop_seconds: float, min_seconds: float
) -> Iterator[tuple[Window, Mono]]:
    """Decode a file into windows for a model, holding little more than one window in memory.

    Args:
        path: the file.
        sample_rate: of the waveforms, Hz.
        segment_seconds, hop_seconds: length of a window, and from one start to the next.
        min_seconds: a shorter waveform is repeated up to this length.

    Yields:
        The window's place in seconds of the file, and its waveform, float32 [samples].

    Raises:
        AudioError: reasons of `open_source`, and `empty`, `too-short` (under 10 ms), `silent`,
            `not-finite` (nothing but NaN and infinities).
    """
    segment = max(1, round(segment_seconds * sample_rate))
    hop = max(1, round(hop_seconds * sample_rate))
    minimum = round(min_seconds * sample_rate)
    with open_source(path) as source:
        heard = _Heard()
        mono = _resample(heard.watch(source.blocks()), source.info.sample_rate, sample_rate)
        found = False
        for start, waveform in cut(mono, segment, hop):
            if len(waveform) < MIN_SECONDS * sample_rate or _is_silent(waveform):
                continue
            found = True
            end = start + len(waveform)
            yield Window(start / sample_rate, end / sample_rate), loop_to(waveform, minimum)
        if not found:
            raise heard.refusal(path, source.info.sample_rate)


def load_span(
    path: Path, sample_rate: int, start: float | None = None, end: float | None = None
) -> Mono:
    """The waveform between two times, float32 [samples], held in memory as a whole.

    Args:
        path: the file.
        sample_rate: of the waveform, Hz.
        start, end: seconds; None means the file's own. An end behind the file's is the file's.

    Raises:
        AudioError: reasons of `stream_windows`, and `outside` when the span holds no sound.
    """
    first = start or 0.0
    if first < 0 or (end is not None and end <= first):
        raise _outside(path, first, end)
    with open_source(path) as source:
        rate = source.info.sample_rate
        heard = _Heard()
        blocks = heard.watch(source.blocks(first))
        if end is not None:
            blocks = _take(blocks, round((end - first) * rate))
        parts = list(_resample(blocks, rate, sample_rate))
        waveform = np.concatenate(parts) if parts else np.empty(0, np.float32)
        if first > 0 and not heard.samples:
            raise _outside(path, first, end)
        if len(waveform) < MIN_SECONDS * sample_rate or _is_silent(waveform):
            raise heard.refusal(path, rate)
    return waveform


class _Heard:
    """Counts what goes by, and replaces samples that are not sound by 0."""

    def __init__(self) -> None:
        self.samples = 0
        self.replaced = 0

    def watch(self, blocks: Iterable[Mono]) -> Iterator[Mono]:
        for block in blocks:
            self.samples += len(block)
            # NaN fails every comparison, so one pass finds all three kinds.
            bad = ~(np.abs(block) <= MAX_SAMPLE)
            if bad.any():
                self.replaced += int(bad.sum())
                block[bad] = 0.0
            yield block

    def refusal(self, path: Path, rate: int) -> AudioError:
        """Why no window of the file is worth a vector."""
        if not self.samples:
            what, reason = "holds no samples", "empty"
        elif self.samples < MIN_SECONDS * rate:
            what, reason = "is shorter than 10 ms", "too-short"
        elif self.replaced:
            what, reason = "holds NaN or infinity instead of sound", "not-finite"
        else:
            what, reason = "is silent", "silent"
        return AudioError(f"`{show(path)}` {what}.", reason=reason)


def _resample(blocks: Iterable[Mono], source_rate: int, target_rate: int) -> Iterator[Mono]:
    """Blocks at another rate. One instance of soxr keeps its state from block to block."""
    if source_rate == target_rate:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(source_rate, target_rate, 1, "float32", RESAMPLING)
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _take(blocks: Iterable[Mono], samples: int) -> Iterator[Mono]:
    """The first `samples` samples."""
    for block in blocks:
        yield block[:samples]
        samples -= len(block)
        if samples <= 0:
            return


def _is_silent(waveform: Mono) -> bool:
    return max(-float(waveform.min()), float(waveform.max())) < SILENT_PEAK


def _outside(path: Path, start: float, end: float | None) -> AudioError:
    span = f"{start:g}-{'end' if end is None else format(end, 'g')}"
    return AudioError(
        f"`{show(path)}` has no sound at {span} seconds.",
        reason="outside",
        hint="Give start and end in seconds of the file: `FILE@1.5-3`.",
    )
