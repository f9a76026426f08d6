"""Running `atri` in tests: inside this process (fast) or as a real one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from atri_cli.__main__ import main
from tests.sounds import write_noise, write_tone

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Done:
    """What a run of `atri` left behind."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def run(capture: pytest.CaptureFixture[bytes], *words: str | Path, stdin: bytes = b"") -> Done:
    """`atri WORDS` inside this process, through `main` with its error messages."""
    given = io.TextIOWrapper(io.BytesIO(stdin))
    with (
        patch.object(sys, "argv", ["atri", *map(str, words)]),
        patch.object(sys, "stdin", given),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    out, err = capture.readouterr()
    return Done(int(ended.value.code or 0), out, err.decode())


def atri(
    *words: str | bytes | Path, cwd: Path | None = None, stdin: bytes = b"", **environment: str
) -> Done:
    """`python -m atri_cli WORDS` as a process of its own."""
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "atri_cli", *words],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
    )
    return Done(done.returncode, done.stdout, done.stderr.decode())


def make_sounds(folder: Path) -> Path:
    """Three sounds that the fake model tells apart: `low.wav`, `sub/high.wav`, `sub/noise.flac`."""
    write_tone(folder / "low.wav", 200, 3)
    write_tone(folder / "sub" / "high.wav", 3000, 1)
    write_noise(folder / "sub" / "noise.flac", 5)
    return folder
