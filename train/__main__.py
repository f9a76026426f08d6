"""`python -m train`: the recipe of atri-mini, in stages that can be resumed.

Each stage that is done is skipped unless it is named; docs/training.md describes the data.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from atri_cli.__main__ import show_error
from atri_cli.errors import AtriError
from atri_cli.output import Output
from train import recipe
from train.stages import NAMES

WORK = Path(".train")


def main(words: Sequence[str] | None = None) -> int:
    """Show the plan, or run it; the exit code."""
    options = _arguments(words)
    out = Output()
    try:
        plan = recipe.make_plan(
            data=options.data,
            sounds=options.sounds,
            work=options.work.expanduser().absolute(),
            stage=options.stage,
            threads=options.threads,
            seed=options.seed,
            start=options.start,
            effort=options.effort,
            towers=options.towers,
        )
        if options.dry_run:
            out.facts(recipe.describe(plan), {})
            for error in recipe.missing(plan):
                out.warn(str(error))
        else:
            out.facts(recipe.start(plan), {})
    except AtriError as error:
        show_error(error)
        return error.exit_code
    return 0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m train", description=__doc__)
    parser.add_argument("--data", type=_path, help="tables, teacher, captions")
    parser.add_argument("--sounds", type=_path, help="the recordings of the tables")
    parser.add_argument("--work", type=Path, default=WORK, help="caches, checkpoints, the result")
    parser.add_argument("--stage", default=recipe.ALL, help=f"one of {', '.join(NAMES)}, or all")
    parser.add_argument("--threads", type=int, help="of torch (one for each core)")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice")
    parser.add_argument("--start", help="an installed model to learn on from")
    parser.add_argument(
        "--towers", help="an installed model whose towers stand in for the stages audio and text"
    )
    parser.add_argument(
        "--effort", type=float, default=1.0, help="the share of steps that every stage makes"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show the plan")
    return parser.parse_args(words)


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


if __name__ == "__main__":
    sys.exit(main())
