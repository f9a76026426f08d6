"""Isolation: every test gets its own `ATRI_HOME` and an environment the runner cannot colour."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fake_model import make_fake_model

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for tests that use ONNX Runtime without atri
if "PYTEST_XDIST_WORKER" in os.environ:  # two at a time: with two threads each, torch is far slower
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile(
    "atri",
    deadline=None,
    max_examples=50,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("atri")

RUNNER_VARIABLES = ("FORCE_COLOR", "CLICOLOR_FORCE", "GITHUB_ACTIONS", "CI", "PY_COLORS")
STEADY_VARIABLES = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100", "LINES": "40"}


@pytest.fixture(autouse=True)
def atri_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh `ATRI_HOME` below the test's own folder; subprocesses inherit it."""
    for name in (*RUNNER_VARIABLES, *(n for n in os.environ if n.startswith("ATRI_"))):
        if name != "ATRI_SHARED":
            monkeypatch.delenv(name, raising=False)
    for name, value in STEADY_VARIABLES.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "atri-home"
    monkeypatch.setenv("ATRI_HOME", str(home))
    return home


@pytest.fixture(scope="session", autouse=True)
def matplotlib_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where matplotlib writes down which fonts there are."""
    os.environ["MPLCONFIGDIR"] = str(tmp_path_factory.mktemp("matplotlib"))


@pytest.fixture(scope="session")
def fake_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny real ONNX model, built once a session. Treat it as read-only."""
    return make_fake_model(tmp_path_factory.mktemp("model") / "fake")
