"""95 % intervals of what changes between two models: over queries, and over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ranks = NDArray[np.int64]
Floats = NDArray[np.float64]

RESAMPLES = 10_000
MEASURES = ("r1", "r10", "map10", "mrv")
# Student's t, two-sided 95 %, by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}


class Interval(NamedTuple):
    """A figure, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether 0 lies outside."""
        return self.low > 0 or self.high < 0


def by_query(ranks: Ranks, measure: str) -> Floats:
    """What each query adds to a mean.

    Args:
        ranks: int64 [queries, languages], from 1.
        measure: `r1`, `r10`, `map10`, or `mrv` (its variance form).

    Returns:
        float64 [queries]; their mean is the measure's mean over languages.

    Raises:
        KeyError: another measure.
    """
    if measure == "mrv":
        return np.var(ranks, axis=1)
    if measure == "map10":
        return np.where(ranks <= 10, 1 / ranks, 0.0).mean(axis=1)
    found: Floats = (ranks <= {"r1": 1, "r10": 10}[measure]).mean(axis=1)
    return found


def paired(before: Sequence[Ranks], after: Sequence[Ranks], measure: str) -> Interval:
    """The change of a measure, by bootstrap over queries; the same queries for both.

    Args:
        before, after: ranks int64 [queries, languages] of each seed, of the same queries.
        measure: see `by_query`; the change of `mrv` is relative, that of others a difference.

    Returns:
        Of the seeds' mean, which stays fixed: this is the spread over queries alone.
    """
    x, y = (np.mean([by_query(one, measure) for one in many], axis=0) for many in (before, after))
    picks = np.random.default_rng(0).integers(len(x), size=(RESAMPLES, len(x)))
    low, high = np.percentile(_change(x[picks], y[picks], measure), (2.5, 97.5))
    return Interval(float(_change(x, y, measure)), float(low), float(high))


def _change(x: Floats, y: Floats, measure: str) -> Floats:
    first, second = x.mean(axis=-1), y.mean(axis=-1)
    found: Floats = second / first - 1 if measure == "mrv" else second - first
    return found


def over_seeds(changes: Sequence[float]) -> Interval:
    """Mean of a change over seeds, by Student's t; without end for a single seed."""
    mean = float(np.mean(changes))
    if len(changes) < 2:
        return Interval(mean, -np.inf, np.inf)
    half = STUDENT[len(changes) - 1] * float(np.std(changes, ddof=1)) / len(changes) ** 0.5
    return Interval(mean, mean - half, mean + half)


def shown(interval: Interval, percent: bool = False) -> str:
    """`+.012 [.003, .020]`, or `-28 % [-35, -20]`."""
    if percent:
        value, low, high = (100 * one for one in interval)
        return f"{value:+.0f} % [{low:+.0f}, {high:+.0f}]"
    return f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
