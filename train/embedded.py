"""An installed atri-mini back into torch: ONNX files → the modules of train/model.py.

Weights are found by the names that export keeps (`net.`, `head.`, `layers.`, `project.`), and the
others by the node that uses them; the front end is `LogMel`'s own. What export rounded stays
rounded: float16 for large weights of the audio tower, 8 bits in blocks of 32 for the matrices of
the text tower, 4 bits for its token table. Batch normalisation comes back as the identity, because
export folded it into the convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atri_cli.encoders.card import ModelCard
from atri_cli.encoders.registry import verify_model
from atri_cli.errors import ModelError, RuntimeMissingError
from train.model import AudioTower, ModelShape, TextTower
from train.towers import audio as layout
from train.towers.mel import SAMPLE_RATE
from train.towers.text import TextShape

BLOCK = 32
INT8_ZERO, INT4_ZERO = 128, 8
HALF = ".half"
INSTALL = 'pip install "atri-cli[train,export]"'

Array = NDArray[Any]


def load_embedded(card: ModelCard) -> tuple[ModelShape, AudioTower, TextTower, bytes]:
    """The towers of an installed model of atri-mini's architecture, in eval mode.

    Args:
        card: of a model that `export/` wrote, its text in `int8-weights` or `fp32`.

    Returns:
        Sizes, both towers, and the contents of the sentencepiece model.

    Raises:
        ModelError: a file is missing or damaged, or the architecture is another.
        RuntimeMissingError: the package `onnx` is not installed.
    """
    for problem in verify_model(card):
        raise ModelError(problem, hint="Compare the model's files with its card: `atri doctor`.")
    if card.audio.sample_rate != SAMPLE_RATE or card.text.tokenizer_rule != "xlmr":
        raise _other(card.name, f"It hears {card.audio.sample_rate} Hz, not {SAMPLE_RATE}.")
    heard, read = _Graph(card.audio_path), _Graph(card.text_path)
    try:
        text_shape = _text_shape(read)
        shape = _shape(heard, text_shape)
        audio, text = AudioTower(shape), TextTower(text_shape)
        audio.load_state_dict(_tensors(_audio_weights(heard, audio)))
        text.load_state_dict(_tensors(_text_weights(read, text)))
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        why = f"It has no {error}." if isinstance(error, KeyError) else str(error)
        raise _other(card.name, why) from error
    return shape, audio.eval(), text.eval(), card.tokenizer_path.read_bytes()


def _other(name: str, why: str) -> ModelError:
    return ModelError(
        f"The model `{name}` cannot be trained further: it is not built as atri-mini is.",
        why=why,
        hint="Take `atri-mini`, or a folder that `atri train` wrote.",
    )


class _Graph:
    """The weights of an ONNX file, and the nodes that use them."""

    def __init__(self, path: Path) -> None:
        try:
            import onnx
            from onnx import numpy_helper
        except ImportError as error:
            raise RuntimeMissingError(
                "Training an installed model further needs the package `onnx`.",
                hint=f"Type `{INSTALL}`.",
            ) from error
        graph: Any = onnx.load(path).graph
        self.nodes: list[Any] = list(graph.node)
        self.weights: dict[str, Array] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer
        }
        for name in [name for name in self.weights if name.endswith(HALF)]:
            self.weights[name.removesuffix(HALF)] = self.weights[name].astype(np.float32)

    def using(self, kind: str) -> Iterator[tuple[Any, list[str]]]:
        """Nodes of one kind, with the names of their inputs."""
        return ((node, list(node.input)) for node in self.nodes if node.op_type == kind)

    def size(self, name: str) -> int:
        """Length of a vector."""
        return len(self.weights[name])


def _tensors(weights: dict[str, Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}


def _audio_weights(graph: _Graph, tower: AudioTower) -> dict[str, Array]:
    """Weights by the names of `tower`; each normalisation adds the folded bias and no more."""
    biases = {names[1]: names[2] for _, names in graph.using("Conv") if len(names) > 2}
    norms = {
        name: module for name, module in tower.named_modules() if isinstance(module, nn.BatchNorm2d)
    }
    found = {}
    for name in tower.state_dict():
        place = name.rpartition(".")[0]
        if place not in norms:
            found[name] = graph.weights[name]
    for name, norm in norms.items():
        convolution = name.rpartition(".")[0] + ".0.weight"
        found[f"{name}.weight"] = np.ones(norm.num_features, np.float32)
        found[f"{name}.bias"] = graph.weights[biases[convolution]]
        found[f"{name}.running_mean"] = np.zeros(norm.num_features, np.float32)
        found[f"{name}.running_var"] = np.full(norm.num_features, 1 - norm.eps, np.float32)
        found[f"{name}.num_batches_tracked"] = np.array(0)
    return found


def _text_weights(graph: _Graph, tower: TextTower) -> dict[str, Array]:
    """Weights by the names of `tower`."""
    matrices = _matrices(graph) | {"tokens.weight": _token_table(graph)}
    return {
        name: matrices[name] if name in matrices else graph.weights[name]
        for name in tower.state_dict()
    }


def _matrices(graph: _Graph) -> dict[str, Array]:
    """Weights [out, in] of the linear layers, by the bias that is added to their product."""
    products: dict[str, Array] = {}
    for node, names in graph.using("MatMulNBits"):
        products[node.output[0]] = _unblocked(graph.weights[names[1]], graph.weights[names[2]])
    for node, names in graph.using("MatMul"):
        if names[1] in graph.weights:
            products[node.output[0]] = graph.weights[names[1]].T
    found = {}
    for _, names in graph.using("Add"):
        for bias, product in (names, names[::-1]):
            if product in products and bias.endswith(".bias"):
                found[bias.removesuffix("bias") + "weight"] = products[product]
    return found


def _unblocked(codes: Array, scales: Array) -> Array:
    """uint8 [out, blocks, 32] and a scale for each block → float32 [out, in]."""
    values = (codes.astype(np.float32) - INT8_ZERO) * scales.reshape(*codes.shape[:2], 1)
    return values.reshape(len(codes), -1)


def _token_table(graph: _Graph) -> Array:
    """The packed table as float32 [vocabulary, width]: see `export.compact.PackedTable`."""
    packed, scale = _packed(graph)
    codes = np.stack([packed % 16, packed // 16], axis=-1).astype(np.float32) - INT4_ZERO
    values = codes.reshape(len(packed), -1, BLOCK) * scale[:, :, None].astype(np.float32)
    return values.reshape(len(packed), -1)


def _packed(graph: _Graph) -> tuple[Array, Array]:
    """Codes uint8 [vocabulary, width / 2] and scales float16 [vocabulary, width / 32]."""
    named = graph.weights.items()
    flat = [value for name, value in named if value.ndim == 2 and not name.endswith(HALF)]
    (codes,) = (value for value in flat if value.dtype == np.uint8)
    (scale,) = (value for value in flat if value.dtype == np.float16)
    return codes, scale


def _text_shape(graph: _Graph) -> TextShape:
    width = graph.size("embedding_norm.weight")
    return TextShape(
        vocabulary=len(_packed(graph)[0]),
        width=width,
        layers=sum(name.endswith(".up.bias") for name in graph.weights),
        heads=width // _head_width(graph),
        inner=graph.size("layers.0.up.bias"),
        positions=graph.size("positions.weight"),
        dim=graph.size("project.bias"),
    )


def _head_width(graph: _Graph) -> int:
    """From the first division of attention scores, which is by its square root."""
    scores = {node.output[0] for node, _ in graph.using("MatMul")}
    for _, (divided, by) in graph.using("Div"):
        if divided in scores and by in graph.weights:
            return round(float(graph.weights[by]) ** 2)
    raise ValueError("Its attention scores are not scaled.")


def _shape(graph: _Graph, text: TextShape) -> ModelShape:
    inner = [
        len(graph.weights[f"net.blocks.{place}.filter.0.weight"])
        for place in range(len(layout.BLOCKS))
    ]
    return ModelShape(
        widen=_widening(inner, 0, layout.TAIL),
        widen_tail=_widening(inner, layout.TAIL, len(inner)),
        head_inputs=graph.size("head.mean"),
        head_hidden=graph.size("head.up.bias"),
        text=text,
        dim=graph.size("head.straight.bias"),
    )


def _widening(inner: list[int], first: int, last: int) -> float:
    """The factor that makes the blocks' inner widths what they are; they are multiples of 8."""
    widths = [(spec.inner, inner[place + first])
              for place, spec in enumerate(layout.BLOCKS[first:last])]  # fmt: skip
    least = max((found - 4) / spec for spec, found in widths) if widths else 1.0
    for factor in (math.ceil(least * 8) / 8, least, 1.0):
        if all(layout._round8(spec * factor) == found for spec, found in widths):
            return factor
    raise ValueError(f"Blocks of widths {inner} have no common factor.")
