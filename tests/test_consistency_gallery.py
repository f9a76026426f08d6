"""A library as columns of scores, right answers looked up in it, and remedies on its scores."""

from __future__ import annotations

import os
import pickle
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.consistency import remedies
from atri_cli.consistency.bank import bank
from atri_cli.consistency.gallery import NARROW, Gallery
from atri_cli.consistency.questions import Questions
from atri_cli.consistency.truth import find_answers, refuse_missing
from atri_cli.errors import NothingIndexedError, UsageError
from atri_cli.library import flat
from atri_cli.library.store import Store
from atri_cli.queryfile import QueryRow
from tests.fake_encoder import FakeEncoder
from tests.vector_data import PIPELINE, clustered, make_store, unit

DIM = 8
Table = np.ndarray


def fill(folder: Path, owners: list[int], names: list[bytes] | None = None) -> Store:
    """A library whose n-th segment belongs to the file `owners[n]`, in that order of ids."""
    vectors = clustered(len(owners), DIM, seed=len(owners))
    store = Store.open(folder, pipeline_id=PIPELINE, dim=DIM, model="test")
    files = sorted(set(owners))
    with store.transaction() as db:
        db.execute("INSERT INTO roots (id, path, added) VALUES (1, ?, 0)", (b"/sounds",))
        for file in files:
            name = names[file] if names else b"%04d.wav" % file
            db.execute(
                "INSERT INTO files (id, root_id, path, size, mtime_ns, seconds, status)"
                " VALUES (?, 1, ?, 1, 1, 1, 'ok')",
                (file + 1, name),
            )
        db.executemany(
            "INSERT INTO segments (file_id, start, end, vector) VALUES (?, ?, ?, ?)",
            [
                (file + 1, float(place), place + 1.0, row.astype("<f4").tobytes())
                for place, (file, row) in enumerate(zip(owners, vectors, strict=True))
            ],
        )
        store.segments_changed()
    return store


def naive(store: Store, queries: Table) -> dict[int, Table]:
    """File id → cosine of its best segment for each query."""
    owner = dict(store.rows("SELECT id, file_id FROM segments"))
    ids, matrix = store.vectors()
    found: dict[int, Table] = {}
    for segment, row in zip(ids.tolist(), matrix, strict=True):
        cosines = queries.astype(np.float64) @ row.astype(np.float64)
        file = owner[segment]
        found[file] = np.maximum(found[file], cosines) if file in found else cosines
    return found


@given(st.lists(st.integers(0, 40), min_size=1, max_size=120), st.integers(0, 99))
def test_a_files_score_is_that_of_its_best_segment(
    tmp_path_factory: pytest.TempPathFactory, owners: list[int], seed: int
) -> None:
    queries = clustered(3, DIM, seed)
    with fill(tmp_path_factory.mktemp("library"), owners) as store:
        gallery = Gallery(store)
        expected = naive(store, queries)
    scores = gallery.scores(queries)
    assert sorted(gallery.ids.tolist()) == sorted(expected)
    for column, file in enumerate(gallery.ids.tolist()):
        np.testing.assert_allclose(scores[:, column], expected[file], atol=1e-6)


def test_a_few_very_long_files(tmp_path: Path) -> None:
    owners = [file for file in range(NARROW - 3) for _ in range(300 + file)] + list(range(20, 60))
    queries = clustered(5, DIM, 7)
    with fill(tmp_path / "library", owners) as store:
        gallery = Gallery(store)
        expected = naive(store, queries)
        best = gallery.scores(queries)
        for column, file in enumerate(gallery.ids.tolist()):
            np.testing.assert_allclose(best[:, column], expected[file], atol=1e-6)
            place = gallery.place(store, column, queries[0])
            assert place.score == pytest.approx(expected[file][0], abs=2e-6)
            assert owners[int(place.start)] + 1 == file


def test_the_cache_file_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "SMALLEST", 10)
    queries = clustered(4, DIM, 3)
    with make_store(tmp_path / "library", clustered(500, DIM), 3) as store:
        before = Gallery(store).scores(queries)
        flat.refresh(store)
        file = store.path.parent / flat.FILE
        assert file.exists()
        np.testing.assert_array_equal(Gallery(store).scores(queries), before)

        def cut(opened: Store) -> object:
            whole = list(blocks(opened))
            return iter(whole[:-1])

        blocks = flat.blocks
        monkeypatch.setattr(flat, "blocks", cut)
        np.testing.assert_array_equal(Gallery(store).scores(queries), before)


