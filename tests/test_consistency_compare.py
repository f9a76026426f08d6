"""Two reports row by row, and limits on one, against loops over the rows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.consistency import guard
from atri_cli.consistency.bootstrap import Bootstrap
from atri_cli.consistency.compare import AGREEMENTS, compare, read_report
from atri_cli.consistency.report import for_json
from atri_cli.errors import UsageError
from atri_cli.metrics import random_variance

TAGS = ("en", "fr", "ja")
Document = dict[str, Any]


def document(rows: list[Document], gallery: int = 20, tags: tuple[str, ...] = TAGS) -> Document:
    """As much of a report as a comparison reads."""
    return {"schema": 1, "languages": list(tags), "gallery": gallery, "queries": rows}


def row(name: str, ranks: dict[str, int], right: int = 1, overlap: float | None = 0.5) -> Document:
    agreement = dict.fromkeys(AGREEMENTS, overlap)
    return {"id": name, "ranks": ranks, "right": right, "agreement": agreement}


rows = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(
        st.dictionaries(st.sampled_from(TAGS), st.integers(1, 18)),
        st.integers(1, 3),
        st.none() | st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    ),
    min_size=1,
).map(
    lambda drawn: [
        row(name, ranks, right if ranks else 0, overlap)
        for name, (ranks, right, overlap) in drawn.items()
    ]
)


def variance(ranks: list[int]) -> float:
    middle = sum(ranks) / len(ranks)
    return sum((rank - middle) ** 2 for rank in ranks) / len(ranks)


def measure(name: str, one: Document, gallery: int) -> float:
    """A row's value; NaN where it has none."""
    ranks = list(one["ranks"].values())
    if name in AGREEMENTS:
        value = one["agreement"][name]
        return math.nan if value is None else float(value)
    if name == "map10":
        gains = [1 / rank if rank <= 10 else 0 for rank in ranks]
        return sum(gains) / len(gains) if gains else math.nan
    if name.startswith("r"):
        return sum(rank <= int(name[1:]) for rank in ranks) / len(ranks) if ranks else math.nan
    if len(ranks) < 2:
        return math.nan
    if name == "chance":
        return random_variance(gallery, len(ranks), one["right"])
    return variance(ranks) if name == "mrv_variance" else variance(ranks) ** 0.5


@given(rows, rows)
def test_differences_row_by_row(before: list[Document], after: list[Document]) -> None:
    old, new = document(before, 30), document(after, 20)
    known = {one["id"]: one for one in before}
    shared = [(known[one["id"]], one) for one in after if one["id"] in known]
    if not shared:
        with pytest.raises(UsageError, match="nothing in common"):
            compare(old, new, "the other")
        return
    found = compare(old, new, "the other")
    json.dumps(for_json(found), allow_nan=False)
    assert (found["with"], found["rows"], found["languages"]) == (
        "the other",
        len(shared),
        list(TAGS),
    )
    for name in ("r1", "r5", "r10", "map10", "mrv_variance", "mrv_std", *AGREEMENTS):
        values = [(measure(name, a, 30), measure(name, b, 20)) for a, b in shared]
        both = [pair for pair in values if not any(map(math.isnan, pair))]
        assert (name in found["measures"]) == bool(both)
        if both:
            one = found["measures"][name]
            first, second = (sum(side) / len(both) for side in zip(*both, strict=True))
            assert one["before"] == pytest.approx(first)
            assert one["after"] == pytest.approx(second)
            assert one["difference"] == pytest.approx(second - first)
            assert one["interval"][0] <= one["interval"][1]
    names = ("mrv_variance", "chance")
    parts = [
        [measure(name, side, size) for name in names]
        for pair in shared
        for side, size in zip(pair, (30, 20), strict=True)
    ]
    both_known = [
        (a, b)
        for a, b in zip(parts[::2], parts[1::2], strict=True)
        if not math.isnan(a[0]) and not math.isnan(b[0])
    ]
    assert ("mrv_normalised" in found["measures"]) == bool(both_known)
    if both_known:
        before_ratio, after_ratio = (
            sum(pair[side][0] for pair in both_known) / sum(pair[side][1] for pair in both_known)
            for side in (0, 1)
        )
        one = found["measures"]["mrv_normalised"]
        assert one["before"] == pytest.approx(before_ratio)
        assert one["difference"] == pytest.approx(after_ratio - before_ratio)


