"""Whole processes: wall time and peak memory, several commands in turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Linux counts the memory of the process that starts another as the other's own until it has
# called exec; so a small process in between starts and measures it.
LAUNCHER = """
import json, os, sys, time
out, err, *command = sys.argv[1:]
flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
actions = [(os.POSIX_SPAWN_OPEN, 1, out, flags, 0o600), (os.POSIX_SPAWN_OPEN, 2, err, flags, 0o600)]
begin = time.perf_counter()
pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - begin
print(json.dumps([seconds, usage.ru_maxrss, os.waitstatus_to_exitcode(status)]))
"""


@dataclass(frozen=True)
class Run:
    """One finished process: seconds, peak resident megabytes (2**20 bytes), what it printed."""

    seconds: float
    megabytes: float
    stdout: str


@dataclass(frozen=True)
class Runs:
    """Several runs of one command."""

    all: tuple[Run, ...]

    @property
    def seconds(self) -> float:
        """Median."""
        return statistics.median(run.seconds for run in self.all)

    @property
    def megabytes(self) -> float:
        """Maximum."""
        return max(run.megabytes for run in self.all)


def measure(command: Sequence[str], scratch: Path, env: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end in the repository's root; stdout and stderr go to files.

    Args:
        command: program and arguments.
        scratch: a folder for what it prints.
        env: added to this process's environment.

    Raises:
        RuntimeError: it failed; with the end of its stderr.
    """
    out, err = scratch / "stdout", scratch / "stderr"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCHER, str(out), str(err), *command],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, memory, code = json.loads(done.stdout)
    if code:
        tail = err.read_text(encoding="utf-8", errors="replace")[-800:]
        raise RuntimeError(f"{' '.join(command)} ended with {code}: {tail}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Run(seconds, memory / unit, out.read_text(encoding="utf-8", errors="replace"))


def in_turns(
    commands: Mapping[str, Sequence[str]],
    times: int,
    scratch: Path,
    env: Mapping[str, str] | None = None,
) -> dict[str, Runs]:
    """Run all commands in turns, so that whatever else the machine does meets all of them.

    One round before the counted ones fills the caches.
    """
    for command in commands.values():
        measure(command, scratch, env)
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(times):
        for name, command in commands.items():
            found[name].append(measure(command, scratch, env))
    return {name: Runs(tuple(runs)) for name, runs in found.items()}


def python(code: str) -> list[str]:
    """The command of `python -c CODE`."""
    return [sys.executable, "-c", code]


def atri(*arguments: str) -> list[str]:
    """The command of `python -m atri_cli ARGUMENTS`."""
    return [sys.executable, "-m", "atri_cli", *arguments]
