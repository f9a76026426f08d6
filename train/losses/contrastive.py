"""Contrastive losses between audio and its captions in K languages.

Shapes throughout: N clips in the batch, K languages, D dimensions, all vectors of unit length.
`drawn` bool [K, N] says which captions take part; the others have no influence, whatever stands
in their rows of `texts`. `clash` bool [N, N] says which clips share a caption: they are no
negatives of each other; its diagonal is ignored.
"""

from __future__ import annotations

import torch
from torch import Tensor


def two_way_infonce(
    x: Tensor, y: Tensor, tau: Tensor | float, clash: Tensor | None = None
) -> Tensor:
    """Sum over i of -log softmax of pair (i, i), x→y plus y→x (paper §3, ℓ(x, y)).

    Args:
        x, y: float [N, D], unit length.
        tau: temperature.
        clash: bool [N, N], True where i and j mean the same and are no negatives of each other;
            the diagonal is ignored.

    Returns:
        A scalar; divided by 2N it is the usual symmetric InfoNCE.
    """
    logits = x @ y.T / tau
    if clash is not None:
        own = torch.eye(len(x), dtype=torch.bool, device=x.device)
        logits = logits.masked_fill(clash & ~own, float("-inf"))
    forward = logits.log_softmax(1).diagonal()
    backward = logits.log_softmax(0).diagonal()
    return -(forward.sum() + backward.sum())


