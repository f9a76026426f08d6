"""`make demo`: index real sounds, then ask for the same things in eight languages.

Everything is done by the command `atri`, in a new process each time, as a user would.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
import unicodedata
import zlib
from pathlib import Path

from sounds import NoSoundsError, fetch_sounds

HERE = Path(__file__).resolve().parent
WORK = HERE.parent / ".demo"
QUERIES = HERE / "queries.tsv"
BEST = 3
OWN_SOUNDS = "Show it your own sounds: `make demo SOUNDS=DIR`."


def main() -> int:
    """Run the demonstration; the exit status of the first command that fails, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sounds", type=Path, help="your own folder; default: Debian packages")
    parser.add_argument("--work", type=Path, default=WORK, help="where sounds and library go")
    parser.add_argument(
        "--queries", type=Path, default=QUERIES, help="what to ask, one thing a line"
    )
    arguments = parser.parse_args()
    try:
        folder = _sounds(arguments.sounds, arguments.work)
        os.environ["ATRI_HOME"] = str(arguments.work / "home")
        os.environ["ATRI_LIBRARY"] = f"{folder.name}-{zlib.crc32(os.fsencode(folder)):08x}"
        _show(["index", _as_typed(folder)])
        _show(["search", "chien qui aboie", "-n", str(BEST)])
        _each_language(arguments.queries)
    except NoSoundsError as error:
        print(f"No sounds for the demonstration: {error}\n{OWN_SOUNDS}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


def _sounds(own: Path | None, work: Path) -> Path:
    if own is not None:
        folder = own.expanduser().resolve()
        if not folder.is_dir():
            raise NoSoundsError(f"`{own}` is not a folder.")
        return folder
    for line in fetch_sounds(work / "sounds"):
        print(line, flush=True)
    return work / "sounds"


def _as_typed(folder: Path) -> str:
    relative = os.path.relpath(folder)
    return str(folder) if relative.startswith("..") else relative


def _atri(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "atri_cli", *words]


def _show(words: list[str]) -> None:
    """Run a command with its output, behind what a user would have typed."""
    typed = " ".join(f'"{word}"' if " " in word else word for word in words)
    print(f"\n$ atri {typed}", flush=True)
    subprocess.run(_atri(words), check=True)


def _each_language(queries: Path) -> None:
    with queries.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    seconds = []
    for row in rows:
        print(f"\n{row.pop('id')}: the best {BEST} files in each language")
        for language, text in row.items():
            start = time.perf_counter()
            names = _best(text)
            seconds.append(time.perf_counter() - start)
            print(f"  {language}  {_padded(text, 18)} {', '.join(names)}", flush=True)
    middle = statistics.median(seconds)
    print(f"\n{len(seconds)} searches, each in a new process: {middle:.2f} s each (median).")


def _best(text: str) -> list[str]:
    done = subprocess.run(
        _atri(["search", text, "-n", str(BEST), "--json"]), check=True, stdout=subprocess.PIPE
    )
    return ["/".join(Path(hit["path"]).parts[-2:]) for hit in json.loads(done.stdout)["hits"]]


def _padded(text: str, width: int) -> str:
    """Filled with spaces; Chinese and Japanese characters are two columns wide."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return text + " " * (width - len(text) - wide)


if __name__ == "__main__":
    sys.exit(main())
