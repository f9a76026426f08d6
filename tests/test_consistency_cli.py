"""`atri consistency` as it is typed: forms of output, comparison, limits, bad input."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from atri_cli.consistency.starter import STARTERS
from atri_cli.queryfile import read_queries
from atri_cli.vocabulary.concepts import CORE
from tests.cli_tools import Done, atri, make_sounds, run
from tests.fake_model import make_fake_model

Capture = pytest.CaptureFixture[bytes]
TABLE = (
    "id\taudio\ten\tfr\tzh\ten-x-2\n"
    "low\tlow.wav\tlow tone\tson grave\t低音\tlow\n"
    "high\t*high.wav\thigh tone\tson aigu\t高音\ttone high\n"
    "noise\tsub/*.flac|sub/noise.flac\tnoise\tle chat\t噪音\tthe noise\n"
)


@pytest.fixture
def asked(tmp_path: Path, fake_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A query file, whose sounds are indexed with the tiny model; `noise` is wrong in French."""
    monkeypatch.setenv("ATRI_MODEL", str(fake_model))
    assert atri("index", make_sounds(tmp_path / "sounds"), "--quiet").code == 0
    path = tmp_path / "q.tsv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def without_audio(path: Path) -> Path:
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    plain = path.with_name("plain.tsv")
    plain.write_text("\n".join("\t".join([c[0], *c[2:]]) for c in lines) + "\n", encoding="utf-8")
    return plain


def ask(capture: Capture, path: Path, *words: str | Path) -> Done:
    return run(capture, "consistency", "--query-file", path, *words)


def document(capture: Capture, path: Path, *words: str | Path) -> dict[str, Any]:
    done = ask(capture, path, "--json", *words)
    assert (done.code, done.err) == (0, "")
    found: dict[str, Any] = done.json
    return found