@given(rows, st.randoms())
def test_against_itself_nothing_differs(drawn: list[Document], random: Any) -> None:
    mixed = drawn.copy()
    random.shuffle(mixed)
    found = compare(document(drawn), document(mixed, tags=TAGS[::-1]), "itself")
    for one in found["measures"].values():
        assert one["before"] == pytest.approx(one["after"])
        assert one["interval"] == pytest.approx([0, 0])
    assert (found["better"], found["worse"]) == ([], [])


def test_intervals_are_of_paired_draws() -> None:
    rng = np.random.default_rng(0)
    old = [row(str(n), {"en": 1, "fr": int(rng.integers(1, 15))}) for n in range(25)]
    new = [row(str(n), {"en": 2, "fr": int(rng.integers(1, 15))}) for n in range(25)]
    found = compare(document(old), document(new), "x")["measures"]
    counts = Bootstrap(25)._counts
    sides = [[variance(list(one["ranks"].values())) for one in side] for side in (old, new)]
    first, second = (counts @ np.array(values) / 25 for values in sides)
    expected = np.percentile(second - first, (2.5, 97.5))
    assert found["mrv_variance"]["interval"] == pytest.approx(expected.tolist())
    by = random_variance(20, 2)
    assert found["mrv_normalised"]["interval"] == pytest.approx((expected / by).tolist())


def test_rows_that_changed_most() -> None:
    old = [row(str(n), {"en": 1, "fr": 1 + n}) for n in range(9)]
    new = [row(str(n), {"en": 1, "fr": 9 - n}) for n in range(9)]
    found = compare(document(old), document(new), "x")
    assert found["better"] == ["8", "7", "6", "5"]
    assert found["worse"] == ["0", "1", "2", "3"]
    plain = [
        [row(str(n), {}, 0, value) for n, value in enumerate(values)]
        for values in ([0.1, 0.5, 0.9, None], [0.9, 0.5, 0.1, 0.3])
    ]
    found = compare(document(plain[0]), document(plain[1]), "x")
    assert (found["better"], found["worse"]) == (["0"], ["2"])
    assert "r1" not in found["measures"]


@pytest.mark.parametrize("right", [1, 0])
def test_a_library_of_one_file_has_nothing_to_vary(right: int) -> None:
    drawn = [row("a", {"en": 1, "fr": 1} if right else {}, right)]
    found = compare(document(drawn, 1), document(drawn, 1), "x")
    assert "mrv_normalised" not in found["measures"]
    assert ("mrv_variance" in found["measures"]) == bool(right)
    other = compare(document(drawn, 20), document(drawn, 1), "x")
    assert (other["better"], other["worse"]) == ([], [])


def test_languages_that_both_have() -> None:
    old = document([row("a", {"en": 1, "fr": 5, "ja": 9})])
    new = document([row("a", {"en": 1, "ja": 9, "zh": 3})], tags=("en", "ja", "zh"))
    found = compare(old, new, "x")
    assert found["languages"] == ["en", "ja"]
    assert found["measures"]["mrv_variance"]["before"] == 16
    alone = document([row("a", {"en": 1, "zh": 3})], tags=("en", "zh"))
    with pytest.raises(UsageError, match="1 concepts and 1 languages"):
        compare(old, alone, "x")


def whole() -> Document:
    return document([row("a", {"en": 1, "fr": 2})])


@pytest.mark.parametrize(
    "change",
    [
        {"gallery": None},
        {"gallery": "many"},
        {"gallery": math.inf},
        {"gallery": math.nan},
        {"languages": None},
        {"queries": [None]},
        {"queries": ["a"]},
        {"queries": [{"id": []}]},
        {"queries": [row("a", {"en": 10**30, "fr": 1})]},
        {"queries": [row("a", {"en": "first", "fr": 1})]},
        {"queries": [row("a", {"en": 1, "fr": 1}, -1)]},
        {"queries": [row("a", {"en": 1, "fr": 1}, -2)]},
        {"queries": [{**row("a", {}), "ranks": []}]},
        {"queries": [{**row("a", {}), "agreement": {}}]},
        {"queries": [row("a", {}, 1, "much")]},  # type: ignore[arg-type]
        {"queries": [{**row("a", {}), "right": None}]},
    ],
)
def test_a_report_with_a_wrong_part_is_refused(tmp_path: Path, change: Document) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**whole(), **change}), encoding="utf-8")
    with pytest.raises(UsageError, match="is not a whole report") as error:
        read_report(path)
    assert str(path) in error.value.what


