"""A tiny model of train/ becomes a model folder that atri loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atri_cli.encoders.card import load_card
from atri_cli.encoders.names import load_names
from atri_cli.encoders.registry import find_model, load_encoder, verify_model
from atri_cli.settings import load_settings
from atri_cli.vocabulary.lookup import names_of
from export import build as build_module
from export import names as names_module
from export.build import ExportReport, build
from export.convert import DisagreementError
from tests.cli_tools import run
from tests.sounds import noise
from tests.train_tools import calibrate, four_bit, pieces_for
from train.model import AudioTower, ModelShape, TextTower, embed_texts, load_model, save_model
from train.tokens import sentencepiece_model
from train.torchmodel import load_torch_model
from train.towers import audio as audio_module
from train.towers.audio import features
from train.towers.mel import SAMPLE_RATE
from train.towers.text import TextShape

TEXTS = ["a dog barks", "un chien aboie", "犬が吠える", "rain"]
PIECES = pieces_for(TEXTS)
TEXT = TextShape(len(PIECES), width=64, layers=2, heads=4, inner=128, positions=64, dim=16)
SHAPE = ModelShape(1.0, 1.0, 384 + 512 + 527, head_hidden=8, text=TEXT, dim=16)
FACTS: dict[str, Any] = {
    "name": "tiny",
    "revision": "7",
    "languages": ["en", "fr", "ja"],
    "licences": {"weights": "Apache-2.0"},
    "quality": {"r1": 0.5},
}
ASKED = [(lang, text) for lang, text in zip(("en", "fr", "ja", "en"), TEXTS, strict=True)]


@pytest.fixture(scope="module", autouse=True)
def few_blocks() -> Iterator[None]:
    """One block in place of fifteen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_module, "BLOCKS", audio_module.BLOCKS[3:4])
        patch.setattr(audio_module, "TAIL", 1)
        yield


def write_source(folder: Path, seed: int) -> Path:
    """What train/ leaves, with random weights."""
    torch.manual_seed(seed)
    audio, text = AudioTower(SHAPE), TextTower(TEXT)
    table = four_bit(np.random.default_rng(seed), TEXT.vocabulary, TEXT.width)
    text.tokens.weight.data = torch.from_numpy(table)
    mel = audio.mel(torch.randn(8, SAMPLE_RATE) * torch.logspace(-3, 0, 8)[:, None])
    audio.head.standardise(features(*calibrate(audio.net, mel)(mel)))
    scores = [-float(place) for place in range(len(PIECES))]
    save_model(folder, SHAPE, audio, text, sentencepiece_model(PIECES, scores))
    (folder / "facts.json").write_text(json.dumps(FACTS))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source"), 0)


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportReport]:
    target = tmp_path_factory.mktemp("models") / "below" / "tiny"
    return target, build(load_torch_model(source), target, precision="fp32", texts=ASKED)


def test_a_model_folder_of_train_comes_back(source: Path) -> None:
    shape, audio, text = load_model(source)
    assert shape == SHAPE
    assert not audio.training
    assert not text.training
    torch.manual_seed(0)
    again = AudioTower(SHAPE)
    assert audio.state_dict().keys() == again.state_dict().keys()
    with pytest.raises(FileNotFoundError):
        load_model(source / "none")


def test_the_folder_is_complete_and_nothing_is_left_over(built: tuple[Path, ExportReport]) -> None:
    target, report = built
    names = {path.name for path in target.iterdir()}
    files = {f"{tower}.onnx{more}" for tower in ("audio", "text") for more in ("", ".data")}
    assert names == files | {"tokenizer.model", "card.toml"}
    assert [path.name for path in target.parent.iterdir()] == ["tiny"]
    for name, tower in (("audio", report.audio), ("text", report.text)):
        sizes = [(target / f"{name}.onnx{more}").stat().st_size for more in ("", ".data")]
        assert tower.bytes == sum(sizes)
        assert tower.exact.difference <= 1e-4
        assert tower.kept.cosine >= 0.99999
    assert [item.name for item in report.text.kept.items][:4] == TEXTS


