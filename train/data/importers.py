"""Published captioned sets as clips: AudioCaps and Clotho, with captions translated by others."""

from __future__ import annotations

import csv
import glob
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atri_cli.audio.files import show
from atri_cli.encoders.languages import known
from atri_cli.errors import UsageError
from atri_cli.queryfile import QueryRow
from train.clips import Clip
from train.data.filenames import recording_key

SOUNDS = (".flac", ".mp3", ".ogg", ".wav")
CLOTHO = tuple(f"caption_{number}" for number in range(1, 6))
SPLITS = {
    "train": "train", "development": "train",
    "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "evaluation": "test", "eval": "test",
}  # fmt: skip
SHOWN = 3
_NUMBER = r"(\d+(?:\.\d+)?)"
_SEGMENTS = (re.compile(rf"(.+)_{_NUMBER}"), re.compile(rf"(.+)_{_NUMBER}_[^_]+"))

_SPACES = re.compile(r"^ | $|(?<= ) | (?= )")
_ODD = re.compile(r"[^\S ]|[|\ud800-\udfff]")


@dataclass
class Imported:
    """Clips in the order of their table, and what it names that is not among the sounds."""

    clips: list[Clip]
    missing: list[str]


@dataclass(frozen=True)
class _Row:
    """A record: the line that it begins in, its cells by column, its captions."""

    line: int
    cells: Mapping[str, str]
    captions: tuple[str, ...]


_Tables = list[tuple[str, dict[str, _Row]]]


def import_audiocaps(
    table: Path, sounds: Path, translations: Mapping[str, Path] | None = None
) -> Imported:
    """Clips of AudioCaps, one a video; the rows of a video are phrasings of one clip.

    Args:
        table: `train.csv`, `val.csv` or `test.csv`, with the columns `audiocap_id`, `youtube_id`,
            `start_time` (seconds) and `caption`. Its name says the split.
        sounds: a folder of ID.wav, ID_START.wav or ID_START_END.wav, in seconds or milliseconds,
            also with `Y` in front; FLAC, MP3 and OGG too. A file is taken as a whole.
        translations: language tag → a table with the columns `audiocap_id` and `caption`; an empty
            caption, or none, leaves the language out.

    Returns:
        The clips, and the ids of videos without a sound: some have left YouTube.

    Raises:
        UsageError: a table is wrong, with its line and column, or none of the sounds is there.
    """
    rows = _read(table, "audiocap_id", ("caption",), ("youtube_id", "start_time"))
    tables = [("en", rows), *_translated(table, rows, "audiocap_id", ("caption",), translations)]
    split, files = _split(table), _segments(sounds)
    videos: dict[str, list[str]] = {}
    for key, row in rows.items():
        videos.setdefault(row.cells["youtube_id"], []).append(key)
    found = Imported([], [])
    for video, keys in videos.items():
        start, line = _start(table, [rows[key] for key in keys]), rows[keys[0]].line
        names = [(name, at) for name in (video, f"Y{video}") for at in (start, None)]
        sound = next((files[name] for name in names if name in files), None)
        if sound is None:
            found.missing.append(video)
        else:
            captions = _merged(tables, keys)
            found.clips.append(
                Clip(video, sound, captions, split=split, recording=video, line=line)
            )
    if not found.clips:
        hint = "A sound is called `YOUTUBE_ID.wav` or `YOUTUBE_ID_START.wav`."
        raise _missing(table, sounds, found.missing, hint)
    return found


def import_clotho(
    table: Path, sounds: Path, translations: Mapping[str, Path] | None = None
) -> Imported:
    """Clips of Clotho, with five phrasings each.

    Args:
        table: `clotho_captions_development.csv`, or that of `validation` or `evaluation`: the
            columns `file_name` and `caption_1` to `caption_5`. Its name says the split.
        sounds: the folder of these files.
        translations: language tag → a table with the same columns; an empty caption is left out.

    Raises:
        UsageError: a table is wrong, with its line and column, or sounds are missing.
    """
    rows = _read(table, "file_name", CLOTHO)
    tables = [("en", rows), *_translated(table, rows, "file_name", CLOTHO, translations)]
    split = _split(table)
    # An archive unpacked on macOS may spell é as two characters.
    files = {unicodedata.normalize("NFC", path.name): path for path in _files(sounds)}
    found = {name: files.get(unicodedata.normalize("NFC", name)) for name in rows}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise _missing(table, sounds, missing, "Unpack the audio archive of this split there.")
    clips = [
        Clip(name, path, _merged(tables, [name]), None, None, split, recording_key(path), row.line)
        for (name, path), row in zip(found.items(), rows.values(), strict=True)
        if path is not None
    ]
    return Imported(clips, [])


def as_rows(clips: Iterable[Clip], root: Path) -> list[QueryRow]:
    """Clips as rows of a manifest (`atri_cli.queryfile.write_queries`), with paths from `root` on.

    What a cell cannot hold (`|`, spaces in a row, bytes that are no text) is written as a glob.

    Raises:
        UsageError: a clip is a part of a file, for which a manifest has no column.
    """
    rows = []
    for clip in clips:
        if clip.start is not None or clip.end is not None:
            what = f"The clip `{clip.id}` is a part of `{show(clip.audio)}`."
            raise UsageError(what, hint="A manifest names whole files; write shards instead.")
        path = os.path.relpath(clip.audio, root)
        if _SPACES.search(path) or _ODD.search(path):
            path = _ODD.sub("?", _SPACES.sub("[ ]", glob.escape(path)))
        rows.append(QueryRow(clip.id, clip.captions, (path,), clip.split, clip.note))
    return rows


