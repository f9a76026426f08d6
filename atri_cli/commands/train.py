"""`atri train`: fine-tune a model on the user's own sounds, with the package `train`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atri_cli.commands import parsing
from atri_cli.commands.options import JsonOption, LibraryOption, ModelOption, QuietOption
from atri_cli.commands.progress import StepBar
from atri_cli.errors import RuntimeMissingError, UsageError
from atri_cli.output import Column, Output, Row
from atri_cli.settings import load_settings
from atri_cli.wording import command

if TYPE_CHECKING:
    from train.finetune import Hear, Run
    from train.trainer import Progress, Trainer

PACKAGES = ("torch", "safetensors", "onnx")
INSTALL = 'pip install "atri-cli[train]"'
LANGUAGES = "en,fr,de,es,nl,ca,ja,zh"


def train(
    *,
    loss: Annotated[
        str,
        typer.Option(
            "--loss",
            metavar="NAME",
            help="kcl, kcl-joint, cacl, random, mlclap, mean-anchor, svr, sigmoid, or a sum: "
            "`cacl+0.5*jsd`.",
        ),
    ] = "cacl",
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="Manifest (.tsv), webdataset shards (.tar) or a folder (the library's sounds "
            "unless given).",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    library: LibraryOption = None,
    languages: Annotated[
        str, typer.Option("--languages", metavar="TAGS", help="Languages of the captions.")
    ] = LANGUAGES,
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", help="At most so many.")] = 20,
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="N", help="Clips a step.")
    ] = 64,
    lr: Annotated[float, typer.Option("--lr", metavar="X", help="Highest learning rate.")] = 2e-4,
    tau: Annotated[float, typer.Option("--tau", metavar="X", help="Temperature.")] = 0.07,
    learn_tau: Annotated[
        bool, typer.Option("--learn-tau", help="Learn the temperature, from `--tau` on.")
    ] = False,
    freeze: Annotated[
        str,
        typer.Option(
            "--freeze",
            metavar="PARTS",
            help="What is not trained: towers (heads only), audio, text, none, or "
            "`audio,text:2` (all but the last 2 blocks).",
        ),
    ] = "towers",
    chunk: Annotated[
        int | None,
        typer.Option(
            "--chunk",
            metavar="N",
            help="Encode so many rows at a time: the same gradient in less memory.",
            show_default=False,
        ),
    ] = None,
    recompute: Annotated[
        bool,
        typer.Option(
            "--recompute",
            help="Run trained blocks twice instead of keeping what they held (gradient "
            "checkpointing): the same gradient, slower, in less memory.",
        ),
    ] = False,
    patience: Annotated[
        int,
        typer.Option(
            "--patience", metavar="N", help="Epochs without a better validation; 0: never stop."
        ),
    ] = 3,
    share: Annotated[
        float | None,
        typer.Option(
            "--share",
            metavar="X",
            help="How much of what was learnt goes into the result, from 0 to 1: less forgets less "
            "of other sounds (validation chooses unless given).",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option("--precision", metavar="NAME", help="fp32; on CUDA also bf16, fp16.")
    ] = "fp32",
    via: Annotated[
        str | None,
        typer.Option(
            "--via",
            metavar="sonar-space",
            help="Read SONAR's checkpoint through the package sonar-space.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="cpu|cuda|auto", help="Where to train.")
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, metavar="N", help="Of torch.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Checkpoints and the result (`train/MODEL-LOSS` in atri's own folder unless "
            "given).",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of every random choice.")] = 0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write the log for TensorBoard as well.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Learn made-up sounds in seconds, to see it work.")
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fine-tune a model on your own sounds.

    Needs torch. The model is atri-mini, a folder that an earlier run wrote, a pulled checkpoint
    (`ml-clap`, `glap`), or two towers with new heads (`ced-base+sonar`). Captions come from
    manifests beside the sounds, UCS names, metadata and file names, and in other languages from
    atri's vocabulary. A tenth of the recordings decides which epoch is the best, another tenth
    shows at the end what it was good for.

    \b
    Examples:
      atri train --loss cacl
      atri train --data sounds.tsv --loss kcl+jsd --out my-model
      atri train --model ml-clap --freeze audio,text:2
      atri train --demo
    """
    finetune, asked = _load("train.finetune"), _load("train.request")
    plan = asked.TrainPlan(
        loss=loss,
        languages=_tags(languages),
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        chunk=chunk,
        patience=patience,
        seed=seed,
        tau=tau,
        learn_tau=learn_tau,
        precision=precision,
        device=device,
    )
    settings = load_settings(library=library, model=model, side_by_side=False)
    show = Output("json" if json else "table", quiet=quiet or not _is_first())
    if demo:
        _demo(plan, settings, show, json=json)
        return
    base = Path(settings.model).name
    request = asked.Request(
        plan=plan,
        settings=settings,
        model=settings.model,
        out=parsing.full_path(out) or default_work() / f"{base}-{loss.replace('*', 'x')}",
        cache=default_work() / "cache",
        data=tuple(path.expanduser().absolute() for path in data or ()),
        freezing=asked.Freezing.parse(freeze),
        resume=resume,
        threads=threads,
        tensorboard=tensorboard,
        share=share,
        recompute=recompute,
        via=via,
    )
    with _Bar(show) as bar:
        run = finetune.Run(request, bar.reading)
    _train(finetune, run, show, dry_run=dry_run, json=json)


