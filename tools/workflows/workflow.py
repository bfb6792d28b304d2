"""Workflows in API format: the built-in one or a user's, with a run's settings placed into the right nodes."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lifeos import foreign
from lifeos.errors import InputError, UnavailableError, did_you_mean
from lifeos.files import read_json
from tools.backends.backend import Backend, NodeDeclaration
from tools.families.families import DEFAULT_FAMILY, SDXL, Family, ResolutionRule
from tools.workflows.graph import EXPORT_HINT, Graph, class_of, insert_lora, label, read_graph
from tools.workflows.node_types import MODEL_FOLDERS, STRENGTH_KEYS
from tools.workflows.placing import NodeOverrides, Placement, Target
from tools.workflows.seeds import MAX_SEED

MAX_SIDE = 16384
LATENT_STEP = ResolutionRule().picture_multiple
"""The side of a latent cell in pixels: the server would silently cut a width of 100 down to 96. A family may have larger ones."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run wants of a picture. None leaves the workflow's own value."""

    positive: str | None = None
    negative: str | None = None
    seed: int | None = None
    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    checkpoint: str | None = None
    lora: str | None = None
    lora_strength: float | None = None
    filename_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model file that a graph names: its folder on the server, its name there, and the node that loads it."""

    folder: str
    name: str
    node: str


class Workflow:
    """A graph in API format, and where the settings belong in it. `name` is the file it came from, or `built-in`."""

    def __init__(self, graph: Graph, name: str, overrides: NodeOverrides | None = None, *, size_multiple: int = LATENT_STEP) -> None:
        self.graph = graph
        self.name = name
        self._size_multiple = size_multiple
        self._placement = Placement(graph, name, overrides or NodeOverrides())

    @classmethod
    def load(cls, path: Path, overrides: NodeOverrides | None = None) -> Workflow:
        """A workflow file. Raises InputError for one in UI format, without a sampler, with a loop, with a dangling link."""
        return cls(read_graph(foreign.read_file(path, Any, fix=EXPORT_HINT), str(path)), str(path), overrides)

    @classmethod
    def built_in(cls, family: Family = SDXL) -> Workflow:
        """Text to image with a model of that family. It gets its LoRA loader when a LoRA is placed."""
        name = "built-in" if family.id == DEFAULT_FAMILY else f"built-in, {family.id}"
        return cls(read_graph(read_json(family.workflow_file), name), name, size_multiple=family.resolution.picture_multiple)

    def place(self, settings: Settings) -> Graph:
        """A new graph with every setting in its nodes, one picture a prompt.

        Raises InputError naming every setting that has no place, and values that the server would change silently.
        """
        check_settings(settings, self._size_multiple)
        graph = copy.deepcopy(self.graph)
        problems: dict[str, str] = {}
        for setting, targets in self._placement.targets.items():
            value = getattr(settings, setting)
            if value is not None:
                self._write(graph, setting, targets, value)
        problems |= {setting: why for setting, why in self._placement.problems.items() if getattr(settings, setting) is not None}
        problems |= self._place_lora(graph, settings)
        if problems:
            told = "; ".join(f"{setting.replace('_', ' ')}: {why}" for setting, why in problems.items())
            raise InputError(self.name, f"no place for {told}", "leave that setting out, or change the workflow")
        for node in graph.values():
            if settings.filename_prefix is not None and isinstance(node["inputs"].get("filename_prefix"), str):
                node["inputs"]["filename_prefix"] = settings.filename_prefix
        latent = self._placement.latent_node()
        if latent is not None and "batch_size" in graph[latent]["inputs"]:
            graph[latent]["inputs"]["batch_size"] = 1  # a picture's seed must be its own
        return graph

    def current(self) -> Settings:
        """The workflow's own values, where they can be placed: what a setting of None leaves."""
        values: dict[str, Any] = {}
        for setting, targets in self._placement.targets.items():
            values[setting] = self._placement.value(targets[0])
        loaders = self._placement.lora_loaders()
        if len(loaders) == 1:
            inputs = self.graph[loaders[0].node]["inputs"]
            values["lora"] = inputs[loaders[0].key]
            values["lora_strength"] = next((inputs[key] for key in STRENGTH_KEYS if isinstance(inputs.get(key), int | float)), None)
        return Settings(**values)

    def describe(self, settings: Settings) -> list[str]:
        """One line per given setting: its value and the nodes that take it."""
        graph = self.place(settings)
        lines = []
        for setting, targets in self._placement.targets.items():
            value = getattr(settings, setting)
            if value is not None:
                places = ", ".join(f"{target.key} of {label(graph, target.node)}" for target in targets)
                lines.append(f"{setting}: {value} → {places}")
        if settings.lora is not None or settings.lora_strength is not None:
            shown = [value for value in (settings.lora, settings.lora_strength) if value is not None]
            node = self._lora_node(graph, settings)
            new = "" if node in self.graph else ", inserted behind the checkpoint"
            lines.append(f"lora: {' at '.join(map(str, shown))} → {label(graph, node)}{new}")
        return lines

    def _write(self, graph: Graph, setting: str, targets: list[Target], value: Any) -> None:
        for target in targets:
            inputs = graph[target.node]["inputs"]
            if setting == "steps":
                _scale_step_range(inputs, inputs[target.key], value)
            inputs[target.key] = value

    def _place_lora(self, graph: Graph, settings: Settings) -> dict[str, str]:
        """Into the one loader, or the one of several that has it already, or a new one behind the checkpoint. Returns problems."""
        if settings.lora is None and settings.lora_strength is None:
            return {}
        setting = "lora" if settings.lora is not None else "lora_strength"
        loaders = self._placement.lora_loaders()
        if len(loaders) > 1:
            loaders = [target for target in loaders if self._placement.value(target) == settings.lora]
            if len(loaders) != 1:
                return {setting: "several LoRA loaders lead to the sampler: choose with --lora-node-id"}
        if loaders:
            node, key = loaders[0].node, loaders[0].key
        elif settings.lora is None:
            return {setting: "the workflow has no LoRA loader"}
        else:
            found = self._placement.targets.get("checkpoint")
            if not found:
                return {setting: f"no LoRA loader, and nowhere to insert one ({self._placement.problems['checkpoint']})"}
            node, key = insert_lora(graph, found[0].node, has_clip=found[0].key == "ckpt_name"), "lora_name"
        inputs = graph[node]["inputs"]
        if settings.lora is not None:
            inputs[key] = settings.lora
        if settings.lora_strength is not None:
            strengths = [name for name in STRENGTH_KEYS if name in inputs]
            if not strengths:
                return {"lora_strength": f"{label(graph, node)} has no strength input"}
            inputs |= dict.fromkeys(strengths, settings.lora_strength)
        return {}

    def _lora_node(self, graph: Graph, settings: Settings) -> str:
        loaders = self._placement.lora_loaders()
        same = [target.node for target in loaders if len(loaders) == 1 or self._placement.value(target) == settings.lora]
        return same[0] if same else next(node_id for node_id in graph if node_id not in self.graph)


