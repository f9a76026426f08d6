"""`atri status`: what the library holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atri_cli.commands.opening import flags, index_command, opened
from atri_cli.commands.options import JsonOption, LibraryOption, ModelOption, QuietOption
from atri_cli.commands.reasons import skipped_facts
from atri_cli.output import Output
from atri_cli.settings import load_settings
from atri_cli.wording import command, counted, duration, moment, path_fields, size

if TYPE_CHECKING:
    from atri_cli.library.types import LibraryStatus, Root

CACHES = {
    "fresh": "up to date",
    "stale": "behind the library; `atri doctor --fix` rebuilds it",
    "missing": "missing; `atri doctor --fix` builds it",
    "damaged": "damaged; `atri doctor --fix` rebuilds it",
    "unused": "not needed for so few sounds",
}


def status(
    library: LibraryOption = None,
    model: ModelOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show what the library holds, and which model made it.

    \b
    Examples:
      atri status
      atri status --library work --json
      atri status --model ml-clap
    """
    settings = load_settings(library=library, model=model)
    out = Output("json" if json else "table", quiet=quiet)
    with opened(settings) as sounds:
        now = sounds.status()
    out.facts(_facts(now), _document(now))
    if not now.last_indexed and not now.files:
        out.hint(f"Nothing is indexed yet. Type {index_command(settings)}.")
    elif any(not root.online for root in now.roots):
        moved = command(["roots", "relocate", "OLD", "NEW", *flags(settings)])
        out.hint(f"Plug the drive in, or say where the folder is now: {moved}")


def root_words(root: Root) -> str:
    """One line about a root."""
    away = "" if root.online else ", not there now"
    return f"{root.path} ({counted(root.files, 'file')}, {duration(root.seconds)}{away})"


def root_record(root: Root) -> dict[str, Any]:
    """A root for JSON."""
    return {
        **path_fields("path", root.path),
        "online": root.online,
        "files": root.files,
        "seconds": round(root.seconds, 3),
    }


def _facts(now: LibraryStatus) -> list[tuple[str, str]]:
    facts = [
        ("library", f"{now.name} ({now.folder})"),
        ("model", f"{now.model} ({now.pipeline_id})" if now.model else "none yet"),
        ("files", f"{now.files:,}"),
        ("sound", f"{duration(now.seconds)} in {counted(now.segments, 'segment')}"),
        *skipped_facts(now.skipped),
        *_labelled("roots", [root_words(root) for root in now.roots] or ["none"]),
        ("database", size(now.database_bytes)),
        ("search cache", CACHES[now.cache_state]),
        ("indexed", moment(now.last_indexed)),
    ]
    return facts


def _labelled(label: str, lines: list[str]) -> list[tuple[str, str]]:
    return [(label if place == 0 else "", line) for place, line in enumerate(lines)]


def _document(now: LibraryStatus) -> dict[str, Any]:
    return {
        "schema": 1,
        "library": now.name,
        **path_fields("folder", now.folder),
        "model": now.model,
        "pipeline_id": now.pipeline_id,
        "files": now.files,
        "segments": now.segments,
        "seconds": round(now.seconds, 3),
        "skipped": now.skipped,
        "roots": [root_record(root) for root in now.roots],
        "database_bytes": now.database_bytes,
        "cache": now.cache_state,
        "last_indexed": now.last_indexed,
    }
