"""Losses beyond the paper: agreement between languages, and other ways to align.

Shapes, `drawn` and `clash` as in `contrastive.py`.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from train.losses.contrastive import chosen_pairs, kcl

SHORTEST = 1e-2  # sum of captions that still has a direction: bounds the gradient of opposite ones


def mean_anchor(
    audio: Tensor, texts: Tensor, drawn: Tensor, tau: Tensor | float, clash: Tensor | None = None
) -> Tensor:
    """InfoNCE between audio and the normalised mean of its captions: L = 1/(2N) · ℓ(a, m).

    What: m_i = Σ_k t_ki / |Σ_k t_ki|, the direction that the paper's theory asks audio to take.
    Source: ATRI (ACL 2025), section 3 (the ideal weights); our own as a loss.
    When: beside a loss that pulls the languages together; alone it leaves each where it is.

    | input | shape     | meaning                             |
    |-------|-----------|-------------------------------------|
    | audio | [N, D]    | unit vectors of the clips           |
    | texts | [K, N, D] | unit vectors of their captions      |
    | drawn | [K, N]    | which captions take part            |
    | tau   | scalar    | temperature                         |
    | clash | [N, N]    | True: the two clips share a caption |

    Example:
        >>> import torch
        >>> a = torch.eye(4); both = torch.ones(2, 4, dtype=torch.bool)
        >>> float(mean_anchor(a, torch.stack([a, a]), both, 0.07)) < 1e-5
        True
    """
    mean = F.normalize((texts * drawn[:, :, None]).sum(0), dim=-1, eps=SHORTEST)
    total, pairs = chosen_pairs(audio, mean, drawn.any(0), tau, clash)
    return total / (2 * pairs.clamp_min(1))


def jsd(audio: Tensor, texts: Tensor, drawn: Tensor, tau: Tensor | float) -> Tensor:
    """Jensen-Shannon divergence between the rankings that two languages give.

    What: p_k,i is the softmax over the batch's audio of s(t_ki, a_j) / tau. The loss is the mean,
    over clips and pairs of their languages, of JSD(p_k,i, p_l,i) in nats, from 0 to log 2. A
    learned temperature is a constant here: a higher one makes distributions agree, not rankings.
    Source: our own; what MRV measures, made differentiable.
    When: added to a contrastive loss. Alone it is content with a space in which all is alike.

    | input | shape     | meaning                        |
    |-------|-----------|--------------------------------|
    | audio | [N, D]    | unit vectors of the clips      |
    | texts | [K, N, D] | unit vectors of their captions |
    | drawn | [K, N]    | which captions take part       |
    | tau   | scalar    | temperature                    |

    Example:
        >>> import torch
        >>> a = torch.eye(4); both = torch.ones(2, 4, dtype=torch.bool)
        >>> abs(float(jsd(a, torch.stack([a, a]), both, 0.07))) < 1e-6
        True
    """
    fixed = tau.detach() if isinstance(tau, Tensor) else tau
    logs = (texts @ audio.T / fixed).log_softmax(-1)
    total, pairs = audio.new_zeros(()), audio.new_zeros(())
    for k, other in combinations(range(len(texts)), 2):
        both = (drawn[k] & drawn[other]).nonzero()[:, 0]
        p, q = logs[k][both], logs[other][both]
        middle = torch.logaddexp(p, q) - torch.log(torch.tensor(2.0, dtype=p.dtype))
        divergence = (p.exp() * (p - middle) + q.exp() * (q - middle)).sum() / 2
        total, pairs = total + divergence, pairs + len(both)
    return total / pairs.clamp_min(1)


def svr(
    audio: Tensor,
    texts: Tensor,
    drawn: Tensor,
    tau: Tensor | float,
    *,
    clash: Tensor | None = None,
    radius: float = 0.1,
) -> Tensor:
    """KCL with each caption moved towards its audio: t' = t + R · (a - t) / |a - t|.

    What: the support vector t' stands for what an easier caption would be; t' is brought to unit
    length and takes the caption's place in `kcl`.
    Source: SupCLAP (arXiv 2509.21033), support vector regularisation, with a fixed radius R.
    When: added to another loss; it costs nothing at inference.

    | input  | shape     | meaning                             |
    |--------|-----------|-------------------------------------|
    | audio  | [N, D]    | unit vectors of the clips           |
    | texts  | [K, N, D] | unit vectors of their captions      |
    | drawn  | [K, N]    | which captions take part            |
    | tau    | scalar    | temperature                         |
    | clash  | [N, N]    | True: the two clips share a caption |
    | radius | scalar    | length of the move                  |

    With radius 0 it is `kcl`.

    Example:
        >>> import torch
        >>> a = torch.eye(4); both = torch.ones(2, 4, dtype=torch.bool)
        >>> float(svr(a, torch.stack([a, a]), both, 0.07)) < 1e-5
        True
    """
    moved = texts + radius * F.normalize(audio - texts, dim=-1)
    return kcl(audio, F.normalize(moved, dim=-1), tau, present=drawn, clash=clash)


def sigmoid(
    audio: Tensor,
    texts: Tensor,
    drawn: Tensor,
    tau: Tensor | float,
    *,
    bias: Tensor | float,
    clash: Tensor | None = None,
) -> Tensor:
    """Each pair of clip and caption is a yes or no of its own.

    What: L = -1/M · Σ_k Σ_ij log σ(z_ij · (s(a_i, t_kj) / tau + b)), z = 1 for i = j, else -1; M
    counts the captions.
    Source: SigLIP (Zhai et al., ICCV 2023), a language at a time.
    When: with large batches, above 1,000 (GLAP gains at 1,024); below, softmax losses are better.

    | input | shape     | meaning                                      |
    |-------|-----------|----------------------------------------------|
    | audio | [N, D]    | unit vectors of the clips                    |
    | texts | [K, N, D] | unit vectors of their captions               |
    | drawn | [K, N]    | which captions take part                     |
    | tau   | scalar    | temperature (SigLIP begins at 0.1)           |
    | bias  | scalar    | begins at -10, as most pairs do not belong   |
    | clash | [N, N]    | True: the pair is left out                   |

    Example:
        >>> import torch
        >>> a = torch.eye(4); one = torch.ones(1, 4, dtype=torch.bool)
        >>> float(sigmoid(a, a[None], one, 0.05, bias=-10.0)) < 0.001
        True
    """
    own = torch.eye(len(audio), dtype=torch.bool, device=audio.device)
    logits = audio @ texts.transpose(1, 2) / tau + bias
    losses = -F.logsigmoid(torch.where(own, logits, -logits))
    counted = drawn[:, :, None] & drawn[:, None, :]
    if clash is not None:
        counted = counted & (own | ~clash)
    return torch.where(counted, losses, 0.0).sum() / drawn.sum().clamp_min(1)
