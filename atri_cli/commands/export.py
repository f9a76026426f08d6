"""`atri export`: a model in torch becomes one that atri searches with, by the package `export`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from atri_cli.commands.options import JsonOption, QuietOption, RootOption
from atri_cli.commands.parsing import full_path
from atri_cli.errors import RuntimeMissingError
from atri_cli.output import Output
from atri_cli.settings import load_settings
from atri_cli.wording import command, path_fields, size

PACKAGES = ("torch", "safetensors", "onnx", "onnxscript", "onnxruntime")
INSTALL = 'pip install "atri-cli[train,export]"'


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A folder that `atri train` wrote, or a pulled checkpoint: its name, file or "
            "folder.",
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where to write the model (atri's folder of models unless given).",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Of the model (its own unless given).", show_default=False),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="NAME",
            help="int8 (weights in 8 bits), fp16 (half the size), or fp32.",
        ),
    ] = "int8",
    sounds: Annotated[
        Path | None,
        typer.Option(
            "--sounds",
            metavar="DIR",
            help="Sounds to compare with torch on (the library's unless given).",
            show_default=False,
        ),
    ] = None,
    evaluate: Annotated[
        Path | None,
        typer.Option(
            "--evaluate",
            metavar="FILE",
            help="A query file with an `audio` column: what the precision costs in retrieval.",
            show_default=False,
        ),
    ] = None,
    root: RootOption = None,
    names: Annotated[
        bool,
        typer.Option(
            "--names", help="Keep the vocabulary's names as vectors: 17,000 runs of the text tower."
        ),
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Convert a model into the two ONNX files that atri runs without torch.

    Both towers are compared with torch on sounds and texts, first in float32, then in the precision
    asked for; a model that disagrees is not written. With `--names` a search for a sound of the
    vocabulary needs no text tower, and sounds that resemble every name are held back.

    \b
    Examples:
      atri export my-run
      atri export ml-clap --precision int8
      atri export my-run --evaluate queries.tsv --out my-model
    """
    from atri_cli.siblings import load_sibling

    if any(importlib.util.find_spec(package) is None for package in PACKAGES):
        raise RuntimeMissingError(f"Exporting needs torch and onnx. Type `{INSTALL}`.")
    load_sibling("train")
    load_sibling("export")
    module = load_sibling("export.request")
    show = Output("json" if json else "table", quiet=quiet)
    made = module.export_model(
        module.Request(
            model=model,
            settings=load_settings(),
            folder=full_path(out),
            name=name,
            precision=precision,
            sounds=full_path(sounds),
            manifest=full_path(evaluate),
            root=full_path(root),
            names=names,
        ),
        show.note,
    )
    show.facts(_rows(made), _document(made))
    if not made.sounds:
        show.note("No real sounds to compare on: noise and tones were taken. Name some: `--sounds`")
    called = str(made.folder) if out else made.name
    show.hint(f"Embed your sounds with it: {command(['index', '--model', called])} FOLDER")


def _rows(made: Any) -> list[tuple[str, str]]:
    rows = [("model", made.name), ("folder", str(made.folder)), ("precision", made.precision)]
    for name, tower in (("audio", made.report.audio), ("text", made.report.text)):
        rows.append((name, f"{size(tower.bytes)}, compared on {len(tower.kept.items)} inputs"))
        for way, found in (("in float32", tower.exact), ("as kept", tower.kept)):
            words = f"from torch at most {found.difference:.1e}, cosine at least {found.cosine:.6f}"
            rows.append((f"{name}, {way}", words))
    if made.kept_names:
        rows.append(("names", f"those of {made.kept_names:,} sounds"))
    if made.report.retrieval:
        before, after = made.report.retrieval
        for title, first, second in _losses(before, after):
            rows.append((title, f"{first:.4f} in float32, {second:.4f} as kept"))
        rows.append(("over", f"{after['queries']} queries, {after['clips']} sounds"))
    return rows


def _losses(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, float, float]]:
    """R@10 and MRV of random, text to audio, in float32 and as kept."""
    parts = (before["t2a"], after["t2a"])
    recall = [part["mean"]["r10"] for part in parts]
    mrv = [part["mrv"]["normalised"] for part in parts]
    return [("R@10", recall[0], recall[1]), ("MRV of random", mrv[0], mrv[1])]


def _document(made: Any) -> dict[str, Any]:
    """What `--json` gives: every compared input, too."""
    towers = {
        name: {
            "bytes": tower.bytes,
            **{way: _agreement(found) for way, found in
               (("fp32", tower.exact), ("kept", tower.kept))},
        }
        for name, tower in (("audio", made.report.audio), ("text", made.report.text))
    }  # fmt: skip
    found = made.report.retrieval
    retrieval = found and {
        title: {"fp32": first, "kept": second} for title, first, second in _losses(*found)
    }
    return {
        "schema": 1,
        "name": made.name,
        **path_fields("folder", made.folder),
        "precision": made.precision,
        "names": made.kept_names,
        **towers,
        "retrieval": retrieval,
    }


def _agreement(found: Any) -> dict[str, Any]:
    items = [
        {"input": item.name, "difference": item.difference, "cosine": item.cosine}
        for item in found.items
    ]
    return {"difference": found.difference, "cosine": found.cosine, "items": items}
