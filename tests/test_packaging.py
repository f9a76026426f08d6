"""What is built from this tree is complete, asks for the right things, and works by itself."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import atri_cli
from atri_cli.encoders.card import CARD_FILE, load_card
from tests.sounds import write_noise, write_tone

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("atri_cli", "train", "export")
RUNTIMES = {"onnxruntime", "onnxruntime-gpu"}
MODEL = Path("atri_cli/models/atri-mini")
MODEL_BYTES = 45_000_000
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""

has_model = pytest.mark.skipif(
    not (ROOT / MODEL / CARD_FILE).exists(), reason="the tree holds no embedded model yet"
)


def project() -> dict[str, Any]:
    data: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return data["project"]  # type: ignore[no-any-return]


def requirements(*extras: str) -> list[Requirement]:
    facts = project()
    texts = [*facts["dependencies"]] if not extras else []
    for extra in extras:
        texts += facts["optional-dependencies"][extra]
    return [Requirement(text) for text in texts]


@pytest.fixture(scope="session")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build in: without hidden folders and what was built before."""
    made = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
    tree = tmp_path_factory.mktemp("source") / "atri"
    tree.mkdir()
    for path in ROOT.iterdir():
        if path.name.startswith(".") and path.name != ".ci":
            continue
        if path.is_dir() and path.name not in ("build", "dist"):
            if not path.name.endswith(".egg-info"):
                shutil.copytree(path, tree / path.name, ignore=made)
        elif path.is_file():
            shutil.copy2(path, tree)
    return tree


def built(source_tree: Path, kind: str, target: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-c", BUILD, kind, str(target)],
        cwd=source_tree,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def wheel(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(source_tree, "build_wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def wheel_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture(scope="session")
def metadata(wheel: Path, wheel_names: set[str]) -> Message:
    (name,) = (name for name in wheel_names if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="session")
def source_names(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    archive = built(source_tree, "build_sdist", tmp_path_factory.mktemp("sdist"))
    with tarfile.open(archive) as tar:
        return {member.name.partition("/")[2] for member in tar if member.isfile()}


def test_wheel_holds_every_file_of_the_packages(source_tree: Path, wheel_names: set[str]) -> None:
    ours = {
        path.relative_to(source_tree).as_posix()
        for package in PACKAGES
        for path in (source_tree / package).rglob("*")
        if path.is_file()
    }
    assert {name for name in ours if not Path(name).name.startswith(".")} <= wheel_names


def test_wheel_holds_nothing_else(wheel_names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_wheel_says_what_it_is(metadata: Message, wheel_names: set[str]) -> None:
    assert metadata["Name"] == "atri-cli"
    assert metadata["Version"] == atri_cli.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    for name in ("LICENSE", "NOTICE"):
        assert any(file.endswith(f".dist-info/licenses/{name}") for file in wheel_names)


def test_wheel_brings_the_command(wheel: Path, wheel_names: set[str]) -> None:
    (name,) = (name for name in wheel_names if name.endswith("entry_points.txt"))
    with zipfile.ZipFile(wheel) as archive:
        assert "atri = atri_cli.__main__:program" in archive.read(name).decode()


def test_base_installation_is_light() -> None:
    names = {requirement.name for requirement in requirements()}
    assert not names & (RUNTIMES | {"torch", "torchaudio", "fairseq2", "transformers"})


def test_one_extra_for_each_runtime_and_never_both() -> None:
    brought = {
        extra: {one.name for one in requirements(extra)} & RUNTIMES
        for extra in project()["optional-dependencies"]
    }
    assert {extra: names for extra, names in brought.items() if names} == {
        "cpu": {"onnxruntime"},
        "gpu": {"onnxruntime-gpu"},
    }


@pytest.mark.parametrize(
    ("python", "system", "machine", "wanted"),
    [
        ("3.11", "linux", "x86_64", True),
        ("3.12", "darwin", "arm64", True),
        ("3.13", "linux", "x86_64", False),
        ("3.12", "linux", "aarch64", False),
        ("3.12", "darwin", "x86_64", False),
        ("3.12", "win32", "AMD64", False),
    ],
)
def test_sonar_only_where_it_exists(python: str, system: str, machine: str, wanted: bool) -> None:
    where = {"python_version": python, "sys_platform": system, "platform_machine": machine}
    for requirement in requirements("sonar"):
        assert requirement.marker is not None
        assert requirement.marker.evaluate(where) is wanted


def test_exact_versions_are_those_we_allow() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    ours = [*requirements(), *requirements("cpu", "plot", "dev", "train", "export")]
    for requirement in ours:
        assert requirement.specifier.contains(pinned[requirement.name]), requirement


def test_source_distribution_can_be_tested(source_names: set[str]) -> None:
    assert {
        "pyproject.toml", "Makefile", "constraints.txt", "README.md", "NOTICE", ".ci/run",
        "tests/conftest.py", "docs/guide.md", "demo/queries.tsv", "benchmarks/gcompris.tsv",
        "atri_cli/library/schema.sql", "train/labels/labels.tsv",
    } <= source_names  # fmt: skip
    assert not [name for name in source_names if "__pycache__" in name]


def test_continuous_integration_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    assert re.search(r"^make test$", text, re.MULTILINE)
    assert os.access(script, os.X_OK)


@has_model
def test_embedded_model_is_in_both(wheel_names: set[str], source_names: set[str]) -> None:
    card = load_card(ROOT / MODEL)
    files = {*(path.name for path, _ in card.files), CARD_FILE}
    names = {(MODEL / file).as_posix() for file in files}
    assert names <= wheel_names
    assert names <= source_names
    assert sum(path.stat().st_size for path, _ in card.files) < MODEL_BYTES


@pytest.fixture
def installed(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel's contents, before everything else on the module path of subprocesses."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return site


def run(words: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_installed_works(
    installed: Path, fake_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRI_MODEL", str(fake_model))
    sounds = tmp_path / "sounds"
    write_tone(sounds / "low.wav", 200)
    write_noise(sounds / "noise.wav")
    used = run(["-c", "import atri_cli; print(atri_cli.__file__)"], tmp_path).strip()
    assert Path(used).is_relative_to(installed)
    run(["-m", "atri_cli", "index", str(sounds)], tmp_path)
    found = run(["-m", "atri_cli", "search", "低音", "--paths", "-n", "1"], tmp_path)
    assert found.splitlines() == [str(sounds / "low.wav")]
