"""`atri models pull`: whole or not at all, whatever the server, the disk and the user do."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atri_cli.checkpoints import download, sources
from atri_cli.checkpoints.hubcache import hub_folder
from atri_cli.errors import AtriError
from tests.cli_tools import REPOSITORY, Done, atri, run
from tests.file_server import FileServer, serving

Capture = pytest.CaptureFixture[bytes]
WEIGHTS = random.Random(1).randbytes(300_000)
CONFIG = b'{"model_type": "tiny"}\n'
FILES = {"/weights.pt": WEIGHTS, "/config.json": CONFIG}
LICENCES = {"free": ("Apache-2.0", "true"), "bound": ("CC-BY-NC-4.0", "false")}
OURS = {"/model.safetensors": WEIGHTS, "/config.json": CONFIG}  # as the real ced-tiny has them


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(autouse=True)
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses, short patience, an empty cache of the hub, and no proxy."""
    monkeypatch.setattr(download, "PAUSE", 0)
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    for name in [*os.environ]:
        if name.startswith(("HF_", "HUGGINGFACE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(dict(FILES)) as running:
        yield running


@pytest.fixture
def table(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two known models, `free` and `bound`, whose files the server has."""
    path = tmp_path / "sources.toml"
    monkeypatch.setattr(sources, "TABLE", path)
    write_table(path, server.url)
    yield path
    sources.sources.cache_clear()


def write_table(path: Path, url: str, digest: str = "") -> None:
    text = ""
    for name, (licence, commercial) in LICENCES.items():
        text += f'[{name}]\nwhat = "A model"\nlicence = "{licence}"\ncommercial = {commercial}\n'
        text += f'terms = "https://example.org/{name}"\n[{name}.files]\n'
        text += f'"weights.pt" = {{ url = "{url}/weights.pt", sha256 = "{digest}" }}\n'
        text += f'"config.json" = {{ url = "{url}/config.json", sha256 = "" }}\n'
    path.write_text(text)
    sources.sources.cache_clear()


def pull(capture: Capture, *words: str | Path, name: str = "free") -> Done:
    return run(capture, "models", "pull", name, *words)


def folder(home: Path, name: str = "free") -> Path:
    return home / "models" / "checkpoints" / name


def part(home: Path) -> Path:
    return home / "models" / "checkpoints" / ".free.part" / "weights.pt.part"


def assert_whole(place: Path) -> None:
    assert {path.name for path in place.iterdir()} == {"weights.pt", "config.json", "pulled.json"}
    assert (place / "weights.pt").read_bytes() == WEIGHTS
    assert (place / "config.json").read_bytes() == CONFIG
    assert not place.with_name(f".{place.name}.part").exists()


def how(done: Done) -> list[str]:
    assert done.code == 0, done.err
    return [file["how"] for file in done.json["files"]]


@pytest.mark.usefixtures("table")
def test_whole(atri_home: Path, capsysbinary: Capture) -> None:
    done = pull(capsysbinary, "--json")
    assert how(done) == ["downloaded", "downloaded"]
    assert (done.json["licence"], done.json["commercial"]) == ("Apache-2.0", True)
    assert [file["sha256"] for file in done.json["files"]] == [sha(WEIGHTS), sha(CONFIG)]
    assert_whole(folder(atri_home))
    record = json.loads((folder(atri_home) / "pulled.json").read_text())
    assert record["files"]["weights.pt"]["sha256"] == sha(WEIGHTS)
    assert record["files"]["weights.pt"]["published"] is False


@pytest.mark.usefixtures("table")
def test_what_is_said(atri_home: Path, capsysbinary: Capture) -> None:
    done = pull(capsysbinary)
    assert "licence" in done.out
    assert "Apache-2.0" in done.out
    assert str(folder(atri_home)) in done.out
    assert "SHA-256 is not known" in done.err
    assert "`atri models verify free`" in done.err
    assert "`atri export free`" in done.err
    done = run(capsysbinary, "models")
    assert "free (pulled" in done.out


@pytest.mark.usefixtures("table")
def test_again_asks_the_server_nothing(server: FileServer, capsysbinary: Capture) -> None:
    pull(capsysbinary)
    asked = len(server.asked)
    assert how(pull(capsysbinary, "--json")) == ["kept", "kept"]
    assert len(server.asked) == asked


@pytest.mark.usefixtures("table")
def test_a_damaged_file_is_fetched_again(atri_home: Path, capsysbinary: Capture) -> None:
    pull(capsysbinary)
    (folder(atri_home) / "weights.pt").write_bytes(b"x")
    assert how(pull(capsysbinary, "--json")) == ["downloaded", "kept"]
    assert_whole(folder(atri_home))


@pytest.mark.usefixtures("table")
def test_a_broken_connection_goes_on_by_itself(
    server: FileServer, atri_home: Path, capsysbinary: Capture
) -> None:
    server.faults["/weights.pt"] = ["cut"] * 5  # more often than TRIES, but each brings something
    assert how(pull(capsysbinary, "--json"))[0] == "downloaded"
    assert server.asked[1] == ("/weights.pt", f"bytes={len(WEIGHTS) // 2}-")
    assert_whole(folder(atri_home))


@pytest.mark.usefixtures("table")
def test_cut_off_is_resumed_by_the_next_call(
    server: FileServer, atri_home: Path, capsysbinary: Capture
) -> None:
    server.faults["/weights.pt"] = ["cut", *["500"] * download.TRIES]
    done = pull(capsysbinary)
    assert done.code == 1
    assert "Why: The server answered 500" in done.err
    assert "goes on where it stopped" in done.err
    assert not folder(atri_home).exists()
    assert part(atri_home).read_bytes() == WEIGHTS[: len(WEIGHTS) // 2]
    assert how(pull(capsysbinary, "--json")) == ["resumed", "downloaded"]
    assert server.asked[-2] == ("/weights.pt", f"bytes={len(WEIGHTS) // 2}-")
    assert_whole(folder(atri_home))


@pytest.mark.usefixtures("table")
def test_always_cut_off_gives_up(
    server: FileServer, atri_home: Path, capsysbinary: Capture
) -> None:
    server.ranges = False
    server.faults["/weights.pt"] = ["cut"] * 10
    done = pull(capsysbinary)
    assert done.code == 1
    assert "came only in part" in done.err
    assert "150.0 kB of 300.0 kB" in done.err
    assert not folder(atri_home).exists()


def interrupt(server: FileServer, capture: Capture) -> None:
    """Leave half of the weights in the `.part`."""
    server.faults["/weights.pt"] = ["cut", "404"]
    assert pull(capture).code == 1
    server.asked.clear()


@pytest.mark.usefixtures("table")
def test_another_version_is_not_joined_to_the_old(
    server: FileServer, atri_home: Path, capsysbinary: Capture
) -> None:
    server.files["/weights.pt"] = bytes(300_000)
    server.etags["/weights.pt"] = '"old"'
    interrupt(server, capsysbinary)
    server.files["/weights.pt"] = WEIGHTS
    server.etags["/weights.pt"] = '"new"'
    assert how(pull(capsysbinary, "--json"))[0] == "downloaded"
    assert_whole(folder(atri_home))


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("fault", ["no ranges", "no etag", "weak etag", "damaged note", "long"])
def test_what_cannot_be_resumed_starts_again(
    fault: str, server: FileServer, atri_home: Path, capsysbinary: Capture
) -> None:
    if fault == "no etag":
        server.etags.clear()
    elif fault == "weak etag":
        server.etags["/weights.pt"] = 'W/"1"'
    interrupt(server, capsysbinary)
    if fault == "no ranges":
        server.ranges = False
    elif fault == "damaged note":
        part(atri_home).with_name("weights.pt.part.json").write_text("[")
    elif fault == "long":
        part(atri_home).write_bytes(bytes(400_000))
    assert how(pull(capsysbinary, "--json"))[0] == "downloaded"
    assert_whole(folder(atri_home))


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("fault", ["another version", "another length", "another range"])
def test_a_wrong_rest_is_not_joined(
    fault: str, server: FileServer, atri_home: Path, capsysbinary: Capture
) -> None:
    server.careless = True
    interrupt(server, capsysbinary)
    if fault == "another version":
        server.etags["/weights.pt"] = '"new"'
    elif fault == "another length":
        part(atri_home).with_name("weights.pt.part.json").write_text(
            json.dumps(
                {"url": f"{server.url}/weights.pt", "etag": '"x"', "total": 299_000, "sha256": ""}
            )
        )
        server.etags["/weights.pt"] = '"x"'
    else:
        server.faults["/weights.pt"] = ["shifted"]
    assert how(pull(capsysbinary, "--json"))[0] == "downloaded"
    assert_whole(folder(atri_home))


@pytest.mark.usefixtures("table")
def test_all_there_but_not_finished(
    server: FileServer, atri_home: Path, capsysbinary: Capture
) -> None:
    interrupt(server, capsysbinary)
    part(atri_home).write_bytes(WEIGHTS)
    assert how(pull(capsysbinary, "--json"))[0] == "resumed"
    assert [path for path, _ in server.asked] == ["/config.json"]


def test_corrupted_against_a_known_digest(
    table: Path, server: FileServer, atri_home: Path, capsysbinary: Capture
) -> None:
    write_table(table, server.url, sha(WEIGHTS))
    server.files["/weights.pt"] = WEIGHTS[:-1] + b"?"
    done = pull(capsysbinary)
    assert done.code == 1
    assert "is not what was expected, and is not kept" in done.err
    assert sha(WEIGHTS)[:16] in done.err
    assert not folder(atri_home).exists()
    assert not part(atri_home).exists()
    server.files["/weights.pt"] = WEIGHTS
    done = pull(capsysbinary, "--json")
    assert done.json["files"][0]["sha256_published"] is True
    assert_whole(folder(atri_home))


@pytest.mark.usefixtures("table")
def test_another_file_than_the_first_time(
    server: FileServer, atri_home: Path, capsysbinary: Capture
) -> None:
    pull(capsysbinary)
    (folder(atri_home) / "weights.pt").unlink()
    server.files["/weights.pt"] = b"changed"
    done = pull(capsysbinary)
    assert done.code == 1
    assert "the first download had" in done.err
    assert "`atri models remove free`" in done.err
    assert run(capsysbinary, "models", "remove", "free").code == 0
    assert pull(capsysbinary).code == 0
    assert (folder(atri_home) / "weights.pt").read_bytes() == b"changed"


@pytest.mark.usefixtures("table")
def test_redirected(server: FileServer, atri_home: Path, capsysbinary: Capture) -> None:
    server.files["/elsewhere"] = WEIGHTS
    server.etags["/elsewhere"] = '"e"'
    server.faults["/weights.pt"] = [f"to:{server.url}/elsewhere"] * 2
    server.faults["/elsewhere"] = ["cut"]
    server.extra["X-Linked-ETag"] = f'"{sha(WEIGHTS)}"'
    assert pull(capsysbinary).code == 0
    assert ("/elsewhere", f"bytes={len(WEIGHTS) // 2}-") in server.asked
    assert_whole(folder(atri_home))


@pytest.mark.usefixtures("table")
def test_the_digest_that_the_hub_tells_is_compared(
    server: FileServer, atri_home: Path, capsysbinary: Capture
) -> None:
    server.files["/elsewhere"] = WEIGHTS
    server.faults["/weights.pt"] = [f"to:{server.url}/elsewhere"]
    server.extra["X-Linked-ETag"] = f'"{sha(CONFIG)}"'
    done = pull(capsysbinary)
    assert done.code == 1
    assert "is not what was expected" in done.err
    assert not folder(atri_home).exists()


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("404", "does not exist (any more)"),
        ("403", "Download it with a browser"),
        ("418", "The server answered 418"),
        ("html", "gave a web page instead of the file"),
        ("to:file:///etc/passwd", "Error: "),
        ("to:ftp://127.0.0.1/x", "Error: "),
        ("to:http://127.0.0.1:1/x", "Nothing listens at"),
    ],
)
def test_answers_that_help_nobody(
    fault: str,
    told: str,
    server: FileServer,
    atri_home: Path,
    capsysbinary: Capture,
) -> None:
    server.faults["/weights.pt"] = [fault] * 5
    done = pull(capsysbinary)
    assert done.code == 1
    assert told in done.err
    assert "unforeseen" not in done.err
    assert "Hint: " in done.err
    assert not folder(atri_home).exists()


@pytest.mark.usefixtures("table")
def test_500_is_tried_again(server: FileServer, capsysbinary: Capture) -> None:
    server.faults["/weights.pt"] = ["500", "500"]
    assert pull(capsysbinary).code == 0


def test_nobody_listens(table: Path, capsysbinary: Capture) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        write_table(table, f"http://127.0.0.1:{unused.getsockname()[1]}")
        done = pull(capsysbinary)
    assert done.code == 1
    assert "Why: Nothing listens at `127.0.0.1:" in done.err
    assert "--from DIR" in done.err


@pytest.mark.usefixtures("table")
def test_slow_is_cut_off_and_goes_on(
    server: FileServer,
    atri_home: Path,
    capsysbinary: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    server.faults["/weights.pt"] = ["hang", "404"]
    assert pull(capsysbinary).code == 1
    assert part(atri_home).stat().st_size == len(WEIGHTS) // 2
    assert how(pull(capsysbinary, "--json"))[0] == "resumed"
    assert_whole(folder(atri_home))


@pytest.mark.usefixtures("table")
def test_too_little_space(
    atri_home: Path, capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(atri_home.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    done = pull(capsysbinary)
    assert done.code == 1
    assert "Why: 300.0 kB are to come, and 1.0 kB are free." in done.err


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("number", "told"), [(errno.ENOSPC, "No space is left"), (errno.EACCES, "Permission denied")]
)
def test_a_disk_that_refuses(
    number: int,
    told: str,
    atri_home: Path,
    capsysbinary: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        done = pull(capsysbinary)
    assert done.code == 1
    assert told in done.err
    assert "unforeseen" not in done.err
    assert not folder(atri_home).exists()
    assert how(pull(capsysbinary, "--json"))[0] == "resumed"


@pytest.mark.usefixtures("table")
def test_a_folder_that_cannot_be_made(atri_home: Path, capsysbinary: Capture) -> None:
    atri_home.mkdir()
    (atri_home / "models").write_text("a file")
    done = pull(capsysbinary)
    assert done.code == 1
    assert "Cannot write" in done.err
    assert "Hint: " in done.err


# Licences


@pytest.mark.usefixtures("table")
def test_a_licence_without_commercial_use_is_acknowledged_once(
    server: FileServer, atri_home: Path, capsysbinary: Capture
) -> None:
    done = pull(capsysbinary, name="bound")
    assert done.code == 1
    assert "CC-BY-NC-4.0: https://example.org/bound" in done.err
    assert "`atri models pull bound --accept-license`" in done.err
    assert not server.asked
    server.faults["/weights.pt"] = ["404"]
    assert pull(capsysbinary, "--accept-license", name="bound").code == 1
    assert pull(capsysbinary, name="bound").code == 0
    assert json.loads((folder(atri_home, "bound") / "pulled.json").read_text())["accepted"] is True
    assert pull(capsysbinary, name="bound").code == 0


# Other places to take files from


@pytest.mark.usefixtures("table")
def test_from_a_folder(
    server: FileServer, tmp_path: Path, atri_home: Path, capsysbinary: Capture
) -> None:
    usb = tmp_path / "usb"
    (usb / "free").mkdir(parents=True)
    (usb / "weights.pt").write_bytes(WEIGHTS)
    done = pull(capsysbinary, "--from", usb)
    assert done.code == 1
    assert "has no `config.json`" in done.err
    (usb / "free" / "config.json").write_bytes(CONFIG)
    assert how(pull(capsysbinary, "--from", usb, "--json")) == ["kept", "copied"]
    assert not server.asked
    assert_whole(folder(atri_home))


def test_from_a_mirror(
    table: Path, server: FileServer, atri_home: Path, capsysbinary: Capture
) -> None:
    write_table(table, "http://127.0.0.1:1")
    assert how(pull(capsysbinary, "--from", f"{server.url}/", "--json")) == ["downloaded"] * 2
    assert_whole(folder(atri_home))


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("origin", ["/no/such/folder", "ftp://example.org", "file:///etc"])
def test_from_nowhere(origin: str, capsysbinary: Capture) -> None:
    assert pull(capsysbinary, "--from", origin).code == 2


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "ATRI_OFFLINE"])
def test_offline_asks_nobody(
    variable: str,
    server: FileServer,
    tmp_path: Path,
    capsysbinary: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, "1")
    for words in ([], ["--from", server.url]):
        done = pull(capsysbinary, *words)
        assert done.code == 1
        assert f"Why: `{variable}` is set." in done.err
    assert not server.asked
    for path, data in FILES.items():
        (tmp_path / path[1:]).write_bytes(data)
    assert pull(capsysbinary, "--from", tmp_path).code == 0


def fill_cache(home: Path, data: bytes, digest: str) -> None:
    """ced-tiny as the hub's own library keeps it."""
    repository = home / "hub" / "models--mispeech--ced-tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    for folder in (snapshot, repository / "blobs", repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    for name, blob, content in (
        ("model.safetensors", digest, data),
        ("config.json", "1" * 40, CONFIG),
    ):
        (repository / "blobs" / blob).write_bytes(content)
        (snapshot / name).symlink_to(Path("../../blobs") / blob)


def test_the_cache_of_the_hub_is_used(
    tmp_path: Path, atri_home: Path, capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRI_OFFLINE", "1")
    fill_cache(tmp_path / "hf", WEIGHTS, sha(WEIGHTS))
    assert how(pull(capsysbinary, "--json", name="ced-tiny")) == ["cached", "cached"]
    assert (folder(atri_home, "ced-tiny") / "model.safetensors").read_bytes() == WEIGHTS
    assert not (folder(atri_home, "ced-tiny") / "model.safetensors").is_symlink()


def test_a_damaged_file_in_the_cache_is_not(
    tmp_path: Path, capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRI_OFFLINE", "1")
    fill_cache(tmp_path / "hf", WEIGHTS[:-1], sha(WEIGHTS))
    done = pull(capsysbinary, name="ced-tiny")
    assert done.code == 1
    assert "`ATRI_OFFLINE` is set" in done.err


@pytest.mark.parametrize(
    ("variable", "inside"),
    [("HF_HOME", "hub"), ("HF_HUB_CACHE", ""), ("XDG_CACHE_HOME", "huggingface/hub")],
)
def test_where_the_hub_keeps_its_cache(
    variable: str, inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv(variable, str(tmp_path))
    assert hub_folder() == tmp_path / inside


def test_no_way_from_https_to_http() -> None:
    request = urllib.request.Request("https://example.org/x")
    with pytest.raises(AtriError, match="not encrypted"):
        download._Redirects().redirect_request(
            request, io.BytesIO(), 302, "", {}, "http://example.org/x"
        )


# Several processes


def start(url: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "atri_cli", "models", "pull", "ced-tiny", "--from", url]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def test_two_processes_do_not_meet(atri_home: Path, capsysbinary: Capture) -> None:
    with serving(dict(OURS)) as server:
        server.faults["/model.safetensors"] = ["hang"]
        first = start(server.url)
        assert server.half_sent.wait(20)
        second = pull(capsysbinary, "--from", server.url, name="ced-tiny")
        assert second.code == 1
        assert "Another `atri models` is working at `ced-tiny`" in second.err
        assert f"process {first.pid}" in second.err
        assert run(capsysbinary, "models", "remove", "ced-tiny").code == 1
        server.go_on.set()
        assert first.wait(20) == 0, first.communicate()
        first.communicate()
    assert (folder(atri_home, "ced-tiny") / "model.safetensors").read_bytes() == WEIGHTS


def test_killed_half_way(atri_home: Path, capsysbinary: Capture) -> None:
    with serving(dict(OURS)) as server:
        server.faults["/model.safetensors"] = ["hang"]
        first = start(server.url)
        assert server.half_sent.wait(20)
        grown = folder(atri_home, ".ced-tiny.part") / "model.safetensors.part"
        while not grown.exists() or not grown.stat().st_size:
            assert first.poll() is None
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert not folder(atri_home, "ced-tiny").exists()
        done = pull(capsysbinary, "--from", server.url, "--json", name="ced-tiny")
    assert how(done) == ["resumed", "downloaded"]
    assert (folder(atri_home, "ced-tiny") / "model.safetensors").read_bytes() == WEIGHTS


# The table


def test_known_models_are_listed(capsysbinary: Capture) -> None:
    done = run(capsysbinary, "models", "pull", "--json")
    known = {one["name"]: one for one in done.json["known"]}
    assert {"ced-tiny", "ced-mini", "ced-small", "ced-base", "sonar", "ml-clap", "glap"} <= {*known}
    assert known["ced-base"]["commercial"] is True
    assert not any(known[name]["commercial"] for name in ("sonar", "ml-clap", "glap"))
    assert run(capsysbinary, "models", "pull").lines[0].split()[0] == "name"


def test_the_table_is_sound() -> None:
    for source in sources.sources().values():
        assert source.licence
        assert source.terms.startswith("https://")
        for file in source.files:
            assert file.url.startswith("https://")
            assert file.url.endswith(f"/{file.name}")
            assert Path(file.name).name == file.name != "pulled.json"
            assert file.sha256 == "" or len(file.sha256) == 64
    assert sources.find_source("ced-base").files[0].on_hub == (
        *("mispeech/ced-base", "main"),
        "model.safetensors",
    )


def test_glap_comes_from_where_its_own_code_takes_it() -> None:
    """`glap_model.pretrained.PRETRAINED_CHECKPOINTS` of its version 0.0.13."""
    [weights, tokenizer] = sources.find_source("glap").files
    assert weights.url == "https://zenodo.org/records/15493136/files/glap_checkpoint.pt"
    assert tokenizer == sources.find_source("sonar").files[1]


def test_an_unknown_name(capsysbinary: Capture) -> None:
    done = pull(capsysbinary, name="ced-tinny")
    assert done.code == 2
    assert "Did you mean `ced-tiny`" in done.err
    assert run(capsysbinary, "models", "pull", "--accept-license").code == 2
    assert atri("models", "--json", "pull").code == 2
