"""`atri reindex`: embed a library again, or the same sounds with another model beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atri_cli.commands.index import run_index
from atri_cli.commands.opening import nothing_indexed, opened
from atri_cli.commands.options import (
    DeviceOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    QuietOption,
)
from atri_cli.output import Output
from atri_cli.settings import OF_MODEL, Settings, load_settings
from atri_cli.wording import counted


def reindex(
    *,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            help="Files read at the same time (one for each core).",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = None,
    library: LibraryOption = None,
    model: ModelOption = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Name every file that is skipped, and why.")
    ] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Embed all sounds of a library again.

    With another model and no `--library`, the sounds of your library are embedded into one of that
    model, beside the first: `atri search --model NAME` asks it. Ctrl-C loses nothing that is
    finished.

    \b
    Examples:
      atri reindex
      atri reindex --model ml-clap
      atri reindex --library field --model ml-clap    (in place)
    """
    settings = load_settings(library=library, model=model, device=device, jobs=jobs)
    out = Output("json" if json else "table", quiet=quiet)
    folders = [] if settings.library_dir.is_dir() else _folders_of_usual(settings, out)
    run_index(settings, out, folders, reindex=not folders, verbose=verbose)


def _folders_of_usual(settings: Settings, out: Output) -> list[Path]:
    """The folders of the library that stands without a model's name, for a new one beside it.

    Raises:
        NothingIndexedError: there is none.
    """
    usual = load_settings()
    if settings.origin["library"] != OF_MODEL or not usual.library_dir.is_dir():
        raise nothing_indexed(settings)
    with opened(usual) as library:
        folders = [root.path for root in library.roots() if root.online]
    if not folders:
        raise nothing_indexed(settings)
    out.note(f"Taking {counted(len(folders), 'folder')} of the library `{usual.library_name}`.")
    return folders