def chosen_pairs(
    x: Tensor, y: Tensor, rows: Tensor, tau: Tensor | float, clash: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`two_way_infonce` over the rows for which `rows` bool [N] is True, and their number."""
    keep = rows.nonzero()[:, 0]
    if not len(keep):
        return x.new_zeros(()), x.new_zeros(())
    hidden = None if clash is None else clash[keep][:, keep]
    return two_way_infonce(x[keep], y[keep], tau, hidden), x.new_tensor(float(len(keep)))


def kcl(
    audio: Tensor,
    texts: Tensor,
    tau: Tensor | float,
    *,
    present: Tensor | None = None,
    clash: Tensor | None = None,
) -> Tensor:
    """1-to-K contrastive loss: L = 1/(2NK) · Σ_k ℓ(a, t_k).

    What: every clip meets its captions of all K languages in every step; each language has a
    softmax of its own, with negatives of the same language.
    Source: ATRI (ACL 2025, arXiv 2502.14627), L_kcl.
    When: captions in all languages are at hand and fit in memory (with cached text vectors they
    always do). Choose `cacl` when they do not.

    | input   | shape      | meaning                                                  |
    |---------|------------|----------------------------------------------------------|
    | audio   | [N, D]     | unit vectors of the clips                                |
    | texts   | [K, N, D]  | unit vectors of their captions, language by language     |
    | tau     | scalar     | temperature (the paper: 0.07)                            |
    | present | [K, N]     | False: that clip has no caption in that language         |
    | clash   | [N, N]     | True: the two clips share a caption; not negatives       |

    With K = 1 it is plain InfoNCE; with K copies of one language as well. A clip without caption
    in a language takes no part in that language's softmax, and the divisor counts what took part.

    Example:
        >>> import torch
        >>> a = torch.eye(4); float(kcl(a, torch.stack([a, a]), 0.07)) < 1e-5
        True
    """
    total, pairs = audio.new_zeros(()), audio.new_zeros(())
    everyone = torch.ones(len(audio), dtype=torch.bool, device=audio.device)
    for k, text in enumerate(texts):
        rows = everyone if present is None else present[k]
        part, count = chosen_pairs(audio, text, rows, tau, clash)
        total, pairs = total + part, pairs + count
    return total / (2 * pairs.clamp_min(1))


def kcl_joint(
    audio: Tensor, texts: Tensor, drawn: Tensor, tau: Tensor | float, clash: Tensor | None = None
) -> Tensor:
    """1-to-K contrastive loss with one softmax over the texts of all languages.

    What: L = 1/2 · (1/N · Σ_i 1/K_i · Σ_k -log softmax_(l,j) of (a_i, t_ki) over all N·K texts
    + 1/(N·K) · Σ_(k,i) -log softmax_j of (t_ki, a_j) over the audio). K_i counts clip i's captions.
    Source: CCRK (KDD 2024), 1-to-K contrastive learning.
    When: to compare with `kcl`. Captions of other languages are negatives too, and a clip's own
    captions compete for its probability, so the loss does not fall to 0 for K > 1.

    | input | shape     | meaning                                    |
    |-------|-----------|--------------------------------------------|
    | audio | [N, D]    | unit vectors of the clips                  |
    | texts | [K, N, D] | unit vectors of their captions             |
    | drawn | [K, N]    | which captions take part                   |
    | tau   | scalar    | temperature                                |
    | clash | [N, N]    | True: the two clips share a caption        |

    Example:
        >>> import torch
        >>> a = torch.eye(4); everything = torch.ones(1, 4, dtype=torch.bool)
        >>> float(kcl_joint(a, a[None], everything, 0.07)) < 1e-5
        True
    """
    language, clip = drawn.nonzero(as_tuple=True)
    if not len(clip):
        return audio.new_zeros(())
    logits = audio @ texts[language, clip].T / tau
    own = torch.arange(len(audio), device=audio.device)[:, None] == clip
    if clash is not None:
        logits = logits.masked_fill(clash[:, clip] & ~own, float("-inf"))
    counts = own.sum(1)
    described = counts > 0
    forward = torch.where(own, logits.log_softmax(1), 0.0).sum(1)[described] / counts[described]
    backward = torch.where(own, logits.log_softmax(0), 0.0).sum(0)
    return -(forward.mean() + backward.mean()) / 2


def cacl(
    audio: Tensor,
    texts: Tensor,
    drawn: Tensor,
    tau: Tensor | float,
    *,
    anchor: int,
    clash: Tensor | None = None,
) -> Tensor:
    """Common-anchor contrastive loss: L = 1/(6N) · [ℓ(a, t_en) + ℓ(a, t_q) + ℓ(t_en, t_q)].

    What: audio, its English caption and one caption of a random other language, each pair aligned.
    Source: ATRI (ACL 2025, arXiv 2502.14627), L_cacl.
    When: captions are encoded in every step and memory must not grow with K.

    | input  | shape     | meaning                                                     |
    |--------|-----------|-------------------------------------------------------------|
    | audio  | [N, D]    | unit vectors of the clips                                   |
    | texts  | [K, N, D] | unit vectors of their captions                              |
    | drawn  | [K, N]    | True for the anchor and one other language of each clip     |
    | tau    | scalar    | temperature                                                 |
    | anchor | int       | number of the anchor language (English)                     |
    | clash  | [N, N]    | True: the two clips share a caption                         |

    A clip without a caption in the anchor language is anchored in its first drawn one; a clip with
    one caption only takes part in ℓ(a, t_en). The divisor counts the pairs that took part.

    Example:
        >>> import torch
        >>> a = torch.eye(4); both = torch.ones(2, 4, dtype=torch.bool)
        >>> float(cacl(a, torch.stack([a, a]), both, 0.07, anchor=0)) < 1e-5
        True
    """
    clips = torch.arange(len(audio), device=audio.device)
    first = torch.where(drawn[anchor], anchor, drawn.int().argmax(0))
    rest = drawn.clone()
    rest[first, clips] = False
    second = rest.int().argmax(0)
    has_first, has_second = drawn.any(0), rest.any(0)
    english, other = texts[first, clips], texts[second, clips]
    found = [
        chosen_pairs(audio, english, has_first, tau, clash),
        chosen_pairs(audio, other, has_second, tau, clash),
        chosen_pairs(english, other, has_second, tau, clash),
    ]
    total, pairs = (torch.stack(column).sum() for column in zip(*found, strict=True))
    return total / (2 * pairs.clamp_min(1))


def sampled(
    audio: Tensor, texts: Tensor, drawn: Tensor, tau: Tensor | float, clash: Tensor | None = None
) -> Tensor:
    """InfoNCE over all drawn (clip, caption) pairs, whatever their languages: L = 1/(2M) · ℓ.

    What: with one random language a clip, the paper's baseline `random`; with the draw of the
    published ML-CLAP loader, `mlclap`. M counts the pairs; captions of one clip are no negatives of
    each other.
    Source: ATRI (ACL 2025), section 3, the baseline; zyyan4/ml-clap, its loader.
    When: as a baseline.

    | input | shape     | meaning                             |
    |-------|-----------|-------------------------------------|
    | audio | [N, D]    | unit vectors of the clips           |
    | texts | [K, N, D] | unit vectors of their captions      |
    | drawn | [K, N]    | which captions take part            |
    | tau   | scalar    | temperature                         |
    | clash | [N, N]    | True: the two clips share a caption |

    Example:
        >>> import torch
        >>> a = torch.eye(4); one = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1]]).bool()
        >>> float(sampled(a, torch.stack([a, a]), one, 0.07)) < 1e-5
        True
    """
    language, clip = drawn.nonzero(as_tuple=True)
    if not len(clip):
        return audio.new_zeros(())
    alike = clip[:, None] == clip
    if clash is not None:
        alike = alike | clash[clip][:, clip]
    return two_way_infonce(audio[clip], texts[language, clip], tau, alike) / (2 * len(clip))
