"""The picture: the right kind of file, drawn for any report without a warning."""

from __future__ import annotations

import builtins
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atri_cli.consistency import plot
from atri_cli.consistency.plot import WORST, Fonts, draw, write_plot
from atri_cli.consistency.report import Report
from atri_cli.errors import AtriError, RuntimeMissingError, UsageError
from benchmarks.madeup import made_up

PNG = b"\x89PNG\r\n\x1a\n"


def renamed(report: Report, name: str) -> Report:
    """The same report, its first concept with another id."""
    first, *others = report.document["queries"]
    return Report({**report.document, "queries": [{**first, "id": name}, *others]})


def texts(report: Report) -> list[str]:
    """What stands in the picture."""
    figure = draw(report)
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    for axes in figure.axes:
        found += [label.get_text() for label in [*axes.get_xticklabels(), *axes.get_yticklabels()]]
    title = figure.get_suptitle()
    return [title, *found]


@pytest.mark.parametrize("truth", [True, False])
def test_writes_png(tmp_path: Path, truth: bool) -> None:
    write_plot(made_up(truth=truth), tmp_path / "report.PNG")
    assert (tmp_path / "report.PNG").read_bytes().startswith(PNG)


@pytest.mark.parametrize("truth", [True, False])
def test_writes_svg_alike_each_time(tmp_path: Path, truth: bool) -> None:
    for name in ("one.svg", "two.svg"):
        write_plot(made_up(truth=truth), tmp_path / name)
    assert ET.parse(tmp_path / "one.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.mark.parametrize(
    "report",
    [
        made_up(1, 2, files=1),
        made_up(1, 2, files=1, truth=False),
        made_up(3, 30, files=20),
    ],
    ids=["smallest", "smallest without truth", "30 languages"],
)
def test_draws_what_is_small_or_wide(tmp_path: Path, report: Report) -> None:
    write_plot(report, tmp_path / "report.svg")


def test_shows_numbers_tags_and_the_worst() -> None:
    report = made_up(40)
    found = texts(report)
    document = report.document
    for pair in document["pairs"]:
        assert found.count(f"{pair['overlap']:.2f}") >= 2
    for tag in document["languages"]:
        assert found.count(tag) >= 2
    fonts = Fonts()  # of this machine: it may lack letters of some names
    ids = {fonts.name(query) for query in document["queries"]}
    worst = [fonts.name(query) for query in report.worst if query["ranks"]][:WORST]
    assert [name for name in found if name in ids] == worst


def test_title_holds_the_figures() -> None:
    report = made_up()
    title = texts(report)[0]
    document = report.document
    assert f"MRV {document['mrv']['normalised']:.4f}" in title
    assert f"R@10 {document['mean']['r10']:.2f}" in title
    assert f"overlap@10 {document['agreement']['overlap']:.2f}" in title
    assert "12 concepts, 4 languages, 50 files" in title


def test_title_has_a_dash_where_nothing_is_known() -> None:
    assert "MRV – of random   R@10 1.00 [1.00, 1.00]" in texts(made_up(1, 2, files=1))[0]


def test_without_truth_no_rank_is_drawn() -> None:
    title = texts(made_up(truth=False))[0]
    assert "MRV" not in title
    assert "overlap@10" in title


@pytest.mark.parametrize("name", ["$x_{1}$", "a_b^c \\frac", "new\nline", "50 %", "x" * 300])
def test_ids_of_any_signs(tmp_path: Path, name: str) -> None:
    write_plot(renamed(made_up(2), name), tmp_path / "report.png")


@pytest.mark.parametrize("name", ["犬の鳴き声", "نباح كلب", "\U0001f415 dog", "𒀀"])
def test_ids_of_letters_that_no_font_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_plot(renamed(made_up(2), name), tmp_path / "with-fonts-of-this-machine.png")
    monkeypatch.setattr(plot, "OTHERS", ())
    monkeypatch.setattr(Fonts, "has", lambda _, text: text.isascii())
    report = renamed(made_up(2, truth=False), name)
    write_plot(report, tmp_path / "report.png")
    assert "line 2" in texts(report)


def test_leaves_the_users_settings_alone(tmp_path: Path) -> None:
    import matplotlib

    before = matplotlib.rcParams["svg.hashsalt"]
    matplotlib.rcParams["lines.linewidth"] = 7.0
    try:
        write_plot(made_up(2), tmp_path / "report.svg")
        assert matplotlib.rcParams["lines.linewidth"] == 7.0
        assert matplotlib.rcParams["svg.hashsalt"] == before
    finally:
        matplotlib.rcdefaults()
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("name", ["report.pdf", "report", "report.png.gz"])
def test_another_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        write_plot(made_up(2), tmp_path / name)
    assert "`.png` nor `.svg`" in caught.value.what
    assert not list(tmp_path.iterdir())


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really: Callable[..., Any] = builtins.__import__

    def without(name: str, *others: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError("No module named 'matplotlib'")
        return really(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RuntimeMissingError) as caught:
        write_plot(made_up(2), tmp_path / "report.png")
    assert 'pip install "atri-cli[plot]"' in caught.value.hint


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AtriError, match="mkdir"):
        write_plot(made_up(2), tmp_path / "gone" / "report.png")
