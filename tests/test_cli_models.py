"""`atri models add`, `remove` and `verify`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from atri_cli.encoders import installing, registry
from tests.cli_tools import Done, make_sounds, run

Capture = pytest.CaptureFixture[bytes]


@pytest.fixture
def model(fake_model: Path, tmp_path: Path) -> Path:
    """A folder outside atri's own, with texts and rubbish beside the model."""
    folder = tmp_path / "download"
    shutil.copytree(fake_model, folder)
    (folder / "LICENSE.txt").write_text("free")
    (folder / "README.md").write_text("hello")
    (folder / "run.log").write_text("rubbish")
    return folder


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the embedded models, which are slow to read."""
    folder = tmp_path / "embedded"
    folder.mkdir()
    for module in (registry, installing):
        monkeypatch.setattr(module, "embedded_dir", lambda: folder)
    return folder


def add(capture: Capture, *words: str | Path) -> Done:
    return run(capture, "models", "add", *words)


def edit(folder: Path, old: str, new: str) -> None:
    card = folder / "card.toml"
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new))


def places(home: Path) -> set[str]:
    """What is in the user's folder of models, half done things too."""
    return {path.name for path in (home / "models").glob("*") if path.name != ".atri"} | {
        str(path.relative_to(home)) for path in (home / "models" / ".atri").rglob("*")
    }


def test_add_copies_the_model_and_its_texts(
    model: Path, atri_home: Path, tmp_path: Path, capsysbinary: Capture
) -> None:
    done = add(capsysbinary, model)
    assert done.code == 0, done.err
    assert "atri index --model fake" in done.err
    folder = atri_home / "models" / "fake"
    assert {path.name for path in folder.iterdir()} == {
        *("card.toml", "audio.onnx", "text.onnx", "spm.model", "LICENSE.txt", "README.md"),
    }
    assert places(atri_home) == {"fake"}
    shutil.rmtree(model)
    sounds = make_sounds(tmp_path / "sounds")
    assert run(capsysbinary, "index", sounds, "--model", "fake").code == 0
    found = run(capsysbinary, "search", "noise", "--model", "fake", "--paths", "-n", "1")
    assert found.lines == [str(sounds / "sub" / "noise.flac")]


def test_add_links(model: Path, atri_home: Path, capsysbinary: Capture) -> None:
    done = add(capsysbinary, model, "--link", "--json")
    assert (done.json["name"], done.json["linked"]) == ("fake", True)
    assert (atri_home / "models" / "fake").resolve() == model
    assert [one["name"] for one in run(capsysbinary, "models", "--json").json["models"]][:1] == [
        "fake"
    ]
    assert "in the folder of models already" in add(capsysbinary, model, "--replace").err
    done = run(capsysbinary, "models", "remove", "fake")
    assert "link to the model fake (its folder is as it was)" in done.out
    assert places(atri_home) == set()
    assert (model / "card.toml").exists()


@pytest.mark.parametrize("link", [[], ["--link"]])
@pytest.mark.parametrize("fault", ["damaged", "missing"])
def test_add_refuses_a_damaged_model(
    fault: str, link: list[str], model: Path, atri_home: Path, capsysbinary: Capture
) -> None:
    (model / "spm.model").unlink()
    if fault == "damaged":
        (model / "spm.model").write_bytes(b"x")
    done = add(capsysbinary, model, *link)
    assert done.code == 1
    assert "damaged and was not added" in done.err
    assert "spm.model` " in done.err
    assert places(atri_home) == set()


def test_add_refuses_a_name_that_is_taken(
    model: Path, atri_home: Path, capsysbinary: Capture
) -> None:
    add(capsysbinary, model)
    edit(model, 'revision = "1"', 'revision = "2"')
    done = add(capsysbinary, model)
    assert done.code == 1
    assert "There is a model `fake` already." in done.err
    assert "--replace" in done.err
    done = add(capsysbinary, model, "--replace", "--link")
    assert done.code == 0
    assert "fake 2" in done.out
    assert add(capsysbinary, atri_home / "models" / "fake", "--replace").code == 1
    shutil.copytree(model, model.with_name("copy"))
    assert add(capsysbinary, model.with_name("copy"), "--replace").code == 0
    assert not (atri_home / "models" / "fake").is_symlink()
    assert places(atri_home) == {"fake"}
    assert (model / "card.toml").exists()


def test_add_does_not_hide_the_embedded_model(
    model: Path, atri_home: Path, embedded: Path, capsysbinary: Capture
) -> None:
    shutil.copytree(model, embedded / "mini")
    edit(model, 'name = "fake"', 'name = "mini"')
    assert "There is a model `mini` already." in add(capsysbinary, model).err
    assert add(capsysbinary, model, "--replace").code == 0
    assert places(atri_home) == {"mini"}


@pytest.mark.parametrize("name", ["../evil", "", ".hidden", "a/b", "checkpoints", "a\\\\b"])
def test_add_refuses_names_that_are_no_folder(
    name: str, model: Path, atri_home: Path, capsysbinary: Capture
) -> None:
    edit(model, 'name = "fake"', f'name = "{name}"')
    done = add(capsysbinary, model)
    assert done.code == 1
    assert "A model cannot be called" in done.err
    assert not (atri_home / "models").exists()


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "a/../../secret"])
def test_add_takes_no_file_from_elsewhere(
    file: str, model: Path, atri_home: Path, tmp_path: Path, capsysbinary: Capture
) -> None:
    (tmp_path / "secret").write_text("x")
    edit(model, 'tokenizer = "spm.model"', f'tokenizer = "{file}"')
    done = add(capsysbinary, model)
    assert done.code == 1
    assert "names a file outside its folder" in done.err
    assert not (atri_home / "models").exists()


