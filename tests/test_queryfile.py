"""The query file: every rule, and where each mistake is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.errors import UsageError
from atri_cli.queryfile import QueryRow, read_queries, write_queries

TABLE = (
    "id\taudio\ten\tfr\ten-x-2\tsplit\tnote\n"
    "dog\ta.wav|b/*.wav\tdog\tchien\ta dog\ttest\tx\n"
    "cat\t\tcat\t\t\t\t\n"
)


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "q.tsv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_it_holds(tmp_path: Path, encoding: str, end: str) -> None:
    found = read_queries(write(tmp_path, TABLE.replace("\n", end), encoding))
    assert found.languages == ("en", "fr")
    assert found.has_audio
    dog, cat = found.rows
    assert dog == QueryRow(
        "dog",
        {"en": ("dog", "a dog"), "fr": ("chien",)},
        ("a.wav", "b/*.wav"),
        "test",
        "x",
        2,
    )
    assert cat == QueryRow("cat", {"en": ("cat",)}, line=3)


def test_tags_of_every_kind(tmp_path: Path) -> None:
    found = read_queries(write(tmp_path, "FRA\tdeu_Latn\tzh_hans\tpt-br\na\tb\tc\td\n"))
    assert found.languages == ("fr", "de", "zh-Hans", "pt-BR")
    assert [row.id for row in found.rows] == ["1"]
    assert not found.has_audio


def test_blank_lines_do_not_count(tmp_path: Path) -> None:
    found = read_queries(write(tmp_path, "en\n\ndog\n\t\ncat\n"))
    assert [(row.id, row.line) for row in found.rows] == [("1", 3), ("2", 5)]


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("", "", "header"),
        ("\n", "", "header"),
        ("en\tfr\n", "", "no rows"),
        ("id\taudio\nx\ty\n", "line 1", "language"),
        ("id\tgermn\nx\ty\n", "line 1, column 2", "`germn` is no language. Did you mean `de`"),
        ("id\tqqq\nx\ty\n", "line 1, column 2", "`id`, `audio`, `split`, `note`"),
        ("id\t\ten\nx\ty\tz\n", "line 1, column 2", "no name"),
        ("en\tfr\teng\na\tb\tc\n", "line 1, column 3", "`en-x-2`"),
        ("id\tID\ten\na\tb\tc\n", "line 1, column 2", "twice"),
        ("en\tfr\na\n", "line 2, column 2", "1 cells, and the header 2"),
        ("en\tfr\na\tb\tc\n", "line 2, column 3", "3 cells"),
        ("id\ten\nx\ta\nx\tb\n", "line 3", "line 2"),
        ("id\ten\n\ta\n", "line 2, column 1", "empty"),
        ("id\ten\tnote\nx\t\tz\n", "line 2", "nothing"),
        ("en\na\0b\n", "line 2", "Character 2 is a zero byte"),
        ("en\n" + "x" * 1_000_001, "line 2", "too long"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, where: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read_queries(path)
    assert str(path) in error.value.what
    assert where in error.value.what
    assert words in str(error.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "q.tsv"
    path.write_bytes(b"en\nabc\xff\n")
    with pytest.raises(UsageError, match="line 2: Character 4"):
        read_queries(path)
    path.write_bytes(b"\xff\xfee\0n")
    with pytest.raises(UsageError):
        read_queries(path)


@pytest.mark.parametrize("name", ["nowhere.tsv", "."])
def test_files_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="Cannot read"):
        read_queries(tmp_path / name)


words = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)
phrasings = st.lists(words, min_size=1, max_size=3).map(tuple)
texts = st.dictionaries(st.sampled_from(["en", "fr", "zh-Hans"]), phrasings, min_size=1)
plain = words.filter(lambda text: "|" not in text)


@given(
    st.lists(st.tuples(words, texts, st.lists(plain, max_size=2), words | st.just("")), min_size=1)
)
def test_written_and_read_again(tmp_path_factory: pytest.TempPathFactory, cells: list) -> None:
    path = tmp_path_factory.mktemp("q") / "q.tsv"
    rows = [
        QueryRow(f"{place}{name}", found, tuple(audio), "", note, place + 2)
        for place, (name, found, audio, note) in enumerate(cells)
    ]
    write_queries(path, rows, ["en", "fr", "zh-Hans"])
    assert read_queries(path).rows == tuple(rows)


@given(st.binary(max_size=200))
def test_anything_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("q") / "q.tsv"
    path.write_bytes(data)
    try:
        found = read_queries(path)
    except UsageError:
        return
    assert found.rows


def test_indonesian_is_no_id(tmp_path: Path) -> None:
    found = read_queries(write(tmp_path, "ID\tind\ten\nx\tanjing\tdog\n"))
    assert found.languages == ("id", "en")
    assert found.rows == (QueryRow("x", {"id": ("anjing",), "en": ("dog",)}, line=2),)
    alone = read_queries(write(tmp_path, "ind_Latn\ten\tid-x-2\n\tdog\t\nkucing\tcat\tmeong\n"))
    assert [row.id for row in alone.rows] == ["1", "2"]
    assert alone.rows[1].texts == {"id": ("kucing", "meong"), "en": ("cat",)}
    write_queries(tmp_path / "q.tsv", alone.rows, alone.languages)
    again = read_queries(tmp_path / "q.tsv")
    assert (again.languages, again.rows) == (alone.languages, alone.rows)
    with pytest.raises(UsageError, match=r"line 1, column 2: The column `ind` is there twice"):
        read_queries(write(tmp_path, "ind\tind\na\tb\n"))


@given(st.permutations(["en", "en-x-2", "en-x-10", "en-x-slang", "fr", "note"]))
def test_phrasings_have_an_order_of_their_own(
    tmp_path_factory: pytest.TempPathFactory, columns: list[str]
) -> None:
    texts = {"en": "dog", "en-x-2": "a dog", "en-x-10": "the dog", "en-x-slang": "mutt"}
    cells = [texts.get(name, name) for name in columns]
    table = "\t".join(columns) + "\n" + "\t".join(cells) + "\n"
    (row,) = read_queries(write(tmp_path_factory.mktemp("q"), table)).rows
    assert row.texts == {"en": ("dog", "a dog", "the dog", "mutt"), "fr": ("fr",)}


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("fr", "fr"),
        ("FR", "fr"),
        ("fra", "fr"),
        ("fre", ""),
        ("fra_Latn", "fr"),
        ("fr_latn", "fr"),
        ("fr-CA", "fr-CA"),
        ("zh", "zh"),
        ("zh-Hans", "zh-Hans"),
        ("zho_Hans", "zh-Hans"),
        ("zho_Hant", "zh-Hant"),
        ("ZH_hans_cn", "zh-Hans-CN"),
        ("yue", "yue"),
        ("es-419", "es-419"),
        ("sr-Cyrl", "sr"),
        ("sr-Latn", "sr-Latn"),
        ("en-x-2", "en"),
        (" de ", "de"),
        ("english", ""),
        ("e", ""),
        ("en-", ""),
        ("en-x-", ""),
        ("en fr", ""),
        ("x-private", ""),
        ("notes", ""),
    ],
)
def test_each_form_of_a_tag(tmp_path: Path, tag: str, language: str) -> None:
    path = write(tmp_path, f"note\t{tag}\nx\ta\n")
    if language:
        assert read_queries(path).languages == (language,)
    else:
        with pytest.raises(UsageError, match=r"line 1, column 2: `.*` is no language"):
            read_queries(path)


def test_cells_are_taken_as_they_are(tmp_path: Path) -> None:
    text = 'id\ten\taudio\tnote\n 1 \t"a \\t b" \t | a|b | |c.wav|\t\u2028\x0b\x85\n'
    (row,) = read_queries(write(tmp_path, text)).rows
    assert row == QueryRow("1", {"en": ('"a \\t b"',)}, ("a", "b", "c.wav"), "", "", 2)
    found = read_queries(write(tmp_path, "en\tsplit\tid\nx\u2028y\x85z\x0bw\ttrain\t7"))
    assert found.rows == (QueryRow("7", {"en": ("x\u2028y\x85z\x0bw",)}, (), "train", "", 2),)


def test_a_column_of_audio_without_any(tmp_path: Path) -> None:
    found = read_queries(write(tmp_path, "en\taudio\nx\t | \ny\t\n"))
    assert (found.has_audio, found.audio_column) == (False, 2)
