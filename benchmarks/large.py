"""Large towers with random weights: size, agreement with torch, speed, memory.

    python -m benchmarks.large --work DIR [--small] [--sounds DIR] [--htsat PYTHON]

CED's four sizes beside LAION-CLAP's audio tower, 10 s at a time, all in turns; the text tower in
SONAR's size, cold and warm. Each step and each figure is a process of its own. DIR needs 9 GB, and
exporting SONAR 4 GB of memory; what DIR has already is not made again. Prints a page.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import large_tables
from benchmarks.large_files import NAME, SMALL
from benchmarks.processes import measure

PRECISIONS = ("fp32", "fp16", "int8")
CED = ("ced-tiny", "ced-mini", "ced-small", "ced-base")
SECONDS = 10
TOKENS = ("5", "10", "20")
HTSAT = Path(__file__).with_name("htsat.py")

Found = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What to measure, where, how often."""

    work: Path
    audio: Sequence[str] = CED
    text: str = "sonar"
    vocabulary: int = 256_000
    sounds: Path | None = None
    htsat: Path | None = None
    rounds: int = 3
    runs: int = 5
    threads: int = 2


@dataclass
class Timed:
    """All processes of one tower: what each printed, or how one ended."""

    found: list[Found] = field(default_factory=list)
    died: str = ""

    def seconds(self, size: str) -> list[float]:
        """Of all runs of all processes."""
        return [one for found in self.found for one in found["seconds"][size]]

    def median(self, name: str) -> float:
        """Of a figure that each process has once."""
        return statistics.median(float(found[name]) for found in self.found)

    def memory(self, moment: str, name: str) -> float:
        """Highest over the processes, in MB."""
        return max(float(found[moment][name]) for found in self.found)


def module(name: str, *arguments: object) -> list[str]:
    """The command of `python -m benchmarks.NAME`."""
    return [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]


def run(command: Sequence[str]) -> Found:
    """What a process prints, how long it lived, and the load average before it.

    Raises:
        RuntimeError: it failed.
    """
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        done = measure(command, Path(scratch), {"PYTHONWARNINGS": "ignore"})
    return {**json.loads(done.stdout), "whole": done.seconds, "load_average": load}


def step(folder: Path, name: str, command: Sequence[str]) -> Found:
    """Run a step once; what it printed is kept in its folder, also that it died."""
    kept = folder / f"{name}.json"
    if not kept.is_file():
        print(f"{folder.name} {name} …", file=sys.stderr, flush=True)
        try:
            found = run(command)
        except RuntimeError as error:
            found = {"died": how(error)}
        kept.write_text(json.dumps(found), encoding="utf-8")
    kept_found: Found = json.loads(kept.read_text(encoding="utf-8"))
    return kept_found


def how(error: RuntimeError) -> str:
    """In a word or a line how a process ended."""
    text = str(error)
    return "killed, probably for want of memory" if "ended with -9" in text else text[-200:]


def make_files(options: Options, tower: str) -> Found:
    """Export a tower, lower it, compare; the facts of each step, by its name."""
    folder = options.work / tower
    folder.mkdir(parents=True, exist_ok=True)
    sounds = ["--sounds", options.sounds] if options.sounds else []
    exact = module("large_files", "exact", folder, "--tower", tower, *sounds)
    found = {"exact": step(folder, "exact", exact)}
    for precision in () if "died" in found["exact"] else PRECISIONS:
        for name in ("lower", "compare"):
            command = module("large_files", name, folder, "--precision", precision)
            found[f"{name} {precision}"] = step(folder, f"{name}-{precision}", command)
    shutil.rmtree(folder / "exact", ignore_errors=True)
    return found


def in_turns(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, Timed]:
    """All commands in turns, `rounds` times; one that fails is not tried again."""
    timed = {name: Timed() for name in commands}
    for number in range(rounds):
        print(f"round {number + 1} …", file=sys.stderr, flush=True)
        for name, command in commands.items():
            if not timed[name].died:
                try:
                    timed[name].found.append(run(command))
                except RuntimeError as error:
                    timed[name].died = how(error)
    return timed


