"""The progress bar of `atri index`, on stderr and only when that is a terminal."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING

from atri_cli.output import Output, is_terminal
from atri_cli.wording import duration

if TYPE_CHECKING:
    from atri_cli.library.types import IndexProgress, ProgressCallback

NOT_YET = "looking for sounds"


def progress_bar(out: Output) -> AbstractContextManager[ProgressCallback | None]:
    """A bar to hand to `Library.index`, or nothing where nobody would see it."""
    return IndexBar() if is_terminal(sys.stderr) and not out.quiet else nullcontext()


def speed(audio_seconds: float, wall_seconds: float) -> str:
    """`152 x real time`."""
    return f"{audio_seconds / wall_seconds:,.0f} × real time" if wall_seconds > 0 else ""


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
        words = f"{duration(now.audio_seconds)} of sound, " + speed(
            now.audio_seconds, now.wall_seconds
        )
        self._bar.update(
            self._task, completed=now.done_files, total=now.total_files, description=words
        )

    def __enter__(self) -> IndexBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._bar.stop()
