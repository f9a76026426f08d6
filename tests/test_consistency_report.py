"""The document against loops that say what each of its figures is."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli import metrics
from atri_cli.consistency.bootstrap import Bootstrap
from atri_cli.consistency.questions import Questions
from atri_cli.consistency.ranking import Rankings
from atri_cli.consistency.report import Report, build, for_json
from atri_cli.queryfile import QueryRow
from tests.vector_data import clustered

TAGS = ("en", "fr", "ja", "zh")
Case = tuple[Questions, Rankings, list[list[int]], int, int]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Questions in some languages and phrasings, and any ranks and first files."""
    files, languages = draw(st.integers(1, 7)), draw(st.integers(2, 4))
    phrasings = draw(st.integers(1, 2))
    cells = draw(
        st.lists(
            st.lists(st.integers(0, phrasings), min_size=languages, max_size=languages).filter(any),
            min_size=1,
            max_size=5,
        )
    )
    place, count = np.full((len(cells), languages, phrasings), -1), 0
    for row, language in itertools.product(range(len(cells)), range(languages)):
        for number in range(cells[row][language]):
            place[row, language, number] = count
            count += 1
    rows = tuple(
        QueryRow(f"row{n}", {TAGS[i]: tuple("ab"[:many]) for i, many in enumerate(row) if many})
        for n, row in enumerate(cells)
    )
    vectors = clustered(count, 3, draw(st.integers(0, 9)))
    asked = Questions(rows, TAGS[:languages], place, vectors)
    right = [sorted(draw(st.sets(st.integers(0, files - 1)))) for _ in cells]
    ranks = np.zeros(count, np.int64)
    for query, row in enumerate(asked.row_of.tolist()):
        if right[row]:
            ranks[query] = draw(st.integers(1, files - len(right[row]) + 1))
    depth = draw(st.integers(1, files))
    top = np.array([draw(st.permutations(range(files)))[:depth] for _ in range(count)], np.int32)
    rankings = Rankings(ranks, top, np.zeros(top.shape, np.float32))
    return asked, rankings, right, files, draw(st.integers(1, depth))


def mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def chance(files: int, languages: int, right: int) -> float:
    """Variance of independent random ranks, over every choice of places for the right files."""
    best = [min(chosen) + 1 for chosen in itertools.combinations(range(files), right)]
    middle = Fraction(sum(best), len(best))
    spread = sum((rank - middle) ** 2 for rank in best) / len(best)
    return float(spread * Fraction(languages - 1, languages))


def spread(ranks: list[int]) -> float:
    middle = Fraction(sum(ranks), len(ranks))
    return float(sum((rank - middle) ** 2 for rank in ranks) / len(ranks))


def same(found: Any, expected: float) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-9)


def ranks_of(case: Case, row: int) -> dict[str, int]:
    """The ranks of the first phrasings, by language."""
    asked, rankings, right, _, _ = case
    first = {tag: int(asked.place[row, n, 0]) for n, tag in enumerate(asked.languages)}
    return {tag: int(rankings.ranks[p]) for tag, p in first.items() if p >= 0 and right[row]}


