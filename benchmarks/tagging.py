"""Zero-shot tagging: which of the query file's concepts a recording is, by the model alone.

    python -m benchmarks.tagging SOUNDS [--queries FILE] [--model MODEL]

Every recording with a right name is compared with all names of the file, in each language; it is
right when one of its own names is nearest. Names are embedded as search does, so a name the
vocabulary knows is the same in all languages.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atri_cli.metrics import ranks, recall_at
from benchmarks.evaluate import EMBEDDED, UNREADABLE, Floats, Ranks, indexed, library_similarity
from benchmarks.testset import QUERIES, find_truth, list_sounds, read_queries

PLACES = (1, 3, 5)


def tag_ranks(similarity: Floats, truth: Sequence[set[int]]) -> Ranks:
    """Rank of the best right name of each recording that has one and could be read.

    Args:
        similarity: float32 [concepts, files]; UNREADABLE where there is no score.
        truth: places of each concept's recordings.

    Returns:
        int64 [recordings], from 1.
    """
    right = np.zeros(similarity.shape, dtype=bool)
    for row, answers in zip(right, truth, strict=True):
        row[sorted(answers)] = True
    asked = right.any(axis=0) & (similarity > UNREADABLE).all(axis=0)
    return ranks(similarity.T[asked], right.T[asked])


def main() -> None:
    """Index, compare, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tagging", description=__doc__)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("--queries", type=Path, default=QUERIES)
    parser.add_argument("--model", default=EMBEDDED)
    asked = parser.parse_args()
    queries, folder = read_queries(asked.queries), asked.sounds.resolve()
    files = list_sounds(folder)
    with indexed(asked.model, [folder], jobs=1) as library:
        similarity, _ = library_similarity(library, queries, files)
    print(f"{len(queries)} names\n\n| language | recordings | top 1 | top 3 | top 5 |")
    print("|---|---|---|---|---|")
    truth = find_truth(queries, folder, files)
    for tag, scores in similarity.items():
        found = tag_ranks(scores, truth)
        cells = " | ".join(f"{recall_at(found, place):.3f}" for place in PLACES)
        print(f"| {tag} | {len(found)} | {cells} |")


if __name__ == "__main__":
    main()
