"""The SONAR text encoder against numpy in float64, and the real one where its fixtures are."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from atri_cli.errors import ModelError
from train.towers.freezing import count_parameters
from train.towers.sonar import SonarShape, SonarText, load_sonar, sinusoids

torch.set_num_threads(1)

SHARED = Path(os.environ.get("ATRI_SHARED", Path(__file__).parents[2] / "shared"))
FIXTURES = SHARED / "data" / "sonar_fixtures"
SHAPE = SonarShape(vocabulary=40, width=12, layers=2, heads=3, inner=20, tokens=30)
NORM = ("weight", "bias")
Weights = dict[str, Tensor]
Array = NDArray[np.float64]


def official(seed: int = 0) -> Weights:
    """A random checkpoint of `SHAPE` under fairseq2's keys."""
    width, inner = SHAPE.width, SHAPE.inner
    sizes: dict[str, tuple[int, ...]] = {"encoder_frontend.embed.weight": (40, width)}
    linear = {f"self_attn.{part}_proj": (width, width) for part in ("q", "k", "v", "output")}
    linear |= {"ffn.inner_proj": (inner, width), "ffn.output_proj": (width, inner)}
    for layer in (f"encoder.layers.{number}" for number in range(SHAPE.layers)):
        for name, size in linear.items():
            sizes |= {f"{layer}.{name}.weight": size, f"{layer}.{name}.bias": size[:1]}
        for name in ("self_attn_layer_norm", "ffn_layer_norm"):
            sizes |= {f"{layer}.{name}.{part}": (width,) for part in NORM}
    sizes |= {f"layer_norm.{part}": (width,) for part in NORM}
    torch.manual_seed(seed)
    return {name: 0.3 * torch.randn(size) for name, size in sizes.items()}


def m2m(weights: Weights, embed: str, prefix: str = "") -> Weights:
    """The same as the ports name it: `<s>`, `<pad>`, `</s>`, `<unk>` first."""
    names = {"encoder_frontend.embed.weight": embed}
    for key in weights:
        if key.startswith("encoder.layers."):
            name = key.removeprefix("encoder.").replace("ffn_layer_norm", "final_layer_norm")
            name = name.replace("ffn.inner_proj", "fc1").replace("ffn.output_proj", "fc2")
            names[key] = prefix + name.replace("self_attn.output_proj", "self_attn.out_proj")
    found = {names.get(key, prefix + key): value.clone() for key, value in weights.items()}
    found[embed][:4] = weights["encoder_frontend.embed.weight"][[2, 0, 3, 1]]
    return found


def slow_norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def slow_linear(x: Array, weights: dict[str, Array], name: str) -> Array:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def slow_attention(x: Array, weights: dict[str, Array], name: str) -> Array:
    """Head by head and query by query."""
    size = SHAPE.width // SHAPE.heads
    rows = {part: slow_linear(x, weights, f"{name}.{part}_proj") for part in "qkv"}
    mixed = np.zeros_like(x)
    for head in range(SHAPE.heads):
        own = slice(head * size, (head + 1) * size)
        for place in range(len(x)):
            scores = np.exp(rows["k"][:, own] @ rows["q"][place, own] / math.sqrt(size))
            mixed[place, own] = scores @ rows["v"][:, own] / scores.sum()
    return slow_linear(mixed, weights, f"{name}.output_proj")


def slow_sonar(ids: list[int], checkpoint: Weights) -> Array:
    """Sentence vector [width] of one text, straight from the published weights."""
    w = {name: value.double().numpy() for name, value in checkpoint.items()}
    x = w["encoder_frontend.embed.weight"][ids] * math.sqrt(SHAPE.width)
    half = SHAPE.width // 2
    for place in range(len(ids)):
        for i in range(half):
            angle = (place + 2) * math.exp(-i * math.log(10_000) / (half - 1))
            x[place, i] += math.sin(angle)
            x[place, half + i] += math.cos(angle)
    for layer in (f"encoder.layers.{number}" for number in range(SHAPE.layers)):
        normed = slow_norm(x, w, f"{layer}.self_attn_layer_norm")
        x = x + slow_attention(normed, w, f"{layer}.self_attn")
        inner = slow_linear(
            slow_norm(x, w, f"{layer}.ffn_layer_norm"), w, f"{layer}.ffn.inner_proj"
        )
        x = x + slow_linear(np.maximum(inner, 0), w, f"{layer}.ffn.output_proj")
    found: Array = slow_norm(x, w, "layer_norm").sum(0) / (len(ids) + 1e-7)
    return found


