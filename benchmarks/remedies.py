"""What each search-time remedy does to rank variance *and* to recall, by `atri consistency` itself.

    python -m benchmarks.remedies QUERIES SOUNDS [MORE_SOUNDS]

SOUNDS are what the query file's `audio` refers to, MORE_SOUNDS are never right. Both are indexed
into a library of their own; each remedy is compared, row by row, with none.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REMEDIES: Mapping[str, tuple[str, ...]] = {
    "none": ("--no-expand", "--no-csls"),
    "expand": ("--no-csls",),
    "CSLS": ("--no-expand",),
    "expand, CSLS": (),
    "mean shift": ("--no-expand", "--no-csls", "--mean-shift"),
    "QB-norm": ("--no-expand", "--qb-norm"),
    "fuse mean": ("--no-expand", "--no-csls", "--fuse", "mean"),
    "fuse ranks": ("--no-expand", "--no-csls", "--fuse", "ranks"),
    "expand, QB-norm": ("--qb-norm",),
    "expand, fuse mean, CSLS": ("--fuse", "mean"),
    "expand, fuse mean, QB-norm": ("--fuse", "mean", "--qb-norm"),
}
MEASURES = ("r1", "r10", "map10", "mrv_normalised", "overlap")
TITLES = ("R@1", "R@10", "mAP@10", "MRV / random", "overlap@10")


def run(home: Path, *words: str | Path) -> str:
    """What `atri WORDS` prints, in a home of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "atri_cli", *map(str, words)],
        env={**os.environ, "ATRI_HOME": str(home)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout


def measure(home: Path, queries: Path, options: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each remedy the changes against none, as the document's `comparison`."""
    asked = ("consistency", "--query-file", queries, *options, "--json")
    before = home / "before.json"
    before.write_text(run(home, *asked, *REMEDIES["none"]), encoding="utf-8")
    return {
        name: json.loads(run(home, *asked, *words, "--against", before))["comparison"]
        for name, words in REMEDIES.items()
    }


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Values, and for all but the first row their change with its 95 % interval."""
    lines = ["| remedy | " + " | ".join(TITLES) + " |", "|---|" + "---|" * len(TITLES)]
    for name, comparison in found.items():
        cells = []
        for measure_name in MEASURES:
            one = comparison["measures"][measure_name]
            digits = 4 if "mrv" in measure_name else 3
            low, high = one["interval"]
            change = f" ({one['difference']:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}])"
            cells.append(f"{one['after']:.{digits}f}" + (change if name != "none" else ""))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Index, ask, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.remedies", description=__doc__)
    parser.add_argument("queries", type=Path)
    parser.add_argument("sounds", type=Path, nargs="+")
    parser.add_argument("--home", type=Path, help="keep the library in this ATRI_HOME")
    parser.add_argument("--languages", help="only these columns")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = asked.home or Path(scratch)
        home.mkdir(parents=True, exist_ok=True)
        run(home, "index", *asked.sounds, "--quiet")
        options = ("--languages", asked.languages) if asked.languages else ()
        found = measure(home, asked.queries, options)
        status = json.loads(run(home, "status", "--json"))
    rows = found["none"]
    print(
        f"{rows['rows']} concepts x {len(rows['languages'])} languages, {status['files']:,} files"
    )
    print(f"\n{table(found)}")


if __name__ == "__main__":
    main()