@given(cases())
def test_what_is_known_with_truth(case: Case) -> None:
    asked, _, right, files, _ = case
    found = build(*case)
    table = [ranks_of(case, row) for row in range(len(right))]
    assert found["ground_truth"] == any(right)
    assert found["answered"] == sum(map(bool, right))
    if not any(right):
        assert (found["mrv"], found["mean"], found["gap"]) == (None, None, None)
        assert all("r1" not in one for one in found["per_language"].values())
        return
    names = {f"r{k}": lambda rank, k=k: rank <= k for k in (1, 5, 10)}
    names["map10"] = lambda rank: 1 / rank if rank <= 10 else 0
    every: dict[str, list[float]] = {}
    for tag in asked.languages:
        own = [row[tag] for row in table if tag in row]
        assert found["per_language"][tag]["rows"] == len(own)
        for name, gain in names.items():
            every.setdefault(name, []).append(mean(float(gain(rank)) for rank in own))
            same(found["per_language"][tag][name], every[name][-1])
        median = float(statistics.median(own)) if own else math.nan
        every.setdefault("median_rank", []).append(median)
        same(found["per_language"][tag]["median_rank"], median)
    for name, values in every.items():
        same(found["mean"][name], mean(values))
        assert name == "median_rank" or not np.isnan(found["mean"]["intervals"][name]).any()
    several = [(list(row.values()), len(right[n])) for n, row in enumerate(table) if len(row) > 1]
    variance = mean(spread(ranks) for ranks, _ in several)
    random = mean(chance(files, len(ranks), many) for ranks, many in several)
    mrv = found["mrv"]
    assert (mrv["rows"], mrv["gallery"]) == (len(several), files)
    same(mrv["variance"], variance)
    same(mrv["std"], mean(math.sqrt(spread(ranks)) for ranks, _ in several))
    same(mrv["random_variance"], random)
    same(mrv["normalised"], variance / random if random else math.nan)
    for row, query in enumerate(found["queries"]):
        own = list(table[row].values())
        assert query["ranks"] == table[row]
        assert query["spread"] == (max(own) - min(own) if own else None)
        same(query["variance"], spread(own) if len(own) > 1 else math.nan)
        expected = chance(files, len(own), len(right[row])) if len(own) > 1 else 0
        same(query["normalised"], spread(own) / expected if expected else math.nan)


@given(cases())
def test_phrasings_of_one_language(case: Case) -> None:
    asked, rankings, right, files, _ = case
    values, randoms = [], []
    for row, cells in enumerate(asked.place):
        for places in cells:
            ranks = [int(rankings.ranks[place]) for place in places if place >= 0]
            if right[row] and len(ranks) > 1:
                values.append(spread(ranks))
                randoms.append(chance(files, len(ranks), len(right[row])))
    found = build(*case)["wording"]
    if not values:
        assert found is None
        return
    assert found["rows"] == len(values)
    same(found["variance"], mean(values))
    same(found["std"], mean(map(math.sqrt, values)))
    same(found["normalised"], mean(values) / mean(randoms) if mean(randoms) else math.nan)


@given(cases())
def test_what_is_known_without_truth(case: Case) -> None:
    asked, rankings, _, _, k = case
    found = build(*case)
    depth, rows = rankings.depth, range(len(asked.rows))
    pairs: dict[tuple[int, str, str], dict[str, float]] = {}
    pools: dict[int, float] = {}
    for row in rows:
        top = {
            tag: rankings.top[asked.place[row, n, 0]].tolist()
            for n, tag in enumerate(asked.languages)
            if asked.place[row, n, 0] >= 0
        }
        vectors = {
            tag: asked.vectors[asked.place[row, asked.languages.index(tag), 0]] for tag in top
        }
        pool = sorted({file for files in top.values() for file in files[:k]})
        ranks = {
            tag: [files.index(f) + 1 if f in files else depth + 1 for f in pool]
            for tag, files in top.items()
        }
        if len(top) > 1:
            pools[row] = mean(spread(list(r)) for r in zip(*ranks.values(), strict=True))
        for one, other in itertools.permutations(top, 2):
            first, second = top[one][:k], top[other][:k]
            pairs[row, one, other] = {
                "overlap": metrics.overlap_at(first, second, k),
                "rbo": metrics.rbo(first, second),
                "tau": metrics.kendall_tau(np.array(ranks[one]), np.array(ranks[other])),
                "top1": float(first[0] == second[0]),
                "cosine": math.fsum(
                    float(a) * float(b) for a, b in zip(vectors[one], vectors[other], strict=True)
                ),
            }
    names = ("overlap", "rbo", "tau", "top1", "cosine")
    for name in names:
        by_row = [mean(v[name] for key, v in pairs.items() if key[0] == row) for row in rows]
        same(found["agreement"][name], mean(by_row))
        for row, query in enumerate(found["queries"]):
            same(query["agreement"][name], by_row[row])
    same(found["agreement"]["pool_variance"], mean(pools.values()))
    assert found["agreement"]["rows"] == len(pools)
    for row, query in enumerate(found["queries"]):
        same(query["agreement"]["pool_variance"], pools.get(row, math.nan))
    expected = list(itertools.combinations(asked.languages, 2))
    assert [tuple(pair["languages"]) for pair in found["pairs"]] == expected
    for pair in found["pairs"]:
        one, other = pair["languages"]
        both = [row for row in rows if (row, one, other) in pairs]
        assert pair["rows"] == len(both)
        for name in names:
            same(pair[name], mean(pairs[row, one, other][name] for row in both))
        ranks = [ranks_of(case, row) for row in both]
        same(pair["rank_difference"], mean(abs(r[one] - r[other]) for r in ranks if r))
    for tag in asked.languages:
        for name in ("overlap", "cosine"):
            by_row = [
                mean(v[name] for (r, one, _), v in pairs.items() if (r, one) == (row, tag))
                for row in rows
            ]
            same(found["per_language"][tag][name], mean(by_row))


