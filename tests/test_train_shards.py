"""Shards give back the clips they were made of, and say what is wrong with them."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from atri_cli.errors import UsageError
from tests.sounds import write_tone
from train.clips import Clip
from train.data.shards import read_shards, write_shards


def clips(folder: Path) -> list[Clip]:
    found = []
    for number in range(5):
        path = write_tone(folder / f"{number}.wav", hertz=200.0 + number, seconds=1.0)
        captions = {"en": ("a dog", "dog barking"), "ja": ("犬",)} if number else {"fr": ("pluie",)}
        split = "test" if number == 4 else "train"
        name = f"clip {number}"
        found.append(Clip(name, path or folder / f"{number}.wav", captions, split=split,
                          recording=f"r{number}"))  # fmt: skip
    return found


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = clips(tmp_path)
    paths = write_shards(made, tmp_path / "shards", most_bytes=100_000)
    assert len(paths) > 1
    found = read_shards(paths, tmp_path / "cache")
    assert [replace(clip, audio=made[n].audio) for n, clip in enumerate(found)] == made
    for one, other in zip(found, made, strict=True):
        assert one.audio.read_bytes() == other.audio.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    read_shards(paths, tmp_path / "cache")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}


def test_a_part_of_a_file_is_cut_out(tmp_path: Path) -> None:
    part = replace(clips(tmp_path)[0], start=0.25, end=0.75)
    (found,) = read_shards(write_shards([part], tmp_path / "shards"), tmp_path / "cache")
    assert soundfile.info(found.audio).duration == pytest.approx(0.5, abs=0.01)


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


GOOD = json.dumps({"captions": {"en": "dog"}}).encode()


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"a.flac": b"x"}, "`a` lacks `a.json`"),
        ({"a.json": GOOD}, "`a` lacks a sound"),
        ({"a.flac": b"x", "a.json": b"[]"}, "`a.json` holds no `captions`"),
        ({"a.flac": b"x", "a.json": b"{"}, "cannot be read"),
        ({"a.flac": b"x", "a.json": b'{"captions": {}}'}, "has no caption"),
        ({"a.flac": b"x", "a.json": b'{"captions": {"en": 3}}'}, "that are no texts"),
        ({"a.flac": b"x", "a.json": b'{"captions": {"xx-yy-zz": "a"}}'}, "language `xx-yy-zz`"),
        ({"a.flac": b"x", "a.ogg": b"y", "a.json": GOOD}, "`a.ogg` is there twice"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, bytes], said: str, tmp_path: Path) -> None:
    path = tar(tmp_path / "s.tar", members)
    with pytest.raises(UsageError) as error:
        read_shards([path], tmp_path / "cache")
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_a_member_cannot_leave_the_folder(tmp_path: Path) -> None:
    path = tar(tmp_path / "s.tar", {"../../evil.wav": b"x", "../../evil.json": GOOD})
    (found,) = read_shards([path], tmp_path / "cache" / "deep")
    assert found.audio.is_relative_to(tmp_path / "cache" / "deep")
    assert not list(tmp_path.glob("evil*"))


def test_a_shard_that_is_cut_off(tmp_path: Path) -> None:
    (path,) = write_shards(clips(tmp_path), tmp_path / "shards")
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(UsageError, match=r"cannot be read|cut off"):
        read_shards([path], tmp_path / "cache")
    assert not [one for one in (tmp_path / "cache").glob("*") if not one.name.endswith(".part")]
