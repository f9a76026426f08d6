"""Hubs: sounds that lie near every name, and would come first whatever is asked.

A file's score is its cosine less half its mean cosine with the names of the vocabulary that are
nearest to it. That orders files as CSLS does, 2 cos(x, y) - r(x) - r(y): r(x), the query's own, is
the same for all of them.

Source: Conneau et al., Word Translation Without Parallel Data, ICLR 2018, eq. 3, who take ten
neighbours too. Ten and a half were chosen on validation (docs/log.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atri_cli.encoders.types import Vectors

NEAREST = 10
SEGMENTS = 8  # of a long file, evenly spaced: all of an hour's would take seconds
FILES_AT_ONCE = 256


def sampled(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which segments stand for their file, bool [sum of counts].

    Args:
        counts: int64 [files], how many segments each has; they stand file by file.
    """
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    stand: NDArray[np.bool_] = number * SEGMENTS % np.repeat(counts, counts) < SEGMENTS
    return stand


def penalties(
    vectors: Vectors, rows: NDArray[np.int64], counts: NDArray[np.int64], names: Vectors
) -> NDArray[np.float64]:
    """Half the mean cosine of each file with its nearest names, float64 [files].

    Equal files get equal penalties, and so does the same file among others.

    Args:
        vectors: float32 [n, dim], unit length: segments in any order.
        rows: int64 [sum of counts], places in `vectors`, file by file.
        counts: int64 [files], how many segments stand for each, at least one.
        names: float32 [names, dim], unit length.
    """
    starts = np.concatenate([[0], np.cumsum(counts)])
    found = np.empty(len(counts))
    wide = names.T.astype(np.float64)  # products differ with their place in float32
    nearest = min(NEAREST, len(names))
    for first in range(0, len(counts), FILES_AT_ONCE):
        stop = min(first + FILES_AT_ONCE, len(counts))
        begin, end = starts[first], starts[stop]
        cosines = vectors[rows[begin:end]].astype(np.float64) @ wide
        best = np.maximum.reduceat(cosines, starts[first:stop] - begin, axis=0)
        best.partition(best.shape[1] - nearest, axis=1)
        found[first:stop] = best[:, -nearest:].mean(axis=1) / 2
    return found.round(6)
