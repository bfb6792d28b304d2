"""From a request, the policy and what the servers have, to the plan of a batch."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from evals.judging.assessor import Assessor
from lifeos.errors import InputError
from tools.backends.backend import Backend
from tools.production import choices
from tools.production.able_servers import ServerGaps, able_to_run
from tools.production.budget import Limits
from tools.production.graph_choice import choose_graph
from tools.production.growth import grown_from
from tools.production.journal import now_text
from tools.production.lora_file import LoraFile
from tools.production.plan import Item, Plan, RepairPlan, Variant, judging_policy
from tools.production.repair_graph import RepairGraph, check_repair
from tools.production.repair_numbers import repair_number
from tools.production.request import Request
from tools.workflows.seeds import choose_base_seed
from tools.workflows.workflow import Placed, Settings, Workflow, find_models


@dataclass(frozen=True, slots=True)
class Generation:
    """What turns an item of a plan into a graph. `chosen`: what the command left open, as flags of a request, so that the batch goes on
    with it. `remarks`: what a person should know of the choice."""

    workflow: Workflow
    settings: Settings
    prompts: tuple[str, ...]
    chosen: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    repair: RepairGraph | None = None
    """The second graph, for pictures that the gates reject."""
    gaps: Mapping[str, ServerGaps] = field(default_factory=dict)
    """What servers lack that cannot run the graph, by URL."""

    def first_graph(self) -> dict[str, Any]:
        """The graph of a picture, as servers are asked whether they can run it."""
        return self.place(self.prompts[0], 0)

    def first_repair(self) -> dict[str, Any] | None:
        return self.repair.fill(self.repair_settings(self.prompts[0], 0, "lifeos")).graph if self.repair is not None else None

    def graph_of(self, plan: Plan, item: Item) -> dict[str, Any]:
        return self.filled(plan, item).graph

    def filled(self, plan: Plan, item: Item) -> Placed:
        """The graph of an item, with what was written where."""
        prefix = f"lifeos/{plan.run_id}/{item.key}"
        if item.repairs:
            assert self.repair is not None
            return self.repair.fill(self.repair_settings(plan.prompt_of(item), item.seed, prefix))
        settings = replace(self.settings, positive=plan.prompt_of(item), seed=item.seed, filename_prefix=prefix)
        return self.workflow.fill(settings)

    def repair_settings(self, prompt: str, seed: int | None, prefix: str) -> Settings:
        """What goes into the second graph: the prompt, the seed and the LoRAs of the picture; all else is its own."""
        own = self.settings
        return Settings(
            positive=prompt,
            seed=seed,
            filename_prefix=prefix,
            lora=own.lora,
            lora_strength=own.lora_strength if own.lora is not None else None,
            more_loras=own.more_loras,
        )

    def place(self, prompt: str, seed: int | None) -> dict[str, Any]:
        return self.workflow.place(replace(self.settings, positive=prompt, seed=seed))


def plan_generation(request: Request, policy: Mapping[str, Any], servers: Sequence[Backend], saved: Plan | None = None) -> Generation:
    """Settings, workflow and prompts. `saved`: the batch that goes on. Refuses what no server can run before anything is queued."""
    prompts = choices.choose_prompts(request)
    begun = saved.variants[0].settings if saved is not None and saved.variants else None
    if saved is not None and request.family is None and request.workflow is None:
        request = replace(request, family=saved.command.get("family"))  # it may have been recognised
    found = choose_graph(request, policy, servers, begun)
    chosen = {} if found.request.family is None else {"family": found.request.family}
    repair = RepairGraph.load(request.repair, servers) if request.repair is not None else None
    generation = Generation(found.workflow, found.settings, prompts, chosen, found.remarks, repair)
    if repair is not None:
        check_repair(repair, generation.repair_settings(prompts[0], 0, "lifeos"), servers)
    return replace(generation, gaps=able_to_run(servers, generation.first_graph()))


def make_plan(
    request: Request,
    policy: Mapping[str, Any],
    *,
    saved: Plan | None,
    reference_dir: Path,
    assessor: Assessor | None,
    generation: Generation | None,
    notice: str | None,
    training_params: dict[str, Any] | None = None,
    lora_file: LoraFile | None = None,
) -> Plan:
    """The plan that a request means. What is free to choose is taken from `saved`, the batch that is continued."""
    images: tuple[str, ...] = ()
    if request.images is not None:
        images = choices.find_sources(request.images, reference_dir, request.output_dir)
    graph = generation.place(generation.prompts[0], 0) if generation is not None else {}
    models = tuple(asdict(model) for model in find_models(graph))
    loras = [model["name"] for model in models if model["folder"] == "loras"]
    plan = Plan(
        batch_id=saved.batch_id if saved is not None else uuid.uuid4().hex,
        run_id=saved.run_id if saved is not None and request.run_id is None else choices.choose_run_id(request),
        lora_version=choices.choose_lora_version(request, loras),
        created=saved.created if saved is not None else now_text(),
        prompts=generation.prompts if generation is not None else (),
        count=request.count if request.count is not None else 1,
        target_approved=request.target_approved,
        base_seed=choose_base_seed(request.base_seed, saved.base_seed if saved is not None else None) if generation is not None else 0,
        variants=(Variant(generation.settings),) if generation is not None else (),
        workflow_name=generation.workflow.name if generation is not None else "",
        models=models,
        source_dir=str(request.images.resolve()) if request.images is not None else None,
        images=images,
        reference_dir=str(reference_dir.resolve()),
        policy=judging_policy(policy),
        protocol=dict(assessor.protocol) if assessor is not None else {},
        engine=assessor.description if assessor is not None else "",
        likeness={**assessor.likeness, "warnings": list(assessor.warnings)} if assessor is not None else {},
        engine_notice=notice,
        training_params=training_params or {},
        lora_file=lora_file,
        command=request.to_json() | (dict(generation.chosen) if generation is not None else {}),
    )
    if saved is not None:
        plan = grown_from(saved, plan)
    if generation is None:
        return plan
    return replace(plan, workflows=(generation.graph_of(plan, plan.item(1)),), repair=_plan_repair(plan, generation))


def _plan_repair(plan: Plan, generation: Generation) -> RepairPlan | None:
    repair = generation.repair
    if repair is None:
        return None
    graph = generation.graph_of(plan, plan.item(repair_number(1, 1)))
    return RepairPlan(repair.name, repair.with_picture(graph, ""), repair.image.node, repair.image.key)


def limits_of(request: Request, plan: Plan) -> Limits:
    """Where the batch stops. A target without --max-images gives up at a multiple of it."""
    if plan.target_approved is None or request.max_images is not None:
        return Limits(request.max_images, request.max_cost)
    return Limits(plan.target_approved * choices.GENERATED_PER_APPROVED, request.max_cost)


def settings_of(plan: Plan) -> dict[str, Any]:
    """The settings for the report: those that were placed, and the workflow's own where none was."""
    if not plan.generates or not plan.workflows:
        return {}
    own, placed = asdict(_own_settings(plan)), asdict(plan.variants[0].settings)
    merged = {name: placed[name] if placed[name] is not None else own[name] for name in placed}
    for name in ("positive", "seed", "filename_prefix"):
        del merged[name]
    for name in ("guidance", "more_loras"):  # most workflows have none
        if not merged[name]:
            del merged[name]
    return {**merged, "workflow": plan.workflow_name, "base_seed": plan.base_seed, "count": plan.count, "prompts": len(plan.prompts)}


def _own_settings(plan: Plan) -> Settings:
    """What the graph of a plan holds itself, as far as the classes of its nodes are known without a server."""
    try:
        return Workflow(plan.workflows[0], plan.workflow_name).current()
    except InputError:
        return Settings()
