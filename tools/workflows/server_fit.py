"""What a graph needs that a server lacks, and how a server spells the names of the files that it has.

A ComfyUI on Windows lists `chars\\amiranoor.safetensors`, one on Linux `chars/amiranoor.safetensors`; each takes only its own spelling.
A batch keeps one of them, and each server gets a graph in its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lifeos.errors import InputError, UnavailableError, did_you_mean
from tools.backends.backend import Backend, NodeDeclaration
from tools.workflows.core_signatures import read_stored
from tools.workflows.graph import Graph, class_of, label
from tools.workflows.lora_names import one_spelling
from tools.workflows.node_types import MODEL_FOLDERS
from tools.workflows.signatures import Signatures

LORAS = "loras"


@dataclass(frozen=True, slots=True)
class MissingPart:
    """A node class, file, sampler or scheduler that a server lacks: what it is, the nearest that is there, and how to bring it there."""

    what: str
    near: str
    fix: str


def check_models(server: Backend, *graphs: Graph) -> None:
    """Refuse graphs that this server cannot run: a node class, model file, sampler or scheduler that it does not have.

    Each class is asked for once. Raises InputError that names all of them, each with the nearest that there is, before anything is queued.
    """
    missing = find_missing(server, graphs)
    if missing:
        why = "; ".join(f"{each.what} is not there: {each.near}" for each in missing)
        raise InputError(server.url, why, "put the files on the server, or choose among what it has")


def find_missing(
    server: Backend, graphs: Sequence[Graph], *, suggests: bool = True, known: Signatures | None = None
) -> tuple[MissingPart, ...]:
    """What a server lacks, each once; nothing where it cannot be asked: such a back end refuses a graph itself, when it is sent.

    `suggests`: also what is nearest, for which a server may have to list all its node classes. `known`: what it was asked before. Raises
    UnavailableError.
    """
    if not server.offers.lists_nodes:
        return ()
    return tuple(dict.fromkeys(_find_missing(server, graphs, suggests, known or Signatures(server.node))))


def _find_missing(server: Backend, graphs: Sequence[Graph], suggests: bool, known: Signatures) -> Iterator[MissingPart]:
    known_classes: list[str] | None = None if suggests else []
    for graph, node_id in ((each, node_id) for each in graphs for node_id in each):
        class_type, where = class_of(graph, node_id), label(graph, node_id)
        info = known.of(class_type)
        if info is None:
            if known_classes is None:
                known_classes = server.node_classes()
                if not known_classes:
                    raise UnavailableError(server.url, "lists no node classes at all", "look at the server's log")
            yield MissingPart(f"node class {class_type} of {where}", did_you_mean(class_type, known_classes), install_hint(class_type))
            continue
        for key, choices in _choices(info):
            value = graph[node_id]["inputs"].get(key)
            if isinstance(value, str) and among(value, choices) is None:
                near = did_you_mean(value, choices) or "there is none"
                yield MissingPart(f"{key} {value!r} of {where}", near, _file_hint(key))


def install_hint(class_type: str) -> str:
    """How a node class that is missing comes to a ComfyUI."""
    return "update its ComfyUI, whose own node it is" if class_type in read_stored().classes else "install its custom node there"


def _file_hint(key: str) -> str:
    if key == "lora_name":
        return "tools/prepare_servers.py --lora-file FILE brings a LoRA there, or says what to copy"
    if key in MODEL_FOLDERS:
        return f"put the file into its models/{MODEL_FOLDERS[key]}"
    return "update its ComfyUI, or choose one that all servers have"


def _choices(node: NodeDeclaration) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The model, sampler and scheduler inputs with what they take.

    Other choices are left to the server: custom nodes may accept more than they declare.
    """
    for key, declared in node.inputs.items():
        if declared.choices is not None and (_names_file(key) or key == "scheduler"):
            yield key, declared.choices


def among(value: str, choices: Sequence[str]) -> str | None:
    """The name of a list that is meant: itself, else the one that differs in its separators alone."""
    if value in choices:
        return value
    wanted = one_spelling(value)
    return next((each for each in choices if one_spelling(each) == wanted), None)


def listed_name(server: Backend, folder: str, name: str) -> str:
    """A file's name as a server spells it; as it is where the server has none such, or lists nothing."""
    if one_spelling(name) == name and "/" not in name:
        return name
    if not server.offers.lists_models:
        return one_spelling(name) if server.offers.separator == "/" else name
    return among(name, server.models(folder)) or name


def in_one_spelling(graph: Mapping[str, Any]) -> Graph:
    """A graph whose files are named in one way, whichever server it was made for."""
    return {node: {**each, "inputs": {key: _plain(key, value) for key, value in each["inputs"].items()}} for node, each in graph.items()}


def settings_in_one_spelling(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a picture's settings."""
    plain = {name: one_spelling(settings[name]) for name in ("checkpoint", "lora") if settings[name] is not None}
    return {**settings, **plain, "more_loras": tuple(map(one_spelling, settings["more_loras"]))}


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("lora"), str):
        return {**value, "lora": one_spelling(value["lora"])}
    return one_spelling(value) if isinstance(value, str) and _names_file(key) else value


def _names_file(key: str) -> bool:
    return key in MODEL_FOLDERS or key.endswith("_name")


class Spelling:
    """Writes graphs as each server spells its files. May be used from any thread: a server's own asks for its graphs."""

    def __init__(self) -> None:
        self._known: dict[str, dict[tuple[str, str, str], str]] = {}
        self._lock = threading.Lock()

    def __call__(self, server: Backend, graph: Graph) -> Graph:
        """The graph as a server takes it; the same object where nothing differs. Raises UnavailableError where it cannot be asked."""
        with self._lock:
            known = self._known.setdefault(server.url, {})
        asked = Signatures(server.node)
        changed: Graph = {}
        for node_id, node in graph.items():
            inputs = {key: self._spelled(server, asked, known, node, key, value) for key, value in node["inputs"].items()}
            if inputs != node["inputs"]:
                changed[node_id] = {**node, "inputs": inputs}
        return {**graph, **changed} if changed else graph

    def _spelled(
        self, server: Backend, asked: Signatures, known: dict[tuple[str, str, str], str], node: dict[str, Any], key: str, value: Any
    ) -> Any:
        if isinstance(value, dict) and isinstance(value.get("lora"), str):  # a row of a loader that takes several
            return {**value, "lora": self._spelled(server, asked, known, {"class_type": ""}, "lora_name", value["lora"])}
        if not isinstance(value, str) or not ("/" in value or "\\" in value) or not _names_file(key):
            return value
        place = (node["class_type"], key, value)
        if place not in known:
            found = self._look_up(server, asked, *place)
            if found is None:  # not there yet: asked again with the next picture
                return value
            known[place] = found
        return known[place]

    def _look_up(self, server: Backend, asked: Signatures, class_type: str, key: str, value: str) -> str | None:
        declared = asked.of(class_type) if class_type and server.offers.lists_nodes else None
        choices = declared.inputs[key].choices if declared is not None and key in declared.inputs else None
        if choices is not None:
            return among(value, choices)
        return listed_name(server, MODEL_FOLDERS[key], value) if key in MODEL_FOLDERS else value
