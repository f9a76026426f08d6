"""Read Qt resource files (`.rcc`): a tree of names over zlib-compressed or plain data."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

COMPRESSED, FOLDER = 1, 2


def read_rcc(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (path inside, content) of every file.

    Raises:
        ValueError: not a resource file, or a compression other than zlib.
    """
    data = path.read_bytes()
    if data[:4] != b"qres":
        raise ValueError(f"{path} is not a Qt resource file")
    version, tree, payload, names = struct.unpack(">4I", data[4:20])
    node_bytes = 14 if version < 2 else 22

    def name(offset: int) -> str:
        (length,) = struct.unpack_from(">H", data, names + offset)
        return data[names + offset + 6 : names + offset + 6 + 2 * length].decode("utf-16-be")

    def walk(node: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * node_bytes
        name_at, flags = struct.unpack_from(">IH", data, at)
        here = prefix + name(name_at) if node else ""
        if flags & FOLDER:
            count, first = struct.unpack_from(">II", data, at + 6)
            for child in range(first, first + count):
                yield from walk(child, here + "/" if node else "")
            return
        (offset,) = struct.unpack_from(">I", data, at + 10)
        (size,) = struct.unpack_from(">I", data, payload + offset)
        content = data[payload + offset + 4 : payload + offset + 4 + size]
        if flags & COMPRESSED:
            content = zlib.decompress(content[4:])
        elif flags & ~FOLDER:
            raise ValueError(f"{path}: {here} is compressed in a way other than zlib")
        yield here, content

    yield from walk(0, "")
