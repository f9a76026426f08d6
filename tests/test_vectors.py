"""One suite for every engine; the naive ranking below is the referee."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.library.graph import HnswIndex
from atri_cli.library.vectors import (
    BLOCK_ROWS,
    ExactIndex,
    Neighbours,
    StoredVectors,
    VectorIndex,
    nearest,
)
from tests.vector_data import Vectors, clustered, make_store, unit

DIM = 32
ENGINES: dict[str, Callable[[], VectorIndex]] = {
    "exact": ExactIndex,
    "hnsw": lambda: HnswIndex(DIM),
}


@pytest.fixture(params=ENGINES)
def index(request: pytest.FixtureRequest) -> VectorIndex:
    return ENGINES[request.param]()


def naive(ids: list[int], matrix: Vectors, query: Vectors, k: int) -> list[int]:
    scored = sorted((-float(row @ query), one) for one, row in zip(ids, matrix, strict=True))
    return [one for _, one in scored[:k]]


def test_recall_against_the_referee(index: VectorIndex) -> None:
    matrix = clustered(3000, DIM)
    ids = np.arange(10, 3010)
    index.build(ids, matrix)
    queries = unit(clustered(50, DIM, seed=1) + clustered(50, DIM, seed=2))
    found = sum(
        len(set(index.search(query, 10).ids.tolist()) & set(naive(ids.tolist(), matrix, query, 10)))
        for query in queries
    )
    assert found / 500 >= 0.99


def test_cosines_are_true_and_fall(index: VectorIndex) -> None:
    matrix = clustered(500, DIM)
    index.build(np.arange(500), matrix)
    found = index.search(matrix[7], 20)
    assert found.ids[0] == 7
    assert found.ids.dtype == np.int64
    assert found.cosines.dtype == np.float32
    np.testing.assert_allclose(found.cosines, matrix[found.ids] @ matrix[7], atol=1e-6)
    assert (np.diff(found.cosines) <= 0).all()


@pytest.mark.parametrize("k", [0, 1, 5, 6, 100])
def test_k_is_clamped(index: VectorIndex, k: int) -> None:
    index.build(np.arange(5), clustered(5, DIM))
    assert len(index) == 5
    assert len(index.search(clustered(1, DIM)[0], k).ids) == min(k, 5)


def test_an_empty_index_finds_nothing(index: VectorIndex) -> None:
    index.build(np.empty(0, np.int64), np.empty((0, DIM), np.float32))
    found = index.search(clustered(1, DIM)[0], 3)
    assert (len(index), len(found.ids), found.mean, found.std) == (0, 0, 0.0, 0.0)


def test_only_allowed_ids_take_part(index: VectorIndex) -> None:
    matrix = clustered(2000, DIM)
    index.build(np.arange(2000), matrix)
    allowed = np.arange(0, 2000, 7)
    found = index.search(matrix[1], 10, allowed)
    assert found.ids.tolist() == naive(allowed.tolist(), matrix[allowed], matrix[1], 10)
    assert found.mean == pytest.approx((matrix[allowed] @ matrix[1]).mean(), abs=1e-5)
    assert len(index.search(matrix[1], 10, np.array([3, 5])).ids) == 2
    assert len(index.search(matrix[1], 10, np.empty(0, np.int64)).ids) == 0


def test_building_again_replaces(index: VectorIndex) -> None:
    index.build(np.arange(50), clustered(50, DIM))
    index.build(np.arange(100, 130), clustered(30, DIM, seed=3))
    assert len(index) == 30
    assert index.search(clustered(1, DIM)[0], 100).ids.min() == 100


def test_the_same_contents_give_the_same_answers(index: VectorIndex) -> None:
    matrix = clustered(1500, DIM)
    query = clustered(1, DIM, seed=9)[0]
    answers = []
    for _ in range(2):
        index.build(np.arange(1500), matrix)
        answers.append(index.search(query, 50))
    np.testing.assert_array_equal(answers[0].ids, answers[1].ids)
    np.testing.assert_array_equal(answers[0].cosines, answers[1].cosines)


def test_large_ids_survive(index: VectorIndex) -> None:
    ids = np.array([1, 2**40, 2**62])
    index.build(ids, clustered(3, DIM))
    assert set(index.search(clustered(1, DIM)[0], 3).ids.tolist()) == set(ids.tolist())


def test_spread_describes_the_searched_cosines(index: VectorIndex) -> None:
    matrix = clustered(1800, DIM)
    index.build(np.arange(1800), matrix)
    found = index.search(matrix[0], 5)
    cosines = matrix @ matrix[0]
    assert found.mean == pytest.approx(cosines.mean(), abs=1e-5)
    assert found.std == pytest.approx(cosines.std(), abs=1e-5)
    assert found.z(float(cosines[0])) == pytest.approx(
        (cosines[0] - cosines.mean()) / cosines.std(), rel=1e-3
    )


def test_z_of_a_flat_library_is_zero() -> None:
    assert Neighbours(np.arange(1), np.ones(1, np.float32), 1.0, 0.0).z(1.0) == 0.0


@given(
    st.lists(st.integers(0, 4), max_size=40), st.integers(0, 50), st.randoms(use_true_random=False)
)
def test_nearest_breaks_ties_by_id(levels: list[int], k: int, random: object) -> None:
    ids = np.arange(len(levels)) * 3
    np.random.default_rng(random.getrandbits(32)).shuffle(ids)  # type: ignore[attr-defined]
    cosines = np.array(levels, np.float32) / 4
    got, values = nearest(ids, cosines, k)
    expected = sorted(zip((-cosines).tolist(), ids.tolist(), strict=True))[:k]
    assert [(-value, one) for value, one in zip(values, got, strict=True)] == expected


@pytest.mark.parametrize("share", [2, 40])
def test_stored_vectors_answer_as_the_index_in_memory(tmp_path: Path, share: int) -> None:
    matrix = clustered(BLOCK_ROWS + 500, 8)
    query = clustered(1, 8, seed=4)[0]
    with make_store(tmp_path, matrix, per_file=100) as store:
        ids, stored = store.vectors()
        memory = ExactIndex()
        memory.build(ids, stored)
        engine = StoredVectors(store)
        assert len(engine) == len(memory)
        for allowed in (None, ids[::share]):
            mine, other = engine.search(query, 30, allowed), memory.search(query, 30, allowed)
            np.testing.assert_array_equal(mine.ids, other.ids)
            np.testing.assert_allclose(mine.cosines, other.cosines, atol=1e-6)
            assert (mine.mean, mine.std) == pytest.approx((other.mean, other.std), abs=1e-6)
