"""Torch towers → the two ONNX files of a model, checked against torch before they are kept."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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
    program.save(str(path))


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


def run_onnx(path: Path, feeds: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    """One run on the CPU with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    rows: NDArray[np.float32] = session.run(["embedding"], feeds)[0]
    return rows


def compare(
    path: Path, module: nn.Module, feeds: Sequence[dict[str, Tensor]]
) -> tuple[float, float]:
    """Largest difference and smallest cosine between torch and ONNX over `feeds`."""
    worst, lowest = 0.0, 1.0
    for feed in feeds:
        with torch.no_grad():
            wanted = module(*feed.values()).numpy()
        found = run_onnx(path, {name: value.numpy() for name, value in feed.items()})
        worst = max(worst, float(np.abs(found - wanted).max()))
        lowest = min(lowest, float((found * wanted).sum(1).min()))
    return worst, lowest


def require_agreement(name: str, found: tuple[float, float], most: float, cosine: float) -> None:
    """Let pass what differs by at most `most` and has a cosine of at least `cosine`.

    Raises:
        DisagreementError: it does not, or is NaN.
    """
    worst, lowest = found
    if not (worst <= most and lowest >= cosine):
        raise DisagreementError(
            f"{name}: ONNX differs from torch by {worst:.2e} (allowed {most:.0e}), "
            f"cosine {lowest:.6f} (at least {cosine})"
        )


def quantise(source: Path, target: Path) -> None:
    """int8 weights for matrix products and embedding tables; activations stay dynamic."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul", "Gemm", "Gather"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
