"""Webdataset shards: `.tar` files with `KEY.flac` (or wav, ogg, mp3) and `KEY.json` beside it.

The JSON holds `captions` (language → text or list of texts), and may hold `recording`, `split` and
`note`. A shard is unpacked once, into a folder named by its contents.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from atri_cli.audio.formats import is_sound
from atri_cli.encoders.languages import known
from atri_cli.errors import AtriError, UsageError
from train.clips import Clip

MOST_BYTES = 500_000_000
INDEX = "index.json"


def write_shards(clips: Iterable[Clip], folder: Path, most_bytes: int = MOST_BYTES) -> list[Path]:
    """Write clips into `shard-00000.tar` and on, each at most `most_bytes` where a sound allows.

    A sound is copied as it is; a clip that is a part of a file is cut out as FLAC at 32 kHz.

    Raises:
        AudioError: a part cannot be read.
        AtriError: a file cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    tar: tarfile.TarFile | None = None
    try:
        for number, clip in enumerate(clips):
            data, ending = _sound(clip)
            if tar is None or tar.offset + len(data) > most_bytes:
                if tar is not None:
                    tar.close()
                paths.append(folder / f"shard-{len(paths):05}.tar")
                tar = tarfile.open(paths[-1], "w")  # noqa: SIM115
            key = f"{number:08}"
            _add(tar, key + ending, data)
            _add(tar, f"{key}.json", json.dumps(_facts(clip), ensure_ascii=False).encode())
    except OSError as error:
        raise AtriError(f"Cannot write shards to `{folder}`.", why=f"{error}.") from error
    finally:
        if tar is not None:
            tar.close()
    return paths


def _sound(clip: Clip) -> tuple[bytes, str]:
    if clip.start is None and clip.end is None:
        return clip.audio.read_bytes(), clip.audio.suffix.lower()
    import soundfile

    from atri_cli.audio.decode import load_span
    from train.towers.mel import SAMPLE_RATE

    found = io.BytesIO()
    wave = load_span(clip.audio, SAMPLE_RATE, clip.start, clip.end)
    soundfile.write(found, wave, SAMPLE_RATE, format="FLAC")
    return found.getvalue(), ".flac"


def _facts(clip: Clip) -> dict[str, Any]:
    captions = {tag: list(texts) for tag, texts in clip.captions.items()}
    named = {"id": clip.id, "recording": clip.recording, "split": clip.split, "note": clip.note}
    return {"captions": captions, **named}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def read_shards(paths: Sequence[Path], cache: Path) -> list[Clip]:
    """Clips of shards, in the order of the shards and of their members.

    Args:
        paths: the `.tar` files.
        cache: where each is unpacked, once; its sounds are read from there.

    Raises:
        UsageError: a shard is damaged, or a member is: names both.
    """
    return [clip for path in paths for clip in _shard(path, cache)]


def _shard(path: Path, cache: Path) -> list[Clip]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        folder = cache / f"{path.stem}-{digest}"
        if not (folder / INDEX).is_file():
            _unpack(path, folder)
        rows = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, tarfile.TarError, ValueError) as error:
        raise UsageError(f"The shard `{path}` cannot be read.", why=f"{error}.") from error
    return [_clip(path, folder, row) for row in rows]


def _unpack(path: Path, folder: Path) -> None:
    """Members into a new folder that is renamed into place when it is whole."""
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    sounds: dict[str, str] = {}
    facts: dict[str, Any] = {}
    with tarfile.open(path) as tar:
        for member, data in _members(path, tar):
            key, _, ending = member.name.rpartition(".")
            known_keys = facts if ending == "json" else sounds
            if key in known_keys:
                raise _wrong(path, member.name, "is there twice")
            if ending == "json":
                facts[key] = json.loads(data)
            else:
                sounds[key] = f"{len(sounds):08}.{ending.lower()}"
                (part / sounds[key]).write_bytes(data)
    for key in (*facts, *sounds):
        if key not in sounds or key not in facts:
            lacks = "a sound" if key not in sounds else f"`{key}.json`"
            raise _wrong(path, key, f"lacks {lacks}")
    rows = [{"key": key, "sound": name, "facts": facts[key]} for key, name in sounds.items()]
    (part / INDEX).write_text(json.dumps(rows), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _members(path: Path, tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    for member in tar:
        name = PurePosixPath(member.name)
        wanted = member.isfile() and (name.suffix == ".json" or is_sound(name))
        stream = tar.extractfile(member) if wanted else None
        if stream is not None:
            data = stream.read()
            if len(data) < member.size:
                raise _wrong(path, member.name, "is cut off")
            yield member, data


def _clip(path: Path, folder: Path, row: Mapping[str, Any]) -> Clip:
    facts, key = row["facts"], row["key"]
    if not isinstance(facts, dict) or not isinstance(facts.get("captions"), dict):
        raise _wrong(path, f"{key}.json", "holds no `captions`")
    captions: dict[str, tuple[str, ...]] = {}
    for tag, texts in facts["captions"].items():
        found = [texts] if isinstance(texts, str) else texts
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise _wrong(path, f"{key}.json", f"has captions in `{tag}` that are no texts")
        try:
            captions[known(tag)] = tuple(text.strip() for text in found if text.strip())
        except UsageError as error:
            raise _wrong(path, f"{key}.json", f"names the language `{tag}`") from error
    if not any(captions.values()):
        raise _wrong(path, f"{key}.json", "has no caption")
    return Clip(
        id=str(facts.get("id") or f"{path.stem}/{key}"),
        audio=folder / row["sound"],
        captions={tag: texts for tag, texts in captions.items() if texts},
        split=str(facts.get("split") or "train"),
        recording=str(facts.get("recording") or f"{path.stem}/{key}"),
        note=str(facts.get("note") or ""),
    )


def _wrong(path: Path, member: str, what: str) -> UsageError:
    return UsageError(
        f"The shard `{path}`: `{member}` {what}.",
        hint='Every sound `KEY.flac` has a `KEY.json` with `{"captions": {"en": "…"}}`.',
    )
