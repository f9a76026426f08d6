"""Quality in exact fractions, the gap between languages, and intervals by drawing rows."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atri_cli import metrics
from atri_cli.consistency import quality
from atri_cli.consistency.bootstrap import RESAMPLES, Bootstrap, bounds

TAGS = ("en", "fr", "ja", "zh", "de")
tables = arrays(
    np.int64, st.tuples(st.integers(1, 8), st.integers(2, 5)), elements=st.integers(0, 14)
)


def fractions(ranks: list[int]) -> dict[str, Fraction]:
    """Recall and mAP@10 of the ranks of one language."""
    count = len(ranks)
    found = {f"r{k}": Fraction(sum(rank <= k for rank in ranks), count) for k in (1, 5, 10)}
    gains = sum((Fraction(1, rank) for rank in ranks if rank <= 10), Fraction(0))
    return {**found, "map10": gains / count}


@given(tables)
def test_each_language_in_fractions(ranks: np.ndarray) -> None:
    tags = TAGS[: ranks.shape[1]]
    found, mean = quality.by_language(ranks, tags, Bootstrap(len(ranks)))
    exact = {
        tag: fractions(own)
        for tag, column in zip(tags, ranks.T.tolist(), strict=True)
        if (own := [rank for rank in column if rank])
    }
    for name in quality.MEASURES:
        for tag in tags:
            expected = float(exact[tag][name]) if tag in exact else math.nan
            np.testing.assert_allclose(found[tag][name], expected, rtol=1e-12)
        if exact:
            average = sum(one[name] for one in exact.values()) / len(exact)
            assert mean[name] == pytest.approx(float(average), rel=1e-12)
            low, high = mean["intervals"][name]
            assert -1e-12 <= low <= high <= 1 + 1e-12


@given(tables, st.integers(15, 60), st.integers(0, 9))
def test_mrv_of_chance_is_a_ratio_of_means(ranks: np.ndarray, files: int, seed: int) -> None:
    right = np.random.default_rng(seed).integers(0, 4, len(ranks)).tolist()
    ranks = np.where(np.array(right)[:, None] > 0, ranks, 0)
    found = quality.mrv(ranks, right, files, Bootstrap(len(ranks)))
    above, below = Fraction(0), Fraction(0)
    for row, m in zip(ranks.tolist(), right, strict=True):
        asked = [rank for rank in row if rank]
        if len(asked) > 1:
            middle = Fraction(sum(asked), len(asked))
            above += sum((rank - middle) ** 2 for rank in asked) / len(asked)
            k = len(asked)
            best = Fraction((files - m) * (files + 1) * m, (m + 1) ** 2 * (m + 2))
            below += Fraction(k - 1, k) * best
    if not below:
        assert (found["rows"], math.isnan(found["normalised"])) == (0, True)
        assert np.isnan(found["interval"]).all()
        return
    assert found["normalised"] == pytest.approx(float(above / below), rel=1e-9)
    assert found["variance"] == pytest.approx(float(above / found["rows"]), rel=1e-9, abs=1e-12)
    assert found["random_variance"] == pytest.approx(float(below / found["rows"]), rel=1e-9)


@given(st.integers(1, 7), st.integers(1, 4), st.data())
def test_random_variance_over_every_table_of_ranks(
    files: int, languages: int, data: st.DataObject
) -> None:
    """Each language chooses the places of the right files by itself, all choices alike."""
    right = data.draw(st.integers(1, files))
    best = [min(chosen) + 1 for chosen in itertools.combinations(range(files), right)]
    if len(best) ** languages > 3000:
        languages = 1 if len(best) ** 2 > 3000 else 2
    total = Fraction(0)
    for ranks in itertools.product(best, repeat=languages):
        middle = Fraction(sum(ranks), languages)
        total += sum((rank - middle) ** 2 for rank in ranks) / languages
    expected = float(total / len(best) ** languages)
    assert metrics.random_variance(files, languages, right) == pytest.approx(expected, abs=1e-12)


def test_nothing_is_asked() -> None:
    ranks = np.zeros((3, 2), np.int64)
    found, mean = quality.by_language(ranks, ["en", "fr"], Bootstrap(3))
    assert [one["rows"] for one in found.values()] == [0, 0]
    assert math.isnan(mean["r1"])
    gap = quality.gap(found, ranks, ["en", "fr"], Bootstrap(3))
    empty = dict.fromkeys(("best", "worst", "r10", "map10", "intervals"))
    assert gap == {**empty, "to_english": {}}


@given(st.data(), tables)
def test_the_gap_in_any_order_of_languages(data: st.DataObject, ranks: np.ndarray) -> None:
    tags = list(TAGS[: ranks.shape[1]])
    order = data.draw(st.permutations(range(len(tags))))
    draws = Bootstrap(len(ranks))
    found, _ = quality.by_language(ranks, tags, draws)
    gap = quality.gap(found, ranks, tags, draws)
    mixed = [tags[n] for n in order]
    turned, _ = quality.by_language(ranks[:, order], mixed, draws)
    other = quality.gap(turned, ranks[:, order], mixed, draws)
    assert (gap["map10"], gap["r10"]) == (other["map10"], other["r10"])
    assert gap["to_english"] == other["to_english"]
    known = [one["map10"] for one in found.values() if one["rows"]]
    if known:
        assert gap["map10"] == max(known) - min(known)
        assert found[gap["best"]]["map10"] == max(known)
        assert found[gap["worst"]]["map10"] == min(known)
    english = found["en"]
    for tag, ratios in gap["to_english"].items():
        for name, ratio in ratios.items():
            assert ratio == found[tag][name] / english[name]


@pytest.mark.parametrize("tags", [["en-GB", "en", "fr"], ["en", "fr", "en-GB"]])
def test_english_is_the_plain_one(tags: list[str]) -> None:
    ranks = {"en": [1, 1], "en-GB": [2, 2], "fr": [4, 4]}
    table = np.array([ranks[tag] for tag in tags]).T
    found, _ = quality.by_language(table, tags, Bootstrap(2))
    ratios = quality.gap(found, table, tags, Bootstrap(2))["to_english"]
    assert {tag: one["map10"] for tag, one in ratios.items()} == {"en": 1, "en-GB": 0.5, "fr": 0.25}
    alone, _ = quality.by_language(table[:, :1], ["en-GB"], Bootstrap(2))
    gap = quality.gap(alone, table[:, :1], ["en-GB"], Bootstrap(2))
    assert gap["to_english"]["en-GB"]["map10"] == 1
    assert gap["intervals"] == {"r10": [0, 0], "map10": [0, 0]}


def test_where_english_finds_nothing_there_is_no_ratio() -> None:
    ranks, tags, draws = np.array([[30, 1], [40, 2]]), ["en", "fr"], Bootstrap(2)
    found, _ = quality.by_language(ranks, tags, draws)
    assert quality.gap(found, ranks, tags, draws)["to_english"] == {"en": {}, "fr": {}}


def test_the_gaps_interval_is_around_the_gap_whoever_is_asked() -> None:
    """Some rows are asked in one of the two languages alone, as the gap itself counts them."""
    rng = np.random.default_rng(0)
    ranks = np.stack([rng.integers(1, 4, 60), rng.integers(3, 30, 60)], axis=1)
    ranks[:20, 0] = ranks[40:, 1] = 0
    tags, draws = ["en", "fr"], Bootstrap(60)
    found, _ = quality.by_language(ranks, tags, draws)
    gap = quality.gap(found, ranks, tags, draws)
    low, high = gap["intervals"]["map10"]
    assert low < gap["map10"] < high
    gains = np.where(ranks <= 10, 1 / np.maximum(ranks, 1), 0) * (ranks > 0)
    counts = draws._counts
    means = (counts @ gains) / (counts @ (ranks > 0))
    assert [low, high] == pytest.approx(np.percentile(means[:, 0] - means[:, 1], (2.5, 97.5)))
    ranks[20:40] = 0  # no row in both
    found, _ = quality.by_language(ranks, tags, draws)
    gap = quality.gap(found, ranks, tags, draws)
    assert gap["intervals"]["map10"][0] < gap["map10"] < gap["intervals"]["map10"][1]


# Intervals


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(1, 2)),
        elements=st.sampled_from([0.0, 1.0, -2.5, math.nan]),
    )
)
def test_each_draw_is_a_mean_of_drawn_rows(values: np.ndarray) -> None:
    draws = Bootstrap(len(values))
    found = draws.means(values)
    assert found.shape == (RESAMPLES, *values.shape[1:])
    counts = draws._counts.astype(int)
    assert (counts.sum(axis=1) == len(values)).all()
    for count, means in zip(counts[:30], found[:30], strict=True):
        drawn = [n for n, times in enumerate(count) for _ in range(times)]
        for place in np.ndindex(values.shape[1:]):
            known = [v for n in drawn if not math.isnan(v := values[(n, *place)])]
            expected = math.fsum(known) / len(known) if known else math.nan
            np.testing.assert_allclose(means[place], expected, atol=1e-12)


def test_intervals_hold_the_middle_of_the_draws() -> None:
    values, other = np.arange(30.0), np.arange(30.0)[::-1] + 1
    draws = Bootstrap(30)
    counts = draws._counts
    means, others = counts @ values / 30, counts @ other / 30
    assert draws.interval(values) == pytest.approx(np.percentile(means, (2.5, 97.5)))
    assert draws.ratio(values, other) == pytest.approx(
        np.percentile(means / others, (2.5, 97.5)).tolist()
    )
    assert Bootstrap(30).interval(values) == draws.interval(values)
    assert Bootstrap(30, seed=1).interval(values) != draws.interval(values)
    low, high = draws.interval(values)
    assert low < values.mean() < high


def test_intervals_of_little() -> None:
    assert Bootstrap(1).interval(np.array([3.0])) == [3.0, 3.0]
    assert Bootstrap(4).interval(np.full(4, 7.0)) == [7.0, 7.0]
    assert np.isnan(Bootstrap(2).interval(np.full(2, math.nan))).all()
    assert np.isnan(Bootstrap(2).ratio(np.zeros(2), np.zeros(2))).all()
    assert bounds(np.array([math.nan, 2.0, math.nan])) == [2.0, 2.0]


def test_means_cover_what_they_estimate_in_many_trials() -> None:
    """95 of 100 intervals hold a skewed measure's mean, or nearly so many with few rows."""
    rng = np.random.default_rng(4)
    draws, covered = Bootstrap(80), 0
    for row in rng.binomial(1, 0.3, size=(300, 80)).astype(np.float64):
        low, high = draws.interval(row)
        covered += low <= 0.3 <= high
    assert 0.9 <= covered / 300 <= 0.985
