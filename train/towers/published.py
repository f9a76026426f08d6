"""ML-CLAP and GLAP: both towers, both heads and tau, from their public checkpoints.

ML-CLAP (Yan et al., Interspeech 2024, arXiv 2406.07012) is CED-base and SONAR; GLAP (Dinkel et al.,
arXiv 2506.11350) is Dasheng-base and SONAR. Both hold weights of SONAR: CC BY-NC 4.0.
"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from atri_cli.errors import ModelError
from train.towers.ced import CED_SHAPES, Ced
from train.towers.dasheng import DASHENG_SHAPES, Dasheng
from train.towers.heads import ProjectionHead
from train.towers.layouts import fill, read_weights
from train.towers.patches import UNUSED, TowerShape
from train.towers.sizes import HEAD_WIDTH, length, tower_shape
from train.towers.sonar import M2M_EMBEDDINGS, SonarText, sonar_shape

AUDIO, TEXT = "audio_encoder.", "text_encoder."
DIM = 1024
EIGHT = (
    "eng_Latn",
    "fra_Latn",
    "deu_Latn",
    "spa_Latn",
    "nld_Latn",
    "cat_Latn",
    "jpn_Jpan",
    "zho_Hans",
)
PUNCTUATION = '(，。！？;：、,.!?:|*")'
PATCH = "patch_embed.proj.weight"
PULL = "`atri models pull ml-clap --accept-license` or `atri models pull glap --accept-license`"
# GLAP's file carries the configuration of its training, with paths in it. They are read as pure
# paths, which are words and touch no disk, on any system.
PATHS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (kind, f"{module}.{prefix}{system}Path")
    for kind, system in ((pathlib.PurePosixPath, "Posix"), (pathlib.PureWindowsPath, "Windows"))
    for module in ("pathlib", "pathlib._local")
    for prefix in ("", "Pure")
]


@dataclass(frozen=True)
class Published:
    """A published model in eval mode, and how it was taught to be asked.

    Attributes:
        audio: waveform float32 [batch, samples] at 16 kHz → [batch, width].
        audio_head: [batch, width] → unit vectors [batch, dim].
        text: ids and mask int64 [batch, tokens] → [batch, width].
        text_head: [batch, width] → unit vectors [batch, dim].
        tau: what cosines are divided by.
        lowercase: whether captions are lower-cased.
        strip: characters that become spaces before tokenising; several spaces count as one.
        codes: FLORES codes of the languages it was trained with; all 202 tokens work.
        tag: the code whose token starts every text, whatever its language; empty where a text
            starts with the token of its own.
    """

    audio: Ced | Dasheng
    audio_head: ProjectionHead
    text: SonarText
    text_head: ProjectionHead
    tau: float
    lowercase: bool
    strip: str
    codes: tuple[str, ...] = EIGHT
    tag: str = ""


class Whole(nn.Module):
    """A model under the keys of its file; `parts` are the same modules under their own names.

    Args:
        tower: the audio tower's class; `shape`: its published size.
        weights: from which the sizes are read.
        inside: what stands between an encoder's name and its own keys, `model.` or nothing.
    """

    def __init__(
        self,
        tower: type[Ced | Dasheng],
        shape: TowerShape,
        weights: Mapping[str, Tensor],
        inside: str,
    ) -> None:
        super().__init__()
        audio = tower(tower_shape(_under(weights, AUDIO + inside), shape))
        text = SonarText(sonar_shape(_under(weights, TEXT + inside)))
        dim = length(weights, "audio_proj.2.weight", 0, DIM)
        heads = [ProjectionHead(net.shape.width, dim) for net in (audio, text)]
        self.parts = (audio, heads[0], text, heads[1])
        self.audio_encoder = nn.ModuleDict({"model": audio}) if inside else audio
        self.text_encoder = nn.ModuleDict({"model": text}) if inside else text
        proj = [nn.Sequential(head.first, nn.ReLU(), head.second) for head in heads]
        self.audio_proj, self.text_proj = proj

    def published(self) -> Published:
        """The parts, once they are filled."""
        raise NotImplementedError


class MLCLAP(Whole):
    """ML-CLAP: the temperature that it learnt, captions in lower case without punctuation."""

    def __init__(self, weights: Mapping[str, Tensor], inside: str) -> None:
        super().__init__(Ced, CED_SHAPES["base"], weights, inside)
        self.temperature = nn.Parameter(torch.zeros([]))

    def published(self) -> Published:
        return Published(
            *self.parts, tau=self.temperature.item(), lowercase=True, strip=PUNCTUATION
        )


class GLAP(Whole):
    """GLAP: captions as they are.

    Its temperature was the loss's and is not in the file: tau follows its code, which scores by
    100 times the cosine. Its training code names no language, so that captions of all languages
    were taught behind the token of English, and its own code asks so by default.
    """

    def __init__(self, weights: Mapping[str, Tensor], inside: str) -> None:
        super().__init__(Dasheng, DASHENG_SHAPES["base"], weights, inside)

    def published(self) -> Published:
        return Published(*self.parts, tau=0.01, lowercase=False, strip="", tag="eng_Latn")


NAMES: dict[type[MLCLAP | GLAP], str] = {MLCLAP: "ML-CLAP", GLAP: "GLAP"}


def load_published(path: Path) -> Published:
    """The model of a checkpoint of ML-CLAP or of GLAP; which one, its keys tell.

    Sizes are read from the weights: heads of 64 values, layers as many as there are.

    Raises:
        ModelError: unreadable, neither of the two, or damaged; it names the key and the nearest
            valid one, or says what the file is.
    """
    return _load(path, None)


def load_ml_clap(path: Path) -> Published:
    """The model of a checkpoint of ML-CLAP: `load_published`, refusing GLAP.

    Raises:
        ModelError: as `load_published`.
    """
    return _load(path, MLCLAP)


def load_glap(path: Path) -> Published:
    """The model of a checkpoint of GLAP: `load_published`, refusing ML-CLAP.

    Layouts: `glap_checkpoint.pt`, with its configuration or without, and the port for
    transformers, which leaves `model.` out of the keys.

    Raises:
        ModelError: as `load_published`.
    """
    return _load(path, GLAP)


def _load(path: Path, wanted: type[MLCLAP | GLAP] | None) -> Published:
    with torch.serialization.safe_globals(PATHS):
        weights = read_weights(path)
    kind = _kind(weights, path)
    if wanted not in (None, kind):
        hint = "Read it with `load_published`, which takes both."
        raise ModelError(f"`{path}` is a checkpoint of {NAMES[kind]}.", hint=hint)
    wrapped = any(key.startswith((f"{AUDIO}model.", f"{TEXT}model.")) for key in weights)
    inside = "model." if wrapped else ""
    unused = tuple(f"{AUDIO}{inside}{name}" for name in UNUSED)
    weights = {key: value for key, value in weights.items() if not key.startswith(unused)}
    with torch.device("meta"):
        whole = kind(weights, inside)
    _require_even_heads(whole, path)
    for part in fill(whole, weights, path).parts:
        part.eval()
    found = whole.published()
    if not (math.isfinite(found.tau) and found.tau > 0):
        raise ModelError(f"`temperature` in `{path}` is {found.tau}, not above 0.")
    return found


def _require_even_heads(whole: Whole, path: Path) -> None:
    for shape in (whole.parts[0].shape, whole.parts[2].shape):
        if shape.width % (2 * shape.heads):
            what = f"A tower in `{path}` is {shape.width} wide."
            raise ModelError(what, why=f"That does not divide into heads of {HEAD_WIDTH}.")


def _under(weights: Mapping[str, Tensor], before: str) -> dict[str, Tensor]:
    """The weights whose keys start so, without that start."""
    return {key[len(before) :]: value for key, value in weights.items() if key.startswith(before)}


def _kind(weights: Mapping[str, Tensor], path: Path) -> type[MLCLAP | GLAP]:
    """Which of the two it is: the temperature and square patches are ML-CLAP's."""
    if not any(key.startswith((AUDIO, TEXT)) for key in weights):
        what = f"`{path}` holds {_alone(weights)}, not a whole model."
        raise ModelError(what, hint=f"Fetch one with {PULL}.")
    if "temperature" in weights:
        return MLCLAP
    patches = (value.shape[-2:] for key, value in weights.items() if key.endswith(PATCH))
    return MLCLAP if any(patch == (16, 16) for patch in patches) else GLAP


def _alone(weights: Mapping[str, Tensor]) -> str:
    """What a checkpoint holds that is neither of the two."""
    if not weights.keys().isdisjoint(("encoder_frontend.embed.weight", *M2M_EMBEDDINGS)):
        return "the text tower SONAR alone"
    for key in (PATCH, f"encoder.{PATCH}"):
        if key in weights:
            sixteen = weights[key].shape[-2:] == (16, 16)
            return f"the audio tower {'CED' if sixteen else 'Dasheng'} alone"
    return f"`{min(weights)}` and other weights that are neither ML-CLAP's nor GLAP's"
