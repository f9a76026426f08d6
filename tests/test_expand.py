"""`--expand`: a query together with its translations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from atri_cli.library.query import query_vector
from atri_cli.library.types import QueryPart
from atri_cli.vocabulary.concepts import CORE, vocabulary_concepts
from atri_cli.vocabulary.expand import translations, vocabulary_languages
from tests.cli_tools import make_sounds, run
from tests.fake_encoder import FakeEncoder

Capture = pytest.CaptureFixture[bytes]


class Numbered(FakeEncoder):
    """Every text gets a direction of its own."""

    def embed_text(self, texts, lang=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        rows = [np.random.default_rng(sum(map(ord, text))).normal(size=8) for text in texts]
        return np.stack([self._unit(row) for row in rows])


@pytest.mark.parametrize(
    "text", ["dog barking", "chien", "ein Hund bellt", "犬の鳴き声", "狗叫声", "the sound of a dog"]
)
def test_a_known_sound_has_names_in_all_core_languages(text: str) -> None:
    named = translations(text)
    assert tuple(named) == CORE
    assert (named["en"], named["fr"], named["ja"]) == ("dog", "chien", "犬")


@pytest.mark.parametrize("text", ["", "  ", "xyzzy", "a dog named Rex", "not a dog", "sound of"])
def test_unknown_words_are_not_translated_around(text: str) -> None:
    assert translations(text) == {}


def test_the_language_can_be_given() -> None:
    assert translations("chien", "fr-CA")["en"] == "dog"
    assert translations("chien", "de") == {}


def test_every_concept_is_found_by_its_own_names() -> None:
    missed = [
        (concept.id, tag)
        for concept in vocabulary_concepts()[::25]
        for tag in CORE
        if tag not in translations(concept.phrases[tag][0], tag)
    ]
    assert not missed


def test_languages_have_an_equal_say() -> None:
    encoder = Numbered()
    found = query_vector(encoder, [QueryPart(text="x", also=(("fr", "a"), ("de", "b")))])
    expected = encoder.embed_text(["x", "a", "b"]).sum(axis=0)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)


def test_the_command_says_what_it_asks(
    capsysbinary: Capture, tmp_path: Path, fake_model: Path
) -> None:
    sounds = make_sounds(tmp_path / "sounds")
    options = ("--model", fake_model)
    run(capsysbinary, "index", sounds, *options)
    done = run(capsysbinary, "search", "rain", "--expand", "--json", *options)
    assert done.code == 0
    assert "pluie (fr)" in done.err
    (part,) = done.json["query"]
    assert {"text": "pluie", "lang": "fr"} in part["also"]
    done = run(capsysbinary, "search", "low tone", "--expand", "--json", *options)
    assert "Not translated" in done.err
    assert "also" not in done.json["query"][0]
    assert len(vocabulary_languages()) >= len(CORE)
