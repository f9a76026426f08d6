"""Teach the audio tower what the teacher hears.

Two phases, both from random weights. *Blocks*: each block gets the teacher's input of that block
and is asked for its output, so that all blocks learn at once and none waits for those before it.
*Whole*: the tower runs on its own maps and is asked for the teacher's maps, pooled features,
hidden features and class scores. On two cores this is many times faster than learning from scores
alone (docs/log.md).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.melcache import CachedClip, frames
from train.towers.audio import AudioNet
from train.views import Views, crop

LENGTHS = (1.5, 2.0, 3.0, 4.0, 5.0)


@dataclass(frozen=True)
class DistillPlan:
    """One dial each: steps of the two phases, batch, width, learning rates, seed."""

    block_steps: int = 2000
    whole_steps: int = 2000
    batch: int = 32
    widen: float = 1.5
    block_lr: float = 8e-3
    whole_lr: float = 2e-3
    seed: int = 0


def relative_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared error over the teacher's variance, per channel, averaged: 1 = knows only the mean."""
    dims = [d for d in range(teacher.dim()) if d != 1]
    variance = teacher.var(dims, unbiased=False) + 1e-4
    return ((student - teacher).square().mean(dims) / variance).mean()


def block_losses(student: AudioNet, maps: Sequence[Tensor], mel: Tensor) -> list[Tensor]:
    """Each stage taught alone. Early stages see few views: they have few weights, many pixels."""
    losses = []
    inputs = [mel, *maps[:-1]]
    for place, (stage, x, y) in enumerate(zip(student.stages(), inputs, maps, strict=True)):
        share = 4 if place < 4 else 2 if place < 7 else 1
        views = max(4, len(mel) // share)
        losses.append(relative_error(stage(x[:views]), y[:views]))
    return losses


def head_loss(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
    """Pooled and hidden features, logits, and class probabilities."""
    pooled = relative_error(student[0], teacher[0])
    hidden = relative_error(student[1], teacher[1])
    logits = F.mse_loss(student[2].clamp_min(-9), teacher[2].clamp_min(-9)) / 4.0
    scores = F.binary_cross_entropy_with_logits(student[2], teacher[2].sigmoid()) * 20.0
    return pooled + hidden + logits + scores


def whole_loss(student: AudioNet, teacher: AudioNet, mel: Tensor) -> Tensor:
    """The tower on its own maps: hints from every second stage, then the head."""
    with torch.no_grad():
        wanted = teacher.maps(mel)
        wanted_head = teacher.head(wanted[-1])
    maps = student.maps(mel)
    hints = torch.stack([relative_error(maps[p], wanted[p]) for p in (3, 6, 8, 10, 12, 14, 16)])
    return hints.mean() * 2.0 + head_loss(student.head(maps[-1]), wanted_head)


def _rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 5 %, then cosine to 1 % of the peak."""
    warm = max(1, steps // 20)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2)


@torch.no_grad()
def agreement(student: AudioNet, teacher: AudioNet, clips: Sequence[CachedClip]) -> dict[str, float]:
    """On held-out clips, start of each: relative errors, and how often the top class agrees."""
    student.eval()
    mels = [torch.from_numpy(crop(c.mel, frames(4.0), None).astype("float32").T) for c in clips]
    totals = {"pooled": 0.0, "logits": 0.0, "top1": 0.0, "top1_in_5": 0.0}
    batches = [torch.stack(mels[at : at + 32])[:, None] for at in range(0, len(mels), 32)]
    for mel in batches:
        ours, theirs = student(mel), teacher(mel)
        best = theirs[2].argmax(1, keepdim=True)
        totals["pooled"] += float(relative_error(ours[0], theirs[0])) * len(mel)
        totals["logits"] += float(F.mse_loss(ours[2].clamp_min(-9), theirs[2].clamp_min(-9))) * len(mel)
        totals["top1"] += float((ours[2].argmax(1, keepdim=True) == best).sum())
        totals["top1_in_5"] += float((ours[2].topk(5).indices == best).sum())
    student.train()
    return {key: round(value / len(mels), 4) for key, value in totals.items()}


class Distiller:
    """Runs the plan; saves after every `save_every` steps and continues from the last save."""

    def __init__(
        self,
        teacher: AudioNet,
        clips: Sequence[CachedClip],
        held_out: Sequence[CachedClip],
        plan: DistillPlan,
        out: Path,
    ) -> None:
        torch.manual_seed(plan.seed)
        self.teacher = teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.student = AudioNet(plan.widen).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.views = Views(clips, plan.seed)
        self.held_out = held_out
        self.plan = plan
        self.out = out
        self.step = 0
        self.optimiser = torch.optim.AdamW(self.student.parameters(), weight_decay=1e-4)
        out.mkdir(parents=True, exist_ok=True)
        self._resume()

    def _resume(self) -> None:
        path = self.out / "state.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.student.load_state_dict(state["student"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = state["step"]

    def save(self) -> None:
        """Write weights (safetensors) and the state to continue from, each by rename."""
        from safetensors.torch import save_file

        weights = {k: v.contiguous() for k, v in self.student.state_dict().items()}
        save_file(weights, self.out / "audio.safetensors.part")
        (self.out / "audio.safetensors.part").replace(self.out / "audio.safetensors")
        state = {
            "student": self.student.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        torch.save(state, self.out / "state.part")
        (self.out / "state.part").replace(self.out / "state.pt")
        (self.out / "plan.json").write_text(json.dumps(asdict(self.plan), indent=1))

    def train_step(self) -> float:
        """One optimiser step of the phase the step number falls in; returns the loss."""
        plan, step = self.plan, self.step
        length = frames(LENGTHS[step % len(LENGTHS)])
        mel = self.views.batch(step, plan.batch, length)
        mel = mel.contiguous(memory_format=torch.channels_last)
        if step < plan.block_steps:
            rate = _rate(step, plan.block_steps, plan.block_lr)
            with torch.no_grad():
                maps = self.teacher.maps(mel)
                wanted = self.teacher.head(maps[-1])
            ours = self.student.head(maps[-1])
            loss = torch.stack(block_losses(self.student, maps, mel)).sum()
            loss = loss + head_loss(ours, wanted)
        else:
            rate = _rate(step - plan.block_steps, plan.whole_steps, plan.whole_lr)
            loss = whole_loss(self.student, self.teacher, mel)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())

    def run(self, save_every: int = 200) -> AudioNet:
        """Train to the end of the plan, logging to `log.jsonl`."""
        total = self.plan.block_steps + self.plan.whole_steps
        began, mean = time.monotonic(), 0.0
        self.student.train()
        while self.step < total:
            mean += self.train_step()
            if self.step % save_every == 0 or self.step == total:
                self.save()
                entry = {
                    "step": self.step,
                    "loss": round(mean / save_every, 4),
                    "seconds": round(time.monotonic() - began, 1),
                    **agreement(self.student, self.teacher, self.held_out),
                }
                mean = 0.0
                print(json.dumps(entry), flush=True)
                with (self.out / "log.jsonl").open("a") as log:
                    log.write(json.dumps(entry) + "\n")
        return self.student
