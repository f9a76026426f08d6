"""`train` and `export` are those beside atri_cli, whatever lies in the current folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from atri_cli.errors import RuntimeMissingError
from atri_cli.siblings import BESIDE, load_sibling

SCRIPT = """
import sys
sys.path.insert(0, "")
{before}
from atri_cli.siblings import load_sibling
for name in ("train", "export"):
    print(load_sibling(name).__file__)
    print(load_sibling(name) is load_sibling(name) is __import__(name))
"""


@pytest.mark.parametrize("before", ["", "import train, export, export.inner"])
def test_somebodys_own_modules_are_not_taken(tmp_path: Path, before: str) -> None:
    (tmp_path / "train.py").write_text("print('theirs')")
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "__init__.py").write_text("print('theirs')")
    (tmp_path / "export" / "inner.py").touch()
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.append({str(BESIDE)!r})\n{SCRIPT}".format(before=before)
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line != "theirs"]
    assert lines == [
        str(BESIDE / "train" / "__init__.py"),
        "True",
        str(BESIDE / "export" / "__init__.py"),
        "True",
    ]
    assert ("theirs" in done.stdout) == bool(before)


def test_a_package_that_is_not_there_is_said_plainly() -> None:
    with pytest.raises(RuntimeMissingError, match="`nowhere` is not installed"):
        load_sibling("nowhere")


def test_a_module_of_a_package_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sibling_of_tests").mkdir()
    (tmp_path / "sibling_of_tests" / "__init__.py").touch()
    (tmp_path / "sibling_of_tests" / "command.py").write_text("answer = 42")
    monkeypatch.setattr("atri_cli.siblings.BESIDE", tmp_path)
    assert load_sibling("sibling_of_tests.command").answer == 42


def test_a_package_that_fails_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brittle").mkdir()
    (tmp_path / "brittle" / "__init__.py").write_text("import package_that_is_not_installed")
    monkeypatch.setattr("atri_cli.siblings.BESIDE", tmp_path)
    with pytest.raises(ImportError, match="package_that_is_not_installed"):
        load_sibling("brittle")
    assert "brittle" not in sys.modules
