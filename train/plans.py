"""The plans of the stages that train: at full length, or a share of their steps."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from train.align import AlignPlan
from train.distill import DistillPlan
from train.joint import JointPlan
from train.textfit import TextPlan

StagePlan = TypeVar("StagePlan", DistillPlan, TextPlan, AlignPlan, JointPlan)


@dataclass(frozen=True)
class Plans:
    """One of each stage."""

    audio: DistillPlan
    text: TextPlan
    align: AlignPlan
    joint: JointPlan

    @property
    def steps(self) -> dict[str, int]:
        """Stage → its steps, for stages that go on where they were stopped."""
        return {"audio": self.audio.steps, "text": self.text.steps, "joint": self.joint.steps}


def make_plans(seed: int = 0, effort: float = 1.0) -> Plans:
    """The plans of one run.

    Args:
        seed: of every random choice.
        effort: the share of steps that every stage makes, above 0.
    """
    return Plans(
        shortened(DistillPlan(seed=seed), effort),
        shortened(TextPlan(seed=seed), effort),
        shortened(AlignPlan(seed=seed), effort),
        shortened(JointPlan(seed=seed), effort),
    )


def shortened(plan: StagePlan, effort: float) -> StagePlan:
    """The same plan with a share of its steps, at least one of each kind."""
    steps: dict[str, Any] = {
        one.name: max(1, round(getattr(plan, one.name) * effort))
        for one in fields(plan)
        if one.name.endswith("steps")
    }
    return replace(plan, **steps)
