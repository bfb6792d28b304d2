"""What a command asks of a sweep over checkpoints, and what is made ready before the first one: policy, references, face engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evals.judging.assessor import Assessor
from evals.judging.gates import gate_of
from lifeos.file_names import system_path
from tools.dataset.manifest import read_manifest
from tools.production import choices
from tools.production.filing import BatchFolder
from tools.production.pipeline import Circumstances
from tools.production.request import Request
from tools.sweep.checkpoint_curve import COPYING_GATE
from tools.sweep.reference_check import HELD_OUT_FOLDER, ReferenceVerdict, check_references, find_training_manifest, gather_held_out
from tools.sweep.round_batch import read_begun
from tools.sweep.watch_state import WatchDesign, WatchState

NOTHING_REJECTED = 1.0
"""The limit at which the guard *memorised* measures and rejects nothing: no likeness is higher."""

LoadPolicy = Callable[[Mapping[str, Any]], dict[str, Any]]
"""The policy in force, with values over it."""


@dataclass(frozen=True, slots=True)
class WatchOrder:
    """What a command asks for. `design` is what every checkpoint gets; the rest may change from one command to the next.

    `idle_seconds`: how long to wait for a new checkpoint where no record tells whether the training goes on.
    """

    request: Request
    folder: Path
    design: WatchDesign
    training_run: str | None = None
    watch: bool = False
    stop_training: bool = False
    lora_dir: Path | None = None
    manifest: Path | None = None
    strict_references: bool = False
    idle_seconds: float = 3600.0

    @property
    def root(self) -> Path:
        """The sweep's folder."""
        return self.request.output_dir


@dataclass(frozen=True, slots=True)
class JudgingGround:
    """What every checkpoint is judged by. `request` holds what all configurations share, the references among it."""

    request: Request
    policy: dict[str, Any]
    assessor: Assessor
    references: ReferenceVerdict


def make_ready(order: WatchOrder, state: WatchState, load_policy: LoadPolicy, around: Circumstances) -> JudgingGround:
    """Choose policy, references and engine, and write down what was chosen. Raises LifeosError for what cannot serve."""
    manifest = find_training_manifest(order.folder, order.manifest)
    _choose_copying(state, manifest, load_policy)
    policy = load_policy(_measure_copying(state.copying_folder) if state.copying_folder else {})
    given = order.request.reference_dir or (Path(state.references) if state.references is not None else None)
    if given is None and manifest is not None:
        given = gather_held_out(manifest, order.root / HELD_OUT_FOLDER, around.note)
    folders = (BatchFolder(order.root / each.folder) for each in state.checkpoints)
    begun = next((plan.protocol for folder in folders if (plan := read_begun(folder)[0]) is not None), None)
    request = replace(order.request, reference_dir=given, base_seed=state.base_seed)
    folder, assessor = choices.choose_references(request, policy, around.root, around.note, begun)
    for line in (*assessor.warnings, *assessor.for_owner):
        around.note(f"warning: {line}")
    verdict = check_references(folder, assessor.reference_hashes, manifest)
    around.note(verdict.told)
    verdict.refuse_trained(strict=order.strict_references)
    state.references = str(folder.resolve())
    state.write(order.root)
    return JudgingGround(replace(request, reference_dir=folder), policy, assessor, verdict)


def _measure_copying(folder: str) -> dict[str, Any]:
    """What turns the guard on as a measure."""
    gate = gate_of(COPYING_GATE)
    return {gate.limit_key: NOTHING_REJECTED, **({gate.folder.key: folder} if gate.folder is not None else {})}


def _choose_copying(state: WatchState, manifest: Path | None, load_policy: LoadPolicy) -> None:
    """Measure copying against the training pictures where they are at hand, and the policy does not say how."""
    if state.checkpoints or manifest is None or gate_of(COPYING_GATE).limit(load_policy({})) is not None:
        return
    folder = system_path(read_manifest(manifest)["dataset_dir"])
    state.copying_folder = str(folder) if folder.is_dir() else None
