"""What a row of the table of model families holds. Standard library only: the guardrails read the table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lifeos.errors import InputError

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
    other. `without_effect`: of our flags, those that change nothing here. `proof`: how far it was tried, a key of `PROOFS`. `name`: what
    the trainer calls the family (`--model_type` of sd-scripts, `--model_version` or `--task` of musubi-tuner, `arch` of ai-toolkit);
    empty where it need not be told. `bucket_multiple`: what this trainer insists on for the sides of buckets, where that is not what the
    family's resolution rule says.
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
    name: str = ""
    bucket_multiple: int = 0


PROOFS: Mapping[str, str] = MappingProxyType(
    {
        "run": "trained with the real trainer and a shrunken model on a CPU",
        "parsed": "the real trainer's own parser or configuration loader accepted our files and arguments",
        "read": "written from the trainer's code only",
    }
)


@dataclass(frozen=True, slots=True)
class FamilyFile:
    """A model file that the built-in workflow loads.

    `name`: for `--component NAME=FILE`. `folder`: ComfyUI's folder of such files. `node`, `input`: where the workflow names it. `file`:
    what the file is called where it is published. `fits`: a pattern; a file whose name, in small letters, holds it is of that kind.
    """

    name: str
    title: str
    folder: str
    node: str
    input: str
    file: str
    fits: str


@dataclass(frozen=True, slots=True)
class Family:
    """One model family.

    `model_folder`: ComfyUI's folder of its base models. `workflow`: a file of this folder. `lora_node`: the node class that is inserted
    for a LoRA. `settings`: of a picture (`steps`, `cfg`, `guidance`, `sampler`, `scheduler`, `width`, `height`, `negative_prompt`,
    `lora_strength`); what the workflow has no place for is not in it.
    `checkpoint_parts`: how the names of a base model's weights begin -> the part that training needs.
    `token_limit`: tokens of a caption or prompt that are read. `lora_parts`: how the names of a LoRA's weights begin -> the part of
    the model that was trained.
    `architecture`: the title by which a header is recognised (`tools/trainers/architectures.py`), if it is not the family's own; families
    of one architecture take one another's LoRAs, unless their `width` differs (of what goes into a block of the model, in numbers).
    `files`: what the workflow loads; the first is the one that `--checkpoint` names.
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
    architecture: str = ""
    width: int | None = None
    files: tuple[FamilyFile, ...] = ()

    @property
    def made_for(self) -> str:
        """The title of its architecture."""
        return self.architecture or self.title

    @property
    def models(self) -> tuple[FamilyFile, ...]:
        """The files that are the model itself; two where one works after the other."""
        return tuple(each for each in self.files if each.folder == self.model_folder)

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


def fit_to_trainer(family: Family, how: TrainedBy) -> Family:
    """The family with the buckets that this trainer takes."""
    rule, multiple = family.resolution, how.bucket_multiple
    if not multiple:
        return family
    return replace(family, resolution=replace(rule, bucket_step=math.lcm(rule.bucket_step, multiple), bucket_multiple=multiple))


@cache
def _node_classes(workflow_file: Path, lora_node: str) -> tuple[str, ...]:
    graph = json.loads(workflow_file.read_text(encoding="utf-8"))
    return tuple(sorted({node["class_type"] for node in graph.values()} | {lora_node}))
