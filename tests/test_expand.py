"""A query together with its translations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from atri_cli.library.query import query_vector
from atri_cli.library.types import QueryPart
from atri_cli.vocabulary import lookup
from atri_cli.vocabulary.concepts import CORE, vocabulary_concepts
from atri_cli.vocabulary.lookup import (
    FILE,
    KIND_NAMES,
    Lines,
    asked_as,
    compiled,
    read_lines,
)
from tests.cli_tools import make_sounds, run
from tests.fake_encoder import FakeEncoder

Capture = pytest.CaptureFixture[bytes]


class Numbered(FakeEncoder):
    """Every text gets a direction of its own."""

    def embed_text(self, texts, lang=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        rows = [np.random.default_rng(sum(map(ord, text))).normal(size=8) for text in texts]
        return np.stack([self._unit(row) for row in rows])


def translations(text: str, lang: str | None = None, lines: Lines | None = None) -> dict[str, str]:
    """The sound's own names among those it is asked by."""
    return dict(asked_as(text, lang, lines)[: len(CORE)])


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


def test_a_rare_sound_is_asked_by_what_it_is_a_kind_of_too() -> None:
    assert len(asked_as("dog")) == len(CORE), "well known: nothing to add"
    lark = {concept.id: concept for concept in vocabulary_concepts()}["lark"]
    names = asked_as("alondra")
    assert names[: len(CORE)] == tuple((tag, lark.phrases[tag][0]) for tag in CORE)
    assert len(names) == len(CORE) + KIND_NAMES
    assert set(names[len(CORE) :]) <= set(translations("birdsong").items())
    assert asked_as("lark", taken=["en"]) == (("en", "lark"), ("en", "birdsong"))
    assert asked_as("xyzzy") == ()


def test_the_language_can_be_given() -> None:
    assert translations("chien", "fr-CA")["en"] == "dog"
    assert translations("chien", "de") == {}


def test_every_concept_is_found_by_its_own_names() -> None:
    lines = read_lines()
    asked = [(concept, tag) for concept in vocabulary_concepts() for tag in concept.phrases]
    found = [translations(concept.phrases[tag][0], tag, lines) for concept, tag in asked]
    right = [
        named.get("en") == concept.phrases["en"][0]
        for (concept, _), named in zip(asked, found, strict=True)
    ]
    assert sum(right) / len(right) > 0.98  # a few sounds share a name
    some = asked[::977]
    assert [translations(c.phrases[tag][0], tag) for c, tag in some] == found[::977]


def test_a_key_is_found_in_the_file_as_in_memory() -> None:
    lines = read_lines()
    ordered = sorted(key for key in lines if key)
    assert all(
        lookup.find(key, None) == lines[key]
        for key in [*ordered[:3], *ordered[5::1999], *ordered[-3:]]
    )
    assert not any(lookup.find(key, None) for key in ("xyzzy", "\uffff", "=xyzzy", "\t"))


def test_the_compiled_file_is_that_of_the_tables() -> None:
    assert FILE.read_text(encoding="utf-8") == compiled(vocabulary_concepts())


def test_names_stand_in_for_the_text_and_have_an_equal_say() -> None:
    encoder = Numbered()
    found = query_vector(encoder, [QueryPart(text="x", also=(("fr", "a"), ("de", "b")))])
    expected = encoder.embed_text(["a", "b"]).sum(axis=0)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)


def test_every_language_finds_the_same_in_the_same_order(
    tmp_path: Path, fake_model: Path, capsysbinary: Capture
) -> None:
    sounds = make_sounds(tmp_path / "sounds")
    run(capsysbinary, "index", sounds, "-L", "default", "--model", fake_model)
    asked = ("chien qui aboie", "dog barking", "犬の鳴き声", "собака", "hund", "개")
    found = {run(capsysbinary, "search", text, "--csv").raw for text in asked}
    assert len(found) == 1
    assert len(found.pop().splitlines()) == 4


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
    assert "does not know `low tone` as a sound. It is asked as it stands." in done.err
    assert "also" not in done.json["query"][0]
    done = run(capsysbinary, "search", "rain", "--json", *options)
    assert (len(done.json["query"][0]["also"]), done.err) == (len(CORE), "")
    done = run(capsysbinary, "search", "rain", "--json", "--no-expand", *options)
    assert "also" not in done.json["query"][0]
