"""Run a sweep: each rung is a batch of the production runner in a folder of its own, so that any of it can be killed and continued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from evals.judging.assessor import Assessor
from lifeos import files, foreign, locks
from lifeos.counting import counted, verb
from lifeos.errors import InputError
from tools.backends.backend import Backend
from tools.backends.registry import connect_backends
from tools.production import choices
from tools.production.batch_state import BatchState
from tools.production.budget import Limits, estimate, format_seconds
from tools.production.filing import BatchFolder, check_room, check_writable
from tools.production.finish import Ending, finish_batch
from tools.production.graph_choice import check_loras
from tools.production.healing import find_losses
from tools.production.journal import JOURNAL_FILE, read_state
from tools.production.pipeline import Circumstances, backend_options, check_health, part_from_original, queued_before, rate_of
from tools.production.plan import Item, Plan, Variant, check_same, read_plan, sha256_of, write_plan
from tools.production.planning import Generation, make_plan, plan_generation
from tools.production.protocol_change import (
    WHY_KEPT,
    Rescoring,
    describe_change,
    foretell_rescoring,
    is_finished,
    kept,
    look_through,
    rescore,
    settled_plan,
)
from tools.production.rejudging import finish_moves, plan_in_force
from tools.production.request import Request
from tools.production.results import COMPLETE, FINISHED, INCOMPLETE, read_results
from tools.production.runner import Equipment, run_batch
from tools.production.settling import read_settled
from tools.production.stopping import Note, StopSignal
from tools.sweep.analysis import Shot, survivors
from tools.sweep.design import Config, Rung
from tools.workflows.seeds import choose_base_seed, round_seed
from tools.workflows.workflow import Settings, check_models

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
        raise InputError(root, f"holds another sweep: {', '.join(differing)} differ", fix)
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
        connect_backends(sweep.request.comfy_urls or (), around.note, backend_options(policy, around)) as reached,
    ):
        servers = [each.server for each in reached]
        begun = check_begun(root, sweep)
        seed = choose_base_seed(sweep.request.base_seed, begun)
        request = replace(sweep.request, base_seed=seed)
        saved = read_plan(root / "rung_1")  # what it began with stays: its strength where a loader is put in
        generation = plan_generation(replace(request, prompts=sweep.prompts, prompts_file=None), policy, servers, saved)
        _check_models(sweep, generation, servers)
        more = [config.lora for config in sweep.configs if config.lora not in (None, request.lora)]
        allowed = bool(request.allow_family_mismatch) or saved is not None
        chosen = replace(request, family=generation.chosen.get("family"))
        for line in check_loras(more, chosen, generation.workflow, servers[0], is_allowed=allowed) if more else ():
            around.note(f"  {line}")
        for line in placed_lines(sweep, generation, round_seed(seed, 1)):
            around.note(f"  {line}")
        if around.check_health:
            check_health(servers, generation, policy, around.note, queued_before(*root.glob("rung_*")))
        references, assessor = choices.choose_references(request, policy, around.root, around.note, saved.protocol if saved else None)
        notice = next((each.info.notice for each in reached if each.info.notice), None)
        run = _Running(sweep, request, policy, around, stop, servers, generation, references, assessor, notice)
        if begun is None:  # not before: what was refused above must not keep the corrected command out of its folder
            files.write_json(root / SWEEP_FILE, {**sweep.to_json(), "base_seed": seed})
        return run.run(held)


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


def _check_models(sweep: Sweep, generation: Generation, servers: Sequence[Backend]) -> None:
    """Every LoRA and sampler of the grid must be on every server, before the first picture is paid for."""
    kinds = {(config.lora, config.sampler): config for config in sweep.configs}
    graphs = [
        generation.workflow.place(replace(settings_for(config, generation), positive=sweep.prompts[0], seed=0)) for config in kinds.values()
    ]
    for server in servers:
        check_models(server, *graphs)


def settings_for(config: Config, generation: Generation) -> Settings:
    """The batch's settings with those of one configuration over them."""
    shared = generation.settings
    return replace(
        shared,
        lora=config.lora if config.lora is not None else shared.lora,
        lora_strength=config.strength if config.strength is not None else shared.lora_strength,
        cfg=config.cfg if config.cfg is not None else shared.cfg,
        sampler=config.sampler if config.sampler is not None else shared.sampler,
    )


