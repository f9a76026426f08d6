"""Which recordings training sees, and their cached log-mels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sounds import write, write_tone
from tests.train_tools import World
from train import melcache
from train.captions import concepts_of, label_concepts
from train.melcache import cache_mels, frames, load_clips, loop_to, read_waveform
from train.sources import Source, in_validation, recording_key

TEST_PACKAGE = "gcompris-qt-data"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_rows_become_sources(world: World) -> None:
    world.add("a/bark.wav")
    world.add("b/odd.wav", label="archer attack", vague=True, hertz=500)
    world.add("c/click.wav", label=None, hertz=600)
    one, vague, unlabelled = world.read()
    assert (one.package, one.label, one.kind, one.seconds) == ("game", "dog bark", "x", 1.5)
    assert one.path == world.sounds / "x" / "game" / "a" / "bark.wav"
    assert [one.vague, vague.vague, unlabelled.vague] == [False, True, True]
    assert (unlabelled.label, unlabelled.kind, unlabelled.validation) == ("", "ui", False)


def test_members_of_archives_are_found(world: World) -> None:
    world.add("data/pak0.pk3:/sound/bark.wav")
    (found,) = world.read()
    inner = Path("x/game/_arc/data/pak0.pk3/sound/bark.wav")
    assert found.path == world.sounds / inner


def test_each_content_comes_once_labelled_first(world: World) -> None:
    world.add("plain.wav", label=None)
    world.add("again.wav", copy_of="game/plain.wav")
    (found,) = world.read()
    assert found.path.name == "again.wav"


def test_what_is_not_on_disk_is_left_out(world: World) -> None:
    world.add("there.wav")
    world.add("gone.wav", hertz=800)
    (world.sounds / "x/game/gone.wav").unlink()
    assert [source.path.name for source in world.read()] == ["there.wav"]


def test_reserved_recordings_never_come(world: World) -> None:
    world.add("free.wav")
    world.reserve([world.add("kept.wav", hertz=700)])
    assert [source.path.name for source in world.read()] == ["free.wav"]


def test_test_packages_never_come_nor_copies_of_theirs(world: World) -> None:
    world.add("free.wav")
    world.add("dog.wav", package=TEST_PACKAGE, hertz=900)
    world.add("stolen.wav", copy_of=f"{TEST_PACKAGE}/dog.wav")
    assert [source.path.name for source in world.read()] == ["free.wav"]


def test_the_split_is_the_same_every_time_and_by_recording(world: World) -> None:
    for number in range(60):
        name = "abcdefghij"[number % 10] * (number // 10 + 1)
        world.add(f"dir/{name}_01.wav", hertz=100 + number)
        world.add(f"dir/{name}_02.wav", hertz=300 + number)
    first, again = world.read(), world.read()
    assert first == again
    sides = [source.validation for source in first]
    assert sides[::2] == sides[1::2]
    assert set(sides) == {True, False}


@given(st.from_regex(r"[a-z]{1,8}/[a-z]{1,12}", fullmatch=True), st.integers(0, 999))
def test_takes_of_a_recording_share_a_side(path: str, take: int) -> None:
    keys = {
        recording_key("p", name)
        for name in (f"{path}.wav", f"{path}{take}.wav", f"{path}_{take}.OGG", f"{path}-{take}.mp3")
    }
    assert len(keys) == 1
    assert len({in_validation(key) for key in keys}) == 1
    assert recording_key("q", f"{path}.wav") not in keys


def test_about_a_tenth_is_for_validation() -> None:
    sides = [in_validation(f"package:recording{'x' * (n % 7)}{n}") for n in range(4000)]
    assert 0.08 < sum(sides) / len(sides) < 0.12


def test_labels_give_concepts_unless_they_are_vague(world: World) -> None:
    world.add("a.wav", label="accordion")
    world.add("b.wav", label="accordion", vague=True, hertz=500)
    world.add("c.wav", label="no such label", hertz=600)
    labels = label_concepts()
    assert [concepts_of(source, labels) for source in world.read()] == [["accordion"], [], []]


# Cached log-mels


@pytest.fixture
def sources(world: World) -> list[Source]:
    for number, package in enumerate(("one", "one", "two")):
        world.add(f"{number}.wav", package=package, hertz=400 + 100 * number)
    return world.read()


def test_clips_come_back_in_order(sources: list[Source], tmp_path: Path) -> None:
    cache_mels(sources, tmp_path / "mels")
    found = load_clips(sources[::-1], tmp_path / "mels")
    assert [clip.source for clip in found] == sources[::-1]
    assert {clip.mel.shape for clip in found} == {(frames(1.5), 128)}
    assert all(clip.mel.dtype == np.float16 for clip in found)


def test_what_is_cached_is_not_computed_again(
    sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_mels(sources, tmp_path)
    (tmp_path / "two.json").unlink()
    read: list[Path] = []

    def watched(path: Path, longest: float = 30.0) -> np.ndarray:  # type: ignore[type-arg]
        read.append(path)
        return read_waveform(path, longest)

    monkeypatch.setattr(melcache, "read_waveform", watched)
    cache_mels(sources, tmp_path)
    assert [path.name for path in read] == ["2.wav"]
    assert len(load_clips(sources, tmp_path)) == 3


def test_broken_and_silent_files_are_left_out(
    sources: list[Source], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources[0].path.write_bytes(b"RIFF nonsense")
    write(sources[2].path, np.zeros(16_000, np.float32))
    cache_mels(sources, tmp_path)
    assert [clip.source for clip in load_clips(sources, tmp_path)] == sources[1:2]
    assert "skipping 0.wav" in capsys.readouterr().out
    assert json.loads((tmp_path / "two.json").read_text()) == {}


def test_a_package_that_is_not_cached_gives_no_clips(sources: list[Source], tmp_path: Path) -> None:
    cache_mels(sources[:2], tmp_path)
    assert len(load_clips(sources, tmp_path)) == 2


def test_short_sounds_are_looped_to_a_second(world: World, tmp_path: Path) -> None:
    world.add("short.wav")
    (source,) = world.read()
    write_tone(source.path, 440, 0.3)
    cache_mels([source], tmp_path)
    assert len(load_clips([source], tmp_path)[0].mel) == frames(1.0)


def test_of_a_long_file_the_middle_is_read(tmp_path: Path) -> None:
    write_tone(tmp_path / "long.wav", 440, 3.0)
    whole = read_waveform(tmp_path / "long.wav")
    middle = read_waveform(tmp_path / "long.wav", longest=1.0)
    assert len(middle) == 32_000
    np.testing.assert_allclose(middle[1000:-1000], whole[33_000:63_000], atol=1e-2)


@given(st.integers(1, 50), st.integers(1, 200))
def test_looping_repeats(length: int, wanted: int) -> None:
    waveform = np.arange(length, dtype=np.float32)
    found = loop_to(waveform, wanted)
    assert len(found) == max(length, wanted)
    assert (found == np.arange(len(found)) % length).all()
