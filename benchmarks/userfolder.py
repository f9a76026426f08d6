"""A folder as a user would have it, and sounds that it does not hold, for `atri train`.

    python -m benchmarks.userfolder DATA SOUNDS OUT
    atri index OUT/mine
    atri train --loss cacl --out OUT/run
    atri export OUT/run --out OUT/model
    atri evaluate --data OUT/others.tsv; atri evaluate OUT/model --data OUT/others.tsv

The recordings are those that atri-mini was never trained on. `mine/` holds those of one half, in
folders and under names as their authors left them: nothing else describes them. `others/` holds the
other half, and `others.tsv` asks for them in eight languages.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from atri_cli.queryfile import QueryRow, write_queries
from train.captions import concepts_of, label_concepts
from train.data.splits import place_of
from train.phrases import CORE, vocabulary_concepts
from train.sources import read_sources, recording_key


def lay_out(data: Path, sounds: Path, out: Path) -> tuple[int, int]:
    """Write both halves; returns how many sounds each has."""
    labels = label_concepts()
    concepts = {concept.id: concept for concept in vocabulary_concepts()}
    answers: dict[str, list[str]] = {}
    counts = [0, 0]
    for source in read_sources(data, sounds):
        if not source.validation:
            continue
        inner = source.path.relative_to(sounds / "x")
        half = int(place_of(recording_key(source.package, str(inner))) < 0.5)
        counts[half] += 1
        if half:
            _copy(source.path, out / "mine" / inner)
            continue
        copy = f"{source.sha1}{source.path.suffix.lower()}"
        _copy(source.path, out / "others" / copy)
        for name in concepts_of(source, labels)[:1]:
            if name in concepts:
                answers.setdefault(name, []).append(f"others/{copy}")
    rows = [
        QueryRow(name, {tag: (concepts[name].phrases[tag][0],) for tag in CORE}, tuple(found))
        for name, found in sorted(answers.items())
    ]
    write_queries(out / "others.tsv", rows, CORE)
    return counts[1], counts[0]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copyfile(source, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.userfolder", description=__doc__)
    for name in ("data", "sounds", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    mine, others = lay_out(options.data, options.sounds, options.out)
    print(f"{mine} sounds in {options.out / 'mine'}, {others} in {options.out / 'others'}")
