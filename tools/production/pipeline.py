"""The pipeline end to end: check, plan, generate, score, file, report. What `tools/production_pipeline.py` calls."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from evals.judging.inputs import left_out_lines
from evals.scorecards.card_inputs import Manifest
from lifeos import locks
from lifeos.errors import EXIT_GATE, EXIT_INTERRUPTED, EXIT_OK, InputError, LifeosError
from tools.backends.backend import Backend, BackendOptions
from tools.backends.registry import ReachedServers, connect_backends
from tools.backends.server_groups import LeftOutServer
from tools.cost.meter import beat
from tools.cost.spending import SharedPurse, SpendingLimits
from tools.production import choices
from tools.production.able_servers import AbleServers, able_to_run, find_unwell
from tools.production.announcing import say_estimate, say_plan
from tools.production.batch_forecast import find_paces, forecast, wanted_usd
from tools.production.batch_home import copy_line, find_original, history_to_record
from tools.production.batch_spending import spending_of
from tools.production.batch_state import BatchState
from tools.production.budget import Limits
from tools.production.filing import BatchFolder, check_room, check_writable, disk_is_full
from tools.production.finish import Ending, finish_batch
from tools.production.growth import check_growth, say_changed_sources
from tools.production.journal import JOURNAL_FILE, Journal, read_state
from tools.production.lora_file import LoraFile, ask_for_lora, read_lora_file
from tools.production.plan import PLAN_FILE, Plan, read_plan, write_plan
from tools.production.planning import Generation, limits_of, make_plan, plan_generation, settings_of
from tools.production.protocol_change import Rescoring, describe_change, is_finished, kept, kept_line, look_through, rescore, settled_plan
from tools.production.rejudging import Rejudged, describe_rules, finish_moves, policy_in_force, rejudge
from tools.production.request import Request
from tools.production.results import INCOMPLETE, count_missing
from tools.production.runner import BatchEnd, Equipment, run_batch
from tools.production.server_prices import price_servers
from tools.production.server_work import PricedServer
from tools.production.stopping import Note, StopSignal
from tools.publishing.publishing_lane import PublishingPlan, plan_publishing
from tools.trainers.lora_header import read_lora_header
from tools.workflows.workflow import find_models

MEBIBYTE = 1 << 20
ACTIVITY = "production"
"""What the cost log calls a batch."""

MAKE_LESS = "make less with --max-images or --max-cost"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What does not decide what a batch is: where records go, what a server costs, how to speak to people."""

    root: Path
    history_file: Path | None
    """Where no command of the batch names another."""
    cost_log: Path
    resume: bool = False
    check_health: bool = True
    gpu: str | None = None
    rate_per_hr: float | None = None
    outage_seconds: float = 120
    embedded_seconds: float = 0.0
    manifest: Manifest | None = None
    max_cost_day: float | None = None
    """Dollars, over the policy's; 0: no limit. `max_cost_month` likewise."""
    max_cost_month: float | None = None
    note: Note = print

    def purse(self, policy: Mapping[str, Any]) -> SharedPurse:
        """What this and all other work pays from."""
        return SharedPurse(self.root, self.cost_log, SpendingLimits.read(policy, self.max_cost_day, self.max_cost_month))


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run of the pipeline: the report document, its folder, and how it ended."""

    document: dict[str, Any]
    folder: BatchFolder
    end: BatchEnd

    @property
    def exit_code(self) -> int:
        """1 when nothing was approved, fewer than were wanted, not every planned picture was made, or one was not published as the policy
        wants it."""
        if self.end.why == "interrupted":
            return EXIT_INTERRUPTED
        publishing = self.document.get("publishing")
        if self.document["ending"] == INCOMPLETE or (publishing is not None and (publishing["refused"] or publishing["strangers"])):
            return EXIT_GATE
        approved, target = self.document["counts"]["approved"], self.document["target_approved"]
        return EXIT_OK if approved and (target is None or approved >= target) else EXIT_GATE


def produce(request: Request, policy: Mapping[str, Any], around: Circumstances, stop: StopSignal) -> Outcome:
    """Bring the batch in `request.output_dir` as far as it goes, and report on it.

    Raises LifeosError for what stops it before it begins; what stops it later is raised after the report is written.
    """
    request.check()
    folder, asked = BatchFolder(request.output_dir), request.history_file is not None
    publishing = plan_publishing(policy, around.root, around.note)
    request, saved = continued(request, folder, around)
    check_room(folder, policy["production"]["min_free_disk_gb"])
    if saved is None and request.images is not None:
        choices.find_sources(request.images, request.reference_dir, request.output_dir)
    with locks.hold(folder.lock, str(folder.root)) as held, _servers(request, policy, around) as reached:
        generation = plan_generation(request, policy, reached.servers, saved) if request.images is None else None
        able = choose_servers(reached, generation, policy, around, queued_before(folder.root)) if generation is not None else None
        servers = able.able if able is not None else []
        reference_dir, assessor = choices.choose_references(request, policy, around.root, around.note, saved.protocol if saved else None)
        for line in (*assessor.warnings, *assessor.for_owner):
            around.note(f"warning: {line}")
        plan_from = partial(
            make_plan,
            request,
            policy,
            reference_dir=reference_dir,
            assessor=assessor,
            generation=generation,
            notice=reached.notice,
            training_params=read_lora_header(request.lora_file).training_params if request.lora_file is not None else {},
            lora_file=find_lora(request, generation, servers),
        )
        plan = plan_from(saved=saved)
        state = read_state(folder.root / JOURNAL_FILE, around.note)
        if saved is not None and may_begin_anew(saved, plan, state):
            state, saved = begin_anew(folder, around.note), None
            plan = plan_from(saved=None)
        if saved is None:
            write_plan(folder.root, plan)
        else:
            state = part_from_original(folder, state, around.note)
            policy, plan, state = resume(
                folder, saved, plan, state, limits_of(request, plan), Rescoring(assessor, policy, held, around.note)
            )
        every = able.servers if able is not None else []
        prices = price_servers(every, policy, notice=plan.engine_notice, gpu=around.gpu, rate_per_hr=around.rate_per_hr)
        limits = limits_of(request, plan)
        say_plan(plan, generation, saved is not None, around.note)
        for line in left_out_lines(choices.left_out_of(plan.source_dir, plan.reference_dir), Path(plan.source_dir or "")):
            around.note(f"  warning: {line}")
        purse = around.purse(policy)
        check_budgets(purse, plan, state, limits, servers, prices, policy, around)
        equipment = Equipment(
            assessor,
            policy,
            make_graph=(lambda item: generation.graph_of(plan, item)) if generation else None,
            prices=prices,
            spending=spending_of(purse, folder.root, plan, prices, policy, activity=ACTIVITY, gpu=around.gpu),
            beat=partial(beat, around.root),
            with_picture=generation.repair.with_picture if generation and generation.repair else None,
        )
        equipment = able.equip(equipment) if able is not None else equipment
        with publishing.lane(plan, folder) if publishing is not None else contextlib.nullcontext() as lane:
            if lane is not None:
                equipment = replace(equipment, on_approved=lane.approved)
            end = run_batch(plan, folder, equipment, limits, held=held, stop=stop, note=around.note)
        history = history_to_record(folder.root, request.history_file or around.history_file, asked=asked)
        ending = Ending(policy, settings_of(plan), history, around.manifest, assessor.provider, assessor.references.left_out)
        document = report(plan, folder, end, ending, around.note, publishing)
    return Outcome(document, folder, end)


def check_budgets(
    purse: SharedPurse,
    plan: Plan,
    state: BatchState,
    limits: Limits,
    servers: Sequence[Backend],
    prices: Sequence[PricedServer],
    policy: Mapping[str, Any],
    around: Circumstances,
) -> None:
    """Say what the servers that take part will probably need. Raises OverBudgetError where that does not fit into what is left."""
    first = [price for price in prices if price.server in {server.url for server in servers}]
    need = forecast(plan, state, limits, find_paces(first, policy["production"]["seconds_per_picture"], servers, state.sessions))
    say_estimate(need, plan, first, policy, around.cost_log, around.note)
    purse.check(wanted_usd(need, state, limits), MAKE_LESS)


def find_lora(request: Request, generation: Generation | None, servers: Sequence[Backend]) -> LoraFile | None:
    """The LoRA that a batch records: the file at hand, else what the first server's header of the first LoRA tells of its training."""
    if request.lora_file is not None:
        return read_lora_file(request.lora_file, request.lora)
    if generation is None or not servers:
        return None
    name = next((model.name for model in find_models(generation.place(generation.prompts[0], 0)) if model.folder == "loras"), None)
    return ask_for_lora(servers[0], name) if name is not None else None


