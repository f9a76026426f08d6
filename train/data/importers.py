"""Published captioned sets as clips: AudioCaps and Clotho, with captions translated by others.

    python -m train.data.importers clotho clotho_captions_development.csv development/ \\
        --translation fr=development.fr.csv --translation ja=development.ja.csv --out clotho.tsv

writes a manifest for `atri train --data`. A split is a table of its own; `--data` takes several.
"""

from __future__ import annotations

import argparse
import glob
import math
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atri_cli.__main__ import show_error
from atri_cli.audio.files import show
from atri_cli.encoders.languages import known
from atri_cli.errors import AtriError, UsageError
from atri_cli.output import Output
from atri_cli.queryfile import QueryRow, write_queries
from train.clips import Clip
from train.data.filenames import recording_key
from train.data.tables import Record, fault, listed, read_table

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


_Tables = list[tuple[str, dict[str, Record]]]


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
    rows = read_table(table, "audiocap_id", ("caption",), ("youtube_id", "start_time"))
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
    rows = read_table(table, "file_name", CLOTHO)
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


def _translated(
    table: Path,
    rows: Mapping[str, Record],
    key: str,
    captions: Sequence[str],
    translations: Mapping[str, Path] | None,
) -> _Tables:
    found: _Tables = []
    for tag, path in (translations or {}).items():
        language = known(tag).split("-x-")[0]
        other = read_table(path, key, captions, partial=True)
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


def _start(table: Path, rows: Sequence[Record]) -> float:
    """Where a clip begins in its video, in seconds; all rows of a video must agree."""
    starts = []
    for row in rows:
        text = row.cells["start_time"]
        start = float(text) if re.fullmatch(rf"\s*{_NUMBER}\s*", text, re.ASCII) else math.nan
        if not math.isfinite(start):
            hint = "Write seconds, such as `30`."
            raise fault(table, row.line, f"`{text}` is no time.", hint, "start_time")
        starts.append(start)
        if start != starts[0]:
            what = f"The clip starts at {starts[0]:g} in line {rows[0].line}, and here at {start:g}"
            hint = "A video has one clip in AudioCaps."
            raise fault(table, row.line, f"{what}.", hint, "start_time")
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
    return UsageError(what, why=f"{listed(names[:SHOWN])}{rest}.", hint=hint)


def write_manifest(found: Imported, path: Path) -> list[str]:
    """Write clips as a manifest with paths from its own folder on; gives back its languages.

    Raises:
        UsageError: it cannot be written.
    """
    tags = list(dict.fromkeys(tag for clip in found.clips for tag in clip.captions))
    write_queries(path, as_rows(found.clips, path.absolute().parent), tags)
    return tags


def main(words: Sequence[str] | None = None) -> int:
    """See the module; the exit code."""
    layouts = {"audiocaps": import_audiocaps, "clotho": import_clotho}
    parser = argparse.ArgumentParser(prog="python -m train.data.importers", description=__doc__)
    parser.add_argument("layout", choices=layouts)
    parser.add_argument("table", type=Path, help="of the captions, as published")
    parser.add_argument("sounds", type=Path, help="the folder of its sounds")
    parser.add_argument("--translation", action="append", default=[], metavar="TAG=TABLE")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the manifest")
    options = parser.parse_args(words)
    show = Output()
    try:
        translations = dict(map(_translation, options.translation))
        found = layouts[options.layout](options.table, options.sounds, translations)
        tags = write_manifest(found, options.out)
    except AtriError as error:
        show_error(error)
        return error.exit_code
    if found.missing:
        show.warn(f"{len(found.missing):,} sounds are missing: {listed(found.missing[:SHOWN])}, …")
    show.note(f"{len(found.clips):,} clips in {', '.join(tags)}: {options.out}")
    return 0


def _translation(words: str) -> tuple[str, Path]:
    tag, equals, path = words.partition("=")
    if not equals or not tag or not path:
        hint = "For example `--translation fr=development.fr.csv`."
        raise UsageError(f"`{words}` does not say which language is where.", hint=hint)
    return tag, Path(path)


if __name__ == "__main__":
    sys.exit(main())
