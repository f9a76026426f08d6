"""Chunks give the gradient of the whole batch, in less memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from train.gradcache import encode_in_chunks, refuse_batch_statistics
from train.losses import get_loss
from train.memory import saved_bytes

K, N = 8, 12


class Towers(nn.Module):
    """Two small towers that share a layer."""

    def __init__(self, dropout: float, dtype: torch.dtype, width: int = 32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.drop = nn.Dropout(dropout)
        self.audio = nn.Sequential(nn.Linear(6, width), nn.GELU(), self.drop)
        self.text = nn.Sequential(nn.Linear(4, width), nn.GELU(), self.drop)
        self.shared = nn.Linear(width, 8)
        self.to(dtype)

    def encode_audio(self, rows: Tensor) -> Tensor:
        return F.normalize(self.shared(self.audio(rows)), dim=-1)

    def encode_text(self, rows: Tensor, gain: Tensor) -> Tensor:
        return F.normalize(self.shared(self.text(rows * gain)), dim=-1)


def gradients(
    towers: Towers, chunk: int | None, loss_name: str = "kcl", n: int = N, k: int = K
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    dtype = towers.shared.weight.dtype
    sounds = torch.randn(n, 6, generator=generator, dtype=dtype)
    words = torch.randn(k * n, 4, generator=generator, dtype=dtype)
    drawn = get_loss(loss_name).draw(
        torch.ones(k, n).bool(), 0, torch.rand(k + 1, n, generator=generator)
    )
    language, clip = drawn.nonzero(as_tuple=True)
    chosen = words.unflatten(0, (k, n))[language, clip]
    torch.manual_seed(7)
    audio = encode_in_chunks(towers.encode_audio, (sounds,), chunk)
    text = encode_in_chunks(
        towers.encode_text, (chosen, torch.ones(len(chosen), 1).to(dtype)), chunk
    )
    texts = torch.zeros(k, n, 8, dtype=dtype).index_put((language, clip), text.vectors)
    loss = get_loss(loss_name).to(dtype)(audio.vectors, texts, drawn, 0.1)
    torch.autograd.backward(loss)
    audio.backward()
    text.backward()
    found = [parameter.grad.clone() for parameter in towers.parameters()]
    towers.zero_grad()
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("loss", ["kcl", "cacl", "kcl-joint+jsd"])
def test_the_gradient_is_that_of_the_whole_batch(
    loss: str, dtype: torch.dtype, tolerance: float
) -> None:
    towers = Towers(0.0, dtype)
    for chunked, whole in zip(
        gradients(towers, 5, loss), gradients(towers, None, loss), strict=True
    ):
        torch.testing.assert_close(chunked, whole, atol=tolerance, rtol=0)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 9), k=st.integers(1, 4), chunk=st.integers(1, 50))
def test_any_size_of_chunk(n: int, k: int, chunk: int) -> None:
    towers = Towers(0.0, torch.float64)
    for chunked, whole in zip(
        gradients(towers, chunk, n=n, k=k), gradients(towers, None, n=n, k=k), strict=True
    ):
        torch.testing.assert_close(chunked, whole, atol=1e-10, rtol=0)


def test_dropout_is_the_same_in_both_passes() -> None:
    # One chunk of everything draws what the whole batch draws.
    towers = Towers(0.4, torch.float64)
    for chunked, whole in zip(gradients(towers, K * N), gradients(towers, None), strict=True):
        torch.testing.assert_close(chunked, whole, atol=1e-10, rtol=0)


def test_small_chunks_with_dropout_are_exact_too() -> None:
    towers = Towers(0.4, torch.float64)
    rows = torch.randn(7, 6, dtype=torch.float64)
    torch.manual_seed(3)
    chunked = encode_in_chunks(towers.encode_audio, (rows,), 2)
    torch.autograd.backward(chunked.vectors.pow(3).sum())
    after = torch.get_rng_state()
    chunked.backward()
    assert torch.equal(torch.get_rng_state(), after)
    found = towers.shared.weight.grad.clone()
    towers.zero_grad()
    torch.manual_seed(3)
    whole = torch.cat([towers.encode_audio(part) for part in rows.split(2)])
    torch.testing.assert_close(chunked.vectors, whole)
    torch.autograd.backward(whole.pow(3).sum())
    torch.testing.assert_close(found, towers.shared.weight.grad)


def test_memory_does_not_grow_with_languages() -> None:
    towers = Towers(0.0, torch.float32, width=1024)  # beside which the scores of a batch are small
    found = {}
    for name, loss, chunk in (("cacl", "cacl", None), ("kcl", "kcl", None), ("chunks", "kcl", 24)):
        with saved_bytes() as most:
            gradients(towers, chunk, loss, n=24)
        found[name] = most.peak
        assert most.now == 0
    assert found["kcl"] > 2 * found["cacl"]
    assert found["chunks"] <= 1.25 * found["cacl"]


def test_memory_is_that_of_one_chunk() -> None:
    towers = Towers(0.0, torch.float32, width=256)
    rows = torch.randn(60, 6)
    with saved_bytes() as alone:
        torch.autograd.backward(towers.encode_audio(rows[:10].clone()).sum())
    with saved_bytes() as saved:
        chunked = encode_in_chunks(towers.encode_audio, (rows,), 10)
        assert saved.peak == 0
        torch.autograd.backward(chunked.vectors.sum())
        chunked.backward()
    assert saved.peak == alone.peak + rows[10:].nbytes  # of the inputs, all rows stay


def test_a_dropped_graph_holds_nothing() -> None:
    x = torch.ones(10, requires_grad=True)
    with saved_bytes() as saved:
        y = x.exp()  # saves its own output
        z = y[:5].sin() + y[5:].sin()
        assert saved.now == 40  # one storage
        del y, z
        assert (saved.now, saved.peak) == (0, 40)


def test_counting_changes_no_gradient() -> None:
    towers = Towers(0.0, torch.float64)
    plain = gradients(towers, 5)
    with saved_bytes():
        counted = gradients(towers, 5)
    for one, other in zip(counted, plain, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("inside", [True, False])
def test_both_passes_have_the_autocast_of_the_first(inside: bool) -> None:
    torch.manual_seed(0)
    tower = nn.Sequential(nn.Linear(6, 32), nn.GELU(), nn.Linear(32, 8))
    seen: list[torch.dtype] = []
    tower[2].register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    rows, weights = torch.randn(7, 6), torch.randn(7, 8)

    def learn(chunk: int | None) -> list[Tensor]:
        tower.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            chunked = encode_in_chunks(tower, (rows,), chunk)
        with torch.autocast("cpu", torch.bfloat16, enabled=inside):
            torch.autograd.backward((chunked.vectors.float() * weights).sum())
            chunked.backward()
            assert torch.is_autocast_enabled("cpu") == inside
        return [parameter.grad.clone() for parameter in tower.parameters()]

    for chunked, whole in zip(learn(3), learn(None), strict=True):
        torch.testing.assert_close(chunked, whole, atol=0.05, rtol=0.05)
    assert seen == [torch.bfloat16] * (3 + 3 + 1)


def test_a_frozen_encoder_is_not_run_again() -> None:
    tower = nn.Linear(6, 8).requires_grad_(False)
    runs: list[int] = []
    tower.register_forward_hook(lambda *_: runs.append(1))
    chunked = encode_in_chunks(tower, (torch.randn(9, 6),), 2)
    torch.autograd.backward(chunked.vectors.sum())
    chunked.backward()
    assert len(runs) == 5 + 1
    assert tower.weight.grad is None


def test_vectors_outside_the_loss_teach_nothing() -> None:
    tower = nn.Linear(6, 8)
    encode_in_chunks(tower, (torch.randn(9, 6),), 2).backward()
    assert tower.weight.grad is None


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(8), nn.BatchNorm1d(8, track_running_stats=False)])
def test_batch_statistics_are_refused_where_they_run(norm: nn.Module) -> None:
    tower = nn.Sequential(nn.Linear(6, 8), norm)
    rows = torch.randn(9, 6)
    with pytest.raises(ValueError, match="batch statistics"):
        encode_in_chunks(tower, (rows,), 3)
    encode_in_chunks(tower, (rows,), None)
    encode_in_chunks(tower[0], (rows,), 3)
    fixed = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8)).eval()
    assert encode_in_chunks(fixed, (rows,), 3).vectors.shape == (9, 8)


def test_refusals() -> None:
    towers = Towers(0.0, torch.float32)
    with pytest.raises(ValueError, match="at least one row"):
        encode_in_chunks(towers.encode_audio, (torch.ones(3, 6),), 0)
    with pytest.raises(ValueError, match="nothing"):
        encode_in_chunks(towers.encode_audio, (torch.ones(0, 6),), 2)
    norm = nn.Sequential(nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match="batch statistics"):
        refuse_batch_statistics(norm)
    refuse_batch_statistics(norm.eval())
