"""Cutting a stream of samples into overlapping windows, in bounded memory.

Windows start every hop. What is left behind the last of them gets a window of its own that ends
with the file, when it is longer than `TAIL_SHARE` of the hop; a shorter rest is not worth another
run of the model. A stream shorter than a segment is one window of its own length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Mono = NDArray[np.float32]

TAIL_SHARE = 0.1


def cut(blocks: Iterable[Mono], segment: int, hop: int) -> Iterator[tuple[int, Mono]]:
    """Cut consecutive blocks into windows of `segment` samples, one every `hop` samples.

    Args:
        blocks: float32 [any length] each.
        segment, hop: samples, at least 1.

    Yields:
        The sample at which the window starts, and its samples (an array of its own).
    """
    buffer = np.empty(0, np.float32)
    origin = start = 0  # of the buffer and of the next window, in samples of the stream
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        total = origin + len(buffer)
        while start + segment <= total:
            yield start, buffer[start - origin : start - origin + segment].copy()
            start += hop
        # The last `segment` samples stay, for the window that ends with the file.
        keep = max(origin, min(start, total - segment))
        buffer, origin = buffer[keep - origin :], keep
    total = origin + len(buffer)
    if start == 0:
        if total:
            yield 0, buffer.copy()
    elif total - (start - hop + segment) > TAIL_SHARE * hop:
        yield total - segment, buffer[-segment:].copy()


def loop_to(waveform: Mono, samples: int) -> Mono:
    """Repeat a waveform from its start until it has `samples` samples; a longer one stays.

    Repeating keeps the sound's spectrum and level, where zeros would make a click sound like a
    click in silence.
    """
    if len(waveform) == 0 or len(waveform) >= samples:
        return waveform
    return np.resize(waveform, samples)
