"""Checkpoints of ML-CLAP and GLAP, made in their layouts at a tiny size, and everything else."""

from __future__ import annotations

import pathlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from atri_cli.errors import ModelError
from tests.large_tools import Size, checkpoint, sonar_weights
from tests.patch_tools import (
    CED_PATCH,
    DASHENG_PATCH,
    Array,
    Patch,
    Weights,
    noise,
    official,
    slow_tower,
)
from tests.train_tools import Trap
from train.towers import published
from train.towers.ced import Ced
from train.towers.dasheng import Dasheng
from train.towers.published import Published, load_glap, load_ml_clap, load_published
from train.towers.sonar import SonarShape, load_sonar

torch.set_num_threads(1)

WIDTH, DIM, TAU = 128, 24, 0.046875
SONAR = SonarShape(vocabulary=50, width=192, layers=3, heads=3, inner=80)
PATHS = {"outputpath": pathlib.PosixPath("experiments/a"), "data": pathlib.PureWindowsPath("c:/a")}
FLORES = "eng_Latn fra_Latn deu_Latn spa_Latn nld_Latn cat_Latn jpn_Jpan zho_Hans"
Damage = Callable[[Weights], None]


def sonar() -> Weights:
    return sonar_weights(SONAR, 1)


def whole(patch: Patch) -> Weights:
    return checkpoint(patch, size=Size(WIDTH, 1, SONAR, DIM, TAU))


def ported(weights: Weights) -> Weights:
    """GLAP as its port for transformers names it."""
    return {key.replace("_encoder.model.", "_encoder."): value for key, value in weights.items()}


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture
def ml_clap(tmp_path: Path) -> Path:
    return save(tmp_path / "pretrain.pt", whole(CED_PATCH))


@pytest.fixture
def glap(tmp_path: Path) -> Path:
    content = {"model": whole(DASHENG_PATCH), "config": {**PATHS, "betas": [0.8, 0.9]}}
    return save(tmp_path / "glap_checkpoint.pt", content)


