"""Two reports on the same queries: what has changed, row by row, with 95 % intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atri_cli.consistency import quality
from atri_cli.consistency.bootstrap import Bootstrap, bounds, known_means
from atri_cli.consistency.report import SCHEMA
from atri_cli.errors import UsageError

Document = Mapping[str, Any]
AGREEMENTS = ("overlap", "rbo", "tau", "top1", "cosine", "pool_variance")
CHANGED = 5


def read_report(path: Path) -> dict[str, Any]:
    """What an earlier `atri consistency --json` wrote.

    Raises:
        UsageError: it cannot be read, is no such report, or one of another schema.
    """
    hint = "It is written by `atri consistency --query-file q.tsv --json > report.json`."
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"Cannot read `{path}`.", why=f"{error.strerror}.", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"`{path}` is not JSON.", why=f"{error}.", hint=hint) from error
    if not isinstance(document, dict) or "schema" not in document:
        raise UsageError(f"`{path}` is no report of `atri consistency`.", hint=hint)
    if document["schema"] != SCHEMA:
        what = f"`{path}` is a report of schema {document['schema']}, and this atri reads {SCHEMA}."
        raise UsageError(what, hint="Make it again with this version.")
    try:
        _rows(document, document["languages"], [query["id"] for query in document["queries"]])
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UsageError(
            f"`{path}` is not a whole report.", why=f"{type(error).__name__}: {error}.", hint=hint
        ) from error
    return document


def compare(before: Document, after: Document, name: str) -> dict[str, Any]:
    """Paired differences, after minus before, over the rows and languages that both have.

    Args:
        before, after: documents of two reports.
        name: what `before` is called.

    Returns:
        The document's `comparison`: `measures` by name with `before`, `after`, `difference` and
        `interval`, and the ids of the rows that changed most.

    Raises:
        UsageError: they have no row, or not two languages, in common.
    """
    languages = [tag for tag in after["languages"] if tag in before["languages"]]
    known = {query["id"] for query in before["queries"]}
    shared = [query["id"] for query in after["queries"] if query["id"] in known]
    if not shared or len(languages) < 2:
        raise UsageError(
            f"{name} has nothing in common with this report.",
            why=f"They share {len(shared)} concepts and {len(languages)} languages.",
        )
    old, new = (_rows(document, languages, shared) for document in (before, after))
    draws = Bootstrap(len(shared))
    measures = {
        key: _difference(old[key], new[key], draws) for key in new if key not in ("chance",)
    }
    measures["mrv_normalised"] = _ratio(old, new, draws)
    with np.errstate(invalid="ignore", divide="ignore"):  # one file alone is always found
        change = new["mrv_variance"] / new["chance"] - old["mrv_variance"] / old["chance"]
    if np.isnan(change).all():
        change = old["overlap"] - new["overlap"]
    order = [n for n in np.argsort(change, kind="stable").tolist() if not np.isnan(change[n])]
    return {
        "with": name,
        "rows": len(shared),
        "languages": languages,
        "measures": {key: value for key, value in measures.items() if value is not None},
        "better": [shared[n] for n in order[:CHANGED] if change[n] < 0],
        "worse": [shared[n] for n in order[::-1][:CHANGED] if change[n] > 0],
    }


Rows = dict[str, NDArray[np.float64]]


def _rows(document: Document, languages: list[str], ids: list[str]) -> Rows:
    """Each measure's value of each row, float64 [rows]; NaN where there is none."""
    by_id = {query["id"]: query for query in document["queries"]}
    queries = [by_id[one] for one in ids]
    ranks = np.array(
        [[query["ranks"].get(tag, 0) for tag in languages] for query in queries], np.int64
    ).reshape(len(queries), len(languages))
    found: Rows = {}
    for name, values in quality.per_row(ranks).items():
        found[name] = known_means(values, 1)
    found["mrv_variance"] = quality.row_variance(ranks)
    found["mrv_std"] = np.sqrt(found["mrv_variance"])
    right = [int(query["right"]) for query in queries]
    found["chance"] = quality.chance_variance(ranks, right, int(document["gallery"]))
    for name in AGREEMENTS:
        agreements = [query["agreement"][name] for query in queries]
        found[name] = np.array([np.nan if one is None else float(one) for one in agreements])
    return found


def _difference(
    old: NDArray[np.float64], new: NDArray[np.float64], draws: Bootstrap
) -> dict[str, Any] | None:
    both = ~np.isnan(old) & ~np.isnan(new)
    if not both.any():
        return None
    change = np.where(both, new - old, np.nan)
    return {
        "before": float(old[both].mean()),
        "after": float(new[both].mean()),
        "difference": float(change[both].mean()),
        "interval": draws.interval(change),
    }


def _ratio(old: Rows, new: Rows, draws: Bootstrap) -> dict[str, Any] | None:
    """MRV of random's, in both; their galleries may differ in size. None where nothing can vary."""
    both = ~np.isnan(old["mrv_variance"]) & ~np.isnan(new["mrv_variance"])
    parts = [
        [np.where(both, rows[name], np.nan) for name in ("mrv_variance", "chance")]
        for rows in (old, new)
    ]
    if not all(np.nansum(below) > 0 for _, below in parts):
        return None
    before, after = (float(np.nansum(above) / np.nansum(below)) for above, below in parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = [draws.means(above) / draws.means(below) for above, below in parts]
    return {
        "before": before,
        "after": after,
        "difference": after - before,
        "interval": bounds(drawn[1] - drawn[0]),
    }
