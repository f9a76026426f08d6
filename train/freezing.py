"""What of a model is trained, as `atri train --freeze` says it."""

from __future__ import annotations

from dataclasses import dataclass

from atri_cli.errors import UsageError
from train.towers.freezing import Freeze


@dataclass(frozen=True)
class Freezing:
    """What stays as it is of each network; the heads are always trained.

    `"all"`, `"none"`, or the number of last blocks that are trained.
    """

    audio: Freeze = "all"
    text: Freeze = "all"

    @classmethod
    def parse(cls, words: str) -> Freezing:
        """`towers`, `none`, `audio`, `text`, or `audio,text:2` (all but the last 2 blocks).

        Raises:
            UsageError: anything else.
        """
        found: dict[str, Freeze] = {"audio": "none", "text": "none"}
        for word in words.split(","):
            tower, colon, blocks = word.strip().partition(":")
            if tower == "towers" and not colon:
                found = {"audio": "all", "text": "all"}
            elif tower in found and (not colon or blocks.isdigit()):
                found[tower] = int(blocks) if colon else "all"
            elif word.strip() != "none":
                raise UsageError(
                    f"`--freeze {words}` is not understood.",
                    hint="Give `towers`, `audio`, `text`, `none`, or `audio,text:2`, which trains "
                    "the last 2 blocks of the text tower.",
                )
        return cls(found["audio"], found["text"])
