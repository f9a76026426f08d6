"""The documentation says what is true: links, commands, options, names, and its example runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

import atri_cli
from atri_cli.app import app
from atri_cli.audio.formats import EXTENSIONS, OPTIONAL_EXTENSIONS
from atri_cli.commands.reasons import MEANINGS
from tests.markdown import PAGES, ROOT, WRITTEN, blocks, calls, code, links, page_id
from tests.sounds import write_noise, write_tone

CHANGES = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
each_page = pytest.mark.parametrize("page", PAGES, ids=page_id)
each_written_page = pytest.mark.parametrize("page", WRITTEN, ids=page_id)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(read(page)):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        goal = (page.parent / name).resolve() if name else page
        assert goal.is_relative_to(ROOT), target
        assert goal.exists(), target
        if anchor:
            assert anchor in anchors(goal), target


def parse(words: list[str]) -> None:
    """Let the program read a command line, without running it."""
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        name = words.pop(0)
        command = command.get_command(None, name)
        assert command is not None, f"no command {name}"
    if words not in (["--version"], ["--help"]):
        command.make_context("atri", words)


@each_written_page
def test_commands_can_be_typed(page: Path) -> None:
    for words in calls(read(page), "atri"):
        parse(words)


def test_the_check_of_commands_finds_mistakes() -> None:
    for wrong in (["indx"], ["index", "--dry"], ["search", "x", "--limit", "few"]):
        with pytest.raises(Exception, match=r"indx|--dry|few"):
            parse(wrong)


@each_page
def test_make_targets_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE)
    for words in calls(read(page), "make"):
        assert words[0] in targets


@each_page
def test_extras_exist(page: Path) -> None:
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    named = re.findall(r"atri-cli\[([a-z,]+)\]", read(page))
    assert {extra for group in named for extra in group.split(",")} <= set(
        project["optional-dependencies"]
    )


@each_page
def test_variables_are_known_to_the_program(page: Path) -> None:
    settings = {f"ATRI_{name}" for name in ("LIBRARY", "MODEL", "DEVICE", "JOBS")}
    sources = "".join(read(path) for path in (ROOT / "atri_cli").rglob("*.py"))
    for name in {name for text in code(read(page)) for name in re.findall(r"ATRI_[A-Z]+", text)}:
        assert name in settings or f'"{name}"' in sources, name


def test_guide_explains_every_reason_for_skipping() -> None:
    guide = read(ROOT / "docs" / "guide.md")
    section = guide.partition("### What is skipped")[2].partition("\n#")[0]
    assert set(re.findall(r"^\| `([a-z-]+)`", section, re.MULTILINE)) == set(MEANINGS)


def test_readme_names_formats_that_are_read() -> None:
    section = read(ROOT / "README.md").partition("## Formats")[2].partition("\n## ")[0]
    plain, optional = (
        set(re.findall(r"[a-z0-9]+", line.split("|")[1].replace("and more", "")))
        for line in re.findall(r"^\| .*,.*$", section, re.MULTILINE)
    )
    assert plain <= EXTENSIONS
    assert optional <= OPTIONAL_EXTENSIONS


def test_changelog_is_well_formed() -> None:
    text = read(ROOT / "CHANGELOG.md")
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert titles[0] == "[Unreleased]"
    released = [
        re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d\d-\d\d", title) for title in titles[1:]
    ]
    assert all(released), titles
    versions = [tuple(int(part) for part in match.groups()) for match in released if match]
    assert versions == sorted(set(versions), reverse=True)
    assert all(kind in CHANGES for kind in re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert not versions or titles[1].startswith(f"[{atri_cli.__version__}]")


@pytest.mark.parametrize("page", [ROOT / "docs" / "api.md"], ids=page_id)
def test_python_examples_run(
    page: Path, fake_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tone(tmp_path / "sounds" / "dog.wav", 440, seconds=3)
    write_noise(tmp_path / "sounds" / "rain.wav", seconds=2)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ATRI_MODEL", str(fake_model))
    examples = blocks(read(page), "python")
    assert examples
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, page.name, "exec"), names)
    assert names["report"].added == 2


def test_every_public_name_is_documented() -> None:
    api = read(ROOT / "docs" / "api.md")
    assert all(name in api for name in atri_cli.__all__ if not name.startswith("_"))