def time_audio(options: Options) -> dict[str, Timed]:
    """All audio towers, and LAION-CLAP's where there is a Python for it."""
    common = ("--runs", options.runs, "--threads", options.threads)
    commands = {
        f"{tower} {precision}": module(
            "large_speed", options.work / tower / precision / NAME,
            "--tower", "audio", "--sizes", SECONDS * 16_000, *common,
        )
        for tower in options.audio for precision in PRECISIONS
    }  # fmt: skip
    for size in ("tiny", "base") if options.htsat else ():
        script = (options.htsat, "-W", "ignore", HTSAT, size, "--samples", SECONDS * 48_000)
        commands[f"htsat-{size} fp32"] = [str(one) for one in (*script, *common)]
    return in_turns(commands, options.rounds)


def time_text(options: Options) -> dict[str, Timed]:
    """The text tower: a first query, others, and with settings that change memory."""
    settings = {
        "": [],
        "nothing prepacked": ["--config", "session.disable_prepacking=1"],
        "graph as it is": ["--level", "ORT_DISABLE_ALL"],
        "both": ["--level", "ORT_DISABLE_ALL", "--config", "session.disable_prepacking=1"],
    }
    commands = {
        f"{precision} {what}".strip(): module(
            "large_speed", options.work / options.text / precision / NAME,
            "--tower", "text", "--sizes", *TOKENS, "--vocabulary", options.vocabulary,
            "--runs", options.runs, "--threads", options.threads, *extra,
        )
        for precision in PRECISIONS for what, extra in settings.items()
    }  # fmt: skip
    return in_turns(commands, options.rounds)


def time_cold(options: Options) -> dict[str, dict[str, Timed]]:
    """Whole processes with one query of ten tokens; the files cached, then read from the disk."""
    found: dict[str, dict[str, Timed]] = {}
    for precision in PRECISIONS:
        path = options.work / options.text / precision / NAME
        command = module(
            "large_speed", path, "--tower", "text", "--sizes", 10, "--runs", 0,
            "--vocabulary", options.vocabulary, "--threads", options.threads,
        )  # fmt: skip
        found[precision] = {"cached": in_turns({"": command}, options.rounds)[""]}
        forget(path.parent.iterdir())
        found[precision]["disk"] = in_turns({"": command}, 1)[""]
    return found


def forget(files: Iterable[Path]) -> None:
    """Have the system drop what it keeps of files in memory, where it can."""
    for path in files:
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measured(options: Options, parts: Sequence[str]) -> str:
    """The tables of the parts asked for: `audio`, `text`."""
    text = []
    if "audio" in parts:
        files = {tower: make_files(options, tower) for tower in options.audio}
        text += [large_tables.files(files), large_tables.audio(time_audio(options), SECONDS)]
    if "text" in parts:
        files = {options.text: make_files(options, options.text)}
        text.append(large_tables.files(files))
        if "died" not in files[options.text]["exact"]:
            text += [large_tables.text(time_text(options), TOKENS)]
            text += [large_tables.cold(time_cold(options))]
    return "\n".join(text)


def main(arguments: Sequence[str]) -> int:
    """Print the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="a folder for the files")
    parser.add_argument("--small", action="store_true", help="tiny towers, to see that it works")
    parser.add_argument("--sounds", type=Path, help="sounds to compare on, beside noise and tones")
    parser.add_argument("--htsat", type=Path, help="the Python that has laion_clap")
    parser.add_argument("--parts", nargs="+", choices=("audio", "text"), default=["audio", "text"])
    parser.add_argument("--rounds", type=int, default=3, help="processes of each tower")
    parser.add_argument("--runs", type=int, default=5, help="runs in each process")
    asked = parser.parse_args(arguments)
    options = Options(
        asked.work, sounds=asked.sounds, htsat=asked.htsat, rounds=asked.rounds, runs=asked.runs
    )
    if asked.small:
        options = Options(asked.work, SMALL[:1], SMALL[1], 400, asked.sounds, asked.htsat, 1, 1)
    print(large_tables.page(measured(options, asked.parts), arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
