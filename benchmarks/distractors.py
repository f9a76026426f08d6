"""Recordings that are no answer to anything: unlabelled ones of the packages, below two minutes.

    python -m benchmarks.distractors DATA SOUNDS OUT --count 2500

They were heard in training, without labels; none is of the test set or reserved.
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
from pathlib import Path

from benchmarks.testset import PACKAGE

LONGEST = 120.0  # seconds


def lay_out(data: Path, sounds: Path, out: Path, count: int) -> int:
    """Copy `count` recordings, the same ones for the same packages; returns how many."""
    reserved = set((data / "sounds" / "reserved.sha1").read_text(encoding="utf-8").split())
    with (data / "sounds" / "unlabelled.tsv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    random.Random(0).shuffle(rows)
    out.mkdir(parents=True, exist_ok=True)
    done = 0
    for row in rows:
        if done == count:
            break
        archive, _, inner = row["path"].partition(":/")
        path = sounds / "x" / row["package"] / (f"_arc/{archive}/{inner}" if inner else archive)
        kept = row["package"] == PACKAGE or row["sha1"] in reserved
        if not kept and float(row["duration"]) < LONGEST and path.is_file():
            shutil.copyfile(path, out / f"{row['sha1']}{path.suffix.lower()}")
            done += 1
    return done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distractors", description=__doc__)
    for name in ("data", "sounds", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--count", type=int, default=2500)
    asked = parser.parse_args()
    print(f"{lay_out(asked.data, asked.sounds, asked.out, asked.count)} in {asked.out}")
