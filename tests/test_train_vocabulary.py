"""The words that training learns from: well formed, complete, in the scripts they should be in."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from train.captions import LABELS, label_concepts
from train.phrases import (
    CORE,
    HERE,
    VOCABULARY,
    all_concepts,
    audioset_concepts,
    ucs_concepts,
    vocabulary_concepts,
)

KINDS = VOCABULARY / "kinds.tsv"
FILES = sorted(path for path in VOCABULARY.glob("*.tsv") if path != KINDS)
MORE = sorted((VOCABULARY / "more").glob("*.tsv"))
FORMS = sorted((VOCABULARY / "forms").glob("*.tsv"))
TYPED = sorted((VOCABULARY / "typed").glob("*.tsv"))
AUDIOSET, CATALAN = HERE / "labels" / "audioset.tsv", HERE / "labels" / "ucs_ca.tsv"
TABLES = [*FILES, *MORE, *TYPED, KINDS, AUDIOSET, CATALAN, LABELS]
COLUMNS = ["id", *(column for lang in CORE for column in (lang, f"{lang}-x-2"))]
LATIN = ("en", "fr", "de", "es", "nl", "ca")
JAPANESE_IN_LATIN = {"BGM", "ATM", "FAX"}

FURTHER_SCRIPTS = {
    "ar": "ARABIC",
    "ko": "HANGUL",
    "ru": "CYRILLIC",
    "uk": "CYRILLIC",
    "zh-Hant": "CJK",
}
SAME_NAMES = {("fireball", "gas_explosion"): 7}  # one is thrown, the other bursts
INITIALS = {"LATIN"}  # GPS, DJ, UFO …

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
each_table = pytest.mark.parametrize(
    "path", TABLES, ids=lambda path: f"{path.parent.name}-{path.name}"
)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))


def scripts(text: str) -> set[str]:
    """First word of the Unicode names of the letters."""
    return {unicodedata.name(char).split()[0].split("-")[0] for char in text if char.isalpha()}


@each_table
def test_tables_are_plain(path: Path) -> None:
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n")
    assert "\r" not in text
    widths = {line.count("\t") for line in text.splitlines()}
    assert len(widths) == 1
    odd = [char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Co", "Cn", "Zl")]
    assert set(odd) <= {"\t", "\n"}


@each_table
def test_no_cell_is_empty_or_padded(path: Path) -> None:
    optional = {"synonyms"}
    for row in rows(path):
        for column, cell in row.items():
            assert cell == cell.strip(), (column, row)
            assert cell or column in optional, (column, row)
            assert "  " not in cell, (column, row)


@each_table
def test_text_is_composed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert unicodedata.normalize("NFC", text) == text


@each_file
def test_vocabulary_has_its_columns_and_ids(path: Path) -> None:
    found = rows(path)
    assert list(found[0]) == COLUMNS
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", row["id"]) for row in found)
    ids = Counter(row["id"] for row in found)
    assert [name for name, count in ids.items() if count > 1] == []


@pytest.mark.parametrize("path", [*FILES, AUDIOSET], ids=lambda path: path.name)
def test_each_language_is_in_its_script(path: Path) -> None:
    for row in rows(path):
        for column, text in row.items():
            lang = column.split("-x-")[0]
            if lang in LATIN:
                assert scripts(text) == {"LATIN"}, (row, column)
            elif lang == "zh":
                assert "CJK" in scripts(text), (row, column)
                assert not scripts(text) & {"HIRAGANA", "KATAKANA", "HANGUL"}, (row, column)
            elif lang == "ja":
                written = scripts(text) & {"CJK", "HIRAGANA", "KATAKANA"}
                assert written or text in JAPANESE_IN_LATIN, (row, column)
                assert "HANGUL" not in scripts(text), (row, column)


@each_file
def test_most_phrasings_differ(path: Path) -> None:
    same = [(row["id"], lang) for row in rows(path) for lang in CORE
            if row[lang] == row[f"{lang}-x-2"]]  # fmt: skip
    assert same == []


@pytest.mark.parametrize("path", MORE, ids=lambda path: path.name)
def test_further_languages_name_every_concept_once(path: Path) -> None:
    found, tag = rows(path), path.stem
    assert list(found[0]) == ["id", tag, f"{tag}-x-2"]
    assert [row["id"] for row in found] == [concept.id for concept in vocabulary_concepts()]
    names = Counter(row[tag] for row in found)
    assert len(names) >= 0.99 * len(found), [name for name, n in names.items() if n > 1]
    assert [row["id"] for row in found if row[tag] == row[f"{tag}-x-2"]] == []
    own = FURTHER_SCRIPTS.get(tag, "LATIN")
    for row in found:
        written = scripts(row[tag] + row[f"{tag}-x-2"])
        assert own in written, row
        assert written <= {own, *INITIALS}, row


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_further_forms_belong_to_one_sound(path: Path) -> None:
    found, tag = rows(path), path.stem
    assert list(found[0]) == ["id", f"{tag}-x-3", f"{tag}-x-4", f"{tag}-x-5"]
    concepts = vocabulary_concepts()
    assert [row["id"] for row in found] == [concept.id for concept in concepts]
    for concept in concepts:
        texts = concept.forms[tag]
        assert len(set(texts)) == len(texts), concept.id
        assert not set(texts) & set(concept.phrases[tag]), concept.id
        assert all(text == text.strip() for text in texts), concept.id
    owners = Counter(text for concept in concepts for text in concept.forms[tag])
    assert sum(count > 1 for count in owners.values()) <= 0.02 * len(owners)


@pytest.mark.parametrize("path", TYPED, ids=lambda path: path.name)
def test_what_people_typed_names_one_sound_of_the_vocabulary(path: Path) -> None:
    found, known = rows(path), {concept.id for concept in vocabulary_concepts()}
    assert list(found[0]) == ["id", "text"]
    assert {row["id"] for row in found} <= known
    texts = Counter(row["text"] for row in found)
    assert [text for text, count in texts.items() if count > 1] == []
    own = FURTHER_SCRIPTS | {"ja": "CJK HIRAGANA KATAKANA", "zh": "CJK"}
    for text in texts.keys() - JAPANESE_IN_LATIN:
        assert scripts(text) & set(own.get(path.stem, "LATIN").split()), text


def test_no_two_sounds_are_called_alike_in_most_languages() -> None:
    """They would be one sound in two rows, and its recordings each other's negatives."""
    by_name: dict[tuple[str, str], list[str]] = {}
    for concept in vocabulary_concepts():
        for tag in CORE:
            by_name.setdefault((tag, concept.phrases[tag][0].casefold()), []).append(concept.id)
    pairs = Counter(tuple(ids) for ids in by_name.values() if len(ids) > 1)
    assert {ids: count for ids, count in pairs.items() if count > len(CORE) / 2} == SAME_NAMES


