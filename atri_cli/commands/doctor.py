"""`atri doctor`: is everything that atri needs there and in order?"""

from __future__ import annotations

from typing import Annotated

import typer

from atri_cli.commands.options import (
    DeviceOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    QuietOption,
)
from atri_cli.output import Column, Output, Row
from atri_cli.settings import load_settings
from atri_cli.wording import counted

COLUMNS = (Column("state"), Column("about", style="cyan"), Column("what"))


def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Rebuild the search cache if it is not in order.")
    ] = False,
    device: DeviceOption = None,
    library: LibraryOption = None,
    model: ModelOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check the installation, the settings, the model and the library.

    Each line is `ok`, a `note` worth knowing, or `broken` with what to do about it. Exits with 1
    when something is broken.

    \b
    Examples:
      atri doctor
      atri doctor --fix
      atri doctor --device cuda --json
    """
    from atri_cli.commands.checks import broken, run_checks

    settings = load_settings(library=library, model=model, device=device)
    out = Output("json" if json else "table", quiet=quiet)
    checks = run_checks(settings, fix, out.note)
    wrong = broken(checks)
    rows = [
        Row((check.state, check.name, f"{check.detail}  {check.hint}".strip()), vars(check))
        for check in checks
    ]
    document = {"schema": 1, "ok": not wrong, "checks": [row.record for row in rows]}
    out.rows(COLUMNS, rows, document)
    if wrong:
        out.warn(
            f"{counted(len(wrong), 'thing')} broken: {', '.join({one.name for one in wrong})}."
        )
        raise typer.Exit(1)
    out.note("Nothing is broken.")