def _scale_step_range(inputs: dict[str, Any], old: Any, new: int) -> None:
    """Keep the share of steps that a sampler takes (`start_at_step`, `end_at_step` of a base and refiner pair)."""
    for key in ("start_at_step", "end_at_step"):
        value = inputs.get(key)
        if isinstance(value, int) and isinstance(old, int) and 0 < value <= old:
            inputs[key] = round(value * new / old)


def check_settings(settings: Settings, size_multiple: int = LATENT_STEP) -> None:
    """Refuse what the server would silently change or die of. Raises InputError that names the setting."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        why = None if value is None else _find_fault(field.name, value, size_multiple)
        if why:
            raise InputError(f"{field.name.replace('_', ' ')} {value!r}", why)


def _find_fault(setting: str, value: Any, size_multiple: int) -> str | None:
    wholes = {"seed": (0, MAX_SEED), "steps": (1, 10_000), "width": (16, MAX_SIDE), "height": (16, MAX_SIDE)}
    numbers = {"cfg": (0.0, 100.0), "lora_strength": (-100.0, 100.0)}
    if setting in wholes:
        low, high = wholes[setting]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            return f"a whole number from {low} to {high} is wanted"
        if setting in ("width", "height") and value % size_multiple:
            below = value - value % size_multiple
            return f"a multiple of {size_multiple} is wanted, such as {below} or {below + size_multiple}"
    elif setting in numbers:
        lowest, highest = numbers[setting]
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or not lowest <= value <= highest:
            return f"a number from {lowest:g} to {highest:g} is wanted"
    elif not isinstance(value, str):
        return "text is wanted"
    elif setting == "filename_prefix":
        if not value or value.endswith(("/", "\\")) or value.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", value):
            return "a relative name that does not end in a slash is wanted: ComfyUI would overwrite or refuse it"
    elif setting not in ("positive", "negative") and not value.strip():
        return "a name is wanted"
    return None


def find_models(graph: Graph) -> list[ModelUse]:
    """Every model file that a graph loads."""
    return [
        ModelUse(MODEL_FOLDERS[key], value, node_id)
        for node_id, node in graph.items()
        for key, value in node["inputs"].items()
        if key in MODEL_FOLDERS and isinstance(value, str)
    ]


def check_models(server: Backend, graph: Graph) -> None:
    """Refuse a graph that this server cannot run: a node class, model file, sampler or scheduler that it does not have.

    Raises InputError that names all of them, each with the nearest that there is, before anything is queued.
    """
    if not server.offers.lists_nodes:
        return  # the back end refuses such a graph itself, when it is sent
    missing = list(_find_missing(server, graph))
    if missing:
        raise InputError(server.url, "; ".join(missing), "put the files on the server, or choose among what it has")


def _find_missing(server: Backend, graph: Graph) -> Iterator[str]:
    declared: dict[str, NodeDeclaration | None] = {}
    known_classes: list[str] | None = None
    for node_id, node in graph.items():
        class_type = class_of(graph, node_id)
        if class_type not in declared:
            declared[class_type] = server.node(class_type)
        info = declared[class_type]
        if info is None:
            known_classes = known_classes if known_classes is not None else server.node_classes()
            if not known_classes:
                raise UnavailableError(server.url, "lists no node classes at all", "look at the server's log")
            yield f"node class {class_type} of {label(graph, node_id)} is not there: {did_you_mean(class_type, known_classes)}"
            continue
        for key, choices in _choices(info):
            value = node["inputs"].get(key)
            if isinstance(value, str) and value not in choices:
                yield f"{key} {value!r} of {label(graph, node_id)} is not there: {did_you_mean(value, choices) or 'there is none'}"


def _choices(node: NodeDeclaration) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The model, sampler and scheduler inputs with what they take.

    Other choices are left to the server: custom nodes may accept more than they declare.
    """
    for key, declared in node.inputs.items():
        if declared.choices is not None and (key in MODEL_FOLDERS or key.endswith("_name") or key == "scheduler"):
            yield key, declared.choices


__all__ = ["EXPORT_HINT", "ModelUse", "NodeOverrides", "Settings", "Workflow", "check_models", "check_settings", "find_models"]
