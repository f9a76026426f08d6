"""The small languages of `atri search`: weights, spans of time, lengths, dates; and typed paths."""

from __future__ import annotations

import math
import os
import re
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from atri_cli.errors import UsageError

if TYPE_CHECKING:
    from atri_cli.library.types import QueryPart

_WEIGHT = re.compile(r"(?P<rest>.*?)(?P<escape>\\?)\^(?P<weight>\d+(?:\.\d+)?|\.\d+)", re.DOTALL)
_TIME = r"(?:(?:\d+:)?\d+:)?\d+(?:\.\d+)?"
_SPAN = re.compile(rf"(?P<file>.+)@(?P<start>{_TIME})?-(?P<end>{_TIME})?", re.DOTALL)
_LENGTH = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>s|m|h)?")
_AGE = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhdw])")
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def split_weight(text: str) -> tuple[str, float]:
    """`rain^2` is `rain` with weight 2; without a weight it is 1, and `x\\^2` is the text `x^2`."""
    match = _WEIGHT.fullmatch(text)
    if match is None:
        return text, 1.0
    if match["escape"]:
        return f"{match['rest']}^{match['weight']}", 1.0
    return match["rest"], float(match["weight"])


def text_part(text: str, lang: str | None, sign: float = 1.0) -> QueryPart:
    """A TEXT or `--not TEXT` with its weight."""
    from atri_cli.library.types import QueryPart

    words, weight = split_weight(text)
    return QueryPart(text=words, weight=sign * weight, lang=lang)


def like_part(value: str) -> QueryPart:
    """`--like FILE[@START-END][^WEIGHT]`; a file whose name is all of this is meant itself.

    Raises:
        UsageError: the span ends before it starts.
    """
    from atri_cli.library.types import QueryPart

    if _exists(value):
        return QueryPart(like=_path(value))
    name, weight = split_weight(value)
    match = None if _exists(name) else _SPAN.fullmatch(name)
    if match is None or (match["start"] is None and match["end"] is None):
        return QueryPart(like=_path(name), weight=weight)
    start = _seconds(match["start"]) if match["start"] else 0.0
    end = _seconds(match["end"]) if match["end"] else None
    if end is not None and end <= start:
        raise UsageError(
            f"The span of `--like {value}` ends before it starts.",
            hint="Write seconds or m:ss, for example `--like dog.wav@1:05-1:08`.",
        )
    return QueryPart(like=_path(match["file"]), like_start=start, like_end=end, weight=weight)


def duration_range(value: str) -> tuple[float | None, float | None]:
    """`1..10`, `..5`, `60..`, `1m..2h`: shortest and longest, in seconds.

    Raises:
        UsageError: it is written otherwise, or the wrong way around.
    """
    low, dots, high = (part.strip() for part in value.partition(".."))
    if not dots or not (low or high):
        raise _bad_duration(value)
    shortest = _length(low, value) if low else None
    longest = _length(high, value) if high else None
    if shortest is not None and longest is not None and longest < shortest:
        raise _bad_duration(value)
    return shortest, longest


def since(value: str, now: float | None = None) -> float:
    """`7d`, `2h`, `2026-01-31`, `2026-01-31T18:00`: seconds of the epoch.

    Raises:
        UsageError: it is neither an age nor a date.
    """
    match = _AGE.fullmatch(value.strip())
    if match is not None:
        age = float(match["number"]) * SECONDS[match["unit"]]
        return (time.time() if now is None else now) - age
    try:
        moment = datetime.fromisoformat(value.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        moment = math.nan
    if not math.isfinite(moment):
        raise UsageError(
            f"`--since {value}` is neither an age nor a date.",
            hint="Write for example `--since 7d`, `--since 2h` or `--since 2026-01-31`.",
        )
    return moment


def language_tags(value: str | None) -> list[str]:
    """`fr, fra_Latn,zh`: canonical tags, each once.

    Raises:
        UsageError: one is no language, with the nearest known ones.
    """
    from atri_cli.encoders.languages import known

    words = (word.strip() for word in (value or "").split(","))
    return list(dict.fromkeys(known(word) for word in words if word))


def extensions(values: list[str]) -> tuple[str, ...]:
    """`wav`, `.WAV` and `wav,flac`: lower case, without dots."""
    words = (word.strip().lstrip(".").lower() for value in values for word in value.split(","))
    return tuple(dict.fromkeys(word for word in words if word))


def _exists(name: str) -> bool:
    try:
        return _path(name).exists()
    except (OSError, ValueError):
        return False


def _path(name: str) -> Path:
    return Path(os.path.expanduser(name))  # leaves `~nobody` as it is


def _seconds(clock: str) -> float:
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return total


def _length(text: str, whole: str) -> float:
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise _bad_duration(whole)
    return float(match["number"]) * SECONDS[match["unit"] or "s"]


def _bad_duration(value: str) -> UsageError:
    return UsageError(
        f"`--duration {value}` is not a range.",
        hint="Write SHORTEST..LONGEST, for example `1..10`, `..5s` or `2m..1h`.",
    )


def full_path(path: Path | None) -> Path | None:
    """A path that was typed, from the root; `~` is the home folder."""
    return path.expanduser().absolute() if path else None
