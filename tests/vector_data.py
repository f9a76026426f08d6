"""Vectors of the shape that sounds give, and stores filled with them without any sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atri_cli.library.store import Store

Vectors = NDArray[np.float32]
PIPELINE = "test-pipeline"


def unit(rows: NDArray[np.floating]) -> Vectors:
    """Rows scaled to length 1, float32."""
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def clustered(count: int, dim: int = 32, seed: int = 0) -> Vectors:
    """Unit vectors in clusters, float32 [count, dim]."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(1, count // 20), dim))
    rows = centres[random.integers(0, len(centres), count)]
    return unit(rows + 0.6 * random.standard_normal((count, dim)))


def make_store(folder: Path, vectors: Vectors, per_file: int = 1) -> Store:
    """A library of `per_file` consecutive vectors a file: `/sounds/000000.wav` and so on."""
    store = Store.open(folder, pipeline_id=PIPELINE, dim=vectors.shape[1], model="test")
    with store.transaction() as db:
        db.execute("INSERT INTO roots (id, path, added) VALUES (1, ?, 0)", (b"/sounds",))
    add_files(store, vectors, per_file)
    return store


def add_files(store: Store, vectors: Vectors, per_file: int = 1) -> None:
    """More files behind those that are there; every third is a .flac."""
    first = int(store.rows("SELECT coalesce(max(id), 0) FROM files")[0][0])
    with store.transaction() as db:
        for number, start in enumerate(range(0, len(vectors), per_file), start=first):
            name = b"%06d.%s" % (number, b"wav" if number % 3 else b"flac")
            db.execute(
                "INSERT INTO files (id, root_id, path, size, mtime_ns, seconds, status)"
                " VALUES (?, 1, ?, 1, ?, ?, 'ok')",
                (number + 1, name, number * 10**9, float(per_file)),
            )
            db.executemany(
                "INSERT INTO segments (file_id, start, end, vector) VALUES (?, ?, ?, ?)",
                [
                    (number + 1, float(place), place + 1.0, row.astype("<f4").tobytes())
                    for place, row in enumerate(vectors[start : start + per_file])
                ],
            )
        store.segments_changed()


def remove_files(store: Store, file_ids: Sequence[int]) -> None:
    """Take files and their segments out."""
    with store.transaction() as db:
        db.executemany("DELETE FROM files WHERE id = ?", [(one,) for one in file_ids])
        store.segments_changed()
