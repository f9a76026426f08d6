"""A model of a few numbers, clips for it, and a run in a process of its own that can be killed."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.plan import TrainPlan
from train.trainer import Trainer
from train.types import Clip, Inputs, TwoTower

LANGUAGES = ("en", "fr", "de")
PLAN = TrainPlan(
    languages=LANGUAGES, epochs=4, batch_size=8, lr=0.02, chunk=5, patience=0, learn_tau=True
)


class Tiny(TwoTower):
    """Rows of clips and captions are drawn by their names; linear maps bring them together."""

    def __init__(self, width: int = 6, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.dim = 4
        self.log_tau = nn.Parameter(torch.tensor(-2.0))
        self.audio, self.text = nn.Linear(width, 4), nn.Linear(width, 4)
        self.drop = nn.Dropout(0.1)
        self.width = width

    def _rows(self, names: Sequence[str]) -> Tensor:
        seeds = [list(name.encode()) for name in names]
        rows = [np.random.default_rng(seed).standard_normal(self.width) for seed in seeds]
        return torch.tensor(np.array(rows), dtype=torch.float32)

    def collate_audio(self, clips: Sequence[Clip], rng: np.random.Generator | None) -> Inputs:
        rows = self._rows([clip.id.split("-")[0] for clip in clips])
        noise = 0 if rng is None else 0.1 * rng.standard_normal(rows.shape)
        return (rows + torch.as_tensor(noise, dtype=torch.float32),)

    def collate_text(self, captions: Sequence[tuple[str, str]]) -> Inputs:
        return (self._rows([text for _, text in captions]),)

    def encode_audio(self, *inputs: Tensor) -> Tensor:
        return F.normalize(self.audio(self.drop(inputs[0])), dim=-1)

    def encode_text(self, *inputs: Tensor) -> Tensor:
        return F.normalize(self.text(inputs[0]), dim=-1)


def make_clips(count: int = 40) -> list[Clip]:
    """Ten kinds; every seventh clip has no French caption, every fifth two English ones."""
    clips = []
    for number in range(count):
        kind = f"kind{number % 10}"
        texts = {"en": (f"{kind} en",), "fr": (f"{kind} fr",), "de": (f"{kind} de",)}
        if number % 7 == 0:
            del texts["fr"]
        if number % 5 == 0:
            texts["en"] += (f"{kind} again",)
        clips.append(Clip(f"{kind}-{number}", Path(f"{number}.wav"), texts))
    return clips


if __name__ == "__main__":
    out, pause = Path(sys.argv[1]), float(sys.argv[2])
    torch.set_num_threads(1)
    Trainer(Tiny(), make_clips(), PLAN, out, tell=lambda _: time.sleep(pause), save_every=3).run()
