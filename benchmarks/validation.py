"""Lay out the validation recordings as a folder and a query file, for `evaluate` and `baseline`.

    python -m benchmarks.validation DATA SOUNDS OUT

A concept that is some recording's first is a query, in the first phrase of each language; every
recording that names it is a right answer. The recordings were never trained on; the phrases were.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections import defaultdict
from pathlib import Path

from train.captions import concepts_of, label_concepts
from train.phrases import CORE, vocabulary_concepts
from train.sources import read_sources

COLUMNS = ("id", "audio", *CORE)


def lay_out(data: Path, sounds: Path, out: Path) -> tuple[int, int]:
    """Write `OUT/sounds` and `OUT/queries.tsv`; returns the numbers of recordings and queries."""
    labels = label_concepts()
    folder = out / "sounds"
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[str]] = defaultdict(list)
    queries: set[str] = set()
    for source in read_sources(data, sounds):
        names = concepts_of(source, labels) if source.validation else []
        if not names:
            continue
        copy = folder / f"{source.sha1}{source.path.suffix.lower()}"
        if not copy.exists():
            shutil.copyfile(source.path, copy)
        queries.add(names[0])
        for name in names:
            files[name].append(copy.name)
    _write_queries(out / "queries.tsv", queries, files)
    return len(list(folder.iterdir())), len(queries)


def _write_queries(path: Path, queries: set[str], files: dict[str, list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        rows = csv.writer(handle, delimiter="\t", lineterminator="\n")
        rows.writerow(COLUMNS)
        for concept in vocabulary_concepts():
            if concept.id in queries:
                texts = [concept.phrases[lang][0] for lang in CORE]
                rows.writerow([concept.id, "|".join(files[concept.id]), *texts])


def main() -> None:
    """Lay out and say how much there is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validation", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    recordings, queries = lay_out(options.data, options.sounds, options.out)
    print(f"{recordings} recordings, {queries} queries in {options.out}")


if __name__ == "__main__":
    main()
