"""Rankings of a gallery: the rank of the right answers, and the first files of each query.

Two scores within `TIE` of each other are equal: products of equal vectors differ by less, whoever
multiplies them. Of equal scores the wrong file comes first, so that a model that gives everything
one score gains nothing from it; among the files that are shown, the order of paths decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atri_cli.consistency.questions import Questions, Tell, silent

if TYPE_CHECKING:
    from atri_cli.consistency.gallery import Gallery

    Scores = NDArray[np.float32]
    Adjust = Callable[[Scores, slice], Scores]

TIE = 1e-6
BLOCK_NUMBERS = 16_000_000  # scores held at once: 64 MB


@dataclass(frozen=True)
class Rankings:
    """What the gallery answers to Q queries.

    Args:
        ranks: int64 [Q], from 1: of the best right file; 0 where no right file is known.
        top: int32 [Q, depth], columns of the gallery, best first.
        scores: float32 [Q, depth], their scores.
    """

    ranks: NDArray[np.int64]
    top: NDArray[np.int32]
    scores: Scores

    @property
    def depth(self) -> int:
        """How many files of each query are known."""
        return int(self.top.shape[1])


def rank_gallery(
    gallery: Gallery,
    questions: Questions,
    right: Sequence[Sequence[int]],
    *,
    depth: int,
    adjust: Adjust | None = None,
    tell: Tell = silent,
) -> Rankings:
    """Rank all files for each query, in blocks of rows that fit into little memory.

    Args:
        gallery: of the library.
        questions: their vectors are what is asked.
        right: for each row the columns of its right files; empty where none is known.
        depth: files to keep of each query, at most as many as there are.
        adjust: changes a block of scores before they are ranked; is given the scores, float32
            [q, files], and which queries they are. A row is never divided.
        tell: hears how many queries are ranked.
    """
    count, depth = len(questions.vectors), min(depth, len(gallery))
    ranks = np.zeros(count, np.int64)
    top = np.empty((count, depth), np.int32)
    kept = np.empty((count, depth), np.float32)
    rows = questions.row_of
    for block in blocks(rows, len(gallery)):
        scores = gallery.scores(questions.vectors[block])
        if adjust is not None:
            scores = adjust(scores, block)
        ranks[block] = best_ranks(scores, [right[row] for row in rows[block].tolist()])
        top[block], kept[block] = first_files(scores, depth, gallery.order)
        tell("ranking", block.stop, count)
    return Rankings(ranks, top, kept)


def blocks(rows: NDArray[np.int64], width: int) -> Iterator[slice]:
    """Slices of whole rows, whose scores of `width` files each fit into `BLOCK_NUMBERS`.

    Args:
        rows: int64 [Q], ascending: the row of each query.
        width: how many files.
    """
    size = max(1, min(1024, BLOCK_NUMBERS // max(1, width)))
    start = 0
    while start < len(rows):
        stop = min(start + size, len(rows))
        if stop < len(rows) and rows[stop - 1] == rows[stop]:
            whole = int(np.searchsorted(rows, rows[stop]))
            stop = whole if whole > start else int(np.searchsorted(rows, rows[stop], "right"))
        yield slice(start, stop)
        start = stop


def best_ranks(scores: Scores, right: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """1 + the wrong files not scored below the best right one, by more than `TIE`.

    Args:
        scores: float32 [q, files].
        right: for each query the columns that are right.

    Returns:
        int64 [q]; 0 where nothing is right.
    """
    floor = np.full(len(scores), np.inf, np.float32)
    for row, columns in enumerate(right):
        if columns:
            floor[row] = scores[row, list(columns)].max() - TIE
    found: NDArray[np.int64] = 1 + np.count_nonzero(scores >= floor[:, None], axis=1)
    for row, columns in enumerate(right):
        own = scores[row, list(columns)] >= floor[row] if columns else ()
        found[row] = found[row] - np.count_nonzero(own) if columns else 0
    return found


def first_files(
    scores: Scores, depth: int, order: NDArray[np.int64]
) -> tuple[NDArray[np.int32], Scores]:
    """The `depth` files with the highest scores of each row; equal ones in the given order.

    Args:
        scores: float32 [q, files].
        depth: at most `files`.
        order: int64 [files], which of two equal files comes first.

    Returns:
        int32 and float32 [q, depth].
    """
    width = scores.shape[1]
    edge = np.partition(scores, width - depth, axis=1)[:, width - depth]
    top = np.empty((len(scores), depth), np.int32)
    kept = np.empty((len(scores), depth), np.float32)
    for row, (own, least) in enumerate(zip(scores, edge - TIE, strict=True)):
        columns = np.flatnonzero(own >= least)
        columns = columns[np.argsort(-own[columns], kind="stable")]
        group = np.cumsum(-np.diff(own[columns], prepend=own[columns[:1]]) > TIE)
        columns = columns[np.lexsort((order[columns], group))][:depth]
        top[row], kept[row] = columns, own[columns]
    return top, kept
