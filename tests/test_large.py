"""The paper's whole way at tiny size: import → train → export → index → search → consistency."""

from __future__ import annotations

import json
import pickle
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sentencepiece import SentencePieceProcessor

from atri_cli.encoders.card import load_card
from atri_cli.encoders.nllb import CODES
from atri_cli.encoders.registry import load_encoder, verify_model
from atri_cli.settings import load_settings
from tests.cli_tools import atri, run
from tests.large_tools import SPM, checkpoint, make_glap, make_ml_clap, make_sonar
from tests.patch_tools import CED_PATCH, official
from tests.sounds import noise, write_tone
from tests.train_tools import Trap
from train.opening import open_torch_model
from train.towers.ced import CED_SHAPES

NAMES = ("dog barking", "rain", "train", "church bell", "owl", "car engine")
LANGUAGES = ("en", "fr", "ja")

Capture = pytest.CaptureFixture[bytes]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two takes of each of `NAMES`."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        for take in ("near", "far"):
            write_tone(folder / f"{name} {take}.wav", 200.0 + 300 * number, seconds=1.0)
    return folder


@pytest.fixture
def queries(sounds: Path) -> Path:
    rows = [f"{n}\t{name} near.wav|{name} far.wav\t{name}\t{name}\t{name}"
            for n, name in enumerate(NAMES)]  # fmt: skip
    path = sounds / "q.tsv"
    path.write_text("\n".join(["id\taudio\ten\tfr\tja", *rows]) + "\n", encoding="utf-8")
    return path


def test_the_whole_way(tmp_path: Path, sounds: Path, queries: Path) -> None:
    home = tmp_path / "home"
    source, out = make_ml_clap(tmp_path / "source"), tmp_path / "run"
    steps: list[tuple[object, ...]] = [
        ("models", "pull", "ml-clap", "--from", source, "--accept-license"),
        ("train", "--model", "ml-clap", "--loss", "kcl", "--epochs", "1", "--batch-size", "6",
         "--languages", ",".join(LANGUAGES), "--threads", "1", "--data", sounds, "--out", out),
        ("export", out, "--name", "mine", "--sounds", sounds, "--evaluate", queries, "--json"),
        ("index", "--model", "mine", "-L", "mine", sounds),
        ("search", "--model", "mine", "-L", "mine", "--lang", "ja", "犬の鳴き声", "--json"),
        ("consistency", "--query-file", queries, "--model", "mine", "-L", "mine", "--json"),
    ]  # fmt: skip
    done = []
    for step in steps:
        done.append(atri(*step, ATRI_HOME=str(home), OMP_NUM_THREADS="1"))
        assert done[-1].code == 0, done[-1].err
    exported, found, report = (json.loads(done[place].out) for place in (2, 4, 5))
    for tower in ("audio", "text"):
        assert exported[tower]["fp32"]["difference"] <= 1e-4
        assert exported[tower]["fp32"]["cosine"] >= 0.99999
        assert exported[tower]["kept"]["cosine"] >= 0.98
        assert any("batch" in item["input"] for item in exported[tower]["kept"]["items"])
    assert set(exported["retrieval"]) == {"R@10", "MRV of random"}
    assert len(found["hits"]) == 10
    assert report["gallery"] == 12
    card = load_card(home / "models" / "mine")
    assert verify_model(card) == []
    assert (card.precision, card.text.language_codes) == ("int8", CODES)
    assert card.revision.endswith("+kcl")
    assert card.licences["weights"].startswith("CC-BY-NC-4.0")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_atri_hears_and_reads_as_torch_does(
    precision: str, tmp_path: Path, capsysbinary: Capture
) -> None:
    make_glap(tmp_path / "glap")
    out = tmp_path / "out"
    done = run(capsysbinary, "export", tmp_path / "glap", "--out", out, "--precision", precision)
    assert done.code == 0, done.err
    model, encoder = open_torch_model(str(tmp_path / "glap"), load_settings()), load_encoder(
        load_card(out), "cpu", 1
    )  # fmt: skip
    waves = [noise(seconds, 16_000) for seconds in (0.1, 1.0, 3.3, 10.0)]
    texts = [("fr", "un son grave"), ("ja", "低い音"), ("en", "Low. Tone!")]
    tolerance = {"fp32": 1e-5, "fp16": 2e-3, "int8": 5e-2}[precision]
    with torch.no_grad():
        for wave in waves:
            repeated = np.resize(wave, max(len(wave), 2560))
            right = model.audio(torch.from_numpy(repeated)[None])[0].numpy()
            np.testing.assert_allclose(encoder.embed_audio([wave])[0], right, atol=tolerance)
        for lang, text in texts:
            ids, mask = (torch.from_numpy(one) for one in model.tokenizer.batch([text], lang))
            right = model.text(ids, mask)[0].numpy()
            np.testing.assert_allclose(encoder.embed_text([text], lang)[0], right, atol=tolerance)
    pieces = len(SentencePieceProcessor(model_file=str(tmp_path / "glap" / SPM)))
    assert ids[0, 0] == pieces + 1 + CODES.index("eng_Latn")  # GLAP was taught with one tag


