"""The audio teacher: EfficientAT mn04 (MIT), loaded for distillation only, never shipped."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from train.towers.audio import BLOCKS, STEM, AudioNet


def _rename(key: str) -> str:
    """A key of the published checkpoint in the names of `AudioNet`.

    Published: `features.PLACE…` (stem, blocks, last convolution) and `classifier.PLACE…`.
    """
    parts = key.split(".")
    if parts[0] == "classifier":
        return {"2": "hidden.", "5": "classes."}[parts[1]] + parts[2]
    place = int(parts[1])
    if 0 < place <= len(BLOCKS):
        return ".".join(["blocks", str(place - 1), *_rename_step(place - 1, parts[3:])])
    return ".".join(["stem" if place == 0 else "last", *parts[2:]])


def _rename_step(block: int, parts: list[str]) -> list[str]:
    """Within a block: a step's number and the rest of the key, to the step's name and the rest."""
    if parts[1] == "conc_se_layers":
        return ["squeeze", *parts[3:]]
    spec = BLOCKS[block]
    inputs = BLOCKS[block - 1].outer if block else STEM
    names = ["expand"] if spec.inner != inputs else []
    names += ["filter", *(["squeeze"] if spec.squeeze else []), "project"]
    return [names[int(parts[0])], *parts[1:]]


def load_teacher(path: Path) -> AudioNet:
    """Read `mn04_as_mAP_432.pt` into an `AudioNet` of the teacher's widths, in eval mode.

    Raises:
        FileNotFoundError: no such file.
        RuntimeError: a key is missing, extra, or of another shape.
    """
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    renamed = {_rename(key): value for key, value in state.items()}
    net = AudioNet()
    net.load_state_dict(renamed, strict=True)
    return net.eval().requires_grad_(False)
