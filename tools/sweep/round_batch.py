"""One round of a sweep: a batch of the production runner in a folder of its own, so that it can be killed and continued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from evals.judging.assessor import Assessor
from lifeos import locks
from lifeos.counting import counted
from tools.cost.meter import beat
from tools.production.able_servers import AbleServers
from tools.production.batch_forecast import find_paces, forecast, wanted_usd
from tools.production.batch_spending import spending_of
from tools.production.batch_state import BatchState
from tools.production.budget import Limits, estimate, format_seconds
from tools.production.filing import BatchFolder
from tools.production.finish import Ending, finish_batch
from tools.production.journal import JOURNAL_FILE, read_state
from tools.production.pipeline import Circumstances, part_from_original
from tools.production.plan import Item, Plan, Variant, check_same, read_plan, write_plan
from tools.production.planning import Generation, make_plan
from tools.production.protocol_change import Rescoring, describe_change, kept, look_through, rescore, settled_plan
from tools.production.rejudging import finish_moves
from tools.production.request import Request
from tools.production.results import read_results
from tools.production.runner import Equipment, run_batch
from tools.production.server_prices import price_servers
from tools.production.settling import read_settled
from tools.production.stopping import StopSignal
from tools.sweep.analysis import Shot
from tools.sweep.design import Config
from tools.workflows.workflow import Settings

ACTIVITY = "sweep_generation"
"""What the cost log calls a round."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round makes: of each of `configs` a picture of every prompt in `prompts` (places in the sweep's list), `seeds` times. `seed`:
    the base seed. `title` is what people read."""

    title: str
    folder: BatchFolder
    run_id: str
    configs: tuple[Config, ...]
    prompts: tuple[int, ...]
    seeds: int
    seed: int


@dataclass(frozen=True, slots=True)
class RoundEnd:
    """How a round ended: `why` and `error` as of a batch; its scored pictures, with prompt numbers of the whole sweep; what it has cost."""

    why: str
    error: Exception | None
    shots: list[Shot]
    usd: float
    protocol: dict[str, Any]
    likeness: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RoundTools:
    """What all rounds of a sweep share. `prompts`: all of the sweep."""

    request: Request
    policy: Mapping[str, Any]
    around: Circumstances
    stop: StopSignal
    servers: AbleServers | None
    """None: not chosen yet."""
    generation: Generation
    references: Path
    assessor: Assessor
    notice: str | None
    prompts: tuple[str, ...]

    def with_lora(self, name: str) -> RoundTools:
        """The same with another LoRA in the graph, which a round's plan names."""
        return replace(self, generation=replace(self.generation, settings=replace(self.generation.settings, lora=name)))

    def run(self, made: Round, held: locks.Held, spent: float, *, rescores: bool) -> RoundEnd:
        """Bring a round as far as it goes. `spent`: by the rounds before. `rescores`: score its pictures again where that was done in an
        older way."""
        folder = made.folder
        folder.root.mkdir(parents=True, exist_ok=True)
        servers = self.servers
        assert servers is not None
        plan = self._plan(made, held, rescores)
        part_from_original(folder, read_state(folder.root / JOURNAL_FILE), self.around.note)
        state = read_state(folder.root / JOURNAL_FILE)
        told: dict[str, Any] = {"gpu": self.around.gpu, "rate_per_hr": self.around.rate_per_hr}
        prices = price_servers(servers.servers, self.policy, notice=plan.engine_notice, **told)
        able = {server.url for server in servers.able}
        first = [price for price in prices if price.server in able]
        paces = find_paces(first, self.policy["production"]["seconds_per_picture"], servers.able, state.sessions)
        need = estimate(plan.planned, paces)
        self.around.note(f"{made.title}: {counted(plan.planned, 'picture')}, about {format_seconds(need.seconds)} and ${need.usd:.2f}")
        cost_left = None if self.request.max_cost is None else max(0.0, self.request.max_cost - spent)
        limits, purse = Limits(None, cost_left), self.around.purse(self.policy)
        if not spent and not state.sessions:  # what was begun ends as at --max-cost, with a report of what there is
            purse.check(wanted_usd(forecast(plan, state, limits, paces), state, limits), "sweep less with --max-images or --max-cost")
        make_graph, beats = partial(self._graph, plan), partial(beat, self.around.root)
        spending = spending_of(purse, folder.root, plan, prices, self.policy, activity=ACTIVITY, gpu=self.around.gpu)
        equipment = Equipment(self.assessor, self.policy, make_graph=make_graph, prices=prices, spending=spending, beat=beats)
        end = run_batch(plan, folder, servers.equip(equipment), limits, held=held, stop=self.stop, note=self.around.note)
        if end.because:
            self.around.note(f"{made.title}: {end.because}")
        ending = Ending(self.policy, {"configurations": len(made.configs)}, None, self.around.manifest, self.assessor.provider)
        finish_batch(plan, folder, end, ending, self.around.note)
        shots = read_shots(plan, folder, made.prompts, self.policy)
        return RoundEnd(end.why, end.error, shots, spent_on(folder), plan.protocol, plan.likeness)

    def _plan(self, made: Round, held: locks.Held, rescores: bool) -> Plan:
        folder = made.folder
        saved, state = read_begun(folder)
        prompts = tuple(self.prompts[place] for place in made.prompts)
        plan = make_plan(
            replace(self.request, output_dir=folder.root, count=made.seeds, base_seed=made.seed, run_id=made.run_id),
            self.policy,
            saved=saved,
            reference_dir=self.references,
            assessor=self.assessor,
            generation=replace(self.generation, prompts=prompts),
            notice=self.notice,
        )
        variants = tuple(Variant(settings_for(config, self.generation), config.name) for config in made.configs)
        plan = replace(plan, variants=variants, workflows=())
        block = len(prompts) * made.seeds
        plan = replace(plan, workflows=tuple(self._graph(plan, plan.item(1 + number * block)) for number in range(len(variants))))
        if saved is None:
            write_plan(folder.root, plan)
            return plan
        check_same(folder.root, saved, plan)
        finish_moves(folder, state)
        if not describe_change(saved.protocol, plan.protocol):
            return plan
        if not rescores:
            return kept(saved, plan)
        settled = look_through(folder, state, self.around.note)
        tools = Rescoring(self.assessor, self.policy, held, lambda text: self.around.note(f"{made.title}: {text}"))
        return rescore(folder, saved, plan, state, settled, tools)[0]

    def _graph(self, plan: Plan, item: Item) -> dict[str, Any]:
        return replace(self.generation, settings=plan.variants[item.variant].settings).graph_of(plan, item)


