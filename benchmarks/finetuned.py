"""A user's folder of instruments: what `atri train` makes of it, on sounds of other people.

    apt-get download fluid-soundfont-gm timgm6mb-soundfont; apt-get install fluidsynth
    python -m benchmarks.finetuned run FONTS DATA SOUNDS OUT
    python -m benchmarks.finetuned table

FONTS holds `FluidR3_GM.sf2`, which is learnt from, and `TimGM6mb.sf2`, which is searched: they
share no sample. `OUT/mine` is the user's folder: nothing but file names describes it. What it
costs is measured on `general`: recordings of other kinds that atri-mini was never trained on. All
is done by the program itself, under an `ATRI_HOME` in OUT.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atri_cli.queryfile import QueryRow, write_queries
from benchmarks.intervals import MEASURES, Ranks, by_query, over_seeds, paired, shown
from benchmarks.userfolder import lay_out
from train.instruments import notes, render
from train.phrases import CORE, vocabulary_concepts

RESULTS = Path("docs/results/userfolder.jsonl")
LEARNT, SEARCHED = "FluidR3_GM.sf2", "TimGM6mb.sf2"
SETS = ("instruments", "general")
START = "atri-mini"


def prepare(fonts: Path, out: Path) -> None:
    """Write `mine/`, `instruments/` and `instruments.tsv`."""
    font = fonts / LEARNT
    mine = render(font, notes(font, (43, 52, 60, 69), (80, 45, 115)), out / "mine")
    answers: defaultdict[str, list[str]] = defaultdict(list)
    font = fonts / SEARCHED
    for path, note in render(font, notes(font, (40, 48, 57, 64), (80,)), out / "instruments"):
        answers[note.concept].append(path.relative_to(out).as_posix())
    concepts = {concept.id: concept for concept in vocabulary_concepts()}
    rows = [
        QueryRow(name, {tag: (concepts[name].phrases[tag][0],) for tag in CORE}, tuple(found))
        for name, found in sorted(answers.items())
    ]
    write_queries(out / "instruments.tsv", rows, CORE)
    count = sum(map(len, answers.values()))
    print(f"{len(mine)} sounds to learn from, {count} of {len(rows)} concepts to search")


class Program:
    """The program itself, with a home of its own."""

    def __init__(self, home: Path) -> None:
        self._env = {**os.environ, "ATRI_HOME": str(home), "OMP_NUM_THREADS": "1"}

    def __call__(self, *words: object) -> str:
        """Run `atri` with these words; what it says on stdout."""
        command = [sys.executable, "-m", "atri_cli", *map(str, words)]
        print("$ atri", *words, flush=True)
        return subprocess.run(
            command, env=self._env, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def measure(self, model: str | Path, out: Path) -> dict[str, Any]:
        """`atri evaluate` of a model on every set: means, MRV and ranks."""
        found = {}
        for name in SETS:
            told = json.loads(self("evaluate", model, "--data", out / f"{name}.tsv", "--json"))
            found[name] = {
                "clips": told["clips"],
                "queries": told["queries"],
                "mean": {key: round(told["t2a"]["mean"][key], 4) for key in MEASURES[:3]},
                "mrv": told["t2a"]["mrv"]["normalised"],
                "ranks": told["ranks"]["t2a"],
            }
        return found


def run(options: argparse.Namespace) -> None:
    """Measure atri-mini, then fine-tune with each seed and measure again; a line each."""
    out: Path = options.out.absolute()
    if not (out / "instruments.tsv").exists():
        prepare(options.fonts, out)
    if not (out / "general.tsv").exists():
        lay_out(options.data, options.sounds, out / "general-sounds")
        text = (out / "general-sounds" / "others.tsv").read_text(encoding="utf-8")
        (out / "general.tsv").write_text(text.replace("others/", "general-sounds/others/"))
    atri = Program(out / "home")
    print(atri("index", out / "mine", "--quiet"))
    words = options.train.split()
    if options.start:
        _add(options.results, {"model": START, "sets": atri.measure(START, out)})
    for seed in map(int, options.seeds.split(",")):
        made, model = out / f"{options.name}-{seed}", out / f"{options.name}-{seed}-model"
        told = atri("train", *words, "--seed", seed, "--threads", 1, "--out", made, "--json")
        atri("export", made, "--out", model)
        after = json.loads(told)
        facts = {"model": options.name, "train": options.train, "seed": seed}
        facts |= {key: after.get(key) for key in ("epochs", "share")}
        _add(options.results, {**facts, "sets": atri.measure(model, out)})


def _add(results: Path, entry: dict[str, Any]) -> None:
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def table(options: argparse.Namespace) -> None:
    """Before and after, with intervals of the change: over queries, and over seeds."""
    entries = [json.loads(line) for line in options.results.read_text("utf-8").splitlines()]
    runs: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        runs[entry["model"]].append(entry)
    for part in SETS:
        first = runs[START][0]["sets"][part]
        print(f"\n### {part}: {first['queries']} queries x 8 languages, {first['clips']} sounds\n")
        print("| model | seeds | R@1 | R@10 | mAP@10 | MRV / random |\n|---|---|---|---|---|---|")
        for name, found in runs.items():
            sets = [one["sets"][part] for one in found]
            cells = [f"{np.mean([one['mean'][key] for one in sets]):.3f}" for key in MEASURES[:3]]
            cells.append(f"{np.mean([one['mrv'] for one in sets]):.4f}")
            print(f"| {name} | {len(found)} | " + " | ".join(cells) + " |")
        before = np.array(first["ranks"])
        for name, found in runs.items():
            if name != START:
                ranks = [np.array(one["sets"][part]["ranks"]) for one in found]
                _changes(name, before, ranks)


def _changes(name: str, before: Ranks, after: Sequence[Ranks]) -> None:
    for title, find in (("over queries", _over_queries), ("over seeds", _over_seeds)):
        cells = [find(before, after, measure) for measure in MEASURES]
        print(f"| {name}, change {title} | | " + " | ".join(cells) + " |")


def _over_queries(before: Ranks, after: Sequence[Ranks], measure: str) -> str:
    return shown(paired([before], after, measure), measure == "mrv")


def _over_seeds(before: Ranks, after: Sequence[Ranks], measure: str) -> str:
    first = by_query(before, measure).mean()
    means = [by_query(one, measure).mean() for one in after]
    relative = measure == "mrv"
    return shown(over_seeds([m / first - 1 if relative else m - first for m in means]), relative)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetuned", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    commands = parser.add_subparsers(required=True)
    runs = commands.add_parser("run")
    for name in ("fonts", "data", "sounds", "out"):
        runs.add_argument(name, type=Path)
    runs.add_argument("--seeds", default="0,1,2")
    runs.add_argument("--name", default="cacl", help="of these runs in the results")
    runs.add_argument("--train", default="--loss cacl", help="words after `atri train`")
    runs.add_argument("--no-start", dest="start", action="store_false", help="not atri-mini itself")
    runs.set_defaults(do=run)
    commands.add_parser("table").set_defaults(do=table)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
