"""The quality gate of `make eval`: it passes the recorded figures and can fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from atri_cli.errors import AtriError, UsageError
from benchmarks.gate import RECORDED, check


def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return found


def report(r10: float, mrv: float, **others: Any) -> dict[str, Any]:
    facts = {name: recorded()[name] for name in ("model", "concepts", "gallery")}
    return {**facts, "mean": {"r10": r10}, "mrv": {"normalised": mrv}, **others}


def test_the_recorded_figures_and_better_ones_pass() -> None:
    known = recorded()
    check(report(known["r10"], known["mrv"]))
    check(report(1.0, 0.0))


@pytest.mark.parametrize(("r10", "mrv", "said"), [(-0.02, 0.0, "R@10"), (0.0, 0.02, "MRV")])
def test_worse_figures_fail_and_say_which(r10: float, mrv: float, said: str) -> None:
    known = recorded()
    with pytest.raises(AtriError, match=said):
        check(report(known["r10"] + r10, known["mrv"] + mrv))


def test_what_is_not_a_number_fails() -> None:
    with pytest.raises(AtriError, match="R@10"):
        check(report(float("nan"), 0.0))


def test_a_loss_within_the_tolerance_passes(tmp_path: Path) -> None:
    path = tmp_path / "recorded.json"
    path.write_text(json.dumps({**recorded(), "r10": 0.5, "mrv": 0.1}))
    check(report(0.495, 0.101), path)
    with pytest.raises(AtriError, match=r"R@10 0\.490.*MRV 0\.1030"):
        check(report(0.49, 0.103), path)


def test_other_sounds_are_not_compared() -> None:
    with pytest.raises(UsageError, match="gallery 136, not 10"):
        check(report(1.0, 0.0, gallery=10))
