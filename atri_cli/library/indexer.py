"""Bring the library up to date with its roots: scan, compare, read, write.

Outcomes are written in the scan's order, whichever thread finishes first, so the same sounds
give the same database, ids and all. They are written in one transaction per `BATCH_FILES` files
or `BATCH_SECONDS`, so a crash loses only files in flight, and the next run goes on with those.
What is gone leaves last: until then a file that turns up elsewhere takes its segments along.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from atri_cli.library.catalog import Catalog, Embedded, FileRow
from atri_cli.library.plan import MAY_HEAL, Plan, Task, make_plan, preview
from atri_cli.library.scan import scan
from atri_cli.library.types import IndexProgress, IndexReport, ProgressCallback, Root, Skipped

if TYPE_CHECKING:
    from atri_cli.encoders.types import Encoder
    from atri_cli.library.reading import Outcome, Reader

BATCH_FILES = 64
BATCH_SECONDS = 2.0


@dataclass
class _Batch:
    """What one transaction did; counted when it is committed. `moved` holds file ids."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    segments: int = 0
    moved: set[int] = field(default_factory=set)
    skipped: list[Skipped] = field(default_factory=list)

    def settle(self, task: Task, row: FileRow) -> None:
        """Count a file that has only another date."""
        if row.status == "ok":
            self.unchanged += 1
        else:
            self.skipped.append(Skipped(task.path, row.reason, row.detail))


