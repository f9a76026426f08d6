"""`atri train`, `atri export`, `atri evaluate`: from a folder of named sounds to a better model."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from atri_cli.encoders.card import load_card
from atri_cli.encoders.onnx_encoder import OnnxEncoder
from atri_cli.encoders.registry import embedded_dir
from atri_cli.errors import ModelError, UsageError
from atri_cli.settings import load_settings
from tests.cli_tools import atri, run
from tests.sounds import write_tone
from tests.train_tools import random_net
from train.checkpoints import load_checkpoint
from train.clips import Clip
from train.embedded import load_embedded
from train.freezing import Freezing
from train.interpolate import best_share, mix, weights_of
from train.model import AudioTower, ModelShape, TextTower, save_model
from train.modeltowers import ModelTowers
from train.opening import open_torch_model
from train.towers.text import TextShape

Capture = pytest.CaptureFixture[bytes]
NAMES = (
    "dog barking",
    "rain",
    "church bell",
    "car horn",
    "cat meowing",
    "thunder",
    "applause",
    "door creaking",
    "wolf howling",
    "clock ticking",
    "police siren",
    "glass breaking",
)
PIECES = 52_000  # of the installed tokenizer
FEW = ("--epochs", "2", "--batch-size", "8", "--threads", "1", "--languages", "en,fr,ja")


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two recordings of each name."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        for place, take in enumerate(("near", "far")):
            hertz = 100.0 * (number + 1) + 30 * place
            write_tone(folder / f"{name} {take}.wav", hertz=hertz, seconds=1.2)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of atri-mini's architecture that exports in seconds: nothing learnt, few weights."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    words = TextShape(vocabulary=PIECES, width=32, layers=2, heads=2, inner=64, dim=16)
    shape = ModelShape(1.0, 1.0, head_inputs=1423, head_hidden=16, text=words, dim=16)
    torch.manual_seed(0)
    audio, text = AudioTower(shape), TextTower(words)
    audio.net.load_state_dict(random_net(0).state_dict())
    text.tokens.weight.data = torch.randint(-7, 8, (PIECES, 32)) * 0.0625
    text.tokens.weight.data[:, 0] = -0.5  # the lowest code sets the scale: exact in 4 bits
    tokenizer = (embedded_dir() / "atri-mini" / "tokenizer.model").read_bytes()
    save_model(folder, shape, audio, text, tokenizer)
    card = {"name": "tiny", "revision": "1", "languages": ["en", "fr", "ja"], "licences": {}}
    (folder / "facts.json").write_text(json.dumps({**card, "quality": {}}))
    return folder


def test_it_learns_from_file_names_and_the_result_searches(
    sounds: Path, tiny: Path, tmp_path: Path, capsysbinary: Capture
) -> None:
    out, model = tmp_path / "run", tmp_path / "model"
    few = (*FEW, "--model", tiny, "--out", out)
    assert run(capsysbinary, "index", sounds).code == 0
    planned = run(capsysbinary, "train", "--loss", "cacl", *few, "--dry-run")
    assert planned.code == 0, planned.err
    facts = dict(line.split(None, 1) for line in planned.lines)
    assert facts["captions"] == "24 by file name"
    assert facts["languages"].startswith("en ")
    assert not out.exists()
    done = run(capsysbinary, "train", "--loss", "cacl", *few, "--json")
    assert done.code == 0, done.err
    assert done.json["epochs"] == 2
    assert done.json["after"]["t2a"]["mean"]["r10"] > 0
    again = run(capsysbinary, "train", "--loss", "cacl", *few)
    assert again.code == 2
    assert "--resume" in again.err
    other = run(capsysbinary, "train", "--loss", "kcl", *few, "--resume")
    assert other.code == 2
    assert "loss cacl → kcl" in other.err
    made = run(capsysbinary, "export", out, "--out", model, "--precision", "fp32", "-q")
    assert made.code == 0, made.err
    assert load_card(model).name == "run"
    index = run(capsysbinary, "index", sounds, "--model", model, "-L", "tuned")
    assert index.code == 0, index.err
    found = run(
        capsysbinary, "search", "chien qui aboie", "-L", "tuned", "--model", model, "--json"
    )
    assert len(found.json["hits"]) == 10


def test_nothing_to_learn_from_says_how_to_give_it(tmp_path: Path, capsysbinary: Capture) -> None:
    empty = run(capsysbinary, "train")
    assert empty.code == 1
    assert "No sound with a caption" in empty.err
    assert "atri.tsv" in empty.err
    folder = tmp_path / "unnamed"
    folder.mkdir()
    for number in range(3):
        write_tone(folder / f"ZOOM000{number}.wav", seconds=1.0)
    done = run(capsysbinary, "train", "--data", folder)
    assert done.code == 1
    assert "3 named by numbers, a date or a recorder" in done.err


def manifest(folder: Path, *lines: str) -> Path:
    path = folder / "q.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("id\taudio\ten", "a\tnone.wav\tdog"), "line 2, column `audio`: `none.wav`"),
        (("id\taudio\txx-yy-zz", "a\tdog.wav\tdog"), "line 1, column 3"),
        (("id\taudio\ten", "a\tdog.wav\tdog", "a\tdog.wav\tdog"), "The id `a` stands in line 2"),
        (("id\taudio\ten", "a\tdog.wav\tdog"), "All 1 described sounds have the same captions."),
        (("id\taudio\ten\tsplit", "a\tdog.wav\tdog\tbox", "b\tdog.wav\tcat\tbox"), "split `box`"),
        (("id\ten", "a\tdog"), "names no sounds"),
    ],
)  # fmt: skip
def test_a_bad_manifest(lines: tuple[str, ...], said: str, tmp_path: Path,
                        capsysbinary: Capture) -> None:  # fmt: skip
    write_tone(tmp_path / "dog.wav", seconds=1.0)
    done = run(capsysbinary, "train", "--data", manifest(tmp_path, *lines))
    assert done.code in (1, 2)
    assert said in done.err
    assert "unforeseen" not in done.err


def test_unreadable_sounds_are_left_out_with_their_reason(
    sounds: Path, capsysbinary: Capture
) -> None:
    (sounds / "owl hooting.wav").write_bytes(b"RIFF broken")
    soundfile.write(sounds / "frog croaking.wav", np.full(32000, np.nan), 16000, subtype="FLOAT")
    done = run(capsysbinary, "train", "--data", sounds, *FEW, "--dry-run")
    assert done.code == 0, done.err
    left_out = [line for line in done.lines if line.startswith("left out")]
    assert any("not-finite" in line for line in left_out)
    assert len(left_out) == 2


def test_one_language_is_warned_of(sounds: Path, capsysbinary: Capture) -> None:
    done = run(capsysbinary, "train", "--data", sounds, "--languages", "fr", "--dry-run")
    assert done.code == 0
    assert "All captions are in `fr`" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--loss", "cackle"), "There is no loss `cackle`"),
        (("--languages", "en,qqq-no"), "`qqq-no`"),
        (("--freeze", "roof"), "`--freeze roof` is not understood"),
        (("--batch-size", "1"), "batch size cannot be 1"),
        (("--data", "nowhere.tsv"), "There is no"),
        (("--model", "nowhere"), "nowhere"),
        (("--precision", "bf16", "--device", "cpu"), "for CUDA"),
        (("--resume", "--out", "nothing-here"), "no run to resume"),
    ],
)
def test_wrong_options(words: tuple[str, ...], said: str, sounds: Path,
                       capsysbinary: Capture) -> None:  # fmt: skip
    data = () if "--data" in words else ("--data", sounds)
    done = run(capsysbinary, "train", *data, *words)
    assert done.code in (1, 2)
    assert said in done.err
    assert "unforeseen" not in done.err


def test_cuda_is_not_pretended(sounds: Path, capsysbinary: Capture) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = run(capsysbinary, "train", "--data", sounds, "--device", "cuda")
    assert done.code == 1
    assert "no CUDA device" in done.err


def test_without_torch_one_line_says_what_to_type(
    capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else found(name)
    )
    for words in (("train",), ("export", "x")):
        done = run(capsysbinary, *words)
        assert done.code == 1
        assert done.err.startswith("Error: ")
        assert "needs torch" in done.err
        assert len(done.err.splitlines()) == 1


def test_it_works_beside_somebodys_own_train_and_export(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('theirs')")
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "__init__.py").write_text("print('theirs')")
    done = atri("train", "--dry-run", cwd=tmp_path)
    assert done.code == 1
    assert "theirs" not in done.out + done.err
    assert "No sound with a caption" in done.err


def test_the_demo_learns(capsysbinary: Capture) -> None:
    done = run(capsysbinary, "train", "--demo", "--threads", "1", "--json")
    assert done.code == 0, done.err
    before, after = (done.json[name]["t2a"]["mean"]["map10"] for name in ("before", "after"))
    assert after > before + 0.3


def test_export_of_nothing(tmp_path: Path, capsysbinary: Capture) -> None:
    done = run(capsysbinary, "export", tmp_path)
    assert done.code == 1
    assert "is no checkpoint of one model" in done.err


@pytest.mark.usefixtures("sounds")
def test_evaluate_runs_without_torch(tmp_path: Path) -> None:
    rows = [f"{n}\tsounds/{name} near.wav|sounds/{name} far.wav\t{name}\t{name}"
            for n, name in enumerate(NAMES)]  # fmt: skip
    queries = manifest(tmp_path, "id\taudio\ten\tfr", *rows)
    (tmp_path / "torch.py").write_text("raise ImportError('torch was imported')")
    found = atri("evaluate", "--data", queries, "--json", PYTHONPATH=str(tmp_path))
    assert found.code == 0, found.err
    report = json.loads(found.out)
    assert (report["clips"], report["queries"]) == (24, 12)
    assert report["t2a"]["mrv"]["languages"] == 2
    missing = atri("evaluate", "--data", queries, "--languages", "de")
    assert missing.code == 2
    assert "No caption in `de`" in missing.err


# The embedded model in torch


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> ModelTowers:
    model = open_torch_model("atri-mini", load_settings())
    return ModelTowers(model, tmp_path_factory.mktemp("cache"))


def without_rounded_activations(encoder: OnnxEncoder, texts: list[str]) -> NDArray[np.float32]:
    """The installed text tower with its 8-bit weights and float32 between them."""
    import onnx
    import onnxruntime

    graph = onnx.load(encoder.card.text_path)
    for node in graph.graph.node:
        for attribute in [one for one in node.attribute if one.name == "accuracy_level"]:
            node.attribute.remove(attribute)
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rows = []
    for text in texts:
        ids = np.array([encoder.tokenizer.encode(text, "en")], np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        rows.append(session.run(["embedding"], inputs)[0][0])
    return np.stack(rows)


def test_the_embedded_model_is_the_same_in_torch(towers: ModelTowers, tmp_path: Path) -> None:
    from atri_cli.encoders.registry import load_encoder
    from train.clips import Clip

    encoder = load_encoder(load_card(embedded_dir() / "atri-mini"))
    texts = ["dog barking", "犬の鳴き声", "une porte qui grince", "Regen", "a"]
    ours = towers.texts([("en", text) for text in texts])
    exact = without_rounded_activations(encoder, texts)
    assert (ours * exact).sum(1).min() > 0.9999, "the weights are the same"
    assert (ours * encoder.embed_text(texts)).sum(1).min() > 0.998, "activations are in 8 bits"
    write_tone(tmp_path / "a.wav", seconds=2.0)
    (ours_audio,) = towers.windows([Clip("a", tmp_path / "a.wav", {})])
    wave, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    import soxr

    rate = soundfile.info(tmp_path / "a.wav").samplerate
    theirs = encoder.embed_audio([soxr.resample(wave, rate, 32000).astype(np.float32)])
    assert np.abs(ours_audio[0] - theirs[0]).max() < 2e-3


def test_a_model_of_another_architecture_is_refused(fake_model: Path) -> None:
    with pytest.raises(ModelError, match="not built as atri-mini is"):
        load_embedded(load_card(fake_model))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("towers", Freezing("all", "all")),
        ("none", Freezing("none", "none")),
        ("audio", Freezing("all", "none")),
        ("audio,text:2", Freezing("all", 2)),
        ("audio:1", Freezing(1, "none")),
    ],
)
def test_what_is_frozen(words: str, found: Freezing) -> None:
    assert Freezing.parse(words) == found


def test_blocks_that_run_twice_need_less_memory_and_learn_the_same(
    sounds: Path, tiny: Path, tmp_path: Path, capsysbinary: Capture
) -> None:
    words = ("train", "--data", sounds, *FEW, "--model", tiny, "--freeze", "text")
    memory = []
    for name, more in (("kept", ()), ("twice", ("--recompute",))):
        plan = run(capsysbinary, *words, *more, "--dry-run")
        memory += [line for line in plan.lines if line.startswith("memory")]
        assert run(capsysbinary, *words, *more, "--out", tmp_path / name).code == 0
    one, other = (load_checkpoint(tmp_path / name) for name in ("kept", "twice"))
    assert one is not None
    assert other is not None
    for name, tensor in one[0].items():
        torch.testing.assert_close(other[0][name], tensor, atol=1e-5, rtol=1e-4)
    kept, twice = (float(line.split()[2].replace(",", "")) for line in memory)
    assert twice < 0.7 * kept


def test_views_of_a_sound_do_not_depend_on_its_folder(towers: ModelTowers, tmp_path: Path) -> None:
    rows = []
    for folder in ("here", "there"):
        path = tmp_path / folder / "dog.wav"
        path.parent.mkdir()
        write_tone(path, seconds=1.2)
        rows.append(towers._cached_rows(Clip("dog", path, {"en": ("dog",)})))
    np.testing.assert_array_equal(rows[0], rows[1])


def test_too_many_blocks(towers: ModelTowers, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="12 blocks, and 13"):
        ModelTowers(towers.model, tmp_path, freezing=Freezing("all", 13))


# Mixing weights


def test_the_mixture_is_a_straight_line_and_the_best_stays() -> None:
    model = torch.nn.Linear(2, 1)
    begin = weights_of(model)
    torch.nn.init.constant_(model.weight, 4.0)
    end = weights_of(model)
    mix(model, begin, end, 0.25)
    torch.testing.assert_close(model.weight, 0.75 * begin["weight"] + 0.25 * end["weight"])
    mix(model, begin, end, 1.0)
    middle = (begin["weight"] + end["weight"]) / 2
    share = best_share(model, begin, lambda: -float((model.weight - middle).detach().abs().sum()))
    assert share == 0.5
    torch.testing.assert_close(model.weight.detach(), middle)


def test_a_killed_run_resumes_to_the_same_model(sounds: Path, tmp_path: Path,
                                                capsysbinary: Capture) -> None:  # fmt: skip
    words = ("train", "--data", sounds, *FEW, "--loss", "kcl", "-q")
    assert run(capsysbinary, *words, "--out", tmp_path / "whole").code == 0
    assert run(capsysbinary, *words, "--out", tmp_path / "parts").code == 0
    facts = json.loads((tmp_path / "parts" / "checkpoint.json").read_text())
    assert facts["progress"]["finished"]
    assert run(capsysbinary, *words, "--out", tmp_path / "parts", "--resume").code == 0
    one, other = (load_checkpoint(tmp_path / name) for name in ("whole", "parts"))
    assert one is not None
    assert other is not None
    for name, tensor in one[0].items():
        torch.testing.assert_close(other[0][name], tensor, atol=1e-6, rtol=0)
