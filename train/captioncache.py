"""Vectors of captions, embedded once and kept on disk: with a frozen text tower K costs nothing.

One SQLite database a model, so kills and several processes at once do no harm. It is a cache: a
damaged one is thrown away and filled again.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.disk import saving

Caption = tuple[str, str]
Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[Caption]], Vectors]

BATCH = 256
ASKED_AT_ONCE = 500


class CaptionCache:
    """Caption → vector.

    Args:
        folder: is made when the first vector is kept.
        model_key: of everything that changes a vector, such as a hash of the tower's weights;
            another key is another file.
    """

    def __init__(self, folder: Path, model_key: str) -> None:
        digest = hashlib.sha256(model_key.encode()).hexdigest()[:16]
        self.path = folder / f"captions-{digest}.db"

    def get(self, captions: Sequence[Caption], embed: Embed) -> Vectors:
        """Vectors float32 [n, dim] of captions, each (language tag, text), in their order.

        Args:
            captions: any number, at least one; equal ones are embedded once.
            embed: gives float32 [m, dim] for at most 256 captions that are not known yet.

        Raises:
            AtriError: the disk is full, or the folder cannot be written.
            ValueError: no caption, or `embed` gives another number or size of vectors.
        """
        if not captions:
            raise ValueError("no caption to embed")
        with saving("vectors", self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return self._get(captions, embed)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                self.path.unlink()
                return self._get(captions, embed)

    def _get(self, captions: Sequence[Caption], embed: Embed) -> Vectors:
        keys = {_key(caption): caption for caption in captions}
        with closing(self._connect()) as db:
            found = dict(_known(db, list(keys)))
            missing = [key for key in keys if key not in found]
            for start in range(0, len(missing), BATCH):
                some = missing[start : start + BATCH]
                vectors = np.asarray(embed([keys[key] for key in some]), "<f4")
                if vectors.ndim != 2 or len(vectors) != len(some):
                    raise ValueError(f"{len(some)} captions gave vectors {vectors.shape}")
                rows = [(key, row.tobytes()) for key, row in zip(some, vectors, strict=True)]
                with db:
                    db.executemany("INSERT OR REPLACE INTO captions VALUES (?, ?)", rows)
                found.update(rows)
        blobs = [found[_key(caption)] for caption in captions]
        if len({len(blob) for blob in blobs}) > 1:
            raise ValueError("the vectors have different sizes: is the model key right?")
        matrix: Vectors = np.frombuffer(b"".join(blobs), "<f4").reshape(len(blobs), -1).copy()
        return matrix

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=60)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE IF NOT EXISTS captions (key BLOB PRIMARY KEY, vector BLOB)")
        except BaseException:
            db.close()
            raise
        return db


def _key(caption: Caption) -> bytes:
    return hashlib.sha256("\0".join(caption).encode("utf-8", "surrogatepass")).digest()


def _known(db: sqlite3.Connection, keys: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for start in range(0, len(keys), ASKED_AT_ONCE):
        some = keys[start : start + ASKED_AT_ONCE]
        marks = ", ".join("?" * len(some))
        yield from db.execute(f"SELECT key, vector FROM captions WHERE key IN ({marks})", some)
