"""The figures of `atri consistency` against their definitions written out naively."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atri_cli import metrics
from atri_cli.consistency import quality
from atri_cli.consistency.agreement import agree, kendall_taus, pooled_ranks
from atri_cli.consistency.bootstrap import RESAMPLES, Bootstrap
from atri_cli.consistency.ranking import TIE, best_ranks, blocks, first_files


@st.composite
def tops(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """First files of several languages out of a small gallery, and a depth of comparison."""
    gallery = draw(st.integers(1, 9))
    depth = draw(st.integers(1, gallery))
    count = draw(st.integers(2, 5))
    rows = [draw(st.permutations(range(gallery)))[:depth] for _ in range(count)]
    return np.array(rows, np.int32), draw(st.integers(1, depth))


rank_tables = arrays(
    np.int64, st.tuples(st.integers(1, 7), st.integers(2, 5)), elements=st.integers(0, 30)
)
scores = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 9)),
    elements=st.integers(-3, 3).map(lambda n: n / 4),
)


@given(tops())
def test_agreement_of_every_pair(case: tuple[np.ndarray, int]) -> None:
    top, k = case
    found = agree(top, k)
    for one, other in itertools.product(range(len(top)), repeat=2):
        first, second = top[one][:k].tolist(), top[other][:k].tolist()
        assert found.overlap[one, other] == pytest.approx(metrics.overlap_at(first, second, k))
        assert found.rbo[one, other] == pytest.approx(metrics.rbo(first, second))
        assert found.top1[one, other] == (first[0] == second[0])


@given(tops())
def test_ranks_of_the_pool(case: tuple[np.ndarray, int]) -> None:
    top, k = case
    depth = top.shape[1]
    pool = sorted({item for row in top.tolist() for item in row[:k]})
    naive = [
        [row.index(item) + 1 if item in row else depth + 1 for item in pool] for row in top.tolist()
    ]
    assert pooled_ranks(top, k).tolist() == naive
    found = agree(top, k)
    columns = list(zip(*naive, strict=True))
    variances = [np.var(column) for column in columns]
    assert found.pool == len(pool)
    assert found.variance == pytest.approx(np.mean(variances))
    assert found.std == pytest.approx(np.mean(np.sqrt(variances)))


@given(
    arrays(np.int64, st.tuples(st.integers(2, 4), st.integers(1, 8)), elements=st.integers(1, 6))
)
def test_tau_of_every_pair(ranks: np.ndarray) -> None:
    found = kendall_taus(ranks)
    for one, other in itertools.product(range(len(ranks)), repeat=2):
        expected = metrics.kendall_tau(ranks[one], ranks[other])
        np.testing.assert_allclose(found[one, other], expected, atol=1e-12)


@given(st.data(), scores)
def test_rank_of_the_best_right_file(data: st.DataObject, table: np.ndarray) -> None:
    columns = st.lists(st.integers(0, table.shape[1] - 1), unique=True)
    right = [data.draw(columns) for _ in table]
    expected = []
    for row, mine in zip(table, right, strict=True):
        best = max((row[column] for column in mine), default=0)
        wrong = [value for column, value in enumerate(row) if column not in mine]
        expected.append(1 + sum(bool(value >= best) for value in wrong) if mine else 0)
    assert best_ranks(table, right).tolist() == expected


def test_scores_that_differ_by_rounding_are_equal() -> None:
    close = np.array([[0.5, 0.5 - TIE / 2, 0.5 - 4 * TIE]], np.float32)
    assert best_ranks(close, [[0]]).tolist() == [2]
    assert best_ranks(close, [[1]]).tolist() == [2]
    top, _ = first_files(close, 3, np.array([2, 1, 0]))
    assert top.tolist() == [[1, 0, 2]]


@given(st.data(), scores)
def test_first_files_in_order(data: st.DataObject, table: np.ndarray) -> None:
    width = table.shape[1]
    depth = data.draw(st.integers(1, width))
    order = np.array(data.draw(st.permutations(range(width))))
    top, kept = first_files(table, depth, order)
    for row, mine, values in zip(table, top, kept, strict=True):
        expected = sorted(range(width), key=lambda c, own=row: (-own[c], order[c]))[:depth]
        assert mine.tolist() == expected
        np.testing.assert_array_equal(values, row[mine])


@given(st.lists(st.integers(1, 6), min_size=1, max_size=30), st.sampled_from([1, 10**6, 5 * 10**6]))
def test_blocks_hold_whole_rows(sizes: list[int], width: int) -> None:
    rows = np.repeat(np.arange(len(sizes)), sizes)
    found = list(blocks(rows, width))
    assert [n for block in found for n in range(block.start, block.stop)] == list(range(len(rows)))
    for block in found:
        inside = set(rows[block].tolist())
        outside = set(rows.tolist()) - inside
        assert not outside & inside
        assert len(inside) == 1 or (block.stop - block.start) * width <= 16_000_000


@given(rank_tables)
def test_variance_of_the_languages_that_are_asked(ranks: np.ndarray) -> None:
    found = quality.row_variance(ranks)
    for row, value in zip(ranks.tolist(), found, strict=True):
        asked = [rank for rank in row if rank]
        if len(asked) < 2:
            assert math.isnan(value)
        else:
            mean = sum(asked) / len(asked)
            assert value == pytest.approx(sum((r - mean) ** 2 for r in asked) / len(asked))


@given(rank_tables.filter(lambda ranks: (ranks > 0).all()))
def test_mrv_is_that_of_the_metrics(ranks: np.ndarray) -> None:
    found = quality.mrv(ranks, [1] * len(ranks), 40, Bootstrap(len(ranks)))
    assert found["variance"] == pytest.approx(metrics.mrv_variance(ranks))
    assert found["std"] == pytest.approx(metrics.mrv_std(ranks))
    assert found["random_variance"] == pytest.approx(metrics.random_variance(40, ranks.shape[1]))
    assert found["normalised"] == pytest.approx(metrics.normalised_mrv(ranks, 40))


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 4))
def test_random_variance_is_that_of_every_order(gallery: int, right: int, languages: int) -> None:
    right = min(gallery, right)
    best = [min(choice) + 1 for choice in itertools.combinations(range(gallery), right)]
    # Of several right files only the wrong ones before the best count, which are all before it.
    expected = (languages - 1) / languages * np.var(best)
    assert metrics.random_variance(gallery, languages, right) == pytest.approx(expected)


def test_the_example_of_the_documentation() -> None:
    ranks = np.array([[1, 1, 1], [2, 5, 2], [10, 40, 70]])
    found = quality.mrv(ranks, [1, 1, 1], 100, Bootstrap(3))
    assert found["variance"] == pytest.approx(200.67, abs=0.01)
    assert found["std"] == pytest.approx(8.64, abs=0.01)
    assert found["random_variance"] == pytest.approx(555.5)
    assert found["normalised"] == pytest.approx(0.361, abs=0.001)


@given(rank_tables)
def test_each_language(ranks: np.ndarray) -> None:
    tags = [f"l{number}" for number in range(ranks.shape[1])]
    found, mean = quality.by_language(ranks, tags, Bootstrap(len(ranks)))
    for place, tag in enumerate(tags):
        asked = [rank for rank in ranks[:, place].tolist() if rank]
        assert found[tag]["rows"] == len(asked)
        if not asked:
            assert math.isnan(found[tag]["r1"])
            continue
        for k in (1, 5, 10):
            assert found[tag][f"r{k}"] == pytest.approx(sum(r <= k for r in asked) / len(asked))
        gains = [1 / rank if rank <= 10 else 0 for rank in asked]
        assert found[tag]["map10"] == pytest.approx(sum(gains) / len(gains))
        assert found[tag]["median_rank"] == np.median(asked)
    known = [one["r10"] for one in found.values() if not math.isnan(one["r10"])]
    assert not known or mean["r10"] == pytest.approx(np.mean(known))


def test_the_gap_compares_with_english() -> None:
    ranks = np.array([[1, 1, 20], [2, 1, 1], [1, 3, 11]])
    found, _ = quality.by_language(ranks, ["en", "fr", "ja"], Bootstrap(3))
    gap = quality.gap(found, ranks, ["en", "fr", "ja"], Bootstrap(3))
    assert (gap["best"], gap["worst"]) == ("en", "ja")
    assert gap["r10"] == pytest.approx(1 - 1 / 3)
    assert gap["to_english"]["en"] == {"r10": 1, "map10": 1}
    assert gap["to_english"]["ja"]["map10"] == pytest.approx((1 / 3) / (2.5 / 3))


@given(arrays(np.float64, st.integers(1, 6), elements=st.sampled_from([0.0, 1.0, 2.5, math.nan])))
def test_means_of_draws_are_those_of_drawn_rows(values: np.ndarray) -> None:
    draws = Bootstrap(len(values))
    found = draws.means(values)
    assert found.shape == (RESAMPLES,)
    counts = np.random.default_rng(0).multinomial(
        len(values), np.full(len(values), 1 / len(values)), RESAMPLES
    )
    for count, mean in zip(counts[:20], found[:20], strict=True):
        rows = [v for v, n in zip(values, count, strict=True) for _ in range(n)]
        rows = [value for value in rows if not math.isnan(value)]
        if rows:
            assert mean == pytest.approx(np.mean(rows))
        else:
            assert math.isnan(mean)
    np.testing.assert_array_equal(found, Bootstrap(len(values)).means(values))


def test_an_interval_covers_the_mean() -> None:
    values = np.random.default_rng(1).normal(size=(200, 60)) + 3
    covered = 0
    for row in values:
        low, high = Bootstrap(60).interval(row)
        covered += low <= 3 <= high
    assert 0.88 <= covered / len(values) <= 0.99
