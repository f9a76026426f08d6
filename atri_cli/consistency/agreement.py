"""How much the answers to one query in several languages agree: no ground truth is needed.

Each function looks at one concept: the first files that each of L languages found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
PERSISTENCE = 0.9
AT_ONCE = 1_000_000  # signs of pairs of ranks


@dataclass(frozen=True)
class Agreement:
    """One concept.

    `overlap`, `rbo`, `tau` and `top1` are float64 [L, L], symmetric, 1 on the diagonal; `tau` is
    NaN where a ranking of the pool has no order. `pool` files are among the first k of any
    language; `variance` and `std` are those of their ranks over the languages, averaged.
    """

    overlap: Matrix
    rbo: Matrix
    tau: Matrix
    top1: Matrix
    pool: int
    variance: float
    std: float


def agree(top: NDArray[np.integer], k: int, p: float = PERSISTENCE) -> Agreement:
    """Compare the rankings of L languages.

    The pool is the union of their first k files. Each pooled file has its rank in each language,
    or depth + 1 where it is not among the first `depth` files: ranks further down are not told
    apart. Kendall's tau-b is taken over the pool; a file beyond the depth of both is a tie.

    Args:
        top: int [L, depth], files of each language, best first; none twice in a row.
        k: depth of comparison, at most `depth`.
        p: persistence of RBO.
    """
    ranks = pooled_ranks(top, k)
    place = ranks <= k
    return Agreement(
        overlap=_common(place) / k,
        rbo=_rbo(ranks, k, p),
        tau=kendall_taus(ranks),
        top1=(top[:, None, 0] == top[None, :, 0]).astype(np.float64),
        pool=ranks.shape[1],
        variance=float(ranks.var(axis=0).mean()),
        std=float(ranks.std(axis=0).mean()),
    )


def pooled_ranks(top: NDArray[np.integer], k: int) -> NDArray[np.int64]:
    """Ranks of the pooled files, int64 [L, pool], in 1..depth + 1."""
    depth = top.shape[1]
    pool = np.unique(top[:, :k])
    place = np.searchsorted(pool, top)
    place[place == len(pool)] = 0
    known = pool[place] == top
    ranks = np.full((len(top), len(pool)), depth + 1, np.int64)
    language, rank = np.nonzero(known)
    ranks[language, place[known]] = rank + 1
    return ranks


def kendall_taus(ranks: NDArray[np.int64]) -> Matrix:
    """Kendall's tau-b between all rows, float64 [L, L]; source as `metrics.kendall_tau`."""
    languages, items = ranks.shape
    agree = np.zeros((languages, languages))
    size = max(1, AT_ONCE // max(1, languages * items))
    for start in range(0, items, size):
        # Every pair of items comes twice, which changes no ratio.
        signs = np.sign(ranks[:, start : start + size, None] - ranks[:, None, :])
        flat = signs.reshape(languages, -1).astype(np.float32)  # sums are exact below 2^24
        agree += flat @ flat.T
    untied = agree.diagonal()
    with np.errstate(invalid="ignore", divide="ignore"):
        taus: Matrix = agree / np.sqrt(np.outer(untied, untied))
    return taus


def _rbo(ranks: NDArray[np.int64], k: int, p: float) -> Matrix:
    """RBO_ext of lists of equal length k: (1-p)/p Σ_d X_d/d p^d + X_k/k p^k (Webber 2010, eq. 32).

    X_d counts the files that two lists share down to depth d.
    """
    total = np.zeros((len(ranks), len(ranks)))
    for depth in range(1, k + 1):
        shared = _common(ranks <= depth) / depth
        total += (1 - p) / p * p**depth * shared
    return total + shared * p**k


def _common(chosen: NDArray[np.bool_]) -> Matrix:
    """How many items two rows both chose, float64 [L, L]."""
    numbers = chosen.astype(np.float64)
    shared: Matrix = numbers @ numbers.T
    return shared
