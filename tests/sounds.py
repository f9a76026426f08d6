"""Test sounds: made by numpy, written by soundfile, and files broken on purpose."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def tone(hertz: float = 440.0, seconds: float = 1.0, rate: int = 16000) -> Samples:
    """A sine of amplitude 0.5, float32 [samples]."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def noise(seconds: float = 1.0, rate: int = 16000, seed: int = 0) -> Samples:
    """White noise of standard deviation 0.1, float32 [samples]."""
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return samples.astype(np.float32)


def silence(seconds: float = 1.0, rate: int = 16000) -> Samples:
    """Zeros, float32 [samples]."""
    return np.zeros(round(seconds * rate), np.float32)


def write(path: Path, samples: Samples, rate: int = 16000, subtype: str | None = None) -> Path:
    """Write samples [n] or [n, channels]; the container follows the extension. Returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"opus": "OGG", "oga": "OGG", "aif": "AIFF", "snd": "AU"}.get(path.suffix[1:].lower())
    codec = subtype or ("OPUS" if path.suffix.lower() == ".opus" else None)
    with open(path, "wb") as file:
        soundfile.write(file, samples, rate, codec, format=kind or path.suffix[1:].upper())
    return path


def write_tone(path: Path, hertz: float = 440.0, seconds: float = 1.0, rate: int = 16000) -> Path:
    """A tone in a file; returns `path`."""
    return write(path, tone(hertz, seconds, rate), rate)


def write_noise(path: Path, seconds: float = 1.0, rate: int = 16000, seed: int = 0) -> Path:
    """Noise in a file; returns `path`."""
    return write(path, noise(seconds, rate, seed), rate)


def write_bad_files(folder: Path) -> dict[str, Path]:
    """One file of each kind that cannot be indexed, by the reason that must be given for it.

    Keys that share a reason carry a suffix after `/`: `not-audio/random`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bad = {
        "empty": folder / "empty.wav",
        "empty/header-only": write(folder / "zero-samples.wav", silence(0)),
        "too-short": write(folder / "one-sample.wav", tone(seconds=1 / 16000)),
        "silent": write(folder / "silent.wav", silence(1)),
        "not-finite": write(folder / "nan.wav", np.full(16000, np.nan, np.float32), 16000, "FLOAT"),
        "not-audio": folder / "text.wav",
        "not-audio/random": folder / "random.wav",
        "not-a-file": folder / "folder.wav",
        "not-a-file/fifo": folder / "pipe.wav",
        "broken-link": folder / "broken.wav",
        "broken-link/loop": folder / "loop.wav",
    }
    bad["empty"].touch()
    bad["not-audio"].write_text("This is a letter, not a sound.\n" * 40, encoding="utf-8")
    bad["not-audio/random"].write_bytes(np.random.default_rng(7).bytes(100_000))
    bad["not-a-file"].mkdir()
    os.mkfifo(bad["not-a-file/fifo"])
    bad["broken-link"].symlink_to(folder / "nowhere.wav")
    bad["broken-link/loop"].symlink_to(bad["broken-link/loop"])
    return bad


def truncate(path: Path, share: float) -> Path:
    """Cut a file to a share of its bytes; returns `path`."""
    os.truncate(path, int(path.stat().st_size * share))
    return path
