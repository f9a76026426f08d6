"""Several sounds in one query."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.library.query import expanded, query_vector
from atri_cli.library.types import QueryPart
from atri_cli.vocabulary.lookup import asked_as, read_lines
from atri_cli.vocabulary.together import MOST_SOUNDS, asked_together
from tests.cli_tools import make_sounds, run
from tests.test_expand import Numbered

Capture = pytest.CaptureFixture[bytes]

LINES = read_lines()
DOG_AND_RAIN = {asked_as("dog"), asked_as("rain")}


@pytest.mark.parametrize(
    "text",
    [
        "dog and rain",
        "a dog barking in the rain",
        "rain, dog",
        "dog + rain",
        "dog and dogs, rain",
        "un chien qui aboie sous la pluie",
        "ein Hund bellt während es regnet",
        "perro y lluvia",
        "hond in de regen",
        "gos i pluja",
        "犬の鳴き声と雨",
        "雨の中の犬",
        "狗叫声和雨",
        "собака и дождь",
        "كلب ومطر",
        "개와 비",
        "köpek ve yağmur",
        "pies i deszcz",
        "koira ja sade",
        "cane e pioggia",
    ],
)
def test_joined_sounds_are_the_same_in_every_language(text: str) -> None:
    assert {one.names for one in asked_together(text, lines=LINES)} == DOG_AND_RAIN


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "and", "e and y", "dog and", "xyzzy", "dog and xyzzy", "xyzzy and dog"),
        *(
            "rex, the dog and his friends",
            "metal on wood",
            "dog and cat and rain and wind and bird",
        ),
    ],
)
def test_an_unknown_piece_leaves_the_text_as_it_is(text: str) -> None:
    assert [one.piece for one in asked_together(text, lines=LINES) if one.piece != "dog and"] == []


@pytest.mark.parametrize("text", ["rock and roll", "drum and bass", "thunder and rain", "粉碎和"])
def test_what_is_one_sound_is_not_taken_apart(text: str) -> None:
    asked = asked_together(text, lines=LINES)
    assert [one.names for one in asked] == [asked_as(text)] * len(asked)


def test_pieces_keep_their_order_and_their_language() -> None:
    found = asked_together("Hund, cat und rain", lines=LINES)
    assert [one.piece for one in found] == ["Hund", "cat", "rain"]
    assert asked_together("chien et pluie", "fr-CA", LINES) == asked_together("chien et pluie")
    assert asked_together("chien et pluie", "de", LINES) == ()
    assert asked_together("dog and rain", taken=["sw"]) == ()


@given(st.lists(st.sampled_from(["dog", "rain", "and", ",", "の中の", "和", "xyzzy"]), max_size=40))
def test_any_words_end_in_a_few_sounds(words: list[str]) -> None:
    assert len(asked_together(" ".join(words), lines=LINES)) <= MOST_SOUNDS


@given(st.text(alphabet=string.printable + "と和、犬雨و", max_size=300))
def test_any_text_is_taken(text: str) -> None:
    for one in asked_together(text, lines=LINES):
        assert one.piece in text


def test_each_sound_is_a_part_of_the_texts_weight() -> None:
    parts = [QueryPart("dog in the rain", weight=-2.0), QueryPart("xyzzy"), QueryPart("cat")]
    found = expanded(parts)
    assert [(p.text, p.weight) for p in found] == [
        ("dog", -2.0),
        ("the rain", -2.0),
        ("xyzzy", 1.0),
        ("cat", 1.0),
    ]
    typed = expanded([QueryPart("dog"), QueryPart("rain")])
    encoder = Numbered()
    joined = query_vector(encoder, expanded([QueryPart("rain and dog")]))
    np.testing.assert_allclose(joined, query_vector(encoder, typed), atol=1e-6)


def test_the_command_asks_for_each(capsysbinary: Capture, tmp_path: Path, fake_model: Path) -> None:
    options = ("--model", fake_model)
    run(capsysbinary, "index", make_sounds(tmp_path / "sounds"), *options)
    asked = ("dog barking in the rain", "un chien qui aboie sous la pluie", "雨の中の犬")
    found = [run(capsysbinary, "search", text, "--csv", *options).raw for text in asked]
    assert len(set(found)) == 1
    done = run(capsysbinary, "search", asked[1], "--expand", "--json", *options)
    assert [part["text"] for part in done.json["query"]] == ["un chien qui aboie", "la pluie"]
    assert "`la pluie` is asked as rain (en)" in done.err
    done = run(capsysbinary, "search", asked[1], "--no-expand", "--json", *options)
    assert [part["text"] for part in done.json["query"]] == [asked[1]]