def test_audioset_is_complete_and_in_order() -> None:
    assert [row["index"] for row in rows(AUDIOSET)] == [str(place) for place in range(527)]
    found = audioset_concepts()
    assert [concept.id for concept in found[:2]] == ["audioset:0", "audioset:1"]
    assert all(tuple(concept.phrases) == CORE for concept in found)


def test_catalan_categories_are_complete() -> None:
    found = rows(CATALAN)
    assert list(found[0]) == ["catid", "category", "subcategory", "synonyms"]
    assert len({row["catid"] for row in found}) == len(found) == 752
    for row in found:
        assert scripts(row["category"] + row["subcategory"] + row["synonyms"]) == {"LATIN"}


def test_labels_name_concepts_that_exist() -> None:
    known = {concept.id for concept in vocabulary_concepts()}
    labels = label_concepts()
    assert len(labels) > 2000
    assert {name for names in labels.values() for name in names} <= known
    repeated = [label for label, names in labels.items() if len(set(names)) != len(names)]
    assert repeated == []


def test_labels_come_once_and_those_that_say_nothing_are_marked() -> None:
    found = rows(LABELS)
    assert len({row["label"] for row in found}) == len(found)
    silent = {row["label"] for row in found if row["concepts"] == "-"}
    assert silent
    assert not silent & label_concepts().keys()


