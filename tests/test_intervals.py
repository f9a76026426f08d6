"""Intervals of changes, and the tables of `benchmarks.order` that show them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from atri_cli import metrics
from benchmarks.intervals import by_query, over_seeds, paired, shown
from benchmarks.ordertable import table

RANKS = np.random.default_rng(0).integers(1, 40, (60, 8))


def test_queries_add_up_to_the_measures() -> None:
    assert by_query(RANKS, "mrv").mean() == pytest.approx(metrics.mrv_variance(RANKS))
    assert by_query(RANKS, "r10").mean() == pytest.approx(metrics.recall_at(RANKS.ravel(), 10))
    assert by_query(RANKS, "r1").mean() == pytest.approx(metrics.recall_at(RANKS.ravel(), 1))
    assert by_query(RANKS, "map10").mean() == pytest.approx(metrics.map_at_10(RANKS.ravel()))


def test_the_same_ranks_change_nothing() -> None:
    for measure in ("r1", "r10", "map10", "mrv"):
        assert paired([RANKS], [RANKS, RANKS], measure) == (0, 0, 0)


def test_a_change_of_all_queries_is_sure_and_one_of_few_is_not() -> None:
    half = 1 + RANKS // 2
    found = paired([RANKS], [half], "mrv")
    assert found.sure
    assert -0.8 < found.low < found.value < found.high < -0.7
    few = RANKS.copy()
    few[:2] = 1
    assert not paired([RANKS], [few], "r10").sure


def test_pairing_is_by_query() -> None:
    """Queries differ by far more than the change, which is the same for all."""
    base = np.repeat(np.arange(1, 61)[:, None] * 10, 8, axis=1)
    wide = base + np.tile([0, 2], 4)
    wider = base + np.tile([0, 4], 4)
    assert paired([wide], [wider], "mrv") == (3, 3, 3)


def test_student() -> None:
    found = over_seeds([1.0, 2.0, 3.0])
    assert found.value == 2
    assert found.high - 2 == pytest.approx(4.303 / 3**0.5, abs=1e-6)
    assert over_seeds([1.0]).low == -np.inf


def test_how_it_is_shown() -> None:
    assert shown(over_seeds([-0.28, -0.28]), percent=True) == "-28 % [-28, -28]"
    assert shown(over_seeds([0.5, 0.5])) == "+0.500 [+0.500, +0.500]"


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def line(loss: str, seed: int, ranks: np.ndarray | None) -> str:
        quality = {f"t2a_{name}": 0.5 for name in ("r1", "r10", "map10")} | {"a2t_r1": 0.5}
        mrv = {"variance": 100.0 + seed, "std": 5.0, "normalised": 0.1}
        facts = {**quality, "t2a_mrv": mrv, "worst_over_english": 0.9, "queries": 60, "clips": 40}
        facts |= {} if ranks is None else {"ranks": ranks.tolist()}
        sets = dict.fromkeys(("validation", "unseen", "test"), facts)
        setting = {"text_layers": 0, "steps": 10, "batch": 8, "lr": 0.001, "tau": 0.07}
        return json.dumps({"loss": loss, "seed": seed, **setting, "sets": sets})

    path = tmp_path / "order.jsonl"
    lines = [line("random", 0, RANKS), line("random", 1, RANKS), line("kcl", 0, 1 + RANKS // 2),
             line("kcl", 1, 1 + RANKS // 2), line("cacl", 0, None)]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    table(path)
    shown_lines = capsys.readouterr().out.splitlines()
    kcl = next(one for one in shown_lines if one.startswith("| kcl | -"))
    assert kcl.count("[") == 6
    cacl = next(one for one in shown_lines if one.startswith("| cacl | -"))
    assert cacl == "| cacl | - | - | - | - | - | - |"
