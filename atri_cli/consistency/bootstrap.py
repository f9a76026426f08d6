"""95 % intervals: rows are drawn with replacement, from a fixed seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
BOUNDS = (2.5, 97.5)

Interval = list[float]


class Bootstrap:
    """The same draws of n rows for everything that is measured on them.

    Means of several columns are then comparable, and differences of two models paired.
    """

    def __init__(self, rows: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(rows, np.full(rows, 1 / rows), RESAMPLES)
        self._counts: NDArray[np.float64] = drawn.astype(np.float64)

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of each draw over the rows that have a value, float64 [draws, ...].

        Args:
            values: float64 [rows, ...]; NaN where a row has none.
        """
        flat = values.reshape(len(values), -1)
        known = ~np.isnan(flat)
        total = self._counts @ np.where(known, flat, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: NDArray[np.float64] = total / (self._counts @ known.astype(np.float64))
        return found.reshape(-1, *values.shape[1:])

    def interval(self, values: NDArray[np.float64]) -> Interval:
        """Interval of the mean of one value a row, float64 [rows]."""
        return bounds(self.means(values))

    def ratio(self, above: NDArray[np.float64], below: NDArray[np.float64]) -> Interval:
        """Interval of a ratio of two means, float64 [rows] each."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return bounds(self.means(above) / self.means(below))


def bounds(draws: NDArray[np.float64]) -> Interval:
    """The middle 95 % of draws; NaN twice when there is none."""
    known = draws[~np.isnan(draws)]
    if not known.size:
        return [float("nan")] * 2
    return [float(value) for value in np.percentile(known, BOUNDS)]


def known_mean(values: NDArray[np.float64]) -> float:
    """Mean of the values that are known; NaN for none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def known_means(values: NDArray[np.float64], axis: int | tuple[int, ...]) -> NDArray[np.float64]:
    """Means along `axis` of the values that are known; NaN where none is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: NDArray[np.float64] = np.where(known, values, 0.0).sum(axis) / known.sum(axis)
    return means