def test_every_concept_has_every_core_language() -> None:
    for concept in vocabulary_concepts():
        assert tuple(concept.phrases)[: len(CORE)] == CORE, concept.id
        assert all(len(set(texts)) == len(texts) > 0 for texts in concept.phrases.values())


def write(path: Path, header: str, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")


def test_a_concept_in_two_files_is_merged(tmp_path: Path) -> None:
    header = "id\ten\ten-x-2\tfr"
    write(tmp_path / "a.tsv", header, "dog\tdog\ta dog\tchien", "cat\tcat\tcats\tchat")
    write(tmp_path / "b.tsv", header, "dog\tdog\thound\tchien", "cow\tcow\tox\tvache")
    found = {concept.id: dict(concept.phrases) for concept in vocabulary_concepts(tmp_path)}
    assert found == {
        "dog": {"en": ["dog", "a dog", "hound"], "fr": ["chien"]},
        "cat": {"en": ["cat", "cats"], "fr": ["chat"]},
        "cow": {"en": ["cow", "ox"], "fr": ["vache"]},
    }


def test_categories_are_read_with_their_synonyms(tmp_path: Path) -> None:
    write(
        tmp_path / "ucs" / "ucs.tsv",
        "catid\tlang\tcategory\tsubcategory\tsynonyms\texplanation",
        "ANMLDog\ten\tANIMALS\tDOG\tbark; puppy\tDogs.",
        "ANMLDog\tzh-Hans\t动物\t狗\t吠; 小狗\t",
        "ANMLDog\tpt-BR\tANIMAIS\tCÃO\ta; b; c; d; e; f\t",
    )
    header = "catid\tcategory\tsubcategory\tsynonyms"
    write(tmp_path / "ca.tsv", header, "ANMLDog\tANIMALS\tGOS\tlladruc")
    (concept,) = ucs_concepts(tmp_path, tmp_path / "ca.tsv")
    assert concept.id == "ucs:ANMLDog"
    assert dict(concept.phrases) == {
        "en": ["animals dog", "dog"],
        "zh": ["动物 狗", "吠", "小狗"],
        "pt": ["animais cão", "a", "b", "c", "d"],
        "ca": ["animals gos", "lladruc"],
    }


def test_all_concepts_have_two_languages_and_ids_of_their_own(tmp_path: Path) -> None:
    write(
        tmp_path / "ucs" / "ucs.tsv",
        "catid\tlang\tcategory\tsubcategory\tsynonyms\texplanation",
        "ADR\ten\tARCHIVED\tADR\tdialog\t",
        "XXAlone\ten\tALONE\tALONE\t\t",
    )
    found = all_concepts(tmp_path)
    ids = Counter(concept.id for concept in found)
    assert max(ids.values()) == 1
    assert all(len(concept.phrases) > 1 for concept in found)
    assert "ucs:ADR" in ids
    assert "ucs:XXAlone" not in ids


def test_a_kind_is_a_well_known_sound() -> None:
    """A sound of the vocabulary that is of no further kind: there are no chains and no circles."""
    concepts = {concept.id: concept for concept in vocabulary_concepts()}
    listed = [row["id"] for row in rows(KINDS)]
    assert len(set(listed)) == len(listed)
    for name in listed:
        kinds = concepts[name].kinds
        assert 1 <= len(kinds) <= 2
        assert len(set(kinds)) == len(kinds)
        assert all(concepts[kind].kinds == () for kind in kinds), name
