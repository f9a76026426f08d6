"""The report as one picture: languages against languages, and the concepts that divide them.

Needs matplotlib (the extra `plot`).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atri_cli.consistency.report import Report
from atri_cli.consistency.writing import write_whole
from atri_cli.errors import RuntimeMissingError, UsageError
from atri_cli.wording import counted, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
TITLE = "How much the answer depends on the language of the question"
WORST = 30
FEWEST = 6  # rows there is room for, however few there are
PILE = 5  # dots of one value that are told apart
LONGEST = 24  # letters of an id
LEAST_RANGE = 0.1  # of the colours, as in page/languages.js
DPI = 150
# The colours of page/page.css, in light.
INK, SOFT, LINE, PAPER = "#1b2326", "#566267", "#e1dfd8", "#fbfaf7"
ACCENT, ODD, FAR, NEAR = "#0c676c", "#b04a12", "#f6d5bb", "#62b3ae"
OURS = "DejaVu Sans"  # comes with matplotlib
# Tried after it, where they are installed: ids may be in any script.
OTHERS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Source Han Sans"),
    *("Hiragino Sans", "PingFang SC", "Arial Unicode MS", "Yu Gothic", "Microsoft YaHei"),
    *("Noto Sans", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari"),
    *("Noto Sans Thai", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Ethiopic"),
)

Query = Mapping[str, Any]


def write_plot(report: Report, path: Path) -> None:
    """Write a PNG or an SVG, as the suffix says.

    Raises:
        UsageError: another suffix.
        RuntimeMissingError: matplotlib is not installed.
        AtriError: the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(
            f"`{path}` is neither `.png` nor `.svg`.",
            hint=f"Name the picture `{path.stem}.png` or `{path.stem}.svg`.",
        )
    try:
        import matplotlib
    except ImportError as error:
        raise RuntimeMissingError(
            "A picture needs matplotlib, which is not installed.",
            hint='Type `pip install "atri-cli[plot]"`.',
        ) from error
    found = io.BytesIO()
    with matplotlib.rc_context():  # the user's own settings wait meanwhile
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "atri"  # the same report gives the same bytes
        date: dict[str, Any] = {"Date": None} if suffix == ".svg" else {}
        draw(report).savefig(found, format=suffix[1:], dpi=DPI, facecolor=PAPER, metadata=date)
    write_whole(path, found.getvalue())


def draw(report: Report) -> Figure:
    """The figure: a heat map beside the most divided concepts, the figures above."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    document = report.document
    known = document["ground_truth"]
    queries = [query for query in report.worst if query["ranks"] or not known][:WORST]
    count = len(document["languages"])
    side = min(11.0, max(3.6, 0.5 * count + 1.0))
    height = 1.9 + max(side, 0.24 * max(FEWEST, len(queries)) + 1.0)
    figure = Figure(
        figsize=(side + 7.5, height), layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12)
    )
    matrix, concepts = figure.subplots(1, 2, width_ratios=(side, 7.0))
    fonts = Fonts()
    figure.suptitle(
        fonts.shown(_summary(document)),
        x=0.02,
        ha="left",
        fontsize=11,
        color=INK,
        linespacing=1.5,
        parse_math=False,
        fontfamily=fonts.names,
    )
    _matrix(matrix, document)
    if known:
        _spread(concepts, queries, document)
    else:
        _overlaps(concepts, queries, document["k"])
    _rows(concepts, queries, fonts)
    for axes in (matrix, concepts):
        axes.set_facecolor(PAPER)
        axes.tick_params(length=0, colors=SOFT, labelsize=9)
        axes.spines[:].set_visible(False)
    return figure


class Fonts:
    """Which letters can be drawn: those of matplotlib's own font and of a few that may be there."""

    def __init__(self) -> None:
        from matplotlib.font_manager import findfont, fontManager, get_font

        there = {entry.name for entry in fontManager.ttflist}
        self.names = [OURS, *(name for name in OTHERS if name in there)]
        self._letters: set[int] = set()
        for name in self.names:
            self._letters.update(get_font(findfont(name)).get_charmap())

    def has(self, text: str) -> bool:
        """Whether every letter of a text can be drawn."""
        return all(ord(letter) in self._letters for letter in text)

    def shown(self, text: str) -> str:
        """The text, a question mark for each letter that cannot be drawn."""
        return "".join(one if one == "\n" or self.has(one) else "?" for one in text)

    def name(self, query: Query) -> str:
        """A concept's id, cut if it is long; its line in the query file where that can't be."""
        name = printable(query["id"])
        if not self.has(name):
            return f"line {query['line']}"
        return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _summary(document: Mapping[str, Any]) -> str:
    agreement, k = document["agreement"], document["k"]
    figures = []
    if document["ground_truth"]:
        mrv, mean = document["mrv"], document["mean"]
        figures += [
            f"MRV {_number(mrv['normalised'], 4)} of random{_interval(mrv['interval'], 4)}",
            f"R@10 {_number(mean['r10'])}{_interval(mean['intervals']['r10'])}",
        ]
    overlap = agreement["intervals"]["overlap"]
    figures.append(f"overlap@{k} {_number(agreement['overlap'])}{_interval(overlap)}")
    asked = [
        counted(document["concepts"], "concept"),
        counted(len(document["languages"]), "language"),
        counted(document["gallery"], "file"),
        f"model {printable(document['model'])}",
        *document["remedies"],
    ]
    return "\n".join((TITLE, "   ".join(figures), ", ".join(asked)))


