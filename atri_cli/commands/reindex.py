"""`atri reindex`: embed a library again, or the same sounds with another model beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atri_cli.commands.index import run_index
from atri_cli.commands.opening import nothing_indexed, opened, roots_to_take
from atri_cli.commands.options import (
    DeviceOption,
    JobsOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    QuietOption,
    VerboseOption,
)
from atri_cli.output import Output
from atri_cli.settings import DEFAULTS, Settings, load_settings
from atri_cli.wording import counted, printable

if TYPE_CHECKING:
    from atri_cli.library.library import Library


def reindex(
    *,
    jobs: JobsOption = None,
    device: DeviceOption = None,
    library: LibraryOption = None,
    model: ModelOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Embed all sounds of a library again.

    With another model and no `--library`, the sounds of your library are embedded into one of that
    model, beside the first: `atri search --model NAME` asks it. The same command goes on with a run
    that was stopped. In place, vectors are dropped first: until it is done, a library finds only
    what has been embedded again.

    \b
    Examples:
      atri reindex
      atri reindex --model ml-clap
      atri reindex --library field --model ml-clap    (in place)
    """
    settings = load_settings(library=library, model=model, device=device, jobs=jobs)
    out = Output("json" if json else "table", quiet=quiet)
    with opened(settings) as sounds:
        new, going_on = not sounds.roots(), _is_unfinished(sounds)
    folders = _take_roots(settings, out) if new else []
    if going_on:
        out.note("Going on where the last run was stopped.")
    run_index(settings, out, folders, reindex=not going_on, verbose=verbose)


def _is_unfinished(sounds: Library) -> bool:
    """Whether this model was embedding the library when a run was stopped."""
    now = sounds.status()
    # Sounds of a folder that is away stay `pending`: they say nothing about the last run.
    stopped = now.last_indexed is None or (
        "pending" in now.skipped and all(root.online for root in now.roots)
    )
    return bool(now.roots) and stopped and now.pipeline_id == sounds.card.pipeline_id


def _take_roots(settings: Settings, out: Output) -> list[Path]:
    """The folders of the library beside a new one; those that are away are named and left out.

    Raises:
        NothingIndexedError: there is none to take.
    """
    roots = roots_to_take(settings)
    for root in roots:
        if not root.online:
            out.warn(f"`{printable(root.path)}` is not there; it is not taken over.")
    here = [root.path for root in roots if root.online]
    if not here:
        raise nothing_indexed(settings)
    out.note(f"Taking {counted(len(here), 'folder')} of the library `{DEFAULTS['library']}`.")
    return here
