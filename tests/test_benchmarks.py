"""The benchmarks measure what they say: small runs, and the memory of a child process."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atri_cli.encoders.card import load_card
from atri_cli.library.store import Store
from benchmarks.data import make_library, sound_vectors, text_vectors
from benchmarks.nearest import hnsw_and_exact
from benchmarks.options import Options
from benchmarks.processes import in_turns, measure, python
from benchmarks.table import Row, Table, page


@pytest.fixture
def options(fake_model: Path, tmp_path: Path) -> Options:
    return Options(
        card=load_card(fake_model),
        scratch=tmp_path,
        segments=1500,
        files=5,
        sounds=2,
        seconds=1,
        hours=0.01,
        times=1,
        jobs=1,
    )


def test_memory_is_the_childs_own(tmp_path: Path) -> None:
    ballast = np.ones(25_000_000)  # 200 MB in this process must not show
    small = measure(python("pass"), tmp_path)
    large = measure(python("x = b'x' * 100_000_000"), tmp_path)
    assert ballast.sum() > 0
    assert 1 < small.megabytes < 60
    assert 90 < large.megabytes - small.megabytes < 110


def test_output_and_time_of_a_process(tmp_path: Path) -> None:
    run = measure(python("import time; time.sleep(0.2); print('done')"), tmp_path)
    assert run.stdout.strip() == "done"
    assert 0.2 <= run.seconds < 20


def test_a_failing_command_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3.*oh no"):
        measure(python("import sys; print('oh no', file=sys.stderr); sys.exit(3)"), tmp_path)


def test_commands_take_turns(tmp_path: Path) -> None:
    log = tmp_path / "log"
    commands = {
        name: [sys.executable, "-c", f"open({str(log)!r}, 'a').write('{name}')"] for name in "ab"
    }
    runs = in_turns(commands, 2, tmp_path)
    assert log.read_text() == "ababab"
    assert [len(one.all) for one in runs.values()] == [2, 2]


def test_vectors_are_unit_and_repeatable() -> None:
    for make in (lambda: sound_vectors(1001, 24), lambda: text_vectors(50, 24, 1001)):
        rows = make()
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(rows, make())
    assert sound_vectors(1001, 24).shape == (1001, 24)


def test_segments_of_a_file_are_alike() -> None:
    rows = sound_vectors(4000, 64)
    near = (rows[0::4] * rows[1::4]).sum(axis=1).mean()
    far = (rows[0:-4:4] * rows[4::4]).sum(axis=1).mean()
    assert near > far + 0.2


def test_a_made_up_library_opens_with_its_model(options: Options) -> None:
    card = options.card
    make_library(options.scratch / "made", card, sound_vectors(10, card.dim))
    folder = options.scratch / "made"
    with Store.open(folder, pipeline_id=card.pipeline_id, dim=None, read_only=True) as store:
        assert store.segment_count() == 10
        assert store.segments_info([10])[0].path == Path("pack002/recording_000002.wav")


def test_hnsw_rows(options: Options) -> None:
    table = Table()
    hnsw_and_exact(replace(options, segments=3000), table)
    assert table.rows[0].holds is True
    assert "3,000 x 16" in table.rows[0].what


def test_the_page_says_command_machine_and_verdicts() -> None:
    rows = [Row("speed", "3 s", "1 s", "2x", False), Row("size", "1 MB")]
    text = page(Table(rows, ["a note"]), ["help", "--small"])
    assert "`python -m benchmarks help --small`" in text
    assert "| speed | 3 s | 1 s | 2x | **no** |" in text
    assert "| size | 1 MB |  |  |  |" in text
    assert text.endswith("\n- a note\n")
    assert "numpy" in text
