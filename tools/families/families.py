"""The model families: one row for each, with all that the rest of the program must know of it.

A new family is a row here and its text-to-image workflow in API format beside this file. Standard library only: the guardrails read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from lifeos.errors import InputError, did_you_mean

T = TypeVar("T")

WORKFLOW_FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class ResolutionRule:
    """Which sizes fit a family, in pixels.

    `picture_multiple`: the sides of a made picture are multiples of it (the side of a latent cell). `training_side`: the side of the
    training area if nobody says. `bucket_step`: the sides of the buckets that we ask the trainer for. `bucket_multiple`: what the trainer
    insists on for them.
    """

    picture_multiple: int = 8
    training_side: int = 1024
    bucket_step: int = 64
    bucket_multiple: int = 32


@dataclass(frozen=True, slots=True)
class TrainedBy:
    """How one trainer trains a family.

    `script`, `network_module`: as the trainer names them (empty where it has none of its own for a family). `refuses`: options of the
    trainer that this script ends with an error at. `components`: the files that it wants besides the base model, by their ids in
    `tools/trainers/components.py`; `optional`: those that it takes besides. `options`: what the trainer is told for this family and no
    other. `without_effect`: of our flags, those that change nothing here. `proof`: how far it was tried, a key of `PROOFS`.
    """

    trainer: str
    script: str
    network_module: str
    refuses: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    without_effect: tuple[str, ...] = ()
    proof: str = "read"


PROOFS: Mapping[str, str] = MappingProxyType(
    {
        "run": "trained with the real trainer and a shrunken model on a CPU",
        "parsed": "the real trainer's own parser or configuration loader accepted our files and arguments",
        "read": "written from the trainer's code only",
    }
)


@dataclass(frozen=True, slots=True)
class Family:
    """One model family.

    `model_folder`: ComfyUI's folder of its base models. `workflow`: a file of this folder. `lora_node`: the node class that is inserted
    for a LoRA. `settings`: of a picture (`steps`, `cfg`, `sampler`, `scheduler`, `width`, `height`, `negative_prompt`, `lora_strength`).
    `checkpoint_parts`: how the names of a base model's weights begin -> the part that training needs.
    `token_limit`: tokens of a caption or prompt that are read. `lora_parts`: how the names of a LoRA's weights begin -> the part of
    the model that was trained.
    """

    id: str
    title: str
    model_folder: str
    workflow: str
    lora_node: str
    settings: Mapping[str, Any]
    token_limit: int
    resolution: ResolutionRule = ResolutionRule()
    trained_by: tuple[TrainedBy, ...] = ()
    checkpoint_parts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    lora_parts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def workflow_file(self) -> Path:
        return WORKFLOW_FOLDER / self.workflow

    @property
    def node_classes(self) -> tuple[str, ...]:
        """The node classes that a server must have for the built-in workflow, with a LoRA or without."""
        return _node_classes(self.workflow_file, self.lora_node)

    def training_with(self, trainer: str) -> TrainedBy:
        """How that trainer trains this family. Raises InputError where it does not."""
        for each in self.trained_by:
            if each.trainer == trainer:
                return each
        names = ", ".join(each.trainer for each in self.trained_by)
        fix = f"use {names}" if names else "choose another family"
        raise InputError(f"family {self.id}", f"{trainer} does not train it here", fix)


SDXL = Family(
    id="sdxl",
    title="SDXL",
    model_folder="checkpoints",
    workflow="sdxl.json",
    lora_node="LoraLoader",
    settings=MappingProxyType(
        {
            "steps": 28,
            "cfg": 5.0,
            "sampler": "dpmpp_2m",
            "scheduler": "karras",
            "width": 832,
            "height": 1216,
            "negative_prompt": (
                "lowres, bad anatomy, bad hands, extra fingers, deformed, blurry, watermark, text, cartoon, painting, plastic skin"
            ),
            "lora_strength": 0.8,
        }
    ),
    token_limit=75,  # of CLIP's 77; begin and end take two
    trained_by=(TrainedBy("sd-scripts", "sdxl_train_network.py", "networks.lora", refuses=("v2",), proof="run"),),
    checkpoint_parts=MappingProxyType(
        {
            "model.diffusion_model.": "U-Net",
            "conditioner.embedders.0.": "first text encoder",
            "conditioner.embedders.1.": "second text encoder",
            "first_stage_model.": "VAE",
        }
    ),
    lora_parts=MappingProxyType({"lora_unet_": "unet", "lora_te1_": "text_encoder_1", "lora_te2_": "text_encoder_2"}),
)

FAMILIES: tuple[Family, ...] = (SDXL,)
DEFAULT_FAMILY = SDXL.id
"""The family that is meant where none is named. The policy's values (`production.steps`, `dataset.clip_tokens` …) are this family's."""


def find_family(family_id: str | None = None) -> Family:
    """The row of an id; of none, the default's. Raises InputError for an id that is not in the table."""
    wanted = DEFAULT_FAMILY if family_id is None else family_id
    for row in FAMILIES:
        if row.id == wanted:
            return row
    raise InputError(f"model family {wanted}", "is not known", did_you_mean(wanted, family_ids()))


def family_ids() -> tuple[str, ...]:
    return tuple(row.id for row in FAMILIES)


def family_help() -> str:
    """What `--family` is for, for its help."""
    return f"model family: its built-in workflow and settings are used without --workflow (default: {DEFAULT_FAMILY}, built-in)"


def family_of_script(trainer: str, script: str) -> Family | None:
    """The family that a trainer's script trains; None for a script of no family in the table."""
    return next((row for row in FAMILIES for each in row.trained_by if (each.trainer, each.script) == (trainer, script)), None)


def settle(family: Family, policy_value: T | None, row_value: T) -> T:
    """The policy's value where the policy speaks of that family, else the row's."""
    return row_value if policy_value is None or family.id != DEFAULT_FAMILY else policy_value


def picture_settings(family: Family, policy: Mapping[str, Any]) -> dict[str, Any]:
    """What a picture of that family is made with where nobody says otherwise."""
    return {name: settle(family, policy["production"].get(name), value) for name, value in family.settings.items()}


@cache
def _node_classes(workflow_file: Path, lora_node: str) -> tuple[str, ...]:
    import json

    graph = json.loads(workflow_file.read_text(encoding="utf-8"))
    return tuple(sorted({node["class_type"] for node in graph.values()} | {lora_node}))
