"""`atri models add`, `remove` and `verify`: the user's own models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atri_cli.commands.options import JsonOption, QuietOption
from atri_cli.output import Column, Output, Row
from atri_cli.settings import load_settings
from atri_cli.wording import command, path_fields, size

if TYPE_CHECKING:
    from atri_cli.settings import Settings

COLUMNS = (Column("name"), Column("kind"), Column("state"), Column("folder"))


def add(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder with card.toml.", show_default=False)
    ],
    link: Annotated[
        bool, typer.Option("--link", help="Link to the folder instead of copying it.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of a model of the same name.")
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Put a model into the folder of models, under the name on its card.

    Its files are compared with the SHA-256 on the card first.

    \b
    Examples:
      atri models add ~/Downloads/field-model
      atri models add ~/my-model --link
    """
    from atri_cli.commands.progress import StepBar
    from atri_cli.encoders.installing import add_model

    out = Output("json" if json else "table", quiet=quiet)
    with StepBar(out) as bar:
        card = add_model(
            folder.expanduser(), load_settings(), link=link, replace=replace, report=bar
        )
    out.facts(
        [("added", f"{card.name} {card.revision}"), ("folder", str(card.folder))],
        {
            "schema": 1,
            "name": card.name,
            "pipeline_id": card.pipeline_id,
            "linked": link,
            **path_fields("folder", card.folder),
        },
    )
    words = ["index", "--model", card.name, "-L", card.name, "DIR"]
    out.hint(f"Embed your sounds with it: {command(words)}")


def remove(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A model you added or pulled.", show_default=False),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Also when a library was made with it.")
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Remove one of your own models, or a pulled checkpoint. Nothing is asked.

    Of a linked model only the link goes. A model that comes with atri stays.

    \b
    Examples:
      atri models remove field-model
    """
    from atri_cli.checkpoints.installed import remove_checkpoint
    from atri_cli.checkpoints.sources import sources
    from atri_cli.encoders.installing import nothing_to_remove, own_model, remove_model

    settings = load_settings()
    out = Output("json" if json else "table", quiet=quiet)
    place = own_model(name, settings)
    kind, linked = "model", place is not None and place.is_symlink()
    if place is not None and not force:
        _see_that_it_is_not_needed(name, place, settings)
    freed = remove_model(name, settings)
    if freed is None and name in sources():
        kind, freed = "checkpoint", remove_checkpoint(name, settings.models_dir)
    if freed is None:
        raise nothing_to_remove(name, settings)
    what = "its folder is as it was" if linked else f"{size(freed)} freed"
    out.facts(
        [("removed", f"the {'link to the ' if linked else ''}{kind} {name} ({what})")],
        {"schema": 1, "removed": name, "kind": kind, "linked": linked, "bytes": freed},
    )


def _see_that_it_is_not_needed(name: str, folder: Path, settings: Settings) -> None:
    """Look at the usual libraries, and at the one that the settings name."""
    from atri_cli.encoders.registry import survey_models
    from atri_cli.errors import ModelError
    from atri_cli.library.uses import libraries_using

    cards, _ = survey_models(settings)
    pipeline_id = next((card.pipeline_id for card in cards if card.folder == folder), "")
    if any(card.pipeline_id == pipeline_id and card.folder != folder for card in cards):
        return  # the same model is there once more
    usual = load_settings(library="default").library_dir.parent
    folders = {*(path for path in usual.glob("*") if path.is_dir()), settings.library_dir}
    needed = libraries_using(folder, pipeline_id, sorted(folders))
    if needed:
        raise ModelError(
            f"The model `{name}` is needed.",
            why="Without it these cannot be searched: " + ", ".join(f"`{p}`" for p in needed) + ".",
            hint=f"{command(['models', 'remove', name, '--force'])} removes it all the same.",
        )


def verify(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="One model or checkpoint (all unless given).", show_default=False
        ),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare the files of models and pulled checkpoints with their SHA-256.

    The exit code is 1 when a file is missing or differs.

    \b
    Examples:
      atri models verify
      atri models verify atri-mini
    """
    settings = load_settings()
    out = Output("json" if json else "table", quiet=quiet)
    checked = _checked(settings, name)
    rows = [
        Row(
            (path.name, kind, "damaged" if problems else "whole", str(path)),
            {
                "name": path.name,
                "kind": kind,
                "ok": not problems,
                "problems": problems,
                **path_fields("folder", path),
            },
        )
        for kind, path, problems in checked
    ]
    bad = [problem for _, _, problems in checked for problem in problems]
    out.rows(COLUMNS, rows, {"schema": 1, "ok": not bad, "models": [row.record for row in rows]})
    for problem in bad:
        out.warn(problem)
    if bad:
        out.hint(
            "Add, export or pull the model again; one that came with atri: install atri again."
        )
        raise typer.Exit(1)


def _checked(settings: Settings, name: str | None) -> list[tuple[str, Path, list[str]]]:
    """Kind, folder and problems of what has this name, or of everything."""
    from atri_cli.checkpoints.installed import checkpoint_folders, verify_checkpoint
    from atri_cli.encoders.card import load_card
    from atri_cli.encoders.registry import model_folders, no_model, verify_model
    from atri_cli.errors import ModelError

    found: list[tuple[str, Path, list[str]]] = []
    for folder in model_folders(settings):
        if name in (None, folder.name):
            try:
                problems = verify_model(load_card(folder))
            except ModelError as error:
                problems = [f"{error.what} {error.why}".strip()]
            found.append(("model", folder, problems))
    for folder in checkpoint_folders(settings.models_dir):
        if name in (None, folder.name):
            found.append(("checkpoint", folder, verify_checkpoint(folder)))
    if name is not None and not found:
        raise no_model(name, settings)
    return found
