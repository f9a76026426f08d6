"""The model that training or export starts from, by what the user calls it.

- a folder that `atri train` wrote;
- the name of a pulled checkpoint, or a file or folder of one: ML-CLAP, GLAP;
- `AUDIO+TEXT`, such as `ced-base+sonar`: two towers with heads that nothing has trained yet;
- an installed model of atri-mini's architecture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from atri_cli.checkpoints.record import read_record
from atri_cli.checkpoints.sources import FOLDER, sources
from atri_cli.encoders.card import CARD_FILE
from atri_cli.encoders.languages import canonical
from atri_cli.encoders.nllb import CODES
from atri_cli.encoders.registry import find_model
from atri_cli.errors import ModelError, UsageError
from atri_cli.settings import Settings
from train.embedded import load_embedded
from train.large import LargeAudio, LargeText, draw_head, shape_of
from train.torchmodel import (
    READING,
    SHAPE_FILE,
    TorchModel,
    large_card,
    load_torch_model,
    mini_card,
)
from train.towers.ced import load_ced
from train.towers.published import DIM, Published, load_published
from train.towers.sonar import SonarText, load_sonar
from train.towers.sonar_space import load_via_sonar_space

MODEL = "model"
WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")
SONAR_SPACE = "sonar-space"


def open_torch_model(
    spec: str, settings: Settings, *, seed: int = 0, via: str | None = None
) -> TorchModel:
    """The model of this name or place.

    Args:
        spec: see the top of this file.
        settings: says where models are.
        seed: of heads that have to be drawn.
        via: `sonar-space` reads SONAR's own checkpoint through that package; None does not.

    Raises:
        ModelError: no such model, or it cannot be read.
        UsageError: `AUDIO+TEXT` names something else than two towers, or `via` another way.
        RuntimeMissingError: the package of `via` is not installed.
    """
    if via not in (None, SONAR_SPACE):
        raise UsageError(f"There is no way `{via}`.", hint=f"Leave it out, or type {SONAR_SPACE}.")
    if (run := _run_folder(Path(spec).expanduser())) is not None:
        return load_torch_model(run)
    if "+" in spec and not Path(spec).expanduser().exists():
        return _composed(spec, settings, seed, load_via_sonar_space if via else load_sonar)
    if via is not None:
        raise UsageError(
            f"`--via {via}` does not read `{spec}`.",
            why="It reads the checkpoint of SONAR alone.",
            hint="Give two towers, such as `--model ced-base+sonar`.",
        )
    place = _checkpoint(spec, settings)
    if place is not None:
        return _published(place, spec)
    card = find_model(spec, settings)
    shape, audio, text, _ = load_embedded(card)
    found = TorchModel(shape, audio, text, mini_card(shape, card.folder, card.text.tokenizer))
    facts = {name: getattr(card, name) for name in ("name", "revision", "licences")}
    return found.called(**facts, languages=card.text.languages)


def _run_folder(folder: Path) -> Path | None:
    """The folder that holds `model.json`: this one, or the one that `atri train` made in it."""
    places = (folder / MODEL, folder)
    return next((place for place in places if (place / SHAPE_FILE).is_file()), None)


def _checkpoint(spec: str, settings: Settings) -> Path | None:
    """Where a checkpoint lies: the folder of a pulled one, or a path; None for anything else."""
    pulled = settings.models_dir / FOLDER / spec
    if "/" not in spec and pulled.is_dir():
        return pulled
    path = Path(spec).expanduser()
    if path.is_file() or (path.is_dir() and not (path / CARD_FILE).is_file()):
        return path
    if spec in sources() and not (settings.models_dir / spec).is_dir():
        raise ModelError(
            f"The checkpoint of `{spec}` is not here.", hint=f"Type `atri models pull {spec}`."
        )
    return None


def weights_in(place: Path) -> Path:
    """The file of weights: `place` itself, or the only one in that folder.

    Raises:
        ModelError: the folder holds none, or several.
    """
    if place.is_file():
        return place
    found = sorted(path for path in place.glob("*") if path.suffix in WEIGHTS)
    if len(found) == 1:
        return found[0]
    why = "Several files could be it: " + ", ".join(f"`{path.name}`" for path in found) + "."
    raise ModelError(
        f"`{place}` is no checkpoint of one model.",
        why=why if found else f"No file in it ends in {', '.join(WEIGHTS)}.",
        hint="Name the file of weights itself, or pull a known model: `atri models pull`.",
    )


def tokenizer_beside(place: Path) -> Path:
    """The sentencepiece model beside a text tower's weights.

    Raises:
        ModelError: there is none, or several.
    """
    folder = place.parent if place.is_file() else place
    found = sorted(folder.glob("*.model"))
    if len(found) == 1:
        return found[0]
    raise ModelError(
        f"`{folder}` holds {len(found) or 'no'} sentencepiece models, and the text tower needs "
        "its own.",
        hint="Put `sentencepiece.source.256000.model` of SONAR there.",
    )


def _published(place: Path, spec: str) -> TorchModel:
    found = load_published(weights_in(place))
    towers = LargeAudio(found.audio, found.audio_head), LargeText(found.text, found.text_head)
    reading = {name: getattr(found, name) for name in READING}
    made = _large(*towers, place, **reading)
    name = Path(spec).stem if place == Path(spec).expanduser() else spec
    return made.called(name=name, languages=_tags(found), licences=_licence(place))


def _large(audio: LargeAudio, text: LargeText, place: Path, **reading: Any) -> TorchModel:
    """The towers as a model; the tokenizer lies beside the text tower's weights at `place`."""
    tokenizer = tokenizer_beside(place)
    _require_room(text.body, tokenizer)
    shape = shape_of(audio, text)
    card = large_card(shape, tokenizer.parent, tokenizer.name, **reading)
    return TorchModel(shape, audio.eval(), text.eval(), card)


