"""onnxruntime's sessions: on CUDA where it is offered and wanted, else on the CPU, and what a person must know about that."""

from __future__ import annotations

import contextlib
import importlib.util
from typing import Any

from lifeos.errors import UnavailableError

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
CUDA_NOTE = "CUDA does not run, so the CPU scores, many times slower: python -m lifeos doctor says why (--prefer-cpu to choose the CPU)"


def require_package(package: str, engine: str) -> None:
    """Raises UnavailableError where a package is not installed. Nothing is imported."""
    with contextlib.suppress(ValueError):
        if importlib.util.find_spec(package) is not None:
            return
    raise UnavailableError(f"face engine {engine}", f"the package {package} is not installed", "run: python -m lifeos setup")


def wanted_providers(*, prefer_cpu: bool) -> list[str]:
    import onnxruntime

    return [CPU] if prefer_cpu or CUDA not in onnxruntime.get_available_providers() else [CUDA, CPU]


def session_options(threads: int) -> Any:
    """`threads` within one picture (0: onnxruntime's default). With 1, and pictures in parallel, two cores score 23 a second, not 14."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)  # a CUDA library that is missing is told by a note, in words
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return options


def running_provider(sessions: list[Any]) -> str:
    """What really runs: the CPU where any of the sessions does."""
    running = [str(session.get_providers()[0]) for session in sessions]
    return CPU if CPU in running else running[0]