def test_two_towers_with_new_heads(tmp_path: Path, sounds: Path, capsysbinary: Capture) -> None:
    width = CED_SHAPES["tiny"].width
    torch.save({"model": official(width, 12, CED_PATCH)}, tmp_path / "ced.pt")
    make_sonar(tmp_path / "sonar")
    both = f"{tmp_path / 'ced.pt'}+{tmp_path / 'sonar'}"
    refused = run(capsysbinary, "export", both, "--out", tmp_path / "out")
    assert refused.code == 1
    assert "never trained" in refused.err
    words = ("train", "--model", both, "--epochs", "1", "--batch-size", "6", "--threads", "1")
    trained = run(capsysbinary, *words, "--languages", "en,fr", "--data", sounds,
                  "--out", tmp_path / "run", "--freeze", "audio,text:1")  # fmt: skip
    assert trained.code == 0, trained.err
    done = run(capsysbinary, "export", tmp_path / "run", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert load_card(tmp_path / "out").dim == 1024


@pytest.mark.skipif(find_spec("sonar") is not None, reason="sonar-space is installed")
def test_sonar_space_is_named_when_it_is_missing(
    tmp_path: Path, sounds: Path, capsysbinary: Capture
) -> None:
    torch.save(official(CED_SHAPES["tiny"].width, 12, CED_PATCH), tmp_path / "ced.pt")
    make_sonar(tmp_path / "sonar")
    both = f"{tmp_path / 'ced.pt'}+{tmp_path / 'sonar'}"
    done = run(capsysbinary, "train", "--model", both, "--via", "sonar-space", "--data", sounds)
    assert done.code == 1
    assert 'pip install "atri-cli[sonar]"' in done.err
    make_ml_clap(tmp_path / "clap")
    done = run(capsysbinary, "train", "--model", tmp_path / "clap", "--via", "sonar-space",
               "--data", sounds)  # fmt: skip
    assert done.code == 2
    assert "reads the checkpoint of SONAR alone" in done.err


def test_a_language_without_a_code(tmp_path: Path, sounds: Path, capsysbinary: Capture) -> None:
    make_ml_clap(tmp_path / "clap")
    done = run(capsysbinary, "train", "--model", tmp_path / "clap", "--data", sounds,
               "--languages", "en,tlh")  # fmt: skip
    assert done.code == 2
    assert "Unknown language `tlh`" in done.err


def broken(folder: Path, kind: str) -> str:
    """Break a checkpoint of ML-CLAP in one way; what the message must say."""
    weights = checkpoint(CED_PATCH)
    path = folder / "pretrain.pt"
    said = kind
    if kind == "missing key":
        del weights["audio_proj.0.bias"]
        said = "audio_proj.0.bias"
    elif kind == "extra key":
        weights["text_encoder.model.encoder.layers.0.self_attn.q_proj.weights"] = torch.ones(1)
        said = "self_attn.q_proj.weights"
    elif kind == "wrong shape":
        weights["text_proj.0.weight"] = torch.ones(32, 7)
        said = "text_proj.0.weight"
    elif kind == "no tokenizer":
        (folder / SPM).unlink()
        said = "sentencepiece"
    elif kind == "damaged tokenizer":
        (folder / SPM).write_bytes(b"no model")
        said = "no sentencepiece model"
    elif kind == "two files":
        shutil.copy(path, folder / "other.pt")
        said = "`other.pt`"
    torch.save(weights, path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
        said = "cannot be read as a checkpoint"
    return said


KINDS = ("missing key", "extra key", "wrong shape", "truncated", "no tokenizer",
         "damaged tokenizer", "two files")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_checkpoint(kind: str, tmp_path: Path, capsysbinary: Capture) -> None:
    folder = make_ml_clap(tmp_path / "clap")
    said = broken(folder, kind)
    done = run(capsysbinary, "export", folder, "--out", tmp_path / "out")
    assert done.code == 1
    assert said in done.err
    assert "unforeseen" not in done.err
    assert not (tmp_path / "out").exists()


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, capsysbinary: Capture) -> None:
    folder = make_ml_clap(tmp_path / "clap")
    (folder / "pretrain.pt").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    done = run(capsysbinary, "export", folder, "--out", tmp_path / "out")
    assert done.code == 1
    assert "cannot be read as a checkpoint" in done.err
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "ml-clap"), "`atri models pull ml-clap`"),
        (("export", "nothing-here"), "There is no model `nothing-here`"),
        (("export", "ced-tiny+nothing"), "is not here"),
        (("export", "atri-mini", "--precision", "int4"), "One of fp32, fp16, int8"),
        (("export", "atri-mini", "--name", "a/b"), "no name for a model"),
        (("export", "atri-mini", "--sounds", "nowhere"), "There is no folder"),
        (("train", "--model", "ml-clap", "--data", "."), "`atri models pull ml-clap`"),
        (("train", "--via", "magic", "--data", "."), "There is no way `magic`"),
    ],
)
def test_wrong_words(words: tuple[str, ...], said: str, capsysbinary: Capture) -> None:
    done = run(capsysbinary, *words)
    assert done.code in (1, 2)
    assert said in done.err
    assert "unforeseen" not in done.err


def test_one_tower_is_no_model(tmp_path: Path, capsysbinary: Capture) -> None:
    torch.save(official(CED_SHAPES["tiny"].width, 1, CED_PATCH), tmp_path / "ced.pt")
    done = run(capsysbinary, "export", tmp_path / "ced.pt")
    assert done.code == 1
    assert "CED" in done.err


def test_a_sound_that_cannot_be_read_is_passed_over(
    tmp_path: Path, sounds: Path, capsysbinary: Capture
) -> None:
    (sounds / "a.wav").write_bytes(b"RIFF broken")
    soundfile.write(sounds / "b.wav", np.zeros(16_000, np.float32), 16_000)
    make_ml_clap(tmp_path / "clap")
    words = ("export", tmp_path / "clap", "--out", tmp_path / "out", "--sounds", sounds, "--json")
    done = run(capsysbinary, *words)
    assert done.code == 0, done.err
    heard = [item["input"] for item in done.json["audio"]["kept"]["items"]]
    assert "a.wav" not in heard
    assert "dog barking far.wav" in heard
