"""The plan of a batch: what is made, in which order, with which seeds, judged how. `batch.json` is this, on the disk.

It is written before the first prompt is queued. A command that continues a batch makes its own plan and compares: where it asks for more
of the same (`growth`), the plan grows, and what was planned stays as it is; what differs otherwise is named, and the batch is left alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from evals.judging.protocol import chosen_part, measured_otherwise
from lifeos import foreign
from lifeos.errors import InputError
from lifeos.files import write_json
from lifeos.picture_names import parse_picture_name
from lifeos.policy.schema import check_policy
from tools.production.batch_home import BATCH_FILE, home_of, relocated, relocated_all
from tools.production.lora_file import LoraFile
from tools.production.prompts import shorten
from tools.production.repair_numbers import key_of, split_number
from tools.workflows.graph import read_graph
from tools.workflows.seeds import seed_at
from tools.workflows.server_fit import in_one_spelling, settings_in_one_spelling
from tools.workflows.workflow import Settings

SCHEMA = 1
PLAN_FILE = BATCH_FILE
JUDGING_SECTIONS = ("face_similarity", "skin_realism", "gates", "scorecard")
"""The sections of the policy that decide on a picture. The rest may change while a batch goes on."""

MAX_DIFFERENCES = 6
LORA_BYTES = "LoRA file (SHA-256)"
SCALES = "face_similarity.engines."
"""The row of the engine in use stands in the protocol; those of other engines decide nothing."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One configuration of the settings: a batch has one, a sweep many. `config` leads the pictures' names."""

    settings: Settings
    config: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One picture to make or, with `source`, to take from a folder. `prompt_id` and `variation` count from 1."""

    index: int
    prompt_id: int | None
    variation: int | None
    seed: int | None
    variant: int = 0
    source: str | None = None
    repairs: int = 0
    """Which of an item's pictures it repairs, from 1; 0: none, it makes one. Its number follows from both (`repair_numbers`)."""

    @property
    def key(self) -> str:
        return key_of(self.index)


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """The second graph, which repairs rejected pictures: its file, the graph for the first one, and the input that takes the picture."""

    workflow_name: str
    graph: dict[str, Any]
    image_node: str
    image_key: str


@dataclass(frozen=True, slots=True)
class Stage:
    """How large a batch was planned before it grew: so many prompts, each so often."""

    prompts: int
    count: int


def _combination_in(stage: Stage, before: Stage, place: int) -> tuple[int, int]:
    """Variation and prompt of a place in what a stage adds: the new prompts as often as the others were planned, then all of them.

    There is no end: a target goes on in the same order.
    """
    added = stage.prompts - before.prompts
    if place < added * before.count:
        variation, prompt = divmod(place, added)
        return variation, before.prompts + prompt
    variation, prompt = divmod(place - added * before.count, stage.prompts)
    return before.count + variation, prompt


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides what the pictures of a batch are and how they are judged.

    `workflows` holds, for each variant, the graph of its first picture as it is sent. `images` are the names, `/`-separated
    and relative to `source_dir`, of existing pictures to judge: then nothing is generated. `command` are the flags as given.
    `stages` are the sizes from which it grew, oldest first: what was planned then comes first.
    """

    batch_id: str
    run_id: str
    lora_version: str
    created: str
    prompts: tuple[str, ...] = ()
    count: int = 1
    target_approved: int | None = None
    base_seed: int = 0
    variants: tuple[Variant, ...] = ()
    workflow_name: str = ""
    workflows: tuple[dict[str, Any], ...] = ()
    models: tuple[dict[str, str], ...] = ()
    source_dir: str | None = None
    images: tuple[str, ...] = ()
    reference_dir: str = ""
    policy: dict[str, Any] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    engine: str = ""
    engine_notice: str | None = None
    training_params: dict[str, Any] = field(default_factory=dict)
    command: dict[str, Any] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    likeness: dict[str, Any] = field(default_factory=dict)
    """What a face score stands between (`evals.judging.likeness_range`), and with `warnings` what to know before trusting it."""
    lora_file: LoraFile | None = None
    """The LoRA as it was when the batch began; None where nothing is known but its name, and in plans of version 3.0."""
    repair: RepairPlan | None = None
    """None: rejected pictures are not repaired."""
    directory: str = field(default="", compare=False)
    """Where the batch was made (`batch_home`); empty in plans of older versions."""

    def graph_of(self, item: Item) -> dict[str, Any]:
        """The graph by which an item is made, as it is for the first one: of its variant, or that of repairs."""
        return self.repair.graph if item.repairs and self.repair is not None else self.workflows[item.variant]

    @property
    def generates(self) -> bool:
        return self.source_dir is None

    @property
    def planned(self) -> int:
        """How many pictures without `--target-approved`, which goes on in the same order."""
        return len(self.prompts) * self.count * len(self.variants) if self.generates else len(self.images)

    def item(self, index: int) -> Item:
        """The picture of a number from 1. Variants follow one another, so that pictures that share models are made together.

        Within one, every prompt has its turn before any has its second: a batch that is stopped early is a fair sample.
        Seeds depend on prompt and variation alone, so that variants and versions can be compared picture by picture.
        """
        place, planned = split_number(index)
        if place:
            return replace(self.item(planned), index=index, repairs=place)
        if index < 1 or (not self.generates and index > len(self.images)):
            raise InputError("journal.jsonl", f"names picture {index}, which the plan does not hold", "name another directory")
        if not self.generates:
            return Item(index, None, None, None, source=self.images[index - 1])
        block = len(self.prompts) * self.count
        variant, place = divmod(index - 1, block) if len(self.variants) > 1 else (0, index - 1)
        if variant >= max(len(self.variants), 1):
            raise InputError("journal.jsonl", f"names picture {index}, which the plan does not hold", "name another directory")
        variation, prompt = self._combination(place)
        return Item(index, prompt + 1, variation + 1, seed_at(self.base_seed, place), variant)

    def _combination(self, place: int) -> tuple[int, int]:
        """Variation and prompt, both from 0, of a place in the order of one variant: stage by stage, of each only what is new in it."""
        before = Stage(0, 0)
        for stage in self.stages:
            new = stage.prompts * stage.count - before.prompts * before.count
            if place < new:
                return _combination_in(stage, before, place)
            place, before = place - new, stage
        return _combination_in(Stage(len(self.prompts), self.count), before, place)

    def prompt_of(self, item: Item) -> str:
        return self.prompts[item.prompt_id - 1] if item.prompt_id is not None else ""

    def config_of(self, item: Item) -> str:
        """The configuration of an item's pictures, as the name of an existing one tells; empty in a batch that has one."""
        if item.source is not None:
            return parse_picture_name(item.source).config or ""
        return self.variants[item.variant].config if self.variants else ""

    def to_json(self) -> dict[str, Any]:
        items = [self.item(index) for index in range(1, self.planned + 1)]
        seeds = [{"index": item.index, "prompt_id": item.prompt_id, "variation": item.variation, "seed": item.seed} for item in items]
        document = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            "schema": SCHEMA,
            **document,
            "prompts": [{"id": number, "text": text} for number, text in enumerate(self.prompts, 1)],
            "variants": [{"config": variant.config, "settings": asdict(variant.settings)} for variant in self.variants],
            "workflows": [{"sha256": sha256_of(graph), "graph": graph} for graph in self.workflows],
            "stages": [asdict(stage) for stage in self.stages],
            "lora_file": asdict(self.lora_file) if self.lora_file is not None else None,
            "repair": {**asdict(self.repair), "sha256": sha256_of(self.repair.graph)} if self.repair is not None else None,
            "planned": seeds if self.generates else [],
        }


