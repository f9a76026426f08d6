"""Retrieval on recordings held out from training: one query a concept, in each core language."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from atri_cli import metrics
from train.align import Align
from train.clipfeatures import ClipFeatures
from train.phrases import CORE


@torch.no_grad()
def similarity(
    align: Align, clips: ClipFeatures, count: int, numbers: list[int]
) -> NDArray[np.float32]:
    """Cosine of each phrase with each clip (its best window), [phrases, clips]."""
    windows = align.audio(torch.from_numpy(clips.rows))
    cosines = (align.text(numbers) @ windows.T).numpy()
    best = np.full((len(numbers), count), -2.0, dtype=np.float32)
    for window, clip in enumerate(clips.clip):
        best[:, clip] = np.maximum(best[:, clip], cosines[:, window])
    return best


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
    ranks = {}
    for place, lang in enumerate(CORE):
        numbers = [int(align.table[query, place, 0]) for query in queries]
        ranks[lang] = metrics.ranks(similarity(align, clips, len(concepts), numbers), truth)
    languages = {
        lang: {
            "r1": round(metrics.recall_at(found, 1), 4),
            "r5": round(metrics.recall_at(found, 5), 4),
            "r10": round(metrics.recall_at(found, 10), 4),
            "map10": round(metrics.map_at_10(found), 4),
        }
        for lang, found in ranks.items()
    }
    table = np.stack(list(ranks.values()), axis=1)
    variance = metrics.mrv_variance(table)
    random = metrics.random_variance(len(concepts), len(CORE))
    return {
        "queries": len(queries),
        "clips": len(concepts),
        "languages": languages,
        "mrv": {"variance": variance, "random": random, "normalised": variance / random},
    }


def table(found: dict[str, Any]) -> str:
    """The report as text."""
    lines = [f"{found['queries']} queries a language, {found['clips']} clips"]
    for lang, row in found["languages"].items():
        lines.append("  ".join([lang, *(f"{key} {value:.3f}" for key, value in row.items())]))
    mrv = found["mrv"]
    lines.append(f"MRV {mrv['variance']:.1f}, {mrv['normalised']:.4f} of random")
    return "\n".join(lines)
