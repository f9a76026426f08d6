"""Parallel sound language: what people call each sound, in every language we have.

Three sources: the project's own vocabulary (`atri_cli/vocabulary`), the 527 AudioSet classes in
eight languages (`train/labels/audioset.tsv`), and the Universal Category System in 22 (public
domain; read from the data folder, its Catalan from `train/labels/ucs_ca.tsv`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from atri_cli.vocabulary.concepts import (
    CORE,
    VOCABULARY,
    Concept,
    read_table,
    vocabulary_concepts,
)
from atri_cli.vocabulary.translate import Translator

__all__ = [
    "CORE",
    "VOCABULARY",
    "Concept",
    "all_concepts",
    "audioset_concepts",
    "translator",
    "ucs_concepts",
    "vocabulary_concepts",
]

SYNONYMS = 4
HERE = Path(__file__).parent


def audioset_concepts(path: Path = HERE / "labels" / "audioset.tsv") -> list[Concept]:
    """The 527 classes of AudioSet, in class order."""
    concepts = []
    for row in read_table(path):
        concept = Concept(f"audioset:{row['index']}")
        for lang in CORE:
            concept.add(lang, row[lang])
        concepts.append(concept)
    return concepts


def _short(lang: str) -> str:
    return {"zh-Hans": "zh", "pt-BR": "pt"}.get(lang, lang)


def ucs_concepts(data: Path, catalan: Path = HERE / "labels" / "ucs_ca.tsv") -> list[Concept]:
    """The 752 categories of UCS: `category subcategory`, subcategory, first synonyms."""
    concepts: dict[str, Concept] = {}
    rows = [(row["lang"], row) for row in read_table(data / "ucs" / "ucs.tsv")]
    rows += [("ca", row) for row in read_table(catalan)]
    for lang, row in rows:
        concept = concepts.setdefault(row["catid"], Concept("ucs:" + row["catid"]))
        category, sub = row["category"].lower(), row["subcategory"].lower()
        concept.add(_short(lang), f"{category} {sub}")
        if lang == "en":
            concept.add("en", sub)
            continue
        for synonym in row["synonyms"].split(";")[:SYNONYMS]:
            concept.add(_short(lang), synonym.lower())
    return list(concepts.values())


def all_concepts(data: Path) -> list[Concept]:
    """Every concept of the three sources that has at least two languages.

    Further forms of the vocabulary are phrases like the others here, behind them.
    """
    own = vocabulary_concepts()
    for concept in own:
        for lang, texts in concept.forms.items():
            for text in texts:
                concept.add(lang, text)
    found = own + audioset_concepts() + ucs_concepts(data)
    return [concept for concept in found if len(concept.phrases) > 1]


@cache
def translator() -> Translator:
    """Finds the sounds a text names: in the vocabulary first, then among the AudioSet classes."""
    return Translator([*vocabulary_concepts(), *audioset_concepts()])
