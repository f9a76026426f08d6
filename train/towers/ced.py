"""The CED audio encoder (Dinkel et al., arXiv 2308.11957), in the keys of its checkpoints.

A vision transformer without class token over patches of 16 mel bands by 16 frames. Written from
the paper and the shapes of the published weights (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from atri_cli.errors import ModelError
from train.towers.layouts import fill, read_weights
from train.towers.patches import UNUSED, Patching, PatchTower, TowerShape

CedShape = TowerShape
CED_SHAPES = {
    "tiny": CedShape(192, 3),
    "mini": CedShape(256, 4),
    "small": CedShape(384, 6),
    "base": CedShape(768, 12),
}


class Ced(PatchTower):
    """Waveform float32 [batch, samples] at 16 kHz → embedding [batch, width], not of unit length.

    A clip of less than 2400 samples (one patch) is filled up with zeros. One of more than 161,919
    is heard through windows of 10 s (`PatchTower`).
    """

    patching = Patching(bands=16, frames=16, longest=1012)


def load_ced(path: Path, shape: CedShape | None = None) -> Ced:
    """The encoder of an official checkpoint, in eval mode; its size is read from the weights.

    Layouts: `audiotransformer_*.pt`, and the port for transformers, which puts `encoder.` before
    the keys. The tagging head and the front end's own tables are left out.

    Raises:
        ModelError: unreadable, or not an encoder of this shape; names the key.
    """
    weights = _official(read_weights(path))
    shape = shape or _shape_of(weights, path)
    with torch.device("meta"):
        net = Ced(shape)
    return fill(net, weights, path).eval()


def _official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the keys of the first publication, less what is not used."""
    found = {}
    for key, value in weights.items():
        name = key.removeprefix("encoder.")
        if name.startswith("init_bn.") and not name.startswith("init_bn.1."):
            name = name.replace("init_bn.", "init_bn.1.", 1)
        if not name.startswith(UNUSED):
            found[name] = value
    return found


def _shape_of(weights: Mapping[str, Tensor], path: Path) -> CedShape:
    """The published size of this width; the largest when the key that tells it is missing."""
    if "norm.weight" not in weights:
        return CED_SHAPES["base"]
    width = weights["norm.weight"].numel()
    found = [shape for shape in CED_SHAPES.values() if shape.width == width]
    if not found:
        widths = ", ".join(f"{shape.width} ({name})" for name, shape in CED_SHAPES.items())
        why = f"`norm.weight` has {width} values; CED has {widths}."
        raise ModelError(f"`{path}` is no published size of CED.", why=why)
    return found[0]
