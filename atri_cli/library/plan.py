"""What a scan means for the library: which files to read, which are as before, which are gone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atri_cli.library.catalog import PENDING, FileRow
from atri_cli.library.scan import Found, Scan
from atri_cli.library.types import IndexReport, Skipped

HASH_BYTES = 16
# Reasons that say nothing about the file's content, so that the next run tries again.
MAY_HEAL = frozenset(
    {PENDING, "missing", "unreadable", "needs-formats-extra", "changed-while-reading", "failed"}
)


@dataclass(frozen=True)
class Task:
    """A file to be read: `row` is what the library knows of this name."""

    found: Found
    path: Path
    row: FileRow | None = None

    def is_known_as(self, content_hash: bytes) -> bool:
        """Whether the library has settled what to do with this name and content."""
        row = self.row
        return row is not None and row.content_hash == content_hash and row.reason not in MAY_HEAL

    @property
    def replaces(self) -> bool:
        """Whether the library holds, or held before a change of model, segments of this name."""
        return self.row is not None and (self.row.status == "ok" or self.row.reason == PENDING)


@dataclass
class Plan:
    """Tasks in the scan's order; `vanished` by id; `skipped` as before, or by name alone."""

    tasks: list[Task] = field(default_factory=list)
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    vanished: dict[int, FileRow] = field(default_factory=dict)


def make_plan(scan: Scan, rows: Sequence[FileRow], folders: Mapping[int, Path]) -> Plan:
    """Compare a scan with what the library knows.

    Args:
        scan: of some roots.
        rows: the files the library knows in these roots.
        folders: the roots' folders by id.
    """
    plan = Plan(skipped=list(scan.skipped))
    known = {(row.root_id, row.path): row for row in rows}
    for found in scan.files:
        row = known.pop((found.root_id, found.path), None)
        if row is None or not _as_before(row, found):
            plan.tasks.append(Task(found, full_path(folders, found), row))
        elif row.status == "ok":
            plan.unchanged += 1
        else:
            plan.skipped.append(Skipped(full_path(folders, row), row.reason, row.detail))
    plan.vanished = {
        row.id: row for row in known.values() if not scan.may_hold(row.root_id, row.path)
    }
    return plan


def _as_before(row: FileRow, found: Found) -> bool:
    same = row.size == found.size and row.mtime_ns == found.mtime_ns
    return same and row.reason not in MAY_HEAL


def full_path(folders: Mapping[int, Path], file: Found | FileRow) -> Path:
    """The absolute path of a file."""
    return folders[file.root_id] / os.fsdecode(file.path)


def hash_file(path: Path) -> bytes:
    """The first 16 bytes of SHA-256 over a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()[:HASH_BYTES]


def preview(plan: Plan, report: IndexReport) -> None:
    """Count what carrying out the plan would do, reading only files that may be renamed ones.

    Files are not decoded, so those that would turn out to be no sound count as added.
    """
    gone = {(row.size, row.content_hash): row.id for row in plan.vanished.values()}
    sizes = {size for size, _ in gone}
    left = len(plan.vanished)
    for task in plan.tasks:
        size = task.found.size
        may_be_known = size in sizes if task.row is None else size == task.row.size
        try:
            content_hash = hash_file(task.path) if may_be_known else b""
        except OSError as error:
            plan.skipped.append(Skipped(task.path, "unreadable", error.strerror or str(error)))
            continue
        if task.is_known_as(content_hash):
            report.unchanged += 1
        elif task.row is None and gone.pop((size, content_hash), None) is not None:
            report.moved += 1
            left -= 1
        elif task.replaces:
            report.updated += 1
        else:
            report.added += 1
    report.removed += left
