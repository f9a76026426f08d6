"""The report as tables of words and numbers, which the terminal and Markdown print alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
MEASURES = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "map10": "mAP@10"}
SHORT_ID = 24
NOTHING = "–"
FAR = 0.05  # how much less like the others a text must be for that to be the reason


@dataclass(frozen=True)
class Table:
    """A heading, the columns' names, and cells; the first column is text, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number(value: float | None, digits: int = 3) -> str:
    """`0.452`; a dash where there is none."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def interval(bounds: Sequence[float | None] | None, digits: int = 3) -> str:
    """`[0.351, 0.552]`; nothing where there is none."""
    if not bounds or bounds[0] is None:
        return ""
    return f"[{number(bounds[0], digits)}, {number(bounds[1], digits)}]"


def percent(value: float | None) -> str:
    """`71` for 0.71, in whole hundredths."""
    return NOTHING if value is None else f"{100 * value:.0f}"


def summary(document: Document) -> list[tuple[str, str]]:
    """What was asked of what, and the figures that sum it up."""
    languages = document["languages"]
    asked = f"{document['concepts']:,} concepts in {len(languages)} languages"
    sounds = f"{document['gallery']:,} files ({document['segments']:,} segments)"
    facts = [
        ("asked", f"{asked} of {sounds}, model {document['model']}"),
        ("languages", " ".join(languages)),
    ]
    if document["remedies"]:
        known = f"{document['queries_expanded']:,} of {document['queries_asked']:,} queries"
        words = {"expand": f"the vocabulary's translations of {known}"}
        facts.append(("with", ", ".join(words.get(one, one) for one in document["remedies"])))
    if document["ground_truth"]:
        facts += _truth(document)
    else:
        facts.append(("truth", "none: no column `audio`. Agreement only, not whether it is right."))
    return facts + _agreement(document)


def _truth(document: Document) -> list[tuple[str, str]]:
    mean, mrv, gap = document["mean"], document["mrv"], document["gap"]
    known = document["answered"]
    facts = [("truth", f"{known:,} of {document['concepts']:,} concepts have right answers")]
    recall = "  ".join(f"{name} {number(mean[key])}" for key, name in MEASURES.items())
    facts.append(("recall", f"{recall}, mean of the languages"))
    if gap["best"]:
        english = [
            f"{tag} {ratio['map10']:.2f}"
            for tag, ratio in gap["to_english"].items()
            if "map10" in ratio and tag.split("-")[0] != "en"
        ]
        facts.append(
            (
                "gap",
                f"best {gap['best']}, worst {gap['worst']}: {number(gap['map10'])} "
                f"{interval(gap['intervals']['map10'])} of mAP@10",
            )
        )
        if english:
            facts.append(("", "mAP@10 over English's: " + "  ".join(english)))
    size = f"N = {mrv['gallery']:,}, K = {mrv['languages']}, {mrv['rows']:,} rows"
    facts += [
        (
            "MRV",
            f"{number(mrv['normalised'], 4)} {interval(mrv['interval'], 4)} of random "
            f"(0: the same rank in every language, 1: chance)",
        ),
        (
            "",
            f"variance form {number(mrv['variance'], 1)} {interval(mrv['variance_interval'], 1)}, "
            f"random {number(mrv['random_variance'], 1)}; {size}",
        ),
        (
            "",
            f"standard deviation form {number(mrv['std'], 2)} {interval(mrv['std_interval'], 2)}",
        ),
    ]
    wording = document["wording"]
    if wording:
        facts.append(
            (
                "wording",
                f"{number(wording['normalised'], 4)} of random between the phrasings of "
                f"one language ({wording['rows']:,} times)",
            )
        )
    return facts


def _agreement(document: Document) -> list[tuple[str, str]]:
    found, k = document["agreement"], document["k"]
    bounds = found["intervals"]
    return [
        (
            "agreement",
            f"overlap@{k} {number(found['overlap'])} {interval(bounds['overlap'])}  "
            f"RBO {number(found['rbo'])} {interval(bounds['rbo'])}",
        ),
        (
            "",
            f"top-1 {number(found['top1'])}  Kendall's tau {number(found['tau'])}  "
            f"text cosine {number(found['cosine'])}",
        ),
        (
            "",
            f"rank variance over the pooled top {k}: {number(found['pool_variance'], 1)} "
            f"(ranks beyond {document['depth']} count as {document['depth'] + 1})",
        ),
    ]


def per_language(document: Document) -> Table:
    """Recall of each language, and its agreement with the others."""
    names = (*MEASURES.values(), "median rank") if document["ground_truth"] else ()
    rows = []
    for tag, found in document["per_language"].items():
        cells = [number(found.get(key)) for key in MEASURES] if names else []
        cells += [number(found.get("median_rank"), 1)] if names else []
        rows.append((tag, *cells, number(found["overlap"]), number(found["cosine"])))
    if document["mean"]:
        mean = document["mean"]
        cells = [*(number(mean[key]) for key in MEASURES), number(mean["median_rank"], 1)]
        found = document["agreement"]
        rows.append(("mean", *cells, number(found["overlap"]), number(found["cosine"])))
    title = "Each language (overlap and text cosine: mean with the other languages)"
    return Table(title, ("language", *names, f"overlap@{document['k']}", "cosine"), tuple(rows))


def matrix(document: Document, measure: str = "overlap") -> tuple[Table, dict[str, float]]:
    """Languages against languages, in hundredths; and the values by cell, as `en fr`."""
    values = {}
    for pair in document["pairs"]:
        one, other = pair["languages"]
        if pair[measure] is not None:
            values[f"{one} {other}"] = values[f"{other} {one}"] = float(pair[measure])
    tags = document["languages"]
    rows = tuple((one, *(percent(values.get(f"{one} {other}")) for other in tags)) for one in tags)
    name = {"overlap": f"overlap@{document['k']}"}.get(measure, measure)
    return Table(f"Language by language: {name}, in hundredths", ("", *tags), rows), values


def concepts(document: Document, queries: Sequence[Mapping[str, Any]]) -> Table:
    """Concepts side by side: with truth the rank in each language, else how much they agree."""
    tags = document["languages"]
    k = document["k"]
    if not document["ground_truth"]:
        rows = [
            (
                query["id"][:SHORT_ID],
                number(query["agreement"]["overlap"], 2),
                number(query["agreement"]["rbo"], 2),
                number(query["agreement"]["cosine"], 2),
                _why(query),
            )
            for query in queries
        ]
        columns = ("concept", f"overlap@{k}", "RBO", "cosine", "stands apart")
        return Table("Concepts whose languages agree least", columns, tuple(rows))
    rows = [
        (
            query["id"][:SHORT_ID],
            *(str(query["ranks"].get(tag, NOTHING)) for tag in tags),
            number(query["normalised"]),
            _why(query),
        )
        for query in queries
    ]
    title = "Concepts whose rank depends most on the language (of random: 1 is chance)"
    return Table(title, ("concept", *tags, "of random", "stands apart"), tuple(rows))


def _why(query: Mapping[str, Any]) -> str:
    """`nl (text 0.14, others 0.38)`: the language that stands apart, and why if its text does."""
    odd = query["outlier"]
    if not odd:
        return ""
    cosine, others = odd["cosine"], odd["others"]
    if cosine is None or others is None or others - cosine < FAR:
        return str(odd["language"])
    return f"{odd['language']} (text {cosine:.2f}, others {others:.2f})"


def comparison(document: Document) -> Table:
    """Before, after and their difference, with its 95 % interval."""
    found = document["comparison"]
    rows = tuple(
        (
            name,
            number(one["before"], 4),
            number(one["after"], 4),
            f"{one['difference']:+.4f}" if one["difference"] is not None else NOTHING,
            interval(one["interval"], 4),
        )
        for name, one in found["measures"].items()
    )
    title = (
        f"Against {found['with']}: {found['rows']:,} concepts, {len(found['languages'])} languages"
    )
    return Table(title, ("measure", "before", "after", "difference", "95 % interval"), rows)
