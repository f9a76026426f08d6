"""`atri models`: which models are installed; fetching, adding, removing and verifying them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from atri_cli.commands import models_change, models_pull
from atri_cli.commands.options import JsonOption, QuietOption
from atri_cli.output import Output
from atri_cli.settings import load_settings
from atri_cli.wording import path_fields, size

if TYPE_CHECKING:
    from pathlib import Path

    from atri_cli.encoders.card import ModelCard

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("pull")(models_pull.pull)
app.command("add")(models_change.add)
app.command("remove")(models_change.remove)
app.command("verify")(models_change.verify)


@app.callback()
def models(context: typer.Context, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """List the installed models; fetch, add, remove or verify them.

    Shows each one's languages, licences, size, measured quality and pipeline id: a library belongs
    to the pipeline id of the model that made it. A model that is not installed can be used too, by
    `--model DIR`.

    \b
    Examples:
      atri models
      atri models --json
      atri models add ~/my-model
    """
    if context.invoked_subcommand is None:
        _list(json, quiet)
    elif json or quiet:
        raise typer.BadParameter(f"Write the options after `{context.invoked_subcommand}`.")


def _list(json: bool, quiet: bool) -> None:
    from atri_cli.checkpoints.installed import checkpoint_folders
    from atri_cli.encoders.registry import survey_models

    settings = load_settings()
    out = Output("json" if json else "table", quiet=quiet)
    cards, broken = survey_models(settings)
    pulled = checkpoint_folders(settings.models_dir)
    facts = [fact for card in cards for fact in _facts(card, settings.model)]
    facts += _pulled(pulled)
    facts.append(("models are in", str(settings.models_dir)))
    document = {
        "schema": 1,
        "models": [_record(card) for card in cards],
        "checkpoints": [{"name": path.name, **path_fields("folder", path)} for path in pulled],
    }
    out.facts(facts, document)
    for error in broken:
        out.warn(f"{error.what} {error.why}".strip())
    if not cards and not broken:
        out.warn("No model is installed: the one that comes with atri is missing.")
        out.hint("Install atri again, or name a model folder with `--model DIR`.")


def _pulled(folders: list[Path]) -> list[tuple[str, str]]:
    if not folders:
        return []
    names = ", ".join(folder.name for folder in folders)
    return [("checkpoints", f"{names} (pulled, no models to search with)"), ("", "")]


def _facts(card: ModelCard, chosen: str) -> list[tuple[str, str]]:
    mark = " (the one that is used)" if card.name == chosen else ""
    audio = card.audio
    return [
        ("model", f"{card.name} {card.revision}{mark}"),
        ("languages", ", ".join(card.text.languages) or "not stated"),
        ("licences", ", ".join(f"{key}: {name}" for key, name in card.licences.items())),
        ("vectors", f"{card.dim} numbers, {card.precision}"),
        (
            "hears",
            f"{audio.segment_seconds:g} s every {audio.hop_seconds:g} s, {audio.sample_rate} Hz",
        ),
        ("size", size(_bytes(card))),
        *[("quality", f"{name}: {value}") for name, value in card.quality.items()],
        ("pipeline id", card.pipeline_id),
        ("folder", str(card.folder)),
        ("", ""),
    ]


def _record(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "revision": card.revision,
        "pipeline_id": card.pipeline_id,
        "dim": card.dim,
        "precision": card.precision,
        "sample_rate": card.audio.sample_rate,
        "segment_seconds": card.audio.segment_seconds,
        "hop_seconds": card.audio.hop_seconds,
        "languages": list(card.text.languages),
        "licences": card.licences,
        "quality": card.quality,
        "bytes": _bytes(card),
        **path_fields("folder", card.folder),
    }


def _bytes(card: ModelCard) -> int:
    return sum(path.stat().st_size for path, _ in card.files if path.is_file())
