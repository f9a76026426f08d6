"""The benchmark of large towers, on a tiny one, and with a process that dies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import large
from benchmarks.large_files import SMALL

CED, SONAR = SMALL


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> large.Options:
    work = tmp_path_factory.mktemp("large")
    return large.Options(work, (CED,), SONAR, vocabulary=400, rounds=1, runs=2, threads=1)


def test_files_agree_with_torch_and_get_smaller(options: large.Options) -> None:
    found = large.make_files(options, CED)
    fp32, fp16, int8 = (found[f"lower {name}"]["bytes"] for name in large.PRECISIONS)
    assert fp32 > 1.5 * fp16 > 1.8 * int8
    assert found["compare fp32"]["difference"] <= 1e-4
    assert found["compare fp32"]["cosine"] >= 0.99999
    assert 1e-5 < found["compare int8"]["difference"] < 0.02
    assert not (options.work / CED / "exact").exists()


def test_a_process_that_dies_is_reported(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    found = large.step(tmp_path, "exact", [sys.executable, "-c", code])
    assert found == {"died": "killed, probably for want of memory"}
    timed = large.in_turns({"big": [sys.executable, "-c", code]}, 2)
    assert "| big | killed, probably" in large.large_tables.audio(timed, 10)
