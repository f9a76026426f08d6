"""A text that names no known sound leans towards the names near it."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.encoders.card import load_card
from atri_cli.encoders.names import Names, key, load_names
from atri_cli.encoders.registry import load_encoder
from atri_cli.library.leaning import NEAREST, Leaning, near_names
from atri_cli.library.query import expanded, query_vector
from atri_cli.library.types import QueryPart
from atri_cli.vocabulary.lookup import asked_as, read_lines
from atri_cli.vocabulary.within import named_within
from tests.cli_tools import make_sounds, run

Capture = pytest.CaptureFixture[bytes]

LINES = read_lines()
MINI = Path(__file__).parents[1] / "atri_cli" / "models" / "atri-mini"
KEPT = ("dog", "rain", "cat", "wind", "piano", "violin", "thunder", "church bell", "lark")


def few_names() -> Names:
    """Some sounds, each with a direction of its own."""
    rows = sorted(key(asked_as(name, lines=LINES)) for name in KEPT)
    return Names(np.array(rows, np.uint64), np.eye(len(KEPT), dtype=np.float32))


@pytest.mark.parametrize(
    ("text", "sound", "share"),
    [
        ("my old dog", "dog_bark", 3 / 8),
        ("un perro viejo", "dog_bark", 5 / 10),
        ("vieux chiens", "dog_bark", 6 / 11),
        ("夜の犬の鳴き声", "dog_bark", 5 / 7),
        ("wet dog in heavy rain", "rain_heavy", 9 / 15),
    ],
)
def test_the_longest_name_within_counts(text: str, sound: str, share: float) -> None:
    assert named_within(text, lines=LINES)[sound] == pytest.approx(share)


def test_what_stands_nowhere_is_not_within() -> None:
    assert named_within("xyzzy plugh", lines=LINES) == {}
    assert named_within("", lines=LINES) == named_within("the of", lines=LINES) == {}
    assert "dog_bark" not in named_within("old chien", "en", LINES)
    assert "dog_bark" in named_within("old chien", "fr-CA", LINES)


@given(st.text(alphabet=string.printable + "犬雨のé", max_size=60))
def test_shares_are_shares(text: str) -> None:
    assert all(0 < share <= 1 for share in named_within(text, lines=LINES).values())


def test_the_file_gives_what_memory_gives() -> None:
    for text in ("my old dog", "夜の犬の鳴き声", "a soft rain on leaves"):
        assert named_within(text) == named_within(text, lines=LINES)


def test_a_name_within_is_leaned_to() -> None:
    names = few_names()
    flat = np.full(len(KEPT), 1 / 3, np.float32)
    places, weights = Leaning(names, lines=LINES).near(flat, "my old dog")
    assert names.place(asked_as("dog")) == places[0]
    assert len(places) == NEAREST
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 0.98
    found = Leaning(names, lines=LINES).leaned(flat, "my old dog")
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    assert found @ names.vectors[places[0]] > flat @ names.vectors[places[0]] + 0.4
    assert found @ flat > 0.7, "its own words count as much"


def test_without_a_name_within_the_nearest_count() -> None:
    names = few_names()
    vector = np.zeros(len(KEPT), np.float32)
    vector[[2, 5]] = 0.8, 0.6
    places, weights = Leaning(names, lines=LINES).near(vector, "xyzzy")
    assert places[:2].tolist() == [2, 5]
    assert weights[0] / weights[1] == pytest.approx(np.exp(0.2 / 0.05), rel=1e-4)


def test_a_search_leans_and_can_be_told_not_to() -> None:
    encoder = load_encoder(load_card(MINI), "cpu", 1)
    (part,) = expanded([QueryPart("an old chainsaw cutting wet wood")])
    assert part.leaning
    plain, leaning = (
        query_vector(encoder, [QueryPart(part.text), part][n : n + 1]) for n in (0, 1)
    )
    names = load_names(encoder.card)
    assert names is not None
    chainsaw = names.find(asked_as("chainsaw"))
    assert chainsaw is not None
    assert leaning @ chainsaw > plain @ chainsaw + 0.1
    assert near_names(encoder, part)[0][0] == "chainsaw"
    assert near_names(encoder, QueryPart("an old chainsaw")) == []
    (known,) = expanded([QueryPart("chainsaw")])
    assert not known.leaning


def test_two_languages_come_nearer_to_each_other() -> None:
    encoder = load_encoder(load_card(MINI), "cpu", 1)
    asked = (
        "an old chainsaw cutting wet wood",
        "une vieille tronçonneuse qui coupe du bois mouillé",
    )
    plain = [query_vector(encoder, [QueryPart(text)]) for text in asked]
    leaning = [query_vector(encoder, expanded([QueryPart(text)])) for text in asked]
    assert leaning[0] @ leaning[1] > max(plain[0] @ plain[1] + 0.1, 0.9)


def test_the_command_says_what_it_leans_to(
    capsysbinary: Capture, tmp_path: Path, fake_model: Path
) -> None:
    sounds = make_sounds(tmp_path / "sounds")
    run(capsysbinary, "index", sounds)
    done = run(capsysbinary, "search", "an old chainsaw cutting wet wood", "--expand")
    assert done.code == 0
    assert "It leans towards chainsaw 1.00" in done.err
    options = ("--model", fake_model)
    run(capsysbinary, "index", sounds, *options)
    done = run(capsysbinary, "search", "my old dog", "--expand", *options)
    assert "It is asked as it stands." in done.err, "this model keeps no names"
