"""Help: fast, with examples for every command, and the same as docs/commands.md."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time

import pytest

from atri_cli import __version__
from atri_cli.commands.reference import TARGET, commands, reference
from tests.cli_tools import REPOSITORY, atri, run

Capture = pytest.CaptureFixture[bytes]
HEAVY = (
    *("numpy", "onnxruntime", "torch", "hnswlib", "sentencepiece", "soundfile", "soxr", "av"),
    *("rich.console", "platformdirs", "sqlite3", "train", "export"),
)
NAMES = [name for name, _ in commands()]


def test_every_command_is_known() -> None:
    assert {"atri index", "atri search", "atri status", "atri doctor", "atri models"} <= set(NAMES)
    roots = {"atri roots", "atri roots list", "atri roots forget", "atri roots relocate"}
    assert roots <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help_with_an_example(
    name: str, option: str, capsysbinary: Capture
) -> None:
    words = name.split()[1:]
    done = run(capsysbinary, *words, option)
    assert (done.code, done.err) == (0, "")
    assert done.lines[0].startswith(f"Usage: {name} ")
    assert re.search(rf"Examples:\n +{name}\b", done.out)
    assert "\x1b" not in done.out


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_the_help_is_in_the_reference(name: str, capsysbinary: Capture) -> None:
    section = TARGET.read_text(encoding="utf-8").partition(f"\n## {name}\n")[2]
    section = section.partition("\n## ")[0]
    assert "```sh\n" + name in section
    shown = set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", run_help(name, capsysbinary), re.MULTILINE))
    written = set(re.findall(r"^\| `(--[\w-]+)(?:/--[\w-]+)?`", section, re.MULTILINE))
    assert shown - {"--help"} == written


def run_help(name: str, capture: Capture) -> str:
    return run(capture, *name.split()[1:], "--help").out.partition("Options:")[2]


def test_the_reference_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == reference(), (
        "docs/commands.md is old: run `python -m atri_cli.commands.reference`"
    )


@pytest.mark.parametrize(
    "runner", [{"FORCE_COLOR": "1", "GITHUB_ACTIONS": "true"}, {"COLUMNS": "40"}]
)
def test_the_reference_does_not_depend_on_the_terminal(runner: dict[str, str]) -> None:
    script = (
        "import sys; from atri_cli.commands.reference import reference as r; print(r(), end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        cwd=REPOSITORY,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **runner},
    )
    assert done.stdout.decode() == reference()


def test_no_command_shows_the_commands(capsysbinary: Capture) -> None:
    done = run(capsysbinary)
    said = done.out + done.err
    assert "search" in said
    assert "Examples:" in said


def test_version(capsysbinary: Capture) -> None:
    assert run(capsysbinary, "--version").out == f"atri {__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["search", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    script = f"""
import sys
from atri_cli.__main__ import main
sys.argv = ["atri", *{words!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(sorted(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, cwd=REPOSITORY, check=True
    )
    assert done.stderr.decode().strip() == "[]"


def test_help_takes_at_most_twice_the_time_of_importing_typer_and_rich() -> None:
    def seconds(*words: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], cwd=REPOSITORY, check=True, capture_output=True)
        return time.perf_counter() - start

    bare, ours = [], []
    for _ in range(7):
        bare.append(seconds("-c", "import typer, rich"))
        ours.append(seconds("-m", "atri_cli", "--help"))
    # The shared machine is noisy, so this is the smaller of two ratios that agree on a quiet one.
    ratios = (min(ours) / min(bare), statistics.median(ours) / statistics.median(bare))
    assert min(ratios) < 2, ratios


def test_an_unknown_command_is_wrong_usage() -> None:
    done = atri("serach", "x")
    assert done.code == 2
    assert "serach" in done.err
    assert done.out == ""
