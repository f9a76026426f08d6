"""Hubs held back: by the definition, in a search, and in the same way by `atri consistency`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.consistency.gallery import Gallery
from atri_cli.library import hnsw, search
from atri_cli.library.hubs import NEAREST, SEGMENTS, penalties, sampled
from atri_cli.library.search import search as run
from atri_cli.library.store import Store
from atri_cli.library.types import QueryPart, SearchHit
from tests.fake_encoder import FakeEncoder, PointingEncoder
from tests.test_names import DIM, with_names
from tests.vector_data import add_files, clustered, make_store, unit


def pointing(like: FakeEncoder, direction: np.ndarray) -> PointingEncoder:
    """Any text is the direction given; the card, with its names, is another encoder's."""
    encoder = PointingEncoder(direction)
    encoder.card = like.card
    return encoder


def by_definition(files: list[np.ndarray], names: np.ndarray) -> list[float]:
    """Half the mean of the ten largest cosines of a file's best segment with each name."""
    held = []
    for own in files:
        cosines = sorted(float((own.astype(np.float64) @ name).max()) for name in names)
        held.append(float(np.mean(cosines[-NEAREST:])) / 2)
    return held


counts = st.lists(st.integers(1, 40), min_size=1, max_size=20)


@given(counts)
def test_at_most_eight_evenly_spaced_segments_stand_for_a_file(drawn: list[int]) -> None:
    stand = np.split(sampled(np.array(drawn)), np.cumsum(drawn)[:-1])
    for count, own in zip(drawn, stand, strict=True):
        places = np.flatnonzero(own)
        assert len(places) == min(count, SEGMENTS)
        assert places[0] == 0
        gaps = np.diff(np.append(places, count))
        assert gaps.max() - gaps.min() <= 1


@given(counts, st.integers(1, 60), st.integers(0, 99))
def test_penalties_are_those_of_the_definition(drawn: list[int], many: int, seed: int) -> None:
    few = np.minimum(drawn, SEGMENTS)
    vectors, names = clustered(int(few.sum()), DIM, seed), clustered(many, DIM, seed + 1)
    files = np.split(vectors, np.cumsum(few)[:-1])
    found = penalties(vectors, np.arange(len(vectors)), few, names)
    np.testing.assert_allclose(found, by_definition(files, names.astype(np.float64)), atol=1e-6)


def test_equal_files_are_equal_wherever_they_stand() -> None:
    names = clustered(500, DIM, 1)
    vectors = clustered(701, DIM)
    vectors[700] = vectors[0]
    found = penalties(vectors, np.arange(701), np.ones(701, np.int64), names)
    assert (
        found[700] == found[0] == penalties(vectors, np.arange(1), np.ones(1, np.int64), names)[0]
    )


def hubs_and_one(tmp_path: Path) -> tuple[Store, FakeEncoder, np.ndarray]:
    """Files 0-4 lie near every name, file 5 near one alone; names about one direction, and one."""
    middle, own = np.eye(DIM)[0], np.eye(DIM)[1]
    random = np.random.default_rng(0)
    names = unit(middle + 0.1 * random.standard_normal((50, DIM)))
    query = unit(0.75 * middle + 0.6 * own).astype(np.float32)
    hubs = unit(middle + 0.3 * own + 0.05 * random.standard_normal((5, DIM)))
    store = make_store(tmp_path / "library", np.concatenate([hubs, unit(own[None] + 0.5 * middle)]))
    encoder = with_names(tmp_path, np.concatenate([query[None], names]).astype(np.float32))
    return store, encoder, query


def paths(hits: tuple[SearchHit, ...]) -> list[int]:
    return [int(hit.path.stem) for hit in hits]


def test_a_file_near_every_name_gives_way(tmp_path: Path) -> None:
    store, encoder, query = hubs_and_one(tmp_path)
    with store:
        asked = pointing(encoder, query)
        plain = run(store, asked, [QueryPart("x")], csls=False).hits
        held = run(store, asked, [QueryPart("x")]).hits
        weighed = run(store, asked, [QueryPart("x", weight=-1.0)]).hits
    assert paths(plain)[0] != 5
    assert paths(held)[0] == 5
    assert all(hit.score == hit.cosine for hit in (*plain, *weighed))
    assert [hit.score for hit in held] == sorted((hit.score for hit in held), reverse=True)
    cosines = {hit.path: (hit.cosine, hit.z) for hit in plain}
    assert {hit.path: (hit.cosine, hit.z) for hit in held} == cosines
    for hit in held:
        assert hit.segments[0].score == hit.score < hit.cosine


def test_a_sound_to_resemble_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, encoder, query = hubs_and_one(tmp_path)
    monkeypatch.setattr(search, "query_vector", lambda *_: query)
    with store:
        hits = run(store, encoder, [QueryPart(like=Path("a.wav"))]).hits
    assert paths(hits)[0] != 5
    assert all(hit.score == hit.cosine for hit in hits)


@pytest.mark.parametrize("engine", ["exact", "hnsw"])
def test_a_shorter_list_is_the_beginning_of_a_longer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr(hnsw, "EXACT_LIMIT", 100 if engine == "hnsw" else 10**6)
    encoder = with_names(tmp_path, clustered(100, DIM, 5))
    with make_store(tmp_path / "library", clustered(1200, DIM), per_file=3) as store:
        add_files(store, clustered(60, DIM, 9), per_file=60)
        hnsw.refresh(store)
        for seed in range(5):
            asked = pointing(encoder, clustered(1, DIM, 50 + seed)[0])
            run(store, asked, [QueryPart("x")])
            found = [run(store, asked, [QueryPart("x")], limit=n) for n in (1, 10, 100)]
            assert {result.method for result in found} == {engine}
            whole = [(hit.path, hit.score) for hit in found[-1].hits]
            for result in found:
                assert [(h.path, h.score) for h in result.hits] == whole[: len(result.hits)]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.integers(0, 50))
def test_consistency_holds_back_as_a_search_does(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[int], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("library")
    encoder = with_names(folder, clustered(30, DIM, seed))
    vector = clustered(1, DIM, 100 + seed)[0]
    with make_store(folder / "library", clustered(drawn[0], DIM, seed), drawn[0]) as store:
        for place, count in enumerate(drawn[1:]):
            add_files(store, clustered(count, DIM, seed + place), per_file=count)
        asked = pointing(encoder, vector)
        hits = run(store, asked, [QueryPart("x")], limit=len(drawn)).hits
        gallery = Gallery(store)
        held = gallery.penalties(clustered(30, DIM, seed))
        scores = gallery.scores(vector[None])[0] - held
    by_path = dict(zip(gallery.paths, scores.tolist(), strict=True))
    assert len(hits) == len(drawn)
    for hit in hits:
        assert by_path[hit.path] == pytest.approx(hit.score, abs=2e-3)  # names are kept in 8 bits
