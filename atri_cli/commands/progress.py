"""Progress on stderr: a bar on a terminal, else at most a line before a long wait."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Self

from atri_cli.output import Output, is_terminal
from atri_cli.wording import counted, duration

if TYPE_CHECKING:
    from rich.progress import Progress

    from atri_cli.library.types import IndexProgress, ProgressCallback

NOT_YET = "looking for sounds"
GRAPH = "building the search graph"


def progress_bar(out: Output) -> AbstractContextManager[ProgressCallback]:
    """A bar to hand to `Library.index`, or a plain line where nobody would see the bar."""
    if is_terminal(sys.stderr) and not out.quiet:
        return IndexBar()
    return nullcontext(partial(_announce_graph, out))


def _announce_graph(out: Output, now: IndexProgress) -> None:
    if now.graph_total and not now.graph_done:
        vectors = counted(now.graph_total, "segment")
        out.note(f"{GRAPH.capitalize()} with {vectors}: this may take minutes.")


def speed(audio_seconds: float, wall_seconds: float) -> str:
    """`152 × real time`, `0.8 × real time`; empty when no time has passed."""
    if wall_seconds <= 0:
        return ""
    pace = audio_seconds / wall_seconds
    return f"{pace:,.{0 if pace >= 10 else 1}f} × real time"


class IndexBar:
    """Files, sound and speed while indexing."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(NOT_YET, total=None)

    def __call__(self, now: IndexProgress) -> None:
        """Show where indexing is."""
        if now.graph_total:
            self._show(now.graph_done, now.graph_total, GRAPH)
            return
        words = f"{duration(now.audio_seconds)} of sound, " + speed(
            now.audio_seconds, now.wall_seconds
        )
        self._show(now.done_files, now.total_files, words)

    def _show(self, done: int, total: int, words: str) -> None:
        self._bar.update(self._task, completed=done, total=total, description=words)

    def __enter__(self) -> IndexBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


class StepBar:
    """A bar on stderr for work in steps, each with a name; nothing where nobody would see it."""

    def __init__(self, out: Output) -> None:
        self._bar: Progress | None = None
        if is_terminal(sys.stderr) and not out.quiet:
            from rich.console import Console
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(console=Console(stderr=True), transient=True)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far a step is; a new name begins a new step."""
        if self._bar is None:
            return
        if not self._bar.tasks:
            self._bar.add_task(what, total=total)
        self._bar.update(self._bar.tasks[0].id, completed=done, total=total, description=what)

    @property
    def seen(self) -> bool:
        """Whether there is a bar."""
        return self._bar is not None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