@given(cases())
def test_the_document_is_json_and_keeps_its_keys(case: Case) -> None:
    found = for_json(build(*case))
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    full = {"id", "line", "texts", "right", "ranks", "variance", "normalised", "spread"}
    assert all(set(query) == full | {"agreement", "outlier"} for query in found["queries"])
    worst = Report(found).worst
    keys = [-1 if q["normalised"] is None else q["normalised"] for q in worst]
    assert keys == sorted(keys, reverse=True)
    assert {query["id"] for query in worst} == {query["id"] for query in found["queries"]}


def turned(case: Case, rows: list[int], languages: list[int]) -> Case:
    """The same questions with rows and languages in another order."""
    asked, rankings, right, files, k = case
    place = asked.place[rows][:, languages]
    order = place[place >= 0]
    renamed = np.full_like(place, -1)
    renamed[place >= 0] = np.arange(len(order))
    other = Questions(
        tuple(asked.rows[row] for row in rows),
        tuple(asked.languages[one] for one in languages),
        renamed,
        asked.vectors[order],
    )
    answers = Rankings(rankings.ranks[order], rankings.top[order], rankings.scores[order])
    return other, answers, [right[row] for row in rows], files, k


def plain(document: dict[str, Any]) -> dict[str, Any]:
    """What may not depend on any order: all but the intervals."""
    queries = {query["id"]: query for query in document["queries"]}
    pairs = {frozenset(pair["languages"]): pair for pair in document["pairs"]}
    for pair in pairs.values():
        pair["languages"] = sorted(pair["languages"])
    found = {**document, "queries": queries, "pairs": pairs, "languages": ()}
    return strip(found)


def strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: strip(one)
            for key, one in value.items()
            if "interval" not in str(key) and key not in ("best", "worst")  # ties go by column
        }
    if isinstance(value, float):
        return "none" if math.isnan(value) else pytest.approx(value, abs=1e-9)
    return value


def plain_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain_numbers(one) for key, one in value.items()}
    return "none" if isinstance(value, float) and math.isnan(value) else value


@given(st.data(), cases())
def test_no_order_of_rows_or_languages_changes_a_figure(data: st.DataObject, case: Case) -> None:
    rows = data.draw(st.permutations(range(len(case[0].rows))))
    languages = data.draw(st.permutations(range(len(case[0].languages))))
    one, other = plain(build(*case)), plain(build(*turned(case, rows, languages)))
    assert plain_numbers(other) == one


