"""Which face engine to use: `auto` takes InsightFace where a calibrated pack is at hand, else dlib."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.faces import yunet
from evals.faces.dlib_engine import DlibEngine
from evals.faces.insightface_engine import InsightFaceEngine, is_pack_folder, read_pack
from evals.faces.subject import FaceEngine
from lifeos import cli
from lifeos.errors import InputError, UnavailableError, did_you_mean
from lifeos.model_folders import model_folders

ENGINES = ("auto", "insightface", "dlib")
DEFAULT_PACK = "buffalo_l"


def search_folders(model_root: Path | None) -> list[Path]:
    """Where models are looked for: the folder given, and only there; else the usual ones. A folder that was named must exist."""
    if model_root is not None:
        return [cli.require_directory(model_root.expanduser(), "--model-root")]
    folders = model_folders()
    if os.environ.get("LIFEOS_MODELS"):
        cli.require_directory(folders[0], "LIFEOS_MODELS")
    return folders


def find_packs(folders: list[Path]) -> dict[str, Path]:
    """The model packs in or under the folders, by name; the first folder wins."""
    packs: dict[str, Path] = {}
    for folder in folders:
        bases = [base for base in (folder, folder / "models", folder / "insightface") if base.is_dir()]
        for place in [folder, *(place for base in bases for place in sorted(base.iterdir()))]:
            if place.is_dir() and place.name not in packs and is_pack_folder(place):
                packs[place.name] = place
    return packs


def find_yunet(folders: list[Path]) -> Path | None:
    return next((folder / yunet.FILE_NAME for folder in folders if (folder / yunet.FILE_NAME).is_file()), None)


def choose_engine(
    engine: str, policy: Mapping[str, Any], *, prefer_cpu: bool = False, model_root: Path | None = None, model_pack: str | None = None
) -> FaceEngine:
    """The engine asked for. Raises UnavailableError where its models are missing, InputError for a pack without a row in the policy."""
    if engine not in ENGINES:
        raise InputError("--engine", f"{engine!r} is no engine", f"use {', '.join(ENGINES)}")
    folders = search_folders(model_root)
    if engine == "dlib":
        if model_pack:
            raise InputError("--model-pack", "dlib has no model packs", "leave it out, or use --engine insightface")
        return DlibEngine(find_yunet(folders))
    packs = find_packs(folders)
    scales: Mapping[str, Any] = policy["face_similarity"]["engines"]
    name = model_pack or _default_pack(packs, scales)
    if name is None and engine == "auto":
        return DlibEngine(find_yunet(folders))
    name = name or (next(iter(packs)) if len(packs) == 1 else DEFAULT_PACK)
    if name not in packs:
        looked = ", ".join(str(folder) for folder in folders)
        hint = f"{did_you_mean(name, packs)}; " if packs else ""
        fix = f"{hint}run: python -m lifeos setup --insightface, or use --engine dlib"
        raise UnavailableError(f"model pack {name}", f"not in {looked}", fix)
    if f"insightface_{name}" not in scales:
        row = f"face_similarity.engines.insightface_{name}: {{stranger: …, warn: …, pass: …, same: 1.0}}"
        fix = f"score pictures of the character and of strangers with benchmarks/metric_validity.py and add {row} to evals/thresholds.yaml"
        raise InputError(f"model pack {name}", "the policy has no thresholds for it, and those of another pack do not carry over", fix)
    return InsightFaceEngine(read_pack(packs[name]), prefer_cpu=prefer_cpu)


def _default_pack(packs: Mapping[str, Path], scales: Mapping[str, Any]) -> str | None:
    """buffalo_l where it is, else the first pack that the policy knows."""
    known = [name for name in packs if f"insightface_{name}" in scales]
    return DEFAULT_PACK if DEFAULT_PACK in known else next(iter(known), None)