@dataclass(slots=True)
class _Running:
    sweep: Sweep
    request: Request
    policy: Mapping[str, Any]
    around: Circumstances
    stop: StopSignal
    servers: list[Backend]
    generation: Generation
    references: Path
    assessor: Assessor
    notice: str | None
    rescores: bool = False
    """Whether rungs whose pictures were scored in an older way are scored again."""
    protocol: dict[str, Any] = field(default_factory=dict)
    """That of the newest rung."""
    likeness: Mapping[str, Any] = field(default_factory=dict)

    def run(self, held: locks.Held) -> SweepEnd:
        for line in (*self.assessor.warnings, *self.assessor.for_owner):
            self.around.note(f"warning: {line}")
        self.rescores = self._must_rescore()
        shots: list[Shot] = []
        left = list(self.sweep.configs)
        why, error, usd, unmade = COMPLETE, None, 0.0, 0
        for rung in self.sweep.rungs:
            if rung.number > 1:
                left = self._going_on(rung, left, shots)
                names = ", ".join(config.name for config in left)
                going = f"{counted(len(left), 'configuration')} {verb(len(left), 'goes', 'go')} on"
                self.around.note(f"round {rung.number}: {going}: {names}")
            why, error, cost = self._run_rung(rung, left, shots, held, usd)
            usd += cost
            if why not in FINISHED:
                break
            unmade += why == INCOMPLETE
        if why == COMPLETE and unmade:
            why = INCOMPLETE
        return SweepEnd(why, shots, left, dict(self.protocol), self.notice, usd, error, self.likeness)

    def _must_rescore(self) -> bool:
        """Whether the sweep is not finished, or was killed while it scored again, and some of its pictures were scored in an older way."""
        rungs = [(folder, self._begun(folder)) for folder in (self._folder(rung) for rung in self.sweep.rungs)]
        begun = [(folder, plan, state) for folder, (plan, state) in rungs if plan is not None]
        plans = [plan for _, plan, _ in begun]
        changes = _older_ways(plans, self.assessor.protocol)
        if not changes:
            return False
        if _has_one_protocol(self.sweep, plans) and all(
            is_finished(plan, folder, state, Limits(), look_through(folder, state, self.around.note)) for folder, plan, state in begun
        ):
            self.around.note(_kept_line(changes))
            return False
        forget_recorded(self.request.output_dir)
        return True

    def _begun(self, folder: BatchFolder) -> tuple[Plan | None, BatchState]:
        plan, state = read_plan(folder.root), read_state(folder.root / JOURNAL_FILE)
        return (None if plan is None else settled_plan(folder, plan, state)), state

    def _folder(self, rung: Rung) -> BatchFolder:
        return BatchFolder(self.request.output_dir / f"rung_{rung.number}")

    def _going_on(self, rung: Rung, left: list[Config], shots: list[Shot]) -> list[Config]:
        """The configurations of a round: those that it was begun with, whatever has been decided or scored again since; else the best."""
        saved = read_plan(self._folder(rung).root)
        known = {config.name: config for config in left}
        if saved is not None and all(variant.config in known for variant in saved.variants):
            return [known[variant.config] for variant in saved.variants]
        return survivors(shots, left, rung.keep, self.policy, self.sweep.baseline)

    def _run_rung(
        self, rung: Rung, left: list[Config], shots: list[Shot], held: locks.Held, spent: float
    ) -> tuple[str, Exception | None, float]:
        folder = self._folder(rung)
        folder.root.mkdir(parents=True, exist_ok=True)
        plan = self._plan(rung, left, folder, held)
        part_from_original(folder, read_state(folder.root / JOURNAL_FILE), self.around.note)
        self.protocol, self.likeness = plan.protocol, plan.likeness
        rate = rate_of(plan, self.policy, self.around)
        need = estimate(plan.planned, self.policy["production"]["seconds_per_picture"], [server.tariff(rate) for server in self.servers])
        self.around.note(
            f"round {rung.number}: {counted(plan.planned, 'picture')}, about {format_seconds(need.seconds)} and ${need.usd:.2f}"
        )
        equipment = Equipment(self.assessor, self.policy, self.servers, lambda item: self._graph(plan, item), rate)
        cost_left = None if self.request.max_cost is None else max(0.0, self.request.max_cost - spent)
        end = run_batch(plan, folder, equipment, Limits(None, cost_left), held=held, stop=self.stop, note=self.around.note)
        ending = Ending(self.policy, {"configurations": len(left)}, None, self.around.manifest, self.assessor.provider)
        finish_batch(plan, folder, end, ending, self.around.note)
        shots += read_shots(plan, folder, rung, self.policy)
        state = read_state(folder.root / JOURNAL_FILE)
        return end.why, end.error, sum(session.usd for session in state.sessions)

    def _plan(self, rung: Rung, left: list[Config], folder: BatchFolder, held: locks.Held) -> Plan:
        saved, state = self._begun(folder)
        prompts = tuple(self.sweep.prompts[place] for place in rung.prompts)
        seed = round_seed(self.request.base_seed or 0, rung.number)
        request = replace(
            self.request, output_dir=folder.root, count=rung.seeds, base_seed=seed, run_id=f"{self.sweep.run_id}_{rung.number}"
        )
        plan = make_plan(
            request,
            self.policy,
            saved=saved,
            reference_dir=self.references,
            assessor=self.assessor,
            generation=replace(self.generation, prompts=prompts),
            notice=self.notice,
        )
        variants = tuple(Variant(settings_for(config, self.generation), config.name) for config in left)
        plan = replace(plan, variants=variants, workflows=())
        block = len(prompts) * rung.seeds
        plan = replace(plan, workflows=tuple(self._graph(plan, plan.item(1 + number * block)) for number in range(len(left))))
        if saved is None:
            write_plan(folder.root, plan)
            return plan
        check_same(folder.root, saved, plan)
        finish_moves(folder, state)
        if not describe_change(saved.protocol, plan.protocol):
            return plan
        if not self.rescores:
            return kept(saved, plan)
        settled = look_through(folder, state, self.around.note)
        tools = Rescoring(self.assessor, self.policy, held, lambda text: self.around.note(f"round {rung.number}: {text}"))
        return rescore(folder, saved, plan, state, settled, tools)[0]

    def _graph(self, plan: Plan, item: Item) -> dict[str, Any]:
        return replace(self.generation, settings=plan.variants[item.variant].settings).graph_of(plan, item)


def read_shots(plan: Plan, folder: BatchFolder, rung: Rung, policy: Mapping[str, Any]) -> list[Shot]:
    """The scored pictures of a rung, with prompt numbers of the whole sweep."""
    state = read_state(folder.root / JOURNAL_FILE)
    settled = read_settled(folder, state, lambda text: None)  # told where they were settled
    results = read_results(plan, folder, state, settled, policy)
    return [
        Shot(
            config=picture.config,
            prompt_id=rung.prompts[picture.prompt_id - 1] + 1,
            seed=picture.seed or 0,
            file=f"{folder.root.name}/{picture.path or f'{picture.place}/{picture.file}'}",
            assessment=picture.assessment,
            approved=picture.approved,
        )
        for picture in results.pictures
        if picture.prompt_id is not None
    ]
