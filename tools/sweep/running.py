"""Run a sweep: each rung is a round (`round_batch`) in a folder of its own, so that any of it can be killed and continued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lifeos import files, foreign, locks
from lifeos.counting import counted, verb
from lifeos.errors import InputError
from tools.backends.registry import connect_backends
from tools.production import choices
from tools.production.budget import Limits
from tools.production.filing import BatchFolder, check_room, check_writable
from tools.production.graph_choice import check_loras
from tools.production.healing import find_losses
from tools.production.journal import JOURNAL_FILE, read_state
from tools.production.pipeline import Circumstances, backend_options, choose_servers, queued_before
from tools.production.plan import Plan, read_plan, sha256_of
from tools.production.planning import Generation, plan_generation
from tools.production.protocol_change import (
    WHY_KEPT,
    describe_change,
    foretell_rescoring,
    is_finished,
    look_through,
)
from tools.production.rejudging import plan_in_force
from tools.production.request import Request
from tools.production.results import COMPLETE, FINISHED, INCOMPLETE
from tools.production.settling import read_settled
from tools.production.stopping import Note, StopSignal
from tools.sweep.analysis import Shot, survivors
from tools.sweep.design import Config, Rung
from tools.sweep.reference_check import ReferenceVerdict, check_references
from tools.sweep.round_batch import Round, RoundTools, read_begun, settings_for
from tools.workflows.graph import Graph
from tools.workflows.seeds import choose_base_seed, round_seed

SWEEP_FILE = "sweep.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is swept. `request` holds what all configurations share."""

    request: Request
    configs: tuple[Config, ...]
    rungs: tuple[Rung, ...]
    prompts: tuple[str, ...]
    baseline: str | None
    run_id: str
    manifest: Path | None = None
    """What was trained, to ask whether a reference was."""
    strict_references: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "run_id": self.run_id,
            "configs": [asdict(config) for config in self.configs],
            "rungs": [{**asdict(rung), "prompts": list(rung.prompts)} for rung in self.rungs],
            "prompts": list(self.prompts),
            "baseline": self.baseline,
        }


@dataclass(frozen=True, slots=True)
class SweepEnd:
    """How far a sweep came. `why` as of a batch; `shots` holds every scored picture of every rung."""

    why: str
    shots: list[Shot]
    survivors: list[Config]
    protocol: dict[str, Any]
    notice: str | None
    usd: float
    error: Exception | None = None
    likeness: Mapping[str, Any] = field(default_factory=dict)
    """As of a plan: what a face score stands between, and with `warnings` what to know before trusting it; that of the newest rung."""
    references: ReferenceVerdict | None = None
    """Whether references were trained on; None where nobody asked."""


def check_begun(root: Path, sweep: Sweep) -> int | None:
    """The base seed of the sweep that was begun in `root`, None where there is none. Raises InputError for another sweep."""
    path = root / SWEEP_FILE
    if not path.exists():
        return None
    saved = read_sweep(root)
    wanted = sweep.to_json()
    differing = [key for key, value in wanted.items() if saved.get(key) != value]
    if differing:
        fix = "repeat its command to continue it, or choose another --output-dir"
        raise InputError(root, f"holds another sweep: {', '.join(differing)} {verb(len(differing), 'differs', 'differ')}", fix)
    return int(saved["base_seed"])


def forget_recorded(root: Path) -> None:
    """The rows in the history are of other scores from now on."""
    saved = read_sweep(root)
    if saved.pop("recorded", None) is not None:
        files.write_json(root / SWEEP_FILE, saved)


def read_sweep(root: Path) -> dict[str, Any]:
    """What was begun in `root`. Raises InputError for a file that is not a sweep of ours."""
    path, fix = root / SWEEP_FILE, "choose another --output-dir"
    saved: dict[str, Any] = foreign.read_file(path, dict, surrogates="keep", fix=fix)
    if not isinstance(saved.get("base_seed"), int):
        raise InputError(path, "not a sweep of ours", fix)
    return saved


