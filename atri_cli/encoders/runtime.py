"""ONNX Runtime: sessions that are quiet, predictable, and honest about the device they use."""

from __future__ import annotations

import io
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atri_cli.errors import ModelError, RuntimeMissingError, UsageError

if TYPE_CHECKING:
    import onnxruntime as ort

DEVICES = ("auto", "cpu", "cuda")
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
INSTALL_CPU = 'pip install "atri-cli[cpu]"'
INSTALL_GPU = 'pip install "atri-cli[gpu]"'

# Only fatal messages: the runtime's coloured warnings on stderr tell a user nothing, and what
# matters (the device really used, a damaged file) is found out and said here.
_FATAL = 4


def import_runtime() -> Any:
    """The module `onnxruntime`, which reports to nobody (see also `atri_cli/__init__.py`).

    Raises:
        RuntimeMissingError: it is missing or broken.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeMissingError(
            "ONNX Runtime is not installed.",
            why=str(error),
            hint=f"Install it with `{INSTALL_CPU}`, or `{INSTALL_GPU}` for an NVIDIA GPU.",
        ) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise RuntimeMissingError(
            "ONNX Runtime is installed, but broken.",
            why="This happens when `onnxruntime` and `onnxruntime-gpu` were installed together.",
            hint=f"`pip uninstall onnxruntime onnxruntime-gpu`, then `{INSTALL_CPU}`.",
        )
    if hasattr(onnxruntime, "disable_telemetry_events"):  # a program may have imported it first
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def check_device(device: str) -> str:
    """Give back a known device name.

    Raises:
        UsageError: any other name.
    """
    if device not in DEVICES:
        raise UsageError(f"Unknown device `{device}`.", hint=f"Take one of {', '.join(DEVICES)}.")
    return device


def make_session(
    path: Path, *, device: str = "cpu", threads: int | None = None, optimisation: str
) -> ort.InferenceSession:
    """Load one ONNX file.

    Args:
        path: the file.
        device: `cpu`; `cuda`, which fails unless CUDA is really used; `auto`, CUDA if it can be.
        threads: of one run; None leaves it to the runtime.
        optimisation: name of a `GraphOptimizationLevel`.

    Raises:
        RuntimeMissingError: no runtime, or `cuda` asked for in vain.
        ModelError: the file is missing, damaged, or needs a newer runtime.
    """
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or 0
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, optimisation)
    runtime.set_default_logger_severity(_FATAL)
    wanted = _providers(device, runtime.get_available_providers())
    missing = _load_cuda(runtime) if CUDA in wanted else ""
    try:
        session = runtime.InferenceSession(str(path), options, providers=wanted)
    except Exception as error:  # the runtime's exceptions share no public base class
        raise ModelError(
            f"Cannot load the model file `{path}`.",
            why=str(error),
            hint="Compare the model's files with its card: `atri doctor`.",
        ) from error
    if device == "cuda" and CUDA not in session.get_providers():
        why = "ONNX Runtime has CUDA, but could not start it: driver, CUDA or cuDNN."
        raise _no_cuda(f"{why} {missing}".strip())
    return session


def _providers(device: str, available: list[str]) -> list[str]:
    if device == "cpu" or (device == "auto" and CUDA not in available):
        return [CPU]
    if CUDA not in available:
        raise _no_cuda("The installed ONNX Runtime was built without CUDA.")
    return [CUDA, CPU]


def _load_cuda(runtime: Any) -> str:
    """Load the libraries that the extra `gpu` brings as packages, which no loader looks for.

    Returns:
        What could not be loaded, in a line; empty when all is well, or the runtime does not say.
    """
    said = io.StringIO()
    with redirect_stdout(said), suppress(Exception):  # whether CUDA starts is seen afterwards
        runtime.preload_dlls()
    return next((line for line in said.getvalue().splitlines() if line.startswith("Failed")), "")


def _no_cuda(why: str) -> RuntimeMissingError:
    return RuntimeMissingError(
        "The device `cuda` cannot be used.",
        why=why,
        hint=f"Use `--device cpu`, or see `atri doctor`; for NVIDIA GPUs `{INSTALL_GPU}` "
        "in an environment without `onnxruntime`.",
    )