@pytest.fixture
def glap_port(tmp_path: Path) -> Path:
    save_file(ported(whole(DASHENG_PATCH)), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def slow_head(x: Array, weights: Weights, name: str) -> Array:
    w = {key: value.double().numpy() for key, value in weights.items() if key.startswith(name)}
    x = np.maximum(w[f"{name}.0.weight"] @ x + w[f"{name}.0.bias"], 0)
    x = w[f"{name}.2.weight"] @ x + w[f"{name}.2.bias"]
    unit: Array = x / np.sqrt((x**2).sum())
    return unit


@pytest.mark.parametrize(
    ("name", "load", "patch"),
    [
        ("ml_clap", load_ml_clap, CED_PATCH),
        ("ml_clap", load_published, CED_PATCH),
        ("glap", load_glap, DASHENG_PATCH),
        ("glap_port", load_glap, DASHENG_PATCH),
        ("glap_port", load_published, DASHENG_PATCH),
    ],
)
def test_a_sound_is_embedded_as_numpy_does(
    request: pytest.FixtureRequest, name: str, load: Callable[[Path], Published], patch: Patch
) -> None:
    found = load(request.getfixturevalue(name))
    waveform = noise(5000)
    embedding = found.audio_head(found.audio(waveform[None]))[0].detach().numpy()
    pooled = slow_tower(waveform.double().numpy(), official(WIDTH, 1, patch), heads=2)
    np.testing.assert_allclose(
        embedding, slow_head(pooled, whole(patch), "audio_proj"), rtol=0, atol=5e-6
    )


@pytest.mark.parametrize("name", ["ml_clap", "glap", "glap_port"])
def test_a_text_is_embedded_as_by_sonar_and_the_head(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    alone = load_sonar(save(tmp_path / "sonar.pt", sonar()), SONAR)
    found = load_published(request.getfixturevalue(name))
    ids = torch.tensor([[7, 9, 41, 3]])
    pooled = alone(ids, torch.ones_like(ids))[0].detach().double().numpy()
    patch = CED_PATCH if name == "ml_clap" else DASHENG_PATCH
    embedding = found.text_head(found.text(ids, torch.ones_like(ids)))[0].detach().numpy()
    expected = slow_head(pooled, whole(patch), "text_proj")
    np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-6)


def test_ml_clap_is_described(ml_clap: Path) -> None:
    found = load_published(ml_clap)
    assert isinstance(found.audio, Ced)
    assert (found.tau, found.lowercase, found.tag) == (TAU, True, "")
    assert set(found.strip) == set('(，。！？;：、,.!?:|*")')
    assert found.codes == tuple(FLORES.split())


@pytest.mark.parametrize("name", ["glap", "glap_port"])
def test_glap_is_described(request: pytest.FixtureRequest, name: str) -> None:
    found = load_published(request.getfixturevalue(name))
    assert isinstance(found.audio, Dasheng)
    assert (found.tau, found.lowercase, found.strip, found.tag) == (0.01, False, "", "eng_Latn")
    assert found.codes == tuple(FLORES.split())


@pytest.mark.parametrize("name", ["ml_clap", "glap", "glap_port"])
def test_sizes_are_read_from_the_weights(request: pytest.FixtureRequest, name: str) -> None:
    found = load_published(request.getfixturevalue(name))
    assert (found.audio.shape.width, found.audio.shape.heads, found.audio.shape.layers) == (
        *(WIDTH, 2),
        1,
    )
    assert found.text.shape == SONAR
    assert found.audio_head.second.out_features == found.text_head.second.out_features == DIM
    towers = (found.audio, found.audio_head, found.text, found.text_head)
    assert not any(tower.training for tower in towers)
    parameters = [parameter for tower in towers for parameter in tower.parameters()]
    assert all(not one.is_meta and one.dtype == torch.float32 for one in parameters)


def test_weights_are_not_copied(glap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Weights] = []

    def remember(path: Path) -> Weights:
        read.append(published_read(path))
        return read[0]

    published_read = published.read_weights
    monkeypatch.setattr(published, "read_weights", remember)
    found = load_glap(glap)
    stored = {value.data_ptr() for value in read[0].values()}
    for part in (found.audio, found.audio_head, found.text, found.text_head):
        assert {parameter.data_ptr() for parameter in part.parameters()} <= stored


def test_paths_are_trusted_only_while_the_file_is_read(glap: Path) -> None:
    before = {*torch.serialization.get_safe_globals()}
    load_glap(glap)
    assert {*torch.serialization.get_safe_globals()} == before
    with pytest.raises(pickle.UnpicklingError, match="PosixPath"):
        torch.load(glap, weights_only=True)


def test_half_precision_is_widened(tmp_path: Path) -> None:
    weights = {k: v.half() if v.ndim else v for k, v in whole(DASHENG_PATCH).items()}
    found = load_glap(save(tmp_path / "glap.pt", weights))
    assert all(parameter.dtype == torch.float32 for parameter in found.text.parameters())


@pytest.mark.parametrize(
    ("load", "name", "words"),
    [(load_ml_clap, "glap", "is a checkpoint of GLAP"),
     (load_glap, "ml_clap", "is a checkpoint of ML-CLAP")],
)  # fmt: skip
def test_the_other_model_is_refused(
    request: pytest.FixtureRequest, load: Callable[[Path], Published], name: str, words: str
) -> None:
    with pytest.raises(ModelError, match=rf"{words}.*`load_published`"):
        load(request.getfixturevalue(name))


def lost(key: str) -> Damage:
    return lambda weights: weights.__delitem__(key)


def renamed(old: str, new: str) -> Damage:
    return lambda weights: weights.update({new: weights.pop(old)})


def extra(key: str) -> Damage:
    return lambda weights: weights.update({key: torch.zeros(3)})


def reshaped(key: str, *shape: int) -> Damage:
    return lambda weights: weights.update({key: torch.zeros(shape)})


A, T = "audio_encoder.model.", "text_encoder.model."
ODD_QKV, QKV = f"{A}blocks.0.attn.kqv.bias", f"{A}blocks.0.attn.qkv.bias"
ODD_FC1, FC1 = f"{A}blocks.0.mlp.fc1.bais", f"{A}blocks.0.mlp.fc1.bias"
INNER = f"{T}encoder.layers.2.ffn.inner_proj.weight"


@pytest.mark.parametrize("patch", [CED_PATCH, DASHENG_PATCH])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lost(QKV), [f"lacks `{QKV}`"]),
        (lost(f"{A}norm.weight"), [f"lacks `{A}norm.weight`"]),
        (lost(f"{A}patch_embed.proj.weight"), [f"lacks `{A}patch_embed.proj.weight`"]),
        (lost(f"{T}encoder_frontend.embed.weight"), [f"lacks `{T}encoder_frontend.embed.weight`"]),
        (lost("text_proj.2.bias"), ["lacks `text_proj.2.bias`"]),
        (lost("audio_proj.2.weight"), ["lacks `audio_proj.2.weight`"]),
        (renamed(QKV, ODD_QKV), [f"lacks `{QKV}`", f"nearest is `{ODD_QKV}`"]),
        (extra(ODD_FC1), [f"has `{ODD_FC1}`, unknown to", f"nearest is `{FC1}`"]),
        (extra("logit_scale"), ["has `logit_scale`, unknown to"]),
        (reshaped(QKV, 383), [f"`{QKV}`", "float [383], not float [384]"]),
        (reshaped(f"{A}time_pos_embed", 1, WIDTH, 1, 7), [f"`{A}time_pos_embed`", "128, 1, 7]"]),
        (reshaped(f"{A}patch_embed.proj.weight", WIDTH), [f"`{A}patch_embed.proj.weight`"]),
        (reshaped(INNER, 81, 192), [f"`{INNER}`", "float [81, 192], not float [80, 192]"]),
        (reshaped(f"{T}encoder_frontend.embed.weight", 50), ["float [50], not float [50, 1024]"]),
        (reshaped("text_proj.2.weight", DIM + 1, DIM), ["`text_proj.2.weight`", "[25, 24]"]),
        (reshaped(f"{A}norm.weight", 201), ["201 wide", "heads of 64"]),
    ],
)
def test_a_wrong_key_is_named(
    tmp_path: Path, patch: Patch, damage: Damage, words: list[str]
) -> None:
    weights = whole(patch)
    damage(weights)
    path = save(tmp_path / "odd.pt", {"model": weights})
    with pytest.raises(ModelError) as caught:
        load_published(path)
    assert all(word in str(caught.value) for word in [*words, str(path)]), caught.value


