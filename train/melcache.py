"""Log-mels of every source, computed once: float16 on disk, one pair of files a package."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from train.sources import Source
from train.towers.mel import HOP, N_MELS, SAMPLE_RATE, LogMel

MIN_SECONDS = 1.0
LONGEST_SECONDS = 30.0
SILENT = 1e-4  # a peak below it

Package = tuple[NDArray[np.float16], dict[str, list[int]]]


@dataclass(frozen=True)
class CachedClip:
    """A source and its frames, float16 [frames, 128] (a view of the package's memory map)."""

    source: Source
    mel: NDArray[np.float16]


def read_waveform(path: Path, longest: float = LONGEST_SECONDS) -> NDArray[np.float32]:
    """Mono float32 at 32 kHz; of a long file, `longest` seconds from its middle.

    Raises:
        RuntimeError: libsndfile cannot read the file.
    """
    import soundfile
    import soxr

    with soundfile.SoundFile(path) as sound:
        wanted = int(longest * sound.samplerate)
        if sound.frames > wanted:
            sound.seek((sound.frames - wanted) // 2)
        samples = sound.read(wanted, dtype="float32", always_2d=True).mean(axis=1)
        rate = sound.samplerate
    waveform: NDArray[np.float32] = np.nan_to_num(soxr.resample(samples, rate, SAMPLE_RATE))
    return waveform.astype(np.float32)


def loop_to(waveform: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Repeat a waveform until it has at least `samples` samples, then cut it there."""
    if len(waveform) >= samples:
        return waveform
    return np.tile(waveform, -(-samples // len(waveform)))[:samples]


@torch.no_grad()
def _mel(source: Source, front: LogMel) -> NDArray[np.float16] | None:
    """Frames of one source; None when it cannot be read or is silent."""
    try:
        waveform = read_waveform(source.path)
    except RuntimeError as error:  # soundfile.LibsndfileError
        print(f"skipping {source.path.name}: {error}", flush=True)
        return None
    if not len(waveform) or float(np.abs(waveform).max()) < SILENT:
        return None
    waveform = loop_to(waveform, int(MIN_SECONDS * SAMPLE_RATE))
    mel: NDArray[np.float16] = front(torch.from_numpy(waveform)[None])[0, 0].T.half().numpy()
    return mel


def _cache_package(folder: Path, package: str, sources: Sequence[Source], front: LogMel) -> None:
    """Write a package's frames and, last, where each source's begin and end."""
    mels, index, at = [np.zeros((0, N_MELS), np.float16)], {}, 0
    for source in sources:
        mel = _mel(source, front)
        if mel is not None:
            mels.append(mel)
            index[source.sha1] = [at, at + len(mel)]
            at += len(mel)
    np.save(_cached(folder, package, ".npy"), np.concatenate(mels))
    part = _cached(folder, package, ".json.part")
    part.write_text(json.dumps(index))
    part.replace(_cached(folder, package, ".json"))


def _cached(folder: Path, package: str, suffix: str) -> Path:
    """A file of a package's cache; a repository's name has a slash."""
    return folder / (package.replace("/", "+") + suffix)


def cache_mels(sources: Sequence[Source], folder: Path) -> None:
    """Fill `folder` with the packages it lacks. Interrupted, it continues with the next package.

    Files that cannot be read and silent ones are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_package: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        by_package[source.package].append(source)
    front = LogMel()
    for package, members in sorted(by_package.items(), key=lambda item: len(item[1])):
        if not _cached(folder, package, ".json").exists():
            _cache_package(folder, package, members, front)
            print(f"{package}: {len(members)} sounds", flush=True)


def load_clips(sources: Sequence[Source], folder: Path) -> list[CachedClip]:
    """The cached clips of `sources`, memory-mapped, in the order of `sources`."""
    packages: dict[str, Package] = {}
    clips = []
    for source in sources:
        if source.package not in packages:
            packages[source.package] = _open_package(folder, source.package)
        mels, index = packages[source.package]
        if source.sha1 in index:
            first, last = index[source.sha1]
            clips.append(CachedClip(source, mels[first:last]))
    return clips


def _open_package(folder: Path, package: str) -> Package:
    """Frames and index of a package; empty when it is not cached."""
    index = _cached(folder, package, ".json")
    if not index.exists():
        return np.zeros((0, N_MELS), np.float16), {}
    return np.load(_cached(folder, package, ".npy"), mmap_mode="r"), json.loads(index.read_text())


def frames(seconds: float) -> int:
    """Mel frames of a duration."""
    return round(seconds * SAMPLE_RATE / HOP)