def test_ranks_of_what_is_right(capsysbinary: Capture, asked: Path) -> None:
    found = document(capsysbinary, asked)
    assert (found["schema"], found["ground_truth"], found["gallery"]) == (1, True, 3)
    ranks = {query["id"]: query["ranks"] for query in found["queries"]}
    assert ranks["low"] == {"en": 1, "fr": 1, "zh": 1}
    assert ranks["high"] == {"en": 1, "fr": 1, "zh": 1}
    assert ranks["noise"]["en"] == ranks["noise"]["zh"] == 1
    assert ranks["noise"]["fr"] > 1
    assert found["per_language"]["en"]["r1"] == 1
    assert found["per_language"]["fr"]["r1"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["mrv"]["variance"] > 0
    assert found["gap"]["worst"] == "fr"
    divided = next(query for query in found["queries"] if query["id"] == "noise")
    assert divided["outlier"]["language"] == "fr"
    assert found["wording"]["variance"] == 0


def test_without_audio_only_agreement_is_told(capsysbinary: Capture, asked: Path) -> None:
    plain = without_audio(asked)
    found = document(capsysbinary, plain)
    assert found["ground_truth"] is False
    assert (found["mrv"], found["mean"], found["gap"]) == (None, None, None)
    assert found["agreement"]["overlap"] == 1  # three files: the first ten are all of them
    assert found["agreement"]["top1"] < 1
    assert all(query["ranks"] == {} for query in found["queries"])
    done = ask(capsysbinary, plain)
    assert "Agreement only, not whether it is right." in done.out
    assert "R@1" not in done.out


def test_the_report_for_people(capsysbinary: Capture, asked: Path) -> None:
    done = ask(capsysbinary, asked)
    assert done.code == 0
    for words in ("3 concepts in 3 languages of 3 files", "MRV", "Language by language", "noise"):
        assert words in done.out
    assert ask(capsysbinary, asked, "--quiet").out == ""
    narrow = ask(capsysbinary, asked, "--worst", "0").out
    assert "Concepts whose rank" not in narrow


def test_markdown_has_every_table(capsysbinary: Capture, asked: Path) -> None:
    done = ask(capsysbinary, asked, "--md")
    assert done.out.startswith("# Consistency across languages\n")
    assert done.out.count("\n## ") == 3
    rows = [line for line in done.lines if line.startswith("| fr |")]
    assert len(rows) == 2


def test_csv_has_a_line_for_each_question(capsysbinary: Capture, asked: Path) -> None:
    done = ask(capsysbinary, asked, "--csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) == 9
    assert {row["rank"] for row in rows if row["id"] == "low"} == {"1"}
    assert {row["text"] for row in rows if row["language"] == "zh"} == {"低音", "高音", "噪音"}


def test_languages_and_splits_can_be_chosen(capsysbinary: Capture, asked: Path) -> None:
    found = document(capsysbinary, asked, "--languages", "zho,en")
    assert found["languages"] == ["zh", "en"]
    assert ask(capsysbinary, asked, "--languages", "en").code == 2
    done = ask(capsysbinary, asked, "--split", "test")
    assert (done.code, "no row of the split" in done.err) == (2, True)


def test_fused_languages_cannot_disagree(capsysbinary: Capture, asked: Path) -> None:
    for way in ("mean", "ranks"):
        found = document(capsysbinary, asked, "--fuse", way)
        assert found["mrv"]["variance"] == 0
        assert found["agreement"]["top1"] == 1
        assert found["remedies"] == [f"fuse {way}", "expand"]
    done = ask(capsysbinary, asked, "--fuse", "all")
    assert (done.code, "`mean` or `ranks`" in done.err) == (2, True)


def test_an_earlier_report_is_compared_row_by_row(
    capsysbinary: Capture, asked: Path, tmp_path: Path
) -> None:
    before = tmp_path / "before.json"
    before.write_bytes(ask(capsysbinary, asked, "--json").raw)
    same = document(capsysbinary, asked, "--against", before)["comparison"]
    assert same["rows"] == 3
    assert all(one["difference"] == 0 for one in same["measures"].values())
    assert (same["better"], same["worse"]) == ([], [])
    fused = document(capsysbinary, asked, "--fuse", "mean", "--against", before)["comparison"]
    assert fused["measures"]["mrv_variance"]["difference"] < 0
    assert fused["better"] == ["noise"]
    back = tmp_path / "fused.json"
    back.write_bytes(ask(capsysbinary, asked, "--fuse", "mean", "--json").raw)
    assert document(capsysbinary, asked, "--against", back)["comparison"]["worse"] == ["noise"]
    assert "Against" in ask(capsysbinary, asked, "--against", before).out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "is no report"),
        (b'{"schema": 99}', "schema 99"),
        (b'{"schema": 1}', "not a whole report"),
        (b'{"schema": 1, "languages": ["en"], "queries": [{}], "gallery": 3}', "not a whole"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_no_report_is_refused(
    capsysbinary: Capture, asked: Path, tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(content)
    done = ask(capsysbinary, asked, "--against", path)
    assert done.code == 2
    assert words in done.err


def test_another_model_listens_to_the_same_sounds(
    capsysbinary: Capture, asked: Path, tmp_path: Path
) -> None:
    other = make_fake_model(tmp_path / "wider", dim=24)
    done = ask(capsysbinary, asked, "--json", "--compare", other)
    assert done.code == 0
    assert done.json["comparison"]["with"] == str(other)
    assert "Listening to 1 folder" in done.err
    again = ask(capsysbinary, asked, "--json", "--compare", "default@wider")
    assert again.json["comparison"]["measures"] == done.json["comparison"]["measures"]
    done = ask(capsysbinary, asked, "--compare", "nothing")
    assert (done.code, "neither a library nor a model" in done.err) == (2, True)
    done = ask(capsysbinary, asked, "--compare", "x", "--against", asked)
    assert (done.code, "exclude each other" in done.err) == (2, True)


def test_limits_that_hold_and_that_break(capsysbinary: Capture, asked: Path) -> None:
    found = document(capsysbinary, asked, "--max-mrv", "1", "--min-overlap", "0.5")
    assert [limit["holds"] for limit in found["limits"]] == [True, True]
    done = ask(capsysbinary, asked, "--max-mrv", "0.01", "--json")
    assert done.code == 4
    assert done.json["limits"][0]["holds"] is False
    assert "`--max-mrv 0.01`" in done.err
    assert "Languages: fr." in done.err
    assert "Concepts: noise." in done.err
    done = ask(capsysbinary, asked, "--top", "1", "--min-overlap", "0.9", "--quiet")
    assert (done.code, done.out) == (4, "")
    assert "en-fr" in done.err
    assert "Concepts: noise." in done.err


@pytest.mark.parametrize("limit", ["--max-mrv", "--min-overlap"])
def test_limits_out_of_range(capsysbinary: Capture, asked: Path, limit: str) -> None:
    for value in ("1.5", "-1", "nan"):
        done = ask(capsysbinary, asked, limit, value)
        assert (done.code, "between 0 and 1" in done.err) == (2, True)


def test_mrv_cannot_be_guarded_without_truth(capsysbinary: Capture, asked: Path) -> None:
    done = ask(capsysbinary, without_audio(asked), "--max-mrv", "0.1")
    assert done.code == 2
    assert "`--min-overlap`" in done.err


@pytest.mark.usefixtures("asked")
def test_a_file_to_start_from(capsysbinary: Capture, tmp_path: Path) -> None:
    path = tmp_path / "start.tsv"
    done = run(capsysbinary, "consistency", "--init", path)
    assert done.code == 0
    assert f"`atri consistency --query-file {path}`" in done.err
    queries = read_queries(path)
    assert len(queries.rows) == len(STARTERS) == len(set(STARTERS)) == 50
    assert queries.languages[: len(CORE)] == CORE
    assert all(set(row.texts) == set(queries.languages) for row in queries.rows)
    assert document(capsysbinary, path)["concepts"] == 50
    before = path.read_bytes()
    done = run(capsysbinary, "consistency", "--init", path)
    assert (done.code, "is there already" in done.err) == (2, True)
    assert path.read_bytes() == before
    done = run(capsysbinary, "consistency", "--init", tmp_path / "two.tsv", "--languages", "fr,ja")
    assert read_queries(tmp_path / "two.tsv").languages == ("fr", "ja")
    for tags in ("fr", "fr,tlh", "fr,el"):
        done = run(capsysbinary, "consistency", "--init", tmp_path / "no.tsv", "--languages", tags)
        assert done.code == 2
        assert not (tmp_path / "no.tsv").exists()


def test_what_is_missing_is_named_or_left_out(capsysbinary: Capture, asked: Path) -> None:
    asked.write_text(TABLE.replace("low.wav", "gone.wav|low.wav"), encoding="utf-8")
    done = ask(capsysbinary, asked)
    assert done.code == 2
    assert f"`{asked}`, line 2, column 2: `gone.wav`" in done.err
    found = document(capsysbinary, asked, "--skip-missing")
    assert found["missing"] == [{"line": 2, "audio": "gone.wav", "why": ""}]
    assert found["answered"] == 3


def test_nothing_to_ask(capsysbinary: Capture) -> None:
    done = run(capsysbinary, "consistency")
    assert (done.code, "`atri consistency --init q.tsv`" in done.err) == (2, True)


def test_nothing_indexed(capsysbinary: Capture, tmp_path: Path) -> None:
    run(capsysbinary, "consistency", "--init", tmp_path / "q.tsv")
    done = ask(capsysbinary, tmp_path / "q.tsv")
    assert (done.code, "Nothing is indexed" in done.err) == (1, True)


def test_two_runs_print_the_same_bytes(asked: Path) -> None:
    one, other = (atri("consistency", "--query-file", asked, "--json") for _ in range(2))
    assert one.raw == other.raw
    json.loads(one.raw, parse_constant=pytest.fail)