def run_sweep(sweep: Sweep, policy: Mapping[str, Any], around: Circumstances, stop: StopSignal) -> SweepEnd:
    """Bring the sweep in the request's folder as far as it goes. Raises LifeosError for what stops it before it begins."""
    root = sweep.request.output_dir
    check_writable(root)
    check_room(BatchFolder(root), policy["production"]["min_free_disk_gb"])
    with (
        locks.hold(root / ".work" / "lock", str(root)) as held,
        connect_backends(sweep.request.servers, around.note, backend_options(policy, around)) as reached,
    ):
        begun = check_begun(root, sweep)
        seed = choose_base_seed(sweep.request.base_seed, begun)
        request = replace(sweep.request, base_seed=seed)
        saved = read_plan(root / "rung_1")  # what it began with stays: its strength where a loader is put in
        generation = plan_generation(replace(request, prompts=sweep.prompts, prompts_file=None), policy, reached.servers, saved)
        ours = queued_before(*root.glob("rung_*"))
        able = choose_servers(reached, generation, policy, around, ours, graphs_of(sweep, generation))
        more = [config.lora for config in sweep.configs if config.lora not in (None, request.lora)]
        allowed = bool(request.allow_family_mismatch) or saved is not None
        chosen = replace(request, family=generation.chosen.get("family"))
        for line in check_loras(more, chosen, generation.workflow, able.able[0], is_allowed=allowed) if more else ():
            around.note(f"  {line}")
        for line in placed_lines(sweep, generation, round_seed(seed, 1)):
            around.note(f"  {line}")
        references, assessor = choices.choose_references(request, policy, around.root, around.note, saved.protocol if saved else None)
        verdict = check_references(references, assessor.reference_hashes, sweep.manifest) if sweep.manifest is not None else None
        if verdict is not None:
            around.note(verdict.told)
            verdict.refuse_trained(strict=sweep.strict_references)
        tools = RoundTools(request, policy, around, stop, able, generation, references, assessor, reached.notice, sweep.prompts)
        run = _Running(sweep, tools)
        if begun is None:  # not before: what was refused above must not keep the corrected command out of its folder
            files.write_json(root / SWEEP_FILE, {**sweep.to_json(), "base_seed": seed})
        return replace(run.run(held), references=verdict)


def foretell_scoring(sweep: Sweep, policy: Mapping[str, Any], root: Path, note: Note) -> list[str]:
    """What a run would say of pictures that were scored in an older way, without writing anything. It opens the face engine."""
    folders = [BatchFolder(sweep.request.output_dir / f"rung_{rung.number}") for rung in sweep.rungs]
    rungs = [(folder, plan, read_state(folder.root / JOURNAL_FILE)) for folder in folders if (plan := read_plan(folder.root)) is not None]
    if not rungs:
        return []
    _, assessor = choices.choose_references(sweep.request, policy, root, note, rungs[0][1].protocol)
    begun = [(folder, plan_in_force(plan, state), state) for folder, plan, state in rungs]
    changes = _older_ways([plan for _, plan, _ in begun], assessor.protocol)
    if not changes:
        return []
    if _has_one_protocol(sweep, [plan for _, plan, _ in begun]) and all(
        is_finished(plan, folder, state, Limits(), read_settled(folder, state, note)) and not any(find_losses(folder, state))
        for folder, plan, state in begun
    ):
        return [_kept_line(changes)]
    return [
        f"round {folder.root.name.removeprefix('rung_')}: {line}"
        for folder, plan, state in begun
        if (line := foretell_rescoring(plan, assessor.protocol, folder, state))
    ]


def _older_ways(plans: Sequence[Plan], protocol: Mapping[str, Any]) -> list[str]:
    """How scores of those rounds were measured otherwise than by `protocol`."""
    return sorted({describe_change(plan.protocol, protocol) for plan in plans} - {""})


def _has_one_protocol(sweep: Sweep, begun: Sequence[Plan]) -> bool:
    """Whether all rounds were begun, under one protocol."""
    return len(begun) == len(sweep.rungs) and len({plan.protocol.get("id") for plan in begun}) == 1


def _kept_line(changes: Sequence[str]) -> str:
    return f"the pictures of this sweep were scored in an older way ({changes[0]}): {WHY_KEPT}"


