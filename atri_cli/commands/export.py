"""`atri export`: a trained model becomes one that atri searches with, by the package `export`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from atri_cli.commands.options import QuietOption
from atri_cli.errors import RuntimeMissingError
from atri_cli.output import Output
from atri_cli.settings import load_settings
from atri_cli.wording import command, size

PACKAGES = ("torch", "safetensors", "onnx", "onnxscript", "onnxruntime")
INSTALL = 'pip install "atri-cli[train,export]"'


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A folder that `atri train` wrote.")
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
        typer.Option("--name", help="Of the model (its run's unless given).", show_default=False),
    ] = None,
    text_precision: Annotated[
        str,
        typer.Option(
            "--text-precision", metavar="NAME", help="int8-weights, int8 (smaller), or fp32."
        ),
    ] = "int8-weights",
    quiet: QuietOption = False,
) -> None:
    """Convert a trained model into the two ONNX files that atri runs without torch.

    Both towers are compared with torch on sounds and texts; a model that disagrees is not written.

    \b
    Examples:
      atri export my-model
      atri index --model my-model
    """
    from atri_cli.siblings import load_sibling

    if any(importlib.util.find_spec(package) is None for package in PACKAGES):
        raise RuntimeMissingError(f"Exporting needs torch and onnx. Type `{INSTALL}`.")
    load_sibling("train")
    load_sibling("export")
    module = load_sibling("export.trained")
    settings = load_settings()
    made = module.export_trained(
        model.expanduser().absolute(),
        folder=out.expanduser().absolute() if out else None,
        models=settings.models_dir,
        name=name,
        text_precision=text_precision,
    )
    show = Output(quiet=quiet)
    rows = [("model", made.name), ("folder", str(made.folder))]
    for tower, (difference, cosine), count in (
        ("audio", made.report.audio, made.report.audio_bytes),
        ("text", made.report.text, made.report.text_bytes),
    ):
        against = f"from torch at most {difference:.1e}, cosine at least {cosine:.5f}"
        rows.append((tower, f"{size(count)}, {against}"))
    show.facts(rows, {})
    called = str(made.folder) if out else made.name
    show.hint(
        f"Embed your sounds with it: {command(['index', '--model', called, '-L', made.name])}"
    )
