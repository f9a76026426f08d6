"""Every loss against a plain loop in float64, its gradient, and its limits."""

from __future__ import annotations

import doctest
import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from atri_cli.errors import UsageError
from train.losses import LOSSES, agreement, contrastive, get_loss

TAU = 0.2
ALONE = [name for name in LOSSES if name != "jsd"]


def batch(n: int, k: int, d: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    audio = torch.randn(n, d, generator=generator, dtype=torch.float64)
    texts = torch.randn(k, n, d, generator=generator, dtype=torch.float64)
    return F.normalize(audio, dim=-1), F.normalize(texts, dim=-1)


def masks(n: int, k: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed + 1)
    drawn = torch.rand(k, n, generator=generator) < 0.7
    clash = torch.rand(n, n, generator=generator) < 0.2
    return drawn, clash | clash.T


def softmax_loss(scores: list[float], target: int) -> float:
    return math.log(sum(math.exp(s - scores[target]) for s in scores))


def naive_pairs(pairs: list[tuple[int, Tensor, Tensor]], clash: Tensor) -> float:
    """ℓ over pairs of (clip, x, y): other pairs are negatives unless their clips clash."""
    total = 0.0
    for i, (clip, x, y) in enumerate(pairs):
        for left in (True, False):
            scores, target = [], 0
            for j, (other, x2, y2) in enumerate(pairs):
                if j == i:
                    target = len(scores)
                elif clash[clip, other] or clip == other:
                    continue
                scores.append(float(x @ y2 if left else x2 @ y) / TAU)
            total += softmax_loss(scores, target)
    return total


def naive(name: str, audio: Tensor, texts: Tensor, drawn: Tensor, clash: Tensor) -> float:
    k, n = drawn.shape
    cells = [(a, b) for a in range(k) for b in range(n) if drawn[a, b]]
    described = [b for b in range(n) if drawn[:, b].any()]
    if name == "jsd":
        return naive_jsd(audio, texts, drawn)
    if not cells:
        return 0.0
    if name in ("kcl", "svr"):
        moved = texts
        if name == "svr":
            moved = texts + 0.1 * F.normalize(audio - texts, dim=-1)
            moved = F.normalize(moved, dim=-1)
        rows = [[(b, audio[b], moved[a, b]) for a2, b in cells if a2 == a] for a in range(k)]
        return sum(naive_pairs(row, clash) for row in rows) / (2 * len(cells))
    if name in ("random", "mlclap"):
        return naive_pairs([(b, audio[b], texts[a, b]) for a, b in cells], clash) / (2 * len(cells))
    if name == "mean-anchor":
        means = {b: F.normalize(texts[drawn[:, b], b].sum(0), dim=-1) for b in described}
        return naive_pairs([(b, audio[b], means[b]) for b in described], clash) / (
            2 * len(described)
        )
    if name == "cacl":
        return naive_cacl(audio, texts, drawn, clash)
    if name == "kcl-joint":
        return naive_joint(audio, texts, cells, clash)
    assert name == "sigmoid"
    total = 0.0
    for a, b in cells:
        for c in range(n):
            if drawn[a, c] and (c == b or not clash[b, c]):
                logit = float(audio[b] @ texts[a, c]) / TAU - 10
                total += math.log1p(math.exp(-logit if b == c else logit))
    return total / len(cells)


def naive_cacl(audio: Tensor, texts: Tensor, drawn: Tensor, clash: Tensor) -> float:
    first, second = [], []
    for b in range(drawn.shape[1]):
        there = [a for a in range(len(drawn)) if drawn[a, b]]
        there.sort(key=lambda a: (a != 0, a))
        first += [(b, audio[b], texts[there[0], b])] if there else []
        second += [(b, there[0], there[1])] if len(there) > 1 else []
    parts = [
        first,
        [(b, audio[b], texts[q, b]) for b, _, q in second],
        [(b, texts[e, b], texts[q, b]) for b, e, q in second],
    ]
    return sum(naive_pairs(part, clash) for part in parts) / (2 * sum(map(len, parts)))


def naive_joint(audio: Tensor, texts: Tensor, cells: list[tuple[int, int]], clash: Tensor) -> float:
    forward, backward = [], []
    for clip in sorted({b for _, b in cells}):
        own = [cell for cell in cells if cell[1] == clip]
        rest = [cell for cell in cells if cell[1] == clip or not clash[clip, cell[1]]]
        scores = [float(audio[clip] @ texts[a, b]) / TAU for a, b in rest]
        forward.append(np.mean([softmax_loss(scores, rest.index(cell)) for cell in own]))
    for a, b in cells:
        clips = [c for c in range(len(audio)) if c == b or not clash[b, c]]
        scores = [float(audio[c] @ texts[a, b]) / TAU for c in clips]
        backward.append(softmax_loss(scores, clips.index(b)))
    return float(np.mean(forward) + np.mean(backward)) / 2


def naive_jsd(audio: Tensor, texts: Tensor, drawn: Tensor) -> float:
    found = []
    for b in range(drawn.shape[1]):
        there = [a for a in range(len(drawn)) if drawn[a, b]]
        for a, c in combinations(there, 2):
            p, q = ((audio @ texts[x, b] / TAU).softmax(0).numpy() for x in (a, c))
            m = (p + q) / 2
            found.append((p * np.log(p / m) + q * np.log(q / m)).sum() / 2)
    return float(np.mean(found)) if found else 0.0


def loss_of(name: str, *args: Tensor, clash: Tensor | None = None) -> Tensor:
    audio, texts, drawn = args
    if name == "jsd":
        return agreement.jsd(audio, texts, drawn, TAU)
    loss = get_loss(name).double()
    return loss(audio, texts, drawn, TAU, clash=clash)


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 6), k=st.integers(1, 4), seed=st.integers(0, 999))
def test_equals_a_plain_loop(name: str, n: int, k: int, seed: int) -> None:
    audio, texts = batch(n, k, seed=seed)
    drawn, clash = masks(n, k, seed)
    if name == "cacl":  # it draws at most two a clip
        drawn = get_loss("cacl").draw(drawn, 0, torch.rand(k + 1, n))
    got = float(loss_of(name, audio, texts, drawn, clash=clash).detach())
    assert got == pytest.approx(naive(name, audio, texts, drawn, clash), abs=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient(name: str) -> None:
    audio, texts = batch(4, 3)
    drawn, clash = masks(4, 3, 5)
    if name == "cacl":
        drawn = get_loss("cacl").draw(drawn, 0, torch.rand(4, 4))
    audio.requires_grad_()
    texts.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, t: loss_of(name, a, t, drawn, clash=clash), (audio, texts)
    )