def read_begun(folder: BatchFolder) -> tuple[Plan | None, BatchState]:
    """The plan of a round that was begun, None where it was not, and its state."""
    plan, state = read_plan(folder.root), read_state(folder.root / JOURNAL_FILE)
    return (None if plan is None else settled_plan(folder, plan, state)), state


def spent_on(folder: BatchFolder) -> float:
    """Dollars that a round has cost so far."""
    return sum(session.usd for session in read_state(folder.root / JOURNAL_FILE).sessions)


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


def read_shots(plan: Plan, folder: BatchFolder, prompts: Sequence[int], policy: Mapping[str, Any]) -> list[Shot]:
    """The scored pictures of a round, with prompt numbers of the whole sweep. `prompts`: their places in the sweep's list."""
    state = read_state(folder.root / JOURNAL_FILE)
    settled = read_settled(folder, state, lambda text: None)  # told where they were settled
    results = read_results(plan, folder, state, settled, policy)
    return [
        Shot(
            config=picture.config,
            prompt_id=prompts[picture.prompt_id - 1] + 1,
            seed=picture.seed or 0,
            file=f"{folder.root.name}/{picture.path or f'{picture.place}/{picture.file}'}",
            assessment=picture.assessment,
            approved=picture.approved,
        )
        for picture in results.pictures
        if picture.prompt_id is not None
    ]