def may_begin_anew(saved: Plan, wanted: Plan, state: BatchState) -> bool:
    """Whether another batch is asked for where nothing of the one that was begun was scored: a workflow that was mended, say."""
    if state.scored:
        return False
    try:
        check_growth(Path(), saved, wanted)
    except InputError:
        return True
    return False


def begin_anew(folder: BatchFolder, note: Note) -> BatchState:
    """Forget what was sent and downloaded, and put it aside: it belongs to the batch that was begun. The cost of it stays."""
    with contextlib.closing(Journal(folder.root / JOURNAL_FILE)) as journal:
        journal.append("begun_anew", durable=True)
    for left in list(folder.incoming.iterdir()) if folder.incoming.is_dir() else ():
        folder.set_aside(left.relative_to(folder.root).as_posix(), left.name)
    note("nothing was scored yet of the batch that was begun here: it begins anew with this command")
    return read_state(folder.root / JOURNAL_FILE, note)


def part_from_original(folder: BatchFolder, state: BatchState, note: Note) -> BatchState:
    """In a copy, say so, and once leave what is under way on a server to the original."""
    original = find_original(folder.root)
    if original is None:
        return state
    note(f"warning: {copy_line(folder.root)}")
    if state.copy_of == str(original):
        return state
    with contextlib.closing(Journal(folder.root / JOURNAL_FILE)) as journal:
        journal.append("copied", original=str(original), durable=True)
    return read_state(folder.root / JOURNAL_FILE, note)


