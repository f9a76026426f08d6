"""`atri evaluate`: how well a model finds sounds whose names are known, in each language."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from atri_cli.commands import parsing
from atri_cli.commands.options import DeviceOption, JsonOption, QuietOption, RootOption
from atri_cli.output import Column, Output, Row
from atri_cli.settings import load_settings

MEASURES = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "map10": "mAP@10"}
WAYS = {"t2a": "text to audio", "a2t": "audio to text"}


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="A name or a folder (atri-mini unless given).", show_default=False
        ),
    ] = None,
    *,
    data: Annotated[
        Path,
        typer.Option("--data", metavar="FILE", help="A query file with an `audio` column."),
    ],
    root: RootOption = None,
    languages: Annotated[
        str | None,
        typer.Option("--languages", metavar="TAGS", help="Only these columns.", show_default=False),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="Only rows of this split.")
    ] = "",
    device: DeviceOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model: R@1, R@5, R@10, mAP@10 and mean rank variance, in both directions.

    The rank of a text is that of its best right sound; the rank of a sound is that of the best of
    its captions. MRV says how much the rank depends on the language: 0 is not at all, 1 of random
    as much as chance; beside it stands its 95 % interval.

    \b
    Examples:
      atri evaluate --data queries.tsv
      atri evaluate my-model --data queries.tsv --json
    """
    from atri_cli.encoders.registry import find_model, load_encoder
    from atri_cli.siblings import load_sibling

    module = load_sibling("train.evaluate")
    settings = load_settings(model=model, device=device)
    encoder = load_encoder(find_model(settings.model, settings), settings.device)
    tags = parsing.language_tags(languages)
    found, problems = module.evaluate_manifest(
        encoder, data, root=root, languages=tags, split=split
    )
    show = Output("json" if json else "table", quiet=quiet)
    for error in problems:
        show.warn(str(error))
    _show(show, encoder.card.name, found, load_sibling("train.retrieval").for_json(found))


def _show(show: Output, name: str, found: dict[str, Any], plain: dict[str, Any]) -> None:
    columns = (Column(f"{name}"), Column("language"), *(Column(m, True) for m in MEASURES.values()))
    rows = []
    for way, title in WAYS.items():
        parts = {**found[way]["languages"], "mean": found[way]["mean"]}
        for tag, measures in parts.items():
            cells = [f"{measures[key]:.3f}" for key in MEASURES]
            rows.append(Row((title, tag, *cells), {}))
    show.rows(columns, rows, {"schema": 1, "model": name, **plain})
    for way, title in WAYS.items():
        show.note(_consistency(title, found[way]))


def _consistency(title: str, part: dict[str, Any]) -> str:
    mrv = part["mrv"]
    if mrv["languages"] < 2 or not mrv["rows"]:
        return f"{title}: MRV needs rows that are asked in two languages or more."
    low, high = part["intervals"]["mrv_normalised"]
    return (
        f"{title}: MRV {mrv['variance']:.1f} (variance form) or {mrv['std']:.2f} (standard "
        f"deviation form), N = {mrv['gallery']}, K = {mrv['languages']}; "
        f"{mrv['normalised']:.4f} [{low:.4f}, {high:.4f}] of random"
    )