def placed_lines(sweep: Sweep, generation: Generation, seed: int) -> list[str]:
    """Where everything goes in the graph of the first configuration's first picture, and the digest of that graph."""
    settings = replace(settings_for(sweep.configs[0], generation), positive=sweep.prompts[0], seed=seed)
    placed = generation.workflow.fill(settings)
    return [
        f"first configuration, {sweep.configs[0].name}:",
        *generation.remarks,
        *placed.lines(),
        f"graph without file names, SHA-256: {sha256_of(placed.graph)}",
    ]


def graphs_of(sweep: Sweep, generation: Generation) -> list[Graph]:
    """A graph for every LoRA and sampler of the grid: a server gets the pictures of those that it can run."""
    kinds = {(config.lora, config.sampler): config for config in sweep.configs}
    return [
        generation.workflow.place(replace(settings_for(config, generation), positive=sweep.prompts[0], seed=0)) for config in kinds.values()
    ]


@dataclass(slots=True)
class _Running:
    sweep: Sweep
    tools: RoundTools
    rescores: bool = False
    """Whether rungs whose pictures were scored in an older way are scored again."""
    protocol: dict[str, Any] = field(default_factory=dict)
    """That of the newest rung."""
    likeness: Mapping[str, Any] = field(default_factory=dict)

    def run(self, held: locks.Held) -> SweepEnd:
        for line in (*self.tools.assessor.warnings, *self.tools.assessor.for_owner):
            self.tools.around.note(f"warning: {line}")
        self.rescores = self._must_rescore()
        shots: list[Shot] = []
        left = list(self.sweep.configs)
        why, error, usd, unmade = COMPLETE, None, 0.0, 0
        for rung in self.sweep.rungs:
            if rung.number > 1:
                left = self._going_on(rung, left, shots)
                names = ", ".join(config.name for config in left)
                going = f"{counted(len(left), 'configuration')} {verb(len(left), 'goes', 'go')} on"
                self.tools.around.note(f"round {rung.number}: {going}: {names}")
            end = self.tools.run(self._round(rung, left), held, usd, rescores=self.rescores)
            self.protocol, self.likeness = end.protocol, end.likeness
            shots += end.shots
            why, error, usd = end.why, end.error, usd + end.usd
            if why not in FINISHED:
                break
            unmade += why == INCOMPLETE
        if why == COMPLETE and unmade:
            why = INCOMPLETE
        return SweepEnd(why, shots, left, dict(self.protocol), self.tools.notice, usd, error, self.likeness)

    def _must_rescore(self) -> bool:
        """Whether the sweep is not finished, or was killed while it scored again, and some of its pictures were scored in an older way."""
        rungs = [(folder, read_begun(folder)) for folder in (self._folder(rung) for rung in self.sweep.rungs)]
        begun = [(folder, plan, state) for folder, (plan, state) in rungs if plan is not None]
        plans = [plan for _, plan, _ in begun]
        changes = _older_ways(plans, self.tools.assessor.protocol)
        if not changes:
            return False
        if _has_one_protocol(self.sweep, plans) and all(
            is_finished(plan, folder, state, Limits(), look_through(folder, state, self.tools.around.note)) for folder, plan, state in begun
        ):
            self.tools.around.note(_kept_line(changes))
            return False
        forget_recorded(self.tools.request.output_dir)
        return True

    def _folder(self, rung: Rung) -> BatchFolder:
        return BatchFolder(self.tools.request.output_dir / f"rung_{rung.number}")

    def _going_on(self, rung: Rung, left: list[Config], shots: list[Shot]) -> list[Config]:
        """The configurations of a round: those that it was begun with, whatever has been decided or scored again since; else the best."""
        saved = read_plan(self._folder(rung).root)
        known = {config.name: config for config in left}
        if saved is not None and all(variant.config in known for variant in saved.variants):
            return [known[variant.config] for variant in saved.variants]
        return survivors(shots, left, rung.keep, self.tools.policy, self.sweep.baseline)

    def _round(self, rung: Rung, left: Sequence[Config]) -> Round:
        seed = round_seed(self.tools.request.base_seed or 0, rung.number)
        name = f"{self.sweep.run_id}_{rung.number}"
        return Round(f"round {rung.number}", self._folder(rung), name, tuple(left), rung.prompts, rung.seeds, seed)