def resume(
    folder: BatchFolder, saved: Plan, wanted: Plan, state: BatchState, limits: Limits, tools: Rescoring
) -> tuple[dict[str, Any], Plan, BatchState]:
    """The policy that goes on judging a batch, that of its first command or of `--rejudge` since; its plan, which may have grown; and its
    state. Where scores were measured in an older way, and something is left to do, all its pictures are scored again.

    Raises InputError where the command asks for another batch.
    """
    policy, note = tools.policy, tools.note
    saved = settled_plan(folder, saved, state)
    news = _news(folder, saved, wanted, state)
    if state.policy is not None:
        note(f"judged again since it began: {describe_rules(policy_in_force(policy, saved, state))} are in force")
    finish_moves(folder, state)
    plan, older = wanted, describe_change(saved.protocol, wanted.protocol)
    if news:
        plan = kept(saved, wanted)
        write_plan(folder.root, plan)
        note(f"the batch grows: {'; '.join(news)}")
    elif not count_missing(saved, state) and saved.target_approved is None:
        more = "a larger --count, or more prompts" if saved.generates else f"new pictures in {saved.source_dir}"
        note(f"every picture of this batch is made ({saved.planned} of {saved.planned}); {more} would add to it")
    say_changed_sources(plan, state, note)
    if older:
        settled = look_through(folder, state, note)
        if is_finished(plan, folder, state, limits, settled):
            plan = kept(saved, wanted)
            note(kept_line(older))
        else:
            plan, state = rescore(folder, saved, wanted, state, settled, tools)
    return policy_in_force(policy, plan, state), plan, state


def _news(folder: BatchFolder, saved: Plan, wanted: Plan, state: BatchState) -> list[str]:
    """What the batch grows by. The policy may be that of its first command, or that with which it was judged again."""
    if state.policy is not None:
        with contextlib.suppress(InputError):
            return check_growth(folder.root, replace(saved, policy=state.policy), wanted)
    return check_growth(folder.root, saved, wanted)


def report(
    plan: Plan, folder: BatchFolder, end: BatchEnd, ending: Ending, note: Note, publishing: PublishingPlan | None = None
) -> dict[str, Any]:
    """Publish what is approved, where the policy wants it, and write the reports; then raise what stopped the batch, if anything did.

    On a full disk the reports are allowed to fail as well.
    """
    published: dict[str, Any] | None = None
    if publishing is not None and end.error is None and end.why != "interrupted":
        try:
            published = publishing.finish(plan, folder, read_state(folder.root / JOURNAL_FILE, note)).to_json()
        except (LifeosError, OSError) as error:
            end = replace(end, error=error)
    try:
        document = finish_batch(plan, folder, end, ending, note, published)
    except OSError as error:
        raise _named(end.error or error, folder) from None
    if end.error is not None:
        raise _named(end.error, folder)
    return document


