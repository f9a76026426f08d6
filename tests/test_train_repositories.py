"""Named recordings of public repositories: the tables, and fetching from a real git repository."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from atri_cli.errors import AtriError
from train import repositories
from train.captions import concepts_of
from train.phrases import vocabulary_concepts
from train.repositories import Recording, Repository

BARK, MEOW = b"RIFF a bark", b"RIFF a meow"


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    told = subprocess.run(
        ["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True
    )
    return told.stdout.strip()


def digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()[:16]


@pytest.fixture
def published(tmp_path: Path) -> tuple[Repository, Path]:
    """A repository with two sounds, whose next commit lacks them, and the folder it is in."""
    folder = tmp_path / "home" / "someone" / "animals"
    (folder / "sounds").mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "sounds" / "dog bark.ogg").write_bytes(BARK)
    (folder / "sounds" / "cat.ogg").write_bytes(MEOW)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "sounds")
    commit = git(folder, "rev-parse", "HEAD")
    git(folder, "rm", "--quiet", "-r", "sounds")
    git(folder, "commit", "--quiet", "-m", "moved")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    return Repository("someone/animals", commit, "CC0"), tmp_path / "home"


def wanted() -> list[Recording]:
    return [
        Recording("someone/animals", "sounds/dog bark.ogg", digest(BARK), ("dog_bark", "puppy")),
        Recording("someone/animals", "sounds/cat.ogg", digest(MEOW), ("cat_meow",)),
    ]


def test_an_old_commit_is_fetched_once(
    tmp_path: Path, published: tuple[Repository, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, home = published
    found = repositories.fetch(repository, wanted(), tmp_path / "out", home.as_uri())
    assert [file.place(tmp_path / "out").read_bytes() for file in found] == [BARK, MEOW]
    monkeypatch.setattr(repositories, "_git", lambda *_: pytest.fail("fetched again"))
    assert repositories.fetch(repository, wanted(), tmp_path / "out", home.as_uri()) == found


def test_another_content_is_left_out(
    tmp_path: Path, published: tuple[Repository, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    repository, home = published
    changed = [replace(wanted()[0], sha1="0" * 16), wanted()[1]]
    found = repositories.fetch(repository, changed, tmp_path / "out", home.as_uri())
    assert found == changed[1:]
    assert "sounds/dog bark.ogg" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.part"))


def test_what_git_says_is_shown(tmp_path: Path, published: tuple[Repository, Path]) -> None:
    repository, home = published
    gone = replace(repository, commit="f" * 40)
    with pytest.raises(AtriError) as caught:
        repositories.fetch(gone, wanted(), tmp_path / "out", home.as_uri())
    assert "git" in str(caught.value)


def test_sources_are_what_is_on_disk_and_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "recordings", wanted)
    assert repositories.repository_sources(tmp_path, ()) == []
    for file in wanted():
        file.place(tmp_path).parent.mkdir(parents=True, exist_ok=True)
        file.place(tmp_path).touch()
    (source,) = repositories.repository_sources(tmp_path, {digest(MEOW)})
    assert concepts_of(source, {}) == ["dog_bark", "puppy"]
    assert not source.validation


def test_the_tables_fit_each_other_and_the_vocabulary() -> None:
    found, known = repositories.recordings(), repositories.repositories()
    assert {file.repository for file in found} == {repository.name for repository in known}
    assert all(len(repository.commit) == 40 and repository.licence for repository in known)
    concepts = {concept.id for concept in vocabulary_concepts()}
    assert {concept for file in found for concept in file.concepts} <= concepts
    assert len({file.sha1 for file in found}) == len(found)
    assert len({(file.repository, file.path) for file in found}) == len(found)


def test_no_licence_forbids_selling() -> None:
    for repository in repositories.repositories():
        assert "NC" not in repository.licence
        assert "Sampling" not in repository.licence


def test_the_command_says_how_many_came(
    tmp_path: Path,
    published: tuple[Repository, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    repository, home = published
    monkeypatch.setattr(repositories, "recordings", wanted)
    monkeypatch.setattr(repositories, "repositories", lambda: [repository])
    words = ["--sounds", str(tmp_path / "out"), "--home", home.as_uri()]
    assert repositories.main(words) == 0
    assert capsys.readouterr().out == "someone/animals: 2 of 2 recordings\n"
    monkeypatch.setattr(
        repositories, "repositories", lambda: [replace(repository, commit="0" * 40)]
    )
    assert repositories.main(["--sounds", str(tmp_path / "no"), "--home", home.as_uri()]) != 0
    assert "git" in capsys.readouterr().err
