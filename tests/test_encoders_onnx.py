"""The ONNX encoder: unit vectors that depend on their own input alone, and clear failures."""

from __future__ import annotations

import builtins
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.encoders import onnx_encoder, runtime
from atri_cli.encoders.card import load_card
from atri_cli.encoders.onnx_encoder import OnnxEncoder
from atri_cli.encoders.registry import load_encoder
from atri_cli.encoders.types import Encoder
from atri_cli.errors import ModelError, RuntimeMissingError, UsageError
from tests.sounds import noise, silence, tone

TEXTS = ["low tone", "son aigu", "噪音", "", "a low tone and a high tone in the noise", "low tone"]
WINDOWS = [tone(200), tone(3000), noise(0.5), tone(200, 0.3), tone(200), silence(0.5)]


@pytest.fixture
def encoder(fake_model: Path) -> Encoder:
    return load_encoder(load_card(fake_model), "cpu", 1)


@pytest.fixture
def broken_model(fake_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fake_model, tmp_path / "broken"))


def test_shapes_types_and_length(encoder: Encoder) -> None:
    for vectors in (encoder.embed_audio(WINDOWS), encoder.embed_text(TEXTS)):
        assert vectors.shape == (6, 16)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_nothing_gives_nothing(encoder: Encoder) -> None:
    assert encoder.embed_audio([]).shape == (0, 16)
    assert encoder.embed_text([]).shape == (0, 16)


def test_words_find_their_sounds_in_every_language(encoder: Encoder) -> None:
    sounds = encoder.embed_audio([tone(200), tone(3000), noise(seed=3)])
    words = ["low", "high", "noise", "grave", "aigu", "bruit", "低音", "高音", "噪音"]
    best = (encoder.embed_text(words) @ sounds.T).argmax(axis=1)
    assert best.tolist() == [0, 1, 2] * 3


@given(order=st.permutations(range(6)), size=st.integers(1, 6))
def test_neighbours_do_not_matter(fake_model: Path, order: list[int], size: int) -> None:
    encoder = load_encoder(load_card(fake_model), "cpu", 1)
    chosen = order[:size]
    audio = encoder.embed_audio([WINDOWS[index] for index in chosen])
    text = encoder.embed_text([TEXTS[index] for index in chosen])
    for row, index in enumerate(chosen):
        np.testing.assert_allclose(audio[row], encoder.embed_audio([WINDOWS[index]])[0], atol=1e-5)
        np.testing.assert_allclose(text[row], encoder.embed_text([TEXTS[index]])[0], atol=1e-5)


