"""`atri train --demo`: the whole way on made-up sounds and words, in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from train.data.load import load_data
from train.data.synthetic import SyntheticTowers, make_synthetic
from train.finetune import Hear
from train.plan import TrainPlan
from train.scoring import evaluate, validation_score
from train.trainer import Trainer, load_best

CLASSES, TAKES = 12, 10


def demo(plan: TrainPlan, settings: Any, folder: Path, hear: Hear) -> dict[str, Any]:
    """Make a world, learn it, measure it; as `Run.start` returns."""
    manifest = make_synthetic(folder / "sounds", CLASSES, TAKES, plan.languages, plan.seed)
    data = load_data((manifest,), settings, plan.languages, folder)
    model = SyntheticTowers(seed=plan.seed)
    before = evaluate(model, data.test, plan.languages)
    plan = replace(plan, batch_size=min(plan.batch_size, 24), lr=3e-3)
    score = validation_score(data.validation, plan.languages)
    trainer = Trainer(model, data.train, plan, folder / "run", score=score)
    trainer.tell = hear(trainer)
    progress = trainer.run()
    load_best(model, folder / "run")
    return {
        "progress": progress,
        "before": before,
        "after": evaluate(model, data.test, plan.languages),
    }
