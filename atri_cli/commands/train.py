"""`atri train`: make a model with the package `train`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from atri_cli.errors import RuntimeMissingError
from atri_cli.output import Output

PACKAGES = ("torch", "safetensors")
INSTALL = 'pip install "atri-cli[train]"'


def train(
    *,
    loss: Annotated[
        str, typer.Option("--loss", metavar="NAME", help="The loss; this version has kcl.")
    ] = "kcl",
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="Tables, teacher, captions.", show_default=False
        ),
    ] = None,
    sounds: Annotated[
        Path | None,
        typer.Option(
            "--sounds", metavar="DIR", help="The recordings of the tables.", show_default=False
        ),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            "--work",
            metavar="DIR",
            help="Caches, checkpoints and the result (in the system's folder of caches, or in "
            "`ATRI_HOME`, unless given).",
            show_default=False,
        ),
    ] = None,
    stage: Annotated[
        str,
        typer.Option(
            "--stage", metavar="NAME", help="One of mels, audio, text, features, align, or all."
        ),
    ] = "all",
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            metavar="N",
            help="Threads of torch (one for each core unless given).",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Of every random choice.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the plan, and what is missing for it.")
    ] = False,
) -> None:
    """Train a model.

    Needs torch. Runs the recipe of atri-mini in stages; one that is done is skipped unless it is
    named with `--stage`, one that was interrupted goes on. The result is converted with
    `python -m export`. docs/training.md describes the data.

    \b
    Examples:
      atri train --data DATA --sounds SOUNDS --dry-run
      atri train --data DATA --sounds SOUNDS
      atri train --data DATA --sounds SOUNDS --stage align
    """
    command = _load()
    plan = command.make_plan(
        data=_full(data),
        sounds=_full(sounds),
        work=_full(work) or default_work(),
        loss=loss,
        stage=stage,
        threads=threads,
        seed=seed,
    )
    out = Output()
    if not dry_run:
        out.facts(command.start(plan), {})
        return
    out.facts(command.describe(plan), {})
    for error in command.missing(plan):
        out.warn(str(error))


def _load() -> Any:
    """The module `train.command` from beside atri.

    Raises:
        RuntimeMissingError: torch is not installed.
    """
    from atri_cli.siblings import load_sibling

    if any(importlib.util.find_spec(name) is None for name in PACKAGES):
        raise RuntimeMissingError(f"Training needs torch. Type `{INSTALL}`.")
    return load_sibling("train.command")


def _full(path: Path | None) -> Path | None:
    return path.expanduser().absolute() if path else None


def default_work() -> Path:
    """`train` in `ATRI_HOME`, or in the system's folder of caches."""
    import os

    home = os.environ.get("ATRI_HOME")
    if home:
        return Path(home).expanduser().absolute() / "train"
    import platformdirs

    return platformdirs.user_cache_path("atri", appauthor=False) / "train"
