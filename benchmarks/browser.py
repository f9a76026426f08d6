"""The page of `atri consistency` in a real browser: `python -m benchmarks.browser`.

Pages of made-up reports are opened in a headless Chromium; sorting, the selector, the filter, the
panels and the players are used as a person would. Exit status 1 when something does not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from atri_cli.consistency.html import write_html
from atri_cli.consistency.report import Report
from benchmarks.chromium import Chromium, chromium
from benchmarks.madeup import HOSTILE, made_up

MEASURES = ("overlap", "rbo", "tau", "top1", "cosine", "rank_difference")
READABLE = 4.5  # contrast of text, WCAG 2.2 AA
ENTER = ("Enter", 13, "\r")
WINDOW = (1400, 1000)

# Contrast of each text with what lies behind it, the least of them, and whose it is.
CONTRAST = """
(() => {
  const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  let least = [99, ''];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const ink = light(rgb(element.namespaceURI.endsWith('svg') ? style.fill : style.color));
    const paper = light(behind(element));
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (contrast < least[0]) least = [contrast, element.textContent.slice(0, 40)];
  }
  return least;
})()
"""
# Every file of the panel that was not heard before: its player loads, plays from where its span
# begins, and when that ends goes back to its beginning.
PLAY = """
(async () => {
  const wait = (player, event) => new Promise((go) => player.addEventListener(event, go));
  const found = [];
  window.heard ??= new Set();
  for (const player of document.querySelectorAll('.panel audio')) {
    if (heard.has(player.src)) continue;
    heard.add(player.src);
    const stopped = wait(player, 'pause');
    const failed = wait(player, 'error').then(() => 'error');
    const state = await Promise.race([player.play().catch(() => 'error'), failed]);
    if (state === 'error') { found.push([player.src, -1, 0, 0]); continue; }
    const from = player.currentTime;
    const ready = player.readyState;
    const last = await Promise.race([stopped.then(() => player.currentTime), failed]);
    found.push([player.src, ready, from, last]);
  }
  return found;
})()
"""

Check = tuple[str, bool, Any]


def main(arguments: Sequence[str]) -> int:
    """Exit status 1 when something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.browser", description=__doc__)
    parser.add_argument("--pictures", type=Path, help="folder for screenshots")
    asked = parser.parse_args(arguments)
    if asked.pictures:
        asked.pictures.mkdir(parents=True, exist_ok=True)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="atri-page-") as scratch, chromium() as browser:
        for title, holds, value in _checks(browser, Path(scratch), asked.pictures):
            failures += not holds
            print(f"{'ok    ' if holds else 'FAILED'}  {title}: {value}", flush=True)
    return int(failures > 0)


def _checks(browser: Chromium, scratch: Path, pictures: Path | None) -> Iterator[Check]:
    sounds = _sounds(scratch / "sounds")
    reports = {
        "truth": made_up(root=sounds),
        "no-truth": made_up(truth=False, root=sounds),
        "smallest": made_up(1, 2, files=1),
        "compared": _compared(made_up()),
        "languages": made_up(80, 30, files=3000),
    }
    for name, report in reports.items():
        yield from _opens(browser, name, _written(scratch, name, report), pictures)
    yield from _large(browser, scratch)
    for name in ("truth", "no-truth"):
        browser.scheme("light")
        browser.open((scratch / f"{name}.html").as_uri())
        for check in (_sorting, _measures, _filter, _panel):
            for title, holds, value in check(browser, reports[name]):
                yield f"{name}: {title}", holds, value
    yield from _playing(browser, reports["truth"], (scratch / "truth.html").as_uri())


def _sounds(folder: Path) -> Path:
    """Two seconds of noise under each of the names that are hard to write down."""
    noise = 0.05 * np.random.default_rng(0).standard_normal(2 * 16000)
    names = [*HOSTILE, *(f"sound {n}.wav" for n in range(len(HOSTILE), 50))]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as file:
            soundfile.write(file, noise, 16000, format="WAV")
    return folder


def _compared(report: Report) -> Report:
    """With what `--against`, `--max-mrv` and phrasings add to a document."""
    mrv = report.document["mrv"]["normalised"]
    changed = {"before": 0.25, "after": mrv, "difference": mrv - 0.25, "interval": [-0.3, -0.1]}
    limit = {"limit": "max-mrv", "bound": 0.0001, "value": mrv, "holds": False}
    return Report(
        {
            **report.document,
            "remedies": ["mean-shift"],
            "wording": {"variance": 2.0, "std": 1.0, "normalised": 0.01, "rows": 7},
            "limits": [{**limit, "languages": ["es"], "concepts": ["concept 2"]}],
            "comparison": {
                "with": "<before>.json",
                "rows": 12,
                "languages": report.document["languages"],
                "measures": {"mrv_normalised": changed, "r10": {**changed, "interval": [None] * 2}},
                "better": ["concept 2"],
                "worse": [],
            },
        },
        report.hits,
    )


def _written(folder: Path, name: str, report: Report) -> Path:
    path = folder / f"{name}.html"
    write_html(report, path)
    return path


def _opens(browser: Chromium, name: str, path: Path, pictures: Path | None) -> Iterator[Check]:
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        browser.size(*WINDOW)
        browser.open(path.as_uri())
        browser.run("document.querySelector('#concept-table tbody button').click()")
        yield f"{name}, {scheme}: nothing complains", not browser.complaints, browser.complaints
        least, text = browser.run(CONTRAST)
        yield f"{name}, {scheme}: least contrast", least >= READABLE, f"{least:.2f} of {text!r}"
        if pictures:
            browser.picture(pictures / f"{name}-{scheme}.png", whole=True)
    elsewhere = [url for url in browser.asked if not url.startswith((path.as_uri(), "data:"))]
    yield f"{name}: asks for nothing else", not elsewhere, elsewhere
    browser.size(400, 800)
    wide = browser.run("document.documentElement.scrollWidth")
    yield f"{name}: fits a telephone", wide <= 400, f"{wide} pixels"
    browser.size(*WINDOW)


