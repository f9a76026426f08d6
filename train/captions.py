"""Which phrases describe a labelled recording: file label → concepts → phrases in K languages."""

from __future__ import annotations

from pathlib import Path

from atri_cli.vocabulary.concepts import read_table
from train.sources import Source

CONCEPTS = "concepts"  # the kind of a source whose label is concept ids, joined by `|`
LABELS = Path(__file__).parent / "labels" / "labels.tsv"


def label_concepts(path: Path = LABELS) -> dict[str, list[str]]:
    """Label → concept ids, best first; labels that say nothing about the sound are left out."""
    rows = read_table(path)
    return {r["label"]: r["concepts"].split("|") for r in rows if r["concepts"] != "-"}


def concepts_of(source: Source, labels: dict[str, list[str]]) -> list[str]:
    """Concept ids of a recording; none when its label is vague or unknown."""
    if source.kind == CONCEPTS:
        return source.label.split("|")
    return [] if source.vague else labels.get(source.label, [])
