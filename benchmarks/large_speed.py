"""One tower in a process of its own: how fast, how much memory. `benchmarks.large` runs it.

    python -m benchmarks.large_speed FILE --tower audio --sizes 160000 --runs 5

Prints one JSON object. Needs onnxruntime and numpy alone, as a search does.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")


def memory() -> dict[str, float]:
    """Of this process in MB (10**6 bytes): highest so far; now, its own, and mapped from files."""
    facts = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
    names = {"peak": "VmHWM", "now": "VmRSS", "own": "RssAnon", "mapped": "RssFile"}
    return {name: int(facts[key].split()[0]) * 1024 / 1e6 for name, key in names.items()}


def main(arguments: Sequence[str]) -> int:
    """Load the file; after one run that does not count, run each size `runs` times."""
    asked = _parser().parse_args(arguments)
    begin = time.perf_counter()
    import numpy as np

    from atri_cli.encoders.onnx_encoder import AUDIO_OPTIMISATION, TEXT_OPTIMISATION
    from atri_cli.encoders.runtime import import_runtime

    import_runtime()
    level = AUDIO_OPTIMISATION if asked.tower == "audio" else TEXT_OPTIMISATION
    found: dict[str, Any] = {"import": time.perf_counter() - begin, "before": memory()}
    begin = time.perf_counter()
    session = _open(asked, asked.level or level)
    found |= {
        "load": time.perf_counter() - begin,
        "loaded": memory(),
        "seconds": {},
        "processor": {},
    }
    random = np.random.default_rng(asked.seed)
    for size in asked.sizes:
        feed = _feed(random, asked, size)
        found.setdefault("first", _run(session, feed))
        begin = time.process_time()
        found["seconds"][str(size)] = [_run(session, feed) for _ in range(asked.runs)]
        used = time.process_time() - begin
        found["processor"][str(size)] = used / max(1, asked.runs)
    print(json.dumps(found | {"end": memory()}), flush=True)
    os._exit(0)  # as atri ends: without tearing the interpreter down


def _run(session: Any, feed: dict[str, Any]) -> float:
    begin = time.perf_counter()
    session.run(["embedding"], feed)
    return time.perf_counter() - begin


def _feed(random: Any, asked: argparse.Namespace, size: int) -> dict[str, Any]:
    """Noise, or token ids: one input."""
    import numpy as np

    if asked.tower == "audio":
        return {"waveform": random.normal(0, 0.1, (1, size)).astype(np.float32)}
    ids = random.integers(4, asked.vocabulary, (1, size))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _open(asked: argparse.Namespace, level: str) -> Any:
    """The session that atri makes, or, for trying settings, one with entries of its own."""
    from atri_cli.encoders.runtime import import_runtime, make_session

    if not asked.config:
        return make_session(asked.file, threads=asked.threads, optimisation=level)
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.inter_op_num_threads, options.intra_op_num_threads = 1, asked.threads
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, level)
    for entry in asked.config:
        options.add_session_config_entry(*entry.split("=", 1))
    return runtime.InferenceSession(str(asked.file), options, ["CPUExecutionProvider"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_speed", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--tower", choices=("audio", "text"), required=True)
    parser.add_argument("--sizes", type=int, nargs="+", required=True, help="samples or tokens")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vocabulary", type=int, default=256_000)
    parser.add_argument("--level", help="a GraphOptimizationLevel; default: atri's")
    parser.add_argument("--config", nargs="*", default=[], help="entries of the session, KEY=VALUE")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
