"""The training loop: seeded, resumable to the same result, stopped by validation."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from atri_cli.errors import AtriError, UsageError
from train.batches import Batch, Batches
from train.checkpoints import Facts, fill, load_checkpoint, save_checkpoint, state_of
from train.gradcache import encode_in_chunks
from train.losses import get_loss
from train.types import Clip, TwoTower

METRICS = "metrics.jsonl"
BEST = "best"
Score = Callable[[TwoTower], Mapping[str, float]]


@dataclass(frozen=True)
class TrainPlan:
    """Everything that decides the result of a run.

    `languages` in order, the first English one the anchor (else the first); `chunk` rows are
    encoded at a time (None: all); `patience` epochs without a better score end the run
    (0: never); `warmup` is the share of steps in which the rate rises, before a cosine takes it
    down to 0.
    """

    loss: str = "kcl"
    languages: tuple[str, ...] = ("en", "fr", "de", "es", "nl", "ca", "ja", "zh")
    epochs: int = 10
    batch_size: int = 24
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    clip_norm: float = 1.0
    chunk: int | None = None
    patience: int = 3
    seed: int = 0

    @property
    def anchor(self) -> int:
        """Number of the anchor language."""
        return next((k for k, tag in enumerate(self.languages) if tag.split("-")[0] == "en"), 0)


@dataclass
class Progress:
    """Where a run is: what `tell` hears after each step, and what a checkpoint holds."""

    step: int = 0
    epoch: int = 0
    loss: float = math.nan
    best: float = -math.inf
    waited: int = 0
    finished: bool = False


class Trainer:
    """Trains a model on clips.

    Args:
        model: its trained parameters are those with `requires_grad`.
        clips: to learn from.
        plan: how.
        out: folder of the run: checkpoint, best weights (`best/`), `metrics.jsonl`. A run of the
            same plan in it is continued.
        score: called after each epoch, best on validation clips; its `score` decides, higher is
            better. None: the last weights are the best.
        tell: called after each step.
        save_every: steps between checkpoints, besides one after each epoch.

    Raises:
        UsageError: nothing to learn from, an unknown loss, or another run lies in `out`.
        ModelError: the checkpoint in `out` is damaged or of another architecture.
    """

    def __init__(
        self,
        model: TwoTower,
        clips: Sequence[Clip],
        plan: TrainPlan,
        out: Path,
        *,
        score: Score | None = None,
        tell: Callable[[Progress], None] = lambda _: None,
        save_every: int = 200,
    ) -> None:
        torch.manual_seed(plan.seed)
        self.model, self.plan, self.out = model, plan, out
        self.loss = get_loss(plan.loss).to(model.log_tau.device)
        self.batches = Batches(clips, plan.languages, plan.batch_size, plan.seed)
        self.score, self.tell, self.save_every = score, tell, save_every
        self.progress = Progress()
        self.trained = [
            p for p in (*model.parameters(), *self.loss.parameters()) if p.requires_grad
        ]
        if not self.trained:
            raise UsageError("Every part of the model is frozen.", hint="Try `--freeze towers`.")
        self.optimiser = torch.optim.AdamW(self.trained, plan.lr, weight_decay=plan.weight_decay)
        self._resume()

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return len(self.batches) * self.plan.epochs

    def run(self) -> Progress:
        """Train to the end, or until validation no longer gets better.

        Ctrl-C saves a checkpoint and is raised again.

        Raises:
            AtriError: the loss is not finite, or a checkpoint cannot be saved; the last is whole.
        """
        try:
            while not self.progress.finished:
                self._epoch()
        except KeyboardInterrupt:
            self._save()
            raise
        return self.progress

    def _epoch(self) -> None:
        progress = self.progress
        first = progress.step - progress.epoch * len(self.batches)
        for batch in self.batches.epoch(progress.epoch, first):
            progress.loss = self.step(batch)
            progress.step += 1
            self._log({"step": progress.step, "loss": round(progress.loss, 6)})
            self.tell(progress)
            if progress.step % self.save_every == 0:
                self._save()
        progress.epoch += 1
        self._validate()
        done = progress.epoch >= self.plan.epochs
        progress.finished = done or 0 < self.plan.patience <= progress.waited
        self._save()

    def step(self, batch: Batch) -> float:
        """One optimiser step; the loss before it."""
        device = self.model.log_tau.device
        rng = np.random.default_rng((self.plan.seed, 1, self.progress.step))
        torch.manual_seed(int(rng.integers(2**62)))
        drawn = self.loss.draw(batch.present, self.plan.anchor, batch.uniform)
        language, clip = (index.tolist() for index in drawn.nonzero(as_tuple=True))
        captions = [
            (self.plan.languages[k], batch.texts[k][n]) for k, n in zip(language, clip, strict=True)
        ]
        sounds = [one.to(device) for one in self.model.collate_audio(batch.clips, rng)]
        words = [one.to(device) for one in self.model.collate_text(captions)]
        audio = encode_in_chunks(self.model.encode_audio, tuple(sounds), self.plan.chunk)
        text = encode_in_chunks(self.model.encode_text, tuple(words), self.plan.chunk)
        texts = text.vectors.new_zeros((*drawn.shape, self.model.dim))
        texts = texts.index_put(drawn.to(device).nonzero(as_tuple=True), text.vectors)
        loss: Tensor = self.loss(
            audio.vectors,
            texts,
            drawn.to(device),
            self.model.log_tau.exp(),
            anchor=self.plan.anchor,
            clash=batch.clash.to(device),
        )
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._not_finite(batch)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        audio.backward()
        text.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, self.plan.clip_norm)
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.lr * self.rate(self.progress.step)
        self.optimiser.step()
        return value

    def rate(self, step: int) -> float:
        """The learning rate at a step, as a share of the plan's."""
        rise = max(1, round(self.plan.warmup * self.steps))
        fall = (step - rise) / max(1, self.steps - rise)
        return (step + 1) / rise if step < rise else (1 + math.cos(math.pi * fall)) / 2

    def _not_finite(self, batch: Batch) -> AtriError:
        ids = ", ".join(f"`{clip.id}`" for clip in batch.clips[:5])
        return AtriError(
            f"The loss of step {self.progress.step + 1} is not a finite number.",
            why=f"Its batch begins with the clips {ids}.",
            hint="The last checkpoint is whole. Listen to these clips, or lower `--lr`.",
        )

    def _validate(self) -> None:
        progress = self.progress
        found = dict(self.score(self.model)) if self.score else {"score": float(progress.epoch)}
        self._log({"epoch": progress.epoch, **found})
        if found["score"] > progress.best:
            progress.best, progress.waited = found["score"], 0
            save_checkpoint(
                self.out / BEST, state_of(self.model), {"epoch": progress.epoch, **found}
            )
        else:
            progress.waited += 1

    def _log(self, entry: Mapping[str, float]) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    # Checkpoints

    def _save(self) -> None:
        tensors = {f"model.{name}": one for name, one in state_of(self.model).items()}
        tensors |= {f"loss.{name}": one for name, one in state_of(self.loss).items()}
        for number, parameter in enumerate(self.trained):
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{number}.{key}"] = value
        facts: Facts = {"plan": asdict(self.plan), "progress": asdict(self.progress)}
        save_checkpoint(self.out, tensors, facts)

    def _resume(self) -> None:
        found = load_checkpoint(self.out)
        if found is None:
            if (self.out / METRICS).exists():  # killed before its first checkpoint
                os.replace(self.out / METRICS, self.out / f"{METRICS}.old")
            return
        tensors, facts = found
        self._require_same_plan(facts["plan"])
        fill(self.model, _part(tensors, "model."), self.out)
        fill(self.loss, _part(tensors, "loss."), self.out)
        for number, parameter in enumerate(self.trained):
            state = _part(tensors, f"optimiser.{number}.")
            if state:
                self.optimiser.state[parameter] = {
                    key: value if key == "step" else value.to(parameter.device)
                    for key, value in state.items()
                }
        self.progress = Progress(**facts["progress"])

    def _require_same_plan(self, saved: Facts) -> None:
        now = json.loads(json.dumps(asdict(self.plan)))
        changed = [name for name in now if now[name] != saved.get(name)]
        if changed:
            words = ", ".join(f"{name} {saved.get(name)} → {now[name]}" for name in changed)
            raise UsageError(
                f"`{self.out}` holds a run with other settings: {words}.",
                hint="Give the same settings to continue it, or another folder with `--out`.",
            )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    chosen = ((name, one) for name, one in tensors.items() if name.startswith(prefix))
    return {name.removeprefix(prefix): one for name, one in chosen}
