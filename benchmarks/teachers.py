"""What a second teacher would add: mn04, YAMNet and both, by the recordings their classes find.

    python -m benchmarks.teachers DATA SOUNDS

Labelled recordings of all packages, which neither teacher was trained on, whose name is an AudioSet
class that both know: how well each class score ranks them. Needs torch and ai-edge-litert.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atri_cli.errors import AudioError
from benchmarks.baseline import Mn04, Yamnet, read_classes
from benchmarks.students import class_truth, retrieval
from train.captions import concepts_of, label_concepts
from train.sources import Source, excluded_hashes, read_sources

FLOOR = 1e-5  # below it probabilities count as equal


def heard(
    sources: list[Source], teachers: Path
) -> tuple[list[Source], NDArray[np.float32], NDArray[np.float32]]:
    """Those that can be read, and the logs of both teachers' scores, [classes of mn04, sources].

    A class that YAMNet does not know has its lowest score everywhere.
    """
    mn04, yamnet = Mn04(teachers), Yamnet(teachers)
    place = {mid: number for number, mid in enumerate(read_classes(teachers / "audioset_527.csv"))}
    shared = [place[mid] for mid in read_classes(teachers / "yamnet_521.csv")]
    kept, first, second = [], [], []
    for source in sources:
        try:
            one, other = mn04.classes(source.path), np.full(len(place), FLOOR, np.float32)
            other[shared] = yamnet.classes(source.path)
        except AudioError:
            continue
        kept.append(source)
        first.append(one)
        second.append(other)
    logs = [np.log(np.clip(np.stack(rows, 1), FLOOR, 1 - FLOOR)) for rows in (first, second)]
    return kept, logs[0], logs[1]


def main() -> None:
    """Listen, compare, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.teachers", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("sounds", type=Path)
    asked = parser.parse_args()
    labels = label_concepts()
    excluded = excluded_hashes(asked.data, asked.sounds)
    sources = read_sources(asked.data, asked.sounds, excluded)
    sources = [source for source in sources if concepts_of(source, labels)]
    named = {place for places in class_truth(sources).values() for place in places}
    sources = [source for place, source in enumerate(sources) if place in named]
    sources, mn04, yamnet = heard(sources, asked.data / "teachers")
    truth = class_truth(sources)
    print(f"{len(sources)} recordings, {len(truth)} classes\n")
    print("| teacher | R@1 | R@10 | mAP@10 |\n|---|---|---|---|")
    for name, scores in (
        ("mn04", mn04),
        ("YAMNet", yamnet),
        ("mean of the log scores", (mn04 + yamnet) / 2),
        ("mn04 + .25 YAMNet", mn04 + yamnet / 4),
        ("mean of the scores", np.exp(mn04) + np.exp(yamnet)),
    ):
        cells = " | ".join(f"{value:.3f}" for value in retrieval(scores, truth).values())
        print(f"| {name} | {cells} |")


if __name__ == "__main__":
    main()