@pytest.mark.parametrize("name", LOSSES)
def test_captions_not_drawn_have_no_influence(name: str) -> None:
    audio, texts = batch(5, 3)
    drawn = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 0, 0, 1], [0, 1, 0, 0, 0]]).bool()
    other = texts.clone()
    other[~drawn] = math.nan
    first = loss_of(name, audio, texts, drawn)
    if name != "jsd":  # `jsd` is never called without `Loss`, which blanks them
        second = loss_of(name, audio, other, drawn)
        assert float(second.detach()) == pytest.approx(float(first.detach()))


@pytest.mark.parametrize("name", ALONE)
def test_nothing_to_learn_from_is_finite(name: str) -> None:
    audio, texts = batch(3, 2)
    audio.requires_grad_()
    for drawn, clash in (
        (torch.zeros(2, 3).bool(), torch.zeros(3, 3).bool()),
        (torch.ones(2, 3).bool(), torch.ones(3, 3).bool()),
    ):
        if name == "cacl" and drawn.any():
            drawn[:] = True
        loss = loss_of(name, audio, texts, drawn, clash=clash)
        assert torch.isfinite(loss)
        if loss.requires_grad:
            torch.autograd.backward(loss)
            assert torch.isfinite(audio.grad).all()


@pytest.mark.parametrize("name", ["kcl", "kcl-joint", "random", "mlclap", "mean-anchor"])
def test_one_language_is_plain_infonce(name: str) -> None:
    audio, texts = batch(5, 1)
    plain = F.cross_entropy(audio @ texts[0].T / TAU, torch.arange(5))
    plain = (plain + F.cross_entropy(texts[0] @ audio.T / TAU, torch.arange(5))) / 2
    found = loss_of(name, audio, texts, torch.ones(1, 5).bool())
    assert float(found) == pytest.approx(float(plain))


def test_copies_of_one_language_are_plain_infonce() -> None:
    audio, texts = batch(5, 1)
    one = loss_of("kcl", audio, texts, torch.ones(1, 5).bool())
    many = loss_of("kcl", audio, texts.expand(4, -1, -1), torch.ones(4, 5).bool())
    assert float(many) == pytest.approx(float(one))


@pytest.mark.parametrize("name", LOSSES)
def test_order_of_clips_and_languages_does_not_matter(name: str) -> None:
    audio, texts = batch(6, 4)
    drawn, clash = masks(6, 4, 3)
    drawn = get_loss("cacl").draw(drawn, 0, torch.rand(5, 6)) if name == "cacl" else drawn
    clips = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    languages = torch.arange(4) if name == "cacl" else torch.tensor([2, 0, 3, 1])
    before = loss_of(name, audio, texts, drawn, clash=clash)
    after = loss_of(
        name,
        audio[clips],
        texts[languages][:, clips],
        drawn[languages][:, clips],
        clash=clash[clips][:, clips],
    )
    assert float(after.detach()) == pytest.approx(float(before.detach()))


