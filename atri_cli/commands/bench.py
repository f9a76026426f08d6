"""`atri doctor --bench`: what runs the model, and how fast, on this machine."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from atri_cli.output import Output
from atri_cli.settings import Settings

if TYPE_CHECKING:
    from atri_cli.encoders.onnx_encoder import OnnxEncoder

SECONDS = 6.0  # of listening, at least
MOST_BATCHES = 50
QUERIES = 9
QUERY = "a dog barks in the distance"


@dataclass(frozen=True)
class Bench:
    """What was measured. Times in seconds, `real_time` in seconds of sound a second."""

    model: str
    precision: str
    provider: str
    available: tuple[str, ...]
    reason: str
    cores: int
    batch_size: int
    segment_seconds: float
    audio_seconds: float
    real_time: float
    first_audio: float
    first_query: float
    query: float


def measure(settings: Settings) -> Bench:
    """Run the model that a library of these settings uses: on noise, and on one query.

    Raises:
        RuntimeMissingError: `--device cuda`, and CUDA is not really used.
        ModelError: no such model, or it breaks its contract.
    """
    import numpy as np

    from atri_cli.encoders.registry import find_model, load_encoder
    from atri_cli.encoders.runtime import import_runtime

    encoder = load_encoder(find_model(settings.model, settings), settings.device)
    first_query = _timed(lambda: encoder.embed_text([QUERY]))
    queries = [_timed(lambda: encoder.embed_text([QUERY])) for _ in range(QUERIES)]
    facts, size = encoder.card.audio, encoder.batch_size
    samples = round(facts.segment_seconds * facts.sample_rate)
    noise = 0.1 * np.random.default_rng(0).standard_normal((size, samples)).astype(np.float32)
    windows = list(noise)
    first_audio = _timed(lambda: encoder.embed_audio(windows))
    batches, wall = 0, 0.0
    while wall < SECONDS and batches < MOST_BATCHES:
        wall += _timed(lambda: encoder.embed_audio(windows))
        batches += 1
    heard = batches * size * facts.segment_seconds
    return Bench(
        model=encoder.card.name,
        precision=encoder.card.precision,
        provider=_provider(encoder),
        available=tuple(import_runtime().get_available_providers()),
        reason=encoder.device_reason,
        cores=os.cpu_count() or 1,
        batch_size=size,
        segment_seconds=facts.segment_seconds,
        audio_seconds=heard,
        real_time=heard / wall,
        first_audio=first_audio,
        first_query=first_query,
        query=statistics.median(queries),
    )


def _provider(encoder: OnnxEncoder) -> str:
    return encoder.providers[0]


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def show(out: Output, found: Bench) -> None:
    """The figures as a table, or as one JSON object."""
    rows = [
        ("model", f"{found.model}, {found.precision}"),
        ("provider", f"{found.provider}. {found.reason}"),
        ("available", ", ".join(found.available)),
        ("cores", str(found.cores)),
        ("batch size", str(found.batch_size)),
        (
            "sound",
            f"{found.real_time:,.0f} × real time: {found.audio_seconds:,.0f} s in segments of "
            f"{found.segment_seconds:g} s, without decoding",
        ),
        ("first sound", f"{found.first_audio:.2f} s, with loading"),
        ("query", f"{1000 * found.query:.1f} ms, median of {QUERIES}"),
        ("first query", f"{found.first_query:.2f} s, with loading"),
    ]
    out.facts(rows, {"schema": 1, **asdict(found), "available": list(found.available)})
