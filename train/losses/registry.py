"""Losses by name: what `--loss cacl+0.5*jsd` means, and which captions a step needs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from atri_cli.errors import UsageError
from train.losses import agreement, contrastive

OTHERS = 0.1  # chance of a caption that is not English in ML-CLAP's loader
Draw = Callable[[Tensor, int, Tensor], Tensor]


def draw_all(present: Tensor, anchor: int, uniform: Tensor) -> Tensor:  # noqa: ARG001
    """Every caption there is."""
    return present.clone()


def draw_one(present: Tensor, anchor: int, uniform: Tensor) -> Tensor:  # noqa: ARG001
    """One caption a clip, of a random language."""
    return _pick(present, uniform[0])


def draw_anchor_and_one(present: Tensor, anchor: int, uniform: Tensor) -> Tensor:
    """The caption of the anchor language (else the first there is), and a random other one."""
    first = torch.where(present[anchor], anchor, present.int().argmax(0))
    is_first = (torch.arange(len(present))[:, None] == first) & present
    return is_first | _pick(present & ~is_first, uniform[0])


def draw_as_mlclap(present: Tensor, anchor: int, uniform: Tensor) -> Tensor:
    """The anchor language's captions, and each other one with probability 0.1."""
    drawn = present & (uniform[1:] < OTHERS)
    drawn[anchor] = present[anchor]
    return drawn


def _pick(allowed: Tensor, uniform: Tensor) -> Tensor:
    """One of the allowed rows in each column, by a number in [0, 1); none where none is."""
    place = (uniform * allowed.sum(0)).long()
    return allowed & (allowed.cumsum(0) - 1 == place)


@dataclass(frozen=True)
class Term:
    """One loss: what it does, how it draws captions (None: as others do), what it asks for."""

    does: str
    draw: Draw | None = None
    needs_pairs: bool = False
    gives_pairs: bool = True


TERMS = {
    "kcl": Term("all languages, a softmax for each (ATRI)", draw_all),
    "kcl-joint": Term("all languages in one softmax (CCRK)", draw_all),
    "cacl": Term("English and one random language as common anchor (ATRI)", draw_anchor_and_one),
    "random": Term("one random language a clip (the paper's baseline)", draw_one, False, False),
    "mlclap": Term("English, others now and then (ML-CLAP)", draw_as_mlclap, False, False),
    "mean-anchor": Term("audio towards the mean of its captions"),
    "jsd": Term("languages rank alike; only with another loss", None, True),
    "svr": Term("captions moved towards their audio (SupCLAP)"),
    "sigmoid": Term("each pair on its own; for large batches (SigLIP)"),
}
LOSSES = {name: term.does for name, term in TERMS.items()}


class Loss(nn.Module):
    """A weighted sum of losses over one draw of captions.

    Args:
        terms: names and weights, in order.

    Its only parameter is the bias of `sigmoid`, when that takes part.
    """

    def __init__(self, terms: Sequence[tuple[str, float]]) -> None:
        super().__init__()
        self.terms = tuple(terms)
        draws = [TERMS[name].draw for name, _ in terms]
        self._draw = next((draw for draw in draws if draw is not None), draw_all)
        names = [name for name, _ in terms]
        self.bias = nn.Parameter(torch.tensor(-10.0)) if "sigmoid" in names else None

    @property
    def name(self) -> str:
        """As `get_loss` reads it."""
        return "+".join(name if w == 1 else f"{w:g}*{name}" for name, w in self.terms)

    def draw(self, present: Tensor, anchor: int, uniform: Tensor) -> Tensor:
        """Which captions take part in a step: only those need be encoded.

        Args:
            present: bool [K, N], which captions there are.
            anchor: number of the anchor language.
            uniform: float [K + 1, N] in [0, 1); column n decides for clip n alone.

        Returns:
            bool [K, N], a part of `present`.
        """
        return self._draw(present, anchor, uniform)

    def forward(
        self,
        audio: Tensor,
        texts: Tensor,
        drawn: Tensor,
        tau: Tensor | float,
        *,
        anchor: int = 0,
        clash: Tensor | None = None,
    ) -> Tensor:
        """The loss, a scalar; shapes as in `contrastive.py`."""
        texts = torch.where(drawn[:, :, None], texts, 0.0)
        parts = [
            weight * self._term(name, audio, texts, drawn, tau=tau, anchor=anchor, clash=clash)
            for name, weight in self.terms
        ]
        return torch.stack(parts).sum()

    def _term(
        self,
        name: str,
        audio: Tensor,
        texts: Tensor,
        drawn: Tensor,
        *,
        tau: Tensor | float,
        anchor: int,
        clash: Tensor | None,
    ) -> Tensor:
        match name:
            case "kcl":
                return contrastive.kcl(audio, texts, tau, present=drawn, clash=clash)
            case "kcl-joint":
                return contrastive.kcl_joint(audio, texts, drawn, tau, clash)
            case "cacl":
                return contrastive.cacl(audio, texts, drawn, tau, anchor=anchor, clash=clash)
            case "mean-anchor":
                return agreement.mean_anchor(audio, texts, drawn, tau, clash)
            case "jsd":
                return agreement.jsd(audio, texts, drawn, tau)
            case "svr":
                return agreement.svr(audio, texts, drawn, tau, clash=clash)
            case "sigmoid":
                assert self.bias is not None
                return agreement.sigmoid(audio, texts, drawn, tau, bias=self.bias, clash=clash)
        return contrastive.sampled(audio, texts, drawn, tau, clash)


def get_loss(spec: str) -> Loss:
    """A loss from its name, or several: `cacl+jsd`, `kcl+0.5*jsd`.

    Raises:
        UsageError: an unknown name, a bad weight, or losses that do not go together.
    """
    terms = [_parse(part.strip()) for part in spec.split("+")]
    names = [name for name, _ in terms]
    if len(set(names)) < len(names):
        raise UsageError(f"`{spec}` names a loss twice.", hint="Give it a weight: `2*kcl`.")
    if names == ["jsd"]:
        raise UsageError(
            "`jsd` alone only makes languages agree, on anything.", hint="Try `--loss kcl+jsd`."
        )
    pairless = [name for name in names if not TERMS[name].gives_pairs]
    if pairless and any(TERMS[name].needs_pairs for name in names):
        raise UsageError(
            f"`jsd` compares two languages of a clip, and `{pairless[0]}` takes one.",
            hint="Try `--loss cacl+jsd` or `--loss kcl+jsd`.",
        )
    drawing = [name for name in names if TERMS[name].draw is not None]
    if len({TERMS[name].draw for name in drawing}) > 1:
        raise UsageError(
            f"`{' + '.join(drawing)}` take different captions in a step, and a sum takes the same.",
            hint="Add `mean-anchor`, `jsd`, `svr` or `sigmoid` to one of them: `cacl+jsd`.",
        )
    return Loss(terms)


def _parse(part: str) -> tuple[str, float]:
    weight, star, name = part.rpartition("*")
    try:
        number = float(weight) if star else 1.0
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise UsageError(f"`{weight}` is no weight of a loss.", hint="For example `kcl+0.5*jsd`.")
    if name not in TERMS:
        near = difflib.get_close_matches(name, TERMS, 1, 0.5)
        hint = f"Did you mean `{near[0]}`?" if near else f"There are: {', '.join(TERMS)}."
        raise UsageError(f"There is no loss `{name}`.", hint=hint)
    return name, number
