"""Parallel sound language: what people call each sound, in every language we have.

Three sources: the project's own vocabulary (`atri_cli/vocabulary`), the 527 AudioSet classes in
eight languages (`train/labels/audioset.tsv`), and the Universal Category System in 22 (public
domain; read from the data folder, its Catalan from `train/labels/ucs_ca.tsv`).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CORE = ("en", "fr", "de", "es", "nl", "ca", "ja", "zh")
SYNONYMS = 4
HERE = Path(__file__).parent
VOCABULARY = HERE.parent / "atri_cli" / "vocabulary"


@dataclass
class Concept:
    """One sound, and its phrases by language (BCP 47, without the `-x-` of further phrasings)."""

    id: str
    phrases: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, lang: str, text: str) -> None:
        """Add a phrase unless it is empty or known."""
        text = text.strip()
        if text and text not in self.phrases[lang]:
            self.phrases[lang].append(text)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        yield from csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)


def vocabulary_concepts(folder: Path = VOCABULARY) -> list[Concept]:
    """The project's own concepts; a concept that stands in two files is merged."""
    concepts: dict[str, Concept] = {}
    for path in sorted(folder.glob("*.tsv")):
        for row in _rows(path):
            concept = concepts.setdefault(row["id"], Concept(row["id"]))
            for column, text in row.items():
                if column != "id" and text:
                    concept.add(column.split("-x-")[0], text)
    return list(concepts.values())


def audioset_concepts(path: Path = HERE / "labels" / "audioset.tsv") -> list[Concept]:
    """The 527 classes of AudioSet, in class order."""
    concepts = []
    for row in _rows(path):
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
    rows = [(row["lang"], row) for row in _rows(data / "ucs" / "ucs.tsv")]
    rows += [("ca", row) for row in _rows(catalan)]
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
    """Every concept of the three sources that has at least two languages."""
    found = vocabulary_concepts() + audioset_concepts() + ucs_concepts(data)
    return [concept for concept in found if len(concept.phrases) > 1]
