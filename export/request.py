"""What `atri export` does: find the model, choose sounds to compare on, convert."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from atri_cli.errors import AtriError, ModelError, UsageError
from atri_cli.settings import Settings
from export.build import ExportReport, build
from export.convert import DisagreementError
from export.names import keep_names
from export.precision import PRECISIONS
from train.opening import open_torch_model

SOUNDS = 40  # looked at; the first few that can be read are taken


@dataclass(frozen=True)
class Request:
    """What was asked for.

    `model`: see `train.opening`; `folder` None is one of the model's name among the user's models;
    `name` None keeps the model's own; `sounds` None takes those of the library; `manifest` and
    `root`: what to measure retrieval on; `names`: whether the vocabulary's names are kept.
    """

    model: str
    settings: Settings
    folder: Path | None = None
    name: str | None = None
    precision: str = "int8"
    sounds: Path | None = None
    manifest: Path | None = None
    root: Path | None = None
    names: bool = False


@dataclass(frozen=True)
class Exported:
    """Where the model is, what it is called, and how it compares with torch."""

    folder: Path
    name: str
    precision: str
    sounds: int
    report: ExportReport
    kept_names: int = 0


def export_model(request: Request, tell: Callable[[str], None] = lambda _: None) -> Exported:
    """Convert a model; `tell` hears what is being done.

    Raises:
        ModelError: there is no such model, it is damaged or untrained, or ONNX does not give what
            torch gives; nothing is written then.
        UsageError: an unknown precision, a name that is no folder's, or no such sounds.
        AtriError: the model cannot be converted or written.
    """
    if request.precision not in PRECISIONS:
        raise UsageError(
            f"There is no precision `{request.precision}`.",
            hint=f"One of {', '.join(PRECISIONS)}.",
        )
    sounds = _sounds(request)
    model = open_torch_model(request.model, request.settings)
    model = model.called(name=request.name or model.card.name)
    name = model.card.name
    if os.sep in name or name in ("", ".", ".."):
        raise UsageError(f"`{name}` is no name for a model.", hint="Give one with `--name`.")
    target = request.folder or request.settings.models_dir / name
    try:
        report = build(
            model,
            target,
            precision=request.precision,
            sounds=sounds,
            manifest=request.manifest,
            root=request.root,
            tell=tell,
        )
        count = keep_names(target, tell) if request.names else 0
    except DisagreementError as error:
        raise ModelError("The converted model is not written.", why=str(error)) from error
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        why = (str(error).splitlines() or ["unknown"])[0]
        raise AtriError(f"Cannot convert `{request.model}`.", why=why) from error
    return Exported(target, name, request.precision, len(sounds), report, count)


def _sounds(request: Request) -> Sequence[Path]:
    """Sound files to compare on: of the folder named, else of the library."""
    if request.sounds is None:
        from atri_cli.library.library import Library

        settings = request.settings
        with Library.open(settings.library_dir, model=None, device="cpu") as library:
            return library.files()[:SOUNDS]
    from atri_cli.library.scan import scan

    folder = request.sounds
    if not folder.is_dir():
        raise UsageError(f"There is no folder `{folder}`.", hint="Name one with sound files.")
    found = scan([(0, folder)]).files[:SOUNDS]
    if not found:
        raise UsageError(f"`{folder}` holds no sound files.", hint="Name another folder.")
    return [folder / os.fsdecode(one.path) for one in found]
