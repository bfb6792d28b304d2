"""The registry of face engines: one row for each, in the order in which `--engine auto` tries them.

What an engine must be able to do is in `face_engine.py`. Nothing is imported for a name, so that a parser can offer all of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lifeos import cli
from lifeos.errors import InputError, LifeosError, UnavailableError
from lifeos.model_folders import model_folders

if TYPE_CHECKING:
    from evals.faces.face_engine import EngineModule, EngineRequest, FaceEngine


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One engine: the word for `--engine`, the module that knows it, what it is and who may use it.

    `is_free`: anybody may use it for anything. `is_default`: `setup` brings it, so it is the one that says what is missing.
    """

    name: str
    module: str
    summary: str
    is_free: bool = False
    is_default: bool = False

    def load(self) -> EngineModule:
        from importlib import import_module

        return cast("EngineModule", import_module(self.module))


AUTO = "auto"
ENGINES: tuple[EngineRow, ...] = (
    EngineRow("onnx", "evals.faces.onnx_engine", "the ONNX face model that --face-model names, with YuNet; its own licence holds"),
    EngineRow("insightface", "evals.faces.insightface_engine", "a model pack on onnxruntime, with CUDA; non-commercial research only"),
    EngineRow("sface", "evals.faces.sface_engine", "SFace with YuNet, on any CPU; free for any use", is_free=True, is_default=True),
    EngineRow("dlib", "evals.faces.dlib_engine", "an extra (python -m lifeos setup --dlib), on any CPU; free for any use", is_free=True),
)


def engine_names() -> tuple[str, ...]:
    """The values of `--engine`."""
    return (AUTO, *(row.name for row in ENGINES))


def engine_help() -> str:
    """What `--engine` chooses between, for its help."""
    rows = "; ".join(f"{row.name}: {row.summary}" for row in ENGINES)
    return f"face engine. {rows}; {AUTO}: the first of these that has its models here"


def read_request(
    policy: Mapping[str, Any],
    *,
    prefer_cpu: bool = False,
    model_root: Path | None = None,
    model_pack: str | None = None,
    face_model: Path | None = None,
) -> EngineRequest:
    """What the flags of a command mean for an engine. Raises InputError for a folder or file that was named and does not exist."""
    from evals.faces.face_engine import EngineRequest

    if face_model is not None:
        face_model = cli.require_file(face_model.expanduser(), "--face-model")
    return EngineRequest(tuple(search_folders(model_root)), policy["face_similarity"]["engines"], prefer_cpu, model_pack, face_model)


def search_folders(model_root: Path | None) -> list[Path]:
    """Where models are looked for: the folder given, and only there; else the usual ones. A folder that was named must exist."""
    if model_root is not None:
        return [cli.require_directory(model_root.expanduser(), "--model-root")]
    folders = model_folders()
    if os.environ.get("LIFEOS_MODELS"):
        cli.require_directory(folders[0], "LIFEOS_MODELS")
    return folders


def choose_engine(
    engine: str,
    policy: Mapping[str, Any],
    *,
    prefer_cpu: bool = False,
    model_root: Path | None = None,
    model_pack: str | None = None,
    face_model: Path | None = None,
    begun: Mapping[str, Any] | None = None,
    needs_row: bool = True,
) -> FaceEngine:
    """The engine asked for; for `auto` the one of the batch that goes on (`begun`: its protocol), else the first that is ready.

    Raises UnavailableError where models are missing, InputError for an engine or a pack without a row in the policy (unless it is to be
    measured: `needs_row`).
    """
    from evals.faces.policy_scale import require_row

    if engine not in engine_names():
        raise InputError("--engine", f"{engine!r} is no engine", f"use {', '.join(engine_names())}")
    request = read_request(policy, prefer_cpu=prefer_cpu, model_root=model_root, model_pack=model_pack, face_model=face_model)
    request = replace(request, needs_row=needs_row)
    row = _row_for(engine, request, begun or {})
    if begun and begun.get("engine") == row.name:
        opened = _open_begun(row, replace(request, begun=begun))
    else:
        opened = row.load().open_engine(request)
    if needs_row:
        require_row(request.scales, opened.scale_key, f"face engine {row.name}")
    return opened


def free_engine(model_root: Path | None = None) -> str:
    """The first engine that anybody may use and that is ready; the default one where none is, which then says what it lacks."""
    from lifeos.policy.loading import load_thresholds

    request = read_request(load_thresholds(section="face_similarity"), model_root=model_root)
    return _first_ready(request, [row for row in ENGINES if row.is_free]).name


def _row_for(engine: str, request: EngineRequest, begun: Mapping[str, Any]) -> EngineRow:
    if engine != AUTO:
        return next(row for row in ENGINES if row.name == engine)
    if not begun or request.model_pack or request.face_model:
        return _first_ready(request)
    row = next((row for row in ENGINES if row.name == begun.get("engine")), None)
    if row is None:
        raise InputError("--engine", f"it was begun with {begun.get('engine')!r}, which is no engine of this version", "begin another one")
    return row


def _open_begun(row: EngineRow, request: EngineRequest) -> FaceEngine:
    """The engine with which something was begun; where it cannot run, the error says that this one is needed."""
    try:
        return row.load().open_engine(request)
    except UnavailableError as error:
        raise UnavailableError(error.what, f"{error.why}; what goes on here was begun with the face engine {row.name}", error.fix) from None


def _first_ready(request: EngineRequest, rows: Sequence[EngineRow] | None = None) -> EngineRow:
    """The first engine that can run here; where none can, the default one, which then says what it lacks."""
    for row in ENGINES if rows is None else rows:
        try:
            row.load().check(request)
        except LifeosError:
            continue
        return row
    return next((row for row in ENGINES if row.is_default), ENGINES[-1])
