"""Workflows in API format: the built-in one or a user's, with a run's settings placed into the right nodes."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lifeos import foreign
from lifeos.errors import InputError
from lifeos.files import read_json
from tools.families.families import DEFAULT_FAMILY, SDXL, Family
from tools.workflows.assignments import read_assignment
from tools.workflows.graph import EXPORT_HINT, Graph, class_of, find_loop, is_ui_format, label, read_graph
from tools.workflows.loras import insert_loader
from tools.workflows.node_types import MODEL_FOLDERS
from tools.workflows.passes import ROLES
from tools.workflows.placing import NodeOverrides, Placement
from tools.workflows.settings import LATENT_STEP, Settings, check_settings
from tools.workflows.signatures import Signatures, stored_signatures
from tools.workflows.targets import Change, Target, Unplaceable
from tools.workflows.ui_format import to_api_format

ORDER = (
    "positive", "seed", "negative", "steps", "cfg", "guidance", "sampler", "scheduler", "width", "height", "checkpoint",
)  # fmt: skip
"""The settings that are placed one by one, as they are told."""
OF_ONE_PICTURE: dict[str, Any] = {"positive": "", "seed": 0, "filename_prefix": ""}
"""Settings that no place depends on, with what stands there until a picture has its own."""
LORA_TAG = re.compile(r"<lora:([^<>:]+)")
"""How a LoRA is named within a prompt, where a node of the workflow reads it there."""
INSERTED_STRENGTH = 1.0
"""Of a LoRA loader that is put in where nobody says another."""
ANYWHERE = "leave that setting out, or write a value into any input with --set NODE.INPUT=VALUE"

CONVERTED = "converted: the file is in the editor's own format; nodes have the ids that they would have in its export (API)"


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model file that a graph names: its folder on the server, its name there, and the node that loads it."""

    folder: str
    name: str
    node: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A graph as it is sent: what was written where (`changes`), and what else a person should know (`remarks`)."""

    graph: Graph
    changes: tuple[Change, ...]
    remarks: tuple[str, ...]

    def lines(self) -> list[str]:
        """One line for each value: its setting and the inputs that take it, prompt and seed first."""
        groups: dict[tuple[str, str, str], list[Change]] = {}
        for change in self.changes:
            groups.setdefault((change.setting, repr(change.value), change.remark), []).append(change)
        lines = []
        for (setting, _, remark), changes in groups.items():
            places = ", ".join(f"{_shown_key(each.target)} of {label(self.graph, each.target.node)}" for each in changes)
            lines.append(f"{setting}: {changes[0].value} → {places}" + (f" ({remark})" if remark else ""))
        return [*lines, *self.remarks]

    def places(self) -> list[dict[str, Any]]:
        """The same as records: setting, value, node, class, input, remark."""
        return [
            {
                "setting": each.setting,
                "value": each.value,
                "node": each.target.node,
                "class": class_of(self.graph, each.target.node),
                "input": _shown_key(each.target),
                "remark": each.remark,
            }
            for each in self.changes
        ]


def _shown_key(target: Target) -> str:
    return f"{target.key}.{target.part}" if target.part else target.key


class Workflow:
    """A graph in API format, and where the settings belong in it. `name` is the file it came from, or `built-in`.

    `lora_with_clip`: whether a LoRA loader that is put in takes the text encoder too. `is_converted`: the file was as the editor saves it.
    """

    def __init__(
        self,
        graph: Graph,
        name: str,
        overrides: NodeOverrides | None = None,
        *,
        size_multiple: int = LATENT_STEP,
        signatures: Signatures | None = None,
        lora_with_clip: bool = True,
    ) -> None:
        self.graph = graph
        self.name = name
        self.overrides = overrides or NodeOverrides()
        self.is_converted = False
        self._size_multiple = size_multiple
        known = signatures or stored_signatures()
        self._placement = Placement(graph, name, self.overrides, known, lora_with_clip=lora_with_clip)
        self._filled: dict[Settings, Placed] = {}
        self._assigned = [read_assignment(text, self._placement.typed) for text in self.overrides.assignments]

    @classmethod
    def load(
        cls, path: Path, overrides: NodeOverrides | None = None, *, signatures: Signatures | None = None, lora_with_clip: bool = True
    ) -> Workflow:
        """A workflow file, in API format or as the editor saves it.

        Raises InputError for one that cannot be converted, without a sampler, with a loop, with a dangling link.
        """
        graph, is_saved = read_workflow(path, signatures or stored_signatures())
        found = cls(graph, str(path), overrides, signatures=signatures, lora_with_clip=lora_with_clip)
        found.is_converted = is_saved
        return found

    @classmethod
    def built_in(cls, family: Family = SDXL, overrides: NodeOverrides | None = None, *, files: Mapping[str, str] | None = None) -> Workflow:
        """Text to image with a model of that family. It gets its LoRA loader when a LoRA is placed.

        `files`: name of a component -> its file on the server; others keep the name under which they are published.
        """
        name = "built-in" if family.id == DEFAULT_FAMILY else f"built-in, {family.id}"
        graph = read_graph(read_json(family.workflow_file), name)
        for each in family.files:
            graph[each.node]["inputs"][each.input] = (files or {}).get(each.name, each.file)
        multiple = family.resolution.picture_multiple
        return cls(graph, name, overrides, size_multiple=multiple, lora_with_clip=family.lora_node != "LoraLoaderModelOnly")

    def place(self, settings: Settings) -> Graph:
        """A new graph with every setting in its nodes, one picture a prompt. Raises InputError as `fill` does."""
        return self.fill(settings).graph

    def fill(self, settings: Settings) -> Placed:
        """A new graph with every setting in its nodes, one picture a prompt, and what was written where.

        Pictures that differ in nothing but what is `OF_ONE_PICTURE` share one search for the places. Raises InputError naming every
        setting that has no place, and values that the server would change silently.
        """
        check_settings(settings, self._size_multiple)
        blanks = {name: blank for name, blank in OF_ONE_PICTURE.items() if getattr(settings, name) is not None}
        own = {name.replace("_", " "): getattr(settings, name) for name in blanks}
        shared = replace(settings, **blanks)
        if shared not in self._filled:
            self._filled[shared] = self._fill_anew(shared)
        found = self._filled[shared]
        graph = copy.deepcopy(found.graph)
        changes = tuple(replace(each, value=own.get(each.setting, each.value)) for each in found.changes)
        for change in changes:
            if change.setting in own:
                _write(graph, change)
        converted = [CONVERTED] if self.is_converted else []
        return Placed(graph, changes, (*converted, *self._lost_loras(changes), *found.remarks))

    def _fill_anew(self, settings: Settings) -> Placed:
        graph = copy.deepcopy(self.graph)
        changes: list[Change] = []
        problems: dict[str, str] = {}
        for setting in ORDER:
            value = getattr(settings, setting)
            if value is not None:
                try:
                    changes += self._placement.find(setting, value)
                except Unplaceable as reason:
                    problems[setting] = str(reason)
        try:
            plan = self._placement.lora_plan(settings)
            changes += plan.changes
        except Unplaceable as reason:
            problems["lora" if settings.lora is not None else "lora_strength"] = str(reason)
        try:
            changes += self._placement.sizes.batch()
        except Unplaceable as reason:
            problems["one picture a prompt"] = str(reason)
        if problems:
            told = "; ".join(f"{setting.replace('_', ' ')}: {why}" for setting, why in problems.items())
            raise InputError(self.name, f"no place for {told}", ANYWHERE)
        changes += self._prefixes(settings.filename_prefix)
        changes = self._with_assignments(changes)
        for change in changes:
            _write(graph, change)
        for name, insertion in plan.insertions:
            strength = settings.lora_strength if settings.lora_strength is not None else INSERTED_STRENGTH
            node = insert_loader(graph, self._placement.typed, insertion, name, strength)
            behind = label(graph, insertion.model.node)
            changes.append(Change("lora", Target(node, "lora_name"), name, f"inserted behind {behind}"))
            strengths = [key for key in ("strength_model", "strength_clip") if key in graph[node]["inputs"]]
            changes += [Change("lora strength", Target(node, key), strength) for key in strengths]
        if plan.insertions and (loop := find_loop(graph)):
            why = f"a LoRA loader there would form a loop: {' → '.join(loop)}"
            raise InputError(self.name, why, "name the node that loads the model with --lora-node-id")
        remarks = [*(f"kept: {each}" for each in plan.kept), *plan.remarks]
        output = self._placement.passes.output
        lent = self._placement.lend_saver(graph)
        dropped = self._placement.drop_savers(graph, lent)
        if dropped or lent:
            by = f", saved by {label(graph, lent)}" if lent else ""
            out = f"; taken out: {', '.join(dropped)}" if dropped else ""
            remarks.append(f"pictures: those of {label(graph, output)}{by}{out}")
        kept = [change for change in changes if change.target.node in graph]
        return Placed(graph, tuple(kept), tuple(remarks))

    def _lost_loras(self, changes: Sequence[Change]) -> list[str]:
        """LoRAs that the words of a text load, and that its new words no longer name."""
        lost = []
        for change in changes:
            if change.setting in ROLES and isinstance(old := _value_at(self.graph, change.target), str):
                names = [name for name in dict.fromkeys(LORA_TAG.findall(old)) if f"<lora:{name}" not in str(change.value)]
                where = f"{change.target.key} of {label(self.graph, change.target.node)}"
                lost += [f"no longer there: <lora:{name}> in {where}: write it into the prompt to keep it" for name in names]
        return lost

    def _prefixes(self, prefix: str | None) -> list[Change]:
        if prefix is None:
            return []
        nodes = [node for node, each in self.graph.items() if isinstance(each["inputs"].get("filename_prefix"), str)]
        return [Change("filename prefix", Target(node, "filename_prefix"), prefix) for node in nodes]

    def _with_assignments(self, changes: list[Change]) -> list[Change]:
        """What was set by hand wins; the prompt and the seed, which differ from picture to picture, cannot be set so."""
        own = {change.target for change in self._assigned}
        for change in changes:
            if change.target in own and change.setting in ("positive", "seed"):
                what, flag = ("prompt", "--prompt") if change.setting == "positive" else ("seed", "--base-seed")
                raise InputError(f"--set {change.target.node}.{_shown_key(change.target)}", f"is the place of the {what}", f"use {flag}")
        return [change for change in changes if change.target not in own] + self._assigned

    def picture_nodes(self) -> list[str]:
        """The nodes that the saved picture is made of, along pictures and latents, nearest first."""
        passes = self._placement.passes
        return list(dict.fromkeys(spot.node for spot in passes.picture_way(passes.picture_links(passes.output))))

    def current(self) -> Settings:
        """The workflow's own values, where they can be placed: what a setting of None leaves."""
        values: dict[str, Any] = {setting: self._placement.current(setting) for setting in ORDER}
        rows = self._placement.loras.rows(self._placement.passes.samplers)
        if len({row.name for row in rows}) == 1:
            strength = next((_value_at(self.graph, target) for target in rows[0].strengths), None)
            values |= {"lora": rows[0].name, "lora_strength": strength if isinstance(strength, int | float) else None}
        return Settings(**values)

    def inserts_lora(self, settings: Settings) -> bool:
        """Whether a LoRA gets a loader of its own, which has no strength yet."""
        try:
            return bool(self._placement.lora_plan(settings).insertions)
        except Unplaceable:
            return False


