"""Whole processes from a cold start: `atri --help` and `atri search`."""

from __future__ import annotations

import importlib.util
import json

from benchmarks.data import make_library, sound_vectors
from benchmarks.options import Options
from benchmarks.processes import atri, in_turns, python
from benchmarks.table import Row, Table

LIBRARY = "bench"
QUERY = "dog barking"  # of the vocabulary: asked by its eight names
LIBRARIES = "import numpy, onnxruntime"

# The text encoder that such a process would run, e5-small's shape, with random weights: reading
# real ones from disk would take it longer.
TRANSFORMERS = """
import torch, transformers
config = transformers.XLMRobertaConfig(
    vocab_size=250037, hidden_size=384, num_hidden_layers=12, num_attention_heads=12,
    intermediate_size=1536, max_position_embeddings=514)
model = transformers.XLMRobertaModel(config).eval()
with torch.inference_mode():
    model(torch.arange(4, 14)[None]).last_hidden_state.mean(1)
"""
TORCH = """
import torch
table = torch.nn.Embedding(250037, 384)
layer = torch.nn.TransformerEncoderLayer(384, 12, 1536, batch_first=True)
model = torch.nn.TransformerEncoder(layer, 12, enable_nested_tensor=False).eval()
with torch.inference_mode():
    model(table(torch.arange(4, 14)[None])).mean(1)
"""


def help_text(options: Options, table: Table) -> None:
    """`atri --help` beside its two libraries."""
    commands = {"help": atri("--help"), "base": python("import typer, rich")}
    runs = in_turns(commands, options.times, options.scratch, options.env("empty"))
    ratio = runs["help"].seconds / runs["base"].seconds
    table.rows.append(
        Row(
            "`atri --help`",
            f"{runs['help'].seconds:.2f} s ({ratio:.2f}x)",
            f'{runs["base"].seconds:.2f} s, `python -c "import typer, rich"`',
            "2x",
            ratio <= 2,
        )
    )


def cold_search(options: Options, table: Table) -> None:
    """`atri search` in a library of made-up vectors beside imports, and beside torch."""
    env = options.env("search")
    folder = options.scratch / "search" / LIBRARY
    make_library(folder, options.card, sound_vectors(options.segments, options.card.dim))
    commands = {
        "search": atri("search", QUERY, "--library", str(folder), "--json"),
        "base": python(LIBRARIES),
    }
    heavy = _heavy(table)
    if heavy:
        commands["heavy"] = python(heavy)
    runs = in_turns(commands, options.times, options.scratch, env)
    for run in runs["search"].all:
        if len(json.loads(run.stdout)["hits"]) != 10:
            raise RuntimeError(f"the search did not find ten files: {run.stdout[:300]}")
    what = f"`atri search`, cold, {options.segments:,} segments x {options.card.dim}"
    search, base = runs["search"], runs["base"]
    ratio = search.seconds / base.seconds
    table.rows += [
        Row(
            what,
            f"{search.seconds:.2f} s ({ratio:.2f}x)",
            f'{base.seconds:.2f} s, `python -c "{LIBRARIES}"`',
            "3x",
            ratio <= 3,
        ),
        Row("its peak memory", f"{search.megabytes:.0f} MB", "", "300 MB", search.megabytes < 300),
    ]
    if heavy:
        factor = runs["heavy"].seconds / search.seconds
        names = "torch and transformers" if heavy == TRANSFORMERS else "torch alone"
        table.rows.append(
            Row(
                f"a cold process with {names} embedding one text",
                f"{runs['heavy'].seconds:.2f} s ({factor:.1f}x the search)",
                f"{runs['heavy'].megabytes:.0f} MB",
                "10x or more",
                factor >= 10,
            )
        )


def _heavy(table: Table) -> str:
    if importlib.util.find_spec("torch") is None:
        table.notes.append("torch is not installed: no comparison with it.")
        return ""
    table.notes.append(
        "The process with torch runs an encoder of multilingual-e5-small's shape with random "
        "weights and no tokenizer; loading real ones would take it longer."
    )
    if importlib.util.find_spec("transformers") is None:
        table.notes.append("transformers is not installed: that process imports torch alone.")
        return TORCH
    return TRANSFORMERS
