"""Shards: what is written is read again, and damaged archives are refused by name."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from atri_cli.errors import AtriError, AudioError, UsageError
from tests.sounds import noise, write, write_noise, write_tone
from train.clips import Clip
from train.data import shards
from train.data.shards import read_shards, write_shards

FACTS = {"captions": {"en": "a dog"}}
Member = tuple[str, bytes]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
phrasings = st.lists(texts.map(str.strip).filter(bool), min_size=1, max_size=3).map(tuple)
captions = st.dictionaries(st.sampled_from(["en", "fr", "ja", "zh-Hans"]), phrasings, min_size=1)
facts = st.tuples(captions, texts, texts.filter(bool), texts)


def clip(audio: Path, name: str = "a", **more: Any) -> Clip:
    return Clip(name, audio, {"en": ("a dog",)}, **more)


def archive(path: Path, *members: Member) -> Path:
    """A .tar of members in this order; a JSON may be given as what it holds."""
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def sample(key: str, said: object = FACTS, sound: bytes = b"sound") -> tuple[Member, Member]:
    return (f"{key}.flac", sound), (f"{key}.json", json.dumps(said).encode())


def refusal(path: Path, kind: type[AtriError] = UsageError) -> str:
    folder = path.parent / "unpacked"
    with pytest.raises(kind) as error:
        read_shards([path], folder)
    assert not folder.exists() or not list(folder.iterdir()), "half a shard was left behind"
    return str(error.value)


@settings(max_examples=30)
@given(st.lists(facts, min_size=1, max_size=6), st.integers(1, 20_000))
def test_round_trip(said: list[tuple[Any, str, str, str]], most: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sounds = [folder / f"{n}{suffix}" for n, suffix in enumerate((".wav", ".flac", ".ogg"))]
        for sound in sounds:
            write_noise(sound, seconds=0.05)
        clips = [
            Clip(f"{n} é/..", sounds[n % 3], one[0], None, None, one[2], one[1], note=one[3])
            for n, one in enumerate(said)
        ]
        paths = write_shards(clips, folder / "shards", most)
        found = read_shards(paths[::-1], folder / "unpacked")
        assert [p.name for p in paths] == [f"shard-{n:05}.tar" for n in range(len(paths))]
        assert sorted((folder / "shards").iterdir()) == paths
        for before, after in zip(clips, found, strict=True):
            assert after.audio.read_bytes() == before.audio.read_bytes()
            assert after.audio.suffix == before.audio.suffix
            for field in ("id", "captions", "start", "end", "split", "recording", "note", "line"):
                assert getattr(after, field) == getattr(before, field), field


def test_size_of_shards(tmp_path: Path) -> None:
    sound = write_noise(tmp_path / "a.wav", seconds=0.1)
    large = write_noise(tmp_path / "b.wav", seconds=3)
    names = [sound, sound, sound, large, sound]
    clips = [clip(path, str(n)) for n, path in enumerate(names)]
    paths = write_shards(clips, tmp_path / "shards", 11_000)
    counts = [len(read_shards([path], tmp_path / "unpacked")) for path in paths]
    assert counts == [2, 1, 1, 1]
    assert all(path.stat().st_size <= 11_000 + 10_240 for path in (paths[0], paths[1], paths[3]))
    assert len(write_shards(clips, tmp_path / "one")) == 1
    assert write_shards([], tmp_path / "none") == []


def test_spans_and_other_formats_become_flac(tmp_path: Path) -> None:
    samples = noise(2.0, 22_050)
    sound = write(tmp_path / "a.wav", samples, 22_050, "PCM_16")
    aiff = write_tone(tmp_path / "b.aiff")
    paths = write_shards([clip(sound, start=0.5, end=1.25), clip(aiff, "b")], tmp_path / "s")
    part, whole = read_shards(paths, tmp_path / "unpacked")
    found, rate = soundfile.read(part.audio, dtype="float32")
    assert (part.start, part.end, part.audio.suffix, rate) == (None, None, ".flac", 22_050)
    first = round(0.5 * 22_050)
    np.testing.assert_allclose(found, samples[first : first + len(found)], atol=2**-15)
    assert len(found) == round(0.75 * 22_050)
    assert soundfile.info(whole.audio).frames == 16_000


def test_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = archive(tmp_path / "x.tar", *sample("a"))
    first = read_shards([shard], tmp_path / "unpacked")
    with monkeypatch.context() as patch:
        patch.setattr(shards, "_unpack", lambda *_: pytest.fail("unpacked again"))
        assert read_shards([shard], tmp_path / "unpacked") == first
    archive(shard, *sample("a", {"captions": {"en": "a cat, and more " * 2000}}))
    (other,) = read_shards([shard], tmp_path / "unpacked")
    assert other.captions["en"][0].startswith("a cat")
    assert first[0].audio.parent != other.audio.parent
    (other.audio.parent / "clips.jsonl").unlink()
    with pytest.raises(AtriError, match=r"damaged.*clips\.jsonl.*Delete that folder"):
        read_shards([shard], tmp_path / "unpacked")


def test_another_process_was_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard, unpack = archive(tmp_path / "x.tar", *sample("a")), shards._unpack

    def slow(path: Path, part: Path) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(shards, "_unpack", unpack)
            read_shards([shard], tmp_path / "unpacked")
        unpack(path, part)

    monkeypatch.setattr(shards, "_unpack", slow)
    assert len(read_shards([shard], tmp_path / "unpacked")) == 1
    assert len(list((tmp_path / "unpacked").iterdir())) == 1


def test_shards_of_others(tmp_path: Path) -> None:
    said = {"captions": {"EN": "a dog", "eng_Latn": ["barks", " "], "en-x-2": "woof", "fr": ""}}
    (sound, facts), (late, more) = sample("./d/b.c", said), sample("A")
    junk = [("d/", b""), ("d/._b.c.flac", b"mac"), ("b.cls", b"3"), ("b.txt", b"dog")]
    shard = archive(tmp_path / "x.tar", facts, *junk, late, sound, more)
    twin = archive(tmp_path / "w.tar", ("A.OPUS", b"sound"), sample("A")[1])
    assert [one.id for one in read_shards([shard, twin], tmp_path / "u")] == [
        "w/A", "x/d/b.c", "x/A",
    ]  # fmt: skip
    (first, _) = read_shards([shard], tmp_path / "u")
    assert first.captions == {"en": ("a dog", "barks", "woof")}
    assert (first.split, first.recording) == ("train", "")
    assert first.audio.read_bytes() == b"sound"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (sample("a")[:1], "member `a.flac`: Its `a.json` is missing"),
        (sample("a")[1:], "member `a.json`: Its sound is missing"),
        ((*sample("a"), sample("a")[0]), "member `a.flac`: Its key is there twice"),
        ((*sample("a"), ("a.wav", b"x")), "member `a.wav`: Its key is there twice"),
        ((*sample("a"), sample("./a")[1]), "member `./a.json`: Its key is there twice"),
        (sample("../a"), "member `../a.flac`: Its path leads out of the folder"),
        (sample("b/../../a"), "leads out of the folder"),
        (sample("/tmp/a"), "member `/tmp/a.flac`: Its path leads out of the folder"),
        (sample("a", ["a dog"]), "member `a.json`: Its JSON is not an object"),
        ((("a.json", b"{'a': 1}"),), "member `a.json`: It is no JSON"),
        ((("a.json", b'{"a": "\xff"}'),), "member `a.json`: It is no JSON"),
        ((("a.json", b"[" * 100_000),), "member `a.json`: It is no JSON"),
        ((("a.json", b" " * 20_000_000),), "member `a.json`: It is larger than 16 MiB"),
        (sample("a", {}), "member `a.json`: It has no caption"),
        (sample("a", {"captions": {"en": [" "]}}), "member `a.json`: It has no caption"),
        (sample("a", {"captions": "a dog"}), "`captions` are not an object"),
        (sample("a", {"captions": {"en": [3]}}), "captions in `en` are neither"),
        (sample("a", {"captions": {"en": None}}), "captions in `en` are neither"),
        (sample("a", {"captions": {"en": "\ud83d"}}), "captions in `en` are neither"),
        (sample("a", {"captions": {"frnch": "chien"}}), "member `a.json`: Unknown language"),
        (sample("a", FACTS | {"split": 3}), "member `a.json`: Its `split` is not a text"),
        (
            (*sample("a", FACTS | {"id": "i"}), *sample("b", FACTS | {"id": "i"})),
            "member `b.flac`: The id `i` is that of `a` already",
        ),
        ((), "holds no sounds"),
        ((("readme.txt", b"hello"),), "holds no sounds"),
    ],
)
def test_wrong_members(tmp_path: Path, members: tuple[Member, ...], message: str) -> None:
    found = refusal(archive(tmp_path / "bad.tar", *members))
    assert message in found
    assert "bad.tar" in found


def test_links_are_not_followed(tmp_path: Path) -> None:
    shard = tmp_path / "bad.tar"
    with tarfile.open(shard, "w") as tar:
        member = tarfile.TarInfo("a.flac")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    assert "member `a.flac`: It is a link" in refusal(shard)


def test_every_truncation_is_found(tmp_path: Path) -> None:
    whole = archive(tmp_path / "x.tar", *sample("a"), *sample("b", sound=b"x" * 600))
    content = whole.read_bytes()
    end = 512 * (2 + 2 + 3 + 2)
    shard = tmp_path / "cut.tar"
    for size in [0, *range(1, end + 512, 256), end - 1, end + 511]:
        shard.write_bytes(content[:size])
        found = refusal(shard)
        assert "cut.tar` is no tar archive, or damaged, at" in found
        assert size < 513 or "member `" in found
    shard.write_bytes(content[: end + 512])
    assert len(read_shards([shard], tmp_path / "unpacked")) == 2


def test_damaged_headers(tmp_path: Path) -> None:
    content = bytearray(archive(tmp_path / "x.tar", *sample("a"), *sample("b")).read_bytes())
    negative = bytearray(content)
    content[4 * 512 + 5] ^= 0xFF
    shard = tmp_path / "bad.tar"
    shard.write_bytes(content)
    assert "at member `a.json`" in refusal(shard)
    negative[124:136] = b"\xff" * 10 + b"\xfc\x00"
    negative[148:156] = b" " * 8
    negative[148:156] = b"%06o\0 " % sum(negative[:512])
    shard.write_bytes(negative)
    assert "size is negative" in refusal(shard)
    shard.write_bytes(np.random.default_rng(0).bytes(5000))
    assert "no tar archive" in refusal(shard)


def test_no_such_shard(tmp_path: Path) -> None:
    assert "There is no file" in refusal(tmp_path / "none.tar")
    (tmp_path / "folder.tar").mkdir()
    assert "There is no file" in refusal(tmp_path / "folder.tar")
    assert read_shards([], tmp_path) == []


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    shard = archive(tmp_path / "x.tar", *sample("a"))
    with pytest.raises(AtriError, match=r"Cannot unpack `.*x\.tar`"):
        read_shards([shard], file / "below")
    with pytest.raises(AtriError, match=r"Cannot write shards to `.*below`"):
        write_shards([], file / "below")


def test_wrong_clips(tmp_path: Path) -> None:
    sound = write_tone(tmp_path / "a.wav")
    good, folder = clip(sound, "good"), tmp_path / "shards"
    gone = clip(tmp_path / "gone.wav")
    wrong: list[tuple[Clip, type[AtriError], str]] = [
        (Clip("mute", sound, {}), UsageError, "`mute`: It has no caption"),
        (Clip("odd", sound, {"frnch": ("x",)}), UsageError, "`odd`: Unknown language"),
        (gone, AudioError, "is not there"),
        (clip(sound, start=9.0), AudioError, "no sound at 9"),
        (clip(write(tmp_path / "fast.aiff", noise(1, 700_000), 700_000)), AtriError, "as FLAC"),
    ]
    for bad, kind, message in wrong:
        with pytest.raises(kind, match=message):
            write_shards([good, bad], folder)
        assert list(folder.iterdir()) == []
    with pytest.raises(AudioError):
        write_shards([good, good, gone], folder, most_bytes=1)
    assert [path.name for path in folder.iterdir()] == ["shard-00000.tar"]
    with pytest.raises(UsageError, match="holds shards already"):
        write_shards([good], folder)


def test_full_disk(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    sound = write_noise(tmp_path / "a.wav", seconds=4)
    shard = archive(tmp_path / "x.tar", *sample("a", sound=bytes(100_000)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(AtriError, match="Cannot write shards"):
            write_shards([clip(sound)], tmp_path / "shards")
        assert list((tmp_path / "shards").iterdir()) == []
        assert "Cannot unpack" in refusal(shard, AtriError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_names_in_any_bytes(tmp_path: Path) -> None:
    sound = tmp_path / os.fsdecode(b"b\xe9ll.wav")
    write_tone(tmp_path / "a.wav").rename(sound)
    paths = write_shards([clip(sound, sound.name)], tmp_path / "shards")
    (found,) = read_shards(paths, tmp_path / "unpacked")
    assert found.id == "b\\udce9ll.wav"


def test_memory_does_not_hold_the_sounds(tmp_path: Path) -> None:
    sound = tmp_path / "a.wav"
    sound.write_bytes(bytes(8_000_000))
    tracemalloc.start()
    try:
        paths = write_shards([clip(sound, str(n)) for n in range(4)], tmp_path / "shards")
        read_shards(paths, tmp_path / "unpacked")
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
