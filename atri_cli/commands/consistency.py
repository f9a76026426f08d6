"""`atri consistency`: how much the answer depends on the language of the question."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from atri_cli.commands import parsing
from atri_cli.commands.options import (
    DeviceOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    QuietOption,
)
from atri_cli.errors import UsageError
from atri_cli.output import Output
from atri_cli.settings import Settings, load_settings
from atri_cli.wording import command

if TYPE_CHECKING:
    from atri_cli.consistency.remedies import Fuse
    from atri_cli.consistency.report import Report

LIMIT_BROKEN = 4
FUSE = ("mean", "ranks")


def consistency(
    query_file: Annotated[
        Path | None,
        typer.Option(
            "--query-file",
            metavar="FILE",
            help="Concepts in several languages, one a row; with `audio`, the right answers.",
            show_default=False,
        ),
    ] = None,
    *,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init",
            metavar="FILE",
            help="Write a query file of 50 sounds in many languages to start from.",
            show_default=False,
        ),
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option(
            "--languages", metavar="TAGS", help="Only these, as `en,fr,ja`.", show_default=False
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="Only rows of this split.")
    ] = "",
    depth: Annotated[
        int, typer.Option("--top", "-k", min=1, metavar="K", help="Compare the first K files.")
    ] = 10,
    worst: Annotated[
        int, typer.Option("--worst", min=0, metavar="N", help="Show so many divided concepts.")
    ] = 10,
    skip_missing: Annotated[
        bool,
        typer.Option("--skip-missing", help="Leave out right answers that the library lacks."),
    ] = False,
    fuse: Annotated[
        str | None,
        typer.Option(
            "--fuse",
            metavar="mean|ranks",
            help="Ask each row in all its languages at once.",
            show_default=False,
        ),
    ] = None,
    expand: Annotated[
        bool,
        typer.Option(
            "--expand/--no-expand",
            help="Ask in eight languages at once what the vocabulary knows, as a search does.",
        ),
    ] = True,
    csls: Annotated[
        bool,
        typer.Option(
            "--csls/--no-csls", help="Hold back sounds that resemble every name, as a search does."
        ),
    ] = True,
    mean_shift: Annotated[
        bool, typer.Option("--mean-shift", help="Move each language's texts to a common mean.")
    ] = False,
    qb_norm: Annotated[
        bool,
        typer.Option(
            "--qb-norm", help="Hold them back by the names of the languages asked instead."
        ),
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare",
            metavar="LIBRARY|MODEL",
            help="Compare with another library, or with these sounds in another model.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FILE",
            help="Compare with an earlier report, as `--json` wrote it.",
            show_default=False,
        ),
    ] = None,
    max_mrv: Annotated[
        float | None,
        typer.Option(
            "--max-mrv",
            metavar="X",
            help="Exit with 4 when MRV is above X of random's (0 to 1).",
            show_default=False,
        ),
    ] = None,
    min_overlap: Annotated[
        float | None,
        typer.Option(
            "--min-overlap",
            metavar="X",
            help="Exit with 4 when two languages share less than X of their first files.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV, a line for each concept and language.")
    ] = False,
    md: Annotated[bool, typer.Option("--md", help="Print Markdown.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write a page with players too.", show_default=False
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Write a picture too, .png or .svg.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = None,
    library: LibraryOption = None,
    model: ModelOption = None,
    quiet: QuietOption = False,
) -> None:
    """Measure how much the answer depends on the language of the question.

    Each row of the query file is asked in each of its languages. With right answers (a column
    `audio`: paths or globs in an indexed folder, several joined by `|`) their ranks tell recall,
    mAP@10 and MRV, the mean rank variance; without, only how far the languages agree.

    \b
    Examples:
      atri consistency --init q.tsv
      atri consistency --query-file q.tsv
      atri consistency --query-file q.tsv --html report.html
      atri consistency --query-file q.tsv --json > before.json
      atri consistency --query-file q.tsv --qb-norm --against before.json
      atri consistency --query-file q.tsv --max-mrv 0.05 --min-overlap 0.5 --quiet
    """
    settings = load_settings(library=library, model=model, device=device)
    tags = parsing.language_tags(languages)
    out = Output(_mode(json, csv, md), quiet=quiet)
    if init is not None:
        _init(out, init, tags, settings)
        return
    if query_file is None:
        raise UsageError(
            "There is nothing to ask: no `--query-file`.",
            hint="Write one to start from: `atri consistency --init q.tsv`.",
        )
    if compare is not None and against is not None:
        raise UsageError(
            "`--compare` and `--against` exclude each other.", hint="Keep one of them."
        )
    from atri_cli.commands.consistency_run import Ask
    from atri_cli.consistency.compare import compare as differences
    from atri_cli.consistency.compare import read_report
    from atri_cli.consistency.guard import check
    from atri_cli.consistency.remedies import Remedies
    from atri_cli.consistency.report import Report, for_json

    earlier = read_report(against) if against else None
    remedies = Remedies(_fused(fuse), expand, mean_shift, qb_norm, csls)
    ask = Ask(out, query_file, tags, split, depth, skip_missing, remedies)
    report = ask.library(settings)
    document = dict(report.document)
    if compare is not None:
        earlier = ask.other(settings, compare).document
    if earlier is not None:
        name = str(against) if against else str(compare)
        document["comparison"] = for_json(differences(earlier, document, name))
    broken = check(document, report.worst, max_mrv=max_mrv, min_overlap=min_overlap)
    document["limits"] = for_json(broken)
    report = Report(document, report.hits)
    _print(out, report, md, worst)
    _write(report, html, plot, out)
    _judge(broken)


def _print(out: Output, report: Report, md: bool, worst: int) -> None:
    from atri_cli.commands import consistency_view

    if md:
        from atri_cli.consistency.markdown import markdown

        out.text(markdown(report))
        return
    consistency_view.show(out, report, worst)


def _write(report: Report, html: Path | None, plot: Path | None, out: Output) -> None:
    if html is not None:
        from atri_cli.consistency.html import write_html

        write_html(report, html)
        out.note(f"The page is in `{html}`.")
    if plot is not None:
        from atri_cli.consistency.plot import write_plot

        write_plot(report, plot)
        out.note(f"The picture is in `{plot}`.")


def _judge(broken: list[dict[str, Any]]) -> None:
    """Exit with 4, and say on stderr which languages and concepts broke a limit.

    Raises:
        typer.Exit: a limit is broken.
    """
    from atri_cli.output import say

    failed = [one for one in broken if not one["holds"]]
    for one in failed:
        value = "nothing to measure" if one["value"] is None else f"{one['value']:.4f}"
        sign = "above" if one["limit"] == "max-mrv" else "below"
        say(f"Limit broken: `--{one['limit']} {one['bound']:g}`: {value}, which is {sign} it.")
        if one["languages"]:
            say(f"Languages: {', '.join(one['languages'])}.")
        if one["concepts"]:
            say(f"Concepts: {', '.join(one['concepts'])}.")
    if failed:
        raise typer.Exit(LIMIT_BROKEN)


def _init(out: Output, path: Path, tags: list[str], settings: Settings) -> None:
    from atri_cli.commands.opening import flags
    from atri_cli.consistency.starter import starter_rows
    from atri_cli.queryfile import write_queries

    if os.path.lexists(path):
        raise UsageError(f"`{path}` is there already.", hint="Choose another name, or remove it.")
    rows, spoken = starter_rows(tags)
    write_queries(path, rows, spoken)
    out.note(f"Wrote {len(rows)} sounds in {len(spoken)} languages to `{path}`.")
    again = command(["consistency", "--query-file", path, *flags(settings)])
    out.hint(f"Change it as you like, then type {again}.")


def _mode(json: bool, csv: bool, md: bool) -> Any:
    asked = [name for name, on in (("json", json), ("csv", csv), ("md", md)) if on]
    if len(asked) > 1:
        options = " and ".join(f"`--{name}`" for name in asked)
        raise UsageError(f"{options} exclude each other.", hint="Keep one of them.")
    return asked[0] if asked and asked[0] != "md" else "table"


def _fused(fuse: str | None) -> Fuse | None:
    if fuse is not None and fuse not in FUSE:
        raise UsageError(f"`--fuse {fuse}` is unknown.", hint="It takes `mean` or `ranks`.")
    return cast("Fuse | None", fuse)
