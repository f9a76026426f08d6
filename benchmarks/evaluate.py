"""How well a model finds the right recording, and how little that depends on the language.

    python -m benchmarks.evaluate SOUNDS                  the embedded model, the gcompris queries
    python -m benchmarks.evaluate SOUNDS --model FOLDER --queries FILE --distractors MORE_SOUNDS

Sounds are indexed and searched through the real library, files ranked by their best segment. A
query with several right answers has the rank of the best one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atri_cli.errors import AtriError
from atri_cli.library.library import Library
from atri_cli.library.types import QueryPart
from atri_cli.metrics import map_at_10, mrv_std, mrv_variance, ranks, recall_at
from benchmarks.gate import check
from benchmarks.testset import QUERIES, QuerySet, find_truth, lines_of, list_sounds, read_queries

EMBEDDED = "atri-mini"
UNREADABLE = -2.0  # below every cosine
MEASURES = ("r1", "r5", "r10", "map10", "median_rank")
RESAMPLES = 1000
DRAWS = 20_000

Floats = NDArray[np.float32]
Ranks = NDArray[np.int64]


def best_ranks(similarity: Floats, truth: Sequence[set[int]]) -> Ranks:
    """Rank of the best right answer of each query, from 1; int64 [n], 0 where not asked.

    Args:
        similarity: float32 [n, files]; a row of NaN is a query that is not asked.
        truth: places of the right answers; at least one each.
    """
    right = np.zeros(similarity.shape, dtype=bool)
    for row, answers in zip(right, truth, strict=True):
        row[sorted(answers)] = True
    return np.where(np.isnan(similarity).all(axis=1), 0, ranks(similarity, right))


def _language_summary(found: Ranks) -> dict[str, float]:
    asked = found[found > 0]
    return {
        "r1": recall_at(asked, 1),
        "r5": recall_at(asked, 5),
        "r10": recall_at(asked, 10),
        "map10": map_at_10(asked),
        "median_rank": float(np.median(asked)) if asked.size else np.nan,
    }


def summary(found: Ranks) -> dict[str, dict[str, float]]:
    """Measures of ranks [concepts, languages]: one set a language, `mean` of them, and `mrv`.

    MRV is taken over the concepts that are asked in every language.
    """
    columns = {str(k): _language_summary(column) for k, column in enumerate(found.T)}
    mean = {name: float(np.mean([c[name] for c in columns.values()])) for name in MEASURES}
    everywhere = found[(found > 0).all(axis=1)]
    spread = {"variance": mrv_variance(everywhere), "std": mrv_std(everywhere)}
    return {**columns, "mean": mean, "mrv": spread}


def intervals(found: Ranks, seed: int = 0) -> dict[str, dict[str, list[float]]]:
    """95 % bootstrap intervals of everything in `summary`: concepts are drawn with replacement."""
    rng = np.random.default_rng(seed)
    draws = [summary(found[rng.integers(len(found), size=len(found))]) for _ in range(RESAMPLES)]
    return {
        part: {name: _bounds([draw[part][name] for draw in draws]) for name in values}
        for part, values in draws[0].items()
    }


def _bounds(values: list[float]) -> list[float]:
    known = np.array(values)[~np.isnan(values)]
    return np.percentile(known, [2.5, 97.5]).tolist() if known.size else []


def random_best_rank(gallery: int, answers: int) -> NDArray[np.float64]:
    """Chance of each best rank 1..gallery when files are in random order; float64 [gallery]."""
    places = np.arange(gallery)
    later = np.clip((gallery - answers - places) / (gallery - places), 0.0, 1.0)
    none_yet = np.concatenate([[1.0], np.cumprod(later)])
    chances: NDArray[np.float64] = none_yet[:-1] - none_yet[1:]
    return chances


def random_mrv(gallery: int, languages: int, answers: Sequence[int]) -> dict[str, float]:
    """Both forms of MRV when every language orders the files at random.

    The variance is exact, (K - 1) / K of the best rank's variance; the other form is the mean of
    draws from a fixed seed.
    """
    rng = np.random.default_rng(0)
    ranks = np.arange(1, gallery + 1)
    variance, std = [], []
    for count in answers:
        chances = random_best_rank(gallery, count)
        mean = chances @ ranks
        variance.append((languages - 1) / languages * (chances @ (ranks - mean) ** 2))
        drawn = rng.choice(ranks, size=(DRAWS // len(answers) + 1, languages), p=chances)
        std.append(drawn.std(axis=1).mean())
    return {"variance": float(np.mean(variance)), "std": float(np.mean(std))}


def evaluate(similarity: Mapping[str, Floats], truth: Sequence[set[int]]) -> dict[str, Any]:
    """Retrieval and consistency from similarities, whatever made them.

    Args:
        similarity: language tag → float32 [concepts, files]; a row of NaN is not asked.
        truth: for each concept the places of its right answers.

    Returns:
        The report: `per_language`, `mean`, `mrv`, sizes, each with 95 % `intervals`, and `ranks`.
        `mrv` is None for one language, or when no concept is asked in all of them.
    """
    tags = list(similarity)
    found = np.stack([best_ranks(similarity[tag], truth) for tag in tags], axis=1)
    gallery = next(iter(similarity.values())).shape[1]
    values, bounds = summary(found), intervals(found)
    counts = [len(answers) for answers, row in zip(truth, found, strict=True) if row.all()]
    return {
        "schema": 1,
        "ground_truth": True,
        "languages": tags,
        "concepts": len(truth),
        "queries": int(np.count_nonzero(found)),
        "gallery": gallery,
        "per_language": {
            tag: {**values[str(k)], "intervals": bounds[str(k)]} for k, tag in enumerate(tags)
        },
        "mean": {**values["mean"], "intervals": bounds["mean"]},
        "mrv": _mrv(values["mrv"], bounds["mrv"], gallery, len(tags), counts),
        "ranks": [
            {tag: rank for tag, rank in zip(tags, row, strict=True) if rank}
            for row in found.tolist()
        ],
    }


def _mrv(
    mrv: Mapping[str, float],
    bounds: Mapping[str, list[float]],
    gallery: int,
    languages: int,
    answers: Sequence[int],
) -> dict[str, Any] | None:
    if languages < 2 or not answers:
        return None
    chance = random_mrv(gallery, languages, answers)
    return {
        **mrv,
        "random_variance": chance["variance"],
        "random_std": chance["std"],
        "normalised": mrv["variance"] / chance["variance"],
        "normalised_std": mrv["std"] / chance["std"],
        "concepts": len(answers),
        "intervals": bounds,
    }


def library_similarity(
    library: Library, queries: QuerySet, files: Sequence[Path]
) -> tuple[dict[str, Floats], int]:
    """Score of the best segment of every file for every query, by language.

    Args:
        library: indexed; searched through its own `search`.
        files: absolute paths, one a column; what else the library holds takes no part.

    Returns:
        Language tag → float32 [concepts, files], and how many files the library could not read:
        their column is UNREADABLE. A query that is not asked is a row of NaN.
    """
    place = {path: index for index, path in enumerate(files)}
    found = np.zeros(len(files), dtype=bool)
    result: dict[str, Floats] = {}
    for tag, texts in queries.texts.items():
        scores = np.full((len(texts), len(files)), UNREADABLE, dtype=np.float32)
        for row, text in zip(scores, texts, strict=True):
            if not text:
                row[:] = np.nan
                continue
            query = QueryPart(text=text, lang=tag.partition("-x-")[0])
            for hit in library.search(query, limit=len(files)).hits:
                if (column := place.get(hit.path)) is not None:
                    row[column] = hit.score
                    found[column] = True
        result[tag] = scores
    return result, int((~found).sum())


@contextmanager
def indexed(model: str, folders: Sequence[Path], jobs: int | None = None) -> Iterator[Library]:
    """A library of its own, in which the folders are indexed with a model; it is gone afterwards.

    Raises:
        AtriError: the model cannot be used.
    """
    with (
        tempfile.TemporaryDirectory() as home,
        Library.open(Path(home) / "library", model=model, device="cpu", threads=1) as library,
    ):
        library.index(folders, jobs=jobs)
        yield library


def evaluate_model(
    model: str, folders: Sequence[Path], queries: QuerySet, jobs: int | None = None
) -> dict[str, Any]:
    """Index folders of sounds with a model in a library of its own, and evaluate it.

    Args:
        model: name or folder.
        folders: the sounds that `queries` is about, then folders of distractors.
        queries: what to ask.
        jobs: files read at the same time; None is one for each core.

    Raises:
        AtriError: a query has no right answer in the folder, or the model cannot be used.
    """
    folders = [folder.resolve() for folder in folders]
    files = [path for folder in folders for path in list_sounds(folder)]
    truth = find_truth(queries, folders[0], files)
    with indexed(model, folders, jobs) as library:
        similarity, unreadable = library_similarity(library, queries, files)
        report = evaluate(similarity, truth)
        return {"model": library.card.name, "unreadable": unreadable, **report}


def table(report: Mapping[str, Any]) -> str:
    """The report as Markdown: a row a language, their mean, and a line about consistency."""
    lines = [
        f"{report['concepts']} concepts, {report['queries']} queries, {report['gallery']} files"
        f" ({report['unreadable']} unreadable); in brackets 95 % intervals over concepts.",
        "",
        "| language | R@1 | R@5 | R@10 | mAP@10 | median rank |",
        "|---|---|---|---|---|---|",
    ]
    rows = {**report["per_language"], "mean": report["mean"]}
    lines += [f"| {tag} | {' | '.join(_cells(row))} |" for tag, row in rows.items()]
    return "\n".join(lines + (_consistency(report["mrv"]) if report["mrv"] else []))


def _consistency(mrv: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, title, ratio in (
        ("variance", "variance form", "normalised"),
        ("std", "standard deviation form", "normalised_std"),
    ):
        low, high = mrv["intervals"][name]
        lines += [
            "",
            f"MRV, {title}: {mrv[name]:.1f} [{low:.1f}, {high:.1f}];"
            f" random {mrv['random_' + name]:.1f}; ratio {mrv[ratio]:.3f}.",
        ]
    return lines


def _cells(row: Mapping[str, Any]) -> list[str]:
    def cell(name: str, digits: int) -> str:
        low, high = row["intervals"][name]
        text = f"{row[name]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
        return text if digits == 1 else text.replace("0.", ".")

    return [cell(name, 1 if name == "median_rank" else 2) for name in MEASURES]


def show(report: Mapping[str, Any], ids: Sequence[str], *, as_json: bool) -> None:
    """Print a report: the table, or one JSON object whose `queries` name their concept."""
    if not as_json:
        print(table(report))
        return
    named = [{"id": name, "ranks": r} for name, r in zip(ids, report["ranks"], strict=True)]
    facts = {key: value for key, value in report.items() if key not in ("ranks", "queries")}
    print(json.dumps({**facts, "asked": report["queries"], "queries": named}, ensure_ascii=False))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Evaluate a model on sounds with known names.")
    parser.add_argument("sounds", type=Path, help="folder the query file's `audio` refers to")
    parser.add_argument("--model", default=EMBEDDED, help="name or folder of a model")
    parser.add_argument("--queries", type=Path, default=QUERIES, help="query file")
    parser.add_argument("--distractors", type=Path, help="folder of more sounds, never right")
    parser.add_argument("--jobs", type=int, help="files read at the same time")
    parser.add_argument("--recorded", type=Path, help="fail if worse than these figures")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    folders = [arguments.sounds, *([arguments.distractors] if arguments.distractors else [])]
    try:
        queries = read_queries(arguments.queries)
        report = evaluate_model(arguments.model, folders, queries, arguments.jobs)
        show(report, queries.ids, as_json=arguments.json)
        if arguments.recorded:
            check(report, arguments.recorded)
    except AtriError as error:
        print("\n".join(lines_of(error)), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
