"""A tiny model of train/ becomes a model folder that atri loads."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from atri_cli.encoders.registry import find_model, load_encoder, verify_model
from atri_cli.settings import load_settings
from export import __main__ as program
from export import build as build_module
from export.build import CardFacts, ExportReport, build, load_facts
from export.convert import DisagreementError
from tests.sounds import noise
from tests.train_tools import calibrate, four_bit, pieces_for
from train.model import AudioTower, ModelShape, TextTower, embed_texts, load_model, save_model
from train.tokens import sentencepiece_model
from train.towers import audio as audio_module
from train.towers.audio import features
from train.towers.mel import SAMPLE_RATE
from train.towers.text import TextShape

TEXTS = ["a dog barks", "un chien aboie", "犬が吠える", "rain"]
PIECES = pieces_for(TEXTS)
TEXT = TextShape(len(PIECES), width=64, layers=2, heads=4, inner=128, positions=64, dim=16)
SHAPE = ModelShape(1.0, 1.0, 384 + 512 + 527, head_hidden=8, text=TEXT, dim=16)
FACTS = CardFacts(
    name="tiny",
    revision="7",
    languages=("en", "fr", "ja"),
    licences={"weights": "Apache-2.0"},
    quality={"r1": 0.5},
)


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
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source"), 0)


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportReport]:
    target = tmp_path_factory.mktemp("models") / "below" / "tiny"
    return target, build(source, target, FACTS, TEXTS, text_precision="fp32")


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
    assert names == {"audio.onnx", "text.onnx", "text.onnx.data", "tokenizer.model", "card.toml"}
    assert [path.name for path in target.parent.iterdir()] == ["tiny"]
    assert report.audio_bytes == (target / "audio.onnx").stat().st_size
    text = [(target / name).stat().st_size for name in ("text.onnx", "text.onnx.data")]
    assert report.text_bytes == sum(text)
    assert report.text[0] <= 1e-4
    assert report.audio[1] >= 0.9999


def test_the_card_says_what_the_model_is(built: tuple[Path, ExportReport]) -> None:
    card = find_model(str(built[0]), load_settings())
    assert verify_model(card) == []
    assert (card.name, card.revision, card.dim, card.precision) == ("tiny", "7", 16, "fp32")
    assert (card.licences, card.quality) == (FACTS.licences, FACTS.quality)
    assert card.text.languages == FACTS.languages
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
    np.testing.assert_allclose(heard, np.stack(direct), atol=5e-3)


def test_a_graph_that_disagrees_leaves_the_target_alone(
    built: tuple[Path, ExportReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "audio.onnx").write_text("what was there")
    other = write_source(tmp_path / "other", 1)

    def convert(_tower: AudioTower, path: Path, _samples: int) -> None:
        shutil.copy(built[0] / "audio.onnx", path)

    monkeypatch.setattr(build_module, "export_audio", convert)
    with pytest.raises(DisagreementError, match=r"audio\.onnx"):
        build(other, target, FACTS, TEXTS)
    assert [path.name for path in target.iterdir()] == ["audio.onnx"]
    assert (target / "audio.onnx").read_text() == "what was there"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tmp")]


def test_a_trained_token_table_is_refused(
    source: Path, built: tuple[Path, ExportReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, audio, text = load_model(source)
    text.tokens.weight.data += 0.1 * torch.randn_like(text.tokens.weight)
    save_model(tmp_path / "trained", SHAPE, audio, text, (source / "tokenizer.model").read_bytes())

    def convert(_tower: AudioTower, path: Path, _samples: int) -> None:
        shutil.copy(built[0] / "audio.onnx", path)

    monkeypatch.setattr(build_module, "export_audio", convert)
    monkeypatch.setattr(build_module, "store_float16", lambda _: None)
    with pytest.raises(ValueError, match="not 4-bit"):
        build(tmp_path / "trained", tmp_path / "target", FACTS, TEXTS)
    assert not (tmp_path / "target").exists()


def test_facts_are_read(tmp_path: Path) -> None:
    facts = {"name": "x", "revision": "1", "languages": ["en", "ja"], "quality": {"r1": 0.25}}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    assert load_facts(tmp_path / "facts.json") == CardFacts(
        "x", "1", ("en", "ja"), {}, {"r1": 0.25}
    )
    (tmp_path / "facts.json").write_text(json.dumps(facts | {"licence": "?"}))
    with pytest.raises(TypeError, match="licence"):
        load_facts(tmp_path / "facts.json")


def test_the_program_says_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {"name": "x", "revision": "1", "languages": ["en"]}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    asked: list[tuple[Path, Path, str]] = []

    def watched(
        source: Path, target: Path, _: CardFacts, texts: list[str], *, text_precision: str
    ) -> ExportReport:
        assert len(texts) > 100
        asked.append((source, target, text_precision))
        return ExportReport((1e-3, 0.99995), (2e-2, 0.995), 4_200_000, 29_000_000)

    monkeypatch.setattr(program, "build", watched)
    words = ["export", "from", "to", "--facts", str(tmp_path / "facts.json")]
    monkeypatch.setattr(sys, "argv", [*words, "--text-precision", "int8"])
    program.main()
    assert asked == [(Path("from"), Path("to"), "int8")]
    assert capsys.readouterr().out.splitlines() == [
        "audio.onnx: 4.2 MB, difference 1.0e-03, cosine 0.999950",
        "text.onnx: 29.0 MB, difference 2.0e-02, cosine 0.995000",
    ]
