"""Audio students of several architectures, taught by one teacher for the same processor time.

    python -m benchmarks.students DATA SOUNDS WORK --minutes 12

WORK has the log-mels of `python -m train --stage mels`. A fifth of the packages is left out, and
each student is measured on them: how often the teacher's first class is its own, and how well its
class scores find the recordings whose names are AudioSet classes. Each learns in one thread, from
random weights, until its minutes of processor time are over (the teacher's part included), at a
rate that falls with them to nothing; so a student that is cheap to train sees more sounds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from atri_cli.metrics import map_at_10, ranks, recall_at
from atri_cli.vocabulary.translate import stems, tokens
from train.captions import concepts_of, label_concepts
from train.clipfeatures import windows
from train.distill import LENGTHS, Distiller, DistillPlan
from train.hints import agreement, head_loss
from train.melcache import CachedClip, frames
from train.mini import Recipe
from train.phrases import audioset_concepts, vocabulary_concepts
from train.sources import Source
from train.steps import descend
from train.towers.audio import CLASSES, HIDDEN, POOLED, AudioNet, conv_norm
from train.towers.patches import Block, TowerShape
from train.views import Views

LEFT_OUT = 51  # of 256: the share of packages that no student hears
BATCH = 32
Outputs = tuple[Tensor, Tensor, Tensor]


class Head(nn.Module):
    """A last map or its mean → what the teacher gives: pooled, hidden, class logits."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pooled = nn.Linear(width, POOLED)
        self.hidden = nn.Linear(POOLED, HIDDEN)
        self.classes = nn.Linear(HIDDEN, CLASSES)

    def forward(self, mean: Tensor) -> Outputs:
        pooled = F.hardswish(self.pooled(mean))
        hidden = F.hardswish(self.hidden(pooled))
        return pooled, hidden, self.classes(hidden)


class Residual(nn.Module):
    """Two dense 3x3 convolutions; the first may halve the map."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv_norm(inputs, outputs, 3, stride=stride)
        self.second = conv_norm(outputs, outputs, 3)
        self.skip = conv_norm(inputs, outputs, 1, stride=stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.skip(x) + self.second(F.relu(self.first(x))))


class Dense(nn.Module):
    """A residual network (He et al., CVPR 2016): no channel-wise filters, no gates."""

    def __init__(self, widths: Sequence[int] = (20, 40, 72, 128, 176)) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(1, widths[0], 5, stride=2), nn.ReLU()]
        for inputs, outputs in pairwise(widths):
            layers += [Residual(inputs, outputs, 2), Residual(outputs, outputs, 1)]
        self.body, self.out = nn.Sequential(*layers), Head(widths[-1])

    def forward(self, mel: Tensor) -> Outputs:
        out: Outputs = self.out(self.body(mel).mean((2, 3)))
        return out


class Patches(nn.Module):
    """A transformer over patches of 16 bands by 16 frames, as CED's smallest, but smaller."""

    def __init__(self, shape: TowerShape = TowerShape(144, 3, 6)) -> None:  # noqa: B008  (frozen)
        super().__init__()
        self.patch = nn.Conv2d(1, shape.width, 16, 16)
        self.time = nn.Parameter(0.02 * torch.randn(1, shape.width, 1, 64))
        self.band = nn.Parameter(0.02 * torch.randn(1, shape.width, 8, 1))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm, self.out = nn.LayerNorm(shape.width), Head(shape.width)

    def forward(self, mel: Tensor) -> Outputs:
        x = self.patch(F.pad(mel, (0, -mel.shape[-1] % 16)))
        x = (x + self.time[..., : x.shape[-1]] + self.band).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        out: Outputs = self.out(self.norm(x).mean(1))
        return out


@dataclass(frozen=True)
class Student:
    """How to make it, and its highest rate."""

    make: Callable[[], nn.Module]
    rate: float


STUDENTS = {
    "inverted": Student(lambda: AudioNet(1.5, 3.0), 2e-3),
    "dense": Student(Dense, 2e-3),
    "patches": Student(Patches, 1e-3),
}


def left_out(package: str) -> bool:
    """Whether a package is only measured on, by the hash of its name."""
    return hashlib.blake2b(package.encode(), digest_size=1).digest()[0] < LEFT_OUT


def learn(
    student: Student, teacher: AudioNet, clips: Sequence[CachedClip], minutes: float, seed: int
) -> tuple[nn.Module, int]:
    """A student after its minutes of processor time, in eval mode, and the steps it took."""
    torch.manual_seed(seed)
    net = student.make().train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    views, step = Views(clips, seed), 0
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=1e-4)
    began = time.process_time()
    while (done := (time.process_time() - began) / (60 * minutes)) < 1:
        mel = views.batch(step, BATCH, frames(LENGTHS[step % len(LENGTHS)]))
        mel = mel.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            wanted = teacher(mel)
        rate = student.rate * min(1.0, (step + 1) / 50) * (1 + math.cos(math.pi * done)) / 2
        descend(head_loss(net(mel), wanted), optimiser, rate, clip=(net.parameters(), 5.0))
        step += 1
    return net.eval(), step