def test_jsd_is_zero_only_for_equal_rankings_and_at_most_log_2() -> None:
    audio, texts = batch(6, 2)
    both = torch.ones(2, 6).bool()
    assert 0 < float(agreement.jsd(audio, texts, both, 0.01)) <= math.log(2)
    same = texts[:1].expand(2, -1, -1)
    assert float(agreement.jsd(audio, same, both, 0.01)) == pytest.approx(0, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 30), k=st.integers(1, 6), seed=st.integers(0, 999), anchor=st.integers(0, 5)
)
def test_draws(n: int, k: int, seed: int, anchor: int) -> None:
    anchor %= k
    present, _ = masks(n, k, seed)
    uniform = torch.rand(k + 1, n, generator=torch.Generator().manual_seed(seed))
    there = present.sum(0)
    drawn = {name: get_loss(name).draw(present, anchor, uniform) for name in ALONE}
    for one in drawn.values():
        assert not (one & ~present).any()
    assert torch.equal(drawn["kcl"], present)
    assert torch.equal(drawn["random"].sum(0), there.clamp_max(1))
    assert torch.equal(drawn["cacl"].sum(0), there.clamp_max(2))
    for name in ("cacl", "mlclap"):
        assert torch.equal(drawn[name][anchor], present[anchor])


def test_draws_are_uniform() -> None:
    present = torch.ones(5, 20_000).bool()
    uniform = torch.rand(6, 20_000, generator=torch.Generator().manual_seed(0))
    shares = {
        name: get_loss(name).draw(present, 0, uniform).double().mean(1)
        for name in ("random", "cacl", "mlclap")
    }
    wanted = {
        "random": [0.2] * 5,
        "cacl": [1, 0.25, 0.25, 0.25, 0.25],
        "mlclap": [1, 0.1, 0.1, 0.1, 0.1],
    }
    for name, share in shares.items():
        assert share.tolist() == pytest.approx(wanted[name], abs=0.015)


def test_sums() -> None:
    audio, texts = batch(4, 3)
    drawn = torch.ones(3, 4).bool()
    found = get_loss("kcl+0.5*jsd")
    parts = loss_of("kcl", audio, texts, drawn) + 0.5 * loss_of("jsd", audio, texts, drawn)
    assert found.name == "kcl+0.5*jsd"
    assert float(found(audio, texts, drawn, TAU)) == pytest.approx(float(parts))
    cheap = get_loss("mean-anchor+cacl").draw(torch.ones(8, 4).bool(), 0, torch.rand(9, 4))
    assert cheap.sum(0).tolist() == [2] * 4


def test_jsd_does_not_teach_the_temperature() -> None:
    audio, texts = batch(6, 3)
    drawn, tau = torch.ones(3, 6).bool(), torch.tensor(TAU, dtype=torch.float64, requires_grad=True)
    gradients = []
    for spec in ("kcl", "kcl+5*jsd"):
        (gradient,) = torch.autograd.grad(get_loss(spec)(audio, texts, drawn, tau), tau)
        gradients.append(float(gradient))
    assert gradients[0] == pytest.approx(gradients[1])
    assert gradients[0]


def test_captions_that_cancel_have_a_bounded_gradient() -> None:
    audio, texts = batch(4, 1)
    both = torch.cat([texts, -texts]).requires_grad_()
    loss = loss_of("mean-anchor", audio, both, torch.ones(2, 4).bool())
    torch.autograd.backward(loss)
    assert float(both.grad.abs().max()) < 1e3


def test_the_bias_of_sigmoid_is_learned() -> None:
    assert [tuple(p.shape) for p in get_loss("kcl+sigmoid").parameters()] == [()]
    assert not list(get_loss("kcl").parameters())


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("kkl", "`kcl`"),
        ("", "There are"),
        ("kcl+kcl", "twice"),
        ("x*kcl", "weight"),
        ("-1*kcl", "weight"),
        ("nan*kcl", "weight"),
        ("jsd", "alone"),
        ("random+jsd", "takes one"),
        ("mlclap+jsd", "takes one"),
        ("kcl+cacl", "different captions"),  # `cacl` would always take the same second language
        ("cacl+jsd+random", "takes one"),
        ("random+mlclap", "different captions"),
    ],
)
def test_wrong_names(spec: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        get_loss(spec)
    assert words in f"{error.value.what} {error.value.hint}"


@pytest.mark.parametrize("module", [contrastive, agreement])
def test_examples(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted
    assert not found.failed
