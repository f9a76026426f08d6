"""`atri roots`: the folders that the library remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atri_cli.commands.opening import flags, index_command, opened
from atri_cli.commands.options import JsonOption, LibraryOption, ModelOption, QuietOption
from atri_cli.commands.status import root_record
from atri_cli.output import Column, Output, Row
from atri_cli.settings import load_settings
from atri_cli.wording import command, counted, duration, path_fields, printable

COLUMNS = (
    Column("files", right=True),
    Column("sound", right=True),
    Column("state"),
    Column("folder"),
)

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def roots(
    context: typer.Context,
    library: LibraryOption = None,
    model: ModelOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List, forget or relocate the folders that the library remembers.

    \b
    Examples:
      atri roots
      atri roots forget ~/old-sounds
      atri roots relocate /media/old /media/new
    """
    if context.invoked_subcommand is None:
        list_roots(library, model, json, quiet)
    elif library is not None or model is not None or json or quiet:
        raise typer.BadParameter(f"Write the options after `{context.invoked_subcommand}`.")


@app.command("list")
def list_roots(
    library: LibraryOption = None,
    model: ModelOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the folders, and whether each is there now.

    \b
    Examples:
      atri roots list
      atri roots list --json
    """
    settings = load_settings(library=library, model=model)
    out = Output("json" if json else "table", quiet=quiet)
    with opened(settings) as sounds:
        known = sounds.roots()
    rows = [
        Row(
            (
                f"{root.files:,}",
                duration(root.seconds),
                "there" if root.online else "away",
                str(root.path),
            ),
            root_record(root),
        )
        for root in known
    ]
    out.rows(COLUMNS, rows, {"schema": 1, "roots": [row.record for row in rows]})
    if not known:
        out.hint(f"No folder is remembered yet. Type {index_command(settings)}.")


@app.command()
def forget(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A remembered folder.", show_default=False)
    ],
    library: LibraryOption = None,
    model: ModelOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take a folder out of the library. The sounds themselves are not touched.

    \b
    Examples:
      atri roots forget ~/old-sounds
    """
    settings = load_settings(library=library, model=model)
    out = Output("json" if json else "table", quiet=quiet)
    with opened(settings) as sounds:
        count = sounds.forget(folder)
    out.facts(
        [("forgotten", f"{folder} ({counted(count, 'file')})")],
        {"schema": 1, **path_fields("forgotten", folder), "files": count},
    )
    again = command(["index", folder, *flags(settings)])
    out.hint(f"The sounds are still there: {again} takes them up again.")


@app.command()
def relocate(
    old: Annotated[
        Path,
        typer.Argument(metavar="OLD", help="The folder as it is remembered.", show_default=False),
    ],
    new: Annotated[
        Path, typer.Argument(metavar="NEW", help="Where it is now.", show_default=False)
    ],
    *,
    library: LibraryOption = None,
    model: ModelOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say that a folder has moved, so that nothing is listened to again.

    \b
    Examples:
      atri roots relocate /media/old/sounds /media/new/sounds
    """
    settings = load_settings(library=library, model=model)
    out = Output("json" if json else "table", quiet=quiet)
    with opened(settings) as sounds:
        root = sounds.relocate(old, new)
    out.facts(
        [("moved", f"{printable(old)} is now {printable(root.path)}")],
        {"schema": 1, **path_fields("old", old), **root_record(root)},
    )
