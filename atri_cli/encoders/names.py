"""The vocabulary's names as vectors, kept in a file beside a model's towers.

A text that names a known sound is asked by that sound's names (`atri_cli/vocabulary/lookup.py`):
up to sixteen runs of the text tower with always the same result. A model that keeps the results
answers such a query without its text tower. All together they show which sounds lie near
everything (`atri_cli/library/hubs.py`).

`names.npz`, a zip of arrays: `keys` uint64 [n], ascending; `vectors` int8 [n, dim] and `scales`
float32 [n], whose products are the unit vectors. A key is a hash of the names, so a vocabulary of
another version finds what has stayed the same and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from atri_cli.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atri_cli.encoders.card import ModelCard
    from atri_cli.encoders.types import Vectors

Texts = Sequence[tuple[str, str]]
"""(language tag, name), as `asked_as` gives them."""

LARGEST = 127  # of int8


@dataclass(frozen=True)
class Names:
    """Names as vectors: `keys` uint64 [n], ascending; `vectors` float32 [n, dim], unit length."""

    keys: NDArray[np.uint64]
    vectors: Vectors

    def place(self, texts: Texts) -> int | None:
        """The row of some texts together; None if they are not kept."""
        sought = key(texts)
        place = int(np.searchsorted(self.keys, np.uint64(sought)))
        return place if place < len(self.keys) and int(self.keys[place]) == sought else None

    def find(self, texts: Texts) -> NDArray[np.float32] | None:
        """The direction of the sum of the texts' vectors, float32 [dim]; None if not kept."""
        place = self.place(texts)
        return None if place is None else self.vectors[place]


def key(texts: Texts) -> int:
    """64 bits that stand for some names in their order."""
    words = "\n".join(f"{tag}\t{text}" for tag, text in texts)
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest())


def load_names(card: ModelCard) -> Names | None:
    """The names of a model; None when it has none.

    Raises:
        ModelError: the file is missing or damaged.
    """
    return _read(card.folder / card.names, card.names_sha256, card.dim) if card.names else None


@cache
def _read(path: Path, _sha256: str, dim: int) -> Names:
    """The digest is there so that another file of this name is read anew."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            keys, rows, scales = arrays["keys"], arrays["vectors"], arrays["scales"]
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
        raise _damaged(path, str(error)) from error
    shapes = (keys.shape, rows.shape, scales.shape)
    kinds = (keys.dtype, rows.dtype, scales.dtype)
    count = len(keys)
    if shapes != ((count,), (count, dim), (count,)) or kinds != (np.uint64, np.int8, np.float32):
        raise _damaged(path, f"It holds {shapes} of {', '.join(map(str, kinds))}.")
    vectors = rows * scales[:, None]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.abs(length - 1) < 0.01):
        raise _damaged(path, "A vector is not of unit length.")
    return Names(keys, (vectors / length).astype(np.float32))


def write_names(path: Path, found: Mapping[int, NDArray[np.float32]]) -> None:
    """Keep unit vectors, float32 [dim], by their keys."""
    keys = sorted(found)
    vectors = np.stack([found[one] for one in keys])
    scales = np.abs(vectors).max(axis=1) / LARGEST
    np.savez_compressed(
        path,
        keys=np.array(keys, np.uint64),
        vectors=np.round(vectors / scales[:, None]).astype(np.int8),
        scales=scales.astype(np.float32),
    )


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(
        f"The model's names cannot be read: `{path}`.",
        why=why,
        hint="Compare the model's files with its card: `atri doctor`.",
    )