def padded(texts: list[list[int]], pad: int = 0) -> tuple[Tensor, Tensor]:
    """Ids and mask of texts, padded on the right."""
    longest = max(map(len, texts))
    ids = torch.tensor([text + [pad] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    return ids, mask


@pytest.fixture(scope="module")
def net() -> SonarText:
    torch.manual_seed(0)
    return SonarText(SHAPE).eval().requires_grad_(False)


LAYOUTS = {
    "official": lambda weights: weights,
    "port": lambda weights: m2m(weights, "embed_tokens.weight"),
    "newer port": lambda weights: m2m(weights, "shared.weight", "encoder."),
    "older fairseq": lambda weights: {
        **m2m(weights, "encoder.embed_tokens.weight", "encoder."),
        "encoder.version": torch.tensor([3.0]),
        "encoder.embed_positions._float_tensor": torch.zeros(1),
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wrapper", ["model", "state_dict", ".safetensors"])
def test_a_checkpoint_gives_what_numpy_computes(tmp_path: Path, layout: str, wrapper: str) -> None:
    weights = official()
    stored = LAYOUTS[layout](weights)
    path = tmp_path / ("sonar.safetensors" if wrapper == ".safetensors" else "sonar.pt")
    if wrapper == ".safetensors":
        save_file(stored, path)
    else:
        torch.save({wrapper: stored}, path)
    net = load_sonar(path, SHAPE).double()
    texts = [[37, 1, 9, 2, 11, 3], [38, 3], [38, 30, 1, 3]]
    found = net(*padded(texts)).detach().numpy()
    expected = np.stack([slow_sonar(text, weights) for text in texts])
    # The table of positions is float32, as in the published code.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="needs shared/data/sonar_fixtures")
def test_the_real_encoder_gives_the_same() -> None:
    """Outputs of sonar-space 0.5.0 over a random encoder of three layers."""
    net = load_sonar(FIXTURES / "tiny.pt", SonarShape(1206, 64, 3, 4, 256))
    texts, expected = torch.load(FIXTURES / "ref.pt", weights_only=True)
    with torch.no_grad():
        torch.testing.assert_close(net(*padded(texts)), expected, rtol=0, atol=5e-6)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 39), min_size=1, max_size=30), min_size=1, max_size=5),
    st.integers(0, 39),
)
def test_padding_and_neighbours_change_nothing(texts: list[list[int]], pad: int) -> None:
    torch.manual_seed(0)
    net = SonarText(SHAPE).eval().requires_grad_(False)
    rows = net(*padded(texts, pad))
    for text, row in zip(texts, rows, strict=True):
        torch.testing.assert_close(net(*padded([text]))[0], row, rtol=0, atol=1e-5)


def test_the_order_of_words_matters(net: SonarText) -> None:
    one, other = net(*padded([[37, 5, 9, 3], [37, 9, 5, 3]]))
    assert (one - other).abs().max() > 1e-3


def test_the_same_text_gives_the_same_bits(net: SonarText) -> None:
    ids, mask = padded([[37, 5, 9, 3], [38, 3]])
    assert torch.equal(net(ids, mask), net(ids, mask))


def test_positions_start_at_step_two() -> None:
    table = sinusoids(514, 1024)
    assert table.shape == (514, 1024)
    torch.testing.assert_close(table[0, [0, 512]], torch.tensor([math.sin(2), math.cos(2)]))
    torch.testing.assert_close(table[513, 511], torch.tensor(math.sin(515e-4)))


def test_the_published_size() -> None:
    with torch.device("meta"):
        net = SonarText()
    assert round(count_parameters(net).trained / 1e6, 1) == 766.1
    assert net.encoder_frontend.embed.weight.shape == (256_206, 1024)
    assert len(net.state_dict()) == 24 * 16 + 3
    assert net.encoder_frontend.positions.device.type == "cpu"


def test_another_size_names_the_key(tmp_path: Path) -> None:
    path = tmp_path / "sonar.pt"
    torch.save({"model": official()}, path)
    with pytest.raises(ModelError, match=r"lacks `encoder.layers.2.*and 351 other keys"):
        load_sonar(path, SonarShape())


def test_another_vocabulary_names_the_shapes(tmp_path: Path) -> None:
    path = tmp_path / "sonar.pt"
    weights = official()
    weights["encoder_frontend.embed.weight"] = torch.zeros(41, 12)
    torch.save({"model": weights}, path)
    with pytest.raises(ModelError, match=r"embed.weight` .* is float \[41, 12\], not float \[40,"):
        load_sonar(path, SHAPE)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ced.safetensors"
    save_file({"patch_embed.proj.weight": torch.zeros(12, 1, 16, 16)}, path)
    with pytest.raises(ModelError, match=r"lacks `encoder_frontend.embed.weight`"):
        load_sonar(path, SHAPE)
