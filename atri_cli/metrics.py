"""How well queries find the right sounds, and how much rankings of several languages agree.

Ranks count from 1 and are pessimistic: of equal scores the right item comes last, so that a model
that gives everything one score gains nothing from it, and a score that is NaN never helps.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ranks = NDArray[np.int64]


def ranks(scores: NDArray[np.floating[Any]], truth: NDArray[Any]) -> Ranks:
    """The rank of the right item of each query: 1 + the wrong items not scored below it.

    Args:
        scores: float [queries, items], higher is better.
        truth: either int [queries], the right item's column, or bool [queries, items], where
            several items are right and the best of them counts; the others do not push it down.

    Returns:
        int64 [queries], in 1..items.

    Raises:
        ValueError: shapes do not fit, or a query has no right item.
    """
    if scores.ndim != 2 or truth.shape not in (scores.shape, scores.shape[:1]):
        raise ValueError(f"scores {scores.shape} and truth {truth.shape} do not fit")
    if truth.ndim == 1:
        truth = truth[:, None] == np.arange(scores.shape[1])
    right = truth.astype(bool)
    if not right.any(axis=1).all():
        raise ValueError("every query needs a right item")
    known = np.where(np.isnan(scores), -np.inf, scores)
    best = np.max(known, axis=1, where=right, initial=-np.inf, keepdims=True)
    # A NaN among the wrong ones counts against the query, as it is not below.
    above = ~right & ~(scores < best)
    counted: Ranks = 1 + above.sum(axis=1, dtype=np.int64)
    return counted


def recall_at(ranks: Ranks, k: int) -> float:
    """R@k: the share of queries whose right item is among the first k. NaN for no query."""
    return _mean(ranks <= k)


def map_at_10(ranks: Ranks) -> float:
    """mAP@10 with one right item a query: the mean of 1/rank, 0 beyond rank 10."""
    return _mean(np.where(ranks <= 10, 1 / ranks, 0.0))


def mrv_variance(ranks: Ranks) -> float:
    """Mean rank variance, 1/(NK) ΣΣ (r_jk - mean_k r_jk)², as the ATRI paper writes it.

    Source: ATRI, ACL 2025, arXiv 2502.14627.

    Args:
        ranks: [items, languages], the rank of each item's truth when asked in each language.
    """
    return _mean(ranks.var(axis=1)) if ranks.size else float("nan")


def mrv_std(ranks: Ranks) -> float:
    """Mean over items of the population standard deviation of their ranks.

    Source: what the code of CCRK (KDD 2024) computes under the name of mean rank variance; its
    ranks count from 0, which changes nothing. `ranks` as in `mrv_variance`.
    """
    return _mean(ranks.std(axis=1)) if ranks.size else float("nan")


def random_variance(gallery: int, languages: int, right: int = 1) -> float:
    """The variance form expected of independent, uniformly random rankings.

    (K - 1)/K · (N - m)(N + 1)m / ((m + 1)²(m + 2)): the variance of the rank of the best of m right
    items (1 + the wrong ones before it, negative hypergeometric), and the share of it that K values
    keep around their own mean. With m = 1 it is (K - 1)/K · (N² - 1)/12.

    Args:
        gallery: N, how many items are ranked.
        languages: K.
        right: m, how many of them are right.
    """
    wrong = gallery - right
    rank = wrong * (gallery + 1) * right / ((right + 1) ** 2 * (right + 2))
    return (languages - 1) / languages * rank


def normalised_mrv(ranks: Ranks, gallery: int) -> float:
    """Variance form over that of random ranks: 0 is perfect agreement, 1 is chance.

    NaN for one language or a gallery of one, where nothing can disagree.

    Args:
        ranks: as in `mrv_variance`.
        gallery: how many items were ranked.
    """
    chance = random_variance(gallery, ranks.shape[1])
    return mrv_variance(ranks) / chance if chance else float("nan")


def overlap_at(first: Sequence[Hashable], second: Sequence[Hashable], k: int) -> float:
    """The share of items that the first k of two rankings have in common, in 0..1.

    Of lists that both end before k, the longer length takes its place; two empty lists agree.
    """
    depth = min(k, max(len(first), len(second)))
    return len(set(first[:k]) & set(second[:k])) / depth if depth else 1.0


def rbo(first: Sequence[Hashable], second: Sequence[Hashable], p: float = 0.9) -> float:
    """Rank-biased overlap of two finite rankings, extrapolated: RBO_ext, in 0..1.

    With S the shorter list (length s), L the longer (l) and X_d the items common to both down to
    depth d: (1-p)/p · [Σ_{d=1..l} X_d/d p^d + Σ_{d=s+1..l} X_s (d-s)/(s d) p^d]
    + [(X_l - X_s)/l + X_s/s] p^l. The agreement seen last is taken to go on for ever, so equal
    lists of any length give 1. One empty list gives 0, two give 1.

    Source: Webber, Moffat and Zobel, A similarity measure for indefinite rankings, TOIS 28(4),
    2010, equation 32.

    Args:
        first, second: items, best first, none twice.
        p: persistence, in 0..1 exclusive: 0.9 gives the first ten ranks 86 % of the weight.

    Raises:
        ValueError: p out of range, or an item twice in one list.
    """
    if not 0 < p < 1:
        raise ValueError(f"p must lie between 0 and 1, not {p}")
    short, long = sorted((first, second), key=len)
    if len(set(short)) < len(short) or len(set(long)) < len(long):
        raise ValueError("an item is twice in one ranking")
    if not short:
        return 0.0 if long else 1.0
    s, length = len(short), len(long)
    common = _common(short, long)
    depth = np.arange(1, length + 1)
    weight = p ** depth.astype(np.float64)
    extra = np.maximum(depth - s, 0) * common[s - 1] / s
    seen = (1 - p) / p * float(((common + extra) / depth * weight).sum())
    last = (common[-1] - common[s - 1]) / length + common[s - 1] / s
    return seen + float(last * weight[-1])


def kendall_tau(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Kendall's tau-b between two scorings (or two rank lists) of the same n items, in -1..1.

    (concordant - discordant) / √((pairs - ties in first) (pairs - ties in second)), so ties are
    allowed; NaN when one scoring is all ties. Takes n² memory: for pooled top lists.

    Source: Kendall, The treatment of ties in ranking problems, Biometrika 33, 1945.

    Raises:
        ValueError: the lengths differ.
    """
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"{first.shape} and {second.shape} are not two scorings of one list")
    upper = np.triu_indices(len(first), 1)
    one = np.sign(first[:, None] - first[None, :]).astype(np.int64)[upper]
    other = np.sign(second[:, None] - second[None, :]).astype(np.int64)[upper]
    untied = float(np.count_nonzero(one)) * float(np.count_nonzero(other))
    return float((one * other).sum()) / untied**0.5 if untied else float("nan")


def _common(short: Sequence[Hashable], long: Sequence[Hashable]) -> NDArray[np.int64]:
    """Items that both lists hold down to each depth, int64 [len(long)]."""
    place = {item: depth for depth, item in enumerate(short)}
    counts = np.zeros(len(long), np.int64)
    for depth, item in enumerate(long):
        if item in place:
            counts[max(depth, place[item])] += 1
    return np.cumsum(counts)


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else float("nan")
