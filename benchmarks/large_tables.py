"""What `benchmarks.large` found, as markdown. MB are 10**6 bytes."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.table import machine

if TYPE_CHECKING:
    from benchmarks.large import Timed


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def files(towers: Mapping[str, Mapping[str, Any]]) -> str:
    """Sizes and agreement with torch."""
    head = ("Tower", "weights", "precision", "on disk", "largest difference", "least cosine",
            "mean cosine", "worst on", "lowering: peak", "took")  # fmt: skip
    rows = []
    for tower, steps in towers.items():
        whole = steps["exact"]
        if "died" in whole:
            rows.append((tower, "", "export", whole["died"], *[""] * 6))
        for name in (one for one in steps if one.startswith("lower ")):
            precision = name.split()[1]
            made, found = steps[name], steps[f"compare {precision}"]
            rows.append((tower, f"{whole['weights'] / 1e6:.1f} M", precision, *_file(made, found)))
    return markdown(head, rows)


def _file(made: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, ...]:
    if "died" in made or "died" in found:
        return (str(made.get("died", found.get("died"))), *[""] * 6)
    return (
        f"{made['bytes'] / 1e6:.1f} MB",
        f"{found['difference']:.1e}",
        f"{found['cosine']:.7f}",
        f"{found['mean']:.7f}",
        found["worst"],
        f"{made['memory']['peak']:.0f} MB",
        f"{made['seconds']:.1f} s",
    )


def _loads(timed: Timed) -> str:
    loads = [found["load_average"] for found in timed.found]
    return f"{min(loads):.1f} to {max(loads):.1f}"


def audio(timed: Mapping[str, Timed], seconds: int) -> str:
    """Speed and memory of the audio towers."""
    head = ("Tower", "median", "x real time", "fastest", "x real time", "processor",
            "x real time a core", "load it", "peak before", "after loading", "at the end",
            "load average")  # fmt: skip
    rows = []
    for name, one in timed.items():
        if one.died:
            rows.append((name, one.died, *[""] * 10))
            continue
        size = next(iter(one.found[0]["seconds"]))
        used = min(found["processor"][size] for found in one.found)
        median, least = statistics.median(one.seconds(size)), min(one.seconds(size))
        rows.append((
            name, f"{median * 1e3:.0f} ms", f"{seconds / median:.1f}", f"{least * 1e3:.0f} ms",
            f"{seconds / least:.1f}", f"{used:.3f} s", f"{seconds / used:.1f}",
            f"{one.median('load'):.2f} s",
            *(f"{one.memory(when, 'peak'):.0f} MB" for when in ("before", "loaded", "end")),
            _loads(one),
        ))  # fmt: skip
    return markdown(head, rows)


def text(timed: Mapping[str, Timed], tokens: Sequence[str]) -> str:
    """Warm queries, and memory, of the text tower."""
    head = ("Session", *(f"{size} tokens: median (fastest)" for size in tokens), "load it",
            "peak while loading", "held after it", "of that mapped", "peak at the end",
            "load average")  # fmt: skip
    rows = []
    for name, one in timed.items():
        if one.died:
            rows.append((name, one.died, *[""] * (len(head) - 2)))
            continue
        speeds = (
            f"{statistics.median(one.seconds(size)) * 1e3:.0f} ms "
            f"({min(one.seconds(size)) * 1e3:.0f})"
            for size in tokens
        )
        rows.append((
            name, *speeds, f"{one.median('load'):.2f} s",
            *(f"{one.memory('loaded', what):.0f} MB" for what in ("peak", "now", "mapped")),
            f"{one.memory('end', 'peak'):.0f} MB", _loads(one),
        ))  # fmt: skip
    return markdown(head, rows)


def cold(found: Mapping[str, Mapping[str, Timed]]) -> str:
    """First queries of new processes."""
    head = ("Cold", "files", "whole process", "imports", "loading", "the query", "peak",
            "load average")  # fmt: skip
    rows = []
    for precision, places in found.items():
        for place, one in places.items():
            if one.died:
                rows.append((precision, place, one.died, *[""] * 5))
                continue
            times = (f"{one.median(n):.2f} s" for n in ("whole", "import", "load", "first"))
            peak = f"{one.memory('end', 'peak'):.0f} MB"
            rows.append((precision, place, *times, peak, _loads(one)))
    return markdown(head, rows)


def page(tables: str, arguments: Sequence[str]) -> str:
    """Command, date, machine, tables."""
    command = " ".join(["python -m benchmarks.large", *arguments])
    return f"`{command}`, {datetime.date.today().isoformat()}. {machine()}\n\n{tables}"
