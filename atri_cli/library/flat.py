"""The cache file of vectors for a scan: the database's vectors in one piece, in the order of ids.

SQLite takes 90 ms to hand out 100,000 vectors one by one; the same bytes in one file take 11. The
file is derived, like the graph's (`hnsw.py`), and can be deleted at any time: a scan then reads the
database. It is used only when its header fits the library as it is now.

Layout: `HEADER_BYTES` of JSON, padded with spaces, then a record a segment: id int64, vector
float32 [dim], zeros to a multiple of 8 bytes; all little-endian. New segments have higher ids, so
they are appended, and the header is rewritten when their bytes are on the disk.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from atri_cli.errors import LibraryError
from atri_cli.library.types import CacheState, Filters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atri_cli.library.store import Store
    from atri_cli.library.vectors import Block, Ids, Vectors

    Records = NDArray[np.uint8]

FILE = "vectors.flat"
FORMAT = "atri-flat"
VERSION = 1
HEADER_BYTES = 4096
SMALLEST = 10_000  # segments; below, the database is as fast
READ_ROWS = 1024
WRITE_ROWS = 2048


@dataclass(frozen=True)
class Header:
    """Which library the records belong to; `crc32` is that of all of them."""

    pipeline_id: str
    dim: int
    generation: int
    count: int
    crc32: int
    format: str = FORMAT
    version: int = VERSION

    @property
    def record_bytes(self) -> int:
        """Bytes of one record."""
        return _record_bytes(self.dim)

    @property
    def bytes(self) -> int:
        """Bytes of the file; what lies behind is left from an interrupted append."""
        return HEADER_BYTES + self.count * self.record_bytes


def blocks(store: Store) -> Iterator[Block] | None:
    """All ids and vectors of exactly this library, in blocks; None when there is no such file."""
    header = _fitting(store)
    if header is None:
        return None
    try:
        file = _path(store).open("rb", buffering=0)
    except OSError:
        return None
    return _blocks(file, header)


def refresh(store: Store) -> None:
    """Bring the file up to date after the library has changed: append, or write it anew.

    Raises:
        LibraryError: it cannot be written. The library itself is complete.
    """
    with store.snapshot():
        if store.segment_count() < SMALLEST:
            with suppress(OSError):
                _path(store).unlink()
        elif _fitting(store) is None:
            try:
                if not _append(store):
                    _write(store)
            except OSError as error:
                raise _unwritable(store, error) from error


def rebuild(store: Store) -> None:
    """Write the file anew, whatever is there.

    Raises:
        LibraryError: it cannot be written.
    """
    with suppress(OSError):
        _path(store).unlink()
    refresh(store)


def state(store: Store) -> CacheState:
    """Whether a scan could use the file; reads all of it to check its contents."""
    with store.snapshot():
        header = _read_header(store)
        if header is None:
            small = store.segment_count() < SMALLEST
            return "damaged" if _path(store).exists() else "unused" if small else "missing"
        if not _fits(store, header):
            return "stale"
        return "fresh" if _checksum(store, header) == header.crc32 else "damaged"


def _path(store: Store) -> Path:
    return store.path.parent / FILE


def _record_bytes(dim: int) -> int:
    return 8 + -(-4 * dim // 8) * 8


def _read_header(store: Store) -> Header | None:
    """None when missing, damaged, of another version, or longer than the file."""
    try:
        with _path(store).open("rb") as file:
            header = Header(**json.loads(file.read(HEADER_BYTES)))
            size = os.fstat(file.fileno()).st_size
        numbers = (header.dim, header.generation, header.count, header.crc32)
        known = (header.format, header.version) == (FORMAT, VERSION)
        sane = all(isinstance(one, int) and one >= 0 for one in numbers)
        return header if known and sane and size >= header.bytes else None
    except (OSError, ValueError, TypeError):
        return None


def _fits(store: Store, header: Header) -> bool:
    there = (header.pipeline_id, header.dim, header.generation, header.count)
    return there == (store.pipeline_id, store.dim, store.generation, store.segment_count())


def _fitting(store: Store) -> Header | None:
    header = _read_header(store)
    return header if header is not None and _fits(store, header) else None


def _blocks(file: IO[bytes], header: Header) -> Iterator[Block]:
    with file:
        file.seek(HEADER_BYTES)
        buffer = np.empty((READ_ROWS, header.record_bytes), np.uint8)
        left = header.count
        while left:
            rows = buffer[: min(left, READ_ROWS)]
            if not _fill(file, rows):
                return  # another program has cut the file off since its header was read
            left -= len(rows)
            yield _split(rows, header.dim)


def _fill(file: IO[bytes], rows: Records) -> bool:
    view = rows.data.cast("B")
    while len(view):
        read = file.readinto(view)  # type: ignore[attr-defined]
        if not read:
            return False
        view = view[read:]
    return True


def _split(rows: Records, dim: int) -> Block:
    """Ids, copied, and vectors, seen in place until the next block is read."""
    ids: Ids = rows[:, :8].copy().view("<i8")[:, 0]
    vectors: Vectors = rows[:, 8 : 8 + 4 * dim].view("<f4")
    return ids, vectors


def _records(ids: Ids, vectors: Vectors) -> Records:
    rows = np.zeros((len(ids), _record_bytes(vectors.shape[1])), np.uint8)
    rows[:, :8] = np.ascontiguousarray(ids, "<i8").view(np.uint8).reshape(-1, 8)
    width = 4 * vectors.shape[1]
    rows[:, 8 : 8 + width] = np.ascontiguousarray(vectors, "<f4").view(np.uint8)
    return rows


def _append(store: Store) -> bool:
    """Add the segments that the file lacks; False when it holds any that is gone."""
    header = _read_header(store)
    if header is None or (header.pipeline_id, header.dim) != (store.pipeline_id, store.dim):
        return False
    present = [ids for ids, _ in _blocks(_path(store).open("rb", buffering=0), header)]
    ids = store.segment_ids(Filters())
    if not np.array_equal(np.concatenate([ids[:0], *present]), ids[: header.count]):
        return False
    with _path(store).open("r+b", buffering=0) as file:
        file.seek(header.bytes)
        crc = header.crc32
        for start in range(header.count, len(ids), WRITE_ROWS):
            rows = _records(*store.vectors(ids[start : start + WRITE_ROWS])).data
            file.write(rows)
            crc = zlib.crc32(rows, crc)
        _finish(file, _header(store, crc))
    return True


def _write(store: Store) -> None:
    temporary = _path(store).with_name(f"vectors-{os.getpid()}.tmp")
    try:
        with temporary.open("w+b", buffering=0) as file:
            file.seek(HEADER_BYTES)
            crc = 0
            for block in store.iter_vectors(WRITE_ROWS):
                rows = _records(*block).data
                file.write(rows)
                crc = zlib.crc32(rows, crc)
            _finish(file, _header(store, crc))
        temporary.replace(_path(store))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _header(store: Store, crc: int) -> Header:
    return Header(store.pipeline_id, store.dim, store.generation, store.segment_count(), crc)


def _finish(file: IO[bytes], header: Header) -> None:
    """The header, when everything that it speaks of is on the disk."""
    os.fsync(file.fileno())
    if os.fstat(file.fileno()).st_size < header.bytes:
        raise OSError(None, "the disk took less than was written")
    file.seek(0)
    file.write(json.dumps(asdict(header)).encode().ljust(HEADER_BYTES))


def _checksum(store: Store, header: Header) -> int:
    crc, left = 0, header.bytes - HEADER_BYTES
    with _path(store).open("rb") as file:
        file.seek(HEADER_BYTES)
        while left and (data := file.read(min(left, 1 << 20))):
            crc, left = zlib.crc32(data, crc), left - len(data)
    return crc


def _unwritable(store: Store, error: OSError) -> LibraryError:
    return LibraryError(
        f"Cannot write the vectors' cache in `{store.path.parent}`.",
        why=f"{error.strerror or error}.",
        hint="The library is complete and searches work; `atri doctor --fix` tries again.",
    )
