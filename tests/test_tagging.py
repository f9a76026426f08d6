"""Zero-shot tagging: the rank of a recording's own name among all names."""

from __future__ import annotations

import numpy as np

from benchmarks.designer import QUERIES, read_searches, table
from benchmarks.evaluate import UNREADABLE
from benchmarks.tagging import tag_ranks


def test_the_best_own_name_of_each_named_recording_counts() -> None:
    similarity = np.array(
        [[0.9, 0.1, 0.3, UNREADABLE], [0.2, 0.8, 0.1, UNREADABLE], [0.5, 0.9, 0.2, UNREADABLE]],
        dtype=np.float32,
    )
    # Recording 0 is concept 2, recording 1 concepts 0 and 1; 2 has no name, 3 cannot be read.
    found = tag_ranks(similarity, [{1}, {1, 3}, {0}])
    assert found.tolist() == [2, 2]


def test_forty_searches_in_eight_languages() -> None:
    searches = read_searches(QUERIES)
    assert len(searches) == len(set(searches)) == 40
    assert {lang for lang, _ in searches} == {"en", "fr", "de", "es", "nl", "ca", "ja", "zh"}


def test_searches_and_hits_become_tables() -> None:
    lines = "\n".join(table(iter([("en", "dog"), ("1", "0.50", "p: dog.ogg", "Dog 0.9")])))
    assert "**dog** (en)" in lines
    assert lines.endswith("| 1 | 0.50 | p: dog.ogg | Dog 0.9 |")
