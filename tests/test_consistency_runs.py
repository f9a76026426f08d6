"""Whole runs over a real small library: what must not change a figure, and odd query files."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atri_cli.consistency import Remedies, consistency
from atri_cli.consistency.report import Report
from atri_cli.errors import NothingIndexedError, UsageError
from atri_cli.library.library import Library
from atri_cli.library.types import QueryPart
from atri_cli.queryfile import QueryRow, read_queries, write_queries
from tests.sounds import write_noise, write_tone

TEXTS = {
    "en": ("low tone", "high tone", "noise", "a low noise", "high noise tone", "the tone"),
    "fr": ("son grave", "son aigu", "bruit", "bruit grave", "bruit aigu", "le son"),
    "de": ("tiefer ton", "hoher ton", "rauschen", "tiefes rauschen", "hohes rauschen", "der ton"),
    "ja": ("低音", "高音", "雑音", "低い雑音", "高い雑音", "音"),
}
AUDIO = ("a/low1.wav", "*high*", "noise1.wav|noise2.wav", "a/low2.wav", "high1.wav", "a/low3.wav")


def make_sounds(folder: Path, names: list[str]) -> Path:
    """Tones and noises, written, and so indexed, in the order of `names`."""
    for name in names:
        number = int(name.split(".")[0][-1])
        if "noise" in name:
            write_noise(folder / name, 1 + number, seed=number)
        else:
            write_tone(folder / name, (200 if "low" in name else 3000) + 90 * number, number)
    return folder


NAMES = [f"a/low{n}.wav" for n in range(1, 5)] + [f"high{n}.wav" for n in range(1, 5)]
NAMES += [f"noise{n}.wav" for n in range(1, 4)]


def rows(audio: bool = True) -> list[QueryRow]:
    return [
        QueryRow(
            f"row{number}",
            {tag: (texts[number],) for tag, texts in TEXTS.items()},
            tuple(AUDIO[number].split("|")) if audio else (),
        )
        for number in range(len(AUDIO))
    ]


@pytest.fixture
def library(tmp_path: Path, fake_model: Path) -> Library:
    opened = Library.open(tmp_path / "library", model=str(fake_model), device="cpu")
    opened.index([make_sounds(tmp_path / "sounds", NAMES)])
    return opened


def report(
    library: Library, folder: Path, asked: list[QueryRow], languages: list[str], **options: Any
) -> Report:
    path = folder / "q.tsv"
    write_queries(path, asked, languages)
    found = consistency(library, path, **options)
    json.dumps(found.document, allow_nan=False)
    return found


def facts(found: Report) -> dict[str, Any]:
    """Everything that must not depend on any order, by name."""
    document = found.document
    queries = {
        query["id"]: {key: query[key] for key in query if key not in ("line", "texts")}
        for query in document["queries"]
    }
    pairs = {
        frozenset(pair["languages"]): {k: pair[k] for k in pair if k != "languages"}
        for pair in document["pairs"]
    }
    mrv = {key: value for key, value in document["mrv"].items() if "interval" not in key}
    agreement = {k: v for k, v in document["agreement"].items() if k != "intervals"}
    languages = {
        tag: {k: v for k, v in one.items() if k != "intervals"}
        for tag, one in document["per_language"].items()
    }
    return {"queries": queries, "pairs": pairs, "mrv": mrv, "own": agreement, "each": languages}


def close(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    return one == (pytest.approx(other, abs=2e-6) if isinstance(one, float) else other)


def test_no_order_changes_a_figure(library: Library, tmp_path: Path, fake_model: Path) -> None:
    tags = list(TEXTS)
    before = report(library, tmp_path, rows(), tags)
    expected = facts(before)
    mixed, turned, shuffled = rows(), tags[::-1], NAMES.copy()
    random.Random(1).shuffle(mixed)
    random.Random(2).shuffle(shuffled)
    assert close(facts(report(library, tmp_path, mixed, tags)), expected)
    assert close(facts(report(library, tmp_path, rows(), turned)), expected)
    other = Library.open(tmp_path / "other", model=str(fake_model), device="cpu")
    for name in shuffled:  # one after another, so that the ids differ
        other.index([make_sounds(tmp_path / "again", [name])])
    assert close(facts(report(other, tmp_path, rows(), tags)), expected)


def test_the_first_files_are_those_of_a_search(library: Library, tmp_path: Path) -> None:
    found = report(library, tmp_path, rows(), list(TEXTS))
    for row in rows():
        for tag, (text,) in row.texts.items():
            hits = library.search(QueryPart(text, lang=tag), limit=3).hits
            shown = found.hits[row.id][tag]
            assert [hit.path for hit in shown] == [hit.path for hit in hits]
            for one, other in zip(shown, hits, strict=True):
                assert one.score == pytest.approx(other.score, abs=2e-6)
                assert (one.start, one.end) == (other.start, other.end)


def test_expanding_is_what_a_search_does(library: Library, tmp_path: Path) -> None:
    asked = [QueryRow("dog", {"en": ("dog",), "fr": ("chien",)}, ("high1.wav",))]
    found = report(library, tmp_path, asked, ["en", "fr"], remedies=Remedies())
    assert found.document["remedies"] == ["expand"]
    plain = report(library, tmp_path, asked, ["en", "fr"], remedies=Remedies(expand=False))
    cosine = [one.document["agreement"]["cosine"] for one in (plain, found)]
    assert cosine[1] > cosine[0]


def test_some_rows_without_right_answers(library: Library, tmp_path: Path) -> None:
    asked = [*rows()[:2], *rows(audio=False)[2:4]]
    document = report(library, tmp_path, asked, list(TEXTS)).document
    assert (document["ground_truth"], document["answered"], document["concepts"]) == (True, 2, 4)
    assert document["mrv"]["rows"] == 2
    assert document["agreement"]["rows"] == 4
    assert [bool(query["ranks"]) for query in document["queries"]] == [True, True, False, False]


def test_another_split_may_be_elsewhere(library: Library, tmp_path: Path) -> None:
    asked = [replace(row, split="test") for row in rows()[:2]]
    asked.append(replace(rows()[2], audio=("gone.wav",), split="train"))
    document = report(library, tmp_path, asked, list(TEXTS), split="test").document
    assert (document["concepts"], document["answered"], document["missing"]) == (2, 2, [])
    with pytest.raises(UsageError, match="line 4, column 2"):
        report(library, tmp_path, asked, list(TEXTS))
    with pytest.raises(UsageError, match="no row of the split `dev`"):
        report(library, tmp_path, asked, list(TEXTS), split="dev")


def test_another_process_may_index_meanwhile(library: Library, tmp_path: Path) -> None:
    before = report(library, tmp_path, rows(), list(TEXTS))

    def meddle(what: str, _done: int, _total: int) -> None:
        if what == "embedding queries":
            with closing(sqlite3.connect(library.folder / "library.db")) as db, db:
                db.execute("DELETE FROM files WHERE id % 2")
                db.execute("DELETE FROM segments")

    found = report(library, tmp_path, rows(), list(TEXTS), tell=meddle)
    assert (found.document, found.hits) == (before.document, before.hits)
    with pytest.raises(NothingIndexedError):
        report(library, tmp_path, rows(audio=False), list(TEXTS))


def test_rows_in_few_languages(library: Library, tmp_path: Path) -> None:
    asked = [
        QueryRow("one", {"en": ("low tone",)}, ("a/low1.wav",)),
        QueryRow("two", {"en": ("noise",), "ja": ("雑音",)}, ("noise1.wav",)),
    ]
    document = report(library, tmp_path, asked, ["en", "fr", "ja"]).document
    assert document["mrv"]["rows"] == 1
    assert document["agreement"]["rows"] == 1
    assert document["per_language"]["fr"]["r1"] is None
    alone = document["queries"][0]
    assert (alone["variance"], alone["outlier"]) == (None, None)


def test_one_file_leaves_nothing_to_rank(tmp_path: Path, fake_model: Path) -> None:
    library = Library.open(tmp_path / "library", model=str(fake_model), device="cpu")
    library.index([make_sounds(tmp_path / "sounds", ["a/low1.wav"])])
    document = report(library, tmp_path, rows()[:1], list(TEXTS)).document
    assert (document["gallery"], document["k"], document["depth"]) == (1, 1, 1)
    assert document["mean"]["r1"] == 1
    assert document["mrv"]["normalised"] is None
    assert document["agreement"]["overlap"] == 1


def test_depth_beyond_the_library(library: Library, tmp_path: Path) -> None:
    document = report(library, tmp_path, rows(), list(TEXTS), k=5000).document
    assert document["k"] == document["depth"] == len(NAMES)
    assert document["agreement"]["overlap"] == 1


def test_all_remedies_keep_the_questions(library: Library, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for fuse in (None, "mean", "ranks"):
        chosen = Remedies(fuse=fuse, mean_shift=True, qb_norm=True)  # type: ignore[arg-type]
        document = report(
            library, tmp_path, rows(), list(TEXTS), remedies=chosen, cache=cache
        ).document
        assert document["concepts"] == len(AUDIO)
        assert document["remedies"] == chosen.names
        assert (document["mrv"]["variance"] == 0) == (fuse is not None)


@pytest.mark.parametrize("chosen", [Remedies(mean_shift=True), Remedies(qb_norm=True)])
def test_a_bank_needs_words(library: Library, tmp_path: Path, chosen: Remedies) -> None:
    asked = [QueryRow("one", {"sw": ("mbwa",), "yo": ("aja",)})]
    with pytest.raises(UsageError, match=r"It has none in `sw`, `yo`"):
        report(library, tmp_path, asked, ["sw", "yo"], remedies=chosen)
    asked = [QueryRow("one", {"sw": ("low",), "en": ("low",)})]
    document = report(library, tmp_path, asked, ["sw", "en"], remedies=chosen).document
    assert document["concepts"] == 1


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("id\taudio\n1\ta.wav\n", "No column is named by a language"),
        ("id\ten\n1\tdog\n", "one language only"),
        ("id\ten\tfrensh\n1\ta\tb\n", "line 1, column 3"),
        ("id\ten\tfr\n1\ta\n", "line 2, column 3"),
        ("id\ten\tfr\n1\ta\tb\n1\tc\td\n", "stands in line 2 already"),
        ("id\taudio\ten\tfr\n1\tnone*.wav\ta\tb\n", "line 2, column 2"),
        ("", "does not begin with a header"),
        ("en\tfr\n", "has a header and no rows"),
        ("en\tfr\na\tb\0c\n", "line 2"),
    ],
)
def test_bad_query_files(library: Library, tmp_path: Path, table: str, words: str) -> None:
    path = tmp_path / "bad.tsv"
    path.write_text(table, encoding="utf-8")
    with pytest.raises(UsageError, match=words):
        consistency(library, path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_and_line_ends_are_understood(
    library: Library, tmp_path: Path, encoding: str
) -> None:
    write_queries(tmp_path / "q.tsv", rows(), list(TEXTS))
    text = (tmp_path / "q.tsv").read_text(encoding="utf-8")
    other = tmp_path / "other.tsv"
    other.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert read_queries(other).languages == tuple(TEXTS)
    expected = consistency(library, tmp_path / "q.tsv").document
    found = consistency(library, other).document
    assert {**found, "query_file": ""} == {**expected, "query_file": ""}
