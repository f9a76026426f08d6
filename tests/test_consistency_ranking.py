"""Rankings: scores that are nearly equal, blocks, and a whole gallery against plain sorting."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atri_cli import metrics
from atri_cli.consistency import agreement, ranking
from atri_cli.consistency.agreement import agree, kendall_taus
from atri_cli.consistency.gallery import Gallery
from atri_cli.consistency.questions import Questions
from atri_cli.consistency.ranking import TIE, best_ranks, blocks, first_files, rank_gallery
from atri_cli.queryfile import QueryRow
from tests.vector_data import clustered, make_store

DIM = 8
STEP = np.float32(0.4 * TIE)  # two of these are equal, three are not
near = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.integers(-6, 6).map(lambda n: float(n * STEP)),
)


def equal_or_better(score: np.float32, best: np.float32) -> bool:
    """Not below by more than a tie."""
    return float(best) - float(score) <= 1.1 * TIE


@given(st.data(), near)
def test_ranks_of_scores_that_are_nearly_equal(data: st.DataObject, table: np.ndarray) -> None:
    columns = st.lists(st.integers(0, table.shape[1] - 1), unique=True)
    right = [data.draw(columns) for _ in table]
    expected = []
    for row, mine in zip(table, right, strict=True):
        best = max((row[column] for column in mine), default=None)
        wrong = [value for column, value in enumerate(row) if column not in mine]
        above = 0 if best is None else 1 + sum(equal_or_better(value, best) for value in wrong)
        expected.append(above)
    assert best_ranks(table, right).tolist() == expected
    copies = table.copy()
    assert best_ranks(copies, right).tolist() == expected
    np.testing.assert_array_equal(copies, table)


@given(st.data(), near)
def test_first_files_of_scores_that_are_nearly_equal(
    data: st.DataObject, table: np.ndarray
) -> None:
    width = table.shape[1]
    depth = data.draw(st.integers(1, width))
    order = np.array(data.draw(st.permutations(range(width))))
    top, kept = first_files(table, depth, order)
    for row, mine, values in zip(table, top.tolist(), kept, strict=True):
        ranked = sorted(range(width), key=lambda c, own=row: -own[c])
        edge = row[ranked[depth - 1]]
        groups: list[list[int]] = []
        for column in (c for c in ranked if equal_or_better(row[c], edge)):
            if groups and equal_or_better(row[column], row[groups[-1][-1]]):
                groups[-1].append(column)
            else:
                groups.append([column])
        flat = [c for group in groups for c in sorted(group, key=lambda c: order[c])]
        assert mine == flat[:depth]
        np.testing.assert_array_equal(values, row[mine])


@pytest.mark.parametrize("depth", [1, 3, 7])
def test_all_equal_is_the_worst_rank_and_the_order_of_paths(depth: int) -> None:
    order = np.array([4, 2, 6, 0, 1, 3, 5])
    top, kept = first_files(np.zeros((2, 7), np.float32), depth, order)
    assert top.tolist() == [np.argsort(order)[:depth].tolist()] * 2
    assert not kept.any()
    assert best_ranks(np.zeros((2, 7), np.float32), [[3], [0, 6]]).tolist() == [7, 6]


def test_every_file_right_is_the_first_rank() -> None:
    assert best_ranks(np.zeros((1, 4), np.float32), [[0, 1, 2, 3]]).tolist() == [1]
    assert best_ranks(np.zeros((0, 4), np.float32), []).tolist() == []


rows = st.lists(st.integers(1, 6), min_size=1, max_size=6)


@given(rows, st.integers(1, 40), st.integers(1, 30), st.integers(0, 9))
def test_a_whole_gallery(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], files: int, depth: int, seed: int
) -> None:
    """Ranks and first files by sorting all scores, whatever the size of the blocks."""
    rng, small = np.random.default_rng(seed), seed % 2
    count = sum(sizes)
    place = np.full((len(sizes), max(sizes), 1), -1)
    place[np.arange(max(sizes)) < np.array(sizes)[:, None]] = np.arange(count)[:, None]
    asked = Questions(
        tuple(QueryRow(str(n), {}) for n in range(len(sizes))),
        tuple("abcdef"[: max(sizes)]),
        place,
        clustered(count, DIM, seed),
    )
    with make_store(tmp_path_factory.mktemp("g") / "library", clustered(files, DIM, 5)) as store:
        gallery = Gallery(store)
    right = [sorted(set(rng.integers(0, files, rng.integers(0, 3)).tolist())) for _ in sizes]
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "BLOCK_NUMBERS", 4 * files if small else 16_000_000)
        found = rank_gallery(
            gallery, asked, right, depth=depth, tell=lambda *words: told.append(words)
        )
    scores = (asked.vectors.astype(np.float64) @ gallery._matrix.T.astype(np.float64)).tolist()
    assert found.depth == min(depth, files)
    for query, row in enumerate(asked.row_of.tolist()):
        mine = scores[query]
        order = sorted(range(files), key=lambda c, own=mine: -own[c])
        assert found.top[query].tolist() == order[: found.depth]
        best = [1 + order.index(c) for c in right[row]]
        others = sorted(best)[:1]
        assert found.ranks[query] == (others[0] if best else 0)
    assert told[-1] == ("ranking", count, count)
    assert [done for _, done, _ in told] == sorted({done for _, done, _ in told})


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 4_000_000))
def test_blocks_are_as_large_as_they_may_be(sizes: list[int], width: int) -> None:
    asked = np.repeat(np.arange(len(sizes)), sizes)
    most = max(1, min(1024, 16_000_000 // width))
    found = list(blocks(asked, width))
    assert found[0].start == 0
    assert found[-1].stop == len(asked)
    for one, after in itertools.pairwise(found):
        assert one.stop == after.start
        following = sizes[asked[after.start]]
        assert one.stop - one.start + following > most  # another row would not have fitted
    for block in found:
        assert len(set(asked[block].tolist())) == 1 or block.stop - block.start <= most


def test_no_queries_no_blocks() -> None:
    assert list(blocks(np.empty(0, np.int64), 10)) == []


# Agreement


@given(
    arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.integers(1, 5)),
    st.integers(1, 60),
)
def test_tau_in_pieces_of_any_size(table: np.ndarray, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, "AT_ONCE", size)
        found = kendall_taus(table)
    for one, first in enumerate(table):
        for other, second in enumerate(table):
            expected = metrics.kendall_tau(first, second)
            np.testing.assert_allclose(found[one, other], expected, atol=1e-12)


def test_a_large_pool_takes_little_memory() -> None:
    rng = np.random.default_rng(0)
    top = np.stack([rng.permutation(3000)[:700] for _ in range(3)])
    tracemalloc.start()
    found = agree(top, 700)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000
    assert found.pool > 1500
    assert found.tau[0, 0] == pytest.approx(1)


def test_languages_that_share_nothing() -> None:
    found = agree(np.arange(20).reshape(2, 10), 5)
    assert (found.pool, found.overlap[0, 1], found.rbo[0, 1], found.top1[0, 1]) == (10, 0, 0, 0)
    # A file of the other is at 11: variance of 1..5 against 11.
    assert found.variance == pytest.approx(np.mean([((11 - r) / 2) ** 2 for r in range(1, 6)]))
    # Every pair within one list is ordered there and a tie beyond the depth of the other.
    assert found.tau[0, 1] == pytest.approx(-25 / (35 * 35) ** 0.5)


def test_one_file_alone() -> None:
    found = agree(np.zeros((3, 1), np.int32), 1)
    assert found.overlap.tolist() == found.rbo.tolist() == np.ones((3, 3)).tolist()
    assert np.isnan(found.tau).all()
    assert found.variance == 0
