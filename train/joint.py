"""Audio network and head together, after alignment: on views of the recordings, not on features.

Alignment leaves the network as the teacher made it, and reads three augmented views of a labelled
recording at most. Here each step hears new ones, and the network learns what names ask of it. The
teacher goes on speaking beside it: without that, what no recording's name says would be forgotten.
Texts stay where they are, so languages agree as before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from train.align import Align, rarity
from train.hints import head_loss
from train.melcache import CachedClip, frames
from train.steps import descend, log_progress
from train.towers.audio import AudioNet, channels_last, features
from train.views import Views, draw

LENGTHS = (2.0, 3.0, 4.0, 5.0)
WARM_UP = 50


@dataclass(frozen=True)
class JointPlan:
    """Steps, views a step with and without a name, rate, the teacher's weight, mixing, seed."""

    steps: int = 900
    named: int = 40
    others: int = 8
    lr: float = 3e-4
    teacher_weight: float = 0.3
    mix: float = 0.3
    seed: int = 0


class Joint:
    """Trains on from an alignment; saves every `save_every` steps and continues from there.

    Args:
        align: trained; its head learns on, its text map stays.
        net: the audio network that made the features; its norms stay as they are.
        teacher: of the teacher's own widths, in eval mode.
        clips: to learn from, each with its concept numbers, best first; none without a name.
        plan: steps, views, rate, weights.
        out: folder of checkpoint and log; a run found there goes on.
    """

    def __init__(
        self,
        align: Align,
        net: AudioNet,
        teacher: AudioNet,
        clips: Sequence[tuple[CachedClip, Sequence[int]]],
        *,
        plan: JointPlan,
        out: Path,
    ) -> None:
        torch.manual_seed(plan.seed)
        self.align, self.plan, self.out = align, plan, out
        self.net, self.teacher = channels_last(net.eval()), channels_last(teacher)
        self.concepts = [own for _, own in clips if own]
        self.chance = rarity([own[0] for own in self.concepts])
        self.named = Views([clip for clip, own in clips if own], plan.seed, plan.mix)
        self.all = Views([clip for clip, _ in clips], plan.seed + 1, plan.mix)
        align.project.requires_grad_(requires_grad=False)
        self.learnt = nn.ModuleDict({"net": self.net, "head": align.head})
        self.optimiser = torch.optim.AdamW(self.learnt.parameters(), weight_decay=1e-3)
        self.step = 0
        out.mkdir(parents=True, exist_ok=True)
        self._resume()

    def _resume(self) -> None:
        path = self.out / "state.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.learnt.load_state_dict(state["learnt"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = state["step"]

    def save(self) -> None:
        """Write the state to continue from, by rename."""
        state = {
            "learnt": self.learnt.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        torch.save(state, self.out / "state.part")
        (self.out / "state.part").replace(self.out / "state.pt")

    def _views(self, rng: np.random.Generator) -> tuple[Tensor, list[Sequence[int]]]:
        """Views with names, then views of anything, and the concepts of the first."""
        plan, length = self.plan, frames(LENGTHS[self.step % len(LENGTHS)])
        picks = draw(rng, self.chance, plan.named)
        views = [self.named.of(rng, picks, length), self.all.batch(self.step, plan.others, length)]
        mel = torch.cat(views).contiguous(memory_format=torch.channels_last)
        return mel, [self.concepts[pick] for pick in picks]

    def loss(self) -> Tensor:
        """Names of the named views; what the teacher hears in all, in words and as it is."""
        rng = np.random.default_rng((self.plan.seed, self.step))
        mel, concepts = self._views(rng)
        with torch.no_grad():
            wanted = self.teacher(mel)
        given = self.net(mel)
        audio = self.align.audio(features(*given))
        return (
            self.align.captions_loss(audio[: len(concepts)], concepts, rng)
            + self.align.classes_loss(audio, wanted[2].sigmoid(), rng)
            + self.plan.teacher_weight * head_loss(given, wanted)
        )

    def train_step(self) -> float:
        """One optimiser step; returns the loss."""
        done = self.step / self.plan.steps
        warm = min(1.0, (self.step + 1) / WARM_UP)
        rate = self.plan.lr * warm * (1 + math.cos(math.pi * done)) / 2
        value = descend(self.loss(), self.optimiser, rate, clip=(self.net.parameters(), 5.0))
        self.step += 1
        return value

    def run(self, save_every: int = 100) -> AudioNet:
        """Train to the end of the plan; the network. The head is the alignment's."""
        began, losses = time.monotonic(), []
        self.align.head.train()
        while self.step < self.plan.steps:
            losses.append(self.train_step())
            if self.step % save_every == 0 or self.step == self.plan.steps:
                self.save()
                seconds = time.monotonic() - began
                log_progress(self.out / "log.jsonl", self.step, losses, seconds, {})
                losses.clear()
        self.align.head.eval()
        return self.net
