"""A model that `atri train` wrote → a model folder that atri runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError

from atri_cli.errors import AtriError, ModelError, UsageError
from export.build import CardFacts, ExportReport, build
from export.convert import DisagreementError
from train.phrases import audioset_concepts
from train.request import CARD, MODEL

PRECISIONS = ("int8-weights", "int8", "fp32")
TEXTS = 9  # every ninth class of AudioSet, in eight languages


@dataclass(frozen=True)
class Exported:
    """Where the model is, what it is called, and how it compares with torch."""

    folder: Path
    name: str
    report: ExportReport


def export_trained(
    source: Path,
    *,
    folder: Path | None,
    models: Path,
    name: str | None = None,
    text_precision: str = "int8-weights",
) -> Exported:
    """Convert a trained model.

    Args:
        source: folder of a run, or of its model.
        folder: to write; None is one of its name in `models`.
        models: the user's folder of models.
        name: of the model; None keeps its own.
        text_precision: see `export.build.build`.

    Raises:
        ModelError: there is no trained model, it is damaged, or ONNX does not give what torch
            gives; nothing is written then.
        UsageError: an unknown precision, or a name that is no folder's.
    """
    if text_precision not in PRECISIONS:
        raise UsageError(
            f"There is no precision `{text_precision}`.", hint=f"One of {', '.join(PRECISIONS)}."
        )
    inner = source / MODEL if (source / MODEL).is_dir() else source
    facts = _facts(inner)
    facts = replace(facts, name=name or facts.name)
    if "/" in facts.name or facts.name in ("", ".", ".."):
        raise UsageError(f"`{facts.name}` is no name for a model.", hint="Give one with `--name`.")
    target = folder or models / facts.name
    texts = [found[0] for c in audioset_concepts()[::TEXTS] for found in c.phrases.values()]
    try:
        report = build(inner, target, facts, texts, text_precision=text_precision)
    except DisagreementError as error:
        raise ModelError("The converted model is not written.", why=str(error)) from error
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise AtriError(
            f"Cannot convert `{inner}`.", why=(str(error).splitlines() or ["unknown"])[0]
        ) from error
    return Exported(target, facts.name, report)


def _facts(folder: Path) -> CardFacts:
    try:
        facts = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return CardFacts(**{**facts, "languages": tuple(facts["languages"])})
    except FileNotFoundError:
        raise ModelError(
            f"There is no trained model in `{folder}`.",
            why=f"It has no `{CARD}`.",
            hint="Name the folder that `atri train` wrote.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"`{folder / CARD}` is damaged.", why=str(error)) from error
