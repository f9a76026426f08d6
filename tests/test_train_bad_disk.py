"""Training where the disk is full, or where what lies in a file is not what should be there."""

from __future__ import annotations

import json
import pickle
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from atri_cli.errors import AtriError
from tests.cli_tools import run
from tests.test_train_finetune import FEW, sounds, tiny  # noqa: F401
from tests.train_tools import Trap
from train import captioncache, model
from train.captioncache import CaptionCache
from train.disk import saving
from train.runlog import METRICS, RunLog

Capture = pytest.CaptureFixture[bytes]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("I/O error: No space left on device"),
        sqlite3.OperationalError("database or disk is full"),
    ],
)
def test_a_full_disk_is_said_in_words(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(AtriError) as found, saving("the model", tmp_path):
        raise error
    assert found.value.what == f"Cannot save the model in `{tmp_path}`."
    assert "space" in found.value.why or "full" in found.value.why
    assert found.value.hint.startswith("Make room")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_the_log_on_a_full_disk(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0)
    (tmp_path / METRICS).symlink_to("/dev/full")
    with pytest.raises(AtriError, match="Cannot save the log"):
        log.add(1, {"loss": 1.0})


def test_vectors_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(path: Path, timeout: float) -> sqlite3.Connection:
        db = sqlite3.Connection(path, timeout=timeout)
        db.execute("PRAGMA max_page_count = 20")
        return db

    monkeypatch.setattr(captioncache.sqlite3, "connect", connect)
    cache = CaptionCache(tmp_path, "model")
    many = [("en", f"sound {n}") for n in range(200)]
    with pytest.raises(AtriError, match="Cannot save vectors"):
        cache.get(many, lambda some: np.zeros((len(some), 256), np.float32))


def test_half_a_model_is_not_left(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape, audio, text = model.load_model(tiny)

    def full(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(SafetensorError):
        model.save_model(tmp_path / "new", shape, audio, text, b"")
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize("file", ["audio.safetensors", "model.json", "tokenizer.model"])
def test_a_pickle_in_place_of_a_model_is_never_unpickled(
    file: str,
    tiny: Path,  # noqa: F811
    sounds: Path,  # noqa: F811
    tmp_path: Path,
    capsysbinary: Capture,
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(tiny, bad)
    (bad / file).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    trained = run(capsysbinary, "train", "--data", sounds, *FEW, "--model", bad)
    assert trained.code == 1
    assert "cannot be read" in trained.err
    exported = run(capsysbinary, "export", bad, "--out", tmp_path / "made")
    assert exported.code == 1
    assert "unforeseen" not in trained.err + exported.err
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kind", ["no run", "bad run", "no plan"])
def test_a_damaged_run_is_not_resumed(
    kind: str,
    tiny: Path,  # noqa: F811
    sounds: Path,  # noqa: F811
    tmp_path: Path,
    capsysbinary: Capture,
) -> None:
    out = tmp_path / "run"
    words = ("train", "--data", sounds, *FEW, "--model", tiny, "--out", out)
    assert run(capsysbinary, *words, "-q").code == 0
    if kind == "no run":
        (out / "run.json").unlink()
    elif kind == "bad run":
        (out / "run.json").write_text("{")
    else:
        facts = json.loads((out / "checkpoint.json").read_text())
        del facts["plan"]
        (out / "checkpoint.json").write_text(json.dumps(facts))
    done = run(capsysbinary, *words, "--resume")
    assert done.code == 1
    assert "damaged" in done.err
    assert "unforeseen" not in done.err


def test_a_share_of_what_was_learnt(
    tiny: Path,  # noqa: F811
    sounds: Path,  # noqa: F811
    tmp_path: Path,
    capsysbinary: Capture,
) -> None:
    words = ("train", "--data", sounds, *FEW, "--model", tiny, "--json")
    before = model.load_model(tiny)[1].head.state_dict()
    for share in ("0", "0.25"):
        out = tmp_path / share
        done = run(capsysbinary, *words, "--share", share, "--out", out)
        assert (done.code, done.json["share"]) == (0, float(share))
        after = model.load_model(out / "model")[1].head.state_dict()
        same = all(torch.equal(before[name], tensor) for name, tensor in after.items())
        assert same == (share == "0")
    wrong = run(capsysbinary, *words, "--share", "2", "--out", tmp_path / "two")
    assert wrong.code == 2
    assert "share cannot be 2" in wrong.err
