"""Manifests as clips, and splits that keep recordings together."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.errors import UsageError
from train.data.manifest import read_manifest
from train.data.splits import place_of, split
from train.types import Clip


def manifest(folder: Path, *rows: str) -> Path:
    path = folder / "q.tsv"
    path.write_text("\n".join(["id\taudio\ten\tfr\tsplit", *rows]) + "\n", encoding="utf-8")
    return path


def sounds(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_rows_become_clips(tmp_path: Path) -> None:
    sounds(tmp_path, "dog.wav", "cats/a.wav", "cats/deep/b.wav", "odd[1].wav")
    path = manifest(
        tmp_path,
        "dog\tdog.wav|odd[1].wav\tdog\tchien\ttest",
        "cat\tcats/**/*.wav\tcat\t\t",
    )
    dog, odd, first, second = read_manifest(path)
    assert (dog.id, odd.id, first.id, second.id) == ("dog", "dog#2", "cat", "cat#2")
    assert dog.audio == tmp_path / "dog.wav"
    assert odd.audio == tmp_path / "odd[1].wav"
    assert dog.captions == {"en": ("dog",), "fr": ("chien",)}
    assert (dog.split, dog.line, first.split, first.line) == ("test", 2, "train", 3)
    assert {first.audio.name, second.audio.name} == {"a.wav", "b.wav"}


def test_another_root(tmp_path: Path) -> None:
    sounds(tmp_path / "sounds", "dog.wav")
    path = manifest(tmp_path, "dog\tdog.wav\tdog\t\t")
    assert read_manifest(path, tmp_path / "sounds")[0].audio.parent.name == "sounds"


def test_missing_sounds_are_counted_and_named(tmp_path: Path) -> None:
    path = manifest(tmp_path, *(f"{n}\tno{n}.wav\tx\t\t" for n in range(5)))
    with pytest.raises(UsageError) as error:
        read_manifest(path)
    assert "5 of its entries" in error.value.what
    places = [f"line {n + 2}, column `audio`: `no{n}.wav`" for n in range(3)]
    assert error.value.why == f"{'; '.join(places)} and 2 more."


def test_without_sounds(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no sounds"):
        read_manifest(manifest(tmp_path, "a\t\tdog\t\t"))


def clip(number: int, recording: str, part: str = "train") -> Clip:
    return Clip(str(number), Path("a.wav"), {"en": ("x",)}, split=part, recording=recording)


recordings = st.lists(st.sampled_from([f"r{n}" for n in range(30)]), max_size=60)


@given(recordings, recordings, st.integers(0, 5))
def test_splits(names: list[str], more: list[str], seed: int) -> None:
    before = split([clip(n, name) for n, name in enumerate(names)], seed=seed)
    homes: dict[str, set[str]] = {}
    for part, clips in before.items():
        for one in clips:
            assert one.split == part
            homes.setdefault(one.recording, set()).add(part)
    assert all(len(parts) == 1 for parts in homes.values())
    after = split([clip(n, name) for n, name in enumerate(names + more)], seed=seed)
    for part, clips in after.items():
        for one in clips:
            assert homes.get(one.recording, {part}) == {part}


def test_shares_are_kept() -> None:
    found = split([clip(n, f"recording {n}") for n in range(4000)])
    shares = [len(found[name]) / 4000 for name in ("train", "validation", "test")]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    assert place_of("a", 0) != place_of("a", 1)


def test_a_given_split_holds_for_the_whole_recording() -> None:
    found = split([clip(1, "r"), clip(2, "r", "test"), clip(3, "s", "mine")])
    assert [one.id for one in found["test"]] == ["1", "2"]
    assert [one.id for one in found["mine"]] == ["3"]


def test_shares_must_add_up() -> None:
    with pytest.raises(ValueError, match="add up"):
        split([], {"train": 0.5})
