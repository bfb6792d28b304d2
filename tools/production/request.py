"""What a command asks for, before anything is looked up: the flags as given, None where they were not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from evals.judging.gate_limits import GivenValue, limits_from_words, limits_to_words
from lifeos.counting import counted
from lifeos.errors import InputError
from lifeos.server_flags import NAMES as SERVER_NAMES
from tools.backends.server_entry import ServerEntry
from tools.backends.server_list import list_servers
from tools.production.repair_graph import RepairOptions
from tools.workflows.node_flags import NAMES, to_overrides
from tools.workflows.placing import NodeOverrides

REPAIR_NAMES = ("repair_workflow", "repair_image_node", "repair_nodes", "repair_assignments")
GENERATION_ONLY = (
    "prompts_file", "prompts", "lora", "lora_strength", "count", "workflow", "checkpoint", "negative_prompt", "steps", "cfg",
    "sampler", "scheduler", "width", "height", "base_seed", "target_approved", "max_images", "max_cost", *SERVER_NAMES,
    "family", "components", "allow_family_mismatch", "guidance", "more_loras", *NAMES, *REPAIR_NAMES,
)  # fmt: skip
FLAG_OF = {
    "prompts_file": "--prompts-file", "prompts": "--prompt", "comfy_urls": "--comfy-url",
    "servers_file": "--servers", "more_loras": "--lora",
    "lora_node_ids": "--lora-node-id", "assignments": "--set", "components": "--component",
    "repair_nodes": "--repair-node", "repair_assignments": "--repair-set",
}  # fmt: skip
NOT_REMEMBERED = ("max_images", "max_cost", "model_root", "prefer_cpu")
"""What may change from one run of a batch to the next: `--resume` alone does not bring it back."""


@dataclass(frozen=True, slots=True)
class Request:
    """The flags of the production pipeline that decide what a batch is. None: not given."""

    output_dir: Path
    prompts_file: Path | None = None
    prompts: tuple[str, ...] | None = None
    lora: str | None = None
    lora_strength: float | None = None
    count: int | None = None
    reference_dir: Path | None = None
    comfy_urls: tuple[str, ...] | None = None
    servers_file: Path | None = None
    comfy_token_env: str | None = None
    """The name of the variable: a token itself is in no request, which is stored."""
    insecure_token: bool | None = None
    workflow: Path | None = None
    family: str | None = None
    components: tuple[str, ...] | None = None
    """`NAME=FILE` of the files that the family's workflow loads."""
    allow_family_mismatch: bool | None = None
    checkpoint: str | None = None
    negative_prompt: str | None = None
    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    base_seed: int | None = None
    limits: Mapping[str, GivenValue] = field(default_factory=dict)
    """The limits of gates that were given, and their folders, by policy key."""
    engine: str | None = None
    model_root: Path | None = None
    model_pack: str | None = None
    face_model: Path | None = None
    prefer_cpu: bool = False
    images: Path | None = None
    target_approved: int | None = None
    max_images: int | None = None
    max_cost: float | None = None
    lora_version: str | None = None
    lora_file: Path | None = None
    history_file: Path | None = None
    run_id: str | None = None
    guidance: float | None = None
    more_loras: tuple[str, ...] | None = None
    """Beside `lora`: each goes to the node that is named for it."""
    positive_node_id: str | None = None
    positive_key: str | None = None
    negative_node_id: str | None = None
    negative_key: str | None = None
    ksampler_node_id: str | None = None
    seed_node_id: str | None = None
    output_node_id: str | None = None
    seed_key: str | None = None
    steps_key: str | None = None
    lora_node_ids: tuple[str, ...] | None = None
    assignments: tuple[str, ...] | None = None
    repair_workflow: Path | None = None
    repair_image_node: str | None = None
    repair_nodes: tuple[str, ...] | None = None
    repair_assignments: tuple[str, ...] | None = None

    @property
    def overrides(self) -> NodeOverrides:
        """The nodes and inputs that were named by hand. Raises InputError where they are named without a workflow."""
        return to_overrides({name: getattr(self, name) for name in NAMES}, has_workflow=self.workflow is not None)

    @property
    def repair(self) -> RepairOptions | None:
        """What is said of the second graph; None where there is none."""
        if self.repair_workflow is None:
            return None
        return RepairOptions(self.repair_workflow, self.repair_image_node, self.repair_nodes or (), self.repair_assignments or ())

    @property
    def servers(self) -> tuple[ServerEntry, ...]:
        """The servers that were named, none for the usual one. Raises InputError."""
        urls, token = self.comfy_urls or (), self.comfy_token_env
        return list_servers(urls, self.servers_file, token_env=token, insecure_token=bool(self.insecure_token))

    def check(self) -> None:
        """Raises InputError for flags that contradict one another."""
        if self.images is not None:
            odd = next((name for name in GENERATION_ONLY if getattr(self, name) is not None), None)
            if odd is not None:
                raise InputError(flag_of(odd), "has no use with --images, which generates nothing", "leave one of the two out")
        if self.prompts_file is not None and self.prompts is not None:
            raise InputError("--prompt", "given beside --prompts-file", "give all prompts in the file, or all on the command line")
        odd = next((name for name in REPAIR_NAMES[1:] if getattr(self, name) is not None), None)
        if odd is not None and self.repair_workflow is None:
            raise InputError(flag_of(odd), "names a part of a graph that repairs pictures", "give it with --repair-workflow")
        if self.max_images is not None and self.target_approved is not None and self.max_images < self.target_approved:
            why = f"{counted(self.max_images, 'picture')} cannot hold {self.target_approved} approved ones"
            raise InputError("--max-images", why, "raise it, or lower --target-approved")

    def to_json(self) -> dict[str, Any]:
        """The flags that were given, by name; paths absolute, so that they mean the same from everywhere."""
        given = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("output_dir", "limits", *NOT_REMEMBERED)}
        return {name: _plain(value) for name, value in given.items() if value is not None} | limits_to_words(self.limits)

    def completed_by(self, saved: Mapping[str, Any]) -> Request:
        """This request, with what it leaves open taken from the command that began the batch."""
        known = {each.name for each in fields(self)} - {"limits"}
        missing = {name: _typed(name, value) for name, value in saved.items() if name in known and getattr(self, name) is None}
        if self.prompts is not None or self.prompts_file is not None:
            missing = {name: value for name, value in missing.items() if name not in ("prompts", "prompts_file")}
        if self.comfy_urls is not None or self.servers_file is not None:  # a batch may go on with another set of servers
            missing = {name: value for name, value in missing.items() if name not in SERVER_NAMES}
        return replace(self, **missing, limits={**limits_from_words(saved), **self.limits})


def flag_of(name: str) -> str:
    return FLAG_OF.get(name, f"--{name.replace('_', '-')}")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.resolve())
    return list(value) if isinstance(value, tuple) else value


def _typed(name: str, value: Any) -> Any:
    paths = (
        "prompts_file",
        "servers_file",
        "reference_dir",
        "workflow",
        "images",
        "lora_file",
        "history_file",
        "face_model",
        "repair_workflow",
    )
    if name in paths:
        return Path(value)
    return tuple(value) if isinstance(value, list) else value