def _read(
    path: Path,
    key: str,
    captions: Sequence[str],
    more: Sequence[str] = (),
    *,
    partial: bool = False,
) -> dict[str, _Row]:
    """Records by key; `partial`: captions may be empty."""
    rows: dict[str, _Row] = {}
    for line, cells in _records(path, (key, *more, *captions)):
        if cells[key] in rows:
            what = f"`{cells[key]}` stands in line {rows[cells[key]].line} already."
            raise _error(path, line, what, "Keep one of the two.", key)
        texts = {name: " ".join(cells[name].split()) for name in captions}
        empty = [name for name in (key, *more) if not cells[name]]
        empty += [name for name, text in texts.items() if not text and not partial]
        if empty:
            raise _error(path, line, "It is empty.", "Fill it in, or take the row out.", empty[0])
        rows[cells[key]] = _Row(line, cells, tuple(text for text in texts.values() if text))
    if not rows:
        raise UsageError(f"`{path}` has a header and no rows.")
    return rows


def _records(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The line that a record begins in, and its cells by column."""
    header: list[str] = []
    line = 1
    try:
        # Bytes that are not UTF-8 become surrogates, which can be told by line and column.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                _check(path, line, header, cells)
                if not header:
                    header = _header(path, cells, columns)
                elif any(cells):
                    yield line, dict(zip(header, cells, strict=True))
                line = reader.line_num + 1
    except OSError as error:
        raise UsageError(f"Cannot read `{path}`.", why=f"{error.strerror}.") from error
    except csv.Error as error:
        hint = "Close every quote; inside quotes, write a quote twice."
        raise _error(path, line, f"It is not CSV: {error}.", hint) from error
    if not header:
        raise UsageError(f"`{path}` is empty.", hint=f"It needs the columns {_list(columns)}.")


def _check(path: Path, line: int, header: Sequence[str], cells: Sequence[str]) -> None:
    for place, cell in enumerate(cells):
        if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in cell):
            column = header[place] if place < len(header) else str(place + 1)
            raise _error(path, line, "It is not UTF-8 text.", "Save the table as UTF-8.", column)
    if header and any(cells) and len(cells) != len(header):
        what = f"It has {len(cells)} cells, and the header {len(header)}."
        raise _error(path, line, what, "Put quotes around a caption with commas.")


def _header(path: Path, cells: Sequence[str], columns: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    wrong = [name for name in columns if names.count(name) != 1]
    if wrong:
        problem = "is there twice" if wrong[0] in names else "is missing"
        what = f"The column `{wrong[0]}` {problem}."
        raise _error(path, 1, what, f"It needs the columns {_list(columns)}, with commas between.")
    return names


def _translated(
    table: Path,
    rows: Mapping[str, _Row],
    key: str,
    captions: Sequence[str],
    translations: Mapping[str, Path] | None,
) -> _Tables:
    found: _Tables = []
    for tag, path in (translations or {}).items():
        language = known(tag).split("-x-")[0]
        other = _read(path, key, captions, partial=True)
        if not rows.keys() & other.keys():
            what = f"`{path}` translates no row of `{table}`."
            raise UsageError(what, hint=f"The column `{key}` must be that of the original.")
        found.append((language, other))
    return found


def _merged(tables: _Tables, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Captions by language, in the order of `keys`."""
    found: dict[str, tuple[str, ...]] = {}
    for tag, rows in tables:
        texts = [text for key in keys if key in rows for text in rows[key].captions]
        if texts:
            found[tag] = (*found.get(tag, ()), *texts)
    return found


def _start(table: Path, rows: Sequence[_Row]) -> float:
    """Where a clip begins in its video, in seconds; all rows of a video must agree."""
    starts = []
    for row in rows:
        text = row.cells["start_time"]
        start = float(text) if re.fullmatch(rf"\s*{_NUMBER}\s*", text, re.ASCII) else math.nan
        if not math.isfinite(start):
            hint = "Write seconds, such as `30`."
            raise _error(table, row.line, f"`{text}` is no time.", hint, "start_time")
        starts.append(start)
        if start != starts[0]:
            what = f"The clip starts at {starts[0]:g} in line {rows[0].line}, and here at {start:g}"
            hint = "A video has one clip in AudioCaps."
            raise _error(table, row.line, f"{what}.", hint, "start_time")
    return starts[0]


def _segments(folder: Path) -> dict[tuple[str, float | None], Path]:
    """Sounds by each id and start that their names can mean: an id may itself end in `_12`."""
    found: dict[tuple[str, float | None], Path] = {}
    for path in _files(folder):
        if path.suffix.lower() in SOUNDS:
            found.setdefault((path.stem, None), path)
            for match in filter(None, (one.fullmatch(path.stem) for one in _SEGMENTS)):
                for start in (float(match[2]), float(match[2]) / 1000):
                    found.setdefault((match[1], start), path)
    return found


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        what = f"Cannot read the folder of sounds `{show(folder)}`."
        raise UsageError(what, why=f"{error.strerror}.") from error


def _split(path: Path) -> str:
    words = re.split(r"[\W\d_]+", path.stem.lower())
    found = {SPLITS[word] for word in words if word in SPLITS}
    if len(found) != 1:
        what = f"The name of `{path}` does not say which split it is."
        hint = "Name it as published: `train.csv`, `clotho_captions_development.csv`, …"
        raise UsageError(what, hint=hint)
    return found.pop()


def _missing(table: Path, sounds: Path, names: Sequence[str], hint: str) -> UsageError:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    what = f"`{show(sounds)}` lacks {len(names)} sounds of `{table}`."
    return UsageError(what, why=f"{_list(names[:SHOWN])}{rest}.", hint=hint)


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _error(path: Path, line: int, what: str, hint: str, column: str = "") -> UsageError:
    place = f"line {line}, column `{column}`" if column else f"line {line}"
    return UsageError(f"`{path}`, {place}: {what}", hint=hint)