def test_batches_as_on_cuda_give_the_same(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = encoder.embed_audio(WINDOWS), encoder.embed_text(TEXTS)
    monkeypatch.setattr(onnx_encoder, "CUDA", "CPUExecutionProvider")
    together = encoder.embed_audio(WINDOWS), encoder.embed_text(TEXTS)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_threads_do_not_matter(fake_model: Path, encoder: Encoder) -> None:
    other = load_encoder(load_card(fake_model), "cpu", 2)
    np.testing.assert_allclose(encoder.embed_audio(WINDOWS), other.embed_audio(WINDOWS), atol=1e-5)


def test_one_encoder_serves_several_threads(fake_model: Path, encoder: Encoder) -> None:
    shared = load_encoder(load_card(fake_model), "cpu", 1)
    results: list[Any] = [None] * 4

    def work(index: int) -> None:
        results[index] = shared.embed_audio(WINDOWS)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_allclose(result, encoder.embed_audio(WINDOWS), atol=1e-5)


def test_padding_on_the_right_changes_nothing(fake_model: Path, encoder: OnnxEncoder) -> None:
    import onnxruntime

    ids, mask = encoder.tokenizer.batch(TEXTS)
    session = onnxruntime.InferenceSession(fake_model / "text.onnx")
    (padded,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    np.testing.assert_allclose(padded, encoder.embed_text(TEXTS), atol=1e-5)


def test_short_waveforms_are_repeated_to_the_minimum(encoder: Encoder) -> None:
    short = tone(200, 0.1)
    np.testing.assert_array_equal(
        encoder.embed_audio([short]), encoder.embed_audio([np.resize(short, 4000)])
    )
    assert np.isfinite(encoder.embed_audio([np.ones(1, np.float32)])).all()


@pytest.mark.parametrize("window", [np.empty(0, np.float32), np.zeros((2, 9), np.float32)])
def test_what_is_no_waveform_is_refused(encoder: Encoder, window: Any) -> None:
    with pytest.raises(ValueError, match="one dimension"):
        encoder.embed_audio([window])


def test_a_search_loads_the_text_tower_only(broken_model: Path) -> None:
    (broken_model / "audio.onnx").unlink()
    encoder = OnnxEncoder(load_card(broken_model))
    assert encoder.embed_text(["low"]).shape == (1, 16)
    assert encoder.providers == ("CPUExecutionProvider",)
    with pytest.raises(ModelError, match=r"Cannot load the model file `.*audio\.onnx`"):
        encoder.embed_audio([tone()])


@pytest.mark.parametrize("content", [b"", b"not a model" * 100])
def test_a_damaged_tower(
    broken_model: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    (broken_model / "text.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="Cannot load the model file"):
        OnnxEncoder(load_card(broken_model)).embed_text(["low"])
    assert capfd.readouterr() == ("", "")


def test_vectors_of_another_dimension(broken_model: Path) -> None:
    card = replace(load_card(broken_model), dim=8)
    with pytest.raises(ModelError, match=r"shape \(1, 16\), not \(1, 8\)"):
        OnnxEncoder(card).embed_text(["low"])


@pytest.mark.parametrize("factor", [np.nan, np.inf, 2.0, 0.0])
def test_vectors_that_are_not_of_unit_length(broken_model: Path, factor: float) -> None:
    model = onnx.load(broken_model / "text.onnx")
    node = model.graph.node[-1]
    node.output[0] = "unit"
    value = onnx.numpy_helper.from_array(np.array(factor, np.float32), "factor")
    model.graph.initializer.append(value)
    model.graph.node.append(onnx.helper.make_node("Mul", ["unit", "factor"], ["embedding"]))
    onnx.save(model, broken_model / "text.onnx")
    with pytest.raises(ModelError, match="not finite or not of unit length"):
        OnnxEncoder(load_card(broken_model)).embed_text(["low"])


def test_a_language_tag_reaches_the_tokenizer(encoder: Encoder) -> None:
    with pytest.raises(UsageError, match="Unknown language `french`"):
        encoder.embed_text(["bruit"], lang="french")


def test_unknown_device(fake_model: Path) -> None:
    with pytest.raises(UsageError, match="Unknown device `gpu`"):
        OnnxEncoder(load_card(fake_model), "gpu")


def test_auto_says_what_it_chose(fake_model: Path) -> None:
    encoder = OnnxEncoder(load_card(fake_model), "auto")
    if encoder.device == "cpu":
        assert encoder.device_reason.startswith("Using cpu: ")
    assert OnnxEncoder(load_card(fake_model), "cpu").device_reason == "Using cpu, as asked."


@pytest.mark.parametrize("listed", [True, False])
def test_cuda_fails_loudly_when_it_is_not_used(
    fake_model: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    """ONNX Runtime lists CUDA where it cannot start it, and then silently uses the CPU."""
    import onnxruntime

    names = [runtime.CUDA, runtime.CPU] if listed else [runtime.CPU]
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, providers: real(path, options, providers=providers[-1:]),
    )
    with pytest.raises(RuntimeMissingError, match="`cuda` cannot be used") as caught:
        OnnxEncoder(load_card(fake_model), "cuda").embed_text(["low"])
    assert ("could not start it" in caught.value.why) == listed
    auto = OnnxEncoder(load_card(fake_model), "auto")
    assert auto.device == "cpu"
    assert ("does not start" in auto.device_reason) == listed


@pytest.mark.parametrize("device", ["cpu", "auto", "cuda"])
def test_libraries_of_cuda_are_loaded_from_their_packages(
    fake_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    device: str,
) -> None:
    """No loader looks where pip puts them. The runtime prints what it does not find."""
    import onnxruntime

    asked = []

    def preload() -> None:
        asked.append(len(made))
        print("Failed to load libcudart.so.12: no such file\nPlease follow a link")

    made: list[str] = []
    real = onnxruntime.InferenceSession

    def session(path: str, options: Any, providers: list[str]) -> Any:
        made.append(path)
        return real(path, options, providers=providers[-1:])

    names = [runtime.CUDA, runtime.CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "preload_dlls", preload, raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    encoder = OnnxEncoder(load_card(fake_model), device)
    if device == "cuda":
        with pytest.raises(RuntimeMissingError) as caught:
            encoder.embed_text(["low"])
        assert "Failed to load libcudart.so.12: no such file" in caught.value.why
    else:
        encoder.embed_text(["low"])
    assert (asked[:1] == [0]) == (device != "cpu")  # before the first session
    assert capsys.readouterr().out == ""


def test_without_a_runtime(fake_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError("No module named 'onnxruntime'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RuntimeMissingError) as caught:
        OnnxEncoder(load_card(fake_model)).embed_text(["low"])
    assert 'pip install "atri-cli[cpu]"' in caught.value.hint


def test_a_broken_runtime(fake_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("onnxruntime.InferenceSession")
    with pytest.raises(RuntimeMissingError, match="installed, but broken"):
        OnnxEncoder(load_card(fake_model)).embed_text(["low"])


def test_the_runtime_reports_to_nobody(fake_model: Path, tmp_path: Path) -> None:
    """With reports on, ONNX Runtime keeps a device id and a queue of events in the user's cache."""
    script = (
        "import sys; from pathlib import Path; from atri_cli.encoders.card import load_card;"
        "from atri_cli.encoders.registry import load_encoder;"
        "load_encoder(load_card(Path(sys.argv[1])), 'cpu').embed_text(['low'])"
    )
    silencers = {"CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS"}
    kept = {name: value for name, value in os.environ.items() if name not in silencers}
    home = tmp_path / "home"
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    subprocess.run(
        [sys.executable, "-c", script, str(fake_model)], env=kept | places, check=True, timeout=60
    )
    assert not home.exists()


def test_heavy_packages_are_imported_late() -> None:
    script = (
        "import sys, atri_cli.encoders.onnx_encoder, atri_cli.encoders.registry, "
        "atri_cli.audio.decode, atri_cli.audio.formats\n"
        "heavy = {'onnxruntime', 'sentencepiece', 'soundfile', 'soxr', 'av', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_registry_needs_no_numpy() -> None:
    script = (
        "import sys, atri_cli.encoders.registry, atri_cli.audio.formats\n"
        "print('numpy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