def _large(browser: Chromium, scratch: Path) -> Iterator[Check]:
    report = made_up(1000, 20, files=2000)
    path = _written(scratch, "large", report)
    start = time.perf_counter()
    browser.open(path.as_uri())
    seconds = time.perf_counter() - start
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    yield "1,000 concepts, 20 languages: opens", seconds < 5, f"{size} in {seconds:.2f} s"


def _sorting(browser: Chromium, report: Report) -> Iterator[Check]:
    """By key, both ways; the values are those of the document."""
    buttons = "document.querySelectorAll('#concept-table thead button')"
    column = browser.run(f"[...{buttons}].map((one) => one.textContent)").index("RBO")
    button = f"{buttons}[{column}]"
    values = sorted(query["agreement"]["rbo"] for query in report.document["queries"])
    for wanted, order in ((values, "ascending"), (values[::-1], "descending")):
        browser.run(f"{button}.focus()")
        browser.press(*ENTER)
        found = browser.run(
            "[...document.querySelectorAll('#concept-table tbody tr')]"
            f".map((row) => row.children[{column}].textContent)"
        )
        state = browser.run(f"{button}.parentElement.getAttribute('aria-sort')")
        shown = [f"{value:.2f}".replace("-", "−") for value in wanted]
        yield f"sorted by key, {order}", found == shown and state == order, found[:3]


def _measures(browser: Chromium, report: Report) -> Iterator[Check]:
    pairs = report.document["pairs"]
    there = [name for name in MEASURES if any(pair[name] is not None for pair in pairs)]
    offered = browser.run("[...document.getElementById('measure').options].map((one) => one.value)")
    yield "measures to choose from", offered == there, offered
    for name in there:
        browser.run(
            f"(() => {{ const one = document.getElementById('measure'); one.value = '{name}';"
            "one.dispatchEvent(new Event('change')); })()"
        )
        cell = browser.run("document.querySelector('.matrix .heat').textContent")
        value = pairs[0][name]
        near = abs(float(cell.replace("−", "-").replace(",", "")) - value)
        yield f"cell of {name}", near <= max(0.006, value / 200), f"{cell} for {value}"


def _filter(browser: Chromium, report: Report) -> Iterator[Check]:
    type_in = (
        "(() => {{ const one = document.getElementById('filter'); one.value = {!r};"
        "one.dispatchEvent(new Event('input')); }})()"
    )
    shown = "document.querySelectorAll('#concept-table tbody tr:not([hidden])').length"
    queries = report.document["queries"]
    for text in ("CONCEPT 1", "概念", "barking in fr 11", "nothing like it", ""):
        browser.run(type_in.format(text))
        wanted = [
            q for q in queries if text.lower() in "\n".join([q["id"], *q["texts"].values()]).lower()
        ]
        found = browser.run(shown)
        lines = browser.run("document.querySelectorAll('#plot .line').length")
        drawn = sum(bool(q["ranks"]) or not report.document["ground_truth"] for q in wanted)
        holds = found == len(wanted) and (lines == drawn or not wanted)
        yield f"filter {text!r}", holds, browser.run("document.getElementById('found').textContent")


def _panel(browser: Chromium, report: Report) -> Iterator[Check]:
    first = report.worst[0]
    players = sum(len(places) for places in report.hits[first["id"]].values())
    row = "[...document.querySelectorAll('#concept-table tbody button')].find((one) => "
    row += f"one.querySelector('.id').textContent === {first['id']!r})"
    before = browser.run("document.querySelectorAll('audio').length")
    browser.run(f"{row}.focus()")
    browser.press(*ENTER)
    opened = browser.run(f"{row}.getAttribute('aria-expanded')")
    count = browser.run("document.querySelectorAll('.panel audio').length")
    yield "a key opens a panel", opened == "true" and before == 0, f"{before} players before"
    yield "players", count == players, count
    texts = browser.run("[...document.querySelectorAll('.panel .asked')].map((p) => p.textContent)")
    yield "texts", texts == list(first["texts"].values()), texts[0]
    browser.press(*ENTER)
    yield "and closes it", browser.run("document.querySelectorAll('audio').length") == 0, ""
    browser.run("document.querySelector('#plot .line a').focus()")
    browser.press(*ENTER)
    opened = browser.run("document.querySelectorAll('.panel').length")
    yield "the plot opens one", opened == 1, ""


def _playing(browser: Chromium, report: Report, address: str) -> Iterator[Check]:
    """Each file of the made-up report is there: its player must play the span and stop."""
    browser.open(address)
    heard: dict[str, tuple[float, ...]] = {}
    for place in range(len(report.document["queries"])):
        browser.run(f"document.querySelectorAll('#concept-table tbody button')[{place}].click()")
        for source, *facts in browser.run(PLAY):
            heard[source.partition("#")[0]] = tuple(facts)
        browser.run(f"document.querySelectorAll('#concept-table tbody button')[{place}].click()")
    for name in HOSTILE:
        found = next((f for url, f in heard.items() if _is(url, name)), None)
        holds = found is not None and found[0] >= 2 and 0.5 <= found[1] < 0.8 and found[2] == 0.5
        yield f"plays {os.fsencode(name)!r}", holds, found
    bad = [url for url, facts in heard.items() if facts[0] < 2]
    yield "all play", not bad, f"{len(heard)} files{bad}"


def _is(url: str, name: str) -> bool:
    return url.endswith("/" + Path("/", name).as_uri().removeprefix("file:///"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
