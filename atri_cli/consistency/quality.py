"""With ground truth: how well each language finds what is right, and how much the rank varies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atri_cli import metrics
from atri_cli.consistency.bootstrap import Bootstrap, bounds, known_mean, known_means

Ranks = NDArray[np.int64]
Floats = NDArray[np.float64]
MEASURES = ("r1", "r5", "r10", "map10")


def per_row(ranks: Ranks) -> dict[str, Floats]:
    """Each measure of each query: float64, the shape of `ranks`; NaN where it is not asked."""
    asked = ranks > 0
    gains = {f"r{k}": (ranks <= k).astype(np.float64) for k in (1, 5, 10)}
    gains["map10"] = np.where((ranks <= 10) & asked, 1 / np.maximum(ranks, 1), 0.0)
    return {name: np.where(asked, values, np.nan) for name, values in gains.items()}


def row_variance(ranks: Ranks) -> Floats:
    """Population variance of each row's ranks over the languages it is asked in, float64 [rows].

    NaN for rows that fewer than two languages ask.
    """
    asked = ranks > 0
    count = asked.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = ranks.sum(axis=1) / count
        squares = np.where(asked, (ranks - mean[:, None]) ** 2, 0.0).sum(axis=1) / count
    return np.where(count > 1, squares, np.nan)


def chance_variance(ranks: Ranks, right: Sequence[int], gallery: int) -> Floats:
    """What `row_variance` is expected to be when every language ranks at random, float64 [rows].

    Args:
        ranks: int64 [rows, K]; 0 where not asked.
        right: how many files are right for each row.
        gallery: N.
    """
    count = (ranks > 0).sum(axis=1)
    return np.array(
        [
            metrics.random_variance(gallery, int(k), m) if k > 1 and m else np.nan
            for k, m in zip(count, right, strict=True)
        ]
    )


def mrv(ranks: Ranks, right: Sequence[int], gallery: int, draws: Bootstrap) -> dict[str, Any]:
    """Mean rank variance in both forms, and what it is of chance, with 95 % intervals.

    `variance`: 1/(NK) ΣΣ (rank_jk - mean_k rank_jk)² (ATRI, ACL 2025); `std`: the mean of the rows'
    population standard deviations (CCRK's code). A row counts with the languages it is asked in.
    `normalised` is `variance` over `random_variance`, that of independent random rankings.
    """
    variance = row_variance(ranks)
    chance = chance_variance(ranks, right, gallery)
    rows = int((~np.isnan(variance)).sum())
    with np.errstate(invalid="ignore"):
        mean, random = (known_mean(values) for values in (variance, chance))
    return {
        "variance": mean,
        "variance_interval": draws.interval(variance),
        "std": known_mean(np.sqrt(variance)),
        "std_interval": draws.interval(np.sqrt(variance)),
        "random_variance": random,
        "normalised": mean / random if random else float("nan"),
        "interval": draws.ratio(variance, chance),
        "rows": rows,
        "gallery": gallery,
        "languages": ranks.shape[1],
    }


def by_language(
    ranks: Ranks, languages: Sequence[str], draws: Bootstrap
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Recall, mAP@10 and median rank of each language, and their mean over the languages."""
    values = per_row(ranks)
    drawn = {name: draws.means(value) for name, value in values.items()}
    found: dict[str, dict[str, Any]] = {}
    for place, tag in enumerate(languages):
        asked = ranks[:, place][ranks[:, place] > 0]
        found[tag] = {name: known_mean(value[:, place]) for name, value in values.items()}
        found[tag]["median_rank"] = float(np.median(asked)) if asked.size else float("nan")
        found[tag]["rows"] = int(asked.size)
        found[tag]["intervals"] = {name: bounds(value[:, place]) for name, value in drawn.items()}
    names = (*MEASURES, "median_rank")
    mean: dict[str, Any] = {
        n: known_mean(np.array([one[n] for one in found.values()])) for n in names
    }
    mean["intervals"] = {name: bounds(known_means(value, 1)) for name, value in drawn.items()}
    return found, mean


def gap(
    found: dict[str, dict[str, Any]], ranks: Ranks, languages: Sequence[str], draws: Bootstrap
) -> dict[str, Any]:
    """Best and worst language, and each one's R@10 and mAP@10 over English's.

    Languages are compared by mAP@10, then by R@10; the differences are best minus worst, and the
    intervals those of these two, taken as given. English is `en`, or a form of it where that is
    not asked.
    """
    known = {tag: one for tag, one in found.items() if one["rows"]}
    if not known:
        empty = dict.fromkeys(("best", "worst", "r10", "map10", "intervals"))
        return {**empty, "to_english": {}}
    best = max(known, key=lambda tag: (known[tag]["map10"], known[tag]["r10"]))
    worst = min(known, key=lambda tag: (known[tag]["map10"], known[tag]["r10"]))
    english = min((tag for tag in known if tag.split("-")[0] == "en"), default="")
    places = [languages.index(best), languages.index(worst)]
    drawn = {name: draws.means(value[:, places]) for name, value in per_row(ranks).items()}
    ratios = {
        tag: {
            name: one[name] / known[english][name]
            for name in ("r10", "map10")
            if known[english][name]
        }
        for tag, one in known.items()
        if english
    }
    return {
        "best": best,
        "worst": worst,
        **{name: known[best][name] - known[worst][name] for name in ("r10", "map10")},
        "intervals": {name: bounds(drawn[name] @ [1, -1]) for name in ("r10", "map10")},
        "to_english": ratios,
    }
