"""`python -m benchmarks [NAME…]`: measure, print the table, with `--write` record it."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from atri_cli.encoders.registry import find_model
from atri_cli.settings import load_settings
from benchmarks import indexing, languages, nearest, start
from benchmarks.options import Options
from benchmarks.table import RESULTS, Table, page

BENCHMARKS: dict[str, Callable[[Options, Table], None]] = {
    "help": start.help_text,
    "search": start.cold_search,
    "consistency": languages.consistency,
    "nearest": nearest.hnsw_and_exact,
    "speed": indexing.speed,
    "unchanged": indexing.nothing_to_do,
    "long": indexing.long_file,
}
FULL: dict[str, Any] = {
    "segments": 100_000,
    "files": 10_000,
    "sounds": 240,
    "seconds": 30,
    "hours": 3,
    "times": 5,
}
SMALL: dict[str, Any] = {
    "segments": 5000,
    "files": 200,
    "sounds": 6,
    "seconds": 5,
    "hours": 0.05,
    "times": 2,
}


def main(arguments: Sequence[str]) -> int:
    """Exit status 1 when something that must hold does not."""
    asked = _parser().parse_args(arguments)
    card = find_model(asked.model, load_settings())
    given = {name: getattr(asked, name) for name in FULL if getattr(asked, name) is not None}
    sizes = (SMALL if asked.small else FULL) | given
    table = Table([], [f"Model `{card.name}` {card.revision}, pipeline {card.pipeline_id}."])
    for name in asked.names or BENCHMARKS:
        print(f"{name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="atri-bench-", dir=asked.scratch) as scratch:
            options = Options(card=card, scratch=Path(scratch), jobs=asked.jobs, **sizes)
            BENCHMARKS[name](options, table)
    text = page(table, arguments)
    print(text)
    if asked.write:
        RESULTS.write_text(text, encoding="utf-8")
    return int(any(row.holds is False for row in table.rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join(BENCHMARKS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {names}; default: all")
    parser.add_argument("--model", help="name or folder of a model; default: the embedded one")
    parser.add_argument("--small", action="store_true", help="small sizes, to see that it works")
    for name, default in FULL.items():
        kind = float if name in ("seconds", "hours") else int
        parser.add_argument(f"--{name}", type=kind, help=f"default {default:g}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="threads")
    parser.add_argument("--scratch", type=Path, help="where to put data (about 2.5 GB)")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
