"""CED against a direct computation in numpy, float64, over checkpoints made in its layouts."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from atri_cli.errors import ModelError
from tests import patch_tools
from tests.patch_tools import CED_PATCH, Array, Weights, noise, slow_mel, slow_tower
from tests.train_tools import Trap
from train.towers.ced import CED_SHAPES, Ced, CedShape, load_ced
from train.towers.decibels import HOP, DecibelMel
from train.towers.freezing import count_parameters
from train.towers.patches import WINDOW, window_starts

torch.set_num_threads(1)

SHAPE = CedShape(width=12, heads=3, layers=2)
SHORTEST, LONGEST = Ced.patching.shortest_samples, Ced.patching.longest_samples


def official(shape: CedShape = SHAPE) -> Weights:
    return patch_tools.official(shape.width, shape.layers, CED_PATCH)


def ported(weights: Weights) -> Weights:
    """The same under the keys of the port for transformers."""
    kept = {k: v for k, v in weights.items() if not k.startswith("front_end.")}
    names = {k: k if k.startswith("outputlayer.") else f"encoder.{k}" for k in kept}
    return {names[k].replace("init_bn.1.", "init_bn."): v for k, v in kept.items()}


def save(path: Path, weights: Weights) -> Path:
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"model": weights}, path)
    return path


def slow_ced(waveform: Tensor, weights: Weights) -> Array:
    return slow_tower(waveform.double().numpy(), weights, SHAPE.heads)


@pytest.fixture(scope="module")
def net() -> Ced:
    torch.manual_seed(0)
    return Ced(SHAPE).eval().requires_grad_(False)


@pytest.mark.parametrize("layout", ["official", "ported"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_checkpoint_gives_what_numpy_computes(tmp_path: Path, layout: str, suffix: str) -> None:
    weights = official()
    stored = weights if layout == "official" else ported(weights)
    net = load_ced(save(tmp_path / f"ced{suffix}", stored), SHAPE)
    waveform = noise(8000)
    found = net(waveform[None])[0].detach().numpy()
    np.testing.assert_allclose(found, slow_ced(waveform, weights), atol=2e-4)


def test_the_network_in_float64_is_exact(tmp_path: Path) -> None:
    """From the mel on, so that what is left is not the float32 of the front end."""
    weights = official()
    net = load_ced(save(tmp_path / "ced.pt", weights), SHAPE).double()
    waveform = noise(4000).double()
    net.mel.forward = lambda _: torch.from_numpy(slow_mel(waveform.numpy()))[None]  # type: ignore[method-assign]
    found = net(waveform[None])[0].detach().numpy()
    np.testing.assert_allclose(found, slow_ced(waveform, weights), rtol=0, atol=1e-11)


@pytest.mark.parametrize("samples", [2400, 8000, 8159])
def test_the_mel_is_the_direct_transform(samples: int) -> None:
    waveform = noise(samples)
    found = DecibelMel()(waveform[None])[0].numpy()
    np.testing.assert_allclose(found, slow_mel(waveform.double().numpy()), atol=2e-3)


def test_a_loud_neighbour_does_not_lift_a_quiet_clip() -> None:
    quiet, loud = 1e-6 * noise(4000, 1), 100 * noise(4000, 2)
    mel = DecibelMel()
    both = mel(torch.stack([quiet, loud]))
    torch.testing.assert_close(both[0], mel(quiet[None])[0], rtol=0, atol=1e-3)
    assert both[0].max() < both[1].max() - 120


def test_mel_values_stay_within_the_range() -> None:
    waveform = torch.cat([100 * noise(4000), torch.zeros(4000)])
    mel = DecibelMel()(waveform[None])
    assert mel.max() - mel.min() == pytest.approx(120, abs=1e-4)
    assert torch.all(DecibelMel()(torch.zeros(1, 4000)) == -100)


def test_the_mel_exports_with_any_length() -> None:
    mel = DecibelMel()
    batch = torch.export.Dim("batch", min=1, max=64)
    samples = torch.export.Dim("samples", min=SHORTEST, max=LONGEST)
    example = (torch.stack([noise(5121), noise(5121, 1)]),)
    graph = torch.export.export(mel, example, dynamic_shapes=({0: batch, 1: samples},)).module()
    for rows, length in ((1, SHORTEST), (3, 16_159)):
        waveform = torch.stack([noise(length, seed) for seed in range(rows)])
        torch.testing.assert_close(graph(waveform), mel(waveform), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "millions"), [("tiny", 5.40), ("mini", 9.56), ("small", 21.42), ("base", 85.30)]
)
def test_published_sizes(size: str, millions: float) -> None:
    with torch.device("meta"):
        net = Ced(CED_SHAPES[size])
    assert round(count_parameters(net).trained / 1e6, 2) == millions
    # 161 published tensors, less the tagging head and the tables of the front end.
    assert len(net.state_dict()) == 155


def test_a_clip_does_not_depend_on_its_batch(net: Ced) -> None:
    clips = torch.stack([noise(16_000, seed) * 10**seed for seed in range(3)])
    for clip, row in zip(clips, net(clips), strict=True):
        torch.testing.assert_close(net(clip[None])[0], row, rtol=0, atol=1e-5)


def test_training_neither_uses_nor_moves_batch_statistics(net: Ced) -> None:
    before = net.init_bn["1"].running_mean.clone()
    clips = noise(16_000).reshape(4, 4000)
    evaluated = net(clips)
    torch.testing.assert_close(net.train()(clips), evaluated, rtol=0, atol=1e-6)
    assert torch.equal(net.eval().init_bn["1"].running_mean, before)


@pytest.mark.parametrize("samples", [1, 700, SHORTEST - 1])
def test_a_short_clip_is_filled_with_zeros(net: Ced, samples: int) -> None:
    clip = noise(samples)[None]
    filled = torch.cat([clip, torch.zeros(1, SHORTEST - samples)], dim=1)
    assert torch.equal(net(clip), net(filled))
    assert torch.isfinite(net(clip)).all()


@settings(max_examples=200)
@given(st.integers(LONGEST + 1, 400 * WINDOW))
def test_windows_cover_a_clip_and_no_more(samples: int) -> None:
    starts = window_starts(samples)
    assert starts[0] == 0
    assert starts[-1] + WINDOW == samples
    steps = np.diff(starts)
    assert 0 < steps.min() <= steps.max() <= WINDOW
    assert steps.max() - steps.min() <= 1
    assert (len(starts) - 1) * WINDOW < samples


@pytest.mark.parametrize("samples", [LONGEST + 1, 2 * 1012 * HOP])
def test_a_long_clip_is_the_mean_of_its_windows(net: Ced, samples: int) -> None:
    clip = noise(samples)[None]
    parts = [net(clip[:, at : at + WINDOW]) for at in window_starts(samples)]
    torch.testing.assert_close(net(clip), torch.stack(parts).mean(0), rtol=0, atol=1e-6)


def test_the_end_of_a_long_clip_is_heard(net: Ced) -> None:
    """2024 frames, of which the published code hears the first half only."""
    clip = noise(2024 * HOP)[None]
    other = clip.clone()
    other[:, -20_000:] = 0
    assert (net(clip) - net(other)).abs().max() > 1e-3


def test_the_size_is_read_from_the_weights(tmp_path: Path) -> None:
    path = save(tmp_path / "ced.safetensors", official(CED_SHAPES["tiny"]))
    net = load_ced(path)
    assert net.shape == CED_SHAPES["tiny"]
    assert not net.training
    assert all(parameter.dtype == torch.float32 for parameter in net.parameters())


def test_half_precision_is_widened(tmp_path: Path) -> None:
    halves = {k: v.half() if v.is_floating_point() else v for k, v in official().items()}
    net = load_ced(save(tmp_path / "ced.pt", halves), SHAPE)
    assert all(parameter.dtype == torch.float32 for parameter in net.parameters())


def without(weights: Weights) -> None:
    del weights["blocks.1.attn.qkv.bias"]


def misspelt(weights: Weights) -> None:
    weights["blocks.1.attn.kqv.bias"] = weights.pop("blocks.1.attn.qkv.bias")


def renamed(weights: Weights) -> None:
    weights["blocks.0.norm1.wieght"] = weights["norm.weight"].clone()


def reshaped(weights: Weights) -> None:
    weights["blocks.1.mlp.fc1.weight"] = torch.zeros(48, 13)


def whole_numbers(weights: Weights) -> None:
    weights["norm.bias"] = torch.zeros(12, dtype=torch.int64)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without, ["lacks `blocks.1.attn.qkv.bias`."]),
        (misspelt, ["lacks `blocks.1.attn.qkv.bias`", "nearest is `blocks.1.attn.kqv.bias`"]),
        (renamed, ["`blocks.0.norm1.wieght`", "nearest is `blocks.0.norm1.weight`"]),
        (reshaped, ["`blocks.1.mlp.fc1.weight`", "float [48, 13]", "float [48, 12]"]),
        (whole_numbers, ["`norm.bias`", "integer [12]", "float [12]"]),
    ],
)
def test_a_wrong_key_is_named(
    tmp_path: Path, suffix: str, damage: Callable[[Weights], None], words: list[str]
) -> None:
    weights = official()
    damage(weights)
    path = save(tmp_path / f"ced{suffix}", weights)
    with pytest.raises(ModelError) as caught:
        load_ced(path, SHAPE)
    assert all(word in str(caught.value) for word in [*words, str(path)]), caught.value


def test_another_width_names_the_sizes(tmp_path: Path) -> None:
    path = save(tmp_path / "ced.pt", official())
    with pytest.raises(ModelError, match=r"`norm.weight` has 12 values; CED has 192 \(tiny\)"):
        load_ced(path)


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, how: str) -> None:
    path, touched = tmp_path / "ced.pt", tmp_path / "touched"
    if how == "pickle":
        path.write_bytes(pickle.dumps({"model": Trap(touched)}))
    else:
        torch.save({"model": {**official(), "norm.weight": Trap(touched)}}, path)
    with pytest.raises(ModelError, match="holds more than tensors") as caught:
        load_ced(path, SHAPE)
    assert "weights_only" not in str(caught.value)
    assert not touched.exists()


@pytest.mark.parametrize("content", [[1, 2], {}, {"model": {"norm.weight": 3}}, torch.zeros(3)])
def test_what_is_not_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "ced.pt"
    torch.save(content, path)
    with pytest.raises(ModelError, match="not a checkpoint"):
        load_ced(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = save(tmp_path / f"ced{suffix}", official())
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match="cannot be read as a checkpoint"):
        load_ced(path, SHAPE)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no checkpoint"):
        load_ced(tmp_path / "nowhere.pt")
    with pytest.raises(ModelError, match="no checkpoint"):
        load_ced(tmp_path)
