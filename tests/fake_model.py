"""A tiny real ONNX model for tests: it hears tones and noise, and knows their names.

Audio: log power in bands of frequency, centred, projected to `dim`: sounds with alike spectra get
alike vectors. Text: mean of piece vectors; a word of `WORDS` has the vector of its sound, so that
"low tone", "son grave" and 低音 all find a 200 Hz tone. Other words have small random vectors.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import onnx
import sentencepiece
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.sounds import noise, tone

RATE = 16000
FRAME = 512
BANDS = 32
WORDS = {
    "low": ("low", "grave", "tief", "bajo", "laag", "greu", "低音", "低"),
    "high": ("high", "aigu", "hoch", "agudo", "hoog", "agut", "高音", "高"),
    "noise": ("noise", "bruit", "rauschen", "ruido", "ruis", "soroll", "雑音", "噪音"),
}
CORPUS = (
    "a low tone and a high tone in the noise",
    "un son grave et un son aigu dans le bruit",
    "ein tiefer ton und ein hoher ton im rauschen",
    "un tono bajo y un tono agudo en el ruido",
    "een lage toon en een hoge toon in de ruis",
    "un to greu i un to agut dins del soroll",
    "低い音と高い音と雑音",
    "低音和高音和噪音",
    "abcdefghijklmnopqrstuvwxyz 0123456789 . , ! ?",
)
CARD = """\
name = "{name}"
revision = "1"
dim = {dim}
precision = "fp32"

[audio]
file = "audio.onnx"
sha256 = "{audio}"
sample_rate = 16000
segment_seconds = 2.0
hop_seconds = 1.0
min_seconds = 0.25

[text]
file = "text.onnx"
sha256 = "{text}"
tokenizer = "spm.model"
tokenizer_sha256 = "{tokenizer}"
tokenizer_rule = "xlmr"
max_tokens = 32
lowercase = true
languages = ["en", "fr", "de", "es", "nl", "ca", "ja", "zh"]

[licences]
code = "Apache-2.0"
weights = "Apache-2.0"
"""


def make_fake_model(folder: Path, dim: int = 16) -> Path:
    """Write card.toml, audio.onnx, text.onnx and spm.model into `folder` and return it.

    The same `dim` always gives the same bytes of the ONNX files, so the same pipeline id;
    another `dim` makes another model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "audio.onnx").write_bytes(_audio_graph(dim))
    (folder / "spm.model").write_bytes(_tokenizer())
    (folder / "text.onnx").write_bytes(_text_graph(folder, dim))
    hashes = {
        name: hashlib.sha256((folder / file).read_bytes()).hexdigest()
        for name, file in (("audio", "audio.onnx"), ("text", "text.onnx"))
    }
    hashes["tokenizer"] = hashlib.sha256((folder / "spm.model").read_bytes()).hexdigest()
    card = CARD.format(name=folder.name, dim=dim, **hashes)
    (folder / "card.toml").write_text(card, encoding="utf-8")
    return folder


def _save(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    dim: int,
    weights: dict[str, NDArray[np.generic]],
) -> bytes:
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dim])
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "fake", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _bands(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Overlapping triangles over the bins of a DFT, float64 [bins, BANDS]."""
    centres = np.geomspace(2, bins[-1], BANDS)
    width = np.maximum(1.5, 0.25 * centres)
    return np.maximum(0, 1 - np.abs(bins[:, None] - centres) / width)


def _audio_graph(dim: int) -> bytes:
    random = np.random.default_rng(dim)
    bins = np.arange(FRAME // 2 + 1)
    angle = 2 * np.pi * bins[:, None] * np.arange(FRAME) / FRAME
    waves = np.concatenate([np.cos(angle), np.sin(angle)]) * np.hanning(FRAME)
    weights: dict[str, NDArray[np.generic]] = {
        "waves": waves[:, None].astype(np.float32),
        "bands": np.tile(_bands(bins), (2, 1)).astype(np.float32),
        "projection": random.standard_normal((BANDS, dim)).astype(np.float32),
        "bias": (3 * random.standard_normal(dim)).astype(np.float32),
        "floor": np.array(1e-3, np.float32),
        "channel": np.array([1], np.int64),
        "frames": np.array([2], np.int64),
        "last": np.array([1], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Unsqueeze", ["waveform", "channel"], ["mono"]),
        node("Conv", ["mono", "waves"], ["spectrum"], strides=[FRAME // 2]),
        node("Mul", ["spectrum", "spectrum"], ["square"]),
        node("ReduceMean", ["square", "frames"], ["mean"], keepdims=0),
        node("MatMul", ["mean", "bands"], ["power"]),
        node("Add", ["power", "floor"], ["floored"]),
        node("Log", ["floored"], ["log"]),
        node("ReduceMean", ["log", "last"], ["level"], keepdims=1),
        node("Sub", ["log", "level"], ["shape"]),
        node("MatMul", ["shape", "projection"], ["projected"]),
        node("Add", ["projected", "bias"], ["raw"]),
        node("LpNormalization", ["raw"], ["embedding"], axis=1, p=2),
    ]
    info = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"])
    return _save(nodes, [info], dim, weights)


def _tokenizer() -> bytes:
    sink = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 3),
        model_writer=sink,
        model_type="unigram",
        vocab_size=160,
        hard_vocab_limit=False,
        character_coverage=1.0,
        user_defined_symbols=[word for words in WORDS.values() for word in words],
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        num_threads=1,
        minloglevel=2,
    )
    return sink.getvalue()


def _piece_vectors(folder: Path, dim: int) -> NDArray[np.float32]:
    """One row a piece: the vector of its sound for `WORDS`, else a short random one."""
    import onnxruntime

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    table = 0.02 * np.random.default_rng(dim + 1).standard_normal((pieces.get_piece_size(), dim))
    session = onnxruntime.InferenceSession(folder / "audio.onnx")
    sounds = {"low": tone(200), "high": tone(3000), "noise": noise()}
    for name, samples in sounds.items():
        vector = session.run(None, {"waveform": samples[None]})[0][0]
        for word in WORDS[name]:
            table[pieces.piece_to_id(word)] = vector
    return table.astype(np.float32)


def _text_graph(folder: Path, dim: int) -> bytes:
    weights: dict[str, NDArray[np.generic]] = {
        "table": _piece_vectors(folder, dim),
        "last": np.array([2], np.int64),
        "tokens": np.array([1], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "input_ids"], ["vectors"]),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last"], ["column"]),
        node("Mul", ["vectors", "column"], ["kept"]),
        node("ReduceSum", ["kept", "tokens"], ["sum"], keepdims=0),
        node("ReduceSum", ["mask", "tokens"], ["count"], keepdims=1),
        node("Div", ["sum", "count"], ["mean"]),
        node("LpNormalization", ["mean"], ["embedding"], axis=1, p=2),
    ]
    shape = ["batch", "tokens"]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, shape)
        for name in ("input_ids", "attention_mask")
    ]
    return _save(nodes, inputs, dim, weights)
