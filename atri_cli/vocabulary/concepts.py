"""The vocabulary as it is shipped: concepts, each with its phrases by language."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CORE = ("en", "fr", "de", "es", "nl", "ca", "ja", "zh")
VOCABULARY = Path(__file__).parent
MORE, FORMS, TYPED = "more", "forms", "typed"
KINDS = "kinds.tsv"


@dataclass
class Concept:
    """One sound, and its phrases by language (BCP 47, without the `-x-` of further phrasings).

    `phrases` are a name and longer phrases, `forms` further ways of asking for it, `kinds` the ids
    of well-known sounds that it is a kind of or sounds like, the nearest first.
    """

    id: str
    phrases: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    forms: dict[str, list[str]] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()

    def add(self, lang: str, text: str) -> None:
        """Add a phrase unless it is empty or known."""
        text = text.strip()
        if text and text not in self.phrases[lang]:
            self.phrases[lang].append(text)


def read_table(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a tab-separated table with a header, cells as they are."""
    with path.open(encoding="utf-8", newline="") as handle:
        yield from csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)


def vocabulary_concepts(folder: Path = VOCABULARY) -> list[Concept]:
    """The project's own concepts; one that stands in several files is merged."""
    concepts: dict[str, Concept] = {}
    own = (path for path in sorted(folder.glob("*.tsv")) if path.name != KINDS)
    for path in [*own, *sorted((folder / MORE).glob("*.tsv"))]:
        for row in read_table(path):
            concept = concepts.setdefault(row["id"], Concept(row["id"]))
            for column, text in row.items():
                if column != "id" and text:
                    concept.add(column.split("-x-")[0], text)
    for path in sorted((folder / FORMS).glob("*.tsv")):
        for row in read_table(path):
            others = [text for column, text in row.items() if column != "id" and text]
            concepts[row["id"]].forms[path.stem] = others
    for path in sorted((folder / TYPED).glob("*.tsv")):
        for row in read_table(path):
            concepts[row["id"]].forms.setdefault(path.stem, []).append(row["text"])
    for path in folder.glob(KINDS):
        for row in read_table(path):
            concepts[row["id"]].kinds = tuple(row["kinds"].split("|"))
    return list(concepts.values())


def vocabulary_languages() -> tuple[str, ...]:
    """Every language of the vocabulary, the core ones first."""
    return (*CORE, *sorted(path.stem for path in (VOCABULARY / MORE).glob("*.tsv")))
