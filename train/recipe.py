"""The recipe of atri-mini as a run: its plan, what that lacks, and its stages."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from atri_cli.encoders.card import ModelCard
from atri_cli.encoders.registry import find_model
from atri_cli.errors import AtriError, UsageError
from atri_cli.settings import load_settings
from train.phrases import CORE
from train.sources import read_sources
from train.stages import BY_NAME, NAMES, STAGES, Stage, is_done, is_there, lacks, last_step

LOSS = "kcl, and what the teacher hears (train/align.py)"
ALL = "all"
RUN_FILE = "run.json"
TOWERS = ("audio", "text")

Facts = list[tuple[str, str]]


@dataclass(frozen=True)
class Plan:
    """One run: what was asked for, with everything left open decided.

    Args:
        data, sounds: folders of the recipe; None when not named.
        work: folder of caches, checkpoints and the result.
        stages: to run, in order.
        threads: of torch.
        threads_why: where that number comes from.
        seed: of every random choice.
        again: whether stages that are done run all the same.
        start: the installed model to learn on from.
        effort: the share of steps that every stage makes.
        towers: the installed model whose towers stand in for the stages `audio` and `text`.
    """

    data: Path | None
    sounds: Path | None
    work: Path
    stages: tuple[Stage, ...]
    threads: int
    threads_why: str
    seed: int
    again: bool
    start: ModelCard | None = None
    effort: float = 1.0
    towers: ModelCard | None = None

    @property
    def facts(self) -> dict[str, float | str]:
        """What makes it another run when it is different."""
        start = {"start": self.start.name} if self.start else {}
        effort = {"effort": self.effort} if self.effort != 1.0 else {}
        towers = {"towers": self.towers.name} if self.towers else {}
        return {"seed": self.seed, **start, **effort, **towers}


def make_plan(
    *,
    data: Path | None,
    sounds: Path | None,
    work: Path,
    stage: str = ALL,
    threads: int | None = None,
    seed: int = 0,
    start: str | None = None,
    effort: float = 1.0,
    towers: str | None = None,
) -> Plan:
    """Check the options and decide what they leave open.

    Raises:
        UsageError: a stage that does not exist, or no effort.
        AtriError: the work folder holds another run.
        ModelError: there is no model `start` or `towers`.
    """
    if stage not in (*NAMES, ALL):
        names = ", ".join(f"`{name}`" for name in (*NAMES, ALL))
        raise UsageError(f"There is no stage `{stage}`.", hint=f"The stages are: {names}.")
    if not 0 < effort < math.inf:
        raise UsageError(
            f"`--effort {effort:g}` is no share of steps.", hint="Write `--effort 0.25`, say."
        )
    number, why = _threads(threads)
    stages = STAGES if stage == ALL else (BY_NAME[stage],)
    first, put = (find_model(name, load_settings()) if name else None for name in (start, towers))
    plan = Plan(data, sounds, work, stages, number, why, seed, stage != ALL, first, effort, put)
    _check_work(work, plan.facts)
    return plan


def _check_work(work: Path, facts: dict[str, float | str]) -> None:
    """A work folder belongs to one run: results of two would be mixed without a word."""
    file = work / RUN_FILE
    if not file.is_file():
        return
    found = json.loads(file.read_text(encoding="utf-8"))
    if found != facts:
        options = " ".join(f"--{name} {value}" for name, value in found.items())
        raise AtriError(
            f"`{work}` holds a run with `{options}`.",
            hint="Give the same options to continue it, or another folder with `--work DIR`.",
        )


def _threads(asked: int | None) -> tuple[int, str]:
    if asked is not None:
        return asked, "as asked"
    allowed = getattr(os, "sched_getaffinity", None)
    count = len(allowed(0)) if allowed else os.cpu_count() or 1
    return count, "one for each core this process may use; give fewer when others are at work"


def missing(plan: Plan) -> list[AtriError]:
    """What the stages that are still to be done cannot find."""
    todo = [
        s for s in plan.stages if not _is_put(plan, s) and (plan.again or not _is_done(plan, s))
    ]
    return list(lacks(todo, plan.data, plan.sounds, plan.work))


def describe(plan: Plan) -> Facts:
    """The plan for people: name and value of each line."""
    stages = [(stage.name, f"{stage.does}: {_state(plan, stage)}") for stage in plan.stages]
    return [
        ("loss", LOSS),
        ("data", str(plan.data or "not named")),
        ("sounds", f"{plan.sounds or 'not named'}{_recordings(plan)}"),
        ("languages", f"{', '.join(CORE)}; more of them in the text tower"),
        ("work", str(plan.work)),
        ("threads", f"{plan.threads}: {plan.threads_why}"),
        ("seed", str(plan.seed)),
        *([("effort", f"{plan.effort:g} of all steps")] if plan.effort != 1.0 else []),
        *stages,
        ("result", str(plan.work / "model")),
    ]


def _recordings(plan: Plan) -> str:
    """How many of the recordings in the tables are on disk."""
    if plan.data is None or plan.sounds is None:
        return ""
    try:
        found = read_sources(plan.data, plan.sounds)
    except FileNotFoundError:
        return ""
    held = sum(source.validation for source in found)
    hours = sum(source.seconds for source in found) / 3600
    return f": {len(found) - held:,} recordings to learn from, {held:,} held out, {hours:.1f} h"


def _steps(plan: Plan, stage: Stage) -> int:
    """Steps of a stage that counts them, else 0."""
    from train.plans import make_plans

    return make_plans(plan.seed, plan.effort).steps.get(stage.name, 0)


def _is_done(plan: Plan, stage: Stage) -> bool:
    return is_done(stage, plan.work, _steps(plan, stage))


def _is_put(plan: Plan, stage: Stage) -> bool:
    """Whether an installed model's tower stands in for the stage."""
    return plan.towers is not None and stage.name in TOWERS


