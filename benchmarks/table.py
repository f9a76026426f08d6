"""Rows of the bench table, as markdown."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "bench.md"
PACKAGES = ("numpy", "onnxruntime", "hnswlib", "soundfile", "soxr", "torch", "transformers")


@dataclass(frozen=True)
class Row:
    """One measurement.

    Args:
        what: what was measured.
        figure: the result, with unit.
        beside: what it is compared with, with unit.
        limit: what it must reach; empty when it is only stated.
        holds: whether it does; None when it is only stated.
    """

    what: str
    figure: str
    beside: str = ""
    limit: str = ""
    holds: bool | None = None

    def cells(self) -> tuple[str, ...]:
        verdict = {True: "yes", False: "**no**", None: ""}[self.holds]
        return self.what, self.figure, self.beside, self.limit, verdict


@dataclass
class Table:
    """All rows of one run, with notes below."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        head = ("What", "Measured", "Beside", "Must be", "Holds")
        lines = [head, ("---",) * len(head), *(row.cells() for row in self.rows)]
        table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
        notes = "".join(f"\n- {note}" for note in self.notes)
        return f"{table}\n{notes}\n" if notes else f"{table}\n"


def page(table: Table, arguments: Sequence[str]) -> str:
    """The whole of docs/results/bench.md: command, date, machine, table."""
    command = " ".join(["python -m benchmarks", *arguments])
    today = datetime.date.today().isoformat()
    return f"# Benchmarks\n\n`{command}`, {today}. {machine()}\n\n{table.markdown()}"


def machine() -> str:
    """Cores, memory, system and the versions that matter."""
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        memory = f", {gib:.0f} GiB"
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    packages = ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    python = f"Python {sys.version.split()[0]}"
    system = f"{platform.system()} {platform.machine()}"
    return f"{os.cpu_count()} cores{memory}{load}; {system}, {python}, {packages}."


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
