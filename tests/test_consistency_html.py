"""The page: one file that asks for nothing, shows any name, and holds the whole report.

What it does in a browser is checked by `make page`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from atri_cli.consistency.gallery import Place
from atri_cli.consistency.html import PAGE, SCRIPTS, page, page_data, write_html
from atri_cli.consistency.report import Report
from atri_cli.errors import AtriError
from benchmarks.madeup import HOSTILE, ROOT, made_up


class Reader(HTMLParser):
    """Elements with their attributes, and the text inside each <script>, <style> and <title>."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        self.elements.append((tag, facts))
        if tag in ("script", "style", "title"):
            self._open = facts.get("id") or tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.inside[self._open] = self.inside.get(self._open, "") + data

    def handle_endtag(self, _tag: str) -> None:
        self._open = ""


def embedded(text: str) -> Any:
    return json.loads(Reader(text).inside["data"])


def links(data: dict[str, Any]) -> Iterator[bytes]:
    """The path of each file's URL."""
    for root, _, path in data["files"]:
        url = f"{data['roots'][root][1]}{path}"
        assert url.startswith("file:///")
        yield unquote_to_bytes(url.removeprefix("file://"))


@pytest.mark.parametrize("truth", [True, False])
def test_holds_the_whole_document(truth: bool) -> None:
    report = made_up(truth=truth)
    assert embedded(page(report))["report"] == report.document


def test_asks_for_nothing() -> None:
    text = page(made_up())
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text
    for tag, facts in Reader(text).elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert "src" not in facts
        assert (facts.get("href") or "#").startswith("#")


def test_policy_names_the_very_style_and_script() -> None:
    text = page(made_up())
    reader = Reader(text)
    (policy,) = (
        facts["content"]
        for tag, facts in reader.elements
        if facts.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert "default-src 'none'" in policy
    for part in ("style", "script"):
        digest = hashlib.sha256(reader.inside[part].encode()).digest()
        assert f"{part}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_every_script_of_the_folder_is_in_it() -> None:
    assert sorted(path.name for path in PAGE.glob("*.js")) == sorted(SCRIPTS)


@pytest.mark.parametrize("languages", [2, 30])
def test_takes_few_and_many_languages(languages: int) -> None:
    report = made_up(3, languages)
    assert len(embedded(page(report))["report"]["languages"]) == languages


def test_one_concept_in_a_library_of_one_file() -> None:
    data = embedded(page(made_up(1, 2, files=1)))
    assert data["report"]["mrv"]["normalised"] is None


def test_data_cannot_end_its_script() -> None:
    document = made_up().document
    document["queries"][0]["texts"]["en"] = "</script><!--<script>&amp;]]>\u2028"
    text = page(Report(document))
    script = text.partition('id="data">')[2].partition("</script>")[0]
    assert not set("<>&\u2028") & set(script)
    assert embedded(text)["report"] == document
    assert [tag for tag, _ in Reader(text).elements].count("script") == 2


def test_title_is_escaped() -> None:
    document = {**made_up().document, "query_file": "a/<b>&\udcff\x1b.tsv"}
    text = page(Report(document))
    assert "<title>&lt;b&gt;&amp;\\xff\\x1b.tsv: consistency</title>" in text


def test_names_are_printable_and_links_keep_their_bytes() -> None:
    report = made_up(files=len(HOSTILE))
    data = embedded(page(report))
    assert sorted(links(data)) == sorted(os.fsencode(ROOT / name) for name in HOSTILE)
    shown = {name for _, name, _ in data["files"]}
    assert {"caf\\xe9.wav", "new\\nline.wav", "gnp.\\u202evaw.wav"} < shown


def test_links_are_plain_ascii_that_no_sign_cuts_short() -> None:
    for _, _, path in page_data(made_up(files=len(HOSTILE)))["files"]:
        assert path.isascii()
        assert not set("?#\"'<> \n") & set(path)


@pytest.mark.parametrize(
    ("root", "name"), [("/", "dog.wav"), ("/caf\udce9 #1", "a/b.wav"), ("/a%20b", "ü.wav")]
)
def test_roots_of_any_name(root: str, name: str) -> None:
    place = Place(Path(root, name), Path(root), 1.0, 2.5, 0.5)
    report = made_up(with_hits=0)
    one = report.worst[0]["id"]
    data = embedded(page(Report(report.document, {one: {"en": [place]}})))
    assert list(links(data)) == [os.fsencode(Path(root, name))]
    assert data["hits"] == {one: {"en": [[0, 1.0, 2.5, 0.5, 0]]}}


def test_each_file_is_named_once() -> None:
    data = page_data(made_up())
    files = [tuple(file) for file in data["files"]]
    assert len(files) == len(set(files))
    assert data["roots"] == [["/sounds/", "file:///sounds/"]]


def test_hits_are_those_of_the_report() -> None:
    report = made_up(with_hits=3)
    data = page_data(report)
    assert data["worst"] == [query["id"] for query in report.worst]
    assert list(data["hits"]) == data["worst"][:3]
    for one, by_language in report.hits.items():
        for tag, places in by_language.items():
            rows = data["hits"][one][tag]
            assert [row[1:] for row in rows] == [[p.start, p.end, p.score, 0] for p in places]


def test_writes_utf8_in_place_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("before", encoding="utf-8")
    report = made_up()
    write_html(report, path)
    assert path.read_text(encoding="utf-8") == page(report)
    assert list(tmp_path.iterdir()) == [path]


def test_readable_by_others_as_the_user_wants_it(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_html(made_up(), tmp_path / "report.html")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "report.html").stat().st_mode) == 0o644


def test_link_keeps_pointing_to_its_file(tmp_path: Path) -> None:
    target, link = tmp_path / "kept.html", tmp_path / "report.html"
    link.symlink_to(target)
    write_html(made_up(), link)
    assert link.is_symlink()
    assert target.stat().st_size > 0


def test_device_stays_a_device() -> None:
    write_html(made_up(), Path(os.devnull))
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_longest_name(tmp_path: Path) -> None:
    write_html(made_up(), tmp_path / ("x" * 250 + ".html"))


@pytest.mark.parametrize(
    ("name", "why", "hint"),
    [
        ("gone/report.html", "No such file or directory.", "mkdir -p"),
        ("folder", "Is a directory.", "Name a file"),
        ("file/report.html", "Not a directory.", "Name a file"),
    ],
)
def test_says_why_it_cannot_be_written(tmp_path: Path, name: str, why: str, hint: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(AtriError) as caught:
        write_html(made_up(), tmp_path / name)
    assert caught.value.what == f"Cannot write `{tmp_path / name}`."
    assert caught.value.why == why
    assert hint in caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_full_disk_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("before", encoding="utf-8")

    def full(_path: Path, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(AtriError, match="No space left on device"):
        write_html(made_up(), path)
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]