@pytest.mark.parametrize(
    "text", ["9" * 5000, '{"schema": ' + "9" * 5000 + "}", "", "\0", "{]", '{"a": 1} x', "[" * 9999]
)
def test_what_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="is not JSON"):
        read_report(path)


def test_a_report_is_read_with_a_mark_and_more_keys(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**whole(), "new": 1}), encoding="utf-8-sig")
    assert read_report(path)["new"] == 1
    for name in ("nowhere.json", "."):
        with pytest.raises(UsageError, match="Cannot read"):
            read_report(tmp_path / name)


# Limits


def judged(ranks: list[dict[str, int]], overlaps: dict[tuple[str, str], float | None]) -> Document:
    """A report with what limits look at."""
    queries = [
        {**row(str(n), one, overlap=n / 10), "normalised": variance(list(one.values())) / 10}
        for n, one in enumerate(ranks)
    ]
    mrv = {"normalised": sum(q["normalised"] for q in queries) / len(queries)} if queries else None
    pairs = [{"languages": list(pair), "overlap": value} for pair, value in overlaps.items()]
    return {**document(queries), "mrv": mrv, "pairs": pairs}


def test_who_breaks_a_limit_on_ranks() -> None:
    ranks = [{"en": 1, "fr": 1, "ja": 1}, {"en": 1, "fr": 1, "ja": 10}, {"en": 2, "fr": 5, "ja": 2}]
    found = judged(ranks, {})
    worst = sorted(found["queries"], key=lambda query: -query["normalised"])
    (limit,) = guard.check(found, worst, max_mrv=0.05)
    assert limit["value"] == pytest.approx((18 + 2) / 30)
    assert (limit["holds"], limit["languages"], limit["concepts"]) == (False, ["ja"], ["1", "2"])
    shares = guard.rank_shares(found)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["ja"] == pytest.approx((36 / 3 + 1 / 3) / 20)
    (limit,) = guard.check(found, worst, max_mrv=1.0)
    assert (limit["holds"], limit["languages"], limit["concepts"]) == (True, [], [])
    same = judged([{"en": 3, "fr": 3, "ja": 3}], {})
    assert set(guard.rank_shares(same).values()) == {0.0}
    assert guard.check(same, same["queries"], max_mrv=0)[0]["holds"]


def test_who_breaks_a_limit_on_overlap() -> None:
    overlaps = {("en", "fr"): 0.9, ("en", "ja"): 0.2, ("fr", "ja"): 0.3, ("en", "zh"): None}
    found = judged([{}] * 0, overlaps)
    found["queries"] = [row(str(n), {}, overlap=n / 10) for n in range(9, -1, -1)]
    (limit,) = guard.check(found, [], min_overlap=0.3)
    assert (limit["value"], limit["holds"], limit["languages"]) == (0.2, False, ["en-ja"])
    assert limit["concepts"] == ["0", "1", "2"]
    (limit,) = guard.check(found, [], min_overlap=0.2)
    assert (limit["holds"], limit["languages"], limit["concepts"]) == (True, [], [])
    (limit,) = guard.check(judged([], {("en", "fr"): None}), [], min_overlap=0)
    assert (limit["value"], limit["holds"]) == (None, False)


def test_limits_need_something_to_measure() -> None:
    for mrv in (None, {"normalised": None}):
        with pytest.raises(UsageError, match="needs right answers"):
            guard.check({**whole(), "mrv": mrv}, [], max_mrv=0.5)
    for wrong in (-0.01, 1.01, math.nan, math.inf):
        with pytest.raises(UsageError, match="between 0 and 1"):
            guard.check(whole(), [], max_mrv=wrong)
    assert guard.check(whole(), []) == []