def learn_by_blocks(
    teacher: AudioNet, clips: Sequence[CachedClip], plan: DistillPlan, out: Path
) -> tuple[nn.Module, int]:
    """The recipe's own way, in three phases; its steps decide the time, not the other way round."""
    net = Distiller(teacher, clips, clips[:BATCH], plan, out).run(save_every=10**9)
    return net.eval(), plan.steps


def short_plan(minutes: float, seed: int) -> DistillPlan:
    """The recipe's proportions, for about `minutes` of processor time of this kind of machine."""
    return DistillPlan(
        block_steps=round(26 * minutes),
        tail_steps=round(24 * minutes),
        tail_pool=40,
        whole_steps=round(26 * minutes),
        seed=seed,
    )


@torch.no_grad()
def class_scores(net: nn.Module, clips: Sequence[CachedClip]) -> NDArray[np.float32]:
    """The highest logit of each class over a clip's windows, float32 [classes, clips]."""
    found = []
    for clip in clips:
        mels = [
            torch.from_numpy(part.astype(np.float32)).T[None, None] for part in windows(clip.mel)
        ]
        found.append(torch.cat([net(mel)[2] for mel in mels]).amax(0).numpy())
    return np.stack(found, axis=1)


def class_truth(sources: Sequence[Source]) -> dict[int, list[int]]:
    """Class number → the recordings whose first name is the English name of the class."""
    number = {
        _bare(phrase): place
        for place, concept in enumerate(audioset_concepts())
        for phrase in concept.phrases["en"]
    }
    class_of = {
        concept.id: number[_bare(phrase)]
        for concept in vocabulary_concepts()
        for phrase in concept.phrases["en"][:1]
        if _bare(phrase) in number
    }
    labels, truth = label_concepts(), defaultdict(list)
    for place, source in enumerate(sources):
        for name in concepts_of(source, labels)[:1]:
            if name in class_of:
                truth[class_of[name]].append(place)
    return dict(truth)


def _bare(phrase: str) -> tuple[str, ...]:
    """Its words without articles and a final `s`."""
    return tuple(stems(tokens(phrase)))


def retrieval(scores: NDArray[np.float32], truth: dict[int, list[int]]) -> dict[str, float]:
    """R@1, R@10 and mAP@10 of the classes that a recording is named after."""
    rows = sorted(truth)
    right = np.zeros((len(rows), scores.shape[1]), dtype=bool)
    for row, number in zip(right, rows, strict=True):
        row[truth[number]] = True
    asked = scores[rows]
    found = ranks(asked, right)
    precise = map_at_10(found)
    return {"R@1": recall_at(found, 1), "R@10": recall_at(found, 10), "mAP@10": precise}


@torch.no_grad()
def milliseconds(net: nn.Module) -> float:
    """Processor time of ten seconds of sound, one thread, median of 15 runs."""
    mel, took = torch.randn(1, 1, 128, frames(10.0)), []
    for _ in range(15):
        began = time.process_time()
        net(mel)
        took.append(time.process_time() - began)
    return 1000 * float(np.median(took))


def measured(net: nn.Module, teacher: AudioNet, clips: Sequence[CachedClip]) -> dict[str, Any]:
    """Size, speed, agreement with the teacher, and retrieval on recordings never heard."""
    found = class_truth([clip.source for clip in clips])
    named = [clips[place] for place in sorted({p for places in found.values() for p in places})]
    truth = class_truth([clip.source for clip in named])
    scores = class_scores(net, named)
    return {
        "weights": sum(p.numel() for p in net.parameters()),
        "ms": round(milliseconds(net), 1),
        **agreement(net.eval(), teacher, clips),  # type: ignore[arg-type]
        "queries": len(truth),
        "recordings": len(named),
        **{key: round(value, 3) for key, value in retrieval(scores, truth).items()},
    }


def main() -> None:
    """Train one student after the other; a line of JSON for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.students", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0, help="processor time of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="*", choices=[*STUDENTS, "blocks"], default=[*STUDENTS, "blocks"]
    )
    asked = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe(asked.data, asked.sounds, asked.work)
    training, held = recipe.clips()
    clips = [clip for clip in training if not left_out(clip.source.package)]
    rest = [clip for clip in (*training, *held) if left_out(clip.source.package)]
    rest = [c for c in rest if concepts_of(c.source, recipe.labels)]
    teacher = recipe.teacher()
    say = {"clips": len(clips), "left_out": len(rest), "teacher": measured(teacher, teacher, rest)}
    print(json.dumps(say), flush=True)
    for name in asked.only:
        began = time.process_time()
        if name == "blocks":
            plan, out = short_plan(asked.minutes, asked.seed), asked.work / f"students-{asked.seed}"
            net, steps = learn_by_blocks(teacher, clips, plan, out)
        else:
            net, steps = learn(STUDENTS[name], teacher, clips, asked.minutes, asked.seed)
        took = round((time.process_time() - began) / 60, 1)
        facts = {"student": name, "seed": asked.seed, "minutes": took, "steps": steps}
        print(json.dumps(facts | measured(net, teacher, rest)), flush=True)


if __name__ == "__main__":
    main()
