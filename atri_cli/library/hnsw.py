"""The cache file of the HNSW graph: derived from the database, deletable at any time.

Two files beside the database: `vectors.hnsw.json`, the header, and the graph in hnswlib's own
format, whose name carries the generation and checksum. The header is renamed into place last, so
a reader sees the old pair or the new one. A graph is used only when everything in the header
fits the library and the checksum is right; otherwise a search scans the database.

Small libraries have no cache: up to `EXACT_LIMIT` segments a scan is always used.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from atri_cli.errors import LibraryError
from atri_cli.library.graph import EF_CONSTRUCTION, HnswIndex, M
from atri_cli.library.store import Store
from atri_cli.library.types import CacheState, Filters

Tell = Callable[[int, int], None]  # vectors added so far, and in all

EXACT_LIMIT = 100_000  # segments; a scan of them takes about 0.1 s (docs/decisions/0003)
REBUILD_SHARE = 0.1  # of vectors removed but still in the graph: above, it is built anew
ADD_ROWS = 2048  # a second or two between two calls of `tell`, where Ctrl-C can come in

HEADER_FILE = "vectors.hnsw.json"
FORMAT = "atri-hnsw"
VERSION = 1
# hnswlib writes its memory as it is.
MACHINE = f"{sys.byteorder}-{struct.calcsize('P') * 8}"


@dataclass(frozen=True)
class Header:
    """What a graph file holds and which library it belongs to."""

    pipeline_id: str
    dim: int
    generation: int
    count: int
    file: str
    bytes: int
    crc32: int
    removed: list[int] = field(default_factory=list)
    m: int = M
    ef_construction: int = EF_CONSTRUCTION
    format: str = FORMAT
    version: int = VERSION
    machine: str = MACHINE


def state(store: Store) -> CacheState:
    """Whether a search could use the graph; reads the whole file to check it."""
    with store.snapshot():
        header = _read_header(store)
        if header is None:
            small = store.segment_count() <= EXACT_LIMIT
            present = (store.path.parent / HEADER_FILE).exists()
            return "damaged" if present else "unused" if small else "missing"
        if not _intact(store, header):
            return "damaged"
        return "fresh" if _fits(store, header) else "stale"


def load(store: Store) -> HnswIndex | None:
    """The graph of exactly this library, or None when there is none to be trusted."""
    with store.snapshot():
        header = _read_header(store)
        if header is None or not _fits(store, header):
            return None
        return _load(store, header)


def refresh(store: Store, tell: Tell | None = None) -> None:
    """Bring the cache up to date after the library has changed.

    New vectors are added to the graph and removed ones marked, which costs what loading and
    saving it costs and about 0.3 ms a new vector; with many removed ones it is built anew. A
    library at or below `EXACT_LIMIT` loses its cache. One that has not changed costs nothing:
    the graph's contents are checked when it is loaded.

    Args:
        store: an open library.
        tell: called again and again while vectors are added.

    Raises:
        LibraryError: the cache cannot be written. The library itself is complete.
    """
    with store.snapshot():
        if store.segment_count() <= EXACT_LIMIT:
            _delete_all_but(store, None)
        elif not _update(store, tell):
            rebuild(store, tell)


def rebuild(store: Store, tell: Tell | None = None) -> None:
    """Build the graph from the database, whatever its size, and replace the cache.

    Args:
        store: an open library.
        tell: called before each `ADD_ROWS` vectors are added.

    Raises:
        LibraryError: the cache cannot be written. The library itself is complete.
    """
    with store.snapshot():
        index = HnswIndex(store.dim)
        count = store.segment_count()
        index.reserve(count)
        for ids, block in store.iter_vectors(ADD_ROWS):
            if tell:
                tell(len(index), count)
            index.add(ids, block)
        _write(store, index)


def _update(store: Store, tell: Tell | None) -> bool:
    """Whether the cache is fresh now without building it anew."""
    header = _read_header(store)
    if header is None or (header.pipeline_id, header.dim) != (store.pipeline_id, store.dim):
        return False
    if _fits(store, header) and _complete(store, header):
        return True
    ids = store.segment_ids(Filters())
    index = _load(store, header, room=len(ids))
    if index is None:
        return False
    gone = np.setdiff1d(index.ids, ids, assume_unique=True)
    if len(index.removed) + len(gone) > REBUILD_SHARE * len(ids):
        return False
    index.remove(gone)
    new = np.setdiff1d(ids, index.ids, assume_unique=True)
    for start in range(0, len(new), ADD_ROWS):
        if tell:
            tell(start, len(new))
        index.add(*store.vectors(new[start : start + ADD_ROWS]))
    _write(store, index)
    return True


def _fits(store: Store, header: Header) -> bool:
    there = (header.pipeline_id, header.dim, header.generation, header.count)
    return there == (store.pipeline_id, store.dim, store.generation, store.segment_count())


def _read_header(store: Store) -> Header | None:
    """None when missing, damaged, or of another version or kind of machine."""
    try:
        data = json.loads((store.path.parent / HEADER_FILE).read_text(encoding="utf-8"))
        header = Header(**data)
    except (OSError, ValueError, TypeError):
        return None
    numbers = (header.dim, header.generation, header.count, header.bytes, header.crc32)
    if not all(isinstance(one, int) for one in (*numbers, *header.removed)):
        return None
    known = (header.format, header.version, header.machine) == (FORMAT, VERSION, MACHINE)
    return header if known and Path(header.file).name == header.file else None


def _complete(store: Store, header: Header) -> bool:
    try:
        return (store.path.parent / header.file).stat().st_size == header.bytes
    except OSError:
        return False


def _intact(store: Store, header: Header) -> bool:
    try:
        return _complete(store, header) and _crc32(store.path.parent / header.file) == header.crc32
    except OSError:
        return False


def _load(store: Store, header: Header, room: int = 0) -> HnswIndex | None:
    if not _intact(store, header):
        return None
    removed = np.array(sorted(header.removed), np.int64)
    try:
        index = HnswIndex.load(store.path.parent / header.file, header.dim, removed, room)
    except RuntimeError:  # replaced by another process at this moment
        return None
    return index if len(index) == header.count else None


def _write(store: Store, index: HnswIndex) -> None:
    folder = store.path.parent
    temporary = folder / f"vectors-{os.getpid()}.tmp"
    try:
        index.save(temporary)
        crc = _crc32(temporary)
        header = Header(
            pipeline_id=store.pipeline_id,
            dim=store.dim,
            generation=store.generation,
            count=len(index),
            file=f"vectors-{store.generation}-{crc:08x}.hnsw",
            bytes=temporary.stat().st_size,
            crc32=crc,
            removed=index.removed.tolist(),
        )
        temporary.replace(folder / header.file)
        temporary.write_text(json.dumps(asdict(header)), encoding="utf-8")
        temporary.replace(folder / HEADER_FILE)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LibraryError(
            f"Cannot write the search cache in `{folder}`.",
            why=f"{error.strerror or error}.",
            hint="The library is complete and searches work; `atri doctor --fix` tries again.",
        ) from error
    _delete_all_but(store, header)


def _delete_all_but(store: Store, header: Header | None) -> None:
    """Old graphs, and what killed processes left; the header too when there is no new one."""
    folder = store.path.parent
    old = [*folder.glob("vectors-*.hnsw"), *folder.glob("vectors-*.tmp")]
    for path in [*old, *([] if header else [folder / HEADER_FILE])]:
        if header is None or path.name != header.file:
            with suppress(OSError):  # it does no harm: nothing names it
                path.unlink()


def _crc32(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc
