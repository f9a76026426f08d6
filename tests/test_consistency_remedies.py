"""Remedies against their definitions written out naively, and what each of them must keep."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.consistency import remedies
from atri_cli.consistency.agreement import agree
from atri_cli.consistency.gallery import Gallery
from atri_cli.consistency.questions import Questions, ask
from atri_cli.consistency.ranking import TIE, blocks, rank_gallery
from atri_cli.library.query import expanded, query_vector
from atri_cli.library.types import QueryPart
from atri_cli.queryfile import QueryFile, QueryRow
from tests.fake_encoder import FakeEncoder, fake_card
from tests.vector_data import clustered, make_store, unit

DIM = 8
TAGS = ("en", "fr", "ja")
Cells = list[list[int]]


def questions(cells: Cells, seed: int = 0) -> Questions:
    """`cells[row][language]` counts the phrasings that are asked."""
    most = max(1, *(max(row) for row in cells))
    place = np.full((len(cells), len(TAGS), most), -1)
    count = itertools.count()
    for (row, language), phrasings in np.ndenumerate(np.array(cells)):
        place[row, language, :phrasings] = [next(count) for _ in range(phrasings)]
    rows = tuple(
        QueryRow(str(n), {tag: ("x",) * many for tag, many in zip(TAGS, row, strict=True) if many})
        for n, row in enumerate(cells)
    )
    return Questions(rows, TAGS, place, clustered(next(count), DIM, seed))


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """Forty files of one or two segments, every fourth a copy of another."""
    vectors = clustered(60, DIM, 3)
    vectors[40:] = vectors[:20]
    with make_store(tmp_path_factory.mktemp("gallery") / "library", vectors, 2) as store:
        return Gallery(store)


cells = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 1)).filter(any).map(list),
    min_size=1,
    max_size=6,
)


@given(cells, st.integers(0, 20))
def test_the_mean_of_the_first_phrasings(table: Cells, seed: int) -> None:
    asked = questions(table, seed)
    fused = remedies.fuse_means(asked)
    for places in asked.place:
        firsts = [int(language[0]) for language in places if language[0] >= 0]
        total = [math.fsum(float(asked.vectors[p][d]) for p in firsts) for d in range(DIM)]
        length = math.sqrt(math.fsum(value * value for value in total))
        for place in places[places >= 0]:
            np.testing.assert_allclose(fused.vectors[place], np.array(total) / length, atol=1e-6)
            np.testing.assert_array_equal(fused.vectors[place], fused.vectors[firsts[0]])


def test_vectors_that_cancel_each_other_out_are_no_crash() -> None:
    asked = questions([[1, 1, 0]])
    opposite = np.stack([asked.vectors[0], -asked.vectors[0]])
    np.testing.assert_array_equal(
        remedies.fuse_means(asked.with_vectors(opposite)).vectors, np.zeros((2, DIM))
    )


def naive_ranks(scores: list[float], tie: float) -> list[int]:
    """Equal scores share the lowest rank of theirs; equal is within `tie` of the one above."""
    order = sorted(range(len(scores)), key=lambda n: -scores[n])
    ranks = [0] * len(scores)
    for place, one in enumerate(order):
        above = order[place - 1]
        same = place and scores[above] - scores[one] <= tie
        ranks[one] = ranks[above] if same else place + 1
    return ranks


@given(cells, st.integers(0, 20), st.integers(1, 8))
def test_reciprocal_rank_fusion(gallery: Gallery, table: Cells, seed: int, size: int) -> None:
    asked = questions(table, seed)
    scores = gallery.scores(asked.vectors)
    adjust = remedies.fuse_ranks(asked)
    found = np.empty_like(scores)
    for block in blocks(asked.row_of, 16_000_000 // size):
        found[block] = adjust(scores[block], block)
    for places in asked.place:
        firsts = [int(language[0]) for language in places if language[0] >= 0]
        ranks = [naive_ranks(scores[place].tolist(), TIE) for place in firsts]
        total = [
            sum(Fraction(1, 60 + ranks[language][file]) for language in range(len(firsts)))
            for file in range(len(gallery))
        ]
        expected = [1 + sum(other > own for other in total) for own in total]
        for place in places[places >= 0]:
            assert (-found[place]).astype(int).tolist() == expected


@pytest.mark.parametrize("fuse", ["mean", "ranks"])
@given(table=cells, seed=st.integers(0, 20))
def test_fused_languages_agree_exactly(
    gallery: Gallery, fuse: str, table: Cells, seed: int
) -> None:
    asked, adjust = questions(table, seed), None
    if fuse == "mean":
        asked = remedies.fuse_means(asked)
    else:
        adjust = remedies.fuse_ranks(asked)
    right = [[row % 40, 5 * row % 40] for row in range(len(table))]
    found = rank_gallery(gallery, asked, right, depth=12, adjust=adjust)
    for places in asked.place:
        same = places[places >= 0]
        assert len(set(found.ranks[same].tolist())) == 1
        assert agree(found.top[same], 10).overlap.min() == 1
        assert agree(found.top[same], 10).variance == 0


def test_equal_files_stay_equal_whatever_the_block(gallery: Gallery) -> None:
    """Products of equal vectors are rounded differently, and ranks must not show it."""
    asked = questions([[1, 1, 1]] * 40)
    adjust = remedies.fuse_ranks(asked)
    fused = adjust(gallery.scores(asked.vectors), slice(0, 120))
    columns = [gallery.columns[n] for n in range(1, len(gallery) + 1)]
    # Files of the segments 0..19 and their copies 40..59, two a file.
    np.testing.assert_array_equal(fused[:, columns[:10]], fused[:, columns[20:]])


banks = st.dictionaries(st.sampled_from([*TAGS, "de"]), st.integers(1, 5), min_size=1)


@given(cells, banks, st.integers(0, 20))
def test_a_language_is_moved_to_the_mean_of_means(
    table: Cells, sizes: dict[str, int], seed: int
) -> None:
    asked = questions(table, seed)
    known = {tag: clustered(n, DIM, seed + len(tag) + n) for n, tag in enumerate(sizes, start=2)}
    moved = remedies.shift(asked, known)
    means = {
        tag: [math.fsum(float(row[d]) for row in rows) / len(rows) for d in range(DIM)]
        for tag, rows in known.items()
    }
    centre = [sum(mean[d] for mean in means.values()) / len(means) for d in range(DIM)]
    for number, tag in enumerate(TAGS):
        for place in asked.place[:, number][asked.place[:, number] >= 0]:
            own = means.get(tag, centre)
            value = [float(asked.vectors[place][d]) + centre[d] - own[d] for d in range(DIM)]
            length = math.sqrt(math.fsum(x * x for x in value))
            np.testing.assert_allclose(moved.vectors[place], np.array(value) / length, atol=2e-6)


def test_languages_with_equal_means_do_not_move() -> None:
    asked = questions([[1, 1, 1], [2, 0, 1]])
    rows = clustered(6, DIM, 4)
    known = {"en": rows, "fr": rows[::-1], "ja": np.concatenate([rows, rows])}
    np.testing.assert_allclose(remedies.shift(asked, known).vectors, asked.vectors, atol=1e-6)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=3), st.integers(0, 20))
def test_query_bank_normalisation_orders_files_as_an_inverted_softmax(
    gallery: Gallery, sizes: list[int], seed: int
) -> None:
    asked = questions([[1, 1, 1]] * 2, seed)
    known = {tag: clustered(n, DIM, seed + n) for tag, n in zip(TAGS, sizes, strict=False)}
    every = np.concatenate(list(known.values())).astype(np.float64)
    scores = gallery.scores(asked.vectors)
    held = remedies.hold_back(remedies.bank_bias(gallery, known))(scores, slice(0, 6))
    columns = np.float64(gallery.scores(every.astype(np.float32)))
    sharp = remedies.SHARPNESS
    for row in range(6):
        softmax = [
            math.exp(sharp * float(scores[row, file]))
            / math.fsum(math.exp(sharp * value) for value in columns[:, file].tolist())
            for file in range(len(gallery))
        ]
        for one, other in itertools.pairwise(np.argsort(-held[row]).tolist()):
            assert softmax[one] >= softmax[other] * (1 - 1e-4)


def test_steps_are_made_one_after_another() -> None:
    assert remedies.chain([]) is None
    scores = np.array([[1.0, 2.0]], np.float32)
    both = remedies.chain([lambda s, _: s + 1, lambda s, _: s * 10])
    assert both is not None
    assert both(scores, slice(0, 1)).tolist() == [[20, 30]]


class Speaker(FakeEncoder):
    """Vectors from the letters of a text; takes some languages only."""

    def __init__(self, languages: tuple[str, ...]) -> None:
        super().__init__(DIM)
        card = fake_card(DIM)
        self.card = replace(card, text=replace(card.text, languages=languages))

    def embed_text(self, texts, lang=None):  # type: ignore[no-untyped-def]
        assert not self.card.text.languages or lang in self.card.text.languages
        rows = [np.random.default_rng(sum(map(ord, text))).normal(size=DIM) for text in texts]
        return unit(np.stack(rows))


@pytest.mark.parametrize("languages", [(), ("en", "fr", "de")])
def test_expanding_asks_what_a_search_asks(languages: tuple[str, ...]) -> None:
    texts = {
        "en": ("dog", "qwertz", "lark", "dog and lark"),
        "fr": ("chien", "pluie", "alouette", "chien sous la pluie"),
        "ja": ("犬", "", "ヒバリ", "犬と雨"),
    }
    spoken = tuple(tag for tag in texts if not languages or tag in languages)
    rows = tuple(
        QueryRow(str(n), {tag: (texts[tag][n],) for tag in spoken if texts[tag][n]})
        for n in range(4)
    )
    encoder = Speaker(languages)
    translate = remedies.known_names(encoder)
    found = ask(Path("q.tsv"), QueryFile(spoken, rows, False), encoder, translate=translate)
    pairs = [(tag, row.texts[tag][0]) for row in rows for tag in spoken if tag in row.texts]
    for (tag, text), vector in zip(pairs, found.vectors, strict=True):
        parts = expanded([QueryPart(text, lang=tag)], languages)
        np.testing.assert_allclose(vector, query_vector(encoder, parts), atol=1e-6)
    assert found.expanded == sum(text != "qwertz" for _, text in pairs)


def test_a_model_that_takes_no_core_language_is_left_alone() -> None:
    encoder = Speaker(("sw", "fi"))
    rows = (QueryRow("dog", {"fi": ("koira",), "sw": ("mbwa",)}),)
    file = QueryFile(("fi", "sw"), rows, False)
    found = ask(Path("q.tsv"), file, encoder, translate=remedies.known_names(encoder))
    assert found.expanded == 0
    np.testing.assert_array_equal(found.vectors, ask(Path("q.tsv"), file, encoder).vectors)


def test_names_are_those_of_the_options() -> None:
    every = remedies.Remedies("mean", True, True, True)
    assert every.names == ["fuse mean", "expand", "mean-shift", "qb-norm"]
    assert remedies.Remedies(expand=False).names == []
    assert [remedies.Remedies(mean_shift=True).need_bank, remedies.Remedies().need_bank] == [1, 0]
