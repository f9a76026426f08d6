"""Whole runs over small and odd libraries: copies, one file, one row, every remedy in any order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from atri_cli.consistency import Remedies, bank, consistency
from atri_cli.errors import UsageError
from atri_cli.library.library import Library
from atri_cli.queryfile import QueryRow, write_queries
from tests.cli_tools import run
from tests.sounds import write_noise, write_tone

Capture = pytest.CaptureFixture[bytes]
Document = dict[str, Any]
TAGS = ["en", "fr", "ja"]
ROWS = [
    QueryRow("low", {"en": ("low tone",), "fr": ("son grave",), "ja": ("低音",)}, ("low*",)),
    QueryRow("high", {"en": ("high tone", "high"), "fr": ("son aigu",)}, ("b/high.wav",)),
    QueryRow("noise", {"en": ("noise",), "fr": ("le chat",), "ja": ("雑音",)}, ("noise.wav",)),
    QueryRow("none", {"en": ("low",), "ja": ("猫",)}),
    QueryRow("alone", {"ja": ("高音",)}, ("b/high.wav",)),
]
# Copies: equal files in folders whose order is not that of their whole paths.
NAMES = ("low.wav", "b/low.wav", "b-c/low.wav", "b/high.wav", "a/high.wav", "noise.wav", "z.wav")
REMEDIES = [
    Remedies(expand=False),
    Remedies(),
    Remedies("mean", expand=False),
    Remedies("ranks", expand=False),
    Remedies("ranks", expand=False, mean_shift=True, qb_norm=True),
]


def make_sound(path: Path) -> None:
    if path.name == "low.wav":
        write_tone(path, 200, 3)
    elif path.name == "high.wav":
        write_tone(path, 3000, 2)
    else:
        write_noise(path, 2)


def make_library(folder: Path, model: Path, names: tuple[str, ...]) -> Library:
    """Sounds indexed one after another, in this order."""
    library = Library.open(folder / "library", model=str(model), device="cpu")
    for name in names:
        make_sound(folder / "sounds" / name)
        library.index([folder / "sounds"])
    return library


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vocabulary of a few words for what is learned from it."""
    words = {"en": ["low", "high", "rain"], "fr": ["grave", "pluie"], "ja": ["低音", "雨"]}
    monkeypatch.setattr(bank, "names", lambda tags: {tag: words[tag] for tag in tags})


def ask(
    library: Library, folder: Path, rows: list[QueryRow], tags: list[str], **options: Any
) -> Document:
    write_queries(folder / "q.tsv", rows, tags)
    options.setdefault("remedies", Remedies(expand=False))  # which reads no vocabulary
    found = consistency(library, folder / "q.tsv", **options).document
    json.dumps(found, allow_nan=False)
    return found


def plain(value: Any) -> Any:
    """Everything but what depends on the order of rows and columns: lines, intervals, lists."""
    if isinstance(value, dict):
        dropped = ("line", "languages", "best", "worst", "query_file")
        return {
            key: plain(one)
            for key, one in value.items()
            if "interval" not in key and key not in dropped
        }
    if isinstance(value, list) and value and isinstance(value[0], dict):
        key = "id" if "id" in value[0] else "languages"
        return {str(sorted(one[key]) if key != "id" else one[key]): plain(one) for one in value}
    return value


