"""Teach the audio tower what the teacher hears.

Three phases, from random weights. *Blocks*: each block gets the teacher's input of that block and
is asked for its output, so that all blocks learn at once and none waits for those before it.
*Tail*: each of the last blocks and the head, one after the other with an optimiser of its own, on a
pool of cached maps: they are the hardest to learn and the cheapest to compute, and among all blocks
in one optimiser their residual branches die (docs/log.md). *Whole*: the tower runs on its own maps
and is asked for the teacher's maps, pooled features, hidden features and class scores. On two cores
this is many times faster than learning from scores alone (docs/log.md).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn

from train.hints import FIRST, agreement, block_losses, head_loss, relative_error, whole_loss
from train.melcache import CachedClip, frames
from train.norms import restore_statistics
from train.steps import descend, log_progress
from train.towers.audio import BLOCKS, TAIL, AudioNet, channels_last
from train.views import Views

POOL_STREAM, NORM_STREAM = 10_000_000, 20_000_000
NORM_BATCHES = 12
TAIL_STAGES = len(BLOCKS) - TAIL + 2  # the last blocks, the last convolution, the head
LENGTHS = (1.5, 2.0, 3.0, 4.0, 5.0)


@dataclass(frozen=True)
class DistillPlan:
    """One dial each: steps of the three phases, batches, widths, learning rates, seed."""

    block_steps: int = 2200
    tail_steps: int = 1500
    whole_steps: int = 3000
    batch: int = 32
    tail_pool: int = 200
    widen: float = 1.5
    widen_tail: float = 3.0
    block_lr: float = 8e-3
    tail_lr: float = 2e-2
    head_lr: float = 3e-3
    whole_lr: float = 1e-3
    seed: int = 0

    @property
    def steps(self) -> int:
        """Steps of all phases; a stage of the tail counts as one."""
        return self.block_steps + TAIL_STAGES + self.whole_steps


class TailPool:
    """Augmented views as the teacher sees them before and after the tail, float16 in memory.

    Views of one length stand together; a batch holds one length.
    """

    def __init__(self, teacher: AudioNet, views: Views, batches: int, batch: int) -> None:
        self.maps: dict[int, list[list[Tensor]]] = {}
        with torch.no_grad():
            for number in range(batches):
                length = frames(LENGTHS[number % len(LENGTHS)])
                mel = views.batch(POOL_STREAM + number, batch, length)
                maps = teacher.maps(mel.contiguous(memory_format=torch.channels_last))
                kept = [found.half() for found in maps[FIRST - 1 :]]
                self.maps.setdefault(length, []).append(kept)

    def batch(self, step: int, place: int) -> tuple[Tensor, Tensor]:
        """Input and wanted output of tail stage number `place`, one stored batch."""
        length = frames(LENGTHS[step % len(LENGTHS)])
        batches = self.maps[length]
        chosen = batches[int(np.random.default_rng((7, step)).integers(len(batches)))]
        x, y = (
            chosen[at].float().contiguous(memory_format=torch.channels_last)
            for at in (place, place + 1)
        )
        return x, y


def fit_stage(
    stage: nn.Module, batches: Callable[[int], tuple[Tensor, Tensor]], steps: int, peak: float
) -> float:
    """Teach one stage alone; returns the mean relative error of the last tenth of the steps."""
    optimiser = torch.optim.AdamW(stage.parameters(), weight_decay=0.0)
    late: list[float] = []
    for step in range(steps):
        x, y = batches(step)
        loss = relative_error(stage(x), y)
        clip = (stage.parameters(), 5.0)
        value = descend(loss, optimiser, _rate(step, steps, peak), clip=clip)
        if step >= int(steps * 0.9):
            late.append(value)
    return fmean(late)


def _rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 5 %, then cosine to 1 % of the peak."""
    warm = max(1, steps // 20)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2)


class Distiller:
    """Runs the plan; saves after every `save_every` steps and continues from the last save.

    Args:
        teacher: of the teacher's own widths, in eval mode.
        clips: to learn from.
        held_out: to report on; never learnt from.
        plan: steps, batches, widths, rates.
        out: folder of checkpoint and log; a run found there goes on.
        start: a network of these widths, with its norms folded away, that has been through the
            first two phases: only the last one is run.
    """

    def __init__(
        self,
        teacher: AudioNet,
        clips: Sequence[CachedClip],
        held_out: Sequence[CachedClip],
        plan: DistillPlan,
        out: Path,
        *,
        start: AudioNet | None = None,
    ) -> None:
        torch.manual_seed(plan.seed)
        self.teacher = channels_last(teacher)
        self.student = channels_last(start or AudioNet(plan.widen, plan.widen_tail))
        self.views = Views(clips, plan.seed)
        self.held_out = held_out
        self.plan = plan
        self.out = out
        self.step = 0
        self._fresh_optimiser()
        out.mkdir(parents=True, exist_ok=True)
        self._resume()
        if start is not None and self.step == 0:
            self._skip_to_whole()

    def _resume(self) -> None:
        path = self.out / "state.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.student.load_state_dict(state["student"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = state["step"]

    def _skip_to_whole(self) -> None:
        """The last phase begins with the network given, once its norms have statistics."""
        length = frames(LENGTHS[len(LENGTHS) // 2])
        numbers = range(NORM_STREAM, NORM_STREAM + NORM_BATCHES)
        batches = (self.views.batch(number, self.plan.batch, length) for number in numbers)
        restore_statistics(self.student, batches)
        self.step = self.plan.block_steps + TAIL_STAGES

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
        (self.out / "plan.json").write_text(json.dumps(asdict(self.plan), indent=1))
        torch.save(state, self.out / "state.part")
        (self.out / "state.part").replace(self.out / "state.pt")

    def fit_tail(self) -> None:
        """The tail phase: stage by stage, then the head; a stage counts as one step."""
        plan = self.plan
        tail = self.student.stages()[FIRST:]
        pool = TailPool(self.teacher, self.views, plan.tail_pool, plan.batch)
        while (place := self.step - plan.block_steps) < len(tail):
            error = fit_stage(
                tail[place], lambda step: pool.batch(step, place), plan.tail_steps, plan.tail_lr
            )
            print(json.dumps({"stage": FIRST + place, "error": round(error, 4)}), flush=True)
            self.step += 1
            self.save()
        self._fit_head(pool)
        self.step += 1
        self._fresh_optimiser()
        self.save()

    def _fit_head(self, pool: TailPool) -> None:
        """Teach hidden and class layers on the teacher's last maps."""
        layers = [self.student.hidden, self.student.classes]
        optimiser = torch.optim.AdamW([p for layer in layers for p in layer.parameters()])
        for step in range(self.plan.tail_steps):
            _, last = pool.batch(step, len(self.student.stages()) - FIRST - 1)
            loss = head_loss(self.student.head(last), self.teacher.head(last))
            descend(loss, optimiser, _rate(step, self.plan.tail_steps, self.plan.head_lr))

    def _fresh_optimiser(self) -> None:
        """For all weights: the moments of another phase would mislead."""
        self.optimiser = torch.optim.AdamW(self.student.parameters(), weight_decay=1e-4)

    def _loss(self) -> tuple[Tensor, float]:
        """Loss and learning rate of the phase the step number falls in."""
        plan, step = self.plan, self.step
        mel = self.views.batch(step, plan.batch, frames(LENGTHS[step % len(LENGTHS)]))
        mel = mel.contiguous(memory_format=torch.channels_last)
        if step < plan.block_steps:
            with torch.no_grad():
                maps = self.teacher.maps(mel)
            losses = block_losses(self.student, maps, mel)
            return torch.stack(losses).sum(), _rate(step, plan.block_steps, plan.block_lr)
        done = step - plan.block_steps - TAIL_STAGES
        loss = whole_loss(self.student, self.teacher, mel)
        return loss, _rate(done, plan.whole_steps, plan.whole_lr)

    def train_step(self) -> float:
        """One optimiser step; returns the loss."""
        loss, rate = self._loss()
        value = descend(loss, self.optimiser, rate, clip=(self.student.parameters(), 5.0))
        self.step += 1
        return value

    def run(self, save_every: int = 200) -> AudioNet:
        """Train to the end of the plan, saving and logging to `log.jsonl`."""
        began = time.monotonic()
        losses: list[float] = []
        student: AudioNet = self.student.train()
        while self.step < self.plan.steps:
            if 0 <= self.step - self.plan.block_steps < TAIL_STAGES:
                self.fit_tail()
            losses.append(self.train_step())
            if self.step % save_every == 0 or self.step == self.plan.steps:
                self.save()
                seconds = time.monotonic() - began
                found = agreement(self.student, self.teacher, self.held_out)
                log_progress(self.out / "log.jsonl", self.step, losses, seconds, found)
                losses.clear()
        return student
