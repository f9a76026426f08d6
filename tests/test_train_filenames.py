"""Words, UCS categories and takes from file names."""

from __future__ import annotations

from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.filenames import Name, read_name, recording_key, ucs_categories, words_of

WORDS = ("dog", "Bark", "gate", "Öffnen", "wind", "pluie", "clock", "harbor", "niño")
words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dog_bark_03", "dog bark"),
        ("GateOpen2", "Gate Open"),
        ("TVNoise", "TV Noise"),
        ("DOG-BARK (2)", "dog bark"),
        ("wind.2024-03-01_12-30-55.48kHz.24bit.stereo", "wind"),
        ("rain 03Jan2024 take7 L", "rain"),
        ("crow_05may21", "crow"),
        ("a3f9b2c4d5e6f708 thunder", "thunder"),
        ("123e4567-e89b-12d3-a456-426614174000 owl", "owl"),
        ("dQw4w9WgXcQ siren", "siren"),
        ("396492__some_user__dog-barking-01", "dog barking"),
        ("犬の鳴き声_02", "犬の鳴き声"),
        ("犬", "犬"),
        ("Türknarren 03", "Türknarren"),
        ("coup d'aile", "coup aile"),
        ("mono aullador", "mono aullador"),
    ],
)
def test_words_of_a_name(name: str, said: str) -> None:
    assert words_of(name) == said


@pytest.mark.parametrize(
    "name",
    """
    REC0001;DR0000_0123;ZOOM0007_LR;20240301_123456;2024-03-01;a3f9b2c4d5e6f708;New Recording 12;
    123e4567-e89b-12d3-a456-426614174000;Aufnahme 3;新規録音 5;track01;01;T01;STE-000;IMG_2231;
    PTT-20240101-WA0003;_;48kHz 24bit
    """.replace("\n", "").split(";"),
)
def test_names_without_meaning_give_nothing(name: str) -> None:
    assert words_of(name) == ""


@given(words, st.integers(0, 99_999), st.sampled_from(["_", "-", " ", ".", ""]))
def test_take_numbers_change_nothing(parts: list[str], take: int, separator: str) -> None:
    name = "_".join(parts)
    numbered = f"{name}{separator}{take}"
    assert words_of(numbered) == words_of(name) == " ".join(parts)
    keys = {recording_key(PurePath("a", f"{n}.wav")) for n in (name, numbered, numbered.upper())}
    assert len(keys) == 1


@given(words)
def test_separators_and_camel_case_say_the_same(parts: list[str]) -> None:
    capital = [part[0].upper() + part[1:] for part in parts]
    said = {words_of(joint.join(capital)) for joint in ("_", "-", " ", ", ", "")}
    assert said == {" ".join(capital)}


@given(st.text(max_size=60))
def test_any_name_gives_clean_words(name: str) -> None:
    said = words_of(name)
    assert said == " ".join(said.split())
    assert not any(char in "0123456789_-/." for char in said)
    assert read_name(PurePath("x", name.replace("/", "").replace("\0", "") or "x")) is not None


@given(st.binary(min_size=8, max_size=20), st.booleans())
def test_hashes_give_nothing(digest: bytes, upper: bool) -> None:
    name = "0" + digest.hex()
    assert words_of(name.upper() if upper else name) == ""


@given(st.dates(), st.times())
def test_dates_give_nothing(date: object, time: object) -> None:
    for name in (f"{date}", f"{date}_{time}", f"{date} {time}".replace(":", "-")):
        assert words_of(name) == ""


# UCS


def test_the_category_is_read_from_a_ucs_name() -> None:
    name = PurePath("AMBForst_Birds-Morning_KNOWN_Lib.wav")
    assert read_name(name) == Name("Birds Morning", "AMBForst")


def test_the_user_category_is_part_of_the_words() -> None:
    name = PurePath("VEHCar-INT_Engine Idle_ABC_Cars.wav")
    assert read_name(name) == Name("INT Engine Idle", "VEHCar")


def test_people_and_libraries_are_no_words() -> None:
    name = read_name(PurePath("RAINMetl_TinRoof_Wolf Dog_Lion Library_Bear.wav"))
    assert name == Name("Tin Roof", "RAINMetl")


@pytest.mark.parametrize("name", ["AMBForst.wav", "ambforst_birds.wav", "XYZNope_birds_A_B.wav"])
def test_other_names_have_no_category(name: str) -> None:
    assert read_name(PurePath(name)).category == ""


@given(st.sampled_from(sorted(ucs_categories())), words)
def test_every_category_is_recognised(catid: str, parts: list[str]) -> None:
    name = read_name(PurePath("deep", "down", f"{catid}_{' '.join(parts)}_ME_Lib.flac"))
    assert name == Name(" ".join(parts), catid)


# Recordings


def test_takes_in_one_folder_are_one_recording() -> None:
    names = ("Dog Bark.wav", "dog_bark", "dog bark 2.wav", "Dog Bark (3).ogg", "dog bark_take4.wav")
    keys = [recording_key(PurePath("pets", name)) for name in names]
    assert len({keys[0], *keys[2:]}) == 1
    assert recording_key(PurePath("wild", names[0])) != keys[0]


@pytest.mark.parametrize("name", ["REC0001.wav", "01.wav", "20240301_123456.wav", "track07.wav"])
def test_numbered_names_without_words_are_recordings_of_their_own(name: str) -> None:
    other = name.replace("1", "8").replace("7", "9")
    assert recording_key(PurePath(name)) != recording_key(PurePath(other))
