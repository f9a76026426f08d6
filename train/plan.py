"""What decides the result of a training run, and where it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from atri_cli.errors import RuntimeMissingError, UsageError
from train.types import TwoTower

DEVICES = ("auto", "cpu", "cuda")
OPTIMIZERS = ("adamw", "adam")
SCHEDULES = ("cosine", "linear", "constant")
LOW_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = ("fp32", *LOW_PRECISION)
LOWEST_TAU = 0.01  # as in CLIP: a learned temperature below it makes gradients unstable


@dataclass(frozen=True)
class TrainPlan:
    """Everything that decides the result of a run.

    Args:
        loss: as `train.losses.get_loss` reads it.
        languages: tags in order; the first English one is the anchor, else the first.
        epochs: at most so many.
        batch_size: clips a step, those of all processes together.
        lr: the highest learning rate.
        weight_decay: of matrices; biases, gains and the temperature have none.
        warmup: share of the steps in which the rate rises.
        clip_norm: the gradient's norm is held to it.
        chunk: rows encoded at a time (`train.gradcache`); None for all.
        patience: epochs without a better score that end the run; 0 for never.
        seed: of every random choice.
        optimizer: `adamw` or `adam`.
        schedule: how the rate falls after the warm-up: `cosine` or `linear` to 0, or `constant`.
        tau: temperature at the start; None for the model's own.
        learn_tau: whether it is learned; it then stays at 0.01 or above.
        precision: of the towers: `fp32`, and on CUDA `bf16` or `fp16`. Weights and loss are fp32.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        UsageError: a value that makes no sense.
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
    optimizer: str = "adamw"
    schedule: str = "cosine"
    tau: float | None = None
    learn_tau: bool = False
    precision: str = "fp32"
    device: str = "auto"

    def __post_init__(self) -> None:
        lowest_tau = LOWEST_TAU if self.learn_tau else 1e-4
        for name, fine, wanted in (
            ("languages", bool(self.languages), "at least one"),
            ("epochs", self.epochs >= 1, "1 or more"),
            ("batch_size", self.batch_size >= 2, "2 or more: a clip is told from others"),
            ("lr", 0 < self.lr < math.inf, "above 0"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more"),
            ("warmup", 0 <= self.warmup <= 1, "between 0 and 1"),
            ("clip_norm", self.clip_norm > 0, "above 0"),
            ("chunk", self.chunk is None or self.chunk >= 1, "1 or more"),
            ("patience", self.patience >= 0, "0 or more"),
            ("seed", self.seed >= 0, "0 or more"),
            ("optimizer", self.optimizer in OPTIMIZERS, _one_of(OPTIMIZERS)),
            ("schedule", self.schedule in SCHEDULES, _one_of(SCHEDULES)),
            ("tau", self.tau is None or lowest_tau <= self.tau <= 100, f"{lowest_tau:g} to 100"),
            ("precision", self.precision in PRECISIONS, _one_of(PRECISIONS)),
            ("device", self.device in DEVICES, _one_of(DEVICES)),
        ):
            if not fine:
                shown = name.replace("_", " ")
                raise UsageError(
                    f"The {shown} cannot be {getattr(self, name)}.", hint=f"Give {wanted}."
                )

    @property
    def anchor(self) -> int:
        """Number of the anchor language."""
        return next((k for k, tag in enumerate(self.languages) if tag.split("-")[0] == "en"), 0)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step, counted from 0, of a run of `steps`."""
        rise = round(self.warmup * steps)
        if step < rise:
            return self.lr * (step + 1) / rise
        done = (step - rise) / max(1, steps - rise)
        shares = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done}
        return self.lr * shares.get(self.schedule, 1.0)


def _one_of(names: tuple[str, ...]) -> str:
    return "one of " + ", ".join(f"`{name}`" for name in names)


def choose_device(asked: str, precision: str = "fp32") -> tuple[torch.device, str]:
    """Where to train, and why there.

    Raises:
        RuntimeMissingError: CUDA is asked for and not there.
        UsageError: a low precision on the CPU.
    """
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        built = torch.version.cuda is not None
        raise RuntimeMissingError(
            "There is no CUDA device to train on.",
            why="torch finds no GPU." if built else "This torch is built without CUDA.",
            hint="Leave out `--device cuda` to train on the CPU.",
        )
    if there and asked != "cpu":
        name = torch.cuda.get_device_name()
        memory = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        why = f"{name}, {memory / 1e9:.0f} GB"
        return torch.device("cuda", torch.cuda.current_device()), why
    if precision != "fp32":
        raise UsageError(
            f"`{precision}` is for CUDA, and this run is on the CPU.", hint="Use `fp32`."
        )
    why = "as asked" if asked == "cpu" else "torch finds no CUDA device"
    return torch.device("cpu"), f"{why}, {torch.get_num_threads()} threads"


def prepare(model: TwoTower, plan: TrainPlan) -> tuple[torch.device, str]:
    """Bring the model to the plan's device and temperature; device, and why there.

    Raises:
        RuntimeMissingError: see `choose_device`.
        UsageError: nothing in the towers is to be trained, or see `choose_device`.
    """
    device, why = choose_device(plan.device, plan.precision)
    if not any(one.requires_grad for one in model.parameters() if one is not model.log_tau):
        raise UsageError("Every part of the model is frozen.", hint="Try `--freeze towers`.")
    model.to(device)
    model.log_tau.requires_grad_(plan.learn_tau)
    if plan.tau is not None:
        model.log_tau.data.fill_(math.log(plan.tau))
    return device, why
