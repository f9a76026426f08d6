"""Each measure against its definition written out naively."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from atri_cli import metrics

rank_tables = arrays(
    np.int64,
    array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.integers(1, 50),
)
rankings = st.lists(st.integers(0, 15), max_size=12, unique=True)
coarse = st.integers(-3, 3)


@given(
    st.data(),
    arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=coarse),
)
def test_ranks_by_counting(data: st.DataObject, scores: np.ndarray) -> None:
    items = scores.shape[1]
    truth = np.array([data.draw(st.integers(0, items - 1)) for _ in scores])
    expected = [
        1 + sum(other >= row[right] for place, other in enumerate(row) if place != right)
        for row, right in zip(scores, truth, strict=True)
    ]
    assert metrics.ranks(scores, truth).tolist() == expected


@given(
    st.data(),
    arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=coarse),
)
def test_the_best_of_several_right_items_counts(data: st.DataObject, scores: np.ndarray) -> None:
    right = data.draw(arrays(bool, scores.shape))
    right[:, 0] |= ~right.any(axis=1)
    expected = []
    for row, good in zip(scores, right, strict=True):
        best = max(row[good])
        expected.append(1 + sum(bool(other >= best) for other in row[~good]))
    assert metrics.ranks(scores, right).tolist() == expected


def test_ties_and_nan_never_help() -> None:
    assert metrics.ranks(np.zeros((1, 9)), np.array([0])).tolist() == [9]
    scores = np.array([[np.nan, 0.5, 0.1], [0.5, np.nan, 0.1], [np.nan] * 3])
    assert metrics.ranks(scores, np.array([0, 0, 0])).tolist() == [3, 2, 3]


@pytest.mark.parametrize(
    "truth", [np.array([0]), np.zeros((2, 3), bool), np.array([0, 3]), np.zeros((3, 2), bool)]
)
def test_ranks_refuse_what_does_not_fit(truth: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"fit|right item"):
        metrics.ranks(np.zeros((2, 3)), truth)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(1, 12))
def test_recall_and_map(values: list[int], k: int) -> None:
    ranks = np.array(values)
    assert metrics.recall_at(ranks, k) == pytest.approx(
        len([rank for rank in values if rank <= k]) / len(values)
    )
    assert metrics.map_at_10(ranks) == pytest.approx(
        sum(1 / rank for rank in values if rank <= 10) / len(values)
    )


def test_no_query_has_no_quality() -> None:
    none = np.empty(0, np.int64)
    assert math.isnan(metrics.recall_at(none, 1))
    assert math.isnan(metrics.map_at_10(none))
    assert math.isnan(metrics.mrv_variance(none.reshape(0, 3)))
    assert math.isnan(metrics.mrv_std(none.reshape(0, 3)))


@given(rank_tables)
def test_both_forms_of_rank_variance(table: np.ndarray) -> None:
    items, languages = table.shape
    squares, deviations = 0.0, 0.0
    for row in table.tolist():
        middle = sum(row) / languages
        own = sum((rank - middle) ** 2 for rank in row)
        squares += own
        deviations += math.sqrt(own / languages)
    assert metrics.mrv_variance(table) == pytest.approx(squares / (items * languages))
    assert metrics.mrv_std(table) == pytest.approx(deviations / items)
    assert metrics.mrv_variance(table - 1) == pytest.approx(metrics.mrv_variance(table))


@pytest.mark.parametrize(("gallery", "languages"), [(2, 2), (3, 3), (5, 2), (4, 4), (7, 1)])
def test_random_variance_is_the_mean_over_all_rank_tables(gallery: int, languages: int) -> None:
    grid = np.indices((gallery,) * languages).reshape(languages, -1).T + 1
    expected = metrics.mrv_variance(grid)
    assert metrics.random_variance(gallery, languages) == pytest.approx(expected)


def test_normalised_rank_variance() -> None:
    grid = np.indices((6, 6, 6)).reshape(3, -1).T + 1
    assert metrics.normalised_mrv(grid, 6) == pytest.approx(1.0)
    assert metrics.normalised_mrv(np.full((4, 3), 5), 6) == 0.0
    assert math.isnan(metrics.normalised_mrv(np.ones((4, 1), np.int64), 6))
    assert math.isnan(metrics.normalised_mrv(np.ones((4, 3), np.int64), 1))


@given(rankings, rankings, st.integers(1, 14))
def test_overlap(first: list[int], second: list[int], k: int) -> None:
    shared = sum(item in second[:k] for item in first[:k])
    depth = min(k, max(len(first), len(second)))
    assert metrics.overlap_at(first, second, k) == (shared / depth if depth else 1.0)
    assert metrics.overlap_at(first, first, k) == 1.0


def naive_rbo(first: list[int], second: list[int], p: float) -> float:
    """The infinite sum, with the agreement beyond the ends as the paper assumes it."""
    short, long = sorted((first, second), key=len)
    s, length = len(short), len(long)
    at_s = len(set(short) & set(long[:s])) / s
    total = 0.0
    for depth in range(1, 3000):
        seen = min(depth, length)
        common = len(set(short[:seen]) & set(long[:seen])) + at_s * max(0, seen - s)
        total += (1 - p) * p ** (depth - 1) * common / seen
    return total


@given(rankings.filter(bool), rankings.filter(bool), st.sampled_from([0.3, 0.9, 0.98]))
def test_rbo_is_the_extrapolated_sum(first: list[int], second: list[int], p: float) -> None:
    expected = naive_rbo(first, second, p)
    assert metrics.rbo(first, second, p) == pytest.approx(expected, abs=1e-9)
    assert metrics.rbo(second, first, p) == pytest.approx(expected, abs=1e-9)
    assert metrics.rbo(first, first, p) == pytest.approx(1.0)


def test_rbo_at_the_edges() -> None:
    assert metrics.rbo([], []) == 1.0
    assert metrics.rbo([], [1]) == 0.0
    assert metrics.rbo([1, 2], [3, 4]) == 0.0
    with pytest.raises(ValueError, match="twice"):
        metrics.rbo([1, 1], [2, 3])
    with pytest.raises(ValueError, match="between 0 and 1"):
        metrics.rbo([1], [1], p=1.0)


@given(st.lists(st.tuples(coarse, coarse), min_size=2, max_size=15))
def test_kendall_by_pairs(pairs: list[tuple[int, int]]) -> None:
    agree = tied_first = tied_second = 0
    for (a, b), (c, d) in combinations(pairs, 2):
        agree += ((a > c) - (a < c)) * ((b > d) - (b < d))
        tied_first += a == c
        tied_second += b == d
    every = len(pairs) * (len(pairs) - 1) / 2
    untied = (every - tied_first) * (every - tied_second)
    first, second = np.array(pairs, float).T
    found = metrics.kendall_tau(first, second)
    assert math.isnan(found) if not untied else found == pytest.approx(agree / math.sqrt(untied))


def test_kendall_of_known_orders() -> None:
    order = np.arange(6)
    assert metrics.kendall_tau(order, order * 2.5) == 1.0
    assert metrics.kendall_tau(order, -order) == -1.0
    with pytest.raises(ValueError, match="one list"):
        metrics.kendall_tau(order, order[1:])
