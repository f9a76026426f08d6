"""What the audio tower is asked for while it learns from the teacher, and how near it has come."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from train.data.augment import crop
from train.melcache import CachedClip, frames
from train.towers.audio import TAIL, AudioNet

FIRST = TAIL + 1  # the stage the tail begins with: the stem comes before the blocks


def relative_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared error over the teacher's variance, per channel, averaged: 1 = knows only the mean."""
    dims = [d for d in range(teacher.dim()) if d != 1]
    variance = teacher.var(dims, unbiased=False) + 1e-4
    return ((student - teacher).square().mean(dims) / variance).mean()


def block_losses(student: AudioNet, maps: Sequence[Tensor], mel: Tensor) -> list[Tensor]:
    """Each stage before the tail taught alone.

    Early stages see few views: they have few weights and many pixels.
    """
    losses = []
    alone = zip(student.stages()[:FIRST], [mel, *maps], maps, strict=False)
    for place, (stage, x, y) in enumerate(alone):
        share = 4 if place < 4 else 2 if place < 7 else 1
        views = max(4, len(mel) // share)
        losses.append(relative_error(stage(x[:views]), y[:views]))
    return losses


def head_loss(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
    """Pooled and hidden features, logits, and class probabilities."""
    pooled = relative_error(student[0], teacher[0])
    hidden = relative_error(student[1], teacher[1])
    logits = _logit_error(student[2], teacher[2]) / 4.0
    scores = F.binary_cross_entropy_with_logits(student[2], teacher[2].sigmoid()) * 20.0
    return pooled + hidden + logits + scores


def _logit_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference; below -9 (a chance of 0.0001) all logits count as equal."""
    return F.mse_loss(student.clamp_min(-9), teacher.clamp_min(-9))


def whole_loss(student: AudioNet, teacher: AudioNet, mel: Tensor) -> Tensor:
    """The tower on its own maps: hints from every second stage, then the head."""
    with torch.no_grad():
        wanted = teacher.maps(mel)
        wanted_head = teacher.head(wanted[-1])
    maps = student.maps(mel)
    hints = torch.stack([relative_error(maps[p], wanted[p]) for p in (3, 6, 8, 10, 12, 14, 16)])
    return hints.mean() * 2.0 + head_loss(student.head(maps[-1]), wanted_head)


@torch.no_grad()
def agreement(
    student: AudioNet, teacher: AudioNet, clips: Sequence[CachedClip]
) -> dict[str, float]:
    """On held-out clips, start of each: relative errors, and how often the top class agrees."""
    student.eval()
    mels = [torch.from_numpy(crop(c.mel, frames(4.0), None).astype("float32").T) for c in clips]
    totals = {"pooled": 0.0, "logits": 0.0, "top1": 0.0, "top1_in_5": 0.0}
    batches = [torch.stack(mels[at : at + 32])[:, None] for at in range(0, len(mels), 32)]
    for mel in batches:
        ours, theirs = student(mel), teacher(mel)
        best = theirs[2].argmax(1, keepdim=True)
        totals["pooled"] += float(relative_error(ours[0], theirs[0])) * len(mel)
        totals["logits"] += float(_logit_error(ours[2], theirs[2])) * len(mel)
        totals["top1"] += float((ours[2].argmax(1, keepdim=True) == best).sum())
        totals["top1_in_5"] += float((ours[2].topk(5).indices == best).sum())
    student.train()
    return {key: round(value / len(mels), 4) for key, value in totals.items()}