def close(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    return one == (pytest.approx(other, abs=2e-6) if isinstance(other, float) else other)


@pytest.mark.usefixtures("few")
def test_no_order_changes_a_figure_whatever_the_remedy(tmp_path: Path, fake_model: Path) -> None:
    library = make_library(tmp_path, fake_model, NAMES)
    other = make_library(tmp_path / "other", fake_model, NAMES[::-1])
    for remedies in REMEDIES:
        options: Any = {"remedies": remedies, "k": 3}
        expected = plain(ask(library, tmp_path, ROWS, TAGS, **options))
        assert expected["gallery"] == len(NAMES)
        assert close(plain(ask(library, tmp_path, ROWS[::-1], TAGS[::-1], **options)), expected)
        found = plain(ask(other, tmp_path / "other", ROWS, ["fr", "ja", "en"], **options))
        assert close(found, expected)
        if remedies.fuse:
            assert expected["mrv"]["variance"] == expected["agreement"]["pool_variance"] == 0
            assert expected["agreement"]["overlap"] == expected["agreement"]["rbo"] == 1


@pytest.mark.usefixtures("few")
def test_a_library_of_one_file(tmp_path: Path, fake_model: Path) -> None:
    library = make_library(tmp_path, fake_model, ("low.wav",))
    rows = [QueryRow(row.id, row.texts, ("low.wav",)) for row in ROWS]
    for remedies in REMEDIES:
        found = ask(library, tmp_path, rows, TAGS, remedies=remedies)
        assert (found["gallery"], found["k"], found["depth"], found["answered"]) == (1, 1, 1, 5)
        assert found["mrv"]["variance"] == found["mrv"]["random_variance"] == 0
        assert (found["mrv"]["normalised"], found["mrv"]["interval"]) == (None, [None, None])
        assert found["wording"]["normalised"] is None
        assert found["agreement"]["tau"] is None
        assert all(query["outlier"] is None for query in found["queries"])


def test_a_library_of_one_file_as_it_is_typed(
    capsysbinary: Capture, tmp_path: Path, fake_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRI_MODEL", str(fake_model))
    make_sound(tmp_path / "sounds" / "low.wav")
    assert run(capsysbinary, "index", tmp_path / "sounds", "--quiet").code == 0
    path, before = tmp_path / "q.tsv", tmp_path / "before.json"
    write_queries(path, [QueryRow("x", ROWS[0].texts, ("low.wav",))], TAGS)
    words = ("consistency", "--query-file", path, "--no-expand")
    before.write_bytes(run(capsysbinary, *words, "--json").raw)
    for options in (("--md",), ("--json", "--min-overlap", "1")):
        done = run(capsysbinary, *words, *options, "--against", before)
        assert (done.code, done.err) == (0, "")
    done = run(capsysbinary, *words, "--max-mrv", "0.5")
    assert (done.code, "no row has ranks that could differ" in done.err) == (2, True)


def test_one_row_in_two_languages(tmp_path: Path, fake_model: Path) -> None:
    library = make_library(tmp_path, fake_model, NAMES[:4])
    found = ask(library, tmp_path, ROWS[:1], TAGS[:2])
    assert (found["concepts"], found["languages"]) == (1, ["en", "fr"])
    assert found["mrv"]["variance_interval"] == [found["mrv"]["variance"]] * 2
    assert len(found["pairs"]) == 1
    plain_row = [QueryRow("low", ROWS[0].texts)]
    found = ask(library, tmp_path, plain_row, TAGS[:2])
    assert (found["ground_truth"], found["mrv"], found["wording"]) == (False, None, None)


def test_no_row_is_asked_twice(tmp_path: Path, fake_model: Path) -> None:
    """No row in two languages: nothing can be compared, and that is no error."""
    library = make_library(tmp_path, fake_model, NAMES[:4])
    rows = [
        QueryRow("a", {"en": ("low tone",)}, ("low*",)),
        QueryRow("b", {"fr": ("son aigu",)}, ("b/high.wav",)),
    ]
    found = ask(library, tmp_path, rows, TAGS[:2])
    assert found["mrv"]["variance"] is None
    assert (found["mrv"]["rows"], found["agreement"]["rows"]) == (0, 0)
    assert found["agreement"]["overlap"] is None
    assert found["mean"]["r1"] is not None
    assert found["pairs"][0]["rows"] == 0


def test_equal_texts_give_equal_answers(tmp_path: Path, fake_model: Path) -> None:
    library = make_library(tmp_path, fake_model, NAMES)
    rows = [QueryRow(str(n), dict.fromkeys(TAGS, ("a low noise",)), ("z.wav",)) for n in range(3)]
    found = ask(library, tmp_path, rows, TAGS)
    assert found["mrv"]["variance"] == 0
    assert found["agreement"]["top1"] == found["agreement"]["rbo"] == 1
    one, *others = ({**query, "id": "", "line": 0} for query in found["queries"])
    assert others == [one, one]


def test_chosen_languages_in_their_order(tmp_path: Path, fake_model: Path) -> None:
    library = make_library(tmp_path, fake_model, NAMES)
    found = ask(library, tmp_path, ROWS, TAGS, languages=["ja", "en"])
    assert found["languages"] == list(found["per_language"]) == ["ja", "en"]
    assert all(set(query["texts"]) <= {"ja", "en"} for query in found["queries"])
    whole = ask(library, tmp_path, ROWS, TAGS)
    ranks = {query["id"]: query["ranks"] for query in whole["queries"]}
    for query in found["queries"]:
        assert query["ranks"].items() <= ranks[query["id"]].items()


@pytest.mark.parametrize("k", [0, -3])
def test_a_depth_of_nothing(tmp_path: Path, fake_model: Path, k: int) -> None:
    library = make_library(tmp_path, fake_model, NAMES[:1])
    with pytest.raises(UsageError, match="the first file at least"):
        ask(library, tmp_path, ROWS, TAGS, k=k)