def test_an_empty_library_is_refused(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "library", pipeline_id=PIPELINE, dim=DIM, model="test")
    with store, pytest.raises(NothingIndexedError):
        Gallery(store)


# Right answers

NAMES = [
    *(b"dogs/bark 1.wav", b"dogs/bark 2.wav", b"dogs/dog [1].wav", b"cats/meow.wav"),
    unicodedata.normalize("NFD", "été/pluie.wav").encode(),
    b"odd/\xff.wav",
]


@pytest.mark.parametrize(
    ("audio", "found"),
    [
        (("dogs/bark 1.wav",), (1,)),
        (("dogs/*",), (1, 2, 3)),
        (("*.wav",), (1, 2, 3, 4, 5, 6)),
        (("dogs/bark ?.wav", "cats/meow.wav"), (1, 2, 4)),
        (("dogs/dog [1].wav",), (3,)),
        (("dogs/bark [12].wav",), (1, 2)),
        (("/sounds/cats/meow.wav",), (4,)),
        (("/sounds/*/meow.wav", "cats/meow.wav"), (4,)),
        (("été/pluie.wav",), (5,)),
        (("é*",), (5,)),
        (("odd/*",), (6,)),
        ((), ()),
    ],
)
def test_paths_and_globs(tmp_path: Path, audio: tuple[str, ...], found: tuple[int, ...]) -> None:
    with fill(tmp_path / "library", list(range(len(NAMES))), NAMES) as store:
        answers = find_answers(store, [QueryRow("x", {}, audio)])
    assert answers.files == (found,)
    assert answers.missing == ()


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    rows = [QueryRow(str(n), {}, (f"gone{n}.wav",), line=n + 2) for n in range(8)]
    rows.append(QueryRow("quiet", {}, ("quiet.wav",), line=99))
    with fill(tmp_path / "library", [0, 1]) as store:
        with store.transaction() as db:
            db.execute(
                "INSERT INTO files (root_id, path, size, mtime_ns, status, reason)"
                " VALUES (1, ?, 1, 1, 'skipped', 'silent')",
                (b"quiet.wav",),
            )
        answers = find_answers(store, rows)
        skipped = find_answers(store, rows[-1:])
    with pytest.raises(UsageError) as error:
        refuse_missing(Path("q.tsv"), answers, 3)
    assert "`q.tsv`, line 2, column 3: `gone0.wav` matches no sound" in error.value.what
    assert "line 3: `gone1.wav`" in error.value.why
    assert "and 4 more" in error.value.why
    with pytest.raises(UsageError) as error:
        refuse_missing(Path("q.tsv"), skipped, 3)
    assert "skipped: silent" in str(error.value)


def test_many_patterns_over_many_files_take_no_time(tmp_path: Path) -> None:
    names = [b"pack%03d/sound_%05d.wav" % (n % 200, n) for n in range(20_000)]
    rows = [QueryRow(str(n), {}, (f"pack{n % 200:03}/sound_*{n}.wav",)) for n in range(500)]
    with fill(tmp_path / "library", list(range(len(names))), names) as store:
        begin = time.perf_counter()
        answers = find_answers(store, rows)
        assert time.perf_counter() - begin < 3
    assert all(n + 1 in found for n, found in enumerate(answers.files))


# Remedies


def questions(rows: int = 3, languages: int = 3, seed: int = 0) -> Questions:
    """Every row in every language; the second row is not asked in the last one."""
    place = np.arange(rows * languages).reshape(rows, languages, 1)
    vectors = clustered(rows * languages, DIM, seed)
    tags = tuple("abcdefg"[:languages])
    texts = dict.fromkeys(tags, ("x",))
    return Questions(tuple(QueryRow(str(n), texts) for n in range(rows)), tags, place, vectors)


def test_the_mean_of_a_rows_languages() -> None:
    asked = questions()
    fused = remedies.fuse_means(asked)
    for row in range(3):
        own = asked.vectors[asked.first[row]]
        expected = unit(own.mean(axis=0))
        for place in asked.first[row]:
            np.testing.assert_allclose(fused.vectors[place], expected, atol=1e-6)


