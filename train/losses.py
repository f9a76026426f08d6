"""Contrastive losses over audio and its captions in K languages.

Shapes throughout: N clips in the batch, K languages, D dimensions, all vectors of unit length.
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
    total = audio.new_zeros(())
    pairs = 0
    for k, text in enumerate(texts):
        rows = slice(None) if present is None else present[k].nonzero()[:, 0]
        a, t = audio[rows], text[rows]
        if len(a):
            hidden = None if clash is None else clash[rows][:, rows]
            total = total + two_way_infonce(a, t, tau, hidden)
            pairs += len(a)
    return total / (2 * max(pairs, 1))
