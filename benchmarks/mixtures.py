"""Lay out sounds that are heard together, two validation recordings each, and queries for both.

    python -m benchmarks.mixtures DATA SOUNDS OUT
    python -m benchmarks.evaluate OUT/sounds --queries OUT/names.tsv --distractors VALIDATION/sounds

`names.tsv` joins what the two are called by the word for *and*, `phrases.tsv` their longer phrases
by the word for *with*: by rule, so endings may be wrong. A mixture is right when it holds both.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.captions import concepts_of, label_concepts
from train.melcache import SAMPLE_RATE, loop_to, read_waveform
from train.phrases import CORE, Concept, vocabulary_concepts
from train.sources import Source, read_sources

PAIRS = 200
LONGEST = 10.0
LEVEL = 0.05  # root mean square of each of the two
AND = {
    "en": "and",
    "fr": "et",
    "de": "und",
    "es": "y",
    "nl": "en",
    "ca": "i",
    "ja": "と",
    "zh": "和",
}
WITH = {
    "en": "with",
    "fr": "avec",
    "de": "mit",
    "es": "con",
    "nl": "met",
    "ca": "amb",
    "ja": "と",
    "zh": "和",
}

Pair = tuple[tuple[Source, str], tuple[Source, str]]


def pairs(named: Sequence[tuple[Source, list[str]]], count: int, seed: int = 0) -> Iterator[Pair]:
    """Recordings two and two, no sound in common, each pair of sounds once.

    Args:
        named: recordings with their concept ids, best first.
        count: how many.
        seed: of the draw.
    """
    rng, seen = np.random.default_rng(seed), set[frozenset[str]]()
    while len(seen) < count:
        (one, ours), (other, theirs) = (named[int(at)] for at in rng.integers(len(named), size=2))
        asked = frozenset((ours[0], theirs[0]))
        if not set(ours) & set(theirs) and asked not in seen:
            seen.add(asked)
            yield (one, ours[0]), (other, theirs[0])


def mixed(one: Path, other: Path) -> NDArray[np.float32]:
    """Both at the same level, as long as the longer, the shorter repeated."""
    waves = [read_waveform(path, LONGEST) for path in (one, other)]
    length = max(map(len, waves))
    loud = [loop_to(wave, length) * (LEVEL / np.sqrt(np.mean(wave**2) + 1e-12)) for wave in waves]
    total = loud[0] + loud[1]
    return (total / max(1.0, float(np.abs(total).max()))).astype(np.float32)


def joined(first: Concept, second: Concept, place: int, words: dict[str, str]) -> list[str]:
    """A text in each core language: phrase number `place` of both and the word between."""
    gap = {"ja": "", "zh": ""}
    found = []
    for lang in CORE:
        sides = [
            one.phrases[lang][min(place, len(one.phrases[lang]) - 1)] for one in (first, second)
        ]
        space = gap.get(lang, " ")
        found.append(f"{sides[0]}{space}{words[lang]}{space}{sides[1]}")
    return found


def lay_out(data: Path, sounds: Path, out: Path, count: int = PAIRS) -> int:
    """Write `OUT/sounds`, `OUT/names.tsv`, `OUT/phrases.tsv`; the number of mixtures."""
    import soundfile

    labels, folder = label_concepts(), out / "sounds"
    folder.mkdir(parents=True, exist_ok=True)
    held = [source for source in read_sources(data, sounds) if source.validation]
    named = [(source, found) for source in held if (found := concepts_of(source, labels))]
    concepts = {concept.id: concept for concept in vocabulary_concepts()}
    made: list[tuple[str, str, str]] = []
    for (one, first), (other, second) in pairs(named, count):
        wave = mixed(one.path, other.path)
        name = hashlib.blake2b(f"{one.sha1}{other.sha1}".encode(), digest_size=8).hexdigest()
        soundfile.write(folder / f"{name}.wav", wave, SAMPLE_RATE)
        made.append((f"{name}.wav", first, second))
    for file, place, words in (("names.tsv", 0, AND), ("phrases.tsv", 1, WITH)):
        with (out / file).open("w", encoding="utf-8", newline="") as handle:
            rows = csv.writer(handle, delimiter="\t", lineterminator="\n")
            rows.writerow(("id", "audio", *CORE))
            for name, first, second in made:
                texts = joined(concepts[first], concepts[second], place, words)
                rows.writerow([f"{first}+{second}", name, *texts])
    return len(made)


def main() -> None:
    """Lay out and say how much there is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mixtures", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=PAIRS)
    asked = parser.parse_args()
    print(f"{lay_out(asked.data, asked.sounds, asked.out, asked.count)} mixtures in {asked.out}")


if __name__ == "__main__":
    main()
