"""One open sound file: its facts and its samples, mono, block by block.

Two readers offer the same thing: libsndfile here, FFmpeg (through PyAV) in `ffmpeg.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from atri_cli.audio.files import open_regular, show
from atri_cli.audio.formats import INSTALL_FORMATS, has_optional, is_optional
from atri_cli.errors import AudioError

if TYPE_CHECKING:
    import soundfile

    from atri_cli.audio.segments import Mono

# Values of one read, over all channels (1 MiB): bounds memory whatever the number of channels.
BLOCK_VALUES = 262_144

# libsndfile drops all of a read in which it meets damage: small reads lose little of the sound.
PIECE_FRAMES = 8192

# Beyond these a header is wrong, and resampling would make gigabytes out of a few samples.
MIN_RATE, MAX_RATE = 1_000, 1_000_000

_UNRECOGNISED, _UNSUPPORTED = 1, 4
_REFUSALS = {
    _UNRECOGNISED: ("is not a sound file, whatever its name says", "not-audio"),
    _UNSUPPORTED: ("is coded in a way that libsndfile does not read", "unsupported"),
}


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself.

    `seconds` is what its header claims; a truncated file holds less, and 0.0 means that the
    header does not say.
    """

    seconds: float
    sample_rate: int
    channels: int


class Source(Protocol):
    """An open sound file."""

    @property
    def info(self) -> AudioInfo:
        """Facts from the header."""

    def blocks(self, start: float = 0.0) -> Iterator[Mono]:
        """Samples from `start` seconds on: the mean of the channels, float32, at the file's rate.

        Samples may be NaN or infinite. A file that breaks off gives what came before.

        Raises:
            AudioError: reason `damaged`, when nothing at all can be decoded.
        """


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a sound file with the reader that its extension asks for.

    Raises:
        AudioError: any reason of `open_regular`; `needs-formats-extra`, `not-audio`,
            `unsupported`, `damaged`.
    """
    if is_optional(path):
        if not has_optional():
            raise AudioError(
                f"`{show(path)}` needs the optional package for m4a, aac, wma and video.",
                reason="needs-formats-extra",
                hint=f"Install it with `{INSTALL_FORMATS}`.",
            )
        from atri_cli.audio.ffmpeg import open_ffmpeg

        with open_regular(path) as descriptor, open_ffmpeg(descriptor, path) as source:
            yield source
    else:
        with open_regular(path) as descriptor, _open_sndfile(descriptor, path) as source:
            yield source


def check_rate(rate: int, channels: int, path: Path) -> None:
    """Refuse a header that cannot be true.

    Raises:
        AudioError: reason `damaged`.
    """
    if not MIN_RATE <= rate <= MAX_RATE or channels < 1:
        raise AudioError(
            f"`{show(path)}` is damaged: its header claims {rate} Hz, {channels} channels.",
            reason="damaged",
        )


def damaged(path: Path, error: Exception) -> AudioError:
    """The error for a file of a known kind that cannot be decoded."""
    return AudioError(f"`{show(path)}` is damaged.", reason="damaged", why=in_words(error))


def in_words(error: Exception) -> str:
    """What a decoder says, without the number that it calls the file by."""
    return str(getattr(error, "error_string", error)).rstrip(".") + "."


class _SndfileSource:
    def __init__(self, file: soundfile.SoundFile, path: Path) -> None:
        self._file = file
        self._path = path
        self._broken: Exception | None = None
        rate = file.samplerate
        # libsndfile gives the largest integer when it cannot know the length.
        seconds = file.frames / rate if 0 <= file.frames < 2**62 else 0.0
        self.info = AudioInfo(seconds, rate, file.channels)

    def blocks(self, start: float = 0.0) -> Iterator[Mono]:
        if start > 0:
            self._seek(start)
        size = max(1, BLOCK_VALUES // self.info.channels)
        decoded = False
        while not self._broken and len(block := self._read(size)):
            decoded = True
            yield _to_mono(block)
        if self._broken and not decoded:
            raise damaged(self._path, self._broken) from self._broken

    def _seek(self, start: float) -> None:
        import soundfile

        try:
            self._file.seek(min(round(start * self.info.sample_rate), self._file.frames))
        except soundfile.SoundFileError as error:
            self._broken = error

    def _read(self, size: int) -> NDArray[np.float32]:
        """Up to `size` frames, float32 [frames, channels]; stops where the file is broken."""
        import soundfile

        block = np.empty((size, self.info.channels), np.float32)
        filled = 0
        try:
            while filled < size:
                piece = self._file.read(out=block[filled : filled + PIECE_FRAMES])
                filled += len(piece)
                if not len(piece):
                    break
        except (soundfile.SoundFileError, RuntimeError) as error:
            self._broken = error
        return block[:filled]


@contextmanager
def _open_sndfile(descriptor: int, path: Path) -> Iterator[Source]:
    import soundfile

    try:
        file = soundfile.SoundFile(descriptor, closefd=False)
    except (soundfile.SoundFileError, TypeError) as error:
        raise _refusal(path, error) from error
    with file:
        check_rate(file.samplerate, file.channels, path)
        yield _SndfileSource(file, path)


def _refusal(path: Path, error: Exception) -> AudioError:
    code = getattr(error, "code", _UNRECOGNISED)
    what, reason = _REFUSALS.get(code, ("is damaged", "damaged"))
    why = in_words(error) if reason == "damaged" else ""
    return AudioError(f"`{show(path)}` {what}.", reason=reason, why=why)


def _to_mono(block: NDArray[np.float32]) -> Mono:
    """[frames, channels] to [frames]: the mean, always contiguous and owned by the caller."""
    if block.shape[1] == 1:
        return np.ascontiguousarray(block[:, 0])
    channels = block.T
    with np.errstate(over="ignore", invalid="ignore"):
        mono: Mono = channels[0] + channels[1]  # nine times faster than numpy's mean of rows
        for channel in channels[2:]:
            mono += channel
        mono *= np.float32(1 / len(channels))
    return mono