def test_reciprocal_ranks(tmp_path: Path) -> None:
    asked = questions(rows=4)
    with make_store(tmp_path / "library", clustered(60, DIM), 2) as store:
        gallery = Gallery(store)
    scores = gallery.scores(asked.vectors)
    fused = remedies.fuse_ranks(asked)(scores, slice(0, len(scores)))
    for row in range(4):
        places = asked.first[row]
        total = np.zeros(len(gallery))
        for place in places:
            order = sorted(range(len(gallery)), key=lambda c, p=place: -scores[p, c])
            for rank, column in enumerate(order, start=1):
                total[column] += 1 / (60 + rank)
        best = int(total.argmax())
        for place in places:
            np.testing.assert_array_equal(fused[place], fused[places[0]])
            assert fused[place].argmax() == best or np.isclose(
                total[fused[place].argmax()], total[best]
            )
            order = np.argsort(-fused[place], kind="stable")
            assert (np.diff(total[order]) <= 1e-12).all()


def test_languages_are_moved_to_their_common_mean() -> None:
    asked = questions()
    spoken = {tag: clustered(20, DIM, number) for number, tag in enumerate("abc")}
    means = [vectors.mean(axis=0) for vectors in spoken.values()]
    centre = np.mean(means, axis=0)
    moved = remedies.shift(asked, spoken)
    for number in range(3):
        for place in asked.first[:, number]:
            expected = unit(asked.vectors[place] + centre - means[number])
            np.testing.assert_allclose(moved.vectors[place], expected, atol=1e-6)
    same = remedies.shift(asked, dict.fromkeys("abc", spoken["a"]))
    np.testing.assert_allclose(same.vectors, asked.vectors, atol=1e-6)
    alone = remedies.shift(asked, {"a": spoken["a"]})
    np.testing.assert_allclose(alone.vectors, asked.vectors, atol=1e-6)


def test_query_bank_normalisation_is_an_inverted_softmax(tmp_path: Path) -> None:
    asked, spoken = questions(), {"a": clustered(40, DIM, 4), "b": clustered(30, DIM, 5)}
    with make_store(tmp_path / "library", clustered(60, DIM), 2) as store:
        gallery = Gallery(store)
    scores = gallery.scores(asked.vectors).astype(np.float64)
    every = gallery.scores(np.concatenate(list(spoken.values()))).astype(np.float64)
    softmax = np.exp(10 * scores) / np.exp(10 * every).sum(axis=0)
    found = remedies.hold_back(remedies.bank_bias(gallery, spoken))(
        gallery.scores(asked.vectors), slice(0, 9)
    )
    for row, expected in zip(found, softmax, strict=True):
        assert (np.diff(expected[np.argsort(-row)]) <= 1e-9).all()


class Texts(FakeEncoder):
    """Counts the texts it embeds."""

    asked = 0

    def embed_text(self, texts, lang=None):  # type: ignore[no-untyped-def]
        assert lang
        self.asked += len(texts)
        rows = [np.random.default_rng(sum(map(ord, text))).normal(size=DIM) for text in texts]
        return np.stack([self._unit(row) for row in rows])


def test_the_bank_is_kept_and_never_unpickled(tmp_path: Path) -> None:
    encoder = Texts(DIM)
    first = bank(encoder, ["fr", "tlh"], tmp_path)
    assert list(first) == ["fr"]
    asked = encoder.asked
    np.testing.assert_array_equal(bank(encoder, ["fr"], tmp_path)["fr"], first["fr"])
    assert encoder.asked == asked
    (file,) = tmp_path.rglob("*.npy")
    flag = tmp_path / "flag"

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {flag}",)

    for damage in (b"", file.read_bytes()[:-5], pickle.dumps(Harm()), b"\x93NUMPY junk"):
        file.write_bytes(damage)
        np.testing.assert_array_equal(bank(encoder, ["fr"], tmp_path)["fr"], first["fr"])
    assert not flag.exists()
    assert not list(tmp_path.rglob("*.part"))
    blocked = tmp_path / "file"
    blocked.write_text("")
    np.testing.assert_array_equal(bank(encoder, ["fr"], blocked)["fr"], first["fr"])
