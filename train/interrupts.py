"""Ctrl-C at a moment when a run can be continued exactly."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interrupt:
    """Inside the block the first Ctrl-C only sets `asked`; a second one takes effect at once.

    Another handler of the signal, or a thread that is not the main one, is left alone.
    """

    def __init__(self) -> None:
        self.asked = False
        self._held = False

    def __enter__(self) -> Interrupt:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._held = True
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        self._release()

    def _release(self) -> None:
        if self._held:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._held = False
