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
    bench: Annotated[
        bool,
        typer.Option("--bench", help="Measure the model instead: what runs it, and how fast."),
    ] = False,
    device: DeviceOption = None,
    library: LibraryOption = None,
    model: ModelOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check the installation, the settings, the model and the library.

    Each line is `ok`, a `note` worth knowing, or `broken` with what to do about it. Exits with 1
    when something is broken. `--bench` runs the model on noise for some seconds and prints the
    provider, the batch size, how many times faster than real time it hears, and what a query takes.

    \b
    Examples:
      atri doctor
      atri doctor --fix
      atri doctor --bench --device cuda
    """
    from atri_cli.commands.checks import broken, run_checks

    settings = load_settings(library=library, model=model, device=device)
    out = Output("json" if json else "table", quiet=quiet)
    if bench:
        from atri_cli.commands.bench import measure, show

        show(out, measure(settings))
        return
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