def rejudge_batch(request: Request, policy: Mapping[str, Any], around: Circumstances) -> tuple[Rejudged, Outcome]:
    """Judge the batch in `request.output_dir` again by `policy`, put its new row into the history, and write its reports anew.

    Raises InputError where there is no batch or no picture of it was scored.
    """
    folder = BatchFolder(request.output_dir)
    publishing = plan_publishing(policy, around.root, around.note)
    check_writable(folder.root)
    if not (folder.root / PLAN_FILE).exists():
        raise InputError(folder.root, "there is no batch to judge again", "name its directory with --output-dir")
    with locks.hold(folder.lock, str(folder.root)):
        changed = rejudge(folder, policy, around.note)
        state = read_state(folder.root / JOURNAL_FILE, around.note)
        end = BatchEnd(state.ending, state)
        wanted = request.completed_by(changed.plan.command).history_file or around.history_file
        history = history_to_record(folder.root, wanted, asked=request.history_file is not None)
        if line := copy_line(folder.root):
            around.note(f"warning: {line}")
        ending = Ending(changed.policy, settings_of(changed.plan), history, around.manifest)
        return changed, Outcome(report(changed.plan, folder, end, ending, around.note, publishing), folder, end)


def _named(error: Exception, folder: BatchFolder) -> Exception:
    """A full disk is told with the directory that is on it: the write that met it may not know its name."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_is_full(folder.root)
    return error


def continued(request: Request, folder: BatchFolder, around: Circumstances) -> tuple[Request, Plan | None]:
    """The request, with what it leaves open taken from the batch that it continues, and that batch's plan."""
    check_writable(folder.root)
    saved = read_plan(folder.root)
    if saved is None:
        if around.resume:
            raise InputError(folder.root, "there is no batch to resume", "leave --resume out to begin one")
        foreign = [path.name for path in (folder.root / "approved", folder.root / "rejected") if path.is_dir() and any(path.iterdir())]
        if foreign:
            why = f"{' and '.join(foreign)} hold files, but there is no batch.json"
            raise InputError(folder.root, why, "choose an empty --output-dir")
        return request, None
    if around.resume:
        if saved.generates and request.prompts is None and request.prompts_file is None:
            request = replace(request, prompts=saved.prompts)  # the file may have changed or gone since
        request = request.completed_by(saved.command)
    return request, saved


@contextlib.contextmanager
def _servers(request: Request, policy: Mapping[str, Any], around: Circumstances) -> Iterator[ReachedServers]:
    if request.images is not None:
        yield ReachedServers()
        return
    with connect_backends(request.servers, around.note, backend_options(policy, around)) as reached:
        yield reached


def backend_options(policy: Mapping[str, Any], around: Circumstances) -> BackendOptions:
    rules = policy["production"]
    return BackendOptions(
        silence_seconds=rules["prompt_timeout_seconds"],
        outage_seconds=around.outage_seconds,
        seconds_per_picture=around.embedded_seconds,
        max_picture_bytes=int(rules["max_picture_mb"] * MEBIBYTE),
    )


def queued_before(*roots: Path) -> frozenset[str]:
    """The prompts that the batches in these folders may still have on a server, by our ids and by the servers' names for them."""
    items = [item for root in roots for item in read_state(root / JOURNAL_FILE, lambda line: None).items.values()]
    return frozenset(name for item in items for name in (item.prompt_id, item.handle) if name is not None)


def choose_servers(
    reached: ReachedServers,
    generation: Generation,
    policy: Mapping[str, Any],
    around: Circumstances,
    ours: frozenset[str] = frozenset(),
    graphs: Sequence[Mapping[str, Any]] = (),
) -> AbleServers:
    """The servers that make the pictures; the others are named, each reason in one line. `graphs`: instead of that of the first picture.

    `ours` are prompts that this batch queued before: it follows them, and does not wait for them. Raises where no server can.
    """
    every = [dict(each) for each in graphs] or [generation.first_graph()]
    gaps = able_to_run(reached.servers, *every) if graphs else generation.gaps
    nodes = sorted({str(node["class_type"]) for graph in every for node in graph.values()})

    def look(servers: Sequence[Backend]) -> dict[str, LeftOutServer]:
        return find_unwell(servers, nodes, policy, around.note, ours) if around.check_health else {}

    return AbleServers(reached, every, gaps, look, around.note, generation.first_repair())
