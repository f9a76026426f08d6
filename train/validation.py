"""Retrieval on recordings held out from training: one query a concept, in each core language."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atri_cli import metrics
from train.align import Align
from train.clipfeatures import ClipFeatures
from train.phrases import CORE


def similarity(
    text: Tensor, windows: Tensor, owners: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """Cosine of each phrase with each clip (its best window), [phrases, clips].

    Args:
        text, windows: unit vectors [phrases, dim] and [windows, dim].
        owners: the clip of each window.
        count: number of clips.
    """
    cosines = (text @ windows.T).numpy()
    best = np.full((len(text), count), -2.0, dtype=np.float32)
    for window, clip in enumerate(owners):
        best[:, clip] = np.maximum(best[:, clip], cosines[:, window])
    return best


@torch.no_grad()
def report(align: Align, clips: ClipFeatures, concepts: list[list[int]]) -> dict[str, Any]:
    """Recall, mAP@10 and MRV over the held-out clips.

    Args:
        align: the trained head and text map.
        clips: features of the held-out clips' windows.
        concepts: concept numbers of each clip, best first; a concept that is some clip's first
            becomes a query, and every clip that names it is a right answer.
    """
    queries = sorted({row[0] for row in concepts})
    truth = np.array([[query in row for row in concepts] for query in queries])
    windows = align.audio(torch.from_numpy(clips.rows))
    ranks = {}
    for place, lang in enumerate(CORE):
        numbers = [int(align.table[query, place, 0]) for query in queries]
        cosines = similarity(align.text(numbers), windows, clips.clip, len(concepts))
        ranks[lang] = metrics.ranks(cosines, truth)
    return {
        "queries": len(queries),
        "clips": len(concepts),
        "languages": {lang: _quality(found) for lang, found in ranks.items()},
        "mrv": _consistency(np.stack(list(ranks.values()), axis=1), len(concepts)),
    }


def _quality(ranks: metrics.Ranks) -> dict[str, float]:
    """Recall and mAP@10 of one language."""
    recall = {f"r{k}": round(metrics.recall_at(ranks, k), 4) for k in (1, 5, 10)}
    return {**recall, "map10": round(metrics.map_at_10(ranks), 4)}


def _consistency(ranks: metrics.Ranks, clips: int) -> dict[str, float]:
    """Variance of the ranks [queries, languages] between languages, beside that of chance."""
    variance = metrics.mrv_variance(ranks)
    random = metrics.random_variance(clips, ranks.shape[1])
    return {"variance": variance, "random": random, "normalised": variance / random}


def table(found: dict[str, Any]) -> str:
    """The report as text."""
    lines = [f"{found['queries']} queries a language, {found['clips']} clips"]
    for lang, row in found["languages"].items():
        lines.append("  ".join([lang, *(f"{key} {value:.3f}" for key, value in row.items())]))
    mrv = found["mrv"]
    lines.append(f"MRV {mrv['variance']:.1f}, {mrv['normalised']:.4f} of random")
    return "\n".join(lines)
