"""Whether a report of `benchmarks.evaluate` is as good as the recorded one.

`recorded.json` holds mean R@10 and normalised MRV of the embedded model on the test sounds, and how
much worse they may be: three of the 504 queries, and .002 of random's rank variance, because other
processors round otherwise. Whoever makes a better model records its figures there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atri_cli.errors import AtriError, UsageError

RECORDED = Path(__file__).with_name("recorded.json")
SAME = ("model", "concepts", "gallery")


def check(report: Mapping[str, Any], path: Path = RECORDED) -> None:
    """Compare a report with the recorded figures.

    Args:
        report: as `benchmarks.evaluate.evaluate_model` gives it, for several languages.
        path: the recorded figures.

    Raises:
        UsageError: the report is about another model or other sounds.
        AtriError: R@10 or MRV is worse than recorded by more than the tolerance.
    """
    recorded = json.loads(path.read_text(encoding="utf-8"))
    for name in SAME:
        if report[name] != recorded[name]:
            raise UsageError(
                f"The recorded figures are of {name} {recorded[name]}, not {report[name]}.",
                hint=f"Leave out `--recorded`, or record figures of your own like `{path}`.",
            )
    worse = list(_worse(report, recorded))
    if worse:
        raise AtriError(
            "Quality on the test sounds fell: " + ", ".join(worse) + ".",
            why=f"`{path}` has the figures of the last version, and what they may lose.",
            hint="Find out what changed the ranking; record lower figures only if that is meant.",
        )


def _worse(report: Mapping[str, Any], recorded: Mapping[str, Any]) -> Iterator[str]:
    tolerance = recorded["tolerance"]
    recall, spread = report["mean"]["r10"], report["mrv"]["normalised"]
    if not recall >= recorded["r10"] - tolerance["r10"]:
        yield f"R@10 {recall:.3f}, recorded {recorded['r10']:.3f}"
    if not spread <= recorded["mrv"] + tolerance["mrv"]:
        yield f"MRV {spread:.4f} of random, recorded {recorded['mrv']:.4f}"
