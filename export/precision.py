"""ONNX files in a lower precision, one weight at a time: a graph of 3 GB never lies in memory.

- `fp16`: large weights are stored as float16 and computed with in float32.
- `int8`: matrices in 8 bits with a scale for 32 weights of one output, which ONNX Runtime
  multiplies as they are (`MatMulNBits`); token tables in 8 bits with a scale for a row; what is
  left, such as convolutions, as float16.

Weights end up in `<name>.data` beside the graph, from where runtimes map them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

PRECISIONS = ("fp32", "fp16", "int8")
BLOCK = 32
ROWS = 4096
SMALLEST = 4096  # values of a weight that is worth it
INLINE = 1024  # bytes of a weight that stays in the graph
PAGE = 4096
FRONT_END = ("mel.",)  # a logarithm follows it: stays in float32
DOMAIN = "com.microsoft"

Array = NDArray[Any]


def lower(source: Path, target: Path, precision: str) -> None:
    """Write `target` and `target`.data: the graph of `source` in another precision.

    Args:
        source: ONNX file in float32; its weights may lie in files beside it.
        target: ONNX file to write, in another folder.
        precision: one of `PRECISIONS`.
    """
    import onnx

    model: Any = onnx.load(source, load_external_data=False)
    with target.with_name(f"{target.name}.data").open("wb") as data:
        _Lowering(model.graph, source.parent, data, precision).run()
        outside = data.tell()
    if not outside:
        target.with_name(f"{target.name}.data").unlink()
    if precision == "int8" and all(one.domain != DOMAIN for one in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    onnx.save(model, target)


class _Lowering:
    """One graph while its weights are written anew."""

    def __init__(self, graph: Any, folder: Path, data: BinaryIO, precision: str) -> None:
        self.graph, self.folder, self.data, self.precision = graph, folder, data, precision
        self.old = {tensor.name: tensor for tensor in graph.initializer}
        self.new: dict[str, Any] = {}
        self.nodes: list[Any] = []

    def run(self) -> None:
        """Rewrite the nodes, and the weights that they name."""
        for node in self.graph.node:
            self._node(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.initializer[:]
        self.graph.initializer.extend(self.new.values())

    def _node(self, node: Any) -> None:
        table = node.op_type in ("Gather", "GatherND") and self._is_large(node.input[0], 2)
        matrix = node.op_type in ("MatMul", "Gemm") and self._is_large(node.input[1], 2)
        if table and self.precision == "int8" and self._turned(node) is not None:
            self._table_int8(node)
        elif table and self.precision != "fp32":
            self._table_half(node)
        elif matrix and self.precision == "int8" and self._turned(node) is not None:
            self._matrix_int8(node)
        else:
            for name in node.input:
                self._keep(name)
            self.nodes.append(node)

    def _is_large(self, name: str, rank: int = 0) -> bool:
        """A float32 weight with `SMALLEST` values or more that does not belong to the front end."""
        from onnx import TensorProto

        tensor = self.old.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT:
            return False
        right = not rank or len(tensor.dims) == rank
        plain = not any(part in name for part in FRONT_END)
        return right and plain and math.prod(tensor.dims) >= SMALLEST

    def _turned(self, node: Any) -> bool | None:
        """Whether the matrix stands as [out, in]; None where the node does more than multiply."""
        facts = {one.name: one.f if one.name in ("alpha", "beta") else one.i
                 for one in node.attribute}  # fmt: skip
        if node.op_type in ("Gather", "GatherND"):
            return None if facts.get("axis", 0) or facts.get("batch_dims", 0) else False
        if facts.get("transA", 0) or facts.get("alpha", 1.0) != 1 or facts.get("beta", 1.0) != 1:
            return None
        return bool(facts.get("transB", 0))

    # Weights

    def _values(self, name: str) -> Array:
        """A weight, mapped from its file where it has one."""
        from onnx import external_data_helper, helper, numpy_helper

        tensor = self.old[name]
        if not external_data_helper.uses_external_data(tensor):
            return numpy_helper.to_array(tensor)
        info = external_data_helper.ExternalDataInfo(tensor)
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        shape = tuple(tensor.dims)
        return np.memmap(self.folder / info.location, dtype, "r", info.offset or 0, shape)

    def _keep(self, name: str) -> None:
        """Write a weight that a node uses as it is, or as float16 with a cast in front."""
        if name not in self.old or name in self.new:
            return
        if self.precision == "fp32" or not self._is_large(name):
            self._write(name, self._values(name))
        elif f"{name}.half" not in self.new:
            self._write(f"{name}.half", self._values(name).astype(np.float16))
            self._cast(f"{name}.half", name)

    def _cast(self, name: str, to: str) -> None:
        from onnx import TensorProto, helper

        self.nodes.append(helper.make_node("Cast", [name], [to], to=TensorProto.FLOAT))

    def _write(self, name: str, values: Array) -> None:
        """Put a weight into the file of weights, or into the graph when it is small."""
        from onnx import TensorProto, helper, numpy_helper

        if name in self.new:
            return
        values = np.asarray(values, order="C")
        if values.nbytes < INLINE:
            self.new[name] = numpy_helper.from_array(np.array(values), name)
            return
        self.data.write(b"\0" * (-self.data.tell() % PAGE if values.nbytes >= 1 << 20 else 0))
        tensor = TensorProto(name=name, data_location=TensorProto.EXTERNAL)
        tensor.data_type = helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor.dims.extend(values.shape)
        place = {"location": Path(self.data.name).name, "offset": self.data.tell()}
        for key, value in {**place, "length": values.nbytes}.items():
            tensor.external_data.add(key=key, value=str(value))
        self.data.write(values.data)
        self.new[name] = tensor

    # Nodes

    def _table_half(self, node: Any) -> None:
        """Rows of a float16 table, then a cast of those rows alone."""
        name, output = node.input[0], node.output[0]
        self._write(f"{name}.half", self._values(name).astype(np.float16))
        node.input[0], node.output[0] = f"{name}.half", f"{output}.half"
        self.nodes.append(node)
        self._cast(f"{output}.half", output)

    def _table_int8(self, node: Any) -> None:
        """Rows of an 8-bit table times their scales."""
        from onnx import helper

        name, places, output = node.input[0], node.input[1], node.output[0]
        codes, scales = quantise_rows(self._values(name))
        self._write(f"{name}.codes", codes)
        self._write(f"{name}.scales", scales)
        self._keep(places)
        for part in ("codes", "scales"):
            row = helper.make_node(node.op_type, [f"{name}.{part}", places], [f"{output}.{part}"])
            self.nodes.append(row)
        self._cast(f"{output}.codes", f"{output}.float")
        product = [f"{output}.float", f"{output}.scales"]
        self.nodes.append(helper.make_node("Mul", product, [output]))

    def _matrix_int8(self, node: Any) -> None:
        """A product with an 8-bit matrix; what `Gemm` adds is added after it."""
        from onnx import helper

        name, bias = node.input[1], list(node.input[2:])
        weights = self._values(name) if self._turned(node) else self._values(name).T
        codes, scales = quantise_blocks(weights)
        self._write(f"{name}.codes", codes)
        self._write(f"{name}.scales", scales)
        product = f"{node.output[0]}.product" if bias else node.output[0]
        inputs = [node.input[0], f"{name}.codes", f"{name}.scales"]
        facts = {"K": weights.shape[1], "N": weights.shape[0], "bits": 8, "block_size": BLOCK}
        # Level 4: activations in int8 too, with a scale for each block; several times faster.
        self.nodes.append(helper.make_node(
            "MatMulNBits", inputs, [product], domain=DOMAIN, accuracy_level=4, **facts
        ))  # fmt: skip
        if bias:
            self._keep(bias[0])
            self.nodes.append(helper.make_node("Add", [product, bias[0]], [node.output[0]]))


def quantise_blocks(weights: Array) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """float32 [out, in] → codes uint8 [out, blocks, 32] and scales float32 [out · blocks].

    A weight is (code - 128) · scale; the last block is filled with zeros.
    """
    outputs, inputs = weights.shape
    blocks = -(-inputs // BLOCK)
    codes = np.empty((outputs, blocks, BLOCK), np.uint8)
    scales = np.empty((outputs, blocks), np.float32)
    for some in _chunks(outputs):
        rows = np.zeros((len(codes[some]), blocks * BLOCK), np.float32)
        rows[:, :inputs] = weights[some]
        parts = rows.reshape(-1, blocks, BLOCK)
        scales[some], found = _symmetric(parts)
        codes[some] = found + 128
    return codes, scales.reshape(-1)


def quantise_rows(table: Array) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """float32 [rows, width] → codes int8 [rows, width] and scales float32 [rows, 1]."""
    codes = np.empty(table.shape, np.int8)
    scales = np.empty((len(table), 1), np.float32)
    for some in _chunks(len(table)):
        scales[some, 0], found = _symmetric(table[some])
        codes[some] = found
    return codes, scales


def _symmetric(values: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale of the last dimension's values, and these as whole numbers from -127 to 127."""
    scale = (np.abs(values).max(-1) / 127).astype(np.float32)
    safe = np.where(scale == 0, np.float32(1), scale)
    whole: NDArray[np.float32] = np.clip(np.rint(values / safe[..., None]), -127, 127)
    return scale, whole


def _chunks(count: int) -> Iterator[slice]:
    return (slice(first, first + ROWS) for first in range(0, count, ROWS))
