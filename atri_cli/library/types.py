"""The values that the library takes and gives. Plain dataclasses: no numpy, nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

FileStatus = Literal["ok", "skipped"]
CacheState = Literal["unused", "fresh", "stale", "missing", "damaged"]  # better before worse


@dataclass(frozen=True)
class Root:
    """A folder the library remembers."""

    id: int
    path: Path
    online: bool
    files: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Window:
    """One segment of a file, in seconds of the original file."""

    start: float
    end: float


@dataclass(frozen=True)
class Skipped:
    """A file that was not indexed: `reason` is the short key, `detail` a sentence."""

    path: Path
    reason: str
    detail: str = ""


@dataclass
class IndexReport:
    """What one `Library.index` call did. Counts are files."""

    added: int = 0
    updated: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    skipped_files: list[Skipped] = field(default_factory=list)
    segments: int = 0
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0
    offline_roots: list[Path] = field(default_factory=list)
    interrupted: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class IndexProgress:
    """Handed to the progress callback after each file and each batch.

    In a library above 100,000 segments the search graph follows when all files are done:
    `graph_total` is then the number of vectors it takes up, `graph_done` of which it has.
    """

    done_files: int
    total_files: int
    audio_seconds: float
    wall_seconds: float
    current: Path | None = None
    graph_done: int = 0
    graph_total: int = 0


ProgressCallback = Callable[[IndexProgress], None]


@dataclass(frozen=True)
class QueryPart:
    """One ingredient of a query: a text or a piece of a sound file, with its weight.

    A negative weight steers away from it. Exactly one of `text` and `like` is given. `also` holds
    what the sound, and what it is a kind of, is called in several languages, as (tag, text): these
    are asked in its place. With `leaning`, a text without these leans towards the names near it, if
    the model keeps names.
    """

    text: str | None = None
    like: Path | None = None
    like_start: float | None = None
    like_end: float | None = None
    weight: float = 1.0
    lang: str | None = None
    also: tuple[tuple[str, str], ...] = ()
    leaning: bool = False


@dataclass(frozen=True)
class Filters:
    """Which files take part in a search; applied before ranking. Empty means no restriction.

    Args:
        paths: globs, any of which must match the root-relative or the absolute path.
        extensions: without dot, lower case.
        roots: folders; a file must lie in one of them.
        min_seconds, max_seconds: duration of the whole file.
        since: modification time, seconds of the epoch, at or after.
    """

    paths: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    roots: tuple[Path, ...] = ()
    min_seconds: float | None = None
    max_seconds: float | None = None
    since: float | None = None

    def __bool__(self) -> bool:
        return self != Filters()


@dataclass(frozen=True)
class SegmentHit:
    """A segment that answers a query; `start` and `end` in seconds of the file.

    `cosine` is that of segment and query, -1..1, and `z` how far it stands out: standard deviations
    above the mean cosine of the searched segments. `score` is the cosine less the penalty of a file
    that lies near every name (`atri_cli.library.hubs`).
    """

    start: float
    end: float
    score: float
    z: float
    cosine: float


@dataclass(frozen=True)
class SearchHit:
    """A file that answers a query, best segment first.

    `score`, `z` and `cosine` are those of the best segment.
    """

    path: Path
    root: Path
    start: float
    end: float
    score: float
    z: float
    duration: float
    segments: tuple[SegmentHit, ...]
    cosine: float


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first, and what was asked and searched."""

    hits: tuple[SearchHit, ...]
    parts: tuple[QueryPart, ...]
    library: str
    model: str
    searched_segments: int
    method: Literal["exact", "hnsw"]


@dataclass(frozen=True)
class LibraryStatus:
    """What `atri status` shows."""

    name: str
    folder: Path
    model: str
    pipeline_id: str
    files: int
    segments: int
    seconds: float
    skipped: dict[str, int]
    roots: tuple[Root, ...]
    database_bytes: int
    cache_state: CacheState
    last_indexed: float | None
