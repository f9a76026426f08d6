"""`atri index`: bring the library up to date with folders of sounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atri_cli.commands.opening import flags, nothing_indexed, opened
from atri_cli.commands.options import (
    DeviceOption,
    JobsOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    QuietOption,
    VerboseOption,
)
from atri_cli.commands.progress import progress_bar, speed
from atri_cli.commands.reasons import skipped_facts
from atri_cli.output import Output
from atri_cli.settings import OF_MODEL, Settings, load_settings
from atri_cli.wording import command, counted, duration, path_fields, printable

if TYPE_CHECKING:
    from atri_cli.library.library import Library
    from atri_cli.library.types import IndexReport

INTERRUPTED = 130
COUNTS = ("added", "updated", "moved", "removed", "unchanged")


def index(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DIR",
            help="Folders to index and remember. Without any, all remembered ones.",
            show_default=False,
        ),
    ] = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done; write nothing.")
    ] = False,
    reindex: Annotated[
        bool,
        typer.Option("--reindex", help="Embed everything again, for example with another model."),
    ] = False,
    jobs: JobsOption = None,
    device: DeviceOption = None,
    library: LibraryOption = None,
    model: ModelOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Index folders of sounds, or bring them up to date.

    Only what is new or has changed is listened to. A file that was moved keeps its place in the
    library, one that was deleted leaves it, and a folder that is not there (an unplugged drive)
    is left alone. Hidden files, system folders and what a file `.atriignore` names are passed
    over. Ctrl-C loses nothing that is finished: the same command goes on from there.

    \b
    Examples:
      atri index ~/sounds
      atri index                      (everything it remembers)
      atri index --dry-run /media/usb
      atri index ~/sounds --library work --jobs 4
      atri index ~/sounds --model ml-clap     (beside the library of atri-mini)
    """
    settings = load_settings(library=library, model=model, device=device, jobs=jobs)
    out = Output("json" if json else "table", quiet=quiet)
    run_index(settings, out, folders or [], dry_run=dry_run, reindex=reindex, verbose=verbose)


def run_index(
    settings: Settings,
    out: Output,
    given: Sequence[Path],
    *,
    dry_run: bool = False,
    reindex: bool = False,
    verbose: bool = False,
) -> None:
    """Index, show what was done, say what to type next."""
    with opened(settings) as sounds:
        if not given and settings.origin["library"] == OF_MODEL and not sounds.roots():
            raise nothing_indexed(settings)
        with progress_bar(out) as progress:
            report = sounds.index(
                given, jobs=settings.jobs, dry_run=dry_run, reindex=reindex, progress=progress
            )
        if settings.device == "auto" and report.segments:
            out.note(_device_used(sounds))
    if verbose:
        _name_skipped(out, report)
    out.facts(_summary(report), _document(report, settings))
    _say_next(out, report, settings, given)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)


def _device_used(sounds: Library) -> str:
    """What `auto` chose; the encoder is the one that has just been used."""
    return str(getattr(sounds.encoder(1), "device_reason", ""))


def _name_skipped(out: Output, report: IndexReport) -> None:
    for one in report.skipped_files:
        out.note(f"Skipped {printable(one.path)}: {one.reason}. {one.detail}".rstrip())


def _summary(report: IndexReport) -> list[tuple[str, str]]:
    counts = {name: getattr(report, name) for name in COUNTS}
    facts = [(name, counted(count, "file")) for name, count in counts.items() if count]
    facts += skipped_facts(report.skipped)
    if report.segments:
        pace = speed(report.audio_seconds, report.wall_seconds)
        sound = f"{duration(report.audio_seconds)} in {counted(report.segments, 'segment')}"
        facts.append(("sound", f"{sound}, heard in {duration(report.wall_seconds)} ({pace})"))
    if not facts and not report.offline_roots:
        return [("sounds", "none found")]
    return facts


def _document(report: IndexReport, settings: Settings) -> dict[str, Any]:
    return {
        "schema": 1,
        "library": settings.library_name,
        **{name: getattr(report, name) for name in COUNTS},
        "skipped": report.skipped,
        "skipped_files": [
            {**path_fields("path", one.path), "reason": one.reason, "detail": one.detail}
            for one in report.skipped_files
        ],
        "segments": report.segments,
        "audio_seconds": round(report.audio_seconds, 3),
        "wall_seconds": round(report.wall_seconds, 3),
        "offline_roots": [path_fields("path", path) for path in report.offline_roots],
        "interrupted": report.interrupted,
        "dry_run": report.dry_run,
    }


def _say_next(
    out: Output, report: IndexReport, settings: Settings, folders: Sequence[Path]
) -> None:
    for path in report.offline_roots:
        out.warn(f"`{printable(path)}` is not there; its sounds stay in the library.")
    again = command(["index", *folders, *flags(settings)])
    if report.interrupted:
        out.note("Stopped. What is finished is saved.")
        out.hint(f"{again} goes on from there.")
    elif report.dry_run:
        out.note("Nothing was written: this was a dry run.")
        out.hint(f"{again} does it.")
    elif report.added or report.updated:
        words = command(["search", "dog barking", *flags(settings)])
        out.hint(f"Find something: {words}")