def _tags(found: Published) -> tuple[str, ...]:
    """The tags of the languages that a model was trained in; `zh` stands for `zh-Hans`."""
    tags = (canonical(code) for code in found.codes)
    return tuple("zh" if tag == "zh-Hans" else tag for tag in tags)


def _licence(place: Path, tower: str = "weights") -> dict[str, str]:
    record = read_record(place) if place.is_dir() else None
    return {tower: record.licence} if record else {}


def _composed(
    spec: str, settings: Settings, seed: int, load_text: Callable[[Path], SonarText]
) -> TorchModel:
    """Two towers, and heads as they are drawn."""
    places = [place for part in spec.split("+") if (place := _checkpoint(part, settings))]
    if len(places) != 2 or spec.count("+") != 1:
        raise UsageError(
            f"`{spec}` does not name two checkpoints.",
            hint="Give an audio tower and a text tower: `ced-base+sonar`.",
        )
    hearing, reading = places
    body, sonar = load_ced(weights_in(hearing)), load_text(weights_in(reading))
    audio = LargeAudio(body, draw_head(body.shape.width, DIM, seed))
    text = LargeText(sonar, draw_head(sonar.shape.width, DIM, seed + 1))
    made = replace(_large(audio, text, reading), trained=False)
    licences = _licence(hearing, "audio") | _licence(reading, "text")
    name = "+".join(Path(part).stem for part in spec.split("+"))
    return made.called(name=name, licences=licences)


def _require_room(tower: SonarText, path: Path) -> None:
    """Let pass a tokenizer whose ids the tower has rows for.

    Raises:
        ModelError: it has more, so it belongs to another tower.
    """
    from sentencepiece import SentencePieceProcessor

    try:
        pieces = len(SentencePieceProcessor(model_proto=path.read_bytes()))
    except (OSError, RuntimeError) as error:
        raise ModelError(f"`{path}` is no sentencepiece model.", why=f"{error}.") from error
    rows = tower.shape.vocabulary
    if pieces + 1 + len(CODES) > rows:
        raise ModelError(
            f"`{path}` is not the tokenizer of this text tower.",
            why=f"It has {pieces:,} pieces and {len(CODES)} languages; the tower has {rows:,} "
            "tokens.",
            hint="Put `sentencepiece.source.256000.model` of SONAR there.",
        )
