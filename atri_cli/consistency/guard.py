"""Limits that a report must keep, for somebody's CI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from atri_cli.errors import UsageError

Document = Mapping[str, Any]
SHOWN = 5


def check(
    document: Document,
    worst: Sequence[Mapping[str, Any]],
    *,
    max_mrv: float | None = None,
    min_overlap: float | None = None,
) -> list[dict[str, Any]]:
    """Hold a report against limits.

    Args:
        document: of the report.
        worst: its queries, the most divided first.
        max_mrv: the most that MRV may be of random's, 0..1.
        min_overlap: what the mean overlap of every two languages must reach, 0..1.

    Returns:
        For each limit: `limit`, `bound`, `value`, `holds`, and when it does not the `languages`
        and `concepts` (ids) that break it.

    Raises:
        UsageError: a limit is out of range, or MRV is asked for without right answers.
    """
    found = []
    for name, bound in (("--max-mrv", max_mrv), ("--min-overlap", min_overlap)):
        if bound is not None and not 0 <= bound <= 1:
            raise UsageError(f"`{name} {bound:g}` is not between 0 and 1.")
    if max_mrv is not None:
        found.append(_mrv(document, worst, max_mrv))
    if min_overlap is not None:
        found.append(_overlap(document, min_overlap))
    return found


def _mrv(document: Document, worst: Sequence[Mapping[str, Any]], bound: float) -> dict[str, Any]:
    value = document["mrv"] and document["mrv"]["normalised"]
    if value is None:
        raise UsageError(
            "`--max-mrv` needs right answers: no row has ranks that could differ.",
            hint="Give the query file a column `audio`, or guard with `--min-overlap`.",
        )
    holds = value <= bound
    shares = rank_shares(document)
    apart = sorted(shares, key=lambda tag: -shares[tag])
    blamed = [tag for tag in apart if shares[tag] > 1 / len(shares)]
    concepts = [q["id"] for q in worst if (q["normalised"] or 0) > bound]
    return {
        "limit": "max-mrv",
        "bound": bound,
        "value": value,
        "holds": holds,
        "languages": [] if holds else blamed[:SHOWN],
        "concepts": [] if holds else concepts[:SHOWN],
    }


def rank_shares(document: Document) -> dict[str, float]:
    """Each language's share of the rank variance: its squared distance from the rows' means."""
    total: dict[str, float] = dict.fromkeys(document["languages"], 0.0)
    for query in document["queries"]:
        if len(query["ranks"]) > 1:
            mean = float(np.mean(list(query["ranks"].values())))
            for tag, rank in query["ranks"].items():
                total[tag] += (rank - mean) ** 2 / len(query["ranks"])
    whole = sum(total.values())
    return {tag: value / whole if whole else 0.0 for tag, value in total.items()}


def _overlap(document: Document, bound: float) -> dict[str, Any]:
    pairs = [pair for pair in document["pairs"] if pair["overlap"] is not None]
    pairs.sort(key=lambda pair: pair["overlap"])
    below = [pair for pair in pairs if pair["overlap"] < bound]
    queries = [q for q in document["queries"] if (q["agreement"]["overlap"] or 0) < bound]
    queries.sort(key=lambda query: query["agreement"]["overlap"] or 0)
    return {
        "limit": "min-overlap",
        "bound": bound,
        "value": pairs[0]["overlap"] if pairs else None,
        "holds": bool(pairs) and not below,
        "languages": ["-".join(pair["languages"]) for pair in below[:SHOWN]],
        "concepts": [query["id"] for query in queries[:SHOWN]] if below else [],
    }
