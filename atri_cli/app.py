"""The command line `atri`: one Typer app, one module a command.

The modules of the commands import only typer and the standard library; what they need to work is
imported inside their functions, so that `atri --help` answers at once. Help is plain text
(`rich_markup_mode=None`): Rich's panels would double its time and depend on the terminal.
"""

from __future__ import annotations

from typing import Annotated

import typer

from atri_cli.commands import doctor, index, models, roots, search, status, train

CONTEXT = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="atri",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings=CONTEXT,
)


def _version(wanted: bool) -> None:
    if wanted:
        from atri_cli import __version__

        typer.echo(f"atri {__version__}")
        raise typer.Exit


@app.callback()
def atri(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Find recordings in your own sound folders from a description in any language, offline.

    \b
    Examples:
      atri index ~/sounds
      atri search "chien qui aboie"
    """


app.command("index")(index.index)
app.command("search")(search.search)
app.command("status")(status.status)
app.add_typer(roots.app, name="roots")
app.command("doctor")(doctor.doctor)
app.command("models")(models.models)
app.command("train")(train.train)
