"""The training loop: seeded, resumable to the same result, stopped by validation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from atri_cli.errors import AtriError, UsageError
from train.batches import Batch, Batches
from train.checkpoints import Facts, damaged, fill, load_checkpoint, save_checkpoint, state_of
from train.gather import processes, rank
from train.interrupts import Interrupt
from train.losses import get_loss
from train.objective import Forward, forward, reduce_gradients
from train.plan import LOWEST_TAU, TrainPlan, prepare
from train.runlog import RunLog
from train.types import Clip, TwoTower

BEST = "best"
Score = Callable[[TwoTower], Mapping[str, float]]


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

    In a process group (torch.distributed) each process encodes its share of every batch; the
    result is that of one process.

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
        tensorboard: whether to write the log for TensorBoard as well.

    Raises:
        UsageError: nothing to learn from, an unknown loss, or another run lies in `out`.
        ModelError: the checkpoint in `out` is damaged or of another architecture.
        RuntimeMissingError: CUDA or TensorBoard is asked for and not there.
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
        tensorboard: bool = False,
    ) -> None:
        torch.manual_seed(plan.seed)
        self.model, self.plan, self.out = model, plan, out
        self.device, self.device_why = prepare(model, plan)
        self.loss = get_loss(plan.loss).to(self.device)
        self.batches = Batches(clips, plan.languages, _whole(plan, len(clips)), plan.seed)
        self.score, self.tell, self.save_every = score, tell, save_every
        self.progress = Progress()
        self.trained = [
            p for p in (*model.parameters(), *self.loss.parameters()) if p.requires_grad
        ]
        self.optimiser = self._optimiser()
        self.scaler = torch.amp.GradScaler("cuda", enabled=plan.precision == "fp16")
        self._whole_state = True
        self._resume()
        self.log = RunLog(out, self.progress.step, tensorboard) if rank() == 0 else None

    def _optimiser(self) -> torch.optim.Optimizer:
        """Weight decay for matrices; biases, gains and the temperature have none."""
        matrices = [p for p in self.trained if p.ndim > 1]
        others = [p for p in self.trained if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": self.plan.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        kind = torch.optim.AdamW if self.plan.optimizer == "adamw" else torch.optim.Adam
        return kind([group for group in groups if group["params"]], lr=self.plan.lr)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return len(self.batches) * self.plan.epochs

    def run(self) -> Progress:
        """Train to the end, or until validation no longer gets better.

        Ctrl-C ends the step, saves a checkpoint and is raised again.

        Raises:
            AtriError: the loss is not finite, or a checkpoint cannot be saved; the last is whole.
        """
        try:
            with Interrupt() as interrupt:
                while not self.progress.finished:
                    self._epoch(interrupt)
        except KeyboardInterrupt:
            if self._whole_state:
                self._save()
            raise
        finally:
            if self.log is not None:
                self.log.close()
        return self.progress

    def _epoch(self, interrupt: Interrupt) -> None:
        progress = self.progress
        first = progress.step - progress.epoch * len(self.batches)
        for batch in self.batches.epoch(progress.epoch, first):
            self._whole_state = False
            progress.loss = self.step(batch)
            progress.step += 1
            self._whole_state = True
            self._log({"loss": round(progress.loss, 6)})
            self.tell(progress)
            if interrupt.asked:
                raise KeyboardInterrupt
            if progress.step % self.save_every == 0:
                self._save()
        progress.epoch += 1
        self._validate()
        done = progress.epoch >= self.plan.epochs
        progress.finished = done or 0 < self.plan.patience <= progress.waited
        self._save()

    def step(self, batch: Batch) -> float:
        """One optimiser step; the loss before it."""
        self.model.train()
        seed = (self.plan.seed, 1, self.progress.step)
        found = forward(self.model, self.loss, batch, self.plan, seed)
        value = float(found.loss.detach())
        if not math.isfinite(value):
            raise self._not_finite(batch, found)
        self.optimiser.zero_grad(set_to_none=True)
        found.backward(self.scaler.scale)
        reduce_gradients(self.model, self.loss)
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.trained, self.plan.clip_norm)
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate(self.progress.step, self.steps)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.plan.learn_tau:
            self.model.log_tau.data.clamp_(min=math.log(LOWEST_TAU))
        return value

    def _not_finite(self, batch: Batch, found: Forward) -> AtriError:
        suspects = found.suspects() or range(len(batch.clips))
        ids = ", ".join(f"`{batch.clips[n].id}`" for n in suspects[:5])
        return AtriError(
            f"The loss of step {self.progress.step + 1} is not a finite number.",
            why=f"Its batch has the clips {ids}.",
            hint="The last checkpoint is whole. Listen to these clips, or lower `--lr`.",
        )

    def _validate(self) -> None:
        progress = self.progress
        self.model.eval()
        found = dict(self.score(self.model)) if self.score else {"score": float(progress.epoch)}
        self._log({"epoch": progress.epoch, **found})
        if found["score"] > progress.best:
            progress.best, progress.waited = found["score"], 0
            if rank() == 0:
                facts = {"epoch": progress.epoch, **found}
                save_checkpoint(self.out / BEST, state_of(self.model), facts)
        else:
            progress.waited += 1

    def _log(self, entry: Mapping[str, float]) -> None:
        if self.log is not None:
            self.log.add(self.progress.step, entry)

    # Checkpoints

    def _save(self) -> None:
        if rank() != 0:
            return
        tensors = {f"model.{name}": one for name, one in state_of(self.model).items()}
        tensors |= {f"loss.{name}": one for name, one in state_of(self.loss).items()}
        for number, parameter in enumerate(self.trained):
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{number}.{key}"] = value
        facts: Facts = {"plan": asdict(self.plan), "progress": asdict(self.progress)}
        facts["scaler"] = self.scaler.state_dict()
        save_checkpoint(self.out, tensors, facts)

    def _resume(self) -> None:
        found = load_checkpoint(self.out)
        if found is None:
            return
        tensors, facts = found
        missing = [name for name in ("plan", "progress") if not isinstance(facts.get(name), dict)]
        if missing:
            raise damaged(self.out, f"It has no `{missing[0]}`.")
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
        if facts.get("scaler"):
            self.scaler.load_state_dict(facts["scaler"])
        self.progress = Progress(**facts["progress"])

    def _require_same_plan(self, saved: Facts) -> None:
        now = json.loads(json.dumps(asdict(self.plan)))
        changed = [name for name in now if now[name] != saved.get(name) and name != "device"]
        if changed:
            words = ", ".join(f"{name} {saved.get(name)} → {now[name]}" for name in changed)
            raise UsageError(
                f"`{self.out}` holds a run with other settings: {words}.",
                hint="Give the same settings to continue it, or another folder with `--out`.",
            )


def load_best(model: TwoTower, out: Path) -> None:
    """Put the best weights of a run into its model.

    Raises:
        ModelError: there are none, they are damaged, or of another architecture.
    """
    found = load_checkpoint(out / BEST)
    if found is not None:
        fill(model, found[0], out / BEST)


def _whole(plan: TrainPlan, clips: int) -> int:
    """Clips a batch: a multiple of the processes, so that each has as many.

    Raises:
        UsageError: there are more processes than clips in a batch.
    """
    size = min(plan.batch_size, clips) // processes() * processes() if clips else plan.batch_size
    if not size:
        raise UsageError(
            f"A batch of {plan.batch_size} clips cannot be shared by {processes()} processes.",
            hint="Give a larger `--batch-size`.",
        )
    return size


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    chosen = ((name, one) for name, one in tensors.items() if name.startswith(prefix))
    return {name.removeprefix(prefix): one for name, one in chosen}
