"""The report of `atri consistency`: one document, which every form of output reads.

Its keys are those of `atri consistency --json` (schema 1), described in docs/consistency.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atri_cli.consistency import quality
from atri_cli.consistency.agreement import Agreement, agree
from atri_cli.consistency.bootstrap import Bootstrap, known_mean, known_means
from atri_cli.consistency.gallery import Place
from atri_cli.consistency.questions import Questions
from atri_cli.consistency.ranking import Rankings

SCHEMA = 1
EQUAL = 1e-9
PAIRED = ("overlap", "rbo", "tau", "top1", "cosine")

Hits = dict[str, list[Place]]
"""Language → the first files, best first."""


@dataclass(frozen=True)
class Report:
    """What was found.

    Args:
        document: as JSON prints it; NaN is None.
        hits: by row id, for the rows whose languages disagree most.
    """

    document: dict[str, Any]
    hits: Mapping[str, Hits] = field(default_factory=dict)

    @property
    def worst(self) -> list[dict[str, Any]]:
        """The document's queries, those whose languages disagree most first."""
        return sorted(self.document["queries"], key=_disagreement)


def build(
    questions: Questions,
    rankings: Rankings,
    right: Sequence[Sequence[int]],
    gallery: int,
    k: int,
) -> dict[str, Any]:
    """The measured part of the document.

    Args:
        questions: what was asked.
        rankings: what the gallery answered, in the order of the questions' vectors.
        right: for each row its right files; empty where unknown.
        gallery: N, how many files were ranked.
        k: depth of comparison, at most the rankings' depth.
    """
    languages, first = questions.languages, questions.first
    draws = Bootstrap(len(first))
    ranks = np.where(first >= 0, rankings.ranks[first], 0)
    counts = [len(files) for files in right]
    pairs, pools = _agreements(questions, rankings, k)
    known = any(counts)
    document: dict[str, Any] = {
        "ground_truth": known,
        "languages": list(languages),
        "concepts": len(first),
        "answered": sum(map(bool, counts)),
        "gallery": gallery,
        "k": k,
        "depth": rankings.depth,
        "mrv": quality.mrv(ranks, counts, gallery, draws) if known else None,
        "per_language": {},
        "mean": None,
        "gap": None,
        "wording": _wording(questions, rankings, counts, gallery),
        "agreement": _overall(pairs, pools, draws),
        "pairs": _pair_list(languages, pairs, ranks),
    }
    if known:
        document["per_language"], document["mean"] = quality.by_language(ranks, languages, draws)
        document["gap"] = quality.gap(document["per_language"], ranks, languages, draws)
    own = _with_others(pairs)
    for place, tag in enumerate(languages):
        document["per_language"].setdefault(tag, {})
        document["per_language"][tag] |= {
            name: known_mean(own[name][:, place]) for name in ("overlap", "cosine")
        }
    chance = quality.chance_variance(ranks, counts, gallery)
    document["queries"] = [
        _query(questions, row, ranks[row], float(chance[row]), counts[row])
        | _row_agreement(questions, row, ranks[row], own, pools[row])
        for row in range(len(first))
    ]
    return document


