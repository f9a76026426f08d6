"""`main`: errors as messages, exit codes, broken pipes, closed streams."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from atri_cli.errors import AtriError
from tests.cli_tools import REPOSITORY, atri, make_sounds, run

Capture = pytest.CaptureFixture[bytes]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Put an exception in, and `atri status` raises it."""
    errors: list[BaseException] = []

    def fail(*_: object, **__: object) -> NoReturn:
        raise errors[0]

    monkeypatch.setattr("atri_cli.commands.status.load_settings", fail)
    return errors


def test_an_error_is_what_why_hint(failing: list[BaseException], capsysbinary: Capture) -> None:
    failing.append(AtriError("It \x1b[31mbroke.", why="Rust\nand rain.", hint="`atri doctor`"))
    done = run(capsysbinary, "status", "--json")
    assert (done.code, done.out) == (1, "")
    assert done.err == "Error: It \\x1b[31mbroke.\nWhy: Rust\nand rain.\nHint: `atri doctor`\n"


@pytest.mark.parametrize(
    ("error", "code"), [(ValueError("x"), 1), (OSError(5, "I/O"), 1), (MemoryError(), 1)]
)
def test_the_unforeseen_is_one_line_and_how_to_learn_more(
    error: BaseException, code: int, failing: list[BaseException], capsysbinary: Capture
) -> None:
    failing.append(error)
    done = run(capsysbinary, "status")
    assert done.code == code
    lines = done.err.splitlines()
    assert len(lines) == 2
    assert type(error).__name__ in lines[0]
    assert "ATRI_DEBUG=1" in lines[1]


@pytest.mark.parametrize("error", [AtriError("known"), ValueError("unknown")])
def test_atri_debug_brings_the_traceback_back(
    error: Exception, failing: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing.append(error)
    monkeypatch.setenv("ATRI_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["atri", "status"])
    from atri_cli.__main__ import main

    with pytest.raises(type(error)):
        main()


def test_ctrl_c_is_130(failing: list[BaseException], capsysbinary: Capture) -> None:
    failing.append(KeyboardInterrupt())
    done = run(capsysbinary, "status")
    assert (done.code, done.out, done.err) == (130, "", "")


def test_a_wrong_setting_is_named(atri_home: Path) -> None:
    atri_home.mkdir()
    (atri_home / "config.toml").write_text('device = "gpu"')
    done = atri("status")
    assert done.code == 2
    assert done.err.splitlines() == [
        f"Error: `device` in `{atri_home}/config.toml` is 'gpu'.",
        "Hint: It must be one of `cpu`, `cuda`, `auto`.",
    ]


def shell(line: str) -> subprocess.CompletedProcess[bytes]:
    script = f'atri() {{ {sys.executable} -m atri_cli "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", script], cwd=REPOSITORY, capture_output=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("words", "code"), [("doctor --json", b"141"), ("status", b"141"), ("--help", b"1")]
)
def test_a_reader_that_has_gone_is_no_error(
    words: str, code: bytes, fake_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRI_MODEL", str(fake_model))
    done = shell(f"(sleep 0.1; atri {words}) | true; echo ${{PIPESTATUS[0]}}")
    assert done.stdout.strip() == code
    for word in (b"Error", b"Traceback", b"BrokenPipe"):
        assert word not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["status --json", "models", "--help", "--version"])
def test_a_full_disk_behind_stdout_is_a_message(words: str) -> None:
    done = shell(f"atri {words} >/dev/full")
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    "line", ["atri status >&-", "atri status 2>&-", "atri status <&- >&- 2>&-"]
)
def test_closed_streams_are_no_error(line: str) -> None:
    assert shell(line).returncode == 0


def test_a_latin_terminal_gets_text_it_can_show(
    tmp_path: Path, fake_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_sounds(tmp_path / "雨")
    monkeypatch.setenv("ATRI_MODEL", str(fake_model))
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    assert atri("index", folder).code == 0
    done = atri("roots")
    assert done.code == 0
    assert "\\u96e8" in done.out


def test_from_a_folder_with_files_named_like_our_modules(tmp_path: Path, fake_model: Path) -> None:
    """Only what Python itself would take from the current folder is not ours to protect."""
    for name in ("train.py", "export.py", "errors.py", "settings.py", "output.py", "app.py"):
        (tmp_path / name).write_text("raise SystemExit('theirs')")
    make_sounds(tmp_path / "sounds")
    done = atri("index", "sounds", cwd=tmp_path, ATRI_MODEL=str(fake_model))
    assert done.code == 0, done.err


def test_the_process_runs_exit_handlers_and_keeps_its_code() -> None:
    code = (
        "import atexit, sys; atexit.register(lambda: print('bye', flush=True));"
        "sys.argv = ['atri', 'search']; from atri_cli.__main__ import program; program()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == "bye\n"
    assert "Nothing to search for" in done.stderr
