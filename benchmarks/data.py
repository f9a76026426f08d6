"""Made-up data of real shape: vectors, libraries of them, sound files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atri_cli.encoders.card import ModelCard
from atri_cli.library import flat
from atri_cli.library.store import Store

Vectors = NDArray[np.float32]
SEGMENTS_PER_FILE = 4
GAP = 0.5  # length of the offset common to all vectors of one modality


def _space(dim: int) -> tuple[Vectors, Vectors]:
    """Scale of each axis, falling as embeddings' spectra do, and the offsets of sound and text."""
    random = np.random.default_rng(99)
    scale = np.arange(1, dim + 1) ** -0.5
    scale /= np.linalg.norm(scale)
    offsets = random.standard_normal((2, dim))
    offsets *= GAP / np.linalg.norm(offsets, axis=1, keepdims=True)
    return scale.astype(np.float32), offsets.astype(np.float32)


def _topics(count: int, dim: int) -> Vectors:
    scale, _ = _space(dim)
    topics = np.random.default_rng(5).standard_normal((count, dim)) * scale
    return topics.astype(np.float32)


def _unit(rows: Vectors) -> Vectors:
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def sound_vectors(count: int, dim: int, seed: int = 0) -> Vectors:
    """Unit vectors as an audio tower gives: topics of unequal size, files near their topic, and
    segments of a file (four in a row) near each other. float32 [count, dim]."""
    random = np.random.default_rng(seed)
    scale, (offset, _) = _space(dim)
    topics = _topics(max(10, count // 200), dim)
    files = -(-count // SEGMENTS_PER_FILE)
    topic = (len(topics) * random.random(files) ** 2).astype(np.int64)  # the first ones are large
    middles = topics[topic] + 0.6 * random.standard_normal((files, dim), np.float32) * scale
    rows = np.repeat(middles, SEGMENTS_PER_FILE, axis=0)[:count]
    for start in range(0, count, 8192):
        block = rows[start : start + 8192]
        block += 0.25 * random.standard_normal(block.shape, np.float32) * scale + offset
    return _unit(rows)


def text_vectors(count: int, dim: int, sounds: int) -> Vectors:
    """Queries: near the topics of `sound_vectors(sounds, dim)`, with the offset of the other
    modality, so no query lies where the sounds are. float32 [count, dim], unit length."""
    random = np.random.default_rng(17)
    scale, (_, offset) = _space(dim)
    topics = _topics(max(10, sounds // 200), dim)
    rows = topics[random.integers(0, len(topics), count)]
    rows = rows + 0.6 * random.standard_normal((count, dim), np.float32) * scale + offset
    return _unit(rows)


def make_library(folder: Path, card: ModelCard, vectors: Vectors) -> None:
    """A library of made-up vectors, as if `card`'s model had made them, four segments a file."""
    hop, length = card.audio.hop_seconds, card.audio.segment_seconds
    files = -(-len(vectors) // SEGMENTS_PER_FILE)
    store = Store.open(folder, pipeline_id=card.pipeline_id, dim=card.dim, model=card.name)
    with store, store.transaction() as db:
        db.execute("INSERT INTO roots (id, path, added) VALUES (1, ?, 0)", (b"/sounds",))
        db.executemany(
            "INSERT INTO files (id, root_id, path, size, mtime_ns, seconds, status)"
            " VALUES (?, 1, ?, 1, 1, ?, 'ok')",
            (
                (one + 1, b"pack%03d/recording_%06d.wav" % (one % 300, one), 3 * hop + length)
                for one in range(files)
            ),
        )
        db.executemany(
            "INSERT INTO segments (file_id, start, end, vector) VALUES (?, ?, ?, ?)",
            (
                (row // 4 + 1, row % 4 * hop, row % 4 * hop + length, vectors[row].tobytes())
                for row in range(len(vectors))
            ),
        )
        store.segments_changed()
    with Store.open(folder, pipeline_id=None, dim=None) as store:
        flat.refresh(store)


def stereo_sound(seconds: float, rate: int, seed: int) -> NDArray[np.float32]:
    """Drifting tones in noise, float32 [samples, 2]: neither silent nor trivial to encode."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate), dtype=np.float32) / rate
    tones = np.sin(time * random.uniform(200, 3000) * (1 + 0.1 * np.sin(time)))
    noise = random.standard_normal((len(time), 2), np.float32)
    return (0.3 * tones[:, None] + 0.03 * noise).astype(np.float32)


def write_sounds(folder: Path, count: int, seconds: float, extension: str) -> float:
    """Different stereo files at 44.1 and 48 kHz in turns; returns their seconds in all."""
    import soundfile

    folder.mkdir(parents=True)
    for number in range(count):
        rate = (44100, 48000)[number % 2]
        sound = stereo_sound(seconds, rate, number)
        soundfile.write(folder / f"sound_{number:05}.{extension}", sound, rate)
    return count * seconds


def write_long_sound(path: Path, hours: float, rate: int = 44100) -> None:
    """One stereo 16-bit wav, written a minute at a time."""
    import soundfile

    path.parent.mkdir(parents=True)
    minute = stereo_sound(60, rate, 1)
    with soundfile.SoundFile(path, "w", rate, 2, "PCM_16") as file:
        for number in range(round(hours * 60)):
            file.write(np.roll(minute, number * 997, axis=0))
