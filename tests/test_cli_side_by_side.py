"""Models side by side: a library for each, as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atri_cli import Library
from tests.cli_tools import REPOSITORY, Done, atri, make_sounds
from tests.fake_model import make_fake_model
from tests.sounds import write_noise

MANY = 400


@pytest.fixture(autouse=True)
def other(fake_model: Path, atri_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a second, installed model; the first is that of the library `default`."""
    monkeypatch.setenv("ATRI_MODEL", str(fake_model))
    return make_fake_model(atri_home / "models" / "other", 8).name


def found(*words: str) -> list[str]:
    return atri("search", "son grave", "--paths", *words).lines


def test_two_models_from_the_first_sound_to_the_last(tmp_path: Path, other: str) -> None:
    folder = make_sounds(tmp_path / "sounds")
    assert atri("index", folder).code == 0
    first = atri("search", "low", "--json")
    done = atri("index", folder / "sub", "--model", other)
    assert done.code == 0, done.err
    assert f"`atri search 'dog barking' --model {other}`" in done.err
    assert len(found("--model", other)) == 2
    assert len(found()) == 3
    write_noise(folder / "sub" / "new.wav", seed=9)
    assert atri("index", "--model", other, "--json").json["added"] == 1
    assert atri("search", "low", "--json").raw == first.raw
    now = atri("status", "--model", other, "--json").json
    assert (now["library"], now["model"], now["files"]) == (f"default@{other}", other, 3)
    assert atri("status", "--json").json["files"] == 3
    (root,) = atri("roots", "--model", other, "--json").json["roots"]
    assert root["path"] == str(folder / "sub")
    assert atri("roots", "forget", folder / "sub", "--model", other).code == 0
    assert atri("roots", "--model", other, "list").code == 2
    assert atri("search", "low", "--json").raw == first.raw


def test_a_library_that_is_named_is_the_one_used(tmp_path: Path, other: str) -> None:
    folder = make_sounds(tmp_path / "sounds")
    assert atri("index", folder, "--model", other, "--library", "mine").code == 0
    assert atri("status", "--library", "mine", "--json").json["model"] == other
    assert atri("status", "--model", other, "--json").json["files"] == 0


def test_a_mistake_at_first_does_not_bar_the_way(tmp_path: Path, other: str) -> None:
    atri("index", make_sounds(tmp_path / "sounds"))
    assert atri("index", tmp_path / "sonuds", "--model", other).code == 2
    done = atri("index", "--model", other)
    assert (done.code, done.out) == (1, "")
    assert f"`atri reindex --model {other}` takes the folders" in done.err
    assert f"`atri index ~/sounds --model {other}`" in done.err
    done = atri("reindex", "--model", other)
    assert done.code == 0, done.err
    assert "Taking 1 folder of the library `default`." in done.err
    assert found("--model", other) == found()


def test_there_is_no_advice_to_repeat_what_failed(other: str) -> None:
    done = atri("reindex", "--model", other)
    assert done.code == 1
    assert "atri reindex" not in done.err
    assert f"`atri index ~/sounds --model {other}`" in done.err


def test_a_folder_that_is_away_is_named(tmp_path: Path, other: str) -> None:
    here, usb = make_sounds(tmp_path / "here"), make_sounds(tmp_path / "usb")
    atri("index", here, usb)
    usb.rename(tmp_path / "unplugged")
    done = atri("reindex", "--model", other)
    assert (done.code, len(found("--model", other))) == (0, 3)
    assert f"Warning: `{usb}` is not there; it is not taken over." in done.err
    here.rename(tmp_path / "gone")
    done = atri("reindex", "--model", str(make_fake_model(tmp_path / "third", 4)))
    assert done.code == 1
    assert "atri reindex" not in done.err


def killed_half_way(database: Library, *words: str) -> None:
    """`atri reindex WORDS`, killed when some of the sounds have been embedded and saved."""
    process = subprocess.Popen(
        [sys.executable, "-m", "atri_cli", "reindex", "--jobs", "1", *words],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with database:
        while process.poll() is None:
            now = database.status()
            if now.model == "other" and now.segments:
                break
            time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL


def went_on(done: Done) -> bool:
    assert done.code == 0, done.err
    counts = done.json
    assert counts["unchanged"] + counts["added"] + counts["updated"] == MANY
    assert "Going on where the last run was stopped." in done.err
    return bool(counts["unchanged"])


@pytest.fixture
def many(tmp_path: Path) -> None:
    for number in range(MANY):
        write_noise(tmp_path / "sounds" / f"{number}.wav", 4, seed=number)
    assert atri("index", tmp_path / "sounds").code == 0


@pytest.mark.usefixtures("many")
def test_killed_half_way_the_first_library_answers_and_the_second_goes_on(
    atri_home: Path, other: str
) -> None:
    before = found("-n", str(MANY))
    assert len(before) == MANY
    killed_half_way(Library(atri_home / "libraries" / f"default@{other}"), "--model", other)
    assert found("-n", str(MANY)) == before
    assert 0 < len(found("-n", str(MANY), "--model", other)) < MANY
    assert went_on(atri("reindex", "--model", other, "--json"))
    assert len(found("-n", str(MANY), "--model", other)) == MANY
    again = atri("reindex", "--model", other, "--json")
    assert (again.json["updated"], again.json["unchanged"]) == (MANY, 0)


@pytest.mark.usefixtures("many")
def test_killed_half_way_in_place_it_goes_on(atri_home: Path, other: str) -> None:
    options = ("--library", "default", "--model", other)
    killed_half_way(Library(atri_home / "libraries" / "default"), *options)
    assert 0 < len(found("-n", str(MANY), *options)) < MANY
    assert went_on(atri("reindex", *options, "--json"))
    assert len(found("-n", str(MANY), *options)) == MANY
