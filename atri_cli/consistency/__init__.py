"""How much the answer depends on the language of the question: query file in, report out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from atri_cli.consistency.remedies import Remedies

if TYPE_CHECKING:
    from atri_cli.consistency.questions import Tell
    from atri_cli.consistency.report import Report
    from atri_cli.library.library import Library

__all__ = ["Remedies", "consistency"]

DEPTH = 100
ROWS_WITH_HITS = 100
HITS = 3


def consistency(
    library: Library,
    queries: Path,
    *,
    languages: Sequence[str] = (),
    split: str = "",
    k: int = 10,
    skip_missing: bool = False,
    remedies: Remedies = Remedies(),  # noqa: B008  (frozen)
    cache: Path | None = None,
    tell: Tell | None = None,
) -> Report:
    """Ask a library the same things in several languages, and compare the answers.

    Args:
        library: open; each of its files is ranked by its best segment.
        queries: a query file. With `audio`, ranks of the right files are known.
        languages: tags of the columns to ask in; none is all.
        split: only rows of this split; "" for all.
        k: depth to which rankings are compared.
        skip_missing: leave out right files that the library does not have, instead of refusing.
        remedies: what is done at search time so that languages agree more.
        cache: folder for vectors of the vocabulary, which some remedies need.
        tell: hears what is being done.

    Raises:
        UsageError: the query file is wrong, has one language only, or names missing files.
        NothingIndexedError: the library holds no segment.
        ModelError, LibraryError: as `Library.search`.
    """
    from atri_cli.consistency import run
    from atri_cli.consistency.questions import silent

    return run.run(
        library,
        queries,
        run.Plan(languages, split, k, skip_missing, remedies, cache),
        tell or silent,
    )
