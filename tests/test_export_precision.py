"""Lower precisions: what is written, and that nothing else of a graph changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.convert import open_session
from export.precision import BLOCK, lower, quantise_blocks, quantise_rows

RANDOM = np.random.default_rng(0)
SIZES = st.integers(1, 70)
Matrix = NDArray[np.float32]


@given(st_numpy.arrays(np.float32, st.tuples(SIZES, SIZES), elements=st.floats(-4, 4, width=32)))
def test_a_weight_in_blocks_is_off_by_half_a_step_at_most(weights: Matrix) -> None:
    codes, scales = quantise_blocks(weights)
    assert codes.shape == (len(weights), -(-weights.shape[1] // BLOCK), BLOCK)
    steps = scales.reshape(*codes.shape[:2], 1)
    back = ((codes.astype(np.float32) - 128) * steps).reshape(len(weights), -1)
    off = np.abs(back[:, : weights.shape[1]] - weights)
    assert (off <= np.repeat(steps[..., 0], BLOCK, 1)[:, : weights.shape[1]] * 0.501 + 1e-6).all()
    assert (back[:, weights.shape[1] :] == 0).all()


@given(st_numpy.arrays(np.float32, st.tuples(SIZES, SIZES), elements=st.floats(-4, 4, width=32)))
def test_a_row_is_off_by_half_a_step_at_most(table: Matrix) -> None:
    codes, scales = quantise_rows(table)
    assert (np.abs(codes * scales - table) <= scales * 0.501 + 1e-6).all()


def graph(path: Path, *, outside: bool) -> Path:
    """Rows of a table, times a matrix, then `Gemm`; one of the front end stands left."""
    weights = {
        "table": RANDOM.standard_normal((5000, 64)),
        "matrix": RANDOM.standard_normal((64, 96)),
        "head.weight": RANDOM.standard_normal((80, 96)),
        "head.bias": RANDOM.standard_normal(80),
        "mel.bank": RANDOM.standard_normal((64, 64)),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["mel.bank", "rows"], ["heard"]),
        helper.make_node("MatMul", ["heard", "matrix"], ["wide"]),
        helper.make_node("Gemm", ["wide", "head.weight", "head.bias"], ["embedding"], transB=1),
    ]
    values = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, [64])
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [64, 80])
    made = helper.make_graph(nodes, "test", [ids], [out], values)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path.parent.mkdir()
    onnx.save_model(model, path, save_as_external_data=outside, size_threshold=0)
    return path


def answer(path: Path) -> Matrix:
    found: Matrix = open_session(path).run(["embedding"], {"ids": np.arange(64) * 70})[0]
    return found


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_graph_in_another_precision(tmp_path: Path, precision: str, outside: bool) -> None:
    source = graph(tmp_path / "a" / "x.onnx", outside=outside)
    target = tmp_path / "b" / "x.onnx"
    target.parent.mkdir()
    lower(source, target, precision)
    right, found = answer(source), answer(target)
    off = np.abs(found - right).max() / np.abs(right).max()
    assert off <= {"fp32": 0, "fp16": 1e-3, "int8": 0.02}[precision]
    assert (off > 0) == (precision != "fp32")
    loaded = onnx.load(target, load_external_data=False).graph
    kinds = {tensor.name: tensor.data_type for tensor in loaded.initializer}
    assert kinds["mel.bank"] == TensorProto.FLOAT
    operators = [node.op_type for node in loaded.node]
    assert ("MatMulNBits" in operators) == (precision == "int8")
    bytes_of = [sum(p.stat().st_size for p in one.parent.iterdir()) for one in (source, target)]
    assert bytes_of[1] < bytes_of[0] * {"fp32": 1.02, "fp16": 0.55, "int8": 0.35}[precision]
    if precision != "fp32":
        assert "table" not in kinds
        assert "head.weight" not in kinds


def test_a_product_that_does_more_is_left(tmp_path: Path) -> None:
    source = graph(tmp_path / "a" / "x.onnx", outside=False)
    model = onnx.load(source)
    model.graph.node[-1].attribute.append(helper.make_attribute("alpha", 0.5))
    onnx.save(model, source)
    (tmp_path / "b").mkdir()
    lower(source, tmp_path / "b" / "x.onnx", "int8")
    right, found = answer(source), answer(tmp_path / "b" / "x.onnx")
    assert np.abs(found - right).max() / np.abs(right).max() <= 0.02
    graph_made = onnx.load(tmp_path / "b" / "x.onnx", load_external_data=False).graph
    assert [node.op_type for node in graph_made.node].count("Gemm") == 1
