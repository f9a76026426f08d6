"""`atri models pull`: checkpoints of known models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from atri_cli.commands.options import JsonOption, QuietOption
from atri_cli.output import Column, Output, Row
from atri_cli.settings import load_settings
from atri_cli.wording import command, path_fields, size

if TYPE_CHECKING:
    from atri_cli.checkpoints.pull import Pulled, PulledFile
    from atri_cli.checkpoints.sources import Source

COLUMNS = (Column("name"), Column("commercial use"), Column("licence"), Column("what it is"))
WAYS = {
    "kept": "was there already",
    "copied": "copied",
    "cached": "from the cache of the Hugging Face hub",
    "downloaded": "downloaded",
    "resumed": "downloaded, going on where it had stopped",
}


def pull(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A known model; without it, they are listed.",
            show_default=False,
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DIR|URL",
            help="Take the same files from a folder or a mirror.",
            show_default=False,
        ),
    ] = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept-license", help="Acknowledge a licence that forbids commercial use, once."
        ),
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fetch the checkpoint of a known model into the folder of models.

    Checkpoints are what the model's makers published; `atri export` makes a model to search with of
    ML-CLAP and GLAP, `atri train` takes all of them.
    A download that was interrupted goes on where it stopped, also at the next call. Files in the
    cache of the Hugging Face hub (`HF_HOME`) are taken from there. With `HF_HUB_OFFLINE=1` or
    `ATRI_OFFLINE=1` nothing is requested. Every file is compared with its SHA-256 where that is
    known, else with that of its first download.

    \b
    Examples:
      atri models pull
      atri models pull ced-base
      atri models pull sonar --accept-license
      atri models pull ced-tiny --from /media/usb
    """
    from atri_cli.checkpoints.sources import find_source, sources

    out = Output("json" if json else "table", quiet=quiet)
    if name is None:
        if origin is not None or accept:
            raise typer.BadParameter("Name the model to pull.")
        _list(out, list(sources().values()))
        return
    _show(out, _pull(out, find_source(name), origin, accept))


def _pull(out: Output, source: Source, origin: str | None, accept: bool) -> Pulled:
    from atri_cli.checkpoints.pull import check_origin
    from atri_cli.checkpoints.pull import pull as fetch
    from atri_cli.commands.progress import StepBar

    check_origin(origin)
    settings = load_settings()
    out.note(f"{source.what}. Licence: {source.licence}; {source.terms}")
    with StepBar(out) as bar:

        def report(file: str, done: int, total: int) -> None:
            much = f"{size(done)} of {size(total)}" if total else size(done)
            bar(f"{file}, {much}", done, total or done + 1)

        return fetch(source, settings.models_dir, origin=origin, accept=accept, report=report)


def _show(out: Output, pulled: Pulled) -> None:
    source = pulled.source
    facts = [
        ("pulled", source.name),
        ("licence", source.licence + ("" if source.commercial else ", not for commercial use")),
        *[(file.name, _file(file)) for file in pulled.files],
        ("folder", str(pulled.folder)),
    ]
    document = {
        "schema": 1,
        "name": source.name,
        "licence": source.licence,
        "commercial": source.commercial,
        **path_fields("folder", pulled.folder),
        "files": [
            {
                "name": file.name,
                "how": file.how,
                "bytes": file.record.bytes,
                "sha256": file.record.sha256,
                "sha256_published": file.record.published,
            }
            for file in pulled.files
        ],
    }
    out.facts(facts, document)
    if not all(file.record.published for file in pulled.files):
        out.note(
            "The publisher's SHA-256 is not known to atri: that of the first download is written "
            "down beside the files, and compared from now on."
        )
    again = command(["models", "verify", source.name])
    out.hint(f"{_next(source.name)} {again} compares the files at any time.")


def _next(name: str) -> str:
    """What a checkpoint is good for: a whole model is exported, a tower needs another."""
    if name.startswith("ced-"):
        return f"Train it with a text tower: `atri train --model {name}+sonar`."
    if name == "sonar":
        return "Train it with an audio tower: `atri train --model ced-base+sonar`."
    return f"Make it a model for searching: `atri export {name}`."


def _file(file: PulledFile) -> str:
    return f"{size(file.record.bytes)}, {WAYS[file.how]}"


def _list(out: Output, known: list[Source]) -> None:
    rows = [
        Row(
            (source.name, "yes" if source.commercial else "no", source.licence, source.what),
            {
                "name": source.name,
                "what": source.what,
                "licence": source.licence,
                "commercial": source.commercial,
                "terms": source.terms,
                "files": [{"name": file.name, "url": file.url} for file in source.files],
            },
        )
        for source in known
    ]
    out.rows(COLUMNS, rows, {"schema": 1, "known": [row.record for row in rows]})
    out.hint("`atri models pull NAME` fetches one; `--json` shows the addresses of its files.")
