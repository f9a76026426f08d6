"""Which files a search looks at: SQL for numbers and extensions, globs in Python."""

from __future__ import annotations

import fnmatch
import os
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atri_cli.library.store import Store
    from atri_cli.library.types import Filters


def matching_files(store: Store, filters: Filters) -> list[int]:
    """Ids of the files that have segments and pass all of `filters`."""
    where, values = _conditions(filters)
    rows = store.rows(
        "SELECT f.id, r.path, f.path FROM files f JOIN roots r ON r.id = f.root_id"
        f" WHERE {' AND '.join(where)}",
        values,
    )
    if not filters.paths and not filters.roots:
        return [row[0] for row in rows]
    in_roots, in_globs = _root_test(filters), _glob_test(filters)
    return [file for file, root, path in rows if in_roots(root, path) and in_globs(root, path)]


def _conditions(filters: Filters) -> tuple[list[str], list[Any]]:
    limits: dict[str, float | None] = {
        "f.seconds >= ?": filters.min_seconds,
        "f.seconds <= ?": filters.max_seconds,
        "f.mtime_ns >= ?": None if filters.since is None else int(filters.since * 1e9),
    }
    asked = {sql: value for sql, value in limits.items() if value is not None}
    where: list[str] = ["f.status = 'ok'", *asked]
    values: list[Any] = list(asked.values())
    if filters.extensions:
        endings = ["." + extension.lower().lstrip(".") for extension in filters.extensions]
        where.append(
            "(" + " OR ".join(["substr(lower(CAST(f.path AS TEXT)), ?) = ?"] * len(endings)) + ")"
        )
        for ending in endings:
            values += [-len(ending), ending]
    return where, values


def _root_test(filters: Filters) -> Callable[[bytes, bytes], bool]:
    if not filters.roots:
        return lambda _root, _path: True
    asked = [os.fsencode(os.path.abspath(os.path.expanduser(folder))) for folder in filters.roots]
    folders = tuple(name.rstrip(b"/") + b"/" for one in asked for name in _names(one))
    names_of = cache(_names)  # for this search: links may change
    return lambda root, path: any(
        (name.rstrip(b"/") + b"/" + path).startswith(folders) for name in names_of(root)
    )


def _names(folder: bytes) -> frozenset[bytes]:
    """A folder as it is written, and where its symbolic links lead."""
    return frozenset((folder, os.path.realpath(folder)))


def _glob_test(filters: Filters) -> Callable[[bytes, bytes], bool]:
    if not filters.paths:
        return lambda _root, _path: True
    patterns = [re.compile(fnmatch.translate(composed(glob))) for glob in filters.paths]

    def matches(root: bytes, path: bytes) -> bool:
        relative = composed(os.fsdecode(path))
        absolute = composed(os.path.join(os.fsdecode(root), os.fsdecode(path)))
        return any(one.match(relative) or one.match(absolute) for one in patterns)

    return matches


def composed(text: str) -> str:
    """One spelling of an accented name: macOS stores e + accent where people type é."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
