"""Questions: which texts are asked, in which languages, and each of them embedded once."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.consistency.questions import CHUNK, ask, embed
from atri_cli.errors import ModelError, UsageError
from atri_cli.queryfile import QueryFile, QueryRow, read_queries
from tests.fake_encoder import FakeEncoder
from tests.vector_data import unit

DIM = 6
PATH = Path("q.tsv")


def vector(tag: str | None, text: str) -> np.ndarray:
    """Of a text in a language."""
    return unit(np.random.default_rng(list(f"{tag} {text}".encode())).normal(size=DIM))


class Listener(FakeEncoder):
    """Remembers what it is asked; a text `fails` is refused."""

    def __init__(self) -> None:
        super().__init__(DIM)
        self.asked: list[tuple[str | None, str]] = []
        self._both = threading.Lock()

    def embed_text(self, texts, lang=None):  # type: ignore[no-untyped-def]
        with self._both:
            self.asked += [(lang, text) for text in texts]
        if "fails" in texts:
            raise ModelError("The text tower failed.")
        return np.stack([vector(lang, text) for text in texts])


def table(folder: Path, text: str) -> QueryFile:
    path = folder / "q.tsv"
    path.write_text(text, encoding="utf-8")
    return read_queries(path)


TEXT = (
    "id\ten\tfr\ten-x-2\tja\tsplit\n"
    "dog\tdog\tchien\ta dog\t犬\ttest\n"
    "cat\tcat\t\t\t猫\ttest\n"
    "hot\tdog\t\tdog\t\ttrain\n"
    "rain\t\tpluie\t\t\t\n"
)


def test_a_vector_for_each_cell_that_is_asked(tmp_path: Path) -> None:
    queries, encoder = table(tmp_path, TEXT), Listener()
    found = ask(PATH, queries, encoder)
    assert (found.languages, [row.id for row in found.rows]) == (
        ("en", "fr", "ja"),
        ["dog", "cat", "hot", "rain"],
    )
    assert found.place.tolist() == [
        [[0, 1], [2, -1], [3, -1]],
        [[4, -1], [-1, -1], [5, -1]],
        [[6, 7], [-1, -1], [-1, -1]],
        [[-1, -1], [8, -1], [-1, -1]],
    ]
    assert found.first.tolist() == [[0, 2, 3], [4, -1, 5], [6, -1, -1], [-1, 8, -1]]
    assert found.language_of.tolist() == [0, 0, 1, 2, 0, 2, 0, 0, 1]
    assert found.row_of.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3]
    for (row, language, number), place in np.ndenumerate(found.place):
        if place >= 0:
            tag = found.languages[language]
            text = found.rows[row].texts[tag][number]
            np.testing.assert_allclose(found.vectors[place], vector(tag, text), atol=1e-6)
    assert sorted(encoder.asked) == sorted(set(encoder.asked))
    assert len(encoder.asked) == 7  # `dog` stands there three times


def test_chosen_languages_and_splits(tmp_path: Path) -> None:
    queries = table(tmp_path, TEXT)
    found = ask(PATH, queries, Listener(), languages=["ja", "fr", "ja"])
    assert (found.languages, [row.id for row in found.rows]) == (
        ("ja", "fr"),
        ["dog", "cat", "rain"],
    )
    assert found.place[:, :, 0].tolist() == [[0, 1], [2, -1], [-1, 3]]
    found = ask(PATH, queries, Listener(), split="train")
    assert [row.id for row in found.rows] == ["hot"]
    assert found.place.shape == (1, 3, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"languages": ["de", "fr"]}, "`q.tsv` has no column `de`. It has `en`, `fr`, `ja`"),
        ({"languages": ["fr"]}, "one language only: `fr`"),
        ({"languages": ["fr", "fr"]}, "one language only: `fr`"),
        ({"split": "dev"}, "no row of the split `dev`. It has `test`, `train`."),
        ({"split": "train", "languages": ["fr", "ja"]}, "has a text in fr, ja"),
    ],
)
def test_what_cannot_be_asked(tmp_path: Path, options: dict, words: str) -> None:
    encoder = Listener()
    with pytest.raises(UsageError) as error:
        ask(PATH, table(tmp_path, TEXT), encoder, **options)
    assert words in str(error.value)
    assert encoder.asked == []


def test_one_language_twice_is_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one language only: `en`"):
        ask(PATH, table(tmp_path, "en\ten-x-2\ndog\ta dog\n"), Listener())
    with pytest.raises(UsageError, match="no row of the split `a`") as error:
        ask(PATH, table(tmp_path, "en\tfr\na\tb\n"), Listener(), split="a")
    assert error.value.hint == ""


pairs = st.lists(st.tuples(st.sampled_from(["en", "fr"]), st.text("ab", max_size=3)), min_size=1)


@given(pairs)
def test_every_pair_is_embedded_once(asked: list[tuple[str, str]]) -> None:
    encoder, told = Listener(), []
    found = embed(encoder, asked, lambda *words: told.append(words))
    assert found.shape == (len(asked), DIM)
    for (tag, text), row in zip(asked, found, strict=True):
        np.testing.assert_allclose(row, vector(tag, text), atol=1e-6)
    unique = set(asked)
    assert sorted(encoder.asked) == sorted(unique)
    assert told[-1] == ("embedding queries", len(unique), len(unique))


def test_many_texts_in_many_threads() -> None:
    encoder, told = Listener(), []
    asked = [(tag, str(n)) for n in range(3 * CHUNK + 5) for tag in ("en", "fr", "ja")]
    found = embed(encoder, asked + asked[:10], lambda *words: told.append(words))
    for place in (0, 1, CHUNK, len(asked) - 1, len(asked) + 3):
        tag, text = (asked + asked[:10])[place]
        np.testing.assert_allclose(found[place], vector(tag, text), atol=1e-6)
    # The first one loads the tower, so that the threads need not.
    assert sorted(encoder.asked) == sorted([*asked, asked[0]])
    done = [number for _, number, _ in told]
    assert done == sorted(set(done))
    assert {total for _, _, total in told} == {len(asked)}


@pytest.mark.parametrize("count", [1, 2 * CHUNK])
def test_what_fails_in_a_thread_is_told(count: int) -> None:
    asked = [("en", str(n)) for n in range(count)] + [("fr", "fails")]
    with pytest.raises(ModelError, match="text tower failed"):
        embed(Listener(), asked)


def test_rows_without_a_text_leave_no_row() -> None:
    rows = (QueryRow("a", {"de": ("x",)}), QueryRow("b", {"en": ("y",), "fr": ("z",)}))
    queries = QueryFile(("en", "fr", "de"), rows, False)
    found = ask(PATH, queries, Listener(), languages=["en", "fr"])
    assert [row.id for row in found.rows] == ["b"]
    assert found.with_vectors(np.zeros((2, DIM), np.float32)).rows == found.rows
