"""A headless Chromium, spoken to through two pipes (Chrome DevTools Protocol): nothing to install
beside the browser, and no port is opened."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--autoplay-policy=no-user-gesture-required", "--hide-scrollbars"),
    "--remote-debugging-pipe",
)
PROFILE = "--user-data-dir"
# Chromium listens on descriptor 3 and answers on 4.
ARRANGE = 'to=$0 from=$1; shift; exec "$@" 3<"$to" 4>"$from"'
READ = 1 << 16


class Chromium:
    """One page of a running browser.

    `complaints` collects errors of its console, and exceptions; `asked` every address it wanted.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._buffer = bytearray()
        self._count = 0
        self._session = ""
        self.complaints: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **values: Any) -> Any:
        """Say one thing and wait for its answer.

        Raises:
            RuntimeError: the browser refuses, or has ended.
        """
        self._count += 1
        message = {"id": self._count, "method": method, "params": values}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def open(self, address: str) -> None:
        """Go to a page and wait until it has loaded."""
        self.complaints, self.asked = [], []
        self.call("Page.navigate", url=address)
        self.run("document.readyState === 'complete' || new Promise((go) => onload = () => go())")

    def run(self, expression: str) -> Any:
        """The value of an expression of JavaScript; a promise is waited for."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """One key, down and up."""
        facts = {"key": key, "windowsVirtualKeyCode": code, "text": text}
        self.call("Input.dispatchKeyEvent", type="keyDown", **facts)
        self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def size(self, width: int, height: int) -> None:
        """Of the window, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def scheme(self, name: str, media: str = "screen") -> None:
        """`light` or `dark`, on `screen` or in `print`."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A screenshot, of the window or of the whole page, as PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            read = os.read(self._from, READ)
            if not read:
                raise RuntimeError("the browser has ended")
            self._buffer += read
        line, _, rest = self._buffer.partition(b"\0")
        self._buffer = bytearray(rest)
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, facts: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = facts["exceptionDetails"]
            thrown = details.get("exception", {}).get("description")
            self.complaints.append(thrown or details["text"])
        elif method == "Log.entryAdded" and facts["entry"]["level"] in ("error", "warning"):
            self.complaints.append(facts["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and facts["type"] in ("error", "warning"):
            self.complaints.append(str(facts["args"]))
        elif method == "Network.requestWillBeSent":
            self.asked.append(facts["request"]["url"])


@contextlib.contextmanager
def chromium() -> Iterator[Chromium]:
    """Start a browser with a profile of its own, and end it.

    Raises:
        FileNotFoundError: there is none.
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        raise FileNotFoundError("no Chromium: on Debian and Ubuntu `apt-get install chromium`")
    with tempfile.TemporaryDirectory(prefix="atri-chromium-", ignore_cleanup_errors=True) as home:
        to_browser, from_browser = Path(home, "to"), Path(home, "from")
        os.mkfifo(to_browser)
        os.mkfifo(from_browser)
        process = subprocess.Popen(
            ["sh", "-c", ARRANGE, to_browser, from_browser, program, *FLAGS, f"{PROFILE}={home}"],
            stderr=subprocess.DEVNULL,
        )
        try:
            with to_browser.open("wb", 0) as to, from_browser.open("rb", 0) as answers:
                yield Chromium(to.fileno(), answers.fileno())
        finally:
            process.terminate()
            process.wait(20)