def _matrix(axes: Axes, document: Mapping[str, Any]) -> None:
    """Overlap of every two languages, coloured and numbered."""
    from matplotlib.colors import LinearSegmentedColormap

    tags = document["languages"]
    place = {tag: number for number, tag in enumerate(tags)}
    values = np.full((len(tags), len(tags)), np.nan)
    for pair in document["pairs"]:
        if pair["overlap"] is not None:
            one, other = (place[tag] for tag in pair["languages"])
            values[one, other] = values[other, one] = pair["overlap"]
    known = values[~np.isnan(values)]
    high = float(known.max()) if known.size else 1.0
    low = min(float(known.min()) if known.size else 0.0, high - LEAST_RANGE)
    colours = LinearSegmentedColormap.from_list("agreement", [FAR, NEAR])
    edges = np.arange(len(tags) + 1) - 0.5
    cells = np.ma.masked_invalid(values)
    axes.pcolormesh(
        edges, edges, cells, cmap=colours, vmin=low, vmax=high, edgecolors=PAPER, linewidth=1.5
    )
    size = 9 if len(tags) <= 12 else 7
    for row, column in np.argwhere(~np.isnan(values)):
        axes.text(
            column,
            row,
            f"{values[row, column]:.2f}",
            ha="center",
            va="center_baseline",
            fontsize=size,
            color=INK,
        )
    axes.set_title(f"Overlap@{document['k']} of every two languages", **_heading())
    axes.set_xticks(range(len(tags)), tags)
    axes.set_yticks(range(len(tags)), tags)
    axes.xaxis.tick_top()
    axes.set_aspect("equal")
    axes.set_anchor("NW")
    axes.invert_yaxis()


def _spread(axes: Axes, queries: Sequence[Query], document: Mapping[str, Any]) -> None:
    """For each concept its rank in each language, on a logarithmic scale."""
    most = max(2, document["gallery"])
    axes.set_xscale("log")
    axes.axvspan(0.94, min(document["k"], most) * 1.06, color=ACCENT, alpha=0.07, linewidth=0)
    for row, query in enumerate(queries):
        ranks = query["ranks"]
        values = list(ranks.values())
        odd = query["outlier"]["language"] if query["outlier"] else None
        middle = float(np.median(values))
        _reach(axes, row, min(values), max(values))
        axes.plot([middle] * 2, [row - 0.32, row + 0.32], color=INK, linewidth=1.2, zorder=2)
        _dots(axes, row, [rank for tag, rank in ranks.items() if tag != odd], ACCENT)
        if odd in ranks and min(values) < max(values):
            right = ranks[odd] >= middle
            _dots(axes, row, [ranks[odd]], ODD)
            axes.annotate(
                str(odd),
                (ranks[odd], row),
                xytext=(6 if right else -6, 0),
                textcoords="offset points",
                ha="left" if right else "right",
                va="center",
                fontsize=8,
                color=ODD,
                weight="bold",
            )
        elif odd in ranks:
            _dots(axes, row, [ranks[odd]], ACCENT)
    axes.set_xlim(most**-0.07, most**1.06)
    ticks = [1, *(step * 10**power for power in range(9) for step in (2, 5, 10))]
    ticks = [tick for tick in ticks if tick <= most / 1.6] + [most]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
    title = f"Rank of the right file in each language, 1 to {document['gallery']:,}"
    axes.set_title(f"{title}\nnamed: the language that stands apart; stroke: median", **_heading())


def _overlaps(axes: Axes, queries: Sequence[Query], k: int) -> None:
    """For each concept how much its languages agree, and how alike their texts are."""
    for row, query in enumerate(queries):
        overlap, cosine = query["agreement"]["overlap"], query["agreement"]["cosine"]
        if overlap is None:
            continue
        _reach(axes, row, 0.0, overlap)
        _dots(axes, row, [max(0.0, cosine)], "none", ODD)
        _dots(axes, row, [overlap], ACCENT)
    axes.set_xlim(-0.02, 1.02)
    title = f"Overlap@{k} of the concepts that languages agree on least"
    axes.set_title(f"{title}\nring: cosine of their texts", **_heading())


def _rows(axes: Axes, queries: Sequence[Query], fonts: Fonts) -> None:
    axes.set_yticks(range(len(queries)), [fonts.name(query) for query in queries])
    for label in axes.get_yticklabels():
        label.set(color=INK, fontfamily=fonts.names, parse_math=False)
    axes.set_ylim(max(FEWEST, len(queries)) - 0.4, -0.6)
    axes.xaxis.tick_top()
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)


def _reach(axes: Axes, row: int, low: float, high: float) -> None:
    axes.plot([low, high], [row, row], color=SOFT, linewidth=1.2, alpha=0.6, zorder=1)


def _dots(axes: Axes, row: int, values: Iterable[float], colour: str, edge: str = PAPER) -> None:
    """Dots of one value stand above each other."""
    alike: dict[float, int] = {}
    for value in values:
        alike[value] = alike.get(value, 0) + 1
    for value, count in alike.items():
        rim = edge if count <= PILE else "none"
        heights = row + (np.arange(count) - (count - 1) / 2) * min(0.16, 0.6 / count)
        axes.scatter(
            [value] * count, heights, s=30, c=colour, edgecolors=rim, linewidths=0.8, zorder=3
        )


def _heading() -> dict[str, Any]:
    return {"loc": "left", "fontsize": 10, "color": SOFT, "pad": 8}


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _interval(bounds: Sequence[float | None], digits: int = 2) -> str:
    """With a space before it; nothing where there is none."""
    if bounds[0] is None:
        return ""
    low, high = (_number(bound, digits) for bound in bounds)
    return f" [{low}, {high}]"