def _state(plan: Plan, stage: Stage) -> str:
    steps, begun = _steps(plan, stage), last_step(stage, plan.work)
    if _is_done(plan, stage):
        return "done, runs again" if plan.again else "done"
    if plan.towers and _is_put(plan, stage):
        return f"that of {plan.towers.name}"
    if stage.grows and is_there(stage, plan.work):
        return "adds what is missing"
    if 0 < begun < steps:
        return f"goes on after step {begun:,} of {steps:,}"
    return f"to do, {steps:,} steps" if steps else "to do"


def start(plan: Plan) -> Facts:
    """Run the stages; what they report goes to stderr.

    Returns:
        Where the results are, by name.

    Raises:
        AtriError: something is missing; nothing was begun.
    """
    for error in missing(plan):
        raise error
    plan.work.mkdir(parents=True, exist_ok=True)
    (plan.work / RUN_FILE).write_text(json.dumps(plan.facts) + "\n", encoding="utf-8")
    with contextlib.redirect_stdout(sys.stderr):
        _run(plan)
    results = {"model": plan.work / "model", "validation": plan.work / "validation.json"}
    return [(name, str(path)) for name, path in results.items() if path.exists()]


def _run(plan: Plan) -> None:
    import torch

    from train.mini import Recipe, put_towers

    torch.set_num_threads(plan.threads)
    if plan.towers and not is_there(BY_NAME["text"], plan.work):
        put_towers(plan.towers, plan.work)
    data, sounds = plan.data or Path(), plan.sounds or Path()
    recipe = Recipe(data, sounds, plan.work, plan.seed, start=plan.start, effort=plan.effort)
    for stage in plan.stages:
        if not plan.again and _is_done(plan, stage):
            print(f"stage {stage.name}: done", flush=True)
        else:
            print(f"stage {stage.name}: {stage.does}", flush=True)
            getattr(recipe, stage.name)()