def test_the_card_says_what_the_model_is(built: tuple[Path, ExportReport]) -> None:
    card = find_model(str(built[0]), load_settings())
    assert verify_model(card) == []
    assert (card.name, card.revision, card.dim, card.precision) == ("tiny", "7", 16, "fp32")
    assert (card.licences, card.quality) == (FACTS["licences"], FACTS["quality"])
    assert list(card.text.languages) == FACTS["languages"]
    assert card.audio.sample_rate == SAMPLE_RATE
    assert (card.audio.min_seconds, card.audio.segment_seconds, card.audio.hop_seconds) == (1, 5, 4)


def test_atri_hears_and_reads_as_torch_does(built: tuple[Path, ExportReport], source: Path) -> None:
    encoder = load_encoder(find_model(str(built[0]), load_settings()), "cpu", 1)
    _, audio, text = load_model(source)
    tokens = [[0, *(PIECES.index(f"\u2581{word}") for word in line.split()), 2]
              for line in TEXTS]  # fmt: skip
    wanted = embed_texts(text, tokens).numpy()
    np.testing.assert_allclose(encoder.embed_text(TEXTS), wanted, atol=1e-4)
    windows = [noise(seconds, SAMPLE_RATE) for seconds in (1.0, 2.5, 5.0)]
    heard = encoder.embed_audio(windows)
    with torch.no_grad():
        direct = [audio(torch.from_numpy(window)[None])[0].numpy() for window in windows]
    np.testing.assert_allclose(heard, np.stack(direct), atol=1e-4)


def test_a_graph_that_disagrees_leaves_the_target_alone(
    built: tuple[Path, ExportReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "audio.onnx").write_text("what was there")
    other = write_source(tmp_path / "other", 1)

    def convert(_tower: AudioTower, path: Path, _samples: int) -> None:
        for name in ("audio.onnx", "audio.onnx.data"):
            shutil.copy(built[0] / name, path.with_name(name))

    monkeypatch.setattr(build_module, "export_audio", convert)
    with pytest.raises(DisagreementError, match=r"audio\.onnx"):
        build(load_torch_model(other), target, texts=ASKED)
    assert [path.name for path in target.iterdir()] == ["audio.onnx"]
    assert (target / "audio.onnx").read_text() == "what was there"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tmp")]


def test_names_are_kept_when_asked_for_and_not_left_behind(
    built: tuple[Path, ExportReport],
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    sounds = names_module.vocabulary_concepts()[:3]
    monkeypatch.setattr(names_module, "vocabulary_concepts", lambda: sounds)
    target = tmp_path / "target"
    done = run(capsysbinary, "export", source, "--out", target, "--names", "--json")
    assert done.json["names"] == 3
    card = load_card(target)
    names = load_names(card)
    assert names is not None
    assert names.vectors.shape == (3, 16)
    asked = names_of(sounds[0].id, taken=("en", "fr", "ja"))
    assert {tag for tag, _ in asked} == {"en", "fr", "ja"}
    assert names.find(asked) is not None
    assert verify_model(card) == []
    build_module._install(built[0], target, load_card(built[0]))
    assert not (target / "names.npz").exists()
    assert load_card(target).names == ""


def test_a_trained_token_table_is_refused(source: Path, tmp_path: Path) -> None:
    _, audio, text = load_model(source)
    text.tokens.weight.data += 0.1 * torch.randn_like(text.tokens.weight)
    save_model(tmp_path / "trained", SHAPE, audio, text, (source / "tokenizer.model").read_bytes())
    (tmp_path / "trained" / "facts.json").write_text(json.dumps(FACTS))

    with pytest.raises(ValueError, match="not 4-bit"):
        build(load_torch_model(tmp_path / "trained"), tmp_path / "target", texts=ASKED)
    assert not (tmp_path / "target").exists()
