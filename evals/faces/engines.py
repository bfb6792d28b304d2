"""The registry of face engines: one row for each, in the order in which `--engine auto` tries them.

What an engine must be able to do is in `face_engine.py`. Nothing is imported for a name, so that a parser can offer all of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lifeos import cli
from lifeos.errors import InputError, LifeosError
from lifeos.model_folders import model_folders

if TYPE_CHECKING:
    from evals.faces.face_engine import EngineModule, EngineRequest, FaceEngine


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One engine: the word for `--engine`, the module that knows it, what it is and who may use it."""

    name: str
    module: str
    summary: str

    def load(self) -> EngineModule:
        from importlib import import_module

        return cast("EngineModule", import_module(self.module))


AUTO = "auto"
ENGINES: tuple[EngineRow, ...] = (
    EngineRow("insightface", "evals.faces.insightface_engine", "a model pack on onnxruntime, with CUDA; non-commercial research only"),
    EngineRow("dlib", "evals.faces.dlib_engine", "on any CPU, without a download; free for any use"),
)


def engine_names() -> tuple[str, ...]:
    """The values of `--engine`."""
    return (AUTO, *(row.name for row in ENGINES))


def engine_help() -> str:
    """What `--engine` chooses between, for its help."""
    rows = "; ".join(f"{row.name}: {row.summary}" for row in ENGINES)
    return f"face engine. {rows}; {AUTO}: the first of these that has its models here"


def read_request(
    policy: Mapping[str, Any], *, prefer_cpu: bool = False, model_root: Path | None = None, model_pack: str | None = None
) -> EngineRequest:
    """What the flags of a command mean for an engine. Raises InputError for a folder that was named and does not exist."""
    from evals.faces.face_engine import EngineRequest

    return EngineRequest(tuple(search_folders(model_root)), policy["face_similarity"]["engines"], prefer_cpu, model_pack)


def search_folders(model_root: Path | None) -> list[Path]:
    """Where models are looked for: the folder given, and only there; else the usual ones. A folder that was named must exist."""
    if model_root is not None:
        return [cli.require_directory(model_root.expanduser(), "--model-root")]
    folders = model_folders()
    if os.environ.get("LIFEOS_MODELS"):
        cli.require_directory(folders[0], "LIFEOS_MODELS")
    return folders


def choose_engine(
    engine: str, policy: Mapping[str, Any], *, prefer_cpu: bool = False, model_root: Path | None = None, model_pack: str | None = None
) -> FaceEngine:
    """The engine asked for, or the first that is ready. Raises UnavailableError where models are missing, InputError for an engine or a
    pack without a row in the policy."""
    from evals.faces.policy_scale import require_row

    if engine not in engine_names():
        raise InputError("--engine", f"{engine!r} is no engine", f"use {', '.join(engine_names())}")
    request = read_request(policy, prefer_cpu=prefer_cpu, model_root=model_root, model_pack=model_pack)
    row = _first_ready(request) if engine == AUTO else next(row for row in ENGINES if row.name == engine)
    opened = row.load().open_engine(request)
    require_row(request.scales, opened.scale_key, f"face engine {row.name}")
    return opened


def _first_ready(request: EngineRequest) -> EngineRow:
    """The first engine that can run here; the last of the registry, which then says what it lacks, where none can."""
    for row in ENGINES:
        try:
            row.load().check(request)
        except LifeosError:
            continue
        return row
    return ENGINES[-1]
