"""Values as people read them, and as JSON can hold them."""

from __future__ import annotations

import base64
import os
import re
import shlex
import time
from collections.abc import Iterable
from pathlib import PurePath

# What could move the cursor, colour the terminal, or turn the reading direction around.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile("[\ud800-\udfff]")
BYTES_OF_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def printable(value: str | PurePath) -> str:
    """One line for a terminal: odd bytes of a file name become `\\xNN`, controls are escaped."""
    text = str(value).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def message(text: str) -> str:
    """Like `printable`, but for several lines."""
    return "\n".join(printable(line.rstrip()) for line in text.splitlines())


def clean(text: str) -> str:
    """Text that every JSON reader takes: bytes that were not UTF-8 become U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def path_fields(name: str, path: PurePath) -> dict[str, str]:
    """`{name: path}`, and `NAME_bytes` in base64 when the path is not valid UTF-8."""
    text = str(path)
    if not _SURROGATE.search(text):
        return {name: text}
    return {name: clean(text), f"{name}_bytes": base64.b64encode(os.fsencode(path)).decode()}


def clock(seconds: float) -> str:
    """`0:03.5`, `1:02:03.5`: what `--like FILE@START-END` reads."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"


def span(start: float, end: float) -> str:
    """`0:03.5-0:13.5`."""
    return f"{clock(start)}-{clock(end)}"


def duration(seconds: float) -> str:
    """`4.5 s`, `12 min`, `3.2 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def size(count: int) -> str:
    """`512 bytes`, `1.5 MB`."""
    for unit, amount in BYTES_OF_UNITS:
        if count >= amount:
            return f"{count / amount:.1f} {unit}"
    return counted(count, "byte")


def counted(count: int, noun: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def moment(seconds: float | None) -> str:
    """Local time of an instant, to the minute; `never` for None."""
    if seconds is None:
        return "never"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def command(words: Iterable[str | PurePath]) -> str:
    """A command line that can be pasted into a shell, in backticks."""
    return f"`{printable(shlex.join(['atri', *map(str, words)]))}`"
