"""`atri doctor --bench`: what runs the model, and how fast, on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from atri_cli.commands.progress import speed
from atri_cli.output import Output
from atri_cli.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from atri_cli.encoders.card import ModelCard
    from atri_cli.encoders.onnx_encoder import OnnxEncoder

SECONDS = 5.0  # of listening
QUERIES = 9
QUERY = "a dog barks in the distance"


@dataclass(frozen=True)
class Bench:
    """What was measured. Times in seconds, `real_time` in seconds of sound a second.

    `threads` run the audio tower side by side, one core each, as indexing does.
    """

    model: str
    precision: str
    provider: str
    available: tuple[str, ...]
    reason: str
    cores: int
    threads: int
    batch_size: int
    segment_seconds: float
    audio_seconds: float
    real_time: float
    first_audio: float
    first_query: float
    query: float


def measure(settings: Settings) -> Bench:
    """Run the model of the library, or the one asked for: on noise, and on one query.

    Raises:
        RuntimeMissingError: `--device cuda`, and CUDA is not really used.
        ModelError: no such model, or it breaks its contract.
    """
    from atri_cli.commands.checks import card_in_use
    from atri_cli.encoders.registry import load_encoder
    from atri_cli.encoders.runtime import import_runtime
    from atri_cli.library.library import cores

    card = card_in_use(settings)
    first_query, query = _ask(load_encoder(card, settings.device))
    encoder, threads = load_encoder(card, settings.device, 1), settings.jobs or cores()
    windows = _noise(card, encoder.batch_size)
    first_audio = _timed(lambda: encoder.embed_audio(windows))
    batches, wall = _listen(encoder, windows, threads)
    heard = batches * len(windows) * card.audio.segment_seconds
    return Bench(
        model=card.name,
        precision=card.precision,
        provider=encoder.providers[0],
        available=tuple(import_runtime().get_available_providers()),
        reason=encoder.device_reason,
        cores=cores(),
        threads=threads,
        batch_size=encoder.batch_size,
        segment_seconds=card.audio.segment_seconds,
        audio_seconds=heard,
        real_time=heard / wall,
        first_audio=first_audio,
        first_query=first_query,
        query=query,
    )


def _ask(encoder: OnnxEncoder) -> tuple[float, float]:
    """Seconds of the first query, with loading, and the median of the next."""
    first, *others = [_timed(lambda: encoder.embed_text([QUERY])) for _ in range(1 + QUERIES)]
    return first, statistics.median(others)


def _noise(card: ModelCard, count: int) -> list[NDArray[np.float32]]:
    """Segments of the length that the model hears, float32 [samples] each."""
    import numpy as np

    samples = round(card.audio.segment_seconds * card.audio.sample_rate)
    noise = 0.1 * np.random.default_rng(0).standard_normal((count, samples))
    return list(noise.astype(np.float32))


def _listen(
    encoder: OnnxEncoder, windows: list[NDArray[np.float32]], threads: int
) -> tuple[int, float]:
    """How many batches were embedded, and in how many seconds."""
    began = time.perf_counter()

    def listen(_: int) -> int:
        batches = 0
        while not batches or time.perf_counter() - began < SECONDS:
            encoder.embed_audio(windows)
            batches += 1
        return batches

    with ThreadPoolExecutor(threads) as pool:
        batches = sum(pool.map(listen, range(threads)))
    return batches, time.perf_counter() - began


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
        ("threads", f"{found.threads}, each hearing one batch at a time"),
        ("batch size", str(found.batch_size)),
        (
            "sound",
            f"{speed(found.real_time, 1)}: {found.audio_seconds:,.0f} s in segments of "
            f"{found.segment_seconds:g} s, without decoding",
        ),
        ("first sound", f"{found.first_audio:.2f} s, with loading"),
        ("first query", f"{found.first_query:.2f} s, with loading"),
        ("query", f"{1000 * found.query:.1f} ms, median of {QUERIES}"),
    ]
    out.facts(rows, {"schema": 1, **asdict(found), "available": list(found.available)})