@dataclass(frozen=True, slots=True)
class PromptEntry:
    """A prompt, in batch.json."""

    text: str


@dataclass(frozen=True, slots=True)
class WorkflowEntry:
    """A graph as sent, in batch.json."""

    graph: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PlanFile:
    """batch.json as it is read back."""

    schema: int
    batch_id: str
    run_id: str
    lora_version: str
    created: str
    prompts: tuple[PromptEntry, ...]
    count: int
    base_seed: int
    variants: tuple[Variant, ...]
    workflow_name: str
    workflows: tuple[WorkflowEntry, ...]
    models: tuple[dict[str, str], ...]
    images: tuple[str, ...]
    reference_dir: str
    policy: dict[str, Any]
    protocol: dict[str, Any]
    target_approved: int | None = None
    source_dir: str | None = None
    engine: str = ""
    engine_notice: str | None = None
    training_params: dict[str, Any] = field(default_factory=dict)
    command: dict[str, Any] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    likeness: dict[str, Any] = field(default_factory=dict)
    lora_file: LoraFile | None = None
    repair: RepairPlan | None = None
    directory: str = ""

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} found, {SCHEMA} wanted: it was made by another version")
        if self.count < 1 or self.base_seed < 0:
            raise ValueError("count must be 1 or more, base_seed 0 or more")
        if self.source_dir is None and not (self.prompts and self.variants):
            raise ValueError("a batch that generates has prompts and variants")
        if self.source_dir is None and len(self.workflows) != len(self.variants):
            raise ValueError(f"{len(self.variants)} variants, but {len(self.workflows)} workflows")
        sizes = [*self.stages, Stage(len(self.prompts), self.count)] if self.source_dir is None else []
        if any(one.prompts < 1 or one.count < 1 or one.prompts > two.prompts or one.count > two.count for one, two in pairwise(sizes)):
            raise ValueError("stages do not grow")
        if self.policy:
            faults = check_policy(self.policy, {})
            if faults:
                raise ValueError(f"policy: {faults[0].text}")

    def to_plan(self, path: Path) -> Plan:
        """The plan of the file `path`, with its own files where they lie now. Raises InputError for a graph that is none."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "schema"}
        values["prompts"] = tuple(prompt.text for prompt in self.prompts)
        values["workflows"] = tuple(read_graph(each.graph, f"{path}: workflows[{at}]") for at, each in enumerate(self.workflows))
        root = path.parent
        values["reference_dir"] = relocated(self.reference_dir, self.directory, root)
        values["source_dir"] = relocated(self.source_dir, self.directory, root) if self.source_dir is not None else None
        if self.repair is not None:
            read_graph(self.repair.graph, f"{path}: repair")
        values["command"] = relocated_all(self.command, self.directory, root)
        return Plan(**values)


def sha256_of(document: object) -> str:
    """The digest of a JSON value, independent of the order of keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def judging_policy(policy: Mapping[str, Any]) -> dict[str, Any]:
    return {name: policy[name] for name in JUDGING_SECTIONS}


