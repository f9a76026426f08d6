"""Right answers: paths and globs, against a matcher that is written out naively."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atri_cli.consistency.truth import Answers, find_answers, refuse_missing
from atri_cli.errors import UsageError
from atri_cli.library.store import Store
from atri_cli.queryfile import QueryRow
from tests.vector_data import PIPELINE

Form = Literal["NFC", "NFD"]
HOME = "/home/me/dogs and yellow things"  # the names of a root's folders are no part of a sound's


def fill(folder: Path, roots: Mapping[str, Sequence[str]], skipped: str = "") -> Store:
    """Files by root, ids from 1 in this order; those named in `skipped` were silent."""
    store = Store.open(folder, pipeline_id=PIPELINE, dim=2, model="test")
    rows = [(root, name) for root, names in enumerate(roots.values(), 1) for name in names]
    with store.transaction() as db:
        db.executemany(
            "INSERT INTO roots (path, added) VALUES (?, 0)", [(root.encode(),) for root in roots]
        )
        db.executemany(
            "INSERT INTO files (root_id, path, size, mtime_ns, status, reason)"
            " VALUES (?, ?, 1, 1, ?, ?)",
            [
                (root, name.encode(), *(("skipped", "silent") if name in skipped else ("ok", "")))
                for root, name in rows
            ],
        )
    return store


def find(store: Store, *patterns: str) -> tuple[int, ...]:
    """Ids of the files that a cell names; all of its patterns are found."""
    answers = find_answers(store, [QueryRow("x", {}, patterns)])
    assert answers.missing == ()
    return answers.files[0]


def matches(name: str, pattern: str) -> bool:
    """A glob, sign by sign, with `[…]`; `*` crosses `/`, `**/` between slashes may be nothing."""
    if not pattern:
        return not name
    if pattern.startswith("**/") and matches(name, pattern[3:]):
        return True
    return _here(name, pattern)


def _here(name: str, pattern: str) -> bool:
    if not pattern:
        return not name
    first, rest = pattern[0], pattern[1:]
    if first == "*":
        return any(_here(name[cut:], rest) for cut in range(len(name) + 1))
    end = pattern.find("]", 3 if pattern.startswith("[!") else 2) if first == "[" else -1
    if end > 0:
        chosen, rest = pattern[1:end], pattern[end + 1 :]
        inside = bool(name) and (
            name[0] not in chosen[1:] if chosen[0] == "!" else name[0] in chosen
        )
        return inside and _here(name[1:], rest)
    if not name or (first != "?" and first != name[0]):
        return False
    return matches(name[1:], rest) if first == "/" else _here(name[1:], rest)


names = st.text("aab/.]!", min_size=1, max_size=7)
patterns = st.lists(
    st.sampled_from(["a", "b", "/", ".", "*", "?", "**/", "/**/", "[ab]", "[!a]", "[]a]", "["]),
    min_size=1,
    max_size=6,
).map("".join)


@given(st.lists(names, min_size=1, max_size=8, unique=True), patterns.filter(lambda p: p[0] != "/"))
@example(["a", "b/a", "c/b/a"], "**/a")
@example(["a/b", "a/x/b", "a/x/y/b", "axb"], "a/**/b")
@example(["a/x/b/c", "a/b/c", "a/b/x/c", "a/x/b/x/c"], "a/**/b/**/c")
@example(["a[", "ab"], "?[")
def test_globs_sign_by_sign(
    tmp_path_factory: pytest.TempPathFactory, known: list[str], pattern: str
) -> None:
    with fill(tmp_path_factory.mktemp("library"), {HOME: known}) as store:
        answers = find_answers(store, [QueryRow("x", {}, (pattern,), line=7)])
    exact = [n for n, name in enumerate(known, 1) if name == pattern]
    expected = exact or [n for n, name in enumerate(known, 1) if matches(name, pattern)]
    assert answers.files == (tuple(expected),)
    assert answers.missing == (() if expected else ((7, pattern, ""),))


def test_a_relative_glob_leaves_the_folders_above_alone(tmp_path: Path) -> None:
    with fill(tmp_path / "library", {HOME: ["low.wav", "dogs/bark.wav", "yellow.wav"]}) as store:
        assert find(store, "*dog*") == (2,)
        assert find(store, "*low*") == (1, 3)
        assert find(store, "*/bark.wav") == (2,)
        assert find(store, "**/bark.wav", "**/low.wav") == (1, 2)
        assert find(store, HOME + "/*low*") == (1, 3)
        assert find(store, "/home/*/bark.wav") == (2,)
        assert find(store, "/**/low.wav") == (1,)


def test_names_with_the_signs_of_globs(tmp_path: Path) -> None:
    known = ["dog [1].wav", "dog 1.wav", "what?.wav", "whats.wav", "a*b.wav", "axb.wav", "[.wav"]
    with fill(tmp_path / "library", {HOME: known}) as store:
        assert find(store, "dog [1].wav") == (1,)
        assert find(store, f"{HOME}/dog [1].wav") == (1,)
        assert find(store, "dog [12].wav") == (2,)
        assert find(store, "dog [[]*.wav") == (1,)
        assert find(store, "what?.wav") == (3,)
        assert find(store, "wha?s.wav") == (4,)
        assert find(store, "a*b.wav") == (5,)
        assert find(store, "a*?.wav") == (5, 6)
        assert find(store, "[.wav") == (7,)


def test_several_roots_and_several_answers(tmp_path: Path) -> None:
    roots = {"/one": ["a.wav", "b.wav"], "/two": ["a.wav", "sub/c.wav"], "/": ["mnt/a.wav"]}
    with fill(tmp_path / "library", roots) as store:
        assert find(store, "a.wav") == (1, 3)
        assert find(store, "/two/a.wav") == (3,)
        assert find(store, "*.wav", "a.wav", "/one/a.wav") == (1, 2, 3, 4, 5)
        assert find(store, "b.wav", "sub/*") == (2, 4)
        assert find(store, "/mnt/a.wav", "/mnt/?.wav") == (5,)
        assert find(store, "b.wav", "b.wav", "/one/b*") == (2,)


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    known = ["a.wav", "~b.wav"]
    with fill(tmp_path / "library", {"/home/me/sounds": known}) as store:
        assert find(store, "~/sounds/a.wav") == (1,)
        assert find(store, "~/s*/[ab].wav") == (1,)
        assert find(store, "~b.wav") == (2,)


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_accents_composed_or_not(tmp_path: Path, written: Form, asked: Form) -> None:
    names = [unicodedata.normalize(written, name) for name in ("été/pluie.wav", "ete/x.wav")]
    with fill(tmp_path / "library", {"/é": names}) as store:
        for pattern in ("été/pluie.wav", "été/*", "*é/pluie.wav", "[é]t?/*", "/é/été/pluie.*"):
            assert find(store, unicodedata.normalize(asked, pattern)) == (1,)


def test_capitals_count(tmp_path: Path) -> None:
    with fill(tmp_path / "library", {HOME: ["Dog.WAV"]}) as store:
        assert find_answers(store, [QueryRow("x", {}, ("dog.wav", "*.wav"))]).files == ((),)


def test_what_was_skipped_is_told_and_no_answer(tmp_path: Path) -> None:
    with fill(tmp_path / "library", {HOME: ["a.wav", "still.wav"]}, "still.wav") as store:
        rows = [
            QueryRow("one", {}, ("still.wav", "a.wav"), line=2),
            QueryRow("two", {}, ("*.wav",), line=3),
            QueryRow("three", {}, ("s*.wav", "nothing"), line=4),
            QueryRow("four", {}, (), line=5),
        ]
        answers = find_answers(store, rows)
    assert answers.files == ((1,), (1,), (), ())
    silent = "skipped: silent"
    assert answers.missing == (
        (2, "still.wav", silent),
        (4, "s*.wav", silent),
        (4, "nothing", ""),
    )
    with pytest.raises(UsageError) as error:
        refuse_missing(Path("q.tsv"), answers, 3)
    assert error.value.what == (
        "`q.tsv`, line 2, column 3: `still.wav` is in the library but cannot be found."
    )
    assert error.value.why == (
        "It was skipped: silent; line 4: `s*.wav` (skipped: silent); line 4: `nothing`"
    )
    assert "--skip-missing" in error.value.hint


@pytest.mark.parametrize(("count", "rest"), [(1, ""), (5, "line 6: `4`"), (6, "and 1 more")])
def test_the_first_few_of_many(count: int, rest: str) -> None:
    refuse_missing(Path("q.tsv"), Answers(()), 1)
    answers = Answers((), tuple((n + 2, str(n), "") for n in range(count)))
    with pytest.raises(UsageError) as error:
        refuse_missing(Path("q.tsv"), answers, 1)
    assert error.value.why.endswith(rest)
    assert error.value.why.count("line") == min(count - 1, 4)


def test_many_globs_over_a_hundred_thousand_files(tmp_path: Path) -> None:
    known = [f"pack {n % 200:03}/takes/sound number {n:05}.wav" for n in range(100_000)]
    forms = ("*number {:05}*", "pack*/takes/*{:05}.wav", "**/sound number {:05}.*", "*/*/*{:05}*v")
    rows = [QueryRow(str(n), {}, (forms[n % 4].format(97 * n),)) for n in range(400)]
    with fill(tmp_path / "library", {HOME: known}) as store:
        begin = time.process_time()
        answers = find_answers(store, rows)
        assert time.process_time() - begin < 5  # comparing every name takes a minute
    assert answers.files == tuple((97 * n + 1,) for n in range(400))
