"""How well clips and captions find each other, and how little that depends on the language.

Similarities in, figures out; numpy alone, so that evaluation needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atri_cli import metrics

if TYPE_CHECKING:
    from train.clips import Clip

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
RESAMPLES = 1000
MEASURES = ("r1", "r5", "r10", "map10", "median_rank")


@dataclass(frozen=True)
class Question:
    """One query: its text by language, and the numbers of the clips that answer it."""

    texts: Mapping[str, str]
    answers: tuple[int, ...]


def questions(clips: Sequence[Clip], languages: Sequence[str]) -> list[Question]:
    """Queries of text-to-audio: the first captions of clips, those that are the same only once.

    A clip answers every query one of whose texts is among its captions of that language.
    """
    owners: dict[tuple[str, str], set[int]] = {}
    for number, clip in enumerate(clips):
        for tag in languages:
            for text in clip.captions.get(tag, ()):
                owners.setdefault((tag, text), set()).add(number)
    firsts = [
        {tag: clip.captions[tag][0] for tag in languages if clip.captions.get(tag)}
        for clip in clips
    ]
    unique = {tuple(sorted(texts.items())): texts for texts in firsts if texts}
    return [
        Question(texts, tuple(sorted(set().union(*(owners[item] for item in texts.items())))))
        for texts in unique.values()
    ]


def captions_of(clips: Sequence[Clip], language: str) -> tuple[list[str], Mask]:
    """All captions in a language, and which clip has which: bool [clips, captions]."""
    texts = list(dict.fromkeys(t for clip in clips for t in clip.captions.get(language, ())))
    place = {text: number for number, text in enumerate(texts)}
    owned = np.zeros((len(clips), len(texts)), dtype=bool)
    for number, clip in enumerate(clips):
        owned[number, [place[text] for text in clip.captions.get(language, ())]] = True
    return texts, owned


def ranks_where(scores: Floats, truth: Mask) -> NDArray[np.int64]:
    """`metrics.ranks` of the rows that have a right item; 0 for the others. int64 [rows]."""
    asked = truth.any(axis=1)
    found = np.zeros(len(scores), dtype=np.int64)
    if asked.any():
        found[asked] = metrics.ranks(scores[asked], truth[asked])
    return found


def text_to_audio(scores: Mapping[str, Floats], asked: Sequence[Question]) -> NDArray[np.int64]:
    """Rank of the best right clip for each query in each language, int64 [queries, languages].

    Args:
        scores: language → float32 [queries, clips], in the order of `asked`.
        asked: the queries; one without a text in a language has rank 0 there.
    """
    columns = []
    for tag, similarity in scores.items():
        truth = np.zeros(similarity.shape, dtype=bool)
        for row, question in zip(truth, asked, strict=True):
            if tag in question.texts:
                row[list(question.answers)] = True
        columns.append(ranks_where(similarity, truth))
    return np.stack(columns, axis=1)


def quality(ranks: NDArray[np.int64]) -> dict[str, float]:
    """R@1, R@5, R@10, mAP@10 and median rank of one language; ranks of 0 are left out."""
    known = ranks[ranks > 0]
    return {
        **{f"r{k}": metrics.recall_at(known, k) for k in (1, 5, 10)},
        "map10": metrics.map_at_10(known),
        "median_rank": float(np.median(known)) if known.size else float("nan"),
    }


def _consistency(ranks: NDArray[np.int64], gallery: int) -> dict[str, float]:
    """Both forms of MRV over the rows that are asked in every language."""
    whole = ranks[(ranks > 0).all(axis=1)]
    return {
        "variance": metrics.mrv_variance(whole),
        "std": metrics.mrv_std(whole),
        "random_variance": metrics.random_variance(gallery, ranks.shape[1]),
        "normalised": metrics.normalised_mrv(whole, gallery) if len(whole) else float("nan"),
        "rows": len(whole),
        "languages": ranks.shape[1],
        "gallery": gallery,
    }


def report(ranks: NDArray[np.int64], languages: Sequence[str], gallery: int) -> dict[str, Any]:
    """One direction: quality by language and as their mean, language gap, MRV, 95 % intervals.

    Args:
        ranks: int64 [rows, languages], from 1; 0 where a row is not asked in a language.
        languages: tags of the columns.
        gallery: how many items were ranked.

    Returns:
        `languages` (tag → measures), `mean`, `gap` (best minus worst R@10, and each language's
        R@10 over English's), `mrv`, and `intervals` of mean R@1, R@10, mAP@10 and MRV, rows drawn
        with replacement 1000 times.
    """
    by_language = {tag: quality(ranks[:, k]) for k, tag in enumerate(languages)}
    mean = {name: float(np.mean([q[name] for q in by_language.values()])) for name in MEASURES}
    tens = {tag: measures["r10"] for tag, measures in by_language.items()}
    english = next((tag for tag in languages if tag.split("-")[0] == "en"), None)
    to_english = {tag: r / tens[english] for tag, r in tens.items() if english and tens[english]}
    return {
        "languages": by_language,
        "mean": mean,
        "gap": {"r10": max(tens.values()) - min(tens.values()), "to_english": to_english},
        "mrv": _consistency(ranks, gallery),
        "intervals": _intervals(ranks, gallery),
    }


def _intervals(ranks: NDArray[np.int64], gallery: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(RESAMPLES):
        drawn = ranks[rng.integers(len(ranks), size=len(ranks))]
        known = np.where(drawn > 0, drawn, np.iinfo(np.int64).max)
        count = np.maximum((drawn > 0).sum(0), 1)
        recall = [((known <= k).sum(0) / count).mean() for k in (1, 10)]
        precision = (np.where(known <= 10, 1 / known, 0.0).sum(0) / count).mean()
        whole = drawn[(drawn > 0).all(axis=1)]
        mrv = metrics.normalised_mrv(whole, gallery) if len(whole) else float("nan")
        draws.append([*recall, precision, mrv])
    names = ("r1", "r10", "map10", "mrv_normalised")
    return {name: _bounds(column) for name, column in zip(names, np.array(draws).T, strict=True)}


def _bounds(values: NDArray[np.float64]) -> list[float]:
    known = values[~np.isnan(values)]
    if not known.size:
        return [float("nan")] * 2
    return [float(bound) for bound in np.percentile(known, [2.5, 97.5])]


def retrieval(
    audio: Sequence[Floats], text: Mapping[str, Mapping[str, Floats]], clips: Sequence[Clip]
) -> dict[str, Any]:
    """Both directions from vectors.

    Args:
        audio: for each clip its windows' unit vectors, float32 [windows, dim]; a clip's score is
            that of its best window.
        text: language → caption → unit vector float32 [dim], of every caption of `clips`.
        clips: with their captions.

    Returns:
        `clips`, `queries`, `t2a` and `a2t` (each as `report`), and the ranks of both directions.
    """
    languages = list(text)
    asked = questions(clips, languages)
    t2a = text_to_audio(
        {
            tag: _similarity([text[tag].get(q.texts.get(tag, ""), None) for q in asked], audio)
            for tag in languages
        },
        asked,
    )
    a2t, galleries = [], []
    for tag in languages:
        captions, owned = captions_of(clips, tag)
        scores = _similarity([text[tag][caption] for caption in captions], audio).T
        a2t.append(ranks_where(scores, owned))
        galleries.append(len(captions))
    back = np.stack(a2t, axis=1)
    return {
        "clips": len(clips),
        "queries": len(asked),
        "t2a": report(t2a, languages, len(clips)),
        "a2t": report(back, languages, round(float(np.mean(galleries)))),
        "ranks": {"t2a": t2a.tolist(), "a2t": back.tolist()},
    }


def _similarity(rows: Sequence[Floats | None], audio: Sequence[Floats]) -> Floats:
    """Cosine of each text with each clip's best window, float32 [texts, clips]; None gives -1."""
    dim = audio[0].shape[1]
    matrix = np.stack([np.zeros(dim, np.float32) if row is None else row for row in rows])
    starts = np.cumsum([0, *(len(windows) for windows in audio[:-1])])
    best: Floats = np.maximum.reduceat(matrix @ np.concatenate(audio).T, starts, axis=1)
    best[[place for place, row in enumerate(rows) if row is None]] = -1.0
    return best


def for_json(value: Any) -> Any:
    """A report as JSON holds it: None where there is no number."""
    if isinstance(value, dict):
        return {key: for_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [for_json(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def table(found: Mapping[str, Any], direction: str = "t2a") -> str:
    """One direction as Markdown."""
    part = found[direction]
    head = "| language | R@1 | R@5 | R@10 | mAP@10 | median rank |"
    rows = [(tag, part["languages"][tag]) for tag in part["languages"]] + [("mean", part["mean"])]
    lines = [
        f"| {tag} | " + " | ".join(f"{q[m]:.3f}" for m in MEASURES[:4]) + f" | {q[MEASURES[4]]:g} |"
        for tag, q in rows
    ]
    mrv = part["mrv"]
    low, high = part["intervals"]["mrv_normalised"]
    last = (
        f"MRV over N = {mrv['gallery']}, K = {mrv['languages']}, {mrv['rows']} rows: variance form "
        f"{mrv['variance']:.2f} (random {mrv['random_variance']:.0f}; ratio "
        f"{mrv['normalised']:.4f} [{low:.4f}, {high:.4f}]), standard deviation form "
        f"{mrv['std']:.2f}"
    )
    return "\n".join([head, "|---|---|---|---|---|---|", *lines, "", last])
