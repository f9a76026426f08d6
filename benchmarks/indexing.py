"""`atri index`: beside decoding alone, with nothing to do, and with one very long file."""

from __future__ import annotations

import json
import shutil
import sys

from benchmarks.data import write_long_sound, write_sounds
from benchmarks.options import Options
from benchmarks.processes import Run, Runs, atri, measure
from benchmarks.table import Row, Table

# What indexing cannot do without: read, mix to mono, resample; as short as soundfile and soxr
# allow, and as a whole process like the other side.
DECODE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import soundfile, soxr
folder, rate, jobs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
def decode(path):
    samples, own = soundfile.read(path, dtype="float32", always_2d=True)
    return len(soxr.resample(samples.mean(axis=1), own, rate))
with ThreadPoolExecutor(jobs) as pool:
    print(sum(pool.map(decode, sorted(folder.iterdir()))))
"""


def speed(options: Options, table: Table) -> None:
    """End to end beside decoding and resampling alone, for wav and ogg, in turns."""
    jobs, rate = str(options.jobs), str(options.card.audio.sample_rate)
    for extension in ("wav", "ogg"):
        folder = options.scratch / extension
        audio = write_sounds(folder, options.sounds, options.seconds, extension)
        decode = [sys.executable, "-c", DECODE, str(folder), rate, jobs]
        measure(decode, options.scratch)
        with_model: list[Run] = []
        without: list[Run] = []
        for number in range(options.times):
            library = options.scratch / f"{extension}-{number}"
            index = atri("index", str(folder), "--library", str(library), "--jobs", jobs)
            with_model.append(measure(index, options.scratch, options.env("index")))
            without.append(measure(decode, options.scratch))
        whole, alone = Runs(tuple(with_model)), Runs(tuple(without))
        ratio = whole.seconds / alone.seconds
        table.rows.append(
            Row(
                f"`atri index`, {audio / 3600:.2f} h of stereo {extension}, {jobs} jobs",
                f"{whole.seconds:.1f} s ({ratio:.2f}x): {audio / whole.seconds:,.0f} h an hour",
                f"{alone.seconds:.1f} s, only decoding and resampling",
                "2x",
                ratio <= 2,
            )
        )
        shutil.rmtree(folder)


def nothing_to_do(options: Options, table: Table) -> None:
    """A second index over files that have not changed."""
    folder, library = options.scratch / "many", options.scratch / "many-library"
    write_sounds(folder / "0", 1, 0.3, "wav")
    original = next((folder / "0").iterdir())
    for number in range(1, options.files):
        place = folder / f"{number // 100}"
        place.mkdir(exist_ok=True)
        shutil.copy(original, place / f"copy_{number:05}.wav")
    command = atri("index", str(folder), "--library", str(library), "--json")
    env = options.env("index")
    measure(command, options.scratch, env)
    runs = Runs(tuple(measure(command, options.scratch, env) for _ in range(options.times)))
    if json.loads(runs.all[0].stdout)["unchanged"] != options.files:
        raise RuntimeError(f"not everything was unchanged: {runs.all[0].stdout[:300]}")
    table.rows.append(
        Row(
            f"a second `atri index`, {options.files:,} unchanged files",
            f"{runs.seconds:.2f} s",
            "",
            "2 s",
            runs.seconds < 2,
        )
    )
    shutil.rmtree(folder)


def long_file(options: Options, table: Table) -> None:
    """Peak memory with one long file."""
    path = options.scratch / "long" / "night.wav"
    write_long_sound(path, options.hours)
    library = options.scratch / "long-library"
    command = atri("index", str(path.parent), "--library", str(library))
    run = measure(command, options.scratch, options.env("index"))
    table.rows.append(
        Row(
            f"`atri index`, one wav of {options.hours:g} h, peak memory",
            f"{run.megabytes:.0f} MB",
            f"{run.seconds:.0f} s, {options.hours * 3600 / run.seconds:,.0f}x real time",
            "600 MB",
            run.megabytes < 600,
        )
    )
    shutil.rmtree(path.parent)