def test_intervals_follow_the_order_of_rows_alone() -> None:
    """Rows are drawn by their place: the same file always gives the same interval."""
    place = np.arange(40).reshape(20, 2, 1)
    rows = tuple(QueryRow(str(n), dict.fromkeys(TAGS[:2], ("x",))) for n in range(20))
    asked = Questions(rows, TAGS[:2], place, clustered(40, 3))
    rng = np.random.default_rng(2)
    top = np.stack([rng.permutation(30) for _ in range(40)]).astype(np.int32)
    rankings = Rankings(rng.integers(1, 30, 40), top, top.astype(np.float32))
    case = (asked, rankings, [[0]] * 20, 30, 10)
    found, again = build(*case), build(*case)
    assert for_json(found) == for_json(again)
    columns = build(*turned(case, list(range(20)), [1, 0]))
    assert columns["mrv"]["interval"] == pytest.approx(found["mrv"]["interval"])
    mixed = build(*turned(case, list(range(19, -1, -1)), [0, 1]))
    assert mixed["mrv"]["normalised"] == pytest.approx(found["mrv"]["normalised"])
    assert mixed["mrv"]["interval"] == pytest.approx(found["mrv"]["interval"], rel=0.3)
    # Each bound is that of explicitly drawn rows.
    counts = Bootstrap(20)._counts
    ranks = rankings.ranks.reshape(20, 2)
    drawn = [
        mean(spread(ranks[row].tolist()) for row in range(20) for _ in range(int(count[row])))
        for count in counts
    ]
    low, high = np.percentile(drawn, (2.5, 97.5))
    assert found["mrv"]["variance_interval"] == pytest.approx([low, high])
    by = chance(30, 2, 1)
    assert found["mrv"]["interval"] == pytest.approx([low / by, high / by])


# The language that stands apart


def outlier(
    ranks: list[int], tops: list[list[int]], truth: bool = True, tags: tuple[str, ...] = TAGS
) -> str | None:
    """Which language stands apart in one row, all of whose texts have one vector."""
    count = len(tops)
    place = np.arange(count).reshape(1, count, 1)
    row = QueryRow("x", dict.fromkeys(tags[:count], ("x",)))
    asked = Questions((row,), tags[:count], place, np.tile(clustered(1, 3), (count, 1)))
    top = np.array(tops, np.int32)
    rankings = Rankings(np.array(ranks), top, top.astype(np.float32))
    document = build(asked, rankings, [[0] if truth else []], 99, len(tops[0]))
    found = document["queries"][0]["outlier"]
    return found["language"] if found else None


SAME = [[1, 2], [1, 2], [1, 2], [1, 2]]


def test_the_rank_farthest_from_the_others_stands_apart() -> None:
    assert outlier([3, 3, 50, 3], SAME) == "ja"
    assert outlier([40, 50, 1, 45], SAME) == "ja"
    assert outlier([3, 3, 3, 3], SAME) is None
    assert outlier([3, 3, 3, 3], [[1, 2], [1, 2], [1, 2], [1, 9]]) == "zh"


@pytest.mark.parametrize("tags", list(itertools.permutations(TAGS[:3])))
def test_of_two_the_worse_stands_apart_in_any_order(tags: tuple[str, ...]) -> None:
    ranks = {"en": 1, "fr": 50, "ja": 1}
    tops = {"en": [1, 2], "fr": [3, 4], "ja": [1, 2]}
    two = [tag for tag in tags if tag != "ja"]
    assert outlier([ranks[t] for t in two], [tops[t] for t in two], tags=tuple(two)) == "fr"
    assert outlier([ranks[t] for t in tags], [tops[t] for t in tags], tags=tags) == "fr"
    assert outlier([0] * 3, [tops[t] for t in tags], False, tags) == "fr"
    # By first files alone neither of two stands apart, nor any of three that share nothing.
    assert outlier([0, 0], [tops[t] for t in two], False, tuple(two)) is None
    assert outlier([0] * 3, [[1, 2], [3, 4], [5, 6]], False, tags) is None


# As JSON


def test_numbers_for_json() -> None:
    found = for_json(
        {
            "a": [1.23456789, math.nan, math.inf, -math.inf, np.float64(0.5), True, None, 7, "x"],
            "b": (math.nan, {"c": 1.23456789e-9}),
        }
    )
    assert found == {
        "a": [1.234568, None, None, None, 0.5, True, None, 7, "x"],
        "b": [None, {"c": 1.234568e-9}],
    }
    assert found["a"][5] is True
    assert type(found["a"][4]) is float