class Indexer:
    """One run over some roots of a library."""

    def __init__(
        self,
        catalog: Catalog,
        make_encoder: Callable[[], Encoder],
        jobs: int,
        progress: ProgressCallback | None = None,
    ) -> None:
        """
        Args:
            catalog: of a store open for writing.
            make_encoder: called when there is a file to read, and not before.
            jobs: threads that read, and threads that embed.
            progress: called on this thread after each file and each batch.
        """
        self.catalog = catalog
        self.make_encoder = make_encoder
        self.jobs = jobs
        self.progress = progress
        self.report = IndexReport()
        self.plan = Plan()
        self._outcomes: list[Outcome] = []
        self._oldest = 0.0
        self._done = 0
        self._started = time.monotonic()

    def run(
        self, roots: Sequence[Root], all_roots: Sequence[Root], *, dry_run: bool = False
    ) -> IndexReport:
        """Index the roots that are there; leave those that are not as they are.

        Args:
            roots: to be scanned; none lies in another.
            all_roots: every root of the library.
            dry_run: write nothing and decode nothing, only count.
        """
        here = [root for root in roots if root.online]
        others = [root.path for root in all_roots if root not in here]
        self.report.offline_roots = [root.path for root in roots if not root.online]
        self.report.dry_run = dry_run
        found = scan([(root.id, root.path) for root in here], others)
        rows = self.catalog.files([root.id for root in here])
        self.plan = make_plan(found, rows, {root.id: root.path for root in here})
        self.report.unchanged = self.plan.unchanged
        if dry_run:
            preview(self.plan, self.report)
        else:
            self._carry_out()
        for skipped in self.plan.skipped:
            self.report.skipped[skipped.reason] = self.report.skipped.get(skipped.reason, 0) + 1
        self.report.skipped_files = self.plan.skipped
        self.report.wall_seconds = time.monotonic() - self._started
        return self.report

    def _carry_out(self) -> None:
        if self.plan.tasks:
            from atri_cli.library.reading import Reader

            with Reader(self.make_encoder(), self.catalog.hashes(), self.jobs) as reader:
                self._read_all(reader)
        if not self.report.interrupted:
            self._finish()

    def _read_all(self, reader: Reader) -> None:
        tasks = deque(self.plan.tasks)
        running: deque[Future[Outcome]] = deque()
        try:
            while tasks or running or self._outcomes:
                while tasks and len(running) < BATCH_FILES + self.jobs:
                    running.append(reader.submit(tasks.popleft()))
                if running and self._take(running[0]):
                    running.popleft()
                if self._is_due(bool(running)):
                    tasks.extend(self._write(reader))
        except KeyboardInterrupt:
            self.report.interrupted = True
            reader.close()
            for future in running:
                self._take_finished(future)
            self._write(reader)

    def _take(self, future: Future[Outcome]) -> bool:
        """Wait for a file, but no longer than the next write may; False when that comes first."""
        patience = None
        if self._outcomes:
            patience = max(0.0, self._oldest + BATCH_SECONDS - time.monotonic())
        try:
            outcome = future.result(patience)
        except TimeoutError:
            return False
        if not self._outcomes:
            self._oldest = time.monotonic()
        self._outcomes.append(outcome)
        self._done += 1
        if outcome.sound is not None:
            self.report.audio_seconds += outcome.sound.seconds
        self._tell(outcome.task.path)
        return True

    def _take_finished(self, future: Future[Outcome]) -> None:
        try:
            outcome = future.result(0)
        except Exception:
            return  # in flight: the next run reads it
        if not any(outcome is one for one in self._outcomes):
            self._outcomes.append(outcome)

    def _is_due(self, more_to_come: bool) -> bool:
        if not more_to_come or len(self._outcomes) >= BATCH_FILES:
            return True
        return bool(self._outcomes) and time.monotonic() - self._oldest >= BATCH_SECONDS

    def _write(self, reader: Reader) -> list[Task]:
        """Write what has been read in one transaction; returns tasks that must be read again."""
        again, batch = [], _Batch()
        with self.catalog.store.transaction():
            for outcome in self._outcomes:
                if not self._apply(outcome, batch):
                    again.append(outcome.task)
                    reader.lost(outcome.content_hash or b"")
        self._account(batch)
        for outcome in self._outcomes:
            reader.saved(outcome)
        self._outcomes = []
        self._done -= len(again)
        self._tell(None)
        return again

    def _apply(self, outcome: Outcome, batch: _Batch) -> bool:
        task, content_hash = outcome.task, outcome.content_hash
        if outcome.reason:
            self._skip(outcome, batch)
        elif outcome.sound is not None:
            self._put(task, content_hash, outcome.sound, batch)
        elif task.row is not None and content_hash and task.is_known_as(content_hash):
            self.catalog.touch(task.row.id, task.found)
            batch.settle(task, task.row)
        else:
            return self._reuse(task, content_hash or b"", batch)
        return True

    def _put(self, task: Task, content_hash: bytes | None, sound: Embedded, batch: _Batch) -> None:
        self.catalog.put(task.found, content_hash, sound)
        batch.segments += len(sound.windows)
        if task.replaces:
            batch.updated += 1
        else:
            batch.added += 1

    def _reuse(self, task: Task, content_hash: bytes, batch: _Batch) -> bool:
        """Take the segments of a file with the same content; False when it has lost them."""
        same = self.catalog.with_hash(content_hash)
        gone = [row for row in same if row.id in self.plan.vanished and row.id not in batch.moved]
        if gone and task.row is None:
            self.catalog.touch(gone[0].id, task.found)
            batch.moved.add(gone[0].id)
        elif same:
            self._put(task, content_hash, self.catalog.embedded(same[0].id), batch)
        return bool(same)

    def _skip(self, outcome: Outcome, batch: _Batch) -> None:
        task = outcome.task
        batch.skipped.append(Skipped(task.path, outcome.reason, outcome.detail))
        was_fine = task.row is not None and task.row.status == "ok"
        if not (was_fine and outcome.reason in MAY_HEAL):
            self.catalog.put_skipped(
                task.found, outcome.content_hash, outcome.reason, outcome.detail
            )

    def _account(self, batch: _Batch) -> None:
        report = self.report
        report.added += batch.added
        report.updated += batch.updated
        report.unchanged += batch.unchanged
        report.segments += batch.segments
        report.moved += len(batch.moved)
        self.plan.skipped += batch.skipped
        for file_id in batch.moved:
            del self.plan.vanished[file_id]

    def _finish(self) -> None:
        with self.catalog.store.transaction():
            if self.plan.vanished:
                self.catalog.remove_files(self.plan.vanished)
            self.catalog.store.set_meta(last_indexed=time.time())
        gone = [row for row in self.plan.vanished.values() if row.status == "ok"]
        self.report.removed = len(gone)

    def tell_graph(self, done: int, total: int) -> None:
        """Report how many vectors the search graph has taken up."""
        if self.progress is not None:
            self.progress(replace(self._progress(), graph_done=done, graph_total=total))

    def _tell(self, current: Path | None) -> None:
        if self.progress is not None:
            self.progress(replace(self._progress(), current=current))

    def _progress(self) -> IndexProgress:
        seconds, total = time.monotonic() - self._started, len(self.plan.tasks)
        return IndexProgress(self._done, total, self.report.audio_seconds, seconds)
