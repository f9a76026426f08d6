"""Sizes of a run and where it works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from atri_cli.encoders.card import ModelCard


@dataclass(frozen=True)
class Options:
    """One run of the benchmarks.

    Args:
        card: the model that is measured.
        scratch: an empty folder for data.
        segments: of the made-up library.
        files: for the index that has nothing to do.
        sounds: files of each format, of `seconds` each, for the speed of indexing.
        seconds: length of each of these.
        hours: length of the one long file.
        times: counted runs of each command.
        jobs: threads for indexing, and for decoding alone.
    """

    card: ModelCard
    scratch: Path
    segments: int
    files: int
    sounds: int
    seconds: float
    hours: float
    times: int
    jobs: int

    def env(self, home: str) -> dict[str, str]:
        """Environment of an atri that knows only this run's folder and model."""
        return {
            "ATRI_HOME": str(self.scratch / home),
            "ATRI_MODEL": str(self.card.folder),
            "NO_COLOR": "1",
        }
