"""The audio teacher: EfficientAT mn04 (MIT), loaded for distillation only, never shipped."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from train.towers.audio import BLOCKS, AudioNet


def _rename(key: str) -> str | None:
    """A key of the published checkpoint in the names of `AudioNet`."""
    parts = key.split(".")
    if parts[0] == "classifier":
        return {"2": "hidden.", "5": "classes."}[parts[1]] + parts[2]
    place = int(parts[1])
    if place == 0:
        return ".".join(["stem", *parts[2:]])
    if place == len(BLOCKS) + 1:
        return ".".join(["last", *parts[2:]])
    step, rest = int(parts[3]), parts[4:]
    if rest[0] == "conc_se_layers":
        return ".".join(["blocks", str(place - 1), "squeeze", *rest[2:]])
    spec = BLOCKS[place - 1]
    inputs = 8 if place == 1 else BLOCKS[place - 2].outer
    names = ["expand"] if spec.inner != inputs else []
    names += ["filter", *(["squeeze"] if spec.squeeze else []), "project"]
    return ".".join(["blocks", str(place - 1), names[step], *rest])


def load_teacher(path: Path) -> AudioNet:
    """Read `mn04_as_mAP_432.pt` into an `AudioNet` of the teacher's widths, in eval mode.

    Raises:
        RuntimeError: a key is missing, extra, or of another shape.
    """
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    renamed = {_rename(key): value for key, value in state.items()}
    net = AudioNet()
    net.load_state_dict(renamed, strict=True)
    return net.eval().requires_grad_(False)
