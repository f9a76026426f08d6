"""Features of every cached clip from an audio tower, computed once: what the head learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.melcache import CachedClip, frames
from train.towers.audio import AudioNet, features
from train.views import Views

WINDOW_SECONDS, HOP_SECONDS = 5.0, 4.0
MOST_WINDOWS = 4
BATCH = 32


@dataclass(frozen=True)
class ClipFeatures:
    """Rows of features, the clip each row belongs to, and the teacher's class probabilities."""

    rows: NDArray[np.float32]
    clip: NDArray[np.int64]
    scores: NDArray[np.float16]

    def save(self, path: Path) -> None:
        """Write an .npz file, by rename."""
        part = path.with_suffix(".part.npz")
        np.savez(part, rows=self.rows, clip=self.clip, scores=self.scores)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> ClipFeatures:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            return cls(stored["rows"], stored["clip"], stored["scores"])


def windows(mel: NDArray[np.float16]) -> list[NDArray[np.float16]]:
    """A clip as search cuts it: windows of 5 s every 4 s, the first `MOST_WINDOWS` of them."""
    length, hop = frames(WINDOW_SECONDS), frames(HOP_SECONDS)
    starts = range(0, max(1, len(mel) - length + hop), hop)
    return [mel[start : start + length] for start in list(starts)[:MOST_WINDOWS]]


def _batches(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indices grouped by equal length."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    found: list[list[int]] = []
    for index in order:
        fits = found and lengths[found[-1][0]] == lengths[index] and len(found[-1]) < size
        if fits:
            found[-1].append(index)
        else:
            found.append([index])
    return found


def _embed(net: AudioNet, mel: Tensor) -> NDArray[np.float32]:
    outputs = net(mel.contiguous(memory_format=torch.channels_last))
    rows: NDArray[np.float32] = features(*outputs).numpy()
    return rows


def _probabilities(teacher: AudioNet, mel: Tensor) -> NDArray[np.float16]:
    scores: NDArray[np.float32] = teacher(mel)[2].sigmoid().numpy()
    return scores.astype(np.float16)


@torch.no_grad()
def clean_features(net: AudioNet, teacher: AudioNet, clips: Sequence[CachedClip]) -> ClipFeatures:
    """Features of all windows of all clips, and the teacher's probabilities for each."""
    cut = [(place, mel) for place, clip in enumerate(clips) for mel in windows(clip.mel)]
    batches = _batches([len(mel) for _, mel in cut], BATCH)
    rows, scores = [], []
    for batch in batches:
        stacked = np.stack([cut[i][1] for i in batch]).astype(np.float32)
        mel = torch.from_numpy(stacked).transpose(1, 2)[:, None]
        rows.append(_embed(net, mel))
        scores.append(_probabilities(teacher, mel))
    back = np.argsort(np.concatenate(batches))
    owners = np.array([place for place, _ in cut])
    return ClipFeatures(np.concatenate(rows)[back], owners, np.concatenate(scores)[back])


@torch.no_grad()
def augmented_features(
    net: AudioNet, teacher: AudioNet, clips: Sequence[CachedClip], rounds: int, seed: int
) -> ClipFeatures:
    """`rounds` augmented views of each clip: gain, equaliser, a quiet second sound."""
    rows, owners, scores = [], [], []
    lengths = [min(max(len(clip.mel), frames(1.0)), frames(4.0)) // 50 * 50 for clip in clips]
    for turn in range(rounds):
        for number, batch in enumerate(_batches(lengths, BATCH)):
            views = Views([clips[i] for i in batch], seed, mix=0.25)
            mel = views.each(turn * 100_000 + number, lengths[batch[0]])
            rows.append(_embed(net, mel))
            scores.append(_probabilities(teacher, mel))
            owners.extend(batch)
    return ClipFeatures(np.concatenate(rows), np.array(owners), np.concatenate(scores))
