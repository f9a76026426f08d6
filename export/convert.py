"""Torch towers → the two ONNX files of a model, checked against torch before they are kept."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.checks import Feed

LONGEST_SAMPLES = 30 * 48_000


class DisagreementError(RuntimeError):
    """The ONNX graph does not give what torch gives."""


def to_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    inputs: Sequence[str],
    dynamic: tuple[dict[int, Any], ...],
) -> None:
    """Export through torch.export; the output is `embedding`.

    Args:
        module: the tower; it is put into eval mode.
        example: one tensor an input, of sizes that no dynamic dimension forbids.
        path: the ONNX file to write.
        inputs: their names.
        dynamic: for each input, its dynamic dimensions.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names packages it does not need
    with warnings.catch_warnings():
        # torch warns of its own use of what it is about to change, and that dimensions which must
        # be equal, such as those of ids and mask, get one name.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", "# The axis name", UserWarning)
        program = torch.onnx.export(
            module.eval(),
            example,
            input_names=list(inputs),
            output_names=["embedding"],
            dynamic_shapes=dynamic,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    program.save(str(path), external_data=True)


def export_audio(
    tower: nn.Module, path: Path, min_samples: int, max_samples: int = LONGEST_SAMPLES
) -> None:
    """`waveform` float32 [batch, samples] → `embedding` float32 [batch, dim].

    CED and Dasheng export up to `patching.longest_samples`, what they hear in one go.
    """
    batch = torch.export.Dim("batch", min=1, max=64)
    samples = torch.export.Dim("samples", min=min_samples, max=max_samples)
    example = (torch.randn(2, min_samples * 2 + 321) * 0.1,)
    to_onnx(tower, example, path, ["waveform"], ({0: batch, 1: samples},))


def export_text(tower: nn.Module, path: Path, max_tokens: int) -> None:
    """`input_ids`, `attention_mask` int64 [batch, tokens] → `embedding` float32 [batch, dim]."""
    batch = torch.export.Dim("batch", min=1, max=512)
    tokens = torch.export.Dim("tokens", min=2, max=max_tokens)
    ids = torch.arange(21).reshape(3, 7) % 4
    shape = {0: batch, 1: tokens}
    names = ["input_ids", "attention_mask"]
    to_onnx(tower, (ids, torch.ones_like(ids)), path, names, (shape, shape))


def open_session(path: Path) -> Any:
    """A session on the CPU with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


@dataclass(frozen=True)
class Agreement:
    """Largest difference and smallest cosine between torch and ONNX on one input."""

    name: str
    difference: float
    cosine: float


@dataclass(frozen=True)
class Agreements:
    """Of one tower, on all inputs."""

    items: tuple[Agreement, ...]

    @property
    def difference(self) -> float:
        """The largest; NaN if any is."""
        return float(np.max([item.difference for item in self.items]))

    @property
    def cosine(self) -> float:
        """The smallest; NaN if any is."""
        return float(np.min([item.cosine for item in self.items]))

    @property
    def mean_cosine(self) -> float:
        """Over all inputs."""
        return float(np.mean([item.cosine for item in self.items]))

    @property
    def worst(self) -> Agreement:
        """The input on which they are furthest apart; one that gave NaN comes first."""

        def near(item: Agreement) -> float:
            value = item.cosine - item.difference
            return -math.inf if math.isnan(value) else value

        return min(self.items, key=near)


@torch.no_grad()
def vectors(module: nn.Module, feeds: Sequence[Feed]) -> list[NDArray[np.float32]]:
    """What torch makes of each input."""
    return [module(*feed.inputs.values()).numpy() for feed in feeds]


def compare(path: Path, wanted: Sequence[NDArray[np.float32]], feeds: Sequence[Feed]) -> Agreements:
    """An ONNX file against what torch makes of the same inputs; both give unit vectors."""
    session = open_session(path)
    items = []
    for feed, right in zip(feeds, wanted, strict=True):
        given = {name: value.numpy() for name, value in feed.inputs.items()}
        found = session.run(["embedding"], given)[0]
        cosines = (found.astype(np.float64) * right).sum(1)
        items.append(Agreement(feed.name, float(np.abs(found - right).max()), float(cosines.min())))
    return Agreements(tuple(items))


def require_agreement(name: str, found: Agreements, most: float, cosine: float) -> None:
    """Let pass what differs by at most `most` and has a cosine of at least `cosine`.

    Raises:
        DisagreementError: it does not, or is NaN; names the worst input.
    """
    if not (found.difference <= most and found.cosine >= cosine):
        raise DisagreementError(
            f"{name}: ONNX differs from torch by {found.difference:.2e} (allowed {most:.0e}), "
            f"cosine {found.cosine:.6f} (at least {cosine}), worst on `{found.worst.name}`"
        )
