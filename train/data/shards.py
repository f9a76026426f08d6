"""Webdataset shards: many sounds in one .tar, each `KEY.flac` beside its `KEY.json`.

The JSON is `{"captions": {"en": ["a dog barks"], "fr": "un chien aboie"}}`, with `id`, `recording`,
`split` and `note` where they are known. Members of other kinds are passed over.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from atri_cli.audio.files import open_regular, show
from atri_cli.audio.formats import is_sound
from atri_cli.errors import AtriError, UsageError
from train.clips import Clip
from train.data.shardfacts import FORM, captions_by_tag, parse, plain, wrong

SOUNDS = (".flac", ".wav", ".ogg", ".mp3")
MOST_BYTES = 1 << 30
MOST_JSON = 1 << 24
INDEX = "clips.jsonl"


def write_shards(clips: Iterable[Clip], folder: Path, most_bytes: int = MOST_BYTES) -> list[Path]:
    """Write clips, in their order, as `shard-00000.tar` and so on; returns these paths.

    A whole FLAC, WAV, OGG or MP3 file is copied byte for byte. Anything else, and a part of a
    file, becomes mono FLAC of 24 bits at the file's own rate.

    Args:
        clips: what to write; one sound at a time is read.
        folder: made if need be; it must hold no .tar yet.
        most_bytes: of a shard, without the end of the archive (at most 10 KiB); a single clip may
            be larger.

    Raises:
        UsageError: `folder` holds shards, or a clip has no captions or one of an unknown language.
        AudioError: a sound cannot be read.
        AtriError: a shard cannot be written; those before it are complete.
    """
    writer = _Writer(folder, most_bytes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.glob("*.tar")):
            raise UsageError(f"`{folder}` holds shards already.", hint="Name an empty folder.")
        for number, clip in enumerate(clips):
            facts = _facts(clip)
            with _sound(clip) as (suffix, size, sound):
                writer.add(f"{number:08}", suffix, size, sound, facts)
        writer.finish()
    except OSError as error:
        raise AtriError(
            f"Cannot write shards to `{folder}`.", why=f"{error.strerror or error}."
        ) from error
    finally:
        writer.drop()
    return writer.written


def read_shards(paths: Sequence[Path], folder: Path) -> list[Clip]:
    """Clips of shards, in the order of the shards' names and of the members in each.

    Each shard is unpacked once, to a folder of its own that is complete or not there. Another
    size, time of change or place of the shard is another shard. A clip without `id` is called
    `SHARD/KEY`.

    Args:
        paths: .tar files, not compressed.
        folder: where they are unpacked; made if need be.

    Raises:
        UsageError: a shard is missing or damaged, or says too little of a sound; names the member.
        AtriError: it cannot be unpacked, or what was unpacked before is damaged.
    """
    ordered = sorted(paths, key=lambda path: (path.name, str(path)))
    return [clip for shard in ordered for clip in _listed(_unpacked(shard, folder))]


class _Writer:
    """Fills one shard after another; each has a passing name until it is complete."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.written: list[Path] = []
        self._folder, self._most = folder, most_bytes
        self._part = folder / f".{uuid.uuid4().hex}.part"
        self._tar: tarfile.TarFile | None = None

    def add(self, key: str, suffix: str, size: int, sound: IO[bytes], facts: bytes) -> None:
        # A member takes a header, and its content in whole blocks.
        blocks = 2 - (-size // tarfile.BLOCKSIZE) - (-len(facts) // tarfile.BLOCKSIZE)
        if self._tar and self._tar.offset + blocks * tarfile.BLOCKSIZE > self._most:
            self.finish()
        self._tar = self._tar or tarfile.TarFile(self._part, "w")
        said = io.BytesIO(facts)
        for name, length, file in ((key + suffix, size, sound), (f"{key}.json", len(facts), said)):
            member = tarfile.TarInfo(name)
            member.size = length
            self._tar.addfile(member, file)

    def finish(self) -> None:
        if self._tar:
            self._tar.close()
            self._tar = None
            name = f"shard-{len(self.written):05}.tar"
            self.written.append(self._part.rename(self._folder / name))

    def drop(self) -> None:
        """Leave nothing of a shard that is not complete."""
        with suppress(OSError):
            if self._tar:
                self._tar.close()
        with suppress(OSError):
            self._part.unlink()


def _facts(clip: Clip) -> bytes:
    captions = captions_by_tag(f"The clip `{plain(clip.id)}`", clip.captions)
    names = {"id": clip.id, "recording": clip.recording, "split": clip.split, "note": clip.note}
    facts = {"captions": captions} | {name: plain(text) for name, text in names.items()}
    return json.dumps(facts).encode()


@contextmanager
def _sound(clip: Clip) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Suffix, size and bytes of what stands for the clip in a shard."""
    suffix = clip.audio.suffix.lower()
    if clip.start is None and clip.end is None and suffix in SOUNDS:
        with open_regular(clip.audio) as descriptor, open(descriptor, "rb", closefd=False) as file:
            yield suffix, os.fstat(descriptor).st_size, file
    else:
        made = _flac(clip)
        yield ".flac", len(made), io.BytesIO(made)


def _flac(clip: Clip) -> bytes:
    import soundfile

    from atri_cli.audio.decode import load_span, read_info

    rate = read_info(clip.audio).sample_rate
    made = io.BytesIO()
    waveform = load_span(clip.audio, rate, clip.start, clip.end)
    try:
        soundfile.write(made, waveform, rate, "PCM_24", format="FLAC")
    except soundfile.LibsndfileError as error:
        what = f"`{show(clip.audio)}` cannot be written as FLAC."
        raise AtriError(what, why=f"Its rate is {rate} Hz: {error}") from error
    return made.getvalue()


def _unpacked(shard: Path, folder: Path) -> Path:
    """The folder of a shard's clips, made when it is not there yet."""
    try:
        if not shard.is_file():
            raise UsageError(f"There is no file `{show(shard)}`.")
        facts = shard.stat()
        mark = f"{show(shard.resolve())}\0{facts.st_size}\0{facts.st_mtime_ns}"
        digest = hashlib.sha256(mark.encode()).hexdigest()[:16]
        target = folder / f"{shard.stem[:50]}-{digest}"
        if not target.is_dir():
            _make(shard, target)
    except OSError as error:
        what = f"Cannot unpack `{show(shard)}` to `{show(folder)}`."
        raise AtriError(what, why=f"{error.strerror or error}.") from error
    return target


def _make(shard: Path, target: Path) -> None:
    part = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        part.mkdir(parents=True)
        _unpack(shard, part)
        part.rename(target)
    except OSError:
        if not target.is_dir():  # another process may have been faster
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _listed(folder: Path) -> Iterator[Clip]:
    try:
        lines = (folder / INDEX).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        what = f"The unpacked shard `{show(folder)}` is damaged."
        raise AtriError(what, why=f"`{INDEX}`: {error}.", hint="Delete that folder.") from error
    for line in lines:
        facts = json.loads(line)
        captions = {tag: tuple(texts) for tag, texts in facts.pop("captions").items()}
        yield Clip(audio=folder / facts.pop("sound"), captions=captions, **facts)


@dataclass
class _Sample:
    """What was found of a key: its number, the file of its sound, and what its JSON says."""

    place: int
    sound: str = ""
    facts: dict[str, Any] | None = None


def _unpack(shard: Path, folder: Path) -> None:
    """Copy the sounds of a shard to files, and list them; one member is held at a time."""
    samples: dict[str, _Sample] = {}
    last = "the beginning"
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                last = f"member `{plain(member.name)}`"
                if member.size < 0:
                    raise tarfile.ReadError("its size is negative")
                _take(tar, member, f"`{show(shard)}`, {last}", folder, samples)
            # tarfile takes a header that is cut off or damaged for the end.
            with shard.open("rb") as file:
                file.seek(tar.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError("what follows is cut off or damaged")
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise UsageError(
            f"`{show(shard)}` is no tar archive, or damaged, at {last}.",
            why=f"{error}.",
            hint="Copy or download it again; a compressed archive must be decompressed first.",
        ) from error
    lines = list(_index(shard, samples))
    (folder / INDEX).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _take(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    where: str,
    folder: Path,
    samples: dict[str, _Sample],
) -> None:
    """Add one member. Its file is named by number: no name in a shard becomes a path."""
    name = PurePosixPath(member.name)
    suffix = name.suffix.lower()
    if name.is_absolute() or ".." in name.parts:
        raise wrong(where, "Its path leads out of the folder.", "Do not trust this archive.")
    wanted = suffix == ".json" or is_sound(name)
    if not wanted or name.name.startswith(".") or member.isdir():
        return
    file = tar.extractfile(member) if member.isreg() else None
    if file is None:
        raise wrong(where, "It is a link or a device, no file.", "Archive the files themselves.")
    sample = samples.setdefault(plain(str(name.with_suffix(""))), _Sample(len(samples)))
    if sample.sound if suffix != ".json" else sample.facts is not None:
        raise wrong(where, "Its key is there twice.", "Give every sound a key of its own.")
    if suffix == ".json":
        if member.size > MOST_JSON:
            raise wrong(where, f"It is larger than {MOST_JSON >> 20} MiB.", FORM)
        sample.facts = parse(where, file.read())
    else:
        sample.sound = f"{sample.place:08}{suffix}"
        with (folder / sample.sound).open("xb") as copy:
            shutil.copyfileobj(file, copy)


def _index(shard: Path, samples: Mapping[str, _Sample]) -> Iterator[str]:
    """A line of JSON a clip, once all members are there."""
    keys: dict[str, str] = {}
    for key, sample in samples.items():
        where = f"`{show(shard)}`, member `{key}{Path(sample.sound).suffix or '.json'}`"
        if not sample.sound:
            raise wrong(where, "Its sound is missing.", f"Write it as `{key}.flac`.")
        if sample.facts is None:
            raise wrong(where, f"Its `{key}.json` is missing.", FORM)
        name = sample.facts["id"] or f"{plain(shard.stem)}/{key}"
        other = keys.setdefault(name, key)
        if other != key:
            hint = "Give every sound an id of its own."
            raise wrong(where, f"The id `{name}` is that of `{other}` already.", hint)
        split = sample.facts["split"] or "train"
        yield json.dumps(sample.facts | {"id": name, "split": split, "sound": sample.sound})
    if not keys:
        raise UsageError(f"`{show(shard)}` holds no sounds.", hint="A sound is `KEY.flac`, …")
