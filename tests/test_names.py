"""Names as vectors beside a model: kept, found again, and asked in the text tower's place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.encoders.card import load_card, write_card
from atri_cli.encoders.names import Names, key, load_names, write_names
from atri_cli.encoders.registry import file_sha256, verify_model
from atri_cli.errors import ModelError
from atri_cli.library.library import Library
from atri_cli.library.query import expanded, query_vector
from atri_cli.library.types import QueryPart
from atri_cli.vocabulary.concepts import vocabulary_concepts
from atri_cli.vocabulary.lookup import asked_as, names_of, read_lines
from export.names import keep_names
from tests.cli_tools import make_sounds
from tests.fake_encoder import FakeEncoder, fake_card
from tests.vector_data import clustered

DIM = 8
DOG = asked_as("dog")


def with_names(folder: Path, vectors: np.ndarray, keys: list[int] | None = None) -> FakeEncoder:
    """An encoder whose card names a file of vectors; the first stands for the names of a dog."""
    keys = keys or [key(DOG), *range(1, len(vectors))]
    write_names(folder / "names.npz", dict(zip(keys, vectors, strict=True)))
    encoder = FakeEncoder(DIM)
    digest = file_sha256(folder / "names.npz")
    encoder.card = replace(encoder.card, folder=folder, names="names.npz", names_sha256=digest)
    return encoder


class Deaf(FakeEncoder):
    """Has no text tower."""

    def embed_text(self, texts, lang=None):  # type: ignore[no-untyped-def]
        raise AssertionError(f"the text tower was asked for {texts} in {lang}")


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, unique=True), st.integers(0, 9))
def test_what_is_written_is_found_again(
    tmp_path_factory: pytest.TempPathFactory, keys: list[int], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("model")
    vectors = clustered(len(keys), DIM, seed)
    names = load_names(with_names(folder, vectors, keys).card)
    assert names is not None
    assert names.keys.tolist() == sorted(keys)
    assert names.vectors.dtype == np.float32
    for one, vector in zip(keys, vectors, strict=True):
        kept = names.vectors[names.keys.tolist().index(one)]
        assert np.linalg.norm(kept) == pytest.approx(1, abs=1e-6)
        assert np.abs(kept - vector).max() < 1 / 127


def test_a_key_stands_for_all_words_in_their_order() -> None:
    alike = [DOG[:-1], DOG[::-1], (*DOG[:-1], ("zh", "狼")), (("fr", DOG[0][1]), *DOG[1:])]
    assert len({key(DOG), key(()), *map(key, alike)}) == 2 + len(alike)
    assert key(list(DOG)) == key(DOG)
    names = Names(np.array([key(DOG)], np.uint64), clustered(1, DIM))
    assert names.find(DOG) is not None
    assert [names.find(one) for one in alike] == [None] * len(alike)
    empty = Names(np.empty(0, np.uint64), np.empty((0, DIM), np.float32))
    assert empty.find(DOG) is None


def test_a_model_without_names_has_none() -> None:
    assert load_names(fake_card()) is None


def nothing(path: Path) -> None:
    path.unlink()


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def text(path: Path) -> None:
    path.write_text("names")


def pickled(path: Path) -> None:
    np.savez(path, keys=np.array([{}]), vectors=np.array([{}]), scales=np.array([{}]))


def longer(path: Path) -> None:
    write_names(path, {1: clustered(1, DIM + 1)[0]})


def no_unit(path: Path) -> None:
    write_names(path, {1: 3 * clustered(1, DIM)[0]})


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def lacks_one(path: Path) -> None:
    np.savez(path, keys=np.zeros(1, np.uint64))


@pytest.mark.parametrize(
    "damage",
    [nothing, half, text, pickled, longer, no_unit, one_array, lacks_one],
    ids=lambda f: f.__name__,
)
def test_a_damaged_file_is_named_and_never_unpickled(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    encoder = with_names(tmp_path, clustered(3, DIM))
    damage(tmp_path / "names.npz")
    with pytest.raises(ModelError, match="names cannot be read") as error:
        load_names(replace(encoder.card, names_sha256=f"damaged by {damage.__name__}"))
    assert "atri doctor" in error.value.hint


def test_a_known_sound_needs_no_text_tower(tmp_path: Path) -> None:
    vectors = clustered(3, DIM)
    encoder = Deaf(DIM)
    encoder.card = with_names(tmp_path, vectors).card
    (part,) = expanded([QueryPart("un chien")])
    np.testing.assert_allclose(query_vector(encoder, [part]), vectors[0], atol=0.01)
    for asked in (QueryPart("xyzzy"), *expanded([QueryPart("cat")])):
        with pytest.raises(AssertionError, match="text tower"):
            query_vector(encoder, [asked])


def test_an_exported_model_keeps_what_its_tower_says(fake_model: Path, tmp_path: Path) -> None:
    """And answers as before, from the same library: no vector has changed."""
    folder = tmp_path / "fake"
    folder.mkdir()
    for file in fake_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    sounds = make_sounds(tmp_path / "sounds")
    with Library.open(tmp_path / "library", model=str(folder), device="cpu") as library:
        library.index([sounds])
        encoder = library.encoder()
        asked = expanded([QueryPart("dog")], encoder.card.text.languages)
        before = query_vector(encoder, asked)
        found = library.search("dog", csls=False).hits
    said: list[str] = []
    count = keep_names(folder, said.append)
    card = load_card(folder)
    lines = read_lines()
    different = {names_of(one.id, lines, card.text.languages) for one in vocabulary_concepts()}
    assert count == len(different) > 2000
    assert len(said) == 1
    assert verify_model(card) == []
    assert card.pipeline_id == load_card(fake_model).pipeline_id
    with Library.open(tmp_path / "library", model=str(folder), device="cpu") as library:
        again = library.search("dog", csls=False).hits
        kept = query_vector(library.encoder(), asked)
    np.testing.assert_allclose(kept, before, atol=0.01)
    assert [hit.path for hit in again] == [hit.path for hit in found]
    (folder / "names.npz").write_bytes(b"not these")
    assert ["names.npz" in problem for problem in verify_model(card)] == [True]


def test_a_model_of_other_languages_keeps_no_names(fake_model: Path, tmp_path: Path) -> None:
    card = load_card(fake_model)
    write_card(replace(card, text=replace(card.text, languages=("fi", "sv"))), tmp_path)
    with pytest.raises(ModelError, match="none of the languages") as error:
        keep_names(tmp_path)
    assert "--names" in error.value.hint
    assert not (tmp_path / "names.npz").exists()


def test_a_card_names_the_file_or_nothing(tmp_path: Path) -> None:
    card = with_names(tmp_path, clustered(2, DIM)).card
    write_card(card, tmp_path)
    assert load_card(tmp_path) == card
    assert card.files[-1] == (tmp_path / "names.npz", card.names_sha256)
    write_card(replace(card, names="", names_sha256=""), tmp_path)
    assert "names" not in (tmp_path / "card.toml").read_text().replace('name = "fake"', "")
    assert load_card(tmp_path).names == ""
