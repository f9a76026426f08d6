"""What `atri train` does: describe sounds, fine-tune a model on them, say what that changed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atri_cli.audio.quiet import native_stderr_silenced
from atri_cli.errors import AtriError, ModelError, UsageError
from train.checkpoints import FACTS
from train.data.load import Data, load_data
from train.disk import RESUME, saving, write_json
from train.gather import join_processes, leave_processes, rank, wait_for_all
from train.interpolate import SHARES, best_share, weights_of
from train.losses import LOSSES, get_loss
from train.memory import estimate
from train.opening import MODEL
from train.plan import TrainPlan, choose_device
from train.request import Request, open_towers
from train.scoring import evaluate, validation_score
from train.torchmodel import save_torch_model
from train.towers.freezing import count_parameters
from train.trainer import Progress, Score, Trainer, load_best
from train.types import Tell

RUN = "run.json"
Pairs = list[tuple[str, str]]
Hear = Callable[[Trainer], Callable[[Progress], None]]


class Run:
    """One fine-tuning, ready to begin.

    Raises:
        AtriError: nothing to learn from.
        UsageError: another run lies in the folder, or there is none to resume.
        ModelError: the model cannot be trained.
    """

    def __init__(self, request: Request, tell: Tell = lambda *_: None) -> None:
        join_processes()
        if request.threads:
            torch.set_num_threads(request.threads)
        self.request, self.plan = request, request.plan
        get_loss(self.plan.loss)
        self.device, self.device_why = choose_device(self.plan.device, self.plan.precision)
        self.towers = open_towers(request)
        self.towers.to(self.device)
        found = load_data(request.data, request.settings, self.plan.languages, request.cache)
        self.data = self._readable(found, tell)
        self._check_folder()
        wait_for_all()

    def _readable(self, found: Data, tell: Tell) -> Data:
        """The clips whose sound can be read."""
        with native_stderr_silenced():
            kept, problems = self.towers.prepare(found.all, tell)
        for error in problems:
            reason = f"cannot be read ({error.reason})"
            found.without[reason] = found.without.get(reason, 0) + 1
        ids = {clip.id for clip in kept}
        for name in ("train", "validation", "test"):
            setattr(found, name, [clip for clip in getattr(found, name) if clip.id in ids])
        if len(found.train) < 2:
            raise AtriError(
                "None of the described sounds can be read.",
                why=str(problems[0]) if problems else "",
            )
        return found

    # The plan, for people

    def facts(self) -> Pairs:
        """Everything a run will do, before it does."""
        data, plan, towers = self.data, self.plan, self.towers
        trained, frozen = count_parameters(towers)
        captions = {
            tag: sum(bool(c.captions.get(tag)) for c in data.train) for tag in plan.languages
        }
        steps = max(1, len(data.train) // plan.batch_size) * plan.epochs
        sources = ", ".join(f"{count:,} by {name}" for name, count in data.sources.items())
        found = [
            ("loss", _loss_words(plan)),
            ("data", data.origin),
            ("clips", self._split_words()),
            ("captions", sources),
            *((("left out", f"{n:,} {reason}")) for reason, n in data.without.items()),
            ("languages", ", ".join(f"{tag} {count:,}" for tag, count in captions.items())),
            ("model", f"{self.towers.model.card.name}, vectors of {towers.dim} numbers"),
            ("trained", f"{trained:,} parameters of {trained + frozen:,}{self._frozen_words()}"),
            ("memory", self._memory_words()),
            ("device", f"{self.device}: {self.device_why}"),
            ("steps", f"{steps:,} of {min(plan.batch_size, len(data.train))} clips in "
                      f"{plan.epochs} epochs, seed {plan.seed}"),
            ("result", str(self.request.out / MODEL)),
        ]  # fmt: skip
        return found

    def _split_words(self) -> str:
        counts = [len(part) for part in (self.data.train, self.data.validation, self.data.test)]
        names = ("to learn from", "for validation", "held out to the end")
        return ", ".join(f"{n:,} {name}" for n, name in zip(counts, names, strict=True))

    def _frozen_words(self) -> str:
        freezing = self.towers.freezing
        words = {"all": "frozen but for its head", "none": "trained as a whole"}
        said = [
            f"{name} {words.get(str(how), f'trained from its last {how} blocks on')}"
            for name, how in (("audio", freezing.audio), ("text", freezing.text))
        ]
        return f" ({', '.join(said)})"

    def _memory_words(self) -> str:
        size = estimate(self.towers, self.plan, self.data.train)
        return f"about {size / 1e6:,.0f} MB for a step with {len(self.plan.languages)} languages"

    def warnings(self) -> list[str]:
        """What will make the result worse than it could be."""
        data, found = self.data, []
        spoken = [
            tag for tag in self.plan.languages if any(c.captions.get(tag) for c in data.train)
        ]
        if len(spoken) == 1:
            found.append(
                f"All captions are in `{spoken[0]}`: nothing teaches the other languages to agree."
            )
        if not data.validation:
            found.append("No clip is left for validation: the last weights are taken as the best.")
        return found

    # The run

    def _check_folder(self) -> None:
        out = self.request.out
        now = {
            "model": self.towers.model.card.name,
            "freeze": [str(self.request.freezing.audio), str(self.request.freezing.text)],
            "data": self.data.digest,
        }
        self.identity = now
        if not (out / FACTS).exists():
            if self.request.resume:
                raise UsageError(
                    f"There is no run to resume in `{out}`.", hint="Leave out `--resume` to begin."
                )
            return
        if not self.request.resume:
            raise UsageError(
                f"`{out}` holds a run already.",
                hint="Go on with it by `--resume`, or give another folder with `--out`.",
            )
        before = _run_facts(out)
        changed = [name for name in now if now[name] != before.get(name)]
        if changed:
            raise UsageError(
                f"The run in `{out}` cannot go on: another {' and '.join(changed)} than it began "
                "with.",
                hint="Give it what it began with, or another folder with `--out`.",
            )

    def start(self, hear: Hear) -> dict[str, Any]:
        """Train, keep the best weights as a model folder, compare before and after.

        Args:
            hear: makes of the trainer what hears of every step.

        Returns:
            `progress`; `share` of what was learnt in the result (`train.interpolate`); `before` and
            `after`: retrieval on the held-out clips (None without).

        Raises:
            AtriError: the loss is not finite, or the disk is full; the last checkpoint is whole.
        """
        out, towers, plan = self.request.out, self.towers, self.plan
        if rank() == 0:
            with saving("the run", out):
                write_json(out / RUN, self.identity)
        held = self.data.test or self.data.validation
        before = evaluate(towers, held, plan.languages) if held else None
        begin = weights_of(towers)
        score = validation_score(self.data.validation, plan.languages)
        trainer = Trainer(
            towers,
            self.data.train,
            plan,
            out,
            score=score,
            tensorboard=self.request.tensorboard,
        )
        trainer.tell = hear(trainer)
        progress = trainer.run()
        wait_for_all()
        load_best(towers, out)
        share = self._mixed(begin, score)
        after = evaluate(towers, held, plan.languages) if held else None
        if rank() == 0:
            self._save(after)
        leave_processes()
        return {"progress": progress, "share": share, "before": before, "after": after}

    def _mixed(self, begin: dict[str, Tensor], score: Score | None) -> float:
        """Bring back some of what was before; the share of what was learnt."""
        towers, asked = self.towers, self.request.share
        shares = SHARES if asked is None else (asked,)
        if score is None and asked is None:
            return 1.0
        return best_share(towers, begin, lambda: score(towers)["score"] if score else 0, shares)

    def _save(self, after: dict[str, Any] | None) -> None:
        model, folder = self.towers.cpu().model, self.request.out / MODEL
        quality = {}
        if after:
            quality["held out"] = (
                f"R@10 {after['t2a']['mean']['r10']:.2f} of {after['queries']} queries in "
                f"{len(after['t2a']['languages'])} languages over {after['clips']} sounds"
            )
        made = replace(model, trained=True).called(
            name=self.request.out.name,
            revision=f"{model.card.revision}+{self.plan.loss}",
            quality=quality,
        )
        with saving("the model", folder, RESUME):
            save_torch_model(made, folder)


def _loss_words(plan: TrainPlan) -> str:
    does = "; ".join(LOSSES[name] for name, _ in get_loss(plan.loss).terms)
    tau = "learned" if plan.learn_tau else "fixed"
    return f"{plan.loss}: {does}; temperature {plan.tau or 0.07:g}, {tau}"


def _run_facts(out: Path) -> dict[str, Any]:
    """What the run in a folder began with."""
    try:
        facts = json.loads((out / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        facts = error
    if not isinstance(facts, dict):
        raise ModelError(
            f"The run in `{out}` is damaged.",
            why=f"`{RUN}`: {facts}.",
            hint="Delete it to begin anew, or give another folder with `--out`.",
        )
    return facts


def comparison(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What a run changed on held-out clips: measure, before, after."""
    before, after = found["before"], found["after"]
    if not before or not after:
        return []
    rows = []
    for way, title in (("t2a", "text to audio"), ("a2t", "audio to text")):
        for name, words in (("r1", "R@1"), ("r10", "R@10"), ("map10", "mAP@10")):
            values = [one[way]["mean"][name] for one in (before, after)]
            rows.append((f"{title} {words}", *(f"{value:.3f}" for value in values)))
        values = [one[way]["mrv"]["normalised"] for one in (before, after)]
        shown = ["-" if math.isnan(value) else f"{value:.4f}" for value in values]
        rows.append((f"{title} MRV / random", shown[0], shown[1]))
    return [(row[0], row[1], row[2]) for row in rows]
