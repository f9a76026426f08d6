"""What `atri status` shows of a library."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from atri_cli.library.catalog import Catalog
from atri_cli.library.store import DATABASE_FILE, Store
from atri_cli.library.types import CacheState, LibraryStatus


def library_status(folder: Path, store: Store | None) -> LibraryStatus:
    """Counts and state of an open store; None is a library that does not exist yet."""
    if store is None:
        return LibraryStatus(folder.name, folder, "", "", 0, 0, 0.0, {}, (), 0, "unused", None)
    from atri_cli.library import flat, hnsw

    with store.snapshot():
        roots = Catalog(store).roots()
        skipped = store.rows(
            "SELECT reason, count(*) FROM files WHERE status = 'skipped' GROUP BY reason ORDER BY 1"
        )
        last = store.meta("last_indexed")
        return LibraryStatus(
            name=folder.name,
            folder=folder,
            model=store.model,
            pipeline_id=store.pipeline_id,
            files=sum(root.files for root in roots),
            segments=store.segment_count(),
            seconds=sum(root.seconds for root in roots),
            skipped=dict(skipped),
            roots=tuple(roots),
            database_bytes=_database_bytes(folder),
            cache_state=_worst(flat.state(store), hnsw.state(store)),
            last_indexed=float(last) if last else None,
        )


def _worst(one: CacheState, other: CacheState) -> CacheState:
    return max(one, other, key=get_args(CacheState).index)


def _database_bytes(folder: Path) -> int:
    """The database with its write-ahead log."""
    files = (folder / (DATABASE_FILE + ending) for ending in ("", "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
