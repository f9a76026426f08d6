"""What is learnt from: a sound and its captions. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Clip:
    """One sound and what it is called.

    `captions` maps BCP 47 tags to one or more phrasings; a language may be missing. `start` and
    `end` in seconds choose a part of the file. Clips of one `recording` never stand on both sides
    of a split. `line` is that of the manifest, for messages; 0 when there is none.
    """

    id: str
    audio: Path
    captions: Mapping[str, tuple[str, ...]]
    start: float | None = None
    end: float | None = None
    split: str = "train"
    recording: str = ""
    line: int = 0
    note: str = field(default="", compare=False)
