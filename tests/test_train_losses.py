"""KCL against a slow implementation with loops, its limits, and its gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from train.losses import kcl, two_way_infonce

TAU = 0.2
sizes = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(2, 5))
seeds = st.integers(0, 10_000)


def batch(seed: int, size: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Clips [N, D], captions [K, N, D], presence [K, N], symmetric clashes [N, N]; float64."""
    n, k, dim = size
    random = torch.Generator().manual_seed(seed)
    audio = F.normalize(torch.randn(n, dim, generator=random, dtype=torch.float64), dim=-1)
    texts = F.normalize(torch.randn(k, n, dim, generator=random, dtype=torch.float64), dim=-1)
    present = torch.rand(k, n, generator=random) > 0.3
    clash = torch.rand(n, n, generator=random) > 0.6
    return audio, texts, present, clash | clash.T


def slow_kcl(audio: Tensor, texts: Tensor, present: Tensor, clash: Tensor) -> float:
    total, pairs = 0.0, 0
    for k in range(len(texts)):
        members = [i for i in range(len(audio)) if present[k, i]]
        for i in members:
            rivals = [j for j in members if j == i or not clash[i, j]]
            own = math.exp(float(audio[i] @ texts[k, i]) / TAU)
            to_text = sum(math.exp(float(audio[i] @ texts[k, j]) / TAU) for j in rivals)
            to_audio = sum(math.exp(float(audio[j] @ texts[k, i]) / TAU) for j in rivals)
            total -= math.log(own / to_text) + math.log(own / to_audio)
            pairs += 1
    return total / (2 * pairs) if pairs else 0.0


@given(seeds, sizes)
def test_kcl_is_what_loops_give(seed: int, size: tuple[int, int, int]) -> None:
    audio, texts, present, clash = batch(seed, size)
    found = kcl(audio, texts, TAU, present=present, clash=clash)
    assert float(found) == pytest.approx(slow_kcl(audio, texts, present, clash), abs=1e-9)


@given(seeds, sizes)
def test_one_language_is_infonce(seed: int, size: tuple[int, int, int]) -> None:
    audio, texts, _, _ = batch(seed, size)
    wanted = two_way_infonce(audio, texts[0], TAU) / (2 * len(audio))
    torch.testing.assert_close(kcl(audio, texts[:1], TAU), wanted)
    target = torch.arange(len(audio))
    logits = audio @ texts[0].T / TAU
    usual = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    torch.testing.assert_close(wanted, usual)


@given(seeds, sizes, st.integers(2, 5))
def test_copies_of_one_language_are_infonce(
    seed: int, size: tuple[int, int, int], copies: int
) -> None:
    audio, texts, _, _ = batch(seed, size)
    many = texts[:1].expand(copies, -1, -1)
    torch.testing.assert_close(kcl(audio, many, TAU), kcl(audio, texts[:1], TAU))


@given(seeds, sizes)
def test_order_of_clips_and_languages_does_not_matter(
    seed: int, size: tuple[int, int, int]
) -> None:
    audio, texts, present, clash = batch(seed, size)
    random = torch.Generator().manual_seed(seed)
    clips = torch.randperm(size[0], generator=random)
    languages = torch.randperm(size[1], generator=random)
    shuffled = kcl(
        audio[clips],
        texts[languages][:, clips],
        TAU,
        present=present[languages][:, clips],
        clash=clash[clips][:, clips],
    )
    torch.testing.assert_close(shuffled, kcl(audio, texts, TAU, present=present, clash=clash))


def test_a_clip_without_caption_is_as_if_left_out() -> None:
    audio, texts, _, _ = batch(1, (5, 2, 4))
    present = torch.ones(2, 5, dtype=torch.bool)
    present[:, [1, 3]] = False
    kept = [0, 2, 4]
    masked = kcl(audio, texts, TAU, present=present)
    torch.testing.assert_close(masked, kcl(audio[kept], texts[:, kept], TAU))
    assert float(masked) != pytest.approx(float(kcl(audio, texts, TAU)))


def test_a_missing_language_is_as_if_left_out() -> None:
    audio, texts, _, _ = batch(2, (4, 3, 4))
    present = torch.ones(3, 4, dtype=torch.bool)
    present[1] = False
    masked = kcl(audio, texts, TAU, present=present)
    torch.testing.assert_close(masked, kcl(audio, texts[[0, 2]], TAU))


def test_nothing_present_costs_nothing() -> None:
    audio, texts, _, _ = batch(3, (4, 2, 3))
    assert float(kcl(audio, texts, TAU, present=torch.zeros(2, 4, dtype=torch.bool))) == 0.0


def test_a_clash_removes_exactly_its_negatives() -> None:
    audio, texts, _, _ = batch(4, (4, 1, 3))
    clash = torch.zeros(4, 4, dtype=torch.bool)
    clash[0, 2] = clash[2, 0] = True
    logits = audio @ texts[0].T / TAU
    without = logits.clone()
    without[0, 2] = without[2, 0] = -1e9
    target = torch.arange(4)
    wanted = (F.cross_entropy(without, target) + F.cross_entropy(without.T, target)) / 2
    torch.testing.assert_close(kcl(audio, texts, TAU, clash=clash), wanted)


def test_the_pair_itself_never_clashes() -> None:
    audio, texts, _, _ = batch(5, (4, 2, 3))
    own = torch.eye(4, dtype=torch.bool)
    torch.testing.assert_close(kcl(audio, texts, TAU, clash=own), kcl(audio, texts, TAU))


@pytest.mark.parametrize("clashing", [False, True])
def test_gradients_are_those_of_the_function(clashing: bool) -> None:
    audio, texts, present, clash = batch(6, (4, 2, 3))
    tau = torch.tensor(TAU, dtype=torch.float64, requires_grad=True)

    def loss(a: Tensor, t: Tensor, temperature: Tensor) -> Tensor:
        vectors = F.normalize(a, dim=-1), F.normalize(t, dim=-1)
        return kcl(*vectors, temperature, present=present, clash=clash if clashing else None)

    inputs = (audio.requires_grad_(), texts.requires_grad_(), tau)
    assert torch.autograd.gradcheck(loss, inputs)


def test_gradients_are_finite_when_all_clash() -> None:
    audio, texts, _, _ = batch(7, (4, 2, 3))
    audio.requires_grad_()
    loss = kcl(audio, texts, 0.01, clash=torch.ones(4, 4, dtype=torch.bool))
    torch.autograd.backward(loss)
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-9)
    assert audio.grad is not None
    assert torch.isfinite(audio.grad).all()