def test_a_port_is_corrected_in_its_own_keys(tmp_path: Path) -> None:
    weights = ported(whole(DASHENG_PATCH))
    weights["audio_encoder.blocks.0.attn.kqv.bias"] = torch.zeros(3)
    path = save(tmp_path / "odd.pt", weights)
    with pytest.raises(ModelError, match=r"nearest is `audio_encoder\.blocks\.0\.attn\.qkv\.bias`"):
        load_glap(path)


@pytest.mark.parametrize("tau", [0.0, -0.07, float("nan"), float("inf")])
def test_an_impossible_temperature_is_refused(tmp_path: Path, tau: float) -> None:
    path = save(tmp_path / "pretrain.pt", whole(CED_PATCH) | {"temperature": torch.tensor(tau)})
    with pytest.raises(ModelError, match="`temperature` in"):
        load_ml_clap(path)


@pytest.mark.parametrize(
    ("weights", "what"),
    [
        (official(WIDTH, 1, CED_PATCH), "the audio tower CED alone"),
        ({"encoder.patch_embed.proj.weight": torch.zeros(9, 1, 16, 16)}, "audio tower CED alone"),
        (official(WIDTH, 1, DASHENG_PATCH), "the audio tower Dasheng alone"),
        (sonar(), "the text tower SONAR alone"),
        ({"embed_tokens.weight": torch.zeros(9, 4)}, "the text tower SONAR alone"),
        ({"conv.weight": torch.zeros(3), "fc.bias": torch.zeros(3)}, "`conv.weight` and other"),
    ],
)
def test_another_architecture_is_called_by_its_name(
    tmp_path: Path, weights: Weights, what: str
) -> None:
    path = save(tmp_path / "other.pt", {"model": weights})
    for load in (load_published, load_ml_clap, load_glap):
        with pytest.raises(ModelError) as caught:
            load(path)
        assert what in str(caught.value)
        assert "`atri models pull glap --accept-license`" in str(caught.value)


@pytest.mark.parametrize("place", ["model", "config", "bare pickle"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, place: str) -> None:
    path, touched = tmp_path / "glap.pt", tmp_path / "touched"
    content: dict[str, dict[str, object]] = {"config": {**PATHS}, "model": {**whole(DASHENG_PATCH)}}
    content.get(place, content["config"])["code"] = Trap(touched)
    if place == "bare pickle":
        path.write_bytes(pickle.dumps(content["config"]))
    else:
        torch.save(content, path)
    with pytest.raises(ModelError, match="holds more than tensors"):
        load_published(path)
    assert not touched.exists()


class Reader:
    """A path that a pickle would have read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return pathlib.Path.read_text, (self.path,)


def test_a_path_in_a_checkpoint_cannot_be_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    content = {"config": {"x": Reader(secret)}, "model": whole(DASHENG_PATCH)}
    with pytest.raises(ModelError, match="holds more than tensors"):
        load_published(save(tmp_path / "glap.pt", content))


@pytest.mark.parametrize("name", ["ml_clap", "glap", "glap_port"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused(
    request: pytest.FixtureRequest, name: str, share: float
) -> None:
    path: Path = request.getfixturevalue(name)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match="cannot be read as a checkpoint"):
        load_published(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no checkpoint `.*nowhere\.pt`"):
        load_published(tmp_path / "nowhere.pt")
