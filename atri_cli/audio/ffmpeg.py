"""Reading m4a, aac, wma and the sound of videos through the optional package `av` (PyAV)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atri_cli.audio.files import show
from atri_cli.audio.source import AudioInfo, Source, check_rate, damaged
from atri_cli.errors import AudioError

if TYPE_CHECKING:
    from atri_cli.audio.segments import Mono


class _FfmpegSource:
    def __init__(self, container: Any, path: Path) -> None:
        self._container = container
        self._path = path
        self._stream = container.streams.audio[0]
        context = self._stream.codec_context
        check_rate(context.sample_rate, context.channels, path)
        self.info = AudioInfo(self._seconds(), context.sample_rate, context.channels)

    def _seconds(self) -> float:
        if self._stream.duration is not None:
            return float(self._stream.duration * self._stream.time_base)
        return float(self._container.duration or 0) / 1e6

    def blocks(self, start: float = 0.0) -> Iterator[Mono]:
        # Seeking in compressed streams lands on packets, not samples: decode and drop instead.
        drop = round(start * self.info.sample_rate)
        for block in self._decoded():
            if drop < len(block):
                yield block[drop:]
            drop = max(0, drop - len(block))

    def _decoded(self) -> Iterator[Mono]:
        import av

        resampler = av.AudioResampler(format="fltp", rate=self.info.sample_rate)
        decoded = False
        try:
            for frame in self._container.decode(self._stream):
                for planes in resampler.resample(frame):
                    decoded = True
                    yield planes.to_ndarray().mean(axis=0, dtype=np.float32)
        except (av.FFmpegError, ValueError) as error:
            if not decoded:
                raise damaged(self._path, error) from error


@contextmanager
def open_ffmpeg(descriptor: int, path: Path) -> Iterator[Source]:
    """Open the first audio stream of a file.

    Raises:
        AudioError: reasons `not-audio` (no audio stream), `damaged`.
    """
    import av

    av.logging.set_level(av.logging.PANIC)
    with open(os.dup(descriptor), "rb") as file:
        try:
            container = av.open(file, mode="r", metadata_errors="ignore")
        except (av.FFmpegError, ValueError) as error:
            raise AudioError(
                f"`{show(path)}` is not a sound or video file, or badly damaged.",
                reason="not-audio",
            ) from error
        with container:
            if not container.streams.audio:
                raise AudioError(f"`{show(path)}` holds no sound.", reason="not-audio")
            yield _FfmpegSource(container, path)
