"""The command line `atri`: one Typer app, one module a command.

A command's module is imported when it is called or listed, and imports only typer and the standard
library; what it needs to work is imported inside its functions, so that `atri --help` answers at
once and a search pays for no other command. Help is plain text (`rich_markup_mode=None`): Rich's
panels would double its time and depend on the terminal.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    Command = Any  # click's, which typer carries under a private name

# In the order of the help; each is a function, or a Typer app called `app`, of its module.
COMMANDS = (
    "index",
    "reindex",
    "search",
    "consistency",
    "status",
    "roots",
    "doctor",
    "models",
    "train",
    "export",
    "evaluate",
)

CONTEXT = {"help_option_names": ["-h", "--help"]}


class _Commands(TyperGroup):
    """The commands of `COMMANDS`, made when asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Command | None:  # noqa: ARG002
        # An unknown name is compared with all others for a suggestion.
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.commands[name] = _make(name)
        return self.commands.get(cmd_name)


def declared(name: str) -> typer.Typer:
    """One of `COMMANDS` as a Typer app of its own: a single command, or a group."""
    module = import_module(f"atri_cli.commands.{name}")
    if hasattr(module, "app"):
        group: typer.Typer = module.app
        return group
    single = typer.Typer(rich_markup_mode=None, add_completion=False, context_settings=CONTEXT)
    single.command(name)(getattr(module, name))
    return single


def _make(name: str) -> Command:
    command = typer.main.get_command(declared(name))
    command.name = name
    return command


app = typer.Typer(
    name="atri",
    cls=_Commands,
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
