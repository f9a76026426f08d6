"""`atri doctor` and `atri models`."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from atri_cli.commands import checks
from atri_cli.library import hnsw
from tests.cli_tools import Done, atri, make_sounds, run
from tests.library_tools import without_root_rights

Capture = pytest.CaptureFixture[bytes]


@pytest.fixture(autouse=True)
def _model(fake_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATRI_MODEL", str(fake_model))


def about(done: Done, name: str) -> list[dict[str, Any]]:
    return [check for check in done.json["checks"] if check["name"] == name]


def test_a_fresh_installation_is_in_order(capsysbinary: Capture) -> None:
    done = run(capsysbinary, "doctor", "--json")
    assert (done.code, done.json["schema"], done.json["ok"]) == (0, 1, True)
    names = {check["name"] for check in done.json["checks"]}
    assert names >= {"atri", "packages", "runtime", "formats", "folders", "settings", "model"}
    assert about(done, "library")[0]["state"] == "note"
    assert any("CPUExecutionProvider" in check["detail"] for check in about(done, "model"))
    assert any("ATRI_MODEL" in check["detail"] for check in about(done, "settings"))
    done = run(capsysbinary, "doctor")
    assert done.lines[0].split() == ["state", "about", "what"]
    assert done.err == "Nothing is broken.\n"


def test_both_runtimes_are_a_conflict_with_a_remedy(
    capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Distribution:
        def __init__(self, name: str) -> None:
            self.metadata = {"Name": name}

    both = [Distribution(name) for name in ("ONNXRuntime-gpu", "onnxruntime", "numpy")]
    monkeypatch.setattr("importlib.metadata.distributions", lambda: both)
    done = run(capsysbinary, "doctor", "--json")
    assert done.code == 1
    conflict = about(done, "runtime")[0]
    assert conflict["state"] == "broken"
    assert "`pip uninstall onnxruntime onnxruntime-gpu`" in conflict["hint"]
    assert "1 thing broken: runtime." in done.err


def test_a_model_whose_files_are_not_those_of_its_card(
    tmp_path: Path, fake_model: Path, capsysbinary: Capture
) -> None:
    copy = shutil.copytree(fake_model, tmp_path / "copy")
    with (copy / "text.onnx").open("ab") as file:
        file.write(b"\0")
    (copy / "spm.model").unlink()
    done = run(capsysbinary, "doctor", "--model", copy, "--json")
    assert done.code == 1
    found = [check["detail"] for check in about(done, "model")]
    assert any("text.onnx" in detail for detail in found)
    assert any("spm.model" in detail for detail in found)


def test_a_model_that_is_not_there(capsysbinary: Capture) -> None:
    done = run(capsysbinary, "doctor", "--model", "atri-maxi", "--json")
    assert done.code == 1
    assert "`atri-maxi`" in about(done, "model")[0]["detail"]


def test_a_package_that_does_not_load(
    capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PACKAGES", ("numpy", "no_such_package"))
    done = run(capsysbinary, "doctor", "--json")
    assert done.code == 1
    assert "no_such_package" in about(done, "packages")[1]["hint"]


def test_folders_that_cannot_be_written(
    tmp_path: Path, atri_home: Path, capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    atri_home.mkdir(mode=0o500)
    with without_root_rights():
        done = run(capsysbinary, "doctor", "--json")
    assert done.code == 1
    assert all(check["state"] == "broken" for check in about(done, "folders"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("ATRI_HOME", str(tmp_path / "file"))
    done = run(capsysbinary, "doctor", "--json")
    assert done.code == 1
    assert "is not a folder" in about(done, "folders")[0]["detail"]


@pytest.mark.parametrize("damage", ["header", "tail", "text"])
def test_a_damaged_database(
    damage: str, tmp_path: Path, atri_home: Path, capsysbinary: Capture
) -> None:
    run(capsysbinary, "index", make_sounds(tmp_path / "sounds"))
    path = atri_home / "libraries" / "default" / "library.db"
    data = bytearray(path.read_bytes())
    if damage == "text":
        data = bytearray(b"not a database " * 999)
    elif damage == "header":
        data[:100] = os.urandom(100)
    else:
        data[-40000:] = b"\xa5" * 40000
    path.write_bytes(data)
    done = run(capsysbinary, "doctor", "--json")
    assert done.code == 1, done.out
    assert about(done, "library")[0]["state"] == "broken"
    assert "your sounds are untouched" in json.dumps(done.json)


def test_fix_rebuilds_the_search_cache(
    tmp_path: Path, capsysbinary: Capture, atri_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hnsw, "EXACT_LIMIT", 3)
    run(capsysbinary, "index", make_sounds(tmp_path / "sounds"))
    library = atri_home / "libraries" / "default"
    assert about(run(capsysbinary, "doctor", "--json"), "search cache")[0]["state"] == "ok"
    (graph,) = library.glob("vectors-*.hnsw")
    graph.write_bytes(b"rubbish")
    done = run(capsysbinary, "doctor", "--json")
    assert (done.code, about(done, "search cache")[0]["detail"]) == (1, "damaged")
    assert "doctor --fix" in about(done, "search cache")[0]["hint"]
    done = run(capsysbinary, "doctor", "--fix", "--json")
    assert (done.code, about(done, "search cache")[0]["detail"]) == (0, "was damaged, rebuilt")
    for path in library.glob("vectors*"):
        path.unlink()
    done = run(capsysbinary, "doctor", "--json")
    assert (done.code, about(done, "search cache")[0]["state"]) == (0, "note")
    done = run(capsysbinary, "doctor", "--fix")
    assert done.code == 0
    assert done.err.startswith("Building the search graph")
    assert run(capsysbinary, "status", "--json").json["cache"] == "fresh"


def test_a_library_of_another_model(
    tmp_path: Path, capsysbinary: Capture, fake_model: Path
) -> None:
    from tests.fake_model import make_fake_model

    run(capsysbinary, "index", make_sounds(tmp_path / "sounds"))
    other = make_fake_model(tmp_path / "other", 8)
    assert other != fake_model
    done = run(capsysbinary, "doctor", "-L", "default", "--model", other, "--json")
    assert done.code == 1
    assert "made with the model `fake`" in about(done, "library")[0]["detail"]


def test_models(tmp_path: Path, atri_home: Path, fake_model: Path, capsysbinary: Capture) -> None:
    shutil.copytree(fake_model, atri_home / "models" / "mine")
    with (atri_home / "models" / "mine" / "card.toml").open("a") as file:
        file.write('\n[quality]\nr10 = 0.5\ndate = 2026-11-23\nby = "a test"\n')
    done = run(capsysbinary, "models", "--json")
    assert (done.code, done.json["schema"]) == (0, 1)
    (card,) = [one for one in done.json["models"] if one["folder"].startswith(str(tmp_path))]
    assert len(card["pipeline_id"]) == 16
    assert card["languages"] == ["en", "fr", "de", "es", "nl", "ca", "ja", "zh"]
    assert card["licences"]["weights"] == "Apache-2.0"
    assert card["quality"] == {"r10": 0.5, "date": "2026-11-23", "by": "a test"}
    assert card["bytes"] > 1000
    done = run(capsysbinary, "models")
    assert any(line.split()[0:2] == ["model", "fake"] for line in done.lines)
    assert "quality        r10: 0.5" in done.out


def test_a_model_with_a_broken_card_is_named(atri_home: Path, capsysbinary: Capture) -> None:
    (atri_home / "models" / "bad").mkdir(parents=True)
    (atri_home / "models" / "bad" / "card.toml").write_text("name = 3")
    done = run(capsysbinary, "models")
    assert done.code == 0
    assert "bad/card.toml` lacks or misspells a fact" in done.err
    done = run(capsysbinary, "doctor", "--json")
    assert done.code == 0
    assert "bad/card.toml` lacks" in about(done, "model")[0]["detail"]


def test_doctor_looks_at_the_model_of_the_library(
    tmp_path: Path, capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fake_model import make_fake_model

    other = make_fake_model(tmp_path / "other", 8)
    run(capsysbinary, "index", make_sounds(tmp_path / "sounds"), "-L", "default", "--model", other)
    monkeypatch.delenv("ATRI_MODEL")
    with (other / "text.onnx").open("ab") as file:
        file.write(b"!")
    done = run(capsysbinary, "doctor", "--json")
    assert "other/text.onnx` differs" in about(done, "model")[0]["detail"]


def test_doctor_as_a_process(tmp_path: Path) -> None:
    done = atri("doctor", "--json", cwd=tmp_path)
    assert done.code == 0, done.out
    assert done.err == "Nothing is broken.\n"


def test_bench_is_measured(capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    from atri_cli.commands import bench
    from atri_cli.encoders.onnx_encoder import OnnxEncoder

    monkeypatch.setattr(bench, "SECONDS", 0.2)
    monkeypatch.setenv("ATRI_JOBS", "1")
    found = run(capsysbinary, "doctor", "--bench", "--json").json
    assert (found["schema"], found["model"], found["threads"]) == (1, "fake", 1)
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert (found["provider"], found["batch_size"]) == ("CPUExecutionProvider", 1)
    assert found["provider"] in found["available"]
    assert 0 < found["query"] <= found["first_query"]
    hear = OnnxEncoder.embed_audio

    def slowly(self: OnnxEncoder, windows: Any) -> Any:
        time.sleep(0.1)
        return hear(self, windows)

    monkeypatch.setattr(OnnxEncoder, "embed_audio", slowly)
    slow = run(capsysbinary, "doctor", "--bench", "--json").json
    assert slow["real_time"] <= slow["segment_seconds"] / 0.1 < found["real_time"]
    assert slow["audio_seconds"] in (slow["segment_seconds"], slow["segment_seconds"] * 2)
    monkeypatch.setenv("ATRI_JOBS", "4")
    several = run(capsysbinary, "doctor", "--bench", "--json").json
    assert several["threads"] == 4
    assert several["audio_seconds"] > slow["audio_seconds"]
    table = run(capsysbinary, "doctor", "--bench")
    assert "× real time" in table.out


def test_bench_does_not_pretend_cuda(capsysbinary: Capture) -> None:
    done = run(capsysbinary, "doctor", "--bench", "--device", "cuda", "--json")
    if done.code == 0:
        assert done.json["provider"] == "CUDAExecutionProvider"
        pytest.skip("this machine has CUDA")
    assert (done.code, done.out) == (1, "")
    assert "The device `cuda` cannot be used" in done.err
    assert "Why: " in done.err
    assert 'pip install "atri-cli[gpu]"' in done.err


def test_bench_of_the_model_that_made_the_library(
    tmp_path: Path, capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atri_cli.commands import bench

    monkeypatch.setattr(bench, "SECONDS", 0.1)
    run(capsysbinary, "index", make_sounds(tmp_path / "sounds"))
    monkeypatch.delenv("ATRI_MODEL")
    found = run(capsysbinary, "doctor", "--bench", "--device", "auto", "--json").json
    assert found["model"] == "fake"
    assert found["reason"].startswith("Using ")
    assert found["reason"] != "Using cpu, as asked."


def test_bench_of_the_embedded_model_as_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATRI_MODEL")
    done = atri("doctor", "--bench")
    assert (done.code, done.err) == (0, "")
    facts = {line[:11].strip(): line[11:].strip() for line in done.lines}
    assert facts["model"].startswith("atri-mini, ")
    assert facts["provider"].startswith("CPUExecutionProvider. ")
    assert float(facts["sound"].split()[0].replace(",", "")) > 1
