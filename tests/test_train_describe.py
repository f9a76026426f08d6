"""Captions in K languages from what a folder of sounds says about itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.errors import AtriError
from atri_cli.vocabulary.translate import TEMPLATES, Translator, captions, fold, tokens
from tests.sounds import tone
from train.data.describe import NO_LANGUAGE, NO_WORDS, UNKNOWN, Described, describe_folder
from train.phrases import CORE, Concept, translator, vocabulary_concepts

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


# Describing a folder


def put(path: Path, title: str = "", comment: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", 16000, 1) as file:
        if title:
            file.title = title
        if comment:
            file.comment = comment
        file.write(tone(seconds=0.01))
    return path


def describe(root: Path, languages: Sequence[str] = ("en", "fr")) -> Described:
    files = sorted(path for path in root.rglob("*") if path.suffix in (".wav", ".flac"))
    return describe_folder([root], files, languages)


def test_each_source_describes_a_file(tmp_path: Path) -> None:
    put(tmp_path / "a" / "AMBForst_Birds-Morning_KNOWN_Lib.wav")
    put(tmp_path / "b" / "x01.flac", title="Old owl")
    put(tmp_path / "c" / "dog_03.wav")
    put(tmp_path / "thunder" / "07.wav")
    put(tmp_path / "e" / "qqq.flac", comment="a cat")
    made = describe(tmp_path)
    assert [clip.captions["fr"][0] for clip in made.clips] == [
        "oiseau, matin, forêt",
        "hibou",
        "chien",
        "chat",
        "tonnerre",
    ]
    sources = ("UCS", "metadata", "file name", "folder name", "comment")
    assert made.sources == dict.fromkeys(sources, 1)
    assert [clip.captions["en"][-1] for clip in made.clips[:2]] == ["Birds Morning", "Old owl"]
    assert made.clips[2].id == "c/dog_03.wav"
    assert made.clips[2].note == "file name: `dog` (en)"


def test_what_gave_nothing_is_counted_by_reason(tmp_path: Path) -> None:
    for name in ("REC0001.wav", "20240301_1200.wav", "qqqq.wav", "dog.wav"):
        put(tmp_path / name)
    made = describe(tmp_path)
    assert made.counts == {NO_WORDS: 2, UNKNOWN: 1}
    assert [path.name for path in made.without[UNKNOWN]] == ["qqqq.wav"]
    assert describe(tmp_path, ["el"]).counts == {NO_WORDS: 2, UNKNOWN: 1, NO_LANGUAGE: 1}


def test_names_above_the_root_say_nothing(tmp_path: Path) -> None:
    put(tmp_path / "dog" / "owl" / "01.wav")
    assert describe(tmp_path / "dog" / "owl").clips == []
    assert len(describe(tmp_path / "dog").clips) == 1


def test_takes_are_one_recording(tmp_path: Path) -> None:
    for name in ("dog_01.wav", "dog_02.wav", "Dog 3.wav", "owl.wav"):
        put(tmp_path / name)
    assert len({clip.recording for clip in describe(tmp_path).clips}) == 2


def test_ids_are_unique_over_roots(tmp_path: Path) -> None:
    roots = [tmp_path / "one", tmp_path / "two", tmp_path / "two" / "inner"]
    files = [put(root / "dog.wav") for root in roots]
    made = describe_folder(roots, files, ["en"])
    assert [clip.id for clip in made.clips] == ["one/dog.wav", "two/dog.wav", "two/inner/dog.wav"]
    with pytest.raises(ValueError, match="below none of the folders"):
        describe_folder(roots, [tmp_path / "dog.wav"], ["en"])


def test_song_titles_describe_no_sound(tmp_path: Path) -> None:
    put(tmp_path / "theme.flac", title="Beneath the Rabbit Holes of Yesterday")
    assert describe(tmp_path).counts == {UNKNOWN: 1}


def test_a_category_is_named_only_by_itself(tmp_path: Path) -> None:
    put(tmp_path / "GUNRif_AK47 Burst_A_B.wav")
    assert "fire" not in str(describe(tmp_path).clips)


@pytest.mark.parametrize("name", ["atri.tsv", "captions.tsv"])
def test_a_manifest_wins_over_names_and_the_vocabulary_fills_it(tmp_path: Path, name: str) -> None:
    put(tmp_path / "in" / "dog.wav")
    put(tmp_path / "in" / "cat.wav")
    put(tmp_path / "in" / "owl.wav")
    rows = "id\taudio\ten\n1\tin/dog.wav\tfox\n2\tin/cat.wav\tour own tomcat Felix\n"
    (tmp_path / name).write_text(rows, encoding="utf-8")
    made = describe(tmp_path)
    assert made.sources == {"manifest": 2, "file name": 1}
    assert {clip.audio.name: clip.captions["en"][0] for clip in made.clips} == {
        "cat.wav": "our own tomcat Felix",
        "dog.wav": "fox",
        "owl.wav": "owl",
    }
    french = {clip.audio.name: clip.captions.get("fr", ("",))[0] for clip in made.clips}
    assert french == {"cat.wav": "", "dog.wav": "renard", "owl.wav": "hibou"}
    assert all(clip.recording for clip in made.clips)


def test_the_nearest_manifest_counts_and_chinese_by_its_script(tmp_path: Path) -> None:
    put(tmp_path / "in" / "dog.wav")
    (tmp_path / "atri.tsv").write_text("id\taudio\ten\n1\tin/dog.wav\tfar\n", encoding="utf-8")
    near = "id\taudio\ten\tzh-Hans\n1\tdog.wav\tnear\t近\n"
    (tmp_path / "in" / "atri.tsv").write_text(near, encoding="utf-8")
    (clip,) = describe(tmp_path, ["en", "zh"]).clips
    assert clip.captions == {"en": ("near",), "zh": ("近",)}


def test_a_damaged_manifest_is_an_error_with_its_line(tmp_path: Path) -> None:
    put(tmp_path / "dog.wav")
    (tmp_path / "atri.tsv").write_text("id\taudio\ten\n1\tgone.wav\tfox\n", encoding="utf-8")
    with pytest.raises(AtriError, match="gone"):
        describe(tmp_path)
