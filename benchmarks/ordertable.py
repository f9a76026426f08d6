"""Tables of `benchmarks.order`: means over seeds, and intervals of what a loss changes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.intervals import Interval, over_seeds, paired, shown

SETS = ("validation", "unseen", "test")
AGAINST = ("random", "kcl")
CHANGES = {"mrv": "MRV var", "r10": "R@10", "map10": "mAP@10"}

Entry = dict[str, Any]
Seeds = dict[int, Entry]


def table(results: Path) -> None:
    """Print the tables of every setting, as Markdown."""
    runs: dict[tuple[Any, ...], defaultdict[str, Seeds]] = {}
    for entry in map(json.loads, results.read_text(encoding="utf-8").splitlines()):
        setting = (entry["text_layers"], entry["steps"], entry["batch"], entry["lr"], entry["tau"])
        runs.setdefault(setting, defaultdict(dict))[entry["loss"]][entry["seed"]] = entry
    for setting, by_loss in runs.items():
        layers, steps, batch, lr, tau = setting
        print(f"\n## {layers} text layers trained, {steps} steps of {batch}, lr {lr}, tau {tau}")
        for part in SETS:
            _means(part, by_loss)
            for base in AGAINST:
                _changes(part, by_loss, base)


def _means(part: str, by_loss: Mapping[str, Seeds]) -> None:
    some = next(iter(next(iter(by_loss.values())).values()))["sets"][part]
    print(f"\n### {part}: {some['queries']} queries x 8 languages, {some['clips']} clips\n")
    print("| loss | seeds | T2A R@1 | R@10 | mAP@10 | A2T R@1 | worst/English | MRV var | MRV std |"
          " MRV of random ranks |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for loss, entries in by_loss.items():
        found = [entry["sets"][part] for entry in entries.values()]
        cells = [_spread([one[name] for one in found]) for name in
                 ("t2a_r1", "t2a_r10", "t2a_map10", "a2t_r1", "worst_over_english")]  # fmt: skip
        cells += [_spread([one["t2a_mrv"]["variance"] for one in found], 1)]
        cells += [_spread([one["t2a_mrv"]["std"] for one in found], 2)]
        cells += [_spread([one["t2a_mrv"]["normalised"] for one in found], 4)]
        print(f"| {loss} | {len(entries)} | " + " | ".join(cells) + " |")


def _changes(part: str, by_loss: Mapping[str, Seeds], base: str) -> None:
    print(f"\nAgainst `{base}` (q: over queries, s: over seeds):\n")
    print(
        "| loss | "
        + " | ".join(f"{name}, {way}" for name in CHANGES.values() for way in "qs")
        + " |"
    )
    print("|---" * (1 + 2 * len(CHANGES)) + "|")
    for loss, entries in by_loss.items():
        seeds = [seed for seed in entries if seed in by_loss.get(base, {})]
        if loss == base or not seeds:
            continue
        first = [by_loss[base][seed]["sets"][part] for seed in seeds]
        second = [entries[seed]["sets"][part] for seed in seeds]
        cells = [
            cell
            for measure in CHANGES
            for cell in (_queries(first, second, measure), _seeds(first, second, measure))
        ]
        print(f"| {loss} | " + " | ".join(cells) + " |")


def _queries(first: Sequence[Entry], second: Sequence[Entry], measure: str) -> str:
    """Of the seeds for which both runs kept their ranks."""
    kept = [(a, b) for a, b in zip(first, second, strict=True) if "ranks" in a and "ranks" in b]
    if not kept:
        return "-"
    before, after = ([np.array(one["ranks"]) for one in side] for side in zip(*kept, strict=True))
    return shown(paired(before, after, measure), measure == "mrv")


def _seeds(first: Sequence[Entry], second: Sequence[Entry], measure: str) -> str:
    pairs = [(_value(a, measure), _value(b, measure)) for a, b in zip(first, second, strict=True)]
    if len(pairs) < 2:
        return "-"
    relative = measure == "mrv"
    found: Interval = over_seeds([b / a - 1 if relative else b - a for a, b in pairs])
    return shown(found, relative)


def _value(found: Entry, measure: str) -> float:
    value: float = found["t2a_mrv"]["variance"] if measure == "mrv" else found[f"t2a_{measure}"]
    return value


def _spread(values: Sequence[float], digits: int = 3) -> str:
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"
