"""Labels that their own sound contradicts: file names lie, and a head that never read one can tell.

Recordings are dealt into folds by package. For each fold a head is aligned on the others and asked
which names fit the recordings of this one. A recording whose own name ranks behind `WORST` of all
names loses its label; it stays among the sounds that only the teacher speaks of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from train.align import Align, AlignData, AlignPlan

FOLDS = 4
STEPS = 500
WORST = 0.25  # of the names


def deal(packages: Sequence[str], folds: int = FOLDS) -> NDArray[np.int64]:
    """The fold of each row: whole packages, the largest first to the smallest fold, int64 [n]."""
    names, counts = np.unique(np.array(packages), return_counts=True)
    sizes = np.zeros(folds, np.int64)
    fold_of = {}
    for place in np.argsort(-counts, kind="stable"):
        fold = int(sizes.argmin())
        fold_of[names[place]] = fold
        sizes[fold] += counts[place]
    return np.array([fold_of[package] for package in packages])


def fit_of_names(data: AlignData, folds: NDArray[np.int64], plan: AlignPlan) -> NDArray[np.float64]:
    """Share of all names that fit a row better than its own does, by a head that never heard it.

    Args:
        data: what alignment learns from.
        folds: of each row, from `deal`.
        plan: of the alignments; its steps are cut to `STEPS`.

    Returns:
        float64 [rows]; 0 for rows without a label.
    """
    found = np.zeros(len(data.rows))
    short = replace(plan, steps=min(plan.steps, STEPS))
    for fold in np.unique(folds):
        asked = [i for i, own in enumerate(data.row_concepts) if own and folds[i] == fold]
        others = [[] if folds[i] == fold else own for i, own in enumerate(data.row_concepts)]
        align = Align(replace(data, row_concepts=others), short)
        align.run()
        found[asked] = _behind(align, asked, [data.row_concepts[i] for i in asked])
    return found


@torch.no_grad()
def _behind(align: Align, rows: Sequence[int], own: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Share of names whose cosine is above that of the best of a row's own."""
    names = align.name_vectors(np.arange(len(align.groups)))
    cosines = (align.audio(align.rows[list(rows)]) @ names.T).numpy()
    best = [row[list(concepts)].max() for row, concepts in zip(cosines, own, strict=True)]
    behind: NDArray[np.float64] = (cosines[:, align.named] > np.array(best)[:, None]).mean(1)
    return behind


def cleaned(
    data: AlignData, clips: Sequence[str], packages: Sequence[str], plan: AlignPlan
) -> AlignData:
    """The data without the labels of clips that no row of theirs bears out.

    Args:
        data: what alignment learns from.
        clips: the clip of each row; several rows are views of one.
        packages: the package of each row.
        plan: of the alignments that judge.

    Returns:
        `data` as it is when the labels are of fewer packages than there are folds.
    """
    labelled = {p for p, own in zip(packages, data.row_concepts, strict=True) if own}
    if len(labelled) < FOLDS:
        return data
    behind = fit_of_names(data, deal(packages), plan)
    best: dict[str, float] = {}
    for clip, share in zip(clips, behind.tolist(), strict=True):
        best[clip] = min(best.get(clip, 1.0), share)
    kept = [
        own if best[clip] <= WORST else []
        for clip, own in zip(clips, data.row_concepts, strict=True)
    ]
    lost = {clip for clip, share in best.items() if share > WORST}
    print(f"{len(lost)} clips lose their labels", flush=True)
    return replace(data, row_concepts=kept)
