"""`atri index`, `status` and `roots` on real folders."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from atri_cli.audio import formats
from atri_cli.library import hnsw
from tests.cli_tools import REPOSITORY, atri, make_sounds, run
from tests.sounds import write_bad_files, write_noise, write_tone

Capture = pytest.CaptureFixture[bytes]


@pytest.fixture(autouse=True)
def _model(fake_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATRI_MODEL", str(fake_model))


def counts(document: dict[str, object]) -> dict[str, object]:
    names = ("added", "updated", "moved", "removed", "unchanged")
    return {name: document[name] for name in names if document[name]}


def test_the_summary_follows_what_happens_to_the_files(
    tmp_path: Path, capsysbinary: Capture
) -> None:
    folder = make_sounds(tmp_path / "sounds")
    done = run(capsysbinary, "index", folder, "--json")
    assert (done.code, done.json["schema"], counts(done.json)) == (0, 1, {"added": 3})
    assert done.json["segments"] == 7
    assert done.json["audio_seconds"] == pytest.approx(9, abs=0.01)
    assert counts(run(capsysbinary, "index", "--json").json) == {"unchanged": 3}
    (folder / "low.wav").rename(folder / "deep.wav")
    (folder / "sub" / "noise.flac").unlink()
    write_tone(folder / "sub" / "high.wav", 2500, 2)
    assert counts(run(capsysbinary, "index", "--json").json) == {
        "moved": 1,
        "removed": 1,
        "updated": 1,
    }
    done = run(capsysbinary, "index", "--reindex", "--jobs", "1", "--json")
    assert counts(done.json) == {"updated": 2}


def test_the_summary_for_people(tmp_path: Path, capsysbinary: Capture) -> None:
    folder = make_sounds(tmp_path / "sounds")
    write_bad_files(folder / "bad")
    done = run(capsysbinary, "index", folder, "--library", "work", "--verbose")
    assert done.lines[0].split() == ["added", "3", "files"]
    assert any(line.endswith("1 silent: nothing but silence") for line in done.lines)
    assert "9.0 s in 7 segments" in done.lines[-1]
    assert "× real time" in done.lines[-1]
    assert f"Skipped {folder}/bad/text.wav: not-audio." in done.err
    assert "`atri search 'dog barking' --library work`" in done.err
    done = run(capsysbinary, "index", "--library", "work", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_formats_that_need_the_extra_say_what_to_install(
    tmp_path: Path, capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats.has_optional.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    make_sounds(tmp_path / "sounds")
    (tmp_path / "sounds" / "a.m4a").write_bytes(b"x" * 99)
    done = run(capsysbinary, "index", tmp_path / "sounds")
    formats.has_optional.cache_clear()
    assert "skipped  1 needs-formats-extra: m4a, video and the like: `pip install" in done.out
    assert '"atri-cli[formats]"` reads them' in done.out


def test_dry_run_writes_nothing(tmp_path: Path, atri_home: Path, capsysbinary: Capture) -> None:
    folder = make_sounds(tmp_path / "so und")
    done = run(capsysbinary, "index", "--dry-run", folder)
    assert done.code == 0
    assert done.lines[0].split() == ["added", "3", "files"]
    assert f"`atri index '{folder}'` does it." in done.err
    assert not atri_home.exists()


def test_no_folder_a_wrong_folder_and_no_sounds(tmp_path: Path, capsysbinary: Capture) -> None:
    done = run(capsysbinary, "index")
    assert (done.code, done.out) == (2, "")
    assert "atri index DIR" in done.err
    done = run(capsysbinary, "index", tmp_path / "nowhere")
    assert done.code == 2
    assert "nowhere" in done.err
    (tmp_path / "empty").mkdir()
    done = run(capsysbinary, "index", tmp_path / "empty")
    assert (done.code, done.lines) == (0, ["sounds  none found"])


@pytest.mark.parametrize("words", [["--jobs", "0"], ["--jobs", "x"], ["--device", "gpu"]])
def test_wrong_options(words: list[str], tmp_path: Path, capsysbinary: Capture) -> None:
    done = run(capsysbinary, "index", tmp_path, *words)
    assert (done.code, done.out) == (2, "")
    assert words[0] in done.err


def test_device_auto_says_what_it_chose_and_cuda_fails_loudly(
    tmp_path: Path, capsysbinary: Capture
) -> None:
    folder = make_sounds(tmp_path / "sounds")
    done = run(capsysbinary, "index", folder, "--device", "cuda")
    if done.code == 0:
        pytest.skip("this machine has CUDA")
    assert done.code == 1
    assert "The device `cuda` cannot be used." in done.err
    done = run(capsysbinary, "index", folder, "--device", "auto")
    assert done.code == 0
    assert "Using cpu: " in done.err


def test_an_unplugged_root_is_named_and_kept(tmp_path: Path, capsysbinary: Capture) -> None:
    folder = make_sounds(tmp_path / "usb")
    run(capsysbinary, "index", folder)
    folder.rename(tmp_path / "away")
    done = run(capsysbinary, "index")
    assert (done.code, done.out) == (0, "")
    assert f"Warning: `{folder}` is not there; its sounds stay in the library." in done.err
    assert run(capsysbinary, "status", "--json").json["files"] == 3
    done = run(capsysbinary, "status")
    assert "not there now" in done.out
    assert "roots relocate" in done.err
    assert "away" in run(capsysbinary, "roots").lines[1]
    done = run(capsysbinary, "roots", "relocate", folder, tmp_path / "away")
    assert done.code == 0, done.err
    assert counts(run(capsysbinary, "index", "--json").json) == {"unchanged": 3}


def test_roots_are_listed_and_forgotten(tmp_path: Path, capsysbinary: Capture) -> None:
    done = run(capsysbinary, "roots")
    assert (done.code, done.out) == (0, "")
    assert "Type `atri index ~/sounds`." in done.err
    one, two = make_sounds(tmp_path / "one"), tmp_path / "two"
    write_noise(two / "n.wav", seed=3)
    run(capsysbinary, "index", one, two)
    listed = run(capsysbinary, "roots", "list", "--json").json
    assert [root["path"] for root in listed["roots"]] == [str(one), str(two)]
    assert [root["files"] for root in listed["roots"]] == [3, 1]
    assert run(capsysbinary, "roots", "--json").json == listed
    done = run(capsysbinary, "roots", "forget", one)
    assert done.lines == [f"forgotten  {one} (3 files)"]
    assert f"`atri index {one}`" in done.err
    assert len(run(capsysbinary, "roots").lines) == 2
    done = run(capsysbinary, "roots", "forget", one, "--json")
    assert (done.code, done.out) == (2, "")
    done = run(capsysbinary, "roots", "--library", "x", "list")
    assert done.code == 2
    assert "Write the options after `list`." in done.err
    assert one.is_dir()


def test_status(tmp_path: Path, atri_home: Path, capsysbinary: Capture) -> None:
    done = run(capsysbinary, "status")
    assert done.code == 0
    assert "Type `atri index ~/sounds`." in done.err
    folder = make_sounds(tmp_path / "sounds")
    write_bad_files(folder)
    run(capsysbinary, "index", folder)
    now = run(capsysbinary, "status", "--json").json
    assert (now["schema"], now["files"], now["segments"], now["model"]) == (1, 3, 7, "fake")
    assert now["folder"] == str(atri_home / "libraries" / "default")
    assert now["skipped"]["silent"] == 1
    assert now["cache"] == "unused"
    assert abs(now["last_indexed"] - time.time()) < 600
    lines = run(capsysbinary, "status").lines
    assert lines[0].startswith("library       default (")
    assert any(line.startswith("files         3") for line in lines)


def test_another_model_is_refused_with_the_command_that_helps(
    tmp_path: Path, capsysbinary: Capture, make_model: Callable[[int], Path]
) -> None:
    run(capsysbinary, "index", make_sounds(tmp_path / "sounds"))
    other = make_model(8)
    options = ("--library", "default", "--model", other)
    done = run(capsysbinary, "search", "low", *options)
    assert (done.code, done.out) == (1, "")
    assert f"`atri index --reindex --library default --model {other}`" in done.err
    assert run(capsysbinary, "reindex", *options).code == 0
    assert run(capsysbinary, "search", "low", *options, "--paths").lines


def test_models_side_by_side(
    tmp_path: Path, capsysbinary: Capture, make_model: Callable[[int], Path]
) -> None:
    sounds, other = make_sounds(tmp_path / "sounds"), make_model(8)
    assert run(capsysbinary, "index", sounds).code == 0
    before = run(capsysbinary, "search", "low", "--json").json
    empty = run(capsysbinary, "index", "--model", other)
    assert empty.code == 1
    assert f"`atri reindex --model {other}` takes the folders of your library" in empty.err
    assert run(capsysbinary, "search", "low", "--model", other).code == 1
    made = run(capsysbinary, "reindex", "--model", other)
    assert made.code == 0, made.err
    assert "Taking 1 folder of the library `default`" in made.err
    name = f"default@{other.name}"
    found = run(capsysbinary, "search", "low", "--model", other, "--json").json
    assert (found["library"], found["model"]) == (name, other.name)
    assert len(found["hits"]) == len(before["hits"])
    named = run(capsysbinary, "search", "low", "-L", name, "--model", other, "--json").json
    assert named == found
    assert run(capsysbinary, "search", "low", "--json").json == before
    again = run(capsysbinary, "reindex", "--model", other)
    assert again.code == 0
    assert "updated" in again.out


def test_reindex_of_nothing(capsysbinary: Capture, make_model: Callable[[int], Path]) -> None:
    for words in ((), ("--model", make_model(8)), ("-L", "nowhere")):
        done = run(capsysbinary, "reindex", *words)
        assert done.code == 1
        assert "Nothing is indexed" in done.err
        assert "atri index ~/sounds" in done.err


def test_a_killed_reindex_leaves_the_first_library_answering(
    tmp_path: Path, capsysbinary: Capture, make_model: Callable[[int], Path]
) -> None:
    sounds, other = make_sounds(tmp_path / "sounds"), make_model(8)
    run(capsysbinary, "index", sounds)
    before = run(capsysbinary, "search", "low", "--json").json
    words = [sys.executable, "-m", "atri_cli", "reindex", "--model", str(other)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stderr is not None
        started.stderr.readline()  # it has begun
        started.kill()
    assert run(capsysbinary, "search", "low", "--json").json == before
    assert run(capsysbinary, "reindex", "--model", other).code == 0
    found = run(capsysbinary, "search", "low", "--model", other, "--json").json
    assert len(found["hits"]) == len(before["hits"])


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[[int], Path]:
    from tests.fake_model import make_fake_model

    return lambda dim: make_fake_model(tmp_path / f"model{dim}", dim)


# Real processes


def test_a_library_kept_in_a_folder(tmp_path: Path) -> None:
    make_sounds(tmp_path / "sounds")
    done = atri("index", "sounds", "--library", "./lib", cwd=tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "lib" / "library.db").is_file()
    done = atri("search", "son grave", "--library", "lib/", "--paths", "-n1", cwd=tmp_path)
    assert done.lines == [str(tmp_path / "sounds" / "low.wav")]


def test_ctrl_c_saves_what_is_finished_and_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    for number in range(300):
        write_noise(folder / f"{number}.wav", 1, seed=number)
    write_noise(folder / "zz-long.wav", 60)
    shutil.copy(folder / "zz-long.wav", folder / "zz-longer.wav")
    process = subprocess.Popen(
        [sys.executable, "-m", "atri_cli", "index", str(folder), "--jobs", "1"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    database = Path(os.environ["ATRI_HOME"]) / "libraries" / "default" / "library.db"
    while not database.exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.15)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130), err  # 0 on a machine that was faster
    assert "Traceback" not in err
    if process.returncode == 130 and err:
        assert f"`atri index {folder}` goes on from there." in err
    # Named again: on a busy machine Ctrl-C came before the folder was remembered.
    done = atri("index", folder, "--json")
    assert done.json["added"] + done.json["unchanged"] + done.json["updated"] == 302


def test_building_the_search_graph_is_announced(
    tmp_path: Path, capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds = make_sounds(tmp_path / "sounds")
    run(capsysbinary, "index", sounds)
    monkeypatch.setattr(hnsw, "EXACT_LIMIT", 3)
    done = run(capsysbinary, "index")
    assert done.err == "Building the search graph with 7 segments: this may take minutes.\n"
    assert run(capsysbinary, "index").err == ""


def test_a_terminal_sees_a_progress_bar_that_goes_away(tmp_path: Path) -> None:
    make_sounds(tmp_path / "sounds")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "atri_cli", "index", str(tmp_path / "sounds")],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    seen = b""
    try:
        while block := os.read(ours, 65536):
            seen += block
    except OSError:
        pass  # Linux says so when the other end has closed
    finally:
        os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"real time" in seen
    assert b"3/3" in seen
    assert out.startswith(b"added  3 files\n")
    assert b"\x1b" not in out
