"""The encoder that everything uses: two ONNX files, loaded when first needed.

On the CPU every waveform and every text runs alone. A batch is no faster there, and a vector then
cannot depend on its neighbours, not even through the ranges of dynamic quantisation. On CUDA
inputs of equal length share a batch, so nothing is ever padded.

One encoder may be used from several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atri_cli.audio.segments import loop_to
from atri_cli.encoders.runtime import CUDA, check_device, import_runtime, make_session
from atri_cli.encoders.tokenizer import Tokenizer
from atri_cli.errors import ModelError

if TYPE_CHECKING:
    import onnxruntime as ort

    from atri_cli.encoders.card import ModelCard
    from atri_cli.encoders.types import Vectors

CUDA_BATCH = 32

# A search loads the text tower for one short run, where optimising the graph costs more than it
# gains; indexing runs the audio tower thousands of times.
TEXT_OPTIMISATION = "ORT_ENABLE_BASIC"
AUDIO_OPTIMISATION = "ORT_ENABLE_ALL"

# Far above what rounding or quantisation does to a unit vector.
NORM_TOLERANCE = 0.01


class OnnxEncoder:
    """A model on ONNX Runtime; implements `atri_cli.encoders.types.Encoder`.

    Args:
        card: the model.
        device: `cpu`, `cuda` (fails loudly when CUDA is not really used) or `auto`.
        threads: of one run; None leaves it to the runtime (all cores).

    Raises:
        UsageError: unknown device.
        ModelError: the card names a tokenizer rule that this version does not know.
    """

    def __init__(self, card: ModelCard, device: str = "cpu", threads: int | None = None) -> None:
        self._card = card
        self._device = check_device(device)
        self._threads = threads
        self._sessions: dict[str, ort.InferenceSession] = {}
        self._lock = threading.Lock()
        self._loading: ThreadPoolExecutor | None = None
        self.tokenizer = Tokenizer(card)

    @property
    def card(self) -> ModelCard:
        """Facts about the model."""
        return self._card

    @property
    def providers(self) -> tuple[str, ...]:
        """What runs the model, best first, such as `("CPUExecutionProvider",)`.

        Asked of the sessions that are loaded, because ONNX Runtime also lists what cannot be
        used; loads the text tower when there is none yet.
        """
        session = next(iter(self._sessions.values()), None) or self._session("text")
        return tuple(session.get_providers())

    @property
    def device(self) -> str:
        """`cpu` or `cuda`: what `auto` chose."""
        return "cuda" if CUDA in self.providers else "cpu"

    @property
    def batch_size(self) -> int:
        """Inputs of equal length that run together at most."""
        return CUDA_BATCH if self.device == "cuda" else 1

    @property
    def device_reason(self) -> str:
        """One sentence: which device is used, and why."""
        if self._device != "auto":
            return f"Using {self.device}, as asked."
        if self.device == "cuda":
            return "Using cuda: ONNX Runtime started it."
        listed = CUDA in import_runtime().get_available_providers()
        why = "CUDA is installed but does not start" if listed else "ONNX Runtime has no CUDA here"
        return f"Using cpu: {why}."

    def expect_text(self) -> None:
        """Begin to load the text tower on a thread; see `Encoder.expect_text`.

        What goes wrong there is raised by the `embed_text` that needs it, which tries again.
        """
        if "text" not in self._sessions and self._loading is None:
            self._loading = ThreadPoolExecutor(1, "atri-load")
            self._loading.submit(self._session, "text")
            self._loading.shutdown(wait=False)

    def embed_audio(self, windows: Sequence[NDArray[np.float32]]) -> Vectors:
        """Embed mono waveforms; see `Encoder.embed_audio`.

        A waveform shorter than the card's `min_seconds` is repeated up to it.

        Raises:
            ModelError: the graph breaks its contract (shape, finite, unit length).
            ValueError: a waveform is empty or not one-dimensional.
        """
        facts = self._card.audio
        minimum = round(facts.min_seconds * facts.sample_rate)
        if any(window.ndim != 1 or not len(window) for window in windows):
            raise ValueError("every window must be a non-empty array of one dimension")
        ready = [loop_to(np.asarray(window, np.float32), minimum) for window in windows]
        vectors = self._empty(len(ready))
        for chosen in self._groups("audio", [len(window) for window in ready]):
            batch = np.stack([ready[index] for index in chosen])
            vectors[chosen] = self._run("audio", {"waveform": batch})
        return vectors

    def embed_text(self, texts: Sequence[str], lang: str | None = None) -> Vectors:
        """Embed texts; see `Encoder.embed_text`.

        Raises:
            UsageError: `lang` is no language tag, or not a language of this model.
            ModelError: the tokenizer cannot be read, or the graph breaks its contract.
        """
        rows = self._tokens(texts, lang)
        vectors = self._empty(len(rows))
        for chosen in self._groups("text", [len(row) for row in rows]):
            ids = np.array([rows[index] for index in chosen], np.int64)
            inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            vectors[chosen] = self._run("text", inputs)
        return vectors

    def _tokens(self, texts: Sequence[str], lang: str | None) -> list[list[int]]:
        """Token ids; the first time, the text tower loads beside the tokenizer."""
        if texts:
            self.expect_text()
        return [self.tokenizer.encode(text, lang) for text in texts]

    def _empty(self, count: int) -> Vectors:
        return np.empty((count, self._card.dim), np.float32)

    def _groups(self, tower: str, lengths: list[int]) -> Iterator[list[int]]:
        """Indices of inputs that run together: all of one length, one at a time on the CPU."""
        if not lengths:
            return
        size = CUDA_BATCH if CUDA in self._session(tower).get_providers() else 1
        alike: dict[int, list[int]] = {}
        for index, length in enumerate(lengths):
            alike.setdefault(length, []).append(index)
        for same in alike.values():
            yield from (same[first : first + size] for first in range(0, len(same), size))

    def _session(self, tower: str) -> ort.InferenceSession:
        with self._lock:
            if tower not in self._sessions:
                text = tower == "text"
                self._sessions[tower] = make_session(
                    self._card.text_path if text else self._card.audio_path,
                    device=self._device,
                    threads=self._threads,
                    optimisation=TEXT_OPTIMISATION if text else AUDIO_OPTIMISATION,
                )
            return self._sessions[tower]

    def _run(self, tower: str, inputs: Mapping[str, NDArray[np.generic]]) -> Vectors:
        try:
            (raw,) = self._session(tower).run(["embedding"], inputs)
        except ModelError:
            raise
        except Exception as error:  # the runtime's exceptions share no public base class
            raise self._broken(tower, str(error)) from error
        rows = len(next(iter(inputs.values())))
        if raw.shape != (rows, self._card.dim):
            raise self._broken(tower, f"It gave shape {raw.shape}, not ({rows}, {self._card.dim}).")
        norms = np.linalg.norm(raw, axis=1, keepdims=True)
        if not np.all(np.abs(norms - 1) < NORM_TOLERANCE):
            raise self._broken(tower, "A vector is not finite or not of unit length.")
        unit: Vectors = (raw / norms).astype(np.float32)
        return unit

    def _broken(self, tower: str, why: str) -> ModelError:
        return ModelError(
            f"The {tower} tower of the model `{self._card.name}` failed.",
            why=why,
            hint="Compare the model's files with its card: `atri doctor`.",
        )
