"""What a fine-tuning is asked for, and the model that it starts from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from atri_cli.errors import UsageError
from atri_cli.settings import Settings
from train.freezing import Freezing
from train.modeltowers import ModelTowers
from train.opening import open_torch_model
from train.plan import TrainPlan
from train.towers.freezing import checkpoint_blocks


@dataclass(frozen=True)
class Request:
    """What was asked for.

    `data` is empty for the library's own sounds; `model`: see `train.opening`; `threads` None
    leaves torch as it is; `share` of what was learnt in the result, None for what validation likes
    best; `recompute`: blocks run twice (`train.towers.freezing.checkpoint_blocks`); `via`: see
    `train.opening`.

    Raises:
        UsageError: the share is not between 0 and 1.
    """

    plan: TrainPlan
    settings: Settings
    model: str
    out: Path
    cache: Path
    data: tuple[Path, ...] = ()
    freezing: Freezing = field(default_factory=Freezing)
    resume: bool = False
    threads: int | None = None
    tensorboard: bool = False
    share: float | None = None
    recompute: bool = False
    via: str | None = None

    def __post_init__(self) -> None:
        if self.share is not None and not 0 <= self.share <= 1:
            raise UsageError(f"The share cannot be {self.share}.", hint="Give 0 to 1.")


def open_towers(request: Request) -> ModelTowers:
    """The model that a run starts from.

    Raises:
        ModelError: there is no such model, or it cannot be trained.
        UsageError: it has no code for a language of the plan, or not so many blocks to train.
    """
    seed, via = request.plan.seed, request.via
    model = open_torch_model(request.model, request.settings, seed=seed, via=via)
    towers = ModelTowers(model, request.cache, freezing=request.freezing)
    towers.require_languages(request.plan.languages)
    if request.recompute:
        checkpoint_blocks(model.audio)
        checkpoint_blocks(model.text)
    return towers
