"""Captions in K languages from what a folder of sounds says about itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.translate import TEMPLATES, Translator, captions, fold, tokens, translator
from train.phrases import CORE, Concept, vocabulary_concepts

CONCEPTS = vocabulary_concepts()


def concept(name: str, **phrases: list[str]) -> Concept:
    return Concept(name, dict(phrases))


def found(text: str, context: str = "", languages: Sequence[str] = CORE) -> list[str]:
    match = translator().find(text, context, languages)
    return [concept.id for concept in match.concepts] if match else []


# Finding sounds in a text


@given(st.sampled_from(CONCEPTS), st.sampled_from(CORE), st.data())
def test_every_phrase_finds_its_concept(entry: Concept, lang: str, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(entry.phrases[lang]))
    match = translator().find(text.upper(), languages=[lang])
    assert match is not None
    assert (match.language, match.share) == (lang, 1)
    namesakes = [other.id for other in CONCEPTS if text in other.phrases[lang]]
    assert match.concepts[0].id in namesakes or tokens(text) in [
        tokens(phrase) for phrase in match.concepts[0].phrases[lang]
    ]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("dog", ["dog_bark"]),
        ("Dogs", ["dog_bark"]),
        ("the cat and the dog", ["cat_meow", "dog_bark"]),
        ("footsteps on the gravel", ["footsteps_gravel"]),
        ("gravel footstep", ["footsteps_gravel"]),
        ("gun shot", ["gunshot"]),
        ("HiHat", ["hi_hat"]),
        ("chien", ["dog_bark"]),
        ("rafega de vent", ["wind_gust"]),
        ("大きな犬の声", ["dog_bark"]),
        ("ドア", ["door"]),
        ("ドアラ", []),
        ("狂犬", []),
        ("xyzzy", []),
        ("", []),
    ],
)
def test_what_texts_name(text: str, ids: list[str]) -> None:
    assert found(text) == ids


def test_a_longer_phrase_wins_over_its_words() -> None:
    words = [concept("door", en=["door"]), concept("bell", en=["bell"])]
    both = Translator([*words, concept("doorbell", en=["door bell"])])
    match = both.find("old door bell ringing")
    assert match is not None
    assert [c.id for c in match.concepts] == ["doorbell"]
    assert (match.words, match.share) == (("door bell",), 0.5)


def test_context_completes_a_name_and_stands_in_for_it() -> None:
    assert found("gravel", "footsteps") == ["footsteps_gravel"]
    assert found("dog", "animals wind") == ["dog_bark"]
    assert found("xyzzy", "dog") == ["dog_bark"]
    match = translator().find("xyzzy", "dog")
    assert match is not None
    assert match.share == 0


def test_words_of_several_languages_follow_the_order_given() -> None:
    both = Translator([concept("cat", fr=["chat"]), concept("talk", en=["chat"])])
    for languages, expected in (("en", "fr"), "talk"), (("fr", "en"), "cat"):
        match = both.find("chat", languages=languages)
        assert match is not None
        assert match.concepts[0].id == expected


def test_a_text_is_in_the_language_that_covers_most_of_it() -> None:
    french = [concept("cat", fr=["chat"]), concept("rain", fr=["pluie"])]
    both = Translator([concept("talk", en=["chat"]), *french])
    match = both.find("chat pluie")
    assert match is not None
    assert (match.language, [c.id for c in match.concepts]) == ("fr", ["cat", "rain"])


def test_what_words_name_besides_is_told() -> None:
    entries = [concept("tree_bark", en=["peel", "bark"]), concept("bark", en=["bark"])]
    match = Translator(entries).find("bark")
    assert match is not None
    assert ([c.id for c in match.concepts], match.also) == (["bark"], ("tree_bark",))
    assert match.note == "`bark` (en), which also names tree_bark"


def test_the_languages_of_a_collection() -> None:
    english = ["dog", "wind", "thunder", "glass breaking", "owl"] * 20
    assert translator().languages_of([*english, "house"])[0] == "en"
    many = [word for entry in CONCEPTS[:60] for word in entry.phrases["en"][:1]]
    assert "fr" not in translator().languages_of([*many, "singe"])
    french = [word for entry in CONCEPTS[:60] for word in entry.phrases["fr"][:1]]
    assert translator().languages_of(french)[0] == "fr"
    assert set(translator().languages_of(many + french)) >= {"en", "fr", "ja", "zh"}


@given(st.text(max_size=40), st.text(max_size=20))
def test_any_text_is_searched_without_error(text: str, context: str) -> None:
    match = translator().find(text, context)
    assert match is None or (match.concepts and 0 <= match.share <= 1)
    assert fold(fold(text)) == fold(text)


# Captions


def test_captions_in_eight_languages() -> None:
    (dog,) = (entry for entry in CONCEPTS if entry.id == "dog_bark")
    made = captions([dog], CORE)
    assert tuple(made) == CORE
    for lang, texts in made.items():
        name, sound, longer = texts
        assert (name, longer) == (dog.phrases[lang][0], dog.phrases[lang][-1])
        assert sound == TEMPLATES[lang].format(name)
    assert made["en"] == ("dog", "the sound of dog", "a dog barking")


def test_several_sounds_are_listed() -> None:
    pair = [concept("a", en=["rain"], ja=["雨"]), concept("b", en=["wind"], ja=["風"], fr=["vent"])]
    made = captions(pair, ["en", "fr", "ja"], {"en": "stormy"})
    assert made == {
        "en": ("rain, wind", "the sound of rain, wind", "stormy"),
        "ja": ("雨、風", "雨、風の音"),
    }


def test_tags_are_kept_and_scripts_told_apart() -> None:
    made = captions([concept("a", zh=["狗"], fr=["chien"])], ["zh-Hans", "zh-Hant", "fr-CA", "ru"])
    assert set(made) == {"zh-Hans", "fr-CA"}


def test_a_name_that_ends_with_sound_is_not_repeated() -> None:
    assert captions([concept("a", ja=["足音"])], ["ja"]) == {"ja": ("足音",)}
