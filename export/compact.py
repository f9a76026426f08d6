"""Smaller ONNX files without changing what they compute more than stated."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from train.towers.text import TextNet

BLOCK = 32
KEEP_FLOAT32 = ("mel.",)
SMALLEST = 4096


class PackedTable(nn.Module):
    """An embedding table in 4 bits: two codes a byte, one scale for 32 values.

    multilingual-e5-small reached this project in that very form and the table stays frozen in
    training, so packing it again loses nothing.
    """

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        rows, width = table.shape
        blocks = table.reshape(rows, width // BLOCK, BLOCK)
        extreme = blocks.gather(2, blocks.abs().argmax(2, keepdim=True))
        scale = extreme / -8.0
        codes = (blocks / torch.where(scale == 0, torch.ones(()), scale) + 8).round().clamp(0, 15)
        codes = codes.to(torch.uint8).reshape(rows, width)
        self.register_buffer("packed", codes[:, 0::2] + codes[:, 1::2] * 16)
        self.register_buffer("scale", scale[:, :, 0].half())
        self.packed: Tensor
        self.scale: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        """int64 [batch, tokens] → float32 [batch, tokens, width]."""
        pairs = self.packed[ids].to(torch.int32)
        codes = torch.stack([pairs % 16, pairs // 16], dim=-1).flatten(-2).float() - 8.0
        blocks = torch.unflatten(codes, -1, (-1, BLOCK)) * self.scale[ids].float()[..., None]
        return blocks.flatten(-2)


def pack_embedding(net: TextNet, tolerance: float = 1e-3) -> None:
    """Replace the token table of a text tower by its packed form, in place.

    Raises:
        ValueError: the table has no exact 4-bit form (it was trained).
    """
    packed = PackedTable(net.tokens.weight.detach())
    sample = torch.arange(len(net.tokens.weight))[None]
    difference = float((packed(sample)[0] - net.tokens.weight).abs().max().detach())
    if difference > tolerance:
        raise ValueError(f"the token table is not 4-bit: packing changes it by {difference:.1e}")

    def embed(ids: Tensor) -> Tensor:
        """As `TextNet.embed`, from the packed table."""
        found: Tensor = net.embedding_norm(packed(ids) + net.positions.weight[: ids.shape[1]])
        return found

    net.embed = embed  # type: ignore[method-assign]


def store_float16(path: Path) -> None:
    """Keep large weights as float16 with a cast in front; runtimes fold it when loading."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model: Any = onnx.load(path)
    graph = model.graph
    for tensor in filter(_can_be_halved, list(graph.initializer)):
        half = numpy_helper.to_array(tensor).astype(np.float16)
        short = tensor.name + ".half"
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(half, short))
        cast = helper.make_node("Cast", [short], [tensor.name], to=TensorProto.FLOAT)
        graph.node.insert(0, cast)
    onnx.save(model, path)


def _can_be_halved(tensor: Any) -> bool:
    """Large float32 weights, but not the front end: a logarithm follows it."""
    from onnx import TensorProto

    large = tensor.data_type == TensorProto.FLOAT and math.prod(tensor.dims) >= SMALLEST
    return large and not any(part in tensor.name for part in KEEP_FLOAT32)


def weights_int8(source: Path, target: Path, block: int = 32, activations: int = 4) -> None:
    """Matrix products with 8-bit weights in blocks.

    Args:
        source, target: ONNX files.
        block: weights that share a scale.
        activations: onnxruntime's accuracy level: 1 computes in float32, 4 in int8 with a scale
            for each block, which is several times faster and nearly as exact.
    """
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )

    config = DefaultWeightOnlyQuantConfig(
        block_size=block, is_symmetric=True, accuracy_level=activations, bits=8
    )
    quantizer = MatMulNBitsQuantizer(onnx.load(source), algo_config=config)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), use_external_data_format=False)


def weights_outside(path: Path) -> Path:
    """Move the weights into `<name>.data` beside the graph, from where runtimes map them.

    Loading atri-mini's text tower for the first time in a process then takes 45 ms, not 76.

    Returns:
        The file of weights.
    """
    import onnx

    data = path.with_name(path.name + ".data")
    data.unlink(missing_ok=True)  # onnx appends
    onnx.save_model(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location=data.name,
        size_threshold=1024,
    )
    return data