def read_workflow(path: Path, signatures: Signatures) -> tuple[Graph, bool]:
    """The graph of a file in API format or as the editor saves it, and whether it was converted. Raises InputError for one that is none."""
    document: Any = foreign.read_file(path, Any, fix=EXPORT_HINT)
    is_saved = is_ui_format(document)
    if is_saved:
        document = to_api_format(document, signatures.of, str(path), EXPORT_HINT)
    return read_graph(document, str(path)), is_saved


def _write(graph: Graph, change: Change) -> None:
    inputs, target = graph[change.target.node]["inputs"], change.target
    inputs[target.key] = {**inputs[target.key], target.part: change.value} if target.part else change.value


def _value_at(graph: Graph, target: Target) -> Any:
    value = graph[target.node]["inputs"].get(target.key)
    return value.get(target.part) if target.part and isinstance(value, dict) else value


def find_models(graph: Graph) -> list[ModelUse]:
    """Every model file that a graph loads."""
    found = [
        ModelUse(MODEL_FOLDERS[key], value, node_id)
        for node_id, node in graph.items()
        for key, value in node["inputs"].items()
        if key in MODEL_FOLDERS and isinstance(value, str)
    ]
    rows = [
        ModelUse("loras", value["lora"], node_id)
        for node_id, node in graph.items()
        for value in node["inputs"].values()
        if isinstance(value, dict) and isinstance(value.get("lora"), str) and value.get("on", True)
    ]
    return found + rows


__all__ = ["EXPORT_HINT", "ModelUse", "NodeOverrides", "Placed", "Settings", "Workflow", "check_settings", "find_models"]
