"""The second graph of a batch, which repairs pictures: where it takes the picture, and where prompt, seed and LoRA go in it.

The places are found as in the graph that makes the pictures. A graph without a sampler (an upscaler) takes the picture alone.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos.counting import counted
from lifeos.errors import InputError, UnavailableError, did_you_mean
from tools.backends.backend import Backend
from tools.workflows.graph import Graph, is_link, label
from tools.workflows.node_flags import FIELDS, to_overrides
from tools.workflows.passes import NoSamplerError, check_node
from tools.workflows.server_fit import check_models
from tools.workflows.settings import Settings
from tools.workflows.signatures import Signatures, signatures_of, stored_signatures
from tools.workflows.targets import Change, Target
from tools.workflows.typed_graph import TypedGraph
from tools.workflows.workflow import Placed, Workflow, read_workflow

FLAG = "--repair-workflow"
IMAGE_FLAG = "--repair-image-node"
FROM_OUTPUT = "LoadImageOutput"
"""It loads what the server made itself: nothing can be uploaded to there."""

NODES = {name.replace("_node_id", "").replace("_", "-"): name for name in FIELDS} | {"lora": "lora_node_ids"}
"""Names of `--repair-node NAME=ID`: those of the flags of the first graph, without `-node-id`."""

NODE_FLAG = re.compile(r"--([a-z]+)-node-id(?: (\d[\w:]*))?")
KEY_FLAG = re.compile(r"--(positive|negative|seed|steps)-key")


@dataclass(frozen=True, slots=True)
class RepairOptions:
    """What a command says of the second graph: the file, and the nodes and inputs that it names by hand."""

    workflow: Path
    image_node: str | None = None
    nodes: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()


class RepairGraph:
    """The graph, and `image`, the input that takes the picture. `workflow` is None where nothing samples in it."""

    def __init__(self, graph: Graph, name: str, image: Target, workflow: Workflow | None, remarks: Sequence[str] = ()) -> None:
        self.graph, self.name, self.image, self._workflow = graph, name, image, workflow
        self._remarks = tuple(remarks)

    @classmethod
    def load(cls, options: RepairOptions, servers: Sequence[Backend] = ()) -> RepairGraph:
        """The graph of a file. Raises InputError for one that takes no picture, takes several, or saves none."""
        try:
            return cls._load(options, signatures_of(servers) or stored_signatures())
        except InputError as error:
            raise in_repair_flags(error) from None

    @classmethod
    def _load(cls, options: RepairOptions, signatures: Signatures) -> RepairGraph:
        graph, is_converted = read_workflow(options.workflow, signatures)
        name = str(options.workflow)
        typed = TypedGraph(graph, signatures)
        if not any(_is_saver(typed, node) for node in graph):
            raise InputError(f"{FLAG} {name}", "no node of it saves a picture", "add a SaveImage node behind the repaired picture")
        workflow: Workflow | None = None
        try:
            workflow = Workflow(graph, name, read_nodes(options), signatures=signatures)
            workflow.is_converted = is_converted
        except NoSamplerError:
            if options.nodes or options.assignments:
                raise
        way = workflow.picture_nodes() if workflow is not None else list(graph)
        image = _find_picture_input(typed, way, name, options.image_node)
        return cls(graph, name, image, workflow, _warnings(typed, image))

    def fill(self, settings: Settings) -> Placed:
        """The graph with these settings in its nodes. Raises InputError naming every setting that has no place."""
        if self._workflow is None:
            return self._fill_plain(settings.filename_prefix)
        try:
            placed = self._workflow.fill(settings)
        except InputError as error:
            raise in_repair_flags(error) from None
        if self.image.node not in placed.graph:
            where = label(self.graph, self.image.node)
            raise InputError(
                f"{FLAG} {self.name}", f"{where} does not lead to the picture that is saved", f"name another with {IMAGE_FLAG}"
            )
        return Placed(placed.graph, placed.changes, (*placed.remarks, *self._remarks))

    def _fill_plain(self, prefix: str | None) -> Placed:
        graph = copy.deepcopy(self.graph)
        changes = []
        for node, each in graph.items():
            if prefix is not None and isinstance(each["inputs"].get("filename_prefix"), str):
                each["inputs"]["filename_prefix"] = prefix
                changes.append(Change("filename prefix", Target(node, "filename_prefix"), prefix))
        return Placed(graph, tuple(changes), ("nothing samples in it: prompt, seed and LoRA have no place", *self._remarks))

    def with_picture(self, graph: Mapping[str, Any], told: str) -> Graph:
        """A filled graph that loads the picture which the server calls `told`."""
        node = graph[self.image.node]
        return {**graph, self.image.node: {**node, "inputs": {**node["inputs"], self.image.key: told}}}

    def lines(self, settings: Settings) -> list[str]:
        """What goes where, for people."""
        place = f"{self.image.key} of {label(self.graph, self.image.node)}"
        return [f"repair, picture: the rejected one → {place}", *(f"repair, {line}" for line in self.fill(settings).lines())]


def check_repair(graph: RepairGraph, settings: Settings, servers: Sequence[Backend]) -> None:
    """Raises InputError where every server takes no pictures, or lacks what the graph needs: before the first picture is made."""
    placed = graph.fill(settings)
    refusals: list[InputError] = []
    for server in servers:
        try:
            if not server.offers.takes_pictures:
                raise InputError(FLAG, f"{server.url} takes no pictures from outside", "leave it out, or name a ComfyUI with --comfy-url")
            check_models(server, placed.graph)
        except InputError as error:
            named = error if error.what == FLAG else InputError(f"{FLAG} {graph.name}", f"{error.what}: {error.why}", error.fix)
            refusals.append(named)
        except UnavailableError:  # it is left out when the batch begins
            continue
        else:
            return
    if refusals:
        others = f"; nor can the {counted(len(refusals) - 1, 'other server')}" if len(refusals) > 1 else ""
        raise InputError(refusals[0].what, f"{refusals[0].why}{others}", refusals[0].fix)


def read_nodes(options: RepairOptions) -> Any:
    """The nodes that `--repair-node NAME=ID` names, as `NodeOverrides`. Raises InputError for a name that is none."""
    given: dict[str, Any] = {"assignments": options.assignments}
    for text in options.nodes:
        name, equals, value = text.partition("=")
        if not equals or not value or name not in NODES:
            why = f"wanted NAME=ID, where NAME is one of {', '.join(NODES)}"
            raise InputError(f"--repair-node {text}", why, did_you_mean(name, NODES))
        field = NODES[name]
        given[field] = (*given.get(field, ()), value) if field == "lora_node_ids" else value
    return to_overrides(given, has_workflow=True)


def in_repair_flags(error: InputError) -> InputError:
    """The same error with the flags that name places of the second graph, so that its advice can be followed."""

    def ours(text: str) -> str:
        text = NODE_FLAG.sub(lambda found: f"--repair-node {found[1]}={found[2] or 'ID'}", text)
        text = KEY_FLAG.sub(lambda found: f"--repair-node {found[1]}-key=KEY", text)
        return re.sub(r"--set\b", "--repair-set", text)

    what = error.what if error.what.startswith("--") else f"{FLAG} {error.what}"
    return InputError(ours(what), ours(error.why), ours(error.fix))


def _find_picture_input(typed: TypedGraph, way: Sequence[str], name: str, chosen: str | None) -> Target:
    """The input that takes the picture: of the only node that loads one, first among those the saved picture is made of."""
    graph = typed.graph
    if chosen is not None:
        check_node(graph, IMAGE_FLAG, chosen, name)
        key = _picture_key(typed, chosen)
        if key is None:
            raise InputError(f"{IMAGE_FLAG} {chosen}", f"{label(graph, chosen)} loads no picture", "name a LoadImage node")
        return Target(chosen, key)
    loaders = {node: key for node in graph if (key := _picture_key(typed, node)) is not None}
    found = [node for node in loaders if node in way] or list(loaders)
    if not found:
        why = "no node of it loads a picture"
        raise InputError(f"{FLAG} {name}", why, "put a LoadImage node where the picture that is repaired comes in")
    if len(found) > 1:
        names = ", ".join(label(graph, node) for node in found)
        raise InputError(f"{FLAG} {name}", f"several nodes load a picture: {names}", f"choose one with {IMAGE_FLAG} {found[0]}")
    return Target(found[0], loaders[found[0]])


def _picture_key(typed: TypedGraph, node: str) -> str | None:
    """The input by which a node loads a picture from a file: a choice or a text of its own, where no picture comes in."""
    declaration, inputs = typed.declaration(node), typed.inputs(node)
    if typed.graph[node]["class_type"] == FROM_OUTPUT or not isinstance(inputs.get("image"), str):
        return None
    if declaration is None:
        return "image"
    declared = declaration.inputs.get("image")
    return "image" if declared is not None and declared.type in ("COMBO", "STRING") and "IMAGE" in declaration.outputs else None


def _is_saver(typed: TypedGraph, node: str) -> bool:
    declaration = typed.declaration(node)
    kept = "filename_prefix" in typed.inputs(node) or "save" in typed.graph[node]["class_type"].lower()
    return kept or (declaration is not None and declaration.is_output and any(is_link(value) for value in typed.inputs(node).values()))


def _warnings(typed: TypedGraph, image: Target) -> list[str]:
    declaration = typed.declaration(image.node)
    masks = [at for at, kind in enumerate(declaration.outputs if declaration is not None else ()) if kind == "MASK"]
    users = [
        label(typed.graph, node)
        for node, each in typed.graph.items()
        if any(is_link(value) and value[0] == image.node and value[1] in masks for value in each["inputs"].values())
    ]
    said = f"warning: {', '.join(users)} takes the mask of the picture, and pictures of a batch have none: it is empty"
    return [said] if users else []