def test_add_needs_a_card(tmp_path: Path, capsysbinary: Capture) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        done = add(capsysbinary, folder)
        assert done.code == 1
        assert "it has no `card.toml`" in done.err


def test_add_where_nothing_can_be_written(
    model: Path, atri_home: Path, capsysbinary: Capture
) -> None:
    atri_home.mkdir()
    (atri_home / "models").write_text("a file")
    done = add(capsysbinary, model)
    assert done.code == 1
    assert "Cannot write" in done.err
    assert "unforeseen" not in done.err


def test_remove(model: Path, atri_home: Path, capsysbinary: Capture) -> None:
    add(capsysbinary, model)
    done = run(capsysbinary, "models", "remove", "fake", "--json")
    assert done.code == 0
    assert (done.json["removed"], done.json["kind"]) == ("fake", "model")
    assert done.json["bytes"] > 1000
    assert places(atri_home) == set()
    assert run(capsysbinary, "models", "remove", "fake").code == 1


def test_remove_a_model_whose_card_is_broken(
    model: Path, atri_home: Path, capsysbinary: Capture
) -> None:
    add(capsysbinary, model)
    (atri_home / "models" / "fake" / "card.toml").write_text("[")
    assert run(capsysbinary, "models", "remove", "fake").code == 0
    assert places(atri_home) == set()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("atri-mini", "comes with atri and stays"),
        ("fakke", "Did you mean `fake`"),
        ("..", "There is no model"),
        (".atri", "There is no model"),
        ("checkpoints", "There is no model"),
        ("../libraries", "is not the name of a model"),
    ],
)
def test_remove_only_what_is_the_users(
    name: str, told: str, model: Path, atri_home: Path, capsysbinary: Capture
) -> None:
    add(capsysbinary, model)
    (atri_home / "models" / "checkpoints").mkdir()
    (atri_home / "libraries").mkdir()
    done = run(capsysbinary, "models", "remove", name)
    assert done.code == 1
    assert told in done.err
    assert places(atri_home) == {"fake", "checkpoints"}
    assert (atri_home / "libraries").is_dir()


def test_remove_refuses_while_a_library_needs_it(
    model: Path, atri_home: Path, tmp_path: Path, capsysbinary: Capture
) -> None:
    add(capsysbinary, model)
    sounds = make_sounds(tmp_path / "sounds")
    run(capsysbinary, "index", sounds, "--model", "fake", "-L", "field")
    done = run(capsysbinary, "models", "remove", "fake")
    assert done.code == 1
    assert f"cannot be searched: `{atri_home / 'libraries' / 'field'}`" in done.err
    assert "`atri models remove fake --force`" in done.err
    shutil.copytree(atri_home / "models" / "fake", atri_home / "models" / "twin")
    assert run(capsysbinary, "models", "remove", "fake").code == 0  # the twin serves the library
    assert run(capsysbinary, "search", "noise", "-L", "field").code == 0
    assert run(capsysbinary, "models", "remove", "twin").code == 1
    assert run(capsysbinary, "models", "remove", "twin", "--force").code == 0


@pytest.mark.usefixtures("embedded")
def test_verify(model: Path, atri_home: Path, capsysbinary: Capture) -> None:
    add(capsysbinary, model)
    done = run(capsysbinary, "models", "verify", "--json")
    assert (done.code, done.json["ok"]) == (0, True)
    assert [(one["name"], one["kind"]) for one in done.json["models"]] == [("fake", "model")]
    (atri_home / "models" / "fake" / "text.onnx").write_bytes(b"x")
    done = run(capsysbinary, "models", "verify", "fake")
    assert done.code == 1
    assert "damaged" in done.out
    assert "text.onnx` differs from the file its card describes." in done.err
    (atri_home / "models" / "fake" / "card.toml").write_text("[")
    assert run(capsysbinary, "models", "verify").code == 1
    done = run(capsysbinary, "models", "verify", "nothing")
    assert done.code == 1
    assert "There is no model `nothing`." in done.err


@pytest.mark.usefixtures("embedded")
def test_verify_and_remove_a_checkpoint(
    tmp_path: Path, atri_home: Path, capsysbinary: Capture
) -> None:
    usb = tmp_path / "usb"
    usb.mkdir()
    for name in ("model.safetensors", "config.json"):
        (usb / name).write_text(name)
    assert run(capsysbinary, "models", "pull", "ced-tiny", "--from", usb).code == 0
    done = run(capsysbinary, "models", "verify", "ced-tiny", "--json")
    assert (done.code, done.json["models"][0]["kind"]) == (0, "checkpoint")
    folder = atri_home / "models" / "checkpoints" / "ced-tiny"
    (folder / "config.json").unlink()
    (folder / "model.safetensors").write_text("other")
    done = run(capsysbinary, "models", "verify")
    assert done.code == 1
    assert "config.json` cannot be read" in done.err
    assert "model.safetensors` differs from the file that was pulled." in done.err
    (folder / "pulled.json").write_text("[]")
    assert "Cannot read" in run(capsysbinary, "models", "verify").err
    assert run(capsysbinary, "models", "pull", "ced-tiny", "--from", usb).code == 1
    done = run(capsysbinary, "models", "remove", "ced-tiny", "--json")
    assert (done.code, done.json["kind"]) == (0, "checkpoint")
    assert not folder.exists()
    assert run(capsysbinary, "models", "remove", "ced-tiny").code == 1


def test_the_embedded_model_is_whole(capsysbinary: Capture) -> None:
    assert run(capsysbinary, "models", "verify", "atri-mini").code == 0