def _train(finetune: Any, run: Run, show: Output, *, dry_run: bool, json: bool) -> None:
    for warning in run.warnings():
        show.warn(warning)
    facts = run.facts()
    if dry_run:
        show.facts(facts, {"schema": 1, "plan": dict(facts)})
        return
    for name, value in facts:
        show.note(f"{name:10} {value}")
    try:
        with _Bar(show) as bar:
            found = run.start(bar.training)
    except KeyboardInterrupt:
        show.hint("Stopped. Type the same command with `--resume` to go on.")
        raise
    if not _is_first():
        return
    _result(finetune, found, show, json=json)
    made = run.request.out / "model"
    show.hint(f"Make it a model for searching: {command(['export', str(made)])}")


def _result(finetune: Any, found: dict[str, Any], show: Output, *, json: bool) -> None:
    progress = found["progress"]
    rows = [Row(cells, {}) for cells in finetune.comparison(found)]
    columns = (Column("on held-out sounds"), Column("before", True), Column("after", True))
    document = {
        "schema": 1,
        "epochs": progress.epoch,
        "steps": progress.step,
        "share": found.get("share", 1.0),
        "before": _measures(found["before"]),
        "after": _measures(found["after"]),
    }
    show.rows(columns, rows, document)
    if not json and not rows:
        show.note("No sounds were held out: nothing to compare.")


def _measures(report: dict[str, Any] | None) -> dict[str, Any] | None:
    from train.retrieval import for_json

    plain: dict[str, Any] | None = for_json(report)
    return plain and {key: value for key, value in plain.items() if key != "ranks"}


def _demo(plan: Any, settings: Any, show: Output, *, json: bool) -> None:
    import tempfile

    made_up = _load("train.demo")
    with tempfile.TemporaryDirectory() as folder, _Bar(show) as bar:
        short = replace(plan, epochs=min(plan.epochs, 20))
        found = made_up.demo(short, settings, Path(folder), bar.training)
    _result(_load("train.finetune"), found, show, json=json)


class _Bar(StepBar):
    """Progress on stderr: a bar on a terminal, else a line after each epoch."""

    def __init__(self, show: Output) -> None:
        super().__init__(show)
        self._show = show

    def reading(self, done: int, total: int) -> None:
        """Sounds that have been read."""
        self("reading sounds", done, total)

    @property
    def training(self) -> Hear:
        """What hears of every step of a trainer."""

        def hear(trainer: Trainer) -> Callable[[Progress], None]:
            steps = len(trainer.batches)

            def tell(now: Progress) -> None:
                self(f"epoch {now.epoch + 1}, loss {now.loss:.3f}", now.step, trainer.steps)
                if not self.seen and now.step % steps == 0:
                    self._show.note(f"epoch {now.epoch + 1}: loss {now.loss:.4f}")

            return tell

        return hear


def _is_first() -> bool:
    """Whether this process speaks for all: of those that `torchrun` starts, the first."""
    return os.environ.get("RANK", "0") == "0"


def _tags(words: str) -> tuple[str, ...]:
    tags = tuple(parsing.language_tags(words))
    if not tags:
        raise UsageError("No language is named.", hint=f"For example `--languages {LANGUAGES}`.")
    return tags


def _load(name: str) -> Any:
    """A module of the package `train` from beside atri.

    Raises:
        RuntimeMissingError: torch is not installed.
    """
    from atri_cli.siblings import load_sibling

    if any(importlib.util.find_spec(package) is None for package in PACKAGES):
        raise RuntimeMissingError(f"Training needs torch. Type `{INSTALL}`.")
    return load_sibling(name)


def default_work() -> Path:
    """`train` in `ATRI_HOME`, or in the system's folder of caches."""
    home = os.environ.get("ATRI_HOME")
    if home:
        return Path(home).expanduser().absolute() / "train"
    import platformdirs

    return platformdirs.user_cache_path("atri", appauthor=False) / "train"