def for_json(value: Any) -> Any:
    """A document as JSON holds it: None where there is no number, floats of seven digits."""
    if isinstance(value, dict):
        return {key: for_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [for_json(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    return value


Pairs = dict[str, NDArray[np.float64]]
"""Measure → float64 [rows, K, K]; NaN where a row is not asked in both languages."""


def _agreements(
    questions: Questions, rankings: Rankings, k: int
) -> tuple[Pairs, list[Agreement | None]]:
    first, count = questions.first, len(questions.languages)
    pairs = {name: np.full((len(first), count, count), np.nan) for name in PAIRED}
    pools: list[Agreement | None] = []
    for row, places in enumerate(first):
        asked = np.flatnonzero(places >= 0)
        if len(asked) < 2:
            pools.append(None)
            continue
        found = agree(rankings.top[places[asked]], k)
        vectors = questions.vectors[places[asked]].astype(np.float64)
        square = np.ix_(asked, asked)
        for name in PAIRED[:-1]:
            pairs[name][row][square] = getattr(found, name)
        pairs["cosine"][row][square] = vectors @ vectors.T
        pools.append(found)
    for values in pairs.values():
        values[:, range(count), range(count)] = np.nan
    return pairs, pools


def _overall(pairs: Pairs, pools: Sequence[Agreement | None], draws: Bootstrap) -> dict[str, Any]:
    """Means over rows of the mean over each row's pairs of languages, with intervals."""
    rows = {name: known_means(values, (1, 2)) for name, values in pairs.items()}
    rows["pool_variance"] = np.array([one.variance if one else np.nan for one in pools])
    rows["pool_std"] = np.array([one.std if one else np.nan for one in pools])
    found: dict[str, Any] = {name: known_mean(values) for name, values in rows.items()}
    found["intervals"] = {name: draws.interval(values) for name, values in rows.items()}
    found["rows"] = sum(one is not None for one in pools)
    return found


def _pair_list(
    languages: Sequence[str], pairs: Pairs, ranks: NDArray[np.int64]
) -> list[dict[str, Any]]:
    found = []
    for one, first in enumerate(languages):
        for other in range(one + 1, len(languages)):
            both = (ranks[:, one] > 0) & (ranks[:, other] > 0)
            apart = np.abs(ranks[both, one] - ranks[both, other])
            found.append(
                {
                    "languages": [first, languages[other]],
                    **{name: known_mean(values[:, one, other]) for name, values in pairs.items()},
                    "rank_difference": float(apart.mean()) if apart.size else float("nan"),
                    "rows": int((~np.isnan(pairs["overlap"][:, one, other])).sum()),
                }
            )
    return found


def _with_others(pairs: Pairs) -> Pairs:
    """Each language's mean with the other languages of the row, float64 [rows, K]."""
    return {name: known_means(values, 2) for name, values in pairs.items()}


def _asked(questions: Questions, row: int) -> list[tuple[int, str]]:
    """Place and tag of the languages that ask a row."""
    texts = questions.rows[row].texts
    return [(place, tag) for place, tag in enumerate(questions.languages) if tag in texts]


def _query(
    questions: Questions, row: int, ranks: NDArray[np.int64], chance: float, right: int
) -> dict[str, Any]:
    """A row's texts and, with truth, its ranks; `chance` is the variance of random rankings."""
    asked, facts = _asked(questions, row), questions.rows[row]
    known = ranks[ranks > 0]
    variance = float(known.var()) if known.size > 1 else float("nan")
    return {
        "id": facts.id,
        "line": facts.line,
        "texts": {tag: facts.texts[tag][0] for _, tag in asked},
        "right": right,
        "ranks": {tag: int(ranks[place]) for place, tag in asked if right},
        "variance": variance,
        "normalised": variance / chance if chance > 0 else float("nan"),
        "spread": int(np.ptp(known)) if known.size else None,
    }


def _row_agreement(
    questions: Questions, row: int, ranks: NDArray[np.int64], own: Pairs, pool: Agreement | None
) -> dict[str, Any]:
    """A row's agreement between languages, and the language that stands apart."""
    mine = {name: values[row] for name, values in own.items()}
    return {
        "agreement": {
            **{name: known_mean(values) for name, values in mine.items()},
            "pool_variance": pool.variance if pool else float("nan"),
        },
        "outlier": _outlier(_asked(questions, row), ranks, mine),
    }


def _outlier(
    asked: Sequence[tuple[int, str]], ranks: NDArray[np.int64], own: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The language that stands apart: by its rank where truth is known, else by its first files.

    Of several equally far apart it is the one of the worst rank, then the one whose text is least
    like the others. By first files alone none is, if all are equally far apart, as two always are.

    `cosine` is its text's mean cosine with the other languages' texts, `others` the mean of theirs.
    A text that lies far from the others asks for something else; where it does not, files of
    nearly the same score have changed places.
    """
    if len(asked) < 2:
        return None
    places = np.array([place for place, _ in asked])
    mine, cosines = ranks[places], own["cosine"][places]
    ranked = bool((mine > 0).all() and np.ptp(mine))
    apart = np.abs(mine - np.median(mine)) if ranked else 1 - own["overlap"][places]
    if not (apart.max() > 0 if ranked else np.ptp(apart) > EQUAL):
        return None
    unlike = (-cosines).round(6)  # so that the order of languages decides nothing
    odd = max(range(len(asked)), key=lambda n: (apart[n].round(9), mine[n], unlike[n], asked[n][1]))
    return {
        "language": asked[odd][1],
        "cosine": float(cosines[odd]),
        "others": float(np.delete(cosines, odd).mean()),
    }


def _wording(
    questions: Questions, rankings: Rankings, counts: Sequence[int], gallery: int
) -> dict[str, Any] | None:
    """Rank variance over the phrasings of one language, to compare that over languages with."""
    if questions.place.shape[2] < 2 or not any(counts):
        return None
    ranks = np.where(questions.place >= 0, rankings.ranks[questions.place], 0)
    flat = ranks.reshape(-1, ranks.shape[2])
    variance = quality.row_variance(flat)
    right = np.repeat(counts, ranks.shape[1]).tolist()
    chance = quality.chance_variance(flat, right, gallery)
    used = ~np.isnan(variance) & ~np.isnan(chance)
    if not used.any():
        return None
    mean, random = float(variance[used].mean()), float(chance[used].mean())
    return {
        "variance": mean,
        "std": float(np.sqrt(variance[used]).mean()),
        "normalised": mean / random if random else float("nan"),
        "rows": int(used.sum()),
    }


def _disagreement(query: Mapping[str, Any]) -> tuple[float, float, str]:
    """Sort key: largest share of chance's variance first, then least overlap."""
    normalised, overlap = query["normalised"], query["agreement"]["overlap"]
    return (
        -(normalised if normalised is not None else -1.0),
        overlap if overlap is not None else 2.0,
        query["id"],
    )