def read_plan(output_dir: Path) -> Plan | None:
    """The plan of the batch in a directory, or None where there is no batch. Raises InputError for one that is not ours."""
    path = output_dir / PLAN_FILE
    if not path.exists():
        return None
    return foreign.read_file(
        path, PlanFile, surrogates="keep", fix="name another directory, or put a whole copy of this file back"
    ).to_plan(path)


def write_plan(output_dir: Path, plan: Plan) -> None:
    write_json(output_dir / PLAN_FILE, replace(plan, directory=home_of(output_dir)).to_json())


def check_same(output_dir: Path, saved: Plan, wanted: Plan) -> None:
    """Raises InputError that names what differs between the batch in a directory and the one that is asked for."""
    found = find_differences(saved, wanted)
    if not found:
        return
    more = f"; and {len(found) - MAX_DIFFERENCES} more" if len(found) > MAX_DIFFERENCES else ""
    why = f"holds another batch: {'; '.join(found[:MAX_DIFFERENCES])}{more}"
    raise InputError(output_dir, why, "repeat its command to continue it, or choose another --output-dir")


FOLDERS = ("pictures' folder", "reference folder")


def find_differences(saved: Plan, wanted: Plan) -> list[str]:
    """What differs, as `NAME: X there, Y now`. When and by which command a batch was planned is no difference."""
    older = bool(measured_otherwise(saved.protocol, wanted.protocol))  # then all its pictures are scored again: `protocol_change`
    old, new = _identity(saved, chosen_only=older), _identity(wanted, chosen_only=older)
    rules = _flat(saved.policy)  # a batch of an older version lacks what came later: the rules that it began with stay in force
    later = _flat(wanted.policy).keys() - rules.keys()
    keys = [key for key in {**old, **new} if key not in later and not key.startswith(SCALES)]
    if not (LORA_BYTES in old and LORA_BYTES in new):  # without the file nothing is known of its bytes
        keys = [key for key in keys if key != LORA_BYTES]
    changed = [key for key in keys if old.get(key) != new.get(key) and not (key in FOLDERS and _is_one_folder(old.get(key), new.get(key)))]
    return [_difference(key, old.get(key), new.get(key)) for key in changed]


def _is_one_folder(first: object, second: object) -> bool:
    """Whether two paths name one folder: `Refs` and `refs` do on most volumes of Windows and macOS."""
    try:
        return isinstance(first, str) and isinstance(second, str) and Path(first).samefile(second)
    except (OSError, ValueError):
        return False


def _identity(plan: Plan, *, chosen_only: bool) -> dict[str, Any]:
    identity: dict[str, Any] = {
        "run id": plan.run_id,
        "LoRA version": plan.lora_version,
        "prompts": plan.prompts,
        "count": plan.count,
        "target": plan.target_approved,
        "base seed": plan.base_seed,
        "workflow": plan.workflow_name,
        "pictures' folder": plan.source_dir,
        "pictures": plan.images,
        "reference folder": plan.reference_dir,
    }
    for number, variant in enumerate(plan.variants):
        label = variant.config or (f"variant {number + 1}" if len(plan.variants) > 1 else "")
        for name, value in settings_in_one_spelling(asdict(variant.settings)).items():
            identity[f"{label} {name}".strip()] = value
        identity[f"{label} config".strip()] = variant.config
    if any(key for key in plan.workflows):
        identity["workflow as sent (SHA-256)"] = [sha256_of(in_one_spelling(graph)) for graph in plan.workflows]
    if plan.repair is not None:
        repair = asdict(plan.repair) | {"workflow_name": "", "graph": in_one_spelling(plan.repair.graph)}
        identity["repair workflow as sent (SHA-256)"] = sha256_of(repair)
    if plan.lora_file is not None and plan.lora_file.sha256:
        identity[LORA_BYTES] = plan.lora_file.sha256
    # the id stands for the rest; it is named only where the rest cannot say what differs
    protocol = chosen_part(plan.protocol) if chosen_only else {key: value for key, value in plan.protocol.items() if key != "id"}
    return identity | _flat(plan.policy) | _flat({"protocol": protocol})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _difference(name: str, old: object, new: object) -> str:
    if isinstance(old, Sequence) and isinstance(new, Sequence) and not isinstance(old, str) and not isinstance(new, str):
        if len(old) != len(new):
            return f"{name}: {len(old)} there, {len(new)} now"
        place = next(index for index, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1])
        return f"{name}: number {place + 1} is {_show(old[place])} there, {_show(new[place])} now"
    return f"{name}: {_show(old)} there, {_show(new)} now"


def _show(value: object) -> str:
    return "none" if value is None else shorten(repr(value) if isinstance(value, str) else str(value), 60)
